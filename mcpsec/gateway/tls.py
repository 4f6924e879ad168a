"""The listener's TLS context and what it learns from a client certificate.

Facts behind the settings (measured on Python 3.11-3.13): a session ticket lets a revoked client back in without a new
verification, so there are none; TLS 1.2, where a deployment allows it, resumes by session id all the same, but only
what this very context has verified, so every change of the CA or the CRL makes a new one (an expired certificate is
refused with each request); a server context has no strict flag of its own, so it is set here; a CRL can only be loaded
from a PEM file; a certificate authority can only be taken away by making a new context.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Literal

from mcpsec.certs.identity import sans_of, sha256_of
from mcpsec.errors import ConfigurationError
from mcpsec.gateway.message import Peer

if TYPE_CHECKING:
    from mcpsec.deployment.model import Tls

__all__ = ["UNREADABLE_CERTIFICATE", "ClientCertificates", "load_own_certificate", "peer_of", "server_context"]

ClientCertificates = Literal["required", "optional", "none"]

UNREADABLE_CERTIFICATE = "UNREADABLE_CERTIFICATE"
"""The ``reason`` of the SSLError that ends the handshake of a peer whose certificate ``ssl`` can't put into words."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(tls: Tls, *, certificates: ClientCertificates = "required") -> ssl.SSLContext:
    """A context that verifies client certificates strictly and hands out no session ticket.

    With ``optional`` a client may come without one, but one that it shows is verified all the same.
    Raises ConfigurationError naming the file that OpenSSL refuses.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _Handshaken
    context.minimum_version = _VERSIONS[tls.minimum_version]
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    load_own_certificate(context, tls)
    if certificates != "none":
        context.verify_mode = ssl.CERT_REQUIRED if certificates == "required" else ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        _load_client_ca(context, tls)
    return context


class _Handshaken(ssl.SSLObject):
    """OpenSSL lets pass names that are no text (Latin-1 in a dNSName); a failed handshake is what follows from them.

    Event loops ask for the certificate in words as soon as the handshake is over, and take only an OSError for its end.
    """

    def getpeercert(self, binary_form: bool = False) -> Any:
        try:
            return super().getpeercert(binary_form)
        except (ValueError, ssl.SSLError):
            unreadable = ssl.SSLError()
            unreadable.reason = UNREADABLE_CERTIFICATE
            raise unreadable from None


def load_own_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    """Show this certificate in handshakes from now on. Raises ConfigurationError."""
    for path in (tls.certificate, tls.key):
        if not path.is_file():
            raise ConfigurationError(
                "there is no such file", path=path, hint="`mcpsec certs issue NAME --server` makes it"
            )
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_refuse_passphrase)
    except _PassphraseNeededError:
        raise ConfigurationError(
            "the gateway's key is encrypted", path=tls.key, hint="a key that serves must be readable without a prompt"
        ) from None
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or "unreadable"
        foreign = reason == "KEY_VALUES_MISMATCH"
        raise ConfigurationError(
            "the key is another certificate's" if foreign else f"certificate and key can't be used: {reason}",
            path=tls.certificate,
            hint=f"the key belongs in {tls.key}; `mcpsec certs verify {tls.certificate}` says more",
        ) from None


class _PassphraseNeededError(Exception):
    pass


def _refuse_passphrase() -> str:
    raise _PassphraseNeededError


def _load_client_ca(context: ssl.SSLContext, tls: Tls) -> None:
    try:
        context.load_verify_locations(cafile=tls.client_ca)
    except (ssl.SSLError, OSError):
        raise ConfigurationError(
            "no client CA can be read from this file",
            path=tls.client_ca,
            hint="it must hold CA certificates in PEM form",
        ) from None
    if tls.crl is None:
        return
    try:
        context.load_verify_locations(cafile=tls.crl)
    except (ssl.SSLError, OSError):
        raise ConfigurationError(
            "no revocation list can be read from this file", path=tls.crl, hint="`mcpsec certs crl` writes it"
        ) from None
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def peer_of(address: str, connection: ssl.SSLObject | None) -> Peer:
    """The verified peer of a finished handshake."""
    der = None if connection is None else connection.getpeercert(binary_form=True)
    if connection is None or der is None:
        return Peer(address)
    facts = connection.getpeercert() or {}
    return Peer(
        address,
        sans=tuple(sans_of(der)),
        fingerprint=sha256_of(der),
        not_after=ssl.cert_time_to_seconds(str(facts["notAfter"])),
        der=der,
        tls=connection.version(),
        cipher=(connection.cipher() or (None,))[0],
        not_before=ssl.cert_time_to_seconds(str(facts["notBefore"])),
    )
