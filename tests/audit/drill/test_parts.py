"""The faulty parts fail as they say, and keep an honest record of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcpsec.audit.drill.network import Network
from mcpsec.audit.drill.record import Record
from mcpsec.audit.drill.row import Row
from mcpsec.audit.drill.server import INSIDE, FaultyServer
from tests.audit.helpers import judged
from tests.fixtures.processes import PATIENCE, wait_until


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    made = FaultyServer()
    yield made
    made.close()


def ask(server: FaultyServer, fault: str, call: str = "one", timeout: float = PATIENCE) -> httpx.Response:
    arguments = {"fault": fault, "call": call}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "arguments": arguments}}
    return httpx.post(server.url, json=body, timeout=timeout)


def happened(server: FaultyServer, call: str = "one") -> list[str]:
    return [each["event"] for each in server.record.of(call)]


def test_a_good_call(server: FaultyServer) -> None:
    assert ask(server, "").json()["result"]["isError"] is False
    assert happened(server) == ["call taken"]


@pytest.mark.parametrize(("fault", "event"), [("error", "answered 500"), ("garbage", "answered with garbage")])
def test_bad_answers(server: FaultyServer, fault: str, event: str) -> None:
    answer = ask(server, fault)
    assert INSIDE in answer.text
    with pytest.raises(ValueError):
        answer.json()
    assert happened(server) == ["call taken", event]


def test_a_reset_is_one(server: FaultyServer) -> None:
    with pytest.raises(httpx.ReadError, match=r"reset|104"):
        ask(server, "reset")
    assert happened(server)[-1] == "connection reset in the middle of the answer"


@pytest.mark.parametrize("fault", ["timeout", "slow"])
def test_who_gives_up_is_noticed(server: FaultyServer, fault: str) -> None:
    arguments = {"fault": fault, "call": "one"}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"arguments": arguments}}).encode()
    with socket.create_connection(("127.0.0.1", server.network.port)) as connection:
        connection.sendall(b"POST /mcp HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: len(happened(server)) == 2, "the call")
    wait_until(lambda: "the gateway gave up" in happened(server), "that it is noticed")


def test_a_crash_leaves_nobody_there_until_it_is_mended(server: FaultyServer) -> None:
    with pytest.raises(httpx.TransportError):
        ask(server, "crash")
    assert happened(server)[-1] == "died"
    with pytest.raises(httpx.TransportError):
        ask(server, "")
    server.mend()
    assert ask(server, "", "two").status_code == 200


def test_a_cut_network_holds_and_then_delivers(server: FaultyServer) -> None:
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(ask(server, "partition").status_code))
    thread.start()
    wait_until(lambda: server.record.since(0, "bytes held"), "the answer in the network")
    assert not answers
    server.mend()
    thread.join(PATIENCE)
    assert answers == [200]


def test_a_network_is_cut_after_so_many_bytes() -> None:
    """What is under way gets through, nothing else does, and no answer does: in no order of events."""
    record = Record()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        network = Network(listener.getsockname()[:2], record)
        with socket.create_connection(("127.0.0.1", network.port)) as client:
            server, _ = listener.accept()
            with server:
                network.cut(after=4)
                server.sendall(b"answer")
                client.sendall(b"half")
                assert server.recv(64) == b"half"
                client.sendall(b"rest")
                wait_until(lambda: len(record.since(0, "bytes held")) == 2, "that both are held")
                network.mend()
                assert (server.recv(64), client.recv(64)) == (b"rest", b"answer")
        network.close()


def test_who_closes_a_cut_connection_is_noticed() -> None:
    record = Record()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        network = Network(listener.getsockname()[:2], record)
        client = socket.create_connection(("127.0.0.1", network.port))
        server, _ = listener.accept()
        client.sendall(b"half")
        assert server.recv(4) == b"half"
        network.cut()
        server.close()
        wait_until(lambda: record.since(0, "closed while cut"), "that it is noticed")
        assert record.since(0, "closed while cut")[0]["side"] == "server"
        client.close()
        network.close()


def test_without_proof_nothing_passes() -> None:
    row = Row("timeout", "files")
    row.expect("an answer", True, "one")
    assert row.state == "not-assessed"
    row.proof = [{"event": "answer withheld"}]
    assert row.state == "pass"
    row.expect("another", False, "none")
    assert row.state == "fail"


def report(**changes: Any) -> dict[str, Any]:
    rows = [
        {"name": f"{fault} files", "fault": fault, "state": "pass"}
        for fault in ("partition", "timeout", "error", "certificate-expired", "restart")
    ]
    return {"schema": "mcpsec.drill/1", "created": datetime.now(UTC).isoformat(), "drills": rows, **changes}


def verdict(directory: Path, document: dict[str, Any], check: str = "RES001") -> list[tuple[str, str]]:
    (directory / "drill.json").write_text(json.dumps(document))
    return [(each.state, each.observed) for each in judged(directory).results if each.check == check]


def test_the_audit_reads_reports(tmp_path: Path) -> None:
    good = report()
    assert [state for state, _ in verdict(tmp_path, good)] == ["pass"]
    old = report(created=(datetime.now(UTC) - timedelta(days=93)).isoformat())
    assert "93 days" in verdict(tmp_path, old)[0][1]
    failing = report(drills=[*good["drills"], {"name": "slow files", "fault": "slow", "state": "fail"}])
    assert "slow files" in verdict(tmp_path, failing)[0][1]
    unknown = report(
        drills=[{**row, "state": "not-assessed"} if row["fault"] == "restart" else row for row in good["drills"]]
    )
    assert "not covered: restart" in verdict(tmp_path, unknown)[0][1]
    beside = report(drills=[*good["drills"], {"name": "reset files", "fault": "reset", "state": "not-applicable"}])
    assert [state for state, _ in verdict(tmp_path, beside)] == ["pass"]
    assert {state for state, _ in verdict(tmp_path, beside, "RES002")} == {"pass"}
    unsure = [state for state, _ in verdict(tmp_path, unknown, "RES002")]
    assert unsure.count("not-assessed") == 1 and "fail" not in unsure
