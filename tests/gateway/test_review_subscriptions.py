"""One request that asks for very many decisions must not keep everybody else waiting for them."""

from __future__ import annotations

import json
from typing import Any

from tests.fixtures.raw import MODERN_META, RawClient


def test_a_request_for_very_many_subscriptions_is_refused(deployment: Any, gateway: Any) -> None:
    running = gateway(deployment({"demo": {"builtin": "demo"}}))
    for count, status in ((200_000, 400), (10, 404)):  # 404: authorised, but these tools have no resources
        wanted = {"resourceSubscriptions": [f"file:///{number}" for number in range(count)]}
        params = {"notifications": wanted, "_meta": MODERN_META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
        with RawClient(running) as client:
            assert client.post(json.dumps(body, separators=(",", ":")).encode()).status == status
