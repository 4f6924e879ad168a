"""What of an upstream's sandbox will be in force on this machine, and what will not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.frozen import dataclass
from mcpsec.gateway.sandbox.launch import reaches_every_file
from mcpsec.gateway.sandbox.trial import ALWAYS, Trial, try_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcpsec.deployment.model import Upstream

__all__ = ["Standing", "standing_of", "tell"]

_FENCES = ("files", "calls", "view", "sockets")


@dataclass(frozen=True, slots=True)
class Standing:
    """One upstream's measures by name. ``starts`` is False when its program can't be started under them at all.

    ``every_file`` is True when it reads and writes every file, whoever owns it: a child of root without a sandbox.
    """

    name: str
    kind: str
    sandboxed: bool
    in_force: tuple[str, ...]
    weaker: tuple[str, ...]
    missing: tuple[str, ...]
    not_asked: tuple[str, ...]
    starts: bool = True
    every_file: bool = False


def standing_of(upstream: Upstream, trial: Trial) -> Standing:
    """Judge one upstream; only the program of a ``command`` is a process that can be confined."""
    if upstream.command is None:
        kind = "url" if upstream.url is not None else "app" if upstream.app is not None else "builtin"
        return Standing(upstream.name, kind, sandboxed=False, in_force=(), weaker=(), missing=(), not_asked=())
    sandbox = upstream.sandbox
    asked = set(ALWAYS)
    if sandbox is not None:
        asked |= {*_FENCES, *(() if sandbox.network else ("network",))}
    states = {name: trial.state(name) for name in (*_FENCES, "network", *ALWAYS)}
    free = sandbox is None and reaches_every_file()
    if free and states["privileges"] == "enforced":
        states["privileges"] = "weaker"  # another account, but no file is closed to it
    by_state = {
        state: tuple(name for name, its in states.items() if name in asked and its == state)
        for state in ("enforced", "weaker", "absent")
    }
    return Standing(
        upstream.name,
        "command",
        sandboxed=sandbox is not None,
        in_force=by_state["enforced"],
        weaker=by_state["weaker"],
        missing=by_state["absent"],
        not_asked=tuple(name for name in states if name not in asked),
        starts=sandbox is None or not trial.fault,
        every_file=free,
    )


async def tell(upstreams: Iterable[Upstream], say: Callable[[str], None], record: Callable[..., None]) -> None:
    """Say which fences that the file asks for are not kept here; nothing is said where all are."""
    trial = await asyncio.to_thread(try_out)
    for upstream in upstreams:
        standing = standing_of(upstream, trial)
        if standing.missing:
            missing = ", ".join(standing.missing)
            say(
                f"the sandbox of {upstream.name!r} is not whole on this machine, missing: {missing}; "
                "`mcpsec sandbox check` says why"
            )
            record(
                "upstream", upstream=upstream.name, state="unconfined", severity="high", detail=f"missing: {missing}"
            )
