"""Which client of the deployment a token stands for: exactly one, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.oauth.access import AccessToken

__all__ = ["TokenDirectory"]


class TokenDirectory:
    """Finds clients by the subject and the client identifier that a token names."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self._matches: dict[tuple[str | None, str | None], Client] = {}
        for client in clients:
            if client.oauth is not None:
                self._matches[client.oauth.subject, client.oauth.client_id] = client

    def find(self, token: AccessToken) -> Client | None:
        """The one client whose every named key is the token's; None when there is none, or more than one.

        A client that names both is more exact than one that names either, but not preferred: a token that two clients
        of the file could claim is nobody's.
        """
        return self._only(token.subject, token.client_id)

    def claimed(self, claims: Mapping[str, Any]) -> str:
        """The client that unverified claims point to, or what they say in short; for counting and the log only."""
        subject, client_id = claims.get("sub"), claims.get("client_id", claims.get("azp"))
        words = [word if isinstance(word, str) else None for word in (subject, client_id)]
        found = self._only(*words)
        return found.id if found is not None else "token:" + "/".join(word[:64] for word in words if word)

    def _only(self, subject: str | None, client_id: str | None) -> Client | None:
        keys = {(subject, client_id), (subject, None), (None, client_id)} - {(None, None)}
        found = [client for key in keys if (client := self._matches.get(key)) is not None]
        return found[0] if len(found) == 1 else None
