"""Signing keys: what signs, what verifies, how a file becomes one, and the identifier of a certificate's key."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError, SecretError, UsageError, advice
from mcpsec.frozen import dataclass
from mcpsec.reading import read_file
from mcpsec.writing import PRIVATE, write_new

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    "MINIMUM_SECRET_BYTES",
    "SigningKey",
    "VerificationKey",
    "certificate_keys",
    "generate_private_key",
    "generate_secret",
    "load_private_key",
    "load_public_key",
    "load_secret",
    "secret_bytes",
    "thumbprint",
    "write_private",
]

MINIMUM_SECRET_BYTES = 32
"""An HMAC-SHA-256 secret shorter than the hash's output weakens it (RFC 2104 section 3)."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One active key that a client signs with: a shared ``secret`` or a ``public_key`` (ECDSA P-256 or Ed25519).

    ``owner`` is the client's id. ``not_after`` is a Unix time in seconds after which the key verifies nothing.

    Raises:
        SecretError: the secret is shorter than 32 bytes.
    """

    id: str
    owner: str
    secret: bytes | None = field(default=None, repr=False)
    public_key: EllipticCurvePublicKey | Ed25519PublicKey | None = None
    not_after: float | None = None

    def __post_init__(self) -> None:
        if (self.secret is None) == (self.public_key is None):
            raise ConfigurationError(f"signing key {self.id} needs exactly one of a secret and a public key")
        if self.secret is not None:
            _long_enough(self.secret, f"the secret of signing key {self.id}")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What a client signs with: a shared ``secret`` or its own ``private_key`` (ECDSA P-256 or Ed25519).

    Raises:
        SecretError: the secret is shorter than 32 bytes.
    """

    id: str | None
    secret: bytes | None = field(default=None, repr=False)
    private_key: EllipticCurvePrivateKey | Ed25519PrivateKey | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.secret is None) == (self.private_key is None):
            raise ConfigurationError("a signing key needs exactly one of a secret and a private key")
        if self.secret is not None:
            _long_enough(self.secret, "the signing secret")


def _long_enough(secret: bytes, what: str, path: Path | None = None) -> None:
    if len(secret) < MINIMUM_SECRET_BYTES:
        raise SecretError(
            f"{what} has {len(secret)} bytes; {MINIMUM_SECRET_BYTES} are the least",
            hint="make one with `mcpsec sign keygen FILE`",
            path=path,
        )


def generate_secret() -> str:
    """A new shared secret: 32 random bytes as 43 characters of base64url. Those characters are the key."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def generate_private_key(kind: str) -> tuple[bytes, bytes]:
    """A new key pair, ``ed25519`` or ``ecdsa-p256``: PKCS #8 and SubjectPublicKeyInfo in PEM form."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read; so is a directory that has to be made for it.

    Raises:
        UsageError: it exists already, or can't be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"its directory can't be made: {error.strerror}", path=path, hint=advice(error)) from None
    try:
        write_new(path, content, PRIVATE)
    except FileExistsError:
        raise UsageError(
            "the file exists already", path=path, hint="a key is never overwritten: choose another name"
        ) from None
    except OSError as error:
        raise UsageError(f"can't be written: {error.strerror}", path=path, hint=advice(error)) from None


def secret_bytes(content: bytes) -> bytes:
    """The key that a secret file's content stands for: its bytes without one line end at the end, nothing decoded.

    That is what a ``{ file = … }`` reference of a deployment file gives. The text itself is the key, so that
    ``openssl dgst -hmac "$(cat FILE)"`` and ``createHmac("sha256", readFileSync(FILE, "utf8").trimEnd())`` compute with
    the same one.
    """
    return content.removesuffix(b"\n").removesuffix(b"\r")


def load_secret(path: Path) -> bytes:
    """Read a shared secret from the file that ``mcpsec sign keygen`` wrote, or from any other.

    Raises:
        SecretError: the file can't be read, or what it holds is shorter than 32 bytes.
    """
    secret = secret_bytes(_read(path, "secret"))
    _long_enough(secret, "the secret", path)
    return secret


def load_private_key(path: Path) -> EllipticCurvePrivateKey | Ed25519PrivateKey:
    """Read an unencrypted PEM private key, such as the one of a client certificate.

    Raises:
        SecretError: not a private key in PEM, an encrypted one, or neither ECDSA P-256 nor Ed25519.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = _read(path, "key")
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise SecretError("the private key is encrypted", path=path, hint="decrypt it into a 0600 file first") from None
    except Exception:  # the library raises several kinds; none may show the file's content
        raise SecretError("not a private key in PEM form", path=path) from None
    return _signing_private_key(key, path)


def load_public_key(path: Path) -> EllipticCurvePublicKey | Ed25519PublicKey:
    """Read a PEM public key or the public key of a PEM certificate.

    Raises:
        ConfigurationError: neither of both, or neither ECDSA P-256 nor Ed25519.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem = _read(path, "public key")
    try:
        if b"-----BEGIN CERTIFICATE-----" in pem:
            key: object = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = load_pem_public_key(pem)
    except Exception:
        raise ConfigurationError("neither a public key nor a certificate in PEM form", path=path) from None
    return _signing_public_key(key, path)


def _read(path: Path, what: str) -> bytes:
    try:
        return read_file(path)
    except ConfigurationError as error:
        raise SecretError(f"the {what} file {error.message}", path=path) from None
    except OSError as error:
        hint = advice(error)
        if what == "secret" and isinstance(error, FileNotFoundError):
            hint = "check the path, or make one: mcpsec sign keygen FILE"
        raise SecretError(f"the {what} file can't be read: {error.strerror}", path=path, hint=hint) from None


def _signing_private_key(key: object, path: Path) -> EllipticCurvePrivateKey | Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    ):
        return key
    raise SecretError("only ECDSA P-256 and Ed25519 keys sign requests", path=path)


def _signing_public_key(key: object, path: Path | None) -> EllipticCurvePublicKey | Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return key
    raise ConfigurationError("only ECDSA P-256 and Ed25519 keys verify requests", path=path)


def thumbprint(der: bytes) -> str:
    """The ``x5t#S256`` of a certificate: unpadded base64url of the SHA-256 of its DER form (RFC 8705 section 3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def certificate_keys(der: bytes, owner: str) -> dict[str, VerificationKey]:
    """The key of a verified client certificate, under both spellings of its identifier.

    ``keyid`` may be the ``x5t#S256`` thumbprint or the SHA-256 in lower-case hex, as deployment files write it. Empty
    when the certificate's key is of a kind that signs no requests (RSA, other curves).
    """
    from cryptography import x509

    try:
        key = _signing_public_key(x509.load_der_x509_certificate(der).public_key(), None)
    except Exception:  # TLS has judged the certificate; here it only fails to offer a signing key
        return {}
    ids = (thumbprint(der), hashlib.sha256(der).hexdigest())
    return {name: VerificationKey(name, owner, public_key=key) for name in ids}
