"""The faults that a drill can put in, and what is expected of a gateway while they last and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcpsec.errors import UsageError

__all__ = ["FAULTS", "Fault", "chosen"]


@dataclass(frozen=True, slots=True)
class Fault:
    """``place`` is where it strikes: an upstream (``http``, ``stdio`` or both), or the gateway itself.

    ``statuses`` are the HTTP statuses that a caller may see while it lasts; 200 then only with a JSON-RPC error.
    """

    name: str
    title: str
    expects: str
    place: tuple[str, ...] = ("gateway",)
    statuses: tuple[int, ...] = ()


_BROKEN = (502, 503, 504)

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("timeout", "a server takes a call and never answers", "504 within the deadline",
              ("http", "stdio"), (504,)),
        Fault("slow", "a server answers a byte at a time, without end", "504 within the deadline",
              ("http", "stdio"), (504,)),
        Fault("partition", "the network to a server swallows everything, in both directions",
              "504 within the deadline", ("http",), (503, 504)),
        Fault("reset", "a server resets the connection in the middle of its answer", "502 or 503 at once",
              ("http",), (502, 503)),
        Fault("error", "a server answers 500 with a stack trace (over stdio: an internal error)",
              "an error that tells nothing of the server's inside", ("http", "stdio"), (*_BROKEN, 500, 200)),
        Fault("garbage", "a server answers with bytes that are no message", "an error within the deadline",
              ("http", "stdio"), _BROKEN),
        Fault("crash", "a server dies during a call and is started again", "502 or 503 at once",
              ("http", "stdio"), (502, 503)),
        Fault("client-partition", "a client disappears from the network in the middle of a request",
              "the gateway lets go of it within its own deadline"),
        Fault("store-lost", "the shared store (Redis) is killed and started again",
              "requests that need it are refused, at once"),
        Fault("disk-full", "the audit log can't grow any more", "refused, or served, as on_full says"),
        Fault("clock-jump", "the machine's clock jumps an hour ahead and back",
              "signatures are refused while it is wrong; deadlines hold"),
        Fault("certificate-expired", "a client's certificate ends while its connection is open",
              "nothing more is served to it"),
        Fault("certificate-revoked", "a client's certificate is revoked while its connection is open",
              "nothing more is served to it"),
        Fault("restart", "the gateway is killed during a call and started again",
              "it serves again, and its audit log is whole"),
    )
}  # fmt: skip
"""Name → fault, in the order in which they are drilled."""


def chosen(only: Sequence[str], skip: Sequence[str]) -> list[Fault]:
    """The faults to drill.

    Raises:
        UsageError: a name is none of them, or nothing is left.
    """
    for name in (*only, *skip):
        if name not in FAULTS:
            raise UsageError(f"there is no fault {name}", hint=f"one of {', '.join(FAULTS)}")
    found = [fault for name, fault in FAULTS.items() if (not only or name in only) and name not in skip]
    if not found:
        raise UsageError("--skip leaves nothing of --only", hint="`mcpsec drill --list` names the faults")
    return found
