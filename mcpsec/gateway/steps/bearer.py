"""Access tokens: genuine, for this server, in time, in the right hands, and of exactly one client."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.gateway.oauth.access import claimed_by
from mcpsec.gateway.oauth.compact import TokenError
from mcpsec.gateway.oauth.keyset import KeysUnavailableError
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.failures import AuthenticationFailures
    from mcpsec.gateway.oauth.access import AccessToken
    from mcpsec.gateway.oauth.resource_server import ResourceServer
    from mcpsec.gateway.state import State
    from mcpsec.gateway.steps import Outcome
    from mcpsec.gateway.steps.factors import Factors

__all__ = ["BearerCheck", "endpoint_name"]

_CREDENTIALS = re.compile(rb"(?i:(bearer|dpop)) +([A-Za-z0-9._~+/-]+=*)")  # RFC 6750 section 2.1
_NAME = re.compile(rb"/mcp/([a-z0-9][a-z0-9-]{0,31})")


def endpoint_name(path: bytes) -> str | None:
    """The NAME of ``/mcp/NAME``; None for any other path."""
    match = _NAME.fullmatch(path)
    return None if match is None else match[1].decode()


class BearerCheck:
    """Verifies a request's access token, where its client needs one and where there is one. Failures are counted."""

    def __init__(
        self, server: ResourceServer, factors: Factors, failures: AuthenticationFailures, state: State
    ) -> None:
        self._server = server
        self._state = state
        self._factors = factors
        self._failures = failures

    def __call__(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Check one request; only a token that takes a fetch is waited for."""
        request = exchange.request
        if request.query and _token_in_query(request.query):
            return self._challenge(exchange, 400, "token-in-query", "a token stands in the URL", "invalid_request")
        authorization = request.fields.get(b"authorization")
        if authorization is None:
            if not self._factors.needed("bearer", exchange.client):
                return None
            return self._challenge(exchange, 401, "token-missing", "no access token")
        match = _CREDENTIALS.fullmatch(authorization)
        if match is None:
            known = authorization.partition(b" ")[0].lower() in (b"bearer", b"dpop")
            return self._challenge(
                exchange, 400 if known else 401, "authorization-malformed",
                "no token after the scheme" if known else "another scheme than Bearer and DPoP",
                "invalid_request" if known else None,
            )  # fmt: skip
        scheme, text = str(match[1], "ascii").lower(), str(match[2], "ascii")
        claimed = exchange.client.id if exchange.client is not None else claimed_by(text, self._server.clients.claimed)
        tokens = self._server.tokens
        refused = self._failures.check_connection(exchange.peer, claimed, asks=tokens.asks(text))
        if refused is not None and not tokens.remembers(text):  # what was genuine is no guess
            return refused
        try:
            found = tokens.recognise(text)
            if inspect.isawaitable(found):
                return self._later(exchange, scheme, text, claimed, found)
            return self._judge(exchange, scheme, text, claimed, found)
        except TokenError as error:
            return self._refuse(exchange, scheme, claimed, error)

    async def _later(
        self, exchange: Exchange, scheme: str, text: str, claimed: str, found: Awaitable[AccessToken]
    ) -> Outcome:
        try:
            judged = self._judge(exchange, scheme, text, claimed, await found)
            return await judged if inspect.isawaitable(judged) else judged
        except TokenError as error:
            return self._refuse(exchange, scheme, claimed, error)
        except KeysUnavailableError as error:
            return Refusal(
                503, codes.UPSTREAM_UNAVAILABLE, "the service is not available", "issuer-unavailable", str(error),
                headers=[(b"retry-after", b"5")],
            )  # fmt: skip

    def _judge(
        self, exchange: Exchange, scheme: str, text: str, claimed: str, token: AccessToken
    ) -> Refusal | Awaitable[Refusal | None] | None:
        """Everything that depends on this request. Raises TokenError."""
        request, server = exchange.request, self._server
        server.check(token, endpoint_name(request.path), scheme, exchange.peer)
        client = server.clients.find(token)
        if client is None:
            raise TokenError("token-of-no-client", "exactly one client of the file must have such tokens")
        if exchange.client is not None and exchange.client is not client:
            raise TokenError("token-of-another-client", f"a token of {client.id}")
        if scheme == "dpop":
            host, path = request.fields.get(b"host", b"").decode("latin-1"), request.path.decode("latin-1")
            method, proof = request.method.decode("ascii", "replace"), request.fields.get(b"dpop")
            shown = server.check_proof(token, proof, method, f"https://{host}{path}", text)
            try:
                first = self._state.claim(f"dpop:{client.id}", shown.nonce, shown.expires, shown.issued)
            except Exception as error:  # whatever ails the store: the request is refused
                return _store_unavailable(error)
            if not isinstance(first, bool):
                return self._await_claim(exchange, claimed, client, token, first)
            if not first:
                raise TokenError("dpop-replayed", "this proof was used before")
        return self._accept(exchange, claimed, client, token)

    async def _await_claim(
        self, exchange: Exchange, claimed: str, client: Client, token: AccessToken, first: Awaitable[bool]
    ) -> Refusal | None:
        try:
            new = await first
        except Exception as error:
            return _store_unavailable(error)
        if not new:
            return self._refuse(exchange, "dpop", claimed, TokenError("dpop-replayed", "this proof was used before"))
        return self._accept(exchange, claimed, client, token)

    def _accept(self, exchange: Exchange, claimed: str, client: Client, token: AccessToken) -> Refusal | None:
        """Take over the identity, if the token is good for anything here."""
        missing = self._server.scopes.difference(token.scopes)
        if missing:
            exchange.claimed = client.id
            detail = f"lacks {' '.join(sorted(missing))}"
            return self._challenge(exchange, 403, "scope-missing", detail, "insufficient_scope")
        self._failures.succeeded_on(exchange.peer, claimed)
        exchange.client, exchange.token, exchange.token_end = client, token, token.expires + self._server.clock_skew
        exchange.proven("bearer")
        return None

    def _refuse(self, exchange: Exchange, scheme: str, claimed: str, error: TokenError) -> Refusal:
        exchange.claimed = claimed
        if error.rule == "dpop-nonce":  # part of the protocol (RFC 9449 section 9), so not counted as a failure
            refusal = self._challenge(exchange, 401, error.rule, error.detail, "use_dpop_nonce", dpop=True)
            refusal.headers.append((b"dpop-nonce", self._server.nonce.encode()))
            return refusal
        self._failures.failed_on(exchange.peer, claimed)
        word = "invalid_dpop_proof" if error.rule.startswith("dpop-") else "invalid_token"
        return self._challenge(exchange, 401, error.rule, error.detail, word, dpop=scheme == "dpop")

    def _challenge(
        self, exchange: Exchange, status: int, rule: str, detail: str, error: str | None = None, *, dpop: bool = False
    ) -> Refusal:
        headers = self._server.resource.challenge(endpoint_name(exchange.request.path), error=error, dpop=dpop)
        code, message = (
            (codes.ACCESS_DENIED, "access denied") if status == 403 else (codes.NOT_AUTHENTICATED, "not authenticated")
        )
        return Refusal(status, code, message, rule, detail, headers=headers)


def _store_unavailable(error: Exception) -> Refusal:
    return Refusal(
        503, codes.UPSTREAM_UNAVAILABLE, "the service is not available", "store-unavailable", type(error).__name__,
        headers=[(b"retry-after", b"1")],
    )  # fmt: skip


def _token_in_query(query: bytes) -> bool:
    """Whether a URL carries a token (RFC 6750 section 2.3), which logs and histories would keep."""
    try:
        names = [name.lower() for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    except ValueError:
        return True  # more parameters than anybody needs: not read, so not passed
    return "access_token" in names
