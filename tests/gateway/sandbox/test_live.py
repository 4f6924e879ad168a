"""From inside a hostile child of a running gateway: each way out is refused, its twin is allowed, nobody is harmed.

``mine`` is the attacker's sandbox, ``theirs`` that of another client, with the network and with its own directory,
``free`` is the same program without a sandbox. A twin is what shows that the fence was the reason.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcpsec.gateway.sandbox.kernel import facts
from tests.fixtures.deployments import EVERYTHING, OTHER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, call

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="the sandbox is Linux only"
    ),
    pytest.mark.skipif(
        sys.platform == "linux" and os.geteuid() != 0,
        reason="only a root gateway has an /etc/shadow to lose and an account to take: run the tests as root",
    ),
]

SERVER = [sys.executable, str(Path(__file__).with_name("hostile_server.py"))]
NEW_USER_NAMESPACE, GET_KEYRING = 0x10000000, 0


@dataclass
class Prison:
    """The gateway, and what is there to be reached."""

    gateway: Gateway
    place: Path
    port: int
    abstract: str

    def words(self, *words: Any) -> list[Any]:
        """Words with what they stand for put in."""
        known = {"{port}": self.port, "{abstract}": self.abstract, "{gateway}": self.gateway.process.pid}
        return [
            known[word]
            if word in known
            else str(word).replace("{place}", str(self.place))
            if isinstance(word, str)
            else word
            for word in words
        ]

    def said(self, upstream: str, tool: str, *words: Any) -> str:
        """What the program answers; nothing when it did not live to answer."""
        deployment = self.gateway.deployment
        identity = deployment.other if upstream == "theirs" else deployment.client
        with RawClient(self.gateway, identity) as client:
            answer = client.post(call(tool, {"words": self.words(*words)}), path=f"/mcp/{upstream}")
        if answer.status == 503:
            return ""
        assert answer.status == 200, answer
        return str(answer.json["result"]["content"][0]["text"])

    def unharmed(self) -> None:
        """The gateway is the one that it was; both clients are answered."""
        assert self.gateway.process.poll() is None
        assert self.said("theirs", "end_own") == "done"
        wait_until(lambda: self.said("mine", "end_own") == "done", "the attacker's next child")


@pytest.fixture(scope="module")
def prison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prison]:
    place = tmp_path_factory.mktemp("prison")
    for name in ("mine", "theirs", "shared", "outside"):
        (place / name).mkdir()
        (place / name / "file").write_text("content")
    found = shutil.which("id")
    assert found is not None
    setuid = place / "shared" / "id"
    shutil.copy(found, setuid)
    setuid.chmod(0o4755)
    bounds = {"memory": "256MiB", "processes": 40, "read": [str(place / "shared")]}
    upstreams = {
        "mine": {"command": SERVER, "sandbox": {**bounds, "write": [str(place / "mine")], "network": False}},
        "theirs": {"command": SERVER, "sandbox": {"write": [str(place / "theirs")], "network": True}},
        "free": {"command": SERVER},
    }
    for each in upstreams.values():
        each["breaker"] = {"enabled": False}
    made = make_deployment(tmp_path_factory.mktemp("deployment"), upstreams)
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    abstract = f"mcpsec-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0" + abstract)
        local.listen()
        gateway = start_gateway(made)
        yield Prison(gateway, place, tcp.getsockname()[1], abstract)
        gateway.stop()


@pytest.mark.parametrize(
    ("attack", "twin"),
    [
        # files
        (("read", "/etc/shadow"), ("free", "read", "/etc/shadow")),
        (("read", "{place}/theirs/file"), ("theirs", "read", "{place}/theirs/file")),
        (("read", "{place}/outside/file"), ("mine", "read", "{place}/shared/file")),
        (("read", "/dev/kmsg"), ("mine", "read", "/dev/urandom")),
        (("write", "{place}/theirs/new"), ("theirs", "write", "{place}/theirs/new")),
        (("write", "{place}/outside/new"), ("free", "write", "{place}/outside/new")),
        (("write", "{place}/shared/new"), ("mine", "write", "{place}/mine/new")),
        (
            ("through_link", "{place}/mine/link", "{place}/theirs"),
            ("theirs", "through_link", "{place}/theirs/link", "{place}/theirs"),
        ),
        # network
        (("tcp", "{port}"), ("theirs", "tcp", "{port}")),
        (("udp", "{port}"), ("theirs", "udp", "{port}")),
        (("listen",), ("theirs", "listen")),
        (("abstract", "{abstract}"), ("free", "abstract", "{abstract}")),
        # other processes
        (("trace_own",), ("free", "trace_own")),
        (("trace", "{gateway}"), ("free", "trace_own")),
        (("read_memory", 0), ("free", "read_memory", 0)),
        (("read_memory", "{gateway}"), ("free", "read_memory", 0)),
        (("end", "{gateway}"), ("mine", "end_own")),
        (("read", "/proc/{gateway}/environ"), ("mine", "read", "/proc/self/environ")),
        # privileges and the kernel
        (("become_root",), ("mine", "end_own")),
        (("mount", "{place}/mine"), ("mine", "write", "{place}/mine/mounted")),
        (("call", "unshare", NEW_USER_NAMESPACE), ("free", "call", "unshare", NEW_USER_NAMESPACE)),
        (("call", "keyctl", GET_KEYRING), ("mine", "end_own")),
        (("call", "io_uring_setup", 1), ("mine", "end_own")),
        (("call", "bpf", 0), ("mine", "end_own")),
        # resources
        (("bomb", 200), ("mine", "bomb", 5)),
        (("hog", 1024), ("mine", "hog", 32)),
        (("hog_together", 120), ("mine", "hog_together", 4)),
        (("files", 4000), ("mine", "files", 100)),
    ],
    ids=lambda case: "-".join(str(word) for word in case).replace("{place}/", ""),
)  # fmt: skip
def test_a_way_out_is_refused_and_its_twin_is_allowed(
    prison: Prison, attack: tuple[Any, ...], twin: tuple[Any, ...]
) -> None:
    if "{gateway}" in str(attack):
        attack = tuple(
            str(w).replace("{gateway}", str(prison.gateway.process.pid)) if "/proc" in str(w) else w for w in attack
        )
    said = prison.said("mine", *attack)
    if attack[0] == "hog_together" and not facts().memory_group:
        said = f"refused: there is no control group here, and {said} is what each process may have"
    assert said == "" or said.startswith("refused"), said
    prison.unharmed()
    allowed = prison.said(*twin)
    assert allowed == "done" or allowed.isdigit(), allowed


def test_it_sees_no_process_but_its_own(prison: Prison) -> None:
    assert int(prison.said("mine", "processes")) <= 3
    assert int(prison.said("free", "processes")) > 3


def test_a_setuid_program_gives_it_nothing(prison: Prison) -> None:
    nobody = prison.said("mine", "run", shutil.which("id"))
    assert nobody.isdigit() and nobody != "0"
    assert prison.said("mine", "run", "{place}/shared/id") == nobody
    prison.unharmed()
