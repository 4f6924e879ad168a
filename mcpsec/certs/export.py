"""Certificates and the ledger in other people's formats: PKCS#12 bundles, and the ledger as JSON Lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from mcpsec.certs import keys
from mcpsec.certs.files import read
from mcpsec.certs.leaf import pem
from mcpsec.errors import SecretError, UsageError
from mcpsec.writing import PRIVATE, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcpsec.certs.leaf import Issued
    from mcpsec.certs.pki import Pki

__all__ = ["ledger_lines", "write_pkcs12"]

_ROUNDS = 600_000
"""PBKDF2-HMAC-SHA-256, OWASP's count; PKCS#12 readers know no better function."""


def write_pkcs12(issued: Issued, path: Path, secret: bytes, key_passphrase: keys.Passphrase | None = None) -> None:
    """Write key, certificate and chain as one PKCS#12 file (mode 0600, AES-256, PBKDF2 with 600,000 rounds).

    Raises:
        UsageError: the key stayed with its owner.
        SecretError: ``secret`` is empty, or the key can't be read.
        ConfigurationError: a file can't be read or written.
    """
    if issued.key is None:
        raise UsageError(f"the key of {issued.name} is not here, so there is nothing to bundle")
    if not secret:
        raise SecretError("the passphrase is empty")
    key = keys.load(issued.key, f"the key of {issued.name}", key_passphrase)
    leaf, *others = x509.load_pem_x509_certificates(read(issued.chain))
    if not keys.same_public_key(key.public_key(), leaf.public_key()):
        raise SecretError("the key is not the certificate's", path=issued.key)
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(secret)
    )
    bundle = pkcs12.serialize_key_and_certificates(issued.name.encode(), key, leaf, others, encryption)
    write_atomic(path, bundle, PRIVATE)


def ledger_lines(pki: Pki) -> Iterator[str]:
    """Every certificate ever signed, one JSON object a line, each with the certificate itself in PEM form."""
    for entry in pki.entries(everything=True):
        record = {
            "serial": entry.serial,
            "name": entry.name,
            "purpose": entry.purpose.value,
            "sans": list(entry.sans),
            "profile": entry.profile,
            "issued": entry.issued.isoformat(),
            "not_before": entry.not_before.isoformat(),
            "not_after": entry.not_after.isoformat(),
            "signer": entry.signer,
            "recorded": entry.recorded,
            "revoked": entry.revoked.isoformat() if entry.revoked else None,
            "reason": entry.reason,
            "pem": pem(entry.der).decode(),
        }
        yield json.dumps(record, ensure_ascii=False)
