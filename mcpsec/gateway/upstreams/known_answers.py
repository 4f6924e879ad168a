"""Heads of answers that came before: the same bytes mean the same head, so they are parsed once.

The counterpart of ``gateway/heads.py`` on the other side. A head that llhttp has accepted, of an ordinary JSON answer
on a connection that stays open, is remembered by its exact bytes, all but the digits of its Content-Length. It is known
only when it stands whole at the beginning of an answer and its whole body, and nothing more, comes with it; anything
else goes through the parser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcpsec.gateway.upstreams.passing import RETURNED

if TYPE_CHECKING:
    from mcpsec.gateway.message import Headers

__all__ = ["AnswerHead", "KnownAnswers"]

_HEADS = 256
_LONGEST = 2048
"""Bytes of a head worth remembering: all of them are at most half a MiB."""
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([1-9]\d{0,8})(?=\r\n)")
_NEVER = frozenset({b"connection", b"content-encoding", b"mcp-session-id", b"set-cookie", b"transfer-encoding"})


class AnswerHead:
    """What an answer's head says, Content-Length left out; never changed.

    ``returned`` are the headers passed on, and ``lines`` the same as they are written.
    """

    __slots__ = ("content_type", "fields", "lines", "returned", "status")

    def __init__(self, status: int, content_type: bytes, fields: dict[bytes, bytes]) -> None:
        self.status = status
        self.content_type = content_type
        self.fields = {name: value for name, value in fields.items() if name != b"content-length"}
        self.returned: Headers = [(name, value) for name, value in self.fields.items() if name in RETURNED]
        self.lines = b"".join(b"%b: %b\r\n" % each for each in self.returned)


class KnownAnswers:
    """The heads of one origin's answers; the one kept longest makes room for a new one."""

    def __init__(self, body_bytes: int) -> None:
        self._body_bytes = body_bytes
        self._heads: dict[bytes, AnswerHead] = {}
        self._last: tuple[bytes, bytes, int, AnswerHead] | None = None
        self._whole: tuple[int, bytes, AnswerHead] | None = None

    def read(self, data: bytes) -> tuple[AnswerHead, bytes] | None:
        """Head and body of the answer that ``data`` is, when it is exactly one with a known head; else None."""
        whole, last = self._whole, self._last
        if whole is not None and len(data) == whole[0] and data.startswith(whole[1]):  # the same again, as long as then
            return whole[2], data[len(whole[1]) :]
        if last is not None:  # mostly it is the same again, with a length of as many digits
            before, behind, size, known = last
            length = len(data) - size
            if data[:size] == b"%b%d%b" % (before, length, behind) and 0 < length <= self._body_bytes:
                self._whole = len(data), data[:size], known
                return known, data[size:]
        end = data.find(b"\r\n\r\n", 0, _LONGEST)
        found = _LENGTH.search(data, 0, end + 2) if end > 0 else None
        if found is None:
            return None
        begin, finish = found.span(1)
        head = self._heads.get(data[:begin] + data[finish:end])
        if head is None:
            return None
        length = int(data[begin:finish])
        if len(data) - end - 4 != length or length > self._body_bytes:
            return None
        self._last = data[:begin], data[finish : end + 4], len(data) - length, head
        return head, data[end + 4 :]

    def remember(self, data: bytes, status: int, content_type: bytes, fields: dict[bytes, bytes], body: bytes) -> None:
        """Keep the head of an answer that the parser has read from ``data`` and from nothing else."""
        if status != 200 or content_type != b"application/json" or not data.startswith(b"HTTP/1.1 200 "):
            return
        end = data.find(b"\r\n\r\n", 0, _LONGEST)
        found = _LENGTH.search(data, 0, end + 2) if end > 0 else None
        if found is None or not _NEVER.isdisjoint(fields):
            return
        # What the parser took for the head is what was cut out here: as many lines, and the body that comes behind.
        if data.count(b"\r\n", 0, end) != len(fields) or data[end + 4 :] != body:
            return
        if len(self._heads) >= _HEADS:
            del self._heads[next(iter(self._heads))]
        begin, finish = found.span(1)
        self._heads[data[:begin] + data[finish:end]] = AnswerHead(status, content_type, fields)
