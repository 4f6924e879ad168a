"""The canonical string to the byte: the worked example of docs/signing.md, recomputed here and by OpenSSL."""

from __future__ import annotations

import hashlib
import hmac
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mcpsec.signing import SignedMessage, Signer, SigningKey, covered
from mcpsec.signing.hmac_sha256 import article_string, canonical_string

DOCUMENT = (Path(__file__).parents[2] / "docs" / "signing.md").read_text("utf-8")


def block(name: str) -> str:
    """The fenced block after the marker ``<!-- name -->``, without its last line end."""
    match = re.search(rf"<!-- {name} -->\n```\w*\n(.*?)\n```", DOCUMENT, re.DOTALL)
    assert match, name
    return match[1]


@pytest.fixture
def message() -> SignedMessage:
    head, _, body = block("example-request").partition("\n\n")
    lines = head.splitlines()
    method, target, _ = lines[0].split()
    headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
    host = dict(headers)["Host"]
    return SignedMessage.from_url(
        method, f"https://{host}{target}", headers=[h for h in headers if h[0] != "Host"], body=body.encode()
    )


def test_the_documents_example_is_what_the_code_computes(message: SignedMessage) -> None:
    secret = block("example-secret").encode()
    fields = dict(line.split(": ") for line in block("example-signature").splitlines())
    text = canonical_string(
        message,
        fields["x-key-id"].encode(),
        fields["x-timestamp"].encode(),
        fields["x-nonce"].encode(),
        covered(message.headers),
    )
    assert text.decode() == block("example-canonical")
    signer = Signer(SigningKey(fields["x-key-id"], secret=secret))
    assert signer.sign(message, timestamp=int(fields["x-timestamp"]), nonce=fields["x-nonce"]) == fields


def test_openssl_computes_the_same(message: SignedMessage) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl; install with: apt-get install openssl")
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", block("example-secret")],
        input=block("example-canonical").encode(),
        capture_output=True,
        check=True,
    )
    signature = dict(line.split(": ") for line in block("example-signature").splitlines())["x-signature"]
    assert done.stdout.decode().split()[-1] == signature


def test_the_article_string_is_the_articles(message: SignedMessage) -> None:
    secret = block("example-secret").encode()
    signer = Signer(SigningKey(None, secret=secret), "article")
    headers = signer.sign(message, timestamp=1795000000000)
    expected = hmac.new(secret, b"1795000000000:" + message.body, hashlib.sha256).hexdigest()
    assert headers == {"x-signature": expected, "x-timestamp": "1795000000000"}
    assert article_string(message, b"1795000000000").startswith(b"1795000000000:{")
