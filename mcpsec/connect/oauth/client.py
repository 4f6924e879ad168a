"""The client towards an authorization server: how it authenticates itself, and what it asks the endpoints for."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mcpsec.connect.oauth.http import origin_of
from mcpsec.connect.oauth.settings import Binding
from mcpsec.connect.oauth.store import Grant
from mcpsec.errors import NotAssessedError, RefusedError, UsageError
from mcpsec.reading import read_file
from mcpsec.signing import load_private_key, secret_bytes
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from mcpsec.connect.credentials import Credentials
    from mcpsec.connect.oauth.discovery import Issuer, Resource
    from mcpsec.connect.oauth.http import Callers, Reply
    from mcpsec.connect.oauth.jose import DpopKey
    from mcpsec.connect.oauth.settings import Settings

__all__ = ["ExpiredGrantError", "OAuthClient", "choose_binding", "choose_scope"]

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_EARLY: Final = 30.0
"""A token is renewed this many seconds before it ends, or in its last quarter, so that none ends on its way."""

_LONGEST: Final = 1e10
"""A life in seconds that is no end at all, and larger ones, which are no number of any clock."""

_MOST_WORDS: Final = 300
_TLS_METHODS: Final = ("tls_client_auth", "self_signed_tls_client_auth")


class ExpiredGrantError(RefusedError):
    """What was to be renewed is not valid any more (``invalid_grant``)."""


def choose_binding(settings: Settings, issuer: Issuer, resource: Resource, credentials: Credentials) -> Binding:
    """What the tokens of this server are bound to.

    A machine's token is bound to its certificate where the server can do that: both are renewed without a person. A
    person's is bound to a DPoP key first, because a refresh token that is bound to a certificate dies with it, and
    somebody would have to log in at each renewal.

    Raises:
        UsageError: what was demanded is not possible.
    """
    by_certificate = credentials.certificate is not None and issuer.says("tls_client_certificate_bound_access_tokens")
    by_key = "ES256" in issuer.texts("dpop_signing_alg_values_supported")
    if settings.binding is Binding.certificate and credentials.certificate is None:
        raise UsageError("a token bound to the certificate needs one", hint="give --cert and --key")
    if settings.binding is not Binding.auto:
        return settings.binding
    if resource.dpop_required and by_key:
        return Binding.dpop
    order = [(by_certificate, Binding.certificate), (by_key, Binding.dpop)]
    for possible, binding in order if settings.machine else reversed(order):
        if possible:
            return binding
    return Binding.none


def choose_scope(
    settings: Settings, issuer: Issuer, resource: Resource, asked: str | None, old: str | None
) -> str | None:
    """The scopes to ask for; None leaves the choice to the server.

    That is the person's choice, else what the challenge names beside what was granted already, else what the resource
    lists (MCP 2025-11-25, scope selection). ``offline_access`` is added where the server knows it, because a refresh
    token is what spares the person the next login.
    """
    if settings.scope is not None:
        return settings.scope or None
    words = [*(old or "").split(), *(asked or "").split()] if asked is not None else list(resource.scopes)
    if not settings.machine and "offline_access" in issuer.texts("scopes_supported"):
        words.append("offline_access")
    return " ".join(dict.fromkeys(words)) or None


class OAuthClient:
    """One client at one authorization server."""

    def __init__(self, settings: Settings, credentials: Credentials, callers: Callers, issuer: Issuer) -> None:
        self._settings = settings
        self._credentials = credentials
        self._callers = callers
        self.issuer = issuer

    async def register(self, redirect_uri: str, binding: Binding) -> Grant:
        """Register as a public native client (RFC 7591); the rest of the grant is empty.

        Raises:
            UsageError: the server registers nobody, so that the person has to name a client.
            RefusedError: it refuses this one.
        """
        endpoint = self.issuer.endpoint("registration_endpoint")
        if endpoint is None:
            raise UsageError(
                f"{self.issuer.issuer} does not register clients by itself",
                hint="register one there and give its --oauth-client-id",
            )
        document: dict[str, Any] = {
            "client_name": "mcpsec connect",
            "application_type": "native",
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }
        if binding is Binding.dpop:
            document["dpop_bound_access_tokens"] = True
        if binding is Binding.certificate:
            document["tls_client_certificate_bound_access_tokens"] = True
        reply = await self._callers.post(endpoint, document=document)
        client_id = reply.document.get("client_id")
        if reply.status not in {200, 201} or not isinstance(client_id, str):
            raise _refused("the registration", self.issuer, reply)
        secret, method = reply.document.get("client_secret"), reply.document.get("token_endpoint_auth_method")
        return Grant(
            issuer=self.issuer.issuer,
            resource="",
            client_id=client_id,
            client_secret=secret if isinstance(secret, str) else None,
            client_authentication=method if isinstance(method, str) else None,
            registered=True,
        )

    def known(self) -> Grant | None:
        """The client that the person named; None when it names none."""
        if self._settings.client_id is None:
            return None
        return Grant(issuer=self.issuer.issuer, resource="", client_id=self._settings.client_id)

    async def token(self, grant: Grant, form: dict[str, str], binding: Binding, key: DpopKey | None) -> Grant:
        """Ask the token endpoint, and return the grant with what it gave.

        Raises:
            ExpiredGrantError: the code or refresh token is not valid (any more).
            RefusedError: the server refuses.
            NotAssessedError: it can't be reached, or its answer is not usable.
        """
        certificate = binding is Binding.certificate or self._method(grant) in _TLS_METHODS
        endpoint = self.issuer.needed("token_endpoint", mutual_tls=certificate)
        reply = await self._post(endpoint, grant, form, certificate=certificate, key=key)
        if reply.status != 200:
            raise _refused("the token", self.issuer, reply)
        return self._granted(grant, reply.document, binding, key, form.get("scope"))

    async def _post(
        self, endpoint: str, grant: Grant, form: dict[str, str], *, certificate: bool, key: DpopKey | None
    ) -> Reply:
        """Post a form as this client; again with the nonce that a server of DPoP asks for (RFC 9449 section 8)."""
        origin = origin_of(endpoint)
        for attempt in range(2):
            headers, more = self._authentication(grant)
            nonce = key.nonces.get(origin) if key is not None else None
            if key is not None:
                headers["dpop"] = key.proof("POST", endpoint, nonce=nonce)
            reply = await self._callers.post(endpoint, form={**form, **more}, headers=headers, certificate=certificate)
            fresh = reply.headers.get("dpop-nonce")
            if key is not None and fresh is not None:
                key.nonces[origin] = fresh
            wanted = reply.status in {400, 401} and reply.document.get("error") == "use_dpop_nonce"
            if attempt == 0 and key is not None and wanted and fresh is not None and fresh != nonce:
                continue
            break
        return reply

    def _method(self, grant: Grant) -> str:
        """How the client authenticates itself at the token endpoint (RFC 8414 ``token_endpoint_auth_methods``)."""
        offered = self.issuer.texts("token_endpoint_auth_methods_supported") or ("client_secret_basic",)
        if self._settings.client_key is not None:
            return "private_key_jwt"
        if self._settings.client_secret is not None or grant.client_secret is not None:
            if grant.client_authentication in {"client_secret_basic", "client_secret_post"}:
                return grant.client_authentication
            return "client_secret_basic" if "client_secret_basic" in offered else "client_secret_post"
        if self._settings.machine and self._credentials.certificate is not None:
            for method in _TLS_METHODS:
                if method in offered:
                    return method
        return "none"

    def _authentication(self, grant: Grant) -> tuple[dict[str, str], dict[str, str]]:
        """The header fields and the form's members that say who the client is."""
        method = self._method(grant)
        if method == "private_key_jwt":
            from mcpsec.connect.oauth.jose import client_assertion

            assert self._settings.client_key is not None
            key = load_private_key(self._settings.client_key)
            assertion = client_assertion(grant.client_id, self.issuer.issuer, key)
            return {}, {
                "client_id": grant.client_id,
                "client_assertion_type": _ASSERTION_TYPE,
                "client_assertion": assertion,
            }
        if method == "client_secret_basic":
            pair = f"{quote(grant.client_id, safe='')}:{quote(self._secret(grant), safe='')}"
            return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, {}
        if method == "client_secret_post":
            return {}, {"client_id": grant.client_id, "client_secret": self._secret(grant)}
        return {}, {"client_id": grant.client_id}

    def _secret(self, grant: Grant) -> str:
        path = self._settings.client_secret
        if path is None:
            return grant.client_secret or ""
        try:
            return secret_bytes(read_file(path)).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"the client secret can't be read: {reason}", path=path) from None

    def _granted(
        self, grant: Grant, document: dict[str, Any], binding: Binding, key: DpopKey | None, asked: str | None
    ) -> Grant:
        token, kind = document.get("access_token"), document.get("token_type")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise NotAssessedError(f"{self.issuer.issuer} gave no token that can be used")
        kind = kind.lower() if isinstance(kind, str) else ""
        if kind not in {"bearer", "dpop"} or (kind == "dpop" and key is None):
            raise RefusedError(f"{self.issuer.issuer} gave a token of a kind that is not known here")
        if kind == "bearer" and key is not None and self._settings.binding is Binding.dpop:
            raise RefusedError(
                f"{self.issuer.issuer} gave a token that is not bound to a key, and --oauth-binding dpop"
            )
        life, scope, refresh = document.get("expires_in"), document.get("scope"), document.get("refresh_token")
        seconds = float(life) if isinstance(life, int | float) and 0 < life < _LONGEST else None
        ends = None if seconds is None else time.time() + seconds
        return replace(
            grant,
            token=token,
            refresh_token=refresh if isinstance(refresh, str) and refresh else grant.refresh_token,
            expires_at=ends,
            renew_at=None if ends is None or seconds is None else ends - min(_EARLY, seconds / 4),
            scope=scope if isinstance(scope, str) else asked or grant.scope,
            certificate=self._credentials.thumbprint() if binding is Binding.certificate else None,
            dpop_key=key.text if key is not None and kind == "dpop" else None,
        )

    async def pushed(self, grant: Grant, parameters: dict[str, str], key: DpopKey | None) -> str | None:
        """The ``request_uri`` of a pushed authorization request (RFC 9126), where the server demands that; else None.

        Raises:
            RefusedError: the server refuses it.
        """
        if not self.issuer.says("require_pushed_authorization_requests"):
            return None
        endpoint = self.issuer.needed("pushed_authorization_request_endpoint")
        reply = await self._post(endpoint, grant, parameters, certificate=False, key=key)
        uri = reply.document.get("request_uri")
        if reply.status != 201 or not isinstance(uri, str):
            raise _refused("the authorization request", self.issuer, reply)
        return uri

    async def revoke(self, grant: Grant) -> None:
        """Tell the server that a grant is not needed any more (RFC 7009), where it wants to know."""
        endpoint = self.issuer.endpoint("revocation_endpoint")
        if endpoint is None:
            return
        form = {"token": grant.refresh_token or grant.token}
        reply = await self._post(endpoint, grant, form, certificate=grant.certificate is not None, key=None)
        if reply.status != 200:
            raise _refused("the revocation", self.issuer, reply)


def _refused(what: str, issuer: Issuer, reply: Reply) -> RefusedError | NotAssessedError:
    error, description = reply.document.get("error"), reply.document.get("error_description")
    if not isinstance(error, str) or reply.status >= 500:
        return NotAssessedError(f"{issuer.issuer} answered the request for {what} with HTTP {reply.status}")
    said = f"{error}: {description}" if isinstance(description, str) else error
    kind = ExpiredGrantError if error == "invalid_grant" else RefusedError
    return kind(f"{issuer.issuer} refuses {what}: {plain(said[:_MOST_WORDS])}")
