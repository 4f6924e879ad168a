from __future__ import annotations

import asyncio
import gzip
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
from mcpsec.telemetry.parts import rotated_parts
from mcpsec.telemetry.verify import Verification, raw_line, verify
from tests.telemetry.conftest import plain, request

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


def test_a_finding_names_file_and_line(log: Path) -> None:
    (finding,) = rewritten(log, [*content(log)[:-1], content(log)[-1][:-1]]).findings
    assert str(finding).startswith(f"{log}:{len(content(log))}: the last line is cut short")
    log.write_bytes(b"")
    assert str(verify(log).findings[0]) == f"{log}: the file is empty"


def test_a_half_line_that_is_still_being_written_is_no_damage(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = log.read_bytes()
    log.write_bytes(whole[:-9])
    monkeypatch.setattr("mcpsec.telemetry.verify.time.sleep", lambda _: log.write_bytes(whole))
    assert verify(log).intact
    log.write_bytes(whole[:-9])
    monkeypatch.setattr("mcpsec.telemetry.verify.time.sleep", lambda _: None)
    assert verify(log).torn


@pytest.mark.parametrize(
    ("found", "words"),
    [(None, "No such file"), (b"", "not an exported checkpoint"), (b"nonsense", "not an exported checkpoint")],
)
def test_what_is_no_exported_checkpoint(found: bytes | None, words: str, log: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    if found is not None:
        checkpoint.write_bytes(found)
    with pytest.raises(ConfigurationError, match=words):
        verify(log, checkpoint=checkpoint)


def test_a_checkpoint_that_somebody_else_signed_proves_nothing(log: Path, tmp_path: Path) -> None:
    other = AuditLog.open(tmp_path / "other" / "events.jsonl", redact=plain)
    other.close()
    result = verify(log, checkpoint=head_path(other.path))
    assert result.findings[0].path == head_path(other.path)
    assert "not signed by the log's key" in result.findings[0].what
    assert "is not in the log" in result.findings[1].what


def test_a_damaged_head_file_is_a_finding(log: Path) -> None:
    head_path(log).write_bytes(b"nonsense\n")
    (finding,) = verify(log).findings
    assert finding.path == head_path(log) and "the head file is damaged" in finding.what


def test_a_file_full_of_damage_is_given_up_after_a_hundred_findings(log: Path) -> None:
    result = rewritten(log, [*content(log), *[b"nonsense\n"] * 500])
    assert len(result.findings) == 100


def test_the_beginning_of_a_log_stands_at_its_beginning_only(log: Path) -> None:
    lines = content(log)
    result = rewritten(log, [*lines, lines[0]])
    assert "a log-start line stands in the middle of a file" in [finding.what for finding in result.findings]


def _rotated(open_log: Open, **options: object) -> list[Path]:
    log = open_log(checkpoint_every=20, **options)
    for part in range(3):
        for number in range(5):
            log.write(request(5 * part + number))
        if part < 2:
            asyncio.run(log.rotate())
    log.close()
    return [*rotated_parts(log.path).values(), log.path]


def test_one_part_is_verified_with_those_before_it(open_log: Open) -> None:
    first, second, log = _rotated(open_log, compress_parts=False)
    assert verify(second).files == [first, second]
    assert verify(second).intact and verify(second, only_this_file=True).files == [second]
    second.write_bytes(second.read_bytes().replace(b"reporting-agent", b"reporting-smith", 1))
    assert not verify(second).intact and not verify(log).intact
    assert verify(first).intact


def test_a_part_of_another_log_and_one_that_is_no_archive(open_log: Open, tmp_path: Path) -> None:
    first, second, log = _rotated(open_log, compress_parts=False)
    shutil.copy(log.with_name(log.name + ".key"), tmp_path / "other.jsonl.key")
    (tmp_path / "other").mkdir()
    for suffix in (".key", ".pub"):
        shutil.copy2(log.with_name(log.name + suffix), tmp_path / "other" / f"events.jsonl{suffix}")
    other = AuditLog.open(tmp_path / "other" / "events.jsonl", redact=plain)
    other.close()
    kept = second.read_bytes()
    second.write_bytes(other.path.read_bytes())
    assert "this part belongs to another log (chain)" in [finding.what for finding in verify(log).findings]
    second.write_bytes(kept)
    archive = first.with_name(first.name + ".gz")
    archive.write_bytes(gzip.compress(first.read_bytes())[:-20])
    first.unlink()
    result = verify(log)
    assert "cannot be read further" in result.findings[0].what and result.findings[0].path == archive


def test_a_log_that_claims_to_begin_later_than_its_first_event(log: Path) -> None:
    key = LogKey.load_or_make(log)
    first = json.loads(content(log)[0])
    for name in ("crc", "signature"):
        first.pop(name)
    result = rewritten(log, [seal(first | {"seq": 5}, key.sign) + b"\n"])
    assert "the log begins at event 5: lines before are missing" in [finding.what for finding in result.findings]


def test_the_exact_bytes_of_one_line(open_log: Open) -> None:
    first, second, log = _rotated(open_log)
    assert {first.suffix, second.suffix} <= {".gz", ".jsonl"}
    everything = [json.loads(raw_line(log, number)) for number in range(1, verify(log).last + 1)]
    assert [line["seq"] for line in everything] == list(range(1, len(everything) + 1))
    assert hashlib.sha256(raw_line(log, 3)).hexdigest() == everything[3]["prev"]
    with pytest.raises(ConfigurationError, match="there is no event 999"):
        raw_line(log, 999)


@pytest.mark.parametrize("signature", ["!" * 88, "A" * 87 + "!", "=" * 88, "A" * 88, "A" * 86 + "==", "A" * 40, 5])
def test_a_signature_that_is_none_is_damage_and_no_crash(signature: object, log: Path) -> None:
    lines = content(log)
    fields = json.loads(lines[0])
    for name in ("crc", "signature"):
        fields.pop(name)
    result = rewritten(log, [seal(fields | {"signature": signature}) + b"\n", *lines[1:]])
    assert result.findings[0].line == 1 and "signature" in result.findings[0].what
    with pytest.raises(ConfigurationError, match="damaged"):
        AuditLog.open(log, redact=plain)


def test_a_line_without_end_is_damage_of_one_line(log: Path) -> None:
    lines = content(log)
    result = rewritten(log, [*lines[:5], b"x" * 700_000 + b"\n", *lines[5:]])
    assert [(finding.line, "longer than" in finding.what) for finding in result.findings] == [(6, True)]
