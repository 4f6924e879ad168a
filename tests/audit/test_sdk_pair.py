"""Live probes of the official SDK's server, weakly and strongly set up, and how often it is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcpsec.audit.probes import session
from mcpsec.audit.probes.session import Credentials
from tests.audit.helpers import failing, judged
from tests.audit.test_truth_table import _open, free_port
from tests.fixtures.processes import spawn, wait_until

TOKEN = "sdk-pair-token"  # it opens nothing but this fixture
ROOT = Path(__file__).parents[2]
WEAK = {"AUT001", "ORG001", "ORG002", "ORG003", "TOL002", "TLS001", "TLS002"}
"""What the weak one fails, of ``ASKED``."""
ASKED = sorted(WEAK | {"AUT002", "SES001", "SES002", "HDR001", "ERR002", "TOL001", "PRM006", "ERR001"})
"""Without INP003: the SDK takes NaN for a number, however it is set up."""


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    monkeypatch.setattr(session, "PACE", 0.0)


@pytest.fixture
def sdk(tmp_path):
    """Starts one of the pair; gives its port."""
    running = []

    def start(kind):
        port = free_port()
        said = (tmp_path / f"{kind}.log").open("w")
        command = [sys.executable, "-m", "tests.audit.sdk_pair", kind, str(port)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        running.append((spawn(command, env=environment, stdout=said, stderr=subprocess.STDOUT), said))
        process = running[-1][0]
        wait_until(lambda: process.poll() is not None or _open(port), f"{kind} to listen")
        assert process.poll() is None, (tmp_path / f"{kind}.log").read_text()
        return port

    yield start
    for process, said in running:
        process.terminate()
        process.wait(60)
        said.close()


def probed(tmp_path, port, profile="refuse", **options):
    url = f"http://localhost:{port}/mcp"
    return judged(tmp_path, url, profile=profile, select=ASKED, options={"owned": {"localhost"}, **options})


def test_weak_sdk_server_is_seen(sdk, tmp_path):
    found = probed(tmp_path, sdk("weak"))
    assert {r.check for r in failing(found)} == WEAK, [(r.check, r.observed) for r in failing(found)]


def test_strong_sdk_server_has_no_failure_but_plain_http(sdk, tmp_path):
    """With its token at hand, from this machine: what is left is that loopback has no TLS, a remark."""
    found = probed(tmp_path, sdk("strong"), credentials=Credentials(token=TOKEN))
    told = [(r.check, r.state, r.observed) for r in found.results if r.state != "pass"]
    assert {(r.check, r.severity) for r in failing(found)} == {("TLS001", "low"), ("TLS002", "low")}, told
    passed = {r.check for r in found.results if r.state == "pass"}
    assert passed >= {"AUT001", "AUT002", "ORG001", "ORG002", "ORG003", "TOL001", "TOL002", "SES001", "ERR002"}, told


def test_passive_asks_the_sdk_server_of_both_eras_thirty_times(sdk, tmp_path):
    found = judged(tmp_path, f"http://localhost:{sdk('weak')}/mcp", profile="passive")
    (endpoint,) = [each for each in found.subjects if each.kind == "endpoint"]
    assert endpoint.facts["requests"] <= 32  # with prompts, which it lists, too
