"""Files that users name are read whole, and one without an end is refused instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mcpsec.audit.baseline
import mcpsec.audit.waivers
import mcpsec.leaks.baseline
import mcpsec.leaks.configuration
from mcpsec.certs.crl import load_crl
from mcpsec.certs.reading import load_certificates
from mcpsec.cli.root import main
from mcpsec.connect.credentials import _thumbprint
from mcpsec.deployment import load
from mcpsec.errors import ConfigurationError
from mcpsec.gateway.policy import suite
from mcpsec.reading import LARGE, SMALL, read_file
from mcpsec.signing import load_private_key, load_public_key, load_secret
from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.head import head_path, read_head
from mcpsec.telemetry.keys import PublicKey
from mcpsec.telemetry.verify import verify

ZERO = Path("/dev/zero")
endless = pytest.mark.skipif(not ZERO.is_char_device(), reason="needs /dev/zero")


def test_a_file_may_be_as_large_as_it_says_and_not_larger(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_file(path, 10) == read_file(str(path), 10) == b"x" * 10
    with pytest.raises(ConfigurationError, match="larger than 0 MiB: no key is") as caught:
        read_file(path, 9, "key")
    assert caught.value.path == str(path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none")
    assert SMALL < LARGE


@endless
@pytest.mark.parametrize(
    "read",
    [
        *(
            load,
            suite.read,
            load_secret,
            load_public_key,
            load_private_key,
            PublicKey.load,
            load_crl,
            load_certificates,
        ),
        *(mcpsec.audit.waivers.load, mcpsec.audit.baseline.load, _thumbprint),
        *(lambda path: mcpsec.leaks.baseline.load(str(path)), lambda path: mcpsec.leaks.configuration.load(str(path))),
    ],
)
def test_what_has_no_end_is_refused(read: Callable[[Path], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"larger than \d+ MiB: no .+ is") as caught:
        read(ZERO)
    assert caught.value.path == str(ZERO)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    made = AuditLog.open(path, redact=lambda text: text)
    made.write(Event("server-start"))
    made.close()
    return path


@endless
@pytest.mark.parametrize("option", ["--key", "--checkpoint"])
def test_a_log_is_not_verified_by_what_has_no_end(log: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "verify", str(log), option, str(ZERO)]) == 2
    assert capsys.readouterr().err == "error: /dev/zero: is larger than 1 MiB: no file of this kind is\n"


def test_a_head_file_that_is_too_large_is_damaged(log: Path) -> None:
    head_path(log).write_bytes(bytes(SMALL + 1))
    assert read_head(log) is None
    assert any("the head file is damaged" in each.what for each in verify(log).findings)
