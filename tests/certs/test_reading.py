from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import Pki, Purpose
from mcpsec.certs.inspection import describe
from mcpsec.certs.reading import endpoint_of, load_certificates, read_target
from mcpsec.errors import ConfigurationError, NotAssessedError
from tests.certs.helpers import load, server_context, tls_server


def test_files_in_pem_and_der_and_whole_directories(pki: Pki, tmp_path: Path) -> None:
    issued = pki.issue("agent", Purpose.CLIENT)
    leaf, ca = load(issued.chain)
    der = tmp_path / "leaf.der"
    der.write_bytes(leaf.public_bytes(Encoding.DER))
    assert [found.certificate for found in read_target(str(der))] == [leaf]
    assert [(found.certificate, found.position) for found in read_target(str(issued.chain))] == [(leaf, 0), (ca, 1)]
    everything = [found.certificate for found in read_target(str(pki.directory))]
    assert leaf in everything and len(everything) == len(set(everything)) == 4  # each once, keys and lists passed over
    assert load_certificates(issued.chain) == [leaf, ca]


@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_holds_no_certificate(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pem"
    path.write_bytes(data)
    with pytest.raises(NotAssessedError):
        list(read_target(str(path)))
    with pytest.raises(ConfigurationError):
        load_certificates(path)
    with pytest.raises(NotAssessedError):
        list(read_target(str(tmp_path / "none")))


def test_a_damaged_certificate_in_a_directory_is_not_passed_over(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(NotAssessedError, match="damaged"):
        list(read_target(str(tmp_path)))


def test_what_a_server_sends_even_to_strangers(pki: Pki) -> None:
    server = pki.issue("gw", Purpose.SERVER, ["127.0.0.1"])
    assert server.key is not None
    with tls_server(server_context(server.chain, server.key, pki.directory / "client-ca.pem")) as port:
        found = [one.certificate for one in read_target(f"127.0.0.1:{port}")]
        assert found == load(server.chain)
    with pytest.raises(NotAssessedError, match="connection refused"):
        list(read_target(f"127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("a.example.com:443", ("a.example.com", 443)),
        ("[2001:db8::1]:8443", ("2001:db8::1", 8443)),
        ("localhost:0", None),
        ("localhost:65536", None),
        ("pki/client", None),
        ("C:\\x", None),
    ],
)
def test_endpoints(text: str, endpoint: tuple[str, int] | None) -> None:
    assert endpoint_of(text) == endpoint


def test_a_file_with_the_name_of_an_endpoint_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("host:443").touch()
    assert endpoint_of("host:443") is None


def test_a_certificate_in_words(pki: Pki) -> None:
    leaf, ca = load(pki.issue("agent", Purpose.CLIENT).chain)
    facts = describe(leaf)
    assert facts["sans"] == [{"kind": "uri", "value": "spiffe://example.com/client/agent"}]
    assert (facts["key"], facts["ca"], facts["extended_key_usage"]) == ("p256", False, ["clientAuth"])
    assert describe(ca)["path_length"] == 0 and describe(ca)["key_usage"] == ["keyCertSign", "cRLSign"]
