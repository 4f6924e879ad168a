"""What can't be signed is said in one line before anything is sent, and never with the secret."""

from __future__ import annotations

import pytest

from mcpsec.errors import UsageError
from mcpsec.signing import SignedMessage, Signer, SigningKey, Verifier
from tests.signing.requests import MESSAGE, SECRET, STAMP, key_pair

ED25519 = key_pair("ed25519")[0]


@pytest.mark.parametrize(
    ("key", "scheme", "said"),
    [
        (SigningKey("a", secret=SECRET), "hmac-md5", "unknown signature scheme hmac-md5"),
        (ED25519, "hmac-sha256", "signs with a shared secret"),
        (ED25519, "article", "signs with a shared secret"),
        (SigningKey(None, secret=SECRET), "hmac-sha256", "needs a key identifier"),
        (SigningKey(None, secret=SECRET), "rfc9421", "needs a key identifier"),
        (SigningKey("a b", secret=SECRET), "hmac-sha256", "key"),
    ],
)
def test_a_key_that_does_not_fit_its_scheme(key: SigningKey, scheme: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        Signer(key, scheme)
    assert SECRET.decode() not in f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize("scheme", ["hmac-sha256", "rfc9421"])
def test_a_part_that_no_header_can_carry(scheme: str) -> None:
    signer = Signer(SigningKey("a", secret=SECRET), scheme)
    assert signer.sign(MESSAGE, timestamp=STAMP)
    for options in ({"timestamp": -1}, {"nonce": "a b"}, {"nonce": ""}):
        with pytest.raises(UsageError):
            signer.sign(MESSAGE, **options)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://host/ü", "percent-encoded"),
        ("https://host/a b", "percent-encoded"),
        ("https://[x/", "can't be read"),
        ("https://host:port/", "can't be read"),
        ("ftp://host/", "not an absolute http"),
        ("/mcp", "not an absolute http"),
        ("https://user:canary@host/", "user name or password"),
    ],
)
def test_a_url_that_can_not_be_sent(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        SignedMessage.from_url("POST", url)
    assert "canary" not in str(raised.value)


def test_the_authority_is_what_a_client_puts_into_host() -> None:
    known = {
        "https://HOST/": "host",
        "https://host:443/x": "host",
        "http://host:80/": "host",
        "https://host:80/": "host:80",
        "https://[::1]:8443/": "[::1]:8443",
    }
    assert {url: SignedMessage.from_url("GET", url).authority for url in known} == known


def test_a_verifier_of_an_unknown_scheme_is_not_made() -> None:
    with pytest.raises(ValueError, match="hmac-md5"):
        Verifier({}, schemes=["hmac-md5"], max_age=60)
