"""The dashboard and the alerts of a running gateway see what really happened."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import RawClient, call

ECHO = call("echo", {"text": "hello"})


def started(deployment: Any, gateway: Any) -> Gateway:
    made = deployment({"demo": {"builtin": "demo"}})
    made.document["server"]["admin"] = {"listen": "127.0.0.1:0"}
    made.write()
    running: Gateway = gateway(made)
    return running


def fetch(running: Gateway, path: str) -> Any:
    with urllib.request.urlopen(f"{running.admin_url}{path}", timeout=20) as answer:
        return answer.read(), answer.headers


def test_the_dashboard_shows_the_traffic(deployment: Any, gateway: Any) -> None:
    running = started(deployment, gateway)
    with RawClient(running) as client:
        for body in (ECHO, ECHO, call("nosuch")):
            client.post(body)
    picture = json.loads(fetch(running, "/dashboard/data")[0])
    assert picture["totals"]["requests"] == 3
    assert picture["totals"]["refused"] == 1
    assert picture["log"]["available"]
    page, headers = fetch(running, "/dashboard")
    assert b"<html" in page
    assert "default-src 'none'" in headers["content-security-policy"]
    with urllib.request.urlopen(f"{running.admin_url}/dashboard/events", timeout=20) as stream:
        assert b"retry" in stream.readline()
        assert b"event: snapshot" in stream.readline()
        assert json.loads(stream.readline().removeprefix(b"data: "))["totals"]["allowed"] == 2


def test_repeated_failures_raise_one_alert(deployment: Any, gateway: Any) -> None:
    running = started(deployment, gateway)
    for _ in range(8):
        with RawClient(running, running.deployment.other) as client:
            assert client.post(ECHO).status == 401
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        events = running.deployment.events()
        names = [event["name"] for event in events if event["kind"] == "alert"]
        if "authentication-failures" in names:
            break
        time.sleep(0.1)
    assert names.count("authentication-failures") == 1, names
