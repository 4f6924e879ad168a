"""A signed request written out: as a curl line and as raw HTTP/1.1."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcpsec.signing.message import SignedMessage

__all__ = ["curl_line", "raw_http"]


def curl_line(
    message: SignedMessage,
    url: str,
    headers: Mapping[str, str],
    *,
    body_file: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    ca: Path | None = None,
) -> str:
    """A shell command that sends the request as it was signed.

    A body from ``body_file`` is read by curl; any other must be UTF-8 and stands in the line.

    Raises:
        UnicodeDecodeError: the body has no file and is not text.
    """
    words = ["curl", "--silent", "--show-error", "--path-as-is", "--globoff", "--request", message.method]
    for option, path in (("--cacert", ca), ("--cert", certificate), ("--key", key)):
        if path is not None:
            words += [option, str(path)]
    for name, value in headers.items():
        words += ["--header", f"{name}: {value}" if value else f"{name};"]
    if body_file is not None:
        words += ["--data-binary", f"@{body_file}"]
    elif message.body:
        words += ["--data-raw", message.body.decode("utf-8")]
    return shlex.join([*words, "--url", url])


def raw_http(message: SignedMessage, headers: Mapping[str, str]) -> bytes:
    """The request in HTTP/1.1 syntax (RFC 9112)."""
    lines = [f"{message.method} {message.target} HTTP/1.1", f"host: {message.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if message.body or message.method in {"POST", "PUT", "PATCH"}:
        lines.append(f"content-length: {len(message.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + message.body
