"""A sandboxed program that lies beside the gateway's keys reads its own modules, and none of those keys."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpsec.deployment import load
from mcpsec.deployment.model import Sandbox
from mcpsec.gateway.sandbox import launch_command
from mcpsec.gateway.sandbox.paths import program_paths
from mcpsec.gateway.sandbox.private import private_paths
from tests.fixtures.deployments import Deployment, make_deployment
from tests.fixtures.gateway import start_gateway
from tests.fixtures.raw import RawClient, call

linux_only = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="the sandbox is Linux only"
)


@pytest.fixture
def beside(tmp_path: Path) -> Deployment:
    """A program in the directory of the deployment, its module beside it."""
    shutil.copy(Path(__file__).with_name("hostile_server.py"), tmp_path / "server.py")
    (tmp_path / "helper.py").write_text("WORD = 'helped'\n")
    command = [sys.executable, str(tmp_path / "server.py")]
    return make_deployment(tmp_path, {"mine": {"command": command, "sandbox": {"network": False}}})


@pytest.fixture
def said(beside: Deployment) -> Iterator[RawClient]:
    gateway = start_gateway(beside)
    with RawClient(gateway, beside.client) as client:
        yield client
    gateway.stop()


@linux_only
def test_the_keys_beside_a_program_are_not_its_own(beside: Deployment, said: RawClient) -> None:
    def read(path: Path) -> str:
        assert path.exists(), path
        answer = said.post(call("read", {"words": [str(path)]}))
        return str(answer.json["result"]["content"][0]["text"])

    tls = load(beside.config).server.tls
    for secret in (beside.secret, tls.key, beside.config, beside.log, beside.log.with_name(f"{beside.log.name}.key")):
        assert read(secret).startswith("refused"), secret
    assert read(beside.directory / "helper.py") == "done"


@linux_only
def test_modules_beside_a_program_are_still_found(beside: Deployment) -> None:
    script = beside.directory / "imports.py"
    script.write_text("import helper\nprint(helper.WORD)\n")
    private = private_paths(load(beside.config))
    command = launch_command([sys.executable, str(script)], Sandbox(), None, private)
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == ("helped\n", 0), run.stderr


def test_what_holds_a_secret_is_left_out_and_so_is_a_link_out_of_the_directory(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for name in ("lib", "secrets", "outside"):
        (tmp_path / name if name == "outside" else place / name).mkdir(parents=True)
    (place / "server.py").touch()
    (place / "secrets" / "key").touch()
    (place / "way-out").symlink_to(tmp_path / "outside")
    command = [sys.executable, str(place / "server.py")]
    own, listed = program_paths(command, None, {place / "secrets" / "key"})
    assert {each for each in own if each.is_relative_to(place)} == {place / "lib", place / "server.py"}
    assert listed == {place}
    own, listed = program_paths(command, None, {tmp_path / "elsewhere"})
    assert place in own
    assert listed == set()


def test_of_a_script_straight_under_a_home_nothing_else_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "somebody"
    home.mkdir(parents=True)
    (home / "server.py").touch()
    monkeypatch.setenv("HOME", str(home))
    own, _ = program_paths([sys.executable, str(home / "server.py")])
    assert home / "server.py" in own
    assert home not in own


def test_the_authorities_keys_are_private(tmp_path: Path) -> None:
    made = make_deployment(tmp_path)
    tls = load(made.config).server.tls
    (tls.key.parent / "pki.toml").touch()
    assert tls.key.parent / "private" in private_paths(load(made.config))
    assert made.secret in private_paths(load(made.config))
