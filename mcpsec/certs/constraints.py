"""Name constraints (RFC 5280 section 4.2.1.10): does a CA permit these names? URIs and addresses included.

``mcpsec certs`` asks this before it signs, and ``verify`` asks it because one of the two engines can't judge URIs.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509

from mcpsec.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpsec.certs.names import SanKind

__all__ = ["check_permitted", "violations"]

_KINDS: dict[type[x509.GeneralName], SanKind] = {
    x509.DNSName: "dns",
    x509.UniformResourceIdentifier: "uri",
    x509.RFC822Name: "email",
    x509.IPAddress: "ip",
}


def check_permitted(sans: Iterable[tuple[SanKind, str]], issuer: x509.Certificate) -> None:
    """Refuse names that the CA's own constraints would make every verifier refuse.

    Raises:
        RefusedError: a name is outside what the CA may issue.
    """
    for kind, text in violations(sans, issuer):
        raise RefusedError(
            f"this CA may not issue {text!r}: its name constraints do not permit that {kind} name",
            hint="names within the constraints given to init, or another PKI",
        )


def violations(sans: Iterable[tuple[SanKind, str]], issuer: x509.Certificate) -> list[tuple[SanKind, str]]:
    """Return the names that a CA certificate's constraints exclude or don't permit."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    permitted = _by_kind(constraints.permitted_subtrees or ())
    excluded = _by_kind(constraints.excluded_subtrees or ())
    return [
        (kind, text)
        for kind, text in sans
        if any(_matches(kind, text, one) for one in excluded.get(kind, ()))
        or (kind in permitted and not any(_matches(kind, text, one) for one in permitted[kind]))
    ]


def _by_kind(trees: Iterable[x509.GeneralName]) -> dict[SanKind, list[object]]:
    found: dict[SanKind, list[object]] = {}
    for tree in trees:
        kind = _KINDS.get(type(tree))
        if kind is not None:
            found.setdefault(kind, []).append(tree.value)
    return found


def _matches(kind: SanKind, text: str, constraint: object) -> bool:
    if kind == "ip":
        network = constraint
        assert isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network)
        return ipaddress.ip_address(text) in network
    pattern = str(constraint).lower()
    match kind:
        case "dns":
            return text.lower() == pattern or text.lower().endswith("." + pattern.removeprefix(".")) or not pattern
        case "email":
            domain = text.rpartition("@")[2].lower()
            if "@" in pattern:
                local, _, host = pattern.rpartition("@")
                return text.rpartition("@")[0] == str(constraint).rpartition("@")[0] and domain == host and bool(local)
            return _host_matches(domain, pattern)
        case _:
            host = urlsplit(text).hostname or ""
            return bool(host) and _host_matches(host.lower(), pattern)


def _host_matches(host: str, pattern: str) -> bool:
    """A pattern with a leading dot means every host below it and not the domain itself; without one, that host."""
    return host.endswith(pattern) and host != pattern.removeprefix(".") if pattern.startswith(".") else host == pattern
