"""The accept loop: one place that decides who may begin a TLS handshake, with which context, and how long it may take.

Each connection gets the context that is current when it arrives, so certificates, CA and CRL change without a lost
connection; each failed handshake is reported, which ``loop.create_server`` would not do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from typing import TYPE_CHECKING, Any

from mcpsec.errors import UsageError
from mcpsec.gateway.connection import Connection
from mcpsec.gateway.tls import UNREADABLE_CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Address
    from mcpsec.gateway.message import Peer
    from mcpsec.gateway.registry import ConnectionRegistry

__all__ = ["Listener", "bind", "handshake_fault"]

_BACKLOG = 1024
_OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TURNED_AWAY = "client certificate refused: it, or its CA, was withdrawn during the handshake"
_UNUSABLE = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}  # the listening socket itself


def bind(address: Address, *, option: str = "--listen") -> socket.socket:
    """A listening socket. Raises UsageError when the address is taken, foreign or not permitted.

    ``option`` is what the user changes to choose another one.
    """
    try:
        family, kind, proto, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise UsageError(f"can't listen on {address}: unknown host {address.host!r}") from None
    listening = socket.socket(family, kind, proto)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(target)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        hints = {
            errno.EADDRINUSE: f"another process listens there; stop it or choose another port with {option} HOST:PORT",
            errno.EACCES: f"ports below 1024 need a privilege; choose another with {option} HOST:PORT",
            errno.EADDRNOTAVAIL: "this machine has no such address; 127.0.0.1 and 0.0.0.0 always work",
        }
        reason = "the address is in use" if error.errno == errno.EADDRINUSE else (error.strerror or "it failed").lower()
        raise UsageError(f"can't listen on {address}: {reason}", hint=hints.get(error.errno or 0)) from None
    listening.setblocking(False)
    return listening


class Listener:
    """Accepts connections until it is closed.

    ``context`` gives the TLS context of the moment (None: plain TCP, for the admin listener); ``identify`` adds the
    client that a verified peer stands for; ``refused`` hears of every connection that never came to a request, with the
    reason.
    """

    def __init__(
        self,
        listening: socket.socket,
        registry: ConnectionRegistry,
        *,
        context: Callable[[], ssl.SSLContext | None],
        identify: Callable[[Peer], Peer],
        refused: Callable[[str, str], None],
    ) -> None:
        self._socket = listening
        self._registry = registry
        self._context = context
        self._identify = identify
        self._refused = refused
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._per_address: dict[str, int] = {}
        self._open = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it really listens (port 0 has become a number)."""
        name = self._socket.getsockname()
        return name[0], name[1]

    async def serve(self) -> None:
        """Accept until cancelled or closed."""
        loop = asyncio.get_running_loop()
        self._accepting = asyncio.current_task()
        while True:
            try:
                client, name = await loop.sock_accept(self._socket)
            except OSError as error:
                if error.errno in _UNUSABLE:
                    raise
                # One connection's or the network's trouble (accept(2) has the list) is no reason to stop. With nothing
                # to accept with, those who wait stay in the kernel's queue until something is freed.
                if error.errno in _OUT_OF_DESCRIPTORS:
                    self._refused("", "no file descriptors left")
                await asyncio.sleep(0.1)
                continue
            self._admit(client, name[0])

    def _admit(self, client: socket.socket, address: str) -> None:
        limits = self._registry.limits
        if self._open >= limits.connections or self._per_address.get(address, 0) >= limits.connections_per_address:
            client.close()
            self._refused(address, "too many connections")
            return
        self._open += 1
        self._per_address[address] = self._per_address.get(address, 0) + 1
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.get_running_loop().create_task(self._handshake(client, address))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    def _release(self, address: str) -> None:
        self._open -= 1
        left = self._per_address[address] - 1
        if left:
            self._per_address[address] = left
        else:
            del self._per_address[address]

    def _tls_options(self) -> dict[str, Any]:
        context = self._context()
        if context is None:
            return {}
        seconds = self._registry.limits.handshake_timeout
        return {"ssl": context, "ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": 2.0}

    async def _handshake(self, client: socket.socket, address: str) -> None:
        connection = Connection(self._registry, address, identify=self._identify, lost=lambda: self._release(address))
        try:
            with self._registry.arriving(connection):
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: connection,
                    client,
                    **self._tls_options(),
                )
            if connection.turned_away:
                fault = connection.fault
                self._refused(address, _TURNED_AWAY if fault is None else f"internal error {type(fault).__name__}")
        except (ssl.SSLError, OSError) as error:
            self._refused(address, handshake_fault(error))
        finally:
            if not connection.made:  # one that was made gives its place back when it is lost
                client.close()
                self._release(address)

    async def close(self) -> None:
        """Stop accepting and drop handshakes that are still going on."""
        if self._accepting is not None:  # first: a socket that an event loop waits on does not close
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        self._socket.close()
        for task in tuple(self._handshakes):
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)


_FAULTS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no client certificate",
    "HTTP_REQUEST": "plain HTTP on the TLS port",
    "WRONG_VERSION_NUMBER": "not TLS",
    "UNSUPPORTED_PROTOCOL": "TLS version too old",
    "NO_SHARED_CIPHER": "no common cipher",
    UNREADABLE_CERTIFICATE: "client certificate refused: it can't be read",
}


def handshake_fault(error: OSError) -> str:
    """Why a handshake failed, in words for the audit log (a peer has no influence on the text)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"client certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "TLS error"
        return _FAULTS.get(reason, reason.lower().replace("_", " "))
    if isinstance(error, TimeoutError) or "handshake" in str(error):
        return "handshake timed out"
    return "connection lost during the handshake"
