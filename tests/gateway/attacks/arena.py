"""Where attacks happen: one gateway with every protection on, two clients, and servers that keep what reaches them.

An attack is a request that is wrong in one way; its twin is the same request without that. ``Arena.stands`` sends the
attack, demands that it is refused and that its event names the rule, and then demands that the twin is answered: so the
flaw was the reason, and the gateway is fine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.fixtures.deployments import OTHER, fixture_command, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient, Response, request_bytes
from tests.fixtures.upstreams import HttpServer, start_http_server
from tests.gateway.upstreams.test_http import FaultyServer, send

__all__ = ["Arena", "Shot", "called", "legacy", "modern", "open_arena"]

Headers = dict[str, str | None]

TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
    for name in ("echo", "danger", "hidden", "filtered", "Echo")
]


class Recorder(FaultyServer):
    """An HTTP server of the 2026 era that keeps every head and body that reaches it."""

    @staticmethod
    def _answer(connection: Any, message: dict[str, Any]) -> None:
        method, result = message.get("method"), {"resultType": "complete"}
        if method == "server/discover":
            result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        elif method == "tools/list":
            result |= {"tools": TOOLS, "ttlMs": 60_000, "cacheScope": "public"}
        elif method == "resources/read":
            result |= {"contents": [], "ttlMs": 60_000, "cacheScope": "public"}
        else:
            result |= {"content": [{"type": "text", "text": "fine"}], "isError": False}
        body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
        send(connection, body, extra=b"X-Powered-By: internal\r\nSet-Cookie: s=1\r\nServer: secret/1\r\n")


FIRST: dict[str, Any] = {
    "allow_resources": [
        *("web/echo", "web/danger", "web/filtered", "web/resource:test://*", "demo/echo", "sdk/*"),
        *("own/echo", "own/resource:test://template/*", "own/prompt:test_prompt_with_arguments"),
    ],
    "allow_methods": ["read", "write"],
    "allow_server_requests": ["elicitation"],
    "resource_filters": {
        "web/filtered": {
            "path": ["/data/*"],
            "project": ["WEB", "API-*"],
            "amount": {"min": 0, "max": 500},
            "key": {"regex": "[A-Z]+-[0-9]+"},
            "options.owner": ["me"],
        },
        "own/prompt:test_prompt_with_arguments": {"arg1": ["a*"]},
    },
}
SECOND: dict[str, Any] = {
    "id": "second",
    "certificate": {"san": OTHER},
    "allow_resources": ["web/echo", "demo/digest", "sdk/*"],
    "allow_methods": ["read"],
    "allow_server_requests": ["elicitation", "sampling", "roots"],
}
ACCESS = {"echo": "read", "Echo": "read", "danger": "write", "filtered": "read", "digest": "read"}


@dataclass
class Arena:
    """``web`` keeps what reaches it; ``sdk`` is a real server over HTTP, ``own`` the same over stdio."""

    gateway: Gateway
    web: Recorder
    approval: Path

    def events(self) -> list[dict[str, Any]]:
        """The events of requests: each has one with a status."""
        return [event for event in self.gateway.deployment.events() if "status" in event]

    def reached(self) -> int:
        """How many messages of clients have come to ``web``; what the gateway asks of its own is left out."""
        own = {"server/discover", "tools/list", "initialize", "notifications/initialized"}
        return sum(body.get("method") not in own for body in list(self.web.bodies))

    def fire(self, shot: Shot) -> Response:
        """Send one shot on a connection of its own."""
        deployment = self.gateway.deployment
        identity = {"first": deployment.client, "second": deployment.other}[shot.by]
        with RawClient(self.gateway, identity) as client:
            if shot.raw is not None:
                client.send(shot.raw(client.host))
                return client.read()
            return client.post(shot.body, shot.headers, path=shot.path)

    def refused(self, attack: Shot, rule: str, *statuses: int) -> Response:
        """Send an attack: it is refused with one of ``statuses``, and the event that it leaves names ``rule``."""
        before = len(self.events())
        answer = self.fire(attack)
        assert answer.status in statuses, answer
        assert b'"result"' not in answer.body
        # An allowed request of before may be told only now: a stream's event comes when the stream is over.
        left = wait_until(
            lambda: [event for event in self.events()[before:] if event["decision"] != "allowed"],
            f"the event of {attack}",
        )
        assert [(event["decision"], event.get("rule")) for event in left] == [("refused", rule)], left
        return answer

    def all_refused(self, attacks: list[Shot], rule: str, status: int) -> None:
        """Send attacks of one client on one connection; each is refused and leaves its event."""
        before = len(self.events())
        deployment = self.gateway.deployment
        with RawClient(self.gateway, deployment.other if attacks[0].by == "second" else deployment.client) as client:
            for attack in attacks:
                client.send(attack.bytes(client.host))
                answer = client.read()
                assert answer.status == status and b'"result"' not in answer.body, (attack, answer)
        wait_until(lambda: len(self.events()) >= before + len(attacks), "an event of each attack")
        left = [(event["decision"], event.get("rule")) for event in self.events()[before:]]
        assert left == [("refused", rule)] * len(attacks), left

    def answered(self, twin: Shot) -> Response:
        """Send a twin: it is answered."""
        before = len(self.events())
        answer = self.fire(twin)
        assert answer.status in (200, 202), answer
        assert answer.status == 202 or b'"result"' in answer.body, answer
        wait_until(lambda: len(self.events()) > before, "the twin's event")
        return answer

    def stands(self, attack: Shot, twin: Shot, rule: str, *statuses: int) -> Response:
        """The attack is refused, the twin is answered."""
        answer = self.refused(attack, rule, *statuses)
        self.answered(twin)
        return answer


@dataclass(frozen=True)
class Shot:
    """One request: a message and its headers, or ``raw`` bytes for a given host."""

    body: bytes = b""
    headers: Headers = field(default_factory=dict)
    path: str = "/mcp/web"
    by: str = "first"
    raw: Callable[[str], bytes] | None = None

    def but(self, **changes: Any) -> Shot:
        """The same with something else in it; ``headers`` are added."""
        if "headers" in changes:
            changes["headers"] = {**self.headers, **changes["headers"]}
        return replace(self, **changes)

    def bytes(self, host: str) -> bytes:
        """What goes over the wire."""
        return request_bytes(host, self.body, self.headers, path=self.path)

    def altered(self, change: Callable[[bytes], bytes]) -> Shot:
        """The same request with its bytes changed."""
        return replace(self, raw=lambda host: change(self.bytes(host)))


def modern(method: str, params: dict[str, Any] | str, **options: Any) -> Shot:
    """A message of 2026-07-28. ``params`` as text goes out letter for letter, behind the protocol's own ``_meta``."""
    if isinstance(params, str):
        meta = json.dumps(MODERN_META)
        text = f'{{"_meta":{meta}{"," if params.strip("{} ") else ""}{params[1:]}'
    else:
        text = json.dumps({**params, "_meta": MODERN_META})
    return Shot(f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{text}}}'.encode(), **options)


def called(tool: str, arguments: dict[str, Any] | str | None = None, **options: Any) -> Shot:
    """A tool call of 2026-07-28; ``arguments`` as text goes out letter for letter."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    headers = {"Mcp-Method": "tools/call", "Mcp-Name": tool, "MCP-Protocol-Version": "2026-07-28"}
    options["headers"] = {**headers, **options.get("headers", {})}
    return modern("tools/call", f'{{"name":{json.dumps(tool)},"arguments":{text}}}', **options)


def legacy(method: str, params: dict[str, Any] | None = None, **options: Any) -> Shot:
    """A message of 2025-11-25 and before."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode()
    return Shot(body, **options)


@contextmanager
def open_arena(
    directory: Path, *, sdk: bool = False, own: bool = False, limits: dict[str, Any] | None = None
) -> Iterator[Arena]:
    """Start everything, and stop it again."""
    web = Recorder()
    server: HttpServer | None = None
    try:
        upstreams: dict[str, Any] = {
            "web": {"url": web.url, "access": ACCESS, "headers": {"x-upstream": "own"}},
            "demo": {"builtin": "demo", "access": ACCESS},
        }
        if sdk:
            server = start_http_server(directory / "sdk")
            upstreams["sdk"] = {"url": server.url, "access": {"*": "read"}}
        if own:
            upstreams["own"] = {"command": fixture_command(), "access": ACCESS}
        with _gateway(directory, upstreams, limits or {}) as (gateway, approval):
            yield Arena(gateway, web, approval)
    finally:
        if server is not None:
            server.stop()
        web.close()


@contextmanager
def _gateway(directory: Path, upstreams: dict[str, Any], limits: dict[str, Any]) -> Iterator[tuple[Gateway, Path]]:
    made = make_deployment(directory, upstreams, grants=_known(FIRST, upstreams))
    second = {**SECOND, **_known(SECOND, upstreams)}
    made.document["clients"].append(second)
    made.document["server"]["limits"] = limits
    approval = directory / "approval.key"
    approval.touch(mode=0o600)
    approval.write_text("a" * 43)
    made.document["approval"] = {"secret": {"file": approval.name}}
    made.document["rules"] = [
        {"resources": ["web/danger"], "require": {"confirmation_header": "x-confirm-danger"}},
        {"resources": ["web/resource:test://guarded/*"], "require": {"networks": ["192.0.2.0/24"]}},
    ]
    made.write()
    gateway = start_gateway(made)
    try:
        yield gateway, approval
    finally:
        gateway.stop()


def _known(grants: dict[str, Any], upstreams: dict[str, Any]) -> dict[str, Any]:
    """The grants of the upstreams that this arena has."""

    def has(pattern: str) -> bool:
        return pattern.partition("/")[0] in upstreams

    kept = {**grants, "allow_resources": [pattern for pattern in grants["allow_resources"] if has(pattern)]}
    if "resource_filters" in grants:
        kept["resource_filters"] = {name: wanted for name, wanted in grants["resource_filters"].items() if has(name)}
    return kept
