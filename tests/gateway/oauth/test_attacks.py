"""Tokens that must not work, sent raw over TLS; the twin differs in that flaw alone and is answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from mcpsec.gateway.oauth.compact import TokenError
from mcpsec.gateway.oauth.dpop import Proof, check_proof
from tests.fixtures.deployments import EVERYTHING, OTHER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.issuer import AUDIENCE, Issuer, certificate_thumbprint, dpop_proof, encode, running_issuer, sign
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call

ECHO = call("echo", {"text": "hello"})
DEMO = {"demo": {"builtin": "demo", "access": {"*": "read"}}, "spare": {"builtin": "demo", "access": {"*": "read"}}}
PATH = "/mcp/demo"
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "alg": "RS256"})
STRANGER = ECKey.generate_key("P-256", {"kid": "first"})
HOLDER = ECKey.generate_key("P-256")
_sources = (f"127.0.{high}.{low}" for high, low in itertools.product(range(10, 250), range(1, 250)))


class Scene:
    """A gateway, its issuer, and one fresh network address for each attack, so that none is judged by another."""

    def __init__(self, running: Gateway, issuer: Issuer) -> None:
        self.running = running
        self.issuer = issuer
        self.source = next(_sources)
        self.sent = 0
        self.bound = {"x5t#S256": certificate_thumbprint(running.deployment.client.certificate)}
        self.foreign = {"x5t#S256": certificate_thumbprint(running.deployment.other.certificate)}

    def anonymous(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.running.deployment.client.ca))

    def post(self, authorization: str | None, *, path: str = PATH, **options: Any) -> Response:
        headers: dict[str, str | None] = {"Authorization": authorization, **options.pop("headers", {})}
        self.sent += 1
        with RawClient(
            self.running, options.get("identity"), source=self.source, context=options.get("context")
        ) as client:
            return client.post(ECHO, headers, path=path)

    def last_rule(self) -> str:
        """The rule of this address's latest event; the log is written a moment after the answer."""

        def events() -> list[dict[str, Any]] | None:
            every = self.running.deployment.events()
            own = [event for event in every if event.get("address") == self.source and "status" in event]
            return own if len(own) >= self.sent else None

        return str(wait_until(events, "the event of the last request")[-1]["rule"])


def deployment_of(directory: Path, issuer: Issuer, *, oauth: dict[str, Any], require: list[str]) -> Any:
    directory.mkdir()
    made = make_deployment(directory, DEMO, require=tuple(require))
    made.document["auth"]["oauth"] = {
        "issuer": issuer.url,
        "audience": AUDIENCE,
        "scopes": ["mcp"],
        "timeout": "60s",
        **oauth,
    }
    made.document["clients"][0]["oauth"] = {"client_id": "tester-app"}
    made.document["clients"].append(
        {"id": "other", "certificate": {"san": OTHER}, "oauth": {"subject": "other-user"}, **EVERYTHING}
    )
    made.write()
    return made


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        issuer.keys.append(RSA.as_dict(private=False))
        issuer.keys.append(RSAKey.generate_key(2048, {"kid": "rsa-next"}).as_dict(private=False))
        # What a careless issuer may publish too: a shared secret, and a key that is too short to sign anything.
        issuer.keys.append({"kty": "oct", "kid": "shared", "alg": "HS256", "k": encode(b"k" * 32)})
        yield issuer


@pytest.fixture(scope="module")
def bound_gateway(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Needs a certificate and a token that is bound to it."""
    made = deployment_of(tmp_path_factory.mktemp("bound") / "d", issuer, oauth={}, require=["mtls", "bearer"])
    running = start_gateway(made)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def open_gateway(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Needs a token only, with DPoP where it is bound to a key."""
    made = deployment_of(
        tmp_path_factory.mktemp("open") / "d",
        issuer,
        oauth={"method_scopes": {"read": "mcp:read"}},
        require=["bearer"],
    )
    running = start_gateway(made)
    yield running
    running.stop()


@pytest.fixture
def bound(bound_gateway: Gateway, issuer: Issuer) -> Scene:
    return Scene(bound_gateway, issuer)


@pytest.fixture
def keyed(open_gateway: Gateway, issuer: Issuer) -> Scene:
    return Scene(open_gateway, issuer)


def good(scene: Scene, **changes: Any) -> str:
    return scene.issuer.token(**{"cnf": scene.bound, "scope": "mcp", **changes})


# --- the token itself ---------------------------------------------------------------------------------------------------


def raw_jwt(header: dict[str, Any] | str, claims: dict[str, Any] | str, signature: bytes = b"") -> str:
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    return f"{encode(parts[0].encode())}.{encode(parts[1].encode())}.{encode(signature) or 'AA'}"


def claims_of(scene: Scene, **changes: Any) -> dict[str, Any]:
    return scene.issuer.claims(**{"cnf": scene.bound, "scope": "mcp", **changes})


def confused(scene: Scene) -> str:
    """The RSA public key, which everybody knows, used as an HMAC secret."""
    head = {"typ": "at+jwt", "alg": "HS256", "kid": "rsa"}
    text = f"{encode(json.dumps(head).encode())}.{encode(json.dumps(claims_of(scene)).encode())}"
    return f"{text}.{encode(hmac.digest(RSA.as_pem(private=False), text.encode(), 'sha256'))}"


def twice(scene: Scene) -> str:
    """A claim that two readers may read differently."""
    text = json.dumps(claims_of(scene, aud="https://elsewhere.test/"))
    text = f'{text[:-1]}, "aud": "{AUDIENCE}"}}'
    return sign({"typ": "at+jwt", "alg": "ES256", "kid": "first"}, text.encode(), scene.issuer.key)


def now() -> int:
    return int(time.time())


Forge = Callable[[Scene], str]
EVIL_JWK = STRANGER.as_dict(private=False)

TOKENS: dict[str, tuple[str, Forge]] = {
    "alg none": ("token-algorithm", lambda s: raw_jwt({"typ": "at+jwt", "alg": "none", "kid": "first"}, claims_of(s))),
    "alg none, other case": ("token-algorithm", lambda s: raw_jwt({"typ": "at+jwt", "alg": "nOnE"}, claims_of(s))),
    "HS256 with the RSA public key": ("token-algorithm", confused),
    "HS256 with a published secret": (
        "token-algorithm",
        lambda s: sign({"typ": "at+jwt", "alg": "HS256", "kid": "shared"}, claims_of(s), OctKey.import_key(b"k" * 32)),
    ),
    "RS256 under an EC key's name": (
        "token-key",
        lambda s: good(s, header={"alg": "RS256", "kid": "first"}, key=RSA),
    ),
    "another algorithm than the key's own": ("token-key", lambda s: good(s, header={"alg": "PS256", "kid": "rsa"}, key=RSA)),
    "signed by a stranger": ("token-signature", lambda s: good(s, key=STRANGER)),
    "jwk in the header": ("token-signature", lambda s: good(s, key=STRANGER, header={"jwk": EVIL_JWK})),
    "jku in the header": (
        "token-signature",
        lambda s: good(s, key=STRANGER, header={"jku": f"{s.issuer.url}/evil-jku"}),
    ),
    "x5u in the header": (
        "token-signature",
        lambda s: good(s, key=STRANGER, header={"x5u": f"{s.issuer.url}/evil-x5u"}),
    ),
    "kid of a path": ("token-key", lambda s: good(s, key=STRANGER, header={"kid": "../../../../dev/null"})),
    "kid of a query": ("token-key", lambda s: good(s, key=STRANGER, header={"kid": "' OR 1=1 --"})),
    "kid of a list": ("token-malformed", lambda s: good(s, header={"kid": ["first"]})),
    "kid of a kilobyte": ("token-malformed", lambda s: good(s, header={"kid": "k" * 1024})),
    "no kid, and several keys fit": (
        "token-key",
        lambda s: good(s, header={"alg": "RS256", "kid": None}, key=RSA),
    ),
    "crit": ("token-critical", lambda s: raw_jwt({"typ": "at+jwt", "alg": "ES256", "crit": ["b64"]}, claims_of(s))),
    "an ID token's type": ("token-type", lambda s: good(s, header={"typ": "JWT"})),
    "no type": ("token-type", lambda s: good(s, header={"typ": None})),
    "a DPoP proof as a token": ("token-type", lambda s: good(s, header={"typ": "dpop+jwt"})),
    "another issuer": ("token-issuer", lambda s: good(s, iss="https://login.evil.test/")),
    "the issuer with a slash more": ("token-issuer", lambda s: good(s, iss=f"{s.issuer.url}/")),
    "another audience": ("token-audience", lambda s: good(s, aud="https://other.test/mcp")),
    "the audience's prefix": ("token-audience", lambda s: good(s, aud="https://mcp.test/")),
    "the audience and more": ("token-audience", lambda s: good(s, aud=f"{AUDIENCE}.evil.test")),
    "another upstream's audience": ("token-audience", lambda s: good(s, aud=f"{AUDIENCE}/spare")),
    "no audience": ("token-claims", lambda s: good(s, aud=None)),
    "an audience of numbers": ("token-claims", lambda s: good(s, aud=[1])),
    "expired": ("token-expired", lambda s: good(s, exp=now() - 60)),
    "no expiry": ("token-claims", lambda s: good(s, exp=None)),
    "an expiry of text": ("token-claims", lambda s: good(s, exp="9999999999")),
    "an endless expiry": ("token-claims", lambda s: _infinite(s)),
    "not valid yet": ("token-not-yet-valid", lambda s: good(s, nbf=now() + 300)),
    "issued in the future": ("token-not-yet-valid", lambda s: good(s, iat=now() + 300)),
    "no subject": ("token-claims", lambda s: good(s, sub=None)),
    "two names of the client": ("token-claims", lambda s: good(s, azp="other-app")),
    "a subject of no client": ("token-of-no-client", lambda s: good(s, sub="nobody", client_id="nothing")),
    "two clients at once": ("token-of-no-client", lambda s: good(s, sub="other-user", client_id="tester-app")),
    "another client's": ("token-of-another-client", lambda s: good(s, sub="other-user", client_id="other-app")),
    "another certificate's": ("token-of-another-certificate", lambda s: good(s, cnf=s.foreign)),
    "bound to nothing": ("token-not-bound", lambda s: good(s, cnf=None)),
    "bound to something unknown": ("token-binding-unknown", lambda s: good(s, cnf={"kid": "tpm-1"})),
    "a confirmation of text": ("token-binding-unknown", lambda s: good(s, cnf="x5t#S256")),
    "bound to a key, without proof": ("token-without-proof", lambda s: good(s, cnf={"jkt": HOLDER.thumbprint()})),
    "a claim twice": ("token-malformed", twice),
    "claims that are no object": ("token-malformed", lambda s: sign({"typ": "at+jwt", "alg": "ES256", "kid": "first"}, b"[]", s.issuer.key)),
    "encrypted": ("token-malformed", lambda s: good(s) + ".AAAA.AAAA"),
    "without its signature": ("token-malformed", lambda s: good(s).rpartition(".")[0] + "."),
    "with another's signature": ("token-signature", lambda s: good(s).rpartition(".")[0] + "." + good(s).rpartition(".")[2]),
    "opaque": ("token-malformed", lambda _: uuid.uuid4().hex),
    "huge": ("token-too-large", lambda s: good(s, padding="x" * 20_000)),
}  # fmt: skip


def _infinite(scene: Scene) -> str:
    text = json.dumps(claims_of(scene, exp="E")).replace('"E"', "1e999")
    return sign({"typ": "at+jwt", "alg": "ES256", "kid": "first"}, text.encode(), scene.issuer.key)


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_with_a_flaw_is_refused(name: str, bound: Scene) -> None:
    rule, forge = TOKENS[name]
    assert bound.post(f"Bearer {good(bound)}").status == 200
    answer = bound.post(f"Bearer {forge(bound)}")
    assert answer.status in (400, 401), bound.last_rule()
    assert bound.last_rule() == rule
    assert b"hello" not in answer.body
    assert 'resource_metadata="' in answer.headers["www-authenticate"]
    # Nothing of the reason goes to the caller, and the server is fine afterwards.
    assert answer.json["error"]["message"] == "not authenticated"
    assert bound.post(f"Bearer {good(bound)}").status == 200
    assert not [path for path in bound.issuer.requests if "evil" in path]


GOOD: dict[str, Forge] = {
    "RS256": lambda s: good(s, header={"alg": "RS256", "kid": "rsa"}, key=RSA),
    "no kid, and one key fits": lambda s: good(s, header={"kid": None}),
    "its type in full": lambda s: good(s, header={"typ": "application/at+jwt"}),
    "one audience among several": lambda s: good(s, aud=["https://other.test/", AUDIENCE]),
    "this upstream's audience": lambda s: good(s, aud=f"{AUDIENCE}/demo"),
    "azp": lambda s: good(s, client_id=None, azp="tester-app"),
    "both names of one client": lambda s: good(s, azp="tester-app"),
    "headers that point elsewhere": lambda s: good(s, header={"jku": f"{s.issuer.url}/evil-jku", "jwk": EVIL_JWK}),
    "expired within the skew": lambda s: good(s, exp=now() - 10),
    "more scopes": lambda s: good(s, scope="openid mcp"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_token_without_a_flaw_is_answered(name: str, bound: Scene) -> None:
    answer = bound.post(f"Bearer {GOOD[name](bound)}")
    assert answer.status == 200, bound.last_rule()
    assert b"hello" in answer.body


# --- how it is sent -----------------------------------------------------------------------------------------------------


def test_a_token_in_the_url_is_refused(bound: Scene) -> None:
    for query in ("access_token={}", "a=1&access_token={}", "%61ccess_token={}", "ACCESS_TOKEN={}"):
        answer = bound.post(f"Bearer {good(bound)}", path=f"{PATH}?{query.format(good(bound))}")
        assert answer.status == 400
        assert bound.last_rule() == "token-in-query"
    assert bound.post(f"Bearer {good(bound)}", path=f"{PATH}?accessible=1").status == 200


def test_two_authorization_headers_are_refused(bound: Scene) -> None:
    token = good(bound)
    with RawClient(bound.running, source=bound.source) as client:
        answer = client.post(ECHO, {"Authorization": f"Bearer {token}\r\nAuthorization: Bearer {token}"}, path=PATH)
    bound.sent += 1
    assert (answer.status, bound.last_rule()) == (400, "header-repeated")


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer a b", "Bearer =a", "Bearer ünicode", "bearer\ta", "DPoP"]
)
def test_a_malformed_header_is_refused(value: str, bound: Scene) -> None:
    answer = bound.post(value)
    assert answer.status in (400, 401)
    assert bound.last_rule() == "authorization-malformed"


def test_other_schemes_are_refused(bound: Scene) -> None:
    for value in ("Basic dGVzdGVyOnB3", good(bound), f"Token {good(bound)}"):
        assert bound.post(value).status == 401
        assert bound.last_rule() == "authorization-malformed"
    assert bound.post(f"bEARER {good(bound)}").status == 200


def test_without_a_token_the_challenge_says_where_to_get_one(bound: Scene) -> None:
    answer = bound.post(None)
    assert answer.status == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert "error=" not in challenge  # RFC 6750 section 3.1: a caller that showed nothing made no error
    assert 'scope="mcp"' in challenge and "DPoP algs=" in challenge
    url = challenge.partition('resource_metadata="')[2].partition('"')[0]
    assert url == f"https://{bound.running.authority}/.well-known/oauth-protected-resource{PATH}"


def test_the_metadata_is_there_for_everybody(bound: Scene) -> None:
    for path, resource in (
        ("/mcp", AUDIENCE),
        ("/mcp/demo", f"{AUDIENCE}/demo"),
        ("/mcp/unknown", f"{AUDIENCE}/unknown"),
    ):
        with RawClient(bound.running, bound.running.deployment.other, source=bound.source) as client:
            client.send(
                f"GET /.well-known/oauth-protected-resource{path} HTTP/1.1\r\nHost: {client.host}\r\n\r\n".encode()
            )
            answer = client.read()
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json["resource"] == resource
        assert answer.json["authorization_servers"] == [bound.issuer.url]
        assert answer.json["bearer_methods_supported"] == ["header"]
        assert answer.json["scopes_supported"] == ["mcp"]
    for path in ("", "/", "/mcp/", "/mcp/a/b", "/mcp/../x", "/MCP"):
        with RawClient(bound.running, source=bound.source) as client:
            client.send(
                f"GET /.well-known/oauth-protected-resource{path} HTTP/1.1\r\nHost: {client.host}\r\n\r\n".encode()
            )
            assert client.read().status == 401


def test_a_stolen_token_is_useless_with_another_certificate(bound: Scene) -> None:
    token = good(bound)
    assert bound.post(f"Bearer {token}").status == 200
    thief = bound.running.deployment.other
    assert bound.post(f"Bearer {token}", identity=thief).status == 401
    assert bound.last_rule() == "token-of-another-certificate"
    # The thief's own token for its own certificate is good.
    own = good(bound, sub="other-user", client_id="other-app", cnf=bound.foreign)
    assert bound.post(f"Bearer {own}", identity=thief).status == 200


def test_a_token_with_too_few_scopes_is_told_which(bound: Scene) -> None:
    answer = bound.post(f"Bearer {good(bound, scope='openid')}")
    assert (answer.status, bound.last_rule()) == (403, "scope-missing")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="mcp"' in answer.headers["www-authenticate"]


def test_failures_are_limited_per_address_and_name(bound: Scene) -> None:
    stranger = Scene(bound.running, bound.issuer)
    forged = good(bound, key=STRANGER)
    assert bound.post(f"Bearer {good(bound)}").status == 200
    with RawClient(bound.running, bound.running.deployment.client, source=stranger.source) as client:
        statuses = [client.post(ECHO, {"Authorization": f"Bearer {forged}"}, path=PATH).status for _ in range(40)]
    stranger.sent = len(statuses)
    assert statuses[:30] == [401] * 30
    assert statuses[-1] == 429
    assert stranger.last_rule() == "authentication-failures"
    # From its own address the client goes on.
    assert bound.post(f"Bearer {good(bound)}").status == 200


# --- DPoP ---------------------------------------------------------------------------------------------------------------


def key_bound(scene: Scene, **changes: Any) -> str:
    return scene.issuer.token(**{"cnf": {"jkt": HOLDER.thumbprint()}, "scope": "mcp mcp:read", **changes})


def present(scene: Scene, token: str, proof: str | None, **options: Any) -> Response:
    return scene.post(f"DPoP {token}", headers={"DPoP": proof}, context=scene.anonymous(), **options)


def url_of(scene: Scene, path: str = PATH) -> str:
    return f"https://{scene.running.authority}{path}"


Prove = Callable[[Scene, str], str | None]
PROOFS: dict[str, tuple[str, Prove]] = {
    "none": ("dpop-missing", lambda s, t: None),
    "for another method": ("dpop-method", lambda s, t: dpop_proof(HOLDER, "GET", url_of(s), t)),
    "for another path": ("dpop-url", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s, "/mcp/spare"), t)),
    "for another host": ("dpop-url", lambda s, t: dpop_proof(HOLDER, "POST", f"https://evil.test{PATH}", t)),
    "for http": ("dpop-url", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s).replace("https", "http"), t)),
    "for another token": ("dpop-token", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t + "x")),
    "without a token's digest": ("dpop-token", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, ath=None)),
    "too old": ("dpop-time", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, iat=now() - 120)),
    "from the future": ("dpop-time", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, iat=now() + 120)),
    "without a time": ("dpop-claims", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, iat=None)),
    "without an id": ("dpop-claims", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, jti=None)),
    "with an id of a kilobyte": ("dpop-claims", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, jti="i" * 1024)),
    "by another key": ("dpop-of-another-key", lambda s, t: dpop_proof(STRANGER, "POST", url_of(s), t)),
    "showing another key": (
        "dpop-signature",
        lambda s, t: dpop_proof(STRANGER, "POST", url_of(s), t, header={"jwk": HOLDER.as_dict(private=False)}),
    ),
    "showing a private key": (
        "dpop-key",
        lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, header={"jwk": HOLDER.as_dict(private=True)}),
    ),
    "of another type": ("dpop-type", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, header={"typ": "JWT"})),
    "with a shared secret": ("dpop-key", lambda s, t: _secret_proof(s, t)),
    "for a path with one slash more": ("dpop-url", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s, PATH + "/"), t)),
    "for a path in percent-encoding": ("dpop-url", lambda s, t: dpop_proof(HOLDER, "POST", url_of(s, "/mcp/%64emo"), t)),
    "for another port": ("dpop-url", lambda s, t: dpop_proof(HOLDER, "POST", f"https://127.0.0.1{PATH}", t)),
    "for a user at the host": (
        "dpop-url",
        lambda s, t: dpop_proof(HOLDER, "POST", url_of(s).replace("://", "://u@"), t),
    ),
    "by no algorithm": ("dpop-key", lambda s, t: _rawly(s, t, {"alg": "none", "jwk": HOLDER.as_dict(private=False)})),
    "by a key of another curve": (
        "dpop-key",
        lambda s, t: _rawly(s, t, {"alg": "ES256", "jwk": ECKey.generate_key("P-384").as_dict(private=False)}),
    ),
    "that demands an extension": (
        "token-critical",
        lambda s, t: dpop_proof(HOLDER, "POST", url_of(s), t, header={"crit": ["b64"], "b64": False}),
    ),
    "with two URLs": ("token-malformed", lambda s, t: _rawly(s, t, {"alg": "ES256"}, twice="htu")),
    "with a deep claim": (
        "token-malformed",
        lambda s, t: raw_jwt({"typ": "dpop+jwt", "alg": "ES256"}, '{"a":' + "[" * 5000 + "]" * 5000 + "}"),
    ),
    "that is no JWT": ("token-malformed", lambda s, t: "proof"),
}  # fmt: skip


def _rawly(scene: Scene, token: str, header: dict[str, Any], *, twice: str = "") -> str:
    """A proof of which nothing but the signature may be wrong; one claim may stand in it twice."""
    digest = encode(hashlib.sha256(token.encode()).digest())
    claims = json.dumps({"jti": str(uuid.uuid4()), "htm": "POST", "htu": url_of(scene), "iat": now(), "ath": digest})
    text = claims.replace("{", f'{{"{twice}": "https://evil.test", ', 1) if twice else claims
    return raw_jwt({"typ": "dpop+jwt", **header}, text, b"s" * 64)


def _secret_proof(scene: Scene, token: str) -> str:
    key = OctKey.import_key(b"s" * 32)
    digest = encode(hashlib.sha256(token.encode()).digest())
    claims = {"jti": "1", "htm": "POST", "htu": url_of(scene), "iat": now(), "ath": digest}
    jwk = {"kty": "oct", "k": encode(b"s" * 32)}
    return sign({"typ": "dpop+jwt", "alg": "HS256", "jwk": jwk}, claims, key)


@pytest.mark.parametrize("name", PROOFS)
def test_a_proof_with_a_flaw_is_refused(name: str, keyed: Scene) -> None:
    rule, prove = PROOFS[name]
    token = key_bound(keyed)
    twin = present(keyed, token, dpop_proof(HOLDER, "POST", url_of(keyed), token))
    assert twin.status == 200 and b"hello" in twin.body, keyed.last_rule()
    answer = present(keyed, token, prove(keyed, token))
    assert (answer.status, keyed.last_rule()) == (401, rule)
    assert "DPoP " in answer.headers["www-authenticate"]
    assert present(keyed, token, dpop_proof(HOLDER, "POST", url_of(keyed), token)).status == 200


@pytest.mark.parametrize(
    "spell",
    [
        lambda url: url.replace("https", "HTTPS"),
        lambda url: f"{url}?page=2",
        lambda url: f"{url}#part",
    ],
)
def test_a_proof_may_spell_the_url_in_an_equal_way_and_works_once_all_the_same(
    keyed: Scene, spell: Callable[[str], str]
) -> None:
    token, id = key_bound(keyed), str(uuid.uuid4())
    assert present(keyed, token, dpop_proof(HOLDER, "POST", spell(url_of(keyed)), token, jti=id)).status == 200
    assert present(keyed, token, dpop_proof(HOLDER, "POST", url_of(keyed), token, jti=id)).status == 401
    assert keyed.last_rule() == "dpop-replayed"


@pytest.mark.parametrize(("age", "good"), [(60.0, True), (60.5, False), (-30.0, True), (-30.5, False)])
def test_the_edges_of_a_proofs_time(age: float, good: bool) -> None:
    url, moment = "https://mcp.test/mcp", 1_800_000_000.0
    proof = dpop_proof(HOLDER, "POST", url, "token", iat=moment - age)

    def check() -> Proof:
        return check_proof(proof, method="POST", url=url, token="token", max_age=60.0, nonces=None, now=moment)

    if good:
        shown = check()
        assert shown.expires > shown.issued + 60.0, "its use is remembered for as long as it would be taken"
    else:
        with pytest.raises(TokenError, match="dpop-time"):
            check()


def test_a_proof_works_once(keyed: Scene) -> None:
    token = key_bound(keyed)
    proof = dpop_proof(HOLDER, "POST", url_of(keyed), token)
    assert present(keyed, token, proof).status == 200
    assert present(keyed, token, proof).status == 401
    assert keyed.last_rule() == "dpop-replayed"
    assert present(keyed, token, dpop_proof(HOLDER, "POST", url_of(keyed), token)).status == 200


def test_a_stranger_at_the_same_address_keeps_no_token_out(keyed: Scene) -> None:
    """Behind one NAT or balancer everybody has one address, and junk may claim any name."""
    token = key_bound(keyed)

    def served(text: str) -> int:
        return present(keyed, text, dpop_proof(HOLDER, "POST", url_of(keyed), text)).status

    assert served(token) == 200
    junk = sign({"typ": "at+jwt", "alg": "ES256", "kid": "first"}, claims_of(keyed), STRANGER)

    def flooded(text: str) -> int:
        """What a token gets at once after junk that was refused unheard; its count is a little less empty by then."""
        with RawClient(keyed.running, source=keyed.source, context=keyed.anonymous()) as client:
            tried = (client.post(ECHO, {"Authorization": f"Bearer {junk}"}, path=PATH).status for _ in range(100))
            assert 429 in tried, "one address and name are granted far fewer"
        return served(text)

    assert [flooded(token) for _ in range(5)] == [200] * 5, "what was found genuine before"
    assert [flooded(key_bound(keyed)) for _ in range(5)] == [200] * 5, "what has to be verified"
    assert present(keyed, token, None).status == 401  # the token alone is no proof, as ever


def test_a_key_bound_token_is_no_bearer_token(keyed: Scene) -> None:
    token = key_bound(keyed)
    assert keyed.post(f"Bearer {token}", context=keyed.anonymous()).status == 401
    assert keyed.last_rule() == "token-without-proof"
    # Nor does a proof make a token good that is bound to a certificate alone.
    other = key_bound(keyed, cnf=keyed.bound)
    proof = dpop_proof(HOLDER, "POST", url_of(keyed), other)
    answer = keyed.post(f"DPoP {other}", headers={"DPoP": proof}, identity=keyed.running.deployment.client)
    assert (answer.status, keyed.last_rule()) == (401, "token-not-key-bound")


def test_a_token_bound_to_both_needs_both(keyed: Scene) -> None:
    token = key_bound(keyed, cnf={"jkt": HOLDER.thumbprint(), **keyed.bound})
    headers = {"DPoP": dpop_proof(HOLDER, "POST", url_of(keyed), token)}
    assert keyed.post(f"DPoP {token}", headers=headers, context=keyed.anonymous()).status == 401
    assert keyed.last_rule() == "token-of-another-certificate"
    headers = {"DPoP": dpop_proof(HOLDER, "POST", url_of(keyed), token)}
    assert keyed.post(f"DPoP {token}", headers=headers).status == 200


def test_a_call_beyond_the_tokens_scope_names_the_scope(keyed: Scene) -> None:
    token = key_bound(keyed, scope="mcp")
    answer = present(keyed, token, dpop_proof(HOLDER, "POST", url_of(keyed), token))
    assert (answer.status, keyed.last_rule()) == (403, "scope-missing")
    assert 'scope="mcp mcp:read"' in answer.headers["www-authenticate"]


def test_a_certificate_of_no_client_is_no_identity(keyed: Scene) -> None:
    """Where tokens identify, a certificate is optional; one that names another client than the token is a mix-up."""
    token = key_bound(keyed)
    headers = {"DPoP": dpop_proof(HOLDER, "POST", url_of(keyed), token)}
    assert keyed.post(f"DPoP {token}", headers=headers, identity=keyed.running.deployment.other).status == 401
    assert keyed.last_rule() == "token-of-another-client"
    assert keyed.post(None, identity=keyed.running.deployment.client).status == 401
    assert keyed.last_rule() == "token-missing"


def test_base64_that_is_not_canonical_is_not_another_token(bound: Scene) -> None:
    """Whatever the padding bits say, a changed text is verified anew and its claims are its own."""
    head, body, signature = good(bound).split(".")
    changed = base64.urlsafe_b64encode(base64.urlsafe_b64decode(signature + "==")).decode()
    assert bound.post(f"Bearer {head}.{body}.{changed}").status in (400, 401)
