"""Request signing and verification: the HMAC schemes, RFC 9421 message signatures, replay protection.

Importing this package costs nothing but the standard library; http-message-signatures and cryptography are imported
when the first ``rfc9421`` request or asymmetric key comes.
"""

from mcpsec.signing.keys import (
    MINIMUM_SECRET_BYTES,
    SigningKey,
    VerificationKey,
    certificate_keys,
    generate_secret,
    load_private_key,
    load_public_key,
    load_secret,
    secret_bytes,
    thumbprint,
)
from mcpsec.signing.message import Headers, SignedMessage, covered, is_covered
from mcpsec.signing.outcome import Claim, Refusal, Verified
from mcpsec.signing.replay import MemoryReplayStore, ReplayStore, ReplayStoreError
from mcpsec.signing.signer import Signer
from mcpsec.signing.verifier import SCHEMES, Verifier

__all__ = [
    "MINIMUM_SECRET_BYTES",
    "SCHEMES",
    "Claim",
    "Headers",
    "MemoryReplayStore",
    "Refusal",
    "ReplayStore",
    "ReplayStoreError",
    "SignedMessage",
    "Signer",
    "SigningKey",
    "VerificationKey",
    "Verified",
    "Verifier",
    "certificate_keys",
    "covered",
    "generate_secret",
    "is_covered",
    "load_private_key",
    "load_public_key",
    "load_secret",
    "secret_bytes",
    "thumbprint",
]
