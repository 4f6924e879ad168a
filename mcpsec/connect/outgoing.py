"""A request of an HTTP client library, seen as the message that a signature covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mcpsec.signing import SignedMessage

if TYPE_CHECKING:
    from mcpsec.connect.credentials import Credentials

__all__ = ["message_of", "sign_request"]


class OutgoingRequest(Protocol):
    """What ``httpx.Request`` and ``httpx2.Request`` share."""

    method: str
    headers: Any
    url: Any
    extensions: Any

    @property
    def content(self) -> bytes: ...


def message_of(request: OutgoingRequest) -> SignedMessage:
    """Describe a request as it will stand on the wire. Its body must have been read."""
    target = request.extensions.get("target", request.url.raw_path)
    path, _, query = target.decode("ascii").partition("?")
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    authority = next((value for name, value in headers if name == b"host"), request.url.netloc)
    return SignedMessage(request.method, authority.decode("ascii").lower(), path, query, headers, request.content)


def sign_request(credentials: Credentials, request: OutgoingRequest) -> None:
    """Add the signature's header fields, in place of any that an earlier attempt left."""
    credentials.refresh()
    if credentials.signer is None:
        return
    request.headers.update(credentials.signer.sign(message_of(request)))
