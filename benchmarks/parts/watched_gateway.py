"""Becomes ``mcpsec serve`` and writes what it holds: ``watched_gateway.py FILE SECONDS python -m mcpsec serve …``.

Once in SECONDS a line of JSON in FILE: what the allocator holds and what of it is in use, how many objects there are of
which type, and how long every container is that is an attribute of one of mcpsec's own objects (the longest of a name).
What grows without a bound shows there, whatever it is called.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from mcpsec.cli.entry import main

_CONTAINERS = (dict, list, set, deque, bytearray, frozenset, tuple)
_TYPES = 25


class _Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` (mallinfo(3)): bytes, in all arenas."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used", "free", "top")
    ]


def allocator() -> dict[str, float]:
    """MiB that glibc has from the system, that are in use, and that are free in its heap and not given back."""
    libc: Any = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return {}
    libc.mallinfo2.restype = _Mallinfo
    info = libc.mallinfo2()
    parts = {"heap": info.arena, "mapped": info.hblkhd, "used": info.used, "free": info.free}
    return {name: round(value / 2**20, 1) for name, value in parts.items()}


def attributes(owner: object) -> Iterator[tuple[str, object]]:
    for kind in type(owner).__mro__:
        for name in kind.__dict__.get("__slots__", ()):
            yield name, getattr(owner, name, None)
    yield from getattr(owner, "__dict__", {}).items()


def lengths(objects: list[object]) -> dict[str, int]:
    """The longest container of each name, of at least 16 entries."""
    longest: dict[str, int] = {}
    for owner in objects:
        kind = type(owner)
        if not str(kind.__module__).startswith("mcpsec."):
            continue
        for name, value in attributes(owner):
            if isinstance(value, _CONTAINERS) and len(value) >= 16:
                label = f"{kind.__name__}.{name}"
                longest[label] = max(longest.get(label, 0), len(value))
    return dict(sorted(longest.items()))


def look(file: str, seconds: float) -> None:
    began = time.monotonic()
    while True:
        time.sleep(seconds)
        objects = gc.get_objects()
        types = Counter(f"{type(each).__module__}.{type(each).__name__}" for each in objects)
        line = {
            "seconds": round(time.monotonic() - began),
            "blocks": sys.getallocatedblocks(),
            "allocator": allocator(),
            "objects": len(objects),
            "types": dict(types.most_common(_TYPES)),
            "lengths": lengths(objects),
        }
        del objects
        with open(file, "a") as lines:
            lines.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    gc.freeze = lambda: None  # type: ignore[assignment] # replaced on purpose: frozen, they would be missing below
    threading.Thread(target=look, args=(sys.argv[1], float(sys.argv[2])), daemon=True).start()
    sys.argv = ["mcpsec", *sys.argv[6:]]
    raise SystemExit(main())
