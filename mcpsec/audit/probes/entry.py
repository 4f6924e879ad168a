"""The way in: what the server offers to whom we are, in both eras of the protocol, and further requests from there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mcpsec.audit.probes.session import Credentials, Session
from mcpsec.audit.probes.wire import Answer
from mcpsec.connect.messages import header_text
from mcpsec.protocol.headers import encode_value

__all__ = [
    "LEGACY",
    "META",
    "MODERN",
    "NOBODY",
    "Entry",
    "ask",
    "discover",
    "initialize",
    "let_in",
    "mirrored",
    "modern",
    "welcome",
]

MODERN, LEGACY = "2026-07-28", "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "mcpsec-audit", "version": "1"},
}
NOBODY = Credentials()
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


@dataclass
class Entry:
    """What the server said to one identity. ``modern`` and ``legacy`` are its results, None where it gave none."""

    identity: Credentials
    modern: Answer | None = None
    legacy: Answer | None = None
    first: Answer = field(default_factory=Answer)
    """The first answer, whatever it was."""
    headers: dict[str, str] = field(default_factory=dict)
    """What goes on with requests of the older era: version and session."""

    def __bool__(self) -> bool:
        return self.modern is not None or self.legacy is not None

    @property
    def session_id(self) -> str:
        """The session of the older era; empty for a server that keeps none."""
        return self.headers.get("Mcp-Session-Id", "")


def mirrored(body: dict[str, Any]) -> dict[str, str]:
    """The headers that repeat a message of the current era."""
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": str(body["method"])}
    name = body.get("params", {}).get(_NAMED.get(str(body["method"]), ""))
    return {**headers, "Mcp-Name": encode_value(name)} if isinstance(name, str) else headers


def modern(method: str, params: dict[str, Any] | None = None, ident: int = 1) -> tuple[dict[str, Any], dict[str, str]]:
    """Body and headers of a request of 2026-07-28."""
    body = {"jsonrpc": "2.0", "id": ident, "method": method, "params": {**(params or {}), "_meta": META}}
    return body, mirrored(body)


def discover() -> tuple[dict[str, Any], dict[str, str]]:
    """Body and headers of ``server/discover`` (2026-07-28)."""
    return modern("server/discover")


def initialize() -> tuple[dict[str, Any], dict[str, str]]:
    """Body and headers of ``initialize`` (2025-11-25 and earlier)."""
    info = {"name": "mcpsec-audit", "version": "1"}
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info}
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}, {}


def welcome(session: Session, identity: Credentials | None = None) -> Entry:
    """Greet the server in both eras, once for each identity: our credentials, or nobody without any."""
    who = session.credentials if identity is None else identity
    known: list[Entry] = session.facts.setdefault("entries", [])
    for entry in known:
        if entry.identity is who or (not who.any and not entry.identity.any):
            return entry
    entry = Entry(who)
    known.append(entry)
    for body, headers in (discover(), initialize()):
        answer = session.request(body=body, headers=headers, certificate=who.any, identity=who)
        entry.first = entry.first if entry.first.status or entry.first.failure else answer
        if answer.failure and answer.connected and not who.any:
            break  # the connection itself refuses a stranger: the other greeting would get no further
        if not answer.answers:
            continue
        if body["method"] == "initialize":
            begun(session, entry, answer)
        elif isinstance(answer.result.get("supportedVersions", [MODERN]), list):
            entry.modern = answer
    return entry


def let_in(session: Session) -> Entry:
    """How we get in: by our credentials, or as anybody does; an empty entry when nobody is answered."""
    own = welcome(session)
    return own if own or not session.credentials.any else welcome(session, NOBODY)


def begun(session: Session, entry: Entry, answer: Answer) -> None:
    """Go on from the answer to ``initialize``."""
    entry.legacy = answer
    version = answer.result.get("protocolVersion")
    entry.headers = {"MCP-Protocol-Version": header_text(version) or LEGACY}
    if ident := answer.headers.get("mcp-session-id"):
        entry.headers["Mcp-Session-Id"] = ident
        session.opened.append((ident, entry.identity))
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    session.request(body=ready, headers=entry.headers, certificate=entry.identity.any, identity=entry.identity)


def ask(session: Session, entry: Entry, method: str, params: dict[str, Any] | None = None, **more: Any) -> Answer:
    """One request in the era that the server speaks, the current one first. ``more`` goes to ``Session.request``."""
    body, headers = request_of(entry, method, params)
    headers = {**headers, **more.pop("headers", {})}
    return session.request(body=body, headers=headers, certificate=entry.identity.any, identity=entry.identity, **more)


def request_of(
    entry: Entry, method: str, params: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Body and headers of a request in the era that the server speaks."""
    if entry.modern is not None:
        return modern(method, params, 2)
    return {"jsonrpc": "2.0", "id": 2, "method": method, "params": params or {}}, dict(entry.headers)
