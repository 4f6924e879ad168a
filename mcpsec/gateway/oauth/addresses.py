"""Which URLs and network addresses the gateway may call for OAuth: a guard against server-side request forgery.

URLs come from the deployment file, but also from documents that others write (an issuer's metadata), and names resolve
to whatever their owner wants at that moment. So the URL is judged, and then each address it resolves to; the connection
goes to the address that was judged (OWASP SSRF prevention; MCP security best practices, "Server-Side Request Forgery").
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AddressRules", "ForbiddenError", "is_loopback_host"]

Address = IPv4Address | IPv6Address


class ForbiddenError(Exception):
    """A place that may not be called; the text says why, for the operator."""


def is_loopback_host(host: str) -> bool:
    """True for ``localhost`` and literal loopback addresses: what only this machine can answer."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class AddressRules:
    """Public addresses may be called, and those of ``networks`` (CIDR blocks); loopback only by its own name.

    https is demanded everywhere but on loopback.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = [ip_network(network) for network in networks]

    def check_url(self, url: str) -> SplitResult:
        """Return the parts of a URL that may be called. Raises ForbiddenError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ForbiddenError("not a URL") from None
        host = parts.hostname or ""
        if parts.scheme not in ("https", "http") or not host or port == 0 or not url.isprintable() or " " in url:
            raise ForbiddenError("not an https URL")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ForbiddenError("a URL with a user or a fragment in it")
        if parts.scheme == "http" and not is_loopback_host(host):
            raise ForbiddenError(f"http to {host}: only https is called beyond this machine")
        return parts

    def check_address(self, host: str, text: str) -> None:
        """Judge an address that ``host`` resolved to. Raises ForbiddenError."""
        address = _plain(ip_address(text.partition("%")[0]))
        if is_loopback_host(host):
            if address.is_loopback:
                return
            raise ForbiddenError(f"{host} is {address}, which is not this machine")
        if any(address in network for network in self._networks):
            return
        if not address.is_global or address.is_multicast:
            raise ForbiddenError(
                f"{host} is at {address}, a private address: name its network in [auth.oauth] networks"
            )


def _plain(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only wraps it (mapped, 6to4, NAT64)."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in ip_network("64:ff9b::/96"):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address
