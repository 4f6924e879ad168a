"""Would this server let us in? A real handshake, and a read after it, because TLS 1.3 refuses clients only then."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from mcpsec.certs.reading import plain_reason
from mcpsec.certs.verification import Outcome
from mcpsec.errors import ConfigurationError, NotAssessedError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["strict_client_context", "try_handshake"]

_LISTEN = 1.0
"""Seconds to wait for a refusal after the handshake; a server that is content waits for our request in silence."""


def strict_client_context(ca: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A client's context that trusts ``ca`` alone, strictly, and presents a certificate when there is one.

    Raises:
        ConfigurationError: a file is missing, no PEM, or the key is not the certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError("this is no file of CA certificates", path=ca) from error
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, password=_no_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError("the certificate and its key can't be used together", path=certificate) from error
    return context


def _no_passphrase() -> bytes:
    """Answer OpenSSL's question, so that it never asks at the terminal."""
    return b""


def try_handshake(
    host: str, port: int, context: ssl.SSLContext, *, name: str | None = None, timeout: float = 10.0
) -> Outcome:
    """Connect, shake hands as ``name`` (default: the host), and listen for a refusal.

    Raises:
        NotAssessedError: nothing listens there.
    """
    try:
        plain = socket.create_connection((host, port), timeout=timeout)
    except OSError as error:
        raise NotAssessedError(f"{host}:{port} can't be reached: {plain_reason(error)}") from error
    with plain:
        try:
            with context.wrap_socket(plain, server_hostname=name or host) as secured:
                secured.settimeout(_LISTEN)
                if secured.recv(1) == b"":
                    return Outcome(False, "the server closed the connection right after the handshake")
        except TimeoutError:
            return Outcome(True)
        except OSError as error:
            return Outcome(False, f"the handshake failed: {plain_reason(error)}")
    return Outcome(True)
