"""What a part that fails on purpose writes down about itself: the proof that a fault was really there."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

__all__ = ["Record", "written"]


class Record:
    """A list of events that several threads add to; each has its time (Unix seconds) and what happened."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def add(self, event: str, **facts: Any) -> None:
        """Write one event down."""
        with self._lock:
            self._entries.append({"time": round(time.time(), 3), "event": event, **facts})

    def of(self, call: str) -> list[dict[str, Any]]:
        """What was written down about one call."""
        with self._lock:
            return [entry for entry in self._entries if entry.get("call") == call]

    def since(self, moment: float, *events: str) -> list[dict[str, Any]]:
        """The events of these names from a moment on."""
        with self._lock:
            return [entry for entry in self._entries if entry["time"] >= moment - 0.001 and entry["event"] in events]


def written(path: Path, call: str) -> list[dict[str, Any]]:
    """What a faulty program has written to its record about one call."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # a line that is being written
            continue
        if entry.get("call") == call:
            found.append(entry)
    return found
