"""Request rates: of each network address, each client, and each client's use of a tool.

The address's is spent first, before anybody is authenticated. The client's is spent before the body is read, so
refused and malformed requests count too. The tool's is spent by what the policy has granted.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from mcpsec.gateway.limits import Taken
from mcpsec.gateway.policy.globs import Glob
from mcpsec.gateway.quota import judge, spending
from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.steps.session import store_unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from mcpsec.deployment.model import Client, Rate, Upstream
    from mcpsec.gateway.message import Exchange, Refusal
    from mcpsec.gateway.state import State
    from mcpsec.gateway.steps import Repeated

    Outcome = Refusal | None | Awaitable[Refusal | None]

__all__ = ["AddressRate", "RateLimit", "ToolRate"]


def _spend(state: State, exchange: Exchange, rule: str, key: str, rate: Rate) -> Outcome:
    try:
        taken = state.take(rule, key, rate)
    except StoreUnavailableError as error:
        return store_unavailable(error)
    if isinstance(taken, Taken):
        return judge(exchange, rule, rate, taken)
    return _spend_elsewhere(exchange, rule, rate, taken)


async def _spend_elsewhere(exchange: Exchange, rule: str, rate: Rate, answer: Awaitable[Taken]) -> Refusal | None:
    try:
        return judge(exchange, rule, rate, await answer)
    except StoreUnavailableError as error:
        return store_unavailable(error)


class RateLimit:
    """One bucket a client, of its own rate or the deployment's."""

    def __init__(self, clients: Iterable[Client], default: Rate | None, state: State) -> None:
        rates = {client.id: client.rate_limit or default for client in clients}
        self._rates = {id: rate for id, rate in rates.items() if rate is not None}
        self._state = state

    def __call__(self, exchange: Exchange) -> Outcome:
        """Spend one token of the caller's bucket."""
        client = exchange.client
        rate = None if client is None else self._rates.get(client.id)
        if client is None or rate is None:
            return None
        return _spend(self._state, exchange, "client-rate", client.id, rate)

    def again(self, exchange: Exchange) -> Repeated | None:
        """A token of the same bucket."""
        client, bucket = exchange.client, getattr(self._state, "bucket", None)
        rate = None if client is None else self._rates.get(client.id)
        if client is None or rate is None:
            return None
        if bucket is None:  # the buckets are in another place
            return self
        return spending("client-rate", rate, bucket("client-rate", client.id, rate))


class AddressRate:
    """One bucket a network address; an IPv6 network of 64 bits is one, since its owner has them all."""

    def __init__(self, rate: Rate, state: State) -> None:
        self._rate = rate
        self._state = state

    def __call__(self, exchange: Exchange) -> Outcome:
        """Spend one token of the address's bucket."""
        return _spend(self._state, exchange, "address-rate", _network(exchange.peer.address), self._rate)


def _network(text: str) -> str:
    if ":" not in text:
        return text
    address = ip_address(text.partition("%")[0])
    if not isinstance(address, IPv6Address):
        return text
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))


class ToolRate:
    """A client's calls of the tools that a glob of ``[upstreams.NAME.rate_limits]`` names, one bucket a tool."""

    def __init__(self, upstreams: Iterable[Upstream], state: State) -> None:
        self._rates = {upstream.name: _ranked(upstream.rate_limits) for upstream in upstreams if upstream.rate_limits}
        self._state = state

    def again(self, _exchange: Exchange) -> Repeated | None:
        """Nothing where no tool has a rate of its own."""
        return self if self._rates else None

    def __call__(self, exchange: Exchange) -> Outcome:
        """Spend one token of the bucket of the client and the tool; the closest glob counts."""
        if not self._rates or exchange.kind != "tool" or exchange.client is None:
            return None
        upstream, _, tool = exchange.resource.partition("/")
        for glob, rate in self._rates.get(upstream, ()):
            if glob.matches(tool):
                return _spend(self._state, exchange, "tool-rate", f"{exchange.client.id} {exchange.resource}", rate)
        return None


def _ranked(rates: dict[str, Rate]) -> list[tuple[Glob, Rate]]:
    globs = [(Glob(pattern), rate) for pattern, rate in rates.items()]
    return sorted(globs, key=lambda each: (each[0].exact, each[0].weight), reverse=True)
