"""Several workers behind one socket: shared state, one view for operators, and nobody misses one that dies."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from mcpsec.certs import Pki, Purpose
from mcpsec.gateway.stopping import ONE_PRESS_SECONDS
from tests.fixtures.deployments import TESTER, fixture_command
from tests.fixtures.gateway import Gateway
from tests.fixtures.pki import Authority
from tests.fixtures.processes import PATIENCE, press_until_it_ends, wait_until
from tests.fixtures.raw import RawClient, call, request_bytes
from tests.fixtures.stores import Store
from tests.gateway.test_review_life import WaitingServer
from tests.gateway.test_trust_upkeep import Wallet, deployment_of
from tests.system.test_shared_state import pair, post, rpc, signed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a system with fork and exec")
DEMO = {"demo": {"builtin": "demo"}}
SAID = (r".*state store.*", r".*worker \d+.*")


def requests(running: Gateway) -> float:
    text = httpx2.get(f"{running.admin_url}/metrics", timeout=PATIENCE).text
    lines = [line for line in text.splitlines() if line.startswith("mcpsec_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def dashboard(running: Gateway) -> Any:
    return httpx2.get(f"{running.admin_url}/dashboard/data", timeout=PATIENCE).json()


def seen(config: Path) -> str:
    """What `mcpsec monitor` shows."""
    command = [sys.executable, "-m", "mcpsec", "monitor", "-c", str(config), "--once"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def workers(running: Gateway) -> list[psutil.Process]:
    return [each for each in running.children() if "serve" in each.cmdline()]


def test_two_workers_are_one_gateway(deployment: Any, gateway: Any, store: Store) -> None:
    made = deployment(
        DEMO,
        require=("mtls", "signature"),
        state={"url": store.url, "timeout": "20s"},
        server={"admin": {"listen": "127.0.0.1:0"}},
    )
    running = gateway(made, "--workers", "2", expected=SAID)
    assert len(workers(running)) == 2
    body = call("time_now")
    headers = signed(running, body, running.authority, tool="time_now")
    clients = [RawClient(running) for _ in range(8)]  # the kernel gives them to whichever worker is free
    try:
        statuses = [client.post(body, headers).status for client in clients]
    finally:
        for client in clients:
            client.close()
    assert sorted(statuses) == [200] + [401] * 7, "one request, served once, by whichever worker"
    wait_until(lambda: requests(running) == 8, "the sum of both workers' requests")
    wait_until(lambda: "8 requests seen, 7 failed authentications" in seen(made.config), "both logs in one picture")
    wait_until(lambda: dashboard(running)["totals"]["requests"] == 8, "the same on the page")
    shown = dashboard(running)
    assert (shown["totals"]["allowed"], shown["totals"]["authentication_failures"]) == (1, 7)
    assert {each["rule"] for each in shown["denials"]} == {"nonce-replayed"} and len(shown["denials"]) == 7
    assert {each["name"] for each in shown["certificates"]} == {"gateway", "client CA"}
    assert shown["log"]["available"] is True
    explained = httpx2.get(
        f"{running.admin_url}/dashboard/explain",
        params={"client": "tester", "resource": "demo/time_now", "address": "127.0.0.1"},
        timeout=PATIENCE,
    ).json()
    assert explained["allowed"] is True
    victim = workers(running)[0]
    victim.send_signal(signal.SIGKILL)
    wait_until(lambda: len(workers(running)) == 2 and victim not in workers(running), "another worker")

    def ready() -> bool:
        return httpx2.get(f"{running.admin_url}/readyz", timeout=PATIENCE).status_code == 200

    wait_until(ready, "both workers ready")
    assert post(running, body, signed(running, body, running.authority, tool="time_now")).status == 200
    running.stop()
    logs = sorted(made.directory.glob("log/worker-*/events.jsonl"))
    assert len(logs) == 2
    for log in logs:
        verify = subprocess.run([sys.executable, "-m", "mcpsec", "log", "verify", str(log)], capture_output=True)
        assert verify.returncode == 0, verify.stderr


def test_administrators_see_a_changed_certificate(deployment: Any, gateway: Any, store: Store) -> None:
    """The supervisor follows the files of its own listener, and keeps what works when they can't be used."""
    admin = {"listen": "127.0.0.1:0", "administrators": [{"san": TESTER}]}
    made = deployment(DEMO, state={"url": store.url, "timeout": "20s"}, server={"admin": admin})
    running = gateway(made, "--workers", "2", expected=(*SAID, r".*TLS files.*", r".*certificate, CA or CRL changed.*"))
    parts = urlsplit(str(running.admin_url))
    context = made.client.client_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def shown() -> bytes | None:
        with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as plain:
            with context.wrap_socket(plain) as connection:
                return connection.getpeercert(binary_form=True)

    before = shown()
    made.server.certificate.write_text("no certificate")
    time.sleep(2.5)  # longer than a look at the files takes to come
    assert shown() == before
    fresh = Authority(made.directory / "fresh").server("gateway", trusts=made.client.ca)
    made.server.key.write_bytes(fresh.key.read_bytes())
    made.server.certificate.write_bytes(fresh.certificate.read_bytes())
    wait_until(lambda: shown() != before, "the new certificate on the admin listener")


def test_a_worker_that_is_replaced_takes_no_older_revocation_list(gateway: Any, store: Store, tmp_path: Path) -> None:
    """The others go on serving, and it serves with them as soon as the newest list is back."""
    with Pki.create(tmp_path / "pki") as pki:
        made = deployment_of(tmp_path, pki)
        made.document["state"] = {"url": store.url, "timeout": "20s"}
        made.write()
        bob, crl = Wallet(pki, tmp_path / "wallet").identity, pki.authority(Purpose.CLIENT).crl_file
        pki.issue("eve", Purpose.CLIENT)
        before = crl.read_bytes()
        told = (
            *SAID,
            r".*in use now, \d+ open connections cut",
            r".*TLS files.*",
            r".*the newest one used here.*",
            r"\s*hint.*",
        )
        running = gateway(made, "--workers", "2", expected=told)
        reloads = lambda: running.stderr().count("in use now")  # noqa: E731
        pki.revoke("eve", purpose=Purpose.CLIENT)
        wait_until(lambda: reloads() == 2, "the new list in both")
        newest = crl.read_bytes()
        crl.write_bytes(before)
        wait_until(lambda: running.stderr().count("the old ones stay") == 2, "both to refuse the older one")
        victim = workers(running)[0]
        victim.send_signal(signal.SIGKILL)
        wait_until(lambda: running.stderr().count("ended with 2") >= 2, "its successor to refuse it, twice")
        for _ in range(4):
            with RawClient(running, bob) as client:
                assert client.post(call("time_now")).status == 200
        crl.write_bytes(newest)

        def ready() -> bool:
            return httpx2.get(f"{running.admin_url}/readyz", timeout=PATIENCE).status_code == 200

        wait_until(ready, "both workers ready")
        running.stop()


def test_however_many_workers_there_are_they_go_back_to_no_older_list(
    tmp_path: Path, gateway: Any, store: Store
) -> None:
    with Pki.create(tmp_path / "pki") as pki:
        made = deployment_of(tmp_path, pki)
        made.document["state"] = {"url": store.url, "timeout": "20s"}
        made.write()
        pki.issue("eve", Purpose.CLIENT)
        bob, crl = Wallet(pki, tmp_path / "wallet").identity, pki.authority(Purpose.CLIENT).crl_file
        before = crl.read_bytes()
        gateway(made, expected=SAID).stop()
        pki.revoke("eve", purpose=Purpose.CLIENT)
        newest = crl.read_bytes()
        gateway(made, "--workers", "1", expected=SAID).stop()
        gateway(made, "--workers", "2", expected=SAID).stop()
        crl.write_bytes(before)
        config = ["-c", str(made.config)]
        for words in (["serve", *config], ["serve", *config, "--workers", "3"], ["config", "check", *config]):
            refused = subprocess.run(
                [sys.executable, "-m", "mcpsec", *words], capture_output=True, text=True, timeout=PATIENCE
            )
            assert refused.returncode == 2, refused.stderr
            assert "older than the newest one used here" in refused.stdout + refused.stderr
        crl.write_bytes(newest)
        running = gateway(made, "--workers", "3", expected=SAID)
        with RawClient(running, bob) as client:
            assert client.post(call("time_now")).status == 200
        running.stop()
        assert [each.name for each in made.log.parent.glob("**/*.crl-numbers")] == ["events.jsonl.crl-numbers"]


def test_a_reload_while_a_worker_begins_ends_nobody(deployment: Any, gateway: Any, store: Store) -> None:
    """A SIGHUP that comes before a worker minds it would end it, again and again; it is told when it serves."""
    made = deployment(DEMO, state={"url": store.url, "timeout": "20s"}, server={"admin": {"listen": "127.0.0.1:0"}})
    running = gateway(made, "--workers", "2", expected=(*SAID, r".*in use now.*"))
    victim = workers(running)[0]
    victim.send_signal(signal.SIGKILL)
    reloads = lambda: running.stderr().count("was read again")  # noqa: E731

    def ready() -> bool:
        running.process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
        return httpx2.get(f"{running.admin_url}/readyz", timeout=PATIENCE).status_code == 200

    wait_until(lambda: httpx2.get(f"{running.admin_url}/readyz", timeout=PATIENCE).status_code == 503, "its end")
    wait_until(ready, "both workers ready")
    before = reloads()
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: reloads() > before, "a reload")
    assert "ended with -9" in running.stderr()
    assert "ended with -1;" not in running.stderr()


@pytest.mark.parametrize("administrators", [True, False])
def test_a_workers_own_figures_are_for_its_supervisor_only(
    deployment: Any, gateway: Any, store: Store, administrators: bool
) -> None:
    """Everybody on the machine can connect to a worker's port: where administrators have to show a certificate, and
    where nobody asked for an admin listener, it must not be the way around that."""
    admin = {"listen": "127.0.0.1:0", "administrators": [{"san": TESTER}]}
    server = {"server": {"admin": admin}} if administrators else {}
    made = deployment(DEMO, state={"url": store.url, "timeout": "20s"}, **server)
    running = gateway(made, "--workers", "2", expected=SAID)
    for port in own_ports(running):
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"x.localhost:{port}", "localhost", ""):
            for path in ("/healthz", "/metrics", "/dashboard/data"):
                answer = httpx2.get(f"http://127.0.0.1:{port}{path}", headers={"host": host}, timeout=PATIENCE)
                assert answer.status_code in {400, 403}
                assert "mcpsec_" not in answer.text and "totals" not in answer.text
    if administrators:
        context = made.client.client_context()
        with httpx2.Client(base_url=str(running.admin_url), verify=context, timeout=PATIENCE) as operator:
            wait_until(
                lambda: "mcpsec_requests_total" in operator.get("/metrics").text, "the sums, told to the supervisor"
            )
            assert all(operator.get("/readyz").json().values())


def own_ports(running: Gateway) -> list[int]:
    """Where the workers listen beside the socket that they share."""
    public = running.address[1]
    listening = {
        connection.laddr.port
        for worker in workers(running)
        for connection in worker.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(listening - {public}) == 2
    return sorted(listening - {public})


def test_workers_end_with_their_supervisor_however_it_ends(deployment: Any, gateway: Any, store: Store) -> None:
    made = deployment(DEMO, state={"url": store.url, "timeout": "20s"})
    own = {"TMPDIR": str(made.directory)}  # a killed supervisor takes nothing away
    running = gateway(made, "--workers", "2", expected=SAID, environment=own)
    running.exit_code = -signal.SIGKILL
    found = workers(running)
    running.process.kill()
    running.process.wait()
    wait_until(lambda: not any(each.is_running() and each.status() != "zombie" for each in found), "their end")


@pytest.mark.parametrize("stalled", [False, True])
def test_who_presses_ctrl_c_again_waits_for_no_worker(
    deployment: Any, gateway: Any, store: Store, stalled: bool
) -> None:
    """Also not for one that hears of both only later, in whatever order."""
    state, limits = {"url": store.url, "timeout": "20s"}, {"drain_timeout": "5m"}
    made = deployment(DEMO, state=state, server={"limits": limits})
    with WaitingServer() as waiting:
        made.document["upstreams"] = {"web": {"url": waiting.url, "timeout": "5m"}}
        made.write()
        running = gateway(made, "--workers", "2", expected=SAID)
        found = workers(running)
        client = RawClient(running)
        client.send(request_bytes(client.host, call("echo")))
        wait_until(waiting.asked.is_set, "the call")
        if stalled:
            for each in found:
                each.suspend()
            running.process.send_signal(signal.SIGINT)
            time.sleep(2 * ONE_PRESS_SECONDS)
            running.process.send_signal(signal.SIGINT)
            time.sleep(ONE_PRESS_SECONDS)
            for each in found:
                each.resume()
            assert running.process.wait(PATIENCE) == 0
        else:
            running.process.send_signal(signal.SIGINT)
            wait_until(lambda: sum(each.is_running() for each in found) < 2, "the idle one's end")
            assert press_until_it_ends(running.process) == 0
        assert client.read().status == 0
        client.close()
    wait_until(lambda: not any(each.is_running() and each.status() != "zombie" for each in found), "their end")


def test_a_worker_that_hangs_is_not_ready(deployment: Any, gateway: Any, store: Store) -> None:
    made = deployment(DEMO, state={"url": store.url, "timeout": "20s"}, server={"admin": {"listen": "127.0.0.1:0"}})
    running = gateway(made, "--workers", "2", expected=SAID)

    def ready() -> list[bool]:
        facts = httpx2.get(f"{running.admin_url}/readyz", timeout=PATIENCE).json()
        return [facts["worker-1"], facts["worker-2"]]

    wait_until(lambda: ready() == [True, True], "both workers ready")
    hung = workers(running)[0]
    hung.suspend()
    try:
        wait_until(lambda: sorted(ready()) == [False, True], "one that is not")
        assert httpx2.get(f"{running.admin_url}/readyz", timeout=PATIENCE).status_code == 503
    finally:
        hung.resume()
    wait_until(lambda: ready() == [True, True], "both again")
    assert hung in workers(running)


def test_the_watchdog_of_a_service_sees_workers_too(deployment: Any, gateway: Any, store: Store) -> None:
    """A supervisor that is alive says nothing about a worker that is not."""
    made = deployment(DEMO, state={"url": store.url, "timeout": "20s"})
    told = (*SAID, r".*worker \d has answered nothing for \d+ s")
    running = gateway(made, "--workers", "2", expected=told, environment={"WATCHDOG_USEC": "2000000"})
    hung = workers(running)[0]
    hung.suspend()
    try:
        wait_until(lambda: len(workers(running)) == 2 and hung not in workers(running), "another worker")
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            hung.resume()
    assert "has answered nothing" in running.stderr()
    assert post(running, call("time_now")).status == 200


def test_memory_is_refused_with_the_reason(deployment: Any) -> None:
    made = deployment(DEMO)
    command = [sys.executable, "-m", "mcpsec", "serve", "-c", str(made.config), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "needs a shared state" in done.stderr and "redis://" in done.stderr
    assert not (made.directory / "log" / "events.jsonl").exists()


def test_a_session_with_a_program_goes_on_at_another_gateway(
    deployment: Any, gateway: Any, store: Store, tmp_path: Path
) -> None:
    made = deployment({"fixture": {"command": fixture_command()}}, state={"url": store.url, "timeout": "20s"})
    one, other = pair(made, gateway)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opened = post(one, rpc("initialize", hello))
    session: dict[str, str | None] = {
        "Mcp-Session-Id": opened.headers["mcp-session-id"],
        "MCP-Protocol-Version": "2025-11-25",
    }
    for each in (other, one, other):
        answer = post(each, rpc("tools/call", {"name": "echo", "arguments": {"text": "there"}}), session)
        assert answer.status == 200 and b"there" in answer.body
