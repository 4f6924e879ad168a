"""Failed authentication is limited for each address and for each name that is claimed, and locks no honest caller out."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from mcpsec.deployment.model import Client, Rate
from mcpsec.gateway.failures import OWN_FAILURES, AuthenticationFailures, certified
from mcpsec.gateway.message import Peer
from mcpsec.signing import SignedMessage
from tests.fixtures.raw import RawClient, call
from tests.fixtures.signatures import signer_of

RATE = Rate(count=3, seconds=60.0, burst=3)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def failures() -> tuple[AuthenticationFailures, Clock]:
    clock = Clock()
    return AuthenticationFailures(RATE, clock=clock), clock


def refused(counted: AuthenticationFailures, address: str, claimed: str) -> bool:
    refusal = counted.check(address, claimed)
    assert refusal is None or (refusal.status, refusal.rule) == (429, "authentication-failures")
    return refusal is not None


def test_one_address_in_many_names() -> None:
    counted, clock = failures()
    for number in range(3):
        assert not refused(counted, "192.0.2.1", f"name-{number}")
        counted.failed("192.0.2.1", f"name-{number}")
    assert refused(counted, "192.0.2.1", "another") and refused(counted, "192.0.2.1", "")
    assert not refused(counted, "192.0.2.2", "another")
    clock.now += 60
    assert not refused(counted, "192.0.2.1", "another")


def test_one_name_from_many_addresses() -> None:
    counted, clock = failures()
    for number in range(3):
        counted.failed(f"192.0.2.{number}", "victim")
    assert refused(counted, "198.51.100.1", "victim")
    assert not refused(counted, "198.51.100.1", "another")
    assert not refused(counted, "198.51.100.1", "")
    clock.now += 60
    assert not refused(counted, "198.51.100.1", "victim")


def test_strangers_lock_nobody_out_who_has_proven_the_name() -> None:
    counted, _ = failures()
    counted.succeeded("203.0.113.7", "victim")
    for number in range(50):
        counted.failed(f"192.0.2.{number}", "victim")
    assert refused(counted, "198.51.100.1", "victim")
    assert not refused(counted, "203.0.113.7", "victim")
    for _ in range(3):
        counted.failed("203.0.113.7", "victim")
    assert refused(counted, "203.0.113.7", "victim"), "its own failures count against it"
    assert not refused(counted, "203.0.113.7", "another"), "and against nobody else at this address"


def test_however_many_names_are_tried_the_tables_are_bounded() -> None:
    counted, _ = failures()
    for number in range(12_000):
        counted.failed(f"2001:db8::{number:x}", f"name-{number}")
        counted.succeeded(f"2001:db8::{number:x}", f"name-{number}")
    assert len(counted._known) <= 10_000
    for table in (counted._addresses, counted._names, counted._pairs):
        assert len(table._buckets._full_at) <= table._buckets._size == 10_000


def test_a_connection_is_heard_until_it_has_failed_itself() -> None:
    counted, _ = failures()
    for number in range(10):
        counted.failed("192.0.2.1", f"name-{number}")
    peer = Peer("192.0.2.1")
    for _ in range(OWN_FAILURES):
        assert counted.check_connection(peer, "victim") is None
        counted.failed_on(peer, "victim")
    refusal = counted.check_connection(peer, "victim")
    assert refusal is not None and (refusal.status, refusal.close) == (429, True)
    assert counted.check_connection(replace(peer, sans=("b",)), "victim") is not None, "it is the same connection"
    assert counted.check_connection(Peer("192.0.2.1"), "victim") is None


def test_what_costs_somebody_else_is_bounded_by_address_and_name() -> None:
    counted, _ = failures()
    for number in range(3):
        counted.failed("192.0.2.1", f"name-{number}")
    refusal = counted.check_connection(Peer("192.0.2.1"), "", asks=True)
    assert refusal is not None and not refusal.close, "another connection would not be heard either"
    assert counted.check_connection(Peer("192.0.2.2"), "", asks=True) is None


def test_whom_a_certificate_names_has_its_own_count_on_all_connections() -> None:
    counted, _ = failures()
    peer = Peer("192.0.2.1", client=Client(id="a"))
    counted.succeeded_on(peer, "a")
    for _ in range(3):
        assert counted.check_connection(peer, "a") is None
        counted.failed_on(Peer("192.0.2.1", client=peer.client), "a")
    assert counted.check_connection(peer, "a") is not None


def test_nobody_without_its_certificate_counts_against_whom_a_certificate_names() -> None:
    """A stranger at the same address claims the name, which the address has proven, on one connection after another."""
    counted, _ = failures()
    holder = Peer("192.0.2.1", client=Client(id="a"))
    counted.succeeded_on(holder, "a")
    counted.succeeded("192.0.2.1", "a")  # by a token too
    for _ in range(12):
        stranger = Peer("192.0.2.1")
        for _ in range(OWN_FAILURES):
            assert counted.check_connection(stranger, "a") is None
            counted.failed_on(stranger, "a")
    assert counted.check("192.0.2.1", "a") is not None
    assert counted.check_connection(holder, "a") is None
    assert counted.is_proven("192.0.2.1", certified("a"))


def test_live_one_key_id_is_tried_from_many_addresses(deployment: Any, gateway: Any) -> None:
    """Whoever tries secrets for one key from a network of machines keeps its holder out nowhere."""
    made = deployment({"demo": {"builtin": "demo"}}, require=("signature",))
    running = gateway(made, expected=(r".*",))
    body = call("time_now")
    wrong = made.directory / "wrong.secret"
    wrong.touch(mode=0o600)
    wrong.write_text("w" * 43)

    def send(secret: Any, source: str) -> int:
        fields = [(b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"mcp-name", b"time_now")]
        message = SignedMessage("POST", running.authority, "/mcp", "", fields, body)
        with RawClient(running, source=source) as client:
            return client.post(body, dict(signer_of("tester-1", secret).sign(message))).status

    assert send(made.secret, "127.0.0.1") == 200
    sources = (f"127.2.{high}.{low}" for high, low in itertools.product(range(1, 200), range(1, 200)))
    statuses = [send(wrong, next(sources)) for _ in range(30)]
    assert statuses == [401] * 30
    assert send(made.secret, "127.0.0.1") == 200
    assert send(made.secret, next(sources)) == 200, "also where it was never seen"


def test_live_a_stranger_at_the_same_address_keeps_no_signature_out(deployment: Any, gateway: Any) -> None:
    """Behind one balancer everybody has one address, and a stranger may claim any key."""
    running = gateway(deployment({"demo": {"builtin": "demo"}}, require=("signature",)))
    body = call("time_now")
    junk: dict[str, str | None] = {"X-Key-Id": "tester-1", "X-Timestamp": "1", "X-Nonce": "n", "X-Signature": "0" * 64}

    def honest() -> dict[str, str | None]:
        fields = [(b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"mcp-name", b"time_now")]
        message = SignedMessage("POST", running.authority, "/mcp", "", fields, body)
        return dict(signer_of("tester-1", running.deployment.secret).sign(message))

    def flood() -> list[int]:
        """What a connection gets that sends junk until it is closed."""
        statuses = []
        with RawClient(running) as client:
            for _ in range(100):  # of which one address and name are granted far fewer
                if (status := client.post(body, junk).status) == 0:
                    break
                statuses.append(status)
        return statuses

    with RawClient(running) as holder:
        assert holder.post(body, honest()).status == 200
        for _ in range(3):
            statuses = flood()  # a failure more is granted every other second
            assert statuses == [401] * (len(statuses) - 1) + [429] and len(statuses) > OWN_FAILURES
            assert holder.post(body, honest()).status == 200
    with RawClient(running) as another:
        assert another.post(body, honest()).status == 200
