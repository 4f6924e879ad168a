"""Starting all upstreams at once, without letting a slow one keep the others waiting; and letting one go in peace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.gateway.sandbox.launch import reaches_every_file
from mcpsec.gateway.upstreams.base import UpstreamStartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpsec.deployment.model import Deployment
    from mcpsec.gateway.sessions import Session
    from mcpsec.gateway.upstreams.base import Upstream
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["retire", "start_upstreams", "tell_of_sandboxes"]

_PATIENCE_SECONDS = 10.0


async def start_upstreams(
    upstreams: Mapping[str, Upstream], *, failed: Callable[[str, UpstreamStartError], None]
) -> list[asyncio.Task[None]]:
    """Start every upstream and return when the gateway may serve; what still starts then is returned.

    That is when all have started, or when one has and the others have had ten seconds. ``failed`` hears of each that
    can't be started while another can. Raises the UpstreamStartError of the first when none can.
    """
    tasks = {asyncio.ensure_future(upstream.start()): name for name, upstream in upstreams.items()}
    waiting = set(tasks)
    faults: dict[str, UpstreamStartError] = {}
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE_SECONDS
    try:
        while waiting:
            serving = len(upstreams) - len(waiting) - len(faults)
            timeout = max(0.0, end - loop.time()) if serving else None
            done, waiting = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            faults |= {tasks[task]: fault for task in done if (fault := _fault_of(task)) is not None}
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    if faults and len(faults) == len(upstreams):
        raise next(iter(faults.values()))
    for name, fault in faults.items():
        failed(name, fault)
    return [asyncio.ensure_future(_later(task, tasks[task], failed)) for task in waiting]


def _fault_of(task: asyncio.Task[None]) -> UpstreamStartError | None:
    """The fault of a finished start; any other exception is raised."""
    fault = task.exception()
    if fault is None or isinstance(fault, UpstreamStartError):
        return fault
    raise fault


async def _later(task: asyncio.Task[None], name: str, failed: Callable[[str, UpstreamStartError], None]) -> None:
    try:
        await task
    except UpstreamStartError as fault:
        failed(name, fault)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise


async def retire(protected: ProtectedUpstream, upstream: Upstream, sessions: list[Session], patience: float) -> None:
    """Let the calls that an upstream has under way end, for at most ``patience`` seconds, then stop it.

    ``protected`` counts them; ``sessions`` are those that end with it.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while (protected.bulkhead.running or protected.bulkhead.asides) and loop.time() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    end_session = getattr(upstream, "end_session", None)
    if end_session is not None:
        await asyncio.gather(*(end_session(session) for session in sessions), return_exceptions=True)
    await upstream.close()


async def tell_of_sandboxes(deployment: Deployment, say: Callable[[str], None], record: Callable[..., None]) -> None:
    """Say which fences that the file asks for are not kept on this machine, and which programs have all of root's."""
    programs = [each for each in deployment.upstreams.values() if each.command is not None]
    fenced = [each for each in programs if each.sandbox is not None]
    if len(fenced) < len(programs) and reaches_every_file():
        for name in (each.name for each in programs if each.sandbox is None):
            say(
                f"{name!r} has no sandbox and is started by root: it reads and writes every file of this machine, "
                "keys included; give it one, or run the gateway as another account"
            )
            record("upstream", upstream=name, state="unconfined", severity="high", detail="reaches every file")
    if fenced:
        from mcpsec.gateway.sandbox.standing import tell

        await tell(fenced, say, record)
