"""How long a call may take: the upstream's ``timeout``, or what ``[upstreams.NAME.timeouts]`` says about its tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpsec.gateway.policy.globs import Glob

if TYPE_CHECKING:
    from mcpsec.deployment.model import Upstream
    from mcpsec.gateway.message import Exchange

__all__ = ["Timeouts"]


class Timeouts:
    """Seconds for each tool of one upstream; of several globs that fit, the closest counts."""

    def __init__(self, config: Upstream) -> None:
        self._default = config.timeout
        globs = [(Glob(pattern), seconds) for pattern, seconds in config.timeouts.items()]
        self._globs = sorted(globs, key=lambda each: (each[0].exact, each[0].weight), reverse=True)

    def of(self, exchange: Exchange) -> float:
        """For a client's request."""
        message = exchange.message
        if not self._globs or message is None:
            return self._default
        return self.of_call(message.method, message.params)

    def of_call(self, method: str, params: dict[str, Any]) -> float:
        """For one message."""
        if method == "tools/call":
            name = str(params.get("name"))
            for glob, seconds in self._globs:
                if glob.matches(name):
                    return seconds
        return self._default
