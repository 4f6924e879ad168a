"""The tasks of a well-known server, which the TypeScript SDK's own requests make, through the gateway."""

from __future__ import annotations

from typing import Any

from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.node import NodeParts
from tests.fixtures.raw import RawClient
from tests.gateway.attacks.test_tasks import Office, Session

TOOL = "simulate-research-query"


def test_server_everything(deployment: Any, gateway: Any, node_parts: NodeParts) -> None:
    command = node_parts.command("@modelcontextprotocol/server-everything", "stdio")
    made = deployment({"all": {"command": command}})
    made.document["clients"].append({"id": "second", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    office = Office(gateway(made))
    mine, theirs = Session(office), Session(office, "second")
    for session in (mine, theirs):
        with RawClient(office.gateway, made.client if session is mine else made.other) as client:
            shot = session.shot("tools/list", {})
            body = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
            assert client.post(body, shot.headers).status == 202
    params = {"name": TOOL, "arguments": {"topic": "gateways"}, "task": {"ttl": 300_000}}
    answer = mine.post("tools/call", params)
    id = answer.json["result"]["task"]["taskId"]
    assert mine.post("tasks/get", {"taskId": id}).json["result"]["taskId"] == id
    assert [each["taskId"] for each in mine.post("tasks/list", {}).json["result"]["tasks"]] == [id]
    assert theirs.post("tasks/list", {}).json["result"]["tasks"] == []
    office.refused(theirs.shot("tasks/result", {"taskId": id}), "task-unknown", 400)
    office.refused(theirs.shot("tasks/cancel", {"taskId": id}), "task-unknown", 400)
    assert b"Research Report" in mine.post("tasks/result", {"taskId": id}).body
    assert mine.post("tasks/get", {"taskId": id}).json["result"]["status"] == "completed"
