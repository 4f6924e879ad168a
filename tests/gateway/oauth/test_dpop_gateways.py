"""DPoP where more than one process may answer: nonces that a gateway demands, and proofs that another has seen."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from mcpsec.gateway.oauth.dpop import NonceSource
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.issuer import AUDIENCE, Issuer, dpop_proof, running_issuer
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call
from tests.fixtures.stores import Store

ECHO = call("echo", {"text": "hello"})
NAME = "mcp.example.test"
PATH = "/mcp/demo"
URL = f"https://{NAME}{PATH}"
HOLDER = ECKey.generate_key("P-256")
SAID = (r".*state store.*", r".*worker \d+.*")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


def deployment_of(directory: Path, issuer: Issuer, store: Store, *, nonce: bool, shared: bool) -> Any:
    """A deployment that needs DPoP, with a name that all of its gateways have."""
    made = make_deployment(
        directory,
        {"demo": {"builtin": "demo", "access": {"*": "read"}}},
        require=("bearer",),
        state={"url": store.url, "timeout": "20s"},
        server={"allowed_hosts": [NAME]},
    )
    made.document["auth"]["oauth"] = {
        "issuer": issuer.url, "audience": AUDIENCE, "timeout": "60s", "dpop_nonce": nonce,
    }  # fmt: skip
    made.document["clients"][0]["oauth"] = {"client_id": "tester-app"}
    if shared:
        key = directory / "handles.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_urlsafe(32))
        made.document["state"]["handle_key"] = {"file": key.name}
    made.write()
    return made


@pytest.fixture
def pair(request: pytest.FixtureRequest, issuer: Issuer, store: Store, tmp_path: Path) -> Iterator[list[Gateway]]:
    """Two gateways of one deployment, which share a store."""
    (tmp_path / "d").mkdir()
    made = deployment_of(tmp_path / "d", issuer, store, **request.param)
    running: list[Gateway] = []
    try:
        for each in (made, made.sibling("other")):
            running.append(start_gateway(each, expected=SAID))
        until_proofs_count()
        yield running
    finally:
        for gateway in running:
            gateway.stop()


def until_proofs_count() -> None:
    """A proof tells whole seconds, and one from the second in which the store began to remember may be an old one."""
    began = int(time.time())
    wait_until(lambda: int(time.time()) > began, "the next second")


def token(issuer: Issuer) -> str:
    return issuer.token(cnf={"jkt": HOLDER.thumbprint()})


def ask(running: Gateway, text: str, proof: str | None) -> Response:
    import ssl

    anonymous = ssl.create_default_context(cafile=str(running.deployment.client.ca))
    with RawClient(running, context=anonymous) as client:
        headers: dict[str, str | None] = {"Host": NAME, "Authorization": f"DPoP {text}", "DPoP": proof}
        return client.post(ECHO, headers, path=PATH)


def rules(running: Gateway, count: int) -> list[str]:
    """The rules of a gateway's requests, once there are so many."""

    def told() -> list[str] | None:
        found = [str(event.get("rule")) for event in running.deployment.events() if "status" in event]
        return found if len(found) >= count else None

    found: list[str] = wait_until(told, f"{count} events")
    return found


@pytest.mark.parametrize("pair", [{"nonce": False, "shared": False}], indirect=True)
def test_a_proof_that_one_gateway_has_seen_is_refused_by_the_other(pair: list[Gateway], issuer: Issuer) -> None:
    one, other = pair
    for first, second in ((one, other), (other, one)):
        text = token(issuer)
        proof = dpop_proof(HOLDER, "POST", URL, text)
        assert ask(first, text, proof).status == 200
        assert ask(second, text, proof).status == 401
        assert ask(first, text, proof).status == 401
        assert ask(second, text, dpop_proof(HOLDER, "POST", URL, text)).status == 200
    assert rules(one, 4).count("dpop-replayed") == rules(other, 4).count("dpop-replayed") == 2


@pytest.mark.parametrize("pair", [{"nonce": False, "shared": False}], indirect=True)
@pytest.mark.parametrize("id", ["\ud800", "a\0\r\n", "\u2603" * 256])
def test_whatever_a_proof_is_called_it_works_once(pair: list[Gateway], issuer: Issuer, id: str) -> None:
    """A name that no store can hold was told to operators as a store that is away."""
    text = token(issuer)
    proof = dpop_proof(HOLDER, "POST", URL, text, jti=id)
    assert ask(pair[0], text, proof).status == 200
    assert ask(pair[1], text, proof).status == 401


@pytest.mark.parametrize("pair", [{"nonce": False, "shared": False}], indirect=True)
def test_without_the_store_no_proof_is_taken(pair: list[Gateway], issuer: Issuer, store: Store) -> None:
    """A gateway that can't know whether a proof is new serves nobody by it; with the store it goes on."""
    text = token(issuer)
    assert ask(pair[0], text, dpop_proof(HOLDER, "POST", URL, text)).status == 200
    store.kill()
    answer = ask(pair[0], text, dpop_proof(HOLDER, "POST", URL, text))
    assert (answer.status, answer.code) == (503, 50301)
    store.start()
    wait_until(lambda: ask(pair[0], text, dpop_proof(HOLDER, "POST", URL, text)).status == 200, "a served request")


@pytest.mark.parametrize("pair", [{"nonce": True, "shared": True}], indirect=True)
def test_a_demanded_nonce_is_learned_and_good_at_every_gateway(pair: list[Gateway], issuer: Issuer) -> None:
    one, other = pair
    text = token(issuer)
    first = ask(one, text, dpop_proof(HOLDER, "POST", URL, text))
    assert first.status == 401 and 'error="use_dpop_nonce"' in first.headers["www-authenticate"]
    nonce = first.headers["dpop-nonce"]
    for running in (one, other):
        assert ask(running, text, dpop_proof(HOLDER, "POST", URL, text, nonce=nonce)).status == 200
    for flawed in (nonce[:-1] + ("A" if nonce[-1] != "A" else "B"), "", "x" * 24, nonce + "=", None):
        answer = ask(one, text, dpop_proof(HOLDER, "POST", URL, text, nonce=flawed))
        assert answer.status == 401 and answer.headers["dpop-nonce"], flawed
    used = dpop_proof(HOLDER, "POST", URL, text, nonce=nonce)
    assert ask(other, text, used).status == 200
    answer = ask(one, text, used)
    assert answer.status == 401 and "dpop-nonce" not in answer.headers, "a nonce is no licence to send a proof twice"
    found = rules(one, 8)
    assert (found.count("dpop-nonce"), found.count("dpop-replayed")) == (6, 1)


@pytest.mark.parametrize("pair", [{"nonce": True, "shared": True}], indirect=True)
def test_asking_for_nonces_locks_nobody_out(pair: list[Gateway], issuer: Issuer) -> None:
    """The first refusal is part of the protocol; forty of them are no failed authentication."""
    text = token(issuer)
    for _ in range(40):
        answer = ask(pair[0], text, dpop_proof(HOLDER, "POST", URL, text))
        assert answer.status == 401
    proof = dpop_proof(HOLDER, "POST", URL, text, nonce=answer.headers["dpop-nonce"])
    assert ask(pair[0], text, proof).status == 200


def test_workers_take_each_others_nonces_and_no_proof_twice(issuer: Issuer, store: Store, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    made = deployment_of(tmp_path / "d", issuer, store, nonce=True, shared=True)
    running = start_gateway(made, "--workers", "2", expected=SAID)
    try:
        until_proofs_count()
        text = token(issuer)
        nonces = {ask(running, text, dpop_proof(HOLDER, "POST", URL, text)).headers["dpop-nonce"] for _ in range(12)}
        assert len(nonces) <= 2, "all workers give out the same, but when the time for the next has come"
        nonce = nonces.pop()
        good = [ask(running, text, dpop_proof(HOLDER, "POST", URL, text, nonce=nonce)).status for _ in range(12)]
        assert good == [200] * 12
        proof = dpop_proof(HOLDER, "POST", URL, text, nonce=nonce)
        assert sorted(ask(running, text, proof).status for _ in range(12)) == [200] + [401] * 11
    finally:
        running.stop()


# --- the source of nonces ---


def test_nonces_end_with_their_time_and_their_secret() -> None:
    now = [1_800_000_000.0]
    secret = b"s" * 32
    one, other = (NonceSource(120, secret=secret, clock=lambda: now[0]) for _ in range(2))
    foreign = NonceSource(120, secret=b"t" * 32, clock=lambda: now[0])
    own = NonceSource(120, clock=lambda: now[0])
    nonce = one.current()
    assert other.accepts(nonce) and one.accepts(nonce)
    assert not any(each.accepts(nonce) for each in (foreign, own))
    one.renew(b"n" * 32, overlap=600, delay=300)
    assert other.accepts(one.current()) and one.accepts(nonce)
    now[0] += 120
    assert other.accepts(nonce)
    now[0] += 120
    assert not other.accepts(nonce), "between one and two times 120 seconds"
    now[0] += 60
    assert not other.accepts(one.current())
    other.renew(b"n" * 32, overlap=600, delay=300)
    assert other.accepts(one.current())
    for no_nonce in (None, 7, ["x"], "\ud800", b"x"):
        assert not one.accepts(no_nonce)


def test_each_process_without_a_shared_secret_has_its_own() -> None:
    found = [NonceSource().current() for _ in range(4)]
    assert all(one != other for one, other in itertools.combinations(found, 2))
