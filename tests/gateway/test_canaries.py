"""Credentials pushed through every input of a gateway; every output is searched for them afterwards."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.cli.root import main
from tests.fixtures.gateway import Gateway
from tests.fixtures.pki import Authority
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient, call
from tests.gateway.upstreams.test_http import FaultyServer, send
from tests.telemetry.collector import Collector

pytest.importorskip("opentelemetry.sdk", reason="needs the extra: pip install -e '.[otel]'")

# Put together here, so that no scanner of this repository reports them.
_TAIL = "Zq7Xw2Lr9Tb4Nc6Vd8Ks1Hf3Jg5Pm0Ya2Ub1"
_SEGMENT = base64.urlsafe_b64encode(b'{"sub":"' + _TAIL.encode() + b'"}').decode().rstrip("=")
GITHUB = "gh" + "p_" + _TAIL
SLACK = "xo" + "xb-3141592653589-2718281828459-" + _TAIL[:24]
JWT = "ey" + "JhbGciOiJIUzI1NiJ9." + _SEGMENT + "." + _TAIL
PEM_BODY = base64.b64encode(_TAIL.encode() * 6).decode()
PEM = f"-----BEGIN PRIVATE {'KEY'}-----\n{PEM_BODY}\n-----END PRIVATE {'KEY'}-----"
CANARIES = {"github": GITHUB, "slack": SLACK, "jwt": JWT, "pem": PEM_BODY}


@pytest.fixture
def upstream() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


def message(method: str, params: dict[str, Any]) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": MODERN_META}}
    ).encode()


def attack(running: Gateway, upstream: FaultyServer, secret: str) -> None:
    """One credential through headers, path, query, body, names, and back in the upstream's answers."""
    flat = secret.replace("\n", " ")
    requests: list[tuple[bytes, dict[str, str | None], str]] = [
        (call("echo"), {"Authorization": f"Bearer {flat}", "Cookie": f"session={flat}", "X-Api-Key": flat}, "/mcp"),
        (call("echo"), {"User-Agent": flat, "Referer": f"https://x.example/?token={flat}"}, "/mcp"),
        (call("echo"), {"Host": flat[:60].replace(" ", "")}, "/mcp"),
        (call("echo"), {"Origin": f"https://{flat[:40].replace(' ', '')}.example"}, "/mcp"),
        (call("echo"), {"Traceparent": flat, "Tracestate": flat}, "/mcp"),
        (call("echo"), {"Mcp-Session-Id": flat}, "/mcp"),
        (call("echo"), {}, "/mcp?" + urllib.parse.urlencode({"access_token": flat})),
        (call("echo"), {}, "/mcp/" + urllib.parse.quote(flat)),
        (call("echo", {"password": secret, "nested": {"list": [secret]}}), {}, "/mcp"),
        (call(flat), {}, "/mcp"),
        (message(flat, {}), {}, "/mcp"),
        (
            message("resources/read", {"uri": f"https://user:{urllib.parse.quote(flat)}@x.example/?key={flat}"}),
            {},
            "/mcp",
        ),
        (message("prompts/get", {"name": flat, "arguments": {"token": secret}}), {}, "/mcp"),
        (b'{"token": "' + flat.encode() + b'", ', {}, "/mcp"),
    ]
    for body, headers, path in requests:
        with RawClient(running) as client:
            client.post(body, headers, path=path)
    answers = [
        json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": f"no login with {flat}"}}).encode(),
        json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": secret}]}}).encode(),
        b"not json: " + flat.encode(),
    ]
    for answer in answers:
        upstream.fault = lambda connection, _body, answer=answer: send(connection, answer)  # type: ignore[misc]
        with RawClient(running) as client:
            client.post(call("echo"))

    def broken(connection: socket.socket, _body: bytes) -> None:
        connection.sendall(b"HTTP/1.1 500 Oops\r\nX-Debug: " + flat.encode() + b"\r\nContent-Length: 0\r\n\r\n")

    upstream.fault = broken
    with RawClient(running) as client:
        client.post(call("echo"))
    upstream.fault = None


def printed(*words: str) -> str:
    """What a command says on both streams."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        main(list(words))
    return out.getvalue() + err.getvalue()


def fetch(running: Gateway, path: str) -> str:
    with urllib.request.urlopen(f"{running.admin_url}{path}", timeout=60) as answer:
        return str(answer.read().decode())


def test_no_output_holds_a_credential(
    deployment: Any, gateway: Any, upstream: FaultyServer, collector: Collector, tmp_path: Path
) -> None:
    alerts = tmp_path / "alerts"
    made = deployment({"far": {"url": upstream.url}})
    operators = Authority(made.directory / "pki" / "canary-ca", f"CA {GITHUB}")
    named = operators.client("canary", f"spiffe://mcpsec.test/agent/{GITHUB}", trusts=made.client.ca)
    tls = made.document["server"]["tls"]
    bundle = made.directory / "pki" / "bundle.pem"
    bundle.write_bytes((made.directory / tls["client_ca"]).read_bytes() + operators.certificate.read_bytes())
    tls["client_ca"] = str(bundle)
    made.document["server"]["admin"] = {"listen": "127.0.0.1:0"}
    made.document["log"]["arguments"] = {"far/*": ["password", "nested"]}
    made.document["opentelemetry"] = {"endpoint": collector.url, "interval": "1s"}
    made.document["alerts"] = {
        "channels": [{"command": ["sh", "-c", f"cat >> {alerts}"]}],
        "thresholds": {"authentication_failures": 1, "rate_limit_hits": 1},
    }
    made.write()
    running: Gateway = gateway(made)
    for secret in (GITHUB, SLACK, JWT, PEM):
        attack(running, upstream, secret)
    with RawClient(running, named) as client:
        assert client.post(call("echo")).status == 401
    wait_until(lambda: alerts.exists() and "authentication-failures" in alerts.read_text(), "an alert")

    outputs = {path: fetch(running, path) for path in ("/metrics", "/dashboard/data", "/dashboard/search?q=")}
    with urllib.request.urlopen(f"{running.admin_url}/dashboard/events", timeout=60) as stream:
        outputs["stream"] = b"".join(stream.readline() for _ in range(3)).decode()
    running.stop()
    log = str(made.log)
    for form in ("jsonl", "ocsf", "syslog", "otlp"):
        outputs[f"export {form}"] = printed("log", "export", log, "--to-format", form, "--all")
    for words in (["log", "tail", log, "-n", "500"], ["log", "stats", log], ["monitor", log, "--once"]):
        outputs[" ".join(words[:2])] = printed(*words)
    outputs["replay"] = printed("alerts", "replay", log)
    outputs["stderr"] = running.stderr()
    outputs["alerts"] = alerts.read_text()
    outputs["spans"] = str(collector.spans) + str(collector.metrics)
    for path in made.log.parent.iterdir():
        outputs[path.name] = path.read_text(errors="replace")

    assert len(collector.spans) > 20 and len(made.events()) > 60, "the attacks were not seen at all"
    found = {
        (where, name)
        for where, text in outputs.items()
        for name, secret in CANARIES.items()
        if secret in text or urllib.parse.quote(secret) in text or secret[8:28] in text
    }
    assert not found
