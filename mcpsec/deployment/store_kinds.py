"""The scalars that say where the gateway keeps what it remembers."""

from __future__ import annotations

import re
from typing import Any, ClassVar
from urllib.parse import urlsplit

from mcpsec.deployment.literals import url_holds_secret
from mcpsec.deployment.shapes import Scalar, Schema, Wrong, text_of
from mcpsec.frozen import dataclass

__all__ = ["StoreUrl"]


@dataclass(frozen=True, slots=True)
class StoreUrl(Scalar):
    """``memory://``, ``redis://HOST:PORT/DATABASE``, ``rediss://…`` (TLS) or ``unix:///PATH``."""

    label: ClassVar[str] = "store URL"

    def parse(self, value: Any, base: Any) -> str:
        """Accept a URL of a store, without credentials in it."""
        text = text_of(value)
        if url_holds_secret(text):
            raise Wrong(
                "has credentials in it, which must not stand in this file",
                'write [state] password = { env = "NAME" } (and username = "…")',
            )
        if text == "memory://":
            return text
        try:
            parts = urlsplit(text)
            good = bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"/?|/[0-9]{1,4}", parts.path) is not None
        except ValueError:
            good = False
        if text.startswith("unix:///") and len(text) > len("unix:///"):
            good = "\0" not in text
        elif not text.startswith(("redis://", "rediss://")) or "?" in text or "#" in text:
            good = False
        if not good:
            raise Wrong(
                "is not a store", 'write "memory://", "redis://HOST:PORT/0", "rediss://HOST:PORT/0" or "unix:///PATH"'
            )
        return text

    def schema(self) -> Schema:
        """Describe it by its schemes."""
        return {"type": "string", "pattern": r"^(memory://|rediss?://[^/@\s]+(/[0-9]{0,4})?|unix:///.+)$"}
