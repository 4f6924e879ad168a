"""OAuth against a real authorization server: every grant and binding, what is kept, and what must be refused."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from mcpsec.connect import Credentials
from mcpsec.connect.http1 import HttpClient, HttpFailure
from mcpsec.connect.oauth.authorizer import Authorizer
from mcpsec.connect.oauth.settings import Binding, Grant, Keep, Settings
from mcpsec.connect.oauth.store import FilePlace, directory
from mcpsec.errors import ConfigurationError
from tests.connect.bridges import Pipes, call, command
from tests.connect.oauth.servers import AGENT, SECRET, Servers, start_servers
from tests.fixtures import browser
from tests.fixtures.node import find_node_parts

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A server that can bind tokens to certificates and to keys, and a resource that takes only bound ones."""
    servers = start_servers(
        tmp_path_factory.mktemp("both"), find_node_parts(), features={"dpop": True, "mtls": True}, bound=True
    )
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A resource that asks for a nonce in each proof, and a server that demands pushed authorization requests."""
    servers = start_servers(
        tmp_path_factory.mktemp("rotating"), find_node_parts(), features={"dpop": True, "par": True}, dpopNonce=True
    )
    yield servers
    servers.stop()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person with a browser and an empty home directory."""
    for name, value in {**browser.environment(), "XDG_STATE_HOME": str(tmp_path / "state")}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "state" / "mcpsec" / "tokens"


class Person:
    """One bridge's HTTP client, with what it was told."""

    def __init__(self, servers: Servers, credentials: Credentials | None = None, **options: Any) -> None:
        self.notes: list[str] = []
        self.servers = servers
        self.credentials = credentials or servers.credentials()
        self.settings = Settings(**{"ca": servers.ca, "keep": Keep.file, **options})
        self.ahead = 0.0
        self.authorizer = Authorizer(
            servers.resource,
            self.credentials,
            self.settings,
            note=self.notes.append,
            clock=lambda: time.time() + self.ahead,
        )
        self.client = HttpClient(servers.resource, self.credentials, authorizer=lambda: self.authorizer)

    async def ask(self, name: str = "read") -> dict[str, Any]:
        """Call a tool; the claims of the token that the server saw."""
        body = json.dumps(call(1, name=name)).encode()
        async with await self.client.request("POST", {"content-type": "application/json"}, body) as response:
            answer = json.loads(await response.read(1 << 20))
        assert response.status == 200, answer
        return answer["result"]["claims"]


Arrive = Callable[..., Person]


@pytest.fixture
async def arrive() -> AsyncIterator[Arrive]:
    """Makes a ``Person``, and sends it home."""
    there: list[Person] = []

    def come(servers: Servers, credentials: Credentials | None = None, **options: Any) -> Person:
        there.append(Person(servers, credentials, **options))
        return there[-1]

    yield come
    for person in there:
        await person.client.close()


def kept(home: Path) -> dict[str, Any]:
    (file,) = home.glob("*.json")
    return json.loads(file.read_text())


async def test_a_login_is_bound_to_a_key_and_kept_for_the_next_run(arrive: Arrive, both: Servers, home: Path) -> None:
    first = arrive(both)
    claims = await first.ask()
    assert claims["cnf"].keys() == {"jkt"}
    assert claims["aud"] == both.resource
    before = len(both.grants())
    assert (await arrive(both).ask())["jti"] == claims["jti"], "the kept token, without a login"
    assert len(both.grants()) == before
    (file,) = home.glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert any(both.issuer.removeprefix("https://") in note for note in first.notes)


async def test_a_login_bound_to_the_certificate(arrive: Arrive, both: Servers, home: Path) -> None:
    claims = await arrive(both, binding=Binding.certificate).ask()
    assert claims["cnf"] == {"x5t#S256": both.credentials().thumbprint()}


@pytest.mark.parametrize("binding", [Binding.dpop, Binding.certificate])
async def test_a_stolen_token_is_worth_nothing(arrive: Arrive, binding: Binding, both: Servers, home: Path) -> None:
    await arrive(both, binding=binding).ask()
    token = kept(home)["token"]
    thief = both.clients.client("thief", "spiffe://mcpsec.test/agent/thief", trusts=both.ca)
    body = call(1, name="read")
    for scheme in ("Bearer", "DPoP"):
        async with httpx.AsyncClient(verify=thief.client_context()) as client:
            answer = await client.post(both.resource, json=body, headers={"authorization": f"{scheme} {token}"})
        assert answer.status_code == 401
    assert (await arrive(both, binding=binding).ask())["sub"], "its owner is still served"


@pytest.mark.parametrize(
    ("client_id", "how"),
    [("by-secret", "secret"), ("by-key", "key"), ("by-certificate", "grant")],
)
async def test_a_machine_needs_no_browser(
    arrive: Arrive, client_id: str, how: str, both: Servers, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", "false")
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    options = {
        "secret": {"client_secret": secret, "issuer": both.issuer},
        "key": {"client_key": both.agent.key},
        "grant": {"grant": Grant.client_credentials},
    }[how]
    person = arrive(both, client_id=client_id, **options)
    claims = await person.ask()
    assert claims["client_id"] == client_id
    assert claims["cnf"] == {"x5t#S256": both.credentials().thumbprint()}
    assert not list(home.glob("*.json")), "a machine's token is not kept"


async def test_a_renewed_certificate_gets_a_new_token(arrive: Arrive, both: Servers, tmp_path: Path) -> None:
    own = tmp_path / "own.pem", tmp_path / "own.key"
    own[0].write_bytes(both.agent.certificate.read_bytes())
    own[1].write_bytes(both.agent.key.read_bytes())
    credentials = Credentials.load(certificate=own[0], key=own[1], ca=both.ca)
    person = arrive(both, credentials, client_id="by-certificate", grant=Grant.client_credentials)
    first = await person.ask()
    renewed = both.clients.client("renewed", AGENT, trusts=both.ca)
    renewed.key.rename(own[1])
    renewed.certificate.rename(own[0])
    second = await person.ask()
    assert second["cnf"] == {"x5t#S256": credentials.thumbprint()}
    assert second["cnf"] != first["cnf"]


async def test_a_token_near_its_end_is_renewed_without_a_login(arrive: Arrive, rotating: Servers) -> None:
    before = len(rotating.grants())
    person = arrive(rotating)
    first = (await person.ask())["jti"]
    assert (await person.ask())["jti"] == first
    person.ahead = 580
    assert (await person.ask())["jti"] != first
    person.ahead = 2 * 580
    await person.ask()
    assert [line for line in rotating.said("endpoint") if line[0] == "/request"], "the login was pushed"
    assert rotating.grants()[before:] == ["authorization_code", "refresh_token", "refresh_token"]


async def test_two_bridges_share_one_login_and_never_use_a_refresh_token_twice(
    arrive: Arrive, rotating: Servers
) -> None:
    """The server rotates refresh tokens and takes a second use for theft: it would revoke the grant."""
    before = len(rotating.grants())
    people = [arrive(rotating), arrive(rotating)]
    await asyncio.gather(*(person.ask() for person in people))
    for turn in range(1, 4):
        for person in people:
            person.ahead = turn * 580
        await asyncio.gather(*(person.ask() for person in people for _ in range(2)))
    assert rotating.grants()[before:].count("refresh_token") >= 3
    assert rotating.grants()[before:].count("authorization_code") == 1
    assert not [line for line in rotating.said("endpoint") if line[0] == "/token" and line[2] != 200]


async def test_more_scopes_are_asked_for_when_a_tool_needs_them(arrive: Arrive, both: Servers) -> None:
    person = arrive(both)
    assert (await person.ask())["scope"].split() == ["mcp:use"]
    assert set((await person.ask("write"))["scope"].split()) == {"mcp:use", "mcp:write"}
    before = len(both.grants())
    await person.ask("write")
    assert len(both.grants()) == before


async def test_who_says_no_in_the_browser_gets_that_in_words(
    arrive: Arrive, both: Servers, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCPSEC_TEST_BROWSER", "abort")
    person = arrive(both)
    async with Pipes(both.resource) as client:
        client._bridge._client = person.client
        answer = await client.ask(call(1, name="read"))
    assert "End-User aborted interaction" in answer["error"]["message"]
    assert not list(home.glob("*.json"))


async def test_the_login_goes_on_when_its_request_is_cancelled(arrive: Arrive, both: Servers, home: Path) -> None:
    person = arrive(both)
    request = asyncio.create_task(person.ask())
    while not person.notes:
        await asyncio.sleep(0.01)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    before = both.grants().count("authorization_code")
    assert (await person.ask())["sub"]
    assert both.grants().count("authorization_code") - before <= 1
    assert len([note for note in person.notes if "log in" in note]) == 1


async def test_the_person_may_name_the_only_issuer_that_will_do(arrive: Arrive, both: Servers, home: Path) -> None:
    person = arrive(both, issuer="https://login.example.com")
    with pytest.raises(HttpFailure, match=r"not https://login\.example\.com"):
        await person.ask()
    assert not person.notes, "nobody was asked to log in"
    assert not list(home.glob("*.json"))
    assert (await arrive(both, issuer=both.issuer).ask())["iss"] == both.issuer


async def test_tokens_that_others_can_read_are_not_used(arrive: Arrive, both: Servers, home: Path) -> None:
    await arrive(both).ask()
    (file,) = home.glob("*.json")
    file.chmod(0o644)
    with pytest.raises(HttpFailure, match="others can read"):
        await arrive(both).ask()
    file.chmod(0o600)
    assert (await arrive(both).ask())["sub"]


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError):
        FilePlace(tmp_path / "file" / "below").write("name", "text")
    assert directory().is_absolute()


async def test_the_keyring_keeps_what_a_file_would(
    arrive: Arrive, both: Servers, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1  # type: ignore[assignment]
        kept: ClassVar[dict[tuple[str, str], str]] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        claims = await arrive(both, keep=Keep.auto).ask()
        assert [service for service, _ in Memory.kept] == ["mcpsec"]
        assert not list(home.glob("*.json"))
        again = arrive(both, keep=Keep.keyring)
        assert (await again.ask())["jti"] == claims["jti"]
        assert await again.authorizer.logout()
        assert not Memory.kept
    finally:
        keyring.set_keyring(before)


# --- the command ---------------------------------------------------------------------------------------------------


def options_of(servers: Servers) -> dict[str, str]:
    agent = servers.agent
    paths = {"cert": agent.certificate, "key": agent.key, "ca": servers.ca, "oauth-ca": servers.ca}
    return {**{name: str(path) for name, path in paths.items()}, "oauth-store": "file"}


def run(servers: Servers, *words: str) -> subprocess.CompletedProcess[str]:
    line = [*command(servers.resource, None, **options_of(servers)), *words]
    return subprocess.run(line, input="", capture_output=True, text=True, timeout=120, check=False)


def test_login_and_logout_on_the_command_line(both: Servers, home: Path) -> None:
    done = run(both, "--login")
    assert (done.returncode, done.stdout) == (0, "")
    assert str(home) in done.stderr
    grant = kept(home)
    for secret in (grant["token"], grant["refresh_token"]):
        assert secret not in done.stderr
    done = run(both, "--logout")
    assert done.returncode == 0, done.stderr
    assert not list(home.glob("*.json"))
    assert [line[2] for line in both.said("endpoint") if line[0] == "/token/revocation"][-1] == 200
    refused = httpx.post(
        f"{both.issuer}/token",
        data={
            "grant_type": "refresh_token",
            "refresh_token": grant["refresh_token"],
            "client_id": grant["client_id"],
        },
        verify=both.agent.client_context(),
    )
    assert refused.status_code == 400


def test_nobody_at_the_browser_is_an_answer_of_no(both: Servers, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCPSEC_TEST_BROWSER", "abort")
    done = run(both, "--login")
    assert done.returncode == 1
    assert "aborted" in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_sdks_client_over_stdio_needs_to_know_nothing(both: Servers, home: Path) -> None:
    words = [word for name, value in options_of(both).items() for word in (f"--{name}", value)]
    env = {**browser.environment(), "XDG_STATE_HOME": str(home.parents[1])}
    program = [*command(both.resource), *words]
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**env, "PATH": "/usr/bin:/bin", "HOME": str(home.parent)},
    )
    said, _ = await process.communicate(json.dumps(call(1, name="read")).encode() + b"\n")
    assert json.loads(said)["result"]["claims"]["aud"] == both.resource
