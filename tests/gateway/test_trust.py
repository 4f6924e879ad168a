"""TLS files change under a running gateway: what is revoked goes at once, what is fine never notices."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import Issued, Pki, Purpose
from mcpsec.certs.profiles import key_identifier
from mcpsec.deployment import load
from mcpsec.gateway.trust import TrustFiles
from tests.fixtures.deployments import EVERYTHING, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.pki import Authority, Identity
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.raw import RawClient, call, request_bytes

DEMO = {"demo": {"builtin": "demo"}}
ECHO = call("echo", {"text": "hello"})
OLDER = "is older than the newest one used here"
LOOPBACK = ["127.0.0.1", "localhost"]
READ_AGAIN = r".*deployment was read again: in use now"
UNUSED = r".*the changed deployment can't be used, the old one stays.*"
CHANGED, REFUSED = r".*in use now, \d+ open connections cut", r".*changed TLS files can't be used, the old ones stay.*"


@dataclass
class Site:
    """A gateway whose certificates are mcpsec's own. ``files`` is what it reads; bob is never revoked."""

    pki: Pki
    running: Gateway
    files: Path
    bob: Identity
    names: list[str]

    def take(self) -> tuple[str, Identity]:
        """A client of the gateway that no other test has used."""
        name = self.names.pop()
        return name, identity_of(self.pki.issue(name, Purpose.CLIENT), self.bob.ca)

    def file(self, name: str) -> Path:
        return self.files / name

    def publish(self, name: str, content: bytes) -> None:
        """Replace a file as certificate tools do: whole, by a rename."""
        new = self.files / f".{name}.new"
        new.touch(mode=0o600)
        new.write_bytes(content)
        new.replace(self.files / name)

    def publish_server(self, issued: Issued) -> None:
        assert issued.key is not None
        self.publish("server.key", issued.key.read_bytes())
        self.publish("server.pem", issued.chain.read_bytes())

    def publish_crl(self) -> None:
        self.publish("client.crl", self.pki.authority(Purpose.CLIENT).crl_file.read_bytes())

    def reloads(self) -> int:
        return self.running.stderr().count("in use now")

    def refusals(self) -> int:
        return self.running.stderr().count("the old ones stay")


def identity_of(issued: Issued, ca: Path) -> Identity:
    assert issued.key is not None
    return Identity(issued.chain, issued.key, ca)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("trust")
    made = make_deployment(directory, DEMO)
    files = directory / "tls"
    files.mkdir()
    with Pki.create(directory / "ca") as pki:
        server, bob = pki.issue("gateway", Purpose.SERVER, LOOPBACK), pki.issue("bob", Purpose.CLIENT)
        site = Site(pki, None, files, identity_of(bob, pki.authority(Purpose.SERVER).bundle), list("abcdefghijklm"))  # type: ignore[arg-type]
        site.publish_server(server)
        site.publish("client-ca.pem", pki.authority(Purpose.CLIENT).bundle.read_bytes())
        site.publish_crl()
        made.document["server"]["tls"] = {
            "certificate": str(files / "server.pem"),
            "key": str(files / "server.key"),
            "client_ca": str(files / "client-ca.pem"),
            "crl": str(files / "client.crl"),
            "minimum_version": "1.2",  # the one that knows sessions without tickets; clients speak 1.3 all the same
        }
        made.document["clients"] = [
            {"id": name, "certificate": {"san": f"spiffe://mcp.internal/client/{name}"}, **EVERYTHING}
            for name in ("bob", *site.names)
        ]
        made.document["server"]["limits"] = {"handshake_timeout": "5m"}  # the machine may be busy
        made.write()
        site.running = start_gateway(made, expected=(CHANGED, REFUSED, READ_AGAIN, UNUSED, r"\s*hint.*"))
        yield site
        site.running.stop()


def opened(site: Site, identity: Identity) -> RawClient:
    """A connection that has served a request and stays open."""
    client = RawClient(site.running, identity)
    assert client.post(ECHO).status == 200
    return client


def is_refused(site: Site, identity: Identity) -> bool:
    """With TLS 1.3 a client learns of its refusal with the first read."""
    try:
        with RawClient(site.running, identity) as client:
            return client.post(ECHO).status == 0
    except OSError:
        return True


def test_revocation_cuts_open_connections_and_refuses_new_ones(site: Site) -> None:
    name, identity = site.take()
    with contextlib.closing(opened(site, identity)) as alice, contextlib.closing(opened(site, site.bob)) as bob:
        site.pki.revoke(name, "keyCompromise", Purpose.CLIENT)
        site.publish_crl()
        assert alice.is_closed(), "a revoked client's connection goes on"
        assert is_refused(site, identity)
        assert bob.post(ECHO).status == 200
        assert not is_refused(site, site.bob)


class HalfWay:
    """A client that has the gateway's part of a handshake, and keeps its own back."""

    def __init__(self, site: Site, identity: Identity) -> None:
        self._host = site.running.authority
        self._plain = socket.create_connection(site.running.address, timeout=PATIENCE)
        self._from, self._to = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = identity.client_context()
        self._tls = context.wrap_bio(self._from, self._to, server_hostname=site.running.address[0])
        while self._goes_on():
            self._plain.sendall(self._to.read())
            self._from.write(self._plain.recv(65536))

    def _goes_on(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return True
        return False

    def __enter__(self) -> HalfWay:
        return self

    def __exit__(self, *_: object) -> None:
        self._plain.close()

    def finish(self) -> bytes:
        """End the handshake with a request right behind it; what comes back, nothing when it is cut."""
        self._tls.write(request_bytes(self._host, ECHO))
        try:
            self._plain.sendall(self._to.read())
            while data := self._plain.recv(65536):
                self._from.write(data)
                with contextlib.suppress(ssl.SSLWantReadError):
                    return self._tls.read(65536)
        except (ssl.SSLError, ConnectionError):
            pass
        return b""


def test_a_handshake_that_began_before_a_revocation_is_no_way_around_it(site: Site) -> None:
    """It verifies by the list of its beginning. Whoever always has one under way would be served for ever."""
    name, identity = site.take()
    with HalfWay(site, identity) as alice, HalfWay(site, site.bob) as bob:
        reloads = site.reloads()
        site.pki.revoke(name, "keyCompromise", Purpose.CLIENT)
        site.publish_crl()
        wait_until(lambda: site.reloads() > reloads, "the new list to be in use")
        assert alice.finish() == b"", "a revoked client is served"
        assert bob.finish().startswith(b"HTTP/1.1 200")
    reasons = lambda: [each.get("reason") or "" for each in site.running.deployment.events()]  # noqa: E731
    wait_until(lambda: any("during the handshake" in each for each in reasons()), "the event")


def test_a_revoked_client_has_no_session_to_come_back_with(site: Site) -> None:
    """TLS 1.2 resumes a session without looking at the certificate again; those of bob are worth something still."""
    name, identity = site.take()
    contexts = {each: each.client_context() for each in (identity, site.bob)}
    sessions = {each: resumed(site, context, None)[0] for each, context in contexts.items()}
    assert all(session is not None for session in sessions.values())
    reloads = site.reloads()
    site.pki.revoke(name, "keyCompromise", Purpose.CLIENT)
    site.publish_crl()
    wait_until(lambda: site.reloads() > reloads, "the new list to be in use")
    with pytest.raises(OSError):
        resumed(site, contexts[identity], sessions[identity])
    session, reused = resumed(site, contexts[site.bob], sessions[site.bob])
    assert session is not None and not reused, "a session of before the change is nobody's"


def resumed(
    site: Site, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool | None]:
    """The session after a TLS 1.2 handshake that offers ``session``, and whether it was taken."""
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(site.running.address, PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure,
    ):
        return secure.session, secure.session_reused


def test_revocation_cuts_a_request_that_is_being_sent(site: Site) -> None:
    name, identity = site.take()
    with contextlib.closing(opened(site, identity)) as alice:
        alice.send(b"POST /mcp HTTP/1.1\r\nHost: ")
        site.pki.revoke(name, purpose=Purpose.CLIENT)
        site.publish_crl()
        assert alice.is_closed()


def test_a_new_server_certificate_costs_no_request(site: Site) -> None:
    """Two certificates take turns while requests run on kept and on new connections."""
    old = served_serial(site, site.bob)
    stop, failures = threading.Event(), []

    def loop(keep: bool) -> None:
        client: RawClient | None = None
        while not stop.is_set():
            try:
                client = client or RawClient(site.running, site.bob)
                if client.post(ECHO).status != 200:
                    failures.append("no answer")
                if not keep:
                    client.close()
                    client = None
            except (OSError, AssertionError) as error:
                failures.append(repr(error))
                client = None
            stop.wait(0.01)
        if client is not None:
            client.close()

    threads = [threading.Thread(target=loop, args=(keep,)) for keep in (True, False)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(3):
            new = site.pki.issue("gateway", Purpose.SERVER, LOOPBACK, replace=True)
            site.publish_server(new)
            serial = x509.load_pem_x509_certificate(new.certificate.read_bytes()).serial_number
            wait_until(lambda wanted=serial: served_serial(site, site.bob) == wanted, f"certificate {turn}")
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not failures
    assert old != serial


def test_files_that_are_swapped_by_one_link(site: Site) -> None:
    """As Kubernetes mounts secrets: every file is a link through ``..data``, which comes to stand for another directory."""

    def stand_for(directory: Path) -> None:
        link = site.files / "..new"
        link.symlink_to(directory.name)
        link.replace(site.files / "..data")

    def version(name: str) -> tuple[Path, int]:
        made = site.files / name
        made.mkdir()
        issued = site.pki.issue("gateway", Purpose.SERVER, LOOPBACK, replace=True)
        assert issued.key is not None
        for file in names:
            content = {"server.pem": issued.chain, "server.key": issued.key}.get(file, site.file(file)).read_bytes()
            (made / file).touch(mode=0o600)
            (made / file).write_bytes(content)
        return made, x509.load_pem_x509_certificate(issued.certificate.read_bytes()).serial_number

    names = ["server.pem", "server.key", "client-ca.pem", "client.crl"]
    first, serial = version("..first")
    stand_for(first)
    for file in names:
        link = site.files / f".{file}.new"
        link.symlink_to(f"..data/{file}")
        link.replace(site.files / file)

    def served(serial: int) -> bool:
        return served_serial(site, site.bob) == serial

    wait_until(lambda: served(serial), "the first")
    second, renewed = version("..second")
    stand_for(second)
    wait_until(lambda: served(renewed), "the second")
    broken, _ = version("..broken")
    (broken / "server.key").write_bytes((first / "server.key").read_bytes())
    refusals = site.refusals()
    stand_for(broken)
    wait_until(lambda: site.refusals() > refusals, "the warning about another's key")
    assert served(renewed) and not is_refused(site, site.bob)
    third, last = version("..third")
    stand_for(third)
    wait_until(lambda: served(last), "the third")


def served_serial(site: Site, identity: Identity) -> int:
    with RawClient(site.running, identity) as client:
        der = client.socket.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number


def test_a_removed_ca_takes_its_clients_along(site: Site, tmp_path: Path) -> None:
    ours, our_crl = site.file("client-ca.pem").read_bytes(), site.file("client.crl").read_bytes()
    second = Authority(tmp_path / "second", "Second CA")
    carol = second.client("carol", "spiffe://mcp.internal/client/bob", trusts=site.bob.ca)
    assert is_refused(site, carol)
    # Where revocation is checked, a CA without a list is no CA.
    site.publish("client-ca.pem", ours + second.certificate.read_bytes())
    site.publish("client.crl", our_crl + crl_of(second))
    wait_until(lambda: not is_refused(site, carol), "the second CA to be trusted")
    with contextlib.closing(opened(site, carol)) as guest, contextlib.closing(opened(site, site.bob)) as bob:
        site.publish("client-ca.pem", ours)
        assert guest.is_closed()
        assert is_refused(site, carol)
        assert bob.post(ECHO).status == 200


def crl_of(authority: Authority) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority._name)
        .last_update(now - datetime.timedelta(hours=1))
        .next_update(now + datetime.timedelta(days=1))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(authority._identifier, critical=False)
        .sign(authority._key, SHA256())
        .public_bytes(Encoding.PEM)
    )


def test_a_client_of_an_intermediate_survives_a_reload(site: Site) -> None:
    """The bundle may hold only the root: clients send their intermediate, and a reload is no reason to cut them."""
    ours, before = site.file("client-ca.pem").read_bytes(), site.reloads()
    site.publish("client-ca.pem", site.pki.root_file.read_bytes())
    wait_until(lambda: site.reloads() > before, "the reload")
    with contextlib.closing(opened(site, site.bob)) as bob:
        before = site.reloads()
        os.kill(site.running.process.pid, signal.SIGHUP)
        wait_until(lambda: site.reloads() > before, "the reload")
        assert bob.post(ECHO).status == 200
    site.publish("client-ca.pem", ours)


def broken_files(site: Site) -> dict[str, tuple[str, Callable[[bytes], bytes]]]:
    other_key, certificate = site.bob.key.read_bytes(), site.bob.certificate.read_bytes()
    return {
        "garbage certificate": ("server.pem", lambda _: b"\x00garbage"),
        "empty certificate": ("server.pem", lambda _: b""),
        "half a certificate": ("server.pem", lambda old: old[:200]),
        "key of another": ("server.key", lambda _: other_key),
        "half a key": ("server.key", lambda old: old[: len(old) // 2]),
        "no client CA": ("client-ca.pem", lambda _: b"# none\n"),
        "half of the client CAs": ("client-ca.pem", lambda old: old[: len(old) - 300]),
        "garbage CA": ("client-ca.pem", lambda _: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "empty CRL": ("client.crl", lambda _: b""),
        "half a CRL": ("client.crl", lambda old: old[: len(old) // 2]),
        "a CRL that is a certificate": ("client.crl", lambda _: certificate),
    }


def test_files_that_cannot_be_used_change_nothing(site: Site) -> None:
    client, identity = site.take()
    with contextlib.closing(opened(site, site.bob)) as kept:
        for name, (file, spoil) in broken_files(site).items():
            good = site.file(file).read_bytes()
            refusals, reloads = site.refusals(), site.reloads()
            site.publish(file, spoil(good))
            wait_until(lambda before=refusals: site.refusals() > before, f"the warning about {name}", 10)
            assert kept.post(ECHO).status == 200, name
            assert not is_refused(site, identity), name
            site.publish(file, good)
            wait_until(lambda before=reloads: site.reloads() > before, f"recovery from {name}", 10)
            assert not is_refused(site, identity), name
        refusals, reloads = site.refusals(), site.reloads()
        gone = site.file("client.crl").rename(site.file("aside"))
        wait_until(lambda: site.refusals() > refusals, "the warning about a file that is gone")
        assert kept.post(ECHO).status == 200
        assert not is_refused(site, identity)
        gone.rename(site.file("client.crl"))
        wait_until(lambda: site.reloads() > reloads, "recovery")
    # After all of that, what matters still works.
    with contextlib.closing(opened(site, identity)) as alice:
        site.pki.revoke(client, purpose=Purpose.CLIENT)
        site.publish_crl()
        assert alice.is_closed()


def revoked(site: Site) -> tuple[Identity, bytes]:
    """A client that is revoked by the list in use, and the list before, which let it in."""
    name, identity = site.take()
    before = site.file("client.crl").read_bytes()
    assert not is_refused(site, identity)
    site.pki.revoke(name, purpose=Purpose.CLIENT)
    reloads = site.reloads()
    site.publish_crl()
    wait_until(lambda: site.reloads() > reloads, "the new list")
    return identity, before


def test_an_older_revocation_list_lets_nobody_in_again(site: Site) -> None:
    """A backup that is copied back, a mirror that is late: the list in use stays, and it is said until one follows it."""
    identity, before = revoked(site)
    assert is_refused(site, identity)
    refusals = site.refusals()
    site.publish("client.crl", before)
    wait_until(lambda: site.refusals() > refusals, "the warning about the older list")
    assert OLDER in site.running.stderr()
    assert is_refused(site, identity)
    assert not is_refused(site, site.bob)
    renewed = site.pki.issue("gateway", Purpose.SERVER, LOOPBACK, replace=True)
    site.publish_server(renewed)
    serial = x509.load_pem_x509_certificate(renewed.certificate.read_bytes()).serial_number
    wait_until(
        lambda: served_serial(site, site.bob) == serial, "the renewed certificate, which needn't wait for a list"
    )
    assert is_refused(site, identity)
    other, revoked_later = site.take()
    site.pki.revoke(other, purpose=Purpose.CLIENT)
    reloads = site.reloads()
    site.publish_crl()
    wait_until(lambda: site.reloads() > reloads, "the list that follows")
    assert is_refused(site, identity) and is_refused(site, revoked_later)
    assert not is_refused(site, site.bob)


def test_a_changed_deployment_brings_no_older_list_into_use(site: Site) -> None:
    """Another name for the files makes all of them anew: what was revoked stays so, and what a new list says is done."""
    identity, before = revoked(site)
    made = site.running.deployment
    tls = made.document["server"]["tls"]

    def use(crl: str, said: str) -> None:
        known = site.running.stderr().count(said)
        tls["crl"] = str(site.file(crl))
        made.write()
        wait_until(lambda: site.running.stderr().count(said) > known, said)

    site.publish("older.crl", before)
    use("older.crl", "the changed deployment can't be used")
    assert OLDER in site.running.stderr()
    assert is_refused(site, identity) and not is_refused(site, site.bob)
    name, other = site.take()
    with contextlib.closing(opened(site, other)) as carol, contextlib.closing(opened(site, site.bob)) as bob:
        site.pki.revoke(name, purpose=Purpose.CLIENT)
        site.publish("other.crl", site.pki.authority(Purpose.CLIENT).crl_file.read_bytes())
        use("other.crl", "the deployment was read again: in use now")
        assert carol.is_closed() and bob.post(ECHO).status == 200
    assert is_refused(site, identity) and is_refused(site, other) and not is_refused(site, site.bob)
    site.publish_crl()
    use("client.crl", "the deployment was read again: in use now")


def test_a_list_that_its_ca_did_not_sign_keeps_no_later_one_out(site: Site, tmp_path: Path) -> None:
    """Its number is made up, and high: were it taken, every genuine list would be an older one."""
    genuine = x509.load_pem_x509_certificate(site.pki.authority(Purpose.CLIENT).bundle.read_bytes())
    forger = Authority(tmp_path / "forger")
    forged = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(genuine.subject)
        .last_update(datetime.datetime.now(datetime.UTC))
        .next_update(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1))
        .add_extension(x509.CRLNumber(10**9), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_identifier(genuine), None, None), critical=False)
        .sign(forger._key, SHA256())
    )
    refusals = site.refusals()
    site.publish("client.crl", forged.public_bytes(Encoding.PEM))
    wait_until(lambda: site.refusals() > refusals, "the warning about it")
    assert "its CA didn't sign it" in site.running.stderr()
    assert not is_refused(site, site.bob)
    identity, _ = revoked(site)
    assert is_refused(site, identity) and not is_refused(site, site.bob)


SLOW = """
import pathlib, time
here = pathlib.Path(__file__).parent
(here / "begun").touch()
while not (here / "go").exists():
    time.sleep(0.02)

async def application(scope, receive, send):
    raise NotImplementedError
"""


def test_a_revocation_waits_for_no_reload_that_takes_long(site: Site, tmp_path: Path) -> None:
    """The file brings a new upstream, which is still being started."""
    name, identity = site.take()
    (tmp_path / "slow_to_import.py").write_text(SLOW)
    made = site.running.deployment
    made.document["upstreams"]["slow"] = {"app": "slow_to_import:application", "app_dir": str(tmp_path)}
    made.write()
    try:
        wait_until((tmp_path / "begun").exists, "the reload")
        with contextlib.closing(opened(site, identity)) as alice:
            site.pki.revoke(name, purpose=Purpose.CLIENT)
            site.publish_crl()
            assert alice.is_closed() and is_refused(site, identity)
        assert not is_refused(site, site.bob)
        read = site.running.stderr().count("read again")
    finally:
        (tmp_path / "go").touch()
    wait_until(lambda: site.running.stderr().count("read again") > read, "the end of the reload")
    del made.document["upstreams"]["slow"]
    made.write()
    wait_until(lambda: site.running.stderr().count("read again") > read + 1, "the file of before")


def test_ready_is_only_who_can_make_a_handshake_now(site: Site) -> None:
    """Not before the certificate and the revocation list begin, nor after either has ended."""
    trust = TrustFiles(load(site.running.deployment.config).server.tls, certificates="required")
    now = datetime.datetime.now(datetime.UTC)
    assert trust.usable(now)
    for days in (-1, 32):
        assert not trust.usable(now + datetime.timedelta(days=days)), days


def test_sighup_reads_the_files_again(site: Site) -> None:
    before = site.reloads()
    os.kill(site.running.process.pid, signal.SIGHUP)
    wait_until(lambda: site.reloads() > before, "the reload")
    assert not is_refused(site, site.bob)
