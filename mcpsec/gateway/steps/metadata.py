"""Protected-resource metadata (RFC 9728): where a caller without a token learns who issues them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from mcpsec.gateway.message import Exchange, json_answer
from mcpsec.gateway.oauth.challenges import WELL_KNOWN
from mcpsec.gateway.steps.bearer import endpoint_name

if TYPE_CHECKING:
    from mcpsec.gateway.message import Answer
    from mcpsec.gateway.oauth.challenges import Resource

__all__ = ["ResourceMetadata"]

_PREFIX = WELL_KNOWN.encode()


class ResourceMetadata:
    """Answers the metadata's paths before anybody is identified.

    Every well-formed name has a document, so nobody learns from here which upstreams there are.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def __call__(self, exchange: Exchange) -> Answer | None:
        """Answer, or let everything else pass."""
        request = exchange.request
        if request.method != b"GET" or not request.path.startswith(_PREFIX):
            return None
        path = request.path.removeprefix(_PREFIX)
        name = endpoint_name(path)
        if path != b"/mcp" and name is None:
            return None
        exchange.rule = "resource-metadata"
        return json_answer(200, orjson.dumps(self._resource.metadata(name)), [(b"cache-control", b"max-age=3600")])
