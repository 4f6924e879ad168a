"""An unknown key costs what a wrong key costs: the time of a refusal tells nobody which identifiers exist."""

from __future__ import annotations

from typing import Any

import pytest

from mcpsec.signing import Refusal, Signer, SigningKey, hmac_sha256, rfc9421
from tests.signing.requests import (
    MESSAGE,
    NOW,
    SECRET,
    STAMP,
    field,
    key_pair,
    signed,
    value_of,
    verifier,
    with_headers,
)

KINDS = ("secret", "ed25519", "ecdsa")


def refused(message: Any, expected: str, **options: Any) -> None:
    outcome = verifier(**options).verify(message, now=NOW)
    assert isinstance(outcome, Refusal)
    assert outcome.rule == expected


@pytest.fixture
def macs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each HMAC of a verification was computed over."""
    done: list[int] = []
    real = hmac_sha256.matches

    def matches(secret: bytes, text: bytes, signature: bytes) -> bool:
        done.append(len(text))
        return real(secret, text, signature)

    monkeypatch.setattr(hmac_sha256, "matches", matches)
    return done


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The algorithm of each RFC 9421 signature that was checked."""
    done: list[str] = []
    real = rfc9421.verify_raw

    def verify_raw(message: Any, key_id: str, key: object, algorithm: str, **options: Any) -> None:
        done.append(algorithm)
        real(message, key_id, key, algorithm, **options)

    monkeypatch.setattr(rfc9421, "verify_raw", verify_raw)
    return done


def test_hmac(macs: list[int]) -> None:
    name = "x" * len("secret")
    stranger = Signer(SigningKey(name, secret=SECRET)).sign(MESSAGE, timestamp=STAMP)
    refused(with_headers(MESSAGE, stranger), "key-unknown")
    wrong = Signer(SigningKey("secret", secret=b"w" * 32)).sign(MESSAGE, timestamp=STAMP)
    refused(with_headers(MESSAGE, wrong), "signature-invalid")
    assert len(macs) == 2
    assert macs[0] == macs[1]


def test_article(macs: list[int]) -> None:
    stranger = Signer(SigningKey("nobody", secret=SECRET), "article").sign(MESSAGE, timestamp=STAMP)
    refused(with_headers(MESSAGE, stranger), "signature-invalid")
    wrong = Signer(SigningKey("secret", secret=b"w" * 32), "article").sign(MESSAGE, timestamp=STAMP)
    refused(with_headers(MESSAGE, wrong), "signature-invalid")
    assert len(macs) == 2
    assert macs[0] == macs[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claimed", ["hmac-sha256", "ecdsa-p256-sha256", "ed25519"])
def test_rfc9421_by_what_the_message_says(kind: str, claimed: str, checks: list[str]) -> None:
    """Whoever names an algorithm pays for that algorithm, whatever the key is and whether there is one."""
    message = signed("rfc9421", kind)
    said = value_of(message, b"signature-input")
    before, _, after = said.partition(b';alg="')
    lied = before + f';alg="{claimed}"'.encode() + after.partition(b'"')[2]
    known = field(message, b"signature-input", lied.replace(b'nonce="', b'nonce="x'))
    refused(known, "signature-invalid")
    said = value_of(known, b"signature-input").replace(f'keyid="{kind}"'.encode(), b'keyid="nobody"')
    unknown = field(known, b"signature-input", said)
    refused(unknown, "key-unknown")
    assert checks == [claimed, claimed]


def test_rfc9421_without_an_algorithm(checks: list[str]) -> None:
    """An unknown identifier stands for some key there is, and always for the same kind."""
    judge = verifier()
    for name in [f"nobody-{number}" for number in range(40)] * 2:
        message = signed("rfc9421", "ed25519")
        said = (
            value_of(message, b"signature-input")
            .replace(b';alg="ed25519"', b"")
            .replace(b'"ed25519"', f'"{name}"'.encode())
        )
        assert isinstance(judge.verify(field(message, b"signature-input", said), now=NOW), Refusal)
    assert checks[:40] == checks[40:]
    assert set(checks) == {"hmac-sha256", "ecdsa-p256-sha256", "ed25519"}
    checks.clear()
    message = signed("rfc9421", "ed25519")
    said = value_of(message, b"signature-input").replace(b';alg="ed25519"', b"").replace(b'"ed25519"', b'"nobody"')
    refused(field(message, b"signature-input", said), "key-unknown", keys=[key_pair("ed25519")[1]])
    assert checks == ["ed25519"]
