"""Percent-decoding without :mod:`urllib`, which a commit hook need not load."""

from __future__ import annotations

__all__ = ["unquote"]


def unquote(text: str) -> str:
    """Replace ``%41`` by ``A``; what is no escape stays (RFC 3986 section 2.1)."""
    if "%" not in text:
        return text
    head, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    plain = bytearray(head)
    for part in rest:
        try:
            plain += bytes.fromhex(part[:2].decode()) + part[2:]
        except (ValueError, UnicodeDecodeError):
            plain += b"%" + part
    return plain.decode("utf-8", "replace")
