"""nginx, HAProxy and Caddy with right and wrong client certificate settings: what the audit says of the file is what
the server does, and what the probe says of the server.
"""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from mcpsec.audit.probes.session import Target, exchange
from tests.audit.helpers import judged, of_text
from tests.fixtures.pki import Authority
from tests.fixtures.processes import spawn, wait_until

PING = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Certificates, and an application that answers everybody."""
    directory = tmp_path_factory.mktemp("truth")
    directory.chmod(0o755)
    for parent in list(directory.parents)[:3]:
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    servers, clients, strangers = (Authority(directory / name, name) for name in ("servers", "clients", "strangers"))
    server = servers.server("server", trusts=clients.certificate)
    client = clients.client("client", "spiffe://t/c", trusts=servers.certificate)
    stranger = strangers.client("stranger", "spiffe://t/c", trusts=servers.certificate)
    bundle = directory / "bundle.pem"
    bundle.write_bytes(server.certificate.read_bytes() + server.key.read_bytes())

    class Application(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = b'{"jsonrpc":"2.0","id":1,"result":{}}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    application = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    thread = threading.Thread(target=application.serve_forever, daemon=True)
    thread.start()
    yield {
        "directory": directory, "server": server, "client": client, "stranger": stranger, "bundle": bundle,
        "ca": clients.certificate, "backend": application.server_address[1],
    }  # fmt: skip
    application.shutdown()
    application.server_close()
    thread.join()


def nginx(world, port, setting):
    w = world
    return f"""
daemon off; master_process off; pid {w["directory"]}/nginx-{port}.pid; error_log stderr;
events {{}}
http {{
  access_log off; client_body_temp_path {w["directory"]}/b{port}; proxy_temp_path {w["directory"]}/p{port};
  fastcgi_temp_path {w["directory"]}/f{port}; uwsgi_temp_path {w["directory"]}/u{port}; scgi_temp_path {w["directory"]}/s{port};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {w["server"].certificate};
    ssl_certificate_key {w["server"].key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate {w["ca"]};
    {setting}
    location / {{ proxy_pass http://127.0.0.1:{w["backend"]}; }}
  }}
}}
"""


def haproxy(world, port, setting):
    bind, _, rule = setting.partition("|")
    return f"""
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend mcp
    bind 127.0.0.1:{port} ssl crt {world["bundle"]} {bind.format(ca=world["ca"])}
    {rule}
    default_backend mcp
backend mcp
    server one 127.0.0.1:{world["backend"]}
"""


def caddy(world, port, setting):
    return f"""
{{
    admin off
    auto_https off
    storage file_system {world["directory"]}/caddy-{port}
}}
https://localhost:{port} {{
    bind 127.0.0.1
    tls {world["server"].certificate} {world["server"].key} {{
        {setting.format(ca=world["ca"])}
    }}
    reverse_proxy 127.0.0.1:{world["backend"]}
}}
"""


TABLE = [
    ("nginx", "ssl_verify_client on;", True),
    ("nginx", "ssl_verify_client off;", False),
    ("nginx", "", False),
    ("nginx", "ssl_verify_client optional;", False),
    ("nginx", "ssl_verify_client optional; if ($ssl_client_verify != SUCCESS) { return 403; }", True),
    ("nginx", "ssl_verify_client optional; if ($ssl_client_verify = NONE) { return 403; }", True),
    ("nginx", "ssl_verify_client optional_no_ca;", False),
    ("nginx", "ssl_verify_client optional_no_ca; if ($ssl_client_verify = NONE) { return 403; }", False),
    ("nginx", "ssl_verify_client optional_no_ca; if ($ssl_client_verify != SUCCESS) { return 403; }", True),
    ("haproxy", "ca-file {ca} verify required", True),
    ("haproxy", "", False),
    ("haproxy", "ca-file {ca} verify optional", False),
    ("haproxy", "ca-file {ca} verify optional|http-request deny unless {{ ssl_c_used }}".replace("{{", "{").replace("}}", "}"), True),
    ("haproxy", "ca-file {ca} verify required ca-ignore-err all crt-ignore-err all", False),
    ("caddy", "client_auth {{\nmode require_and_verify\ntrusted_ca_cert_file {ca}\n}}", True),
    ("caddy", "client_auth {{\nmode request\n}}", False),
    ("caddy", "client_auth {{\nmode require\n}}", False),
    ("caddy", "client_auth {{\nmode verify_if_given\ntrusted_ca_cert_file {ca}\n}}", False),
    ("caddy", "client_auth {{\ntrusted_ca_cert_file {ca}\n}}", True),
    ("caddy", "protocols tls1.2 tls1.3", False),
]  # fmt: skip
NAMES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}
COMMANDS = {
    "nginx": lambda path, directory: ["nginx", "-p", str(directory), "-c", str(path)],
    "haproxy": lambda path, directory: ["haproxy", "-f", str(path)],
    "caddy": lambda path, directory: ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)],
}


def context_of(identity, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


@pytest.mark.parametrize(("program", "setting", "closed"), TABLE)
def test_file_server_and_probe_agree(program, setting, closed, world, tmp_path):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here: apt-get install {program}")
    port = free_port()
    make = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}[program]
    text = make(world, port, setting)
    path = world["directory"] / f"{port}-{NAMES[program]}"
    path.write_text(text)
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin",
        "XDG_DATA_HOME": str(tmp_path),
    }
    process = spawn(
        COMMANDS[program](path, world["directory"]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    target = Target("127.0.0.1", port, "/mcp", True)

    def ask(identity, version=ssl.TLSVersion.TLSv1_3, name="localhost"):
        return exchange(target, PING, context=context_of(identity, version), server_name=name, patience=30)

    try:
        wait_until(lambda: process.poll() is not None or _open(port), f"{program} to listen")
        assert process.poll() is None, text
        assert ask(world["client"]).status == 200
        open_doors = []
        for identity in (None, world["stranger"]):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                verdict = ask(identity, version).refused_certificate
                assert verdict is not None
                open_doors.append(not verdict)
            assert ask(identity, name=None).refused_certificate is not None
        assert any(open_doors) is not closed, open_doors
        live = judged(tmp_path, f"https://localhost:{port}/mcp", profile="passive", select=["TLS002"])
        without = ask(None).refused_certificate
        assert {r.state for r in live.results} == ({"pass"} if without else {"fail"}), [
            r.observed for r in live.results
        ]
    finally:
        process.terminate()
        process.wait(60)
    # The listener is on loopback here; the file is judged as if it were not.
    public = text.replace(f"127.0.0.1:{port}", f"*:{port}").replace("    bind 127.0.0.1\n", "")
    (tmp_path / "public").mkdir()
    static = of_text(tmp_path / "public", NAMES[program], public, select=["TLS011"])
    assert {str(r.state) for r in static.results} == {"pass" if closed else "fail"}, [
        (r.state, r.observed) for r in static.results
    ]


def _open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
