"""Tasks of another client: their ids are known, or can be guessed, and are of no use to anybody but their client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mcpsec.protocol.headers import encode_value
from tests.fixtures.deployments import OTHER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient, Response
from tests.fixtures.stores import Store
from tests.gateway.attacks.arena import Shot, legacy
from tests.gateway.upstreams.test_http import FaultyServer, send

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("work", "asks", "secret")]
CAPABLE = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}
ELICITATION = {"who": {"method": "elicitation/create", "params": {"message": "?", "requestedSchema": {}}}}


class TaskServer(FaultyServer):
    """Speaks both eras, counts its tasks in one row for everybody, and gives any task to whoever names it."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[str] = []

    def _answer(self, connection: Any, message: dict[str, Any]) -> None:  # type: ignore[override]
        method, params = message.get("method", ""), message.get("params", {})
        if "id" not in message:
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            return
        modern = b"2026-07-28" in self.heads[-1]
        result = {"resultType": "complete"} if modern else {}
        result |= self._result(method, params, modern)
        extra = b"Mcp-Session-Id: s-1\r\n" if method == "initialize" else b""
        send(connection, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode(), extra=extra)

    def _result(self, method: str, params: dict[str, Any], modern: bool) -> dict[str, Any]:
        if method == "server/discover":
            return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}, "extensions": {EXTENSION: {}}}}
        if method == "initialize":
            capabilities = {"tools": {}, "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}}
            info = {"name": "tasks", "version": "1"}
            return {"protocolVersion": params["protocolVersion"], "capabilities": capabilities, "serverInfo": info}
        if method == "tools/list":
            return {"tools": TOOLS, "ttlMs": 0, "cacheScope": "private"}
        if method == "tools/call" and (modern or "task" in params):
            self.tasks.append(params["name"])
            made = self._task(len(self.tasks))
            return {"resultType": "task", **made} if modern else {"task": made}
        if method == "tasks/list":
            return {"tasks": [self._task(number) for number in range(1, len(self.tasks) + 1)]}
        if method == "tasks/result":
            return {"content": [{"type": "text", "text": "done"}], "_meta": {RELATED: {"taskId": params["taskId"]}}}
        number = int(params.get("taskId", "task-0").partition("-")[2])
        if method == "tasks/get" and self.tasks[number - 1] == "asks":
            return {**self._task(number), "status": "input_required", "inputRequests": ELICITATION}
        return self._task(number)

    @staticmethod
    def _task(number: int) -> dict[str, Any]:
        times = {"createdAt": "2026-11-28T00:00:00Z", "lastUpdatedAt": "2026-11-28T00:00:00Z"}
        return {"taskId": f"task-{number}", "status": "working", "ttl": 60_000, "ttlMs": 60_000, **times}


@pytest.fixture(scope="module")
def server() -> Iterator[TaskServer]:
    started = TaskServer()
    yield started
    started.close()


def deployment_of(directory: Any, server: TaskServer, **sections: Any) -> Any:
    grants = {"allow_resources": ["jobs/work", "jobs/asks"], "allow_methods": ["execute"]}
    made = make_deployment(directory, {"jobs": {"url": server.url}}, grants=grants, **sections)
    second = {"allow_resources": ["jobs/*"], "allow_server_requests": ["elicitation"], "allow_methods": ["execute"]}
    made.document["clients"].append({"id": "second", "certificate": {"san": OTHER}, **second})
    made.write()
    return made


class Office:
    """A gateway, and requests of its two clients to it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def post(self, shot: Shot) -> Response:
        made = self.gateway.deployment
        with RawClient(self.gateway, {"first": made.client, "second": made.other}[shot.by]) as client:
            return client.post(shot.body, shot.headers, path="/mcp")

    def refused(self, shot: Shot, rule: str, status: int) -> Response:
        """Send an attack: it is refused, and the event that it leaves names the rule."""
        before = len(self.refusals())
        answer = self.post(shot)
        assert answer.status == status and b'"result"' not in answer.body, answer
        wait_until(lambda: len(self.refusals()) > before, "the event of the attack")
        assert self.refusals()[before:] == [rule]
        return answer

    def refusals(self) -> list[str]:
        """The rules by which requests were refused so far."""
        events = self.gateway.deployment.events()
        return [event["rule"] for event in events if "status" in event and event["decision"] != "allowed"]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, server: TaskServer) -> Iterator[Office]:
    gateway = start_gateway(deployment_of(tmp_path_factory.mktemp("tasks"), server))
    yield Office(gateway)
    gateway.stop()


def about(method: str, id: Any, by: str = "first", **more: Any) -> Shot:
    """A request about a task in 2026-07-28."""
    params = {"taskId": id, "_meta": CAPABLE, **more}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    return Shot(body, {"Mcp-Name": encode_value(str(id))}, by=by)


def call_tool(tool: str = "work", by: str = "first", **more: Any) -> Shot:
    params = {"name": tool, "arguments": {}, "_meta": CAPABLE, **more}
    return Shot(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode(), by=by)


def made_by(answer: Response) -> str:
    result = answer.json["result"]
    return str(result["taskId"] if "taskId" in result else result["task"]["taskId"])


class Session:
    """A session of 2025-11-25."""

    def __init__(self, office: Office, by: str = "first", version: str = "2025-11-25") -> None:
        self.office, self.by, self.version = office, by, version
        capabilities = {"tasks": {"requests": {"elicitation": {"create": {}}}}, "elicitation": {}}
        info = {"name": "t", "version": "1"}
        opening = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": info}
        self.opened = office.post(legacy("initialize", opening, by=by))
        self.id = self.opened.headers["mcp-session-id"]

    def shot(self, method: str, params: dict[str, Any]) -> Shot:
        headers: dict[str, str | None] = {"Mcp-Session-Id": self.id, "MCP-Protocol-Version": self.version}
        return legacy(method, params, headers=headers, by=self.by)

    def post(self, method: str, params: dict[str, Any]) -> Response:
        return self.office.post(self.shot(method, params))

    def make(self, tool: str = "work") -> str:
        return made_by(self.post("tools/call", {"name": tool, "arguments": {}, "task": {"ttl": 60_000}}))


# --- 2026-07-28: the extension --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_a_task_is_its_own_clients(office: Office, server: TaskServer, method: str) -> None:
    mine = made_by(office.post(call_tool()))
    theirs = made_by(office.post(call_tool(by="second")))
    before = len(server.bodies)
    answers = []
    for attack in (
        about(method, mine, by="second"),
        about(method, theirs),
        about(method, "task-99999"),
        about(method, mine.upper()),
        about(method, f"{mine} "),
        about(method, ""),
        about(method, "x" * 1000),
    ):
        answers.append(office.refused(attack, "task-unknown", 400).json["error"]["message"])
    assert len(set(answers)) == 1, "nothing tells a foreign task from one that never was"
    assert len(server.bodies) == before
    for shot in (about(method, mine), about(method, theirs, by="second")):
        assert office.post(shot).status == 200


@pytest.mark.parametrize(
    ("id", "rule"),
    [(None, "task-unknown"), (1, "protocol"), (["task-1"], "protocol"), ({"taskId": "task-1"}, "protocol")],
)
def test_what_is_no_task_id(office: Office, id: Any, rule: str) -> None:
    office.refused(about("tasks/get", id).but(headers={"Mcp-Name": None}), rule, 400)
    mine = made_by(office.post(call_tool()))
    assert office.post(about("tasks/get", mine)).status == 200


def test_the_header_names_the_task_of_the_body(office: Office) -> None:
    mine, other = made_by(office.post(call_tool())), made_by(office.post(call_tool()))
    office.refused(about("tasks/get", mine).but(headers={"Mcp-Name": other}), "protocol", 400)
    assert office.post(about("tasks/get", mine)).json["result"]["taskId"] == mine


def test_hearing_of_a_task_needs_to_own_it(office: Office) -> None:
    mine = made_by(office.post(call_tool()))

    def listen(ids: Any, by: str = "first") -> Shot:
        params = {"notifications": {"taskIds": ids}, "_meta": CAPABLE}
        message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
        return Shot(json.dumps(message).encode(), by=by)

    for attack in (listen([mine], by="second"), listen([mine, "task-99999"]), listen(mine), listen([[mine]])):
        office.refused(attack, "task-unknown", 400)
    assert office.post(listen([mine])).status == 200


def test_what_a_task_asks_of_its_client_must_be_granted(office: Office) -> None:
    """The first client may not be asked for anything; the second may be asked to fill in a form."""
    mine, theirs = made_by(office.post(call_tool("asks"))), made_by(office.post(call_tool("asks", by="second")))
    answer = office.refused(about("tasks/get", mine), "server-request-not-granted", 200)
    assert answer.code == 40301 and b"elicitation" not in answer.body
    assert office.post(about("tasks/get", theirs, by="second")).json["result"]["inputRequests"] == ELICITATION


def test_the_capability_is_offered(office: Office) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": CAPABLE}}
    assert office.post(Shot(json.dumps(body).encode())).json["result"]["capabilities"]["extensions"] == {EXTENSION: {}}


# --- 2025-11-25 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
def test_a_task_of_2025_is_its_own_clients(office: Office, method: str) -> None:
    first, second = Session(office), Session(office, "second")
    mine, theirs = first.make(), second.make()
    for session, id in ((first, theirs), (second, mine), (first, "task-99999"), (first, None), (first, [mine])):
        office.refused(session.shot(method, {"taskId": id}), "task-unknown", 400)
    for session, id in ((first, mine), (second, theirs), (Session(office), mine)):
        assert session.post(method, {"taskId": id}).status == 200


def test_a_list_of_tasks_holds_the_clients_own(office: Office) -> None:
    first, second = Session(office), Session(office, "second")
    mine, theirs = first.make(), second.make()
    lists = {
        session.by: {task["taskId"] for task in session.post("tasks/list", {}).json["result"]["tasks"]}
        for session in (first, second)
    }
    assert mine in lists["first"] and theirs in lists["second"]
    assert not lists["first"] & lists["second"]


def test_a_message_can_not_claim_to_belong_to_a_foreign_task(office: Office) -> None:
    first, second = Session(office), Session(office, "second")
    theirs, mine = second.make(), first.make()

    def call_for(task: str) -> Shot:
        return first.shot("tools/call", {"name": "work", "arguments": {}, "_meta": {RELATED: {"taskId": task}}})

    for foreign in (theirs, "task-99999", ""):
        office.refused(call_for(foreign), "task-unknown", 400)
    odd = first.shot("tools/call", {"name": "work", "arguments": {}, "_meta": {RELATED: "task-1"}})
    office.refused(odd, "task-unknown", 400)
    assert office.post(call_for(mine)).status == 200


def test_a_tool_that_is_not_granted_makes_no_task(office: Office, server: TaskServer) -> None:
    before = len(server.tasks)
    params = {"name": "secret", "arguments": {}, "task": {"ttl": 60_000}}
    office.refused(Session(office).shot("tools/call", params), "resource-not-granted", 403)
    assert len(server.tasks) == before
    assert Session(office, "second").make("secret")


def test_older_revisions_have_no_tasks(office: Office) -> None:
    mine = Session(office).make()
    for version in ("2025-06-18", "2025-03-26", "2024-11-05"):
        office.refused(Session(office, version=version).shot("tasks/get", {"taskId": mine}), "method-unknown", 200)
    office.refused(about("tasks/result", mine), "method-unknown", 404)
    office.refused(about("tasks/list", mine), "method-unknown", 404)


def test_a_server_does_not_hear_of_a_clients_own_tasks(office: Office, server: TaskServer) -> None:
    opened = Session(office).opened.json["result"]["capabilities"]
    assert "tasks" in opened, "the server's tasks are offered"
    heard = next(body["params"] for body in reversed(server.bodies) if body.get("method") == "initialize")
    assert heard["capabilities"] == {"elicitation": {}}


# --- the policy of the moment, and other gateways ----------------------------------------------------------------------------


def test_a_task_is_gone_when_its_tool_is_no_longer_granted(tmp_path: Any, server: TaskServer) -> None:
    made = deployment_of(tmp_path, server)
    gateway = start_gateway(made, expected=(r".*was read again.*",))
    try:
        office = Office(gateway)
        mine = made_by(office.post(call_tool()))
        assert office.post(about("tasks/get", mine)).status == 200
        made.document["clients"][0]["allow_resources"] = ["jobs/asks"]
        made.write()
        wait_until(lambda: office.post(about("tasks/get", mine)).status == 403, "the new policy")
        assert office.post(about("tasks/cancel", mine)).status == 403
    finally:
        gateway.stop()


def test_every_gateway_knows_whose_task_it_is(tmp_path: Any, server: TaskServer, store: Store) -> None:
    made = deployment_of(tmp_path, server, state={"url": store.url, "timeout": "20s"})
    gateways = [start_gateway(made.sibling(f"gateway-{number}"), expected=(r".*state store.*",)) for number in range(2)]
    try:
        here, there = map(Office, gateways)
        mine = made_by(here.post(call_tool()))
        there.refused(about("tasks/get", mine, by="second"), "task-unknown", 400)
        there.refused(about("tasks/get", "task-99999"), "task-unknown", 400)
        assert there.post(about("tasks/get", mine)).json["result"]["taskId"] == mine
        session = Session(there)
        assert mine in {task["taskId"] for task in session.post("tasks/list", {}).json["result"]["tasks"]}
    finally:
        for gateway in gateways:
            gateway.stop()
