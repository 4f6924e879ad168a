from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import Pki, Purpose, keys
from mcpsec.certs.csr import make_request, read_request
from mcpsec.errors import ConfigurationError, RefusedError, UsageError
from tests.certs.helpers import load, openssl, openssl_verify


def _write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "request.pem"
    path.write_bytes(data)
    return path


def test_a_key_that_stays_with_its_owner_is_certified(pki: Pki, tmp_path: Path) -> None:
    key = keys.generate("p256")
    asked = read_request(_write(tmp_path, make_request("own", ["spiffe://example.com/own", "192.0.2.1"], key)))
    assert asked.sans == ("uri:spiffe://example.com/own", "ip:192.0.2.1")
    issued = pki.issue("own", Purpose.CLIENT, asked.sans, public_key=asked.public_key, request=asked.pem)
    assert issued.key is None and sorted(path.name for path in issued.certificate.parent.iterdir()) == [
        "cert.pem",
        "chain.pem",
    ]
    assert keys.same_public_key(load(issued.certificate)[0].public_key(), key.public_key())  # type: ignore[arg-type]
    renewed = pki.renew("own")
    assert keys.same_public_key(load(renewed.certificate)[0].public_key(), key.public_key())  # type: ignore[arg-type]
    assert openssl_verify(renewed.certificate, pki.directory / "client-ca.pem", "client")[0]


def test_openssls_own_requests_are_read_and_their_wishes_for_power_ignored(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "request.pem"
    wishes = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "extendedKeyUsage=serverAuth,codeSigning"]
    made = openssl(
        *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=root"),
        *("-keyout", tmp_path / "key.pem", "-out", path, "-addext", "subjectAltName=DNS:a.example.com", *wishes),
    )
    assert made.returncode == 0, made.stderr
    asked = read_request(path)
    issued = pki.issue("agent", Purpose.CLIENT, asked.sans, public_key=asked.public_key)
    leaf = load(issued.certificate)[0]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert [oid._name for oid in leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value] == ["clientAuth"]
    assert "agent" in leaf.subject.rfc4514_string() and "root" not in leaf.subject.rfc4514_string()


def test_a_request_whose_signature_is_wrong(tmp_path: Path) -> None:
    good = x509.load_pem_x509_csr(make_request("a", [], keys.generate("p256"))).public_bytes(Encoding.DER)
    changed = good.replace(b"\x0c\x01a", b"\x0c\x01b")
    assert changed != good
    with pytest.raises(RefusedError, match="signature is wrong"):
        read_request(_write(tmp_path, changed))
    assert read_request(_write(tmp_path, good))


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())])
def test_weak_keys_are_refused(key: object, tmp_path: Path) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="weak"):
        read_request(_write(tmp_path, request))


@pytest.mark.parametrize(
    "san",
    [
        x509.DNSName("a.com,DNS:evil.com"),
        x509.UniformResourceIdentifier("spiffe://a.com/../b"),
        x509.DirectoryName(x509.Name([])),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
        x509.DNSName("spiffe://example.com/admin"),
    ],
)
def test_malformed_and_unknown_names_are_refused(san: x509.GeneralName, tmp_path: Path) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([san]), critical=False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)
    with pytest.raises(RefusedError, match="malformed"):
        read_request(_write(tmp_path, request))


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"]
)
def test_what_is_no_request(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no certificate signing request"):
        read_request(_write(tmp_path, data))
    with pytest.raises(UsageError):
        make_request("../x", [], keys.generate("p256"))


def test_every_kind_of_name_is_asked_for_as_what_it_is(tmp_path: Path) -> None:
    names = ["spiffe://example.com/a", "a.example.com", "192.0.2.1", "ops@example.com"]
    asked = read_request(_write(tmp_path, make_request("a", names, keys.generate("ed25519"))))
    assert sorted(asked.sans) == sorted(
        ["uri:spiffe://example.com/a", "dns:a.example.com", "ip:192.0.2.1", "email:ops@example.com"]
    )
    assert keys.kind_of(asked.public_key) == "ed25519"
