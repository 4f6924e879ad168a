"""One strict parse of the body; then its era, headers against body, and whether that version knows the method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.message import Answer, Exchange, Refusal
from mcpsec.gateway.steps import CHANGED
from mcpsec.protocol import codes
from mcpsec.protocol.eras import (
    CLIENT_NOTIFICATIONS,
    CLIENT_REQUESTS,
    EXTENSION_REQUESTS,
    KNOWN_VERSIONS,
    LEGACY_VERSIONS,
    Era,
)
from mcpsec.protocol.forms import reader_of
from mcpsec.protocol.headers import Agreement, era_of_headers, route
from mcpsec.protocol.jsonrpc import Kind, ProtocolError, parse

if TYPE_CHECKING:
    from mcpsec.gateway.steps import Changed, Outcome, Repeated

__all__ = ["ParseMessage"]

_REQUESTS = {
    version: CLIENT_REQUESTS[version].union(*(methods[version] for methods in EXTENSION_REQUESTS.values()))
    for version in KNOWN_VERSIONS
}
_ANY_LEGACY_REQUEST = frozenset().union(*(_REQUESTS[version] for version in LEGACY_VERSIONS))
_ANY_LEGACY_NOTIFICATION = frozenset().union(*(CLIENT_NOTIFICATIONS[version] for version in LEGACY_VERSIONS))


_LONGEST_NAME = 1024


class ParseMessage:
    """From here on everything is decided on the parsed message, never on headers."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth

    def __call__(self, exchange: Exchange) -> Outcome:
        """Read the message, or the absence of one (GET opens a stream, DELETE ends a session)."""
        request = exchange.request
        known = request.known
        try:
            headers = request.mcp_headers()
            if request.method != b"POST":
                exchange.era = era_of_headers(headers)
                if exchange.era is Era.MODERN:
                    allow = [(b"allow", b"POST")]
                    return Refusal(405, codes.INVALID_REQUEST, "this version uses POST only", "method", headers=allow)
                return None
            message = exchange.message = parse(request.body, max_depth=self._max_depth)
            if known is not None and known.agreement is not None and known.agreement.holds(message):
                exchange.era = known.agreement.era
                return None  # its method was looked at then
            found = route(message, headers)
        except ProtocolError as error:
            return Refusal(error.http_status, error.code, error.message, "protocol", data=error.data)
        exchange.era = found.era
        refusal = self._check_method(exchange, found.era, found.version)
        if known is not None and refusal is None and message.kind is Kind.REQUEST:
            agreement = Agreement.of(message, found)
            named = agreement.named  # it is kept with the head: a client may name anything
            if named is None or (type(named) is str and len(named) <= _LONGEST_NAME):
                known.agreement = agreement
        return refusal

    def again(self, exchange: Exchange) -> Repeated | Changed:
        """The strict parse, and whether the body has the same form.

        That is the same method and target, and members of the same names in ``params`` and its ``_meta``: the steps
        behind this one need not look for what such a message can't hold. Of a message of no form nothing is repeated:
        the others would leave out what they must look for in the next.
        """
        known, message = exchange.request.known, exchange.message
        if known is None or known.agreement is None or message is None:
            return CHANGED
        read = reader_of(message, known.agreement, max_depth=self._max_depth)
        if read is None:
            return CHANGED
        era = known.agreement.era

        def repeated(exchange: Exchange) -> Changed | None:
            exchange.message = message = read(exchange.request.body)
            if message is None:
                return CHANGED
            exchange.era = era
            return None

        return repeated

    def _check_method(self, exchange: Exchange, era: Era, version: str | None) -> Outcome:
        message = exchange.message
        if message is None or message.kind is Kind.RESPONSE:
            return None
        if era is Era.MODERN and version is not None:
            requests, notifications = _REQUESTS[version], CLIENT_NOTIFICATIONS[version]
        else:
            requests, notifications = _ANY_LEGACY_REQUEST, _ANY_LEGACY_NOTIFICATION
        if message.kind is Kind.NOTIFICATION:
            if message.method in notifications:
                return None
            # A notification gets no error (JSON-RPC 2.0 section 4.1): it is taken and dropped.
            exchange.decision, exchange.rule = "refused", "notification-unknown"
            return Answer(202, [])
        if message.method in requests:
            return None
        # Old clients read a 404 as the end of their session, so they get the error as servers of their time gave it.
        status = 404 if era is Era.MODERN else 200
        return Refusal(status, codes.METHOD_NOT_FOUND, "Method not found", "method-unknown")
