"""From ``[state]`` of the deployment file to a state."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.state.memory import MemoryState

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import State as StateConfig
    from mcpsec.gateway.state.base import State
    from mcpsec.gateway.state.resp import Resp
    from mcpsec.secretrefs import SecretRef

__all__ = ["open_state", "open_store"]


def open_state(
    config: StateConfig,
    *,
    session_idle: float,
    changed: Callable[[str | None], None],
    reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve(),
) -> State:
    """The state that a deployment names; ``session_idle`` in seconds.

    ``changed`` hears when a shared store becomes usable (None) or stops being so (the reason).
    Raises ConfigurationError for a CA that can't be read.
    """
    if config.url == "memory://":
        return MemoryState()
    from mcpsec.gateway.state.redis import RedisState

    store = open_store(config, changed=changed, reveal=reveal)
    local = config.on_failure == "local"
    return RedisState(store, prefix=config.prefix, local_limits=local, session_idle=session_idle)


def open_store(
    config: StateConfig,
    *,
    changed: Callable[[str | None], None] = lambda _reason: None,
    pushed: Callable[[list[bytes]], None] | None = None,
    subscribe: bytes | None = None,
    reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve(),
) -> Resp:
    """A connection to the store; ``subscribe`` makes it one that listens, and nothing else.

    ``reveal`` gives the password anew at each connection.
    """
    from mcpsec.gateway.state.redis import greeting_of
    from mcpsec.gateway.state.resp import Resp

    url = urlsplit(config.url)
    target: tuple[str, int] | str = (url.hostname or "localhost", url.port or 6379)
    database = url.path.strip("/") or "0"
    if url.scheme == "unix":
        target, database = unquote(url.path), "0"

    def greeting() -> list[tuple[bytes, ...]]:
        commands: list[tuple[bytes, ...]] = []
        if config.password is not None:
            user = (config.username.encode(),) if config.username else ()
            commands.append((b"AUTH", *user, reveal(config.password)))
        if subscribe is not None:
            return [*commands, (b"SUBSCRIBE", subscribe)]
        if database != "0":
            commands.append((b"SELECT", database.encode()))
        return [*commands, *greeting_of(config.prefix)]

    return Resp(
        target, tls=_tls(config, url.scheme), greeting=greeting, timeout=config.timeout, changed=changed, pushed=pushed
    )


def _tls(config: StateConfig, scheme: str) -> ssl.SSLContext | None:
    if scheme != "rediss":
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca)
    except (ssl.SSLError, OSError):
        raise ConfigurationError("no CA can be read from this file", path=config.ca) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
