"""Signing and verifying per core: `python benchmarks/signing_throughput.py [SECONDS]`.

Each line is one scheme with one kind of key over a body of 300 bytes or 64 KiB, verified with replay protection, beside
the reference of the same run: the bare primitive (HMAC and a SHA-256 of the body, or one signature of `cryptography`).
"""

from __future__ import annotations

import hashlib
import hmac
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcpsec.signing import MemoryReplayStore, SignedMessage, Signer, SigningKey, VerificationKey, Verified, Verifier

SECRET = b"benchmark-benchmark-benchmark-benchmark-key"
HEADERS = [
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("user-agent", "python-httpx2/2.16.2"),
    ("mcp-protocol-version", "2026-07-28"),
    ("mcp-method", "tools/call"),
    ("mcp-name", "echo"),
]


def on(primitive: Callable[[bytes], object], body: bytes) -> Callable[[int], object]:
    """The primitive on this body, whatever number it is called with."""
    return lambda _: primitive(body)


def rate(work: Callable[[int], object], seconds: float) -> float:
    """Calls of ``work`` in a second of this process's own time, best of three; ``work`` gets a rising number."""
    numbers, best = count(), 0.0
    for _ in range(3):
        done, start = 0, time.process_time()
        while (used := time.process_time() - start) < seconds / 3:
            for _ in range(20):
                work(next(numbers))
            done += 20
        best = max(best, done / used)
    return best


def with_headers(message: SignedMessage, headers: dict[str, str]) -> SignedMessage:
    added = [(name.encode(), value.encode()) for name, value in headers.items()]
    return SignedMessage(
        message.method, message.authority, message.path, message.query, [*message.headers, *added], message.body
    )


def measure(
    scheme: str, signing: SigningKey, known: VerificationKey, body: bytes, seconds: float
) -> tuple[float, float]:
    message = SignedMessage.from_url("POST", "https://127.0.0.1:8443/mcp", headers=HEADERS, body=body)
    signer = Signer(signing, scheme)
    signed_per_second = rate(lambda number: signer.sign(message), seconds)
    stamp = time.time_ns() // 1_000_000
    signed = [
        with_headers(message, signer.sign(message, nonce=f"n{number}", timestamp=stamp + number // 100))
        for number in range(2000)
    ]
    accepted = 0

    def verify(number: int) -> None:
        nonlocal accepted, verifier
        if number % len(signed) == 0:  # every nonce counts once: begin again with an empty store
            verifier = Verifier({known.id: known}, schemes=[scheme], max_age=3600, replay=MemoryReplayStore())
        outcome = verifier.verify(signed[number % len(signed)])
        assert isinstance(outcome, Verified), outcome

    verifier: Any = None
    return signed_per_second, rate(verify, seconds)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    ed, p256 = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    rows: list[tuple[str, str, SigningKey, VerificationKey, Callable[[bytes], object], Callable[[bytes], object]]] = []

    def plain(body: bytes) -> bytes:
        return hmac.digest(SECRET, hashlib.sha256(body).digest(), "sha256")

    shared = SigningKey("k", secret=SECRET), VerificationKey("k", "c", secret=SECRET)
    rows += [(scheme, "secret", *shared, plain, plain) for scheme in ("hmac-sha256", "rfc9421")]
    ed_signature, ec_signature = ed.sign(b"x"), p256.sign(b"x", ec.ECDSA(hashes.SHA256()))
    rows.append(
        ("rfc9421", "Ed25519", SigningKey("k", private_key=ed), VerificationKey("k", "c", public_key=ed.public_key()),
         lambda body: ed.sign(hashlib.sha256(body).digest()),
         lambda body: (hashlib.sha256(body), ed.public_key().verify(ed_signature, b"x")))
    )  # fmt: skip
    rows.append(
        ("rfc9421", "P-256", SigningKey("k", private_key=p256), VerificationKey("k", "c", public_key=p256.public_key()),
         lambda body: p256.sign(hashlib.sha256(body).digest(), ec.ECDSA(hashes.SHA256())),
         lambda body: (hashlib.sha256(body), p256.public_key().verify(ec_signature, b"x", ec.ECDSA(hashes.SHA256()))))
    )  # fmt: skip
    print(f"{'scheme':12} {'key':8} {'body':>7} {'signs/s':>9} {'primitive':>10} {'verifies/s':>11} {'primitive':>10}")
    for scheme, kind, signing, known, sign_only, verify_only in rows:
        for body in (b"x" * 300, b"x" * 65536):
            signs, verifies = measure(scheme, signing, known, body, seconds)
            bare_sign = rate(on(sign_only, body), seconds / 3)
            bare_verify = rate(on(verify_only, body), seconds / 3)
            print(
                f"{scheme:12} {kind:8} {len(body):7} {signs:9.0f} {signs / bare_sign:9.0%}  {verifies:11.0f} "
                f"{verifies / bare_verify:9.0%}"
            )


if __name__ == "__main__":
    main()
