from pathlib import Path

import pytest

from mcpsec.certs import delivery
from mcpsec.certs.delivery import Delivery, deliver, discard_staged
from mcpsec.certs.syscalls import exchange
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
