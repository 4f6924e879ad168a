"""The TLS files of a running gateway: when one changes, new connections use it and unwelcome old ones are cut.

Without session tickets a handshake always verifies, so a new context is enough for newcomers. Connections that are open
already are compared with the new CRL and CA: revocation does not wait for a client to come back.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from cryptography import x509

from mcpsec.certs import load_crl
from mcpsec.gateway.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcpsec.deployment.model import Tls
    from mcpsec.gateway.message import Peer

__all__ = ["TrustFiles"]

_Stamp = tuple[int, int, int]


def _stamp(path: Path | None) -> _Stamp | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class TrustFiles:
    """The current TLS context and how to tell whether a peer is still welcome."""

    def __init__(self, tls: Tls, *, require_certificate: bool) -> None:
        self._tls = tls
        self._require = require_certificate
        self._paths = (tls.certificate, tls.key, tls.client_ca, tls.crl)
        self._stamps = self._read_stamps()
        self.context: ssl.SSLContext = server_context(tls, require_certificate=require_certificate)

    def _read_stamps(self) -> list[_Stamp | None]:
        return [_stamp(path) for path in self._paths]

    def changed(self) -> bool:
        """True when a file is not the one that the current context was made from."""
        return self._read_stamps() != self._stamps

    def reload(self) -> Callable[[Peer], bool]:
        """Make a context from the files as they are and return the test for peers that must go.

        Raises ConfigurationError when the files are unusable; the context stays the old one then.
        """
        stamps = self._read_stamps()
        self._stamps = stamps  # also after a failure: the same broken files are not tried again and again
        self.context = server_context(self._tls, require_certificate=self._require)
        return self._unwelcome()

    def _unwelcome(self) -> Callable[[Peer], bool]:
        if not self._require:
            return lambda _peer: False
        crl = None if self._tls.crl is None else load_crl(self._tls.crl)
        authorities = x509.load_pem_x509_certificates(self._tls.client_ca.read_bytes())

        def unwelcome(peer: Peer) -> bool:
            if peer.der is None:
                return True
            certificate = x509.load_der_x509_certificate(peer.der)
            if crl is not None and crl.covers(certificate):
                return True
            return not any(_issued_by(certificate, authority) for authority in authorities)

        return unwelcome


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # several kinds; all of them mean no
        return False
    return True
