"""Rates of addresses, clients and tools on a running gateway, and what its answers say is left."""

from __future__ import annotations

from typing import Any

import pytest

from mcpsec.gateway.steps.rate import _network
from tests.fixtures.raw import RawClient, Response, call

HTTP_DEMO = {"demo": {"builtin": "demo"}}


def post(running: Any, tool: str = "time_now", **options: Any) -> Response:
    with RawClient(running) as client:
        return client.post(call(tool), **options)


def test_each_tool_has_its_own_bucket_and_the_closest_glob_counts(deployment: Any, gateway: Any) -> None:
    limits = {"*": {"rate": "100/hour", "burst": 100}, "time_now": {"rate": "2/hour", "burst": 2}}
    running = gateway(deployment({"demo": {"builtin": "demo", "rate_limits": limits}}))
    answers = [post(running) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"tool";q=2;w=3600'
    assert answers[1].headers["ratelimit"].startswith('"tool";r=0;t=')
    assert 0 < int(answers[2].headers["retry-after"]) <= 1800
    with RawClient(running) as client:
        other = client.post(call("text_upper", {"text": "x"}))
    assert other.headers.get("ratelimit-policy", "") in {'"tool";q=100;w=3600', ""}


def test_an_address_is_limited_before_anybody_is_known(deployment: Any, gateway: Any) -> None:
    made = deployment(HTTP_DEMO, server={"limits": {"address_rate_limit": {"rate": "3/hour", "burst": 3}}})
    running = gateway(made)
    assert [post(running, headers={"Host": "evil.example"}).status for _ in range(3)] == [421] * 3
    last = post(running)
    assert last.status == 429 and '"address";q=3' in last.headers["ratelimit-policy"]


def test_a_client_is_told_what_is_left_and_malformed_requests_count(deployment: Any, gateway: Any) -> None:
    made = deployment(HTTP_DEMO, server={"limits": {"rate_limit": {"rate": "60/hour", "burst": 3}}})
    running = gateway(made, limit_rate=True)
    with RawClient(running) as client:
        first, broken, third, fourth = (client.post(body) for body in (call("time_now"), b"{", call("time_now"), b"{"))
    assert (first.status, broken.status, third.status, fourth.status) == (200, 400, 200, 429)
    assert first.headers["ratelimit-policy"] == '"client";q=3;w=180'
    assert first.headers["ratelimit"].startswith('"client";r=2;t=')
    assert broken.headers["ratelimit"].startswith('"client";r=1;t=')
    assert fourth.json["error"]["data"]["retryAfter"] == int(fourth.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_the_owner_of_an_ipv6_network_has_one_bucket(address: str, network: str) -> None:
    assert _network(address) == network
