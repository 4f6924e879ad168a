"""Calls of the 2025 era that repeat one, in a session or outside of any: each is judged as on the whole way.

Their heads name no tool, so a way is chosen by what a body seems to name; nothing may hang on that guess.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mcpsec.deployment.model import Limits, Rate
from mcpsec.gateway import chain as chain_module
from mcpsec.gateway.calls import Call
from mcpsec.gateway.chain import Chain
from mcpsec.gateway.heads import KnownHeads
from mcpsec.gateway.limits import InFlight
from mcpsec.gateway.message import Answer, Exchange
from mcpsec.gateway.repeats import Way
from mcpsec.gateway.sessions import Session, SessionTable
from mcpsec.gateway.state import SessionRecord
from mcpsec.gateway.steps import Step
from mcpsec.gateway.steps.hygiene import Hygiene
from mcpsec.gateway.steps.session import FindSession
from mcpsec.gateway.upstreams.sending import HttpSender
from tests.fixtures.raw import call, request_bytes
from tests.gateway.test_repeats import GRANT, HOST, OTHER_GRANT, TOOLS, Recorder, Site, Upstream, site_policy

pytestmark = pytest.mark.anyio

Headers = dict[str, str | None]
SESSION = "the-session-of-a"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SHORT = 7
"""Parts of a way that is a short one, of thirteen steps."""
RELATED = "io.modelcontextprotocol/related-task"
REVISION = "io.modelcontextprotocol/protocolVersion"


def message(params: Any, method: str = "tools/call", id: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def echo(**members: Any) -> bytes:
    return message({"name": "echo", "arguments": {"text": "hello"}, **members})


def head(**fields: str | None) -> Headers:
    """Of the 2025 era, which names neither method nor tool unless ``fields`` do."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return {"MCP-Protocol-Version": "2025-11-25", "Mcp-Method": None, "Mcp-Name": None, **named}


HELLO = echo()
HEADS: dict[str, Headers] = {
    "plain": head(),
    "no version": head(MCP_Protocol_Version=None),
    "true names": head(Mcp_Method="tools/call", Mcp_Name="echo"),
    "a true name, encoded": head(Mcp_Name="=?base64?ZWNobw==?="),
    "in a session": head(Mcp_Session_Id=SESSION),
    "in a session, true names": head(Mcp_Session_Id=SESSION, Mcp_Method="tools/call", Mcp_Name="echo"),
    "in a session, no version": head(Mcp_Session_Id=SESSION, MCP_Protocol_Version=None),
    "in a session of another version": head(Mcp_Session_Id=SESSION, MCP_Protocol_Version="2025-06-18"),
}
NAMES = ("true names", "a true name, encoded", "in a session, true names")

BODIES: dict[str, tuple[bytes, int, str]] = {
    "the same": (HELLO, 200, "granted"),
    "other arguments": (echo(arguments={"more": [1]}), 200, "granted"),
    "no arguments": (message({"name": "echo"}), 200, "granted"),
    "another tool": (message({"name": "digest", "arguments": {}}), 403, "resource-not-granted"),
    "another tool behind the name of this": (
        message({"arguments": {"name": "echo"}, "name": "digest"}), 403, "resource-not-granted"
    ),
    "this tool behind the name of another": (message({"arguments": {"name": "digest"}, "name": "echo"}), 200, "granted"),
    "its name in a text": (
        message({"arguments": {"a": '"name": "digest"', "b": '"name"'}, "name": "echo"}), 200, "granted"
    ),
    "the name of this in a text of another": (
        message({"arguments": {"a": '"name": "echo"'}, "name": "digest"}), 403, "resource-not-granted"
    ),
    "its name in the id": (message({"name": "digest", "arguments": {}}, id='"name": "echo"'), 403, "resource-not-granted"),
    "an escaped member": (HELLO.replace(b'"name"', b'"n\\u0061me"'), 200, "granted"),
    "an escaped member of another": (
        HELLO.replace(b'"name": "echo"', b'"n\\u0061me": "digest"'), 403, "resource-not-granted"
    ),
    "an escaped member behind the name of this": (
        message({"arguments": {"name": "echo"}, "NAME": 1}).replace(b'"NAME": 1', b'"n\\u0061me": "digest"'),
        403,
        "resource-not-granted",
    ),
    "an escaped value": (HELLO.replace(b'"echo"', b'"\\u0065cho"'), 200, "granted"),
    "a name twice": (HELLO.replace(b'"name": "echo"', b'"name": "echo", "name": "digest"'), 400, "protocol"),
    "a name twice, escaped": (HELLO.replace(b'"name": "echo"', b'"name": "echo", "n\\u0061me": "digest"'), 400, "protocol"),
    "a very long name": (message({"name": "x" * 1000, "arguments": {}}), 403, "resource-not-granted"),
    "no name": (message({"arguments": {}}), 400, "target-missing"),
    "an empty name": (message({"name": "", "arguments": {}}), 403, "name-not-acceptable"),
    "a name that is a list": (echo(name=["echo"]), 400, "target-missing"),
    "arguments that are a list": (echo(arguments=[1]), 400, "target-missing"),
    "another method": (message({"name": "echo", "arguments": {}}, "prompts/get"), 403, "resource-not-granted"),
    "a method of nobody's": (message({"name": "echo", "arguments": {}}, "tools/none"), 200, "method-unknown"),
    "no _meta but null": (echo(_meta=None), 200, "granted"),
    "a _meta that is a text": (echo(_meta="x"), 200, "granted"),
    "a _meta that is a text, of another": (
        message({"arguments": {"name": "echo"}, "name": "digest", "_meta": "x"}), 403, "resource-not-granted"
    ),
    "an empty _meta": (echo(_meta={}), 200, "granted"),
    "a progress token": (echo(_meta={"progressToken": 1}), 200, "granted"),
    "its revision": (echo(_meta={REVISION: "2025-11-25"}), 200, "granted"),
    "its revision, of another": (
        message({"arguments": {"name": "echo"}, "name": "digest", "_meta": {REVISION: "2025-11-25"}}),
        403,
        "resource-not-granted",
    ),
    "another revision": (echo(_meta={REVISION: "2026-07-28"}), 400, "protocol"),
    "a trace": (echo(_meta={"traceparent": TRACE}), 200, "granted"),
    "a trace that is none": (echo(_meta={"traceparent": "x"}), 200, "granted"),
    "a task of its own": (echo(task={"ttl": 1}), 200, "granted"),
    "a task of somebody else": (echo(_meta={RELATED: {"taskId": "x"}}), 400, "task-unknown"),
    "no task": (echo(_meta={RELATED: None}), 200, "granted"),
    "a state": (echo(requestState="x"), 400, "request-state"),
    "a batch": (b"[" + HELLO + b"]", 400, "protocol"),
    "no JSON": (HELLO[:-1], 400, "protocol"),
    "too deep": (HELLO.replace(b'"hello"', b"[" * 40 + b"]" * 40), 400, "protocol"),
}  # fmt: skip
WITH_NAMES = {
    "another tool", "another tool behind the name of this", "the name of this in a text of another",
    "its name in the id", "an escaped member of another", "an escaped member behind the name of this",
    "a very long name", "no name", "an empty name", "a name that is a list", "a _meta that is a text, of another",
    "its revision, of another",
}  # fmt: skip
"""Bodies that a head with names contradicts."""


class Seeing(Upstream):
    """Keeps what it is sent: the body, in which session, and as what version."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []

    async def call(self, exchange: Exchange) -> Answer:
        assert exchange.message is not None
        fields = dict(exchange.request.headers)
        told = fields.get(b"mcp-protocol-version"), fields.get(b"traceparent")
        self.seen.append((exchange.message.raw, exchange.session, *told))
        return await super().call(exchange)


class Keeping(Recorder):
    """What the log would say, and where the request belonged."""

    def __init__(self) -> None:
        super().__init__()
        self.more: list[tuple[Any, ...]] = []

    def request(self, exchange: Exchange) -> None:
        super().request(exchange)
        session = None if exchange.session is None else (exchange.session.id, exchange.session.version)
        self.more.append((self.records[-1], session, exchange.trace, exchange.tools))


class LegacySite(Site):
    """The same, with a session of client a."""

    def __init__(self, version: str = "2025-11-25", rate: Rate | None = None) -> None:
        self.sessions = SessionTable(Limits())
        self.session = self.open("a")
        self.session.version = version
        self.seeing = Seeing()
        super().__init__(rate)
        self.keeping = self.recorder = Keeping()
        self.chain = Chain(self.steps(), InFlight(10), self.recorder, lambda error, _: self.errors.append(error))  # type: ignore[arg-type]

    def open(self, client: str, id: str = SESSION) -> Session:
        return self.sessions.adopt(id, SessionRecord(client, "demo", "", ""), None)

    def steps(self) -> list[Step]:
        self.upstream = self.seeing
        return [FindSession(self.sessions) if isinstance(each, FindSession) else each for each in super().steps()]

    def ways(self) -> list[Way]:
        """Those that requests may take beside the whole one."""
        return [way for each in self.heads._heads.values() for way in each.ways.values()]

    def parts(self) -> list[int]:
        """Of how many parts they are."""
        return [len(way.parts) for way in self.ways()]

    async def outcome(self, body: bytes, headers: Headers, client: str = "a") -> tuple[Any, ...]:
        """All that is to be seen of a request."""
        before = len(self.seeing.seen)
        answer = await self.post(body, client, headers)
        said = re.sub(rb'"request":"\w+"', b"", answer.body)  # its own
        return answer.status, said, answer.headers, self.keeping.more[-1], self.seeing.seen[before:]


async def alone(site: LegacySite, body: bytes, headers: Headers) -> tuple[Any, ...]:
    """What comes of a request on the whole way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_module, "way_of", lambda _exchange, _known, whole: whole)
        return await site.outcome(body, headers)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("body", BODIES)
async def test_a_body_behind_others_is_judged_as_if_it_came_alone(name: str, body: str) -> None:
    """Behind calls of one form, and behind its own: then the way that it has made itself is what it takes."""
    headers, (data, status, rule) = HEADS[name], BODIES[body]
    if name in NAMES and body in WITH_NAMES:
        status, rule = 400, "protocol"
    if "true names" in name and "method" in body:
        status, rule = 400, "protocol"
    if headers["MCP-Protocol-Version"] != "2025-11-25" and "its revision" in body:
        status, rule = 400, "protocol"
    site = LegacySite()
    for _ in range(3):
        assert (await site.post(HELLO, headers=headers)).status == 200
    expected = await alone(site, data, headers)
    assert (expected[0], expected[3][0].rule) == (status, rule)
    for _ in range(3):
        assert await site.outcome(data, headers) == expected
    hello = await alone(site, HELLO, headers)
    for _ in range(3):
        assert await site.outcome(HELLO, headers) == hello
        assert await site.outcome(data, headers) == expected


@pytest.mark.parametrize("name", HEADS)
async def test_no_body_prepares_a_way_for_another(name: str) -> None:
    """Each of them twice, then each other: whatever is remembered of the first says nothing of the second."""
    headers = HEADS[name]
    site = LegacySite(rate=Rate(10**6, 1.0, 10**6))
    for _ in range(3):
        await site.post(HELLO, headers=headers)
    expected = {body: await alone(site, data, headers) for body, (data, _, _) in BODIES.items()}
    for first, (before, _, _) in BODIES.items():
        for second, (data, _, _) in BODIES.items():
            site.heads = KnownHeads(Limits())
            for _ in range(3):
                await site.post(before, headers=headers)
            assert await site.outcome(data, headers) == expected[second], (first, second)
            assert await site.outcome(before, headers) == expected[first], (first, second)


FORMLESS = {"its revision": {REVISION: "2025-11-25"}, "a text": "x", "null": None}


@pytest.mark.parametrize("form", FORMLESS)
async def test_a_call_of_no_form_lets_nothing_pass_that_seems_like_it(form: str) -> None:
    """Of such a call no reader tells whether the next repeats it, and what that seems to name is its sender's choice."""
    site, headers = LegacySite(), head()
    mine, theirs = (
        message({"arguments": {"name": "echo"}, "name": name, "_meta": FORMLESS[form]}) for name in ("echo", "digest")
    )
    for _ in range(3):
        assert (await site.post(mine, headers=headers)).status == 200
        assert (await site.post(theirs, headers=headers)).status == 403
    assert [each[0] for each in site.seeing.seen] == [mine] * 3
    assert [each.resource for each in site.recorder.records] == ["demo/echo", "demo/digest"] * 3


def of_era(era: str, **more: Any) -> tuple[bytes, Headers | None]:
    """A call of either era with these members in its ``_meta``, and its head."""
    if era == "2025":
        return echo(_meta=more), head()
    modern = json.loads(call("echo", {"text": "hello"}))
    modern["params"]["_meta"] |= more
    return json.dumps(modern).encode(), None


@pytest.mark.parametrize("era", ["2025", "2026"])
async def test_a_call_with_a_place_for_a_task_prepares_no_way_for_somebody_elses(era: str) -> None:
    site = LegacySite()
    for related, status in [(None, 200)] * 3 + [({"taskId": "of b"}, 400), (None, 200)] * 2:
        body, headers = of_era(era, **{RELATED: related})
        assert (await site.post(body, headers=headers)).status == status
    assert len(site.seeing.seen) == 5
    assert all(b"of b" not in each[0] for each in site.seeing.seen)


@pytest.mark.parametrize("era", ["2025", "2026"])
async def test_a_trace_behind_one_that_is_none_is_found(era: str) -> None:
    site = LegacySite()
    for trace in ["x"] * 3 + [TRACE, "x"] * 2:
        body, headers = of_era(era, traceparent=trace)
        assert (await site.post(body, headers=headers)).status == 200
        found = site.keeping.more[-1][2]
        assert (None if found is None else found.traceparent) == (TRACE if trace == TRACE else None)
        assert site.seeing.seen[-1][3] == (TRACE.encode() if trace == TRACE else None)


async def test_another_call_between_the_steps_of_one_changes_nothing_in_what_is_remembered_of_it() -> None:
    """Two calls of one head wait in turn: what the second has left in the head says nothing of the first."""
    site, headers, gates = LegacySite(), head(), [asyncio.Event(), asyncio.Event()]
    site.use(site_policy(GRANT | {"allow_resources": ["demo/echo", "demo/other"]}))
    site.relist(*TOOLS, {"name": "other", "inputSchema": {"type": "object"}})
    waiting = iter(gates)

    async def wait(_exchange: Exchange) -> None:
        gate = next(waiting, None)
        if gate is not None:
            await gate.wait()

    for _ in range(2):
        await site.post(HELLO, headers=headers)  # the head is known from now on
    steps = site.steps()
    site.chain.use([*steps[:9], wait, *steps[9:]])
    first, second = (message({"arguments": {"name": "echo"}, "name": name}) for name in ("echo", "other"))
    calls = [asyncio.ensure_future(site.post(each, headers=headers)) for each in (first, second)]
    await asyncio.sleep(0)
    for gate, each in zip(gates[::-1], calls[::-1], strict=True):  # the first ends last
        gate.set()
        assert (await each).status == 200
    for _ in range(3):
        assert (
            await site.post(message({"arguments": {"name": "echo"}, "name": "digest"}), headers=headers)
        ).status == 403
        assert (await site.post(first, headers=headers)).status == 200
    assert {each.resource for each in site.recorder.records} == {"demo/echo", "demo/other", "demo/digest"}


# --- ways ------------------------------------------------------------------------------------------------------------


def many(site: LegacySite, count: int) -> list[bytes]:
    """Calls of as many tools, all of them granted."""
    names = [f"tool-{number}" for number in range(count)]
    site.use(site_policy({"allow_resources": ["demo/*"], "allow_methods": ["read"]}))
    site.relist(*({"name": name, "inputSchema": {"type": "object"}} for name in names))
    return [message({"name": name, "arguments": {"n": 1}}) for name in names]


@pytest.mark.parametrize("session", [None, SESSION])
async def test_tools_that_take_turns_under_one_head_keep_their_short_ways(session: str | None) -> None:
    site, headers = LegacySite(), head(Mcp_Session_Id=session)
    bodies = many(site, 5)
    for _ in range(2):
        for body in bodies:
            assert (await site.post(body, headers=headers)).status == 200
    ways = site.ways()
    assert len(ways) == 5
    assert max(site.parts()) <= SHORT
    for _ in range(40):
        for body in bodies:
            assert (await site.post(body, headers=headers)).status == 200
    assert site.ways() == ways, "made anew"
    assert [each.resource for each in site.recorder.records[-5:]] == [f"demo/tool-{number}" for number in range(5)]


async def test_a_head_remembers_only_so_many_guesses() -> None:
    site, headers = LegacySite(), head()
    bodies = many(site, 40)
    for _ in range(3):
        for number, body in enumerate(bodies):
            assert (await site.post(body, headers=headers)).status == 200
            assert site.recorder.records[-1].resource == f"demo/tool-{number}"
            assert len(site.ways()) <= 16
    guesses = [message({"arguments": {"name": f"x{number}"}, "name": "tool-1"}) for number in range(1000)]
    for body in guesses[:500]:
        assert (await site.post(body, headers=headers)).status == 200
        assert len(site.ways()) <= 16
    assert {each.resource for each in site.recorder.records[-500:]} == {"demo/tool-1"}


async def test_forms_that_take_turns_under_one_guess_make_their_way_anew_only_so_often() -> None:
    site, headers, forms = LegacySite(), head(), (HELLO, echo(_meta={"progressToken": 1}))
    for number in range(60):
        assert (await site.post(forms[number % 2], headers=headers)).status == 200
    ways = site.ways()
    assert max(site.parts()) <= SHORT
    for number in range(6):
        assert (await site.post(forms[number % 2], headers=headers)).status == 200
    assert site.ways() == ways
    other = message({"name": "digest", "arguments": {}})
    assert (await site.post(other, headers=headers)).status == 403


class ShortSender:
    """Notes what it is given of what it was not made for; then the call goes the long way."""

    outbox = None

    def __init__(self, exchange: Exchange, wrong: list[str]) -> None:
        self.made_for, self.wrong = exchange.resource, wrong

    def send(self, exchange: Exchange, _call: object) -> bool:
        if exchange.message is None or (exchange.resource, exchange.message.method) != (self.made_for, "tools/call"):
            self.wrong.append(f"{exchange.resource} {exchange.message} by the sender of {self.made_for}")
        return False


async def test_a_way_that_wore_out_leads_nothing_else_to_its_upstream() -> None:
    """A server that lists its tools anew again and again, and bodies that seem to name one thing alike."""
    site, headers, wrong = LegacySite(), head(), list[str]()
    site.upstream.sender = lambda exchange: ShortSender(exchange, wrong)  # type: ignore[attr-defined]
    site.use(site_policy({"allow_resources": ["demo/*"], "allow_methods": ["read"]}))

    def named(tool: str) -> bytes:
        return message({"arguments": {"name": "x"}, "name": tool})

    for number in range(60):
        site.relist(*(dict(tool) for tool in TOOLS))
        assert (await site.post(named("digest" if number % 7 == 6 else "echo"), headers=headers)).status == 200
    others = [
        named("digest"),
        message({"requestId": 7, "name": "x"}, "notifications/cancelled", id=None).replace(b', "id": null', b"").replace(b'"id": null, ', b""),
        message({"clientInfo": {"name": "x"}, "protocolVersion": "2025-11-25", "capabilities": {}}, "initialize"),
        message({"name": "x", "arguments": {}}, "prompts/get"),
        message({"arguments": {"name": "x"}}, "tools/list"),
    ]  # fmt: skip
    for _ in range(3):
        for body in (named("echo"), *others):
            request = site.heads.request(request_bytes(HOST, body, headers))
            assert request is not None
            (begun,) = site.chain.begin([(request, site.peers["a"], lambda _answer: None)])
            if isinstance(begun, Call):
                await begun.wait()
    assert not wrong
    assert not site.errors


@pytest.mark.parametrize("name", ["x" * 2000, ["x"] * 2000, {"x": "y"}])
async def test_what_a_client_names_is_not_kept_unless_it_may_be_a_name(name: object) -> None:
    site, headers = LegacySite(), head()
    await site.post(HELLO, headers=headers)
    (known,) = site.heads._heads.values()
    for _ in range(3):
        assert (await site.post(message({"name": name, "arguments": {}}), headers=headers)).status >= 400
        assert known.agreement is None or known.agreement.named == "echo"
    for _ in range(3):
        assert (await site.post(HELLO, headers=headers)).status == 200
    assert max(site.parts()) <= SHORT


def test_a_sender_goes_on_under_the_credentials_of_the_moment() -> None:
    """Else no call would go the short way any more once a secret was renewed."""
    sent: list[bytes] = []

    def lane(name: str) -> Any:
        connection = SimpleNamespace(request=lambda data, _timeout, _call: sent.append(data))
        pool = SimpleNamespace(take_idle=lambda: connection)
        return SimpleNamespace(pool=pool, former=False, name=name.encode())

    before, now = lane("before"), lane("now")
    upstream = SimpleNamespace(
        guard=SimpleNamespace(ordinary=lambda _name: None), timeouts=SimpleNamespace(of=lambda _exchange: 1.0),
        head_of=lambda _exchange, lane: b"POST /mcp HTTP/1.1\r\nauthorization: %b\r\n" % lane.name, lane_of=lambda _exchange: now,
    )  # fmt: skip
    own = SimpleNamespace(passing=True, term=None)
    breakers = SimpleNamespace(of={"a": own})
    places = SimpleNamespace(running=0, bound=9, ended_well=None)
    protected = SimpleNamespace(breakers=breakers, name="demo", bulkhead=places)
    exchange = SimpleNamespace(
        client=SimpleNamespace(id="a"), request=SimpleNamespace(known=None), message=SimpleNamespace(raw=b"{}")
    )
    sender = HttpSender(protected, upstream, exchange, before)  # type: ignore[arg-type]
    for _ in range(2):
        assert sender.send(exchange, SimpleNamespace())  # type: ignore[arg-type]
        before.former = True
    assert [b"before" in each for each in sent] == [True, False]


async def test_a_session_that_is_over_is_kept_by_no_way() -> None:
    site, headers = LegacySite(), head(Mcp_Session_Id=SESSION)
    for _ in range(3):
        assert (await site.post(HELLO, headers=headers)).status == 200
    assert max(site.parts()) <= SHORT
    over = weakref.ref(site.session)
    site.sessions.close(site.session)
    del site.session, site.upstream.seen[:]
    gc.collect()
    assert over() is None


# --- what changes ----------------------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[LegacySite], Any], int, str]] = {
    "nothing": (lambda _site: None, 200, "granted"),
    "another policy that grants it": (lambda site: site.use(site_policy()), 200, "granted"),
    "a policy that does not": (lambda site: site.use(site_policy(OTHER_GRANT)), 403, "resource-not-granted"),
    "a policy with a filter": (
        lambda site: site.use(site_policy(GRANT | {"resource_filters": {"demo/echo": {"text": ["bye"]}}})),
        403,
        "argument-not-allowed",
    ),
    "the certificate's end": (Site.end_certificate, 401, "certificate-expired"),
    "a certificate of nobody's": (Site.drop_client, 401, "certificate-unknown"),
    "a tool that went away": (Site.forget_tools, 403, "tool-unlisted"),
    "a tool listed anew": (lambda site: site.relist(dict(TOOLS[0])), 200, "granted"),
    "other steps": (lambda site: site.chain.use([Hygiene(["elsewhere"], []), *site.steps()[1:]]), 421, "host"),
}
OF_SESSIONS: dict[str, tuple[Callable[[LegacySite], Any], int, str]] = {
    "its end": (lambda site: site.sessions.close(site.session), 404, "session-unknown"),
    "its end here": (lambda site: site.sessions.forget(site.session), 404, "session-unknown"),
    "another's under its id": (
        lambda site: (site.sessions.forget(site.session), site.open("b")), 404, "session-unknown"
    ),
    "one at another upstream": (lambda site: setattr(site.session, "upstream", "other"), 404, "session-unknown"),
    "a new one under its id": (lambda site: (site.sessions.forget(site.session), site.open("a")), 200, "granted"),
    "another version": (lambda site: setattr(site.session, "version", "2025-03-26"), 200, "granted"),
    "a version, first of all": (lambda site: setattr(site.session, "version", ""), 200, "granted"),
}  # fmt: skip


@pytest.mark.parametrize("session", [None, SESSION])
@pytest.mark.parametrize("name", CHANGES)
async def test_what_changes_between_two_calls_counts_at_once(name: str, session: str | None) -> None:
    await changed(CHANGES[name], head(Mcp_Session_Id=session))


@pytest.mark.parametrize("version", ["2025-11-25", None])
@pytest.mark.parametrize("name", OF_SESSIONS)
async def test_what_changes_in_its_session_counts_at_once(name: str, version: str | None) -> None:
    await changed(OF_SESSIONS[name], head(Mcp_Session_Id=SESSION, MCP_Protocol_Version=version))


async def changed(change: tuple[Callable[[LegacySite], Any], int, str], headers: Headers) -> None:
    does, status, rule = change
    site = LegacySite()
    for _ in range(3):
        assert (await site.post(HELLO, headers=headers)).status == 200
    assert max(site.parts()) <= SHORT
    does(site)
    first = await site.outcome(HELLO, headers)
    assert (first[0], first[3][0].rule) == (status, rule)
    assert await site.outcome(HELLO, headers) == first
    assert await alone(site, HELLO, headers) == first
    if status == 200 and headers.get("Mcp-Session-Id") is not None:
        used = site.seeing.seen[-1][1]
        assert used is site.sessions._sessions[SESSION], "a session that is another one now"


async def test_the_upstream_of_a_session_hears_the_version_that_the_session_has() -> None:
    site = LegacySite("2025-06-18")
    for headers, told in (
        (head(Mcp_Session_Id=SESSION), b"2025-06-18"),
        (head(Mcp_Session_Id=SESSION, MCP_Protocol_Version="2025-06-18"), b"2025-06-18"),
        (head(Mcp_Session_Id=SESSION, MCP_Protocol_Version=None), None),
    ):
        for _ in range(4):
            assert (await site.post(HELLO, headers=headers)).status == 200
            assert site.seeing.seen[-1][1:3] == (site.session, told)
    site.session.version = "2025-03-26"
    for _ in range(4):
        assert (await site.post(HELLO, headers=head(Mcp_Session_Id=SESSION))).status == 200
        assert site.seeing.seen[-1][2] == b"2025-03-26"


async def test_a_session_is_its_clients_alone_however_often_it_repeats() -> None:
    site, headers = LegacySite(), head(Mcp_Session_Id=SESSION)
    theirs = message({"name": "digest", "arguments": {}})
    for _ in range(4):
        assert (await site.post(HELLO, "a", headers)).status == 200
        for body in (HELLO, theirs):
            assert (await site.post(body, "b", headers)).status == 404
            assert site.recorder.records[-1].rule == "session-unknown"
    assert {each[1] for each in site.seeing.seen} == {site.session}
    other = site.open("b", "the-session-of-b")
    for _ in range(4):
        assert (await site.post(theirs, "b", head(Mcp_Session_Id="the-session-of-b"))).status == 200
        assert site.seeing.seen[-1][1] is other
        assert (await site.post(HELLO, "a", head(Mcp_Session_Id="the-session-of-b"))).status == 404


async def test_a_call_that_repeats_keeps_its_session_in_use() -> None:
    site, headers = LegacySite(), head(Mcp_Session_Id=SESSION)
    for _ in range(4):
        site.session.last_used = 0.0
        assert (await site.post(HELLO, headers=headers)).status == 200
        assert site.session.last_used > 0.0
