"""Several upstreams under one endpoint: prefixes, grants, and what one that is down does to the others (nothing)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.deployments import EVERYTHING, OTHER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.raw import MODERN_META, RawClient, Response, call

CHILD = [sys.executable, "-I", "-S", str(Path(__file__).with_name("hostile_child.py"))]
GRANTS = {
    "allow_resources": ["demo/echo", "child/pid", "child/odd_error", "child/mute", "child/die", "gone/*"],
    "allow_methods": ["execute"],
}
ERAS = ["legacy", "modern"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    made = make_deployment(
        tmp_path_factory.mktemp("aggregate"),
        {
            "demo": {"builtin": "demo"},
            "child": {"command": CHILD, "timeout": "2s"},
            "gone": {"command": [sys.executable, "-c", "import sys; sys.exit(3)"]},
            "nowhere": {"url": "http://127.0.0.1:9/mcp", "timeout": "2s"},
        },
        grants=GRANTS,
    )
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    started = start_gateway(made, expected=(r".*'gone'.*", r".*'nowhere'.*"))
    yield started
    started.stop()


def message(method: str, params: dict[str, Any], era: str) -> bytes:
    if era == "modern":
        params = {**params, "_meta": MODERN_META}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def use(
    running: Gateway, tool: str, arguments: dict[str, Any] | None = None, *, era: str, identity: Any = None
) -> Response:
    body = message("tools/call", {"name": tool, "arguments": arguments or {}}, era)
    with RawClient(running, identity) as client:
        return client.post(body)


def listed(running: Gateway, era: str, identity: Any = None) -> set[str]:
    with RawClient(running, identity) as client:
        response = client.post(message("tools/list", {}, era))
    assert response.status == 200
    return {tool["name"] for tool in response.json["result"]["tools"]}


@pytest.mark.parametrize("era", ERAS)
def test_each_tool_has_its_upstreams_prefix_and_reaches_it(running: Gateway, era: str) -> None:
    assert listed(running, era) == {"demo_echo", "child_pid", "child_odd_error", "child_mute", "child_die"}
    assert use(running, "demo_echo", {"text": "hi"}, era=era).json["result"]["content"][0]["text"] == "hi"
    pid = int(use(running, "child_pid", era=era).json["result"]["content"][0]["text"])
    assert psutil.Process(pid).is_running()


@pytest.mark.parametrize("era", ERAS)
def test_what_is_not_granted_is_neither_listed_nor_callable(running: Gateway, era: str) -> None:
    everything = listed(running, era, running.deployment.other)
    mine = listed(running, era)
    assert {"demo_digest", "child_slow"} <= everything - mine
    for tool in sorted(everything - mine):
        refused = use(running, tool, era=era)
        assert (refused.status, refused.code) == (403, 40301), tool
    assert use(running, "demo_digest", {"text": "x"}, era=era, identity=running.deployment.other).status == 200


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "name", ["echo", "other_echo", "_echo", "demo_", "demo", "", "demo__echo", "Demo_echo", "demo/echo", "demo_echo ",
             "demo_demo_echo", "aggregate_echo", "child_digest", "demo_pid", "../demo_echo", "*_*", "demo_*"]
)  # fmt: skip
def test_other_names_lead_nowhere(running: Gateway, era: str, name: str) -> None:
    """Also for a client that may use everything: a name without an upstream is refused like one that is not granted."""
    for identity in (None, running.deployment.other):
        refused = use(running, name, {"text": "x"}, era=era, identity=identity)
        assert (refused.status, refused.code) == (403, 40301), name


@pytest.mark.parametrize("era", ERAS)
def test_an_upstream_that_is_down_hides_nobody_else(running: Gateway, era: str) -> None:
    assert "demo_echo" in listed(running, era)
    assert use(running, "gone_anything", era=era).status == 503
    assert use(running, "nowhere_anything", era=era, identity=running.deployment.other).status == 503
    assert use(running, "child_die", era=era).status == 503
    assert use(running, "child_mute", era=era).status == 504
    assert use(running, "demo_echo", {"text": "hi"}, era=era).status == 200
    assert use(running, "child_pid", era=era).status == 200


@pytest.mark.parametrize("era", ERAS)
def test_errors_of_an_upstream_stay_errors(running: Gateway, era: str) -> None:
    answer = use(running, "child_odd_error", era=era)
    assert answer.status == 200
    assert isinstance(answer.json["error"]["code"], int)
    wrong = use(running, "demo_echo", {"wrong": 1}, era=era)
    assert wrong.code == -32602


def test_two_clients_never_share_a_child_here_either(running: Gateway) -> None:
    pids = {use(running, "child_pid", era="modern", identity=who).body for who in (None, running.deployment.other)}
    assert len(pids) == 2


def test_the_header_does_not_choose_the_upstream(running: Gateway) -> None:
    with RawClient(running) as client:
        assert client.post(call("demo_digest", {"text": "x"}), {"Mcp-Name": "demo_echo"}).status == 400


def test_the_aggregate_offers_only_what_it_can_do(running: Gateway) -> None:
    for era in ERAS:
        for method, params in (("resources/list", {}), ("prompts/list", {}), ("completion/complete", {})):
            with RawClient(running, running.deployment.other) as client:
                answer = client.post(message(method, params, era))
            assert "result" not in answer.json, method
            assert answer.status in ({200, 400, 403} if era == "legacy" else {400, 403, 404}), method
