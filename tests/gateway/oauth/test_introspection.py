"""An issuer that answers badly when it is asked about a token: then there is no token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from mcpsec.deployment.model import Introspection as IntrospectionConfig
from mcpsec.gateway.oauth.access import digest_of
from mcpsec.gateway.oauth.addresses import AddressRules
from mcpsec.gateway.oauth.compact import TokenError
from mcpsec.gateway.oauth.fetch import DOCUMENT_BYTES, Fetcher
from mcpsec.gateway.oauth.introspection import Introspection
from mcpsec.gateway.oauth.issuer import Issuer as IssuerPlaces
from mcpsec.gateway.oauth.keyset import KeysUnavailableError
from mcpsec.secretrefs import SecretRef
from tests.fixtures.issuer import Issuer, running_issuer

pytestmark = pytest.mark.anyio

Reply = tuple[int, dict[str, str], bytes]
JSON = {"content-type": "application/json"}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


async def ask(issuer: Issuer, reply: Callable[[dict[str, str]], Reply], *, timeout: float = 60.0) -> Any:
    """What becomes of a token when the issuer answers so."""
    issuer.replies["/introspect"] = reply
    fetcher = Fetcher(AddressRules(), timeout=timeout)
    config = IntrospectionConfig(client_id="gateway", client_secret=SecretRef("env", "UNUSED"), cache=0.0)
    places = IssuerPlaces(fetcher, issuer.url, jwks_url=None, introspection_url=None)
    introspection = Introspection(config, issuer.url, places, fetcher, lambda: "secret")
    try:
        return await introspection.ask("opaque-token")
    finally:
        await introspection.close()
        await fetcher.close()


def told(issuer: Issuer, **changes: Any) -> bytes:
    return json.dumps({"active": True, **issuer.claims(), **changes}).encode()


async def test_a_good_answer_is_a_token(issuer: Issuer) -> None:
    assert (await ask(issuer, lambda _: (200, JSON, told(issuer)))).client_id == "tester-app"


@pytest.mark.parametrize("active", [False, None, "true", "True", 1, [True], {"active": True}, 0, ""])
async def test_only_true_is_active(issuer: Issuer, active: Any) -> None:
    with pytest.raises(TokenError) as refused:
        await ask(issuer, lambda _: (200, JSON, told(issuer, active=active)))
    assert refused.value.rule == "token-inactive"


BAD: dict[str, Callable[[Issuer], Reply]] = {
    "huge": lambda issuer: (200, JSON, told(issuer, pad="x" * DOCUMENT_BYTES)),
    "no JSON": lambda issuer: (200, JSON, b"<html>active</html>"),
    "a list": lambda issuer: (200, JSON, b"[" + told(issuer) + b"]"),
    "two values": lambda issuer: (200, JSON, told(issuer) * 2),
    "active twice": lambda issuer: (200, JSON, told(issuer).replace(b'{"active"', b'{"active": false, "active"', 1)),
    "a claim twice": lambda issuer: (200, JSON, told(issuer).replace(b"{", b'{"sub": "other", ', 1)),
    "NaN": lambda issuer: (200, JSON, told(issuer).replace(b'"active": true', b'"active": true, "x": NaN', 1)),
    "deep": lambda issuer: (200, JSON, b'{"active":true,"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "a redirect": lambda issuer: (302, {"location": f"{issuer.url}/elsewhere"}, told(issuer)),
    "a redirect that keeps the method": lambda issuer: (307, {"location": f"{issuer.url}/elsewhere"}, told(issuer)),
    "an error": lambda issuer: (500, JSON, told(issuer)),
    "not allowed": lambda issuer: (401, JSON, told(issuer)),
    "created": lambda issuer: (201, JSON, told(issuer)),
    "compressed": lambda issuer: (200, {**JSON, "content-encoding": "gzip"}, told(issuer)),
    "another content type": lambda issuer: (200, {"content-type": "text/html"}, told(issuer)),
    "a signed answer": lambda issuer: (200, {"content-type": "application/token-introspection+jwt"}, told(issuer)),
    "no content type": lambda issuer: (200, {}, told(issuer)),
    "nothing": lambda issuer: (200, JSON, b""),
}


@pytest.mark.parametrize("name", BAD)
async def test_an_answer_that_is_none(issuer: Issuer, name: str) -> None:
    reply = BAD[name](issuer)
    with pytest.raises(KeysUnavailableError):
        await ask(issuer, lambda _: reply)
    assert issuer.count("/elsewhere") == 0, "no redirect is followed"
    assert await ask(issuer, lambda _: (200, JSON, told(issuer)))


@pytest.mark.parametrize(
    "changes",
    [{"iss": "https://evil.example"}, {"exp": "soon"}, {"exp": None}, {"exp": True}],
)
async def test_an_answer_that_says_something_else(issuer: Issuer, changes: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        await ask(issuer, lambda _: (200, JSON, told(issuer, **changes)))


async def test_an_issuer_that_does_not_answer(issuer: Issuer) -> None:
    gate = threading.Event()

    def slow(_: dict[str, str]) -> Reply:
        gate.wait(60)
        return 200, JSON, told(issuer)

    try:
        with pytest.raises(KeysUnavailableError):
            await ask(issuer, slow, timeout=0.5)
    finally:
        gate.set()


async def test_what_the_issuer_said_is_remembered_for_a_while_and_bounded(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpsec.gateway.oauth.introspection._REMEMBERED", 2)
    asked: list[str] = []

    def reply(form: dict[str, str]) -> Reply:
        asked.append(form["token"])
        return 200, JSON, told(issuer)

    issuer.replies["/introspect"] = reply
    fetcher = Fetcher(AddressRules(), timeout=60.0)
    config = IntrospectionConfig(client_id="gateway", client_secret=SecretRef("env", "UNUSED"), cache=10.0)
    places = IssuerPlaces(fetcher, issuer.url, jwks_url=None, introspection_url=None)
    now = [100.0]
    introspection = Introspection(config, issuer.url, places, fetcher, lambda: "secret", clock=lambda: now[0])
    for text in ("a", "a", "b", "c", "b", "a"):
        assert (await introspection.ask(text)).client_id == "tester-app"
    assert asked == ["a", "b", "c", "a"]  # the oldest of three was forgotten
    now[0] += 11.0
    await introspection.ask("a")
    assert asked[-2:] == ["a", "a"]
    with pytest.raises(TokenError) as refused:
        await introspection.ask("x" * 100_000)
    assert refused.value.rule == "token-too-large"
    await fetcher.close()


async def test_many_who_ask_of_one_token_make_one_question_and_too_many_questions_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mcpsec.gateway.oauth.introspection._ASKING", 2)
    asked: list[str] = []
    gate = asyncio.Event()

    class Slow:
        @contextlib.asynccontextmanager
        async def deadline(self) -> AsyncIterator[None]:
            yield

        async def place(self, _: str) -> str:
            return "https://issuer.example/introspect"

        async def post(self, _url: str, form: dict[str, str], _authorization: str) -> dict[str, Any]:
            asked.append(form["token"])
            await gate.wait()
            return {"active": False}

    slow: Any = Slow()
    config = IntrospectionConfig(client_id="gateway", client_secret=SecretRef("env", "UNUSED"), cache=0.0)
    introspection = Introspection(config, "https://issuer.example", slow, slow, lambda: "secret")
    waiting = [asyncio.ensure_future(introspection.ask(text)) for text in ("a", "a", "b")]
    await asyncio.sleep(0.01)
    with pytest.raises(KeysUnavailableError, match="too many tokens"):
        await introspection.ask("c")
    assert asked == ["a", "b"]
    await introspection.close()
    assert all(
        isinstance(error, asyncio.CancelledError) for error in await asyncio.gather(*waiting, return_exceptions=True)
    )


async def test_what_was_active_when_it_was_asked_about_last_is_no_guess(issuer: Issuer) -> None:
    """The gateway asks again about such a token, also for an address whose other tokens it no longer hears."""
    active = {"a": True}
    issuer.replies["/introspect"] = lambda form: (200, JSON, told(issuer, active=active.get(form["token"], False)))
    fetcher = Fetcher(AddressRules(), timeout=60.0)
    config = IntrospectionConfig(client_id="gateway", client_secret=SecretRef("env", "UNUSED"), cache=10.0)
    places = IssuerPlaces(fetcher, issuer.url, jwks_url=None, introspection_url=None)
    now = [100.0]
    introspection = Introspection(config, issuer.url, places, fetcher, lambda: "secret", clock=lambda: now[0])
    await introspection.ask("a")
    with pytest.raises(TokenError):
        await introspection.ask("junk")
    now[0] += 11.0
    assert introspection.remembers(digest_of("a")), "its answer is due again, and it was none that somebody made up"
    assert not introspection.remembers(digest_of("junk"))
    active.clear()  # it is revoked
    with pytest.raises(TokenError):
        await introspection.ask("a")
    assert not introspection.remembers(digest_of("a"))
    await fetcher.close()
