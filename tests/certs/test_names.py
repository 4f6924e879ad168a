import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpsec.certs.names import check_name, general_name, kind_of_san, parse_sans
from mcpsec.errors import UsageError


@pytest.mark.parametrize("name", ["a", "agent-1", "mcp.example.com", "ops@example.com", "A_b+c", "x" * 64])
def test_a_plain_name_is_kept(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        "a\\b",
        "C:x",
        ".hidden",
        "-rf",
        "a b",
        "a\n",
        "a\x00",
        "ä",
        "x" * 65,
        "con",
        "NUL.txt",
        "com1",
        "a.",
        "*",
        "~",
        "$(id)",
        "%2e%2e",
    ],
)
def test_a_name_that_is_a_path_or_worse_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)


@given(st.text(max_size=70))
def test_no_accepted_name_leaves_its_directory(name: str) -> None:
    try:
        check_name(name)
    except UsageError:
        return
    assert (
        "/" not in name
        and "\\" not in name
        and not name.startswith((".", "-"))
        and name.isascii()
        and name.isprintable()
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mcp.example.com", "dns"),
        ("*.example.com", "dns"),
        ("localhost", "dns"),
        ("192.0.2.7", "ip"),
        ("2001:db8::1", "ip"),
        ("ops@example.com", "email"),
        ("spiffe://example.com/agent/reporting", "uri"),
        ("https://example.com:8443/mcp?x=1", "uri"),
        ("urn:uuid:6f9619ff-8b86-d011-b42d-00cf4fc964ff", "uri"),
    ],
)
def test_a_name_is_known_by_its_form(text: str, kind: str) -> None:
    assert kind_of_san(text) == kind
    assert parse_sans([text]) == ((kind, text),)
    assert parse_sans([f"{kind}:{text}"]) == ((kind, text),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a,b",
        "a.com,DNS:evil.com",
        "a.com\nDNS:evil.com",
        "a.com\x00.evil.com",
        "a com",
        "ä.example",
        "-a.com",
        "a..b",
        "*",
        "*.com",
        "a.*.com",
        "256.1.1.1",
        "1.2.3",
        "fe80::1%eth0",
        "a@",
        "@b.com",
        "a b@c.com",
        "a@b@c.com",
        "dns:",
        "uri:x",
        "spiffe://",
        "spiffe://UPPER.com/x",
        "spiffe://a.com/",
        "spiffe://a.com//x",
        "spiffe://a.com/../x",
        "spiffe://a.com/./x",
        "spiffe://a.com:80/x",
        "spiffe://u@a.com/x",
        "spiffe://a.com/x?q",
        "spiffe://a.com/x#f",
        "spiffe://a.com/" + "x" * 2048,
        "SPIFFE://a.com/x y",
        "javascript:alert(1)",
        "http:",
        "x" * 64 + ".com",
        "ip:example.com",
        "dns:10.0.0.1",
        "a.com\r\n",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_sans([text])


def test_names_are_canonical_and_come_once() -> None:
    parsed = parse_sans(["Mcp.Example.COM", "mcp.example.com", "2001:DB8:0::1", "Ops@Example.com"])
    assert parsed == (("dns", "mcp.example.com"), ("ip", "2001:db8::1"), ("email", "Ops@example.com"))


@given(st.text(max_size=40))
def test_what_is_accepted_always_becomes_one_x509_name(text: str) -> None:
    try:
        parsed = parse_sans([text])
    except UsageError:
        return
    assert len(parsed) == 1
    assert general_name(*parsed[0]).value is not None
