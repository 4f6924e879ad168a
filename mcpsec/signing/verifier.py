"""The verifier: one request in, the signer or the broken rule out; nothing is ever raised."""

from __future__ import annotations

import secrets
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from mcpsec.signing import hmac_sha256, repeats
from mcpsec.signing.fields import check_window, collect, key_id_of, nonce_of, signature_of, timestamp_of
from mcpsec.signing.outcome import Claim, Refusal, RefusedSignature, Verified
from mcpsec.signing.replay import ReplayStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from hmac import HMAC

    from mcpsec.signing.fields import Collected
    from mcpsec.signing.keys import VerificationKey
    from mcpsec.signing.message import SignedMessage
    from mcpsec.signing.replay import ReplayStore

__all__ = ["SCHEMES", "Verifier"]

SCHEMES: Final = ("hmac-sha256", "rfc9421", "article")
_NO_KEYS: Final[Mapping[str, VerificationKey]] = MappingProxyType({})


class _Presented(NamedTuple):
    """What the header fields of the HMAC schemes say, well-formed and within the window of time."""

    signature: bytes
    timestamp: bytes
    key_id: bytes | None

    @property
    def created(self) -> float:
        return int(self.timestamp) / 1000


class Verifier:
    """Checks request signatures: strict syntax, window of time, signature in constant time, then the replay store.

    ``keys`` maps key identifiers to the active keys of all clients; several keys of one client allow rotation.
    ``schemes`` are those of ``SCHEMES`` that the deployment accepts. ``max_age`` and ``future_skew`` are in seconds.

    ``verify`` is for a store that answers at once. With a store that must be awaited, give none here and do its two
    halves yourself::

        checked = verifier.check(message)
        if isinstance(checked, Refusal):
            return checked
        try:
            first = await store.claim(checked.key_id, checked.nonce, checked.expires_at)
        except Exception:
            return verifier.store_unavailable()
        return checked.settle(first)
    """

    def __init__(
        self,
        keys: Mapping[str, VerificationKey],
        *,
        schemes: Collection[str],
        max_age: float,
        future_skew: float = 30.0,
        replay: ReplayStore | None = None,
    ) -> None:
        unknown = set(schemes) - set(SCHEMES)
        if unknown:
            raise ValueError(f"unknown signature schemes: {', '.join(sorted(unknown))}")
        self._keys = dict(keys)
        self._schemes = frozenset(schemes)
        self._max_age = max_age
        self._future_skew = future_skew
        self._replay = replay
        # A request that names an unknown key is checked against this one, so that it costs what a wrong key costs.
        self._nobody = hmac_sha256.keyed(secrets.token_bytes(32))
        self._algorithms: tuple[str, ...] = ()
        self._hmac_keys: dict[str, tuple[VerificationKey, HMAC]] = {}
        self._hmac_keys_of: dict[str, list[tuple[VerificationKey, HMAC]]] = {}
        for name, key in self._keys.items():
            if key.secret is not None:
                self._hmac_keys[name] = ready = key, hmac_sha256.keyed(key.secret)
                self._hmac_keys_of.setdefault(key.owner, []).append(ready)

    def verify(
        self,
        message: SignedMessage,
        *,
        now: float | None = None,
        owner: str | None = None,
        certificate_keys: Mapping[str, VerificationKey] = _NO_KEYS,
    ) -> Verified | Refusal:
        """Check a request and claim its nonce; never raises.

        ``now`` is a Unix time in seconds. ``owner`` is the client that another factor has already established (the
        certificate): a key of any other client is refused then, and an ``article`` request without a key identifier is
        tried against that client's keys. ``certificate_keys`` are the keys of the connection's own certificate
        (``mcpsec.signing.certificate_keys``), with which ``rfc9421`` may sign.
        """
        checked = self.check(message, now=now, owner=owner, certificate_keys=certificate_keys)
        if isinstance(checked, Refusal):
            return checked
        if self._replay is None:
            return self.store_unavailable()
        try:
            first = self._replay.claim(checked.key_id, checked.nonce, checked.expires_at)
        except Exception as error:  # whatever ails the store: the request is refused
            return self.store_unavailable(error)
        return checked.settle(first is True)

    @staticmethod
    def store_unavailable(error: Exception | None = None) -> Refusal:
        """The refusal of a request whose nonce could not be claimed."""
        said = str(error) if isinstance(error, ReplayStoreError) else type(error).__name__
        return Refusal("store-unavailable", f"the replay store failed: {said}" if error else "no answer")

    def check(
        self,
        message: SignedMessage,
        *,
        now: float | None = None,
        owner: str | None = None,
        certificate_keys: Mapping[str, VerificationKey] = _NO_KEYS,
        collected: Collected | None = None,
    ) -> Claim | Refusal:
        """Everything but the replay store: a claim to make there, or a refusal; never raises.

        ``collected`` is what ``fields.collect`` gives for the message's headers, from whoever has it at hand.
        """
        try:
            at = time.time() if now is None else now
            return self._check(message, at, owner, certificate_keys, collected or collect(message.headers))
        except RefusedSignature as refused:
            return refused.refusal
        except Exception as error:  # a request that no rule foresaw is refused like the others
            return Refusal("message-malformed", f"the request can't be read: {type(error).__name__}")

    def again(
        self, message: SignedMessage, owner: str, collected: Collected, names: Sequence[bytes]
    ) -> Callable[[Sequence[bytes], bytes, float], tuple[str, float] | None] | None:
        """What ``repeats.again`` makes for requests with the head of ``message``, which ``check`` has let pass.

        None where each has to be checked in full: another scheme than ``hmac-sha256``, or a key that ends.
        """
        own, covered = collected
        if own.keys() != repeats.FIELDS or "hmac-sha256" not in self._schemes:
            return None
        found = self._hmac_keys.get(own[b"x-key-id"].decode("ascii", "replace"))
        if found is None or found[0].owner != owner or found[0].not_after is not None:
            return None
        return repeats.again(message, covered, found[0], names, max_age=self._max_age, future_skew=self._future_skew)

    def _check(
        self,
        message: SignedMessage,
        now: float,
        owner: str | None,
        certificate_keys: Mapping[str, VerificationKey],
        collected: Collected,
    ) -> Claim:
        own, covered = collected
        if b"signature" in own or b"signature-input" in own:
            if b"x-signature" in own:
                raise RefusedSignature("signature-ambiguous", "the request is signed by two schemes at once")
            key, verified = self._rfc9421(message, own, covered, now, certificate_keys)
        else:
            signature, timestamp = signature_of(own), timestamp_of(own)
            check_window(int(timestamp) / 1000, now, self._max_age, self._future_skew)
            presented = _Presented(signature, timestamp, key_id_of(own))
            if b"x-nonce" in own or "article" not in self._schemes:
                key, verified = self._hmac(message, presented, nonce_of(own), covered)
            else:
                key, verified = self._article(message, presented, owner)
        if key.not_after is not None and now > key.not_after:
            raise RefusedSignature("key-expired", f"key {key.id} is no longer active")
        if owner is not None and verified.owner != owner:
            raise RefusedSignature("key-of-another-client", f"key {verified.key_id} is not a key of {owner}")
        # One second more than the message can be accepted, for the store's own rounding.
        return Claim(verified, verified.created + self._max_age + 1.0)

    def _hmac(
        self, message: SignedMessage, presented: _Presented, nonce: bytes, covered: list[tuple[bytes, bytes]]
    ) -> tuple[VerificationKey, Verified]:
        self._accepts("hmac-sha256")
        if presented.key_id is None:
            raise RefusedSignature("key-id-missing", "the request has no x-key-id header")
        text = hmac_sha256.canonical_string(message, presented.key_id, presented.timestamp, nonce, covered)
        name = presented.key_id.decode("ascii")
        found = self._hmac_keys.get(name)
        if found is None:
            hmac_sha256.matches(self._nobody, text, presented.signature)
            raise RefusedSignature("key-unknown", "no client has a secret with this key identifier")
        key, keyed = found
        if not hmac_sha256.matches(keyed, text, presented.signature):
            raise RefusedSignature("signature-invalid", f"not signed with key {name}, or changed since")
        return key, Verified(name, key.owner, "hmac-sha256", nonce.decode("ascii"), presented.created)

    def _article(
        self, message: SignedMessage, presented: _Presented, owner: str | None
    ) -> tuple[VerificationKey, Verified]:
        self._accepts("article")
        text = hmac_sha256.article_string(message, presented.timestamp)
        candidates = self._article_candidates(presented.key_id, owner)
        if not candidates:
            hmac_sha256.matches(self._nobody, text, presented.signature)
        for key, keyed in candidates:
            if hmac_sha256.matches(keyed, text, presented.signature):
                # There is no nonce, and one body signed twice in a millisecond has one signature: it is its own nonce.
                nonce = f"{presented.timestamp.decode()}.{presented.signature.decode()}"
                return key, Verified(key.id, key.owner, "article", nonce, presented.created)
        raise RefusedSignature("signature-invalid", "not signed with an active key, or changed since")

    def _article_candidates(self, key_id: bytes | None, owner: str | None) -> Sequence[tuple[VerificationKey, HMAC]]:
        if key_id is not None:
            found = self._hmac_keys.get(key_id.decode("ascii"))
            return () if found is None else (found,)
        if owner is not None:
            return self._hmac_keys_of.get(owner, ())
        if len(self._hmac_keys_of) == 1:
            return next(iter(self._hmac_keys_of.values()))
        raise RefusedSignature("key-id-missing", "the request names no key, and nothing else says whose it is")

    def _rfc9421(
        self,
        message: SignedMessage,
        own: Mapping[bytes, bytes],
        covered: list[tuple[bytes, bytes]],
        now: float,
        certificate_keys: Mapping[str, VerificationKey],
    ) -> tuple[VerificationKey, Verified]:
        self._accepts("rfc9421")
        from mcpsec.signing import rfc9421  # imports http-message-signatures: 80 ms that most gateways never spend

        signature = rfc9421.read(own)
        check_window(float(signature.created), now, self._max_age, self._future_skew)
        if signature.expires is not None and signature.expires < now:
            raise RefusedSignature("signature-expired", "the signature's own expiry has passed")
        rfc9421.check_coverage(message, signature, covered)
        rfc9421.check_digest(message, own)
        key = self._keys.get(signature.key_id) or certificate_keys.get(signature.key_id)
        rfc9421.check_signature(message, signature, key, self._stand_in(signature.key_id))
        if key is None:
            raise RefusedSignature("key-unknown", "no client has a key with this identifier")
        return key, Verified(key.id, key.owner, "rfc9421", signature.nonce, float(signature.created))

    def _stand_in(self, key_id: str) -> str:
        """The algorithm by which a key that nobody has is checked.

        It is that of some key there is, always the same one for an identifier, so that the time which a refusal takes
        tells no identifier that exists from one that does not.
        """
        from mcpsec.signing import rfc9421

        if not self._algorithms:
            found = {rfc9421.algorithm_of(key) for key in self._keys.values()}
            self._algorithms = tuple(sorted(found)) or ("hmac-sha256",)
        mark = hmac_sha256.mac(self._nobody, key_id.encode())
        return self._algorithms[int(mark[:8], 16) % len(self._algorithms)]

    def _accepts(self, scheme: str) -> None:
        if scheme not in self._schemes:
            raise RefusedSignature("scheme-not-accepted", f"this deployment does not accept the scheme {scheme}")
