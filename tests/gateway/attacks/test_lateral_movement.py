"""From one client to what another has: sessions, states, events, credentials, programs. Nothing crosses."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mcpsec.protocol.headers import encode_value
from tests.fixtures.deployments import OTHER, fixture_command
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient, Response
from tests.gateway.attacks.arena import TOOLS, Arena, Shot, called, legacy, modern, open_arena
from tests.gateway.upstreams.test_http import FaultyServer


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with open_arena(tmp_path_factory.mktemp("lateral"), sdk=True) as opened:
        yield opened


# --- sessions of the 2025 era ---------------------------------------------------------------------------------------------

HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


def open_session(arena: Arena, by: str = "first") -> str:
    opened = arena.answered(legacy("initialize", HANDSHAKE, path="/mcp/sdk", by=by))
    return opened.headers["mcp-session-id"]


def within(session: str, version: str | None = "2025-11-25") -> dict[str, str | None]:
    return {"Mcp-Session-Id": session, "MCP-Protocol-Version": version}


def listing(session: str, **options: Any) -> Shot:
    return legacy("tools/list", headers=within(session), path="/mcp/sdk", **options)


def bare(method: str, session: str, by: str, **headers: str) -> Shot:
    """A GET (a stream) or a DELETE (the end) of a session."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return Shot(
        by=by,
        raw=lambda host: (
            f"{method} /mcp/sdk HTTP/1.1\r\nHost: {host}\r\nAccept: application/json, text/event-stream\r\n"
            f"Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-11-25\r\n{lines}\r\n"
        ).encode(),
    )


def test_another_clients_session_does_not_exist(arena: Arena) -> None:
    session = open_session(arena)
    mine = listing(session)
    foreign = arena.stands(mine.but(by="second"), mine, "session-unknown", 404)
    invented = arena.refused(listing("x" * 32), "session-unknown", 404)
    assert foreign.body == invented.body, "nothing tells a foreign session from one that never was"
    for attack in (
        bare("GET", session, "second"),
        bare("DELETE", session, "second"),
        mine.but(path="/mcp/web"),
        listing(session[:-1]),
        listing(session.swapcase()),
        Shot(
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
            within(session),
            "/mcp/sdk",
            "second",
        ),
    ):
        arena.refused(attack, "session-unknown", 404)
    arena.answered(mine)
    arena.answered(listing(open_session(arena, "second"), by="second"))


def test_a_session_keeps_its_version(arena: Arena) -> None:
    session = open_session(arena)
    mine = listing(session)
    for other in ("2025-06-18", "2025-03-26", "2024-11-05"):
        arena.answered(mine.but(headers=within(session, other)))
    arena.refused(mine.but(headers=within(session, "2026-07-28")), "protocol", 400)
    arena.answered(mine.but(headers=within(session, None)))


def test_an_answer_to_what_was_never_asked_is_refused(arena: Arena) -> None:
    """A server's question goes to one session; another's answer, or one too many, is none."""
    session = open_session(arena)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"action": "accept"}}).encode()
    arena.stands(Shot(body, within(session), "/mcp/sdk"), listing(session), "response-unexpected", 400)


# --- events of streams that broke off ---------------------------------------------------------------------------------------


def test_event_ids_lead_nowhere_for_anybody_else(arena: Arena) -> None:
    """The server's ids count upwards through all its streams: unsealed, another client's would be easy to name."""
    first, second = open_session(arena), open_session(arena, "second")
    call = {"name": "test_tool_with_progress", "arguments": {}, "_meta": {"progressToken": 1}}
    streamed = arena.fire(legacy("tools/call", call, headers=within(first), path="/mcp/sdk"))
    ids = [match.decode() for match in re.findall(rb"^id: ?(\S+)\r?$", streamed.body, re.MULTILINE)]
    assert len(ids) >= 2 and len(set(ids)) == len(ids)
    assert not any(id.isdecimal() for id in ids), "no id of the server's own is shown"

    for attack in (
        bare("GET", second, "second", Last_Event_ID=ids[0]),
        bare("GET", second, "second", Last_Event_ID="1"),
        bare("GET", first, "first", Last_Event_ID="1"),
        bare("GET", first, "first", Last_Event_ID=("B" if ids[0][0] == "A" else "A") + ids[0][1:]),
        bare("GET", open_session(arena), "first", Last_Event_ID=ids[0]),
    ):
        arena.refused(attack, "event-id", 400)
    with RawClient(arena.gateway) as client:
        resume = bare("GET", first, "first", Last_Event_ID=ids[0]).raw
        assert resume is not None
        client.send(resume(client.host))
        seen = b""
        while b"progress" not in seen:
            more = client.socket.recv(65536)
            assert more, f"the stream ended without the events that were missed: {seen!r}"
            seen += more
        assert b"HTTP/1.1 200" in seen and f"id: {ids[1]}".encode() in seen, "and they come under the ids they had"


# --- states of the 2026 era ---------------------------------------------------------------------------------------------------

ASKS = "test_input_required_result_request_state"
ANSWERS = {"confirm": {"action": "accept", "content": {"ok": True}}}
CAPABLE = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}


def ask(tool: str = ASKS, by: str = "first", arguments: dict[str, Any] | None = None, **more: Any) -> Shot:
    params = {"name": tool, "arguments": arguments or {}, "_meta": CAPABLE, **more}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    return Shot(body, {}, "/mcp/sdk", by)


def state_of(answer: Response) -> str:
    result = answer.json["result"]
    assert result["resultType"] == "input_required"
    return str(result["requestState"])


def test_a_request_state_is_good_for_its_own_call_of_its_own_client(arena: Arena) -> None:
    mine, theirs = state_of(arena.answered(ask())), state_of(arena.answered(ask(by="second")))
    assert mine != theirs

    def retry(state: str, tool: str = ASKS, by: str = "first", arguments: dict[str, Any] | None = None) -> Shot:
        return ask(tool, by, arguments, inputResponses=ANSWERS, requestState=state)

    twin = retry(mine)
    for attack in (
        retry(mine, by="second"),
        retry(theirs),
        retry(mine, "test_input_required_result_tampered_state"),
        retry(mine, arguments={"more": 1}),
        retry(mine[:-4] + "AAAA"),
        retry(mine + "A"),
        retry(mine.swapcase()),
        retry("awaiting confirmation"),
        retry(""),
        ask(inputResponses=ANSWERS, requestState=None),
        ask(inputResponses=ANSWERS, requestState={"state": mine}),
    ):
        arena.stands(attack, twin, "request-state", 400)
    assert arena.fire(twin).json["result"]["content"][0]["text"] == "state-ok"
    assert arena.fire(retry(theirs, by="second")).json["result"]["content"][0]["text"] == "state-ok"


def test_several_rounds_keep_their_states(arena: Arena) -> None:
    tool = "test_input_required_result_multi_round"
    first = state_of(arena.answered(ask(tool)))
    step = {"step1": {"action": "accept", "content": {"name": "x"}}}
    second = state_of(arena.answered(ask(tool, inputResponses=step, requestState=first)))
    step = {"step2": {"action": "accept", "content": {"color": "red"}}}
    last = arena.answered(ask(tool, inputResponses=step, requestState=second)).json["result"]
    assert last["content"][0]["text"] == "Both rounds are complete"


@pytest.mark.parametrize("kind", ["sampling", "list_roots", "multiple_inputs"])
def test_a_server_of_2026_gets_nothing_of_a_client_unless_it_is_granted(arena: Arena, kind: str) -> None:
    """What a server wants to know stands in its unfinished answers now. The first client may be asked for forms only."""
    capabilities = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
    meta = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": capabilities}

    def asked(by: str, kind: str = kind) -> Shot:
        return ask(f"test_input_required_result_{kind}", by, _meta=meta)

    answer = arena.stands(asked("first"), asked("second"), "server-request-not-granted", 200)
    assert b"inputRequests" not in answer.body and answer.code == 40301
    assert "user_name" in arena.answered(asked("first", "elicitation")).json["result"]["inputRequests"]


def test_equal_subscription_ids_of_two_clients_do_not_meet(arena: Arena) -> None:
    """A subscription is known by its request's id, which each client chooses for itself."""
    wanted = {"notifications": {"toolsListChanged": True}}
    listen = modern("subscriptions/listen", wanted, path="/mcp/sdk")
    deployment = arena.gateway.deployment
    with RawClient(arena.gateway) as mine, RawClient(arena.gateway, deployment.other) as theirs:
        for client in (mine, theirs):
            client.send(listen.bytes(client.host))
            seen = b""
            while b"acknowledged" not in seen:
                seen += client.socket.recv(65536)
            assert seen.count(b"data:") == 1
        theirs.close()
        arena.fire(called("test_trigger_tool_change", path="/mcp/sdk"))
        seen = b""
        while b"list_changed" not in seen:
            more = mine.socket.recv(65536)
            assert more
            seen += more


def test_no_number_cancels_another_clients_request(arena: Arena) -> None:
    """Both clients count from one. Over HTTP a request of 2026 ends with its stream, so the number says nothing."""
    before = arena.reached()
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "_meta": MODERN_META}}
    body = json.dumps(message).encode()
    for by in ("first", "second"):
        count = len(arena.events())
        headers = {"Mcp-Method": "notifications/cancelled", "MCP-Protocol-Version": "2026-07-28"}
        answer = arena.fire(Shot(body, dict(headers), "/mcp/web", by))
        assert (answer.status, answer.body) == (202, b"")
        rules = wait_until(
            lambda count=count: [e for e in arena.events()[count:] if e.get("rule") == "cancelled-by-number"],
            "the event",
        )
        assert [event["decision"] for event in rules] == ["refused"]
    assert arena.reached() == before, "it went no further"
    arena.answered(called("echo", path="/mcp/web"))
    assert arena.reached() == before + 1


# --- credentials of clients at the upstream -----------------------------------------------------------------------------------


class TokenServer(FaultyServer):
    """Answers with the credential that a request carried, and remembers which connection carried which."""

    def __init__(self) -> None:
        super().__init__()
        self.carried: dict[Any, set[str]] = {}

    def _answer(self, connection: Any, message: dict[str, Any]) -> None:  # type: ignore[override]
        head = self.heads[-1].decode().lower()
        token = next((line for line in head.split("\r\n") if line.startswith("authorization:")), "none")
        self.carried.setdefault(id(connection), set()).add(token)
        super()._answer(connection, message)


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.close()


def tokens_in(server: FaultyServer, method: str) -> list[str]:
    """The credential of each request of that method."""
    found = []
    for head, body in zip(server.heads, server.bodies, strict=True):
        if body.get("method") == method:
            lines = head.decode().lower().split("\r\n")
            found += [line.partition(": ")[2] for line in lines if line.startswith("authorization:")] or ["none"]
    return found


def test_each_clients_calls_carry_its_own_credential(
    deployment: Any, gateway: Any, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OWN", "ROLE", "CLIENT"):
        monkeypatch.setenv(f"{name}_TOKEN", f"{name.lower()}-token-0123456789")
    made = deployment(
        {"web": {"url": tokens.url, "headers": {"authorization": {"env": "OWN_TOKEN", "prefix": "Bearer "}}}}
    )
    grants = {"allow_resources": ["web/*"], "allow_methods": ["execute"]}

    def credential(name: str) -> dict[str, Any]:
        return {"web": {"authorization": {"env": name, "prefix": "Bearer "}}}

    made.document["roles"] = {"scoped": {"upstream_headers": credential("ROLE_TOKEN"), **grants}}
    made.document["clients"].append(
        {
            "id": "second",
            "certificate": {"san": OTHER},
            "roles": ["scoped"],
            "upstream_headers": credential("CLIENT_TOKEN"),
        }
    )
    made.write()
    running: Gateway = gateway(made)

    def ask_all() -> None:
        for identity in (made.client, made.other, made.client, made.other):
            with RawClient(running, identity) as client:
                for _ in range(2):
                    shot = called("echo", headers={"Authorization": "Bearer stolen"})
                    assert client.post(shot.body, shot.headers).status == 200

    ask_all()
    assert (
        tokens_in(tokens, "tools/call")
        == ["bearer own-token-0123456789"] * 2
        + ["bearer client-token-0123456789"] * 2
        + ["bearer own-token-0123456789"] * 2
        + ["bearer client-token-0123456789"] * 2
    )
    assert all(len(carried) == 1 for carried in tokens.carried.values()), "no connection carries two credentials"
    assert "stolen" not in b"".join(tokens.heads).decode()
    running.stop()

    del made.document["clients"][1]["upstream_headers"]
    made.write()
    tokens.heads.clear()
    tokens.bodies.clear()
    running = gateway(made)
    ask_all()
    assert tokens_in(tokens, "tools/call")[2:4] == ["bearer role-token-0123456789"] * 2


def test_a_clients_own_credential_changes_while_requests_flow(
    deployment: Any, gateway: Any, tokens: TokenServer
) -> None:
    """Nobody misses an answer, each call carries one of its own client's values, and no connection carries two."""
    made = deployment({"web": {"url": tokens.url}})

    def keep(name: str, value: str) -> dict[str, Any]:
        file = made.directory / name
        file.touch(mode=0o600)
        file.write_text(value)
        return {"file": name}

    made.document["clients"][0]["upstream_headers"] = {"web": {"authorization": keep("first.token", "first-0")}}
    second = {"upstream_headers": {"web": {"authorization": keep("second.token", "second-0")}}}
    made.document["clients"].append(
        {"id": "second", "certificate": {"san": OTHER}, "allow_resources": ["web/*"], "allow_methods": ["execute"]}
        | second
    )
    made.document["secrets"] = {"refresh": "1s"}
    made.write()
    running: Gateway = gateway(made, expected=(r".*secrets changed, in use now: .*",))
    statuses: dict[str, list[int]] = {"first": [], "second": []}
    over = threading.Event()

    def flow(name: str, identity: Any) -> None:
        with RawClient(running, identity) as client:
            while not over.is_set():
                shot = called("echo", {"who": name})
                statuses[name].append(client.post(shot.body, shot.headers).status)

    def carried(name: str) -> list[str]:
        """The credentials of this client's calls, in order."""
        found = []
        for head, body in list(zip(tokens.heads, tokens.bodies, strict=False)):
            if body.get("params", {}).get("arguments") == {"who": name}:
                lines = head.decode().lower().split("\r\n")
                found += [line.partition(": ")[2] for line in lines if line.startswith("authorization:")] or ["none"]
        return found

    threads = [threading.Thread(target=flow, args=each) for each in (("first", made.client), ("second", made.other))]
    for thread in threads:
        thread.start()
    try:
        for turn in range(1, 4):
            wait_until(lambda turn=turn: f"first-{turn - 1}" in carried("first"), "the value of before")
            (made.directory / "first.token").write_text(f"first-{turn}")
            wait_until(lambda turn=turn: carried("first")[-1:] == [f"first-{turn}"], "the new value")
        wait_until(lambda: carried("second"), "the other client's calls")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert set(statuses["first"]) == set(statuses["second"]) == {200}
    values = carried("first")
    assert values == sorted(values) and set(values) == {f"first-{turn}" for turn in range(4)}, "never an old one again"
    assert set(carried("second")) == {"second-0"}
    assert all(len(each) == 1 for each in tokens.carried.values()), "no connection carries two credentials"
    told = running.stderr() + made.log.read_text()
    assert not any(value in told for value in ("first-0", "first-3", "second-0"))


def test_each_clients_program_has_its_own_variables(
    deployment: Any, gateway: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tells.py"
    program.write_text(PROGRAM)
    monkeypatch.setenv("SECOND_KEY", "second-0123456789")
    import sys

    made = deployment(
        {"own": {"command": [sys.executable, str(program)], "environment": {"MODE": "all", "WHO": "nobody"}}}
    )
    made.document["clients"].append(
        {
            "id": "second",
            "certificate": {"san": OTHER},
            "allow_resources": ["own/*"],
            "allow_methods": ["execute"],
            "upstream_environment": {"own": {"WHO": "second", "API_KEY": {"env": "SECOND_KEY"}}},
        }
    )
    made.write()
    running: Gateway = gateway(made)

    def told(identity: Any) -> dict[str, str]:
        with RawClient(running, identity) as client:
            shot = called("tell")
            answer = client.post(shot.body, shot.headers)
        assert answer.status == 200, answer
        return dict(json.loads(answer.json["result"]["content"][0]["text"]))

    for _ in range(2):
        assert told(made.client) == {"MODE": "all", "WHO": "nobody"}
        assert told(made.other) == {"MODE": "all", "WHO": "second", "API_KEY": "second-0123456789"}


PROGRAM = """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, result = message["method"], {"resultType": "complete"}
    if method == "server/discover":
        result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    elif method == "tools/list":
        result |= {"tools": [{"name": "tell", "inputSchema": {"type": "object"}}]}
    else:
        known = {name: os.environ[name] for name in ("MODE", "WHO", "API_KEY", "SECOND_KEY") if name in os.environ}
        result |= {"content": [{"type": "text", "text": json.dumps(known)}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


# --- what a server may ask of a client ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["own", "web"])
def test_a_server_gets_nothing_of_a_client_unless_it_is_granted(
    deployment: Any, gateway: Any, http_server: Any, kind: str
) -> None:
    upstreams = {"own": {"command": fixture_command()}, "web": {"url": http_server.url}}
    grants = {"allow_resources": ["*/*"], "allow_methods": ["read", "write", "execute"]}
    made = deployment({kind: upstreams[kind]}, grants=grants)
    made.document["clients"].append(
        {"id": "second", "certificate": {"san": OTHER}, **grants, "allow_server_requests": ["sampling"]}
    )
    made.write()
    running: Gateway = gateway(made)
    handshake = {**HANDSHAKE, "capabilities": {"sampling": {}, "elicitation": {}, "roots": {}}}

    def asked(identity: Any, tool: str) -> bytes:
        """What the client sees of a call in which the server asks it for something."""
        with RawClient(running, identity) as client:
            opened = client.post(legacy("initialize", handshake).body)
            session = within(opened.headers["mcp-session-id"])
            client.post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}', session)
            params = {"name": tool, "arguments": {"prompt": "x", "message": "x"}}
            shot = legacy("tools/call", params, headers=session, path="/mcp")
            client.send(shot.bytes(client.host))
            seen = b""
            while not any(end in seen for end in (b'"result"', b'"error"', b"createMessage", b"elicitation/create")):
                more = client.socket.recv(65536)
                if not more:
                    break
                seen += more
            return seen

    for tool, method in (("test_sampling", b"sampling/createMessage"), ("test_elicitation", b"elicitation/create")):
        refused = asked(made.client, tool)
        assert b"HTTP/1.1 200" in refused and method not in refused, refused
    assert b"sampling/createMessage" in asked(made.other, "test_sampling")
    assert b"elicitation/create" not in asked(made.other, "test_elicitation")


def test_names_in_headers_are_encoded() -> None:
    """The helper of these tests says what a client of the SDK says."""
    assert encode_value("echo\u200b").startswith("=?base64?")
    assert {tool["name"] for tool in TOOLS} >= {"echo", "danger"}
