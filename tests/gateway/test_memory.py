"""Memory that was freed between blocks that stay goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
from pathlib import Path

from mcpsec.gateway import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

async def main():
    blocks = [bytearray(3000) for _ in range(40_000)]
    kept = blocks[::50]  # each pins what is below it: the heap can't shrink from its end
    full = resident()
    del blocks
    freed = resident()
    giving = asyncio.ensure_future(memory.give_back())
    while not giving.done() and resident() > full * 0.6:
        await asyncio.sleep(0.05)
    giving.cancel()
    print(len(kept), freed > full * 0.8, resident() <= full * 0.6)

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and glibc: run it on Linux")
def test_freed_memory_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["800", "True", "True"], done.stderr
