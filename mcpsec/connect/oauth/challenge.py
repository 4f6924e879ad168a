"""``WWW-Authenticate`` (RFC 9110 section 11.6.1): what a server that refuses a request wants to see."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["Challenge", "challenges", "token_challenge"]

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 # a grammar, no secret
_SCHEME: Final = re.compile(rf"[\s,]*({_TOKEN})(?=\s|,|$)\s*")
_PARAMETER: Final = re.compile(rf'[\s,]*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))(?=[\s,]|$)')
_TOKEN68: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$))")


class Challenge(NamedTuple):
    """One challenge: the scheme in lower case, and its parameters by lower-case name."""

    scheme: str
    parameters: dict[str, str]


def challenges(field: str) -> list[Challenge]:
    """Every challenge of a field; what does not follow the grammar ends the list."""
    found: list[Challenge] = []
    at = 0
    while (scheme := _SCHEME.match(field, at)) is not None:
        at = scheme.end()
        parameters: dict[str, str] = {}
        while (pair := _PARAMETER.match(field, at)) is not None:
            quoted = pair[2]
            parameters[pair[1].lower()] = pair[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            at = pair.end()
        if not parameters and (blob := _TOKEN68.match(field, at)) is not None and field[scheme.end() - 1].isspace():
            at = blob.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def token_challenge(field: str) -> dict[str, str] | None:
    """The parameters with which a server asks for an access token (``Bearer`` or ``DPoP``); None when it does not.

    When it offers both, the parameters of both count; the first one wins.
    """
    wanted = [challenge for challenge in challenges(field) if challenge.scheme in {"bearer", "dpop"}]
    if not wanted:
        return None
    merged: dict[str, str] = {}
    for challenge in wanted:
        merged = {**challenge.parameters, **merged}
    return merged
