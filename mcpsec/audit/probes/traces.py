"""What refused requests leave behind: LOG002 (nothing of their credentials), MON001 and MON003 (counters that move)."""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from mcpsec.audit.checks.watching import FAILURES, LIMITS
from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import NOBODY, ask, discover, let_in, welcome
from mcpsec.audit.probes.session import Session
from mcpsec.audit.probes.sessions import CANARY
from mcpsec.audit.probes.wire import exchange, target_of

__all__: list[str] = []

SETTLES = 10.0
"""Seconds that a log or a counter may take to show a request."""
_MOST = 64 << 20
_SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[^}]*\})?)\s+([0-9.eE+-]+)", re.M)


@probe("P2", "LOG002", order=80)
def canary(session: Session) -> Iterator[Finding]:
    """LOG002: a made-up token, cookie and argument, looked for in the log that is at hand."""
    subject = session.subject
    path = _log(session)
    if path is None:
        yield subject.unknown("LOG002", "no log is at hand: --log FILE, or -c FILE of the deployment")
        return
    try:
        size = path.stat().st_size
    except OSError as error:
        yield subject.unknown("LOG002", f"{path}: {error.strerror}", required=True)
        return
    marker = f"mcpsecAudit{secrets.token_hex(12)}"
    entry = let_in(session)
    marked = {"Authorization": f"Bearer {marker}", "Cookie": f"session={marker}", "X-Api-Key": marker}
    body, headers = discover()
    session.request(body=body, headers={**headers, **marked}, certificate=False)
    if entry:
        who = entry.identity
        session.request(body=body, headers={**headers, **marked}, certificate=who.any, identity=who)
        ask(session, entry, "tools/call", {"name": CANARY, "arguments": {"password": marker, "text": marker}})
    text = _appended(path, size)
    if text is None:
        yield subject.unknown("LOG002", f"nothing of our requests came to {path.name}: is it the log?", required=True)
        return
    encoded = base64.b64encode(marker.encode()).rstrip(b"=")
    if marker.encode() in text or encoded in text:
        line = next((row for row in text.split(b"\n") if marker.encode() in row or encoded in row), b"")
        where = line.replace(marker.encode(), b"\xe2\x80\xa6")[:80].decode("utf-8", "replace")
        yield subject.fail("LOG002", None, f"the marked credential stands in {path.name}: {where}", key="marker")
    else:
        yield subject.ok("LOG002", None, f"no trace of it in the {len(text):,} bytes that came to {path.name}")


def _log(session: Session) -> Path | None:
    given: Path | None = session.audit.options.get("log")
    if given is None and session.deployment is not None:
        return session.deployment.log.file
    return given


def _appended(path: Path, size: int) -> bytes | None:
    """What came to a log since it had ``size``; whole when it was rotated. None when nothing comes in time."""
    deadline = time.monotonic() + SETTLES
    last = b""
    while time.monotonic() < deadline:
        try:
            now = path.stat().st_size
            with path.open("rb") as file:
                file.seek(size if now >= size else 0)
                text = file.read(_MOST)
        except OSError:
            return None
        if text and text == last:
            return text
        last = text
        time.sleep(0.5)
    return last or None


def _metrics_url(session: Session) -> str:
    given = session.audit.options.get("metrics")
    if given:
        return str(given)
    admin = session.deployment.server.admin if session.deployment is not None else None
    if admin is None or admin.administrators or admin.listen.port == 0:
        return ""
    return f"http://{admin.listen}/metrics"


class _NoPage(Exception):
    """There is no metrics page to read; says why."""


def _page(session: Session) -> str:
    """The metrics page as text. Raises _NoPage."""
    url = _metrics_url(session)
    if not url:
        raise _NoPage("no metrics page is known: --metrics URL, or -c FILE of the deployment")
    target = target_of(url)
    head = f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: {session.agent}\r\n"
    session.pace()
    context = session.tls(certificate=True) if target.tls else None
    answer = exchange(
        target, f"{head}Accept: text/plain\r\nConnection: close\r\n\r\n".encode(), context=context,
        server_name=target.host,
    )  # fmt: skip
    if answer.status != 200:
        raise _NoPage(f"{url}: {answer.describe()}")
    return answer.body.decode("utf-8", "replace")


def _total(page: str, pattern: re.Pattern[str]) -> float:
    """The sum of the series that a pattern names. Times of creation are no counts."""
    rows = [(name, float(value)) for name, value in _SERIES.findall(page)]
    return sum(value for name, value in rows if pattern.search(name) and "_created" not in name)


@probe("P1", "MON001", order=90)
def exist(session: Session) -> Iterator[Finding]:
    """MON001 where a metrics page is known: it counts authentication failures and rate limit hits."""
    if not _metrics_url(session):
        return
    subject = session.subject
    try:
        page = _page(session)
    except _NoPage as error:
        yield subject.unknown("MON001", str(error))
        return
    watched = (("authentication failures", FAILURES), ("rate limit hits", LIMITS))
    missing = [what for what, pattern in watched if not pattern.search(page)]
    if missing:
        yield subject.fail("MON001", None, f"no counter of {' and '.join(missing)}", key="counter")
    else:
        yield subject.ok("MON001", None, "authentication failures and rate limit hits are counted")


@probe("P2", "MON003", order=90)
def move(session: Session) -> Iterator[Finding]:
    """MON003: the counter of authentication failures, before and after a request that must be refused."""
    subject = session.subject
    try:
        before = _page(session)
    except _NoPage as error:
        yield subject.unknown("MON003", str(error))
        return
    if not FAILURES.search(before):
        yield subject.fail("MON003", None, "authentication failures are not counted", key="none")
        return
    if welcome(session, NOBODY):
        yield subject.skip("MON003", "a stranger is answered, so that no authentication fails: see AUT001")
        return
    body, headers = discover()
    refused = [session.request(body=body, headers=headers, certificate=False)]
    if session.credentials.signer is not None:
        content = session.compose(
            body=body, headers=headers, identity=session.credentials, signature=lambda message: {}
        )
        refused.append(session.send(content))
    deadline, start = time.monotonic() + SETTLES, _total(before, FAILURES)
    while time.monotonic() < deadline:
        try:
            now = _total(_page(session), FAILURES)
        except _NoPage as error:
            yield subject.unknown("MON003", str(error), required=True)
            return
        if now > start:
            yield subject.ok("MON003", None, f"authentication failures went from {start:g} to {now:g}")
            return
        time.sleep(0.5)
    if not any(answer.status in (401, 403) for answer in refused):
        yield subject.unknown("MON003", "only TLS turned us away, which nothing counts here")
        return
    yield subject.fail("MON003", None, f"authentication failures stayed at {start:g}", key="still")
