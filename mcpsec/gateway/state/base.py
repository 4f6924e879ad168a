"""What the gateway remembers between requests, wherever it is kept: nonces, rates, sessions, what is normal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcpsec.deployment.model import Rate
    from mcpsec.gateway.limits import Taken
    from mcpsec.telemetry.baseline import Learned

__all__ = ["SessionRecord", "SharedPatterns", "SharedSessions", "SharedTasks", "State"]


class SessionRecord(NamedTuple):
    """What any gateway must know to serve a session of the 2025 era.

    ``upstream_id`` is the session's id at an HTTP upstream; ``owner`` is the gateway that holds a stdio session's
    child. One of the two is empty.
    """

    client_id: str
    upstream: str
    upstream_id: str = ""
    owner: str = ""


class SharedSessions(Protocol):
    """Sessions that every gateway of a deployment can serve. All of it raises StoreUnavailableError."""

    async def publish(self, id: str, record: SessionRecord, per_client: int) -> bool:
        """Make a session known; False when its client has ``per_client`` sessions already."""

    async def fetch(self, id: str) -> SessionRecord | None:
        """The session, from whichever gateway opened it."""

    async def is_alive(self, id: str) -> bool:
        """Whether some gateway has used it within the idle time."""

    def touch(self, id: str) -> None:
        """It is in use; without a store this does nothing."""

    def drop(self, id: str, client_id: str) -> None:
        """It is over."""

    async def expect(self, id: str, request_id: object) -> None:
        """The upstream has asked something in this session."""

    async def expected(self, id: str, request_id: object) -> bool | None:
        """True, once, when it had; None when it wants no answer any more."""

    def withdraw(self, id: str, request_id: object) -> None:
        """It wants no answer any more."""


class SharedTasks(Protocol):
    """The tasks that clients have been given, as every gateway knows them. All of it raises StoreUnavailableError."""

    async def add(self, client_id: str, upstream: str, id: str, tools: tuple[str, ...], most: int) -> None:
        """Make a task known, unless the client has ``most`` of them at this upstream already."""

    async def fetch(self, client_id: str, upstream: str, most: int) -> dict[str, tuple[str, ...]]:
        """The client's tasks there, at most so many, each with the tools whose calls made it."""


class SharedPatterns(Protocol):
    """What is normal for a client, as all gateways have learned it."""

    async def merge(self, client_id: str, news: Learned, most: int) -> Learned:
        """Add what one gateway has learned; returns what is known now, with at most ``most`` resources.

        Raises StoreUnavailableError.
        """


class State(Protocol):
    """Shared or not. What can be said at once is returned as it is, what takes a round trip is awaited."""

    sessions: SharedSessions | None
    """None: sessions live in this process."""
    tasks: SharedTasks | None
    """None: so do tasks."""
    patterns: SharedPatterns | None
    """None: so does what is normal."""

    async def start(self) -> None:
        """Get ready; a store that can't be reached is told and tried again."""

    def claim(self, key_id: str, nonce: str, expires_at: float, created: float | None = None) -> bool | Awaitable[bool]:
        """Claim a nonce; True the first time only. Unix seconds.

        Whoever keeps nonces of another kind (token ids, say) gives them a ``key_id`` of their own. Any exception means
        that the store can't tell, so the request must be refused.
        """

    def take(self, kind: str, key: str, rate: Rate) -> Taken | Awaitable[Taken]:
        """Take a token out of the bucket of ``key`` among those of one ``kind``.

        Raises StoreUnavailableError where the deployment says that without the store nothing is served.
        """

    async def close(self) -> None:
        """Let go of the store."""
