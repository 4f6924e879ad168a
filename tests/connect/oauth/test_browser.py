"""The loopback redirect: takes the one answer that belongs to the login, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlencode

import httpx
import pytest

from mcpsec.connect.oauth.browser import AuthorizationResponse, Redirect
from mcpsec.errors import NotAssessedError, RefusedError, UsageError

pytestmark = pytest.mark.anyio

STATE = "s" * 43


async def get(
    redirect: Redirect, path: str = "/callback", host: str | None = None, **parameters: str
) -> httpx.Response:
    url = f"http://127.0.0.1:{redirect.port}{path}?{urlencode(parameters)}"
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.get(url, headers={} if host is None else {"host": host})


async def test_the_answer_with_the_state_is_taken_once() -> None:
    async with Redirect(STATE) as redirect:
        answer = await get(redirect, code="c", state=STATE)
        assert answer.status_code == 200
        assert "<script" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert (await get(redirect, code="other", state=STATE)).status_code == 400
        assert (await redirect.answer(60)).parameters["code"] == "c"


@pytest.mark.parametrize(
    "parameters",
    [
        {"code": "evil", "state": "t" * 43},
        {"code": "evil"},
        {"code": "evil", "state": ""},
        {"error": "access_denied", "state": "t" * 43},
        {"path": "/other", "code": "evil", "state": STATE},
        {"host": "evil.example", "code": "evil", "state": STATE},
        {"path": f"/callback?state={STATE}&code=evil&state={STATE}&z="},
    ],
)
async def test_any_other_request_changes_nothing(parameters: dict[str, str]) -> None:
    """Whoever can make the browser, or this machine, send requests must not end the login, nor slip in a code."""
    async with Redirect(STATE) as redirect:
        assert (await get(redirect, **parameters)).status_code in {400, 404}
        reader, writer = await asyncio.open_connection("127.0.0.1", redirect.port)
        writer.write(b"\x16\x03\x01 not http at all\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        await get(redirect, code="mine", state=STATE)
        assert (await redirect.answer(60)).parameters["code"] == "mine"


@pytest.mark.parametrize(
    "junk", [b"G" * 100_000, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200, b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000]
)
async def test_a_stranger_on_this_machine_leaves_no_trace(junk: bytes) -> None:
    """Standard error is where an MCP client keeps its log of a server: no traceback is made there from outside."""
    troubles: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
    async with Redirect(STATE) as redirect:
        reader, writer = await asyncio.open_connection("127.0.0.1", redirect.port)
        writer.write(junk)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert (await get(redirect, code="mine", state=STATE)).status_code == 200
    assert troubles == []


async def test_nobody_comes() -> None:
    async with Redirect(STATE) as redirect:
        with pytest.raises(NotAssessedError):
            await redirect.answer(0.01)


async def test_a_port_that_is_taken_is_named() -> None:
    async with Redirect(STATE) as first:
        with pytest.raises(UsageError, match=str(first.port)):
            async with Redirect(STATE, first.port):
                pass


ISSUER = "https://login.example.com"


@pytest.mark.parametrize(
    ("parameters", "promised"),
    [
        ({"code": "c"}, True),
        ({"code": "c", "iss": "https://evil.example"}, True),
        ({"code": "c", "iss": "https://evil.example"}, False),
        ({"code": "c", "iss": f"{ISSUER}/"}, True),
        ({"iss": ISSUER}, True),
        ({"error": "access_denied", "error_description": "no\x1b[2J", "iss": ISSUER}, True),
    ],
)
def test_answers_that_give_no_code(parameters: dict[str, str], promised: bool) -> None:
    with pytest.raises(RefusedError) as refused:
        AuthorizationResponse(parameters).code(issuer=ISSUER, issuer_promised=promised)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(("parameters", "promised"), [({"iss": ISSUER}, True), ({"iss": ISSUER}, False), ({}, False)])
def test_answers_that_do(parameters: dict[str, str], promised: bool) -> None:
    assert AuthorizationResponse({"code": "c", **parameters}).code(issuer=ISSUER, issuer_promised=promised) == "c"
