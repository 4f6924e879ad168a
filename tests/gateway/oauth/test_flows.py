"""Tokens of a real authorization server, by the two grants that agents and people use."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus, urljoin, urlsplit

import httpx
import httpx2
import pytest
from joserfc.jwk import ECKey
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from tests.fixtures.deployments import EVERYTHING, OTHER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.issuer import dpop_proof
from tests.fixtures.node import find_node_parts
from tests.fixtures.pki import Authority
from tests.fixtures.processes import PATIENCE, spawn, wait_for_file, wait_until
from tests.fixtures.raw import RawClient, Response, call

pytestmark = pytest.mark.anyio

SCRIPT = Path(__file__).with_name("authorization_server.mjs")
SECRET = "only-a-test-secret-of-a-machine %+/"
ECHO = call("echo", {"text": "hello"})


class Place:
    """An authorization server, a gateway that believes it, and the authorities of both."""

    def __init__(self, issuer: str, ca: Path, running: Gateway) -> None:
        self.issuer = issuer
        self.ca = ca
        self.running = running

    def context(self, *, certificate: bool = True) -> ssl.SSLContext:
        client = self.running.deployment.client
        context = client.client_context() if certificate else ssl.create_default_context(cafile=str(client.ca))
        context.load_verify_locations(self.ca)
        return context

    def token(self, client_id: str, *, certificate: bool = True, proof: Callable[[str], str] | None = None) -> str:
        """An access token by the client credentials grant (RFC 6749 section 4.4)."""
        url = f"{self.issuer}/token"
        form = {"grant_type": "client_credentials", "scope": "mcp", "resource": self.running.url}
        with httpx.Client(verify=self.context(certificate=certificate), timeout=PATIENCE) as http:
            headers = {} if proof is None else {"DPoP": proof(url)}
            answer = http.post(url, data=form, auth=(client_id, _form(SECRET)), headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def post(self, authorization: str, headers: dict[str, str | None] | None = None, **options: Any) -> Response:
        with RawClient(self.running, **options) as client:
            return client.post(ECHO, {"Authorization": authorization, **(headers or {})})


def _form(text: str) -> str:
    """A client secret as it stands in Basic credentials (RFC 6749 section 2.3.1)."""
    return quote_plus(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    parts = find_node_parts()
    parts.script("oidc-provider", "package.json")
    directory = tmp_path_factory.mktemp("flows")
    authority = Authority(directory / "as-ca", "Authorization server CA")
    identity = authority.server("as", trusts=authority.certificate)
    machine = {
        "client_secret": SECRET, "grant_types": ["client_credentials"], "redirect_uris": [], "response_types": [],
    }  # fmt: skip
    config = {
        "key": str(identity.key),
        "certificate": str(identity.certificate),
        "bound": True,
        "clients": [
            {"client_id": "machine", **machine},
            {"client_id": "opaque-machine", **machine},
            {"client_id": "unbound", "tls_client_certificate_bound_access_tokens": False, **machine},
            {"client_id": "gateway", "tls_client_certificate_bound_access_tokens": False, **machine},
        ],
    }
    file, ready, log = directory / "as.json", directory / "as-ready.json", directory / "as.log"
    file.write_text(json.dumps(config))
    with log.open("w") as output:
        command = [parts.node, str(SCRIPT), str(parts.directory), str(file), str(ready)]
        process = spawn(command, stdout=output, stderr=output)
    try:
        issuer = wait_for_file(ready, process, log)["issuer"]
        (directory / "gateway").mkdir()
        made = make_deployment(
            directory / "gateway", {"demo": {"builtin": "demo", "access": {"*": "read"}}}, require=("bearer",)
        )
        secret = made.directory / "introspection"
        secret.touch(mode=0o600)
        secret.write_text(SECRET)
        made.document["auth"]["oauth"] = {
            "issuer": issuer, "ca": str(authority.certificate), "scopes": ["mcp"], "timeout": "60s",
            "introspection": {"client_id": "gateway", "client_secret": {"file": "introspection"}, "cache": "0s"},
        }  # fmt: skip
        made.document["clients"][0] |= {"oauth": {"client_id": "machine"}}
        made.document["clients"] += [
            {"id": "quiet", "oauth": {"client_id": "opaque-machine"}, **EVERYTHING},
            {"id": "loose", "oauth": {"client_id": "unbound"}, **EVERYTHING},
            {"id": "person", "certificate": {"san": OTHER}, "oauth": {"subject": "alice"}, **EVERYTHING},
        ]
        made.document["clients"][0].pop("certificate")  # here the certificate only holds the token
        made.write()
        running = start_gateway(made)
        yield Place(issuer, authority.certificate, running)
        running.stop()
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_client_credentials_bound_to_a_certificate(place: Place) -> None:
    token = place.token("machine")
    answer = place.post(f"Bearer {token}")
    assert answer.status == 200 and b"hello" in answer.body, answer
    # Stolen, it is worth nothing: with another certificate, and without one.
    assert place.post(f"Bearer {token}", identity=place.running.deployment.other).status == 401
    assert place.post(f"Bearer {token}", context=place.context(certificate=False)).status == 401


def test_client_credentials_bound_to_a_key(place: Place) -> None:
    key = ECKey.generate_key("P-256")

    def proof(url: str) -> str:
        return dpop_proof(key, "POST", url, "", ath=None)

    token = place.token("unbound", certificate=False, proof=proof)
    anonymous = place.context(certificate=False)
    shown = dpop_proof(key, "POST", place.running.url, token)
    answer = place.post(f"DPoP {token}", {"DPoP": shown}, context=anonymous)
    assert answer.status == 200 and b"hello" in answer.body, answer
    assert place.post(f"DPoP {token}", {"DPoP": shown}, context=anonymous).status == 401
    stranger = dpop_proof(ECKey.generate_key("P-256"), "POST", place.running.url, token)
    assert place.post(f"DPoP {token}", {"DPoP": stranger}, context=anonymous).status == 401
    assert place.post(f"Bearer {token}", context=anonymous).status == 401


def test_a_token_that_is_bound_to_nothing_is_refused(place: Place) -> None:
    assert place.post(f"Bearer {place.token('unbound', certificate=False)}").status == 401


def test_an_opaque_token_is_asked_about_and_ends_when_it_is_revoked(place: Place) -> None:
    token = place.token("opaque-machine")
    assert "." not in token
    answer = place.post(f"Bearer {token}")
    assert answer.status == 200 and b"hello" in answer.body, answer
    assert place.post(f"Bearer {token}", identity=place.running.deployment.other).status == 401
    with httpx.Client(verify=place.context(), timeout=PATIENCE) as http:
        done = http.post(
            f"{place.issuer}/token/revocation", data={"token": token}, auth=("opaque-machine", _form(SECRET))
        )
        assert done.status_code == 200
    assert place.post(f"Bearer {token}").status == 401
    assert place.post(f"Bearer {'x' * 43}").status == 401


class _Kept(TokenStorage):
    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def _person(url: str, context: ssl.SSLContext) -> str:
    """Log in and consent as somebody with a browser would; where the browser is sent to in the end."""
    async with httpx.AsyncClient(verify=context, timeout=PATIENCE) as browser:
        answer = await browser.get(url)
        for _ in range(20):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if target.startswith(CALLBACK):
                    return target
                answer = await browser.get(target)
                continue
            action, prompt = (
                re.search(r'action="([^"]+)"', answer.text),
                re.search(r'name="prompt" value="(\w+)"', answer.text),
            )
            assert action and prompt, answer.text
            form = {"prompt": prompt[1], "login": "alice", "password": "anything"}
            answer = await browser.post(urljoin(str(answer.url), action[1]), data=form)
    raise AssertionError("the login does not end")


CALLBACK = "http://127.0.0.1:1/callback"


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_authorization_code_by_the_official_client(mode: str, place: Place) -> None:
    """Challenge, metadata, registration, login, code with PKCE, a bound token, a call: nothing was told beforehand."""
    # The certificate of a client that needs no certificate: it only holds the token.
    context = place.running.deployment.other.client_context()
    context.load_verify_locations(place.ca)
    landed: list[str] = []

    async def redirect(url: str) -> None:
        landed.append(await _person(url, place.context(certificate=False)))

    async def callback() -> AuthorizationCodeResult:
        query = parse_qs(urlsplit(landed[-1]).query)
        return AuthorizationCodeResult(**{name: query[name][0] for name in ("code", "state", "iss") if name in query})

    metadata = OAuthClientMetadata(
        redirect_uris=[CALLBACK],
        grant_types=["authorization_code"],
        token_endpoint_auth_method="client_secret_basic",
    )
    storage = _Kept()
    auth = OAuthClientProvider(place.running.url, metadata, storage, redirect, callback)
    async with httpx2.AsyncClient(verify=context, auth=auth, timeout=PATIENCE) as http:
        async with Client(streamable_http_client(place.running.url, http_client=http), mode=mode) as client:
            assert (await client.call_tool("echo", {"text": "by hand"})).content[0].text == "by hand"
    assert storage.tokens is not None
    # It was bound to the certificate that was shown at the token endpoint.
    stolen = place.post(f"Bearer {storage.tokens.access_token}", identity=place.running.deployment.client)
    assert stolen.status == 401

    def called() -> set[str]:
        """How the person was identified; the log is written a moment after the answer."""
        events = [event for event in place.running.deployment.events() if event.get("resource") == "demo/echo"]
        return {event["identified_by"] for event in events if event.get("client") == "person"}

    wait_until(called, "the event of the call")
    assert called() == {"mtls+bearer"}
