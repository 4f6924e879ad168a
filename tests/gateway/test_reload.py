"""The deployment changes under a running gateway: what is said is in force at once, and no request notices."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.deployments import EVERYTHING, OTHER, fixture_command
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call
from tests.fixtures.upstreams import HttpServer

READ = r".*the deployment was read again: in use now"
REFUSED = r".*the changed deployment can't be used, the old one stays.*"
RESTART = r".*only a restart brings it into use: .*"
TRUST = r".*in use now, \d+ open connections cut"
EXPECTED = (READ, REFUSED, RESTART, TRUST)
DEMO = {"demo": {"builtin": "demo"}}


def post(running: Gateway, tool: str = "time_now", identity: Any = None, **options: Any) -> Response:
    with RawClient(running, identity) as client:
        return client.post(call(tool), **options)


def rewrite(running: Gateway, **changes: Any) -> None:
    """Replace the file whole, as careful editors do, and wait until the gateway has read it."""
    made = running.deployment
    made.document |= changes
    before = running.stderr().count("read again")
    whole = made.config.with_name(".new")
    config = made.config
    made.write()
    config.replace(whole)
    whole.replace(config)
    wait_until(lambda: running.stderr().count("read again") > before, "the reload")


@contextmanager
def load(running: Gateway, path: str = "/mcp") -> Iterator[list[int]]:
    """Four clients that never stop asking; the statuses of their answers."""
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        with RawClient(running) as client:
            while not over.is_set():
                statuses.append(client.post(call("echo", {"text": "x"}), path=path).status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_ten_reloads_under_load_fail_no_request(deployment: Any, gateway: Any, http_server: HttpServer) -> None:
    made = deployment({"fixture": {"url": http_server.url}})
    running = gateway(made, expected=EXPECTED)
    with load(running, "/mcp/fixture") as statuses:
        wait_until(lambda: len(statuses) > 20, "the load")
        for number in range(10):
            limits = {"rate_limits": {f"none_{number}": "1/hour"}}
            if number % 3 == 0:  # the upstream's own entry changes: another object serves it from now on
                limits["timeout"] = f"{60 + number}s"
            rewrite(running, upstreams={"fixture": {"url": http_server.url, **limits}})
            served = len(statuses)
            wait_until(lambda served=served: len(statuses) > served + 8, "requests after the reload")
    assert set(statuses) == {200}, f"{len(statuses)} requests"


def test_a_broken_file_changes_nothing_and_is_told_everywhere(deployment: Any, gateway: Any) -> None:
    made = deployment(DEMO, server={"admin": {"listen": "127.0.0.1:0"}})
    running = gateway(made, expected=EXPECTED)
    good = made.config.read_text()
    for broken in ("version = 1\n[server", good.replace('"tester"', '"tester"\nno_such_key = 1', 1)):
        before = running.stderr().count("the old one stays")
        made.config.write_text(broken)
        wait_until(lambda before=before: running.stderr().count("the old one stays") > before, "the refusal")
        assert post(running).status == 200
    assert metric(running, "mcpsec_last_reload_successful") == 0.0
    wait_until(lambda: any(event.get("state") == "refused" for event in made.events()), "the event")
    made.config.write_text(good)
    wait_until(lambda: running.stderr().count("read again"), "the reload")
    assert metric(running, "mcpsec_last_reload_successful") == 1.0
    assert post(running).status == 200


def metric(running: Gateway, name: str) -> float:
    import httpx2

    text = httpx2.get(f"{running.admin_url}/metrics").text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name)))


def test_policy_clients_and_upstreams_follow_the_file(deployment: Any, gateway: Any) -> None:
    made = deployment(DEMO)
    running = gateway(made, expected=EXPECTED)
    tester = made.document["clients"][0]
    newcomer = {"id": "newcomer", "certificate": {"san": OTHER}, **EVERYTHING}
    with RawClient(running) as kept, RawClient(running, made.other) as stranger:
        assert kept.post(call("time_now")).status == 200
        rewrite(running, clients=[{**tester, "allow_resources": ["demo/text_*"]}, newcomer])
        assert kept.post(call("time_now")).status == 403, "less is granted, on an open connection too"
        assert stranger.post(call("time_now")).status == 200, "known now, on an open connection too"
        rewrite(running, clients=[newcomer], upstreams={**DEMO, "second": {"command": fixture_command()}})
        assert kept.is_closed(), "nobody's any more"
    assert post(running, identity=made.other, path="/mcp/second").status == 403
    with RawClient(running, made.other) as client:
        assert client.post(call("echo", {"text": "x"}), path="/mcp/second").status == 200
        children = running.children()
        assert children
        rewrite(running, upstreams=DEMO)
        assert client.post(call("echo", {"text": "x"}), path="/mcp/second").status == 404
    wait_until(lambda: not [child for child in running.children() if child.is_running()], "the end of its programs")


@pytest.mark.parametrize(("overlap", "answer"), [("0s", 401), ("10m", 200)])
def test_a_signing_key_is_replaced_without_a_restart(overlap: str, answer: int, deployment: Any, gateway: Any) -> None:
    from mcpsec.signing import SignedMessage
    from tests.fixtures.signatures import signer_of

    made = deployment(DEMO, require=("mtls", "signature"), secrets={"overlap": overlap})
    running = gateway(made, expected=EXPECTED)
    body = call("time_now")

    def ask(secret: Path) -> int:
        headers = [(b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"mcp-name", b"time_now")]
        message = SignedMessage("POST", running.authority, "/mcp", "", headers, body)
        with RawClient(running) as client:
            return client.post(body, dict(signer_of("tester-1", secret).sign(message))).status

    old = made.directory / "old.secret"
    old.touch(mode=0o600)
    old.write_text(made.secret.read_text())
    assert ask(old) == 200
    made.secret.write_text(secrets.token_urlsafe(32))
    wait_until(lambda: running.stderr().count("read again"), "the reload")
    assert ask(made.secret) == 200
    assert ask(old) == answer  # the old value is good for as long as the file says


def test_what_needs_a_restart_is_said(deployment: Any, gateway: Any) -> None:
    made = deployment(DEMO)
    running = gateway(made, expected=EXPECTED)
    rewrite(running, log={"file": "log/elsewhere.jsonl"})
    wait_until(lambda: "only a restart brings it into use: log" in running.stderr(), "the words")
    assert post(running).status == 200
    assert not (made.directory / "log" / "elsewhere.jsonl").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP, which this system has not")
def test_sighup_reads_everything_again(deployment: Any, gateway: Any) -> None:
    running = gateway(deployment(DEMO), expected=EXPECTED)
    os.kill(running.process.pid, signal.SIGHUP)
    wait_until(lambda: "read again" in running.stderr() and "connections cut" in running.stderr(), "both reloads")
    assert post(running).status == 200
    assert "certificate, CA and CRL unchanged" in running.stderr() and "CRL changed" not in running.stderr()
    certificate = running.deployment.server.certificate
    certificate.write_bytes(certificate.read_bytes() + b"\n")
    os.kill(running.process.pid, signal.SIGHUP)
    wait_until(lambda: "certificate, CA or CRL changed" in running.stderr(), "what has changed")
