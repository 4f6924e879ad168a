"""What a server may say of itself, and what a client must not believe. No login is ever begun on a wrong word."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.connect import Credentials
from mcpsec.connect.http1 import HttpClient, HttpFailure
from mcpsec.connect.oauth.authorizer import Authorizer
from mcpsec.connect.oauth.challenge import Challenge, challenges, token_challenge
from mcpsec.connect.oauth.discovery import Issuer, Resource
from mcpsec.connect.oauth.http import Callers, checked_url
from mcpsec.connect.oauth.settings import Grant as GrantKind
from mcpsec.connect.oauth.settings import Keep, Settings
from mcpsec.connect.oauth.store import Grant, store_for
from mcpsec.errors import NotAssessedError, RefusedError, UsageError
from tests.connect.bridges import ScriptedServer, Seen
from tests.fixtures.issuer import running_issuer

pytestmark = pytest.mark.anyio

RESOURCE = "/.well-known/oauth-protected-resource/mcp"
ISSUER = "/.well-known/oauth-authorization-server"
Change = Callable[[dict[str, Any]], object]


@contextlib.asynccontextmanager
async def told(change: Change) -> AsyncIterator[tuple[HttpClient, list[str], list[str]]]:
    """A client of a server whose documents are in order but for ``change``; what it said, and what was asked for."""
    documents: dict[str, Any] = {}

    async def script(seen: Seen) -> None:
        paths.append(seen.path)
        if seen.path == "/mcp":
            await seen.answer(401, None, www_authenticate=documents["challenge"])
        elif seen.path in documents:
            await seen.answer(200, documents[seen.path])
        else:
            await seen.answer(404)

    paths: list[str] = []
    async with ScriptedServer(script) as server:
        base = server.url.removesuffix("/mcp")
        documents |= {
            "challenge": f'Bearer resource_metadata="{base}{RESOURCE}"',
            RESOURCE: {"resource": server.url, "authorization_servers": [base]},
            ISSUER: {
                "issuer": base,
                "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token",
                "registration_endpoint": f"{base}/register",
                "code_challenge_methods_supported": ["S256"],
            },
        }
        change(documents)
        notes: list[str] = []
        credentials = Credentials()
        options = Settings(keep=Keep.file, browser=False)
        client = HttpClient(
            server.url,
            credentials,
            authorizer=lambda: Authorizer(server.url, credentials, options, note=notes.append),
        )
        yield client, notes, paths
        await client.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def say(document: str, **members: Any) -> Change:
    def change(documents: dict[str, Any]) -> None:
        documents[document].update(members)
        for name, value in members.items():
            if value is None:
                del documents[document][name]

    return change


LIES: dict[str, tuple[Change, str]] = {
    "the resource is another machine's": (say(RESOURCE, resource="https://mcp.example.com/mcp"), "another resource"),
    "the resource is beside this one": (
        lambda documents: documents[RESOURCE].update(resource=documents[RESOURCE]["resource"] + "2"),
        "another resource",
    ),
    "no resource": (say(RESOURCE, resource=None), "another resource"),
    "its metadata is elsewhere": (
        lambda documents: documents.update(challenge='Bearer resource_metadata="https://evil.example/x"'),
        "at another place",
    ),
    "its metadata is no URL": (
        lambda documents: documents.update(challenge='Bearer resource_metadata="file:///etc/passwd"'),
        "not an https:// URL",
    ),
    "no issuer": (say(RESOURCE, authorization_servers=[]), "names no authorization server"),
    "an issuer without TLS": (say(RESOURCE, authorization_servers=["http://login.example.com"]), "not an https:// URL"),
    "an issuer with a password": (
        say(RESOURCE, authorization_servers=["https://a:b@login.example.com"]),
        "not an https",
    ),
    "the metadata is another issuer's": (say(ISSUER, issuer="https://login.example.com"), "names another issuer"),
    "a slash more is another issuer": (
        lambda documents: documents[ISSUER].update(issuer=documents[ISSUER]["issuer"] + "/"),
        "names another issuer",
    ),
    "a script to open": (say(ISSUER, authorization_endpoint="javascript:alert(1)"), "not an https:// URL"),
    "tokens over plain HTTP": (say(ISSUER, token_endpoint="http://login.example.com/token"), "not an https:// URL"),
    "no PKCE": (say(ISSUER, code_challenge_methods_supported=None), "PKCE"),
    "PKCE in plain": (say(ISSUER, code_challenge_methods_supported=["plain"]), "PKCE"),
    "no registration": (say(ISSUER, registration_endpoint=None), "--oauth-client-id"),
    "no metadata at all": (lambda documents: documents.pop(ISSUER), "no metadata that can be read"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_a_client_must_not_believe(lie: str) -> None:
    change, said = LIES[lie]
    async with told(change) as (client, notes, paths):
        with pytest.raises(HttpFailure, match=said) as failure:
            await client.request("POST", {}, b"{}")
    assert failure.value.refused
    assert notes == [], "nobody is asked to log in"
    assert not {"/authorize", "/token"} & set(paths)


async def test_the_truth_leads_to_a_login() -> None:
    async with told(lambda _: None) as (client, _, paths):
        with pytest.raises(HttpFailure):  # the script's registration endpoint is none
            await client.request("POST", {}, b"{}")
    assert paths == ["/mcp", RESOURCE, ISSUER, "/register"]


JSON = {"content-type": "application/json"}


@contextlib.contextmanager
def thief(secret: Path) -> Iterator[tuple[str, Settings, list[str]]]:
    """A server that is its own authorization server: its URL, the options of who has a secret, how it was called."""
    secret.write_text("s" * 40)
    sent: list[str] = []

    def token(form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        sent.append(form.get("authorization", ""))
        granted = {"access_token": "t", "token_type": "bearer", "expires_in": 10**400}
        return 200, JSON, json.dumps(granted).encode()

    def pushed(form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        sent.append(form.get("authorization", ""))
        return 400, JSON, json.dumps({"error": "invalid_request", "error_description": "\x1b[2J"}).encode()

    with running_issuer() as evil:
        url = f"{evil.url}/mcp"
        document = {"resource": url, "authorization_servers": [evil.url]}
        evil.metadata = {
            "token_endpoint": f"{evil.url}/token",
            "revocation_endpoint": f"{evil.url}/revoke",
            "authorization_endpoint": f"{evil.url}/authorize",
            "code_challenge_methods_supported": ["S256"],
            "require_pushed_authorization_requests": True,
            "pushed_authorization_request_endpoint": f"{evil.url}/par",
        }
        evil.replies = {
            "/mcp": lambda _: (401, {"www-authenticate": "Bearer"}, b""),
            RESOURCE: lambda _: (200, JSON, json.dumps(document).encode()),
            "/token": token,
            "/revoke": token,
            "/par": pushed,
        }
        yield url, Settings(client_id="machine", client_secret=secret, keep=Keep.file, browser=False), sent


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("way", list(GrantKind))
async def test_a_secret_goes_to_the_issuer_that_its_owner_named(way: GrantKind, named: bool, tmp_path: Path) -> None:
    """A server that names its own authorization server would otherwise be given the secret by the first request.

    With a browser too: pushed authorization requests come before it opens, and the token after.
    """
    with thief(tmp_path / "secret") as (url, options, sent):
        options = replace(options, grant=way, issuer=url.removesuffix("/mcp") if named else None)
        credentials = Credentials()
        client = HttpClient(
            url, credentials, authorizer=lambda: Authorizer(url, credentials, options, note=lambda _: None)
        )
        if named and options.machine:
            async with await client.request("POST", {}, b"null") as answer:
                assert answer.status == 401
        else:
            with pytest.raises(HttpFailure, match=r"invalid_request: \\x1b\[2J" if named else "--oauth-issuer"):
                await client.request("POST", {}, b"null")
        await client.close()
    assert any(word.startswith("Basic ") for word in sent) is named


@pytest.mark.parametrize("wanted", ["", "https://login.example.com", "the one that gave it"])
async def test_a_kept_login_takes_no_secret_to_the_issuer_that_gave_it(wanted: str, tmp_path: Path) -> None:
    """It may be of a time when the client had no secret, and anybody's issuer would do."""
    with thief(tmp_path / "secret") as (url, options, sent):
        evil = url.removesuffix("/mcp")
        issuer = evil if wanted.startswith("the") else wanted or None
        options = replace(options, grant=GrantKind.authorization_code, issuer=issuer)
        kept = Grant(evil, url, "machine", token="old", refresh_token="r", renew_at=1.0, expires_at=1.0)
        store_for(Keep.file, url, "machine").save(kept)
        authorizer = Authorizer(url, Credentials(), options, note=lambda _: None)
        await authorizer.headers("POST", url)
        with pytest.raises(UsageError, match="not revoked") if issuer != evil else contextlib.nullcontext():
            await authorizer.logout()
    assert store_for(Keep.file, url, "machine").load() is None
    assert sent == ([] if issuer != evil else [sent[0]] * 2)
    assert all(word.startswith("Basic ") for word in sent)


HERE, ELSEWHERE = "http://127.0.0.1:9200", "https://login.example.com"
THERE = [f"https://{host}/token" for host in ("api.example.com", "localhost.example.com", "128.1", "[::2]", "10.0.0.1")]


@pytest.mark.parametrize(
    "name", ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"]
)
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:631",
        "localhost",
        "[::1]:9200",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "0x7f.1:631",
        "0.0.0.0",
        "0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:0:0]",
        "LocalHost.",
        "127.0.0.1.",
        "db.localhost",
        "[0:0::1]",
    ],
)
def test_an_issuer_elsewhere_names_nothing_on_this_machine(name: str, host: str) -> None:
    with pytest.raises(RefusedError, match="on this machine"):
        Issuer.read(ELSEWHERE, {"issuer": ELSEWHERE, name: f"https://{host}/_all"})
    with pytest.raises(RefusedError, match="on this machine"):
        aliases = {"mtls_endpoint_aliases": {name: f"https://{host}/_all"}}
        Issuer.read(ELSEWHERE, {"issuer": ELSEWHERE, **aliases}).endpoint(name, mutual_tls=True)
    for issuer, place in ((HERE, f"https://{host}/_all"), *((ELSEWHERE, place) for place in THERE)):
        assert Issuer.read(issuer, {"issuer": issuer, name: place}).endpoint(name) == place


@pytest.mark.parametrize(
    ("url", "issuer", "named", "good"),
    [
        ("https://mcp.example.com/mcp", HERE, None, False),
        ("https://mcp.example.com/mcp", HERE, HERE, True),
        ("https://mcp.example.com/mcp", ELSEWHERE, None, True),
        ("http://127.0.0.1:9000/mcp", HERE, None, True),
    ],
)
def test_a_server_elsewhere_names_no_issuer_on_this_machine(
    url: str, issuer: str, named: str | None, good: bool
) -> None:
    authorizer = Authorizer(url, Credentials(), Settings(keep=Keep.file, issuer=named), note=lambda _: None)
    if good:
        assert authorizer._issuer_of(Resource(url, (issuer,))) == issuer
        return
    with pytest.raises(RefusedError, match="on this machine"):
        authorizer._issuer_of(Resource(url, (issuer,)))


async def test_metadata_that_comes_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time, the last one never: all who wait for one login would wait with it."""
    monkeypatch.setattr("mcpsec.connect.oauth.http._SECONDS", 0.5)

    async def drip(seen: Seen) -> None:
        await seen.write("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{")
        while not seen.gone.is_set():
            await seen.write(" ")
            await asyncio.sleep(0.02)

    async with ScriptedServer(drip) as server:
        with pytest.raises(NotAssessedError, match="in time"):
            await Callers(Credentials(), None).get(server.url)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
async def test_what_stays_on_this_machine_passes_no_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes and tokens go over plain HTTP there, because nobody else sees them."""
    for other in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)

    async def answer(seen: Seen) -> None:
        await seen.answer(200, {"path": seen.path})

    async with ScriptedServer(answer) as proxy, ScriptedServer(answer) as server:
        monkeypatch.setenv(name, proxy.url.removesuffix("/mcp"))
        assert (await Callers(Credentials(), None).get(server.url)).document == {"path": "/mcp"}
        assert proxy.seen == []
        with contextlib.suppress(NotAssessedError):  # what is elsewhere does; this proxy opens no tunnels
            await Callers(Credentials(), None).get("http://login.example.com/x")
        assert len(proxy.seen) == 1


async def test_a_refusal_that_wants_no_token_is_passed_on() -> None:
    def change(documents: dict[str, Any]) -> None:
        documents["challenge"] = 'Basic realm="x"'

    async with told(change) as (client, _, paths):
        async with await client.request("POST", {}, b"{}") as response:
            assert response.status == 401
    assert paths == ["/mcp"]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('Bearer realm="a, b", scope="x y"', [("bearer", {"realm": "a, b", "scope": "x y"})]),
        ('Negotiate YWJj==, DPoP algs="ES256", error=use_dpop_nonce', [
            ("negotiate", {}), ("dpop", {"algs": "ES256", "error": "use_dpop_nonce"}),
        ]),
        ('Bearer', [("bearer", {})]),
        ('Bearer error="say \\"no\\""', [("bearer", {"error": 'say "no"'})]),
        ("Basic, BEARER Error=invalid_token", [("basic", {}), ("bearer", {"error": "invalid_token"})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges_are_read(field: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert challenges(field) == [Challenge(*pair) for pair in expected]


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('Bearer DPoP=",\\ \t;abc/+==é'), max_size=80))
def test_reading_a_challenge_never_fails(field: str) -> None:
    token_challenge(field)


@pytest.mark.parametrize("url", ["http://db.localhost/x", "http://127.1/x", "http://0.0.0.0/x"])
def test_without_tls_only_the_plain_names_of_this_machine_will_do(url: str) -> None:
    """A name below ``localhost`` may be looked up elsewhere."""
    with pytest.raises(RefusedError):
        checked_url(url, "it")


@pytest.mark.parametrize("url", ["https://a.example/x", "http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]/x"])
def test_urls_that_may_be_called(url: str) -> None:
    assert checked_url(url, "it") == url


@pytest.mark.parametrize(
    "url",
    ["http://a.example/", "ftp://a/", "https:///x", "https://a/#f", "https://u@a/", "https://a/ b", None, 7, "https://a:b/"],
)  # fmt: skip
def test_urls_that_may_not(url: object) -> None:
    with pytest.raises(RefusedError):
        checked_url(url, "it")


def test_json_that_is_no_object_counts_for_nothing() -> None:
    from mcpsec.connect.oauth.http import _object

    assert _object(json.dumps([1]).encode()) == {}
    assert _object(b"[" * 100_000) == {}
