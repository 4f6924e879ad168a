"""Ways around the policy, sent raw to a running gateway: each beside the request that differs in that alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcpsec.cli.root import main
from tests.fixtures.deployments import fixture_command
from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import MODERN_META, RawClient, Response

GRANTS: dict[str, Any] = {
    "allow_resources": [
        "fixture/echo",
        "fixture/test_simple_text",
        "fixture/resource:test://template/*",
        "fixture/prompt:test_prompt_with_arguments",
    ],
    "allow_methods": ["read"],
    "resource_filters": {
        "fixture/echo": {"text": ["/data/*", "hello", "5"]},
        "fixture/prompt:test_prompt_with_arguments": {"arg1": ["a*"]},
    },
}
UPSTREAM: dict[str, Any] = {"command": fixture_command(), "access": {"echo": "read"}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.fixtures.deployments import make_deployment
    from tests.fixtures.gateway import start_gateway

    made = make_deployment(tmp_path_factory.mktemp("policy"), {"fixture": UPSTREAM}, grants=GRANTS)
    gateway = start_gateway(made)
    yield gateway
    gateway.stop()


def post(running: Gateway, method: str, params: str | dict[str, Any], **headers: str | None) -> Response:
    """``params`` as text goes out letter for letter, with the protocol's own ``_meta`` in its place."""
    text = params if isinstance(params, str) else json.dumps({**params, "_meta": MODERN_META})
    body = f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{text}}}'
    with RawClient(running) as client:
        return client.post(body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def echo(text: str) -> str:
    return f'{{"name":"echo","arguments":{text},"_meta":{json.dumps(MODERN_META)}}}'


def refused_by_policy(response: Response) -> None:
    assert (response.status, response.code) == (403, 40301)
    error = response.json["error"]
    assert error["message"] == "access denied"
    assert set(error.get("data", {})) <= {"request"}  # the id under which the log has the reason


@pytest.mark.parametrize(
    ("attack", "twin"),
    [
        ('{"text":"/data/../etc/passwd"}', '{"text":"/data/a"}'),
        ('{"text":"/data/%2e%2e/etc/passwd"}', '{"text":"/data/%41"}'),
        ('{"text":"/data/..\\\\etc"}', '{"text":"/data/..etc"}'),
        ('{"text":"Hello"}', '{"text":"hello"}'),
        ('{"text":"hello\\u0000"}', '{"text":"hell\\u006f"}'),
        ('{"text":"\\uff48ello"}', '{"text":"hello"}'),
        ('{"text":["hello","bye"]}', '{"text":"hello"}'),
        ('{"text":{"text":"hello"}}', '{"text":"hello"}'),
        ('{"Text":"hello","text":"hello"}', '{"texts":"bye","text":"hello"}'),
        ('{"t\\uff45xt":"bye","text":"hello"}', '{"t\\uff45xts":"bye","text":"hello"}'),
        ("{}", '{"text":"hello"}'),
    ],
)
def test_ways_around_an_argument_filter(running: Gateway, attack: str, twin: str) -> None:
    refused_by_policy(post(running, "tools/call", echo(attack)))
    answer = post(running, "tools/call", echo(twin))
    assert (answer.status, answer.code) == (200, None)


@pytest.mark.parametrize(
    "attack",
    [
        '{"text":"hello","text":"bye"}',
        '{"text":"bye","text":"hello"}',
        '{"text":"hello","t\\u0065xt":"bye"}',
    ],
)
def test_two_members_of_one_name_reach_neither_policy_nor_upstream(running: Gateway, attack: str) -> None:
    answer = post(running, "tools/call", echo(attack))
    assert (answer.status, answer.code) == (400, -32600)


def test_the_name_in_a_header_decides_nothing(running: Gateway) -> None:
    call = {"name": "test_error_handling", "arguments": {}}
    refused_by_policy(post(running, "tools/call", call))
    assert post(running, "tools/call", call, **{"Mcp-Name": "echo"}).code == -32020
    legacy = '{"name":"test_error_handling","arguments":{}}'
    for version in ("2025-11-25", None):
        answer = post(running, "tools/call", legacy, **{"Mcp-Name": "echo", "MCP-Protocol-Version": version})
        assert answer.status in (400, 403, 404)
        assert b"result" not in answer.body


def test_an_unclassified_tool_is_execute(running: Gateway) -> None:
    refused_by_policy(post(running, "tools/call", {"name": "test_simple_text", "arguments": {}}))


@pytest.mark.parametrize(
    ("attack", "twin"),
    [
        ("test://template/../static-text", "test://template/7/data"),
        ("test://template/%2e%2e/static-text/data", "test://template/%2fx/data"),
        ("test://template/./7/data", "test://template/.7/data"),
        ("test://static-text", "test://template/8/data"),
        ("TEST://template/7/data", "test://template/7/data"),
    ],
)
def test_ways_to_another_resource(running: Gateway, attack: str, twin: str) -> None:
    name = {"Mcp-Name": attack}
    refused_by_policy(post(running, "resources/read", {"uri": attack}, **name))
    answer = post(running, "resources/read", {"uri": twin}, **{"Mcp-Name": twin})
    assert (answer.status, answer.code) == (200, None)


def test_prompts_and_completions(running: Gateway) -> None:
    def prompt(arguments: dict[str, str]) -> Response:
        return post(running, "prompts/get", {"name": "test_prompt_with_arguments", "arguments": arguments})

    assert prompt({"arg1": "abc", "arg2": "x"}).code is None
    refused_by_policy(prompt({"arg1": "xyz", "arg2": "x"}))
    refused_by_policy(post(running, "prompts/get", {"name": "test_simple_prompt"}))

    def completion(ref: dict[str, str]) -> Response:
        return post(running, "completion/complete", {"ref": ref, "argument": {"name": "id", "value": "par"}})

    template = {"type": "ref/resource", "uri": "test://template/{id}/data"}
    assert completion(template).code is None
    refused_by_policy(completion({"type": "ref/resource", "uri": "test://{id}"}))
    refused_by_policy(completion({"type": "ref/prompt", "name": "test_simple_prompt"}))
    refused_by_policy(completion({"type": "ref/prompt", "name": "test_prompt_with_arguments"}))  # filtered


def test_lists_show_what_is_granted(running: Gateway) -> None:
    def names(method: str, member: str, key: str) -> list[str]:
        result = post(running, method, {}).json["result"]
        assert result["cacheScope"] == "private"
        return [item[key] for item in result[member]]

    assert names("tools/list", "tools", "name") == ["echo"]
    assert names("prompts/list", "prompts", "name") == ["test_prompt_with_arguments"]
    assert names("resources/templates/list", "resourceTemplates", "uriTemplate") == ["test://template/{id}/data"]
    assert names("resources/list", "resources", "uri") == []


def test_the_log_names_the_rule_and_teaches_the_least_privilege(
    deployment: Any, gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    running = gateway(deployment({"fixture": UPSTREAM}, grants={**GRANTS, "allow_methods": ["read", "execute"]}))
    assert post(running, "tools/call", echo('{"text":"hello"}')).code is None
    refused_by_policy(post(running, "tools/call", echo('{"text":"bye"}')))
    refused_by_policy(post(running, "tools/call", {"name": "slow", "arguments": {}}))
    running.stop()
    events = running.deployment.events()
    decided = [(event["rule"], event["resource"]) for event in events if event.get("kind") == "authorization"]
    assert decided == [("argument-not-allowed", "fixture/echo"), ("resource-not-granted", "fixture/slow")]
    assert main(["policy", "suggest", "-c", str(running.deployment.config), "--format", "json"]) == 0
    (client,) = json.loads(capsys.readouterr().out)["clients"]
    assert (client["allow_resources"], client["allow_methods"]) == (["fixture/echo"], ["read"])
    assert (client["calls"], client["refused"]) == ({"fixture/echo": 1}, 2)
