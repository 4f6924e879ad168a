"""Lines that no gateway has written, in a log that somebody damaged: its readers pass them over and go on."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from mcpsec.cli.root import main

GOOD: dict[str, Any] = {
    "seq": 1, "prev": "0" * 64, "kind": "request", "time": "2026-11-30T10:00:00.000000Z", "status": 200, "client": "known",
    "duration_ms": 1.0, "upstream": "files", "resource": "files/read", "decision": "allowed", "state": "open", "rule": "r",
    "reason": "why", "address": "127.0.0.1", "name": "n", "severity": "high", "method": "tools/call", "detail": "d",
    "claimed": "who", "request_bytes": 1, "response_bytes": 2, "trace_id": "00", "count": 3,
    "arguments": {"project": ["WEB", {"deep": 1}]},
}  # fmt: skip
KINDS = (
    *("request", "breaker", "upstream", "alert", "authentication-failed", "handshake-refused", "rate-limited"),
    *("server-start", "log-checkpoint", "authorization", "certificate", "guard", "pin"),
)
ODD: tuple[Any, ...] = (None, [], {}, [1], {"a": 1}, 1, -1, True, 1e308, "", 10**30, "x" * 3000, "\ud800")
TIMES = (
    "",
    "garbage",
    "0001-01-01",
    "2026-11-30",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-14:00",
    "9" * 27,
)
COMMANDS = (
    ("monitor", "{}", "--once"),
    ("log", "stats", "{}"),
    ("log", "tail", "{}"),
    ("log", "query", "{}", "--client", "known", "--text", "read", "--since", "0001-01-01"),
    ("log", "export", "{}", "--to-format", "ocsf"),
    ("log", "export", "{}", "--to-format", "otlp"),
    ("log", "export", "{}", "--to-format", "syslog"),
    ("log", "verify", "{}"),
    ("alerts", "replay", "{}"),
)


def variants(number: int) -> list[dict[str, Any]]:
    chance = random.Random(7)
    made: list[dict[str, Any]] = [{**GOOD, "time": time} for time in TIMES]
    made += [{**GOOD, name: odd} for name in ("kind", "time", "client", "upstream", "state") for odd in ODD]
    for _ in range(number):
        line = {**GOOD, "kind": chance.choice(KINDS)}
        for name in chance.sample(list(GOOD), 2):
            if chance.random() < 0.3:
                line.pop(name, None)
            else:
                line[name] = chance.choice(ODD)
        made.append(line)
    return made


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_lines_that_are_no_events(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "events.jsonl"
    for line in variants(150 * int(os.environ.get("MCPSEC_FUZZ", "1"))):
        file.write_text("".join(json.dumps(each) + "\n" for each in (GOOD, line, GOOD)))
        code = main([word.format(file) for word in words])
        shown = capsys.readouterr()
        assert code in {0, 1, 2}, f"{line}\n{shown.err}"
        if words[:2] == ("log", "query"):
            assert shown.out.count("known") >= 2, "the honest lines are there still"
