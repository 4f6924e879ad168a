"""What comes in one turn of the event loop is worked on together: each request is judged, and answered, as if alone."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from mcpsec.deployment.model import Limits, Rate
from mcpsec.gateway.answers import Ordinary
from mcpsec.gateway.calls import Call
from mcpsec.gateway.cleaning import AnswerCleaner
from mcpsec.gateway.connection import Connection
from mcpsec.gateway.message import Answer, Exchange
from mcpsec.gateway.registry import ConnectionRegistry
from mcpsec.gateway.upstreams.known_answers import AnswerHead
from mcpsec.leaks import prepare, redaction
from mcpsec.leaks.examples import examples
from mcpsec.leaks.redaction import holds_secret
from tests.fixtures.raw import call, request_bytes
from tests.gateway.test_outbox import Wire
from tests.gateway.test_repeats import HOST, Site, Upstream

pytestmark = pytest.mark.anyio

HEAD = AnswerHead(200, b"application/json", {b"content-type": b"application/json"})
LONG = Answer(200, [], b"by the long way")


def said(id: object, text: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}).encode()


class HeldSender:
    """Keeps the calls that are sent, until the test answers them."""

    outbox = None

    def __init__(self, cleaner: AnswerCleaner | None) -> None:
        self.ordinary = Ordinary(cleaner)
        self.sent: list[tuple[Exchange, Call]] = []
        self.well = self.settled = 0
        self.cut = 0

    def send(self, exchange: Exchange, call: Call) -> bool:
        self.sent.append((exchange, call))
        call.sender, call.connection, call.term, call.started = self, self, SimpleNamespace(), 0.0  # type: ignore[assignment]
        return True

    def abort(self) -> None:
        self.cut += 1

    def ended_well(self, _term: object) -> None:
        self.well += 1

    def outcome(self, _exchange: Exchange, _got: object) -> Answer:
        return Answer(LONG.status, [], LONG.body)

    def verdict(self, _outcome: object) -> bool:
        return False

    def settle(self, _term: object, _started: float, *, failed: bool | None) -> None:
        self.settled += 1


class HeldUpstream(Upstream):
    def __init__(self, cleaner: AnswerCleaner | None) -> None:
        super().__init__()
        self.held = HeldSender(cleaner)

    def sender(self, _exchange: Exchange) -> HeldSender:
        return self.held


class Turned:
    """Connections of one client whose calls of one tool repeat each other."""

    def __init__(self, site: Site, upstream: HeldUpstream) -> None:
        self.site, self.held = site, upstream.held
        self.registry = ConnectionRegistry(site.chain.handle, Limits(), turn=site.chain.turn)
        self.lines: list[tuple[Connection, Wire]] = []

    def connect(self) -> tuple[Connection, Wire]:
        connection, wire = Connection(self.registry, "192.0.2.1", identify=lambda _: self.site.peers["a"]), Wire()
        wire.protocol = connection
        connection.connection_made(wire)
        self.lines.append((connection, wire))
        return connection, wire

    def send(self, number: int) -> None:
        """A call with this id, on the connection of that number."""
        self.lines[number][0].data_received(asked(number))

    def answers(self) -> list[bytes]:
        return [b"".join(wire.out).rpartition(b"\r\n\r\n")[2] for _, wire in self.lines]

    def end(self) -> None:
        for connection, _ in self.lines:
            if connection in self.registry.connections:
                connection.connection_lost(None)


def asked(id: object, text: str = "hello") -> bytes:
    return request_bytes(HOST, call("echo", {"text": text}, id=id))


async def turn(times: int = 6) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def turned(count: int, *, rate: Rate | None = None, cleaner: AnswerCleaner | None = None) -> Turned:
    """So many connections, after calls that the next ones repeat; the wires are empty."""
    site = Site(rate)
    upstream = HeldUpstream(cleaner)
    site.upstream = upstream
    site.chain.use(site.steps())
    made = Turned(site, upstream)
    for _ in range(count):
        made.connect()
    first = made.lines[0][0]
    for _ in range(2):
        first.data_received(asked(0))
        await turn(12)
    for _, wire in made.lines:
        wire.out.clear()
    site.recorder.records.clear()
    return made


async def under_way(count: int) -> tuple[Turned, list[str]]:
    """So many calls that their upstream has yet to answer, and what the event loop is told of from then on."""
    made = await turned(count)
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(str(context["exception"])))
    for number in range(count):
        made.send(number)
    await turn()
    return made, told


async def test_each_of_many_gets_its_own_answer_and_one_event() -> None:
    made = await turned(40)
    made.site.chain._in_flight.bound = 100
    for number in range(40):
        made.send(number)
    assert not made.held.sent
    await turn()
    assert [exchange.message.id for exchange, _ in made.held.sent if exchange.message] == list(range(40))
    for exchange, begun in reversed(made.held.sent):
        begun.set_known(HEAD, said(exchange.rpc_id, f"for {exchange.rpc_id}"))
    await turn()
    assert made.answers() == [said(number, f"for {number}") for number in range(40)]
    assert [each.status for each in made.site.recorder.records] == [200] * 40
    assert made.held.well == 40
    assert made.site.chain._in_flight._places["a"].running == 0
    made.end()


async def test_a_rate_is_right_within_a_turn() -> None:
    made = await turned(8, rate=Rate(1, 3600.0, 7))
    for number in range(8):
        made.send(number)
    await turn()
    assert len(made.held.sent) == 5
    refused = [number for number, answer in enumerate(made.answers()) if answer]
    assert refused == [5, 6, 7]
    assert [(each.status, each.rule) for each in made.site.recorder.records] == [(429, "client-rate")] * 3
    made.end()


async def test_places_are_counted_within_a_turn() -> None:
    made = await turned(13)
    for number in range(13):
        made.send(number)
    await turn()
    assert len(made.held.sent) == 10
    assert [each.rule for each in made.site.recorder.records] == ["in-flight-client"] * 3
    made.end()


async def test_what_breaks_one_request_breaks_no_other() -> None:
    made = await turned(5)
    (known,) = made.registry.heads._heads.values()
    (way,) = known.ways.values()

    def broken(exchange: Exchange) -> None:
        if exchange.rpc_id == 2:
            raise RuntimeError("a defect")

    way.parts = (*way.parts, (99, broken))
    for number in range(5):
        made.send(number)
    await turn()
    assert [exchange.rpc_id for exchange, _ in made.held.sent] == [0, 1, 3, 4]
    assert [str(error) for error in made.site.errors] == ["a defect"]
    assert b'"code":-32603' in made.answers()[2]
    made.end()


async def test_a_certificate_that_ends_within_the_turn_is_refused_and_its_twin_passes() -> None:
    made = await turned(2)
    made.send(0)
    made.send(1)
    made.site.end_certificate()
    made.lines[1][0].peer = made.site.peers["a"]
    await turn()
    assert [exchange.rpc_id for exchange, _ in made.held.sent] == [0]
    assert [each.rule for each in made.site.recorder.records] == ["certificate-expired"]
    made.end()


async def test_who_leaves_in_the_turn_of_its_request_is_recorded_once_and_sent_nothing() -> None:
    made = await turned(3)
    for number in range(3):
        made.send(number)
    made.lines[0][0].connection_lost(None)
    made.lines[1][0].eof_received()
    await turn()
    assert [each.rule for each in made.site.recorder.records] == ["client-gone"] * 2
    assert made.held.cut == 2
    for exchange, begun in made.held.sent:
        begun.set_known(HEAD, said(exchange.rpc_id, "late"))
    await turn()
    assert made.answers() == [b"", b"", said(2, "late")]
    assert len(made.site.recorder.records) == 3
    made.end()


async def test_who_leaves_in_the_turn_of_its_answer_is_recorded_once() -> None:
    made = await turned(2)
    made.send(0)
    made.send(1)
    await turn()
    for exchange, begun in made.held.sent:
        begun.set_known(HEAD, said(exchange.rpc_id, "text"))
    made.lines[0][0].connection_lost(None)
    await turn()
    assert sorted(each.rule for each in made.site.recorder.records) == sorted(["client-gone", "granted"])
    assert (made.held.cut, made.held.settled, made.held.well) == (0, 1, 1)
    assert made.answers() == [b"", said(1, "text")]
    made.end()


async def test_more_bytes_in_the_same_turn_are_the_next_request() -> None:
    made = await turned(1)
    connection, wire = made.lines[0]
    connection.data_received(asked("one"))
    connection.data_received(asked("two")[:40])
    connection.data_received(asked("two")[40:])
    await turn()
    ((first, begun),) = made.held.sent
    assert first.rpc_id == "one"
    begun.set_known(HEAD, said("one", "text"))
    await turn(20)
    assert b"".join(wire.out).count(b"HTTP/1.1 200") == 2
    assert [each.status for each in made.site.recorder.records] == [200, 200]
    made.end()


async def test_a_cut_connection_has_nothing_done_for_it() -> None:
    made = await turned(2)
    made.send(0)
    made.send(1)
    made.lines[0][0].abort()
    await turn()
    assert [exchange.rpc_id for exchange, _ in made.held.sent] == [1]
    made.end()


async def test_one_answer_with_a_secret_among_clean_ones_goes_the_long_way_alone() -> None:
    prepare()
    made = await turned(6, cleaner=AnswerCleaner("redact", "hide"))
    for number in range(6):
        made.send(number)
    await turn()
    token = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
    texts = {2: f"the token is {token}", 4: "-----BEGIN CERTIFICATE-----"}
    for exchange, begun in made.held.sent:
        begun.set_known(HEAD, said(exchange.rpc_id, texts.get(exchange.rpc_id, "a clean text")))
    await turn()
    clean = [said(number, "a clean text") for number in range(6)]
    assert made.answers() == [LONG.body if number in texts else clean[number] for number in range(6)]
    assert (made.held.well, made.held.settled) == (4, 2)
    made.end()


async def test_an_answer_to_another_call_among_good_ones_goes_the_long_way() -> None:
    made = await turned(3)
    for number in range(3):
        made.send(number)
    await turn()
    for _, begun in made.held.sent:
        begun.set_known(HEAD, said(1, "text"))
    await turn()
    assert made.answers() == [LONG.body, said(1, "text"), LONG.body]
    made.end()


async def test_a_defect_in_one_answer_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made, told = await under_way(4)
    record, tell = made.site.recorder.request, made.held.sent[2][1]._answered

    def broken(exchange: Exchange) -> None:
        if exchange.rpc_id == 1:
            raise RuntimeError("the record")
        record(exchange)

    def untold(answer: Answer | None) -> None:
        tell(answer)
        raise RuntimeError("the client")

    monkeypatch.setattr(made.site.recorder, "request", broken)
    made.held.sent[2][1]._answered = untold
    for exchange, begun in made.held.sent:
        begun.set_known(HEAD, said(exchange.rpc_id, "text"))
    await turn()
    assert [answer == said(number, "text") for number, answer in enumerate(made.answers())] == [True, False, True, True]
    assert b'"code":-32603' in made.answers()[1]
    assert ([str(error) for error in made.site.errors], told) == (["the record"], ["the client"])
    made.end()


async def test_a_request_that_breaks_while_it_is_sent_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await turned(4)
    send = made.held.send

    def broken(exchange: Exchange, call: Call) -> bool:
        sent = send(exchange, call)
        if exchange.rpc_id == 1:
            made.held.sent.pop()
            raise RuntimeError("a defect")
        return sent

    monkeypatch.setattr(made.held, "send", broken)
    for number in range(4):
        made.send(number)
    await turn(12)
    assert [exchange.rpc_id for exchange, _ in made.held.sent] == [0, 2, 3]
    assert (made.held.cut, made.held.settled) == (1, 1), "its place at the upstream is given back"
    for exchange, begun in made.held.sent:
        begun.set_known(HEAD, said(exchange.rpc_id, "text"))
    await turn()
    assert [answer == said(number, "text") for number, answer in enumerate(made.answers())] == [True, False, True, True]
    assert b'"code":-32603' in made.answers()[1]
    assert made.site.chain._in_flight._places["a"].running == 0
    assert sorted(each.status for each in made.site.recorder.records) == [200, 200, 200, 500]
    assert [str(error) for error in made.site.errors] == ["a defect"]
    made.end()


async def test_a_refusal_that_can_not_be_recorded_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await turned(13)
    record = made.site.recorder.request

    def broken(exchange: Exchange) -> None:
        if exchange.rpc_id == 11:
            raise RuntimeError("the record")
        record(exchange)

    monkeypatch.setattr(made.site.recorder, "request", broken)
    for number in range(13):
        made.send(number)
    await turn()
    assert len(made.held.sent) == 10
    assert b'"code":-32603' in made.answers()[11]
    assert [each.rule for each in made.site.recorder.records] == ["in-flight-client"] * 2
    for exchange, begun in made.held.sent:
        begun.set_known(HEAD, said(exchange.rpc_id, "text"))
    await turn()
    assert made.answers()[:10] == [said(number, "text") for number in range(10)]
    assert made.site.chain._in_flight._places["a"].running == 0
    made.end()


@pytest.mark.parametrize("where", ["the record", "the client"])
async def test_a_defect_in_an_answer_of_the_long_way_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    made, told = await under_way(3)
    record, tell = made.site.recorder.request, made.held.sent[1][1]._answered

    def broken(exchange: Exchange) -> None:
        if exchange.rpc_id == 1:
            raise RuntimeError(where)
        record(exchange)

    def untold(answer: Answer | None) -> None:
        tell(answer)
        raise RuntimeError(where)

    if where == "the record":
        monkeypatch.setattr(made.site.recorder, "request", broken)
    else:
        made.held.sent[1][1]._answered = untold
    for exchange, begun in made.held.sent:
        begun.set_known(HEAD, said("another" if exchange.rpc_id == 1 else exchange.rpc_id, "text"))
    await turn()
    assert [made.answers()[number] for number in (0, 2)] == [said(0, "text"), said(2, "text")]
    assert (b'"code":-32603' in made.answers()[1]) == (where == "the record")
    assert (made.held.well, made.held.settled) == (2, 1)
    assert ([str(error) for error in made.site.errors], told) in ((["the record"], []), ([], ["the client"]))
    made.end()


async def test_a_call_of_which_its_connection_could_not_be_told_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await turned(2)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    begun = Connection.begun

    def broken(connection: Connection, request: Any, outcome: Any) -> None:
        if connection is made.lines[0][0]:
            raise RuntimeError("a defect")
        begun(connection, request, outcome)

    monkeypatch.setattr(Connection, "begun", broken)
    made.send(0)
    made.send(1)
    await turn()
    assert [wire.closed for _, wire in made.lines] == [True, False]
    assert made.site.chain._in_flight._places["a"].running == 1
    assert [each.rule for each in made.site.recorder.records] == ["client-gone"]
    made.end()


@pytest.mark.parametrize("whole", [False, True])
async def test_who_is_amid_a_request_when_the_gateway_ends_is_not_waited_for(whole: bool) -> None:
    """As little as one whose half a request came a turn before; a whole one is answered, and then closed."""
    made = await turned(2)
    connection, wire = made.lines[0]
    connection.data_received(asked(0) if whole else asked(0)[:40])
    made.registry.drain()
    await turn()
    assert (wire.closed, len(made.held.sent)) == (not whole, whole)
    for exchange, begun in made.held.sent:
        begun.set_known(HEAD, said(exchange.rpc_id, "text"))
    await turn(20)
    assert wire.closed
    assert made.answers()[0] == (said(0, "text") if whole else b"")
    made.end()


async def test_what_breaks_a_whole_turn_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await turned(3)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

    def broken(_what: object) -> None:
        raise RuntimeError("a defect")

    made.send(0)
    await turn()
    monkeypatch.setattr(made.site.chain.turn, "_answer", broken)
    made.held.sent[0][1].set_known(HEAD, said(0, "text"))
    await turn()
    assert made.answers()[0] == LONG.body
    monkeypatch.setattr(made.site.chain.turn, "_begin", broken)
    made.send(1)
    made.send(2)
    await turn()
    assert [wire.closed for _, wire in made.lines] == [False, True, True]
    made.end()


def test_what_looks_like_a_secret_is_never_judged_beside_anothers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the words of one answer could make those of another pass; so it is without the fast engine, too."""
    prepare()
    cleaner, body = AnswerCleaner("redact", "hide"), said(1, "nothing")
    frame = json.loads(body)
    assert cleaner.are_clean([(frame, body), (frame, body)])
    looked: list[bytes] = []
    monkeypatch.setattr(redaction._engine, "look", lambda data: looked.append(data) or [])
    for quiet in (None, lambda _data: False):
        monkeypatch.setattr(redaction._engine, "quiet", quiet)
        assert not cleaner.are_clean([(frame, body), (frame, body)])
        assert not looked
        assert cleaner.are_clean([(frame, body)])
        assert looked.pop() == body


def test_what_is_found_in_an_answer_is_found_among_others() -> None:
    """For each example of each rule, and at the edges of texts: together they are clean only if each is."""
    prepare()
    cleaner = AnswerCleaner("redact", "hide")
    texts = [text for _, wanted, unwanted in examples() for text in (*wanted, *unwanted)]
    texts += ["-u alice:Tr0ub4dor&3xyz", "password\nTr0ub4dor&3xyz", "login admin / Tr0ub4dor&3", "key"]
    missed: list[str] = []
    suspicious = 0
    others = [
        said(2, "nothing"),
        said(2, "for example: a placeholder, dummy, fake, sample, test; changeme, your-key-here"),
    ]
    assert cleaner.are_clean([(json.loads(others[0]), others[0])] * 2)
    for text in texts:
        for body in (said(1, text), said(1, text).replace(b'"text": "', b'"text":"\\n'), said(1, f"{text}\n")):
            frame: Any = json.loads(body)
            alone = cleaner.is_clean(frame, body)
            suspicious += not alone
            for other in others:
                beside = (json.loads(other), other)
                if cleaner.are_clean([beside, (frame, body), beside]) and not alone:
                    missed.append(text)
    assert suspicious > 1000
    assert not missed
    assert not holds_secret(said(2, "nothing"))


@pytest.mark.parametrize("body", [b' {"id":1}', b'{"id":1}\n', b"[1]", b'{"id":"' + b"x" * 20_000 + b'"}'])
def test_what_can_not_be_told_of_all_together_is_told_of_each(body: bytes) -> None:
    cleaner, other = AnswerCleaner("redact", "hide"), said(2, "nothing")
    assert not cleaner.are_clean([({}, body), (json.loads(other), other)])
    assert cleaner.are_clean([({}, body)])
