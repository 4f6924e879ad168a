"""Signed requests that repeat one: each is verified by its own bytes, and refused by the rule of the whole way."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mcpsec.deployment.model import Auth, Limits, Rate
from mcpsec.gateway import chain as chain_module
from mcpsec.gateway.chain import Chain
from mcpsec.gateway.failures import AuthenticationFailures, certified
from mcpsec.gateway.heads import KnownHeads
from mcpsec.gateway.limits import InFlight
from mcpsec.gateway.message import Answer, Exchange, Peer, Request
from mcpsec.gateway.policy import Policy
from mcpsec.gateway.state import MemoryState
from mcpsec.gateway.steps.authorise import Authorise
from mcpsec.gateway.steps.factors import Factors, FactorsComplete
from mcpsec.gateway.steps.identity import CertificateIdentity
from mcpsec.gateway.steps.parse import ParseMessage
from mcpsec.gateway.steps.route import Router
from mcpsec.gateway.steps.signature import SignatureCheck
from mcpsec.signing import SignedMessage, Signer, SigningKey, VerificationKey, Verifier
from mcpsec.signing.hmac_sha256 import canonical_string
from tests.fixtures.raw import call, request_bytes
from tests.gateway.policy.build import deployment
from tests.gateway.test_repeats import GRANT, HOST, OTHER_GRANT, Upstream

pytestmark = pytest.mark.anyio

HELLO, OTHER = call("echo", {"text": "hello"}), call("echo", {"text": "other"})
SECRETS = {"key-a": b"a" * 32, "key-b": b"b" * 32, "key-x": b"x" * 32}
Headers = dict[str, str]


class Recorder:
    healthy = True

    def __init__(self) -> None:
        self.records: list[tuple[Any, ...]] = []

    def request(self, exchange: Exchange) -> None:
        client = None if exchange.client is None else exchange.client.id
        self.records.append((exchange.status, exchange.rule, exchange.identified_by, client, exchange.claimed))


class Site:
    """The identity steps of a gateway that wants certificate and signature, in front of one upstream."""

    def __init__(self) -> None:
        made = deployment({"demo": {"*": "read"}}, {"a": GRANT, "b": OTHER_GRANT})
        self.deployment = replace(made, auth=Auth(require=("mtls", "signature")))
        clients = {each.id: each for each in self.deployment.clients}
        self.peer = Peer("192.0.2.1", fingerprint="00", not_after=time.time() + 1000, der=b"x", client=clients["a"])
        self.heads, self.recorder, self.state = KnownHeads(Limits()), Recorder(), MemoryState()
        self.failures = AuthenticationFailures(Rate(1000, 60.0, 1000))
        self.errors: list[Exception] = []
        policy, factors = Policy(self.deployment), Factors(self.deployment)
        keys = {id: VerificationKey(id, id[-1], secret=secret) for id, secret in SECRETS.items() if id != "key-x"}
        self.verifier = Verifier(keys, schemes=("hmac-sha256", "article"), max_age=60.0)
        self.signature = SignatureCheck(self.verifier, clients, factors, self.failures, self.state)
        steps = [
            CertificateIdentity(factors, self.failures),
            self.signature,
            FactorsComplete(factors, lambda _exchange: []),
            Router({"demo": Upstream()}, None),  # type: ignore[dict-item]
            ParseMessage(32),
            Authorise(lambda: policy, None),
        ]
        self.chain = Chain(steps, InFlight(10), self.recorder, lambda error, _: self.errors.append(error))  # type: ignore[arg-type]

    async def send(self, headers: Headers, body: bytes = HELLO) -> int:
        return await self.take(request_bytes(HOST, body, dict(headers)), body)

    async def take(self, data: bytes, body: bytes) -> int:
        request = self.heads.request(data)
        if request is None:
            request = Request(None, body)
            request.method, request.path = b"POST", b"/mcp"
            for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
                request.add_header(*line.split(b": ", 1))
            self.heads.remember(data, request)
        answer = await self.chain.handle(request, self.peer)
        assert isinstance(answer, Answer)
        assert not self.errors
        return answer.status


def signed(body: bytes = HELLO, key: str = "key-a", named: str = "key-a", ago: float = 0.0) -> Headers:
    fields = [line.split(b": ", 1) for line in request_bytes(HOST, body).partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    pairs = [(name.lower(), value) for name, value in fields]
    message = SignedMessage("POST", HOST, "/mcp", "", pairs, body)
    made = Signer(SigningKey(id=named, secret=SECRETS[key]), "hmac-sha256").sign(
        message, timestamp=int((time.time() - ago) * 1000)
    )
    return {name.title(): value for name, value in {"x-key-id": named, **made}.items()}


async def warm() -> Site:
    site = Site()
    for _ in range(3):
        assert await site.send(signed()) == 200
    (head,) = site.heads._heads.values()
    parts = [part for _, part in head.ways["a", b""].parts]
    assert site.signature not in parts, "the way is a shortened one"
    return site


ATTACKS: dict[str, tuple[Callable[[Headers], Headers], bytes, str]] = {
    "another body": (lambda _used: signed(), OTHER, "signature-invalid"),
    "a signature that is used": (lambda used: used, HELLO, "nonce-replayed"),
    "a nonce that is used, under a time of its own": (
        lambda used: {**signed(), "X-Nonce": used["X-Nonce"]}, HELLO, "signature-invalid"
    ),
    "another time": (lambda _used: {**signed(), "X-Timestamp": str(int(time.time() * 1000) + 5)}, HELLO, "signature-invalid"),
    "a stale one": (lambda _used: signed(ago=61.0), HELLO, "timestamp-stale"),
    "one of the future": (lambda _used: signed(ago=-31.5), HELLO, "timestamp-future"),
    "the key of nobody under a name": (lambda _used: signed(key="key-x"), HELLO, "signature-invalid"),
    "the key of another client": (lambda _used: signed(key="key-b", named="key-b"), HELLO, "key-of-another-client"),
    "a signature in capitals": (
        lambda _used: {**(made := signed()), "X-Signature": made["X-Signature"].upper()}, HELLO, "signature-malformed"
    ),
    "a signature cut short": (
        lambda _used: {**(made := signed()), "X-Signature": made["X-Signature"][:-1]}, HELLO, "signature-malformed"
    ),
    "a signature of zeros": (lambda _used: {**signed(), "X-Signature": "0" * 64}, HELLO, "signature-invalid"),
    "a time with a sign": (lambda _used: {**signed(), "X-Timestamp": "+179598892304"}, HELLO, "timestamp-malformed"),
    "a time with a digit more": (
        lambda _used: {**(made := signed()), "X-Timestamp": made["X-Timestamp"] + "0"}, HELLO, "timestamp-malformed"
    ),
    "a nonce with a blank": (lambda _used: {**signed(), "X-Nonce": "a b"}, HELLO, "nonce-malformed"),
    "a nonce that is too long": (lambda _used: {**signed(), "X-Nonce": "a" * 129}, HELLO, "nonce-malformed"),
    "no signature": (lambda _used: {}, HELLO, "signature-missing"),
    "no nonce": (lambda _used: {k: v for k, v in signed().items() if k != "X-Nonce"}, HELLO, "signature-invalid"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_does_not_prove_itself_is_refused_as_on_the_whole_way(name: str) -> None:
    make, body, rule = ATTACKS[name]
    records = []
    for way_of in (chain_module.way_of, lambda _exchange, _known, whole: whole):
        with pytest.MonkeyPatch.context() as patch:
            site = await warm()
            patch.setattr(chain_module, "way_of", way_of)
            used = signed()
            assert await site.send(used) == 200
            for _ in range(2):
                assert await site.send(make(used), body) == 401
                assert site.recorder.records[-1][1] == rule
            for _ in range(2):
                assert await site.send(signed()) == 200
        records.append(site.recorder.records)
    assert records[0] == records[1]
    assert records[0][-1] == (200, "granted", "mtls+signature", "a", "")


async def test_good_ones_pass_with_any_body_and_each_only_once() -> None:
    site = await warm()
    for number in range(30):
        body = call("echo", {"text": str(number)})
        made = signed(body)
        assert await site.send(made, body) == 200
        if number % 3 == 0:
            assert await site.send(made, body) == 401
            assert site.recorder.records[-1][1] == "nonce-replayed"
    assert await site.send(signed(ago=58.0)) == 200
    assert await site.send(signed(ago=-28.0)) == 200


ODD = {
    "a time with a digit more": ("0{:013d}", "abc", "timestamp-malformed"),
    "a time with a sign": ("+{:013d}", "abc", "timestamp-malformed"),
    "a time with an underscore": ("1_{:013d}", "abc", "timestamp-malformed"),
    "a nonce with a blank": ("{}", "a b", "nonce-malformed"),
    "a nonce with another's delimiter": ("{}", "a;b", "nonce-malformed"),
    "a nonce that is too long": ("{}", "a" * 129, "nonce-malformed"),
}


@pytest.mark.parametrize("name", ODD)
async def test_a_good_key_makes_no_odd_syntax_good(name: str) -> None:
    stamp, nonce, rule = ODD[name]
    site, made = await warm(), signed()
    made |= {"X-Timestamp": stamp.format(int(made["X-Timestamp"])), "X-Nonce": nonce}
    covered = [(b"mcp-method", b"tools/call"), (b"mcp-name", b"echo"), (b"mcp-protocol-version", b"2026-07-28")]
    message = SignedMessage("POST", HOST, "/mcp", "", [], HELLO)
    text = canonical_string(message, b"key-a", made["X-Timestamp"].encode(), nonce.encode(), covered)
    made["X-Signature"] = hmac.new(SECRETS["key-a"], text, hashlib.sha256).hexdigest()
    assert await site.send(made) == 401
    assert site.recorder.records[-1][1] == rule


async def test_good_ones_need_nothing_of_the_whole_way(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await warm()
    monkeypatch.setattr(site.verifier, "check", None)
    for number in range(5):
        body = call("echo", {"text": str(number)})
        assert await site.send(signed(body), body) == 200


async def test_a_nonce_that_the_whole_way_has_claimed_is_claimed_for_the_short_one() -> None:
    site, made = Site(), signed()
    assert await site.send(made) == 200  # the whole way: nobody knows the head yet
    for _ in range(3):
        assert await site.send(signed()) == 200
        assert await site.send(made) == 401


class Rotating:
    """As ``RotatingVerifier``, with keys that are given."""

    def __init__(self, verifier: Verifier) -> None:
        self.current = verifier
        self.check = verifier.check


async def test_a_key_that_is_another_now_verifies_nothing_more() -> None:
    site = await warm()
    rotating: Any = Rotating(site.verifier)
    site.signature._verifier = rotating
    site.heads._heads.clear()
    for _ in range(3):
        assert await site.send(signed()) == 200
    new = Verifier({"key-a": VerificationKey("key-a", "a", secret=b"n" * 32)}, schemes=("hmac-sha256",), max_age=60.0)
    rotating.current, rotating.check = new, new.check
    assert await site.send(signed()) == 401
    assert site.recorder.records[-1][1] == "signature-invalid"


async def test_failures_of_its_own_are_counted_and_refused_unheard() -> None:
    site = await warm()
    for _ in range(1000):
        site.failures.failed("192.0.2.1", certified("a"))
    assert await site.send(signed()) == 429
    assert site.recorder.records[-1][1] == "authentication-failures"


async def test_one_failure_leaves_the_way_short() -> None:
    site = await warm()
    assert await site.send({**signed(), "X-Signature": "0" * 64}) == 401
    (head,) = (each for each in site.heads._heads.values() if each.ways)
    for _ in range(3):
        assert await site.send(signed()) == 200
    assert site.signature not in [part for _, part in head.ways["a", b""].parts]


async def test_a_full_store_lets_nothing_pass() -> None:
    site = await warm()
    site.state._replay._capacity = 0
    assert await site.send(signed()) == 503
    assert site.recorder.records[-1][1] == "store-unavailable"


async def test_only_the_scheme_that_covers_the_whole_request_is_shortened() -> None:
    site, now = Site(), int(time.time() * 1000)
    for number in range(4):
        stamp = str(now - number)
        mac = hmac.new(SECRETS["key-a"], stamp.encode() + b":" + HELLO, hashlib.sha256).hexdigest()
        assert await site.send({"X-Key-Id": "key-a", "X-Timestamp": stamp, "X-Signature": mac}) == 200
    (head,) = site.heads._heads.values()
    assert site.signature in [part for _, part in head.ways["a", b""].parts]


LEGACY_HEAD = {"MCP-Protocol-Version": "2025-11-25"}


def legacy(name: str, **arguments: Any) -> bytes:
    """A call whose body seems to name the tool that is granted, whatever it names."""
    params = {"arguments": {"name": "echo", **arguments}, "name": name}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


def legacy_request(body: bytes, covered: bytes | None = None) -> bytes:
    """Signed as what ``covered`` is, if not as what it is."""
    lines = request_bytes(HOST, covered or body, dict(LEGACY_HEAD)).partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    pairs = [(name.lower(), value) for name, value in (line.split(b": ", 1) for line in lines)]
    message = SignedMessage("POST", HOST, "/mcp", "", pairs, covered or body)
    made = Signer(SigningKey(id="key-a", secret=SECRETS["key-a"]), "hmac-sha256").sign(message)
    fields = {name.title(): value for name, value in {"x-key-id": "key-a", **made}.items()}
    return request_bytes(HOST, body, {**LEGACY_HEAD, **fields})


async def test_signed_calls_of_the_2025_era_are_each_verified_and_judged_by_their_own_bytes() -> None:
    """Their heads name no tool: the body alone says which it is, and the signature covers the body."""
    site, mine, theirs = Site(), legacy("echo"), legacy("digest")
    for _ in range(3):
        assert await site.take(legacy_request(mine), mine) == 200
    (head,) = site.heads._heads.values()
    assert site.signature not in [part for way in head.ways.values() for _, part in way.parts], "a shortened one"
    for number in range(5):
        other = legacy("echo", number=number)
        assert await site.take(legacy_request(other), other) == 200
        used = legacy_request(mine)
        assert await site.take(used, mine) == 200
        for data, body, status, rule in (
            (used, mine, 401, "nonce-replayed"),
            (legacy_request(other, mine), other, 401, "signature-invalid"),
            (legacy_request(theirs, mine), theirs, 401, "signature-invalid"),
            (request_bytes(HOST, mine, dict(LEGACY_HEAD)), mine, 401, "signature-missing"),
            (legacy_request(theirs), theirs, 403, "resource-not-granted"),
        ):
            assert (await site.take(data, body), site.recorder.records[-1][1]) == (status, rule)
