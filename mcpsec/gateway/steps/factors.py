"""All of what a client must show: certificate, signature and token stand for one client, and none is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.gateway.steps import CHANGED
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpsec.deployment.model import Client, Deployment, Factor
    from mcpsec.gateway.message import Headers
    from mcpsec.gateway.steps import Repeated

__all__ = ["Factors", "FactorsComplete"]


class Factors:
    """Which factors each client needs, and which everybody needs."""

    def __init__(self, deployment: Deployment) -> None:
        own = {client.id: deployment.factors_of(client) for client in deployment.clients}
        self._of: Mapping[str, frozenset[Factor]] = own
        self.possible = deployment.possible_factors
        self.always = frozenset(deployment.auth.require).intersection(*own.values())

    def of(self, client: Client) -> frozenset[Factor]:
        """What this client needs."""
        return self._of[client.id]

    def needed(self, factor: Factor, client: Client | None) -> bool:
        """Whether this client, or, while nobody knows who calls, every client needs a factor."""
        return factor in (self.always if client is None else self._of[client.id])


class FactorsComplete:
    """The last of the identity steps. ``challenge`` makes the headers that say how to get what is missing."""

    def __init__(self, factors: Factors, challenge: Callable[[Exchange], Headers]) -> None:
        self._factors = factors
        self._challenge = challenge
        self._complete: set[tuple[str, str]] = set()  # clients of the file, with factors of which there are few

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Refuse when nobody is known, or a factor of whoever is known is missing."""
        client = exchange.client
        if client is None:
            return self._refuse(exchange, "identity-missing", "nothing says who is calling")
        shown = (client.id, exchange.identified_by)
        if shown in self._complete:
            return None
        missing = self._factors.of(client).difference(exchange.identified_by.split("+"))
        if not missing:
            self._complete.add(shown)
            return None
        exchange.client, exchange.claimed = None, client.id
        return self._refuse(exchange, "factor-missing", f"{', '.join(sorted(missing))} missing")

    def again(self, exchange: Exchange) -> Repeated | None:
        """Whether the same has been shown: nothing where that is a certificate alone, without which none gets here."""
        shown = exchange.identified_by
        if shown == "mtls":
            return None
        return lambda repeated: None if repeated.identified_by == shown else CHANGED

    def _refuse(self, exchange: Exchange, rule: str, detail: str) -> Refusal:
        return Refusal(
            401, codes.NOT_AUTHENTICATED, "not authenticated", rule, detail, headers=self._challenge(exchange)
        )
