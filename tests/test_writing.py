"""What a file holds after a write that went well, and after one that did not."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.writing import PRIVATE, PUBLIC, write_atomic, write_new, write_output


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old", PUBLIC)
    write_atomic(path, b"new", PRIVATE)
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomic(path, b"certificate")
        assert os.read(reader, 100) == b"certificate" and path.is_fifo()
    finally:
        os.close(reader)


def test_a_private_file_takes_the_place_of_a_pipe_that_somebody_listens_at(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomic(path, b"private key", PRIVATE)
        assert os.read(reader, 100) == b"" and path.read_bytes() == b"private key"
    finally:
        os.close(reader)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    code = f"""
import resource
from pathlib import Path
from mcpsec.writing import write_atomic
from mcpsec.errors import ConfigurationError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path({str(path)!r}), b"x" * 5000)
except ConfigurationError as error:
    print(error)
"""
    # a coverage measurement of the child would want to write a file of its own, which this child can't
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "file too large" in done.stdout and done.stderr == ""
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_output_keeps_the_mode_and_the_link_that_lead_to_it(tmp_path: Path) -> None:
    path, link = tmp_path / "report.json", tmp_path / "latest"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_output(link, b"new")
    assert link.is_symlink() and path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_a_certificate_takes_the_place_of_a_link_and_never_follows_it(tmp_path: Path) -> None:
    path, link = tmp_path / "elsewhere", tmp_path / "chain.pem"
    path.write_bytes(b"somebody's")
    link.symlink_to(path)
    write_atomic(link, b"chain")
    assert not link.is_symlink() and path.read_bytes() == b"somebody's"


def test_the_umask_says_who_may_read_a_new_output(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from mcpsec.writing import write_output
os.umask(0o077)
write_output(Path({str(tmp_path / "report")!r}), b"findings")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o600


def test_a_file_is_written_in_place_where_its_directory_takes_no_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mounted"
    path.write_bytes(b"old and longer")

    def busy(_: Path, target: Path) -> Path:
        raise OSError(16, os.strerror(16), str(target))

    monkeypatch.setattr(Path, "replace", busy)
    write_output(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigurationError) as caught:
        write_output(tmp_path / "none", b"new")
    assert caught.value.path == str(tmp_path / "none") and list(tmp_path.iterdir()) == [path]


def test_a_file_that_must_not_be_written_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # whatever account the tests run under
    with pytest.raises(ConfigurationError, match="permission denied"):
        write_output(path, b"new")
    assert path.read_bytes() == b"old"


def test_half_of_a_new_file_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
    with pytest.raises(OSError, match="No space"):
        write_new(tmp_path / "key.pem", b"private", PRIVATE)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_not_there_is_named_without_the_scratch_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        write_output(tmp_path / "none" / "report", b"")
    assert caught.value.path == str(tmp_path / "none" / "report") and "no such file" in caught.value.message


@pytest.mark.parametrize("place", ["/", "."])
def test_a_directory_without_a_name_is_one(place: str) -> None:
    for write in (write_output, write_atomic):
        with pytest.raises(ConfigurationError, match="is a directory") as caught:
            write(Path(place), b"x")
        assert caught.value.hint == "give a file, not a directory"


def test_a_disk_that_refuses_at_the_last_moment_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def refuse(_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ConfigurationError, match="no space") as caught:
        write_atomic(path, b"new")
    assert "free some space" in (caught.value.hint or "")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
