"""A model that was talked into something asks for more than its client may: strict input, policy, filters, context."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mcpsec.gateway.policy import Call
from mcpsec.gateway.policy.confirmation import ConfirmationKey
from mcpsec.protocol.headers import encode_value
from tests.gateway.attacks.arena import Arena, Shot, called, modern, open_arena


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with open_arena(tmp_path_factory.mktemp("injection"), own=True) as opened:
        yield opened


# --- tools that were not granted ------------------------------------------------------------------------------------------

ECHO = called("echo", {"text": "hello"})


@pytest.mark.parametrize(
    ("attack", "rule", "status"),
    [
        (called("hidden"), "resource-not-granted", 403),
        (called("Echo"), "resource-not-granted", 403),
        (called("echo ", headers={"Mcp-Name": "=?base64?ZWNobyA=?="}), "resource-not-granted", 403),
        (called("echo\u200b", headers={"Mcp-Name": "=?base64?ZWNob+KAiw==?="}), "resource-not-granted", 403),
        (called("\uff45cho", headers={"Mcp-Name": "=?base64?772FY2hv?="}), "resource-not-granted", 403),
        (called("../web/echo"), "name-not-acceptable", 403),
        (called("resource:test://x"), "name-not-acceptable", 403),
        (called("prompt:x"), "name-not-acceptable", 403),
        (called("", headers={"Mcp-Name": ""}), "name-not-acceptable", 403),
        (called("unlisted"), "resource-not-granted", 403),
        (modern("tools/call", {"arguments": {}}), "target-missing", 400),
        (modern("tools/call", {"name": ["echo"], "arguments": {}}, headers={"Mcp-Name": "echo"}), "protocol", 400),
        (called("echo", "[]"), "target-missing", 400),
        (called("echo", '"text"'), "target-missing", 400),
    ],
)
def test_a_tool_that_is_not_granted(arena: Arena, attack: Shot, rule: str, status: int) -> None:
    before = len(arena.web.bodies)
    arena.stands(attack, ECHO, rule, status)
    assert [body["params"]["name"] for body in arena.web.bodies[before:] if body.get("method") == "tools/call"] == [
        "echo"
    ], "nothing of the attack reached the server"


def test_the_upstreams_own_annotations_grant_nothing(arena: Arena) -> None:
    """Every tool of the recorder calls itself read-only; ``danger`` is write to the operator, so a reader may not."""
    arena.refused(called("danger", by="second"), "resource-not-granted", 403)
    arena.answered(called("echo", by="second"))


# --- argument filters -----------------------------------------------------------------------------------------------------

FINE: dict[str, Any] = {
    "path": "/data/a",
    "project": "WEB",
    "amount": 5,
    "key": "AB-1",
    "options": {"owner": "me"},
}


def with_(**changes: Any) -> str:
    return json.dumps({**FINE, **changes})


def text(member: str, written: str) -> str:
    """The arguments with one member's value as these very letters."""
    return ",".join(
        [
            "{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in FINE.items() if k != member),
            f'"{member}":{written}' + "}",
        ]
    )


BYPASSES = [
    *(
        ("path", value)
        for value in (
            *(
                '"/data/../etc/passwd"',
                '"/data/%2e%2e/etc"',
                '"/data/%252e%252e/etc"',
                '"/data/..\\\\etc"',
                '"/data/./../x"',
            ),
            *('"/DATA/a"', '"/data"', '" /data/a"', '"/data/..;/etc"', '"/data/a/.. /b"', '"\\u2044data/a"'),
            *(
                '["/data/a","/etc/passwd"]',
                "[]",
                '[["/data/a"]]',
                '{"0":"/data/a"}',
                "null",
                "true",
                '"/data/..\\u0000"',
            ),
        )
    ),
    *(
        ("project", value)
        for value in (
            *('"web"', '"\\uff37EB"', '"WEB\\u0000"', '"WEB "', '"WEB\\n"', '"API"', '["WEB","HR"]', "[]", '{"WEB":1}'),
            *('"WEB,HR"', '"W\\u0415B"', '"WE\\u0301B"', "null", "0"),
        )
    ),
    *(
        ("amount", value)
        for value in (
            *(
                "501",
                "-1",
                "500.0000001",
                "-0.1",
                '"5"',
                "true",
                "null",
                "[]",
                "[5,501]",
                '{"value":5}',
                "5.01e2",
                "1e308",
            ),
            *('"5e0"', "[true]"),
        )
    ),
    *(
        ("key", value)
        for value in ('"AB-1\\n"', '"ab-1"', '"AB-1;DROP"', '"xAB-1"', '"AB-"', '"AB-\\u0661"', "5", '["AB-1","x"]')
    ),
    *(
        ("options", value)
        for value in (
            *('{"owner":"you"}', "{}", '{"owner":["me","you"]}', '{"Owner":"me"}', '{"owner":"me","OWNER":"you"}'),
            *(
                '{"owner":"me","\\uff4fwner":"you"}',
                '[{"owner":"me"},{"owner":"you"}]',
                '"me"',
                '{"owner":{"owner":"me"}}',
            ),
            *("null", '[[{"owner":"me"}]]', '{"owner":null}'),
        )
    ),
]


@pytest.mark.parametrize("member", FINE)
def test_ways_around_an_argument_filter(arena: Arena, member: str) -> None:
    attacks = [called("filtered", text(name, written)) for name, written in BYPASSES if name == member]
    arena.all_refused(attacks, "argument-not-allowed", 403)
    arena.answered(called("filtered", with_()))


@pytest.mark.parametrize(
    "arguments",
    [
        with_(),
        with_(path=["/data/a", "/data/b"]),
        with_(path="/data/..a/%20b"),
        with_(project="API-x"),
        with_(amount=500),
        with_(amount=0.5),
        with_(amount=[1, 2]),
        with_(key=["A-1", "BC-22"]),
        with_(options=[{"owner": "me"}, {"owner": "me", "more": "x"}]),
        with_(other="anything"),
        text("amount", "5e0"),
        text("project", '"\\u0057EB"'),
    ],
)
def test_the_twins_of_these(arena: Arena, arguments: str) -> None:
    arena.answered(called("filtered", arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        *(json.dumps({name: value for name, value in FINE.items() if name != missing}) for missing in FINE),
        "{}",
        with_(PATH="/etc"),
        with_(**{"Path": "/etc"}),
        with_(**{"p\u0430th": "/data/a", "\uff50ath": "/etc"}),
        with_(Options={"owner": "you"}),
    ],
)
def test_arguments_that_are_missing_or_doubled_in_other_letters(arena: Arena, arguments: str) -> None:
    arena.stands(called("filtered", arguments), called("filtered", with_()), "argument-not-allowed", 403)


# --- around the tools: resources, prompts, completions ----------------------------------------------------------------------


def own(method: str, params: dict[str, Any]) -> Shot:
    name = params.get("uri") or params.get("name")
    return modern(method, params, path="/mcp/own", headers={"Mcp-Name": name} if name else {})


def complete(ref: dict[str, str]) -> Shot:
    return own("completion/complete", {"ref": ref, "argument": {"name": "id", "value": "par"}})


@pytest.mark.parametrize(
    ("attack", "twin", "rule"),
    [
        (
            own("resources/read", {"uri": "test://static-text"}),
            own("resources/read", {"uri": "test://template/7/data"}),
            "resource-not-granted",
        ),
        (
            own("resources/read", {"uri": "test://template/../static-text"}),
            own("resources/read", {"uri": "test://template/.x/data"}),
            "name-not-acceptable",
        ),
        (
            own("resources/read", {"uri": "test://template/%2E./static-text"}),
            own("resources/read", {"uri": "test://template/%41/data"}),
            "name-not-acceptable",
        ),
        (
            own("prompts/get", {"name": "test_simple_prompt"}),
            own("prompts/get", {"name": "test_prompt_with_arguments", "arguments": {"arg1": "a", "arg2": "b"}}),
            "resource-not-granted",
        ),
        (
            own("prompts/get", {"name": "test_prompt_with_arguments", "arguments": {"arg1": "x", "arg2": "b"}}),
            own("prompts/get", {"name": "test_prompt_with_arguments", "arguments": {"arg1": "ax", "arg2": "b"}}),
            "argument-not-allowed",
        ),
        (
            complete({"type": "ref/resource", "uri": "test://{id}"}),
            complete({"type": "ref/resource", "uri": "test://template/{id}/data"}),
            "resource-not-granted",
        ),
        (
            complete({"type": "ref/prompt", "name": "test_prompt_with_arguments"}),
            complete({"type": "ref/resource", "uri": "test://template/{id}/data"}),
            "completion-filtered",
        ),
    ],
)
def test_what_a_tool_may_not_show_nothing_else_shows(arena: Arena, attack: Shot, twin: Shot, rule: str) -> None:
    arena.stands(attack, twin, rule, 403)


@pytest.mark.parametrize(
    "ref",
    [{"type": "ref/tool", "name": "echo"}, {"type": "ref/prompt"}, {"type": "ref/resource", "uri": 5}, {}, [], None],
)
def test_completing_for_nothing(arena: Arena, ref: Any) -> None:
    arena.refused(
        own("completion/complete", {"ref": ref, "argument": {"name": "a", "value": ""}}), "target-missing", 400
    )


@pytest.mark.parametrize(
    "uri",
    [
        "test://guarded/x",
        *("test://Guarded/x", "test://guarded%2Fx", "test://%67uarded/x", "test://%2567uarded/x"),
        *("test:///guarded/x", "test://guarded/x?y", "test://guarded/x#y", "test://guarded//x/"),
        "test://\uff47uarded/x",
    ],
)
def test_another_way_to_write_a_uri_gets_around_no_rule(arena: Arena, uri: str) -> None:
    """The client may read all of test://; of what is guarded only from a network that it is not in."""
    before = arena.reached()
    arena.stands(read(uri), read("test://open/x"), "context-network", 403)
    assert arena.reached() == before + 1
    arena.refused(read(f"{uri}/../x"), "name-not-acceptable", 403)


def read(uri: str) -> Shot:
    return modern("resources/read", {"uri": uri}, headers={"Mcp-Name": encode_value(uri)})


def test_subscribing_is_reading(arena: Arena) -> None:
    def listen(*uris: str) -> Shot:
        return own("subscriptions/listen", {"notifications": {"resourceSubscriptions": list(uris)}})

    arena.refused(listen("test://static-text"), "resource-not-granted", 403)
    arena.refused(listen("test://template/7/data", "test://static-text"), "resource-not-granted", 403)
    arena.refused(
        own("subscriptions/listen", {"notifications": {"resourceSubscriptions": "test://x"}}), "target-missing", 400
    )


@pytest.mark.parametrize("path", ["/mcp/own", "/mcp"])
def test_lists_show_what_may_be_used_and_nobody_else_may_keep_them(arena: Arena, path: str) -> None:
    def listed(method: str, member: str, key: str) -> list[str]:
        result = arena.answered(modern(method, {}, path=path)).json["result"]
        assert result["cacheScope"] == "private"
        return sorted(item[key] for item in result[member])

    if path == "/mcp":
        assert listed("tools/list", "tools", "name") == sorted(
            ["demo_echo", "own_echo", "web_danger", "web_echo", "web_filtered"]
        )
        return
    assert listed("tools/list", "tools", "name") == ["echo"]
    assert listed("prompts/list", "prompts", "name") == ["test_prompt_with_arguments"]
    assert listed("resources/list", "resources", "uri") == []
    assert listed("resources/templates/list", "resourceTemplates", "uriTemplate") == ["test://template/{id}/data"]


def test_an_http_servers_lists_and_documents_are_private_too(arena: Arena) -> None:
    listing = arena.answered(modern("tools/list", {})).json["result"]
    assert [tool["name"] for tool in listing["tools"]] == ["echo", "danger", "filtered"]
    assert listing["cacheScope"] == "private"
    read = arena.answered(modern("resources/read", {"uri": "test://a"}, headers={"Mcp-Name": "test://a"}))
    assert read.json["result"]["cacheScope"] == "private"


def test_the_aggregate_decides_on_the_servers_own_names(arena: Arena) -> None:
    for name, rule in (
        ("web_hidden", "resource-not-granted"),
        ("web_web_echo", "resource-not-granted"),
        ("echo", "unknown-upstream"),
        ("WEB_echo", "unknown-upstream"),
        ("demo_digest", "resource-not-granted"),
        ("web/echo", "unknown-upstream"),
    ):
        arena.refused(called(name, path="/mcp"), rule, 403)
    arena.answered(called("web_echo", path="/mcp"))


# --- calls that an operator must confirm --------------------------------------------------------------------------------------


def confirmation(arena: Arena, arguments: dict[str, Any], *, client: str = "tester", seconds: float = 600) -> str:
    key = ConfirmationKey(arena.approval.read_bytes().strip(), 3600)
    call = Call("web", "tool", "danger", arguments)
    digest = key.digest(client, "tools/call", call, {"name": "danger", "arguments": arguments})
    return key.make(digest, seconds)


def danger(arguments: dict[str, Any], value: str | None = None, **options: Any) -> Shot:
    return called("danger", arguments, headers={"X-Confirm-Danger": value}, **options)


def test_a_confirmation_is_good_for_one_call_of_one_client_once(arena: Arena) -> None:
    answer = arena.refused(danger({"id": 7}), "context-confirmation", 403)
    assert answer.code == 40302
    asked = answer.json["error"]["data"]
    key = ConfirmationKey(arena.approval.read_bytes().strip(), 3600)
    value = key.make(asked["approve"], 600)
    assert asked["header"] == "x-confirm-danger"
    for attack in (
        danger({"id": 8}, value),
        danger({"id": "7"}, value),
        danger({"id": 7, "force": True}, value),
        danger({"id": 7}, value[:-1] + ("A" if value[-1] != "A" else "E")),
        danger({"id": 7}, value.replace("mcpsec1.", "mcpsec1.0")),
        danger({"id": 7}, asked["approve"]),
        danger({"id": 7}, confirmation(arena, {"id": 7}, client="second")),
        danger({"id": 7}, confirmation(arena, {"id": 7}, seconds=0)),
        danger({"id": 7}, ConfirmationKey(b"b" * 43, 3600).make(asked["approve"], 600)),
        danger({"id": 7}, "yes"),
        called("danger", {"id": 7}, headers={"X-Confirm-Other": value}),
        danger({"id": 7}, value).altered(lambda raw: raw.replace(b"X-Confirm", b"x-confirm-danger: x\r\nX-Confirm", 1)),
    ):
        assert arena.refused(attack, "context-confirmation", 403).code == 40302
    before = len(arena.web.heads)
    arena.answered(danger({"id": 7}, value))
    assert all(b"mcpsec1." not in head for head in arena.web.heads[before:]), "the confirmation stays here"
    arena.refused(danger({"id": 7}, value), "confirmation-used", 403)
    arena.refused(danger({"id": 7}), "context-confirmation", 403)
    arena.answered(danger({"id": 7}, confirmation(arena, {"id": 7})))


def test_the_aggregate_asks_for_the_same_confirmation(arena: Arena) -> None:
    through = called("web_danger", {"id": 9}, path="/mcp")
    asked = arena.refused(through, "context-confirmation", 403).json["error"]["data"]["approve"]
    assert asked == arena.refused(danger({"id": 9}), "context-confirmation", 403).json["error"]["data"]["approve"]
    value = confirmation(arena, {"id": 9})
    arena.answered(through.but(headers={"X-Confirm-Danger": value}))
    arena.refused(danger({"id": 9}, value), "confirmation-used", 403)


def test_a_client_without_the_grant_is_not_told_what_to_confirm(arena: Arena) -> None:
    answer = arena.refused(danger({"id": 7}, by="second"), "resource-not-granted", 403)
    assert answer.code == 40301 and "approve" not in answer.json["error"]["data"]


def test_the_operators_command_confirms_what_the_log_shows(arena: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    from mcpsec.cli.root import main

    asked = arena.refused(danger({"id": 11}), "context-confirmation", 403).json["error"]["data"]["approve"]
    config = str(arena.gateway.deployment.config)
    assert main(["approve", "-c", config, asked]) == 0
    out, error = capsys.readouterr()
    header, _, value = out.strip().partition(": ")
    assert header == "x-confirm-danger" and "tester" in error and "web/danger" in error
    arena.refused(danger({"id": 12}, value), "context-confirmation", 403)
    arena.answered(danger({"id": 11}, value))
    used = value.split(".")[3]
    assert arena.events()[-1].get("detail") == f"confirmed by {used}"


def test_a_confirmation_made_before_the_gateway_is_refused(arena: Arena) -> None:
    """It may have been used at the gateway that ran before this one, whose memory is gone."""
    key = ConfirmationKey(arena.approval.read_bytes().strip(), 3600)
    call = Call("web", "tool", "danger", {"id": 7})
    digest = key.digest("tester", "tools/call", call, {"name": "danger", "arguments": {"id": 7}})
    old = key.make(digest, 3600, time.time() - 1800)
    arena.refused(danger({"id": 7}, old), "context-confirmation", 403)
    arena.answered(danger({"id": 7}, confirmation(arena, {"id": 7})))
