"""What every kind of upstream offers to the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mcpsec.gateway.message import Answer, Refusal
from mcpsec.gateway.upstreams.http_client import TooLargeFault
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from mcpsec.deployment.model import Client
    from mcpsec.gateway.catalogue import Catalogue
    from mcpsec.gateway.message import Exchange, StreamAnswer
    from mcpsec.gateway.sessions import Session
    from mcpsec.gateway.upstreams.http_client import UpstreamFault

__all__ = ["TOO_LARGE", "RpcError", "Upstream", "UpstreamStartError", "broken_off", "unavailable", "upstream_timeout"]

TOO_LARGE = "answer-too-large"
"""The rule for an answer, or a message of a stream, of more than ``response_bytes``."""


class UpstreamStartError(Exception):
    """An upstream that can't be used from the beginning; the text is for the operator, not for clients."""

    def __init__(self, upstream: str, fault: str, *, hint: str = "start it by hand to see what it says") -> None:
        super().__init__(fault)
        self.upstream = upstream
        self.hint = hint


class RpcError(Exception):
    """An upstream answered one of the gateway's own requests with a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    @classmethod
    def read(cls, error: dict[str, Any]) -> RpcError:
        """From the error object of an answer; an upstream may have put anything into it."""
        code = error.get("code")
        number = code if type(code) is int else codes.INTERNAL_ERROR
        return cls(number, str(error.get("message", "")), error.get("data"))


class Upstream(Protocol):
    """Something that answers MCP messages.

    ``call`` takes an authorised exchange to it. ``ask`` is a request of the gateway's own on behalf of a client (to
    list tools, to serve an aggregate), in whichever era the upstream speaks; ``session`` makes it part of a session.
    """

    name: str
    catalogue: Catalogue

    async def start(self) -> None:
        """Get ready. Raises UpstreamStartError when it can't work at all."""

    async def call(self, exchange: Exchange) -> Answer | StreamAnswer | Refusal:
        """Answer one authorised message."""

    async def ask(
        self, client: Client, method: str, params: dict[str, Any], session: Session | None = None
    ) -> dict[str, Any]:
        """The result of one request of the gateway's own. Raises RpcError or UpstreamFault."""

    async def close(self) -> None:
        """Stop everything that belongs to this upstream."""


def unavailable(rule: str, detail: str) -> Refusal:
    """The answer when an upstream can't be reached or broke off."""
    return Refusal(503, codes.UPSTREAM_UNAVAILABLE, "the server behind the gateway is not available", rule, detail)


def broken_off(rule: str, fault: UpstreamFault) -> Refusal:
    """The same for what became of a call; an upstream that answered, if too much, is not away."""
    if isinstance(fault, TooLargeFault):
        return Refusal(503, codes.ANSWER_UNUSABLE, "the answer can't be passed on", TOO_LARGE, fault.reason)
    return unavailable(rule, fault.reason)


def upstream_timeout(detail: str = "") -> Refusal:
    """The answer when an upstream takes too long."""
    return Refusal(
        504, codes.UPSTREAM_TIMEOUT, "the server behind the gateway did not answer in time", "timeout", detail
    )
