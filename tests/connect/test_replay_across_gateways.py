"""Of many copies of one signed request, sent to three gateways at once, one is served by one of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from mcpsec.signing import SignedMessage
from tests.connect.bridges import call
from tests.fixtures.gateway import Gateway
from tests.fixtures.signatures import signer_of
from tests.fixtures.stores import Store

pytestmark = pytest.mark.anyio

COPIES = 500
HOST = "mcp.example.test"
SAID = (r".*state store.*", r".*request rate.*")


async def send(gateways: list[Gateway], content: bytes, headers: list[tuple[str, str]]) -> list[int]:
    """The copies, spread over the gateways, and the status that each one got."""
    context = gateways[0].deployment.client.client_context()
    limits = httpx.Limits(max_connections=45)
    async with httpx.AsyncClient(verify=context, limits=limits, timeout=120) as client:
        turns = [gateways[turn % len(gateways)].url for turn in range(COPIES)]
        answers = await asyncio.gather(*(client.post(url, content=content, headers=headers) for url in turns))
    return [answer.status_code for answer in answers]


async def test_one_copy_of_500_is_served_by_three_gateways(deployment: Any, gateway: Any, store: Store) -> None:
    made = deployment(
        {"demo": {"builtin": "demo"}},
        require=("mtls", "signature"),
        state={"url": store.url, "timeout": "20s"},
        server={"allowed_hosts": [HOST]},
    )
    siblings = [made.sibling(f"gateway-{number}") for number in range(3)]
    gateways: list[Gateway] = [await asyncio.to_thread(gateway, each, expected=SAID) for each in siblings]
    body = json.dumps(call(1, name="echo", arguments={"text": "once"})).encode()
    mcp = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "echo")]
    message = SignedMessage.from_url("POST", f"https://{HOST}/mcp", headers=mcp, body=body)
    signature = signer_of("tester-1", made.secret).sign(message)
    headers = [
        ("host", HOST),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        *mcp,
        *signature.items(),
    ]
    statuses = await send(gateways, body, headers)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 429}  # 429: one client at one address failed too often
