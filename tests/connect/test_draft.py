"""A legacy session around one signed call: what the server said goes back as it came."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mcpsec.connect.draft import LegacySession
from mcpsec.connect.exchange import Exchange
from mcpsec.signing import Signer, SigningKey


@pytest.mark.parametrize("ident", [b"s-1", b"\xe9\xff", "☃".encode()], ids=["ASCII", "Latin-1", "UTF-8"])
def test_a_session_id_goes_back_octet_by_octet(ident: bytes) -> None:
    """Octets above 127 are no text (RFC 9110, section 5.5): read as one, the server would not know its session."""
    seen: list[bytes | None] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            said = self.headers["mcp-session-id"]
            seen.append(None if said is None else said.encode("latin-1"))
            answer = {"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": "2025-11-25"}}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("mcp-session-id", ident.decode("latin-1"))
            self.end_headers()
            self.wfile.write(body)

        do_DELETE = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/mcp"
        try:
            with Exchange(url, None) as exchange:
                session = LegacySession(exchange, Signer(SigningKey("k", secret=b"s" * 32)), url)
                session.open()
                session.close()
        finally:
            server.shutdown()
            thread.join()
    assert seen == [None, ident, ident]
