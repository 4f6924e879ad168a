"""Request heads that came before: the same bytes mean the same request, so they are parsed and judged once.

A client's requests differ in their bodies; their heads are a few that come again and again. A head that llhttp has
accepted is remembered by its exact bytes, all but the digits of its Content-Length, and what steps find out about it
alone is kept beside it. A head is known only when it stands whole at the beginning of what arrived and its whole body,
and nothing more, comes with it; anything else goes through the parser. Heads with a credential, which never come twice
or should not be kept, are not remembered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Head, Request

if TYPE_CHECKING:
    from mcpsec.deployment.model import Limits

__all__ = ["KnownHeads"]

_HEADS = 512
_LONGEST = 2048
"""Bytes of a head worth remembering: all of them are at most a few MiB."""
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([1-9]\d{0,8})(?=\r\n)")
_NEVER = frozenset(
    {
        b"authorization", b"cookie", b"dpop", b"expect", b"last-event-id", b"proxy-authorization", b"signature",
        b"signature-input", b"traceparent", b"transfer-encoding", b"x-nonce", b"x-signature", b"x-timestamp",
    }
)  # fmt: skip


class KnownHeads:
    """The heads of all connections of a listener; the one kept longest makes room for a new one."""

    def __init__(self, limits: Limits) -> None:
        self._body_bytes = limits.body_bytes
        self._heads: dict[bytes, Head] = {}

    def request(self, data: bytes) -> Request | None:
        """The request that ``data`` is, when it is exactly one with a known head; else None."""
        end = data.find(b"\r\n\r\n", 0, _LONGEST)
        found = _LENGTH.search(data, 0, end + 2) if end > 0 else None
        if found is None:
            return None
        begin, finish = found.span(1)
        head = self._heads.get(data[:begin] + data[finish:end])
        length = int(found[1])
        if head is None or len(data) - end - 4 != length or length > self._body_bytes:
            return None
        return Request(head, data[end + 4 :])

    def remember(self, data: bytes, request: Request) -> None:
        """Keep the head of a request that the parser has read from ``data`` and from nothing else."""
        end = data.find(b"\r\n\r\n", 0, _LONGEST)
        found = _LENGTH.search(data, 0, end + 2) if end > 0 else None
        if found is None or not request.keep_alive or not _NEVER.isdisjoint(request.fields):
            return
        # What the parser took for the head is what was cut out here: as many lines, and the body that comes behind.
        if data.count(b"\r\n", 0, end) != len(request.headers) or data[end + 4 :] != request.body:
            return
        if len(self._heads) >= _HEADS:
            del self._heads[next(iter(self._heads))]
        begin, finish = found.span(1)
        self._heads[data[:begin] + data[finish:end]] = request.head()
