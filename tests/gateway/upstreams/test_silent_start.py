"""An HTTP upstream that is no MCP server when the gateway starts: its operator hears so, its callers get no "denied"."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mcpsec.gateway.upstreams.http_client import UpstreamFault
from mcpsec.gateway.upstreams.python_app import load_app
from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import RawClient, call

from .test_http import FaultyServer

SAID = r"gateway: the upstream 'web' does not answer, it is tried again with each request: "


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # the name that http.server asks for
        self.rfile.read(int(self.headers["content-length"]))
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def wrong_path() -> Iterator[str]:
    """A web server that knows no such path."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/mpc"
        server.shutdown()
        thread.join()


def serve(deployment: Any, gateway: Any, url: str) -> Gateway:
    started: Gateway = gateway(deployment({"web": {"url": url}}))
    return started


def test_a_wrong_path_is_told_and_is_no_denial(deployment: Any, gateway: Any, wrong_path: str) -> None:
    running = serve(deployment, gateway, wrong_path)
    assert f"{SAID}it refused the handshake: the upstream answered 404" in running.stderr()
    with RawClient(running) as client:
        for _ in range(2):
            answer = client.post(call("echo"))
            assert (answer.status, answer.code) == (503, 50301)


def test_a_port_where_nobody_listens_is_told_and_is_no_denial(deployment: Any, gateway: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    running = serve(deployment, gateway, f"http://127.0.0.1:{port}/mcp")
    assert f"{SAID}the upstream can't be reached: Connection refused" in running.stderr()
    with RawClient(running) as client:
        for _ in range(2):
            answer = client.post(call("echo"))
            assert (answer.status, answer.code) == (503, 50301)


def test_of_a_server_that_answers_nothing_is_said_and_what_it_lacks_is_denied(deployment: Any, gateway: Any) -> None:
    server = FaultyServer()
    try:
        running = serve(deployment, gateway, server.url)
        assert SAID not in running.stderr()
        with RawClient(running) as client:
            assert client.post(call("echo")).status == 200
            assert client.post(call("no-such-tool")).status == 403
    finally:
        server.close()


def test_what_takes_no_request_is_no_application() -> None:
    with pytest.raises(UpstreamFault, match="neither"):
        load_app("os:getcwd", None)
    assert load_app("tests.gateway.upstreams.test_silent_start:application", None) is application


async def application(scope: Any, receive: Any, send: Any) -> None:
    """ASGI."""
