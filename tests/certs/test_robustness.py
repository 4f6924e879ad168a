"""Many processes at once, and processes that die at any instant: files and ledger agree afterwards, always."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mcpsec.certs import Pki, Purpose, keys, load_crl
from mcpsec.certs.identity import serial_text
from mcpsec.errors import ConfigurationError
from tests.certs.helpers import load

_ISSUE = """
import sys
from pathlib import Path
from mcpsec.certs import Pki, Purpose
with Pki.open(Path(sys.argv[1])) as pki:
    for number in range(int(sys.argv[3])):
        pki.issue(f"{sys.argv[2]}-{number}", Purpose.CLIENT)
"""


def _start(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.PIPE)


def test_eight_processes_issue_a_hundred_each(pki: Pki) -> None:
    workers = [_start(_ISSUE, pki.directory, f"w{number}", 100) for number in range(8)]
    for worker in workers:
        assert worker.communicate()[1] == b"" and worker.returncode == 0
    entries = list(pki.entries(everything=True))
    assert len(entries) == 800 == len({entry.serial for entry in entries}) == len({entry.name for entry in entries})
    assert {entry.recorded for entry in entries} == {"issued"}
    _consistent(pki.directory)


def test_several_processes_want_one_name_and_one_gets_it(pki: Pki) -> None:
    workers = [_start(_ISSUE, pki.directory, "same", 1) for _ in range(4)]
    codes = [(worker.communicate(), worker.returncode)[1] for worker in workers]
    assert sorted(codes) == [0, 1, 1, 1]
    assert [entry.name for entry in pki.entries(everything=True)] == ["same-0"]


_WORK = """
import itertools, sys
from pathlib import Path
from mcpsec.certs import Pki, Purpose
tag = sys.argv[2]
with Pki.open(Path(sys.argv[1])) as pki:
    print("go", flush=True)
    for number in itertools.count():
        pki.issue(f"{tag}-{number}", Purpose.CLIENT)
        pki.renew(f"{tag}-{number}")
        list(pki.issue_many(pki.request(f"{tag}-{number}-{at}", Purpose.CLIENT) for at in range(5)))
        pki.revoke(f"{tag}-{number}-0")
        print("revoked", flush=True)
        pki.renew("steady")
"""


def test_killed_at_any_instant_nothing_is_inconsistent(pki: Pki) -> None:
    pki.issue("steady", Purpose.CLIENT)
    chance = random.Random(4)
    revoked_before: set[str] = set()
    for turn in range(20):
        worker = subprocess.Popen([sys.executable, "-c", _WORK, str(pki.directory), f"t{turn}"], stdout=subprocess.PIPE)
        assert worker.stdout is not None and worker.stdout.readline() == b"go\n"
        if turn == 0:  # however slow the machine is, one turn gets as far as a revocation
            assert worker.stdout.readline() == b"revoked\n"
        time.sleep(chance.uniform(0, 0.15))
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        _never_mixed(pki.directory)  # before anything mends it
        with Pki.open(pki.directory) as after:
            after.refresh_crls(Purpose.CLIENT)  # whatever takes the lock next settles what was left
        revoked_before = _consistent(pki.directory, revoked_before)
    assert revoked_before


def _never_mixed(directory: Path) -> None:
    """Even with nothing mended, a name's key is its certificate's, and the ledger knows the certificate."""
    with Pki.open(directory) as pki:
        ledger = pki.authority(Purpose.CLIENT).ledger
        for leaf in (directory / "client").glob("[!.]*"):
            certificate = load(leaf / "chain.pem")[0]
            assert load(leaf / "cert.pem")[0] == certificate
            key = keys.load(leaf / "key.pem", "it")
            assert keys.same_public_key(key.public_key(), certificate.public_key())  # type: ignore[arg-type]
            assert ledger.by_serial(serial_text(certificate.serial_number)) is not None, leaf


def _consistent(directory: Path, revoked_before: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
    """Files and ledger say the same, nothing staged is left, and no revocation was lost."""
    _never_mixed(directory)
    with Pki.open(directory) as pki:
        entries = list(pki.entries(everything=True))
        assert not [entry for entry in entries if entry.recorded == "pending"]
        current = {entry.name: entry.serial for entry in entries if entry.recorded == "issued"}
        on_disk = {
            leaf.name: serial_text(load(leaf / "cert.pem")[0].serial_number)
            for leaf in (directory / "client").iterdir()
        }
        assert on_disk == current
        crl = load_crl(directory / "client-ca.crl")
        revoked = {entry.serial for entry in entries if entry.revoked is not None}
        assert {serial for _, serial in crl.revoked} == revoked >= revoked_before
    assert not list(directory.glob(".*"))
    return revoked


def test_a_reader_never_finds_a_key_beside_another_keys_certificate(pki: Pki) -> None:
    issued = pki.issue("steady", Purpose.CLIENT)
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            directory = os.open(issued.certificate.parent, os.O_RDONLY)
            try:
                texts = [_text(name, directory) for name in ("cert.pem", "key.pem", "chain.pem")]
            except FileNotFoundError:  # the old directory was removed while it was read
                continue
            finally:
                os.close(directory)
            certificate = x509.load_pem_x509_certificate(texts[0])
            key = serialization.load_pem_private_key(texts[1], None)
            same = keys.same_public_key(key.public_key(), certificate.public_key())  # type: ignore[arg-type]
            seen.append((same and texts[2].startswith(texts[0]), certificate.serial_number))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(100):
            pki.renew("steady")
    finally:
        stop.set()
        reader.join()
    assert {good for good, _ in seen} == {True} and len({serial for _, serial in seen}) > 5


def _text(name: str, directory: int) -> bytes:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_a_full_disk_is_one_clear_error_and_nothing_is_half_written(pki: Pki, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small file system is needed; run as root where mount is allowed")
    try:
        shutil.copytree(pki.directory, disk / "pki")
        with Pki.open(disk / "pki") as full:
            with pytest.raises(ConfigurationError) as caught:
                for number in range(1000):
                    full.issue(f"agent-{number}", Purpose.CLIENT)
            assert "full" in str(caught.value) or "no space" in str(caught.value)
            names = [entry.name for entry in full.entries()]
            filler = disk / "filler"
            with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 512)
            for attempt in (
                lambda: full.renew(names[0]),
                lambda: full.revoke(names[0]),
                lambda: full.refresh_crls(force=True),
            ):
                with pytest.raises(ConfigurationError):
                    attempt()
            filler.unlink()
            shutil.rmtree(disk / "pki" / "client" / names[-1])  # give it some room
            full.revoke(names[-1])
            shutil.rmtree(disk / "pki" / "server")
            (disk / "pki" / "server").mkdir()
            full.refresh_crls(Purpose.CLIENT, force=True)
        with Pki.open(disk / "pki") as after:
            current = {entry.name for entry in after.entries()}
            on_disk = {path.name for path in (disk / "pki" / "client").iterdir()}
            assert on_disk == current - {names[-1]} and not list((disk / "pki").glob(".*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
