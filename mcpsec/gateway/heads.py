"""Request heads that came before: the same bytes mean the same request, so they are parsed and judged once.

A client's requests differ in their bodies and in what proves each of them; their heads are a few that come again and
again. A head that llhttp has accepted is remembered by its exact bytes, all but the digits of its Content-Length and
the values of the fields that prove (signatures, nonces, tokens), which are never kept; what steps find out about it
alone is kept beside it. A head is known only when it stands whole at the beginning of what arrived and its whole body,
and nothing more, comes with it; anything else goes through the parser.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Head, Request

if TYPE_CHECKING:
    from mcpsec.deployment.model import Limits

__all__ = ["KnownHeads"]

_HEADS = 512
_LONGEST = 4096
"""Bytes of a head worth remembering."""
_FIELDS = 48
"""Lines of a head worth remembering: as objects they take many times their bytes, all heads some 20 MiB at most.

Their ways (``repeats``) come on top, some kilobytes each.
"""
_PROVING = (
    b"authorization", b"dpop", b"signature", b"signature-input", b"x-nonce", b"x-signature", b"x-timestamp",
)  # fmt: skip
_DIGITS = 9
_PLAIN_TEXT = rb"[!-~]++(?: ++[!-~]++)*"
_VALUE = re.compile(_PLAIN_TEXT)
_VISIBLE = bytes(range(0x21, 0x7F))
"""What values are made of; only tokens with a scheme before them have blanks, and no value is empty."""
_VALUES = re.compile(rb"[!-~]++(?: [!-~]++)*")
"""Several, with a blank between: none of them begins or ends with one, or has two."""
_VARYING = re.compile(
    rb"\r\n(?:(?i:content-length): ?([1-9]\d{0,8})|((?i:%b)): ?(%b))(?=\r\n)" % (b"|".join(_PROVING), _PLAIN_TEXT)
)
"""A line whose value may differ: a length that is sure to be plain digits, or a text that any parser reads alike.

Letter case is let go of in names alone: with it, ``re`` looks at each character of a value twice as long.
"""
_NEVER = frozenset(
    {
        b"cookie", b"expect", b"last-event-id", b"proxy-authorization", b"traceparent", b"tracestate",
        b"transfer-encoding",
    }
)  # fmt: skip


class KnownHeads:
    """The heads of all connections of a listener; the one kept longest makes room for a new one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heads: dict[tuple[bytes, ...], Head] = {}

    def forget_ways(self) -> None:
        """No way that was found holds any longer: keep nothing of what they led along."""
        for head in self._heads.values():
            head.ways.clear()

    def request(self, data: bytes, last: Head | None = None) -> Request | None:
        """The request that ``data`` is, when it is exactly one with a known head; else None.

        ``last`` is the head of the request before it on the connection: mostly it is the same again.
        """
        if last is not None and last.book is self:
            if len(data) == last.size:
                whole = last.whole
                if whole is not None:
                    if data.startswith(whole):
                        return Request(last, data[len(whole) :])
                else:
                    request = self._same_layout(data, last)
                    if request is not None:
                        return request
            request = self._repeated(data, last)
            if request is not None:
                return request
        end = data.find(b"\r\n\r\n", 0, _LONGEST)
        if end <= 0:
            return None
        pieces, proofs, length = _taken_apart(data, end)
        head = self._heads.get(pieces)
        if head is None or len(data) - end - 4 != length:
            return None
        if length > self._limits.body_bytes or end > self._limits.header_bytes:
            return None
        return Request(head, data[end + 4 :], [value for _, value in proofs])

    @staticmethod
    def _same_layout(data: bytes, head: Head) -> Request | None:
        """The request that ``data`` is, when each value in its head is as long as the one before it was."""
        layout = head.layout
        if layout is None:
            return None
        parts = layout.unpack_from(data)
        values = parts[1::2]
        if parts[::2] != head.pieces:
            return None
        if b"".join(values).translate(None, _VISIBLE) and _VALUES.fullmatch(b" ".join(values)) is None:
            return None
        proofs = list(values)
        if proofs.pop(head.place) != b"%d" % (len(data) - layout.size):
            return None
        return Request(head, data[layout.size :], proofs)

    def _repeated(self, data: bytes, head: Head) -> Request | None:
        """The request that ``data`` is, when its head is this one in all but what may vary."""
        at, length = 0, 0
        proofs: list[bytes] = []
        lengths: list[int] = []
        for piece, proves in head.frame:
            if not data.startswith(piece, at):
                return None
            at += len(piece)
            end = data.find(b"\r", at)
            if proves:
                if _VALUE.fullmatch(data, at, end) is None:
                    return None
                proofs.append(data[at:end])
            else:
                digits = data[at:end]
                if not digits.isdigit() or len(digits) > _DIGITS:
                    return None
                length = int(digits)
                if not length or digits.startswith(b"0"):
                    return None
            lengths += (len(piece), end - at)
            at = end
        if not data.startswith(head.tail, at):
            return None
        at += len(head.tail)
        if len(data) - at != length or length > self._limits.body_bytes or at - 4 > self._limits.header_bytes:
            return None
        head.size = len(data)
        if proofs:
            head.layout = Struct("".join(f"{each}s" for each in (*lengths, len(head.tail))))
        else:
            head.whole = data[:at]
        return Request(head, data[at:], proofs)

    def remember(self, data: bytes, request: Request) -> None:
        """Keep the head of a request that the parser has read from ``data`` and from nothing else."""
        end = data.find(b"\r\n\r\n", 0, _LONGEST)
        if (
            end <= 0
            or len(request.headers) > _FIELDS
            or not request.keep_alive
            or not _NEVER.isdisjoint(request.fields)
        ):
            return
        # What the parser took for the head is what was cut out here: as many lines, and the body that comes behind.
        if data.count(b"\r\n", 0, end) != len(request.headers) or data[end + 4 :] != request.body:
            return
        pieces, proofs, length = _taken_apart(data, end)
        if length != len(request.body) or not _all_proofs(request, proofs):
            return
        if len(self._heads) >= _HEADS:
            del self._heads[next(iter(self._heads))]
        self._heads[pieces] = head = request.head(_PROVING)
        proving = [found.lastindex != 1 for found in _VARYING.finditer(data, 0, end + 2)]
        head.book, head.frame, head.tail = self, list(zip(pieces[:-1], proving, strict=True)), pieces[-1] + b"\r\n\r\n"
        head.pieces, head.place = (*pieces[:-1], head.tail), proving.index(False)


def _taken_apart(data: bytes, end: int) -> tuple[tuple[bytes, ...], list[tuple[bytes, bytes]], int]:
    """What of a head stays the same, the fields that prove, and the length of the body; -1 unless one length is given.

    The pieces are kept apart: joined by anything at all, two heads could give the same text.
    """
    pieces, proofs, at, length = [], [], 0, 0
    for found in _VARYING.finditer(data, 0, end + 2):
        if found.lastindex == 1:
            begin, finish = found.span(1)
            length = -1 if length else int(found[1])
        else:
            begin, finish = found.span(3)
            proofs.append((found[2].lower(), found[3]))
        pieces.append(data[at:begin])
        at = finish
    pieces.append(data[at:end])
    return tuple(pieces), proofs, length or -1


def _all_proofs(request: Request, proofs: list[tuple[bytes, bytes]]) -> bool:
    """Whether the fields that prove are exactly these, each there once and read by the parser just so."""
    return [each for each in request.headers if each[0] in _PROVING] == proofs and len(dict(proofs)) == len(proofs)
