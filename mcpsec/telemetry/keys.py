"""The log's signing key: Ed25519 (RFC 8032), made on first use, beside the log.

``events.jsonl.key`` holds the private key (PEM, PKCS #8, mode 0600) and ``events.jsonl.pub`` the public one, which
travels with the log. The key proves that lines were written by whoever held the private file; it does not prove which
machine that was. Who must tell a log from one re-signed with a new key pins the fingerprint or the public file
elsewhere (``log verify --key``).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mcpsec.errors import ConfigurationError
from mcpsec.reading import read_file

__all__ = ["LogKey", "PublicKey", "key_paths"]


@dataclass(frozen=True)
class PublicKey:
    """The public half: verifies checkpoints."""

    key: Ed25519PublicKey

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and the SHA-256 of the key's SubjectPublicKeyInfo, hexadecimal."""
        return "sha256:" + hashlib.sha256(self._bytes(Encoding.DER)).hexdigest()

    @property
    def pem(self) -> bytes:
        """The key as it lies beside the log."""
        return self._bytes(Encoding.PEM)

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """True when ``signature`` is this key's over ``content``."""
        try:
            self.key.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    @classmethod
    def load(cls, path: Path) -> PublicKey:
        """Read a public key file (PEM).

        Raises:
            ConfigurationError: there is none, or it is not an Ed25519 public key.
        """
        try:
            key = load_pem_public_key(read_file(path))
        except OSError as error:
            raise ConfigurationError(
                f"the log's public key cannot be read: {error.strerror}",
                path=path,
                hint="it travels beside the log as FILE.pub; name another with --key",
            ) from None
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigurationError("this is not an Ed25519 public key in PEM form", path=path)
        return cls(key)

    def _bytes(self, encoding: Encoding) -> bytes:
        return self.key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


class LogKey:
    """The private half: signs checkpoints, and keys the digests of arguments."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())
        self.sign = key.sign
        seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        self.digest_key = hashlib.blake2b(b"mcpsec log argument digests", key=seed, digest_size=32).digest()

    @classmethod
    def load_or_make(cls, log: Path) -> LogKey:
        """The key beside ``log``, made when there is none yet; the public file is (re)written when it is missing.

        Raises:
            ConfigurationError: a file there is not what it should be, is readable by others, or can't be written.
        """
        private, public = key_paths(log)
        try:
            pem = _make(private) if not private.exists() else read_file(private)
            _refuse_if_exposed(private)
            key = load_pem_private_key(pem, None)
            loaded = cls(_ed25519(key))
            if not public.exists():
                _place(public, loaded.public.pem, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"the log's signing key cannot be used: {error.strerror}",
                path=error.filename or private,
                hint="the directory of the log must be writable by the gateway's user, and by nobody else",
            ) from None
        except (TypeError, ValueError):
            raise ConfigurationError(
                "this is not an Ed25519 private key in PEM form",
                path=private,
                hint="move it and the log aside; a new key and a new chain are made at the next start",
            ) from None
        if PublicKey.load(public).fingerprint != loaded.public.fingerprint:
            raise ConfigurationError(
                "the public key beside the log is not that of its private key",
                path=public,
                hint=f"delete it to have it written again from {private.name}",
            )
        return loaded


def key_paths(log: Path) -> tuple[Path, Path]:
    """The private and the public key file of a log."""
    return log.with_name(log.name + ".key"), log.with_name(log.name + ".pub")


def _ed25519(key: object) -> Ed25519PrivateKey:
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("not an Ed25519 key")
    return key


def _make(path: Path) -> bytes:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _place(path, pem, 0o600)
    return path.read_bytes()  # another process may have been first


def _place(path: Path, content: bytes, mode: int) -> None:
    """Write a new file, whole or not at all, however the process ends; one that is there by then stays."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(mode)
        try:
            os.link(partial, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _refuse_if_exposed(path: Path) -> None:
    mode = path.stat().st_mode
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(
            f"the log's signing key is open to other users (mode {mode & 0o777:04o})",
            path=path,
            hint=f"chmod 600 {path}",
        )
