"""The access token of one server: presented with each request, renewed in time, obtained when it is asked for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from mcpsec.connect.oauth.browser import Redirect, open_browser
from mcpsec.connect.oauth.challenge import token_challenge
from mcpsec.connect.oauth.client import ExpiredGrantError, OAuthClient, choose_binding, choose_scope
from mcpsec.connect.oauth.discovery import discover_issuer, discover_resource
from mcpsec.connect.oauth.http import Callers, is_here, origin_of
from mcpsec.connect.oauth.jose import DpopKey
from mcpsec.connect.oauth.settings import LOGIN_SECONDS, Binding
from mcpsec.connect.oauth.store import store_for
from mcpsec.errors import Error, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.connect.credentials import Credentials
    from mcpsec.connect.oauth.discovery import Issuer, Resource
    from mcpsec.connect.oauth.settings import Settings
    from mcpsec.connect.oauth.store import Grant, Store

__all__ = ["Authorizer"]

_VERIFIER_BYTES: Final = 32


class Authorizer:
    """Presents an access token to the server at ``url``, and gets one when the server wants it.

    ``note`` is told what the person should know: the address to open, and that a login is waited for. One login serves
    all requests that wait for it, and all other processes of the same person.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        settings: Settings,
        *,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._settings = settings
        self._note = note
        self._callers = Callers(credentials, settings.ca)
        self._clock = clock
        self._grant: Grant | None = None
        self._key: DpopKey | None = None
        self._loaded = settings.machine  # a machine's token is not kept
        self._untried: str | None = None
        self._work: asyncio.Task[None] | None = None
        self.turn = asyncio.Event()
        """Set, and replaced by a new one, whenever ``logging_in`` may have changed."""

    @cached_property
    def _store(self) -> Store:
        """Where a person's token is kept: a machine's is not, and needs no place."""
        return store_for(self._settings.keep, self._url, self._settings.client_id)

    async def headers(self, method: str, url: str) -> dict[str, str]:
        """The fields that present the token with one request; none before there is one.

        Raises:
            Error: the kept token can't be read or renewed.
        """
        self._load()
        if self._grant is not None and self._due(self._grant):
            await self._renew_early(self._grant)
        grant = self._grant
        if grant is None or not grant.token:
            return {}
        if self._key is None or grant.dpop_key is None:
            return {"authorization": f"Bearer {grant.token}"}
        nonce = self._key.nonces.get(origin_of(url))
        return {
            "authorization": f"DPoP {grant.token}",
            "dpop": self._key.proof(method, url, token=grant.token, nonce=nonce),
        }

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            self._adopt(self._store.load())

    def _due(self, grant: Grant) -> bool:
        """Whether a token is at its end, or bound to a certificate that has been renewed since."""
        if grant.certificate is not None and grant.certificate != self._credentials.thumbprint():
            return True
        return grant.renew_at is not None and grant.renew_at < self._clock()

    async def _renew_early(self, grant: Grant) -> None:
        try:
            await self._alone(lambda: self._renew(grant, None))
        except Error as error:
            if grant.expires_at is not None and grant.expires_at <= self._clock():
                raise
            self._note(f"the access token can't be renewed yet: {error}")

    async def challenged(self, status: int, headers: Mapping[str, str], sent: Mapping[str, str]) -> bool:
        """What a refusal asks for; True when the request is worth sending again, with new ``headers``.

        ``sent`` are the fields that ``headers`` gave for the refused request.

        Raises:
            Error: the token that the server wants can't be had.
        """
        asked = token_challenge(headers.get("www-authenticate", ""))
        if asked is None or (status == 403 and asked.get("error") != "insufficient_scope"):
            return False
        self._load()
        if self._nonce(headers) and asked.get("error") == "use_dpop_nonce":
            return True
        before, grant = sent.get("authorization"), self._grant
        if grant is not None and grant.token and before != _presented(grant):
            return True  # it was kept from before, or another request has renewed it in the meantime
        if grant is not None and grant.token == self._untried:
            return False  # new, and refused all the same: a further one would fare no better
        await self._alone(lambda: self._renew(grant, asked))
        return True

    def seen(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from any answer of the server: the token is good, the nonce of the next proof."""
        if status not in {401, 403}:
            self._untried = None
        self._nonce(headers)

    def _nonce(self, headers: Mapping[str, str]) -> bool:
        nonce = headers.get("dpop-nonce")
        if nonce is None or self._key is None:
            return False
        self._key.nonces[origin_of(self._url)] = nonce
        return True

    async def login(self) -> str:
        """Obtain a token now, whether or not the server has asked; answers where it is kept.

        Raises:
            Error: there is none to be had.
        """
        await self._alone(lambda: self._renew(None, {}, anew=True))
        return "memory" if self._settings.machine else self._store.title

    async def logout(self) -> bool:
        """Revoke and forget what is kept; False when nothing was. It is forgotten even where revoking fails.

        Raises:
            Error: the server did not take the revocation.
        """
        async with self._store.locked():
            grant = self._store.load()
            self._store.delete()
        if grant is None:
            return False
        if not self._may_know_secret(grant.issuer):
            raise UsageError(
                f"the token is forgotten, not revoked: nobody said that {grant.issuer} knows the client secret",
                hint="say with --oauth-issuer (or -c FILE) whose secret it is",
            )
        issuer = await discover_issuer(self._callers, grant.issuer)
        await OAuthClient(self._settings, self._credentials, self._callers, issuer).revoke(grant)
        return True

    @property
    def logging_in(self) -> bool:
        """Whether a person's token is being got, for which that person may have to do something."""
        return self._work is not None and not self._work.done() and not self._settings.machine

    async def close(self) -> None:
        """Give up a login that is being waited for."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _alone(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do ``work`` once for all who wait; it goes on when the one that asked for it goes away."""
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(work())
            self._work.add_done_callback(self._ended)
            self._turn()
        await asyncio.shield(self._work)

    def _ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled():
            work.exception()  # whoever waits gets it; nobody may be left who does
        self._turn()

    def _turn(self) -> None:
        self.turn.set()
        self.turn = asyncio.Event()

    def _adopt(self, grant: Grant | None) -> None:
        self._grant = grant
        text = None if grant is None else grant.dpop_key
        if text is not None and (self._key is None or self._key.text != text):
            with contextlib.suppress(ValueError):
                self._key = DpopKey.from_text(text)

    async def _renew(self, refused: Grant | None, asked: Mapping[str, str] | None, *, anew: bool = False) -> None:
        """A new token: from another process, by the refresh token, or by the grant itself.

        ``asked`` is the server's challenge; None when nobody asked yet, because the token only nears its end. With
        ``anew`` nothing that is kept will do.
        """
        if self._settings.machine:
            await self._obtain(refused, asked or {})
            return
        async with self._store.locked():
            kept = self._store.load()
            if not anew:
                if kept is not None and kept.token and (refused is None or kept.token != refused.token):
                    self._adopt(kept)
                    return
                if asked is None or asked.get("error") != "insufficient_scope":
                    renewed = await self._refresh(kept or refused, asked)
                    if renewed is not None:
                        self._keep(renewed)
                        return
                if asked is None:
                    return  # the old one goes on until the server minds
            await self._obtain(kept or refused, asked or {})
            if self._grant is not None:
                self._keep(self._grant)

    def _keep(self, grant: Grant) -> None:
        self._untried = grant.token
        self._store.save(grant)
        self._adopt(grant)

    async def _refresh(self, grant: Grant | None, asked: Mapping[str, str] | None) -> Grant | None:
        """The grant renewed by its refresh token; None when that is not possible any more."""
        if grant is None or grant.refresh_token is None or not self._may_know_secret(grant.issuer):
            return None
        if asked is not None:
            resource = await discover_resource(self._callers, self._url, asked.get("resource_metadata"))
            if grant.issuer not in resource.issuers:
                return None  # the server has moved to another issuer: nothing of the old one is its business
        client = OAuthClient(
            self._settings, self._credentials, self._callers, await discover_issuer(self._callers, grant.issuer)
        )
        self._adopt(grant)
        binding = Binding.certificate if grant.certificate else Binding.dpop if grant.dpop_key else Binding.none
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token, "resource": grant.resource}
        try:
            return await client.token(grant, form, binding, self._key if grant.dpop_key else None)
        except ExpiredGrantError:
            return None

    async def _obtain(self, old: Grant | None, asked: Mapping[str, str]) -> None:
        """A token by the grant itself: discovery, registration where needed, then the browser or the client alone."""
        resource = await discover_resource(self._callers, self._url, asked.get("resource_metadata"))
        issuer = await discover_issuer(self._callers, self._issuer_of(resource))
        if old is not None and old.issuer != issuer.issuer:
            old = None
        client = OAuthClient(self._settings, self._credentials, self._callers, issuer)
        binding = choose_binding(self._settings, issuer, resource, self._credentials)
        key = None
        if binding is Binding.dpop:
            key = self._key = self._key or DpopKey.generate()
        scope = choose_scope(self._settings, issuer, resource, asked.get("scope"), old.scope if old else None)
        if self._settings.machine:
            grant = client.known()
            if grant is None:
                raise RefusedError("a client that speaks for itself needs a name", hint="give --oauth-client-id")
            form = {"grant_type": "client_credentials", "resource": resource.resource}
            form |= {"scope": scope} if scope else {}
            self._adopt(await client.token(replace(grant, resource=resource.resource), form, binding, key))
            self._untried = self._grant.token if self._grant is not None else None
            return
        self._adopt(await self._with_browser(client, resource, old, scope, binding, key))

    def _may_know_secret(self, issuer: str) -> bool:
        """Whether an issuer of earlier may be shown the client secret, if there is one: it was somebody's choice."""
        wanted = self._settings.issuer
        return self._settings.client_secret is None or (wanted is not None and _same(issuer, wanted))

    def _issuer_of(self, resource: Resource) -> str:
        wanted = self._settings.issuer
        if wanted is None:
            return self._issuer_named_by(resource)
        for issuer in resource.issuers:
            if _same(issuer, wanted):
                return issuer
        raise RefusedError(
            f"the server's metadata names {', '.join(resource.issuers)}, not {wanted}",
            hint="is --oauth-issuer right, and is this the server that you mean?",
        )

    def _issuer_named_by(self, resource: Resource) -> str:
        """The issuer that the server itself names, which may be anybody: good for what is worth nothing elsewhere."""
        named = resource.issuers[0]
        if self._settings.client_secret is not None:  # a person would see where it went only afterwards
            raise UsageError(
                f"the server names {named} as the place for the client secret, and a server can name any",
                hint="say with --oauth-issuer (or -c FILE) whose secret it is",
            )
        if is_here(named) and not is_here(self._url):
            raise RefusedError(
                f"the server says that its authorization server is on this machine: {named}",
                hint="if that is so, say it with --oauth-issuer",
            )
        return named

    async def _with_browser(
        self,
        client: OAuthClient,
        resource: Resource,
        old: Grant | None,
        scope: str | None,
        binding: Binding,
        key: DpopKey | None,
    ) -> Grant:
        """An authorization code with PKCE (S256), through the person's browser."""
        issuer = client.issuer
        if "S256" not in issuer.texts("code_challenge_methods_supported"):
            raise RefusedError(f"{issuer.issuer} does not say that it can do PKCE with S256, which MCP demands")
        page = issuer.needed("authorization_endpoint")
        state, verifier = secrets.token_urlsafe(_VERIFIER_BYTES), secrets.token_urlsafe(_VERIFIER_BYTES)
        async with await self._redirect(state, old) as redirect:
            grant = client.known()
            if grant is None and old is not None and old.registered and old.redirect_port == redirect.port:
                grant = replace(old, token="", refresh_token=None, dpop_key=None, certificate=None)
            if grant is None:
                grant = await client.register(redirect.uri, binding)
            grant = replace(grant, resource=resource.resource, redirect_port=redirect.port)
            parameters = {
                "response_type": "code",
                "client_id": grant.client_id,
                "redirect_uri": redirect.uri,
                "code_challenge": _challenge_of(verifier),
                "code_challenge_method": "S256",
                "state": state,
                "resource": resource.resource,
            }
            if scope is not None:
                parameters["scope"] = scope
                if "offline_access" in scope.split():
                    parameters["prompt"] = "consent"  # OpenID Connect Core section 11
            if key is not None:
                parameters["dpop_jkt"] = key.thumbprint
            pushed = await client.pushed(grant, parameters, key)
            if pushed is not None:
                parameters = {"client_id": grant.client_id, "request_uri": pushed}
            code = await self._code(_with_query(page, parameters), redirect, issuer)
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect.uri,
                "code_verifier": verifier,
                "resource": resource.resource,
            }
            return await client.token(replace(grant, scope=scope), form, binding, key)

    async def _redirect(self, state: str, old: Grant | None) -> Redirect:
        """A listener, on the port that a client registered here before has in its redirect URI, if that is free."""
        wanted = self._settings.redirect_port
        if wanted is None and old is not None and old.registered and await _is_free(old.redirect_port):
            wanted = old.redirect_port
        return Redirect(state, wanted)

    async def _code(self, url: str, redirect: Redirect, issuer: Issuer) -> str:
        self._note(f"log in at {urlsplit(url).netloc} to go on; if no browser opens, open\n{url}")
        browser = asyncio.create_task(open_browser(url)) if self._settings.browser else None
        try:
            answer = await redirect.answer(LOGIN_SECONDS)
        finally:
            if browser is not None:
                browser.cancel()
                await asyncio.gather(browser, return_exceptions=True)
        return answer.code(
            issuer=issuer.issuer, issuer_promised=issuer.says("authorization_response_iss_parameter_supported")
        )


def _same(issuer: str, wanted: str) -> bool:
    """Whether a person means that issuer: a slash at the end is easily left out, or added."""
    return wanted in {issuer, issuer.rstrip("/")} or issuer == wanted.rstrip("/")


def _presented(grant: Grant) -> str:
    return f"{'DPoP' if grant.dpop_key is not None else 'Bearer'} {grant.token}"


def _challenge_of(verifier: str) -> str:
    """The code challenge of a verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"


async def _is_free(port: int | None) -> bool:
    if port is None:
        return False
    try:
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", port)
    except OSError:
        return False
    server.close()
    await server.wait_closed()
    return True
