"""Live probes of servers that other people wrote: OAuth resources, the SDK's, npm's and nginx."""

from __future__ import annotations

import base64
import http.server
import json
import shutil
import subprocess
import threading

import pytest

from mcpsec.audit.probes import session
from mcpsec.audit.probes.session import Credentials
from tests.audit.helpers import failing, judged
from tests.audit.test_truth_table import _open, free_port, nginx, world  # noqa: F401 # a fixture
from tests.fixtures.processes import spawn, wait_until


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    monkeypatch.setattr(session, "PACE", 0.0)


# --- bearer tokens ---


class Resource(http.server.BaseHTTPRequestHandler):
    """An OAuth resource and, on the same port, its authorization server. ``lacking`` names what it gets wrong."""

    protocol_version = "HTTP/1.1"
    lacking = ""

    def answer(self, status, document=None, **headers):
        body = json.dumps(document or {}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def base(self):
        return f"http://localhost:{self.server.server_address[1]}"

    def do_GET(self):
        lacks = self.lacking
        if self.path == "/.well-known/oauth-protected-resource/mcp" and lacks != "resource metadata":
            issuer = "http://login.acme.example" if lacks == "https" else self.base
            resource = f"{self.base}/other" if lacks == "its own name" else f"{self.base}/mcp"
            return self.answer(200, {"resource": resource, "authorization_servers": [issuer]})
        if self.path == "/.well-known/oauth-authorization-server":
            document = {
                "issuer": self.base,
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint": f"{self.base}/t",
            }
            if lacks == "PKCE":
                del document["code_challenge_methods_supported"]
            if lacks == "issuer":
                document["issuer"] = "https://somebody.example"
            return self.answer(200, {**document, "authorization_response_iss_parameter_supported": True})
        return self.answer(404)

    def do_OPTIONS(self):
        self.answer(405)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, _, query = self.path.partition("?")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not token and self.lacking == "header only" and query.startswith("access_token="):
            token = query.partition("=")[2]
        metadata = "" if self.lacking == "challenge" else f' resource_metadata="{self.base}/.well-known/x",'
        if token and not self.good(token):
            challenge = f'Bearer{metadata} error="invalid_token"'
            return self.answer(401, {"error": "invalid_token"}, WWW_Authenticate=challenge)
        if not token:
            return self.answer(401, {"error": "unauthorized"}, WWW_Authenticate=f'Bearer{metadata} scope="mcp"')
        return self.answer(200, {"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": {}})

    def good(self, token):
        try:
            header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
        except (ValueError, IndexError):
            return self.lacking == "verification"
        return self.lacking == "verification" or (self.lacking == "algorithms" and header.get("alg") == "none")

    def log_message(self, *_):
        pass


TOKENS = {
    "resource metadata": {"AUT002"},
    "challenge": {"AUT002"},
    "its own name": {"AUT002"},
    "https": {"AUT002", "AUT005"},
    "PKCE": {"AUT005"},
    "issuer": {"AUT005"},
    "verification": {"AUT003", "AUT004"},
    "algorithms": {"AUT003"},
    "header only": {"AUT004"},
}


@pytest.mark.parametrize("lacking", ["", *TOKENS])
def test_bad_tokens_and_bad_metadata_are_seen(lacking, tmp_path):
    handler = type("Handler", (Resource,), {"lacking": lacking})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        url = f"http://localhost:{server.server_address[1]}/mcp"
        select = ["AUT"] if lacking != "https" else ["AUT002"]  # another host is not asked in a test
        found = judged(tmp_path, url, profile="refuse", select=select, options={"owned": {"localhost"}})
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    told = [(r.check, r.state, r.observed) for r in found.results]
    expected = TOKENS.get(lacking, set()) & (
        {"AUT002"} if lacking == "https" else {"AUT002", "AUT003", "AUT004", "AUT005"}
    )
    if lacking == "verification":
        expected = expected - {"AUT004"}  # read from the header only
    assert {r.check for r in failing(found)} == expected, told
    if not lacking:
        assert {r.check for r in found.results if r.state == "pass"} == {
            "AUT001", "AUT002", "AUT003", "AUT004", "AUT005",
        }, told  # fmt: skip


# --- the SDK's own server, and npm's ---


def test_the_sdks_server_is_open_and_otherwise_sound(http_server, tmp_path):
    """The official SDK's defaults on loopback: no authentication, and Host and Origin checked."""
    found = judged(tmp_path, http_server.url, profile="refuse", options={"owned": {"127.0.0.1"}})
    told = [(r.check, r.observed) for r in failing(found)]
    red = {r.check for r in failing(found)}
    assert {"TLS001", "TLS002", "AUT001"} <= red, told
    assert red.isdisjoint({"ORG001", "ORG002", "ORG003", "SES001", "SES002", "ERR002", "TOL001", "TOL002"}), told
    assert {r.check for r in found.results if r.state == "not-assessed" and r.required} == set()


def test_the_npm_server_is_open_to_every_page(node_parts, tmp_path):
    """server-everything over HTTP: no authentication, any Origin, any Host; only the older era."""
    port = free_port()
    process = spawn(
        [node_parts.node, node_parts.script("@modelcontextprotocol/server-everything"), "streamableHttp"],
        env={"PORT": str(port), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or _open(port), "server-everything to listen")
        assert process.poll() is None
        found = judged(tmp_path, f"http://127.0.0.1:{port}/mcp", profile="refuse", options={"owned": {"127.0.0.1"}})
    finally:
        process.terminate()
        process.wait(60)
    told = [(r.check, r.state, r.observed) for r in found.results]
    red = {r.check for r in failing(found)}
    assert {"TLS001", "TLS002", "AUT001", "ORG001", "ORG002", "ORG003"} <= red, told
    assert red.isdisjoint({"SES001", "SES003", "TOL001", "TOL002", "HDR001"}), told
    states = {r.check: r.state for r in found.results}
    assert states["SES001"] == "pass" and states["HDR001"] == "not-applicable", told


# --- nginx ---

SETTINGS = {
    "ssl_verify_client on;": set(),
    "ssl_verify_client optional_no_ca; if ($ssl_client_verify = NONE) { return 403; }": {"TLS003", "TLS005"},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_nginx_is_asked_with_certificates_that_must_not_be_good(setting, world, tmp_path):  # noqa: F811
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not here: apt-get install nginx")
    port = free_port()
    path = world["directory"] / f"{port}-foreign.conf"
    path.write_text(nginx(world, port, setting))
    process = spawn(
        ["nginx", "-p", str(world["directory"]), "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    client = world["client"]
    options = {
        "credentials": Credentials(client.certificate, client.key, world["server"].ca),
        "owned": {"localhost"},
    }
    try:
        wait_until(lambda: process.poll() is not None or _open(port), "nginx to listen")
        assert process.poll() is None
        url = f"https://localhost:{port}/mcp"
        found = judged(tmp_path, url, profile="refuse", select=["TLS002", "TLS003"], options=options)
    finally:
        process.terminate()
        process.wait(60)
    told = [(r.check, r.state, r.observed) for r in found.results]
    assert {r.check for r in failing(found)} == SETTINGS[setting] & {"TLS002", "TLS003"}, told
    assert {r.check for r in found.results if r.state == "not-assessed"} == set(), told
