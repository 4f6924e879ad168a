"""CA keys that this machine may not hold: one small interface, with a module for each place a key can be.

A key reference is the text that ``pki.toml`` and the ledger keep: a path (relative to the PKI) for a PEM file, or
``SCHEME:…`` for a key elsewhere. What comes back signs like any private key of ``cryptography``, so the certificate
and CRL builders never know where the key is. ``openbao-pki:…`` names a whole CA elsewhere: it signs requests and lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.certs import keys
from mcpsec.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.certs.issuers.openbao_pki import OpenBaoPki

__all__ = ["is_external", "is_issuer", "load_ca_key", "load_issuer", "pinned"]


def is_external(reference: str) -> bool:
    """Tell whether a key reference names a key that is held elsewhere."""
    return reference.startswith("transit:")


def is_issuer(reference: str) -> bool:
    """Tell whether a reference names a whole CA that is run elsewhere."""
    return reference.startswith("openbao-pki:")


def load_issuer(reference: str) -> OpenBaoPki:
    """Return the CA that is run elsewhere.

    Raises:
        Error: it is not named rightly, or the environment doesn't say where it is.
    """
    from mcpsec.certs.issuers.openbao_pki import OpenBaoPki

    return OpenBaoPki(reference)


def pinned(reference: str) -> str:
    """A reference that will mean this very key, or CA, for ever.

    Raises:
        Error: its keeper can't be reached or refuses.
    """
    if not is_external(reference):
        return reference
    from mcpsec.certs.issuers import transit

    return transit.pinned(reference)


def load_ca_key(reference: str, root: Path, what: str, passphrase: keys.Passphrase | None) -> keys.PrivateKey:
    """Return a CA's key, or something that signs in its place.

    Raises:
        SecretError: the key is missing, unsafe, or its keeper refuses.
    """
    if is_external(reference):
        from mcpsec.certs.issuers import transit

        return transit.load(reference, what)
    path = root / reference
    if not path.is_file():
        raise ConfigurationError(
            f"{what} is not here",
            path=path,
            hint="bring it back from where it is kept, or run on the machine that has it",
        )
    return keys.load(path, what, passphrase)
