"""`mcpsec serve` as a child process: started, stopped, killed, started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mcpsec.audit.drill.leash import end, leashed
from mcpsec.errors import NotAssessedError

__all__ = ["START", "Gateway", "living"]

START = 120.0
_STOP = 30.0


class Gateway:
    """The copy's gateway; ``environment`` is added to that of this process, whose MCPSEC_ variables it never sees."""

    def __init__(self, config: Path, directory: Path, environment: dict[str, str] | None = None) -> None:
        self._config = config
        self._ready = directory / "ready.json"
        self._said = directory / "serve.stderr"
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """Its process id; 0 while it does not run."""
        return 0 if self._process is None else self._process.pid

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, _, port = self.url.removeprefix("https://").partition("/")[0].rpartition(":")
        return host, int(port)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, listen: str = "127.0.0.1:0", *, patience: float = START) -> None:
        """Start it and wait until it accepts requests, ``patience`` seconds at most.

        Raises NotAssessedError with its own words when it does not.
        """
        self._ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "mcpsec", "serve", "-c", str(self._config)]
        command += ["--listen", listen, "--ready-file", str(self._ready)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MCPSEC_")}
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                leashed(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**kept, **self._environment},
                start_new_session=True,
            )
        end = time.monotonic() + patience
        while not self._ready.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise NotAssessedError(
                    f"the deployment does not start on loopback: {self.last_words()}",
                    hint="`mcpsec config check` and `mcpsec serve` say more",
                )
            time.sleep(0.02)
        self.url = json.loads(self._ready.read_text(encoding="utf-8"))["url"]

    def family(self) -> set[tuple[int, str]]:
        """Itself and every program below it: process id and start time (Linux; elsewhere empty)."""
        found: set[tuple[int, str]] = set()
        waiting = [self.pid]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                found.add((pid, _started(pid)))
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(each) for each in (task / "children").read_text(encoding="ascii").split()]
        return found

    def last_words(self) -> str:
        """The last line that it wrote to standard error and that says what is wrong."""
        lines = self._said.read_text(encoding="utf-8", errors="replace").splitlines() if self._said.exists() else []
        told = [line for line in lines if line.startswith("error:")] or lines
        return told[-1][:300] if told else "it said nothing"

    def stop(self) -> None:
        """Stop it as an operator does; kill it when it does not listen."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP)
        self.kill()

    def kill(self) -> int | None:
        """End it without asking; its exit status, None when it did not run."""
        code, self._process = end(self._process), None
        return code


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot. Raises OSError when there is none."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    state, *fields = text.rpartition(")")[2].split()
    if state in "ZX":
        raise ProcessLookupError
    return fields[18]


def living(family: set[tuple[int, str]]) -> list[int]:
    """Who of a family is still alive."""
    found = []
    for pid, started in sorted(family):
        with contextlib.suppress(OSError):
            if _started(pid) == started:
                found.append(pid)
    return found
