"""A network of one link, which can be cut: everything sent is held, in both directions, until it is mended."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from mcpsec.audit.drill.record import Record

__all__ = ["Network", "reset"]

_PIECE = 65536


class Network:
    """Listens on a free port of loopback and passes bytes on to ``target``.

    While it is cut it takes connections and bytes, as a network that loses packets seems to, and delivers none of
    them; whoever closes its end is noticed and written down. What was held is delivered once it is mended.
    """

    def __init__(self, target: tuple[str, int], record: Record) -> None:
        self.target = target
        self.record = record
        self._whole = threading.Event()
        self._whole.set()
        self.carried = 0
        """Bytes that have been delivered."""
        self._allowed = 0
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, call: str = "", *, after: int = 0) -> None:
        """From now on nothing arrives, but for what the client sends until ``after`` bytes of it are through."""
        self._allowed = after
        self._whole.clear()
        self.record.add("network cut", call=call)

    def mend(self) -> None:
        """From now on everything arrives, what was held first."""
        if not self._whole.is_set():
            self.record.add("network mended")
        self._whole.set()

    def close(self) -> None:
        """Close everything."""
        self._listener.close()
        self._whole.set()
        for each in list(self._open):
            _close(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        self._open.add(client)
        if not self._whole.is_set():
            self.record.add("connection held")
        self._whole.wait()
        try:
            server = socket.create_connection(self.target, timeout=30)
        except OSError:
            self._drop(client)
            return
        server.settimeout(None)
        self._open.add(server)
        other = threading.Thread(target=self._pump, args=(server, client, "server"), daemon=True)
        other.start()
        self._pump(client, server, "client")
        other.join()
        self._drop(client)
        self._drop(server)

    def _pump(self, source: socket.socket, sink: socket.socket, side: str) -> None:
        try:
            while piece := source.recv(_PIECE):
                if not self._whole.is_set() and not self._passes(side, piece):
                    self.record.add("bytes held", side=side, count=len(piece))
                    self._watch_end(source, side)
                sink.sendall(piece)
                self.carried += len(piece)
        except ConnectionResetError:
            reset(sink)
        except OSError:
            pass
        if not self._whole.is_set():
            self.record.add("closed while cut", side=side)
        self._whole.wait()
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _passes(self, side: str, piece: bytes) -> bool:
        """Whether a piece is of what still gets through a network that is cut."""
        if side != "client" or self._allowed <= 0:
            return False
        self._allowed -= len(piece)
        return True

    def _watch_end(self, source: socket.socket, side: str) -> None:
        """Wait for the network to be whole again, and write down when the sender gives up meanwhile."""
        gone = False
        while not self._whole.is_set():
            if not gone:
                gone = _ended(source)
                if gone:
                    self.record.add("closed while cut", side=side)
            self._whole.wait(0.02)

    def _drop(self, each: socket.socket) -> None:
        self._open.discard(each)
        _close(each)


def _ended(source: socket.socket) -> bool:
    """Whether the peer has closed its end; looks without taking bytes away."""
    try:
        source.setblocking(False)
        return source.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        with contextlib.suppress(OSError):
            source.setblocking(True)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def reset(connection: socket.socket) -> None:
    """Close with a reset instead of an orderly end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads
        connection.close()
