"""How a tree's small files are read, and that what comes again is scanned once without anything being passed over."""

import os

import pytest

from mcpsec.leaks.assignments import _KEYWORD
from mcpsec.leaks.bulk import Bulk, available
from mcpsec.leaks.files import COPIED, SMALL_FILE, Buffer, Copies
from mcpsec.leaks.names import KEYWORDS

from .samples import ENV
from .test_runner import run

pytestmark = pytest.mark.skipif(not hasattr(os, "readv"), reason="files are read one by one here")
PLAIN = b"nothing to see here\n" * (COPIED // 20 + 1)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_a_text_is_the_files_own_whatever_the_buffer_held(tmp_path):
    buffer = Buffer()
    long, short, empty = (write(tmp_path / name, text) for name, text in (("l", PLAIN), ("s", b"ab"), ("e", b"")))
    assert bytes(buffer.text(long)) == PLAIN
    assert bytes(buffer.text(short)) == b"ab"
    assert bytes(buffer.text(empty)) == b""
    assert bytes(buffer.text(long)) == PLAIN


@pytest.mark.parametrize(
    "content",
    [b"a\0b", b"\x1f\x8bxyz", b"PK\x03\x04xyz", b"BZh9xyz", b"\xff\xfea\0", b"\xfe\xff\0a", b"a" * SMALL_FILE],
)
def test_what_is_no_small_plain_text_is_left_to_others(tmp_path, content):
    assert Buffer().text(write(tmp_path / "file", content)) is None


def test_a_pipe_is_no_text_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert Buffer().text(str(tmp_path / "pipe")) is None


def test_a_copy_is_known_by_all_that_it_is(tmp_path):
    first = write(tmp_path / "a" / "code.py", PLAIN)
    buffer, copies = Buffer(), Copies()

    def known(path, content):
        return copies.knows(buffer.text(write(tmp_path / path, content)), str(tmp_path / path))

    copies.remember(buffer.text(first), first, buffer.written)
    assert known("b/code.py", PLAIN)
    assert not known("b/other.py", PLAIN), "another name says something else about the same text"
    middle = len(PLAIN) // 2
    assert not known("c/code.py", PLAIN[:middle] + b"X" + PLAIN[middle + 1 :])
    assert not known("d/code.py", PLAIN + b"\n")


def test_what_was_written_to_since_or_is_gone_proves_nothing(tmp_path):
    first, second = (write(tmp_path / name / "code.py", PLAIN) for name in "ab")
    buffer, copies = Buffer(), Copies()
    copies.remember(buffer.text(first), first, buffer.written)
    os.utime(first, ns=(0, buffer.written + 1))
    assert not copies.knows(buffer.text(second), second), "who knows what it held when it was scanned"
    os.unlink(first)
    assert not copies.knows(buffer.text(second), second)


@pytest.mark.skipif(not available(), reason="no Hyperscan for this platform; install with: pip install hyperscan")
def test_copies_are_scanned_once_and_each_secret_is_reported(tmp_path, capsys, monkeypatch):
    secret = PLAIN + ENV.encode() + PLAIN
    for number in range(3):
        write(tmp_path / "tree" / f"{number}" / "code.py", PLAIN)
        write(tmp_path / "tree" / f"{number}" / "leak.txt", secret)
    altered = bytearray(PLAIN + b"#" * len(ENV) + PLAIN)  # as long as the others, and with the same ends
    write(tmp_path / "tree" / "3" / "leak.txt", bytes(altered))
    write(tmp_path / "tree" / "4" / "leak.txt", secret)
    write(tmp_path / "tree" / "fill.txt", b"and so on\n" * (3 << 20 >> 4))
    scanned = []
    hits = Bulk.hits
    monkeypatch.setattr(Bulk, "hits", lambda self, data: scanned.append(len(data)) or hits(self, data))
    code, document, _ = run(capsys, str(tmp_path / "tree"), "--jobs", "1")
    assert code == 1
    found = sorted(os.path.relpath(each["path"], tmp_path / "tree") for each in document["findings"])
    assert sorted(set(found)) == [f"{number}/leak.txt" for number in (0, 1, 2, 4)]
    assert scanned.count(len(PLAIN)) == 1
    assert scanned.count(len(secret)) == 5, "of what holds a secret every copy is looked at"
    assert document["summary"]["files"] == 9


def test_the_expression_finds_every_keyword():
    for keyword in KEYWORDS:
        assert _KEYWORD.search(b"x " + keyword + b" x").start() == 2
    assert _KEYWORD.search(b"nothing of this kind") is None
