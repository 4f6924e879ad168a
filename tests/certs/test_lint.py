import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mcpsec.certs import Pki, Purpose
from mcpsec.certs.lint import lint
from mcpsec.certs.profiles import _key_usage
from tests.certs.helpers import load

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "subject")])
_ISSUER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
_CA_KEY = ec.generate_private_key(ec.SECP256R1())
_URI = x509.UniformResourceIdentifier("spiffe://example.com/a")


def _build(
    *,
    key: object = None,
    serial: int | None = None,
    days: int = 90,
    subject: x509.Name = _NAME,
    issuer: x509.Name = _ISSUER,
    sans: list[x509.GeneralName] | None = None,
    sans_critical: bool = False,
    usages: list[x509.ObjectIdentifier] | None = None,
    usage: x509.KeyUsage | None = None,
    ca: bool = False,
    basic_critical: bool = True,
    usage_critical: bool = True,
    path_length: int | None = 0,
    without: tuple[type[x509.ExtensionType], ...] = (),
    signer: CertificateIssuerPrivateKeyTypes = _CA_KEY,
    more: Callable[[x509.CertificateBuilder], x509.CertificateBuilder] = lambda builder: builder,
) -> x509.Certificate:
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=days))
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())  # type: ignore[attr-defined]
    common: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), basic_critical),
        (usage or _key_usage(ca=ca), usage_critical),
        (identifier, False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(_CA_KEY.public_key()), False),
    ]
    for extension, critical in common:
        if not isinstance(extension, without):
            builder = builder.add_extension(extension, critical=critical)
    wanted = [ExtendedKeyUsageOID.CLIENT_AUTH] if usages is None else usages
    if wanted:
        builder = builder.add_extension(x509.ExtendedKeyUsage(wanted), critical=False)
    names = [_URI] if sans is None else sans
    if names and not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=sans_critical)
    return more(builder).sign(signer, hashes.SHA256())


def _usage(**bits: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    every = (*names, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{**dict.fromkeys(every, False), **bits})


def test_what_this_program_issues_has_no_fault(pki: Pki) -> None:
    issued = [pki.issue("a", Purpose.CLIENT), pki.issue("s", Purpose.SERVER, ["mcp.example.com"])]
    for certificate in [*load(issued[0].chain), *load(issued[1].chain), *load(pki.root_file)]:
        assert lint(certificate) == []
    assert lint(_build()) == []


def _constrained(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(x509.NameConstraints([x509.DNSName("example.com")], None), critical=False)


_FAULTS: list[tuple[str, str, Callable[[], x509.Certificate]]] = [
    ("serial-guessable", "warning", lambda: _build(serial=1234)),
    ("key-weak", "error", lambda: _build(key=rsa.generate_private_key(65537, 1024))),
    ("key-ageing", "notice", lambda: _build(key=rsa.generate_private_key(65537, 2048))),
    ("key-exponent", "warning", lambda: _build(key=rsa.generate_private_key(3, 3072))),
    ("key-unknown", "error", lambda: _build(key=dsa.generate_private_key(2048))),
    ("validity-empty", "error", lambda: _build(days=0)),
    ("key-curve", "warning", lambda: _build(key=ec.generate_private_key(ec.SECP256K1()))),
    ("usage-missing", "error", lambda: _build(usages=[])),
    ("usage-any", "error", lambda: _build(usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])),
    (
        "usage-both",
        "warning",
        lambda: _build(usages=[ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
    ),
    (
        "usage-other",
        "warning",
        lambda: _build(usages=[ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]),
    ),
    ("key-usage-ca", "error", lambda: _build(usage=_usage(digital_signature=True, key_cert_sign=True))),
    ("key-usage-signature", "error", lambda: _build(usage=_usage(key_agreement=True))),
    ("key-usage-encipherment", "error", lambda: _build(usage=_usage(digital_signature=True, key_encipherment=True))),
    ("names-missing", "error", lambda: _build(sans=[])),
    ("names-critical", "warning", lambda: _build(sans_critical=True)),
    ("names-not-critical", "error", lambda: _build(subject=x509.Name([]))),
    ("spiffe-several", "error", lambda: _build(sans=[_URI, x509.UniformResourceIdentifier("spiffe://example.com/b")])),
    ("spiffe-malformed", "error", lambda: _build(sans=[x509.UniformResourceIdentifier("spiffe://example.com/../x")])),
    ("name-malformed", "error", lambda: _build(sans=[x509.DNSName("spiffe://example.com/a")])),
    ("name-wildcard", "notice", lambda: _build(sans=[x509.DNSName("*.example.com")])),
    ("life-too-long", "warning", lambda: _build(days=400)),
    ("life-long", "notice", lambda: _build(days=200)),
    ("self-signed", "warning", lambda: _build(issuer=_NAME)),
    ("ca-basic-constraints", "error", lambda: _build(ca=True, basic_critical=False)),
    ("ca-key-usage", "error", lambda: _build(ca=True, usage=_usage(digital_signature=True))),
    ("name-constraints-critical", "error", lambda: _build(ca=True, more=_constrained)),
    ("ca-ed25519", "warning", lambda: _build(ca=True, key=ed25519.Ed25519PrivateKey.generate())),
    ("ca-any-purpose", "notice", lambda: _build(ca=True, usages=[])),
    ("ca-subject", "error", lambda: _build(ca=True, subject=x509.Name([]))),
    ("ca-key-usage-critical", "warning", lambda: _build(ca=True, usage_critical=False)),
    ("ca-key-identifier", "error", lambda: _build(ca=True, without=(x509.SubjectKeyIdentifier,))),
    ("ca-path-length", "notice", lambda: _build(ca=True, path_length=None)),
    ("authority-key-identifier", "error", lambda: _build(without=(x509.AuthorityKeyIdentifier,))),
    ("key-identifier", "notice", lambda: _build(without=(x509.SubjectKeyIdentifier,))),
    ("key-usage-missing", "warning", lambda: _build(without=(x509.KeyUsage,))),
]


@pytest.mark.parametrize(("code", "severity", "make"), _FAULTS, ids=[fault[0] for fault in _FAULTS])
def test_each_fault_is_found_and_nothing_beside_it(
    code: str, severity: str, make: Callable[[], x509.Certificate]
) -> None:
    assert [(fault.code, fault.severity) for fault in lint(make())] == [(code, severity)]


def test_a_serial_number_of_zero() -> None:
    der = bytearray(_der(_build(serial=1)))
    at = der.index(b"\x02\x01\x01\x30")
    der[at + 2] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certificate = x509.load_der_x509_certificate(bytes(der))
    assert "serial-not-positive" in [fault.code for fault in lint(certificate)]


@pytest.mark.parametrize(("algorithm", "codes"), [(5, ["signature-weak"]), (4, ["signature-weak"]), (11, [])])
def test_a_signature_over_a_hash_that_can_be_forged(algorithm: int, codes: list[str]) -> None:
    """SHA-1 and MD5 with RSA, which no library signs with any more, and SHA-256: the last byte of an identifier."""
    der = _der(_build(signer=rsa.generate_private_key(65537, 3072)))
    identifier = bytes.fromhex("2a864886f70d0101")
    assert der.count(identifier + b"\x0b") == 2  # in the certificate, and beside the signature
    certificate = x509.load_der_x509_certificate(der.replace(identifier + b"\x0b", identifier + bytes([algorithm])))
    assert [fault.code for fault in lint(certificate)] == codes


def _der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _respelled(der: bytes, before: bytes, after: bytes) -> x509.Certificate:
    """The certificate with some bytes of its body replaced, and the lengths around them corrected."""
    assert der[:2] == der[4:6] == b"\x30\x82" and before in der
    grown = len(after) - len(before)
    lengths = [(int.from_bytes(der[at : at + 2], "big") + grown).to_bytes(2, "big") for at in (2, 6)]
    rest = der[8:].replace(before, after, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(b"\x30\x82" + lengths[0] + b"\x30\x82" + lengths[1] + rest)


def test_a_serial_number_that_is_too_long_and_a_certificate_of_version_1() -> None:
    der = _der(_build(serial=(1 << 159) - 1))
    for before, after, code in (
        (b"\x02\x14\x7f" + b"\xff" * 19, b"\x02\x15\x01" + bytes(20), "serial-too-long"),
        (b"\xa0\x03\x02\x01\x02", b"", "version"),
    ):
        assert code not in [fault.code for fault in lint(x509.load_der_x509_certificate(der))]
        assert code in [fault.code for fault in lint(_respelled(der, before, after))]
