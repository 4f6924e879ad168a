"""What the upstreams of a deployment say of themselves today, beside what was pinned: the work of ``mcpsec pin``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcpsec.errors import ConfigurationError, NotAssessedError
from mcpsec.frozen import dataclass
from mcpsec.gateway.answers import AnswerGuard
from mcpsec.gateway.handles import HandleSeal
from mcpsec.gateway.pins.collect import collect
from mcpsec.gateway.pins.definitions import Change, changes
from mcpsec.gateway.pins.suspicious import Flag, examine
from mcpsec.gateway.policy import Policy
from mcpsec.gateway.sandbox.private import private_paths
from mcpsec.gateway.sessions import SessionTable
from mcpsec.gateway.upstreams.base import UpstreamStartError
from mcpsec.gateway.upstreams.factory import make_upstream
from mcpsec.gateway.upstreams.http_client import UpstreamFault

if TYPE_CHECKING:
    from mcpsec.deployment.model import Client, Deployment
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.pins.lock import Lock, UpstreamPins

__all__ = ["Reviewed", "review"]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One upstream: what it says now, how that differs from its pins, and what is suspicious in it.

    ``is_new`` says that nothing of it was pinned. ``flags`` are those of definitions that are not pinned as they are,
    ``accepted`` those that somebody has pinned before.
    """

    name: str
    now: UpstreamPins
    changes: list[Change]
    flags: list[Flag]
    accepted: list[Flag]
    is_new: bool


async def review(deployment: Deployment, names: list[str], client: Client, lock: Lock) -> list[Reviewed]:
    """Start the named upstreams, ask each for its definitions as ``client``, and stop them.

    Raises NotAssessedError when one can't be asked: a lock file that lacks something would pin its absence.
    """
    sessions, policy = SessionTable(deployment.server.limits), Policy(deployment)
    asked = await asyncio.gather(
        *(_ask(deployment, deployment.upstreams[name], client, sessions, policy) for name in names)
    )
    return [_compare(name, now, lock) for name, now in zip(names, asked, strict=True)]


async def _ask(
    deployment: Deployment, config: UpstreamConfig, client: Client, sessions: SessionTable, policy: Policy
) -> UpstreamPins:
    guard = AnswerGuard(lambda: policy, HandleSeal(60))
    private = private_paths(deployment)
    upstream = make_upstream(config, deployment.server.limits, sessions, guard, lambda: policy, private=private)
    try:
        await upstream.start()
        return await collect(upstream, client)
    except UpstreamStartError as fault:
        raise ConfigurationError(
            f"the upstream {config.name!r} can't be started: {fault}",
            path=deployment.path,
            hint="run its command by hand to see what it says",
        ) from None
    except UpstreamFault as fault:
        raise NotAssessedError(
            f"the upstream {config.name!r} can't be asked: {fault.reason}", hint="nothing was written"
        ) from None
    finally:
        await upstream.close()


def _compare(name: str, now: UpstreamPins, lock: Lock) -> Reviewed:
    before = lock.upstreams.get(name)
    found = list(changes({} if before is None else before.definitions, now.definitions))
    said = None if before is None else before.instructions
    if said != now.instructions:
        state: Any = "added" if said is None else "removed" if now.instructions is None else "changed"
        found.insert(0, Change("instructions", "", state, said, now.instructions))
    fresh = {(change.kind, change.name) for change in found}
    flags = examine(now)
    return Reviewed(
        name,
        now,
        found,
        [flag for flag in flags if (flag.kind, flag.name) in fresh],
        [flag for flag in flags if (flag.kind, flag.name) not in fresh],
        before is None,
    )
