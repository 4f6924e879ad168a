"""One row of a report, whatever produced it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Entry", "Topic"]


@dataclass(frozen=True, slots=True)
class Topic:
    """What entries of one kind have in common: a detection rule, a check."""

    id: str
    title: str
    help: str
    help_uri: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One finding. ``severity`` is critical, high, medium, low or info; lines and columns count from 1."""

    topic: Topic
    message: str
    severity: str
    path: str = ""
    line: int = 1
    column: int = 1
    fingerprint: str = ""
    commit: str = ""
    author: str = ""
    date: str = ""
    confidence: str = ""
    logical: str = ""
    """What in the file the finding is about: a server, a service."""
    suppression: str = ""
    """Why a finding that somebody answers for is not open."""
