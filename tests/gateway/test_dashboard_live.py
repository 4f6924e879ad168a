"""The dashboard of a running gateway in a real browser, under load: what it shows is what the log says.

Screenshots are kept in the directory that MCPSEC_ARTEFACTS names, else with pytest's temporary files.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.gateway import Gateway
from tests.fixtures.pki import Authority, Identity
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, call, request_bytes
from tests.telemetry.browser import CHROMIUM, Browser

CALLS = 150
DENIED = '<img src=x onerror="document.title=1">'


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    named = os.environ.get("MCPSEC_ARTEFACTS")
    directory = tmp_path / "screenshots" if named is None else Path(named)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("the page is tested in a real browser; install with: apt-get install chromium")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def load(running: Gateway, problems: list[str]) -> None:
    """Allowed, denied and unauthenticated requests over a few connections at once."""

    def work(number: int) -> None:
        try:
            with RawClient(running) as client:
                for turn in range(CALLS):
                    tool = "convert" if turn % 10 == 0 else "echo"
                    client.post(call(tool, {"text": f"{number}-{turn}"}))
        except OSError as error:
            problems.append(repr(error))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        with RawClient(running, running.deployment.other) as client:
            client.post(call("echo"))
    for worker in workers:
        worker.join()


def test_the_numbers_on_the_page_are_those_of_the_log(
    deployment: Any, gateway: Any, tab: Browser, artefacts: Path
) -> None:
    grants = {"allow_resources": ["demo/echo"], "allow_methods": ["read"]}
    made = deployment({"demo": {"builtin": "demo", "access": {"*": "read"}}}, grants=grants)
    made.document["server"]["admin"] = {"listen": "127.0.0.1:0"}
    made.write()
    running: Gateway = gateway(made)
    tab.size(1440, 900)
    tab.call("Page.navigate", url=f"{running.admin_url}/dashboard")
    tab.wait("state.last && document.getElementById('live').textContent === 'live'", 60)
    problems: list[str] = []
    load(running, problems)
    assert problems == []

    expected = 4 * CALLS + 3
    events = wait_until(
        lambda: (found := [event for event in made.events() if "status" in event]) and len(found) == expected and found,
        "every request in the log",
    )
    tab.wait(f"state.last.totals.requests === {expected}", 60)
    decisions = Counter(event["decision"] for event in events)
    shown = tab.evaluate("state.last.totals")
    assert {name: shown[name] for name in ("allowed", "refused")} == dict(decisions)
    assert shown["authentication_failures"] == sum(event["kind"] == "authentication-failed" for event in events) == 3
    per_client = {row["name"]: row for row in tab.evaluate("state.last.clients")}
    assert per_client["tester"]["allowed"] == decisions["allowed"]
    assert per_client["tester"]["refused"] == sum(event["kind"] == "authorization" for event in events)
    assert tab.evaluate("state.minutes.reduce((all, row) => all + row[0] + row[1] + row[2], 0)") == expected

    # A denial, found by searching, explained by the running policy.
    tab.evaluate(
        "const box = document.getElementById('search'); box.value = 'authorization convert';"
        "box.dispatchEvent(new Event('input'))"
    )
    tab.wait("document.getElementById('denials-title').textContent === 'Recent events'", 60)
    tab.wait("document.querySelector('#events .copy')", 60)
    tab.evaluate("document.querySelector('#events .copy').click()")
    tab.wait("document.getElementById('explain').open", 60)
    assert "denied" in tab.evaluate("document.getElementById('explain-outcome').textContent")
    command = tab.evaluate("document.getElementById('explain-command').textContent")
    assert command == "mcpsec policy explain --client tester --tool demo/convert"
    tab.evaluate("document.getElementById('explain').close()")

    for width, height, mobile, name in ((1440, 900, False, "desktop"), (390, 844, True, "phone")):
        tab.size(width, height, mobile=mobile)
        for theme in ("dark", "light"):
            tab.evaluate(f"theme('{theme}')")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            tab.screenshot(artefacts / f"dashboard-{name}-{theme}.png")
            assert (artefacts / f"dashboard-{name}-{theme}.png").stat().st_size > 10_000
    assert tab.errors == []
    assert all(url.startswith(str(running.admin_url)) for url in tab.requests)

    # The same page, full of the same figures, as people who see or steer it otherwise meet it.
    tab.call("Page.setBypassCSP", enabled=True)
    tab.call("Page.navigate", url=f"{running.admin_url}/dashboard")
    tab.wait(f"state.last && state.last.totals.requests === {expected}", 60)
    tab.wait("document.querySelector('#events .copy')", 60)
    for width, theme in ((1440, "light"), (390, "dark")):
        tab.size(width, 900)
        tab.evaluate(f"theme('{theme}')")
        assert tab.violations() == []


def test_a_thousand_clients_and_ten_thousand_requests(
    deployment: Any, gateway: Any, tab: Browser, artefacts: Path
) -> None:
    """What the page of a busy gateway has to bear in a minute, each client with a certificate of its own."""
    made = deployment({"demo": {"builtin": "demo", "access": {"*": "read"}}})
    authority = Authority(made.directory / "pki" / "agents")
    names = {f"agent-{number}": f"spiffe://mcpsec.test/agent/{number}" for number in range(1000)}
    agents = [authority.client(name, san, trusts=made.client.ca) for name, san in names.items()]
    grants = {"allow_resources": ["demo/echo"], "allow_methods": ["read"]}
    made.document["clients"] = [{"id": name, "certificate": {"san": san}, **grants} for name, san in names.items()]
    made.document["server"]["tls"]["client_ca"] = "pki/agents/ca.pem"
    made.document["server"]["admin"] = {"listen": "127.0.0.1:0"}
    made.write()
    running: Gateway = gateway(made)
    tab.size(1440, 900)
    tab.call("Page.navigate", url=f"{running.admin_url}/dashboard")
    tab.wait("state.last && document.getElementById('live').textContent === 'live'", 60)
    problems: list[str] = []
    bodies = [*[call("echo", {"text": "hello"})] * 9, call("convert")]

    def work(some: list[Identity]) -> None:
        try:
            for agent in some:
                with RawClient(running, agent) as client:
                    client.send(b"".join(request_bytes(client.host, body) for body in bodies))
                    problems.extend("no answer" for _ in bodies if client.read().status not in {200, 403})
        except (OSError, AssertionError) as error:
            problems.append(repr(error))

    workers = [threading.Thread(target=work, args=(agents[number::4],)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert problems == []

    tab.wait("state.last.totals.requests === 10000", 60)
    tab.wait("state.last.active_clients === 1000", 60)
    shown = tab.evaluate("state.last.totals")
    assert (shown["allowed"], shown["refused"], shown["failed"]) == (9000, 1000, 0)
    assert all((row["allowed"], row["refused"]) == (9, 1) for row in tab.evaluate("state.last.clients"))
    decisions = wait_until(
        lambda: (
            (found := Counter(each["decision"] for each in made.events() if "status" in each)).total() == 10_000
            and found
        ),
        "every request in the log",
    )
    assert decisions == {"allowed": 9000, "refused": 1000}
    tab.screenshot(artefacts / "dashboard-thousand-clients.png")
    assert tab.errors == []


def test_an_explanation_is_of_the_running_policy(deployment: Any, gateway: Any) -> None:
    import urllib.parse
    import urllib.request

    grants = {"allow_resources": ["demo/echo"], "allow_methods": ["read"]}
    made = deployment({"demo": {"builtin": "demo", "access": {"*": "read"}}}, grants=grants)
    made.document["server"]["admin"] = {"listen": "127.0.0.1:0"}
    made.write()
    running: Gateway = gateway(made)

    def explain(client: str, resource: str) -> dict[str, Any]:
        asked = urllib.parse.urlencode({"client": client, "resource": resource, "address": "127.0.0.1"})
        with urllib.request.urlopen(f"{running.admin_url}/dashboard/explain?{asked}", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    assert explain("tester", "demo/echo")["allowed"]
    denied = explain("tester", "demo/convert")
    assert (denied["allowed"], bool(denied["steps"])) == (False, True)
    assert not explain("nobody", "demo/echo")["allowed"]
    assert not explain("tester", DENIED)["allowed"]
