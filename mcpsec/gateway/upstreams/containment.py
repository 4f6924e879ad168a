"""Keeping what an application of this process raises from ending the process.

``sys.exit()`` in a task goes straight through asyncio's event loop and ends it, and with it the gateway.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

__all__ = ["ExitedError", "contain", "inside"]

_inside: ContextVar[bool] = ContextVar("inside an application", default=False)


class ExitedError(Exception):
    """Code of an application wanted to end the process."""


@contextmanager
def inside() -> Iterator[None]:
    """Tasks that are started meanwhile, and all that those start, are the application's."""
    before = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(before)


def contain(loop: asyncio.AbstractEventLoop) -> None:
    """Have this loop keep exits of applications' tasks to them."""
    if loop.get_task_factory() is not None:
        return

    def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        if _inside.get() and asyncio.iscoroutine(work):
            work = _contained(work)
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(make)


async def _contained(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise ExitedError(type(error).__name__) from None
