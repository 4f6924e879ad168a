"""An upstream that can change what it says, and a deployment that has pinned it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcpsec.cli.root import main
from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import MODERN_META, RawClient, Response

SERVER = Path(__file__).with_name("mutable_server.py")


def tool(name: str, description: str = "Repeats a text.", **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 20}}, "required": ["text"]}
    return {"name": name, "description": description, "inputSchema": schema, **more}


@dataclass
class Site:
    """A gateway before the changeable server; ``say`` changes what the server says from the next answer on."""

    said: Path
    made: Any
    running: Gateway

    def say(self, **what: Any) -> None:
        self.said.write_text(json.dumps({**json.loads(self.said.read_text()), **what}))

    def post(self, method: str, params: dict[str, Any] | None = None) -> Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": MODERN_META}}
        with RawClient(self.running) as client:
            return client.post(json.dumps(message).encode())

    def call(self, name: str, arguments: Any = None) -> Response:
        return self.post("tools/call", {"name": name, "arguments": arguments or {"text": "hello"}})

    def tools(self) -> list[str]:
        return [each["name"] for each in self.post("tools/list").json["result"]["tools"]]

    def rules(self) -> list[str]:
        """What refused a request. Ends the gateway, because it writes its log a little later."""
        self.running.stop()
        return [event["rule"] for event in self.made.events() if event.get("decision") == "refused"]

    def pin_events(self) -> list[tuple[str, str]]:
        """What was told of the pins. Ends the gateway."""
        self.running.stop()
        return [(event["state"], event["resource"]) for event in self.made.events() if event["kind"] == "pin"]


SAID: dict[str, Any] = {
    "instructions": "Repeat politely.",
    "tools": [tool("echo"), tool("other")],
    "prompts": [{"name": "greet", "description": "A greeting."}],
}


@pytest.fixture
def unpinned(deployment: Any, tmp_path: Path) -> tuple[Path, Any]:
    """The server's words and a deployment with it, not started."""
    said = tmp_path / "said.json"
    said.write_text(json.dumps(SAID))
    made = deployment({"server": {"command": [sys.executable, "-I", "-S", str(SERVER), str(said)]}})
    return said, made


@pytest.fixture
def site(unpinned: tuple[Path, Any], gateway: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., Site]:
    """Starts a gateway whose upstream is pinned to what it says at this moment."""

    def start(**pins: Any) -> Site:
        said, made = unpinned
        assert main(["pin", "-c", str(made.config)]) == 0, capsys.readouterr()
        made.document["pins"] = {"file": "mcpsec.pins.toml", "recheck": "1s", **pins}
        made.write()
        return Site(said, made, gateway(made, expected=(r".*pins.*",)))

    return start
