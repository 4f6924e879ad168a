"""What the server says to a stranger, in both eras of the protocol: P1, read-only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.session import Answer, Session

__all__ = ["LEGACY", "MODERN", "discover", "initialize"]

MODERN, LEGACY = "2026-07-28", "2025-11-25"
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "mcpsec-audit", "version": "1"},
}
_EVIL = "https://attacker.invalid"
_PAGES = ("/docs", "/openapi.json", "/config", "/debug", "/metrics", "/.env", "/.git/HEAD")
_SECRET_PAGES = ("/config", "/.env", "/.git/HEAD")


def discover() -> tuple[dict[str, Any], dict[str, str]]:
    """Body and headers of ``server/discover`` (2026-07-28)."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": _META}}
    return body, {"MCP-Protocol-Version": MODERN, "Mcp-Method": "server/discover"}


def initialize() -> tuple[dict[str, Any], dict[str, str]]:
    """Body and headers of ``initialize`` (2025-11-25 and earlier)."""
    info = {"name": "mcpsec-audit", "version": "1"}
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}, {}


def _answers(answer: Answer) -> bool:
    """True for a JSON-RPC result: the server did what was asked."""
    document = answer.json
    return answer.status == 200 and isinstance(document, dict) and "result" in document


def _unauthenticated(session: Session) -> tuple[str, Answer, dict[str, str]]:
    """The first request that a stranger gets an answer to, and the headers that go on with it; empty name for none."""
    if session.stranger is not None:
        return session.stranger
    found: tuple[str, Answer, dict[str, str]] = ("", Answer(), {})
    for name, (body, headers) in (("server/discover", discover()), ("initialize", initialize())):
        answer = session.request(body=body, headers=headers, certificate=False)
        if not found[0]:
            found = ("", answer, {})
        if _answers(answer):
            more = {"MCP-Protocol-Version": MODERN if name == "server/discover" else LEGACY}
            if "mcp-session-id" in answer.headers:
                more["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
            found = (name, answer, more)
            break
    session.stranger = found
    return found


@probe("P1", order=20)
def without_credentials(session: Session) -> Iterator[Finding]:
    """AUT001: discover, initialize with tools/list in its session, and an event stream, without any credential."""
    subject = session.subject
    name, answer, more = _unauthenticated(session)
    if name:
        listed = _list_tools(session, name, more)
        count = len(listed) if listed is not None else 0
        text = f"{name} is answered" + (f", and tools/list names {count} tools" if listed is not None else "")
        yield subject.fail("AUT001", None, f"without credentials {text}", key=name)
        return
    stream = session.request("GET", headers={"Accept": "text/event-stream"}, certificate=False, patience=3.0)
    opened = stream.status == 200 and stream.headers.get("content-type", "").startswith("text/event-stream")
    if opened:
        yield subject.fail("AUT001", None, "without credentials an event stream is opened", key="stream")
    elif answer.failure == "no answer in time":
        yield subject.unknown("AUT001", "no answer in time", required=True)
    else:
        yield subject.ok("AUT001", None, f"a stranger gets: {answer.describe()}")
    if answer.status == 401:
        yield from _metadata(session, answer)


def _list_tools(session: Session, name: str, more: dict[str, str]) -> list[Any] | None:
    params: dict[str, Any] = {"_meta": _META} if name == "server/discover" else {}
    headers = {**more, **({"Mcp-Method": "tools/list"} if name == "server/discover" else {})}
    if name == "initialize":
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        session.request(body=ready, headers=more, certificate=False)
    body = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": params}
    document = session.request(body=body, headers=headers, certificate=False).json
    result = document.get("result") if isinstance(document, dict) else None
    tools = result.get("tools") if isinstance(result, dict) else None
    return tools if isinstance(tools, list) else None


def _metadata(session: Session, answer: Answer) -> Iterator[Finding]:
    """AUT002, when a bearer token is what is asked for."""
    challenge = answer.headers.get("www-authenticate", "")
    if not challenge.lower().startswith("bearer"):
        return
    subject = session.subject
    if "resource_metadata=" not in challenge:
        yield subject.fail("AUT002", None, "WWW-Authenticate names no resource_metadata", key="challenge")
        return
    found = session.request("GET", f"/.well-known/oauth-protected-resource{session.target.path}")
    if found.status != 200:
        found = session.request("GET", "/.well-known/oauth-protected-resource")
    document = found.json if isinstance(found.json, dict) else {}
    servers = document.get("authorization_servers")
    wrong = []
    if document.get("resource") not in (str(session.target), str(session.target).replace(":443/", "/")):
        wrong.append("resource is not this endpoint")
    if not isinstance(servers, list) or not servers or not all(str(each).startswith("https://") for each in servers):
        wrong.append("no https authorization server")
    if "query" in (document.get("bearer_methods_supported") or []):
        wrong.append("tokens in the query are accepted")
    for text in wrong:
        yield subject.fail("AUT002", None, f"resource metadata: {text}", key=text)
    if not wrong:
        yield subject.ok("AUT002", None, "resource metadata is complete")


@probe("P1", order=30)
def foreign_pages(session: Session) -> Iterator[Finding]:
    """ORG001, ORG002, ORG003, ORG004: what a web page of the user could do."""
    subject = session.subject
    name, first, _ = _unauthenticated(session)
    body, headers = discover() if name == "server/discover" else initialize()
    more: dict[str, Any] = {"certificate": not name}
    if not name and first.failure and session.credentials.certificate is None:
        for check in ("ORG001", "ORG002", "ORG003", "ORG004"):
            yield subject.skip(check, "a page has no client certificate of its own, and nothing answers without one")
        return
    severity = "critical" if name and is_local(session.target.host) else "high"
    wrong = []
    for origin in (_EVIL, "null"):
        answer = session.request(body=body, headers={**headers, "Origin": origin}, **more)
        verdict = _refused(answer, first)
        if verdict is False:
            wrong.append(f"Origin {origin}: {answer.describe()}")
        elif verdict is None:
            yield subject.unknown("ORG001", f"refused for another reason: {answer.describe()}")
            break
    else:
        if wrong:
            yield subject.fail("ORG001", None, "; ".join(wrong)[:300], severity=severity, key="origin")
        else:
            yield subject.ok("ORG001", None, "a foreign and a null Origin are refused")
    yield _host(session, body, headers, first, more)
    yield _cors(session, body, headers)
    if name:
        answer = session.request(body=body, headers={**headers, "Content-Type": "text/plain"}, **more)
        state = subject.fail if _answers(answer) else subject.ok
        yield state("ORG004", None, f"JSON as text/plain: {answer.describe()}", key="plain")


def _refused(answer: Answer, first: Answer) -> bool | None:
    """Whether a request was refused for what was foreign in it; None when everything is refused alike."""
    if answer.status in (403, 421):
        return True
    if answer.failure or answer.status == first.status == 401:
        return None
    return not _answers(answer) and answer.status not in (200, 202, 401, 406)


def _host(session: Session, body: Any, headers: dict[str, str], first: Answer, more: dict[str, Any]) -> Finding:
    answer = session.request(body=body, headers={**headers, "Host": "attacker.invalid"}, **more)
    verdict = True if answer.status == 404 else _refused(answer, first)
    if verdict is None:
        return session.subject.unknown("ORG002", f"refused for another reason: {answer.describe()}")
    state = session.subject.ok if verdict else session.subject.fail
    return state("ORG002", None, f"a foreign Host: {answer.describe()}", key="host")


def _cors(session: Session, body: Any, headers: dict[str, str]) -> Finding:
    asked = {"Origin": _EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = session.request("OPTIONS", headers=asked, certificate=False)
    allowed = answer.headers.get("access-control-allow-origin", "")
    if allowed in ("*", _EVIL):
        return session.subject.fail("ORG003", None, f"Access-Control-Allow-Origin: {allowed}", key="cors")
    return session.subject.ok("ORG003", None, f"no page of another origin may read: {allowed or 'no such header'}")


@probe("P1", order=40)
def pages(session: Session) -> Iterator[Finding]:
    """ERR002, MON001 and SES003: what else is served to a stranger."""
    subject = session.subject
    _, first, _ = _unauthenticated(session)
    if first.failure:
        yield subject.ok("ERR002", None, "nothing answers a stranger")
        yield subject.ok("SES003", None, "nothing answers a stranger")
        return
    open_pages = []
    for path in _PAGES:
        answer = session.request("GET", path, certificate=False, headers={"Accept": "*/*"})
        if answer.status == 200 and answer.body.strip():
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
