"""What is kept of compiled expressions is safe to read, bounded, and not left behind by every version."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from mcpsec.leaks import expressions


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a process that has not compiled anything yet."""
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(expressions, "_codes", expressions._Codes())
    return tmp_path / "cache"


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "_codes", expressions._Codes())


def test_what_was_compiled_is_there_for_the_next(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert expressions.expression(rb"a(?P<digits>\d+)").search(b"xa42")
    expressions.keep()
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    another_process(monkeypatch)
    monkeypatch.setattr(expressions, "_compile", lambda *_: pytest.fail("compiled again"))
    found = expressions.expression(rb"a(?P<digits>\d+)").search(b"xa42")
    assert found is not None and found["digits"] == b"42"


def test_a_process_that_runs_on_forgets_what_it_does_not_need(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expressions.compiled("first")
    expressions.compiled("second")
    expressions.keep()
    another_process(monkeypatch)
    expressions.compiled("first")
    assert not expressions.let_go(), "it was used just now"
    assert expressions.let_go()
    assert not expressions.let_go(), "there is nothing left to forget"
    monkeypatch.setattr(expressions, "_compile", lambda *_: pytest.fail("compiled again"))
    assert expressions.compiled("second")[0].search("a second")


def test_what_others_used_goes_when_it_is_too_much(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        expressions.compiled(f"old-{number}-[a-z]+")
    expressions.keep()
    another_process(monkeypatch)
    expressions.compiled("new")
    expressions.keep()
    assert expressions._read().keys() >= {"new", "old-3-[a-z]+"}, "a little of others may stay"
    another_process(monkeypatch)
    monkeypatch.setattr(expressions, "_AMPLE", 1000)
    expressions.compiled("new")
    expressions.compiled("newer")
    expressions.keep()
    assert expressions._read().keys() == {"new", "newer"}


def test_processes_that_end_together_keep_what_each_has_compiled(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expressions.compiled("shared")
    expressions.keep()
    for name in ("one", "other"):
        another_process(monkeypatch)
        monkeypatch.setattr(expressions._codes, "rows", {})  # as it was before the other wrote
        expressions.compiled(name)
        expressions.keep()
    assert expressions._read().keys() == {"shared", "one", "other"}


def test_files_of_old_versions_are_deleted(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    for name, days in (("hyperscan-old", 40), ("hyperscan-recent", 20), ("patterns-old", 40), ("other", 40)):
        (cache / name).write_bytes(b"x")
        os.utime(cache / name, (time.time() - days * 86_400,) * 2)
    expressions.write_cache("hyperscan-new", b"y")
    assert {each.name for each in cache.iterdir()} == {"hyperscan-recent", "hyperscan-new", "patterns-old", "other"}


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs a system with file modes")
def test_a_file_that_others_may_write_is_not_read(cache: Path) -> None:
    expressions.write_cache("patterns-x", b"ours")
    assert expressions.read_cache("patterns-x") == b"ours"
    (cache / "patterns-x").chmod(0o666)
    assert expressions.read_cache("patterns-x") is None
    (cache / "patterns-x").chmod(0o600)
    cache.chmod(0o777)
    assert expressions.read_cache("patterns-x") is None
