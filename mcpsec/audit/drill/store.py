"""The drill's own Redis (or Valkey): on a free port of loopback, without a file, killed and started again."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

from mcpsec.audit.drill.leash import end, leashed
from mcpsec.errors import NotAssessedError

__all__ = ["Store", "program"]


def program() -> str | None:
    """The server's program, None when this machine has none."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


class Store:
    """A store that can be lost."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``[state] url``."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers. Raises NotAssessedError."""
        command = [program() or "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self._directory)]
        quiet = subprocess.DEVNULL
        command = leashed(command)
        self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        end = time.monotonic() + 30
        while not self.answers():
            if time.monotonic() > end or self._process.poll() is not None:
                self.kill()
                raise NotAssessedError("the drill's own Redis does not start")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it answers a PING."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    def kill(self) -> int | None:
        """Kill it; the exit status, None when it did not run."""
        code, self._process = end(self._process), None
        return code
