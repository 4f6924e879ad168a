"""Starting and stopping: nobody waits for one who will never answer."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from mcpsec.signing import SignedMessage, Signer, SigningKey, load_private_key
from tests.fixtures.deployments import fixture_command
from tests.fixtures.raw import RawClient, call
from tests.gateway.steps.test_steps import HANDSHAKE, legacy

SILENT = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_silent_upstream_delays_the_others_by_seconds_only(deployment: Any, gateway: Any) -> None:
    made = deployment({"deaf": {"command": SILENT}, "demo": {"builtin": "demo"}})
    began = time.monotonic()
    running = gateway(made)
    assert time.monotonic() - began < 40, "a minute is what the silent one would be given alone"
    with RawClient(running) as client:
        assert client.post(call("echo", {"text": "hello"}), path="/mcp/demo").status == 200


def test_a_stream_without_end_does_not_delay_the_stop(deployment: Any, gateway: Any) -> None:
    made = deployment({"own": {"command": fixture_command()}})
    made.document["server"]["limits"] = {"drain_timeout": "60s"}
    made.write()
    running = gateway(made)
    with RawClient(running) as opening, RawClient(running) as listening:
        session = opening.post(legacy("initialize", HANDSHAKE)).headers["mcp-session-id"]
        listening.send(
            f"GET /mcp HTTP/1.1\r\nHost: {listening.host}\r\nAccept: text/event-stream\r\n"
            f"MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: {session}\r\n\r\n".encode()
        )
        assert b"200 OK" in listening.socket.recv(4096)
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 30


def test_the_key_of_the_client_certificate_signs(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    made = deployment({"demo": {"builtin": "demo"}}, require=("mtls", "signature"))
    running = gateway(made)
    body = call("echo", {"text": "hello"})
    meta = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "echo")]

    def signed_with(key: Path, certificate: Path) -> dict[str, str]:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        from mcpsec.signing import thumbprint

        der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
        signing = SigningKey(thumbprint(der), private_key=load_private_key(key))
        message = SignedMessage.from_url("POST", running.url, headers=meta, body=body)
        return dict(Signer(signing, scheme="rfc9421").sign(message))

    with RawClient(running) as client:
        assert client.post(body, signed_with(made.client.key, made.client.certificate)).status == 200
        assert client.post(body, signed_with(made.other.key, made.other.certificate)).status == 401
        assert client.post(body, signed_with(made.other.key, made.client.certificate)).status == 401
