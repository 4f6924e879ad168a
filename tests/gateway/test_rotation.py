"""The gateway renews its own certificate in good time, without a lost request, and never with the client CA's key."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcpsec.deployment import load
from mcpsec.deployment.loading import override
from mcpsec.deployment.scaffold import create
from mcpsec.gateway.rotation import OwnCertificate
from mcpsec.gateway.server import Gateway
from tests.fixtures.raw import call, request_bytes


@pytest.fixture
def made(tmp_path: Path) -> Any:
    return create(tmp_path / "deployment")


def running(made: Any, said: list[str]) -> Gateway:
    return Gateway(
        override(load(made.config), listen="127.0.0.1:0", admin_listen="127.0.0.1:0", auth="mtls", rate_limit="off"),
        say=said.append,
    )


def client_context(made: Any) -> ssl.SSLContext:
    pki = made.directory / "pki"
    context = ssl.create_default_context(cafile=str(pki / "server-ca.pem"))
    context.load_cert_chain(pki / "client" / "agent" / "chain.pem", pki / "client" / "agent" / "key.pem")
    return context


def served_serial(url: str, context: ssl.SSLContext) -> str:
    """Make one call on a new connection and return the serial number of the certificate that was shown."""
    host = url.split("/")[2]
    connection = http.client.HTTPSConnection(host, context=context, timeout=20)
    try:
        connection.connect()
        connection.sock.sendall(request_bytes(host, call("echo", {"text": "hello"})))
        assert b"200 OK" in connection.sock.recv(65536)
        return str(connection.sock.getpeercert()["serialNumber"])
    finally:
        connection.close()


def test_a_due_certificate_is_renewed_under_load(made: Any) -> None:
    said: list[str] = []
    serials: list[str] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def load_it(url: str, context: ssl.SSLContext) -> None:
        while not done.is_set():
            try:
                serials.append(served_serial(url, context))
            except BaseException as error:
                failures.append(error)
                return

    async def scenario() -> None:
        gateway = running(made, said)
        await gateway.start()
        caller = threading.Thread(target=load_it, args=(gateway.url, client_context(made)))
        caller.start()
        try:
            await asyncio.sleep(0.5)
            await gateway._own_certificate.maintain(datetime.now(UTC) + timedelta(days=80))
            for _ in range(200):
                if len(set(serials)) > 1 or failures:
                    break
                await asyncio.sleep(0.05)
        finally:
            done.set()
            await asyncio.to_thread(caller.join)
            await gateway.close()

    asyncio.run(scenario())
    assert not failures
    assert len(set(serials)) == 2
    assert any("in use now" in text for text in said)


def test_without_the_server_authority_the_operator_hears_of_it_once(made: Any) -> None:
    said: list[str] = []
    (made.directory / "pki" / "private" / "server" / "key-1.pem").unlink()

    async def scenario() -> None:
        gateway = running(made, said)
        for _ in range(3):
            await gateway._own_certificate.maintain(datetime.now(UTC) + timedelta(days=80))
        await gateway.close()

    asyncio.run(scenario())
    assert len(said) == 1
    assert "can't be renewed" in said[0]


def test_a_certificate_out_of_its_time_is_told_whoever_issued_it(made: Any) -> None:
    """The gateway is ready, and no client gets in: a wrong clock, or a certificate that nobody renewed."""
    tls = load(made.directory / "mcpsec.toml").server.tls
    (made.directory / "pki" / "pki.toml").unlink()
    own = OwnCertificate(tls, say=lambda _: None)
    times = (datetime(2020, 1, 1, tzinfo=UTC), None, datetime(2090, 1, 1, tzinfo=UTC))
    early, now, late = (own._look(at) for at in times)
    assert now == ""
    assert "no client can connect: the gateway's certificate begins only on" in early
    assert "no client can connect: the gateway's certificate ended on" in late


def test_an_account_without_access_to_the_pki_is_told_only_when_it_matters(made: Any) -> None:
    said: list[str] = []
    (made.directory / "pki" / "pki.toml").write_text("nonsense")

    async def scenario() -> None:
        gateway = running(made, said)
        await gateway._own_certificate.maintain()
        assert said == []
        await gateway._own_certificate.maintain(datetime.now(UTC) + timedelta(days=80))
        await gateway.close()

    asyncio.run(scenario())
    assert len(said) == 1 and "can't be renewed" in said[0]


def test_the_end_of_the_revocation_list_is_announced_and_the_client_authority_not_used(made: Any) -> None:
    said: list[str] = []
    crl = made.directory / "pki" / "client-ca.crl"
    before = crl.read_bytes()

    async def scenario() -> None:
        gateway = running(made, said)
        await gateway._own_certificate.maintain()
        assert said == []
        await gateway._own_certificate.maintain(datetime.now(UTC) + timedelta(days=20))
        await gateway.close()

    asyncio.run(scenario())
    assert len(said) == 1 and "mcpsec certs crl" in said[0]
    assert crl.read_bytes() == before


@pytest.mark.parametrize("broken", ["certificate", "crl"])
def test_a_file_that_is_broken_for_a_while_is_no_fault_of_the_upkeep(
    made: Any, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it to use it says so; when it is whole again, the upkeep goes on."""
    monkeypatch.setattr("mcpsec.gateway.rotation._SETTLE_SECONDS", 0.0)
    said: list[str] = []
    tls = load(made.directory / "mcpsec.toml").server.tls
    (made.directory / "pki" / "pki.toml").unlink()
    own, path = OwnCertificate(tls, say=said.append), getattr(tls, broken)
    whole = path.read_bytes()
    late = datetime(2090, 1, 1, tzinfo=UTC)
    for content in (b"-----BEGIN", b""):
        path.write_bytes(content)
        asyncio.run(own.maintain(late if broken == "certificate" else datetime.now(UTC)))
        assert said == []
    path.write_bytes(whole)
    asyncio.run(own.maintain(late))
    assert len(said) == 1 and "no client can connect" in said[0]


@pytest.mark.anyio
async def test_it_says_whether_the_revocation_list_ends_or_has_ended(made: Any) -> None:
    said: list[str] = []
    own = OwnCertificate(load(made.config).server.tls, say=said.append)
    own._settled = True
    for days in (20, 31):
        await own.maintain(datetime.now(UTC) + timedelta(days=days))
    soon, late = (text.partition(" on ")[0] for text in said)
    assert (soon, late) == ("the revocation list ends", "the revocation list ended")
    assert "and then refuses every client" in said[0] and "and refuses every client" in said[1]
