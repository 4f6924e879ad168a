import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from mcpsec.leaks import archives, hook
from mcpsec.leaks.archives import ArchiveProblem, members

from .samples import ENV


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_nested():
    inner = zipped({"b/c.env": ENV})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("inner.zip")
        entry.size = len(inner)
        archive.addfile(entry, io.BytesIO(inner))
    assert list(members(stream.getvalue(), "x.tgz", [])) == [("x.tgz!inner.zip!b/c.env", ENV.encode())]


def test_gzip_of_one_file():
    assert [content for _, content in members(gzip.compress(ENV.encode()), "x.gz", [])] == [ENV.encode()]


def test_bombs_and_breakage():
    bomb = zipped({f"{n}": b"\0" * (16 << 20) for n in range(4)})
    with pytest.raises(ArchiveProblem, match="bomb"):
        list(members(bomb, "bomb.zip", []))
    with pytest.raises(ArchiveProblem, match="bomb"):
        list(members(gzip.compress(b"\0" * (80 << 20), 9), "bomb.gz", []))
    deep = ENV.encode()
    for _ in range(8):
        deep = gzip.compress(deep)
    with pytest.raises(ArchiveProblem, match="deeper"):
        list(members(deep, "deep.gz", []))
    for broken in (b"PK\x03\x04nonsense", b"\x1f\x8b\x08nonsense", zipped({"a": ENV * 99})[:60]):
        with pytest.raises(ArchiveProblem, match="broken"):
            list(members(broken, "broken", []))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_every_stream_of_a_concatenated_file_is_read(compress):
    several = b"".join(compress(f"clean {n}\n".encode() * 30_000) for n in range(3)) + compress(ENV.encode())
    [(_, content)] = members(several, "x", [])
    assert content.startswith(b"clean 0\n")
    assert content.endswith(ENV.encode())
    padded = several + (b"\0" * 512 if compress is not bz2.compress else b"")
    assert next(members(padded, "x", []))[1] == content


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_broken_later_stream_is_said_and_what_came_before_it_read(compress):
    for tail in (compress(b"more" * 99)[:20], b"something else"):
        found = []
        with pytest.raises(ArchiveProblem, match="broken"):
            found.extend(members(compress(ENV.encode()) + tail, "x", found))
        assert found[0][1].startswith(ENV.encode())


def tarred(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_that_is_too_large_is_said(pack, monkeypatch):
    monkeypatch.setattr(archives, "ONE", 1000)
    left_out = []
    text, binary = b"a line\n" * 400, b"\0\1" * 4000
    files = {
        "dump.sql": text,
        "model": binary,
        "photo.png": text,
        "inner.zip": pack({"x": binary}),
        "a.env": ENV.encode(),
    }
    found = dict(members(pack(files), "x", left_out))
    assert found == {"x!a.env": ENV.encode()} | {n: c for n, c in found.items() if n.startswith("x!inner.zip")}
    assert "x!dump.sql" in dict(left_out)
    assert not {"x!model", "x!photo.png"} & dict(left_out).keys()


def test_a_broken_member_does_not_hide_its_neighbours(tmp_path, capsys):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"broken.gz": b"\x1f\x8b\x08nonsense", "clean.txt": "clean\n"}))
    assert hook.main([str(path)]) == 3
    assert "broken.gz: not scanned: broken archive" in capsys.readouterr().err
    path.write_bytes(zipped({"broken.gz": b"\x1f\x8b\x08nonsense", "later.env": ENV}))
    assert hook.main([str(path)]) == 1
    output = capsys.readouterr()
    assert "later.env" in output.out
    assert "broken.gz: not scanned: broken archive" in output.err
