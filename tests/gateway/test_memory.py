"""Memory that was freed between blocks that stay goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
import gc
import sys
from pathlib import Path

from mcpsec.gateway import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

class Gone:
    def __init__(self, size):
        self.buffer, self.itself = bytearray(size), self

def pinned():
    blocks = [bytearray(3000) for _ in range(40_000)]
    return blocks, blocks[::50]  # each pins what is below it: the heap can't shrink from its end

def cyclic():
    blocks = [Gone(1_000_000) for _ in range(100)]
    gc.collect()  # now they are old, and too few for Python's collector to look at them again
    return blocks, []

async def main():
    blocks, kept = globals()[sys.argv[1]]()
    full = resident()
    del blocks
    freed = resident()
    giving = asyncio.ensure_future(memory.give_back())
    while not giving.done() and resident() > full * 0.6:
        await asyncio.sleep(0.05)
    giving.cancel()
    print(freed > full * 0.8, resident() <= full * 0.6)

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and glibc: run it on Linux")
@pytest.mark.parametrize("kind", ["pinned", "cyclic"])
def test_freed_memory_goes_back(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["True", "True"], done.stderr
