"""The protocol's revisions, the two eras they fall into, and which method each revision knows.

Legacy revisions open a session with ``initialize``; modern ones (since 2026-07-28) carry version and capabilities in
every request (specification, basic/versioning#terminology). The tables are data: ``data/methods.toml``.
"""

from __future__ import annotations

import tomllib
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLIENT_NOTIFICATIONS",
    "CLIENT_REQUESTS",
    "EXTENSION_REQUESTS",
    "KNOWN_VERSIONS",
    "LATEST_LEGACY",
    "LATEST_MODERN",
    "LEGACY_VERSIONS",
    "MODERN_VERSIONS",
    "NAME_MEMBER",
    "SERVER_NOTIFICATIONS",
    "SERVER_REQUESTS",
    "Era",
    "era_of",
    "extension_of",
]


class Era(Enum):
    """How a peer speaks: sessions and a handshake, or self-contained requests."""

    LEGACY = "legacy"
    MODERN = "modern"


_DATA: dict[str, Any] = tomllib.loads((Path(__file__).parent / "data" / "methods.toml").read_text("utf-8"))

LEGACY_VERSIONS: tuple[str, ...] = tuple(_DATA["legacy_versions"])
"""Revisions reached by the ``initialize`` handshake, oldest first."""
MODERN_VERSIONS: tuple[str, ...] = tuple(_DATA["modern_versions"])
"""Revisions that every request names by itself, oldest first."""
KNOWN_VERSIONS: tuple[str, ...] = LEGACY_VERSIONS + MODERN_VERSIONS
LATEST_LEGACY = LEGACY_VERSIONS[-1]
LATEST_MODERN = MODERN_VERSIONS[-1]


def _covers(span: str, version: str) -> bool:
    first, _, last = span.partition("..")
    rank = KNOWN_VERSIONS.index
    return rank(first) <= rank(version) <= rank(last or KNOWN_VERSIONS[-1])


def _by_version(spans: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType(
        {
            version: frozenset(method for method, span in spans.items() if _covers(span, version))
            for version in KNOWN_VERSIONS
        }
    )


CLIENT_REQUESTS = _by_version(_DATA["client_requests"])
"""Version → the requests that a client may send."""
CLIENT_NOTIFICATIONS = _by_version(_DATA["client_notifications"])
SERVER_REQUESTS = _by_version(_DATA["server_requests"])
"""Version → the requests that a server may send to its client; none since 2026-07-28."""
SERVER_NOTIFICATIONS = _by_version(_DATA["server_notifications"])
EXTENSION_REQUESTS: Mapping[str, Mapping[str, frozenset[str]]] = MappingProxyType(
    {name: _by_version(spans) for name, spans in _DATA["extension_requests"].items()}
)
"""Extension identifier → version → the client requests that it adds."""
NAME_MEMBER: Mapping[str, str] = MappingProxyType(_DATA["name_member"])
"""Method → the member of ``params`` that names the tool, prompt, resource or task it is about."""

_ERAS = dict.fromkeys(LEGACY_VERSIONS, Era.LEGACY) | dict.fromkeys(MODERN_VERSIONS, Era.MODERN)


def era_of(version: str) -> Era | None:
    """The era of a revision, None for one that this release doesn't know."""
    return _ERAS.get(version)


def extension_of(method: str, version: str) -> str | None:
    """The known extension that adds the client request ``method`` to ``version``, None when none does."""
    for extension, methods in EXTENSION_REQUESTS.items():
        if method in methods.get(version, ()):
            return extension
    return None
