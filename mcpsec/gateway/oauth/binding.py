"""Whether the caller is its token's rightful holder: by its certificate (RFC 8705) or its key (RFC 9449)."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

from mcpsec.gateway.oauth.compact import TokenError

if TYPE_CHECKING:
    from mcpsec.gateway.message import Peer
    from mcpsec.gateway.oauth.access import AccessToken

__all__ = ["check_certificate", "check_scheme"]


def check_scheme(token: AccessToken, scheme: str, *, required: bool) -> None:
    """Refuse a token under the wrong scheme, and one that is bound to nothing where it must be. Raises TokenError.

    ``scheme`` is ``bearer`` or ``dpop``. A key-bound token that comes as a bearer token is taken for a stolen one
    (RFC 9449 section 7.1).
    """
    if token.bound and token.bound_certificate is None and token.bound_key is None:
        raise TokenError("token-binding-unknown", "bound in a way that is not known here")
    if required and not token.bound:
        raise TokenError("token-not-bound", "bound to neither a certificate nor a key")
    if token.bound_key is not None and scheme != "dpop":
        raise TokenError("token-without-proof", "bound to a key, but sent without proof of it")
    if token.bound_key is None and scheme == "dpop":
        raise TokenError("token-not-key-bound", "sent with a proof, but bound to no key")


def check_certificate(token: AccessToken, peer: Peer) -> None:
    """Refuse a token that is bound to another certificate than the connection's. Raises TokenError."""
    if token.bound_certificate is None:
        return
    own = "" if peer.fingerprint is None else _thumbprint(peer.fingerprint)
    if not own or not hmac.compare_digest(own.encode(), token.bound_certificate.encode("utf-8", "replace")):
        raise TokenError("token-of-another-certificate", "bound to another certificate than the connection's")


def _thumbprint(fingerprint: str) -> str:
    """``x5t#S256`` of a certificate (RFC 8705 section 3.1) from its SHA-256 in hex."""
    return base64.urlsafe_b64encode(bytes.fromhex(fingerprint)).rstrip(b"=").decode()
