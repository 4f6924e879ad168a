"""Slow requests and bursts: TMO003, RTE003, RTE004. P3, with hard caps in count and time, and a look afterwards."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import Entry, discover, let_in, request_of
from mcpsec.audit.probes.malformed import alive
from mcpsec.audit.probes.session import Credentials, Session
from mcpsec.audit.probes.wire import Answer, connected, exchange, reason

if TYPE_CHECKING:
    from mcpsec.deployment.model import Rate

__all__: list[str] = []

LONGEST = 30.0
"""Seconds that half a request may be waited for (checklist item 5)."""
GRACE = 3.0
MOST = 1_200
"""Requests of one burst at most."""
LONGEST_BURST = 30.0
_TRIES = 6
LONGEST_WINDOW = 120.0
"""Seconds that we wait for a fresh window at most."""


@probe("P3", "TMO003", order=20)
def slow(session: Session) -> Iterator[Finding]:
    """TMO003: half the headers, and half the body, on two connections at once."""
    subject, entry = session.subject, let_in(session)
    if not entry:
        yield subject.unknown("TMO003", "nothing is answered to us: give a client's credentials")
        return
    body, headers = discover()
    who = entry.identity
    whole = session.compose(body=body, headers=headers, identity=who if who.any else None)
    head = whole.index(b"\r\n\r\n")
    halves = {"headers": whole[: head // 2], "body": whole[: head + 4 + 10]}
    longest = float(session.audit.options.get("longest") or LONGEST)
    seconds: dict[str, float | str] = {}
    threads = [
        threading.Thread(target=_held, args=(session, entry, part, content, longest + GRACE, seconds))
        for part, content in halves.items()
    ]
    session.pace()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    severity = "medium" if is_local(session.target.host) else "high"
    failed = {part: why for part, why in seconds.items() if isinstance(why, str)}
    held = [part for part, value in seconds.items() if isinstance(value, float) and value > longest]
    for part in held:
        text = f"half the {part} are waited for: still open after {longest:g} s"
        yield subject.fail("TMO003", None, text, severity=severity, key=part)
    if failed:
        part, why = next(iter(failed.items()))
        yield subject.unknown("TMO003", f"half the {part}: {why}", required=True)
    elif not held:
        told = " and ".join(f"half the {part} for {value:.0f} s" for part, value in sorted(seconds.items()))
        yield subject.ok("TMO003", None, f"waits for {told}")
    if not alive(session, entry):
        yield subject.fail("TMO003", None, "the server does not answer afterwards", severity="high", key="dead")


def _held(
    session: Session, entry: Entry, part: str, content: bytes, patience: float, seconds: dict[str, float | str]
) -> None:
    """How long the server waits for the rest: until it says something or hangs up, else as long as we wait."""
    who = entry.identity
    tls = session.tls(certificate=who.any, identity=who) if session.target.tls else None
    begun = time.monotonic()
    try:
        with connected(session.target, context=tls, server_name=session.name) as stream:
            stream.sendall(content)
            stream.settimeout(patience)
            try:
                stream.recv(4096)
            except TimeoutError:
                seconds[part] = patience
                return
            except OSError:
                pass  # closed, in some way
            seconds[part] = min(time.monotonic() - begun, patience - GRACE)
    except OSError as error:
        seconds[part] = reason(error)


@dataclass
class _Burst:
    """What became of a burst: how many were accepted before the first refusal, and that refusal."""

    accepted: int = 0
    refusal: Answer | None = None
    seconds: float = 0.0
    failure: str = ""


@probe("P3", "RTE003", "RTE004", order=90)
def limits(session: Session) -> Iterator[Finding]:
    """RTE003: the limit trips where it is declared. RTE004: for nobody else, and not less for other headers."""
    subject, entry = session.subject, let_in(session)
    rate = _declared(session)
    missing = (
        "nothing is answered to us: give a client's credentials"
        if not entry
        else "no limit is declared: --rate-limit 100/minute, or -c FILE of the deployment"
        if rate is None
        else ""
    )
    if missing or rate is None:
        for check in ("RTE003", "RTE004"):
            yield subject.unknown(check, missing)
        return
    window = rate.burst * rate.seconds / rate.count
    cap = math.ceil(1.2 * rate.burst) + 1
    if cap > MOST or window > LONGEST_WINDOW:
        for check in ("RTE003", "RTE004"):
            yield subject.unknown(check, f"{rate} is more than the {MOST} requests or {LONGEST_WINDOW:g} s of a burst")
        return
    time.sleep(float(session.audit.options.get("window") or window) + 0.1)  # what came before is forgotten
    burst = _burst(session, entry, rate)
    yield from _tripped(session, rate, burst)
    yield from _by_identity(session, entry, rate, burst)
    time.sleep(float(session.audit.options.get("window") or window) + 0.1)
    if not alive(session, entry):
        yield subject.fail("RTE003", None, "the server does not answer afterwards", severity="high", key="dead")


def _declared(session: Session) -> Rate | None:
    given: Rate | None = session.audit.options.get("rate")
    deployment = session.deployment
    if given is not None or deployment is None:
        return given
    client = next((each for each in deployment.clients if each.id == session.credentials.client), None)
    return (client.rate_limit if client is not None else None) or deployment.default_rate_limit


def _one(session: Session, entry: Entry, **more: Any) -> bytes:
    body, headers = request_of(entry, "ping" if entry.modern is None else "server/discover")
    who: Credentials = more.pop("identity", entry.identity)
    headers = {**headers, **more.pop("headers", {})}
    return session.compose(body=body, headers=headers, identity=who if who.any else None, **more)


def _burst(session: Session, entry: Entry, rate: Rate) -> _Burst:
    """Requests one after the other, without a pause, until the first refusal or the cap."""
    burst, begun, who = _Burst(), time.monotonic(), entry.identity
    tls = session.tls(certificate=who.any, identity=who) if session.target.tls else None
    while burst.seconds < LONGEST_BURST:
        # A bucket refills while we ask; a slow machine must not find a good limiter wanting.
        if burst.accepted > 1.2 * (rate.burst + rate.count * burst.seconds / rate.seconds) + 1 or burst.accepted > MOST:
            break
        answer = exchange(session.target, _one(session, entry), context=tls, server_name=session.name)
        burst.seconds = time.monotonic() - begun
        if answer.status in (429, 503):
            burst.refusal = answer
            break
        if answer.failure:
            burst.failure = answer.failure
            break
        burst.accepted += 1
    return burst


def _tripped(session: Session, rate: Rate, burst: _Burst) -> Iterator[Finding]:
    subject = session.subject
    told = f"{burst.accepted} accepted in {burst.seconds:.1f} s, declared {rate} with a burst of {rate.burst}"
    if burst.failure:
        yield subject.unknown("RTE003", f"after {burst.accepted} requests: {burst.failure}", required=True)
    elif burst.refusal is None and burst.seconds >= LONGEST_BURST:
        yield subject.unknown("RTE003", f"{told}: too slow to tell", required=True)
    elif burst.refusal is None:
        yield subject.fail("RTE003", None, f"never tripped: {told}", key="never")
    elif burst.accepted < math.floor(0.8 * rate.burst):
        yield subject.fail("RTE003", None, f"tripped too early: {told}", severity="medium", key="early")
    elif burst.refusal.status == 503:
        yield subject.fail("RTE003", None, f"refused by 503, not 429: {told}", severity="low", key="503")
    elif "retry-after" not in burst.refusal.headers:
        yield subject.fail("RTE003", None, f"429 without Retry-After: {told}", severity="low", key="retry-after")
    else:
        yield subject.ok("RTE003", None, f"429 after {told}")


def _by_identity(session: Session, entry: Entry, rate: Rate, burst: _Burst) -> Iterator[Finding]:
    """RTE004, while our own bucket is empty."""
    subject = session.subject
    if burst.refusal is None:
        yield subject.unknown("RTE004", "no limit tripped: see RTE003")
        return
    who = entry.identity
    tls = session.tls(certificate=who.any, identity=who) if session.target.tls else None
    spoofed = {"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
    begun, tricked = time.monotonic(), 0
    while tricked < _TRIES:
        answer = exchange(session.target, _one(session, entry, headers=spoofed), context=tls, server_name=session.name)
        if answer.status in (429, 503) or answer.failure:
            break
        tricked += 1
    # Some tokens come back in the meantime; a bucket of its own has more of them.
    wrong = tricked == _TRIES > 2 * (1 + rate.count * (time.monotonic() - begun) / rate.seconds)
    if wrong:
        yield subject.fail("RTE004", None, "another X-Forwarded-For is another bucket", key="spoofed")
    elif tricked == _TRIES:
        yield subject.unknown("RTE004", f"{rate} refills faster than we can ask", required=True)
        return
    if session.other is None:
        if not wrong:
            text = "another address in a header gets no new bucket; a second client was not given: --other-client NAME"
            yield subject.unknown("RTE004", text)
        return
    theirs = session.tls(certificate=True, identity=session.other)
    other = welcomed(session)
    answer = exchange(
        session.target, _one(session, other or entry, identity=session.other),
        context=theirs if session.target.tls else None, server_name=session.name,
    )  # fmt: skip
    if answer.status in (429, 503):
        wrong = True
        yield subject.fail("RTE004", None, f"another client is refused with us: {answer.describe()}", key="shared")
    elif not answer.answers:
        yield subject.unknown("RTE004", f"the other client: {answer.describe()}", required=True)
        return
    if not wrong:
        yield subject.ok("RTE004", None, "another client is served while we are refused, whatever our headers say")


def welcomed(session: Session) -> Entry | None:
    """The other client's way in, when an earlier probe has found it."""
    known: list[Entry] = session.facts.get("entries", [])
    return next((entry for entry in known if entry.identity is session.other and entry), None)
