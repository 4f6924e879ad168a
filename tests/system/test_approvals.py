"""An operator's confirmation over several workers: found wherever the refusal was written, used once by whichever."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcpsec.gateway.policy import Call
from mcpsec.gateway.policy.confirmation import ConfirmationKey
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import PATIENCE, spawn, wait_until
from tests.fixtures.raw import RawClient, Response, call
from tests.fixtures.stores import Store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a system with fork and exec")
SAID = (r".*state store.*", r".*worker \d+.*")
HEADER = "x-confirm"


def guarded(deployment: Any, **sections: Any) -> Any:
    """A deployment whose ``echo`` an operator has to confirm."""
    made = deployment({"demo": {"builtin": "demo", "access": {"*": "read"}}}, **sections)
    key = made.directory / "approval.key"
    key.touch(mode=0o600)
    key.write_text(secrets.token_urlsafe(32))
    made.document["approval"] = {"secret": {"file": key.name}}
    made.document["rules"] = [{"resources": ["demo/echo"], "require": {"confirmation_header": HEADER}}]
    made.write()
    return made


def ask(running: Gateway, text: str, confirmation: str | None = None) -> Response:
    with RawClient(running) as client:
        return client.post(call("echo", {"text": text}), {HEADER: confirmation})


def mcpsec(made: Any, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mcpsec", *words, "-c", str(made.config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_one_confirmation_is_used_once_by_whichever_worker(deployment: Any, gateway: Any, store: Store) -> None:
    made = guarded(deployment, state={"url": store.url, "timeout": "20s"})
    running = gateway(made, "--workers", "2", expected=SAID)
    refused = [ask(running, "once") for _ in range(12)]  # the kernel gives each to whichever worker is free
    digests = {answer.json["error"]["data"]["approve"] for answer in refused}
    assert {answer.status for answer in refused} == {403} and len(digests) == 1, "all workers ask for the same"
    logs = list(made.directory.glob("log/worker-*/events.jsonl"))
    assert len(logs) == 2 and not made.log.exists()

    approved = mcpsec(made, "approve", digests.pop())
    assert approved.returncode == 0, approved.stderr
    assert "asked for at" in approved.stderr and "tester" in approved.stderr
    value = approved.stdout.strip().partition(": ")[2]
    clients = [RawClient(running) for _ in range(12)]
    try:
        for client in clients:  # all at once: the store decides who was first
            client.send(_request(client, "once", value))
        answers = [client.read() for client in clients]
    finally:
        for client in clients:
            client.close()
    assert sorted(answer.status for answer in answers) == [200] + [403] * 11
    assert {answer.code for answer in answers if answer.status == 403} == {40301}
    assert ask(running, "once", value).status == 403
    assert ask(running, "another", value).code == 40302

    twin = mcpsec(made, "approve", "--client", "tester", "--tool", "demo/echo", "--arg", "text=twice")
    assert ask(running, "twice", twin.stdout.strip().partition(": ")[2]).status == 200
    events = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    used = [event for event in events if event.get("rule") == "confirmation-used" and "status" in event]
    assert len(used) == 12


def _request(client: RawClient, text: str, confirmation: str) -> bytes:
    from tests.fixtures.raw import request_bytes

    return request_bytes(client.host, call("echo", {"text": text}), {HEADER: confirmation})


def test_least_privilege_is_suggested_from_the_logs_of_all_workers(deployment: Any, gateway: Any, store: Store) -> None:
    made = guarded(deployment, state={"url": store.url, "timeout": "20s"})
    running = gateway(made, "--workers", "2", expected=SAID)
    for _ in range(12):
        with RawClient(running) as client:
            assert client.post(call("time_now")).status == 200
    running.stop()
    logs = list(made.directory.glob("log/worker-*/events.jsonl"))
    count = sum(log.read_text().count('"demo/time_now"') for log in logs)
    done = mcpsec(made, "policy", "suggest", "--format", "json")
    assert done.returncode == 0, done.stderr
    (client,) = json.loads(done.stdout)["clients"]
    assert client["calls"] == {"demo/time_now": 12} and count >= 12


# --- nobody on an agent's side can do what the operator does ----------------------------------------------------------


def test_nothing_that_an_agent_holds_makes_a_confirmation(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    """Certificate, key, signing secret, the digest and the operator's own command: without the secret it is none."""
    made = guarded(deployment)
    running = gateway(made)
    asked = str(ask(running, "x").json["error"]["data"]["approve"])
    for own in (made.secret.read_bytes(), made.client.key.read_bytes(), made.client.certificate.read_bytes()):
        assert ask(running, "x", ConfirmationKey(own, 3600).make(asked, 600)).code == 40302
        digest = ConfirmationKey(own, 3600).digest(
            "tester", "tools/call", Call("demo", "tool", "echo", {"text": "x"}), {"arguments": {"text": "x"}}
        )
        assert digest != asked
        assert ask(running, "x", ConfirmationKey(own, 3600).make(digest, 600)).code == 40302
    # The agent's account runs the operator's command with a file of its own, which names its own secret.
    agent = tmp_path / "agent"
    agent.mkdir()
    forged = made.config.read_text().replace('file = "approval.key"', f'file = "{made.secret}"')
    assert forged != made.config.read_text()
    (made.directory / "forged.toml").write_text(forged)
    command = [sys.executable, "-m", "mcpsec", "approve", asked, "-c", str(made.directory / "forged.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "signing key" in done.stderr, "that one is refused by name"
    own = made.directory / "own.key"
    own.touch(mode=0o600)
    own.write_text("o" * 43)
    (made.directory / "forged.toml").write_text(forged.replace(str(made.secret), str(own)))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ask(running, "x", done.stdout.strip().partition(": ")[2]).code == 40302
    good = mcpsec(made, "approve", asked)
    assert ask(running, "x", good.stdout.strip().partition(": ")[2]).status == 200


def test_connect_neither_makes_a_confirmation_nor_lets_one_through(
    deployment: Any, gateway: Any, http_server: Any
) -> None:
    """The bridge beside the agent: no message of its client becomes the header, whatever it says and whichever era."""
    made = guarded(deployment)
    made.document["upstreams"]["web"] = {"url": http_server.url, "access": {"*": "read"}}
    made.document["rules"] = [{"resources": ["*/echo"], "require": {"confirmation_header": HEADER}}]
    made.write()
    running = gateway(made)
    secret = (made.directory / "approval.key").read_bytes()
    for era, path in (("2026-07-28", "/demo"), ("2025-11-25", "/web")):
        upstream = path[1:]
        arguments = {"text": "x"}
        key = ConfirmationKey(secret, 3600)
        confirmed = key.make(
            key.digest("tester", "tools/call", Call(upstream, "tool", "echo", arguments), {"arguments": arguments}), 600
        )
        bridge = Bridge(made, f"{running.url}{path}")
        try:
            bridge.greet(era)
            free = {"demo": "time_now", "web": "test_simple_text"}[upstream]
            assert "result" in bridge.call({"name": free, "arguments": {}})
            assert bridge.call({"name": "echo", "arguments": arguments})["error"]["code"] == 40302
            for extra in (
                {"_meta": {HEADER: confirmed, "headers": {HEADER: confirmed}}},
                {HEADER: confirmed, "headers": {HEADER: confirmed}},
                {"_meta": {"traceparent": f"x\r\n{HEADER}: {confirmed}"}},
                {"name": f"echo\r\n{HEADER}: {confirmed}"},
                {"name": f"echo\n{HEADER}: {confirmed}\n"},
            ):
                answer = bridge.call({"name": "echo", "arguments": arguments, **extra})
                assert "result" not in answer, answer
        finally:
            bridge.close()
        # The twin: the very same confirmation, by a caller that can send headers.
        with RawClient(running) as client:
            if upstream == "demo":
                assert client.post(call("echo", arguments), {HEADER: confirmed}, path="/mcp/demo").status == 200
    assert not any(
        "confirmed by" in str(event.get("detail")) for event in made.events() if event.get("upstream") == "web"
    )


class Bridge:
    """``mcpsec connect`` as a client starts it."""

    def __init__(self, made: Any, url: str) -> None:
        words = ["connect", url, "--cert", str(made.client.certificate), "--key", str(made.client.key)]
        words += ["--ca", str(made.client.ca)]
        self._errors = (made.directory / "bridge.stderr").open("w")
        self.process = spawn(
            [sys.executable, "-m", "mcpsec", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self._id = 0
        self._meta: dict[str, Any] = {}

    def greet(self, version: str) -> None:
        from tests.fixtures.raw import MODERN_META

        if version == "2026-07-28":
            self._meta = dict(MODERN_META)
            return
        hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        assert "result" in self.say("initialize", hello)
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def say(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._id += 1
        self.write({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, "the bridge ended"
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == self._id:
                return answer

    def call(self, params: dict[str, Any]) -> dict[str, Any]:
        return self.say("tools/call", {**params, "_meta": {**self._meta, **params.get("_meta", {})}})

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()
        wait_until(lambda: self.process.poll() is not None, "the bridge's end")
