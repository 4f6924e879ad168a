"""URLs as people and programs hand them in, some of which :func:`urllib.parse.urlsplit` answers with a ValueError."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

__all__ = ["split_url"]


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL whose port can be read too; None for a text that is no URL (RFC 3986).

    A line break or another control character makes it none, where :mod:`urllib` would take it out without a word.
    """
    if not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
