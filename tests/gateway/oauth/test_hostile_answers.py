"""What an authorization server answers, against variants made to break it: something usable, or a reason in words."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from joserfc.jwk import ECKey, RSAKey

from mcpsec.deployment.model import Introspection as IntrospectionConfig
from mcpsec.gateway.oauth.access import AccessToken
from mcpsec.gateway.oauth.addresses import AddressRules, ForbiddenError
from mcpsec.gateway.oauth.compact import ALGORITHMS, TokenError, read_jwt, verify_signature
from mcpsec.gateway.oauth.fetch import Fetcher, FetchError
from mcpsec.gateway.oauth.introspection import Introspection
from mcpsec.gateway.oauth.issuer import Issuer
from mcpsec.gateway.oauth.keyset import KeySet, KeysUnavailableError
from mcpsec.secretrefs import SecretRef
from tests.fixtures.issuer import sign
from tests.fixtures.mutations import examples, mutations
from tests.fixtures.pki import Authority

hostile = settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
PLACE = b"ISSUERISSUERISSUERISSU"
"""What stands in a document for the address of the server that sends it, and is as long."""


def answers(document: dict[str, Any]) -> list[bytes]:
    """One document in the ways that HTTP has to send it."""
    body = json.dumps(document).encode()
    half = len(body) // 2
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:half], body[half:], b""))
    return [
        PLAIN + body,
        PLAIN.replace(b"connection: close", b"content-length: %d" % len(body)) + body,
        CHUNKED + pieces,
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + PLAIN + body,
        PLAIN.replace(b"200 OK", b"307 Go\r\nlocation: http://127.0.0.1:9/x") + body,
    ]


@contextlib.asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[str]:
    """Sends these bytes whatever is asked, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer.replace(PLACE, url.encode()))
            await writer.drain()
        writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{made.sockets[0].getsockname()[1]:05}"
    async with made:
        yield url


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Authority(tmp_path_factory.mktemp("ca")).certificate


@contextlib.asynccontextmanager
async def fetching(ca: Path) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(AddressRules(), timeout=60.0, ca=ca)
    try:
        yield fetcher
    finally:
        await fetcher.close()


def test_introspection(ca: Path) -> None:
    """A token comes only of an answer whose text says that it is active, and what it says can be worked with."""
    now = int(time.time())
    claims = {"active": True, "iss": PLACE.decode(), "sub": "s", "client_id": "c", "aud": ["a"], "exp": now + 600,
              "nbf": now, "iat": now, "scope": "a b", "cnf": {"x5t#S256": "A" * 43, "jkt": "B" * 43}}  # fmt: skip

    async def ask(answer: bytes) -> AccessToken:
        config = IntrospectionConfig(client_id="g", client_secret=SecretRef("env", "UNUSED"), cache=0.0)
        async with server(answer) as url, fetching(ca) as fetcher:
            places = Issuer(fetcher, url, jwks_url=None, introspection_url=f"{url}/introspect")
            asking = Introspection(config, url, places, fetcher, lambda: "secret")
            try:
                return await asking.ask("opaque")
            finally:
                await asking.close()

    seeds = answers(claims)
    for seed in seeds[:4]:
        assert asyncio.run(ask(seed)).client_id == "c"

    @hostile
    @given(mutations(*seeds))
    def attack(answer: bytes) -> None:
        try:
            token = asyncio.run(ask(answer))
        except (TokenError, KeysUnavailableError):
            return
        assert re.search(rb'active"?\s*:\s*true', re.sub(rb"\r\n[0-9a-f]+\r\n", b"", answer)) or b"\\u" in answer
        assert math.isfinite(token.expires) and math.isfinite(token.not_before)
        with contextlib.suppress(TokenError):
            token.check_time(time.time(), 60.0)
        assert token.subject in ("", "s") or token.subject.encode() in answer

    attack()


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e999", "true"])
def test_times_that_no_clock_shows(name: str, number: str) -> None:
    """JSON has whole numbers of any size, and anybody can write a token that holds one."""
    claims = json.loads(f'{{"iss": "i", "sub": "s", "aud": "a", "exp": 1, "{name}": {number}}}')
    with pytest.raises(TokenError) as refused:
        AccessToken.of(claims, "i")
    assert refused.value.rule == "token-claims"


def test_key_sets(ca: Path) -> None:
    """Keys that fit what they are used for, or trouble in words; a token is vouched for by the issuer's key alone."""
    own = ECKey.generate_key("P-256", {"kid": "first", "use": "sig"})
    others = [
        ECKey.generate_key("P-384", {"kid": "second", "alg": "ES384"}),
        RSAKey.generate_key(2048, {"kid": "third", "key_ops": ["verify"]}),
    ]
    entries = [key.as_dict(private=False) for key in (own, *others)]
    token = read_jwt(sign({"typ": "at+jwt", "alg": "ES256", "kid": "first"}, {"iss": "i"}, own))
    forged = read_jwt(sign({"typ": "at+jwt", "alg": "ES256"}, {"iss": "i"}, ECKey.generate_key("P-256")))

    async def look(answer: bytes) -> bool:
        troubles: list[str | None] = []
        async with server(answer) as url, fetching(ca) as fetcher:
            keys = KeySet(
                Issuer(fetcher, url, jwks_url=f"{url}/jwks", introspection_url=None).keys, told=troubles.append
            )
            try:
                key = await keys.obtain("first", "ES256")
            except KeysUnavailableError as error:
                assert "internal" not in str(error), answer
                assert troubles == [str(error)]
                return False
            finally:
                await keys.close()
            for algorithm in ALGORITHMS:
                for key_id in (None, "first", "second", "third"):
                    found = keys.find(key_id, algorithm)
                    if found is not None:
                        with pytest.raises(TokenError):
                            verify_signature(forged, found)
            if key is None:
                return False
            try:
                verify_signature(token, key)
            except TokenError:
                return False
            return True

    seeds = answers({"keys": entries})
    for seed in seeds[:4]:
        assert asyncio.run(look(seed))

    @hostile
    @given(mutations(*seeds))
    def attack(answer: bytes) -> None:
        asyncio.run(look(answer))

    attack()


def test_metadata(ca: Path) -> None:
    """A place comes only of metadata that names this issuer, and nothing is called that the rules forbid."""
    rules = AddressRules()
    document = {"issuer": PLACE.decode(), "jwks_uri": f"{PLACE.decode()}/jwks", "token_endpoint": "https://a.test/t",
                "introspection_endpoint": f"{PLACE.decode()}/introspect", "grant_types_supported": ["x"]}  # fmt: skip

    async def look(answer: bytes) -> None:
        async with server(answer) as url, fetching(ca) as fetcher:
            places = Issuer(fetcher, url, jwks_url=None, introspection_url=None)
            for name in ("jwks_uri", "introspection_endpoint"):
                place = await places.place(name)
                assert urlsplit(place).hostname
                assert PLACE in answer
                with contextlib.suppress(ForbiddenError):
                    assert rules.check_url(place).scheme in ("http", "https")

    seeds = answers(document)
    for seed in seeds[:4]:
        asyncio.run(look(seed))

    @hostile
    @given(mutations(*seeds))
    def attack(answer: bytes) -> None:
        with contextlib.suppress(FetchError):
            asyncio.run(look(answer))

    attack()
