"""Passive probes against servers that share no code with mcpsec, weak and strong, and against mcpsec itself."""

from __future__ import annotations

import http.server
import json
import secrets
import ssl
import threading

import pytest

from mcpsec.audit.probes.session import Credentials, target_of
from mcpsec.errors import UsageError
from tests.audit.helpers import failing, judged
from tests.fixtures.pki import Authority


class Server(http.server.BaseHTTPRequestHandler):
    """A server of the older era. ``strict`` names the controls that it has."""

    protocol_version = "HTTP/1.1"
    strict: frozenset[str] = frozenset()

    def answer(self, status, document=None, **headers):
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "origin" in self.strict and self.headers.get("Origin"):
            return self.answer(403)
        if "host" in self.strict and self.headers.get("Host", "").partition(":")[0] not in ("localhost", "127.0.0.1"):
            return self.answer(421)
        if "auth" in self.strict:
            return self.answer(401, {"error": "unauthorized"})
        if "type" in self.strict and self.headers.get("Content-Type") != "application/json":
            return self.answer(415)
        message = json.loads(body)
        self.server.methods.append(message.get("method"))
        if message.get("method") == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            self.server.sessions.append(secrets.token_hex(16))
            ident = self.server.sessions[-1]
            return self.answer(200, {"jsonrpc": "2.0", "id": 1, "result": result}, Mcp_Session_Id=ident)
        if "id" not in message:
            return self.answer(202)
        if message.get("method") == "tools/list" and self.headers.get("Mcp-Session-Id") in self.server.sessions:
            return self.answer(
                200, {"jsonrpc": "2.0", "id": 2, "result": {"tools": [{"name": "t", "inputSchema": {}}]}}
            )
        return self.answer(400, {"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "no session"}})

    def do_GET(self):
        public = self.path in ("/metrics", "/config") and "pages" not in self.strict
        return self.answer(200, {"secret": 1}) if public else self.answer(404)

    def do_OPTIONS(self):
        more = {} if "cors" in self.strict else {"Access_Control_Allow_Origin": "*"}
        return self.answer(204, **more)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(tmp_path):
    running = []

    def start(*strict, context=None):
        handler = type("Handler", (Server,), {"strict": frozenset(strict)})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.methods, server.sessions = [], []
        server.handle_error = lambda *_: None
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


def probed(tmp_path, url, **credentials):
    return judged(tmp_path, url, profile="passive", options={"credentials": Credentials(**credentials)})


def test_each_missing_control_is_seen_and_its_twin_passes(serve, tmp_path):
    weak = serve()
    found = probed(tmp_path, f"http://127.0.0.1:{weak.server_address[1]}/mcp")
    seen = {r.check: r for r in failing(found)}
    assert set(seen) == {"TLS001", "TLS002", "AUT001", "ORG001", "ORG002", "ORG003", "ORG004", "ERR002", "MON001"}
    assert seen["TLS001"].severity == "low"  # loopback
    assert seen["ORG001"].severity == "critical"
    assert "names 1 tools" in seen["AUT001"].observed
    assert set(weak.methods) <= {"server/discover", "initialize", "notifications/initialized", "tools/list"}
    strong = serve("origin", "host", "type", "pages", "cors")
    found = probed(tmp_path, f"http://127.0.0.1:{strong.server_address[1]}/mcp")
    assert {r.check for r in failing(found)} == {"TLS001", "TLS002", "AUT001"}
    closed = serve("auth", "pages", "cors", "origin", "host")
    found = probed(tmp_path, f"http://127.0.0.1:{closed.server_address[1]}/mcp")
    assert {r.check for r in failing(found)} == {"TLS001", "TLS002"}


def test_tls_facts_of_a_foreign_server(serve, tmp_path):
    servers, clients = Authority(tmp_path / "s", "S"), Authority(tmp_path / "c", "C")
    server = servers.server("server", trusts=clients.certificate)
    client = clients.client("client", "spiffe://t/c", trusts=servers.certificate)
    required = server.server_context()
    strict = serve("auth", "pages", "cors", "origin", "host", context=required)
    url = f"https://localhost:{strict.server_address[1]}/mcp"
    found = probed(tmp_path, url, certificate=client.certificate, key=client.key, ca=servers.certificate)
    assert failing(found) == []
    assert str(found.items[1].state) == "manual"  # 90 days are seen, that it goes on by itself is not
    passed = {r.check for r in found.results if r.state == "pass"}
    assert passed >= {"TLS001", "TLS002", "TLS006", "TLS007", "TLS008", "TLS009", "CRT001", "CRT002", "AUT001"}
    optional = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    optional.verify_mode = ssl.CERT_OPTIONAL
    optional.load_verify_locations(server.ca)
    optional.load_cert_chain(server.certificate, server.key)
    loose = serve("auth", "pages", "cors", "origin", "host", context=optional)
    url = f"https://localhost:{loose.server_address[1]}/mcp"
    assert {r.check for r in failing(probed(tmp_path, url, ca=servers.certificate))} == {"TLS002"}
    assert {r.check for r in failing(probed(tmp_path, url))} == {"TLS002", "TLS008"}


def test_nothing_there_is_not_clean(tmp_path):
    found = probed(tmp_path, "https://127.0.0.1:1/mcp")
    assert found.exit_code == 3
    static = judged(tmp_path, "https://127.0.0.1:1/mcp")
    assert static.exit_code == 3
    with pytest.raises(UsageError):
        target_of("https://user:pw@host/mcp")
