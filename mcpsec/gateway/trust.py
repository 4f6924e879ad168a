"""The TLS files of a running gateway: when one changes, new connections use it and unwelcome old ones are cut.

Without session tickets a handshake always verifies, so a new context is enough for newcomers. Connections that are open
already are compared with the new CRL and CA: revocation does not wait for a client to come back.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509

from mcpsec.certs.crl import load_crl
from mcpsec.certs.identity import UNREADABLE
from mcpsec.errors import ConfigurationError
from mcpsec.gateway.newest_lists import NewestLists, OlderListError
from mcpsec.gateway.tls import load_own_certificate, server_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcpsec.certs.crl import CrlFile
    from mcpsec.deployment.model import Tls
    from mcpsec.gateway.message import Peer
    from mcpsec.gateway.tls import ClientCertificates

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
    """The current TLS context and how to tell whether a peer is still welcome.

    ``newest`` are the lists that have been in use, and no older one is. Raises ConfigurationError for files that can't
    be used.
    """

    def __init__(self, tls: Tls, *, certificates: ClientCertificates, newest: NewestLists | None = None) -> None:
        self._tls = tls
        self.newest = newest or NewestLists()
        self._wanted = certificates
        self._paths = (tls.certificate, tls.key, tls.client_ca, tls.crl)
        self._stamps = self._in_use = self._read_stamps()
        self.news = False
        """Whether the last reading brought other files into use."""
        self.context: ssl.SSLContext = server_context(tls, certificates=certificates)
        self._authorities = self._read_authorities()
        self.revocation_list = self._read_crl(self._authorities)
        self._own_life = self._read_own_life()

    def usable(self, now: datetime | None = None) -> bool:
        """False when our certificate, the revocation list or every client CA is out of its life: no handshake succeeds.

        They may have ended, or begin later: made under a clock that was ahead, or looked at under one that is behind.
        """
        moment = now or datetime.now(UTC)
        begins, ends = self._own_life
        if not begins <= moment < ends:
            return False
        if self._wanted != "required":  # clients without a certificate are still served
            return True
        crl = self.revocation_list
        if crl is not None and not crl.this_update <= moment < crl.next_update:
            return False
        return any(moment < one.not_valid_after_utc for one in self._authorities)

    def _read_own_life(self) -> tuple[datetime, datetime]:
        try:
            own = x509.load_pem_x509_certificates(self._tls.certificate.read_bytes())[0]
            return own.not_valid_before_utc, own.not_valid_after_utc
        except (OSError, *UNREADABLE):
            raise ConfigurationError("no certificate can be read from this file", path=self._tls.certificate) from None

    def _read_crl(self, authorities: frozenset[x509.Certificate]) -> CrlFile | None:
        path = self._tls.crl
        if path is None or self._wanted == "none":
            return None
        crl = load_crl(path, signers=authorities)
        self.newest.refuse_older(crl, path)
        return crl

    def used(self) -> None:
        """These are in use now: their revocation list is the one that the next one may not be older than."""
        if self.revocation_list is not None:
            self.newest.use(self.revocation_list)

    def _read_stamps(self) -> list[_Stamp | None]:
        return [_stamp(path) for path in self._paths]

    def changed(self) -> bool:
        """True when a file is not the one that the current context was made from."""
        return self._read_stamps() != self._stamps

    def reload(self) -> Callable[[Peer], bool]:
        """Make a context from the files as they are and return the test for peers that must go.

        Raises ConfigurationError when the files are unusable; the context stays the old one then. With OlderListError
        the list and the CAs do, and the gateway's own certificate is the new one: its renewal can't wait.
        """
        self._stamps = self._read_stamps()  # also after a failure: the same broken files are not tried again and again
        context = server_context(self._tls, certificates=self._wanted)
        authorities, own_life = self._read_authorities(), self._read_own_life()
        try:
            crl = self._read_crl(authorities)
        except OlderListError:
            load_own_certificate(self.context, self._tls)
            self._own_life = own_life
            raise
        removed = self._authorities - authorities
        # Only now, when all files are known to be usable, does anything change.
        self.context, self._authorities, self.revocation_list, self._own_life = context, authorities, crl, own_life
        self.news, self._in_use = self._stamps != self._in_use, self._stamps
        self.used()
        return self._test(removed)

    def replacing(self, former: TrustFiles) -> Callable[[Peer], bool]:
        """The test for peers that were let in by those whose place these take, and must go."""
        return self._test(former._authorities - self._authorities)

    def _test(self, removed: frozenset[x509.Certificate]) -> Callable[[Peer], bool]:
        if self._wanted == "none":
            return lambda _peer: False
        crl, authorities = self.revocation_list, self._authorities

        def unwelcome(peer: Peer) -> bool:
            if peer.der is None:
                return self._wanted == "required"
            try:
                certificate = x509.load_der_x509_certificate(peer.der)
                if crl is not None and crl.covers(certificate):
                    return True
            except UNREADABLE:
                return True  # OpenSSL read it; what nobody here can is on no list, and must not keep others from one
            # A client that sent an intermediate has no issuer in the bundle, which matters only when trust shrinks:
            # then it has to prove itself again.
            return bool(removed) and not any(_issued_by(certificate, authority) for authority in authorities)

        return unwelcome

    def _read_authorities(self) -> frozenset[x509.Certificate]:
        if self._wanted == "none":
            return frozenset()
        try:
            return frozenset(x509.load_pem_x509_certificates(self._tls.client_ca.read_bytes()))
        except (OSError, *UNREADABLE):  # OpenSSL could read it a moment ago: it is being written, or it holds oddities
            raise ConfigurationError("no client CA can be read from this file", path=self._tls.client_ca) from None


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # several kinds; all of them mean no
        return False
    return True
