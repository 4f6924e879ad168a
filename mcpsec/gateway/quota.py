"""Quota headers: what is left of a limit, told with every answer that it counted.

``RateLimit-Policy`` and ``RateLimit`` are those of draft-ietf-httpapi-ratelimit-headers (structured fields): ``q`` is
the size of the bucket and ``w`` the seconds in which an empty one fills, ``r`` is what is left and ``t`` the seconds
until it is full again. ``Retry-After`` (RFC 9110 section 10.2.3) goes with a 429 alone.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Refusal, spent
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Rate
    from mcpsec.gateway.limits import Taken
    from mcpsec.gateway.message import Exchange, Headers

__all__ = ["judge", "quota_headers", "quota_lines", "spending"]

_MESSAGES = {
    "client-rate": "rate limit exceeded",
    "tool-rate": "rate limit of this tool exceeded",
    "address-rate": "rate limit exceeded",
}
_LEFT = {rule: f'"{rule.partition("-")[0]}";r=%d;t=%d'.encode() for rule in _MESSAGES}


def _policy(rule: str, rate: Rate) -> bytes:
    window = max(1, math.ceil(rate.burst * rate.seconds / rate.count))
    return f'"{rule.partition("-")[0]}";q={rate.burst};w={window}'.encode()


def judge(exchange: Exchange, rule: str, rate: Rate, taken: Taken) -> Refusal | None:
    """Note what is left for the answer's headers; the refusal when there was nothing.

    ``rule`` is ``client-rate``, ``tool-rate`` or ``address-rate``; its first word names the policy.
    """
    return _judgement(rule, rate)(exchange, taken)


@lru_cache(maxsize=4096)
def _judgement(rule: str, rate: Rate) -> Callable[[Exchange, Taken], Refusal | None]:
    """``judge`` of one rule and rate."""
    policy, left = _policy(rule, rate), _LEFT[rule]

    def judge_it(exchange: Exchange, taken: Taken) -> Refusal | None:
        wait, remaining, reset = taken
        exchange.quotas = (*exchange.quotas, (policy, left % (remaining, reset + 1)))
        return None if wait == 0.0 else _refusal(rule, wait)

    return judge_it


def spending(
    rule: str, rate: Rate, take: Callable[[], tuple[float, int, float]]
) -> Callable[[Exchange], Refusal | None]:
    """``judge`` of what ``take`` says, for whoever spends often."""
    policy, left = _policy(rule, rate), _LEFT[rule]

    def spend(exchange: Exchange) -> Refusal | None:
        wait, remaining, reset = take()
        exchange.quotas = (*exchange.quotas, (policy, left % (remaining, reset + 1)))
        return None if wait == 0.0 else _refusal(rule, wait)

    return spend


def _refusal(rule: str, wait: float) -> Refusal:
    seconds = max(1, math.ceil(wait))
    return spent(codes.RATE_LIMITED, _MESSAGES[rule], rule, seconds)


def quota_lines(quotas: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """``quota_headers`` as they are written."""
    if len(quotas) == 1:
        return b"ratelimit-policy: %b\r\nratelimit: %b\r\n" % quotas[0]
    return b"".join(map(b"%b: %b\r\n".__mod__, quota_headers(quotas)))


def quota_headers(quotas: tuple[tuple[bytes, bytes], ...]) -> Headers:
    """The two header lines for what was counted."""
    return [
        (b"ratelimit-policy", b", ".join(policy for policy, _ in quotas)),
        (b"ratelimit", b", ".join(left for _, left in quotas)),
    ]
