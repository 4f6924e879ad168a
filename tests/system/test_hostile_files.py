"""Files that somebody else made, beside those of ``test_hostile_documents.py``: variants end in an answer or a refusal."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.system.test_hostile_documents import attack


def test_requests_for_certificates(tmp_path: Path) -> None:
    from cryptography import x509

    from mcpsec.certs import keys
    from mcpsec.certs.csr import make_request, read_request

    pem = make_request("c", ["spiffe://mcpsec.test/agent/c", "c.example.com", "192.0.2.1"], keys.generate("p256"))
    der = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    file = tmp_path / "request.pem"

    def parse(document: bytes) -> None:
        file.write_bytes(document)
        assert read_request(file).sans

    attack(parse, pem, der)


def test_revocation_lists(tmp_path: Path) -> None:
    from mcpsec.certs import Pki, Purpose
    from mcpsec.certs.crl import load_crl, parse_crls

    with Pki.create(tmp_path / "pki") as pki:
        pki.issue("c", Purpose.CLIENT)
        pki.revoke("c")
    good = (tmp_path / "pki/client-ca.crl").read_bytes()
    der = parse_crls(tmp_path / "pki/client-ca.crl")[0].public_bytes(Encoding.DER)
    file = tmp_path / "their.crl"

    def parse(document: bytes) -> None:
        file.write_bytes(document)
        found = load_crl(file)
        assert found.due() in (True, False)
        assert found.expired() in (True, False)

    attack(parse, good, der, good + good)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        (
            "a.csv",
            b"name,purpose,sans,days,key,profile\na,client,spiffe://x.test/a,30,p256,\nb,server,b.example.com,,,\n",
        ),
        ("a.json", b'[{"name": "a", "purpose": "client", "sans": ["spiffe://x.test/a"], "days": 30, "key": "p256"}]'),
        ("a.jsonl", b'{"name": "a", "purpose": "client"}\n{"name": "b", "purpose": "server", "sans": ["b.test"]}\n'),
    ],
)
def test_lists_of_certificates_to_issue(name: str, document: bytes, tmp_path: Path) -> None:
    from mcpsec.certs import Pki
    from mcpsec.certs.batch import count_requests

    file = tmp_path / name

    with Pki.create(tmp_path / "pki") as pki:

        def parse(text: bytes) -> None:
            file.write_bytes(text)
            assert count_requests(file, pki, None) >= 0

        attack(parse, document)


CONTENT = b"API_KEY=q7Xv2LmN8pRt4WzK\n"


def archives() -> list[bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.env", CONTENT)
    with tarfile.open(fileobj=tarred, mode="w") as archive_of_tar:
        entry = tarfile.TarInfo("a/b.env")
        entry.size = len(CONTENT)
        archive_of_tar.addfile(entry, io.BytesIO(CONTENT))
    plain = tarred.getvalue()
    return [zipped.getvalue(), plain, gzip.compress(plain), bz2.compress(CONTENT), lzma.compress(CONTENT)]


@pytest.mark.parametrize("good", archives(), ids=["zip", "tar", "tar.gz", "bz2", "xz"])
def test_archives(good: bytes) -> None:
    from mcpsec.leaks.archives import ArchiveProblem, members

    def parse(document: bytes) -> None:
        for path, content in members(document, "their.archive", []):
            assert path.startswith("their.archive")
            assert len(content) < 1 << 27

    attack(parse, good, refusals=(ArchiveProblem,))


GITLEAKS = rb"""
title = "their rules"
[extend]
useDefault = true
[[rules]]
id = "internal"
description = "a key of ours"
regex = '''(?i)internal[-_]key\s*=\s*['"]?([a-z0-9]{32})\b'''
secretGroup = 1
entropy = 3.5
keywords = ["internal"]
path = '''\.env$'''
[[rules.allowlists]]
regexTarget = "line"
regexes = ['''example''']
[allowlist]
paths = ['''(^|/)vendor/''']
stopwords = ["dummy"]
"""


def test_configurations_of_a_downloaded_repository(tmp_path: Path) -> None:
    from mcpsec.leaks.configuration import load

    file = tmp_path / ".gitleaks.toml"

    def parse(text: bytes) -> None:
        file.write_bytes(text)
        for pattern in load(str(file)).paths:
            pattern.search("vendor/a.py")

    attack(parse, GITLEAKS)


def test_ignore_files() -> None:
    from mcpsec.leaks.gitignore import Ignore

    def parse(document: bytes) -> None:
        rules = Ignore(document.decode("utf-8", "replace"))
        for path in ("a.py", "build/x", "doc/frotz/a", "é"):
            assert rules.judge(path, path.rpartition("/")[2]) in (True, False, None)

    attack(parse, b"*.log\n!keep.log\n/build/\ndoc/**/frotz\n[a-c]?.txt\n\\#x\ntrailing\\ \n[!x]*\n", refusals=())


def test_answers_of_servers_under_audit() -> None:
    from mcpsec.audit.probes.wire import Answer

    def parse(document: bytes) -> None:
        for kind in ("application/json", "text/event-stream"):
            answer = Answer(200, {"content-type": kind}, document)
            assert answer.answers in (True, False)
            assert isinstance(answer.error, dict)
            assert isinstance(answer.result, dict)
            assert answer.describe()

    attack(
        parse,
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}',
        b'event: message\nid: 1\ndata: {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}\n\n',
        refusals=(),
    )


def test_answers_of_servers_that_a_bridge_reaches() -> None:
    """An answer in pieces, as a connection gives it: read to its end, or a failure in words."""
    from mcpsec.connect.http1 import HttpFailure, Response

    class Wire:
        def __init__(self, document: bytes) -> None:
            self._pieces = [document[at : at + 37] for at in range(0, len(document), 37)]

        async def read(self) -> bytes:
            return self._pieces.pop(0) if self._pieces else b""

    async def take(document: bytes) -> None:
        answer: Any = Response(cast("Any", None), cast("Any", Wire(document)))
        await answer.read_head()
        assert 200 <= answer.status <= 999
        assert len(await answer.read(1 << 16)) <= 1 << 16

    attack(
        lambda document: asyncio.run(take(document)),
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"jsonrpc": 2.0}'[:-1],
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n",
        refusals=(HttpFailure, EOFError),
    )
