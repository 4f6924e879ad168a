"""What each client must show is its own affair: every requirement beside every selection of factors, live."""

from __future__ import annotations

import itertools
import secrets
import ssl
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from mcpsec.gateway.failures import OWN_FAILURES
from mcpsec.signing import SignedMessage, Signer, SigningKey
from tests.fixtures.deployments import EVERYTHING, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.issuer import AUDIENCE, Issuer, running_issuer
from tests.fixtures.pki import Authority, Identity
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call

ECHO = call("echo", {"text": "hello"})
FACTORS = ("mtls", "signature", "bearer")
SETS = [frozenset(chosen) for size in range(4) for chosen in combinations(FACTORS, size)]
_sources = (f"127.1.{high}.{low}" for high, low in itertools.product(range(1, 250), range(1, 250)))


def name_of(factors: frozenset[str]) -> str:
    return "-".join(sorted(factors)) or "nothing"


class Place:
    """A gateway with one client for each requirement; every client could show all three factors."""

    def __init__(self, running: Gateway, issuer: Issuer, identities: dict[str, Identity]) -> None:
        self.running, self._issuer, self._identities = running, issuer, identities
        self.keys: dict[str, bytes] = {}

    def ask(self, certificate: str | None, signature: str | None, token: str | None) -> tuple[Response, str, str]:
        """A request with these clients' factors: the answer, the rule of its event, and whose request it was."""
        source = next(_sources)
        answer = self.send(source, certificate, signature, token)

        def told() -> list[dict[str, Any]]:
            every = self.running.deployment.events()
            return [event for event in every if event.get("address") == source and "status" in event]

        (event,) = wait_until(told, "the event")
        return answer, str(event.get("rule")), str(event.get("client"))

    def send(self, source: str, certificate: str | None, signature: str | None, token: str | None) -> Response:
        """A request with these clients' factors from this address."""
        context = ssl.create_default_context(cafile=str(self.running.deployment.client.ca))
        if certificate is not None:
            context = self._identities[certificate].client_context()
        headers: dict[str, str | None] = {}
        if signature is not None:
            headers |= self._signature(signature)
        if token is not None:
            headers["Authorization"] = f"Bearer {self._token(token)}"
        with RawClient(self.running, context=context, source=source) as client:
            return client.post(ECHO, headers)

    def flood(self, source: str, claimed: str) -> None:
        """A stranger without a certificate has this client's tokens with made-up signatures, on many connections."""
        context = ssl.create_default_context(cafile=str(self.running.deployment.client.ca))
        junk: dict[str, str | None] = {
            "Authorization": f"Bearer {self._token(claimed).rpartition('.')[0]}.{'A' * 86}"
        }  # fmt: skip
        for _ in range(15):
            with RawClient(self.running, context=context, source=source) as client:
                assert [client.post(ECHO, junk).status for _ in range(OWN_FAILURES)] == [401] * OWN_FAILURES

    def _token(self, client: str) -> str:
        return self._issuer.token(client_id=f"app-{client}", sub=f"app-{client}")

    def _signature(self, client: str) -> dict[str, str]:
        signer = Signer(SigningKey(f"key-{client}", secret=self.keys[client]), "hmac-sha256")
        fields = [(b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"mcp-name", b"echo")]
        return signer.sign(SignedMessage("POST", self.running.authority, "/mcp", "", fields, ECHO))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("mixes")
    made = make_deployment(directory, {"demo": {"builtin": "demo"}})
    authority = Authority(directory / "pki" / "mixed-ca", "Mixed client CA")
    made.document["server"]["tls"]["client_ca"] = str(authority.certificate)
    identities, keys, clients = {}, {}, []
    for required in SETS[1:]:
        name = name_of(required)
        uri = f"spiffe://mcpsec.test/mix/{name}"
        identities[name] = authority.client(name, uri, trusts=made.client.ca)
        keys[name] = secrets.token_urlsafe(32).encode()
        file = directory / f"{name}.secret"
        file.touch(mode=0o600)
        file.write_bytes(keys[name])
        clients.append(
            {
                "id": name, "require": sorted(required), "certificate": {"san": uri},
                "signing_keys": [{"id": f"key-{name}", "secret": {"file": file.name}}],
                "oauth": {"client_id": f"app-{name}"}, **EVERYTHING,
            }
        )  # fmt: skip
    made.document["clients"] = clients
    with running_issuer() as issuer:
        made.document["auth"]["oauth"] = {
            "issuer": issuer.url, "audience": AUDIENCE, "timeout": "60s", "sender_constrained": False,
        }  # fmt: skip
        made.write()
        running = start_gateway(made, expected=(r".*",))
        try:
            opened = Place(running, issuer, identities)
            opened.keys = keys
            yield opened
        finally:
            running.stop()


@pytest.mark.parametrize("shown", SETS, ids=name_of)
@pytest.mark.parametrize("required", SETS[1:], ids=name_of)
def test_what_is_required_is_shown_or_nothing_is_answered(
    required: frozenset[str], shown: frozenset[str], place: Place
) -> None:
    client = name_of(required)
    answer, rule, who = place.ask(*(client if factor in shown else None for factor in FACTORS))
    if required <= shown:
        assert (answer.status, rule, who) == (200, "granted", client)
        assert b"hello" in answer.body
    else:
        assert answer.status == 401
        assert rule in {"factor-missing", "identity-missing", "signature-missing", "token-missing"}, rule
        assert b"hello" not in answer.body


@pytest.mark.parametrize("foreign", FACTORS)
@pytest.mark.parametrize("required", SETS[1:], ids=name_of)
def test_a_factor_of_another_client_spoils_the_rest(required: frozenset[str], foreign: str, place: Place) -> None:
    """Also one that nobody asked for: whoever shows two clients' factors is neither of them."""
    client = name_of(required)
    other = name_of(next(each for each in SETS[1:] if each != required))
    shown = {factor: other if factor == foreign else client for factor in FACTORS}
    answer, _, who = place.ask(*(shown[factor] for factor in FACTORS))
    assert answer.status == 401 and b"hello" not in answer.body, who
    assert place.ask(client, client, client)[0].status == 200


@pytest.mark.parametrize("shown", [each for each in SETS if "mtls" in each], ids=name_of)
def test_a_stranger_at_the_same_address_keeps_nobody_with_a_certificate_out(
    shown: frozenset[str], place: Place
) -> None:
    """Where certificates are optional, anybody may claim to be the client, whose address has proven its name."""
    client, source = name_of(shown), next(_sources)
    factors = [client if factor in shown else None for factor in FACTORS]
    assert place.send(source, *factors).status == 200
    place.flood(source, client)
    assert [place.send(source, *factors).status for _ in range(3)] == [200] * 3
    assert place.send(source, None, *factors[1:]).status == 401, "without the certificate"
