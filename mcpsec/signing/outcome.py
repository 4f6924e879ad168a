"""What a verification answers: who signed and when, or the one rule that the request broke."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Claim", "Refusal", "RefusedSignature", "Verified"]


@dataclass(frozen=True, slots=True)
class Verified:
    """A request whose signature holds: the key, the client that owns it, and when it was made (Unix seconds)."""

    key_id: str
    owner: str
    scheme: str
    nonce: str
    created: float


@dataclass(frozen=True, slots=True)
class Refusal:
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


@dataclass(frozen=True, slots=True)
class Claim:
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
