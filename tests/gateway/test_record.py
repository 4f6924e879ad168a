"""The audit record: one event for each request with what was decided, no secret in it, and no request without it."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.telemetry.verify import verify
from tests.fixtures.gateway import Gateway
from tests.fixtures.pki import Authority
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient, Response, call

DEMO = {"demo": {"builtin": "demo", "access": {"*": "read"}}}
GRANTS = {"allow_resources": ["demo/echo", "demo/ghost", "demo/digest"], "allow_methods": ["read"]}
ECHO = call("echo", {"text": "hello"})


def post(running: Gateway, body: bytes, headers: dict[str, str | None] | None = None, **options: Any) -> Response:
    with RawClient(running, options.pop("identity", None)) as client:
        return client.post(body, headers, **options)


def events(running: Gateway) -> list[dict[str, Any]]:
    return running.deployment.events()


def request_events(running: Gateway) -> list[dict[str, Any]]:
    return [event for event in events(running) if "status" in event]


def modern(method: str, params: dict[str, Any] | None = None) -> bytes:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": MODERN_META}}
    return json.dumps(message).encode()


def legacy(method: str, params: dict[str, Any] | None = None) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode()


def test_each_request_has_exactly_one_event(deployment: Any, gateway: Any) -> None:
    running: Gateway = gateway(deployment(DEMO, grants=GRANTS))
    other = running.deployment.other
    allowed = {"decision": "allowed", "client": "tester", "identified_by": "mtls", "upstream": "demo"}
    refused = {**allowed, "decision": "refused"}
    cases: list[tuple[Response, dict[str, Any]]] = [
        (post(running, ECHO),
         {**allowed, "kind": "request", "rule": "granted", "resource": "demo/echo", "era": "modern",
          "method": "tools/call", "method_class": "read", "status": 200}),
        (post(running, modern("tools/list")), {**allowed, "method": "tools/list", "status": 200}),
        (post(running, legacy("tools/list")), {**allowed, "era": "legacy", "status": 200}),
        (post(running, call("convert", {"text": "x", "encoding": "hex"})),
         {**refused, "kind": "authorization", "resource": "demo/convert", "status": 403}),
        (post(running, call("ghost")),
         {**refused, "kind": "authorization", "rule": "tool-unlisted", "resource": "demo/ghost", "status": 403}),
        (post(running, call("echo", {"wrong": 1})), {**allowed, "resource": "demo/echo", "status": 400}),
        (post(running, b"{nope"), {**refused, "kind": "request", "rule": "protocol", "status": 400, "method": None}),
        (post(running, ECHO, path="/elsewhere"), {"rule": "path", "status": 404, "upstream": None}),
        (post(running, ECHO, {"Host": "evil"}), {"decision": "refused", "rule": "host", "status": 421}),
        (post(running, ECHO, {"Origin": "https://evil"}), {"kind": "request", "rule": "origin", "status": 403}),
        (post(running, ECHO, identity=other),
         {"kind": "authentication-failed", "decision": "refused", "rule": "certificate-unknown", "client": None,
          "status": 401, "resource": None}),
        (post(running, ECHO, {"X-Big": "x" * 40_000}), {"rule": "header-too-large", "status": 431}),
        (post(running, legacy("notifications/unknown").replace(b'"id": 1, ', b"")),
         {"decision": "refused", "rule": "notification-unknown", "status": 202}),
    ]  # fmt: skip
    running.stop()
    found = request_events(running)
    assert len(found) == len(cases)
    for event, (response, expected) in zip(found, cases, strict=True):
        assert response.status == expected["status"]
        assert {name: event.get(name) for name in expected} == expected, event
        assert event["address"] == "127.0.0.1"
    ids = [event["request_id"] for event in found if "request_id" in event]
    assert len(set(ids)) == len(ids) == len(cases) - 1
    denial = cases[3][0].json["error"]
    assert denial["data"]["request"] == found[3]["request_id"]
    assert found[0]["arguments_digest"] != found[5]["arguments_digest"]
    assert verify(running.deployment.log).intact


# --- canaries ---------------------------------------------------------------------------------------------------------

PLAIN = "canary-7f3a9c"
"""Marks what has no place in the record at all."""
SECRET = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO2bVxWr"[:36]
"""Looks like a token: cut out also where a name belongs into the record."""


def faulty_upstream(tmp_path: Path) -> list[str]:
    script = tmp_path / "faulty.py"
    script.write_text(
        f"""
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    sys.stderr.write("{PLAIN}-stderr {SECRET}\\n")
    sys.stderr.flush()
    reply = {{"jsonrpc": "2.0", "id": message["id"]}}
    if message["method"] == "server/discover":
        reply["result"] = {{"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {{}}}}
    elif message["method"] == "tools/list":
        reply["result"] = {{"resultType": "complete", "tools": [{{"name": n, "inputSchema": {{"type": "object"}}}}
                            for n in ("fails", "dies")]}}
    elif message["params"]["name"] == "dies":
        sys.exit("{PLAIN}-last-words {SECRET}")
    else:
        reply["error"] = {{"code": -32000, "message": "{PLAIN}-message {SECRET}", "data": "{PLAIN}-data"}}
    print(json.dumps(reply), flush=True)
"""
    )
    return [sys.executable, "-I", "-S", str(script)]


def test_nothing_of_a_request_is_written_in_clear(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    made = deployment({**DEMO, "faulty": {"command": faulty_upstream(tmp_path)}})
    unknown = Authority(tmp_path / "unknown", f"{PLAIN} CA").client("x", f"spiffe://{PLAIN}/x", trusts=made.client.ca)
    running: Gateway = gateway(made)
    demo, faulty = "/mcp/demo", "/mcp/faulty"
    carried = ("Authorization", "Cookie", "X-Signature", "X-Nonce", "X-Key-Id", "Proxy-Authorization", "DPoP", "X-Any",
               "User-Agent", "Mcp-Session-Id", "traceparent", "Last-Event-ID", "X-Forwarded-For")  # fmt: skip
    sent = [
        post(running, call("echo", {"text": f"{PLAIN} {SECRET}"}), path=demo),
        post(running, call("echo", {f"{PLAIN}{SECRET}": 1}), path=demo),
        post(running, call("digest", {"text": "x", "algorithm": PLAIN}), path=demo),
        post(running, call("time_now", {"zone": f"{PLAIN}/{SECRET}"}), path=demo),
        post(running, ECHO, dict.fromkeys(carried, f"{PLAIN}-{SECRET}"), path=demo),
        *(post(running, ECHO, {name: f"{PLAIN}-{SECRET}"}, path=demo)
          for name in ("Host", "Origin", "Accept", "Content-Type")),
        post(running, ECHO, path=f"/{PLAIN}/{SECRET}?token={SECRET}"),
        post(running, ECHO, path=f"{demo}?token={PLAIN}{SECRET}"),
        post(running, b'{"jsonrpc": "2.0", "%b": "%b"}' % (PLAIN.encode(), SECRET.encode()), path=demo),
        post(running, PLAIN.encode() + SECRET.encode(), path=demo),
        post(running, call(SECRET), path=demo),
        post(running, call(f"x-{SECRET}-y", {"text": PLAIN}), path=demo),
        post(running, modern(SECRET), path=demo),
        post(running, modern("resources/read", {"uri": f"file:///a?key={SECRET}"}), path=faulty),
        post(running, modern("prompts/get", {"name": SECRET, "arguments": {"a": PLAIN}}), path=faulty),
        post(running, call("fails", {"a": PLAIN}), path=faulty),
        post(running, call("dies", {"a": PLAIN}), path=faulty),
    ]  # fmt: skip
    for garbage in (PLAIN.encode() * 20, b"GET /%b HTTP/9.9\r\n\r\n" % PLAIN.encode()):
        with RawClient(running) as client:
            client.send(garbage + b"\r\n\r\n")
            client.read()
    with pytest.raises((OSError, AssertionError)):
        assert post(running, ECHO, identity=unknown).status == 200
    assert {response.status for response in sent} >= {200, 400, 403, 404, 421, 503}
    running.stop()
    assert len(request_events(running)) == len(sent) + 2
    written = {path: path.read_text(errors="replace") for path in made.log.parent.iterdir()}
    written[running.stderr_file] = running.stderr()
    for path, text in written.items():
        assert PLAIN not in text, path
        assert SECRET not in text, path
        assert SECRET[10:30] not in text, path


# --- a log that can't be written --------------------------------------------------------------------------------------


@pytest.fixture
def running(deployment: Any, gateway: Any) -> Iterator[Gateway]:
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux can limit the files of a running process: run this test there")
    started: Gateway = gateway(deployment({**DEMO}, server={"admin": {"listen": "127.0.0.1:0"}}))
    yield started


def limit_files(running: Gateway, size: int) -> None:
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_without_a_log_no_request_is_served(running: Gateway) -> None:
    """The disk refuses every byte more: requests get 503 until it takes bytes again, and nothing is lost."""
    assert post(running, ECHO).status == 200
    limit_files(running, 1)
    with RawClient(running) as client:
        wait_until(lambda: client.post(ECHO).status == 503, "the gateway to notice")
        answers = [client.post(ECHO) for _ in range(100)]
        assert {(answer.status, answer.code) for answer in answers} == {(503, 50301)}
        assert b"log" not in answers[0].body
        limit_files(running, resource.RLIM_INFINITY)
        wait_until(lambda: client.post(ECHO).status == 200, "recovery")
    running.stop()
    found = request_events(running)
    assert sum(event["rule"] == "log-unavailable" for event in found) >= 100
    assert any(event["kind"] == "log-recovered" for event in events(running))
    assert verify(running.deployment.log).intact


def test_a_killed_gateway_leaves_a_log_that_verifies_and_goes_on(deployment: Any, gateway: Any) -> None:
    running: Gateway = gateway(deployment(DEMO))
    stop = threading.Event()

    def load() -> None:
        try:
            with RawClient(running) as client:
                while not stop.is_set() and client.post(ECHO).status == 200:
                    pass
        except (OSError, AssertionError):
            return

    thread = threading.Thread(target=load)
    thread.start()
    wait_until(lambda: len(events(running)) > 50, "events")
    running.kill()
    stop.set()
    thread.join(30)
    running.exit_code = -signal.SIGKILL
    again: Gateway = gateway(running.deployment, expected=(".*",))
    assert post(again, ECHO).status == 200
    again.stop()
    log = running.deployment.log
    command = [sys.executable, "-m", "mcpsec", "log", "verify", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    numbers = [event["seq"] for event in events(again)]
    assert numbers == list(range(1, len(numbers) + 1))
