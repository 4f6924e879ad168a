"""Every command that README and docs/ show is run here as it is shown, in a place where what it needs is real.

A scene is a reader's afternoon: certificates, a repository, a running gateway, and the page's lines one after another.
Pages that are taken whole (``test_docs.py``) and commands that need nothing (``test_commands_in_docs.py``) are not
repeated. A line that can be run nowhere in CI is named in ``NOT_RUN`` with its reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.openbao import ROOT_TOKEN, running_bao
from tests.fixtures.pki import Authority
from tests.fixtures.processes import PATIENCE, spawn, wait_until
from tests.fixtures.upstreams import HttpServer
from tests.fixtures.walks import Walk, need_programs
from tests.system.test_commands_in_docs import ALONE, ROOT, commands
from tests.system.test_docs import WALKED

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Shown:
    """A line of a page: how it must end, in which directory it is typed, and a pattern that it prints.

    ``until`` is for a command that runs until it is stopped: the pattern that shows that it does what it is for.
    ``grows`` is a file that gets its own last line again and again meanwhile.
    """

    line: str
    code: int = 0
    place: str = "."
    says: str = ""
    until: str = ""
    grows: str = ""


@dataclass(frozen=True)
class Meanwhile:
    """What a page takes for granted, or says in words, between two of its lines."""

    script: str
    place: str = "."


@dataclass
class Scene:
    """``words`` of the page mean something else here: a host, a path of the reader's."""

    directory: Path
    words: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if missing := need_programs("bash", "git"):
            pytest.skip(f"needs {', '.join(missing)}, from the system's packages")
        self.walk = Walk(Path("none.md"), self.directory / "walk", self.words)
        self.walk.variables.update(self.variables)

    @property
    def here(self) -> Path:
        return self.walk.directory

    def port(self, usual: str = "8443") -> str:
        return self.walk.replaced[f"127.0.0.1:{usual}"].rpartition(":")[2]

    def take(self, *steps: Shown | Meanwhile) -> None:
        try:
            self.take_on(*steps)
        finally:
            self.walk.stop()

    def take_on(self, *steps: Shown | Meanwhile) -> None:
        """The same, and a gateway that runs goes on running."""
        for step in steps:
            self._take(step)

    def _take(self, step: Shown | Meanwhile) -> None:
        line = step.line if isinstance(step, Shown) else step.script
        if line.startswith("mcpsec serve "):
            self.walk.serve(line, line)
        elif isinstance(step, Meanwhile):
            self.walk.run(line, f"before the next line: {line}", place=step.place)
        elif step.until:
            self._until(step)
        else:
            said = self.walk.run(step.line, step.line, wanted=step.code, place=step.place)
            assert re.search(step.says, said), f"{step.line}:\n{said}"

    def _until(self, step: Shown) -> None:
        output = self.here / "until.txt"
        with output.open("w") as file:
            process = spawn(
                ["bash", "-euc", f"exec {self.walk.meant(step.line)}"], cwd=self.here / step.place,
                env=self.walk.environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip

        def seen() -> bool:
            assert process.poll() is None, f"{step.line} ended:\n{output.read_text()}"
            if step.grows:
                with (self.here / step.grows).open("a") as file:
                    file.write((self.here / step.grows).read_text().splitlines()[-1] + "\n")
            return re.search(step.until, output.read_text()) is not None

        try:
            wait_until(seen, f"{step.line} to say {step.until}")
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(PATIENCE)
        assert code == step.code, f"{step.line}: exit code {code}\n{output.read_text()}"


# --- README -----------------------------------------------------------------------------------------------------------

README = (
    Shown("mcpsec init my-deployment --client reporting-agent"),
    Shown("mcpsec serve -c my-deployment/mcpsec.toml -- mcp-server-git --repository /srv/repo"),
    Meanwhile(
        "mcpsec sign --send -c my-deployment/mcpsec.toml --client reporting-agent --tool git_log"
        " --arg repo_path=/srv/repo | grep -q 'the first commit'"
    ),
    Shown("mcpsec serve -c my-deployment/mcpsec.toml --upstream http://127.0.0.1:9000/mcp"),
    Meanwhile("mcpsec sign --send -c my-deployment/mcpsec.toml --tool echo --arg text=hello | grep -q hello"),
    Shown(
        "mcpsec serve -c my-deployment/mcpsec.toml --app tickets.server:mcp   "
        "# Python: MCP SDK, fastmcp, any ASGI application"
    ),
    Meanwhile("mcpsec sign --send -c my-deployment/mcpsec.toml --tool get_ticket --arg id=7 | grep -q 'ticket 7'"),
)

TICKETS = '''
from mcp.server import MCPServer

mcp = MCPServer("tickets")


@mcp.tool()
def get_ticket(id: int) -> str:
    """One ticket."""
    return f"ticket {id}"
'''

REPOSITORY = "git init -q {0} && git -C {0} -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m 'the first commit'"


def test_readme(tmp_path: Path, http_server: HttpServer) -> None:
    repository = tmp_path / "walk/repo"
    scene = Scene(tmp_path, {"/srv/repo": str(repository), "http://127.0.0.1:9000/mcp": http_server.url})
    (scene.here / "tickets").mkdir()
    (scene.here / "tickets/server.py").write_text(TICKETS)
    scene.take(Meanwhile(REPOSITORY.format(repository)), *README)


# --- certificates -----------------------------------------------------------------------------------------------------

ACCOUNTS = (
    Shown("mcpsec certs --dir /etc/mcpsec/pki init"),
    Shown("mcpsec certs --dir /etc/mcpsec/pki issue gateway --server --san mcp.example.com"),
)

CERTIFICATES = (
    Shown("mcpsec certs init --trust-domain example.com"),
    Shown("mcpsec certs issue gateway --server --san mcp.example.com --san 192.0.2.10"),
    Shown("mcpsec certs issue reporting --client --san spiffe://example.com/agent/reporting"),
    Shown("mcpsec certs list", says="reporting +client +valid"),
    Shown("mcpsec certs renew --all-due"),
    Shown("mcpsec certs renew --all-due --hook 'systemctl reload nginx'"),
    Shown("mcpsec certs renew --watch", until="watching pki"),
    Shown("mcpsec certs check"),
    Shown("mcpsec certs check --warn 30d --fail 7d mcp.example.com:8443 /etc/ssl/private"),
    Shown("mcpsec certs check --format nagios", says="OK"),
    Shown("mcpsec certs check --format prometheus --output /var/lib/node_exporter/textfile/mcpsec_certs.prom"),
    Shown("mcpsec certs verify reporting"),
    Meanwhile("cp pki/client/reporting/chain.pem their-client.pem; cp pki/client-ca.* ."),
    Shown("mcpsec certs verify their-client.pem --client --ca client-ca.pem --crl client-ca.crl"),
    Shown(
        "mcpsec certs verify mcp.example.com:8443 --cert pki/client/reporting/chain.pem --key pki/client/reporting/key.pem"
    ),
    Meanwhile("cp pki/root-ca.pem their-ca.pem"),
    Shown("mcpsec certs lint their-ca.pem"),
    Shown("mcpsec certs inspect mcp.example.com:8443"),
    Shown("mcpsec certs fingerprint reporting"),
    Shown("mcpsec certs revoke reporting --reason keyCompromise"),
    Meanwhile("mkdir -p offline/root && mv pki/private/root/* offline/root/"),
    Shown("mcpsec certs rotate-ca client --root-key /media/offline/root/key.pem"),
    Shown("mcpsec certs rotate-ca client --retire"),
    Shown("mcpsec certs --dir /etc/mcpsec/pki schedule systemd", says="OnCalendar"),
    Shown("mcpsec certs --dir /etc/mcpsec/pki schedule cron"),
    Shown("mcpsec certs --dir /pki schedule kubernetes", says="CronJob"),
)
"""One PKI from its first day; ``mcp.example.com:8443`` is a server with its certificate."""

REQUESTED = (
    Meanwhile("mcpsec certs init --trust-domain example.com"),
    Shown("mcpsec certs request reporting --san spiffe://example.com/agent/reporting --out mine"),
    Shown("mcpsec certs issue reporting --client --csr mine/request.pem"),
)

ENCRYPTED = (
    Shown("mcpsec certs init --passphrase-file ca-secret.txt --encrypt root --encrypt client"),
    Shown("mcpsec certs issue reporting --client --passphrase-file ca-secret.txt"),
    Meanwhile("mcpsec certs revoke reporting --passphrase-file ca-secret.txt"),
    Shown(
        """mcpsec certs issue reporting --client --passphrase-ref '{ command = ["op", "read", "op://vault/ca/passphrase"] }'"""
    ),
)

TRANSIT = (Shown("mcpsec certs init --external-key client=transit:mcp-client-ca"),)
PKI_ENGINE = (
    Shown("mcpsec certs init --external-key client=openbao-pki:pki/mcp-client"),
    Shown("mcpsec certs issue reporting --client --san spiffe://example.com/agent/reporting"),
    Shown("mcpsec certs crl"),
)


def stand_in(directory: Path, name: str, text: str) -> None:
    """A program of the reader's that this machine doesn't have."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


def test_certificates(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    scene = Scene(tmp_path, {}, {"PATH": f"{programs}:{os.environ['PATH']}"})
    stand_in(programs, "systemctl", "exit 0")
    textfile = scene.here / "textfile"
    textfile.mkdir()
    scene.words |= {
        "--san 192.0.2.10": "--san 127.0.0.1",
        "/var/lib/node_exporter/textfile": str(textfile),
        "/media/offline": str(scene.here / "offline"),
        "/etc/ssl/private": str(scene.here / "pki/server"),
    }
    scene.take(*CERTIFICATES[:3])
    pki = scene.here / "pki"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server/gateway/chain.pem", pki / "server/gateway/key.pem")
    context.load_verify_locations(pki / "client-ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with sink(context) as port:
        scene.words["mcp.example.com:8443"] = f"127.0.0.1:{port}"
        scene.take(*CERTIFICATES[3:])
    assert "mcpsec_certificate" in (textfile / "mcpsec_certs.prom").read_text()


def test_certificates_for_two_accounts(tmp_path: Path) -> None:
    """The two commands of mcpsec; accounts of the system are made by hand."""
    Scene(tmp_path, {"/etc/mcpsec": str(tmp_path)}).take(*ACCOUNTS)


def test_certificates_from_requests(tmp_path: Path) -> None:
    Scene(tmp_path).take(*REQUESTED)


def test_certificates_from_an_encrypted_ca(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    scene = Scene(tmp_path, {}, {"PATH": f"{programs}:{os.environ['PATH']}"})
    word = secrets.token_hex(16)
    stand_in(programs, "op", f"echo {word}")
    secret = scene.here / "ca-secret.txt"
    secret.touch(mode=0o600)
    secret.write_text(word)
    scene.take(*ENCRYPTED)


def openbao(scene: Scene, bao: Any) -> None:
    token = scene.here / "bao-token"
    token.touch(mode=0o600)
    token.write_text(ROOT_TOKEN)
    scene.walk.variables |= {"BAO_ADDR": bao.address, "BAO_TOKEN_FILE": str(token)}


def test_certificates_of_a_key_in_openbao(tmp_path: Path) -> None:
    with running_bao(tmp_path) as bao:
        bao.call("POST", "sys/mounts/transit", type="transit")
        bao.call("POST", "transit/keys/mcp-client-ca", type="ecdsa-p256")
        scene = Scene(tmp_path)
        openbao(scene, bao)
        scene.take(*TRANSIT)


def test_certificates_of_an_authority_in_openbao(tmp_path: Path) -> None:
    with running_bao(tmp_path) as bao:
        bao.call("POST", "sys/mounts/pki", type="pki", config={"max_lease_ttl": "87600h"})
        bao.call("POST", "pki/root/generate/internal", common_name="clients", key_type="ec", key_bits=256, ttl="8760h")
        bao.call(
            "POST", "pki/roles/mcp-client", allow_any_name=True, enforce_hostnames=False, client_flag=True,
            allowed_uri_sans="spiffe://example.com/*", server_flag=False, key_usage=["DigitalSignature"],
            key_type="any", max_ttl="2160h",
        )  # fmt: skip
        scene = Scene(tmp_path)
        openbao(scene, bao)
        scene.take(*PKI_ENGINE)


# --- a deployment -----------------------------------------------------------------------------------------------------

POLICY = (
    Shown("mcpsec config check"),
    Shown("mcpsec config show", says="reporting-agent"),
    Shown("mcpsec config secrets", says="approval"),
    Shown("mcpsec policy check"),
    Shown(
        "mcpsec policy explain --client reporting-agent --tool tickets/get_ticket --arg project=HR",
        code=1,
        says="argument-not-allowed",
    ),
    Shown("mcpsec policy test policy-tests.toml", says="2 tests passed"),
    Shown("mcpsec policy document", says="reporting-agent"),
    Shown("mcpsec pin -c mcpsec.toml            # start each upstream, ask it, write mcpsec.pins.toml"),
    Shown("mcpsec pin -c mcpsec.toml --check    # in CI: exit code 1 when an upstream says something else now"),
    Shown("mcpsec pin -c mcpsec.toml --update   # after reading the difference: pin it"),
    Shown("mcpsec sandbox check -c mcpsec.toml"),
    Shown("mcpsec sandbox check"),
)

CALLED = (
    Meanwhile("mcpsec serve -c mcpsec.toml"),
    Meanwhile("mcpsec sign --send --client reporting-agent --tool get_ticket --arg project=WEB"),
    Meanwhile("! mcpsec sign --send --client ops --tool delete_old --arg id=7"),
)

OPERATED = (
    Shown("mcpsec approve 5f0c1b…e1", says="x-confirm-delete: mcpsec1"),
    Shown("mcpsec approve DIGEST --client ops --tool tickets/delete_old --arg id=7", says="x-confirm-delete: mcpsec1"),
    Shown("mcpsec policy suggest [LOG] [--since 30d]", says="get_ticket"),
    Shown("mcpsec log tail -n 3"),
    Shown("mcpsec log tail -f --decision refused", until="delete_old", code=130),
    Shown("mcpsec log query --client reporting-agent --since 2h --format jsonl", says="get_ticket"),
    Shown("mcpsec log query --resource 'tickets/delete_*' --status 403", says="403"),
    Shown("mcpsec log query --request-id ID", says="delete_old"),
    Shown("mcpsec log stats --since 24h", says="ops"),
    Shown("mcpsec log head log/events.jsonl"),
    Shown("mcpsec log head log/events.jsonl --export /mnt/elsewhere/head.json"),
    Shown("mcpsec log verify log/events.jsonl", says="intact"),
    Shown("mcpsec log verify log/events.jsonl --checkpoint /mnt/elsewhere/head.json", says="intact"),
    Shown("mcpsec log export --to-format ocsf --since 24h", says="class_uid"),
    Shown("mcpsec log export --to-format syslog --to tls://siem.example.com:6514 --ca siem-ca.pem"),
    Shown("mcpsec log export --to-format otlp --to https://collector.example.com:4318"),
    Shown("mcpsec monitor --once", says="ops"),
    Shown("mcpsec monitoring export monitoring/"),
    Shown("mcpsec alerts replay log/events.jsonl --since 7d"),
    Meanwhile("mcpsec sign keygen hook.secret"),
    Shown("mcpsec alerts test"),
    Shown("mcpsec alerts test --webhook https://hooks.example.com/mcpsec --secret-file hook.secret --key-id gateway"),
    Shown("mcpsec alerts test --command /usr/local/bin/page-someone"),
)

SIGNED = (
    Shown("mcpsec init demo --client agent"),
    Shown("mcpsec sign keygen secrets/agent-1                    # 32 random bytes, readable by the owner alone"),
    Shown(
        "mcpsec sign --key-id agent-1 --secret-file secrets/agent-1  --url https://mcp.example.com:8443/mcp"
        " --body-file call.json          # prints the headers to add",
        says="x-signature",
    ),
    Shown(
        "mcpsec sign … --format curl                           # the same as a curl line; also json, http", says="curl"
    ),
    Meanwhile(
        "mcpsec sign --key-id agent-1 --secret-file secrets/agent-1 --url https://mcp.example.com:8443/mcp"
        " --body-file call.json --format json | python -c 'import json, sys; print(json.dumps(json.load(sys.stdin)[\"headers\"]))'"
        " > headers.json"
    ),
    Shown(
        "mcpsec sign verify --key-id agent-1 --secret-file secrets/agent-1  --url https://mcp.example.com:8443/mcp"
        " --headers-file headers.json --body-file call.json"
    ),
    Meanwhile("mcpsec serve -c demo/mcpsec.toml"),
    Shown(
        "mcpsec sign --send -c mcpsec.toml --client agent --tool echo --arg text=hello   # signs, sends, shows the answer",
        says="hello",
        place="demo",
    ),
    Shown(
        "mcpsec sign --send … --era legacy                     # the same in a session of 2025-11-25",
        says="hello",
        place="demo",
    ),
    Shown(
        "mcpsec sign --send … --tamper nonce                   # a bad request: your server must refuse it (exit code 1)",
        code=1,
        place="demo",
    ),
    Shown(
        "mcpsec connect -c demo/mcpsec.toml --client agent --print                      # the entry for a client's configuration",
        says="mcpServers",
    ),
    Shown(
        "mcpsec connect -c demo/mcpsec.toml --client agent --install claude-desktop     # write it there",
        code=2,  # nobody is asked here
    ),
    Meanwhile("mcpsec connect -c demo/mcpsec.toml --client agent --install claude-desktop --yes"),
    Meanwhile("cp demo/pki/client/agent/chain.pem demo/pki/client/agent/key.pem demo/pki/server-ca.pem ."),
    Meanwhile("cp demo/secrets/agent.hmac ."),
    Shown(
        "mcpsec connect https://mcp.example.com:8443/mcp --cert chain.pem --key key.pem --ca server-ca.pem"
        "  --key-id agent --secret-file agent.hmac --install cursor",
        code=2,
    ),
    Shown(
        "mcpsec connect https://mcp.example.com:8443/mcp … --install cursor                                           # then this",
        code=2,
    ),
)


@contextlib.contextmanager
def receiver(context: ssl.SSLContext) -> Iterator[int]:
    """An HTTPS server that takes whatever is posted."""

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def sink(context: ssl.SSLContext) -> Iterator[int]:
    """A TLS server that reads to the end, as a collector of syslog messages does."""

    class Reads(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Reads) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


DEPLOYMENT = """
[upstreams.tickets]
command = [{python}, "tickets.py"]
[upstreams.tickets.sandbox]
read = [{tests}, "tickets.py"]
[upstreams.tickets.access]
"get_*" = "read"
"delete_*" = "write"
[approval]
secret = {{ file = "secrets/approval.key" }}
[[rules]]
resources = ["tickets/delete_*"]
require = {{ confirmation_header = "x-confirm-delete" }}
[[clients]]
id = "reporting-agent"
certificate = {{ san = "spiffe://mcpsec.local/client/reporting-agent" }}
signing_keys = [{{ id = "reporting-agent", secret = {{ file = "secrets/reporting-agent.hmac" }} }}]
allow_resources = ["tickets/get_*"]
allow_methods = ["read"]
[clients.resource_filters]
"tickets/get_ticket".project = ["WEB", "API"]
[[clients]]
id = "ops"
certificate = {{ san = "spiffe://mcpsec.local/client/ops" }}
signing_keys = [{{ id = "ops", secret = {{ file = "secrets/ops.hmac" }} }}]
allow_resources = ["tickets/*"]
allow_methods = ["read", "write"]
[[alerts.channels]]
command = [{pager}]
"""

POLICY_TESTS = """
[[tests]]
name = "reports see their projects"
client = "reporting-agent"
tool = "tickets/get_ticket"
arguments = { project = "WEB" }
expect = "allowed"

[[tests]]
name = "nothing is deleted unconfirmed"
client = "ops"
tool = "tickets/delete_old"
expect = "refused"
"""

PROGRAM = """
from mcp.server import MCPServer

server = MCPServer("tickets")


@server.tool()
def get_ticket(project: str) -> str:
    \"\"\"The tickets of a project.\"\"\"
    return f"tickets of {project}"


@server.tool()
def delete_old(id: int) -> str:
    \"\"\"Delete one.\"\"\"
    return f"deleted {id}"


server.run()
"""


def deployed(scene: Scene, programs: Path) -> None:
    """A deployment in the scene's own directory: a server of tickets, two clients, a rule that asks for an operator."""
    here = scene.here
    stand_in(programs, "page-someone", "cat > /dev/null")
    scene.words["/usr/local/bin/page-someone"] = str(programs / "page-someone")
    scene.take(
        Meanwhile("mcpsec init . --client reporting-agent --client ops"),
        Meanwhile("mcpsec sign keygen secrets/approval.key"),
    )
    made = (here / "mcpsec.toml").read_text()
    (here / "tickets.py").write_text(PROGRAM)
    (here / "policy-tests.toml").write_text(POLICY_TESTS)
    more = DEPLOYMENT.format(
        python=json.dumps(sys.executable),
        tests=json.dumps(sys.prefix),
        pager=json.dumps(str(programs / "page-someone")),
    )
    (here / "mcpsec.toml").write_text(made.partition("# ---- What is protected")[0] + more)


def test_a_deployment_and_its_policy(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    deployed(scene, tmp_path / "bin")
    scene.take(*POLICY)


def refused(log: Path, rule: str) -> dict[str, Any]:
    """The event of what a rule has refused, once the gateway has written it: its log is flushed five times a second."""
    found: list[dict[str, Any]] = []

    def is_written() -> bool:
        events = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        found.extend(each for each in events if each.get("rule") == rule)
        return bool(found)

    wait_until(is_written, f"an event of {rule}")
    return found[0]


def test_a_deployment_that_runs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    deployed(scene, tmp_path / "bin")
    authority = Authority(tmp_path / "receivers", "Receivers")
    receivers = authority.server("receiver", trusts=authority.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(receivers.certificate, receivers.key)
    with receiver(context) as hooks, receiver(context) as collector, sink(context) as siem:
        scene.words |= {
            "hooks.example.com": f"127.0.0.1:{hooks}",
            "collector.example.com:4318": f"127.0.0.1:{collector}",
            "siem.example.com:6514": f"127.0.0.1:{siem}",
            "/mnt/elsewhere": str(tmp_path),
            "[LOG] [--since 30d]": "log/events.jsonl --since 30d",
        }
        shutil.copy(authority.certificate, scene.here / "siem-ca.pem")
        scene.walk.variables["SSL_CERT_FILE"] = str(authority.certificate)
        try:
            scene.take_on(*CALLED)
            event = refused(scene.here / "log/events.jsonl", "context-confirmation")
            digest = event["detail"].split()[1]
            scene.words |= {
                "5f0c1b…e1": digest,
                "DIGEST": digest,
                "--request-id ID": f"--request-id {event['request_id']}",
            }
            scene.take_on(*OPERATED)
        finally:
            scene.walk.stop()


def test_signed_requests_and_the_bridge(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.words |= {"https://mcp.example.com:8443/mcp": f"https://127.0.0.1:{scene.port()}/mcp"}
    scene.words |= {
        "sign … --format": f"sign --key-id agent-1 --secret-file secrets/agent-1 --url https://127.0.0.1:{scene.port()}/mcp"
        " --body-file call.json --format",
        "sign --send …": "sign --send --tool echo --arg text=hello",
        "/mcp … --install": "/mcp --cert chain.pem --key key.pem --ca server-ca.pem --install",
    }
    (scene.here / "call.json").write_text(
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {}}})
    )
    scene.take(*SIGNED)


# --- judging ----------------------------------------------------------------------------------------------------------

AUDITED = (
    Shown("mcpsec init demo --client agent"),
    Meanwhile("mv demo my-deployment"),
    Shown("mcpsec audit                          # what is found here: judge it", code=1, says="not met"),
    Shown("mcpsec audit my-deployment            # a deployment with its certificates, keys and log", says="met"),
    Shown("mcpsec audit .mcp.json compose.yaml   # single files", code=1),
    Shown(
        "mcpsec audit --discover               # the MCP client configurations of this user", says="no version is named"
    ),
    Shown("mcpsec audit --persona auditor", code=1),
    Meanwhile("mcpsec serve -c my-deployment/mcpsec.toml"),
    Meanwhile("cp my-deployment/pki/root-ca.pem ca.pem"),
    Meanwhile(
        "cp my-deployment/pki/client/agent/chain.pem client.pem; cp my-deployment/pki/client/agent/key.pem client.key"
    ),
    Shown("mcpsec audit https://mcp.example.com:8443/mcp --ca ca.pem --cert client.pem --key client.key"),
    Shown("mcpsec audit https://127.0.0.1:8443/mcp -c my-deployment/mcpsec.toml --profile refuse"),
)

SCANNED = (
    Shown("mcpsec scan-secrets .                                  # a tree, honouring .gitignore", code=1),
    Shown("mcpsec scan-secrets --staged                           # what the next commit would add", code=1),
    Shown("mcpsec scan-secrets --since origin/main                # what a pull request's commits add"),
    Shown(
        "mcpsec scan-secrets --history --format sarif -o secrets.sarif   "
        "# every version in every ref, with author and date"
    ),
    Shown(
        "mcpsec scan-secrets --discover                         # the MCP client configurations in your home directory"
    ),
    Shown("mcpsec scan-secrets --stdin < build.log", code=1),
    Shown("mcpsec scan-secrets --follow server.log", until=r"server\.log:\d+", grows="server.log", code=1),
    Shown("mcpsec scan-secrets install-hook              # pre-commit; --pre-push adds a scan of what is pushed"),
    Shown("mcpsec scan-secrets . --format gitlab > gl-secret-detection-report.json || found=$?"),
    Shown("mcpsec audit . --format junit -o mcpsec.xml", code=1),
    Shown("mcpsec scan-secrets rules list"),
)

PACKAGING = (Shown("mcpsec audit packaging"),)


def test_judging(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.words["mcp.example.com:8443"] = scene.walk.replaced["127.0.0.1:8443"]
    entry = {
        "mcpServers": {
            "files": {"command": "npx", "args": ["-y", "some-server"], "env": {"API_KEY": "literal-" + "k" * 24}}
        }
    }
    (scene.here / ".mcp.json").write_text(json.dumps(entry))
    (scene.here / "home/.cursor").mkdir()
    (scene.here / "home/.cursor/mcp.json").write_text(json.dumps(entry))
    (scene.here / "compose.yaml").write_text("services:\n  server:\n    image: server:latest\n    privileged: true\n")
    scene.take(*AUDITED)


def test_scanning(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    token = "ghp_" + secrets.token_hex(18)
    scene.take(
        Meanwhile("git init -q -b main . && git config user.name a && git config user.email a@example.com"),
        Meanwhile("echo home > .gitignore && git add .gitignore && git commit -q -m one"),
        Meanwhile("git update-ref refs/remotes/origin/main HEAD && git commit -q --allow-empty -m two"),
        Meanwhile("""mkdir ~/.cursor && echo '{"mcpServers": {}}' > ~/.cursor/mcp.json"""),
    )
    for name in ("staged.txt", "build.log", "server.log"):
        (scene.here / name).write_text(f"GITHUB_TOKEN={token}\n")
    scene.take(Meanwhile("git add staged.txt"), *SCANNED)


def test_packaging(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    shutil.copytree(ROOT / "packaging", scene.here / "packaging")
    scene.take(*PACKAGING)


# --- nothing is left out ----------------------------------------------------------------------------------------------

SCENES = (
    README, ACCOUNTS, CERTIFICATES, REQUESTED, ENCRYPTED, TRANSIT, PKI_ENGINE, POLICY, OPERATED, SIGNED, AUDITED, SCANNED,
    PACKAGING,
)  # fmt: skip

ELSEWHERE = {
    "mcpsec drill -c my-deployment/mcpsec.toml --out my-deployment/evidence": "audit/drill/test_drill.py",
    "mcpsec connect https://mcp.example.com:8443/mcp --cert chain.pem --key key.pem --ca server-ca.pem --login   # once, now": "connect/oauth/test_oauth.py",
    "mcpsec connect https://mcp.example.com:8443/mcp … --logout                                 # revoke and forget the token": "connect/oauth/test_oauth.py",
}
"""Lines that need a scene of another test: an authorization server and somebody at a browser, minutes of failures."""

NOT_RUN = {
    "mcpsec init /etc/mcpsec": "it would make the machine's own deployment; scenes make others",
    "mcpsec certs --dir /etc/mcpsec/pki schedule systemd --user mcpsec": "it needs that deployment; scenes run the others",
}
"""Lines that can be run nowhere in CI, and why."""


def test_every_line_of_the_documentation_is_run() -> None:
    taken = {step.line for scene in SCENES for step in scene if isinstance(step, Shown)}
    walked = {f"docs/{page}" for page in WALKED}
    pages: dict[str, set[str]] = {}
    for page, line, whole in commands():
        if whole:
            pages.setdefault(line, set()).add(page)
    left = [
        line for line, where in pages.items()
        if not where & walked and line not in taken | ELSEWHERE.keys() | NOT_RUN.keys() and not ALONE.fullmatch(line)
    ]  # fmt: skip
    assert not left, "no test runs:\n" + "\n".join(left)
    known = {line for _, line, _ in commands()}
    assert not (gone := sorted((taken | ELSEWHERE.keys() | NOT_RUN.keys()) - known)), f"no page shows {gone}"
    for line, file in ELSEWHERE.items():
        option = re.findall(r" (--(?:login|logout|out))", line)[-1]
        assert f'"{option}"' in (ROOT / "tests" / file).read_text(), f"{file} does not run {option}"
