"""Too much, too deep, too often, too slow: refused at a stated bound, and everybody else is served meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.fixtures.raw import RawClient
from tests.gateway.attacks.arena import Arena, Shot, called, legacy, modern, open_arena

ECHO = called("echo", {"text": "hello"})
LIMITS = {
    "body_bytes": 400_000,
    "header_bytes": 8192,
    "json_depth": 32,
    "header_timeout": "2s",
    "body_timeout": "2s",
    "sessions_per_client": 2,
}


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with open_arena(tmp_path_factory.mktemp("flood"), sdk=True, limits=LIMITS) as opened:
        yield opened


def nested(levels: int, opening: str = "[", closing: str = "]", core: str = "") -> Shot:
    return called("echo", '{"text":' + opening * levels + core + closing * levels + "}")


@pytest.mark.parametrize(
    ("attack", "twin"),
    [
        (nested(30), nested(29)),
        (nested(1000), nested(29)),
        (nested(20_000), nested(29)),
        (nested(30, '{"a":', "}", "1"), nested(29, '{"a":', "}", "1")),
        (nested(5000, '{"a":', "}", "1"), nested(29, '{"a":', "}", "1")),
        (nested(30, '[{"a":', "}]", "1"), nested(14, '[{"a":', "}]", "1")),
    ],
)
def test_depth(arena: Arena, attack: Shot, twin: Shot) -> None:
    arena.stands(attack, twin, "protocol", 400)


def test_size(arena: Arena) -> None:
    big, fits = called("echo", {"text": "x" * 410_000}), called("echo", {"text": "x" * 390_000})
    arena.stands(big, fits, "body-too-large", 413)
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    endless = called("echo", headers={"Content-Length": None, "Transfer-Encoding": "chunked"}).but(body=b"")
    arena.refused(endless.altered(lambda raw: raw + chunk * 110), "body-too-large", 413)
    arena.refused(ECHO.but(headers={"X-Large": "x" * 9000}), "header-too-large", 431)
    arena.refused(ECHO.but(headers={f"X-{n}": "v" for n in range(2000)}), "header-too-large", 431)
    arena.refused(ECHO.but(path="/mcp/" + "x" * 9000), "header-too-large", 431)
    arena.answered(ECHO.but(headers={"X-Large": "x" * 6000}))


def test_many_small_things(arena: Arena) -> None:
    many = called("echo", '{"text":[' + "[]," * 100_000 + "[]]}")
    arena.stands(many, called("echo", '{"text":[' + "[]," * 90_000 + "[]]}"), "protocol", 400)
    before = len(arena.events())
    with RawClient(arena.gateway) as client:
        body = ECHO.body.replace(b'"id":1', b'"id":"' + b"x" * 300 + b'"')
        assert client.post(body, ECHO.headers, path="/mcp/web").status == 400
        subscriptions = {"notifications": {"resourceSubscriptions": [f"test://{n}" for n in range(1001)]}}
        shot = modern("subscriptions/listen", subscriptions)
        assert client.post(shot.body, path="/mcp/web").status == 400
    arena.answered(ECHO)
    assert [event.get("rule") for event in arena.events()[before:]][:2] == ["protocol", "target-missing"]


@pytest.mark.parametrize("part", ["head", "body"])
def test_slowness(arena: Arena, part: str) -> None:
    """Half a request holds nothing up, and is over within its deadline."""
    with RawClient(arena.gateway) as slow:
        raw = ECHO.bytes(slow.host)
        slow.send(raw[:40] if part == "head" else raw[:-5])
        arena.answered(ECHO)
        assert slow.read().status == 408
        assert slow.is_closed()
    arena.answered(ECHO)


def test_sessions_are_bounded_for_each_client(arena: Arena) -> None:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = legacy("initialize", params, path="/mcp/sdk")
    for _ in range(2):
        arena.answered(opening)
    arena.refused(opening, "session-limit", 429)
    arena.answered(opening.but(by="second"))


def test_pipelining_is_bounded(arena: Arena) -> None:
    with RawClient(arena.gateway) as client:
        client.send(ECHO.bytes(client.host) * 300)
        statuses = []
        while (answer := client.read()).status:
            statuses.append(answer.status)
    assert statuses[-1] == 429 and len(statuses) < 300 and set(statuses) == {200, 429}
    arena.answered(ECHO)


def test_numbers_that_would_cost_are_cheap(arena: Arena) -> None:
    """A number of a hundred thousand digits is refused before anything computes with it."""
    huge = called("echo", '{"text":' + "9" * 100_000 + "}")
    arena.stands(huge, called("echo", '{"text":999999999}'), "protocol", 400)
    assert json.loads(called("echo", '{"text":999999999}').body)["params"]["arguments"] == {"text": 999999999}
