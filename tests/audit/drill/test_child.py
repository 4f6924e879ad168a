"""The server under drill, by itself: it fails exactly as a call asks for, and writes down what it did."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcpsec.audit.drill import child


class Spoken:
    """A running child, one request at a time."""

    def __init__(self, record: Path) -> None:
        self.record = record
        self.process = subprocess.Popen(
            [sys.executable, child.__file__, str(record)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, method: str, ident: int | None = 1, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if ident is None else {"id": ident})
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def call(self, fault: str, name: str = "first", ident: int = 1) -> None:
        self.send("tools/call", ident, name=child.TOOL, arguments={"fault": fault, "call": name})

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> int:
        self.process.communicate()
        return self.process.returncode

    def events(self) -> list[tuple[str, str]]:
        return [(each["event"], each["call"]) for each in map(json.loads, self.record.read_text().splitlines())]


@pytest.fixture
def spoken(tmp_path: Path) -> Any:
    made = Spoken(tmp_path / "record.jsonl")
    yield made
    try:
        made.process.communicate(timeout=10)  # its input ends, and so does it
    except subprocess.TimeoutExpired:
        made.process.kill()
        made.process.communicate()


def test_a_client_finds_the_one_tool_and_a_call_without_a_fault_is_answered(spoken: Spoken) -> None:
    spoken.send("server/discover")
    assert json.loads(spoken.line())["result"]["supportedVersions"] == ["2026-07-28"]
    spoken.send("notifications/cancelled", None)
    spoken.send("tools/list", 2)
    tools = json.loads(spoken.line())
    assert tools["id"] == 2 and [tool["name"] for tool in tools["result"]["tools"]] == [child.TOOL]
    spoken.send("prompts/list", 3)
    assert json.loads(spoken.line())["error"]["code"] == -32601
    spoken.call("none", ident=4)
    assert json.loads(spoken.line())["result"]["content"][0]["text"] == "fine"
    assert spoken.end() == 0 and spoken.events() == [("call taken", "first")]


def test_a_call_that_is_to_hang_is_not_answered_and_the_next_one_is(spoken: Spoken) -> None:
    spoken.call("timeout")
    spoken.call("none", "second", 2)
    assert json.loads(spoken.line())["id"] == 2
    assert spoken.events() == [("call taken", "first"), ("answer withheld", "first"), ("call taken", "second")]


def test_a_slow_answer_comes_when_the_fault_is_mended(spoken: Spoken) -> None:
    spoken.call("slow")
    assert spoken.process.stdout is not None and spoken.process.stdout.read(1) == " "
    spoken.record.with_suffix(".mended").touch()
    assert json.loads(spoken.line())["error"]["message"] == "too late"


@pytest.mark.parametrize(
    ("fault", "event"), [("garbage", "answered with garbage"), ("error", "answered with an internal error")]
)
def test_what_must_not_reach_a_caller_is_marked(spoken: Spoken, fault: str, event: str) -> None:
    spoken.call(fault)
    assert child.INSIDE in spoken.line()
    assert spoken.events()[-1] == (event, "first")


def test_a_crash_is_one(spoken: Spoken) -> None:
    spoken.call("crash")
    assert spoken.end() == 7
    assert spoken.events()[-1] == ("died", "first")
