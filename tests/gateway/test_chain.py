"""The order of the steps: of two flaws in one request, the earlier step answers, and the later one has not seen it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mcpsec.signing import SignedMessage
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call, request_bytes
from tests.fixtures.signatures import signer_of

CHILD = Path(__file__).parent / "upstreams" / "hostile_child.py"
ECHO = call("echo", {"text": "hello"})
MALFORMED = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo"'
UNGRANTED, UNLISTED, UNKNOWN = call("digest", {"text": "x"}), call("ghost"), call("unknown")
EVIL_HOST, EVIL_ORIGIN = {"Host": "evil.example"}, {"Origin": "https://evil.example"}
RATE = 14
FIRST_PATH, NOWHERE = "/mcp/demo", "/nowhere"


def legacy(tool: str) -> bytes:
    params = {"name": tool, "arguments": {}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


SESSION = {"Mcp-Session-Id": "x" * 32, "MCP-Protocol-Version": "2025-11-25"}


class Site:
    """A gateway with every step, and the rules that its answers are expected to carry."""

    def __init__(self, running: Gateway) -> None:
        self.running = running
        self.signer = signer_of("tester-1", running.deployment.secret)
        self.expected: list[str] = []

    def signed(self, body: bytes, headers: dict[str, str], path: str) -> dict[str, str | None]:
        """``headers`` with a signature over the whole request."""
        head, _, _ = request_bytes(self.running.authority, body, dict(headers), path=path).partition(b"\r\n\r\n")
        fields = [
            (name.lower(), value) for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        ]
        host = dict(fields)[b"host"].decode()
        return {**headers, **self.signer.sign(SignedMessage("POST", host, path, "", fields, body))}

    def post(
        self,
        rule: str,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        path: str = FIRST_PATH,
        sign: bool = True,
        identity: Any = None,
    ) -> Response:
        """Send a request, signed unless told otherwise, and note which rule must have answered it."""
        self.expected.append(rule)
        fields: dict[str, str | None] = dict(headers or {})
        with RawClient(self.running, identity) as client:
            return client.post(body, self.signed(body, headers or {}, path) if sign else fields, path=path)


@pytest.fixture
def site(deployment: Any, gateway: Any) -> Site:
    made = deployment(
        {
            "demo": {"builtin": "demo", "access": {"*": "read"}},
            "child": {"command": [sys.executable, "-I", "-S", str(CHILD)], "access": {"*": "read"}},
        },
        require=("mtls", "signature"),
        grants={"allow_resources": ["demo/echo", "demo/ghost", "child/*"], "allow_methods": ["read"]},
    )
    made.document["clients"][0]["rate_limit"] = f"{RATE}/hour"
    made.document["server"]["limits"] = {"in_flight_per_client": 1}
    made.write()
    return Site(gateway(made, limit_rate=True))


def test_the_earlier_of_two_flaws_answers(site: Site) -> None:
    other = site.running.deployment.other
    # hygiene, then the certificate, then the signature; none of these reaches the client's rate
    site.post("host", ECHO, {**EVIL_HOST, **EVIL_ORIGIN})
    site.post("origin", ECHO, {**EVIL_ORIGIN, "Content-Type": "text/plain"})
    site.post("content-type", ECHO, {"Content-Type": "text/plain"}, identity=other)
    site.post("certificate-unknown", ECHO, sign=False, identity=other)
    site.post("signature-missing", ECHO, sign=False, path=NOWHERE)
    site.post("signature-missing", MALFORMED, sign=False)
    # the path, then the message, then the session, then the policy, then the tool: each spends one of the rate
    before = len(site.expected)
    site.post("path", MALFORMED, path=NOWHERE)
    site.post("path", UNGRANTED, path=NOWHERE)
    site.post("protocol", MALFORMED, SESSION)
    site.post("session-unknown", legacy("digest"), SESSION)
    site.post("resource-not-granted", UNKNOWN)
    site.post("resource-not-granted", UNGRANTED)
    site.post("tool-unlisted", UNLISTED)
    # in flight: an unlisted tool is refused as such even when there is no room
    site.expected.append("granted")  # written when the slow call ends
    with RawClient(site.running) as busy:
        slow = call("slow")
        busy.send(request_bytes(busy.host, slow, site.signed(slow, {}, "/mcp/child"), path="/mcp/child"))
        wait_until(lambda: site.running.children(), "the child of the slow call")
        time.sleep(0.3)
        slow_at = len(site.expected) - 1
        site.post("tool-unlisted", UNLISTED)
        assert site.post("in-flight-client", ECHO).status == 429
        assert busy.read().status == 200
    site.expected.append(site.expected.pop(slow_at))
    spent = len(site.expected) - before
    for _ in range(RATE - spent):
        assert site.post("granted", ECHO).status == 200
    # the rate is spent: what comes before it answers as ever, what comes after it no longer does
    site.post("host", ECHO, EVIL_HOST)
    site.post("signature-missing", ECHO, sign=False)
    limited = [
        site.post("client-rate", ECHO, path=NOWHERE),
        site.post("client-rate", MALFORMED),
        site.post("client-rate", legacy("digest"), SESSION),
        site.post("client-rate", UNGRANTED),
    ]
    assert {(answer.status, answer.code) for answer in limited} == {(429, 42901)}
    site.running.stop()
    events = site.running.deployment.events()
    assert [event["rule"] for event in events if "status" in event] == site.expected


def test_many_failed_signatures_are_refused_before_the_signature_is_looked_at(site: Site) -> None:
    with RawClient(site.running) as client:
        statuses = [client.post(ECHO, path=FIRST_PATH).status for _ in range(31)]
    assert statuses == [401] * 30 + [429]
    site.expected = []
    assert site.post("authentication-failures", ECHO, path=NOWHERE).status == 429
    assert site.post("host", ECHO, EVIL_HOST).status == 421
    site.running.stop()
    events = site.running.deployment.events()
    assert [event["rule"] for event in events if "status" in event][-2:] == site.expected
