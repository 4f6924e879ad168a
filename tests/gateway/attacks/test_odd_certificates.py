"""Certificates that a careless CA signs: names that are no text, forms that one library reads and another doesn't."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mcpsec.audit.readers import certificates as audited
from mcpsec.clientfiles.positions import Malformed
from mcpsec.deployment import load
from mcpsec.deployment.model import Address, Limits
from mcpsec.errors import ConfigurationError
from mcpsec.gateway import admin_listener
from mcpsec.gateway.listener import Listener, bind
from mcpsec.gateway.message import Answer
from mcpsec.gateway.registry import ConnectionRegistry
from mcpsec.gateway.tls import server_context
from mcpsec.gateway.trust import TrustFiles
from mcpsec.gateway.watching import certificate_lives
from tests.fixtures.deployments import OTHER, TESTER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.pki import Authority, Identity, tlv
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.raw import RawClient, call

ECHO = call("echo", {"text": "x"})
GRANTS: dict[str, Any] = {"allow_resources": ["demo/*"], "allow_methods": ["execute"]}
URI = TESTER.encode()
EMAIL, DNS, X400, DIRECTORY, URL, IP, REGISTERED = 1, 2, 3, 4, 6, 7, 8
AUTHORITY_INFORMATION, CRL_POINTS = "1.3.6.1.5.5.7.1.1", "2.5.29.31"


def names(*each: tuple[int, bytes]) -> bytes:
    """The DER form of subject alternative names."""
    constructed = {X400, DIRECTORY}
    return tlv(0x30, b"".join(tlv((0xA0 if kind in constructed else 0x80) | kind, value) for kind, value in each))


class Site:
    """A gateway whose client CA signs whatever it is given."""

    def __init__(self, running: Gateway, clients: Authority) -> None:
        self.running = running
        self.clients = clients

    def odd(self, sans: bytes, **options: Any) -> Identity:
        return self.clients.odd("odd", sans, trusts=self.running.deployment.client.ca, **options)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.running.deployment.events() if event["kind"] == kind]

    def serves(self) -> bool:
        """Whether an honest client is served."""
        with RawClient(self.running) as client:
            return client.post(ECHO).status == 200


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("odd")
    made = make_deployment(directory, {"demo": {"builtin": "demo"}}, grants=GRANTS)
    clients = Authority(directory / "pki" / "careless-ca", "A careless CA")
    bundle = directory / "pki" / "clients.pem"
    bundle.write_bytes((directory / "pki" / "client-ca" / "ca.pem").read_bytes() + clients.certificate.read_bytes())
    made.document["server"]["tls"]["client_ca"] = str(bundle)
    made.write()
    running = start_gateway(made)
    yield Site(running, clients)
    running.stop()  # which finds any line on standard error that is not expected, such as a traceback


NO_TEXT: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "dNSName": (names((URL, URI), (DNS, b"\xe9.example.com")), {}),
    "URI": (names((URL, URI), (URL, b"http://\xff")), {}),
    "rfc822Name": (names((EMAIL, b"a\xff@example.com"), (URL, URI)), {}),
    "place of a CA": (
        names((URL, URI)),
        {
            AUTHORITY_INFORMATION: tlv(
                0x30, tlv(0x30, bytes.fromhex("06082b06010505073001") + tlv(0x86, b"http://\xff"))
            )
        },
    ),
    "place of a list": (
        names((URL, URI)),
        {CRL_POINTS: tlv(0x30, tlv(0x30, tlv(0xA0, tlv(0xA0, tlv(0x86, b"http://\xff")))))},
    ),
}


@pytest.mark.parametrize("what", NO_TEXT)
def test_a_name_that_is_no_text_is_a_refused_handshake(site: Site, what: str) -> None:
    sans, extensions = NO_TEXT[what]
    before = len(site.events("handshake-refused"))
    with RawClient(site.running, site.odd(sans, extensions=extensions)) as client:
        assert client.post(ECHO).status == 0
    wait_until(lambda: len(site.events("handshake-refused")) > before, "the event")
    (event,) = site.events("handshake-refused")[before:]
    assert (event["decision"], event["reason"]) == ("refused", "client certificate refused: it can't be read")
    assert site.serves()


NOBODYS = {
    "a name of a kind that no library reads": names((X400, b"\x30\x00"), (URL, URI)),
    "an address of three octets": names((IP, b"abc"), (URL, URI)),
    "something behind the names": names((URL, URI)) + b"x",
    "a zero octet": names((URL, URI + b"\0")),
    "a line feed": names((URL, URI + b"\n")),
    "another kind": names((DNS, URI)),
    "a registered number": names((REGISTERED, bytes.fromhex("2a0304"))),
}


@pytest.mark.parametrize("what", [*NOBODYS, "version 4"])
def test_a_name_that_nobody_can_read_for_sure_is_nobodys(site: Site, what: str) -> None:
    before = len(site.events("authentication-failed"))
    odd = site.odd(NOBODYS[what]) if what in NOBODYS else site.odd(names((URL, URI)), change=_of_version_4)
    with RawClient(site.running, odd) as client:
        assert client.post(ECHO).status == 401
    wait_until(lambda: len(site.events("authentication-failed")) > before, "the event")
    (event,) = site.events("authentication-failed")[before:]
    assert (event["rule"], event.get("client"), event.get("certificate_name")) == ("certificate-unknown", None, None)
    assert site.serves()


HARMLESS = {
    "the name alone": names((URL, URI)),
    "the name twice": names((URL, URI), (URL, URI)),
    "names of other kinds": names((DIRECTORY, tlv(0x30, b"")), (REGISTERED, bytes.fromhex("2a0304")), (URL, URI)),
    "a name in UTF-8": names((DNS, "bücher.example".encode()), (URL, URI)),
    "a network": names((IP, bytes((192, 0, 2, 0, 255, 255, 255, 0))), (URL, URI)),
    "a name of 64 kB": names((URL, b"https://a.example/" + b"a" * 60_000), (URL, URI)),
    "two thousand names": names(*((DNS, b"h%d.example" % number) for number in range(2000)), (URL, URI)),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_stands_beside_the_name_takes_nothing_away(site: Site, what: str) -> None:
    before = len(site.events("handshake"))
    with RawClient(site.running, site.odd(HARMLESS[what])) as client:
        assert client.post(ECHO).status == 200
    wait_until(lambda: len(site.events("handshake")) > before, "the event")
    event = site.events("handshake")[before]
    assert event["client"] == "tester" and len(event["certificate_name"]) <= 300


@pytest.mark.parametrize("form", ["TRUE that is no DER", "version 4"])
def test_a_certificate_that_only_openssl_reads_keeps_no_other_connection_from_being_cut(
    tmp_path: Any, form: str
) -> None:
    """When trust shrinks each open connection is judged; one that can't be goes, and the others are judged all the same."""
    made = make_deployment(tmp_path, {"demo": {"builtin": "demo"}}, grants=GRANTS)
    leaving = Authority(tmp_path / "pki" / "leaving-ca", "A CA that goes")
    staying = (tmp_path / "pki" / "client-ca" / "ca.pem").read_bytes()
    bundle = tmp_path / "pki" / "clients.pem"
    bundle.write_bytes(staying + leaving.certificate.read_bytes())
    made.document["server"]["tls"]["client_ca"] = str(bundle)
    trusts = made.client.ca
    change = _of_version_4 if form == "version 4" else _true_as_one
    odd = leaving.odd("odd", names((URL, URI)), trusts=trusts, change=change)
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(odd.certificate.read_text())).hexdigest()
    made.document["clients"] += [
        {"id": "odd", "certificate": {"sha256": fingerprint}, **GRANTS},
        {"id": "other", "certificate": {"san": OTHER}, **GRANTS},
    ]
    made.write()
    running = start_gateway(made, expected=(r".*in use now, \d+ open connections cut",))
    try:
        others = [RawClient(running, leaving.client("gone", OTHER, trusts=trusts)) for _ in range(4)]
        clients = [RawClient(running, odd), *others, RawClient(running)]
        assert [client.post(ECHO).status for client in clients] == [200] * 6
        new = bundle.with_suffix(".new")
        new.write_bytes(staying)
        new.replace(bundle)
        wait_until(lambda: "in use now" in running.stderr(), "the reload")
        assert [client.post(ECHO).status for client in clients] == [0] * 5 + [200]
        for client in clients:
            client.close()
    finally:
        running.stop()


def test_whoever_can_not_be_identified_is_turned_away_with_an_event(site: Site) -> None:
    """By whatever fault of the gateway's own: it ends one connection, which gives its place back."""
    heard: list[str] = []
    made = site.running.deployment
    tls = load(made.config).server.tls

    def identify(_peer: Any) -> Any:
        raise RuntimeError("unforeseen")

    async def handler(_request: Any, _peer: Any) -> Answer:
        raise AssertionError("nobody is served")

    async def scenario() -> None:
        listener = Listener(
            bind(Address("127.0.0.1", 0)),
            ConnectionRegistry(handler, Limits()),
            context=lambda: server_context(tls),
            identify=identify,
            refused=lambda _address, reason: heard.append(reason),
        )
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: heard.append(str(context)))
        serving = loop.create_task(listener.serve())
        context = made.client.client_context()
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*listener.address, ssl=context)
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
            writer.close()
        for _ in range(500):
            if heard and listener._open == 0:
                break
            await asyncio.sleep(0.02)
        assert (heard, listener._open, listener._per_address) == (["internal error RuntimeError"], 0, {})
        await listener.close()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(scenario())


def test_a_file_with_a_certificate_of_version_4_can_not_be_used(tmp_path: Any) -> None:
    made = make_deployment(tmp_path, {"demo": {"builtin": "demo"}}, grants=GRANTS)
    tls = load(made.write()).server.tls
    odd = Authority(tmp_path / "odd-ca", "A careless CA").odd(
        "odd", names((URL, URI)), trusts=made.client.ca, change=_of_version_4
    )
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(tls.client_ca.read_bytes() + odd.certificate.read_bytes())
    for unusable in (replace(tls, client_ca=bundle), replace(tls, certificate=odd.certificate, key=odd.key)):
        with pytest.raises(ConfigurationError, match="can be read from this file"):
            TrustFiles(unusable, certificates="required")
    with pytest.raises(ConfigurationError, match="can be read from this file"):
        admin_listener._names(unusable)
    with pytest.raises(Malformed):
        audited._certificates(odd.certificate.read_bytes())
    assert [name for name, _, _ in certificate_lives(unusable)] == ["client CA"]
    assert TrustFiles(tls, certificates="required").usable()


def _of_version_4(signed: bytes) -> bytes:
    version_3 = b"\xa0\x03\x02\x01\x02"
    assert version_3 in signed[:16]
    return signed.replace(version_3, b"\xa0\x03\x02\x01\x03", 1)


def _true_as_one(signed: bytes) -> bytes:
    """A TRUE that is not 0xFF: BER, but not DER."""
    assert b"\x01\x01\xff" in signed
    return signed.replace(b"\x01\x01\xff", b"\x01\x01\x01", 1)
