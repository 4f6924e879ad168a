"""Events of finished requests are made a few at a time: the same lines in the same order, and none too late."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from mcpsec.deployment.model import Client
from mcpsec.gateway.message import Exchange, Peer, Request
from mcpsec.gateway.record import Recorder
from mcpsec.gateway.steps.trace import TraceContext
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import Kind, Message
from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.metrics import Metrics
from mcpsec.telemetry.options import LogOptions
from mcpsec.telemetry.verify import verify

AT_ONCE = LogOptions(fsync="event")
OWN = ("seq", "prev", "crc", "time", "arguments_digest", "duration_ms")


def recorder(path: Path, options: LogOptions | None = None) -> tuple[Recorder, AuditLog, Metrics]:
    log = AuditLog.open(path, redact=lambda text: text, options=options or LogOptions())
    metrics = Metrics()
    return Recorder(log, metrics), log, metrics


def exchange(number: int, **facts: Any) -> Exchange:
    body = facts.pop("body", b"{}")
    request = Request(None, body)
    request.method = b"POST"
    client = Client(id=f"agent-{number % 3}")
    peer = Peer("192.0.2.7", client=facts.pop("peer_client", client), fingerprint="ab" * 32, sans=("spiffe://x/y",))
    made = Exchange(request, peer, f"{number:016x}")
    made.message = Message(Kind.REQUEST, number, "tools/call", {}, body)
    made.era, made.kind, made.upstream, made.resource = Era.MODERN, "tool", "files", f"files/tool_{number % 5}"
    made.method_class, made.rule, made.status, made.identified_by = "read", "granted", 200, "mtls"
    made.answer_bytes, made.upstream_ms = 10 * number, 0.25 * (number % 2)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def corpus() -> list[Exchange]:
    trace = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
    odd: list[dict[str, Any]] = [
        {},
        {"arguments": {"b": 1, "a": "ü"}},
        {"trace": trace},
        {"trace": trace, "arguments": {"a": 1}},
        {"detail": "100% told"},
        {"redactions": 2},
        {"resource": "files/50%s\u2028\"", "rule": "a%d"},
        {"decision": "refused", "status": 403, "rule": "resource-not-granted"},
        {"decision": "refused", "status": 401, "client": None, "claimed": "key:x", "rule": "factor-missing"},
        {"decision": "failed", "status": 504, "rule": "timeout"},
        {"decision": "failed", "status": 499, "rule": "client-gone"},
        {"status": 202, "message": None, "era": None},
        {"body": b" " * 100_000},
    ]  # fmt: skip
    return [exchange(number, **odd[number * 7 % len(odd)]) for number in range(200)]


def lines(log: AuditLog) -> list[dict[str, Any]]:
    log.flush()
    return [json.loads(line) for line in log.path.read_bytes().splitlines()]


def test_waiting_changes_no_line_and_no_order(tmp_path: Path) -> None:
    texts, counts = [], []
    for name, options in (("waits", None), ("at-once", AT_ONCE)):
        made, log, metrics = recorder(tmp_path / name / "events.jsonl", options)
        for each in corpus():
            made.request(each)
        counts.append([line for line in metrics.exposition()[2].decode().splitlines() if line.startswith("mcpsec_req")])
        made.close()
        assert verify(log.path).intact
        wanted = [line for line in lines(log) if "status" in line]
        for line in wanted:
            assert ("arguments_digest" in line) == (
                line["request_id"] in {each.id for each in corpus() if each.arguments}
            )
        texts.append([{key: value for key, value in line.items() if key not in OWN} for line in wanted])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 200
    of_requests = [[line for line in each if "_total" in line and "duration" not in line] for each in counts]
    assert of_requests[0] == of_requests[1] != []


def test_a_wait_ends_before_any_other_event(tmp_path: Path) -> None:
    made, log, _ = recorder(tmp_path / "events.jsonl")
    before = time.time()
    made.request(exchange(1))
    assert [line["kind"] for line in lines(log)] == ["log-start"]
    made.write(Event(kind="configuration", state="reloaded"))
    assert [line["kind"] for line in lines(log)] == ["log-start", "request", "configuration"]
    made.request(exchange(2))
    made.request(exchange(3, decision="refused", status=403, rule="resource-not-granted"))
    assert [line.get("request_id", "")[-1:] for line in lines(log)][3:] == ["2", "3"]  # a refusal waits for nothing
    assert before <= time.time()
    made.close()


@pytest.mark.parametrize("options", [AT_ONCE, LogOptions(buffer_bytes=4096)])
def test_nothing_waits_where_the_log_must_have_it_at_once(tmp_path: Path, options: LogOptions) -> None:
    made, log, _ = recorder(tmp_path / "events.jsonl", options)
    made.request(exchange(1))
    assert lines(log)[-1]["request_id"].endswith("1")
    made.close()


def test_few_wait_and_no_long_one(tmp_path: Path) -> None:
    made, log, _ = recorder(tmp_path / "events.jsonl")
    most = 0
    for number in range(500):
        made.request(exchange(number))
        most = max(most, number + 1 - (log.sequence - 1))
    assert 8 < most <= 48  # with what the log holds back, 64 KiB at most
    made.request(exchange(501, resource="files/" + "x" * 240, rule="y" * 250))
    assert lines(log)[-1]["request_id"] == f"{501:016x}"
    made.close()


def test_what_a_crash_can_lose_is_bounded(tmp_path: Path) -> None:
    """The lines that wait, and those in the buffer: 64 KiB while the disk takes them."""
    made, log, _ = recorder(tmp_path / "events.jsonl")
    passed: dict[Any, Any] = {}
    before, known = 0, 0
    for number in range(900):
        made.request(exchange(number, resource="files/" + "x" * 200, arguments={"a": number}, alike=passed))
        written = log.path.read_bytes()
        if len(written) > before:
            before, known = len(written), json.loads(written.splitlines()[-1])["seq"] - 1
        line = before // (known + 1)
        assert (number + 1 - known) * line <= 64 * 1024
    made.close()
    assert verify(log.path).intact


def shortened(number: int, passed: dict[Any, Any] | None) -> Exchange:
    """One of a shortened way: all is the same but what the recorder looks at each time."""
    trace = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)
    odd: list[dict[str, Any]] = [
        {},
        {"status": 400},
        {"rule": "client-gone"},
        {"identified_by": "mtls+signature"},
        {"decision": "failed", "status": 504, "rule": "timeout"},
        {"decision": "failed"},
        {"detail": "100% told"},
        {"redactions": 1, "guarded": {("secret-redacted", "github-token"): 1}},
        {"trace": trace},
        {"arguments": {}},
        {"upstream_ms": 0.0},
    ]
    facts = {"arguments": {"b": number, "a": "ü"}, "upstream_ms": 0.5, **odd[number * 7 % len(odd)]}
    made = exchange(0, alike=passed, **facts)
    made.id = f"{number:016x}"
    if number % 5 == 0:
        made.peer = Peer("192.0.2.9", client=made.client, fingerprint="ab" * 32, sans=("spiffe://x/y",))
    return made


def test_what_is_known_of_a_shortened_way_changes_no_line(tmp_path: Path) -> None:
    """Whatever differs in one of them stands in its own line and in no other's."""
    texts = []
    passed: dict[Any, Any] = {}
    for name, of_the_way, options in (("known", passed, None), ("unknown", None, AT_ONCE)):
        made, log, metrics = recorder(tmp_path / name / "events.jsonl", options)
        for number in range(200):
            made.request(shortened(number, of_the_way))
        counts = sorted(line for line in metrics.exposition()[2].decode().splitlines() if "requests_total{" in line)
        made.close()
        assert verify(log.path).intact
        written = [
            {key: value for key, value in line.items() if key not in OWN} | {"arguments": "arguments_digest" in line}
            for line in lines(log)
            if "status" in line or line["kind"] == "guard"
        ]
        texts.append((written, counts))
    assert texts[0] == texts[1]
    assert passed
    assert all(key[3] == "allowed" for key in passed), "what was refused or failed is never known"


def test_maintain_and_a_scrape_end_the_wait(tmp_path: Path) -> None:
    made, log, metrics = recorder(tmp_path / "events.jsonl")
    made.request(exchange(1))
    assert b'mcpsec_client_requests_total{client="agent-1",decision="allowed"} 1.0' in metrics.exposition()[2]
    made.request(exchange(2))
    asyncio.run(made.maintain())
    assert json.loads(log.path.read_bytes().splitlines()[-1])["request_id"].endswith("2")
    made.close()


def test_each_line_of_a_shortened_way_has_its_own_figures(tmp_path: Path) -> None:
    """They are written out together, each from what was noted when its request ended."""
    made, log, _ = recorder(tmp_path / "events.jsonl")
    passed: dict[Any, Any] = {}
    ended: list[tuple[Exchange, float, float]] = []
    for number in range(20):
        each = exchange(0, arguments={"b": number, "a": "ü"}, alike=passed, body=b"x" * (100 + number))
        each.id, each.answer_bytes, each.upstream_ms = f"{number:016x}", 1000 + number, 0.5 + number
        each.request.started = time.perf_counter() - number
        before = time.time()
        made.request(each)
        ended.append((each, before, time.time()))
        time.sleep(0.002)
    made.close()
    written = [line for line in lines(log) if line["kind"] == "request"]
    for line, (each, before, after) in zip(written, ended, strict=True):
        number = int(each.id, 16)
        when = datetime.fromisoformat(line["time"]).timestamp()
        assert before - 0.001 <= when <= after + 0.001
        assert number * 1000 <= line["duration_ms"] < number * 1000 + 500
        assert line["arguments_digest"] == log.digest(orjson.dumps(each.arguments, option=orjson.OPT_SORT_KEYS))
        assert (line["request_id"], line["request_bytes"]) == (each.id, 100 + number)
        assert (line["response_bytes"], line["upstream_ms"]) == (1000 + number, 0.5 + number)


def test_large_arguments_are_not_kept_waiting(tmp_path: Path) -> None:
    made, log, _ = recorder(tmp_path / "events.jsonl")
    passed: dict[Any, Any] = {}
    for number in range(3):
        made.request(exchange(0, arguments={"a": number}, alike=passed))
    assert passed
    assert len(lines(log)) == 1
    made.request(exchange(0, arguments={"a": "x" * 20_000}, alike=passed, body=b"x" * 20_000))
    assert len(lines(log)) == 5
    made.close()
