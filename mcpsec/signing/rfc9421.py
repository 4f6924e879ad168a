"""HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530), as mcpsec makes and accepts them.

The library signs and verifies; what a signature must cover and say is decided here: a tag of our own, a nonce, a time
of creation, a key identifier, the method, authority, path and query (or the target URI), the digest of a body, and
every header that steers an MCP request. The algorithm (HMAC-SHA-256, ECDSA P-256, Ed25519) follows from the kind of
the key, never from what the message says.

This module imports http-message-signatures and cryptography; nothing else in the room does on its own.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import http_sf
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    ContentDigest,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    InvalidSignature,
    MappingKeyResolver,
    algorithms,
)

from mcpsec.signing.fields import key_id_of, nonce_of
from mcpsec.signing.keys import SigningKey, VerificationKey
from mcpsec.signing.message import Headers, SignedMessage
from mcpsec.signing.message import covered as covered_headers
from mcpsec.signing.outcome import RefusedSignature

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "TAG",
    "MessageSignature",
    "algorithm_of",
    "check_coverage",
    "check_digest",
    "check_signature",
    "read",
    "sign",
    "verify_raw",
]

TAG: Final = "mcpsec"
"""The application tag (RFC 9421 section 2.3) that tells our signatures from those of proxies."""

_LABEL: Final = "mcpsec"
_ALGORITHMS: Final[dict[str, type[HTTPSignatureAlgorithm]]] = {
    "hmac-sha256": algorithms.HMAC_SHA256,
    "ecdsa-p256-sha256": algorithms.ECDSA_P256_SHA256,
    "ed25519": algorithms.ED25519,
}
_MOST_FIELD_BYTES = 8192


@dataclass(frozen=True, slots=True)
class MessageSignature:
    """The one signature of ours in a request, as ``Signature-Input`` describes it. Times are Unix seconds."""

    label: str
    key_id: str
    nonce: str
    created: int
    expires: int | None
    algorithm: str | None
    components: frozenset[str]


class _Fields:
    """Header fields as the library reads them: every line, in order, as Latin-1 text."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._items = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]

    def items(self) -> list[tuple[str, str]]:
        return self._items


class _Request:
    """A request in the library's terms. The scheme is https: no other reaches the gateway."""

    def __init__(self, message: SignedMessage, headers: _Fields | dict[str, str]) -> None:
        self.method = message.method
        self.url = f"https://{message.authority.lower()}{message.target}"
        self.headers = headers


class RawVerifier(HTTPMessageVerifier):
    """The library's verifier without its own clock: the window of time is the caller's, which has a clock to inject."""

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Judged by ``fields.check_window`` and the ``expires`` of ``MessageSignature``."""


def verify_raw(message: Any, key_id: str, key: object, algorithm: str, *, tag: str | None = None) -> None:
    """Check a signature's mathematics over whatever it covers, and nothing else.

    Raises:
        InvalidSignature: it does not hold.
    """
    verifier = RawVerifier(
        signature_algorithm=_ALGORITHMS[algorithm],
        key_resolver=MappingKeyResolver(public_keys={key_id: key}, private_keys={}),  # type: ignore[dict-item]
    )
    verifier.verify(message, max_age=None, expect_tag=tag)


def read(own: Mapping[bytes, bytes]) -> MessageSignature:
    """Read ``Signature-Input`` strictly and find the one signature with our tag.

    Raises:
        RefusedSignature: ``signature-missing``, ``signature-malformed``, ``signature-ambiguous``,
            ``algorithm-unsupported``, or ``-missing`` and ``-malformed`` of ``timestamp``, ``nonce`` and ``key-id``.
    """
    if b"signature" not in own or b"signature-input" not in own:
        raise RefusedSignature("signature-missing", "Signature and Signature-Input belong together")
    value = own[b"signature-input"]
    if len(value) > _MOST_FIELD_BYTES:
        raise RefusedSignature("signature-malformed", "Signature-Input is too long")
    ours = [(label, *member) for label, member in _dictionary(value).items() if member[1].get("tag") == TAG]
    if not ours:
        raise RefusedSignature("signature-missing", f'no signature has the tag "{TAG}"')
    if len(ours) > 1:
        raise RefusedSignature("signature-ambiguous", f'several signatures have the tag "{TAG}"')
    label, components, parameters = ours[0]
    if not isinstance(components, list) or not all(isinstance(name, str) for name, _ in components):
        raise RefusedSignature("signature-malformed", "Signature-Input names no list of components")
    key_id, nonce = _text(parameters, "keyid", "x-key-id"), _text(parameters, "nonce", "x-nonce")
    algorithm = parameters.get("alg")
    if algorithm is not None and algorithm not in _ALGORITHMS:
        raise RefusedSignature("algorithm-unsupported", "the algorithm is none of " + ", ".join(_ALGORITHMS))
    return MessageSignature(
        label=label,
        key_id=key_id,
        nonce=nonce,
        created=_time(parameters, "created"),
        expires=_time(parameters, "expires") if "expires" in parameters else None,
        algorithm=algorithm,
        components=frozenset(name for name, flags in components if not flags),
    )


def _dictionary(value: bytes) -> dict[str, tuple[Any, dict[str, Any]]]:
    def refuse(_name: str, _context: str) -> None:
        raise RefusedSignature("signature-malformed", "Signature-Input repeats a name")

    try:
        parsed = http_sf.parse(value, tltype="dictionary", on_duplicate_key=refuse)
    except ValueError:
        raise RefusedSignature("signature-malformed", "Signature-Input is no structured field") from None
    return parsed  # type: ignore[return-value]


def _text(parameters: dict[str, Any], name: str, like: str) -> str:
    """A text parameter, with the same syntax as the header field that carries it in the other scheme."""
    value = parameters.get(name)
    if value is None:
        raise RefusedSignature(f"{like[2:]}-missing", f"the signature has no {name} parameter")
    if not isinstance(value, str):
        raise RefusedSignature(f"{like[2:]}-malformed", f"the {name} parameter is no text")
    reader = {"keyid": key_id_of, "nonce": nonce_of}[name]
    reader({like.encode(): value.encode()})
    return value


def _time(parameters: dict[str, Any], name: str) -> int:
    value = parameters.get(name)
    if value is None:
        raise RefusedSignature("timestamp-missing", f"the signature has no {name} parameter")
    if type(value) is not int or value < 0:
        raise RefusedSignature("timestamp-malformed", f"the {name} parameter is no number of seconds")
    return value


def check_coverage(message: SignedMessage, signature: MessageSignature, covered: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse a signature that leaves a part of the request open to change.

    Raises:
        RefusedSignature: ``coverage-insufficient``.
    """
    required = {"@method"}
    if "@target-uri" not in signature.components:
        required |= {"@authority", "@path", "@query"}
    if message.body:
        required.add("content-digest")
    required.update(name.decode("latin-1") for name, _ in covered)
    missing = required - signature.components
    if missing:
        raise RefusedSignature("coverage-insufficient", "not covered by the signature: " + ", ".join(sorted(missing)))


def check_digest(message: SignedMessage, own: Mapping[bytes, bytes]) -> None:
    """Compare ``Content-Digest`` with the body's bytes; every digest it lists must hold (SHA-256, SHA-512).

    Raises:
        RefusedSignature: ``digest-missing`` or ``digest-mismatch``.
    """
    value = own.get(b"content-digest")
    if value is None:
        if message.body:
            raise RefusedSignature("digest-missing", "the request has a body and no Content-Digest header")
        return
    try:
        ContentDigest.verify(value, message.body)
    except InvalidSignature as error:
        raise RefusedSignature("digest-mismatch", str(error)) from None


def check_signature(
    message: SignedMessage, signature: MessageSignature, key: VerificationKey | None, stand_in: str
) -> None:
    """Check the signature itself.

    Every refusal costs one check by the algorithm that the message names, or else that of the key: an unknown key, and
    one of another kind than the message says, are checked against a key that no one signs with. ``stand_in`` is the
    algorithm of an unknown key whose message names none.

    Raises:
        RefusedSignature: ``signature-invalid``.
    """
    said = signature.algorithm
    algorithm, public = _nobody(said or stand_in) if key is None else _material(key)
    mismatch = said is not None and said != algorithm
    if mismatch:
        algorithm, public = _nobody(said or stand_in)
    request = _Request(message, _Fields(message.headers))
    try:
        verify_raw(request, signature.key_id, public, algorithm, tag=TAG)
    except Exception:
        if key is not None and not mismatch:
            raise RefusedSignature("signature-invalid", f"not signed with key {key.id}, or changed since") from None
    if mismatch and key is not None:
        raise RefusedSignature("signature-invalid", f"the signature says {said}, the key is {_material(key)[0]}")


def algorithm_of(key: VerificationKey) -> str:
    """The algorithm that a key signs by.

    Raises:
        RefusedSignature: ``algorithm-unsupported``.
    """
    return _material(key)[0]


def _material(key: VerificationKey) -> tuple[str, object]:
    if key.secret is not None:
        return "hmac-sha256", key.secret
    return _algorithm_of(key.public_key), key.public_key


def _algorithm_of(public_key: object) -> str:
    if isinstance(public_key, EllipticCurvePublicKey):
        return "ecdsa-p256-sha256"
    if isinstance(public_key, Ed25519PublicKey):
        return "ed25519"
    raise RefusedSignature("algorithm-unsupported", "the key is of a kind that signs no requests")


@cache
def _nobody(algorithm: str) -> tuple[str, object]:
    """A key of this process that no one signs with."""
    if algorithm == "ed25519":
        return algorithm, Ed25519PrivateKey.generate().public_key()
    if algorithm == "ecdsa-p256-sha256":
        return algorithm, generate_private_key(SECP256R1()).public_key()
    return "hmac-sha256", secrets.token_bytes(32)


def sign(message: SignedMessage, key: SigningKey, *, created: int, nonce: str) -> Headers:
    """Sign a request; answers the header fields to send with it. ``created`` is a Unix time in seconds.

    Covered are ``@method``, ``@authority``, ``@path``, ``@query``, the headers of ``message.covered`` and, when there
    is a body, ``content-digest``.
    """
    if key.id is None:
        raise ValueError("an RFC 9421 signature needs a key identifier")
    names = [name.decode("latin-1") for name, _ in covered_headers(message.headers)]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message.headers}
    digest = {"content-digest": ContentDigest.create(message.body)} if message.body else {}
    headers |= digest
    request = _Request(message, headers)
    material: Any = key.secret if key.private_key is None else key.private_key
    algorithm = "hmac-sha256" if key.private_key is None else _algorithm_of(key.private_key.public_key())
    signer = HTTPMessageSigner(
        signature_algorithm=_ALGORITHMS[algorithm],
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={key.id: material}),
    )
    signer.sign(
        request,
        key_id=key.id,
        created=datetime.datetime.fromtimestamp(created, tz=datetime.UTC),
        nonce=nonce,
        label=_LABEL,
        tag=TAG,
        use_existing_digest=bool(digest),
        covered_component_ids=("@method", "@authority", "@path", "@query", *names, *digest),
    )
    return {**digest, "signature-input": headers["Signature-Input"], "signature": headers["Signature"]}
