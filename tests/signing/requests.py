"""Requests, keys and clocks that the signing tests share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcpsec.signing import SCHEMES, MemoryReplayStore, SignedMessage, Signer, SigningKey, VerificationKey, Verifier

NOW = 1_795_000_000.0
"""The clock of these tests, Unix seconds."""
STAMP = int(NOW * 1000)
SECRET = b"0123456789abcdef0123456789abcdef"

MESSAGE = SignedMessage.from_url(
    "POST",
    "https://mcp.example.com:8443/mcp?tenant=a%20b",
    headers=[
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "echo"),
        ("Mcp-Param-Region", "eu"),
    ],
    body=b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
)


@cache
def key_pair(kind: str) -> tuple[SigningKey, VerificationKey]:
    """A client's key and the server's half of it: ``secret``, ``ed25519`` or ``ecdsa``."""
    if kind == "secret":
        return SigningKey("secret", secret=SECRET), VerificationKey("secret", "agent", secret=SECRET)
    private = Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    return SigningKey(kind, private_key=private), VerificationKey(kind, "agent", public_key=private.public_key())


WAYS = [("hmac-sha256", "secret"), ("article", "secret"), *(("rfc9421", k) for k in ("secret", "ed25519", "ecdsa"))]
"""Every scheme with every kind of key that it takes."""


def verifier(*schemes: str, keys: Iterable[VerificationKey] | None = None, **options: object) -> Verifier:
    """A verifier that knows all test keys and stands at NOW."""
    known = [key_pair(kind)[1] for kind in ("secret", "ed25519", "ecdsa")] if keys is None else keys
    options.setdefault("replay", MemoryReplayStore(1000, clock=lambda: NOW))
    options.setdefault("max_age", 300.0)
    return Verifier({key.id: key for key in known}, schemes=schemes or SCHEMES, **options)  # type: ignore[arg-type]


def with_headers(message: SignedMessage, headers: dict[str, str]) -> SignedMessage:
    added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return replace(message, headers=[*message.headers, *added])


def signed(
    scheme: str = "hmac-sha256", kind: str = "secret", message: SignedMessage = MESSAGE, **options: object
) -> SignedMessage:
    """``message`` as a client sends it."""
    options.setdefault("timestamp", STAMP)
    signer = Signer(key_pair(kind)[0], scheme)
    return with_headers(message, signer.sign(message, **options))  # type: ignore[arg-type]


def field(message: SignedMessage, name: bytes, value: bytes | None) -> SignedMessage:
    """``message`` with one header field changed, or without it."""
    kept = [pair for pair in message.headers if pair[0] != name]
    return replace(message, headers=kept if value is None else [*kept, (name, value)])


def value_of(message: SignedMessage, name: bytes) -> bytes:
    return dict(message.headers)[name]
