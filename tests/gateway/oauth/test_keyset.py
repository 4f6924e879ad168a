"""The issuer's keys: who waits, who doesn't, and what an issuer that misbehaves can do (nothing)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.oauth.addresses import AddressRules, ForbiddenError
from mcpsec.gateway.oauth.compact import TokenError, fits, public_key, read_jwt, verify_signature
from mcpsec.gateway.oauth.fetch import DOCUMENT_BYTES, Fetcher, FetchError
from mcpsec.gateway.oauth.issuer import Issuer as IssuerPlaces
from mcpsec.gateway.oauth.issuer import metadata_urls
from mcpsec.gateway.oauth.keyset import COOLDOWN, LIFETIME, REFRESH, RETRY, KeySet, KeysUnavailableError
from tests.fixtures.issuer import Issuer, running_issuer
from tests.fixtures.pki import Authority

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Answers with ``keys``, or fails; counts how often it was asked."""

    def __init__(self, *names: str) -> None:
        self.keys = {name: ECKey.generate_key("P-256", {"kid": name}).as_dict(private=False) for name in names}
        self.asked = 0
        self.trouble: str | None = None
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise FetchError(self.trouble)
        return {"keys": list(self.keys.values())}

    def add(self, name: str) -> None:
        self.keys[name] = ECKey.generate_key("P-256", {"kid": name}).as_dict(private=False)


def key_set(source: Source, **options: Any) -> tuple[KeySet, Clock]:
    clock = Clock()
    return KeySet(source, clock=clock, **options), clock


async def settled(keys: KeySet) -> None:
    """Let a fetch in the background finish."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_requests_make_one_fetch() -> None:
    source = Source("a")
    keys, _ = key_set(source)
    found = await asyncio.gather(*(keys.obtain("a", "ES256") for _ in range(50)))
    assert source.asked == 1
    assert all(key is not None for key in found)
    assert keys.find("a", "ES256") is not None


async def test_unknown_keys_cause_few_fetches_and_new_keys_are_found() -> None:
    source = Source("a")
    keys, clock = key_set(source)
    assert await keys.obtain("a", "ES256") is not None
    assert [await keys.obtain(f"made-up-{number}", "ES256") for number in range(100)] == [None] * 100
    assert source.asked == 1
    source.add("b")
    clock.now += COOLDOWN + 1
    assert await keys.obtain("b", "ES256") is not None
    assert source.asked == 2


async def test_a_key_that_is_gone_is_gone_after_the_next_fetch() -> None:
    source = Source("a", "b")
    keys, clock = key_set(source)
    await keys.obtain("a", "ES256")
    before = keys.generation
    del source.keys["a"]
    clock.now += REFRESH + 1
    assert keys.find("a", "ES256") is not None  # nobody waits: the fetch has only begun
    await settled(keys)
    assert keys.find("a", "ES256") is None
    assert keys.generation != before  # what was verified with it is void


async def test_an_issuer_that_is_down_is_survived_for_a_while_and_not_for_ever() -> None:
    source, told = Source("a"), []
    keys, clock = key_set(source, told=told.append)
    await keys.obtain("a", "ES256")
    source.trouble = "down"
    clock.now += REFRESH + 1
    assert keys.find("a", "ES256") is not None
    await settled(keys)
    assert told == ["down"]
    for _ in range(10):
        keys.find("a", "ES256")
    await settled(keys)
    assert source.asked == 2  # it is left alone for a moment
    with pytest.raises(KeysUnavailableError):
        await keys.obtain("unknown", "ES256")  # not known to be unknown: fail closed, and say so
    clock.now += LIFETIME
    assert keys.find("a", "ES256") is None
    with pytest.raises(KeysUnavailableError):
        await keys.obtain("a", "ES256")
    source.trouble = None
    clock.now += RETRY + 1
    assert await keys.obtain("a", "ES256") is not None
    assert told == ["down", None]


async def test_a_waiter_that_goes_away_takes_nobody_else_along() -> None:
    source = Source("a")
    source.gate = asyncio.Event()
    keys, _ = key_set(source)
    first = asyncio.ensure_future(keys.obtain("a", "ES256"))
    second = asyncio.ensure_future(keys.obtain("a", "ES256"))
    await settled(keys)
    first.cancel()
    source.gate.set()
    assert await second is not None
    assert source.asked == 1
    assert first.cancelled()


@pytest.mark.parametrize(
    "document",
    [{}, {"keys": {}}, {"keys": []}, {"keys": [{"kty": "oct", "k": "AAAA"}]}, {"keys": [{"kty": "EC"}, 7, None]},
     {"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]}, {"keys": [{}] * 101}],
)  # fmt: skip
async def test_a_set_without_a_usable_key_is_a_failure(document: dict[str, Any]) -> None:
    async def load() -> dict[str, Any]:
        return document

    with pytest.raises(KeysUnavailableError):
        await KeySet(load).obtain("a", "ES256")


# --- what may be called -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://login.test/", "http://169.254.169.254/latest/meta-data", "ftp://login.test/", "file:///etc/passwd",
     "https://user:pw@login.test/", "https://login.test/#x", "https:///x", "//login.test/", "https://login.test:0/",
     "https://login.test:99999/", "https://lo gin.test/", "http://127.0.0.1.nip.test/", "http://[::ffff:10.0.0.1]/"],
)  # fmt: skip
def test_urls_that_are_not_called(url: str) -> None:
    with pytest.raises(ForbiddenError):
        AddressRules().check_url(url)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
     "64:ff9b::a00:1", "2002:7f00:1::"],
)  # fmt: skip
def test_addresses_that_are_not_called(address: str) -> None:
    with pytest.raises(ForbiddenError):
        AddressRules().check_address("login.test", address)


def test_addresses_that_are_called() -> None:
    AddressRules().check_address("login.test", "93.184.215.14")
    AddressRules().check_address("login.test", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    AddressRules().check_address("localhost", "127.0.0.1")
    AddressRules(["10.1.0.0/16"]).check_address("login.test", "10.1.2.3")
    with pytest.raises(ForbiddenError):
        AddressRules(["10.1.0.0/16"]).check_address("login.test", "10.2.0.1")
    with pytest.raises(ForbiddenError):  # a name of this machine that leads elsewhere
        AddressRules(["10.1.0.0/16"]).check_address("localhost", "10.1.2.3")


def test_where_metadata_is_looked_for() -> None:
    assert metadata_urls("https://login.test/tenant") == [
        "https://login.test/.well-known/oauth-authorization-server/tenant",
        "https://login.test/.well-known/openid-configuration/tenant",
        "https://login.test/tenant/.well-known/openid-configuration",
    ]
    assert metadata_urls("https://login.test/")[0] == "https://login.test/.well-known/oauth-authorization-server"


# --- over real connections ----------------------------------------------------------------------------------------------


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


def places(issuer: Issuer, fetcher: Fetcher) -> IssuerPlaces:
    return IssuerPlaces(fetcher, issuer.url, jwks_url=None, introspection_url=None)


async def failure(issuer: Issuer, *, timeout: float = 60.0) -> str:
    fetcher = Fetcher(AddressRules(), timeout=timeout)
    try:
        with pytest.raises(FetchError) as raised:
            await places(issuer, fetcher).keys()
        return str(raised.value)
    finally:
        await fetcher.close()


async def test_keys_are_found_by_the_issuers_name(issuer: Issuer) -> None:
    fetcher = Fetcher(AddressRules(), timeout=60.0)
    keys = KeySet(places(issuer, fetcher).keys)
    assert await keys.obtain("first", "ES256") is not None
    await fetcher.close()


async def test_redirects_are_not_followed(issuer: Issuer) -> None:
    issuer.replies["/jwks"] = lambda _: (302, {"location": f"{issuer.url}/elsewhere"}, b"")
    assert "redirect" in await failure(issuer)
    assert issuer.count("/elsewhere") == 0


async def test_a_redirect_to_no_url_is_a_failure_too(issuer: Issuer) -> None:
    issuer.replies["/jwks"] = lambda _: (302, {"location": "http:x//127.0.0.1/"}, b"")
    assert "InvalidURL" in await failure(issuer)


async def test_a_huge_answer_is_cut_off(issuer: Issuer) -> None:
    issuer.replies["/jwks"] = lambda _: (200, {}, b" " * (DOCUMENT_BYTES * 40))
    assert "larger than" in await failure(issuer)


async def test_a_compressed_answer_is_not_unpacked(issuer: Issuer) -> None:
    issuer.replies["/jwks"] = lambda _: (200, {"content-encoding": "gzip"}, b"\x1f\x8b")
    assert "compressed" in await failure(issuer)


async def test_a_slow_issuer_has_a_deadline(issuer: Issuer) -> None:
    import threading

    gate = threading.Event()

    def slow(_: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        gate.wait(60)
        return 200, {}, b"{}"

    issuer.replies["/.well-known/oauth-authorization-server"] = slow
    try:
        assert "no answer within" in await failure(issuer, timeout=0.5)
    finally:
        gate.set()


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"keys":', b"[" * 100_000, b"\xff"])
async def test_an_answer_that_is_no_object_is_a_failure(body: bytes, issuer: Issuer) -> None:
    issuer.replies["/jwks"] = lambda _: (200, {}, body)
    assert "not a JSON object" in await failure(issuer)


async def test_metadata_of_another_issuer_is_not_believed(issuer: Issuer) -> None:
    issuer.metadata["issuer"] = "https://login.evil.test/"
    assert "another issuer" in await failure(issuer)


@pytest.mark.parametrize("url", ["http://10.0.0.1/jwks", "http://metadata.internal/jwks", "file:///etc/passwd"])
async def test_metadata_can_not_send_the_gateway_elsewhere(url: str, issuer: Issuer) -> None:
    issuer.metadata["jwks_uri"] = url
    text = await failure(issuer)
    assert "https" in text or "place" in text


async def test_metadata_of_a_public_issuer_can_not_name_this_machine() -> None:
    class Answers(Fetcher):
        async def get(self, url: str) -> dict[str, Any]:
            return {"issuer": "https://login.test/", "jwks_uri": "http://127.0.0.1:6379/"}

    source = IssuerPlaces(
        Answers(AddressRules(), timeout=1), "https://login.test/", jwks_url=None, introspection_url=None
    )
    with pytest.raises(FetchError, match="not a place"):
        await source.place("jwks_uri")


async def test_tls_is_verified_by_name(tmp_path: Path) -> None:
    """The connection goes to an address, the certificate must still be the name's."""
    authority = Authority(tmp_path / "ca")
    identity = authority.server("login", trusts=authority.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"fine": True}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        trusting = Fetcher(AddressRules(), timeout=60.0, ca=authority.certificate)
        assert await trusting.get(f"https://localhost:{port}/") == {"fine": True}
        await trusting.close()
        stranger = Fetcher(AddressRules(), timeout=60.0)
        with pytest.raises(FetchError, match="certificate"):
            await stranger.get(f"https://localhost:{port}/")
        await stranger.close()


class Resolver:
    """Stands for a name server whose answers an attacker changes from one question to the next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._look_up)

    async def _look_up(self, host: str, port: int, **_: Any) -> list[Any]:
        if host[0].isdigit():
            return [(2, 1, 6, "", (host, port))]
        self.asked += 1
        return [(2, 1, 6, "", (each, port)) for each in self.answers.pop(0)]


async def test_a_name_that_moves_to_a_private_address_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: each fetch resolves once, judges every address, and goes to a judged one."""
    authority = Authority(tmp_path / "ca")
    name = x509.DNSName("login.test")
    identity = authority._issue("login", [name], ExtendedKeyUsageOID.SERVER_AUTH, authority.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    reached: list[str] = []
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer.get_extra_info("sockname")[0])
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            await writer.drain()
            await reader.read()
        await ended(writer, gone)

    server = await asyncio.start_server(answer, "127.0.0.9", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        fetcher = Fetcher(AddressRules(["127.0.0.1/32"]), timeout=60.0, ca=authority.certificate)
        # What may be called is 127.0.0.1, where nobody listens; 127.0.0.9 is the machine that the attacker wants.
        resolver = Resolver(monkeypatch, ["127.0.0.1"], ["127.0.0.9"], ["127.0.0.1", "127.0.0.9"], ["127.0.0.9"])
        with pytest.raises(FetchError, match="can't be connected to"):
            await fetcher.get(f"https://login.test:{port}/")
        assert resolver.asked == 1, "judged and called is the answer to one question"
        for _ in range(2):
            with pytest.raises(FetchError, match="a private address"):
                await fetcher.get(f"https://login.test:{port}/")
        assert reached == []
        await fetcher.close()
        # The twin: where that address may be called, it is.
        willing = Fetcher(AddressRules(["127.0.0.9/32"]), timeout=60.0, ca=authority.certificate)
        assert await willing.get(f"https://login.test:{port}/") == {} and reached == ["127.0.0.9"]
        await willing.close()
        await gone.wait()


async def ended(writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
    """The server's side of a connection is closed, and the test may end."""
    writer.transport.abort()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    gone.set()


async def test_a_body_that_never_ends_has_the_same_deadline() -> None:
    """An issuer that keeps sending a little is as slow as one that sends nothing."""

    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        await ended(writer, gone)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        fetcher = Fetcher(AddressRules(), timeout=0.5)
        with pytest.raises(FetchError, match="no answer within"):
            await fetcher.get(f"http://127.0.0.1:{port}/")
        await fetcher.close()
        await gone.wait()


async def test_a_defect_while_fetching_is_told_like_any_trouble_and_a_start_is_only_one() -> None:
    told: list[str | None] = []

    async def broken() -> dict[str, Any]:
        raise ZeroDivisionError("nobody foresaw this")

    keys = KeySet(broken, told=told.append)
    keys.start()
    keys.start()
    with pytest.raises(KeysUnavailableError, match="internal error ZeroDivisionError"):
        await keys.obtain("a", "ES256")
    assert told == ["internal error ZeroDivisionError"]


async def test_closing_gives_up_a_fetch_that_is_under_way() -> None:
    source = Source("a")
    source.gate = asyncio.Event()
    keys, _ = key_set(source)
    await keys.close()
    keys.start()
    await asyncio.sleep(0)
    await keys.close()
    source.gate.set()
    await settled(keys)
    assert source.asked == 1 and keys.find("a", "ES256") is None


async def test_a_file_of_no_certificates_a_name_without_address_and_too_many_hosts(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigurationError, match="no CA certificates can be read"):
        Fetcher(AddressRules(), timeout=1.0, ca=tmp_path / "ca.pem")
    fetcher = Fetcher(AddressRules(), timeout=60.0)
    try:
        with pytest.raises(FetchError, match="has no address"):
            await fetcher.get(f"https://{'a' * 64}.example/keys")
        await places(issuer, fetcher).keys()
        monkeypatch.setattr("mcpsec.gateway.oauth.fetch._MOST_CLIENTS", 1)
        with pytest.raises(FetchError, match="too many different hosts"):
            await fetcher.get(issuer.url.replace("127.0.0.1", "localhost") + "/keys")
    finally:
        await fetcher.close()


@pytest.mark.parametrize(
    ("document", "said"), [({}, "has no jwks_uri"), ({"jwks_uri": "https://[x"}, "is not a place")]
)
def test_metadata_that_names_no_place(document: dict[str, Any], said: str) -> None:
    found = IssuerPlaces(None, "https://login.test", jwks_url=None, introspection_url=None)  # type: ignore[arg-type]
    with pytest.raises(FetchError, match=said):
        found._linked(document, "jwks_uri")


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


_TWICE = base64.urlsafe_b64encode(b'{"alg":"ES256","alg":"none"}').rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x" * 20_000, "token-too-large"),
        ("only.two", "token-malformed"),
        ("a b.c.d", "token-malformed"),
        (f"{_part([1])}.{_part({})}.eA", "token-malformed"),
        (f"{_part({})}.{_part({})}.eA", "token-malformed"),
        (f"bm9uc2Vuc2U.{_part({})}.eA", "token-malformed"),
        (f"{_part({'alg': 'ES256', 'kid': 'k' * 300})}.{_part({})}.eA", "token-malformed"),
        (f"{_part({'alg': 'ES256', 'kid': 7})}.{_part({})}.eA", "token-malformed"),
        (f"{_part({'alg': 'ES256', 'crit': ['exp']})}.{_part({})}.eA", "token-critical"),
        (f"{_TWICE}.{_part({})}.eA", "token-malformed"),
    ],
)
def test_what_is_no_token_is_not_read(text: str, rule: str) -> None:
    with pytest.raises(TokenError) as refused:
        read_jwt(text)
    assert refused.value.rule == rule


def test_small_rsa_keys_are_none_and_the_old_name_of_ed25519_is_read() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = RSAKey.generate_key(1024).as_dict(private=False)
        key = OKPKey.generate_key("Ed25519")
        text = jws.serialize_compact({"alg": "EdDSA"}, b"{}", key, algorithms=["EdDSA"])
        other = jws.serialize_compact({"alg": "EdDSA"}, b"{}", OKPKey.generate_key("Ed25519"), algorithms=["EdDSA"])
    assert public_key(small) is None
    public = public_key(key.as_dict(private=False))
    assert public is not None and fits(public, "EdDSA")
    verify_signature(read_jwt(text), public)
    with pytest.raises(TokenError):
        verify_signature(read_jwt(other), public)
