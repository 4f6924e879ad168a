import gzip
import io
import tarfile
import zipfile
import zlib

import pytest

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
    assert list(members(stream.getvalue(), "x.tgz")) == [("x.tgz!inner.zip!b/c.env", ENV.encode())]


def test_gzip_of_one_file():
    assert [content for _, content in members(gzip.compress(ENV.encode()), "x.gz")] == [ENV.encode()]


def test_bombs_and_breakage():
    bomb = zipped({f"{n}": b"\0" * (16 << 20) for n in range(4)})
    with pytest.raises(ArchiveProblem, match="bomb"):
        list(members(bomb, "bomb.zip"))
    with pytest.raises(ArchiveProblem, match="bomb"):
        list(members(gzip.compress(b"\0" * (80 << 20), 9), "bomb.gz"))
    deep = ENV.encode()
    for _ in range(8):
        deep = gzip.compress(deep)
    with pytest.raises(ArchiveProblem, match="deeper"):
        list(members(deep, "deep.gz"))
    for broken in (b"PK\x03\x04nonsense", b"\x1f\x8b\x08nonsense", zipped({"a": ENV * 99})[:60]):
        with pytest.raises(ArchiveProblem, match="broken"):
            list(members(broken, "broken"))
    assert zlib.crc32(b"") == 0
