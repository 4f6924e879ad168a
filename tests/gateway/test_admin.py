"""The admin listener: what monitoring asks for, for nobody else, and never beside the tools."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.deployments import fixture_command, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call

ECHO = call("echo", {"text": "hello"})
ADMIN = {"server": {"admin": {"listen": "127.0.0.1:0"}}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("admin")
    upstreams = {"demo": {"builtin": "demo"}, "fixture": {"command": fixture_command()}}
    grants = {"allow_resources": ["demo/echo", "fixture/*"], "allow_methods": ["execute"]}
    started = start_gateway(make_deployment(directory, upstreams, grants=grants, **ADMIN))
    yield started
    started.stop()


def ask(running: Gateway, target: str, *, method: str = "GET", **headers: str) -> Response:
    """One request to the admin listener, over plain HTTP."""
    assert running.admin_url is not None
    parts = urlsplit(running.admin_url)
    fields = {
        "Host": parts.netloc,
        "Connection": "close",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        while more := connection.recv(65536):
            answer += more
    first, _, body = answer.partition(b"\r\n\r\n")
    lines = first.decode().split("\r\n")
    said = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert len(said) == len(lines) - 1, f"a header line stands twice: {lines}"
    return Response(int(lines[0].split()[1]), said, body)


def metrics(running: Gateway) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = ask(running, "/metrics")
    assert response.status == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.body.decode())
        for sample in family.samples
    }


def moved(before: dict[Any, float], after: dict[Any, float]) -> dict[str, float]:
    """``name{label=value,…}`` → by how much, for every counter that moved."""
    return {
        f"{name}{{{','.join(f'{key}={value}' for key, value in labels)}}}": value - before.get((name, labels), 0.0)
        for (name, labels), value in after.items()
        if name.startswith("mcpsec_") and name.endswith("_total") and value != before.get((name, labels), 0.0)
    }


def post(running: Gateway, body: bytes = ECHO, path: str = "/mcp/demo", identity: Any = None) -> Response:
    with RawClient(running, identity) as client:
        return client.post(body, path=path)


def test_health_and_readiness(running: Gateway) -> None:
    health = ask(running, "/healthz")
    assert (health.status, health.body) == (200, b"ok\n")
    ready = ask(running, "/readyz")
    assert (ready.status, ready.json) == (200, {"serving": True, "log": True, "trust": True})
    for target in ("/", "/mcp", "/metrics/", "/../metrics", "/healthz/x"):
        assert ask(running, target).status == 404


def test_counters_move(running: Gateway) -> None:
    first = metrics(running)
    assert post(running).status == 200
    second = metrics(running)
    assert moved(first, second) == {
        "mcpsec_requests_total{decision=allowed,method_class=execute,status=200,upstream=demo}": 1,
        "mcpsec_client_requests_total{client=tester,decision=allowed}": 1,
    }
    assert post(running, call("digest", {"text": "x"})).status == 403
    third = metrics(running)
    assert moved(second, third) == {
        "mcpsec_requests_total{decision=refused,method_class=execute,status=403,upstream=demo}": 1,
        "mcpsec_client_requests_total{client=tester,decision=refused}": 1,
        "mcpsec_authorization_denials_total{reason=resource-not-granted}": 1,
    }
    assert post(running, identity=running.deployment.other).status == 401
    with pytest.raises((OSError, AssertionError)):
        assert post(running, identity=running.deployment.stranger).status == 200
    wait_until(lambda: "handshakes" in str(moved(third, metrics(running))), "the refused handshake to be counted")
    steps = moved(third, metrics(running))
    assert steps.pop("mcpsec_authentication_failures_total{reason=certificate-unknown}") == 1
    assert steps.pop("mcpsec_requests_total{decision=refused,method_class=,status=401,upstream=}") == 1
    assert steps.pop("mcpsec_client_requests_total{client=,decision=refused}") == 1
    assert [name.partition("{")[0] for name in steps] == ["mcpsec_handshakes_refused_total"], steps


def test_gauges_follow_what_is_open(running: Gateway, tmp_path: Path) -> None:
    def gauge(name: str) -> float:
        return metrics(running)[f"mcpsec_{name}", ()]

    assert gauge("log_available") == 1
    started = tmp_path / "started"
    slow = call("slow", {"seconds": 2, "started": str(started)})
    thread = threading.Thread(target=post, args=(running, slow, "/mcp/fixture"))
    thread.start()
    wait_until(started.exists, "the slow call to run")
    assert (gauge("requests_in_flight"), gauge("connections")) == (1, 1)
    thread.join(30)
    wait_until(lambda: (gauge("requests_in_flight"), gauge("connections")) == (0, 0), "both to be given back")


def test_rate_limited_requests_are_counted(deployment: Any, gateway: Any) -> None:
    grants = {"allow_resources": ["demo/echo"], "allow_methods": ["execute"], "rate_limit": "40/hour"}
    running = gateway(deployment({"demo": {"builtin": "demo"}}, grants=grants, **ADMIN), limit_rate=True)
    before = metrics(running)
    with RawClient(running) as client:
        statuses = [client.post(ECHO, path="/mcp/demo").status for _ in range(45)]
    limited = statuses.count(429)
    assert limited > 0
    assert moved(before, metrics(running))["mcpsec_rate_limited_total{reason=client-rate}"] == limited


def test_web_pages_get_nothing(running: Gateway) -> None:
    """A page that points a name of its own at loopback is told by its Host, any other page by its Origin."""
    assert running.admin_url is not None
    netloc = urlsplit(running.admin_url).netloc
    port = netloc.rpartition(":")[2]
    for target in ("/healthz", "/readyz", "/metrics"):
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1",
            "",
            f"{netloc}.evil",
            running.authority,
        ):
            assert ask(running, target, Host=host).status == 403, host
        for origin in ("https://evil.example", "null", running.admin_url, ""):
            assert ask(running, target, Origin=origin).status == 403, origin
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
            refused = ask(running, target, method=method, Content_Length="0")
            assert (refused.status, refused.body) == (405, b"")
        assert ask(running, target, Host=f"localhost:{port}").status == 200
        assert "access-control-allow-origin" not in ask(running, target).headers


@pytest.mark.parametrize("target", ["/dashboard", "/dashboard/dashboard.js", "/dashboard/data", "/metrics", "/none"])
def test_no_answer_is_taken_for_another_kind(running: Gateway, target: str) -> None:
    assert ask(running, target).headers["x-content-type-options"] == "nosniff"


def test_not_on_the_public_listener_and_no_tools_here(running: Gateway) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        with RawClient(running) as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: {client.host}\r\nAccept: text/event-stream\r\n\r\n".encode())
            answer = client.read()
        assert answer.status in {404, 429}
        assert b"mcpsec_" not in answer.body
    assert ask(running, "/mcp").status == 404


def test_metrics_name_nothing_that_a_peer_chose(running: Gateway) -> None:
    for body in (call("canary-tool"), ECHO.replace(b"tools/call", b"canary/method")):
        post(running, body)
    assert b"canary" not in ask(running, "/metrics").body


def test_a_taken_port_is_one_clear_error(deployment: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}}, **ADMIN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "mcpsec", "serve", "-c", str(made.config), "--listen", "127.0.0.1:0"]
        done = subprocess.run(
            [*command, "--admin-listen", address], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert address in done.stderr
    assert "in use" in done.stderr
    assert "--admin-listen" in done.stderr, "the hint names the option that helps"
    assert "Traceback" not in done.stderr
    lines = made.events()
    assert "server-start" not in {line["kind"] for line in lines}
