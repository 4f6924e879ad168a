"""CA keys that this machine may not hold: one small interface, with a module for each place a key can be.

A key reference is the text that ``pki.toml`` and the ledger keep: a path (relative to the PKI) for a PEM file, or
``SCHEME:…`` for a key elsewhere. What comes back signs like any private key of ``cryptography``, so the certificate
and CRL builders never know where the key is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.certs import keys
from mcpsec.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_external", "load_ca_key"]

_EXTERNAL = {"transit": "mcpsec.certs.issuers.transit"}


def is_external(reference: str) -> bool:
    """Tell whether a key reference names a key that is held elsewhere."""
    return reference.partition(":")[0] in _EXTERNAL


def load_ca_key(reference: str, root: Path, what: str, passphrase: keys.Passphrase | None) -> keys.PrivateKey:
    """Return a CA's key, or something that signs in its place.

    Raises:
        SecretError: the key is missing, unsafe, or its keeper refuses.
    """
    if is_external(reference):
        import importlib

        module = importlib.import_module(_EXTERNAL[reference.partition(":")[0]])
        key: keys.PrivateKey = module.load(reference, what)
        return key
    path = root / reference
    if not path.is_file():
        raise ConfigurationError(
            f"{what} is not here",
            path=path,
            hint="bring it back from where it is kept, or run on the machine that has it",
        )
    return keys.load(path, what, passphrase)
