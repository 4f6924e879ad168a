"""What a certificate may be called: the short name that people type, and its subject alternative names.

A name becomes a directory and a SAN becomes an identity that policies match, so both are parsed strictly and nothing
is repaired: text that is not exactly one well-formed name of one kind is an error.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Literal, get_args

from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography import x509

__all__ = [
    "SanKind",
    "check_name",
    "comparable",
    "general_name",
    "is_dns_name",
    "kind_of_san",
    "parse_sans",
    "san_hint",
]

SanKind = Literal["dns", "uri", "ip", "email"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_EMAIL_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(//(?P<authority>[A-Za-z0-9._~:@!$&'()*+;=%\[\]-]+))?"
    r"[A-Za-z0-9._~:/?#@!$&'()*+;=%\[\]-]*",
    re.ASCII,
)
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*", re.ASCII)
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def check_name(name: str) -> str:
    """Return ``name`` when it may name a certificate and its directory.

    Raises:
        UsageError: it is empty, longer than 64 characters, a path, or holds anything but letters, digits and ``._@+-``.
    """
    if not _NAME.fullmatch(name) or name.endswith(".") or name.split(".", maxsplit=1)[0].lower() in _RESERVED:
        raise UsageError(
            f"{name!r} can't name a certificate",
            hint="up to 64 letters, digits, dots, dashes, underscores, @ and +, a letter or digit first; no path",
        )
    return name


def is_dns_name(text: str, *, wildcard: bool = True) -> bool:
    """Tell whether ``text`` is a host name; a wildcard may only be its whole first label (RFC 9525 section 6.3)."""
    if len(text) > 253:
        return False
    labels = text.split(".")
    if wildcard and labels[0] == "*" and len(labels) > 2:
        labels = labels[1:]
    return all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def _is_spiffe_id(text: str) -> bool:
    """SPIFFE-ID specification, section 2: no empty, ``.`` or ``..`` segment, no port, query or fragment."""
    return (
        len(text) <= 2048
        and _SPIFFE.fullmatch(text) is not None
        and not any(segment in (".", "..") for segment in text.removeprefix("spiffe://").split("/"))
    )


def _is_uri(text: str) -> bool:
    match = _URI.fullmatch(text)
    if match is None or (match["authority"] is None and match["scheme"].lower() != "urn"):
        return False
    return _is_spiffe_id(text) if match["scheme"].lower() == "spiffe" else True


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _is_email(text: str) -> bool:
    local, at, domain = text.partition("@")
    return bool(at) and len(local) <= 64 and bool(_EMAIL_LOCAL.fullmatch(local)) and is_dns_name(domain, wildcard=False)


_TESTS: dict[SanKind, Callable[[str], bool]] = {"uri": _is_uri, "ip": _is_ip, "email": _is_email, "dns": is_dns_name}


def kind_of_san(text: str) -> SanKind | None:
    """Tell which one kind of name ``text`` is, None when it is none. No text is ever of two kinds."""
    for kind, test in _TESTS.items():
        if test(text):
            return kind
    return None


def comparable(san: str) -> str:
    """A name in the form in which names are compared byte by byte.

    DNS names and the domain of an address have no case (RFC 5280 section 7), and IP addresses one canonical form.
    """
    kind = kind_of_san(san)
    return san if kind is None else _canonical(kind, san)


def parse_sans(values: Iterable[str]) -> tuple[tuple[SanKind, str], ...]:
    """Parse names as people type them, in order and without repeats; ``dns:``, ``uri:``, ``ip:``, ``email:`` may lead.

    DNS names and the domains of addresses are lower-cased and IP addresses written in their one canonical form, so
    that what is compared later is compared byte by byte.

    Raises:
        UsageError: a value is not exactly one well-formed name.
    """
    parsed: dict[tuple[SanKind, str], None] = {}
    for value in values:
        prefix, colon, rest = value.partition(":")
        wanted = prefix.lower() if colon and prefix.lower() in get_args(SanKind) else None
        text = rest if wanted else value
        kind = kind_of_san(text)
        if kind is None or (wanted is not None and kind != wanted):
            raise UsageError(f"{value!r} is no subject alternative name", hint=san_hint(text))
        parsed[(kind, _canonical(kind, text))] = None
    return tuple(parsed)


def _canonical(kind: SanKind, text: str) -> str:
    match kind:
        case "dns":
            return text.lower()
        case "ip":
            return str(ipaddress.ip_address(text))
        case "email":
            local, _, domain = text.partition("@")
            return f"{local}@{domain.lower()}"
        case _:
            return text


def san_hint(text: str) -> str:
    """What to write instead of a text that is no subject alternative name."""
    if "," in text or any(character.isspace() for character in text):
        return "one name a --san; give the option again for the next one"
    if not text.isascii():
        return "ASCII only: give an internationalised name in its xn-- form"
    if text.lower().startswith("spiffe:"):
        return "a SPIFFE ID is spiffe://trust-domain/path: lower-case domain, no port, query, '.' or '..'"
    return "a DNS name, an IP address, an e-mail address or a URI such as spiffe://example.com/agent/reporting"


def general_name(kind: SanKind, text: str) -> x509.GeneralName:
    """Build the X.509 form of a parsed name."""
    from cryptography import x509

    match kind:
        case "dns":
            return x509.DNSName(text)
        case "ip":
            return x509.IPAddress(ipaddress.ip_address(text))
        case "email":
            return x509.RFC822Name(text)
        case "uri":
            return x509.UniformResourceIdentifier(text)
