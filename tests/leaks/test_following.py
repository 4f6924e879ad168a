"""``scan-secrets --follow``: a log is watched as it grows, is rotated and is cut."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpsec.leaks.following import _read_so_far
from tests.fixtures.processes import wait_until

from .samples import ENV, OPAQUE, PASSWORD

COMMAND = [sys.executable, "-m", "mcpsec", "scan-secrets", "--follow"]


class Follower:
    """The command at work on a log that held ``old`` secrets when it began."""

    def __init__(self, directory: Path) -> None:
        self.log, self._said = directory / "server.log", directory / "said"
        self.log.write_text(ENV * 3)
        with self._said.open("w") as out:
            self.process = subprocess.Popen([*COMMAND, str(self.log)], stdout=out, stderr=subprocess.STDOUT)

    def write(self, text: str) -> None:
        with self.log.open("a") as stream:
            stream.write(text)

    def lines(self) -> list[int]:
        """The numbers of the lines that it has reported."""
        mark = f"{self.log}:"
        return [
            int(line.removeprefix(mark).partition(":")[0])
            for line in self._said.read_text().splitlines()
            if line.startswith(mark)
        ]

    def text(self) -> str:
        return self._said.read_text()


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    made = Follower(tmp_path)

    def begun() -> bool:
        made.write(ENV)
        return bool(made.lines())

    wait_until(begun, "the first finding")
    yield made
    made.process.kill()
    made.process.wait()


def test_only_what_comes_is_reported_once_and_masked(follower: Follower) -> None:
    assert min(follower.lines()) > 3, "what stood there before is not reported"
    follower.write(f"nothing\napi_token: {OPAQUE[:6]}")
    follower.write(f"{OPAQUE[6:]}\n")
    total = follower.log.read_bytes().count(b"\n")
    wait_until(lambda: total in follower.lines(), "the line that came in two pieces")
    follower.process.send_signal(signal.SIGINT)
    assert follower.process.wait(60) == 1
    assert PASSWORD not in follower.text() and OPAQUE not in follower.text()
    assert "Traceback" not in follower.text()


def test_a_line_that_comes_while_the_lines_are_counted_is_counted_once(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("one\n")

    class Growing(io.BytesIO):
        """A log to which a line comes when it has been read to its end, and is read on."""

        def read(self, size: int | None = -1) -> bytes:
            chunk = super().read(size)
            if chunk == b"one\n":
                self.write(b"two\n")
                self.seek(-4, io.SEEK_CUR)
            return chunk

    assert _read_so_far(Growing(log.read_bytes())) == (8, 2)


def test_a_rotated_log_is_read_from_its_start(follower: Follower) -> None:
    follower.log.rename(follower.log.with_suffix(".1"))
    follower.log.write_text(f"first\n{ENV}")
    wait_until(lambda: 2 in follower.lines(), "the second line of the new file")


def test_a_log_that_was_cut_is_read_from_its_start(follower: Follower) -> None:
    follower.log.write_text(ENV)
    wait_until(lambda: 1 in follower.lines(), "the first line")


@pytest.mark.parametrize("paths", [[], ["a", "b"], ["not-there"]], ids=["none", "two", "missing"])
def test_exactly_one_file_is_followed(paths: list[str], tmp_path: Path) -> None:
    run = subprocess.run([*COMMAND, *paths], cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert run.returncode == 2
    assert "follow" in run.stderr and "Traceback" not in run.stderr
