"""Secrets of a running gateway: they change while requests flow, and a manager that is down changes nothing."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.signing import SignedMessage, Signer, SigningKey
from tests.fixtures.gateway import Gateway
from tests.fixtures.openbao import ROOT_TOKEN, Bao, running_bao
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, call, request_bytes

ECHO = call("echo", {"text": "hello"})
CHANGED = r".*secrets changed, in use now: .*"
DOWN = r".*a secret can't be read again, its last value stays in use: .*"
UP = r".*can be read again.*"
UNUSABLE = r".*new secrets can't be used, the old ones stay.*"


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[Bao]:
    (tmp_path / "bao").mkdir()
    with running_bao(tmp_path / "bao") as bao:
        yield bao


class Site:
    """A gateway whose one signing key is in OpenBao; ``values`` are all it ever had."""

    def __init__(self, bao: Bao, made: Any, *, overlap: str) -> None:
        self.bao = bao
        self.made = made
        self.values: list[str] = []
        self.rotate()
        token = made.directory / "bao-token"
        token.touch(mode=0o600)
        bao.policy("gateway", "reporting")
        token.write_text(bao.token("gateway", "1h"))
        made.document["auth"]["require"] = ["mtls", "signature"]
        made.document["secrets"] = {
            "refresh": "1s", "overlap": overlap,
            "vault": {"address": bao.address, "token": {"file": "bao-token"}, "timeout": "60s"},
        }  # fmt: skip
        made.document["clients"][0]["signing_keys"] = [{"id": "k", "secret": {"vault": "secret/reporting#hmac"}}]
        made.write()

    def rotate(self, value: str | None = None) -> str:
        self.values.append(value or secrets.token_urlsafe(32))
        self.bao.put("reporting", hmac=self.values[-1])
        return self.values[-1]

    def post(self, running: Gateway, secret: str) -> int:
        """Send one request that is signed with a secret."""
        signer = Signer(SigningKey("k", secret=secret.encode()), "hmac-sha256")
        head, _, _ = request_bytes(running.authority, ECHO).partition(b"\r\n\r\n")
        fields = [
            (name.lower(), value) for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        ]
        signed = signer.sign(SignedMessage("POST", running.authority, "/mcp", "", fields, ECHO))
        with RawClient(running) as client:
            return client.post(ECHO, dict(signed)).status

    def states(self) -> list[str]:
        """What became of secrets, by the log."""
        return [str(event.get("state")) for event in self.made.events() if event.get("name") == "secrets"]

    def check_nothing_leaked(self, running: Gateway) -> None:
        texts = [running.stderr(), self.made.log.read_text(), " ".join(running.process.args)]
        assert not [value for value in self.values for text in texts if value in text]


@pytest.fixture
def site(bao: Bao, deployment: Any) -> Site:
    return Site(bao, deployment({"demo": {"builtin": "demo", "access": {"*": "read"}}}), overlap="1h")


def run(made: Any, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mcpsec", *words, "-c", str(made.config)], capture_output=True, text=True, check=False
    )


def test_a_signing_key_changes_while_requests_flow(site: Site, gateway: Any) -> None:
    running = gateway(site.made, expected=(CHANGED,))
    old = site.values[0]
    statuses: list[int] = []
    over = threading.Event()

    def flow() -> None:
        while not over.is_set():
            statuses.append(site.post(running, old))

    client = threading.Thread(target=flow)
    client.start()
    try:
        wait_until(lambda: statuses, "the first request")
        new = site.rotate()
        wait_until(lambda: "changed" in site.states(), "the change")
        before = len(statuses)
        assert site.post(running, new) == 200
        wait_until(lambda: len(statuses) > before + 2, "requests with the old key")
    finally:
        over.set()
        client.join()
    assert set(statuses) == {200}  # whoever has not heard of the new key yet is served for the overlap
    assert site.post(running, secrets.token_urlsafe(32)) == 401
    site.check_nothing_leaked(running)


def test_the_old_key_ends_with_the_overlap(bao: Bao, deployment: Any, gateway: Any) -> None:
    site = Site(bao, deployment({"demo": {"builtin": "demo", "access": {"*": "read"}}}), overlap="0s")
    running = gateway(site.made, expected=(CHANGED,))
    assert site.post(running, site.values[0]) == 200
    site.rotate()
    wait_until(lambda: "changed" in site.states(), "the change")
    assert site.post(running, site.values[1]) == 200
    assert site.post(running, site.values[0]) == 401


def test_a_value_that_can_not_be_used_changes_nothing(site: Site, gateway: Any) -> None:
    running = gateway(site.made, expected=(CHANGED, UNUSABLE))
    site.rotate("too short")
    wait_until(lambda: "refused" in site.states(), "the refusal")
    assert site.post(running, site.values[0]) == 200
    site.rotate()
    wait_until(lambda: "changed" in site.states(), "the change")
    assert site.post(running, site.values[-1]) == 200


def test_a_manager_that_goes_away_is_survived(site: Site, gateway: Any) -> None:
    running = gateway(site.made, expected=(DOWN, UP))
    assert run(site.made, "config", "secrets").returncode == 0
    site.bao.process.kill()
    wait_until(lambda: "down" in site.states(), "the failure to be told")
    assert site.post(running, site.values[0]) == 200
    failed = run(site.made, "config", "secrets", "--format", "json")
    assert failed.returncode == 1
    (row,) = [row for row in json.loads(failed.stdout)["secrets"] if row["kind"] == "vault"]
    assert row["key"] == "clients[0].signing_keys[0].secret"
    assert not row["resolves"] and "can't be reached" in row["error"]
    # A gateway that starts now does not: without its secrets it could not tell friend from foe.
    started = run(site.made, "serve", "--listen", "127.0.0.1:0")
    assert started.returncode == 2 and "can't be reached" in started.stderr
    site.check_nothing_leaked(running)


def test_every_reference_is_listed_without_its_value(site: Site) -> None:
    run_ = run(site.made, "config", "secrets", "--format", "json")
    assert run_.returncode == 0, run_.stderr
    document = json.loads(run_.stdout)
    assert document["schema"] == "mcpsec.config-secrets/1"
    assert {(row["key"], row["kind"], row["resolves"]) for row in document["secrets"]} == {
        ("secrets.vault.token", "file", True),
        ("clients[0].signing_keys[0].secret", "vault", True),
    }
    for words in (("config", "secrets"), ("config", "show"), ("config", "check")):
        shown = run(site.made, *words)
        assert shown.returncode == 0, shown.stderr
        assert site.values[0] not in shown.stdout + shown.stderr
        assert (site.made.directory / "bao-token").read_text() not in shown.stdout + shown.stderr


def test_an_upstreams_credential_changes_without_a_restart(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    """SIGHUP reads everything again at once; the upstream gets the new credential with the next request."""
    import signal
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    seen: list[str] = []

    class Upstream(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            seen.append(str(self.headers["x-api-key"]))
            assert self.headers["host"] == url.removeprefix("http://").removesuffix("/mcp")
            assert self.headers["authorization"] is None and self.headers["dpop"] is None
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            result: dict[str, Any] = {"resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private"}
            result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "content": []}
            body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/mcp"
        made = deployment({"tickets": {"url": url, "headers": {"x-api-key": {"file": "api-key"}}}})
        key = made.directory / "api-key"
        key.touch(mode=0o600)
        key.write_text("first-key\n")
        made.document["secrets"] = {"refresh": "1d"}
        made.write()
        # The signal reads the deployment and the TLS files too.
        running = gateway(made, expected=(r".*certificate, CA (or|and) CRL (un)?changed.*", r".*read again.*"))
        listing = json.loads(ECHO)
        listing |= {"method": "tools/list"}
        listing["params"] = {"_meta": listing["params"]["_meta"]}
        tokens = {"Authorization": "Bearer of-the-client", "DPoP": "proof-of-the-client"}

        def ask() -> None:
            with RawClient(running) as client:
                assert client.post(json.dumps(listing).encode(), tokens).status == 200

        ask()
        assert set(seen) == {"first-key"}
        key.write_text("second-key\n")
        os.kill(running.process.pid, signal.SIGHUP)
        wait_until(lambda: "read again" in running.stderr(), "the reload")
        ask()
        assert seen[-1] == "second-key"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_managers_token_is_not_given_to_programs(bao: Bao, deployment: Any, gateway: Any) -> None:
    """What the gateway logs in with is in its own environment, and in none of its children's."""
    program = [sys.executable, "-c", "import os,sys; sys.stderr.write(repr(dict(os.environ))); sys.stdin.read()"]
    made = deployment({"odd": {"command": program}, "demo": {"builtin": "demo"}})
    Site(bao, made, overlap="1h")
    del made.document["secrets"]["vault"]["token"]
    made.write()
    running = gateway(made, environment={"BAO_TOKEN": ROOT_TOKEN}, expected=(r".*odd.*", r".*"))
    children = wait_until(running.children, "the child")
    for child in children:
        assert ROOT_TOKEN not in str(child.environ())
