from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from mcpsec.certs import keys
from mcpsec.errors import ConfigurationError, SecretError, UsageError
from tests.certs.helpers import openssl


def _write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("kind", keys.KEY_KINDS)
def test_a_key_of_every_kind_comes_back_encrypted_and_plain(kind: keys.KeyKind, tmp_path: Path) -> None:
    key = keys.generate(kind)
    assert keys.kind_of(key) == keys.kind_of(key.public_key()) == kind
    for secret in (None, b"correct horse"):
        path = _write(tmp_path / f"{kind}-{secret is None}", keys.encode(key, secret))
        loaded = keys.load(path, "the key", lambda _what, secret=secret: secret)
        assert keys.same_public_key(loaded.public_key(), key.public_key())


def test_the_encrypted_form_is_scrypt_that_openssl_reads(tmp_path: Path) -> None:
    path = _write(tmp_path / "key.pem", keys.encode(keys.generate("p256"), b"correct horse"))
    shown = openssl("asn1parse", "-in", path).stdout
    assert "scrypt" in shown and "aes-256-cbc" in shown
    assert openssl("pkey", "-in", path, "-passin", "pass:correct horse", "-noout").returncode == 0
    assert openssl("pkey", "-in", path, "-passin", "pass:wrong", "-noout").returncode != 0


def test_two_encryptions_of_one_key_share_nothing() -> None:
    key = keys.generate("ed25519")
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    one, other = keys.encrypt(der, b"x"), keys.encrypt(der, b"x")
    assert one != other
    assert load_pem_private_key(one, b"x") and load_pem_private_key(other, b"x")


@pytest.mark.parametrize("secret", [None, b"wrong", b""])
def test_a_wrong_or_missing_passphrase_is_one_clear_error(secret: bytes | None, tmp_path: Path) -> None:
    path = _write(tmp_path / "key.pem", keys.encode(keys.generate("p256"), b"right"))
    with pytest.raises(SecretError, match="passphrase") as caught:
        keys.load(path, "the client CA's key", lambda _what: secret)
    assert ("right" not in str(caught.value) and "wrong, or" in str(caught.value)) or secret in (None, b"")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_can_open_is_refused(mode: int, tmp_path: Path) -> None:
    path = _write(tmp_path / "key.pem", keys.encode(keys.generate("p256")), mode)
    with pytest.raises(SecretError, match="other accounts"):
        keys.load(path, "the key")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_that_only_its_owner_can_open_is_used(mode: int, tmp_path: Path) -> None:
    assert keys.load(_write(tmp_path / "key.pem", keys.encode(keys.generate("p256")), mode), "the key")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_said_so(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no private key"):
        keys.load(_write(tmp_path / "key.pem", data), "the key")


def test_a_missing_key_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        keys.load(tmp_path / "none.pem", "the key")


def test_an_empty_passphrase_never_encrypts() -> None:
    with pytest.raises(SecretError):
        keys.encrypt(b"x", b"")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError):
        keys.generate("rsa512")  # type: ignore[arg-type]


def test_the_kind_of_an_authoritys_key() -> None:
    assert keys.ca_kind_of(keys.generate("p384").public_key()) == "p384"
    with pytest.raises(UsageError, match="'ed25519' is no kind of key for a CA"):
        keys.ca_kind_of(keys.generate("ed25519").public_key())


def test_a_key_of_a_kind_that_tls_has_no_use_for(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    key = x25519.X25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(SecretError, match="of a kind that is not supported"):
        keys.load(path, "the key")
