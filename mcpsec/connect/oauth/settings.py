"""What a person may decide about OAuth; all of it has a default that suits a server's own metadata."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

__all__ = ["LOGIN_SECONDS", "Binding", "Grant", "Keep", "Settings"]

LOGIN_SECONDS: Final = 300.0
"""How long a person may take to log in."""


class Grant(StrEnum):
    """How a token is obtained."""

    auto = "auto"
    authorization_code = "authorization-code"
    client_credentials = "client-credentials"


class Binding(StrEnum):
    """What a token is bound to, so that a stolen one is worth nothing."""

    auto = "auto"
    certificate = "certificate"
    dpop = "dpop"
    none = "none"


class Keep(StrEnum):
    """Where tokens are kept between two runs."""

    auto = "auto"
    keyring = "keyring"
    file = "file"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of OAuth.

    ``client_secret`` and ``client_key`` are files that authenticate the client to the authorization server: a shared
    secret, or a private key for ``private_key_jwt`` (RFC 7523). ``issuer`` is the only authorization server that will
    do; None takes the one that the resource names. ``ca`` is the authority of its certificate (None: the system's).
    ``redirect_port`` is the loopback port of the redirect URI (None: any free one). Without ``browser`` the address to
    open is only said, not opened.
    """

    client_id: str | None = None
    client_secret: Path | None = None
    client_key: Path | None = None
    issuer: str | None = None
    scope: str | None = None
    grant: Grant = Grant.auto
    binding: Binding = Binding.auto
    ca: Path | None = None
    redirect_port: int | None = None
    keep: Keep = Keep.auto
    browser: bool = True

    @property
    def machine(self) -> bool:
        """Whether the client speaks for itself (client credentials), with nobody at a browser."""
        if self.grant is Grant.auto:
            return self.client_secret is not None or self.client_key is not None
        return self.grant is Grant.client_credentials
