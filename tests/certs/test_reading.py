import os
import socket
import ssl
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import Pki, Purpose
from mcpsec.certs.inspection import describe
from mcpsec.certs.reading import (
    chain_of,
    endpoint_of,
    load_certificates,
    plain_reason,
    read_lists,
    read_target,
    request_in,
)
from mcpsec.errors import ConfigurationError, NotAssessedError
from tests.certs.helpers import load, server_context, tls_server
from tests.fixtures.pki import Authority, tlv


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


def test_half_a_certificate_is_said_to_be_damaged(pki: Pki, tmp_path: Path) -> None:
    """However many there are (it took minutes), and wherever one stands: what is behind it is not all there is."""
    whole = pki.issue("agent", Purpose.CLIENT).chain.read_bytes()
    begin, file = b"-----BEGIN CERTIFICATE-----\n", tmp_path / "chain.pem"
    for content in (begin * 300_000, whole + whole[:200], whole[:200] + whole, begin + whole, whole[len(begin) :]):
        file.write_bytes(content)
        with pytest.raises(NotAssessedError, match="damaged"):
            list(read_target(str(file)))
    file.write_bytes(
        b"subject=agent - the first\n" + whole + b"\n-----BEGIN PRIVATE KEY-----\n" + whole.replace(b"\n", b"\r\n")
    )
    assert len(list(read_target(str(file)))) == 4
    headed = begin + b"Proc-Type: 4,MIC-CLEAR\nX-Made-By: ten--dashes----here\n\n"  # RFC 1421 section 4.6
    file.write_bytes(whole.replace(begin, headed))
    assert len(list(read_target(str(file)))) == 2
    for content in (begin + b"a-" * 1_000_000, (begin + b"-" * 4) * 100_000, whole.replace(begin, headed)[:-300]):
        file.write_bytes(content)
        with pytest.raises(NotAssessedError, match="damaged"):
            list(read_target(str(file)))


@pytest.mark.parametrize("between", [b"-a", b"a-", b"-", b"-----", b"a"])
def test_what_is_no_certificate_takes_no_memory_of_its_own(between: bytes, tmp_path: Path) -> None:
    """A pattern that can go back kept sixty bytes for each hyphen: a gigabyte for a file of the size that is read."""
    file, size = tmp_path / "chain.pem", 4_000_000
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + between * (size // len(between)))
    tracemalloc.start()
    try:
        with pytest.raises(NotAssessedError, match="damaged"):
            list(read_target(str(file)))
        assert tracemalloc.get_traced_memory()[1] < 32 * size  # of which reading takes 64 MiB
    finally:
        tracemalloc.stop()


def test_between_its_marks_a_certificate_has_no_others(pki: Pki, tmp_path: Path) -> None:
    whole, file = pki.issue("agent", Purpose.CLIENT).certificate.read_bytes(), tmp_path / "chain.pem"
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    inner = whole[len(begin) : -len(end)]
    for content in (
        b"-----BEGIN X-----\n" + inner, inner + b"-----END X-----\n", b"-----BEGIN X-----\n" + inner + b"-----END X-----\n",
        inner + b"-----END X-----\n" + whole[:-len(end)], b"-----BEGIN X-----\nAAAA\n-----END X-----\n" + inner,
    ):  # fmt: skip
        file.write_bytes(begin + content + end)
        with pytest.raises(NotAssessedError, match="damaged"):
            list(read_target(str(file)))
    file.write_bytes(b"-----BEGIN X-----\n" + whole + b"-----END X-----\n" + whole)
    assert len(list(read_target(str(file)))) == 2


@pytest.mark.skipif(os.name == "nt", reason="makes directories by their parents' descriptors")
def test_a_directory_that_cannot_be_listed_hides_no_other(pki: Pki, tmp_path: Path) -> None:
    """Below a name that is longer than the system takes (``/proc`` has others of the kind)."""
    issued, top = pki.issue("agent", Purpose.CLIENT), tmp_path / "looked-at"
    top.mkdir()
    (top / "z.pem").write_bytes(issued.certificate.read_bytes())
    at = os.open(top, os.O_RDONLY)
    for _ in range(24):
        os.mkdir("n" * 200, dir_fd=at)
        below = os.open("n" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    (found,) = read_target(str(top))
    assert found.place == str(top / "z.pem")
    assert read_lists(str(top)) == []


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


def test_a_server_with_a_certificate_that_only_openssl_reads(tmp_path: Path) -> None:
    """Of version 4, which there is not: an endpoint that can't be judged, and no error of ours, for the audit as well."""
    authority = Authority(tmp_path / "ca", "A careless CA")
    odd = authority.odd(
        "odd",
        tlv(0x30, tlv(0x82, b"localhost")),
        trusts=authority.certificate,
        change=lambda signed: signed.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(odd.certificate, odd.key)
    with tls_server(context) as port, pytest.raises(NotAssessedError, match="sends a certificate that can't be read"):
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


def test_lists_are_found_beside_certificates_and_never_at_an_endpoint(pki: Pki, tmp_path: Path) -> None:
    assert read_lists("127.0.0.1:1") == []
    place = tmp_path / "lists"
    (place / "a.crl").mkdir(parents=True)
    (place / "key.pem").write_text("no list")
    (place / "b.crl").write_bytes((pki.directory / "client-ca.crl").read_bytes())
    with (place / "c.crl").open("wb") as huge:
        huge.truncate(16 * 1024 * 1024 + 1)
    assert [found.place for found in read_lists(str(place))] == [str(place / "b.crl")]


def test_what_is_too_large_for_a_certificate_or_no_file(tmp_path: Path) -> None:
    huge = tmp_path / "huge.pem"
    with huge.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(NotAssessedError, match="too large"):
        list(read_target(str(huge)))
    with pytest.raises(NotAssessedError, match="No such file"):
        list(read_target(str(tmp_path / "none.pem")))
    assert [request_in(target) for target in (str(huge), str(tmp_path), "127.0.0.1:1")] == [None] * 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the name does not resolve"),
        (TimeoutError(), "no answer in time"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
        (OSError(), "no connection"),
    ],
)
def test_why_there_is_no_connection_in_few_words(error: OSError, words: str) -> None:
    assert plain_reason(error).lower() == words


class _OldPython:
    """A connection of a Python that can tell the leaf only."""

    def __init__(self, leaf: bytes | None) -> None:
        self._leaf = leaf

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        return self._leaf if binary_form else None


@pytest.mark.parametrize(("leaf", "chain"), [(b"leaf", [b"leaf"]), (None, [])])
def test_the_leaf_alone_where_python_can_not_say_more(leaf: bytes | None, chain: list[bytes]) -> None:
    assert chain_of(_OldPython(leaf)) == chain  # type: ignore[arg-type]


def test_a_ca_in_words_names_what_it_permits(tmp_path: Path) -> None:
    urls = {"client": "http://pki.example.com/client.crl"}
    with Pki.create(tmp_path / "pki", permitted={Purpose.CLIENT: [("uri", "example.com")]}, crl_urls=urls) as pki:
        leaf, ca = load(pki.issue("agent", Purpose.CLIENT, ["spiffe://example.com/agent"]).chain)
    facts = describe(ca)
    assert (facts["permitted"], facts["excluded"]) == (["example.com"], [])
    assert "nameConstraints" in facts["critical"]
    assert describe(leaf)["crl_urls"] == list(urls.values())
