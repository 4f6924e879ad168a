"""RFC 9421: the vectors of its appendix B.2 at the signature layer, and what the verifier demands beyond them."""

from __future__ import annotations

import base64
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from http_message_signatures import HTTPMessageSigner, InvalidSignature, MappingKeyResolver, algorithms

from mcpsec.signing import Refusal, SignedMessage, Verified, certificate_keys, rfc9421
from tests.signing.requests import MESSAGE, NOW, SECRET, field, key_pair, signed, value_of, verifier, with_headers

# RFC 9421, appendix B.1 (keys) and B.2 (the test request and response).
SHARED_SECRET = base64.b64decode(
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)
P256 = load_pem_public_key(
    b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf\n"
    b"w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==\n-----END PUBLIC KEY-----\n"
)
ED25519 = load_pem_public_key(
    b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n"
    b"-----END PUBLIC KEY-----\n"
)
REQUEST_HEADERS = {
    "Host": "example.com",
    "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "Content-Type": "application/json",
    "Content-Digest": "sha-512="
    ":WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
    "Content-Length": "18",
}
RESPONSE_HEADERS = {
    "Date": "Tue, 20 Apr 2021 02:07:56 GMT",
    "Content-Type": "application/json",
    "Content-Digest": "sha-512="
    ":mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:",
    "Content-Length": "23",
}
VECTORS = [
    (
        "B.2.4",
        "ecdsa-p256-sha256",
        P256,
        'sig-b24=("@status" "content-type" "content-digest" "content-length");created=1618884473;'
        'keyid="test-key-ecc-p256"',
        "sig-b24=:wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==:",
    ),
    (
        "B.2.5",
        "hmac-sha256",
        SHARED_SECRET,
        'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
        "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
    ),
    (
        "B.2.6",
        "ed25519",
        ED25519,
        'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;'
        'keyid="test-key-ed25519"',
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
    ),
]


def _vector_message(vector: str, signature_input: str, signature: str) -> Any:
    added = {"Signature-Input": signature_input, "Signature": signature}
    request = SimpleNamespace(
        method="POST", url="https://example.com/foo?param=Value&Pet=dog", headers={**REQUEST_HEADERS, **added}
    )
    if vector != "B.2.4":
        return request
    return SimpleNamespace(status_code=200, request=request, headers={**RESPONSE_HEADERS, **added})


@pytest.mark.parametrize(("vector", "algorithm", "key", "signature_input", "signature"), VECTORS)
def test_appendix_b_vectors_verify(
    vector: str, algorithm: str, key: object, signature_input: str, signature: str
) -> None:
    key_id = signature_input.partition('keyid="')[2].partition('"')[0]
    rfc9421.verify_raw(_vector_message(vector, signature_input, signature), key_id, key, algorithm)
    broken = signature.replace("=:", "=:A", 1).replace("A" + signature.partition("=:")[2][0], "A", 1)
    with pytest.raises(InvalidSignature):
        rfc9421.verify_raw(_vector_message(vector, signature_input, broken), key_id, key, algorithm)


def rule(outcome: Verified | Refusal) -> str:
    return outcome.rule if isinstance(outcome, Refusal) else "accepted"


def foreign(components: tuple[str, ...], **options: Any) -> SignedMessage:
    """A request signed by the library itself, as someone else's client would: Ed25519, whatever coverage."""
    headers = {name.decode(): value.decode() for name, value in MESSAGE.headers}
    request = SimpleNamespace(method="POST", url=f"https://{MESSAGE.authority}{MESSAGE.target}", headers=headers)
    import datetime

    created = options.pop("created", datetime.datetime.fromtimestamp(NOW, tz=datetime.UTC))
    options = {"tag": "mcpsec", "nonce": "n-1", "key_id": "ed25519", **options}
    signer = HTTPMessageSigner(
        signature_algorithm=algorithms.ED25519,
        key_resolver=MappingKeyResolver(
            public_keys={}, private_keys={options["key_id"]: key_pair("ed25519")[0].private_key}
        ),  # type: ignore[dict-item]
    )
    signer.sign(request, body=MESSAGE.body, covered_component_ids=components, created=created, **options)
    added = {
        name.lower(): value for name, value in headers.items() if name.lower().startswith(("signature", "content-d"))
    }
    return with_headers(MESSAGE, added)


MCP = ("mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-region")
WHOLE = ("@method", "@authority", "@path", "@query", "content-digest", *MCP)


def test_a_foreign_client_with_full_coverage_is_accepted() -> None:
    assert rule(verifier().verify(foreign(WHOLE), now=NOW)) == "accepted"
    assert rule(verifier().verify(foreign(("@method", "@target-uri", "content-digest", *MCP)), now=NOW)) == "accepted"


@pytest.mark.parametrize("left_out", [name for name in WHOLE if name != "content-digest"])
def test_too_little_coverage_is_refused(left_out: str) -> None:
    """B.2.1 covers nothing, B.2.2 and B.2.3 only parts: whatever is left open could be changed."""
    components = tuple(name for name in WHOLE if name != left_out)
    assert rule(verifier().verify(foreign(components), now=NOW)) == "coverage-insufficient"


def test_the_minimal_signature_of_b_2_1_is_refused() -> None:
    assert rule(verifier().verify(foreign(()), now=NOW)) == "coverage-insufficient"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tag": None}, "signature-missing"),
        ({"tag": "other"}, "signature-missing"),
        ({"nonce": None}, "nonce-missing"),
        ({"nonce": "a b"}, "nonce-malformed"),
        ({"key_id": "nobody"}, "key-unknown"),
        ({"key_id": "ecdsa"}, "signature-invalid"),
    ],
)
def test_required_parameters(options: dict[str, Any], expected: str) -> None:
    assert rule(verifier().verify(foreign(WHOLE, **options), now=NOW)) == expected


def test_the_body_is_compared_with_its_digest_and_the_digest_is_covered() -> None:
    message = signed("rfc9421", "ed25519")
    import hashlib

    other = b'{"jsonrpc":"2.0","id":1,"method":"evil"}'
    digest = b"sha-256=:" + base64.b64encode(hashlib.sha256(other).digest()) + b":"
    judge = verifier()
    assert rule(judge.verify(replace(message, body=other), now=NOW)) == "digest-mismatch"
    swapped = field(replace(message, body=other), b"content-digest", digest)
    assert rule(judge.verify(swapped, now=NOW)) == "signature-invalid"
    assert rule(judge.verify(field(message, b"content-digest", None), now=NOW)) == "digest-missing"
    two = field(message, b"content-digest", value_of(message, b"content-digest") + b", sha-512=:AAAA:")
    assert rule(judge.verify(two, now=NOW)) == "digest-mismatch"
    assert rule(judge.verify(message, now=NOW)) == "accepted"


def test_the_algorithm_follows_from_the_key() -> None:
    """A public key must never be taken for an HMAC secret, whatever the message says."""
    message = signed("rfc9421", "ed25519")
    said = value_of(message, b"signature-input")
    for algorithm in (b"hmac-sha256", b"ecdsa-p256-sha256"):
        lied = field(message, b"signature-input", said.replace(b'alg="ed25519"', b'alg="' + algorithm + b'"'))
        assert rule(verifier().verify(lied, now=NOW)) == "signature-invalid"
    unknown = field(message, b"signature-input", said.replace(b'alg="ed25519"', b'alg="none"'))
    assert rule(verifier().verify(unknown, now=NOW)) == "algorithm-unsupported"


def test_expires_is_honoured() -> None:
    import datetime

    at = datetime.datetime.fromtimestamp(NOW + 10, tz=datetime.UTC)
    assert rule(verifier().verify(foreign(WHOLE, expires=at), now=NOW + 9)) == "accepted"
    assert rule(verifier().verify(foreign(WHOLE, expires=at), now=NOW + 11)) == "signature-expired"


def test_another_signature_beside_ours_is_left_alone() -> None:
    message = signed("rfc9421", "ed25519")
    beside = field(
        message, b"signature-input", value_of(message, b"signature-input") + b', proxy=("@method");tag="proxy"'
    )
    beside = field(beside, b"signature", value_of(message, b"signature") + b", proxy=:AAAA:")
    assert rule(verifier().verify(beside, now=NOW)) == "accepted"
    twice = field(
        beside, b"signature-input", value_of(message, b"signature-input") + b', proxy=("@method");tag="mcpsec"'
    )
    assert rule(verifier().verify(twice, now=NOW)) == "signature-ambiguous"


def test_the_key_of_the_connections_certificate_signs(tmp_path: Any) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    from mcpsec.signing import Signer, SigningKey, thumbprint
    from tests.fixtures.pki import Authority

    authority = Authority(tmp_path)
    identity = authority.client("agent", "spiffe://x/agent", trusts=authority.certificate)
    der = x509.load_pem_x509_certificate(identity.certificate.read_bytes()).public_bytes(Encoding.DER)
    private = load_pem_private_key(identity.key.read_bytes(), None)
    keys = certificate_keys(der, "agent")
    assert len(keys) == 2
    for name in keys:
        message = with_headers(
            MESSAGE, Signer(SigningKey(name, private_key=private), "rfc9421").sign(MESSAGE, timestamp=int(NOW) * 1000)
        )  # type: ignore[arg-type]
        assert rule(verifier().verify(message, now=NOW, certificate_keys=keys)) == "accepted"
        assert rule(verifier().verify(message, now=NOW)) == "key-unknown"
    assert thumbprint(der) in keys


def test_a_key_without_a_signature_of_its_kind_offers_nothing() -> None:
    assert certificate_keys(b"not a certificate", "agent") == {}
    assert len(SECRET) == 32


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b'alg="ed25519"', b'alg="rsa-v1_5-sha256"', "algorithm-unsupported"),
        (b'keyid="ed25519"', b"keyid=7", "key-id-malformed"),
        (b';keyid="ed25519"', b"", "key-id-missing"),
        (b"created=", b"then=", "timestamp-missing"),
        (b"created=", b"created=-", "timestamp-malformed"),
        (b"created=", b'created="soon";then=', "timestamp-malformed"),
        (b"(", b"1;a=(", "signature-malformed"),
        (b'("@method"', b'(1 "@method"', "signature-malformed"),
        (b"=(", b'="text";a=(', "signature-malformed"),
        (b'tag="mcpsec"', b'tag="mcpsec";a=1;b="' + b"x" * 20_000 + b'"', "signature-malformed"),
        (b"=(", b'=("@method"), mcpsec=(', "signature-malformed"),
    ],
)
def test_a_signature_input_that_says_something_else_is_refused(old: bytes, new: bytes, expected: str) -> None:
    """The rule that it broke is named, and none of them is taken for a signature."""
    message = signed("rfc9421", "ed25519")
    value = value_of(message, b"signature-input")
    assert old in value
    changed = field(message, b"signature-input", value.replace(old, new, 1))
    assert rule(verifier().verify(message, now=NOW)) == "accepted"
    assert rule(verifier().verify(changed, now=NOW)) == expected


def test_a_signature_without_its_other_half_is_refused() -> None:
    message = signed("rfc9421", "ed25519")
    for name in (b"signature", b"signature-input"):
        assert rule(verifier("rfc9421").verify(field(message, name, None), now=NOW)) == "signature-missing"
