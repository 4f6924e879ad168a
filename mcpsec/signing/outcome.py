"""What a verification answers: who signed and when, or the one rule that the request broke.

These are named tuples because one is made for every request: a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Claim", "Refusal", "RefusedSignature", "Verified"]


class Verified(NamedTuple):
    """A request whose signature holds: the key, the client that owns it, and when it was made (Unix seconds)."""

    key_id: str
    owner: str
    scheme: str
    nonce: str
    created: float


class Refusal(NamedTuple):
    """A request that is refused: ``rule`` is a stable identifier, ``detail`` is safe for logs.

    Neither belongs in the answer to the client, which learns only that the request was refused.
    """

    rule: str
    detail: str


class RefusedSignature(Exception):
    """How a rule inside this room says no; the verifier turns it into a ``Refusal``."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(rule, detail)


class Claim(NamedTuple):
    """A request whose signature holds and whose nonce must still be claimed before it may be served."""

    verified: Verified
    expires_at: float

    @property
    def key_id(self) -> str:
        """The first argument of ``ReplayStore.claim``."""
        return self.verified.key_id

    @property
    def nonce(self) -> str:
        """The second argument of ``ReplayStore.claim``."""
        return self.verified.nonce

    def settle(self, first: bool) -> Verified | Refusal:
        """The end of a verification, once a store has said whether the nonce was claimed for the first time."""
        if first:
            return self.verified
        return Refusal("nonce-replayed", f"key {self.key_id} has already used this nonce")
