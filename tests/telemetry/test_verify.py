from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.telemetry import AuditLog
from mcpsec.telemetry.chain import seal
from mcpsec.telemetry.head import head_path
from mcpsec.telemetry.keys import LogKey, key_paths
from mcpsec.telemetry.verify import Verification, verify
from tests.telemetry.conftest import request

Open = Callable[..., AuditLog]


@pytest.fixture
def log(open_log: Open) -> Path:
    """A finished log of 70 events with checkpoints; the head file is put away."""
    log = open_log(checkpoint_every=20)
    for number in range(70):
        log.write(request(number))
    log.close()
    head_path(log.path).unlink()
    return log.path


def rewritten(log: Path, lines: list[bytes]) -> Verification:
    log.write_bytes(b"".join(lines))
    return verify(log)


def content(log: Path) -> list[bytes]:
    return log.read_bytes().splitlines(keepends=True)


def resealed(line: bytes, **changes: object) -> bytes:
    """What a forger without the key does: a changed line with a matching check value."""
    fields = json.loads(line)
    for name in ("crc", "signature"):
        fields.pop(name, None)
    return seal(fields | changes) + b"\n"


def rechained(lines: list[bytes], start: int) -> list[bytes]:
    """Chain lines again from ``start``, keeping what is signed as it is."""
    result = lines[:start]
    for line in lines[start:]:
        prev = hashlib.sha256(result[-1][:-1]).hexdigest()
        result.append(line if b'"signature"' in line else resealed(line, prev=prev))
    return result


def test_a_thousand_random_edits_are_all_found_with_their_line(log: Path) -> None:
    original = log.read_bytes()
    chance = random.Random(20261123)
    for _ in range(1000):
        at = chance.randrange(len(original))
        edit = chance.choice(["flip", "delete", "insert"])
        if edit == "flip":
            damaged = original[:at] + bytes([original[at] ^ chance.randrange(1, 256)]) + original[at + 1 :]
        elif edit == "delete":
            damaged = original[:at] + original[at + chance.randrange(1, 40) :]
        else:
            damaged = original[:at] + chance.randbytes(chance.randrange(1, 8)) + original[at:]
        if damaged == original:
            continue
        log.write_bytes(damaged)
        result = verify(log)
        line = original[:at].count(b"\n") + 1
        assert result.findings, (edit, at)
        assert result.findings[0].line in {line, line + 1}, (edit, at, line, result.findings[0])
    log.write_bytes(original)
    assert verify(log).intact


def test_removed_moved_repeated_and_added_lines_are_found(log: Path) -> None:
    lines = content(log)
    chance = random.Random(7)
    for _ in range(60):
        at, other = sorted(chance.sample(range(1, len(lines) - 2), 2))
        for edited in (
            lines[:at] + lines[at + 1 :],
            lines[:at] + lines[other:],
            lines[: at + 1] + lines[at:],
            [*lines[:at], lines[other], *lines[at:]],
            [*lines[:at], lines[other], *lines[at + 1 : other], lines[at], *lines[other + 1 :]],
            [*lines[:at], b"\n", *lines[at:]],
            [*lines[:at], b"nonsense\n", *lines[at:]],
        ):
            result = rewritten(log, edited)
            assert result.findings
            assert result.findings[0].line in {at + 1, at + 2}


def test_a_cut_front_is_found(log: Path) -> None:
    lines = content(log)
    for cut in (1, 2, 20, 40):
        result = rewritten(log, lines[cut:])
        assert result.findings[0].line == 1
        assert "lines before are missing" in result.findings[0].what


def test_a_forger_without_the_key_is_found_at_the_next_checkpoint(log: Path) -> None:
    lines = content(log)
    lines[4] = resealed(lines[4], decision="refused", client="somebody-else")
    result = rewritten(log, rechained(lines, 5))
    assert not result.intact
    assert result.findings[0].line is not None
    assert "hash" in result.findings[0].what or "signature" in result.findings[0].what


def test_removed_checkpoints_are_found(log: Path) -> None:
    kept = [line for line in content(log) if b'"log-checkpoint"' not in line]
    renumbered = [kept[0]]
    for number, line in enumerate(kept[1:], 2):
        prev = hashlib.sha256(renumbered[-1][:-1]).hexdigest()
        renumbered.append(resealed(line, seq=number, prev=prev))
    result = rewritten(log, renumbered)
    assert any("checkpoints were removed" in finding.what for finding in result.findings)


@pytest.mark.parametrize("how", ["unsigned", "other key", "moved"])
def test_a_checkpoint_must_be_signed_by_the_logs_key(log: Path, tmp_path: Path, how: str) -> None:
    lines = content(log)
    at = next(index for index, line in enumerate(lines) if b'"log-checkpoint"' in line)
    if how == "unsigned":
        lines[at] = resealed(lines[at])
    elif how == "moved":
        other = next(index for index in range(at + 1, len(lines)) if b'"log-checkpoint"' in lines[index])
        lines[at] = resealed(lines[at], signature=json.loads(lines[other])["signature"])
    else:
        fields = json.loads(lines[at])
        for name in ("crc", "signature"):
            del fields[name]
        lines[at] = seal(fields, LogKey.load_or_make(tmp_path / "other").sign) + b"\n"
    result = rewritten(log, lines)
    assert result.findings[0].line == at + 1
    assert "signature" in result.findings[0].what


def test_a_cut_tail_shows_with_a_head_a_checkpoint_or_the_head_file(log: Path, tmp_path: Path) -> None:
    lines = content(log)
    whole = verify(log)
    exported = tmp_path / "exported.json"
    exported.write_bytes(lines[-1])
    assert verify(log, expect=whole.head, checkpoint=exported).intact
    assert verify(log, expect=whole.head[:16]).intact
    cut = rewritten(log, lines[:60])
    assert cut.intact
    for options in ({"expect": whole.head}, {"checkpoint": exported}):
        result = verify(log, **options)  # type: ignore[arg-type]
        assert "cut away" in result.findings[0].what
    head_path(log).write_bytes(lines[-1])
    assert not verify(log).intact


def test_an_earlier_head_is_still_in_a_log_that_grew(log: Path, open_log: Open) -> None:
    before = verify(log).head
    again = open_log()
    again.write(request(500))
    again.close()
    assert verify(log, expect=before).intact


@pytest.mark.parametrize("head", ["", "12", "xyz" * 20])
def test_what_is_no_head_is_refused(log: Path, head: str) -> None:
    with pytest.raises(ConfigurationError):
        verify(log, expect=head)


def test_a_pinned_key_finds_a_log_signed_again(log: Path, tmp_path: Path) -> None:
    pinned = tmp_path / "pinned.pub"
    shutil.copy(key_paths(log)[1], pinned)
    for path in key_paths(log):
        path.unlink()
    log.unlink()
    forged = AuditLog.open(log, redact=str)
    forged.write(request())
    forged.close()
    assert verify(log).intact
    assert "another key" in verify(log, key=pinned).findings[0].what


def test_a_shipped_log_needs_only_its_public_key(log: Path, tmp_path: Path) -> None:
    shipped = tmp_path / "elsewhere" / "copy.jsonl"
    shipped.parent.mkdir()
    shutil.copy(log, shipped)
    with pytest.raises(ConfigurationError, match="public key"):
        verify(shipped)
    assert verify(shipped, key=key_paths(log)[1]).intact


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 4096, b"\xff\xfe", b"[]\n", b"{}\n", b"null\n", b"x" * 600_000])
def test_what_is_no_log_is_damage_and_no_crash(log: Path, garbage: bytes) -> None:
    log.write_bytes(garbage)
    assert not verify(log).intact
    whole = tuple(content(log))
    log.write_bytes(b"".join(whole) + garbage)


def test_a_missing_log_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such log"):
        verify(tmp_path / "none.jsonl")
