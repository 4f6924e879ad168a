from cryptography import x509

from mcpsec.certs import Pki, Purpose, San, sans_of
from tests.certs.test_verification import _forge


def test_a_name_is_its_text_and_knows_its_kind() -> None:
    san = San("uri", "spiffe://example.com/a")
    assert san == "spiffe://example.com/a" and san.kind == "uri" and repr(san) == "uri:spiffe://example.com/a"


def test_a_dns_name_that_reads_as_another_identity_is_none(pki: Pki) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    for forged in (x509.DNSName("spiffe://example.com/admin"), x509.RFC822Name("10.0.0.1"), x509.DNSName("10.0.0.1")):
        assert sans_of(_forge(pki, Purpose.CLIENT, forged).public_bytes(Encoding.DER)) == []
    true = x509.UniformResourceIdentifier("spiffe://example.com/admin")
    assert sans_of(_forge(pki, Purpose.CLIENT, true).public_bytes(Encoding.DER)) == ["spiffe://example.com/admin"]
    assert sans_of(b"nonsense") == [] and sans_of(b"") == []


def test_names_of_kinds_that_nobody_is_known_by_are_passed_over(pki: Pki) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    for forged in (x509.DirectoryName(x509.Name([])), x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))):
        assert sans_of(_forge(pki, Purpose.CLIENT, forged).public_bytes(Encoding.DER)) == []
