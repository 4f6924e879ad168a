"""Whose a revocation list is says a CA's key, and not the list itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mcpsec.certs.crl import CrlFile, load_crl
from mcpsec.errors import ConfigurationError

DAY = timedelta(days=1)
NO_CA = "its CA didn't sign it"
P256, SM2 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("0608 2a811ccf5501822d")
"""Object identifiers of two curves; the library knows no keys on the second."""
X400_AUTHORITY = x509.UnrecognizedExtension(x509.AuthorityKeyIdentifier.oid, bytes.fromhex("3007 a102a300 820101"))
"""An authority key identifier that names the CA by an X.400 address, which the library can't read."""


@dataclass(frozen=True)
class Ca:
    """A CA with or without an identifier of its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str = "Client CA", *, identifier: bool = True) -> Ca:
        key, subject, now = ec.generate_private_key(ec.SECP256R1()), name_of(name), datetime.now(UTC)
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - DAY, now + DAY)
        if identifier:
            own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            builder = builder.add_extension(own, critical=False)
        return cls(key, builder.sign(key, SHA256()))

    def signs(
        self, number: int, *extensions: x509.ExtensionType, name: str = "Client CA", says: Ca | None = None
    ) -> bytes:
        """A list of the CA ``name``, which ``says`` that it is signed by that one's key."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(name_of(name), now - DAY / 2, now + DAY)
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        if says is not None:
            said = x509.AuthorityKeyIdentifier.from_issuer_public_key(says.key.public_key())
            builder = builder.add_extension(said, critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)


def name_of(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def loaded(directory: Path, lists: bytes, *signers: Ca | x509.Certificate) -> CrlFile:
    file = directory / "some.crl"
    file.write_bytes(lists)
    return load_crl(file, signers=[one.certificate if isinstance(one, Ca) else one for one in signers])


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("identifier", [True, False])
def test_a_list_is_verified_by_a_key_whatever_it_says(tmp_path: Path, *, says: bool, identifier: bool) -> None:
    own, other = Ca.make(identifier=identifier), Ca.make()
    found = loaded(tmp_path, own.signs(5, says=own if says else None), other, own, Ca.make("Another"))
    assert list(found.verified.values()) == [5] and not found.unverified
    assert found.verified != loaded(tmp_path, other.signs(5), own, other).verified, "same name, another key"


@pytest.mark.parametrize("says", ["nothing", "the CA", "another"])
@pytest.mark.parametrize("identifier", [True, False])
@pytest.mark.parametrize("name", ["Client CA", "client  ca"])
def test_a_list_with_the_name_of_a_known_ca_that_it_did_not_sign_is_refused(
    tmp_path: Path, says: str, name: str, *, identifier: bool
) -> None:
    own, stranger = Ca.make(identifier=identifier), Ca.make()
    said = {"nothing": None, "the CA": own, "another": stranger}[says]
    forged = stranger.signs(10**9, name=name, says=said)
    for lists in (forged, own.signs(5) + forged, forged + own.signs(5)):
        with pytest.raises(ConfigurationError, match=NO_CA):
            loaded(tmp_path, lists, own)
    found = loaded(tmp_path, stranger.signs(7, name="Unknown", says=said) + own.signs(5), own)
    assert list(found.verified.values()) == [5] and list(found.unverified.values()) == [7]


def test_a_list_counts_by_the_number_of_what_was_verified(tmp_path: Path) -> None:
    own = Ca.make()
    found = loaded(tmp_path, own.signs(6) + own.signs(5) + Ca.make("Other").signs(10**9, name="Other", says=own), own)
    assert list(found.verified.values()) == [6] and list(found.unverified.values()) == [10**9]


def test_a_ca_whose_key_the_library_cannot_read_is_no_error(tmp_path: Path) -> None:
    own = Ca.make()
    unreadable = x509.load_der_x509_certificate(own.certificate.public_bytes(Encoding.DER).replace(P256, SM2))
    found = loaded(tmp_path, own.signs(5), unreadable)
    assert not found.verified and list(found.unverified.values()) == [5]
    assert list(loaded(tmp_path, own.signs(5), unreadable, own).verified.values()) == [5]


def test_an_extension_that_the_library_cannot_read_is_no_error(tmp_path: Path) -> None:
    own = Ca.make()
    for signers in ([own], []):
        found = loaded(tmp_path, own.signs(5, X400_AUTHORITY), *signers)
        assert not found.verified and not found.unverified and not found.numbers
    with pytest.raises(ConfigurationError, match=NO_CA):
        loaded(tmp_path, Ca.make().signs(5, X400_AUTHORITY), own)


def test_a_number_has_twenty_octets_at_most(tmp_path: Path) -> None:
    own = Ca.make()
    assert loaded(tmp_path, own.signs(2**160 - 1), own).numbers == (2**160 - 1,)
    for number in (2**160, 2**20_000):
        with pytest.raises(ConfigurationError, match="20 octets"):
            loaded(tmp_path, own.signs(number), own)
