"""A disk that takes what is written, and does not come back from making it last (a network's file system)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, call

SLOW_DISK = """
import os, pathlib, time
real, here = os.fsync, pathlib.Path(__file__).parent

def fsync(descriptor):
    while (here / "hangs").exists():
        (here / "hung").touch()
        time.sleep(0.02)
    real(descriptor)

os.fsync = fsync
"""


def test_deadlines_wait_for_no_disk(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(SLOW_DISK)
    made = deployment({"demo": {"builtin": "demo"}})
    made.document["server"]["limits"] = {"header_timeout": "1s"}
    made.document["log"]["checkpoint_age"] = "1s"
    made.write()
    running: Gateway = gateway(made, environment={"PYTHONPATH": str(modules)})
    hangs = modules / "hangs"
    hangs.touch()
    try:
        with RawClient(running) as client:
            assert client.post(call("time_now")).status == 200
        wait_until((modules / "hung").exists, "a checkpoint that hangs")
        with RawClient(running) as slow:
            slow.send(b"POST /mcp HTTP/1.1\r\n")
            assert slow.read().status == 408
        with RawClient(running) as client:
            assert client.post(call("time_now")).status == 200
    finally:
        hangs.unlink()
    before = len(made.events())
    with RawClient(running) as client:
        assert client.post(call("time_now")).status == 200
    wait_until(lambda: len(made.events()) > before, "the log to go on")
