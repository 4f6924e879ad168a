"""Signing for clients that use ``httpx2``, as the MCP SDK does. It is the same flow for another library's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from mcpsec.connect.outgoing import sign_request

if TYPE_CHECKING:
    from collections.abc import Generator

    from mcpsec.connect.credentials import Credentials

__all__ = ["Httpx2Auth"]


class Httpx2Auth(httpx2.Auth):
    """Signs each request, redirects included, and looks for a renewed certificate before it."""

    requires_request_body = True

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Add the signature's header fields to the request."""
        sign_request(self._credentials, request)
        yield request
