import base64
import hashlib
import subprocess

import pytest

from mcpsec.leaks import scan_bytes


def rules(text, path=None):
    return [(f.rule.id, f.confidence) for f in scan_bytes(text.encode(), path=path)]


@pytest.fixture(scope="module")
def pem():
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return (
        ed25519.Ed25519PrivateKey.generate()
        .private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        .decode()
    )


def test_whole_escaped_and_indented(pem):
    for text in (
        pem,
        '{"private_key": "' + pem.replace("\n", "\\n") + '"}',
        "  " + pem.replace("\n", "\n  "),
        pem.replace("\n", "\r\n"),
    ):
        assert rules(text) == [("private-key", "high")]


def test_letters_that_chance_drew_are_no_placeholder():
    """One key in thousands spells a word of four letters; a placeholder goes on with what belongs there."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ed25519

    drawn = hashlib.sha256(b"a seed").digest()
    for word in ("MCyouRUaYWZk", "qYOURz0Lm3Tw"):
        seed = drawn[:2] + base64.b64decode(word) + drawn[11:]  # byte 18 of the file begins a group of four characters
        key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        text = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()
        assert word in text
        assert rules(text) == [("private-key", "high")]
    for said in ("YOUR KEY HERE", "YOUR_PRIVATE_KEY_GOES_HERE", "MIIEvQyourBase64EncodedKey", "your-rsa-key-content"):
        assert rules(f"-----BEGIN PRIVATE KEY-----\n{said}\n-----END PRIVATE KEY-----\n") == [], said


def test_prose_about_a_key_is_none():
    text = (
        "## the key should start with -----BEGIN RSA PRIVATE KEY-----\n"
        "##\n## name should line up with a secret that is set further up\n"
        "## If the certificates are managed elsewhere, this is unneeded, as it will be created when it is not set\n"
    )
    assert rules(text) == []


def test_words_behind_a_quoted_first_line_are_none(pem):
    text = 'assert "-----BEGIN PRIVATE KEY-----" in private_pem\nassert "-----END PRIVATE KEY-----" in private_pem\n'
    assert rules(text) == []
    joined = " +\n".join(f'  "{line}\\n"' for line in pem.strip().split("\n"))
    assert rules(f"key =\n{joined};\n") == [("private-key", "high")]
    first, body, last = pem.strip().split("\n")
    assert rules(f"printf '%s\\n' '{first}' {body} '{last}' > key.pem\n") == [("private-key", "high")]
    assert rules(f'key = b"{first}" b"{body}" b"{last}"\n') == [("private-key", "medium")]


def test_a_cut_block_is_less_sure_and_a_sample_none(pem):
    long = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True).stdout
    assert rules(long) == [("private-key", "high")]
    assert rules("\n".join(long.splitlines()[:12])) == [("private-key", "medium")]
    assert rules("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n") == []
    assert rules("-----BEGIN PRIVATE KEY-----\nYOUR KEY HERE\n-----END PRIVATE KEY-----\n") == []
    assert rules(pem.replace("PRIVATE", "PUBLIC")) == []


def test_an_altered_key_is_one_until_it_is_short_or_a_pattern():
    lines = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True).stdout.split("\n")
    lines = [lines[0], *lines[2:-2], lines[-2]]  # without its first line it parses no more
    assert rules("\n".join(lines)) == [("private-key", "high")]
    assert rules("\n".join([lines[0], *lines[5:7], lines[-1]])) == [("private-key", "medium")]
    assert rules("\n".join([lines[0], *[lines[5]] * 20, lines[-1]])) == [("private-key", "medium")]


def test_openssh(tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    assert rules((tmp_path / "id").read_text()) == [("private-key", "high")]
    assert rules((tmp_path / "id.pub").read_text()) == []
