"""Client certificates that must not be good: of an unknown CA, expired, for another purpose, of nobody. P2.

They are made in memory, used for one request and forgotten. What needs the client CA's signature needs its key, which
only a person gives (``--client-ca-key``), for a CA made for tests or one's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import NOBODY, discover, initialize, welcome
from mcpsec.audit.probes.session import Credentials, Session
from mcpsec.audit.probes.wire import Answer
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from cryptography import x509

__all__: list[str] = []

_DAY = timedelta(days=1)


@probe("P2", "TLS003", order=10)
def untrusted(session: Session) -> Iterator[Finding]:
    """TLS003: our certificate again, names and all, signed by a CA of our own making."""
    subject = session.subject
    if not _applies(session):
        yield subject.skip("TLS003", "nobody is asked for a client certificate: see TLS002")
        return
    with _minted(session, authority=None) as stranger:
        answer = _asked(session, stranger)
    if answer.refused_certificate is None:
        yield subject.unknown("TLS003", answer.describe(), required=True)
    elif not answer.refused_certificate:
        yield subject.fail("TLS003", None, f"a certificate of an unknown CA: {answer.describe()}", key="untrusted")
    else:
        yield subject.ok("TLS003", None, f"a certificate of an unknown CA: {answer.describe()}")


def _applies(session: Session) -> bool:
    """Whether a certificate matters there: TLS is spoken, and nobody gets in without one."""
    return session.target.tls and welcome(session, NOBODY).first.refused_certificate is True


def _asked(session: Session, who: Credentials) -> Answer:
    """Discover, and initialize where that is unknown; the first that is answered counts."""
    answer = Answer()
    for body, headers in (discover(), initialize()):
        answer = session.request(body=body, headers=headers, identity=who)
        if answer.answers or answer.refused_certificate or answer.refused_certificate is None:
            return answer
    return answer


@probe("P2", "TLS004", "TLS005", order=11)
def of_the_right_authority(session: Session) -> Iterator[Finding]:
    """TLS004: expired yesterday. TLS005: a server's certificate, and one of a name that nobody registered."""
    subject = session.subject
    if not _applies(session):
        for check in ("TLS004", "TLS005"):
            yield subject.skip(check, "nobody is asked for a client certificate: see TLS002")
        return
    authority = session.audit.options.get("authority")
    if authority is None:
        for check in ("TLS004", "TLS005"):
            yield subject.unknown(check, "needs a certificate of the client CA: --client-ca FILE --client-ca-key FILE")
        return
    loaded = _load(*authority)
    with _minted(session, authority=loaded) as control:
        first = _asked(session, control)
    if first.refused_certificate is not False:
        for check in ("TLS004", "TLS005"):
            text = f"a good certificate of this CA is refused, too: {first.describe()}"
            yield subject.unknown(check, text, required=True)
        return
    with _minted(session, authority=loaded, ended=True) as expired:
        answer = _asked(session, expired)
    state = subject.fail if _further(answer, first) else subject.ok
    yield state("TLS004", None, f"a certificate that ended yesterday: {answer.describe()}", key="expired")
    with _minted(session, authority=loaded, purpose="server") as server:
        answer = _asked(session, server)
    with _minted(session, authority=loaded, name="spiffe://mcpsec-audit.invalid/nobody") as nobody:
        unknown = _asked(session, nobody)
    wrong = False
    if _further(answer, first):
        wrong = True
        yield subject.fail("TLS005", None, f"a server's certificate: {answer.describe()}", key="purpose")
    if unknown.answers:
        wrong = True
        text = f"a certificate of a name that nobody registered: {unknown.describe()}"
        yield subject.fail("TLS005", None, text, severity="medium", key="identity")
    if not wrong:
        text = f"a server's certificate: {answer.describe()}; an unknown name: {unknown.describe()}"
        yield subject.ok("TLS005", None, text[:300])


def _further(answer: Answer, control: Answer) -> bool:
    """Whether a bad certificate came as far as a good one."""
    if answer.refused_certificate is not False:
        return False
    return answer.answers or answer.status == control.status


def _load(certificates: Path, key: Path) -> tuple[x509.Certificate, Any]:
    """The CA's certificate whose key this is. Raises UsageError."""
    from cryptography import x509

    from mcpsec.signing import load_private_key

    private: Any = load_private_key(key)
    try:
        chain = x509.load_pem_x509_certificates(certificates.read_bytes())
    except (OSError, ValueError):
        raise UsageError("is no certificate in PEM form", path=certificates) from None
    for each in chain:
        if each.public_key() == private.public_key():
            return each, private
    raise UsageError("none of its certificates has this key", path=certificates)


@contextlib.contextmanager
def _minted(
    session: Session,
    *,
    authority: tuple[x509.Certificate, Any] | None,
    ended: bool = False,
    purpose: str = "client",
    name: str = "",
) -> Iterator[Credentials]:
    """Credentials with a new certificate in private files that are gone afterwards.

    Its names are those of our own certificate, or ``name``; without ``authority`` a CA with the name of the real
    issuer is made up.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    chain = _chain(session, key.public_key(), authority, ended=ended, purpose=purpose, name=name)
    with tempfile.TemporaryDirectory(prefix="mcpsec-audit-") as folder:
        certificate, private = Path(folder, "cert.pem"), Path(folder, "key.pem")
        certificate.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
        handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        yield Credentials(certificate, private, session.credentials.ca, session.credentials.signer)


def _chain(
    session: Session,
    public: Any,
    authority: tuple[x509.Certificate, Any] | None,
    *,
    ended: bool,
    purpose: str,
    name: str,
) -> list[x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    own = _own(session)
    now = datetime.now(UTC)
    root: list[x509.Certificate] = []
    if authority is None:
        signer: Any = ec.generate_private_key(ec.SECP256R1())
        issuer = own.issuer if own is not None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Client CA")])
        root = [
            _builder(issuer, issuer, signer.public_key(), now - _DAY, now + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(signer, hashes.SHA256())
        ]
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    else:
        issuing, signer = authority
        issuer = issuing.subject
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    subject, names = _names(own, name)
    begin, end = (now - 3 * _DAY, now - _DAY) if ended else (now - timedelta(minutes=5), now + timedelta(hours=1))
    used = ExtendedKeyUsageOID.SERVER_AUTH if purpose == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    leaf = (
        _builder(issuer, subject, public, begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([used]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(identifier, critical=False)
    )
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return [leaf.sign(signer, digest), *root]


def _builder(issuer: Any, subject: Any, public: Any, begin: datetime, end: datetime) -> x509.CertificateBuilder:
    from cryptography import x509

    return x509.CertificateBuilder(
        issuer_name=issuer, subject_name=subject, public_key=public, serial_number=x509.random_serial_number(),
        not_valid_before=begin, not_valid_after=end,
    )  # fmt: skip


def _own(session: Session) -> x509.Certificate | None:
    from cryptography import x509

    path = session.credentials.certificate
    try:
        return None if path is None else x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return None


def _names(own: x509.Certificate | None, name: str) -> tuple[x509.Name, x509.SubjectAlternativeName]:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    made = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mcpsec-audit")])
    if own is not None and not name:
        with contextlib.suppress(x509.ExtensionNotFound):
            found = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            return own.subject, found
        return own.subject, x509.SubjectAlternativeName([x509.DNSName("client.invalid")])
    uri = x509.UniformResourceIdentifier(name or "spiffe://mcpsec-audit.invalid/client")
    return made, x509.SubjectAlternativeName([uri])


@probe("P0", "CRT006", order=14)
def changed(session: Session) -> Iterator[Finding]:
    """CRT006: the serial number that TLS008 has seen, against the readings that ``--state FILE`` keeps."""
    subject = session.subject
    if not session.target.tls:
        yield subject.skip("CRT006", "the endpoint speaks plain HTTP")
        return
    leaf = session.facts.get("leaf")
    if leaf is None:
        yield subject.unknown("CRT006", "the served certificate could not be read")
        return
    now = session.audit.now
    serial, age = f"{leaf.serial_number:x}", now - leaf.not_valid_before_utc
    if age > timedelta(days=90):
        yield subject.fail("CRT006", None, f"the served certificate is {age.days} days old", key="age")
        return
    path = session.audit.options.get("state")
    if path is None:
        yield subject.unknown("CRT006", "one reading shows no change: --state FILE keeps them")
        return
    readings = _readings(path)
    before = [row for row in readings.get(str(session.target), []) if row["serial"] != serial]
    seen = readings.setdefault(str(session.target), [])
    if not any(row["serial"] == serial for row in seen):
        seen.append({"serial": serial, "seen": now.isoformat(timespec="seconds")})
    _keep(path, readings)
    if before:
        yield subject.ok("CRT006", None, f"changed since {before[-1]['seen'][:10]}")
    else:
        yield subject.unknown("CRT006", f"the first certificate that was read here, {age.days} days old")


def _readings(path: Path) -> dict[str, list[dict[str, str]]]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        raise UsageError("the file of readings can't be read", path=path) from None
    rows = document.get("endpoints") if isinstance(document, dict) else None
    good = isinstance(rows, dict) and all(
        isinstance(each, list) and all(isinstance(row, dict) and {"serial", "seen"} <= set(row) for row in each)
        for each in rows.values()
    )
    if not isinstance(rows, dict) or not good:
        raise UsageError("this is no file of readings", hint="--state makes a new one", path=path)
    return rows


def _keep(path: Path, readings: dict[str, list[dict[str, str]]]) -> None:
    from mcpsec.writing import PUBLIC, write_atomic

    document = {"schema": "mcpsec.audit-state/1", "endpoints": readings}
    write_atomic(path, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode(), PUBLIC)
