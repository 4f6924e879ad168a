"""Context rules: what must hold around a call, on top of what its client is granted."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.policy.globs import ResourceGlob, plain_form
from mcpsec.gateway.policy.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mcpsec.deployment.model import Rule

__all__ = ["Context", "ContextRule"]


class Context(NamedTuple):
    """What is known around a call.

    ``certificate_sha256`` is lower-case hex of the verified certificate's DER form, None without one; ``address`` is
    the peer's as the socket knows it, never a header's; ``now`` is aware. ``confirmed`` are the headers (lower case) in
    which an operator's valid confirmation of this very call has come.
    """

    certificate_sha256: str | None
    address: str
    now: datetime
    confirmed: frozenset[str] = frozenset()


class ContextRule:
    """One ``[[rules]]`` entry, compiled."""

    def __init__(self, rule: Rule, number: int) -> None:
        self.label = f"rules[{number}]"
        self.rule = rule
        self.resources = tuple(map(ResourceGlob, rule.resources))
        require = rule.require
        self._fingerprints = frozenset(print_.replace(":", "").lower() for print_ in require.certificate_sha256)
        try:
            self._networks = tuple(map(ip_network, require.networks))
        except ValueError:
            raise ConfigurationError(f"{self.label}.require.networks holds something that is not a network") from None
        self._window = None if require.window is None else Window.parse(require.window)
        self.confirmation_header = require.confirmation_header

    def applies(self, upstream: str, what: str) -> bool:
        """Whether it is about this resource."""
        plain = plain_form(what)
        return any(glob.concerns(upstream, what, plain) for glob in self.resources)

    def check(self, context: Context) -> Iterator[tuple[str, bool]]:
        """Each condition that the rule names, and whether it holds; a confirmation is asked for after all of these."""
        if self._fingerprints:
            yield "certificate", context.certificate_sha256 in self._fingerprints
        if self._networks:
            yield "network", self._in_networks(context.address)
        if self._window is not None:
            yield "window", self._window.contains(context.now)

    def _in_networks(self, text: str) -> bool:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
