"""URLs as people and programs hand them in, some of which :func:`urllib.parse.urlsplit` answers with a ValueError."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

__all__ = ["can_be_asked", "is_confidential", "is_loopback_name", "split_url"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL whose port can be read too; None for a text that is no URL (RFC 3986).

    A line break or another control character makes it none, where :mod:`urllib` would take it out without a word.
    """
    if not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
        if parts.port == 0:  # nothing listens there, and `port or 443` would make it another one
            return None
    except ValueError:
        return None
    return parts


def is_loopback_name(host: str | None) -> bool:
    """Whether a URL's host (in small letters) is one of the three by which everybody calls their own machine.

    Not all of 127.0.0.0/8, and no name that only some resolver takes for this machine: it decides who is asked without
    TLS, so there is one list, which a person can know by heart.
    """
    return host in _LOOPBACK


def is_confidential(parts: SplitResult) -> bool:
    """Whether what is sent to a URL stays between its two ends: https, or http to this machine by its own name."""
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback_name(parts.hostname))


def can_be_asked(url: str) -> bool:
    """Whether our HTTP client gets along with the URL's host: IDNA 2008 has no word for some names that exist."""
    import httpx

    try:
        _ = httpx.URL(url).host
    except (httpx.InvalidURL, UnicodeError):
        return False
    return True
