from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mcpsec.errors import ConfigurationError
from mcpsec.telemetry import AuditLog, Event, LogUnavailable
from mcpsec.telemetry.chain import seal
from mcpsec.telemetry.head import head_path
from mcpsec.telemetry.keys import LogKey, key_paths
from mcpsec.telemetry.options import LogOptions
from mcpsec.telemetry.verify import verify
from tests.telemetry.conftest import plain, request

Open = Callable[..., AuditLog]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_events_are_chained_and_signed(open_log: Open, tmp_path: Path) -> None:
    log = open_log(checkpoint_every=10)
    for number in range(25):
        log.write(request(number))
    log.close()
    written = lines(log.path)
    assert [each["seq"] for each in written] == list(range(1, len(written) + 1))
    assert written[0]["kind"] == "log-start"
    assert written[-1]["kind"] == "log-checkpoint"
    assert sum(each["kind"] == "request" for each in written) == 25
    result = verify(log.path)
    assert result.intact
    assert result.unsigned == 0
    assert result.head == log.head


def test_only_set_fields_are_written(open_log: Open) -> None:
    log = open_log()
    log.write(Event(kind="server-stop", time=1_795_416_933.25))
    log.close()
    event = lines(log.path)[1]
    assert set(event) == {"schema", "seq", "prev", "kind", "time", "crc"}
    assert event["time"] == "2026-11-23T06:55:33.250000Z"


def test_files_are_for_their_owner_only(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.close()
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes["events.jsonl"] == 0o600
    assert modes["events.jsonl.key"] == 0o600
    assert modes["events.jsonl.pub"] == 0o644


def test_an_exposed_key_is_refused(open_log: Open, tmp_path: Path) -> None:
    open_log().close()
    (tmp_path / "events.jsonl.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to other users") as caught:
        open_log()
    assert "chmod 600" in (caught.value.hint or "")


def test_a_restart_continues_the_chain(open_log: Open) -> None:
    for start in range(3):
        log = open_log()
        log.write(request(start))
        log.close()
    written = lines(log.path)
    assert sum(each["kind"] == "log-start" for each in written) == 1
    assert sum(each["kind"] == "request" for each in written) == 3
    assert verify(log.path).intact


def test_a_second_writer_is_refused_and_the_first_unharmed(open_log: Open) -> None:
    log = open_log()
    with pytest.raises(ConfigurationError, match="another process"):
        open_log()
    log.write(request())
    log.close()
    assert verify(log.path).intact
    open_log().close()


@pytest.mark.parametrize("victim", [0, 5, -1])
def test_a_damaged_end_is_refused_with_what_to_do(open_log: Open, victim: int) -> None:
    log = open_log()
    for number in range(10):
        log.write(request(number))
    log.close()
    content = log.path.read_bytes().splitlines(keepends=True)
    content[victim] = content[victim].replace(b'"time":"2', b'"time":"3')
    log.path.write_bytes(b"".join(content))
    with pytest.raises(ConfigurationError, match="damaged") as caught:
        open_log()
    assert "mcpsec log verify" in (caught.value.hint or "")


def test_a_line_taken_out_of_the_end_is_refused(open_log: Open) -> None:
    log = open_log()
    for number in range(10):
        log.write(request(number))
    log.close()
    content = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(content[:5] + content[6:]))
    with pytest.raises(ConfigurationError, match="does not follow"):
        open_log()


def test_a_current_file_taken_away_after_a_rotation_is_refused(open_log: Open) -> None:
    log = open_log()
    log.write(request())
    asyncio.run(log.rotate())
    log.write(request(1))
    log.close()
    log.path.unlink()
    with pytest.raises(ConfigurationError, match="was cut"):
        open_log()


def test_a_log_cut_between_runs_is_refused(open_log: Open) -> None:
    log = open_log(checkpoint_every=5)
    for number in range(20):
        log.write(request(number))
    log.close()
    content = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(content[:8]))
    with pytest.raises(ConfigurationError, match="was cut"):
        open_log()
    head_path(log.path).unlink()
    open_log().close()


def test_a_log_taken_away_is_said_in_the_next(open_log: Open) -> None:
    log = open_log()
    log.write(request())
    log.close()
    log.path.unlink()
    open_log().close()
    written = lines(log.path)
    assert [each["kind"] for each in written[:2]] == ["log-start", "log-recovered"]
    assert "gone" in str(written[1]["detail"])


def test_a_torn_last_line_is_moved_aside_and_recorded(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.write(request())
    log.close()
    torn = b'{"schema":"mcpsec.event/1","seq":4,"pr'
    with log.path.open("ab") as file:
        file.write(torn)
    findings = verify(log.path).findings
    assert [finding.line for finding in findings] == [4]
    again = open_log()
    again.write(request(1))
    again.close()
    aside = list(tmp_path.glob("events.jsonl.torn-*"))
    assert [path.read_bytes() for path in aside] == [torn]
    recovered = [each for each in lines(log.path) if each["kind"] == "log-recovered"]
    assert [(each["name"], each["count"]) for each in recovered] == [(aside[0].name, len(torn))]
    assert verify(log.path).intact


_WRITER = """
import asyncio, sys
from pathlib import Path
from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.options import LogOptions
async def main():
    log = AuditLog.open(Path(sys.argv[1]), redact=str, options=LogOptions(checkpoint_every=50, checkpoint_seconds=0.05))
    number = 0
    print("ready", flush=True)
    while True:
        for _ in range(200):
            number += 1
            log.write(Event(kind="request", decision="allowed", status=200, count=number, detail="x" * 300))
        await log.maintain()
asyncio.run(main())
"""


def test_a_killed_writer_leaves_a_log_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for turn in range(5):
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.05 + 0.03 * turn)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    log = AuditLog.open(path, redact=plain)
    log.close()
    result = verify(path)
    assert result.intact, result.findings
    assert result.events > 200


def test_the_loss_of_a_kill_is_at_most_the_buffer(open_log: Open) -> None:
    log = open_log()
    for number in range(50):
        log.write(request(number))
    assert 0 < log.buffered_bytes <= 64 * 1024
    assert log.lag >= 0
    log.flush()
    assert log.buffered_bytes == 0
    assert sum(each["kind"] == "request" for each in lines(log.path)) == 50


def test_fsync_event_loses_nothing(open_log: Open) -> None:
    log = open_log(fsync="event")
    log.write(request())
    assert log.buffered_bytes == 0
    assert lines(log.path)[-1]["kind"] == "request"


async def compressed(log: AuditLog) -> None:
    """Wait until the rotated parts are compressed, and the log has noticed."""
    while list(log.path.parent.glob("events.0*.jsonl")) or log._compressor.busy_with is not None:
        await log.maintain()
        await asyncio.sleep(0.01)


def test_a_part_left_uncompressed_is_compressed_after_the_next_start(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.write(request())
    asyncio.run(log.rotate())
    log.close()
    assert [path.suffix for path in tmp_path.glob("events.0*")] == [".jsonl"]
    asyncio.run(compressed(open_log()))
    assert [path.suffix for path in tmp_path.glob("events.0*")] == [".gz"]


def test_rotation_keeps_one_chain_over_compressed_parts(open_log: Open, tmp_path: Path) -> None:
    async def run() -> None:
        log = open_log(rotate_bytes=4000, checkpoint_every=7)
        for number in range(60):
            log.write(request(number))
            await log.maintain()
        await compressed(log)
        log.close()

    asyncio.run(run())
    parts = sorted(tmp_path.glob("events.0*.jsonl.gz"))
    assert len(parts) > 3
    result = verify(tmp_path / "events.jsonl")
    assert result.intact, result.findings
    assert len(result.files) == len(parts) + 1
    assert (
        sum(
            json.loads(line)["kind"] == "request"
            for part in parts
            for line in gzip.decompress(part.read_bytes()).splitlines()
        )
        > 30
    )
    assert verify(parts[2], only_this_file=True).intact
    again = open_log()
    again.write(request(99))
    again.close()
    assert verify(tmp_path / "events.jsonl").intact


def test_a_missing_part_is_found_and_retention_is_not_damage(open_log: Open, tmp_path: Path) -> None:
    async def run(**options: object) -> None:
        log = open_log(rotate_bytes=3000, **options)
        for number in range(60):
            log.write(request(number))
            await log.maintain()
        await compressed(log)
        log.close()

    asyncio.run(run(keep_parts=2))
    parts = sorted(tmp_path.glob("events.0*.jsonl.gz"))
    assert len(parts) == 2
    assert verify(tmp_path / "events.jsonl").intact
    parts[0].unlink()
    findings = verify(tmp_path / "events.jsonl").findings
    assert any("parts before are missing" in finding.what for finding in findings)


def test_a_crash_between_rename_and_new_file_goes_on(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.write(request())
    log.close()
    log.path.rename(tmp_path / "events.000001.jsonl")
    again = open_log()
    again.write(request(1))
    again.close()
    assert lines(again.path)[0]["kind"] == "log-part"
    assert verify(again.path).intact


class FullDisk:
    """``os.write`` of a disk with ``room`` bytes left."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = self._write(descriptor, data[: self.room])
        self.room -= done
        return done


def test_a_full_disk_refuses_and_counts_what_it_could_not_keep(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(buffer_bytes=5000)
    disk = FullDisk(room=1100)
    monkeypatch.setattr("mcpsec.telemetry.spool.os.write", disk)
    written = 0
    with pytest.raises(LogUnavailable, match="No space left"):
        for number in range(100):
            log.write(request(number))
            written += 1
            log.flush()
            assert log.available == (disk.room > 0)
    assert written > 5
    disk.room = 1 << 30
    asyncio.run(log.maintain())
    assert log.available
    log.write(request(1000))
    log.close()
    assert verify(log.path).intact
    assert sum(each["kind"] == "request" for each in lines(log.path)) == written + 1
    gaps = [each["count"] for each in lines(log.path) if each["kind"] == "log-gap"]
    assert gaps == [1]


def test_a_full_disk_that_the_buffer_outlasts_costs_nothing(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log()
    disk = FullDisk(room=100)
    monkeypatch.setattr("mcpsec.telemetry.spool.os.write", disk)
    for number in range(100):
        log.write(request(number))
        log.flush()
    assert not log.available
    disk.room = 1 << 30
    asyncio.run(log.maintain())
    assert log.available
    log.close()
    assert verify(log.path).intact
    kinds = [each["kind"] for each in lines(log.path)]
    assert kinds.count("request") == 100
    assert "log-recovered" in kinds
    assert "log-gap" not in kinds


def test_a_full_disk_may_also_cost_events_and_the_log_says_how_many(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(buffer_bytes=3000, on_full="drop")
    disk = FullDisk(room=0)
    monkeypatch.setattr("mcpsec.telemetry.spool.os.write", disk)
    for number in range(50):
        log.write(request(number))
    assert log.available
    assert log.trouble == os.strerror(errno.ENOSPC)
    assert log.dropped > 0
    disk.room = 1 << 30
    asyncio.run(log.maintain())
    log.close()
    gaps = [each for each in lines(log.path) if each["kind"] == "log-gap"]
    assert [each["count"] for each in gaps] == [log.dropped]
    assert sum(each["kind"] == "request" for each in lines(log.path)) == 50 - log.dropped
    assert verify(log.path).intact


def test_a_failing_fsync_is_trouble_and_not_an_exception(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(checkpoint_seconds=0)
    fsync = os.fsync

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("mcpsec.telemetry.log.os.fsync", broken)
    for _ in range(3):
        log.write(request())
        asyncio.run(log.maintain())
        assert not log.available
        assert log.trouble == os.strerror(errno.EIO)
    monkeypatch.setattr("mcpsec.telemetry.log.os.fsync", fsync)
    asyncio.run(log.maintain())
    assert log.available
    log.close()
    assert verify(log.path).intact


def test_a_real_full_disk(tmp_path: Path) -> None:
    """The same on a file system that is really full."""
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root: run the tests with CAP_SYS_ADMIN")
    try:
        log = AuditLog.open(mount / "events.jsonl", redact=plain, options=LogOptions(buffer_bytes=4096))
        with pytest.raises(LogUnavailable):
            for number in range(1000):
                log.write(request(number))
                log.flush()
        (mount / "events.jsonl.head").unlink()
        log.close()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_subscribers_see_what_is_written_and_can_break_nothing(open_log: Open) -> None:
    seen: list[object] = []
    log = open_log(redact=lambda text: text.replace("hunter2", "[gone]"))
    log.subscribe(lambda record: seen.append(record.get("detail")))

    def broken(record: object) -> None:
        raise ZeroDivisionError

    log.subscribe(broken)
    log.write(request(detail="password hunter2"))
    assert seen == ["password [gone]"]


def test_equal_arguments_have_equal_digests_that_another_log_does_not_share(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    other = AuditLog.open(tmp_path / "other.jsonl", redact=plain)
    assert log.digest(b"{}") == log.digest(b"{}")
    assert log.digest(b"{}") != log.digest(b"[]")
    assert log.digest(b"{}") != other.digest(b"{}")
    other.close()


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "cut"])
def test_a_log_taken_away_while_it_is_written_is_said_and_found(
    open_log: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("mcpsec.telemetry.log._LOOK_SECONDS", 0)
    log = open_log()
    for number in range(10):
        log.write(request(number))
    asyncio.run(log.maintain())
    assert not [path for path in tmp_path.iterdir() if "damaged" in path.name], "nothing happened yet"
    if how == "removed":
        log.path.unlink()
    elif how == "moved":
        log.path.rename(tmp_path / "elsewhere.jsonl")
    elif how == "replaced":
        log.path.unlink()
        log.path.write_text("{}\n")
    else:
        os.truncate(log.path, 700)
    asyncio.run(log.maintain())
    log.write(request(11))
    log.close()
    written = lines(log.path)
    assert [each["kind"] for each in written[:2]] == ["log-part", "log-recovered"]
    assert written[2]["request_id"] == f"{11:032x}"
    assert not verify(log.path).intact
    assert len(list(tmp_path.glob("*.damaged-*"))) == (how in {"replaced", "cut"})


def test_a_rotation_that_fails_keeps_the_log_written(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(rotate_bytes=2000)
    rename = Path.rename

    def broken(path: Path, target: Path) -> Path:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    async def fill() -> None:
        for number in range(20):
            log.write(request(number))
            await log.maintain()

    monkeypatch.setattr(Path, "rename", broken)
    asyncio.run(fill())
    assert log.available
    assert log.trouble == os.strerror(errno.EACCES)
    monkeypatch.setattr(Path, "rename", rename)
    log._rotate_after = 0.0
    asyncio.run(fill())
    assert log.trouble is None
    log.close()
    assert verify(log.path).intact
    assert verify(log.path).events > 40


def test_rotation_by_age_goes_on_over_a_restart(open_log: Open, tmp_path: Path) -> None:
    log = open_log(rotate_seconds=3600)
    log.write(request())
    asyncio.run(log.maintain())
    log.close()
    text = log.path.read_bytes()
    assert not list(tmp_path.glob("events.0*"))
    log = open_log(rotate_seconds=3600)
    log._part_began -= 3601
    asyncio.run(log.maintain())
    assert [path.name for path in tmp_path.glob("events.0*.jsonl*")] != []
    log.close()
    assert verify(log.path).intact
    assert text


def test_a_key_half_made_is_no_key(tmp_path: Path) -> None:
    """A process killed while it makes the key leaves a temporary file, never a half key that stops the next start."""
    path = tmp_path / "events.jsonl"
    (tmp_path / "events.jsonl.key.1.tmp").write_bytes(b"-----BEGIN")
    log = AuditLog.open(path, redact=plain)
    log.close()
    assert verify(path).intact


def test_a_number_that_json_cannot_say_keeps_the_chain(open_log: Open) -> None:
    log = open_log(redact=lambda text: "[redacted]")
    log.write(request(count=1 << 70))
    log.write(request())
    log.close()
    assert verify(log.path).intact


def _sealed(log: AuditLog, line: bytes, **changes: object) -> bytes:
    """The line with changes, signed by the log's own key."""
    fields = json.loads(line)
    for name in ("crc", "signature"):
        fields.pop(name, None)
    return seal(fields | changes, LogKey.load_or_make(log.path).sign) + b"\n"


def test_a_first_line_that_another_key_signed_is_refused(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.close()
    (tmp_path / "other").mkdir()
    other = AuditLog.open(tmp_path / "other" / "events.jsonl", redact=plain)
    other.close()
    log.path.write_bytes(other.path.read_bytes())
    head_path(log.path).unlink()
    with pytest.raises(ConfigurationError, match="not one that this log's key signed"):
        open_log()


def test_a_signature_at_the_end_that_is_not_good_is_refused(open_log: Open) -> None:
    log = open_log()
    log.write(request())
    log.close()
    first, *between, last = log.path.read_bytes().splitlines(keepends=True)
    signature = json.loads(first)["signature"]
    fields = {name: value for name, value in json.loads(last).items() if name not in {"crc", "signature"}}
    log.path.write_bytes(b"".join([first, *between, seal(fields | {"signature": signature}) + b"\n"]))
    with pytest.raises(ConfigurationError, match="the signature of event 3 is not good"):
        open_log()


def test_a_log_whose_first_line_tells_no_time_goes_on(open_log: Open) -> None:
    log = open_log()
    log.close()
    first = log.path.read_bytes().splitlines(keepends=True)[0]
    log.path.write_bytes(_sealed(log, first, time="some day"))
    head_path(log.path).unlink()
    again = open_log(rotate_seconds=60)
    assert again.sequence == 1
    again.close()


def test_the_last_signed_line_is_found_however_far_back(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.telemetry.tail._WINDOW", 700)
    log = open_log(checkpoint_every=1000)
    for number in range(20):
        log.write(request(number))
    log.flush()
    log._abandon()  # as after a kill: nothing signs the end
    again = open_log()
    assert again.sequence == 21
    again.close()
    assert verify(again.path).intact


def test_a_log_with_no_whole_line_begins_anew(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.close()
    head_path(log.path).unlink()
    log.path.write_bytes(b'{"schema":"mcpsec.event/1","se')
    open_log().close()
    assert verify(log.path).intact
    assert [path.read_bytes() for path in tmp_path.glob("events.jsonl.torn-*")] == [b'{"schema":"mcpsec.event/1","se']


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda key, public: key.write_bytes(b"nonsense"), "not an Ed25519 private key"),
        (lambda key, public: key.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1()))), "not an Ed25519 private"),
        (lambda key, public: public.write_bytes(b"nonsense"), "not an Ed25519 public key"),
        (lambda key, public: (key.unlink(), key.mkdir()), "cannot be used"),
        (lambda key, public: key.write_bytes(_pem(Ed25519PrivateKey.generate())), "not that of its private key"),
    ],
)
def test_a_key_that_is_none_or_another_is_refused(
    spoil: Callable[[Path, Path], object], said: str, open_log: Open
) -> None:
    log = open_log()
    log.close()
    spoil(*key_paths(log.path))
    with pytest.raises(ConfigurationError, match=said):
        open_log()


def _pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_key_is_made_on_a_file_system_without_links(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("mcpsec.telemetry.keys.os.link", no_links)
    log = open_log()
    log.close()
    assert [path.stat().st_mode & 0o777 for path in key_paths(log.path)] == [0o600, 0o644]
    assert verify(log.path).intact and not list(log.path.parent.glob("*.tmp"))


def test_a_key_that_another_process_made_first_is_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "events.jsonl"
    first = _pem(Ed25519PrivateKey.generate())

    def overtaken(partial: Path, path: Path) -> None:
        path.write_bytes(first)
        path.chmod(0o600)
        raise FileExistsError(path)

    with monkeypatch.context() as patch:
        patch.setattr("mcpsec.telemetry.keys.os.link", overtaken)
        with pytest.raises(ConfigurationError):  # the public half is refused: the same stand-in wrote a private one
            LogKey.load_or_make(log)
    key_paths(log)[1].unlink()
    LogKey.load_or_make(log)
    assert key_paths(log)[0].read_bytes() == first


def test_a_log_where_nothing_can_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written: File exists"):
        AuditLog.open(tmp_path / "file" / "events.jsonl", redact=plain)
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written: Is a directory"):
        AuditLog.open(tmp_path / "events.jsonl", redact=plain)

    def no_locks(_: int) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("mcpsec.telemetry.lock.try_lock", no_locks)
    with pytest.raises(ConfigurationError, match="No locks available"):
        AuditLog.open(tmp_path / "elsewhere.jsonl", redact=plain)


def test_events_are_safe_one_by_one_and_a_failing_disk_is_told(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(fsync="event")
    log.write(request())
    fsync = os.fsync

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("mcpsec.telemetry.spool.os.fsync", broken)
    log.write(request(1))
    assert not log.available and log.trouble == os.strerror(errno.EIO)
    asyncio.run(log.maintain())
    assert not log.available  # forgiven only when the disk takes it
    monkeypatch.setattr("mcpsec.telemetry.spool.os.fsync", fsync)
    asyncio.run(log.maintain())
    assert log.available
    log.close()
    assert verify(log.path).intact


def test_a_head_file_that_can_not_be_written_is_tried_again(open_log: Open) -> None:
    log = open_log(checkpoint_seconds=0)
    asyncio.run(log.maintain())
    head_path(log.path).unlink()
    head_path(log.path).mkdir()
    log.write(request())
    asyncio.run(log.maintain())
    assert log.available and head_path(log.path).is_dir()
    head_path(log.path).rmdir()
    asyncio.run(log.maintain())
    assert json.loads(head_path(log.path).read_bytes())["seq"] == log.sequence


def test_a_log_that_is_never_synced_still_says_how_far_it_goes(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(fsync="never", checkpoint_seconds=0)
    monkeypatch.setattr("mcpsec.telemetry.log.os.fsync", lambda _: pytest.fail("synced"))
    log.write(request())
    asyncio.run(log.maintain())
    monkeypatch.undo()
    assert json.loads(head_path(log.path).read_bytes())["seq"] == log.sequence


def test_what_a_crash_left_of_a_compression_goes(open_log: Open) -> None:
    log = open_log(compress_parts=False)
    log.write(request())
    asyncio.run(log.rotate())
    log.close()
    left = log.path.with_name("events.000001.jsonl.gz.tmp")
    left.write_bytes(b"half")
    again = open_log(compress_parts=False)
    again.close()
    assert not left.exists() and verify(log.path).intact
    assert [path.suffix for path in log.path.parent.glob("events.000001.*")] == [".jsonl"]


def test_a_disk_that_is_full_at_the_turn_of_a_part_keeps_the_part(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(keep_parts=0)
    disk = FullDisk(room=1 << 30)
    monkeypatch.setattr("mcpsec.telemetry.spool.os.write", disk)
    log.write(request())
    disk.room = 0
    asyncio.run(log.rotate())
    asyncio.run(log.maintain())
    assert not log.available and not list(log.path.parent.glob("events.0*"))
    disk.room = 1 << 30
    asyncio.run(log.rotate())
    log.close()
    assert [each["kind"] for each in lines(log.path)][:2] == ["log-part", "log-retention"]


def test_nothing_is_deleted_before_its_deletion_is_written(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(keep_parts=0, compress_parts=False)
    log.write(request())
    log.flush()
    disk = FullDisk(room=1 << 30)
    monkeypatch.setattr("mcpsec.telemetry.spool.os.write", disk)
    turn_over = log._turn_over

    def then_full() -> Path | None:
        part = turn_over()
        disk.room = 0
        return part

    monkeypatch.setattr(log, "_turn_over", then_full)
    asyncio.run(log.rotate())
    assert [path.name for path in log.path.parent.glob("events.0*")] == ["events.000001.jsonl"]
    disk.room = 1 << 30
    log.close()
