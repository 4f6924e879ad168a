import ctypes
import errno
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mcpsec.certs import delivery, syscalls
from mcpsec.certs.delivery import Delivery, deliver, discard_staged
from mcpsec.certs.syscalls import exchange, sync_filesystem
from mcpsec.errors import ConfigurationError
from mcpsec.writing import PRIVATE, PUBLIC


def test_two_directories_change_places_in_one_step(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
        (directory / "file").write_text(directory.name)
    if not exchange(one, other):
        pytest.skip("this file system can't exchange directories; run on ext4, xfs, btrfs, tmpfs or APFS")
    assert (one / "file").read_text() == "other" and (other / "file").read_text() == "one"
    with pytest.raises(FileNotFoundError):
        exchange(one, tmp_path / "none")


@pytest.mark.parametrize("able", [True, False])
def test_a_staged_directory_takes_the_place_of_the_old_one(
    able: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not able:
        monkeypatch.setattr(delivery, "exchange", lambda *_: False)
    target = tmp_path / "name"
    for text in (b"first", b"second"):
        deliver(tmp_path, {"name": {"file": (text, PRIVATE)}})
        assert (target / "file").read_bytes() == text
        assert (target / "file").stat().st_mode & 0o777 == 0o600 and target.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_dead_process_left_is_cleared_and_what_it_moved_away_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "name"
    deliver(tmp_path, {"name": {"file": (b"kept", PUBLIC)}})
    (tmp_path / ".new-name").mkdir()
    (tmp_path / ".new-name" / "file").write_bytes(b"unfinished")
    target.rename(tmp_path / ".old-name")
    discard_staged(tmp_path)
    assert (target / "file").read_bytes() == b"kept" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("able", [True, False])
def test_many_are_delivered_together_with_the_modes_that_were_asked_for(
    able: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not able:
        monkeypatch.setattr(delivery, "sync_filesystem", lambda _: False)
    wanted = {
        f"name-{number}": {"key": (b"k", PRIVATE), "cert": (str(number).encode(), PUBLIC)} for number in range(40)
    }
    for _ in range(2):  # the second time they replace what is there
        deliver(tmp_path, wanted)
    assert {path.name: (path / "cert").read_bytes() for path in tmp_path.iterdir()} == {
        name: files["cert"][0] for name, files in wanted.items()
    }
    assert {oct((path / "key").stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}


def test_a_delivery_that_fails_says_so_to_whoever_waits(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("a file is in the way")
    under_way = Delivery(tmp_path, {"name": {"file": (b"new", PUBLIC)}})
    with pytest.raises(ConfigurationError):
        under_way.wait()
    assert (tmp_path / "name").read_text() == "a file is in the way"
    discard_staged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_a_name_that_a_dead_process_had_staged_is_staged_anew(tmp_path: Path) -> None:
    left = tmp_path / ".new-name"
    left.mkdir()
    (left / "stranger").write_bytes(b"unfinished")
    deliver(tmp_path, {"name": {"file": (b"new", PUBLIC)}})
    assert [path.name for path in (tmp_path / "name").iterdir()] == ["file"]


def test_what_was_moved_away_goes_when_its_place_is_taken(tmp_path: Path) -> None:
    deliver(tmp_path, {"name": {"file": (b"new", PUBLIC)}})
    (tmp_path / ".old-name").mkdir()
    (tmp_path / ".old-name" / "file").write_bytes(b"old")
    discard_staged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert (tmp_path / "name" / "file").read_bytes() == b"new"


@pytest.fixture
def _forgetful() -> Iterator[None]:
    """Which call there is, is looked up once in a process."""
    syscalls._rename_call.cache_clear()
    yield
    syscalls._rename_call.cache_clear()


@pytest.mark.usefixtures("_forgetful")
@pytest.mark.parametrize("platform", ["win32", "freebsd14"])
def test_platforms_without_these_calls_are_told_so(
    platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
    (one / "file").write_text("one")
    monkeypatch.setattr(sys, "platform", platform)
    assert exchange(one, other) is False and (one / "file").exists()
    assert sync_filesystem(tmp_path) is False


class _Library:
    """A C library of which every call fails with ``number``, or one that has no such call at all."""

    def __init__(self, number: int | None, *names: str) -> None:
        self.called: list[str] = []
        for name in names:
            setattr(self, name, partial(self._fail, name, number))

    def _fail(self, name: str, number: int | None, *_: object) -> int:
        self.called.append(name)
        ctypes.set_errno(number or 0)
        return -1


@pytest.mark.usefixtures("_forgetful")
@pytest.mark.parametrize(
    ("platform", "names", "number", "outcome"),
    [
        ("linux", ["renameat2"], errno.EINVAL, False),
        ("linux", ["renameat2"], errno.EIO, OSError),
        ("linux", [], None, False),
        ("darwin", ["renamex_np"], errno.ENOTSUP, False),
        ("darwin", ["renamex_np"], errno.EACCES, OSError),
    ],
)
def test_an_exchange_that_the_system_refuses(
    platform: str,
    names: list[str],
    number: int | None,
    outcome: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = _Library(number, *names)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    if outcome is OSError:
        with pytest.raises(OSError) as caught:
            exchange(tmp_path / "one", tmp_path / "other")
        assert caught.value.errno == number
    else:
        assert exchange(tmp_path / "one", tmp_path / "other") is False
    assert library.called == names


def test_a_flush_that_the_disk_refuses_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: _Library(errno.EIO, "syncfs"))
    with pytest.raises(OSError) as caught:
        sync_filesystem(tmp_path)
    assert caught.value.errno == errno.EIO
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: _Library(None))
    assert sync_filesystem(tmp_path) is False
