"""What a request signature covers, exactly as it stood on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Headers", "SignedMessage", "covered", "is_covered"]

Headers = dict[str, str]
"""Header fields that a signer asks its caller to send."""

_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """One HTTP request as bytes on the wire, before anything decoded, unescaped or re-serialised it.

    ``method`` is upper case; ``authority`` the ``Host`` header's value in lower case; ``path`` and ``query`` (without
    its ``?``, empty when there is none) keep their percent-encoding; ``headers`` have lower-case names and keep order
    and duplicates; ``body`` is what ``Content-Length`` or the chunks delivered.
    """

    method: str
    authority: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def from_url(
        cls, method: str, url: str, *, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> SignedMessage:
        """Describe the request that an HTTP client makes of ``url``.

        The URL must already be percent-encoded: what is signed is what is sent. A fragment is not sent, a default
        port is not part of ``Host``, an empty path is ``/``.

        Raises:
            UsageError: the URL is not absolute http(s), holds credentials, or needs encoding first; or a header has
                characters that HTTP can't carry.
        """
        authority, path, query = _split(url)
        try:
            pairs = [(name.lower().encode("latin-1"), value.strip(" \t").encode("latin-1")) for name, value in headers]
        except UnicodeEncodeError:
            raise UsageError("a header has characters outside Latin-1 and can't be sent") from None
        return cls(method.upper(), authority, path, query, pairs, body)

    @property
    def target(self) -> str:
        """The request target of an HTTP/1.1 request line, in origin form (RFC 9112 section 3.2.1)."""
        return f"{self.path}?{self.query}" if self.query else self.path


def _split(url: str) -> tuple[str, str, str]:
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError("the URL holds a character that must be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"the URL can't be read: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise UsageError(f"not an absolute http(s) URL: {url}", hint="write it like https://127.0.0.1:8443/mcp")
    if port == 0:
        raise UsageError("the URL's port is 0, where nothing listens", hint="name the port that the server printed")
    if "@" in parts.netloc:
        raise UsageError("the URL holds a user name or password", hint="take them out: they would be sent to nobody")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        host = f"{host}:{port}"
    return host, parts.path or "/", parts.query


def is_covered(name: bytes) -> bool:
    """Whether every signature must cover the header ``name`` (lower case) when the request has it.

    Those are the headers that steer an MCP request: ``mcp-session-id``, ``mcp-protocol-version``, ``mcp-method``,
    ``mcp-name``, each ``mcp-param-*`` and whatever ``mcp-*`` comes, and ``last-event-id``, which picks what is resent.
    """
    return name.startswith(b"mcp-") or name == b"last-event-id"


def covered(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that every signature must cover, sorted by name, values without surrounding blanks."""
    return sorted((name, value.strip(b" \t")) for name, value in headers if is_covered(name))
