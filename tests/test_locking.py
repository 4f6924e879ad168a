"""The lock on a file: one holder, and a file system without locks is an error at once instead of waiting for ever."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mcpsec import locking
from mcpsec.certs import files as certificate_files
from mcpsec.connect.oauth import store as tokens
from mcpsec.errors import ConfigurationError, Error
from mcpsec.telemetry import lock as log_lock


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    second = os.open(path, os.O_RDWR)
    try:
        assert locking.try_lock(first)
        assert not locking.try_lock(second)
        os.close(first)
        assert locking.try_lock(second)
    finally:
        os.close(second)


def no_locks(descriptor: int) -> bool:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.anyio
async def test_tokens_without_locks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tokens, "try_lock", no_locks)
    kept = tokens.store_for(tokens.Keep.file, "https://mcp.example.com/mcp", None)
    with pytest.raises(ConfigurationError, match="lock can't be made"):
        async with kept.locked():
            raise AssertionError("nobody holds it")


def test_a_log_without_locks_is_refused_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    path.touch()
    monkeypatch.setattr(log_lock, "try_lock", no_locks)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(OSError, match=os.strerror(errno.ENOLCK)):
        log_lock.Lock.take(path, what="the log")
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after == before


def test_an_authority_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_files, "try_lock", no_locks)
    with pytest.raises(Error), certificate_files.lock(tmp_path / "lock"):
        raise AssertionError("nobody holds it")


def test_an_authority_whose_lock_is_held_says_so(tmp_path: Path) -> None:
    with (
        certificate_files.lock(tmp_path / "lock"),
        pytest.raises(Error, match="another process has held the lock"),
        certificate_files.lock(tmp_path / "lock", timeout=0.0),
    ):
        raise AssertionError("two holders")
