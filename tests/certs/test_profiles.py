import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mcpsec.certs import Pki, Purpose, keys
from mcpsec.certs.keys import CA_KEY_KINDS, KEY_KINDS, CaKeyKind, KeyKind
from mcpsec.certs.names import SanKind
from mcpsec.certs.profiles import key_identifier, name_constraints, profiles, signature_hash
from mcpsec.errors import ConfigurationError, UsageError
from tests.certs.helpers import let_in, load, openssl_verify, pkilint, pkilint_crl, server_context, tls_server


@pytest.mark.parametrize("ca_kind", CA_KEY_KINDS)
def test_everything_issued_passes_the_linter_and_strict_openssl(ca_kind: CaKeyKind, tmp_path: Path) -> None:
    with Pki.create(tmp_path / "pki", key_kind=ca_kind, organization="Example Org", trust_domain="example.com") as pki:
        issued = []
        for kind in KEY_KINDS if ca_kind == "p256" else ("p256",):
            issued.append(pki.issue(f"c-{kind}", Purpose.CLIENT, key_kind=kind))
            sans = ["mcp.example.com", "192.0.2.1", "2001:db8::1", "ops@example.com"]
            issued.append(pki.issue(f"s-{kind}", Purpose.SERVER, sans, key_kind=kind))
        pki.revoke("c-p256", "keyCompromise")
        for one in issued:
            assert pkilint(one.chain, tmp_path) == []
            for ca in (pki.directory / f"{one.purpose}-ca.pem", pki.root_file):
                accepted, said = openssl_verify(one.certificate, ca, one.purpose, "-untrusted", one.chain)
                assert accepted, said
            other = "server" if one.purpose is Purpose.CLIENT else "client"
            assert not openssl_verify(one.certificate, pki.root_file, other, "-untrusted", one.chain)[0]
        assert pkilint(pki.root_file, tmp_path) == []
        for purpose in Purpose:
            assert pkilint_crl(pki.directory / f"{purpose}-ca.crl") == ""


def test_constraints_urls_and_a_critical_extension_pass_too(tmp_path: Path) -> None:
    with Pki.create(
        tmp_path / "pki",
        permitted={
            Purpose.CLIENT: [("uri", "example.com"), ("uri", ".example.com")],
            Purpose.SERVER: [("dns", "example.com")],
        },
        crl_urls={"client": "http://crl.example.com/client.crl"},
    ) as pki:
        client = pki.issue("a", Purpose.CLIENT, ["spiffe://example.com/a"])
        server = pki.issue("b", Purpose.SERVER, ["mcp.example.com"])
        pki.revoke("a")
        assert pkilint(client.chain, tmp_path) == pkilint(server.chain, tmp_path) == []
        assert pkilint_crl(pki.directory / "client-ca.crl") == ""
        accepted, said = openssl_verify(server.certificate, pki.directory / "server-ca.pem", "server")
        assert accepted, said
        arguments = ("-crl_check", "-CRLfile", pki.directory / "client-ca.crl")
        accepted, said = openssl_verify(client.certificate, pki.directory / "client-ca.pem", "client", *arguments)
        assert not accepted and "revoked" in said
        constraints = load(client.chain)[1].extensions.get_extension_for_class(x509.NameConstraints)
        assert constraints.critical


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_a_real_handshake_both_ways(kind: KeyKind, pki: Pki) -> None:
    server = pki.issue("gw", Purpose.SERVER, ["127.0.0.1"], key_kind=kind)
    client = pki.issue("agent", Purpose.CLIENT, key_kind=kind)
    assert server.key is not None and client.key is not None
    ca, crl = pki.directory / "client-ca.pem", pki.directory / "client-ca.crl"
    with tls_server(server_context(server.chain, server.key, ca, crl)) as port:
        assert let_in(port, pki.root_file, client.chain, client.key)
        assert let_in(port, pki.directory / "server-ca.pem", client.certificate, client.key)
        assert not let_in(port, pki.root_file, server.chain, server.key)  # a server's certificate is no client's
    pki.revoke("agent")
    with tls_server(server_context(server.chain, server.key, ca, crl)) as port:
        assert not let_in(port, pki.root_file, client.chain, client.key)
    with pytest.raises(ssl.SSLError):
        server_context(server.chain, client.key)


def test_the_shape_of_a_leaf(pki: Pki) -> None:
    issued = pki.issue("agent", Purpose.CLIENT, days=90)
    leaf, ca = load(issued.chain)
    value = leaf.extensions.get_extension_for_class
    assert value(x509.BasicConstraints).critical and not value(x509.BasicConstraints).value.ca
    usage = value(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_encipherment
    assert list(value(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not value(x509.SubjectAlternativeName).critical
    assert 64 <= leaf.serial_number.bit_length() <= 159
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert timedelta(days=90) <= life <= timedelta(days=90, minutes=5)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_profiles_are_data(tmp_path: Path) -> None:
    own = profiles({"runner": {"extends": "client", "days": 1, "key": "ed25519"}})
    assert own["runner"].purpose is Purpose.CLIENT and own["runner"].days == 1 and own["client"].days == 90
    for wrong in (
        {"x": {"days": 1}},
        {"x": {"extends": "nothing"}},
        {"client": {"extends": "client"}},
        {"x": {"extends": "client", "days": -1}},
        {"x": {"extends": "client", "key": "dsa"}},
        {"x": {"extends": "client", "colour": "red"}},
        {"x": {"extends": "client", "purpose": "server"}},
    ):
        with pytest.raises(ConfigurationError):
            profiles(wrong)


@pytest.mark.parametrize(
    "pair", [("dns", "a b"), ("ip", "10.0.0.1/8"), ("ip", "x"), ("uri", "https://x"), ("email", "@@")]
)
def test_a_constraint_that_is_none_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        name_constraints([pair])  # type: ignore[list-item]


@pytest.mark.parametrize(("kind", "text"), [("email", "ops@example.com"), ("uri", ".example.com"), ("dns", ".a.test")])
def test_a_constraint_keeps_its_kind(kind: SanKind, text: str) -> None:
    found = name_constraints([(kind, text)])
    assert found is not None and found.permitted_subtrees is not None
    (tree,) = found.permitted_subtrees
    kinds = {"email": x509.RFC822Name, "uri": x509.UniformResourceIdentifier, "dns": x509.DNSName}
    assert type(tree) is kinds[kind] and tree.value == (text.removeprefix(".") if kind == "dns" else text)


@pytest.mark.parametrize(("kind", "hashed"), [("p256", "sha256"), ("p384", "sha384"), ("ed25519", None)])
def test_the_hash_goes_with_the_key(kind: KeyKind, hashed: str | None) -> None:
    key = keys.generate(kind)
    for half in (key, key.public_key()):
        found = signature_hash(half)
        assert (None if found is None else found.name) == hashed


def test_a_ca_without_a_key_identifier_is_known_by_the_one_of_its_key() -> None:
    key, name = keys.generate("p256"), x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1 << 70, now, now + timedelta(days=1))
    certificate = builder.sign(key, signature_hash(key))
    assert key_identifier(certificate) == x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
