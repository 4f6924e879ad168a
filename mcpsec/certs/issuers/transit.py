"""CA keys inside OpenBao's (or Vault's) transit engine: the key never leaves it, every signature is a request.

A reference is ``transit:KEY`` or ``transit:MOUNT/KEY``, and ``#VERSION`` when it is pinned, as the ledger keeps it: a
later rotation of the transit key must not change the key of a CA certificate. Kinds: ecdsa-p256, ecdsa-p384, rsa-3072.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mcpsec.certs.issuers.openbao import OpenBao
from mcpsec.errors import Error, SecretError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding

__all__ = ["load", "pinned"]

_REFERENCE = re.compile(r"transit:(?:(?P<mount>[A-Za-z0-9_-]+)/)?(?P<key>[A-Za-z0-9_.-]+)(?:#(?P<version>[0-9]+))?")
_KINDS = "ecdsa-p256, ecdsa-p384 or rsa-3072"
_HASHES = {"sha256": "sha2-256", "sha384": "sha2-384"}


@dataclass(frozen=True, slots=True)
class _Place:
    mount: str
    key: str
    version: int | None

    @classmethod
    def parse(cls, reference: str) -> _Place:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise UsageError(f"{reference!r} names no transit key", hint="transit:KEY or transit:MOUNT/KEY")
        version = int(match["version"]) if match["version"] else None
        return cls(match["mount"] or "transit", match["key"], version)


def _describe(place: _Place, bao: OpenBao) -> tuple[int, Any]:
    """The version to use and its public key."""
    facts = bao.get(f"{place.mount}/keys/{place.key}")
    version = place.version or int(facts.get("latest_version", 0))
    stored = facts.get("keys", {}).get(str(version))
    if not isinstance(stored, dict) or "public_key" not in stored:
        raise SecretError(f"the transit key {place.key} has no version {version} that signs certificates")
    try:
        return version, load_pem_public_key(str(stored["public_key"]).encode())
    except ValueError as error:
        raise SecretError(f"the transit key {place.key} is of a kind that no CA should have", hint=_KINDS) from error


def pinned(reference: str) -> str:
    """The reference with the key's newest version, so that it means one key for ever.

    Raises:
        Error: OpenBao can't be reached or refuses.
    """
    place = _Place.parse(reference)
    version, _ = _describe(place, OpenBao())
    return f"transit:{place.mount}/{place.key}#{version}"


def load(reference: str, what: str) -> TransitEcKey | TransitRsaKey:
    """Return what signs with a transit key; ``what`` names it in messages.

    Raises:
        Error: OpenBao can't be reached or refuses, or the key is of a kind that no CA may have.
    """
    place = _Place.parse(reference)
    bao = OpenBao()
    version, public_key = _describe(place, bao)
    remote = _Remote(bao, place, version)
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in ("secp256r1", "secp384r1"):
        return TransitEcKey(remote, public_key)
    if isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size >= 3072:
        return TransitRsaKey(remote, public_key)
    raise SecretError(f"{what} is of a kind that no CA should have", hint=_KINDS)


@dataclass(frozen=True, slots=True)
class _Remote:
    bao: OpenBao
    place: _Place
    version: int

    def sign(self, data: bytes, algorithm: object, **options: str) -> bytes:
        name = algorithm.name if isinstance(algorithm, hashes.HashAlgorithm) else ""
        if name not in _HASHES:
            raise UsageError(f"a transit key doesn't sign over {name or 'a prepared digest'}")
        body = {"input": base64.b64encode(data).decode(), "key_version": self.version, **options}
        answer = self.bao.post(f"{self.place.mount}/sign/{self.place.key}/{_HASHES[name]}", body)
        try:
            return base64.b64decode(str(answer["signature"]).rsplit(":", 1)[1], validate=True)
        except (KeyError, IndexError, binascii.Error) as error:
            raise Error("OpenBao's signature can't be understood") from error


def _never(*_: object, **__: object) -> NoReturn:
    raise UsageError("a key in OpenBao's transit engine can only sign")


class TransitEcKey(ec.EllipticCurvePrivateKey):
    """An ECDSA key in the transit engine, in the shape that certificate builders take."""

    def __init__(self, remote: _Remote, public_key: ec.EllipticCurvePublicKey) -> None:
        self._remote = remote
        self._public_key = public_key

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign remotely; the signature is DER, as in certificates."""
        return self._remote.sign(bytes(data), signature_algorithm.algorithm, marshaling_algorithm="asn1")

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256 or P-384."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """Bits of the curve."""
        return self._public_key.key_size

    exchange = _never
    private_numbers = _never
    private_bytes = _never
    __copy__ = _never
    __deepcopy__ = _never


class TransitRsaKey(rsa.RSAPrivateKey):
    """An RSA key in the transit engine."""

    def __init__(self, remote: _Remote, public_key: rsa.RSAPublicKey) -> None:
        self._remote = remote
        self._public_key = public_key

    def sign(self, data: Any, padding: AsymmetricPadding, algorithm: Any) -> bytes:
        """Sign remotely with PKCS#1 v1.5, as certificates are signed."""
        if padding.name != "EMSA-PKCS1-v1_5":
            raise UsageError("certificates are signed with PKCS#1 v1.5 here")
        return self._remote.sign(bytes(data), algorithm, signature_algorithm="pkcs1v15")

    def public_key(self) -> rsa.RSAPublicKey:
        """The public half."""
        return self._public_key

    @property
    def key_size(self) -> int:
        """Bits of the modulus."""
        return self._public_key.key_size

    decrypt = _never
    private_numbers = _never
    private_bytes = _never
    __copy__ = _never
    __deepcopy__ = _never
