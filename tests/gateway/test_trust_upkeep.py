"""CAs are replaced and lists signed again under a running gateway that reads the PKI's own files."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type

from mcpsec.certs import Pki, Purpose, load_crl, rotation
from mcpsec.certs.profiles import key_identifier
from tests.fixtures.deployments import EVERYTHING, Deployment, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.pki import Identity
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.raw import RawClient, call
from tests.gateway.test_admin import ask, metrics

ECHO = call("echo", {"text": "hello"})
NOTES = (
    r".*in use now, \d+ open connections cut",
    r".*changed TLS files can't be used, the old ones stay.*",  # read in the instant between two of them; read again
    r"\s*hint.*",
    r".*the revocation list end(s|ed) on .*",
)


def deployment_of(directory: Path, pki: Pki) -> Deployment:
    """A deployment as ``init`` lays it out: the gateway reads the PKI's own files."""
    pki.issue("gateway", Purpose.SERVER, ["127.0.0.1", "localhost"])
    pki.issue("bob", Purpose.CLIENT)
    made = make_deployment(directory / "deployment", {"demo": {"builtin": "demo"}})
    server = pki.directory / "server" / "gateway"
    made.document["server"] |= {
        "tls": {
            "certificate": str(server / "chain.pem"),
            "key": str(server / "key.pem"),
            "client_ca": str(pki.directory / "client-ca.pem"),
            "crl": str(pki.directory / "client-ca.crl"),
        },
        "admin": {"listen": "127.0.0.1:0"},
    }
    san = "spiffe://mcp.internal/client/bob"
    made.document["clients"] = [{"id": "bob", "certificate": {"san": san}, **EVERYTHING}]
    made.write()
    return made


@contextlib.contextmanager
def serving(made: Deployment) -> Iterator[Gateway]:
    running = start_gateway(made, expected=NOTES)
    try:
        yield running
    except BaseException:
        running.kill()
        raise
    running.stop()


class Wallet:
    """A client's files as it holds them, apart from the PKI's; ``fetch`` brings the newest."""

    def __init__(self, pki: Pki, directory: Path) -> None:
        self._pki = pki
        self._directory = directory
        self._count = 0
        self.fetch()

    def fetch(self) -> Identity:
        issued = self._pki.files_of(self._pki.current("bob"))
        assert issued is not None and issued.key is not None
        self._count += 1
        home = self._directory / str(self._count)
        home.mkdir(parents=True)
        for path in (issued.chain, issued.key, self._pki.root_file):
            shutil.copy(path, home / path.name)
        self.identity = Identity(home / "chain.pem", home / "key.pem", home / "root-ca.pem")
        return self.identity


class Load:
    """Requests without an end: on connections that stay open, and each on a new one."""

    def __init__(self, running: Gateway, wallet: Wallet) -> None:
        self._running, self._wallet = running, wallet
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.served = [0, 0, 0, 0]
        self.using: list[Identity | None] = [None] * len(self.served)
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(len(self.served))]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.round()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self, number: int) -> None:
        client: RawClient | None = None
        while not self._stop.wait(0.01):
            wanted = self._wallet.identity
            try:
                if client is None or self.using[number] is not wanted or number % 2:
                    if client is not None:
                        client.close()
                    client = RawClient(self._running, wanted)
                    self.using[number] = wanted
                if client.post(ECHO).status == 200:
                    self.served[number] += 1
                else:
                    self.failures.append("no answer")
                    client = None
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))
                client = None
        if client is not None:
            client.close()

    def round(self) -> None:
        """Wait until everyone was served again, with the wallet's newest certificate."""
        before = list(self.served)
        wait_until(
            lambda: (
                bool(self.failures)
                or (
                    all(now > then + 1 for now, then in zip(self.served, before, strict=True))
                    and all(used is self._wallet.identity for used in self.using)
                )
            ),
            "everyone to be served",
            PATIENCE,
        )
        assert not self.failures


def served_issuer(running: Gateway, identity: Identity) -> str:
    with contextlib.closing(RawClient(running, identity)) as client:
        der = client.socket.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).issuer.rfc4514_string()


@pytest.fixture
def pki(tmp_path: Path) -> Iterator[Pki]:
    with Pki.create(tmp_path / "pki") as made:
        yield made


def test_root_cas_and_certificates_are_replaced_under_load_without_a_lost_request(pki: Pki, tmp_path: Path) -> None:
    """All of docs/certificates.md, "Replacing a CA", while requests run on open and on new connections."""
    wallet_home, made = tmp_path / "bob", deployment_of(tmp_path, pki)
    with serving(made) as running:
        replace_everything(running, pki, Wallet(pki, wallet_home))
    assert len(x509.load_pem_x509_certificates(pki.root_file.read_bytes())) == 1


def replace_everything(running: Gateway, pki: Pki, wallet: Wallet) -> None:
    reloads = Reloads(running, pki)
    with Load(running, wallet) as load:
        before = served_issuer(running, wallet.identity)
        rotation.rotate_root(pki)
        wallet.fetch()  # everyone gets the new root first
        load.round()
        for purpose in (Purpose.SERVER, Purpose.CLIENT):
            rotation.rotate(pki, purpose)
            reloads.wait()
            load.round()
        assert all(renewal.error is None for renewal in pki.renew_due())
        reloads.wait()
        load.round()
        wallet.fetch()
        load.round()
        for purpose in (Purpose.SERVER, Purpose.CLIENT):
            rotation.retire(pki, purpose)
            reloads.wait()
            load.round()
        rotation.retire_root(pki)
        wallet.fetch()  # only the new root is trusted from here on
        load.round()
        assert served_issuer(running, wallet.identity) != before
    assert not load.failures


class Reloads:
    """Knows when the gateway uses the files as they are."""

    def __init__(self, running: Gateway, pki: Pki) -> None:
        self._running = running
        self._seen = 0
        self._files = [pki.directory / "client-ca.pem", pki.directory / "client-ca.crl", pki.directory / "server"]
        self._state = self._read()

    def _read(self) -> list[object]:
        *files, server = self._files
        return [*(file.read_bytes() for file in files), (server / "gateway" / "chain.pem").read_bytes()]

    def wait(self) -> None:
        """Wait for a reload if a file that the gateway reads changed."""
        state, self._state = self._state, self._read()
        if state != self._state:
            wait_until(lambda: self._running.stderr().count("in use now") > self._seen, "the reload", PATIENCE)
            self._seen = self._running.stderr().count("in use now")


def refused(running: Gateway, identity: Identity) -> bool:
    try:
        with RawClient(running, identity) as client:
            return client.post(ECHO).status == 0
    except OSError:
        return True


def certs(pki: Pki, *arguments: str) -> None:
    """The command itself, as a timer runs it."""
    command = [sys.executable, "-m", "mcpsec", "certs", "--dir", str(pki.directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def alerts(running: Gateway) -> list[str]:
    return [event["name"] for event in running.deployment.events() if event["kind"] == "alert"]


def test_an_expired_revocation_list_is_seen_everywhere_and_signing_it_again_is_enough(pki: Pki, tmp_path: Path) -> None:
    settings = pki.directory / "pki.toml"
    usual = settings.read_text()
    assert "days = 30" in usual
    settings.write_text(usual.replace("days = 30", f"days = {1 / 86400}"))
    made = deployment_of(tmp_path, pki)
    with Pki.open(pki.directory) as short:
        short.refresh_crls(Purpose.CLIENT, force=True)
    settings.write_text(usual)
    crl = pki.directory / "client-ca.crl"
    wait_until(lambda: load_crl(crl).expired(datetime.now(UTC)), "the list to expire")
    with serving(made) as running:
        identity = Wallet(pki, tmp_path / "bob").identity
        assert refused(running, identity), "an expired list lets a client in"
        ready = ask(running, "/readyz")
        assert (ready.status, ready.json["trust"]) == (503, False)
        end = metrics(running)["mcpsec_crl_next_update_timestamp_seconds", (("name", "client"),)]
        assert end == load_crl(crl).next_update.timestamp()
        wait_until(lambda: "revocation-list-due" in alerts(running), "the alert", PATIENCE)
        wait_until(lambda: "ended on" in running.stderr(), "the warning", PATIENCE)
        due = wait_until(
            lambda: [event for event in running.deployment.events() if event["kind"] == "certificate"], "its event"
        )
        assert [event["state"] for event in due] == ["due"] and "mcpsec certs crl" in due[0]["detail"]
        certs(pki, "renew", "--all-due", "--quiet")
        wait_until(lambda: ask(running, "/readyz").status == 200, "the gateway to be ready again", PATIENCE)
        assert not refused(running, identity)


@pytest.mark.parametrize("spelled", [str.upper, lambda name: name.replace(" ", "  "), str])
def test_a_list_that_spells_its_issuer_in_another_way_cuts_the_same_connections(
    pki: Pki, tmp_path: Path, spelled: Callable[[str], str]
) -> None:
    """Names are the same in any case, encoding and number of spaces (RFC 5280 section 7.1): OpenSSL refuses newcomers."""
    made, authority = deployment_of(tmp_path, pki), pki.authority(Purpose.CLIENT)
    bob, signer = Wallet(pki, tmp_path / "bob").identity, authority.signer()
    alice = pki.issue("alice", Purpose.CLIENT)
    made.document["clients"].append({"id": "alice", "certificate": {"san": alice.sans[0]}, **EVERYTHING})
    made.write()
    assert alice.key is not None
    issuer = x509.load_der_x509_certificate(signer.der)
    names = [
        x509.NameAttribute(each.oid, spelled(str(each.value)), _ASN1Type.PrintableString) for each in issuer.subject
    ]
    leaf, now = x509.load_pem_x509_certificates(bob.certificate.read_bytes())[0], datetime.now(UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(now).build()
    listed = (
        x509.CertificateRevocationListBuilder(x509.Name(names), now, now + timedelta(days=1), [], [entry])
        .add_extension(x509.CRLNumber(1000), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_identifier(issuer), None, None), critical=False)
        .sign(authority.key(signer), SHA256())  # type: ignore[arg-type]
    )
    with serving(made) as running:
        other = RawClient(running, Identity(alice.chain, alice.key, bob.ca))
        with contextlib.closing(RawClient(running, bob)) as client, contextlib.closing(other):
            assert client.post(ECHO).status == other.post(ECHO).status == 200
            authority.crl_file.write_bytes(listed.public_bytes(Encoding.PEM))
            assert client.is_closed()
            assert other.post(ECHO).status == 200
        with pytest.raises((OSError, AssertionError)), RawClient(running, bob) as client:
            assert client.post(ECHO).status == 200
