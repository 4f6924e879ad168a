from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from mcpsec.leaks import redact
from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.clean import Cleaner
from mcpsec.telemetry.events import FIELDS, KINDS, event_schema, timestamp
from tests.telemetry.conftest import plain, request

Open = Callable[..., AuditLog]


def canaries() -> dict[str, str]:
    """Credential-shaped strings, put together here so that no scanner of this file finds one."""
    return {
        "aws": "AKIA" + "Q3EGXW5KZ7TNB4PD",
        "github": "ghp" + "_" + "x7Kd93mQpL0vTz84RbYw2HsNc6JfUe1AgViX",
        "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "pem": "-----BEGIN " + "PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n"
        "-----END " + "PRIVATE KEY-----",
        "certificate": "-----BEGIN "
        + "CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUX2bQ7Jq1nJQ3xW\n-----END CERTIFICATE-----",
        "url": "https://admin:" + "s3cr3tPassw0rd99" + "@db.example.com/x",
        "bearer": "Authorization: Bearer " + "mF_9.B5f-4.1JqM.zzQk8Lw0pXv7Rt2Nc5Yd",
    }


def secret_part(canary: str) -> str:
    """A piece of a canary that must not survive."""
    if "\n" in canary:
        return canary.split("\n")[1]
    if "@db" in canary:
        return "s3cr3tPassw0rd99"
    return canary.split()[-1][-20:]


@pytest.mark.parametrize("kind", canaries())
def test_no_field_lets_a_credential_into_the_log(open_log: Open, kind: str) -> None:
    canary = canaries()[kind]
    log = open_log(redact=redact)
    seen: list[str] = []
    log.subscribe(lambda record: seen.append(json.dumps(dict(record))))
    texts = [field.name for field in dataclasses.fields(Event) if field.name not in {"time"}]
    for name in texts:
        for value in (canary, f"before {canary} after", {"deep": [canary]}, {canary: 1}, [canary], canary.encode()):
            event = request()
            setattr(event, name, value)
            log.write(event)
            log.write(event)
    log.close()
    assert secret_part(canary) not in log.path.read_text()
    assert secret_part(canary) not in "".join(seen)
    assert len(seen) >= len(texts) * 12


def test_ordinary_values_stay_readable() -> None:
    cleaner = Cleaner(redact)
    event = request(
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        address="2001:db8::7",
        user_agent="claude-code/2.1 (linux)",
        certificate_name="spiffe://example.com/agent/reporting",
        detail="upstream answered 502 after 3 tries",
    )
    for _ in range(2):
        record = cleaner.record(event, 1, "0" * 64)
        for name in (
            "trace_id",
            "span_id",
            "address",
            "user_agent",
            "certificate_name",
            "detail",
            "resource",
            "client",
        ):
            assert record[name] == getattr(event, name)


def test_a_named_argument_is_judged_with_its_name() -> None:
    record = Cleaner(redact).record(request(arguments={"password": "correct-Horse7-battery", "project": "WEB"}), 1, "")
    assert "Horse7" not in json.dumps(record)
    assert record["arguments"]["project"] == "WEB"


def test_a_long_text_is_cut_and_a_secret_at_the_cut_is_not_half_kept() -> None:
    cleaner = Cleaner(redact)
    key = canaries()["github"]
    for padding in range(0, 1400, 17):
        record = cleaner.record(request(detail="a " * (padding // 2) + key + " tail" * 3000), 1, "")
        assert key[4:20] not in record["detail"]
        assert len(record["detail"]) <= 513


def test_a_redaction_that_fails_writes_nothing_of_the_text() -> None:
    def broken(text: str) -> str:
        raise RuntimeError(text)

    record = Cleaner(broken).record(request(detail="something private"), 1, "")
    assert "private" not in json.dumps(record)


def test_memory_for_clean_texts_is_bounded() -> None:
    cleaner = Cleaner(plain)
    for number in range(10_000):
        cleaner.record(request(resource=f"files/{number}", detail=f"{number}"), 1, "")
    assert len(cleaner._clean) <= 4096
    assert len(cleaner._combinations) <= 4096


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        "a\x00b\x1b[2Jc",
        "\u202eevil",
        10**40,
        float("nan"),
        float("inf"),
        object(),
        b"\xff",
        {1: {2: {3: {4: {5: 6}}}}},
    ],
)
def test_hostile_values_are_written_as_one_json_line(open_log: Open, value: object) -> None:
    log = open_log()
    for name in FIELDS:
        event = request()
        setattr(event, name, value)
        log.write(event)
    log.close()
    for line in log.path.read_bytes().splitlines():
        json.loads(line)
        assert len(line) < 64 * 1024


def test_every_line_is_valid_against_the_published_schema(open_log: Open) -> None:
    schema = event_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert set(FIELDS) <= set(schema["properties"])
    log = open_log(checkpoint_every=5)
    for kind in KINDS:
        log.write(request(kind=kind, arguments={"project": "WEB"}, detail="x" * 5000, resource="y" * 5000))
    log.close()
    for line in log.path.read_bytes().splitlines():
        validator.validate(json.loads(line))


def test_times_are_utc_with_microseconds() -> None:
    cleaner = Cleaner(plain)
    for seconds in (0.0, 1_795_416_933.999999, 1_795_416_934.000001, 4_000_000_000.5):
        event = request(time=seconds)
        written = cleaner.record(event, 1, "")["time"]
        assert abs(datetime.fromisoformat(written).timestamp() - seconds) < 2e-6
        assert datetime.fromisoformat(timestamp(seconds)).tzinfo == UTC


def test_a_secret_is_never_remembered_as_clean(tmp_path: Path) -> None:
    cleaner = Cleaner(redact)
    key = canaries()["aws"]
    cleaner.record(request(detail=key, resource=key), 1, "")
    assert key not in json.dumps(list(cleaner._clean)) + str(list(cleaner._combinations))


def test_identifiers_and_plain_values_pass_unread() -> None:
    read: list[str] = []

    def redact(text: str) -> str:
        read.append(text)
        return text

    record = Cleaner(redact).record(
        Event("request", session="0a" * 16, digest="sha256:" + "0b" * 32, arguments={"a": None, "b": True}), 1, ""
    )
    assert record["session"] == "0a" * 16 and record["digest"] == "sha256:" + "0b" * 32
    assert record["arguments"] == {"a": None, "b": True}
    assert not any("0a0a" in text or "0b0b" in text for text in read)


def test_a_named_argument_whose_redaction_fails_is_not_written() -> None:
    def redact(text: str) -> str:
        if "=" in text:
            raise RuntimeError("broken")
        return text

    record = Cleaner(redact).record(Event("request", arguments={"name": "value"}), 1, "")
    assert record["arguments"] == {"name": "[unreadable: redaction failed]"}


def test_a_request_that_was_never_answered_has_a_likeness_without_status() -> None:
    found = Cleaner(plain).likeness(Event("request", client="agent"))
    assert found is not None and "status" not in found.common
