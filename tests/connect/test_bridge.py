"""The bridge against a scripted server: what it sends, and what it makes of every kind of answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from mcpsec.connect import Credentials
from mcpsec.signing import MemoryReplayStore, SignedMessage, Signer, SigningKey, VerificationKey, Verified, Verifier
from tests.connect.bridges import INITIALIZED, META, Pipes, ScriptedServer, Seen, call, initialize

pytestmark = pytest.mark.anyio


async def echo(seen: Seen) -> None:
    await seen.result({"method": seen.body["method"]})


async def test_a_modern_request_carries_the_headers_that_mirror_it() -> None:
    async with ScriptedServer(echo) as server, Pipes(server.url) as client:
        answer = await client.ask(call(7, name="grüße", arguments={}))
    assert answer == {"jsonrpc": "2.0", "id": 7, "result": {"method": "tools/call"}}
    headers = server.seen[0].headers
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert headers["mcp-method"] == "tools/call"
    assert headers["mcp-name"] == "=?base64?Z3LDvMOfZQ==?="
    assert "mcp-session-id" not in headers


async def test_the_body_is_the_clients_line_to_the_byte() -> None:
    raw = b'{"jsonrpc":"2.0" , "id":"a\\u00e9", "method":"ping"}'
    bodies = []

    async def keep(seen: Seen) -> None:
        bodies.append(int(seen.headers["content-length"]))
        await seen.result()

    async with ScriptedServer(keep) as server, Pipes(server.url) as client:
        client.write(raw)
        await client.read()
    assert bodies == [len(raw)]


async def test_one_connection_serves_many_requests() -> None:
    async with ScriptedServer(echo) as server, Pipes(server.url) as client:
        for number in range(20):
            assert (await client.ask(call(number, "tools/list")))["id"] == number
    assert server.connections == 1


async def test_requests_run_side_by_side() -> None:
    gate = asyncio.Event()

    async def slow_first(seen: Seen) -> None:
        if seen.body["id"] == 1:
            await gate.wait()
        await seen.result()

    async with ScriptedServer(slow_first) as server, Pipes(server.url) as client:
        client.write(call(1))
        assert (await client.ask(call(2)))["id"] == 2
        gate.set()
        assert (await client.read())["id"] == 1


async def test_every_request_is_signed_anew() -> None:
    key = SigningKey("k", secret=b"s" * 32)
    verifier = Verifier(
        {"k": VerificationKey("k", "c", secret=b"s" * 32)},
        schemes=["hmac-sha256"],
        max_age=60,
        replay=MemoryReplayStore(),
    )
    outcomes = []

    async def judge(seen: Seen) -> None:
        fields = [(name.encode(), value.encode()) for name, value in seen.headers.items()]
        # what was sent is what json.dumps of the test wrote
        body = json.dumps(seen.body).encode()
        message = SignedMessage("POST", seen.headers["host"], "/mcp", "", fields, body)
        outcomes.append(verifier.verify(message))
        await seen.result()

    async with ScriptedServer(judge) as server:
        async with Pipes(server.url, Credentials(signer=Signer(key))) as client:
            for number in range(3):
                await client.ask(call(number, name="echo"))
    assert len(outcomes) == 3
    assert all(isinstance(outcome, Verified) for outcome in outcomes)


async def test_a_streams_messages_arrive_as_they_come() -> None:
    gate = asyncio.Event()

    async def stream(seen: Seen) -> None:
        await seen.stream()
        await seen.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})
        await gate.wait()
        await seen.event({"jsonrpc": "2.0", "id": seen.body["id"], "result": {}})
        seen.close()

    async with ScriptedServer(stream) as server, Pipes(server.url) as client:
        client.write(call(1))
        assert (await client.read())["method"] == "notifications/progress"
        gate.set()
        assert (await client.read())["id"] == 1


async def test_cancelling_a_modern_request_closes_its_answer_and_nothing_is_posted() -> None:
    async def never(seen: Seen) -> None:
        if seen.body["id"] == 2:
            await seen.result()
            return
        await seen.stream()
        await seen.gone.wait()

    async with ScriptedServer(never) as server, Pipes(server.url) as client:
        client.write(call(1))
        while not server.seen:
            await asyncio.sleep(0.01)
        client.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        await asyncio.wait_for(server.seen[0].gone.wait(), 10)
        assert (await client.ask(call(2)))["id"] == 2
    assert server.bodies("notifications/cancelled") == []


REFUSALS = [
    (401, {"jsonrpc": "2.0", "id": None, "error": {"code": 40101, "message": "not authenticated"}}, 40101),
    (403, {"jsonrpc": "2.0", "id": 1, "error": {"code": 40301, "message": "denied"}}, 40301),
    (429, None, 42901),
    (502, None, 50301),
    (500, "a page", 50304),
    (200, {"jsonrpc": "2.0", "id": 99, "result": {}}, 50304),
    (202, None, 50304),
]


@pytest.mark.parametrize(("status", "body", "code"), REFUSALS)
async def test_whatever_the_server_answers_the_client_gets_one_response(status: int, body: object, code: int) -> None:
    async def refuse(seen: Seen) -> None:
        await seen.answer(status, body)

    async with ScriptedServer(refuse) as server, Pipes(server.url) as client:
        answer = await client.ask(call(1))
    assert answer["id"] == 1
    assert answer["error"]["code"] == code
    assert len(server.seen) == 1, "a call is never sent twice"


async def test_an_answer_that_breaks_off_is_an_error_and_the_call_is_not_repeated() -> None:
    async def drop(seen: Seen) -> None:
        await seen.stream()
        seen.close()

    async with ScriptedServer(drop) as server, Pipes(server.url) as client:
        assert (await client.ask(call(1)))["error"]["code"] == 50301
    assert len(server.seen) == 1


async def test_a_question_is_asked_again_after_a_connection_broke() -> None:
    async def second_time(seen: Seen) -> None:
        if len(server.seen) == 1:
            seen.writer.transport.abort()
        else:
            await seen.result()

    async with ScriptedServer(second_time) as server, Pipes(server.url) as client:
        assert "result" in await client.ask(call(1, "tools/list"))
    assert len(server.seen) == 2


async def test_a_server_that_is_away_for_a_moment_is_waited_for() -> None:
    async with ScriptedServer(echo) as first:
        url = first.url
        async with Pipes(url) as client:
            await client.ask(call(1))
            first._server.close()
            for seen in first.seen:
                seen.writer.transport.abort()
            client.write(call(2))
            await asyncio.sleep(0.3)
            port = int(url.rpartition(":")[2].partition("/")[0])
            again = await asyncio.start_server(first._serve, "127.0.0.1", port)
            assert "result" in await client.read()
            again.close()


async def test_nobody_there_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.connect.relay._BACKOFF", (0.01,))
    async with ScriptedServer(echo) as server:
        url = server.url
    async with Pipes(url) as client:
        answer = await client.ask(call(1))
        assert "can't be reached" in answer["error"]["message"]
        assert any("can't be reached" in note for note in client.notes)


@pytest.mark.parametrize(
    ("line", "code"),
    [(b"nonsense", -32700), (b"[]", -32600), (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32600)],
)
async def test_lines_that_are_no_message_are_refused_here(line: bytes, code: int) -> None:
    async with ScriptedServer(echo) as server, Pipes(server.url) as client:
        client.write(line)
        assert (await client.read())["error"]["code"] == code
    assert server.seen == []


async def test_headers_that_a_tool_asks_for_are_learned() -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

    async def strict(seen: Seen) -> None:
        if seen.body["method"] == "tools/list":
            await seen.result({"tools": [{"name": "t", "inputSchema": schema}]})
        elif "mcp-param-region" not in seen.headers:
            await seen.answer(
                400, {"jsonrpc": "2.0", "id": seen.body["id"], "error": {"code": -32020, "message": "no"}}
            )
        else:
            await seen.result({"region": seen.headers["mcp-param-region"]})

    async with ScriptedServer(strict) as server, Pipes(server.url) as client:
        answer = await client.ask(call(1, name="t", arguments={"region": "eu"}))
        assert answer["result"] == {"region": "eu"}
        await client.ask(call(2, name="t", arguments={"region": "us"}))
    assert [seen.body["method"] for seen in server.seen] == ["tools/call", "tools/list", "tools/call", "tools/call"]
    assert server.seen[1].body["params"]["_meta"] == META


async def test_what_is_in_flight_at_the_end_is_finished() -> None:
    async def slow(seen: Seen) -> None:
        await asyncio.sleep(0.3)
        await seen.result()

    async with ScriptedServer(slow) as server, Pipes(server.url) as client:
        client.write(call(1))
        client.hang_up()
        assert (await client.read())["id"] == 1


# --- earlier revisions ------------------------------------------------------------------------------------------------


class LegacyServer:
    """A server with sessions; subclasses say what happens to the rest."""

    def __init__(self) -> None:
        self.session = 0

    async def __call__(self, seen: Seen) -> None:
        method = (seen.body or {}).get("method")
        if seen.method == "DELETE":
            await seen.answer(200)
        elif method == "initialize":
            self.session += 1
            await seen.result({"protocolVersion": "2025-11-25"}, mcp_session_id=f"s-{self.session}")
        elif seen.headers.get("mcp-session-id") != f"s-{self.session}":
            await seen.answer(404)
        elif seen.method == "GET":
            await self.listen(seen)
        elif "id" not in seen.body or "method" not in seen.body:
            await seen.answer(202)
        else:
            await self.request(seen)

    async def listen(self, seen: Seen) -> None:
        await seen.answer(405)

    async def request(self, seen: Seen) -> None:
        await seen.result()


async def opened(client: Pipes) -> None:
    assert "result" in await client.ask(initialize())
    client.write(INITIALIZED)


async def test_a_session_is_opened_used_and_ended() -> None:
    async with ScriptedServer(LegacyServer()) as server:
        async with Pipes(server.url) as client:
            await opened(client)
            assert "result" in await client.ask(call(1, modern=False))
    used = [seen for seen in server.seen if seen.body is None or seen.body["method"] != "initialize"]
    assert {seen.headers.get("mcp-session-id") for seen in used} == {"s-1"}
    assert {seen.headers.get("mcp-protocol-version") for seen in used} == {"2025-11-25"}
    assert "mcp-method" not in used[0].headers
    assert server.seen[-1].method == "DELETE"


async def test_a_forgotten_session_is_opened_again_and_the_request_repeated() -> None:
    script = LegacyServer()
    async with ScriptedServer(script) as server, Pipes(server.url) as client:
        await opened(client)
        await client.ask(call(1, modern=False))
        script.session = 10  # the server was restarted
        client.write(call(2, modern=False))
        client.write(call(3, modern=False))
        answers = [await client.read(), await client.read()]
        assert {answer["id"] for answer in answers if "result" in answer} == {2, 3}
    assert len(server.bodies("initialize")) == 2, "once for both"
    assert len(server.bodies("notifications/initialized")) == 2


async def test_a_cancelled_notification_is_posted() -> None:
    async with ScriptedServer(LegacyServer()) as server, Pipes(server.url) as client:
        await opened(client)
        client.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        await client.ask(call(2, modern=False))
    assert len(server.bodies("notifications/cancelled")) == 1


async def test_what_the_server_says_unasked_arrives_and_the_stream_is_opened_again() -> None:
    class Talks(LegacyServer):
        streams = 0

        async def listen(self, seen: Seen) -> None:
            self.streams += 1
            await seen.stream()
            await seen.event(
                {"jsonrpc": "2.0", "method": "notifications/x", "params": {"n": self.streams}}, f"e{self.streams}", 10
            )
            if self.streams == 1:
                seen.close()
            else:
                await seen.gone.wait()

    async with ScriptedServer(Talks()) as server, Pipes(server.url) as client:
        await opened(client)
        assert (await client.read())["params"] == {"n": 1}
        assert (await client.read())["params"] == {"n": 2}
    gets = [seen for seen in server.seen if seen.method == "GET"]
    assert [seen.headers.get("last-event-id") for seen in gets] == [None, "e1"]


async def test_a_request_of_the_server_reaches_the_client_and_its_answer_the_server() -> None:
    answered = asyncio.Event()

    class Asks(LegacyServer):
        async def request(self, seen: Seen) -> None:
            await seen.stream()
            await seen.event({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}})
            await answered.wait()
            await seen.event({"jsonrpc": "2.0", "id": seen.body["id"], "result": {}})
            seen.close()

        async def __call__(self, seen: Seen) -> None:
            if (seen.body or {}).get("id") == "q":
                answered.set()
            await super().__call__(seen)

    async with ScriptedServer(Asks()) as server, Pipes(server.url) as client:
        await opened(client)
        question = await client.ask(call(1, modern=False))
        assert question["method"] == "elicitation/create"
        client.write({"jsonrpc": "2.0", "id": "q", "result": {"action": "decline"}})
        assert (await client.read())["id"] == 1


async def test_an_answer_that_ends_early_is_taken_up_again_from_its_last_event() -> None:
    class Polls(LegacyServer):
        wanted = 0

        async def request(self, seen: Seen) -> None:
            self.wanted = seen.body["id"]
            await seen.stream()
            await seen.event(None, "p1", 20)
            seen.close()

        async def listen(self, seen: Seen) -> None:
            if seen.headers.get("last-event-id") != "p1":
                await seen.answer(405)
                return
            await seen.stream()
            await seen.event({"jsonrpc": "2.0", "id": self.wanted, "result": {"late": True}}, "p2")
            seen.close()

    async with ScriptedServer(Polls()) as server, Pipes(server.url) as client:
        await opened(client)
        assert (await client.ask(call(5, modern=False)))["result"] == {"late": True}
    assert len(server.bodies("tools/call")) == 1


# --- what could bring it to a halt ----------------------------------------------------------------------------------


async def test_answers_of_the_client_get_past_requests_that_wait_for_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """All slots are taken by calls that ask the client something; further calls wait. Nobody waits for ever."""
    monkeypatch.setattr("mcpsec.connect.bridge._MOST_IN_FLIGHT", 2)

    class Asks(LegacyServer):
        def __init__(self) -> None:
            super().__init__()
            self.answered: dict[str, asyncio.Event] = {}

        async def request(self, seen: Seen) -> None:
            question = f"q{seen.body['id']}"
            self.answered[question] = asyncio.Event()
            await seen.stream()
            await seen.event({"jsonrpc": "2.0", "id": question, "method": "sampling/createMessage", "params": {}})
            await self.answered[question].wait()
            await seen.event({"jsonrpc": "2.0", "id": seen.body["id"], "result": {}})
            seen.close()

        async def __call__(self, seen: Seen) -> None:
            ident = (seen.body or {}).get("id")
            if ident in self.answered:
                self.answered[ident].set()
            await super().__call__(seen)

    async with ScriptedServer(Asks()) as server, Pipes(server.url) as client:
        await opened(client)
        for number in range(1, 6):
            client.write(call(number, modern=False))
        finished = set()
        while len(finished) < 5:
            message = await client.read()
            if "method" in message:
                client.write({"jsonrpc": "2.0", "id": message["id"], "result": {}})
            else:
                finished.add(message["id"])


@pytest.mark.parametrize("modern", [True, False])
async def test_a_cancelled_request_gives_its_slot_back(modern: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.connect.bridge._MOST_IN_FLIGHT", 1)

    class Hangs(LegacyServer):
        async def __call__(self, seen: Seen) -> None:
            if modern and seen.body["id"] != 1:
                await seen.result()
            elif modern:
                await seen.gone.wait()
            else:
                await super().__call__(seen)

        async def request(self, seen: Seen) -> None:
            if seen.body["id"] == 1:
                await seen.gone.wait()
            else:
                await seen.result()

    async with ScriptedServer(Hangs()) as server, Pipes(server.url) as client:
        if not modern:
            await opened(client)
        client.write(call(1, modern=modern))
        while not server.bodies("tools/call"):
            await asyncio.sleep(0.01)
        client.write(call(2, modern=modern))
        client.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        assert (await client.read())["id"] == 2, "no answer to the cancelled one"


async def test_more_than_memory_should_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.connect.bridge._MOST_HELD", 1000)
    gate = asyncio.Event()

    async def slow(seen: Seen) -> None:
        await gate.wait()
        await seen.result()

    async with ScriptedServer(slow) as server, Pipes(server.url) as client:
        client.write(call(1, name="x" * 900))
        refused = await client.ask(call(2, name="x" * 900))
        assert (refused["id"], refused["error"]["code"]) == (2, 42901)
        gate.set()
        assert "result" in await client.read()
        assert "result" in await client.ask(call(3, name="x" * 2000)), "a single one may always pass"


async def test_a_client_that_only_listens_hears_a_restarted_server() -> None:
    class Restarts(LegacyServer):
        streams = 0

        async def listen(self, seen: Seen) -> None:
            self.streams += 1
            await seen.stream()
            note = {"jsonrpc": "2.0", "method": "notifications/x", "params": {"n": self.streams}}
            await seen.event(note, retry=10)
            if self.streams == 1:
                self.session += 1  # the server forgets the session, as after a restart
                seen.close()
            else:
                await seen.gone.wait()

    async with ScriptedServer(Restarts()) as server, Pipes(server.url) as client:
        await opened(client)
        assert (await client.read())["params"] == {"n": 1}
        assert (await client.read())["params"] == {"n": 2}
        assert any("forgotten the session" in note for note in client.notes)
    assert len(server.bodies("initialize")) == 2


async def test_a_server_without_a_stream_is_not_asked_again() -> None:
    class NoStream(LegacyServer):
        async def listen(self, seen: Seen) -> None:
            await seen.answer(404)

    async with ScriptedServer(NoStream()) as server, Pipes(server.url) as client:
        await opened(client)
        for number in range(3):
            await client.ask(call(number + 1, modern=False))
    assert len(server.bodies("initialize")) == 1
    assert len([seen for seen in server.seen if seen.method == "GET"]) <= 1


async def test_an_answer_does_not_wait_for_the_end_of_its_stream() -> None:
    told = asyncio.Event()

    async def lingers(seen: Seen) -> None:
        await seen.stream()
        await seen.event({"jsonrpc": "2.0", "id": seen.body["id"], "result": {}})
        await seen.gone.wait()
        told.set()

    async with ScriptedServer(lingers) as server, Pipes(server.url) as client:
        assert "result" in await client.ask(call(1))
        await asyncio.wait_for(told.wait(), 30)
