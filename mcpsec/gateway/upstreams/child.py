"""One stdio child: its process group, its pipes, its framing; it never outlives the gateway.

The child is started by a launcher that takes privileges away and asks the kernel to kill it when the gateway dies
(``sandbox``). Standard error is read and kept only as a short tail for the operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

from mcpsec.protocol.stdio import LineFramer, Oversize, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Child", "ChildStartError"]

_STDERR_TAIL = 4096
_WRITE_BUFFER = 4 * 1024 * 1024
_GATHERED = 64 * 1024
_CLOSE_GRACE, _TERM_GRACE, _END_GRACE = 1.0, 2.0, 1.0
_END = signal.SIGUSR2 if sys.platform == "linux" else signal.SIGTERM


class ChildStartError(Exception):
    """The program could not be started; the text is for the operator."""


class Child(asyncio.SubprocessProtocol):
    """A running child. ``received`` gets each line, ``ended`` is called once, with the child, when it is gone.

    A program can end before ``start`` has returned: all that its end needs is there from ``connection_made`` on.
    """

    def __init__(
        self, *, line_bytes: int, received: Callable[[bytes | Oversize], None], ended: Callable[[Child], None]
    ) -> None:
        self._framer = LineFramer(line_bytes)
        self._received = received
        self._ended = ended
        self._stderr = bytearray()
        self._transport: asyncio.SubprocessTransport
        self._stdin: asyncio.WriteTransport
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._loop = asyncio.get_running_loop()
        self.gone = self._loop.create_future()
        self.pid = 0
        self.stopping = False

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: dict[str, str],
        cwd: Path | None,
        line_bytes: int,
        received: Callable[[bytes | Oversize], None],
        ended: Callable[[Child], None],
    ) -> Child:
        """Start ``command`` in a session of its own. Raises ChildStartError."""
        loop = asyncio.get_running_loop()
        try:
            _, child = await loop.subprocess_exec(
                lambda: cls(line_bytes=line_bytes, received=received, ended=ended),
                *command,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it can't be run"
            raise ChildStartError(f"{command[0]}: {reason}") from None
        return child

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The program runs."""
        self._transport = transport  # type: ignore[assignment] # a subprocess protocol gets a SubprocessTransport
        self._stdin = self._transport.get_pipe_transport(0)  # type: ignore[assignment] # pipe 0 is the one we write to
        self.pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Lines of standard output are messages, standard error is for people."""
        if fd == 1:
            for line in self._framer.feed(data):
                self._received(line)
        else:
            self._stderr += data[-_STDERR_TAIL:]
            del self._stderr[:-_STDERR_TAIL]

    def end(self) -> None:
        """End it at once and all that it started, unless it is gone."""
        if self.alive:
            self._end_all()

    def process_exited(self) -> None:
        """The child is gone; whatever it started goes with it."""
        self._kill_group(signal.SIGKILL)
        if not self.gone.done():
            self.gone.set_result(None)
            self._ended(self)

    @property
    def alive(self) -> bool:
        """True until the process has ended."""
        return not self.gone.done()

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs."""
        return self._transport.get_returncode()

    def stderr_tail(self) -> str:
        """The end of what it wrote to standard error, printable."""
        text = self._stderr.decode("utf-8", "replace")
        return "".join(char if char.isprintable() or char == "\n" else "?" for char in text).strip()

    def send(self, payload: bytes) -> bool:
        """Write one message. False when the child is gone or does not read what it was sent before.

        All messages of one turn of the loop are written together at its end: each write may wake the child.
        """
        if not self.alive or self._stdin.is_closing() or self._stdin.get_write_buffer_size() > _WRITE_BUFFER:
            return False
        if not self._unsent:
            self._loop.call_soon(self._flush)
        line = frame(payload)
        self._unsent.append(line)
        self._unsent_bytes += len(line)
        if self._unsent_bytes >= _GATHERED:
            self._flush()
        return True

    def _flush(self) -> None:
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if unsent and self.alive and not self._stdin.is_closing():
            self._stdin.write(b"".join(unsent))

    def _kill_group(self, signum: signal.Signals) -> None:
        if self.pid <= 0:  # to killpg, 0 is the gateway's own group
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signum)

    def _end_all(self) -> None:
        """Have the launcher kill the program and all that it started; elsewhere than on Linux it is the program."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._transport.send_signal(_END)

    async def stop(self) -> None:
        """Close its input, then terminate, then kill (specification, basic/transports/stdio, shutdown)."""
        self._flush()
        if self.alive and not self._stdin.is_closing():
            self._stdin.close()
        ends: tuple[tuple[float, Callable[[], None]], ...] = (
            (_CLOSE_GRACE, partial(self._kill_group, signal.SIGTERM)),
            (_TERM_GRACE, self._end_all),
            (_END_GRACE, partial(self._kill_group, signal.SIGKILL)),
        )
        for grace, end in ends:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.gone), grace)
            if not self.alive:
                break
            end()
        await self.gone
        self._kill_group(signal.SIGKILL)
        self._transport.close()
