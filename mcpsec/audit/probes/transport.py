"""TLS as it is spoken: versions, certificates of both sides, plain HTTP."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import NOBODY, welcome
from mcpsec.audit.probes.session import Session
from mcpsec.audit.probes.wire import PATIENCE

if TYPE_CHECKING:
    from cryptography import x509

__all__: list[str] = []

_SERVED = ("TLS008", "TLS009", "CRT001", "CRT002", "CRT009")
_READ = (*_SERVED, "CRT006")
_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@probe("P0", "TLS001", "TLS002", order=10)
def plain_http(session: Session) -> Iterator[Finding]:
    """TLS001."""
    subject = session.subject
    if not session.target.tls:
        local = is_local(session.target.host)
        text = "the endpoint speaks plain HTTP"
        yield subject.fail("TLS001", None, text, severity="low" if local else "critical", key="plain")
        yield subject.fail(
            "TLS002",
            None,
            "without TLS nobody shows a certificate",
            severity="low" if local else "critical",
            key="plain",
        )
        return
    answer = session.request("GET", "/", plain=True)
    if answer.status and not answer.is_redirect_to_tls and answer.status not in (400, 403, 404, 421, 426, 497):
        yield subject.fail("TLS001", None, f"plain HTTP on the same port: {answer.describe()}", key="same port")
    else:
        yield subject.ok("TLS001", None, f"plain HTTP: {answer.describe()}")


@probe("P0", "TLS002", order=11)
def client_certificate(session: Session) -> Iterator[Finding]:
    """TLS002: without a certificate, by name and by address without SNI; judged by the first thing that is read."""
    if not session.target.tls:
        return
    subject = session.subject
    answers = [
        ("by name", welcome(session, NOBODY).first),
        (
            "by address, without SNI",
            session.request(body=_PING, certificate=False, server_name=None, address=_address(session)),
        ),
    ]
    accepted = [(how, answer) for how, answer in answers if answer.refused_certificate is False]
    unclear = [how for how, answer in answers if answer.refused_certificate is None]
    if answers[0][1].status == 421:  # the name is not served: that says nothing about certificates
        unclear.append("under this name: probe it by the name it is served under")
    for how, answer in accepted:
        yield subject.fail("TLS002", None, f"{how}: answered without a certificate: {answer.describe()}", key=how)
    if unclear and not accepted:
        yield subject.unknown("TLS002", f"no answer {unclear[0]}", required=True)
    elif not accepted:
        seen = "; ".join(f"{how}: {answer.describe()}" for how, answer in answers)
        yield subject.ok("TLS002", None, f"refused {seen}")


def _address(session: Session) -> str | None:
    try:
        return str(socket.getaddrinfo(session.target.host, session.target.port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return None


@probe("P0", "TLS006", "TLS007", order=12)
def versions(session: Session) -> Iterator[Finding]:
    """TLS006 and TLS007."""
    subject = session.subject
    if not session.target.tls:
        for check in ("TLS006", "TLS007"):
            yield subject.skip(check, "the endpoint speaks plain HTTP: see TLS001")
        return
    deployment = session.deployment
    only_new = deployment is not None and deployment.server.tls.minimum_version == "1.3"
    refused = _TLS13 if only_new else ssl.TLSVersion.TLSv1_2
    spoken = _spoken(session, ssl.TLSVersion.TLSv1, _BEFORE[refused])
    if spoken:
        yield subject.fail("TLS006", None, f"{spoken}{_DECLARED if spoken == 'TLSv1.2' else ''} accepted", key="old")
    else:
        yield subject.ok("TLS006", None, f"nothing older than {_WORDS[refused]} is accepted")
    if "TLSv1.3" in session.spoken or _spoken(session, _TLS13, _TLS13):
        yield subject.ok("TLS007", None, "TLS 1.3 negotiated")
    else:
        yield subject.fail("TLS007", None, "TLS 1.3 not negotiated", key="none")


_TLS13 = ssl.TLSVersion.TLSv1_3
_BEFORE = {_TLS13: ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2: ssl.TLSVersion.TLSv1_1}
_WORDS = {_TLS13: "TLS 1.3", ssl.TLSVersion.TLSv1_2: "TLS 1.2"}
_DECLARED = ", though the deployment file says 1.3,"


def _spoken(session: Session, lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> str:
    """The version of a handshake within bounds that got as far as the server's certificate; empty for none."""
    session.pace()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = session.tls(certificate=True, lowest=lowest, highest=highest)
    try:
        with (
            socket.create_connection((session.target.host, session.target.port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=session.name) as stream,
        ):
            return stream.version() or ""
    except OSError:
        return ""


@probe("P0", *_READ, order=13)
def server_certificate(session: Session) -> Iterator[Finding]:
    """TLS008, TLS009, CRT001, CRT002, CRT009."""
    if not session.target.tls:
        for check in _SERVED:
            yield session.subject.skip(check, "the endpoint speaks plain HTTP: see TLS001")
        return
    from mcpsec.audit.checks.crt import lifetime, remaining

    subject = session.subject
    verified, chain = _verified(session)
    yield verified
    if not chain:
        return
    session.facts["leaf"] = leaf = chain[0]
    yield from _strength(session, leaf)
    yield lifetime(subject, leaf, None)
    yield remaining(subject, leaf, session.audit, None)
    yield from _newest(session, leaf)


def _verified(session: Session) -> tuple[Finding, list[x509.Certificate]]:
    """TLS008, and what was served; a second connection that verifies nothing is made only where the first fails."""
    from cryptography import x509

    from mcpsec.certs.reading import chain_of, served_chain
    from mcpsec.errors import NotAssessedError

    subject, target = session.subject, session.target
    session.pace()
    ca = session.credentials.ca
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if session.credentials.certificate is not None:
            context.load_cert_chain(session.credentials.certificate, session.credentials.key)
        with (
            socket.create_connection((target.host, target.port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=session.name) as stream,
        ):
            served = [x509.load_der_x509_certificate(der) for der in chain_of(stream)]
            return subject.ok("TLS008", None, f"verifies against {ca or 'the public CAs'} for {session.name}"), served
    except ssl.SSLCertVerificationError as error:
        found = subject.fail("TLS008", None, f"does not verify: {error.verify_message}", key="verify")
    except (OSError, ValueError, x509.InvalidVersion) as error:
        why = getattr(error, "strerror", None) or "no connection"
        found = subject.unknown("TLS008", f"could not be verified: {why}", required=True)
    session.pace()
    try:
        return found, served_chain(target.host, target.port, context=session.tls(certificate=True))
    except NotAssessedError as error:
        return subject.unknown("TLS008", error.message, required=True), []


def _strength(session: Session, leaf: object) -> Iterator[Finding]:
    from cryptography import x509

    from mcpsec.certs.lint import lint

    assert isinstance(leaf, x509.Certificate)
    weak = [fault for fault in lint(leaf) if fault.code in ("key-weak", "key-unknown", "signature-weak", "key-curve")]
    if weak:
        yield session.subject.fail("TLS009", None, weak[0].message, key=weak[0].code)
    else:
        yield session.subject.ok("TLS009", None, "key and signature are strong")


def _newest(session: Session, leaf: object) -> Iterator[Finding]:
    """CRT009: against the certificate of a deployment file that is judged in the same run."""
    from cryptography import x509

    assert isinstance(leaf, x509.Certificate)
    loaded, disk = session.deployment, None
    if loaded is not None:
        with contextlib.suppress(OSError, ValueError):
            disk = x509.load_pem_x509_certificates(loaded.server.tls.certificate.read_bytes())[0]
    if disk is None:
        yield session.subject.skip("CRT009", "no certificate on disk is at hand to compare with")
        return
    state = session.subject.ok if disk == leaf else session.subject.fail
    text = "the one on disk" if disk == leaf else "another one than on disk: reload the server"
    yield state("CRT009", None, f"serves {text}", key="newest")
