"""Damaged certificates, lists and requests are judged or refused, and never an accident."""

import contextlib
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import Pki, Purpose, expiry, keys, load_crl
from mcpsec.certs.csr import make_request, read_request
from mcpsec.certs.inspection import describe, describe_list, describe_request
from mcpsec.certs.lint import lint
from mcpsec.certs.reading import read_lists, read_target, request_in
from mcpsec.certs.verification import verify
from mcpsec.errors import Error
from tests.fixtures.pki import Authority, tlv


def looked_at(path: Path, root: x509.Certificate) -> None:
    for found in read_target(str(path)):
        assert describe(found.certificate)["sha256"]
        lint(found.certificate)
        expiry.check_found(found)
        verify(found.certificate, [], [root], purpose=Purpose.CLIENT)


def listed(path: Path, root: x509.Certificate) -> None:
    for found in read_lists(str(path)):
        assert describe_list(found.crl)["kind"] == "crl"
        expiry.check_found_list(found)


def requested(path: Path, root: x509.Certificate) -> None:
    request = request_in(str(path))
    if request is not None:
        assert describe_request(request)["kind"] == "request"


READERS: list[Callable[[Path, x509.Certificate], object]] = [
    looked_at,
    listed,
    requested,
    lambda path, _: read_request(path),
    lambda path, _: load_crl(path),
]


@pytest.mark.parametrize("seed", range(3))
def test_any_byte_may_be_wrong(pki: Pki, tmp_path: Path, seed: int) -> None:
    issued = pki.issue(
        "agent", Purpose.CLIENT, ["spiffe://example.com/a", "a.example.com", "192.0.2.1", "a@example.com"]
    )
    pki.revoke("agent")
    (root,) = x509.load_pem_x509_certificates(pki.root_file.read_bytes())
    leaf = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    crl = x509.load_pem_x509_crl((pki.directory / "client-ca.crl").read_bytes())
    request = x509.load_pem_x509_csr(make_request("agent", ["a.example.com"], keys.generate("p256")))
    whole = [thing.public_bytes(Encoding.DER) for thing in (leaf, root, crl, request)]
    chance, path = random.Random(seed), tmp_path / "thing.der"
    for _ in range(150):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 1, 2, 4))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(bytes(data) if chance.random() < 0.9 else bytes(data[: chance.randrange(len(data))]))
        for reader in READERS:
            with warnings.catch_warnings(), contextlib.suppress(Error):
                warnings.simplefilter("ignore")
                reader(path, root)


ODD = {
    "a name of a kind that no library reads": (tlv(0x30, tlv(0xA3, b"\x30\x00")), None),
    "a name in Latin-1": (tlv(0x30, tlv(0x82, b"\xe9.example.com")), None),
    "an address of three octets": (tlv(0x30, tlv(0x87, b"abc")), None),
    "a subject in Latin-1": (
        tlv(0x30, tlv(0x82, b"a.example.com")),
        lambda signed: signed.replace(b"\x0c\x06tester", b"\x14\x06t\xe9ster"),
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_names_that_are_odd_are_told(tmp_path: Path, what: str) -> None:
    authority = Authority(tmp_path)
    sans, change = ODD[what]
    odd = authority.odd("tester", sans, trusts=authority.certificate, change=change).certificate
    (root,) = x509.load_pem_x509_certificates(authority.certificate.read_bytes())
    looked_at(odd, root)
    (found,) = read_target(str(odd))
    readable = change is not None
    assert verify(found.certificate, [], [root], purpose=Purpose.CLIENT).accepted is readable
    assert ("error" in describe(found.certificate)) is not readable


def test_a_request_with_a_name_that_no_library_reads(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.17"), ODD["a name of a kind that no library reads"][0]
    )
    request = x509.CertificateSigningRequestBuilder(x509.Name([]), [x509.Extension(names.oid, False, names)])
    path = tmp_path / "odd.csr"
    path.write_bytes(request.sign(key, SHA256()).public_bytes(Encoding.PEM))
    requested(path, None)  # type: ignore[arg-type]
    with pytest.raises(Error, match="no certificate signing request"):
        read_request(path)
