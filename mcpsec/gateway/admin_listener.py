"""Who reaches the admin listener: everybody on this machine, or administrators with a certificate."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography import x509

from mcpsec.certs.identity import UNREADABLE, sans_of_certificate
from mcpsec.certs.names import comparable
from mcpsec.deployment.model import Address
from mcpsec.errors import ConfigurationError, Error
from mcpsec.gateway.admin import AdminHandler
from mcpsec.gateway.listener import Listener, bind
from mcpsec.gateway.registry import ConnectionRegistry
from mcpsec.gateway.trust import TrustFiles

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from mcpsec.deployment.model import Admin, Limits, Tls
    from mcpsec.gateway.admin import Exposed
    from mcpsec.gateway.message import Peer
    from mcpsec.gateway.newest_lists import NewestLists
    from mcpsec.telemetry.dashboard import Dashboard

__all__ = ["AdminListener"]


class AdminListener:
    """Binds the admin address and answers there. Without administrators it is plain HTTP, for loopback.

    ``listening`` is a socket that is bound already. ``refused`` hears of an address that was turned away, with the
    reason. ``newest`` are the revocation lists that the deployment has used. With ``name`` it answers to that alone as
    Host: who doesn't know it gets nothing. Raises UsageError when the address can't be bound, ConfigurationError when
    the administrators' CA can't be used.
    """

    def __init__(
        self,
        admin: Admin,
        tls: Tls,
        limits: Limits,
        metrics: Exposed,
        dashboard: Dashboard,
        *,
        ready: Callable[[], dict[str, bool]],
        refused: Callable[[str, str], None],
        listening: socket.socket | None = None,
        name: str | None = None,
        newest: NewestLists,
    ) -> None:
        self._administrators = admin.administrators
        self._refused = refused
        self._trust: TrustFiles | None = None
        if admin.administrators:
            self._trust = TrustFiles(administrators_tls(admin, tls), certificates="required", newest=newest)
            self._trust.used()
        listening = listening or bind(admin.listen, option="--admin-listen")
        host, port = listening.getsockname()[:2]
        bound = str(Address(name or host, port))
        hosts = {bound} if name else {bound, f"localhost:{port}"}
        if self._trust is not None:
            hosts |= {str(Address(name, port)) for name in _names(tls)}
        handler = AdminHandler(metrics, dashboard, ready=ready, hosts=hosts, welcome=self._welcome)
        self.registry = ConnectionRegistry(handler, limits)
        self.url = f"{'http' if self._trust is None else 'https'}://{bound}"
        self._listener = Listener(
            listening,
            self.registry,
            context=lambda: None if self._trust is None else self._trust.context,
            identify=lambda peer: peer,
            refused=lambda address, reason: None if self._trust is None else refused(address, f"admin: {reason}"),
        )

    async def serve(self) -> None:
        """Accept until cancelled or closed."""
        await self._listener.serve()

    async def close(self) -> None:
        """Stop accepting."""
        await self._listener.close()

    def refresh(self, say: Callable[[str], None]) -> None:
        """Use changed certificates and CAs, and cut connections that they make unwelcome.

        The old ones stay when the files can't be used; ``say`` hears that once, as the same files aren't tried again.
        """
        if self._trust is None or not self._trust.changed():
            return
        try:
            self.registry.abort_where(self._trust.reload())
        except Error as error:
            say(f"the admin listener's changed TLS files can't be used, the old ones stay: {error}")

    def _welcome(self, peer: Peer) -> bool:
        """True for everybody where there are no administrators (loopback), else for their certificates only."""
        if self._trust is None:
            return True
        valid = peer.not_after is not None and time.time() <= peer.not_after
        names = {comparable(san) for san in peer.sans}
        known = any(
            (match.san is not None and comparable(match.san) in names)
            or (match.sha256 is not None and match.sha256.lower().replace(":", "") == peer.fingerprint)
            for match in self._administrators
        )
        if not (valid and known):
            self._refused(peer.address, "admin: not an administrator's certificate")
        return valid and known


def administrators_tls(admin: Admin, tls: Tls) -> Tls:
    """The files that the listener works with when administrators have to show a certificate."""
    other_ca = admin.client_ca is not None and admin.client_ca != tls.client_ca
    return replace(tls, client_ca=admin.client_ca or tls.client_ca, crl=None if other_ca else tls.crl)


def _names(tls: Tls) -> list[str]:
    """The DNS names and addresses in the gateway's own certificate, under which its admin listener may be addressed."""
    try:
        certificate = x509.load_pem_x509_certificates(tls.certificate.read_bytes())[0]
    except (OSError, IndexError, *UNREADABLE):
        raise ConfigurationError("no certificate can be read from this file", path=tls.certificate) from None
    names = sans_of_certificate(certificate)
    return [name.lower() for name in names if name.kind in {"dns", "ip"} and "*" not in name]
