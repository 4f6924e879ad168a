"""What the server says to a stranger, and to a web page of the user: P1, read-only, in both eras of the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import NOBODY, Entry, discover, initialize, let_in, welcome
from mcpsec.audit.probes.lists import listed
from mcpsec.audit.probes.session import Session
from mcpsec.audit.probes.wire import Answer

__all__: list[str] = []

_EVIL = "https://attacker.invalid"
_PAGES = ("/docs", "/openapi.json", "/config", "/debug", "/metrics", "/.env", "/.git/HEAD")
_SECRET_PAGES = ("/config", "/.env", "/.git/HEAD")
_PAGE_CHECKS = ("ORG001", "ORG002", "ORG003", "ORG004")


def refuses(answer: Answer) -> bool:
    """Whether a stranger was turned away for being one."""
    if answer.refused_certificate or answer.status in (401, 403, 407):
        return True
    return bool(answer.failure) and answer.connected and answer.failure != "no answer in time"


@probe("P1", "AUT001", order=20)
def without_credentials(session: Session) -> Iterator[Finding]:
    """AUT001: discover, initialize with tools/list in its session, and an event stream, without any credential."""
    subject = session.subject
    stranger = welcome(session, NOBODY)
    if stranger:
        name = "server/discover" if stranger.modern is not None else "initialize"
        tools = listed(session, stranger)
        more = f", and tools/list names {len(tools)} tools" if isinstance(tools, list) else ""
        yield subject.fail("AUT001", None, f"without credentials {name} is answered{more}", key=name)
        return
    if stranger.first.failure and stranger.first.connected and refuses(stranger.first):
        yield subject.ok("AUT001", None, f"a stranger gets: {stranger.first.describe()}")
        return
    stream = session.request("GET", headers={"Accept": "text/event-stream"}, certificate=False, patience=3.0)
    opened = stream.status == 200 and stream.headers.get("content-type", "").startswith("text/event-stream")
    if opened:
        yield subject.fail("AUT001", None, "without credentials an event stream is opened", key="stream")
    elif refuses(stranger.first) or (session.credentials.any and welcome(session)):
        yield subject.ok("AUT001", None, f"a stranger gets: {stranger.first.describe()}")
    else:
        text = f"neither refused nor answered: {stranger.first.describe()}: is this the path of an MCP server?"
        yield subject.unknown("AUT001", text, required=True)


@probe("P1", *_PAGE_CHECKS, order=30)
def foreign_pages(session: Session) -> Iterator[Finding]:
    """ORG001, ORG002, ORG003, ORG004: what a web page of the user could do."""
    subject = session.subject
    stranger, entry = welcome(session, NOBODY), let_in(session)
    if not entry and stranger.first.failure:
        for check in _PAGE_CHECKS:
            if session.credentials.any:
                yield subject.unknown(check, f"our credentials get no answer either: {stranger.first.describe()}")
            else:
                yield subject.skip(check, "a page has no client certificate, and nothing answers without one")
        return
    body, headers = discover() if entry.modern is not None else initialize()
    more: dict[str, Any] = {"certificate": entry.identity.any if entry else False, "identity": entry.identity}
    first = (entry.modern or entry.legacy or entry.first) if entry else stranger.first
    severity = "critical" if stranger and is_local(session.target.host) else "high"
    wrong, unclear = [], ""
    for origin in (_EVIL, "null"):
        answer = _noted(session, entry, session.request(body=body, headers={**headers, "Origin": origin}, **more))
        verdict = _refused(answer, first)
        if verdict is False:
            wrong.append(f"Origin {origin}: {answer.describe()}")
        elif verdict is None:
            unclear = f"refused for another reason: {answer.describe()}"
            break
    if wrong:
        yield subject.fail("ORG001", None, "; ".join(wrong)[:300], severity=severity, key="origin")
    elif unclear:
        yield subject.unknown("ORG001", unclear)
    else:
        yield subject.ok("ORG001", None, "a foreign and a null Origin are refused")
    yield _host(session, entry, body, headers, first, more)
    yield _cors(session, entry)
    if not entry:
        yield subject.unknown("ORG004", f"refused for another reason: {first.describe()}")
        return
    answer = session.request(body=body, headers={**headers, "Content-Type": "text/plain"}, **more)
    state = subject.fail if _noted(session, entry, answer).answers else subject.ok
    yield state("ORG004", None, f"JSON as text/plain: {answer.describe()}", key="plain")


def _noted(session: Session, entry: Entry, answer: Answer) -> Answer:
    """Keep the session that a request opened, so that it is ended."""
    if answer.answers and (ident := answer.headers.get("mcp-session-id")):
        session.opened.append((ident, entry.identity))
        session.facts.setdefault("session ids", []).append(ident)
    return answer


def _refused(answer: Answer, first: Answer) -> bool | None:
    """Whether a request was refused for what was foreign in it; None when everything is refused alike."""
    if answer.status in (403, 421) and first.status != answer.status:
        return True
    if answer.failure or answer.status >= 500 or (answer.status == first.status and not first.answers):
        return None
    return not answer.answers and answer.status not in (200, 202, 401, 406)


def _host(
    session: Session, entry: Entry, body: Any, headers: dict[str, str], first: Answer, more: dict[str, Any]
) -> Finding:
    answer = session.request(body=body, headers={**headers, "Host": "attacker.invalid"}, **more)
    verdict = True if answer.status == 404 and first.answers else _refused(_noted(session, entry, answer), first)
    if verdict is None:
        return session.subject.unknown("ORG002", f"refused for another reason: {answer.describe()}")
    state = session.subject.ok if verdict else session.subject.fail
    return state("ORG002", None, f"a foreign Host: {answer.describe()}", key="host")


def _cors(session: Session, entry: Entry) -> Finding:
    asked = {"Origin": _EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = session.request("OPTIONS", headers=asked, certificate=entry.identity.any, identity=entry.identity)
    allowed = answer.headers.get("access-control-allow-origin", "")
    if allowed in ("*", _EVIL):
        return session.subject.fail("ORG003", None, f"Access-Control-Allow-Origin: {allowed}", key="cors")
    return session.subject.ok("ORG003", None, f"no page of another origin may read: {allowed or 'no such header'}")


@probe("P1", "ERR002", "MON001", "SES003", order=40)
def pages(session: Session) -> Iterator[Finding]:
    """ERR002, MON001 and SES003: what else is served to a stranger."""
    subject = session.subject
    first = welcome(session, NOBODY).first
    if first.failure:
        yield subject.ok("ERR002", None, "nothing answers a stranger")
        yield subject.ok("SES003", None, "nothing answers a stranger")
        return
    open_pages = []
    for path in _PAGES:
        answer = session.request("GET", path, certificate=False, headers={"Accept": "*/*"})
        if answer.status == 200 and answer.body.strip() and _is(path, answer):
            open_pages.append(path)
    for path in open_pages:
        if path == "/metrics":
            yield subject.fail("MON001", None, "/metrics is public", key="metrics")
        severity = "high" if path in _SECRET_PAGES else "medium"
        yield subject.fail("ERR002", None, f"{path} is public", severity=severity, key=path)
    if not open_pages:
        yield subject.ok("ERR002", None, f"none of {', '.join(_PAGES)} is public")
    stream = session.request("GET", "/sse", headers={"Accept": "text/event-stream"}, certificate=False, patience=3.0)
    if stream.status == 200 and b"event: endpoint" in stream.body:
        yield subject.fail("SES003", None, "/sse offers the HTTP+SSE transport", key="sse")
    else:
        yield subject.ok("SES003", None, f"no HTTP+SSE: {stream.describe()}")


def _is(path: str, answer: Answer) -> bool:
    """Whether an answer is what the path is named after: a site that answers every path with its page serves none."""
    text = answer.body.lstrip()
    page = text[:1] == b"<"
    if path == "/docs":
        return b"swagger" in text.lower() or b"redoc" in text.lower() or b"openapi" in text.lower()
    if path == "/.git/HEAD":
        return text.startswith(b"ref:") or (len(text.strip()) == 40 and not page)
    if path == "/.env":
        return not page and b"=" in text
    return not page
