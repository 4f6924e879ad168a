"""Certificates: a private PKI for MCP servers and their clients.

``Pki`` makes and opens one; ``identity`` says who a certificate is for; ``load_crl`` reads a revocation list and knows
when it is due. Nothing here imports an HTTP client: CAs and keys that live elsewhere are in ``issuers``.
"""

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
