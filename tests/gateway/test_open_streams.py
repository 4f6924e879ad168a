"""An open stream ends with what its caller has proven itself by; a twin's beside it goes on."""

from __future__ import annotations

import asyncio
import datetime
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from mcpsec.certs import Pki, Purpose
from mcpsec.gateway.message import Exchange, Peer, Request
from mcpsec.gateway.open_streams import OpenStreams
from mcpsec.gateway.streams import recorded
from tests.fixtures.deployments import EVERYTHING, OTHER, TESTER
from tests.fixtures.gateway import Gateway
from tests.fixtures.issuer import AUDIENCE, Issuer, running_issuer
from tests.fixtures.pki import Authority, Identity
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.raw import RawClient, request_bytes
from tests.gateway.upstreams.test_sessions_http import CALL, LegacyServer, event, open_session

READ_AGAIN = r".*the deployment was read again: in use now"
CUT = r".*in use now, \d+ open connections cut"
LIFE = 10.0
NEWS = event({"method": "notifications/message", "params": {"level": "info", "data": "news"}})
KINDS = ["listening", "call"]

Headers = dict[str, str | None]


@pytest.fixture
def server() -> Iterator[LegacyServer]:
    """Every stream brings one piece of news, and that of a listener another when ``later`` is set, and its end."""
    made = LegacyServer()
    made.session, made.said, made.ends, made.later = b"upstream", NEWS, False, threading.Event()
    yield made
    made.later.set()
    made.close()


@dataclass
class Opened:
    """A stream that has brought its first news."""

    client: RawClient
    headers: Headers

    def rest(self) -> bytes:
        """Everything until its end."""
        return self.client.read().body


def open_stream(stack: ExitStack, running: Gateway, identity: Identity, kind: str, **extra: str) -> Opened:
    client = RawClient(running, identity)
    stack.callback(client.close)
    headers = {**open_session_with(client, extra), **extra}
    begin_stream(client, headers, kind)
    while b"news" not in client._buffer:
        assert client._more(), client._buffer
    return Opened(client, headers)


def begin_stream(client: RawClient, headers: Headers, kind: str) -> None:
    if kind == "call":
        client.send(request_bytes(client.host, CALL, headers))
    else:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.send(f"GET /mcp HTTP/1.1\r\nHost: {client.host}\r\nAccept: text/event-stream\r\n{lines}\r\n".encode())


def open_session_with(client: RawClient, extra: dict[str, str]) -> Headers:
    if not extra:
        return open_session(client)
    plain = client.post
    client.post = lambda body, headers=None, **more: plain(body, {**(headers or {}), **extra}, **more)  # type: ignore[method-assign]
    return open_session(client)


def goes_on(stream: Opened, server: LegacyServer) -> None:
    """A listener that was left alone hears the rest and a proper end."""
    assert server.later is not None
    server.later.set()
    assert stream.rest().count(b"news") == 2


def rules(running: Gateway) -> set[str]:
    return {each["rule"] for each in running.deployment.events() if each.get("rule")}


@pytest.fixture
def running(deployment: Any, gateway: Any, server: LegacyServer) -> Callable[..., Gateway]:
    def start(change: Callable[[dict[str, Any]], None], require: tuple[str, ...] = ("mtls",)) -> Gateway:
        made = deployment({"web": {"url": server.url, "timeout": "60s"}}, require=require)
        made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
        change(made.document)
        made.write()
        started: Gateway = gateway(made, expected=(READ_AGAIN, CUT))
        return started

    return start


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_and_its_connection_end_with_the_certificate(
    running: Callable[..., Gateway], server: LegacyServer, tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    authority = Authority(tmp_path_factory.mktemp("ca"), "Short-lived")

    def trust(document: dict[str, Any]) -> None:
        document["server"]["tls"]["client_ca"] = str(authority.certificate)

    site = running(trust)
    twin = authority.client("twin", OTHER, trusts=site.deployment.client.ca)
    with ExitStack() as stack:
        stays = open_stream(stack, site, twin, "listening")
        short = authority.client("short", TESTER, trusts=twin.ca, left=datetime.timedelta(seconds=LIFE))
        ends = x509.load_pem_x509_certificate(short.certificate.read_bytes()).not_valid_after_utc
        kept = RawClient(site, short)
        stack.callback(kept.close)
        open_session(kept)
        goes = open_stream(stack, site, short, kind)
        rest = goes.rest()
        assert datetime.datetime.now(datetime.UTC) >= ends
        assert rest.count(b"news") == 1
        assert (b"not authenticated" in rest) == (kind == "call"), "a call is told"
        for client in (kept, goes.client):  # an idle connection of that certificate, and the stream's own
            refused = client.post(CALL, goes.headers)
            assert (refused.status, refused.json["error"]["message"]) == (401, "not authenticated")
            assert client.is_closed()
        goes_on(stays, server)
    wait_until(lambda: "certificate-expired" in rules(site), "the event")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as made:
        yield made


def with_tokens(issuer: Issuer) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["auth"]["oauth"] = {
            "issuer": issuer.url, "audience": AUDIENCE, "sender_constrained": False, "clock_skew": "2s",
        }  # fmt: skip
        document["clients"][0]["oauth"] = {"client_id": "tester-app"}
        document["clients"][1]["oauth"] = {"client_id": "other-app"}

    return change


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_ends_with_the_token(
    running: Callable[..., Gateway], server: LegacyServer, issuer: Issuer, kind: str
) -> None:
    site = running(with_tokens(issuer), ("bearer",))
    anybody = site.deployment.client
    long_lived = f"Bearer {issuer.token(sub='o', client_id='other-app')}"
    with ExitStack() as stack:
        stays = open_stream(stack, site, site.deployment.other, "listening", Authorization=long_lived)
        end = int(time.time() + LIFE)
        short = f"Bearer {issuer.token(exp=end)}"
        goes = open_stream(stack, site, anybody, kind, Authorization=short)
        rest = goes.rest()
        assert time.time() >= end + 2, "as long as a request with it is accepted: its end and the clock skew"
        assert rest.count(b"news") == 1
        assert (b"not authenticated" in rest) == (kind == "call")
        goes_on(stays, server)
    wait_until(lambda: "token-expired" in rules(site), "the event")


@pytest.mark.parametrize("kind", KINDS)
def test_a_revoked_clients_stream_is_cut(
    running: Callable[..., Gateway], server: LegacyServer, tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    directory = tmp_path_factory.mktemp("revoked")
    with Pki.create(directory / "ca") as pki:
        authority = pki.authority(Purpose.CLIENT)
        revoked = pki.issue("revoked", Purpose.CLIENT, [TESTER])
        twin = pki.issue("twin", Purpose.CLIENT, [OTHER])

        def trust(document: dict[str, Any]) -> None:
            tls = document["server"]["tls"]
            tls["client_ca"], tls["crl"] = str(authority.bundle), str(authority.crl_file)

        site = running(trust)

        def identity(issued: Any) -> Identity:
            return Identity(issued.chain, issued.key, site.deployment.client.ca)

        with ExitStack() as stack:
            stays = open_stream(stack, site, identity(twin), "listening")
            goes = open_stream(stack, site, identity(revoked), kind)
            pki.revoke("revoked", "keyCompromise", Purpose.CLIENT)
            assert goes.rest().count(b"news") == 1
            assert goes.client.is_closed()
            goes_on(stays, server)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["bearer", "mtls"])
def test_a_client_that_is_taken_out_of_the_file_loses_its_stream(
    running: Callable[..., Gateway], server: LegacyServer, issuer: Issuer, by: str, kind: str
) -> None:
    change: Callable[[dict[str, Any]], None] = with_tokens(issuer) if by == "bearer" else lambda _: None
    site = running(change, (by,))
    made = site.deployment
    extra, more = {}, {}
    if by == "bearer":
        extra["Authorization"] = f"Bearer {issuer.token()}"
        more["Authorization"] = f"Bearer {issuer.token(sub='o', client_id='other-app')}"
    with ExitStack() as stack:
        stays = open_stream(stack, site, made.other, "listening", **more)
        goes = open_stream(stack, site, made.client, kind, **extra)
        del made.document["clients"][0]
        made.write()
        assert goes.rest().count(b"news") == 1
        goes_on(stays, server)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_begins_when_its_client_is_taken_out_already_ends_too(
    running: Callable[..., Gateway], server: LegacyServer, issuer: Issuer, kind: str
) -> None:
    """A server may answer with a stream only when it has something to say."""
    asked, answer, promptly = threading.Event(), threading.Event(), server._answer

    def late(connection: socket.socket, message: dict[str, Any]) -> None:
        if message.get("method") in (None, "tools/call"):
            asked.set()
            answer.wait(PATIENCE)
        promptly(connection, message)

    server._answer = late  # type: ignore[method-assign]
    site = running(with_tokens(issuer), ("bearer",))
    extra = {"Authorization": f"Bearer {issuer.token()}"}
    with RawClient(site) as client:
        begin_stream(client, {**open_session_with(client, extra), **extra}, kind)
        wait_until(asked.is_set, "the request")
        del site.deployment.document["clients"][0]
        site.deployment.write()
        wait_until(lambda: "was read again" in site.stderr(), "the reload")
        answer.set()
        heard = client.read().body
    assert b"news" not in heard and b'"result"' not in heard
    assert (b"not authenticated" in heard) == (kind == "call")
    wait_until(lambda: "client-removed" in rules(site), "the event")


@pytest.mark.parametrize("ends_at", [0, 2])
def test_parts_that_are_there_already_are_not_passed_on_after_the_end(ends_at: int) -> None:
    """Nobody waits for them, so that no deadline comes between."""
    streams, given, record = OpenStreams(), [], []

    async def parts() -> AsyncGenerator[bytes, None]:
        for number in range(5):
            if number == ends_at:
                streams.end_where(lambda _: "client-removed")
            yield b"data: %d\n\n" % number

    async def listen() -> None:
        exchange = Exchange(Request(), Peer("127.0.0.1"), "1")
        recorder: Any = SimpleNamespace(request=lambda each: record.append((each.decision, each.rule)))
        async for part in recorded(exchange, parts(), recorder, most=1000, streams=streams):
            given.append(part)

    asyncio.run(listen())
    assert given == [b"data: %d\n\n" % number for number in range(ends_at)]
    assert record == [("refused", "client-removed")]


def test_a_client_that_does_not_read_is_cut_all_the_same(
    running: Callable[..., Gateway], server: LegacyServer, issuer: Issuer
) -> None:
    """Its stream waits for it to read, and nobody for the stream's next part."""
    server.said = NEWS + event({"method": "notifications/message", "params": {"data": "x" * 1_000_000}}) * 30
    site = running(with_tokens(issuer), ("bearer",))
    with ExitStack() as stack:
        short = f"Bearer {issuer.token(exp=int(time.time() + LIFE))}"
        goes = open_stream(stack, site, site.deployment.client, "listening", Authorization=short)
        wait_until(lambda: "token-expired" in rules(site), "the event")
        assert goes.client.is_closed()
