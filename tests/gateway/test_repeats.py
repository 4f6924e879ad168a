"""Requests that repeat one take a shortened way: whatever changes in between must be met as on the whole way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from mcpsec.deployment.model import Auth, Client, Limits, Rate
from mcpsec.gateway import chain as chain_module
from mcpsec.gateway.catalogue import Catalogue
from mcpsec.gateway.chain import Chain
from mcpsec.gateway.failures import AuthenticationFailures, certified
from mcpsec.gateway.handles import HandleSeal
from mcpsec.gateway.heads import KnownHeads
from mcpsec.gateway.limits import InFlight
from mcpsec.gateway.message import Answer, Exchange, Peer, Request
from mcpsec.gateway.policy import Policy
from mcpsec.gateway.repeats import Way
from mcpsec.gateway.sessions import SessionTable
from mcpsec.gateway.state import MemoryState
from mcpsec.gateway.steps import Step
from mcpsec.gateway.steps.authorise import Authorise
from mcpsec.gateway.steps.factors import Factors, FactorsComplete
from mcpsec.gateway.steps.handles import OpenHandles
from mcpsec.gateway.steps.hygiene import Hygiene
from mcpsec.gateway.steps.identity import CertificateIdentity
from mcpsec.gateway.steps.parse import ParseMessage
from mcpsec.gateway.steps.rate import RateLimit, ToolRate
from mcpsec.gateway.steps.route import Router
from mcpsec.gateway.steps.session import FindSession
from mcpsec.gateway.steps.tasks import FindTask
from mcpsec.gateway.steps.tools import KnownTool
from mcpsec.gateway.steps.trace import Trace
from mcpsec.gateway.tasks import TaskTable
from tests.fixtures.raw import call, request_bytes
from tests.gateway.policy.build import deployment

pytestmark = pytest.mark.anyio

HOST = "gateway.example:8443"
GRANT = {"allow_resources": ["demo/echo"], "allow_methods": ["read"]}
OTHER_GRANT = {"allow_resources": ["demo/digest"], "allow_methods": ["read"]}
HELLO = call("echo", {"text": "hello"})
TOOLS = [{"name": "echo", "inputSchema": {"type": "object"}}, {"name": "digest", "inputSchema": {"type": "object"}}]
HEADED = {"type": "object", "properties": {"text": {"type": "string", "x-mcp-header": "Text"}}}


class Upstream:
    """Answers every call at once."""

    name = "demo"

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.catalogue.learn(TOOLS)
        self.listed = list(TOOLS)
        self.bodies: list[bytes] = []

    async def ask(self, client: Client, method: str, params: dict[str, Any], session: Any = None) -> dict[str, Any]:
        assert method == "tools/list"
        return {"tools": self.listed}

    async def call(self, exchange: Exchange) -> Answer:
        self.bodies.append(exchange.request.body)
        return Answer(200, [], b"{}")


class Record(NamedTuple):
    """What the log would say."""

    status: int
    rule: str
    decision: str
    client: str
    identified_by: str
    resource: str
    method_class: str
    arguments: Any
    quotas: int
    era: Any
    kind: str


class Recorder:
    healthy = True

    def __init__(self) -> None:
        self.records: list[Record] = []

    def request(self, exchange: Exchange) -> None:
        self.records.append(
            Record(
                exchange.status, exchange.rule, exchange.decision, "" if exchange.client is None else exchange.client.id,
                exchange.identified_by, exchange.resource, exchange.method_class, exchange.arguments,
                len(exchange.quotas), exchange.era, exchange.kind,
            )
        )  # fmt: skip


def site_policy(grants: dict[str, Any] = GRANT) -> Policy:
    return Policy(deployment({"demo": {"*": "read"}}, {"a": grants, "b": OTHER_GRANT}))


class Site:
    """The steps of a gateway with mutual TLS, in front of one upstream."""

    def __init__(self, rate: Rate | None = None) -> None:
        made = deployment({"demo": {"*": "read"}}, {"a": GRANT, "b": OTHER_GRANT})
        self.deployment = replace(made, auth=Auth(require=("mtls",)))
        self.policy = Policy(self.deployment)
        self.upstream, self.recorder = Upstream(), Recorder()
        self.clients = {each.id: each for each in self.deployment.clients}
        self.peers = {each.id: self.peer(each) for each in self.clients.values()}
        self.rate = rate or Rate(1000, 1.0, 1000)
        self.heads = KnownHeads(Limits())
        self.errors: list[Exception] = []
        self.chain = Chain(self.steps(), InFlight(10), self.recorder, lambda error, _: self.errors.append(error))  # type: ignore[arg-type]

    def peer(self, client: Client) -> Peer:
        return Peer("192.0.2.1", fingerprint="00", not_after=time.time() + 1000, der=b"x", client=client)

    def steps(self) -> list[Step]:
        factors, state = Factors(self.deployment), MemoryState()
        self.failures = AuthenticationFailures(Rate(3, 3600.0, 3))
        return [
            Hygiene([HOST], []),
            CertificateIdentity(factors, self.failures),
            FactorsComplete(factors, lambda _exchange: []),
            RateLimit(self.clients.values(), self.rate, state),
            Router({"demo": self.upstream}, None),
            ParseMessage(32),
            Trace(),
            FindSession(SessionTable(Limits())),
            FindTask(TaskTable()),
            Authorise(lambda: self.policy, None),
            ToolRate(self.deployment.upstreams.values(), state),
            KnownTool(),
            OpenHandles(HandleSeal(60.0), lambda: self.policy),
        ]

    async def post(self, body: bytes, client: str = "a", headers: dict[str, str | None] | None = None) -> Answer:
        data = request_bytes(HOST, body, headers)
        request = self.heads.request(data)
        if request is None:
            request = Request(None, body)
            request.method, request.path = b"POST", b"/mcp"
            for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
                request.add_header(*line.split(b": ", 1))
            self.heads.remember(data, request)
        answer = await self.chain.handle(request, self.peers[client])
        assert isinstance(answer, Answer)
        assert not self.errors
        return answer

    def relist(self, *tools: dict[str, Any]) -> None:
        self.upstream.catalogue.learn(tools)

    def end_certificate(self) -> None:
        self.peers["a"] = replace(self.peers["a"], not_after=time.time() - 1)

    def use(self, policy: Policy) -> None:
        self.policy = policy

    def forget_tools(self) -> None:
        """As another client's list shows it."""
        self.upstream.listed = []
        catalogue = self.upstream.catalogue
        catalogue.replace(catalogue.listing("b", None), [], asyncio.get_running_loop().time(), time.perf_counter())

    def drop_client(self) -> None:
        """As a reload does it whose file no longer has the certificate's client."""
        self.peers["a"] = replace(self.peers["a"], client=None)


def meta(**members: Any) -> bytes:
    message = json.loads(HELLO)
    message["params"]["_meta"] |= members
    return json.dumps(message).encode()


def params(**members: Any) -> bytes:
    message = json.loads(HELLO)
    message["params"] |= members
    return json.dumps(message).encode()


ECHO_HEADERS: dict[str, str | None] = {"Mcp-Name": "echo", "Mcp-Method": "tools/call"}
BODIES: dict[str, tuple[bytes, int, str]] = {
    "other arguments": (call("echo", {"text": "other", "more": [1]}, id="x"), 200, "granted"),
    "no arguments": (json.dumps(json.loads(HELLO) | {"params": {"name": "echo", "_meta": json.loads(HELLO)["params"]["_meta"]}}).encode(), 200, "granted"),
    "another tool under the same head": (call("digest", {"text": "hello"}), 400, "protocol"),
    "another method under the same head": (HELLO.replace(b"tools/call", b"tools/list"), 400, "protocol"),
    "another revision under the same head": (HELLO.replace(b"2026-07-28", b"2025-11-25"), 400, "protocol"),
    "a member twice": (HELLO.replace(b'"name": "echo"', b'"name": "echo", "name": "digest"'), 400, "protocol"),
    "a name in other letters": (params(Name="digest"), 400, "protocol"),
    "no JSON": (HELLO[:-1], 400, "protocol"),
    "a batch": (b"[" + HELLO + b"]", 400, "protocol"),
    "arguments that are a list": (params(arguments=[1]), 400, "target-missing"),
    "a name that is a list": (params(name=["echo"]), 400, "protocol"),
    "no _meta": (params(_meta=None), 400, "protocol"),
    "a state that nobody sealed": (params(requestState="x"), 400, "request-state"),
    "a task of somebody else": (meta(**{"io.modelcontextprotocol/related-task": {"taskId": "x"}}), 400, "task-unknown"),
    "a progress token": (meta(progressToken=1), 200, "granted"),
    "a trace": (meta(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), 200, "granted"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
async def test_another_body_under_a_head_that_repeats(name: str) -> None:
    body, status, rule = BODIES[name]
    site = Site()
    for _ in range(3):
        await site.post(HELLO)
    assert (await site.post(body, headers=ECHO_HEADERS)).status == status
    assert site.recorder.records[-1].rule == rule
    assert (await site.post(HELLO)).status == 200
    whole = await whole_way([HELLO, HELLO, HELLO, body, HELLO])
    assert site.recorder.records == whole.recorder.records
    assert site.upstream.bodies == whole.upstream.bodies


async def whole_way(bodies: Iterable[bytes]) -> Site:
    """What comes of them where no way is ever shortened."""
    site = Site()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_module, "way_of", lambda _exchange, _known, whole: whole)
        for body in bodies:
            await site.post(body, headers=ECHO_HEADERS if len(site.recorder.records) == 3 else None)
    return site


CHANGES: dict[str, tuple[Callable[[Site], Any], int, str]] = {
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
    "a tool that wants a header now": (lambda site: site.relist(TOOLS[0] | {"inputSchema": HEADED}), 400, "protocol"),
    "other steps": (lambda site: site.chain.use([Hygiene(["elsewhere"], []), *site.steps()[1:]]), 421, "host"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_what_changes_between_two_requests_counts_at_once(name: str) -> None:
    change, status, rule = CHANGES[name]
    site = Site()
    for _ in range(3):
        assert (await site.post(HELLO)).status == 200
    change(site)
    for _ in range(2):
        assert (await site.post(HELLO)).status == status
        assert site.recorder.records[-1].rule == rule


async def test_the_same_head_of_another_client_is_judged_for_that_client() -> None:
    site = Site()
    for _ in range(3):
        assert (await site.post(HELLO)).status == 200
        assert (await site.post(HELLO, "b")).status == 403
        assert (await site.post(call("digest"), "b")).status == 200
    assert [each.client for each in site.recorder.records] == ["a", "b", "b"] * 3
    # A file that is read again makes other clients, and an id may be somebody else's then.
    site.peers["a"] = site.peer(replace(site.clients["a"]))
    assert (await site.post(HELLO)).status == 200


async def test_repeated_requests_spend_tokens_of_the_same_bucket() -> None:
    site = Site(Rate(5, 3600.0, 5))
    statuses = [(await site.post(HELLO)).status for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    assert [each.quotas for each in site.recorder.records] == [1] * 7
    assert (await site.post(call("digest"), "b")).status == 200, "another client has a bucket of its own"


async def test_a_way_is_shorter_and_made_anew_only_so_often() -> None:
    site, forms = Site(), (HELLO, meta(progressToken=1))
    for number in range(60):
        assert (await site.post(forms[number % 2])).status == 200
    (head,) = site.heads._heads.values()
    way = head.ways["a", b""]
    assert way.changes == 16
    for number in range(6):
        await site.post(forms[number % 2])
    assert head.ways["a", b""] is way, "it was made anew once more"
    way.since -= 3600.0
    for number in range(6):
        await site.post(forms[number % 2])
    assert head.ways["a", b""] is not way, "what changed in another hour still counts"
    steady = Site()
    for _ in range(3):
        await steady.post(HELLO)
    (head,) = steady.heads._heads.values()
    assert isinstance(head.ways["a", b""], Way)
    assert len(head.ways["a", b""].parts) <= 6


async def test_whoever_repeats_has_proven_its_name_from_wherever_it_comes() -> None:
    """Strangers that fail in its name lock it out neither where it was known nor where it comes from now."""
    site = Site()
    for _ in range(3):
        await site.post(HELLO)
    site.peers["a"] = replace(site.peers["a"], address="192.0.2.9")
    await site.post(HELLO)
    for number in range(50):
        site.failures.failed(f"198.51.100.{number}", certified("a"))
    assert site.failures.check("192.0.2.1", certified("a")) is None
    assert site.failures.check("192.0.2.9", certified("a")) is None
    assert site.failures.check("198.51.100.200", certified("a")) is not None


async def test_of_many_callers_those_that_repeat_are_remembered() -> None:
    site = Site()
    for number in range(10_005):  # one more than are remembered, and it comes between them all the time
        if number % 100 == 0:
            await site.post(HELLO)
        site.failures.succeeded(f"2001:db8::{number:x}", "b")
    for number in range(50):
        site.failures.failed(f"198.51.100.{number}", certified("a"))
    assert site.failures.check("192.0.2.1", certified("a")) is None
    assert site.failures.check("2001:db8::1", certified("a")) is not None
