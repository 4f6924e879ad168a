"""How an audit log is kept: what ``[log]`` of a deployment file says, with its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from mcpsec.deployment.model import Log

__all__ = ["LogOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """Sizes in bytes, times in seconds.

    Every ``checkpoint_every`` events, and ``checkpoint_seconds`` after an unsigned one, the head is signed. A file is
    rotated at ``rotate_bytes`` or ``rotate_seconds``. Parts beyond ``keep_parts`` or older than ``keep_seconds`` are
    deleted, and the chain says so. ``on_full`` says what happens while the disk takes nothing and ``buffer_bytes`` are
    used up.
    """

    checkpoint_every: int = 1000
    checkpoint_seconds: float = 5.0
    fsync: Literal["never", "checkpoint", "event"] = "checkpoint"
    on_full: Literal["refuse", "drop"] = "refuse"
    buffer_bytes: int = 1 << 20
    rotate_bytes: int | None = 100 << 20
    rotate_seconds: float | None = None
    keep_parts: int | None = None
    keep_seconds: float | None = None
    compress_parts: bool = True

    @classmethod
    def of(cls, log: Log) -> LogOptions:
        """The options that a deployment file asks for."""
        return cls(
            checkpoint_every=log.checkpoint_events,
            checkpoint_seconds=log.checkpoint_age,
            fsync=log.fsync,
            on_full=log.on_full,
            buffer_bytes=log.buffer,
            rotate_bytes=log.rotate_size,
            rotate_seconds=log.rotate_age,
            keep_parts=log.keep_parts,
            keep_seconds=log.keep_age,
            compress_parts=log.compress,
        )
