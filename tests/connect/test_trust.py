"""What a closed connection means to the one who has to do something about it."""

import contextlib
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mcpsec.connect import Credentials, exchange
from mcpsec.connect.http1 import HttpClient, HttpFailure
from mcpsec.connect.trust import client_context, closed_after_handshake, refusal_of
from tests.fixtures.pki import Authority
from tests.fixtures.processes import PATIENCE


def test_a_connection_closed_after_the_handshake_is_explained_by_the_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.client("agent", "spiffe://x/agent", trusts=authority.certificate).certificate
    early, late = (closed_after_handshake(certificate, datetime(year, 1, 1, tzinfo=UTC)) for year in (2020, 2090))
    assert "begins only on" in early.message and "clock" in early.hint
    assert "ended on" in late.message and "renew" in late.hint
    assert "does not accept this client certificate" in closed_after_handshake(certificate).message
    assert "demands a client certificate" in closed_after_handshake(None).message
    (tmp_path / "gone.pem").write_text("no certificate")
    assert "does not accept" in closed_after_handshake(tmp_path / "gone.pem").message


def _end(connection: socket.socket) -> None:
    """Close as a balancer does whose backend has stopped, and a gateway that is full."""


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read_and_end(connection: socket.socket) -> None:
    connection.recv(1)


def _shaken(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    def end(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True):
            pass

    return end


@contextlib.contextmanager
def _closing(how: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[None]]]:
    """A server that ends each connection; its port, and one entry for each."""
    listening, taken = socket.create_server(("127.0.0.1", 0)), list[None]()
    over = threading.Event()

    def serve() -> None:
        listening.settimeout(0.05)
        while not over.is_set():
            with contextlib.suppress(OSError), listening.accept()[0] as connection:
                taken.append(None)
                connection.settimeout(PATIENCE)
                how(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1], taken
    finally:
        over.set()
        thread.join(PATIENCE)
        listening.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _client(authority: Authority) -> tuple[ssl.SSLContext, Path]:
    agent = authority.client("agent", "spiffe://x/agent", trusts=authority.certificate)
    return client_context(ca=agent.ca, certificate=agent.certificate, key=agent.key), agent.certificate


@pytest.mark.parametrize("how", [_end, _reset, _read_and_end])
@pytest.mark.anyio
async def test_who_ends_a_connection_before_the_handshake_is_over_judges_no_certificate(
    authority: Authority, how: Callable[[socket.socket], None]
) -> None:
    context, certificate = _client(authority)
    agent = authority.client("other", "spiffe://x/other", trusts=authority.certificate)
    with _closing(how) as (port, taken):
        assert refusal_of("127.0.0.1", port, context, certificate) is None
        assert taken
        client = HttpClient(f"https://127.0.0.1:{port}/mcp", Credentials(agent.certificate, agent.key, agent.ca))
        assert await client._refusal() is None
        with pytest.raises(HttpFailure) as raised:
            await client.request("POST", {}, b"{}")
        assert not raised.value.refused
        await client.close()


def _server_context(authority: Authority) -> ssl.SSLContext:
    return authority.server("127.0.0.1", trusts=authority.certificate).server_context()


@pytest.mark.anyio
async def test_who_ends_it_after_the_handshake_may_do_so(authority: Authority) -> None:
    context, certificate = _client(authority)
    agent = authority.client("other", "spiffe://x/other", trusts=authority.certificate)
    with _closing(_shaken(_server_context(authority))) as (port, _):
        refusal = refusal_of("127.0.0.1", port, context, certificate)
        assert refusal is not None and "closed the connection after the handshake" in refusal.message
        client = HttpClient(f"https://127.0.0.1:{port}/mcp", Credentials(agent.certificate, agent.key, agent.ca))
        failure = await client._refusal()
        assert failure is not None and "closed the connection after the handshake" in failure.message
        await client.close()


@pytest.mark.parametrize("ticks", [0.0, 0.9])
def test_all_addresses_of_a_host_have_one_deadline(
    authority: Authority, ticks: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on with each look at it: at the third address of four the two seconds are over."""
    context, certificate = _client(authority)
    with (
        _closing(_shaken(_server_context(authority))) as (port, taken),
        socket.create_server(("127.0.0.1", 0)) as gone,
    ):
        closed = gone.getsockname()
        gone.close()
        places = [*([closed] * 3), ("127.0.0.1", port)]
        known = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: known)
        clock = itertools.count()
        time = SimpleNamespace(monotonic=lambda: ticks * next(clock))
        monkeypatch.setattr("mcpsec.connect.trust.time", time)
        refusal = refusal_of("127.0.0.1", port, context, certificate, seconds=2.0)
        assert (refusal is None, len(taken)) == ((True, 0) if ticks else (False, 1))


def test_the_look_goes_where_the_request_went_and_takes_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """IDNA 2003, which sockets speak, makes fass.example of it: another machine, which would see the certificate."""
    looks = list[Any]()
    monkeypatch.setattr(exchange, "refusal_of", lambda *place, seconds: looks.append((*place[:2], seconds)))
    for timeout in (0.5, 30.0):
        with exchange.Exchange("https://xn--fa-hia.example/mcp", client_context(), timeout=timeout) as asked:
            asked._refusal()
    assert looks == [("xn--fa-hia.example", 443, 0.5), ("xn--fa-hia.example", 443, 2.0)]
