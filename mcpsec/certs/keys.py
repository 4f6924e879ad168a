"""Private keys: kinds, generation, and PEM files, encrypted with a key derivation function that costs an attacker.

``cryptography`` encrypts PKCS#8 with PBKDF2 at 2,048 rounds and lets nobody change that, so the encrypted form is
written here: PKCS#8 ``EncryptedPrivateKeyInfo`` (RFC 5958) with PBES2 (RFC 8018), scrypt (RFC 7914) and AES-256-CBC.
It is the standard form: ``openssl pkey -in key.pem`` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from mcpsec.certs.files import read_private
from mcpsec.errors import SecretError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

__all__ = [
    "CA_KEY_KINDS",
    "KEY_KINDS",
    "CaKeyKind",
    "KeyKind",
    "Passphrase",
    "PrivateKey",
    "PublicKey",
    "encode",
    "encrypt",
    "generate",
    "kind_of",
    "load",
    "same_public_key",
]

KeyKind = Literal["p256", "p384", "rsa3072", "ed25519"]
"""What a leaf's key may be."""
CaKeyKind = Literal["p256", "p384", "rsa3072"]
"""What a CA's key may be: common verifiers refuse CAs with Ed25519 keys."""
KEY_KINDS: tuple[KeyKind, ...] = get_args(KeyKind)
CA_KEY_KINDS: tuple[CaKeyKind, ...] = get_args(CaKeyKind)

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
"""A key that can be certified."""
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Passphrase = Callable[[str], bytes | None]
"""Asked for the passphrase of one key, described in words, only when that key is encrypted; None: there is none."""

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 8
"""16 MiB and eight passes: more than OWASP's minimum for N=2^14, and within the 32 MiB that OpenSSL allows itself."""


def generate(kind: KeyKind) -> PrivateKey:
    """Make a new private key."""
    match kind:
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "rsa3072":
            return rsa.generate_private_key(public_exponent=65537, key_size=3072)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            raise UsageError(f"{kind!r} is no kind of key", hint=f"one of {', '.join(KEY_KINDS)}")


def kind_of(key: object) -> str:
    """Name a public or private key as people write it: ``p256``, ``rsa3072``, ``ed25519``, or the class's own name."""
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return {"secp256r1": "p256", "secp384r1": "p384", "secp521r1": "p521"}.get(key.curve.name, key.curve.name)
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return f"rsa{key.key_size}"
    return type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey").lower()


def ca_kind_of(key: object) -> CaKeyKind:
    """Name the kind of an authority's key.

    Raises:
        UsageError: authorities do not have such keys here.
    """
    kind = kind_of(key)
    for each in CA_KEY_KINDS:
        if each == kind:
            return each
    raise UsageError(f"{kind!r} is no kind of key for a CA", hint=f"one of {', '.join(CA_KEY_KINDS)}")


def same_public_key(one: PublicKeyTypes, other: PublicKeyTypes) -> bool:
    """Tell whether two public keys are one key."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return one.public_bytes(*form) == other.public_bytes(*form)


def encode(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Serialise a key as PKCS#8 PEM, encrypted when there is a passphrase."""
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return encrypt(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), passphrase)


def encrypt(pkcs8: bytes, passphrase: bytes) -> bytes:
    """Encrypt a DER PKCS#8 key under a passphrase; returns PEM (``ENCRYPTED PRIVATE KEY``).

    Raises:
        SecretError: the passphrase is empty.
    """
    if not passphrase:
        raise SecretError("the passphrase is empty")
    salt, iv = os.urandom(16), os.urandom(16)
    derived = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase)
    pad = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES256(derived), modes.CBC(iv)).encryptor()
    ciphertext = cipher.update(pad.update(pkcs8) + pad.finalize()) + cipher.finalize()
    kdf = _sequence(
        _oid("1.3.6.1.4.1.11591.4.11"),  # id-scrypt
        _sequence(_tlv(4, salt), _integer(_SCRYPT_N), _integer(_SCRYPT_R), _integer(_SCRYPT_P), _integer(32)),
    )
    scheme = _sequence(_oid("2.16.840.1.101.3.4.1.42"), _tlv(4, iv))  # aes256-CBC-PAD
    algorithm = _sequence(_oid("1.2.840.113549.1.5.13"), _sequence(kdf, scheme))  # id-PBES2
    return _pem("ENCRYPTED PRIVATE KEY", _sequence(algorithm, _tlv(4, ciphertext)))


def load(path: Path, what: str, passphrase: Passphrase | None = None) -> PrivateKey:
    """Read a private key (PEM or DER) that only its owner may read; ``what`` names it in messages.

    Raises:
        ConfigurationError: the file is missing or unreadable.
        SecretError: others may read it, the passphrase is missing or wrong, it holds no usable private key.
    """
    data = read_private(path, what)
    encrypted = b"ENCRYPTED" in data[:4096]
    secret = passphrase(what) if encrypted and passphrase is not None else None
    if encrypted and not secret:
        raise SecretError(f"{what} is encrypted and no passphrase was given", path=path, hint="see --passphrase-file")
    loader = load_pem_private_key if b"-----BEGIN" in data else load_der_private_key
    try:
        key = loader(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = "the passphrase is wrong, or the file is damaged" if encrypted else "this is no private key"
        raise SecretError(f"{what} can't be read: {reason}", path=path) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise SecretError(f"{what} is of a kind that is not supported ({kind_of(key)})", path=path)
    return key


def _pem(label: str, der: bytes) -> bytes:
    import base64

    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _tlv(tag: int, content: bytes) -> bytes:
    """One DER element (X.690)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sequence(*elements: bytes) -> bytes:
    return _tlv(0x30, b"".join(elements))


def _integer(value: int) -> bytes:
    return _tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    encoded = bytearray([first * 40 + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        encoded += bytes(reversed(groups))
    return _tlv(6, bytes(encoded))
