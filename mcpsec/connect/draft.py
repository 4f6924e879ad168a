"""A request that is about to be signed: the message, the headers that mirror it, and a legacy session around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from mcpsec.connect.messages import HTTP_HEADERS, header_text, headers_of_body, initialize, initialized, is_field_value
from mcpsec.errors import RefusedError, UsageError
from mcpsec.protocol import parse
from mcpsec.signing import SignedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpsec.connect.exchange import Answer, Exchange
    from mcpsec.signing import Headers, Signer

__all__ = ["Draft", "LegacySession"]


@dataclass(frozen=True)
class Draft:
    """One request. ``headers`` are what must be sent as signed: the caller's own and the mirrors of the body."""

    url: str
    message: SignedMessage
    headers: Headers

    @classmethod
    def make(cls, method: str, url: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> Self:
        """Draft a request with headers of the caller's (lower-case names), which win over what the body would say.

        Raises:
            UsageError: the URL can't be sent, or a header is given twice.
        """
        pairs = list(headers)
        given = dict(pairs)
        if len(given) != len(pairs):
            raise UsageError("a header is given twice")
        own = {**{name: value for name, value in headers_of_body(body).items() if name not in given}, **given}
        return cls(url, SignedMessage.from_url(method, url, headers=list(own.items()), body=body), own)

    def complete(self, signature: Headers) -> Headers:
        """The signature, the draft's own headers, and what every MCP server wants to see on a POST."""
        standard = HTTP_HEADERS if self.message.method == "POST" else {}
        return {**standard, **self.headers, **signature}

    def send(self, exchange: Exchange, signature: Headers) -> Answer:
        """Send it with its signature; raises what ``Exchange.send`` does."""
        return exchange.send(replace(self.message, headers=()), self.complete(signature))


class LegacySession:
    """A legacy session around one call: ``initialize``, ``notifications/initialized``, the call, ``DELETE``."""

    def __init__(self, exchange: Exchange, signer: Signer, url: str) -> None:
        self._exchange = exchange
        self._signer = signer
        self._url = url
        self.headers: list[tuple[str, str]] = []

    def open(self) -> None:
        """Open the session; ``headers`` are then what every later request carries.

        Raises:
            RefusedError: the server answered with an error.
        """
        answer = self._send("POST", initialize())
        if not answer.good or not answer.messages:
            raise _refused("initialize", answer)
        version = header_text((parse(answer.messages[-1]).result or {}).get("protocolVersion"))
        session = answer.headers.get("mcp-session-id", "")
        said = {"mcp-protocol-version": version, "mcp-session-id": session if is_field_value(session) else None}
        self.headers = [(name, value) for name, value in said.items() if value]
        answer = self._send("POST", initialized())
        if not answer.good:
            raise _refused("notifications/initialized", answer)

    def close(self) -> None:
        """End the session, if the server keeps one; what it answers does not matter any more."""
        if "mcp-session-id" in dict(self.headers):
            self._send("DELETE", b"")

    def _send(self, method: str, body: bytes) -> Answer:
        draft = Draft.make(method, self._url, body, self.headers)
        return draft.send(self._exchange, self._signer.sign(draft.message))


def _refused(what: str, answer: Answer) -> RefusedError:
    said = f": {answer.error.get('message')}" if answer.error else ""
    return RefusedError(f"the server answered {what} with {answer.status} {answer.reason}{said}")
