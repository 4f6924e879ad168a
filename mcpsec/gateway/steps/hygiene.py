"""HTTP hygiene: exact Host and Origin (DNS rebinding), no repeated routing header, JSON in and a stream or JSON out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcpsec.gateway.message import Request

__all__ = ["Hygiene"]

_METHODS = frozenset({b"POST", b"GET", b"DELETE"})
# A second one of these is a question of who reads which: refused (RFC 9110 section 5.3 allows only lists to repeat).
_SINGLE = frozenset(
    {
        b"host", b"origin", b"content-type", b"content-length", b"content-encoding", b"transfer-encoding",
        b"authorization", b"dpop", b"last-event-id", b"x-signature", b"x-timestamp", b"x-nonce", b"x-key-id", b"accept",
    }
)  # fmt: skip
_JSON = (b"application/json", b"application/*", b"*/*")
_EVENTS = (b"text/event-stream", b"text/*", b"*/*")


class Hygiene:
    """Refuses what no honest MCP client sends.

    ``hosts`` are the authorities that may stand in Host, ``origins`` those that may stand in Origin; both are compared
    exactly, in lower case. A request without Origin comes from no browser and passes.
    """

    def __init__(self, hosts: Collection[str], origins: Collection[str]) -> None:
        self._hosts = frozenset(host.lower().encode() for host in hosts)
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Check one request's head; that of a POST, which says it all, only when it comes for the first time."""
        request = exchange.request
        known = request.known
        if known is None:
            return self._check(request)
        if known.passed is self:
            return None
        refusal = self._check(request)
        if refusal is None and request.method == b"POST":
            known.passed = self
        return refusal

    def again(self, exchange: Exchange) -> None:
        """Nothing: the head that is repeated has passed."""

    def _check(self, request: Request) -> Refusal | None:
        fields = request.fields
        if len(fields) != len(request.headers) and any(
            name in _SINGLE and len(request.values(name)) > 1 for name in fields
        ):
            return _bad(400, "a header is repeated", "header-repeated")
        if fields.get(b"host", b"").lower() not in self._hosts:
            return _bad(421, "this server is not known under that name", "host")
        origin = fields.get(b"origin")
        if origin is not None and origin.lower() not in self._origins:
            return _bad(403, "requests from this origin are not accepted", "origin")
        method = request.method
        if method not in _METHODS:
            return _bad(405, "this method is not offered", "method", [(b"allow", b"POST, GET, DELETE")])
        if b"content-encoding" in fields:
            return _bad(415, "compressed requests are not accepted", "content-encoding")
        if method == b"POST":
            return _check_post(fields)
        if request.body:
            return _bad(400, "this method has no body", "body-unexpected")
        if method == b"GET" and not request.path.startswith(b"/.well-known/") and not _accepts(fields, _EVENTS):
            return _bad(406, "the client must accept text/event-stream", "accept")
        return None


def _check_post(fields: dict[bytes, bytes]) -> Refusal | None:
    media_type, _, parameters = fields.get(b"content-type", b"").partition(b";")
    charset = parameters.strip().lower().replace(b'"', b"")
    if media_type.strip().lower() != b"application/json" or charset not in {b"", b"charset=utf-8"}:
        return _bad(415, "the body must be application/json", "content-type")
    if not (_accepts(fields, _JSON) and _accepts(fields, _EVENTS)):
        return _bad(406, "the client must accept application/json and text/event-stream", "accept")
    return None


def _accepts(fields: dict[bytes, bytes], types: tuple[bytes, ...]) -> bool:
    """Whether Accept names one of ``types`` (RFC 9110 section 12.5.1); quality 0 is not worth modelling here."""
    accept = fields.get(b"accept")
    if accept is None:
        return False
    return any(part.partition(b";")[0].strip().lower() in types for part in accept.split(b","))


def _bad(status: int, message: str, rule: str, headers: list[tuple[bytes, bytes]] | None = None) -> Refusal:
    return Refusal(status, codes.INVALID_REQUEST, message, rule, headers=headers or [])
