"""`mcpsec sign`: what scripts rely on, and `--send` against a real gateway."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import json
import re
import shlex
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.cli.root import main
from tests.fixtures.deployments import Deployment, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.processes import wait_until
from tests.gateway.upstreams.test_http import FaultyServer

URL = "https://127.0.0.1:8443/mcp"
BODY = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}'
MODERN = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hi"},"_meta":'
    b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
)


class Run:
    """Runs command lines in this process; keeps what the last one printed."""

    def __init__(self, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capfdbinary
        self.out = self.err = ""

    def __call__(self, *arguments: Any, code: int = 0) -> str:
        got = main(["sign", *map(str, arguments)])
        captured = self._capture.readouterr()
        self.out, self.err = captured.out.decode(), captured.err.decode()
        assert got == code, f"{got}\n{self.out}\n{self.err}"
        return self.out


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCPSEC_CONFIG", raising=False)
    return Run(capfdbinary)


@pytest.fixture
def secret(run: Run) -> Path:
    run("keygen", "agent.hmac")
    return Path("agent.hmac")


@pytest.fixture
def options(secret: Path) -> list[str]:
    Path("body.json").write_bytes(BODY)
    return ["--secret-file", str(secret), "--key-id", "agent", "--url", URL, "--body-file", "body.json"]


def test_keygen_writes_a_private_file_once(run: Run) -> None:
    run("keygen", "key")
    assert stat.S_IMODE(Path("key").stat().st_mode) == 0o600
    assert len(Path("key").read_text()) == 44
    run("keygen", "key", code=2)
    assert "exists" in run.err
    assert len(run("keygen")) == 44
    run("keygen", "secrets/new/key")
    assert stat.S_IMODE(Path("secrets/new").stat().st_mode) & 0o077 == 0
    run("keygen", "key/below", code=2)
    assert "its directory can't be made" in run.err


def test_keygen_says_what_the_deployment_file_calls_the_key(run: Run) -> None:
    run("keygen", "loose")
    assert 'file = "loose"' in run.err
    Path("shop").mkdir()
    Path("shop/mcpsec.toml").write_text("version = 1\n")
    run("keygen", "shop/secrets/agent.hmac")
    assert 'file = "secrets/agent.hmac"' in run.err, "paths in the file are relative to it"
    run("keygen", "--kind", "ed25519", "shop/secrets/agent.pem")
    assert 'public_key = "secrets/agent.pem.pub"' in run.err


def test_keygen_writes_both_halves_or_none(run: Run) -> None:
    Path("pair.pub").write_text("somebody's")
    run("keygen", "--kind", "ed25519", "pair", code=2)
    assert "pair.pub" in run.err
    assert not Path("pair").exists()
    assert Path("pair.pub").read_text() == "somebody's"


def test_the_request_itself_names_the_key(run: Run, options: list[str], secret: Path) -> None:
    for scheme in ("hmac-sha256", "rfc9421"):
        Path("signed.json").write_text(run(*options, "--scheme", scheme, "--format", "json"))
        common = ["verify", "--scheme", scheme, "--secret-file", str(secret), "--url", URL, "--body-file", "body.json"]
        assert run(*common, "--headers-file", "signed.json").endswith("of key agent\n")
        assert "key-unknown" in run(*common, "--key-id", "other", "--headers-file", "signed.json", code=1)


def test_headers_that_http_cannot_carry_are_named(run: Run, options: list[str]) -> None:
    run(*options, "--header", "mcp-name: 5 €", code=2)
    assert "Latin-1" in run.err
    Path("odd.json").write_text(json.dumps({"mcp-name": "5 €"}))
    run("verify", *options, "--headers-file", "odd.json", code=2)
    assert "Latin-1" in run.err


def test_prints_headers_that_verify(run: Run, options: list[str]) -> None:
    printed = dict(line.split(": ", 1) for line in run(*options).splitlines())
    assert list(printed) == ["x-signature", "x-timestamp", "x-nonce", "x-key-id"]
    Path("headers.json").write_text(json.dumps(printed))
    verify = ["verify", *options, "--headers-file", "headers.json"]
    assert run(*verify).startswith("valid: hmac-sha256 signature of key agent")
    Path("body.json").write_bytes(BODY + b" ")
    assert "signature-invalid" in run(*verify, code=1)
    assert json.loads(run(*verify, "--format", "json", code=1))["rule"] == "signature-invalid"


def test_the_same_inputs_give_the_same_signature(run: Run, options: list[str], secret: Path) -> None:
    fixed = [*options, "--timestamp", "1795000000000", "--nonce", "n-1", "--method", "POST", "--format", "json"]
    document = json.loads(run(*fixed))
    text = (
        f"mcpsec-hmac-sha256-v1\nagent\n1795000000000\nn-1\nPOST\n127.0.0.1:8443\n/mcp\n\n"
        f"{hashlib.sha256(BODY).hexdigest()}"
    )
    expected = hmac.new(secret.read_bytes().strip(), text.encode(), "sha256").hexdigest()
    assert document["schema"] == "mcpsec.sign/1"
    assert document["headers"]["x-signature"] == expected
    assert "timestamp-stale" in _verify_old(run, document, code=1)
    assert _verify_old(run, document, "--at", "1795000000000").startswith("valid")


def _verify_old(run: Run, document: dict[str, Any], *more: str, code: int = 0) -> str:
    Path("old.json").write_text(json.dumps(document))
    options = ["--secret-file", "agent.hmac", "--key-id", "agent", "--url", URL, "--body-file", "body.json"]
    return run("verify", *options, "--headers-file", "old.json", *more, code=code)


def test_article_is_timestamp_colon_body(run: Run, secret: Path) -> None:
    Path("body.json").write_bytes(BODY)
    common = ["--scheme", "article", "--secret-file", secret, "--url", URL, "--body-file", "body.json"]
    document = json.loads(run(*common, "--timestamp", "1795000000000", "--format", "json"))
    expected = hmac.new(secret.read_bytes().strip(), b"1795000000000:" + BODY, "sha256").hexdigest()
    assert document["headers"] == {"x-signature": expected, "x-timestamp": "1795000000000"}
    run(*common, "--tamper", "path", code=2)
    assert "does not cover" in run.err


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256"])
def test_rfc9421_with_a_key_pair(run: Run, kind: str) -> None:
    run("keygen", "--kind", kind, "key.pem")
    Path("body.json").write_bytes(BODY)
    common = ["--scheme", "rfc9421", "--key-id", "pair", "--url", URL, "--body-file", "body.json"]
    Path("signed.json").write_text(run(*common, "--key-file", "key.pem", "--format", "json"))
    verify = ["verify", *common, "--headers-file", "signed.json"]
    assert run(*verify, "--key-file", "key.pem.pub").startswith("valid: rfc9421")
    run("keygen", "--kind", kind, "other.pem")
    assert "signature-invalid" in run(*verify, "--key-file", "other.pem.pub", code=1)


@pytest.mark.parametrize("scheme", ["hmac-sha256", "rfc9421"])
@pytest.mark.parametrize("part", ["body", "timestamp", "nonce", "path", "key"])
def test_tampered_requests_do_not_verify(run: Run, options: list[str], scheme: str, part: str) -> None:
    Path("bad.json").write_text(run(*options, "--scheme", scheme, "--tamper", part, "--format", "json"))
    said = run("verify", *options, "--scheme", scheme, "--headers-file", "bad.json", code=1)
    assert "signature-invalid" in said or "digest-mismatch" in said


def test_headers_that_mirror_a_modern_message_are_signed_and_printed(run: Run, options: list[str]) -> None:
    Path("body.json").write_bytes(MODERN)
    headers = json.loads(run(*options, "--format", "json"))["headers"]
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "echo")
    own = json.loads(run(*options, "-H", "Mcp-Name: other", "--format", "json"))["headers"]
    assert own["mcp-name"] == "other"


def test_tool_calls_of_both_eras(run: Run, options: list[str]) -> None:
    common = [*options[:-2], "--tool", "add", "--arg", "a=1", "--arg", "name=x y", "--arg", "list=[1,2]"]
    modern = json.loads(json.loads(run(*common, "--format", "json"))["body"])
    assert modern["params"]["arguments"] == {"a": 1, "name": "x y", "list": [1, 2]}
    assert "io.modelcontextprotocol/protocolVersion" in modern["params"]["_meta"]
    legacy = json.loads(run(*common, "--era", "legacy", "--format", "json"))
    assert "_meta" not in json.loads(legacy["body"])["params"]
    assert "mcp-method" not in legacy["headers"]


def test_http_form(run: Run, options: list[str]) -> None:
    head, _, body = run(*options, "--format", "http").partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[:2] == ["POST /mcp HTTP/1.1", "host: 127.0.0.1:8443"]
    assert f"content-length: {len(BODY)}" in lines
    assert body.encode() == BODY


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no URL"),
        (["--url", URL], "no key to sign with"),
        (["--url", "ftp://x", "--key-id", "k", "--secret-file", "agent.hmac"], "not an absolute"),
        (["--url", URL, "--secret-file", "agent.hmac"], "needs a key identifier"),
        (["--url", URL, "--key-id", "k", "--secret-file", "short"], "32 are the least"),
        (["--url", URL, "--key-id", "k", "--secret-file", "missing"], "can't be read"),
        (["--url", URL, "--key-id", "k", "--secret-file", "agent.hmac", "--arg", "a=1"], "--arg needs --tool"),
        (["--url", URL, "--key-id", "k", "--secret-file", "agent.hmac", "-H", "nonsense"], "not a header"),
        (["--url", URL, "--key-id", "k", "--secret-file", "agent.hmac", "--timestamp", "1"], "13 digits"),
        (["--url", URL, "--key-id", "k", "--secret-file", "agent.hmac", "--nonce", "a b"], "x-nonce"),
        (["--client", "agent"], "-c FILE"),
    ],
)
def test_mistakes_are_named(run: Run, secret: Path, arguments: list[str], said: str) -> None:
    Path("short").write_text("too short")
    run(*arguments, code=2)
    assert said in run.err
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    ("headers", "options", "said"),
    [
        (None, ["--secret-file", "agent.hmac"], "the headers can't be read"),
        ("{", ["--secret-file", "agent.hmac"], "the headers are not JSON"),
        ("[1, 2]", ["--secret-file", "agent.hmac"], "neither an object of texts nor a list of pairs"),
        ('{"a": 1}', ["--secret-file", "agent.hmac"], "neither an object of texts nor a list of pairs"),
        ("{}", [], "exactly one of --secret-file and --key-file"),
        ("{}", ["--secret-file", "agent.hmac", "--key-file", "k.pub"], "exactly one of --secret-file and --key-file"),
        ("{}", ["--secret-file", "agent.hmac", "--body-file", "none"], "the body can't be read"),
        ("{}", ["--secret-file", "agent.hmac", "--format", "xml"], "text or json"),
    ],
)
def test_what_cannot_be_verified_is_named(
    run: Run, secret: Path, headers: str | None, options: list[str], said: str
) -> None:
    if headers is not None:
        Path("headers.json").write_text(headers)
    run("verify", "--url", URL, "--headers-file", "headers.json", *options, code=2)
    assert said in run.err and run.out == "" and run.err.count("error: ") == 1


@pytest.mark.parametrize(("body", "code"), [(b"\xff\xfe\x00", 2), (BODY, 0)])
def test_a_curl_line_holds_a_piped_body_only_when_it_is_text(
    run: Run, secret: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, code: int
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body)))
    given = ["--url", URL, "--key-id", "agent", "--secret-file", secret, "--body-file", "-", "--format", "curl"]
    run(*given, code=code)
    assert ("--body-file" in run.err) == (code == 2) and run.out.startswith("curl ") == (code == 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tool", "echo"], "--tool builds the body"),
        (["-H", "x-trace: a\x01b"], "control character"),
    ],
)
def test_words_that_would_be_lost_or_split_a_request_are_refused(
    run: Run, options: list[str], words: list[str], said: str
) -> None:
    run(*options, *words, code=2)
    assert said in run.err and run.out == ""


# --- against a gateway --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Gateway]]:
    """A gateway that demands both factors and accepts every scheme."""
    directory = tmp_path_factory.mktemp("deployed")
    schemes = {"require": ["mtls", "signature"], "signature": {"schemes": ["hmac-sha256", "rfc9421", "article"]}}
    deployment = make_deployment(directory, {"demo": {"builtin": "demo"}}, auth=schemes)
    gateway = start_gateway(deployment)
    yield deployment, gateway
    gateway.stop()


@pytest.fixture
def send(deployed: tuple[Deployment, Gateway]) -> list[str]:
    deployment, gateway = deployed
    who = deployment.client
    tls = ["--cert", str(who.certificate), "--key", str(who.key), "--ca", str(who.ca)]
    key = ["--secret-file", str(deployment.secret), "--key-id", "tester-1"]
    return ["--send", *tls, *key, "--url", gateway.url, "--tool", "echo", "--arg", "text=hello"]


def test_a_url_s_scheme_may_be_written_in_capitals(run: Run, send: list[str]) -> None:
    said = run(*[word.replace("https://", "HTTPS://") for word in send])
    assert said.startswith("HTTP 200 OK in ")


@pytest.mark.parametrize("scheme", ["hmac-sha256", "rfc9421", "article"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_send(run: Run, send: list[str], era: str, scheme: str) -> None:
    said = run(*send, "--era", era, "--scheme", scheme)
    assert said.startswith("HTTP 200 OK in ")
    assert '"text": "hello"' in said


def test_send_as_json(run: Run, send: list[str]) -> None:
    document = json.loads(run(*send, "--format", "json"))
    assert document["answer"]["status"] == 200
    assert document["answer"]["messages"][0]["result"]["content"][0]["text"] == "hello"
    assert document["answer"]["seconds"] > 0


@pytest.mark.parametrize("part", ["body", "timestamp", "nonce", "path", "key"])
def test_send_of_a_tampered_request_is_refused(run: Run, send: list[str], part: str) -> None:
    assert "HTTP 401" in run(*send, "--tamper", part, code=1)


def test_a_refused_operator_is_told_where_the_reason_is(
    run: Run, send: list[str], deployed: tuple[Deployment, Gateway]
) -> None:
    config = ["-c", str(deployed[0].config), "--client", "tester"]
    run(*send, *config, "--tamper", "body", code=1)
    why = re.search(r"^why: mcpsec (.*)$", run.err, re.MULTILINE)
    assert why, run.err
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        wait_until(lambda: main(shlex.split(why[1])) == 0 and "signature-invalid" in said.getvalue(), "the log's line")
    run(*send, "--tamper", "body", code=1)
    assert "why" not in run.err, "without the deployment file there is no log to look into"


def test_send_of_the_same_request_twice(run: Run, send: list[str]) -> None:
    run(*send, "--nonce", "once")
    assert "HTTP 401" in run(*send, "--nonce", "once", code=1)


def test_an_error_in_the_answer_is_a_no(run: Run, send: list[str]) -> None:
    run(*[*send[:-4], "--tool", "no-such-tool"], code=1)


def without_certificate(options: list[str]) -> list[str]:
    """The same words but for ``--cert FILE`` and ``--key FILE``."""
    names = ("--cert", "--key")
    return [
        word for before, word in zip(["", *options], options, strict=False) if word not in names and before not in names
    ]


def test_a_refused_certificate_is_explained(run: Run, send: list[str], deployed: tuple[Deployment, Gateway]) -> None:
    deployment, _ = deployed
    run(*without_certificate(send), code=1)
    assert "demands a client certificate" in run.err
    stranger = deployment.stranger
    send[send.index("--cert") + 1], send[send.index("--key") + 1] = str(stranger.certificate), str(stranger.key)
    run(*send, code=1)
    assert "certificate" in run.err


def test_a_call_that_a_stopping_gateway_cuts_is_no_fault_of_the_certificate(run: Run, tmp_path: Path) -> None:
    server, begun, over = FaultyServer(), threading.Event(), threading.Event()
    server.fault = lambda _connection, _body: (begun.set(), over.wait(60))[0]
    made = make_deployment(tmp_path, {"web": {"url": server.url}}, server={"limits": {"drain_timeout": "1s"}})
    running = start_gateway(made, expected=(".*",))

    def stop() -> None:
        begun.wait(60)
        running.send_signal(signal.SIGTERM)

    who, stopping = made.client, threading.Thread(target=stop)
    stopping.start()
    try:
        tls = ["--cert", str(who.certificate), "--key", str(who.key), "--ca", str(who.ca), "--url", running.url]
        run("--send", *tls, "--secret-file", made.secret, "--key-id", "tester-1", "--tool", "echo", code=3)
    finally:
        begun.set()
        stopping.join()
        over.set()
        running.stop()
        server.close()
    assert "closed the connection before it answered" in run.err
    assert "certificate" not in run.err and "--cert" not in run.err


@pytest.mark.parametrize("shown", [True, False])
def test_a_server_that_ends_every_connection_unasked_may_mean_the_certificate(
    run: Run, send: list[str], deployed: tuple[Deployment, Gateway], shown: bool
) -> None:
    """One that says nothing of its reason, as some do; on a connection without a request it still hangs up."""
    with hanging_up(deployed[0].server.server_context()) as port:
        run(*(send if shown else without_certificate(send)), "--url", f"https://127.0.0.1:{port}/mcp", code=1)
    assert ("does not accept this client certificate" if shown else "demands a client certificate") in run.err


@contextlib.contextmanager
def hanging_up(context: ssl.SSLContext) -> Iterator[int]:
    """A server that ends each connection after the handshake; its port."""
    context.verify_mode = ssl.CERT_NONE
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.settimeout(10)
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                    pass
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):  # macOS: a socket that listens is not connected
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(60)


def test_nothing_goes_to_another_machine_in_the_clear(run: Run, options: list[str]) -> None:
    """Nor does `mcpsec connect` send it."""
    options = [*options, "--url", "http://other.example.com/mcp"]
    run(*options, "--send", code=2)
    assert "plain HTTP to another machine: http://other.example.com/mcp" in run.err
    run(*options)  # what is only printed goes nowhere
    run(*options, "--send", "--url", "http://127.0.0.1:1/mcp", code=3)


def test_a_deployment_whose_client_files_are_elsewhere(
    run: Run, send: list[str], deployed: tuple[Deployment, Gateway]
) -> None:
    deployment, _ = deployed
    files = send[1:7]  # --cert, --key, --ca
    call = send[send.index("--url") :]
    run("--send", "-c", deployment.config, *files, *call)
    run("--send", "-c", deployment.config, *call, code=2)
    assert "--cert, --key and --ca" in run.err


def test_an_untrusted_or_absent_server(run: Run, send: list[str], deployed: tuple[Deployment, Gateway]) -> None:
    deployment, _ = deployed
    wrong = list(send)
    wrong[wrong.index("--ca") + 1] = str(deployment.stranger.certificate)
    run(*wrong, code=3)
    assert "not trusted" in run.err
    send[send.index("--url") + 1] = "https://127.0.0.1:1/mcp"
    run(*send, code=3)
    assert "can't be reached" in run.err


def test_the_curl_line_works(run: Run, send: list[str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl; install with: apt-get install curl")
    line = run(*send[1:], "--format", "curl")
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["result"]["content"][0]["text"] == "hello"


def test_the_short_line_of_a_deployment_made_by_init(run: Run, tmp_path: Path) -> None:
    assert main(["init", "demo", "--client", "agent"]) == 0
    deployment = Deployment(tmp_path / "demo", {}, *[None] * 5)  # type: ignore[arg-type]
    gateway = start_gateway(deployment)
    try:
        common = ["--send", "-c", "demo/mcpsec.toml", "--client", "agent", "--url", gateway.url]
        assert "hello" in run(*common, "--tool", "echo", "--arg", "text=hello")
        run(*common, "--tool", "echo", "--arg", "text=hello", "--tamper", "body", code=1)
        run("-c", "demo/mcpsec.toml", "--client", "nobody", "--tool", "echo", code=2)
        assert "it has agent" in run.err
    finally:
        gateway.stop()


def test_a_client_whose_registered_key_is_its_certificates(run: Run, tmp_path: Path) -> None:
    deployment = make_deployment(tmp_path, {"demo": {"builtin": "demo"}}, require=("mtls", "signature"))
    public = str(deployment.client.certificate)
    deployment.document["clients"][0]["signing_keys"] = [{"id": "own-key", "public_key": public}]
    deployment.write()
    gateway = start_gateway(deployment)
    try:
        who = deployment.client
        tls = ["--cert", who.certificate, "--key", who.key, "--ca", who.ca]
        common = ["--send", "-c", deployment.config, *tls, "--url", gateway.url, "--tool", "echo", "--arg", "text=x"]
        document = json.loads(run(*common, "--format", "json"))
        assert 'keyid="own-key";alg="ecdsa-p256-sha256"' in document["headers"]["signature-input"]
        run(*common, "--tamper", "body", code=1)
    finally:
        gateway.stop()
