"""The client's side of mutual TLS: the context, and what its failures mean in words."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from mcpsec.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "LOOK_SECONDS",
    "TlsFailure",
    "client_context",
    "closed_after_handshake",
    "explain",
    "load_certificate",
    "refusal_of",
]

LOOK_SECONDS = 2.0
"""How long a server may take to say no to a certificate on a connection on which nothing is asked."""


class TlsFailure(NamedTuple):
    """A failed TLS connection in words. ``refused``: the server said no to this client; else this client said no."""

    refused: bool
    message: str
    hint: str


_TIME = "%Y-%m-%d %H:%M UTC"
# Alerts of RFC 8446 section 6.2 as OpenSSL spells them. In TLS 1.3 the server judges the client's certificate after the
# client believes itself connected, so they arrive with the first read.
_ALERTS = {
    "CERTIFICATE_REQUIRED": ("the server demands a client certificate and got none", "give --cert and --key"),
    "UNKNOWN_CA": (
        "the server does not trust the authority that issued this client certificate, or its revocation list",
        "use a certificate of the deployment's client CA, with its intermediates (chain.pem)",
    ),
    "CERTIFICATE_REVOKED": ("the server says that this client certificate is revoked", "issue a new one"),
    "CERTIFICATE_EXPIRED": (
        "the server says that this client certificate, or its own revocation list, has expired",
        "renew it: `mcpsec certs renew`",
    ),
    "CERTIFICATE_UNKNOWN": ("the server does not accept this client certificate", "ask for one of its client CA"),
    "BAD_CERTIFICATE": ("the server finds this client certificate wrong", "look at it with `mcpsec certs`"),
    "UNSUPPORTED_CERTIFICATE": (
        "the server can't use a certificate of this kind",
        "is it one for clients (extended key usage clientAuth)?",
    ),
    "ACCESS_DENIED": ("the server knows this client certificate and refuses it", "ask its operator"),
    "HANDSHAKE_FAILURE": (
        "the server and this client share no way to speak TLS",
        "does the server demand a certificate?",
    ),
    "PROTOCOL_VERSION": ("the server does not speak TLS 1.2 or 1.3", "it is too old to be trusted"),
}


def client_context(
    *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A context that trusts ``ca`` (None: the system's authorities) and presents ``certificate`` with ``key``.

    ``certificate`` holds the leaf first, then its intermediates.

    Raises:
        ConfigurationError: a file is missing, unreadable or not what its name says.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the CA file can't be used: {_reason(error)}", path=ca) from None
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    if certificate is not None:
        load_certificate(context, certificate, key or certificate)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Present this certificate on every new connection of ``context``; connections that are open keep theirs.

    Raises:
        ConfigurationError: a file is missing or unreadable, the key is encrypted or belongs to another certificate.
    """

    def no_password() -> str:
        raise ConfigurationError("the private key is encrypted", path=key, hint="decrypt it into a 0600 file first")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except FileNotFoundError:
        missing = certificate if not certificate.exists() else key
        raise ConfigurationError("there is no such file", path=missing) from None
    except (OSError, ssl.SSLError) as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            raise ConfigurationError("the private key belongs to another certificate", path=key) from None
        hint = (
            "--key names its private key, which is not in this file"
            if key == certificate and isinstance(error, ssl.SSLError)
            else None
        )
        raise ConfigurationError(
            f"the client certificate and its key can't be used: {_reason(error)}", path=certificate, hint=hint
        ) from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not in PEM form").replace("_", " ").lower()
    return (error.strerror or "unreadable").lower() if isinstance(error, OSError) else str(error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        yield current
        seen.add(id(current))
        current = current.__cause__ or current.__context__


def explain(error: BaseException) -> TlsFailure | None:
    """What a failed request says about TLS; None when TLS is not to blame. Looks through the chain of causes."""
    for link in _chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return _own_refusal(link)
        text = str(link)
        for name, (message, hint) in _ALERTS.items():
            if f"ALERT_{name}" in text:
                return TlsFailure(True, message, hint)
        if isinstance(link, ssl.SSLError) and "WRONG_VERSION_NUMBER" in text:
            return TlsFailure(False, "the server does not speak TLS on this port", "is it http:// or another port?")
    return None


def refusal_of(
    host: str, port: int, context: ssl.SSLContext, certificate: Path | None, *, seconds: float = LOOK_SECONDS
) -> TlsFailure | None:
    """What the server has against the client's ``certificate``, which ``context`` shows; None when it takes it.

    When a connection ended before its first answer, this tells whether that was why: a second one is opened, on which
    nothing is sent. There the server's alert can't be lost to a request that lies unread, nor a call be cut. Who does
    not come as far as the end of the handshake (a balancer without a backend, a server that is full) judges nothing,
    but by an alert. ``seconds`` is for all of it, though not for the system's look for ``host``.
    """
    until = time.monotonic() + seconds
    try:
        plain = _reached(host, port, until)
        with (
            contextlib.closing(plain),
            context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False) as connection,
        ):
            connection.settimeout(_left(until))
            connection.do_handshake()
            return None if _speaks(connection, until) else closed_after_handshake(certificate)
    except OSError as error:
        known = explain(error)
        return known if known is not None and known.refused else None


def _left(until: float) -> float:
    """The seconds from now; raises TimeoutError when there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _reached(host: str, port: int, until: float) -> socket.socket:
    """A connection to the first of the host's addresses that takes one; raises OSError when there is none."""
    failure = OSError("the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(_left(until))
            plain.connect(address)
        except OSError as error:
            plain.close()
            failure = error
        else:
            return plain
    raise failure


def _speaks(connection: ssl.SSLSocket, until: float) -> bool:
    """Whether the server says something or waits for a request, where it could as well end the connection."""
    connection.settimeout(_left(until))
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def closed_after_handshake(certificate: Path | None, now: datetime | None = None) -> TlsFailure:
    """What it means that a TLS 1.3 server ended a connection on which nothing was asked.

    It judges the client's ``certificate`` only after the handshake.
    """
    said = "closed the connection after the handshake:"
    if certificate is None:
        demands = f"{said} it seems that it demands a client certificate"
        return TlsFailure(True, demands, "give --cert and --key, or -c FILE")
    life = _life(certificate)
    if life is not None:
        begins, ends = life
        now = now or datetime.now(UTC)
        if now >= ends:
            ended = f"{said} this client certificate ended on {ends:{_TIME}}"
            return TlsFailure(True, ended, "renew it: `mcpsec certs renew`")
        if now < begins:
            hint = "is the clock of this machine, or of the one that issued it, right?"
            return TlsFailure(True, f"{said} this client certificate begins only on {begins:{_TIME}}", hint)
    return TlsFailure(
        True, f"{said} it seems that it does not accept this client certificate", "its audit log has the reason"
    )


def _life(certificate: Path) -> tuple[datetime, datetime] | None:
    """From when to when a certificate is good; None when it can't be read any more."""
    from cryptography import x509

    from mcpsec.certs.identity import UNREADABLE

    try:
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, *UNREADABLE):
        return None
    return leaf.not_valid_before_utc, leaf.not_valid_after_utc


def _own_refusal(error: ssl.SSLCertVerificationError) -> TlsFailure:
    text = error.verify_message or "unknown reason"
    if error.verify_code in {18, 19, 20, 21}:  # X509_V_ERR_*: self-signed, or no issuer found
        hint = "give the server's CA with --ca"
    elif error.verify_code in {62, 64}:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        hint = "use a name that the server's certificate holds"
    elif error.verify_code in {9, 10}:  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
        hint = f"its operator has to renew it, unless this machine's clock ({datetime.now(UTC):{_TIME}}) is wrong"
    else:
        hint = "look at the server's certificate"
    return TlsFailure(False, f"the server's certificate is not trusted: {text}", hint)
