"""Certificates: a private PKI for MCP servers and their clients.

``Pki`` makes and opens one; ``identity`` says who a certificate is for; ``load_crl`` reads a revocation list and knows
when it is due. Nothing here imports an HTTP client: CAs and keys that live elsewhere are in ``issuers``. Each name is
imported when it is first asked for: a gateway that starts needs to read certificates, not to issue them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcpsec.certs.crl import CrlFile, crl_is_due, load_crl
    from mcpsec.certs.identity import San, sans_of, sha256_of
    from mcpsec.certs.leaf import Issued, LeafRequest
    from mcpsec.certs.ledger import Entry, Purpose
    from mcpsec.certs.pki import AuthorityInfo, Pki, Renewal

__all__ = [
    "AuthorityInfo",
    "CrlFile",
    "Entry",
    "Issued",
    "LeafRequest",
    "Pki",
    "Purpose",
    "Renewal",
    "San",
    "crl_is_due",
    "load_crl",
    "sans_of",
    "sha256_of",
]

_PLACES = {
    "crl": ("CrlFile", "crl_is_due", "load_crl"),
    "identity": ("San", "sans_of", "sha256_of"),
    "leaf": ("Issued", "LeafRequest"),
    "ledger": ("Entry", "Purpose"),
    "pki": ("AuthorityInfo", "Pki", "Renewal"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
