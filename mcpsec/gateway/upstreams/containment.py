"""Keeping an application of this process to itself: what it raises, and the threads that it takes.

``sys.exit()`` in a task goes straight through asyncio's event loop and ends it, and with it the gateway. And a loop has
one pool of a few threads for whoever says ``asyncio.to_thread``: an application whose calls hang in it would leave none
for signing the log, and the gateway would wait.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future

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


class _Threads(ThreadPoolExecutor):
    """A loop's own threads; what is started inside an application takes others, as many as a loop has by default."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="gateway")
        self._of_applications = ThreadPoolExecutor(thread_name_prefix="application")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it in a thread of whoever asks."""
        if _inside.get():
            return self._of_applications.submit(fn, *args, **kwargs)
        return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the loop's own threads only: an application's may never end."""
        self._of_applications.shutdown(wait=False, cancel_futures=True)
        super().shutdown(wait, cancel_futures=cancel_futures)


def contain(loop: asyncio.AbstractEventLoop) -> None:
    """Have this loop keep exits of applications' tasks, and the threads that they take, to them."""
    if loop.get_task_factory() is not None:
        return

    def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        if _inside.get() and asyncio.iscoroutine(work):
            work = _contained(work)
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(make)
    loop.set_default_executor(_Threads())


async def _contained(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise ExitedError(type(error).__name__) from None
