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
from tests.gateway.upstreams.test_http import FaultyServer

CHILD = [sys.executable, "-I", "-S", str(Path(__file__).with_name("hostile_child.py"))]
GRANTS = {
    "allow_resources": [
        "demo/echo",
        "child/pid",
        "child/odd_error",
        "child/mute",
        "child/die",
        "child/large",
        "gone/*",
    ],
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
    assert listed(running, era) == {
        "demo_echo", "child_pid", "child_odd_error", "child_mute", "child_die", "child_large",
    }  # fmt: skip
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


@pytest.mark.parametrize("era", ERAS)
def test_integers_of_more_than_64_bits_pass(running: Gateway, era: str) -> None:
    """In a definition and in a result, as the upstream wrote them."""
    with RawClient(running) as client:
        tools = client.post(message("tools/list", {}, era)).json["result"]["tools"]
    schemas = {tool["name"]: tool["inputSchema"] for tool in tools}
    assert schemas["child_large"] == {"type": "object", "properties": {"amount": {"maximum": 2**70}}}
    result = use(running, "child_large", era=era).json["result"]
    assert result["structuredContent"] == {"balance": 10**30, "least": -(2**63) - 1}


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


KEEPER = """
import json, sys
kept, modern = open(sys.argv[1], "a"), sys.argv[2] == "modern"
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if id is None:
        continue
    if method == "tools/call":
        print(json.dumps(message["params"].get("_meta", {})), file=kept, flush=True)
    if method == "server/discover" and not modern:
        answer = {"error": {"code": -32601, "message": "Method not found"}}
    elif method == "server/discover":
        answer = {"result": {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}}
    elif method == "initialize":
        answer = {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "k", "version": "1"}}}
    elif method == "tools/list":
        answer = {"result": {"resultType": "complete", "tools": [{"name": "keep", "inputSchema": {"type": "object"}}]}}
    else:
        answer = {"result": {"resultType": "complete", "content": [], "isError": False}}
    print(json.dumps({"jsonrpc": "2.0", "id": id, **answer}), flush=True)
"""
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_trace_of_a_call_reaches_the_upstream_behind_the_aggregate(
    deployment: Any, gateway: Any, tmp_path: Path
) -> None:
    """Over HTTP and stdio, in both eras; a call without a trace, or with a broken one, names none."""
    far = FaultyServer()
    try:
        script = tmp_path / "keeper.py"
        script.write_text(KEEPER)
        upstreams: dict[str, Any] = {"far": {"url": far.url}}
        for era in ("modern", "legacy"):
            upstreams[era] = {"command": [sys.executable, "-I", "-S", str(script), str(tmp_path / era), era]}
        running = gateway(deployment(upstreams))
        traces = [
            {"traceparent": TRACE, "tracestate": "vendor=1"},
            {},
            {"traceparent": "no trace\r\nx-evil: 1", "tracestate": "a"},
        ]
        with RawClient(running) as client:
            for trace in traces:
                for tool in ("far_echo", "modern_keep", "legacy_keep"):
                    params = {"name": tool, "arguments": {}, "_meta": {**MODERN_META, **trace, "other": "mine"}}
                    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
                    assert client.post(json.dumps(body).encode(), path="/mcp").status == 200
        running.stop()
    finally:
        far.close()
    calls = [index for index, body in enumerate(far.bodies) if body.get("method") == "tools/call"]
    told = {"far": [far.bodies[index]["params"].get("_meta", {}) for index in calls]}
    for era in ("modern", "legacy"):
        told[era] = [json.loads(line) for line in (tmp_path / era).read_text().splitlines()]
    for name, metas in told.items():
        named = [(each.get("traceparent"), each.get("tracestate")) for each in metas]
        assert named == [(TRACE, "vendor=1"), (None, None), (None, None)], name
        assert not any("other" in each for each in metas), "only the trace is handed on"
    heads = [far.heads[index].decode().lower() for index in calls]
    assert f"traceparent: {TRACE}" in heads[0] and "tracestate: vendor=1" in heads[0]
    assert not any("traceparent" in head or "x-evil" in head for head in heads[1:])
    traced = [event for event in running.deployment.events() if event.get("trace_id")]
    assert {event["trace_id"] for event in traced} == {TRACE.split("-")[1]}
    assert {event["resource"] for event in traced} == {"far/echo", "modern/keep", "legacy/keep"}
