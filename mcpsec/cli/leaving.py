"""The end of the process when code that is not ours would keep it: an application's threads and tasks may never end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

__all__ = ["leave", "run_to_its_end"]

_TASKS_SECONDS = 2.0
_THREADS_SECONDS = 3.0
"""How long what was left may take: nothing of the gateway's own is there any more, its log is signed and closed."""

_kept: list[asyncio.Runner] = []
"""The loops with tasks that would not end. They are not taken apart: Python would complain about each."""


def run_to_its_end(work: Coroutine[Any, Any, None], runner: asyncio.Runner) -> None:
    """Run it, cancel what it has left behind, and wait for that, but not for ever. Raises what it raises."""
    try:
        runner.run(_settled(work))
    finally:
        if asyncio.all_tasks(runner.get_loop()):
            _kept.append(runner)
        else:
            runner.close()


async def _settled(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_TASKS_SECONDS)


def leave(code: int) -> NoReturn:
    """End the process: as Python does, which waits for every thread, or after a few seconds without waiting.

    There is nothing left that a Ctrl-C could cut short: one more would only change the status.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _kept:
        _cut(code)
    if threading.active_count() > 1:
        last = threading.Timer(_THREADS_SECONDS, _cut, (code,))
        last.daemon = True
        last.start()
    raise SystemExit(code)


def _cut(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # nobody may read it any more, and the process ends all the same
            stream.flush()
    os._exit(code)
