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

from mcpsec.audit.probes import session
from mcpsec.audit.probes.session import Credentials, Target, exchange
from tests.audit.helpers import failing, judged, of_text
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
    expired = clients.client("expired", "spiffe://t/c", trusts=servers.certificate, ended=True)
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
        "directory": directory, "server": server, "client": client, "stranger": stranger, "expired": expired, "bundle": bundle,
        "ca": clients.certificate, "authority": (clients.certificate, clients.key()), "backend": application.server_address[1],
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


NOBODY, STRANGER, EXPIRED = "nobody", "stranger", "expired"
ALL = (NOBODY, STRANGER, EXPIRED)
USED = "http-request deny unless { ssl_c_used }"
TABLE = [
    ("nginx", "ssl_verify_client on;", ()),
    ("nginx", "ssl_verify_client off;", ALL),
    ("nginx", "", ALL),
    ("nginx", "ssl_verify_client optional;", (NOBODY,)),
    ("nginx", "ssl_verify_client optional; if ($ssl_client_verify != SUCCESS) { return 403; }", ()),
    ("nginx", "ssl_verify_client optional; if ($ssl_client_verify = NONE) { return 403; }", ()),
    ("nginx", "ssl_verify_client optional_no_ca;", (NOBODY, STRANGER)),
    ("nginx", "ssl_verify_client optional_no_ca; if ($ssl_client_verify = NONE) { return 403; }", (STRANGER,)),
    ("nginx", "ssl_verify_client optional_no_ca; if ($ssl_client_verify != SUCCESS) { return 403; }", ()),
    ("haproxy", "ca-file {ca} verify required", ()),
    ("haproxy", "", ALL),
    ("haproxy", "ca-file {ca} verify optional", (NOBODY,)),
    ("haproxy", f"ca-file {{ca}} verify optional|{USED}", ()),
    ("haproxy", "ca-file {ca} verify required ca-ignore-err all crt-ignore-err all", (STRANGER, EXPIRED)),
    ("caddy", "client_auth {{\nmode require_and_verify\ntrusted_ca_cert_file {ca}\n}}", ()),
    ("caddy", "client_auth {{\nmode request\n}}", ALL),
    ("caddy", "client_auth {{\nmode require\n}}", (STRANGER, EXPIRED)),
    ("caddy", "client_auth {{\nmode verify_if_given\ntrusted_ca_cert_file {ca}\n}}", (NOBODY,)),
    ("caddy", "client_auth {{\ntrusted_ca_cert_file {ca}\n}}", ()),
    ("caddy", "protocols tls1.2 tls1.3", ALL),
]
"""Program, setting, and who is let in besides the client of the right CA."""
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


@pytest.fixture
def serve(world, tmp_path):
    """Starts a proxy with a setting; gives its port and the text of its file."""
    running = []

    def start(program, setting):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here: apt-get install {program}")
        port = free_port()
        text = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}[program](world, port, setting)
        path = world["directory"] / f"{port}-{NAMES[program]}"
        path.write_text(text)
        environment = {
            "HOME": str(tmp_path),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin",
            "XDG_DATA_HOME": str(tmp_path),
        }
        command = COMMANDS[program](path, world["directory"])
        process = spawn(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        running.append(process)
        wait_until(lambda: process.poll() is not None or _open(port), f"{program} to listen")
        assert process.poll() is None, text
        return port, text

    yield start
    for process in running:
        process.terminate()
        process.wait(60)


def live_options(world):
    client = world["client"]
    return {
        "credentials": Credentials(client.certificate, client.key, world["server"].ca),
        "authority": world["authority"],
        "owned": {"localhost"},
    }


@pytest.mark.parametrize(("program", "setting", "let_in"), TABLE)
def test_file_server_and_probe_agree(program, setting, let_in, world, tmp_path, serve, monkeypatch):
    """TLS002, TLS003 and TLS004 are exactly who gets in, in both versions; TLS011 says the same of the file."""
    monkeypatch.setattr(session, "PACE", 0.0)
    port, text = serve(program, setting)
    target = Target("127.0.0.1", port, "/mcp", True)

    def ask(identity, version=ssl.TLSVersion.TLSv1_3, name="localhost"):
        return exchange(target, PING, context=context_of(identity, version), server_name=name, patience=30)

    assert ask(world["client"]).status == 200
    for who, identity in ((NOBODY, None), (STRANGER, world["stranger"]), (EXPIRED, world["expired"])):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            answer = ask(identity, version)
            assert answer.refused_certificate is (who not in let_in), (who, version, answer.describe())
        assert ask(identity, name=None).refused_certificate is not None
    found = judged(
        tmp_path,
        f"https://localhost:{port}/mcp",
        profile="refuse",
        select=["TLS002", "TLS003", "TLS004"],
        options=live_options(world),
    )
    told = [(r.check, r.state, r.observed) for r in found.results]
    if NOBODY in let_in:  # whoever gets in without a certificate needs no bad one
        expected = {"TLS002": "fail", "TLS003": "not-applicable", "TLS004": "not-applicable"}
    else:
        bad = {"TLS003": STRANGER, "TLS004": EXPIRED}
        expected = {"TLS002": "pass", **{check: "fail" if who in let_in else "pass" for check, who in bad.items()}}
    assert {r.check: str(r.state) for r in found.results} == expected, told
    # The listener is on loopback here; the file is judged as if it were not.
    public = text.replace(f"127.0.0.1:{port}", f"*:{port}").replace("    bind 127.0.0.1\n", "")
    (tmp_path / "public").mkdir()
    static = of_text(tmp_path / "public", NAMES[program], public, select=["TLS011"])
    assert {str(r.state) for r in static.results} == {"fail" if let_in else "pass"}, [
        (r.state, r.observed) for r in static.results
    ]


@pytest.mark.parametrize(("ignored", "red"), [("crt-ignore-err 26", {"TLS005"}), ("", set())])
def test_certificate_of_the_wrong_purpose(ignored, red, world, tmp_path, serve, monkeypatch):
    """HAProxy that passes over X509_V_ERR_INVALID_PURPOSE (26) takes a server's certificate for a client's."""
    monkeypatch.setattr(session, "PACE", 0.0)
    port, _ = serve("haproxy", f"ca-file {{ca}} verify required {ignored}")
    found = judged(
        tmp_path,
        f"https://localhost:{port}/mcp",
        profile="refuse",
        select=["TLS002", "TLS003", "TLS004", "TLS005"],
        options=live_options(world),
    )
    told = [(r.check, r.state, r.observed) for r in found.results]
    assert {r.check for r in failing(found) if r.key != "identity"} == red, told  # names are the application's affair


def test_words_of_the_truth_table(world, serve):
    """What each front end says to nobody: the handshake of TLS 1.3 is over before any of them refuses."""
    said = {}
    for program, setting in (
        ("nginx", "ssl_verify_client on;"),
        ("haproxy", "ca-file {ca} verify required"),
        ("caddy", "client_auth {{\nmode require_and_verify\ntrusted_ca_cert_file {ca}\n}}"),
    ):
        port, _ = serve(program, setting)
        target = Target("127.0.0.1", port, "/mcp", True)
        context = context_of(None, ssl.TLSVersion.TLSv1_3)
        said[program] = exchange(target, PING, context=context, server_name="localhost", patience=30)
    assert said["nginx"].status == 400 and b"No required SSL certificate was sent" in said["nginx"].body
    assert said["haproxy"].failure.startswith("TLS: ") and said["haproxy"].version == "TLSv1.3"
    assert said["caddy"].failure.startswith("TLS: ") and said["caddy"].version == "TLSv1.3"


def _open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
