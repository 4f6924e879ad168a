"""An MCP server of both eras that shares no code with mcpsec, with every control that probes look for.

``lacking`` names the one that it does not have. It speaks TLS with client certificates, verifies ``hmac-sha256``
signatures (written anew from docs/signing.md), keeps a policy for two clients, and says no in the right places.
"""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import re
import ssl
import threading
import time
import traceback
import uuid

MODERN = "2026-07-28"
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 100}}, "required": ["text"]}
TOOLS = {
    name: {"name": name, "description": text, "inputSchema": SCHEMA, "annotations": {"readOnlyHint": True}}
    for name, text in (("echo", "Gives the text back."), ("lookup", "Finds a word."), ("report", "Reads a report."))
}
INFO = {"serverInfo": {"name": "strict", "version": "1"}, "capabilities": {"tools": {}}}
LARGEST = 1 << 20
RATE, BURST = 0.1, 20
AGE_MS = 300_000


class Refused(Exception):
    """An answer that is no result."""

    def __init__(self, status, code=-32600, message="refused", **headers):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class StrictServer(http.server.ThreadingHTTPServer):
    """Starts at once; ``close`` ends it. ``grants`` maps a SAN URI to tools, ``keys`` a key id to its secret."""

    daemon_threads = True

    def __init__(self, context, *, grants, keys, lacking="", log=None, tools=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lacking, self.grants, self.keys, self.log_file = lacking, grants, keys, log
        self.tools = tools or TOOLS
        self.lock = threading.Lock()
        self.nonces, self.sessions, self.buckets = set(), {}, {}
        self.failures, self.connections, self.methods, self.called = 0, 0, [], []
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, *_):
        pass

    @property
    def url(self):
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://localhost:{self.server_address[1]}/mcp"

    def close(self):
        self.shutdown()
        self.server_close()
        self._thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.timeout = None if self.lacks("deadlines") else 0.5
        super().setup()

    def lacks(self, control):
        return self.server.lacking == control

    def log_message(self, *_):
        pass

    # --- answers ---

    def answer(self, status, document=None, **headers):
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def refuse(self, refused):
        if refused.status == 401:
            with self.server.lock:
                self.server.failures += not self.lacks("counters")
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": refused.code, "message": str(refused)}}
        self.answer(refused.status, error, **refused.headers)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self.close_connection = True

    # --- the way of a request ---

    def do_GET(self):
        try:
            self.hygiene()
            if self.path == "/private/metrics":
                text = f"strict_auth_failures_total {self.server.failures}\nstrict_rate_limited_total 0\n".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                return self.wfile.write(text)
            raise Refused(404 if not self.path.startswith("/mcp") else 405)
        except Refused as refused:
            self.refuse(refused)

    def do_DELETE(self):
        try:
            self.identity()
            if self.headers.get("MCP-Protocol-Version") == MODERN:
                raise Refused(200 if self.lacks("no sessions") else 405)
            self.server.sessions.pop(self.headers.get("Mcp-Session-Id"), None)
            self.answer(204)
        except Refused as refused:
            self.refuse(refused)

    def do_OPTIONS(self):
        self.answer(204, **({"Access_Control_Allow_Origin": "*"} if self.lacks("cors") else {}))

    def do_POST(self):
        try:
            self.hygiene()
            client = self.identity()
            body = self.body()
            self.note(body)
            if not self.lacks("authentication"):
                if client is None:
                    raise Refused(401)
                self.signature(body)
            self.limit(client)
            self.process(client, self.parse(body))
        except Refused as refused:
            self.refuse(refused)
        except RecursionError:
            self.answer(500)
        except (ValueError, KeyError, TypeError, AttributeError):
            text = traceback.format_exc() if self.lacks("short errors") else "malformed"
            self.refuse(Refused(400, -32700, text))

    def hygiene(self):
        if self.headers.get("Host", "").rpartition(":")[0] not in ("localhost", "127.0.0.1") and not self.lacks("host"):
            raise Refused(421)
        if self.headers.get("Origin") and not self.lacks("origin"):
            raise Refused(403)
        if self.command == "POST" and self.headers.get("Content-Type") != "application/json" and not self.lacks("type"):
            raise Refused(415)

    def identity(self):
        if not isinstance(self.connection, ssl.SSLSocket):
            return None
        names = [value for _, value in (self.connection.getpeercert() or {}).get("subjectAltName", ())]
        name = names[0] if names else None
        if name is not None and name not in self.server.grants and self.lacks("known names"):
            return next(iter(self.server.grants))
        return name if name in self.server.grants else None

    def body(self):
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST and not self.lacks("body limit"):
            raise Refused(413, message="too large")
        return self.rfile.read(length)

    def note(self, body):
        if self.server.log_file is not None:
            line = f"{self.command} {self.path} {self.headers.get('User-Agent')}"
            if self.lacks("redaction"):
                line += f" {self.headers.get('Authorization')} {body[:500]!r}"
            with self.server.lock, self.server.log_file.open("a") as file:
                file.write(line + "\n")

    def signature(self, body):
        given = {name: self.headers.get(f"x-{name}") for name in ("signature", "timestamp", "nonce", "key-id")}
        if None in given.values():
            if self.lacks("signatures"):
                return
            raise Refused(401)
        secret = self.server.keys.get(given["key-id"])
        if secret is None and self.lacks("known keys"):
            secret = next(iter(self.server.keys.values()))
        if secret is None:
            raise Refused(401)
        path, _, query = self.path.partition("?")
        covered = sorted(
            f"{name.lower()}:{value.strip()}" for name, value in self.headers.items() if name.lower().startswith("mcp-")
        )
        lines = [
            "mcpsec-hmac-sha256-v1", given["key-id"], given["timestamp"], given["nonce"], self.command,
            self.headers["Host"].lower(), path, query, *([] if self.lacks("covered headers") else covered),
            hashlib.sha256(body).hexdigest(),
        ]  # fmt: skip
        texts = ["\n".join(lines)]
        good = any(
            hmac.compare_digest(hmac.new(secret, text.encode(), "sha256").hexdigest(), given["signature"])
            for text in texts
        )
        if self.lacks("body digest"):  # any body will do, as long as the rest is there
            good = True
        if not good and not (self.lacks("covered headers") and given["key-id"] in self.server.keys):
            raise Refused(401)
        if abs(int(given["timestamp"]) - time.time() * 1000) > AGE_MS and not self.lacks("age"):
            raise Refused(401)
        with self.server.lock:
            if given["nonce"] in self.server.nonces and not self.lacks("replay protection"):
                raise Refused(401)
            self.server.nonces.add(given["nonce"])

    def limit(self, client):
        if self.server.buckets is None or self.lacks("rate limit"):
            return
        key = "all" if self.lacks("limit by client") else client
        if self.lacks("limit by identity"):
            key = self.headers.get("X-Forwarded-For", client)
        with self.server.lock:
            tokens, last = self.server.buckets.get(key, (float(BURST), time.monotonic()))
            now = time.monotonic()
            tokens = min(float(BURST), tokens + (now - last) * RATE)
            self.server.buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        if tokens < 1:
            raise Refused(429, message="slow down", Retry_After="1")

    def parse(self, body):
        if not self.lacks("depth") and body.count(b"[") + body.count(b"{") > 200:
            raise Refused(400, -32700, "too deep")
        if self.lacks("depth") and body.count(b"[") > 1000:
            raise RecursionError
        if self.lacks("strict JSON"):
            return json.loads(body.decode("utf-8", "replace"))

        def unique(pairs):
            if len({name for name, _ in pairs}) < len(pairs):
                raise ValueError("a member twice")
            return dict(pairs)

        def constant(text):
            raise ValueError(text)

        message = json.loads(body.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
        if not isinstance(message, dict) or ("id" in message and message["id"] is None):
            raise ValueError("no message")
        return message

    def process(self, client, message):
        method, params = message["method"], message.get("params", {})
        self.server.methods.append(method)
        meta = params.get("_meta", {})
        if meta.get("io.modelcontextprotocol/protocolVersion") == MODERN:
            self.mirrored(method, params)
            extra = {"Mcp_Session_Id": "x" * 32} if self.lacks("no sessions") else {}
            return self.result(client, message, params, extra)
        if self.headers.get("MCP-Protocol-Version") == MODERN and not self.lacks("mirror"):
            raise Refused(400, -32020)
        if method == "initialize":
            return self.initialize(client, message, params)
        owner = self.server.sessions.get(self.headers.get("Mcp-Session-Id"))
        if owner is None and not self.lacks("known sessions"):
            raise Refused(404, message="Session not found")
        if owner is not None and owner != (client,) and not self.lacks("session owner"):
            raise Refused(404, message="Session not found")
        if "id" not in message:
            return self.answer(202)
        return self.result(client, message, params, {})

    def initialize(self, client, message, params):
        if self.lacks("short errors") and not isinstance(params["protocolVersion"], str):
            raise ValueError("protocolVersion")
        ident = str(1000 + len(self.server.sessions)) if self.lacks("random sessions") else str(uuid.uuid4())
        self.server.sessions[ident] = (client,)
        result = {"protocolVersion": "2025-11-25", **INFO}
        self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": result}, Mcp_Session_Id=ident)

    def mirrored(self, method, params):
        names = [name.lower() for name in self.headers]
        if any(names.count(name) > 1 for name in names if name.startswith("mcp-")) and not self.lacks("single headers"):
            raise Refused(400, -32020)
        if re.search(r"=\?base64\?.*[^A-Za-z0-9+/=?].*\?=$", self.headers.get("Mcp-Name", "")):
            if self.lacks("single headers"):
                raise Refused(404, -32602, "there is no prompt of this name")
            raise Refused(400, -32020)
        expected = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            expected["Mcp-Name"] = params["name"]
        if any(self.headers.get(name) != value for name, value in expected.items()) and not self.lacks("mirror"):
            raise Refused(400, -32020)

    def result(self, client, message, params, extra):
        method = message["method"]
        granted = self.server.grants.get(client, ())
        if method == "server/discover":
            result = {"supportedVersions": [MODERN], **INFO}
        elif method == "ping":
            result = {}
        elif method == "tools/list":
            names = self.server.tools if self.lacks("filtered lists") or client is None else granted
            result = {"tools": [self.server.tools[name] for name in names]}
        elif method == "tools/call":
            name = params["name"]
            if name not in self.server.tools:
                raise Refused(200, -32602, "Unknown tool")
            if name not in granted and not self.lacks("denial"):
                raise Refused(403, message="not granted")
            if "text" not in params.get("arguments", {}):
                raise Refused(200, -32602, "text is required")
            self.server.called.append(name)
            result = {"content": []}
        else:
            raise Refused(404, -32601, "Method not found")
        self.answer(200, {"jsonrpc": "2.0", "id": message.get("id"), "result": result}, **extra)
