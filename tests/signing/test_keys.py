"""Keys: how long, from where, and never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mcpsec.errors import ConfigurationError, SecretError, UsageError
from mcpsec.secretrefs import SecretRef
from mcpsec.signing import SigningKey, VerificationKey, generate_secret, load_private_key, load_public_key, load_secret
from mcpsec.signing.keys import generate_private_key, write_private


@pytest.mark.parametrize("size", [0, 1, 31])
def test_short_secrets_are_refused_when_loaded(tmp_path: Path, size: int) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x" * size + b"\n")
    with pytest.raises(SecretError, match="bytes"):
        load_secret(file)
    with pytest.raises(SecretError, match="bytes"):
        VerificationKey("k", "agent", secret=b"x" * size)
    with pytest.raises(SecretError, match="bytes"):
        SigningKey("k", secret=b"x" * size)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_file_gives_the_same_key_here_and_in_a_deployment(tmp_path: Path, ending: bytes) -> None:
    file = tmp_path / "secret"
    secret = generate_secret()
    write_private(file, secret.encode() + ending)
    assert load_secret(file) == secret.encode() == SecretRef.parse({"file": "secret"}, tmp_path).resolve()


def test_a_generated_secret_is_32_random_bytes() -> None:
    assert len(generate_secret()) == 43
    assert generate_secret() != generate_secret()


def test_a_written_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "key"
    write_private(file, b"one")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="exists"):
        write_private(file, b"two")
    assert file.read_bytes() == b"one"


def test_no_representation_shows_a_secret() -> None:
    secret = generate_secret().encode()
    assert secret.decode() not in repr(SigningKey("k", secret=secret)) + repr(VerificationKey("k", "c", secret=secret))


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa-p256"])
def test_key_pairs(tmp_path: Path, kind: str) -> None:
    private, public = generate_private_key(kind)
    (tmp_path / "key").write_bytes(private)
    (tmp_path / "pub").write_bytes(public)
    assert load_private_key(tmp_path / "key").public_key() == load_public_key(tmp_path / "pub")
    with pytest.raises(ConfigurationError):
        load_public_key(tmp_path / "key")
    with pytest.raises(SecretError):
        load_private_key(tmp_path / "pub")


def test_other_curves_and_encrypted_keys_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    p384 = ec.generate_private_key(ec.SECP384R1())
    file = tmp_path / "key"
    from cryptography.hazmat.primitives.serialization import NoEncryption

    file.write_bytes(p384.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SecretError, match="P-256"):
        load_private_key(file)
    file.write_bytes(p384.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")))
    with pytest.raises(SecretError, match="encrypted"):
        load_private_key(file)


def test_one_of_secret_and_key() -> None:
    with pytest.raises(ConfigurationError):
        VerificationKey("k", "agent")
    with pytest.raises(ConfigurationError):
        SigningKey("k")


def pem(key: object) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization as form

    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())  # type: ignore[attr-defined]
    spki = form.PublicFormat.SubjectPublicKeyInfo
    return private, key.public_key().public_bytes(form.Encoding.PEM, spki)  # type: ignore[attr-defined]


def test_a_key_of_another_kind_signs_and_verifies_nothing(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    for content, read, error in zip(
        pem(ec.generate_private_key(ec.SECP384R1())),
        (load_private_key, load_public_key),
        (SecretError, ConfigurationError),
        strict=True,
    ):
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(error, match="only ECDSA P-256 and Ed25519 keys"):
            read(tmp_path / "key.pem")


def test_what_can_not_be_read_or_written_is_named(tmp_path: Path) -> None:
    for read in (load_secret, load_public_key, load_private_key):
        with pytest.raises(SecretError, match="can't be read: No such file") as caught:
            read(tmp_path / "none")
        assert "check the path" in (caught.value.hint or "")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="its directory can't be made"):
        write_private(tmp_path / "file" / "below" / "key", b"x")
    with pytest.raises(UsageError, match="can't be written: File name too long") as refused:
        write_private(tmp_path / ("k" * 300), b"x")
    assert refused.value.hint == "give a shorter path"
    with pytest.raises(UsageError, match="exists already"):
        write_private(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_text() == ""
