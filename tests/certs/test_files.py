import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mcpsec.certs import files
from mcpsec.errors import ConfigurationError, Error


def test_a_lock_lets_one_in_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
import sys
from pathlib import Path
from mcpsec.certs.files import lock
with lock(Path({str(path)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdin is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(Error, match="held the lock"), files.lock(path, timeout=0.1):
        pytest.fail("two held one lock")
    holder.kill()
    holder.wait()
    with files.lock(path, timeout=5):
        pass
    holder.stdin.close()
    holder.stdout.close()


def test_threads_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    inside: list[int] = []

    def enter(number: int) -> None:
        with files.lock(tmp_path / "lock"):
            inside.append(number)
            time.sleep(0.01)
            assert inside[-1] == number

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(inside) == list(range(5))


def test_an_os_error_becomes_one_sentence_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        files.read(tmp_path / "none")
    assert caught.value.path == str(tmp_path / "none") and "no such file" in caught.value.message


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "client-ca.crl"
    path.write_bytes(b"whole")
    left = tmp_path / ".client-ca.crl.123-abc"
    left.write_bytes(b"half")
    other = tmp_path / ".client-ca.pem.123-abc"
    other.write_bytes(b"of another file")
    files.discard_unfinished(path)
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


def test_directories_are_made_with_their_parents_and_for_this_account_only(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b" / "private"
    for _ in range(2):
        files.make_directory(wanted)
        assert wanted.is_dir() and wanted.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError):
        files.make_directory(tmp_path / "file" / "below")


def test_a_secret_comes_from_a_regular_file_only() -> None:
    with pytest.raises(ConfigurationError, match="the token has to be a file"):
        files.read_private(Path("/dev/null"), "the token")
