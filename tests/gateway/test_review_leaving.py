"""A client that says goodbye while answers are due: nothing is written to nobody, and the gateway has nothing to say."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import RawClient, call, request_bytes

DEMO = {"demo": {"builtin": "demo", "access": {"*": "read"}}}


class Bytes:
    """A TLS client whose bytes are sent when the test says so, so that a farewell can come with what is before it."""

    def __init__(self, gateway: Gateway) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = gateway.deployment.client.client_context()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=gateway.address[0])
        self.wire = socket.create_connection(gateway.address, timeout=60)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self._in.write(self.wire.recv(65536))
        self.flush()

    def flush(self) -> None:
        self.wire.sendall(self._out.read())

    def farewell(self) -> None:
        """Say that nothing more comes (close_notify)."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()


@pytest.mark.parametrize("pending", [1, 3, 14])
def test_whoever_leaves_with_answers_pending_is_no_trouble(deployment: Any, gateway: Any, pending: int) -> None:
    running: Gateway = gateway(deployment(DEMO))
    asked = request_bytes(running.authority, call("echo", {"text": "hello" * 100}))
    for _ in range(5):
        leaving = Bytes(running)
        leaving.tls.write(asked * pending)
        leaving.farewell()
        leaving.flush()
        with leaving.wire:
            while leaving.wire.recv(65536):  # until the gateway has closed its side
                pass
    with RawClient(running) as client:
        assert client.post(call("echo", {"text": "hello"})).status == 200
    # When the test ends the gateway must have written nothing unexpected to standard error.


def test_answers_before_the_farewell_arrive(deployment: Any, gateway: Any) -> None:
    running: Gateway = gateway(deployment(DEMO))
    asked = request_bytes(running.authority, call("echo", {"text": "hello"}))
    with RawClient(running) as client:
        for _ in range(3):
            client.send(asked * 4)
            assert [client.read().status for _ in range(4)] == [200] * 4
