"""The browser's part of an authorization code grant: a loopback redirect (RFC 8252) that takes one answer."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import html
import sys
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from mcpsec.errors import NotAssessedError, RefusedError, UsageError
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["AuthorizationResponse", "Redirect", "open_browser"]

PATH: Final = "/callback"
_MOST_LINE: Final = 16 * 1024
_MOST_HEADERS: Final = 100
_MOST_WORDS: Final = 200
_PATIENCE: Final = 10.0


class AuthorizationResponse(NamedTuple):
    """The parameters of an authorization response, each of which stood once."""

    parameters: dict[str, str]

    def code(self, *, issuer: str, issuer_promised: bool) -> str:
        """The authorization code.

        Raises:
            RefusedError: the person or the server said no, or another server answered (RFC 9207 section 2.4).
        """
        said = self.parameters.get("iss")
        if (said is None and issuer_promised) or (said is not None and said != issuer):
            raise RefusedError(f"the answer in the browser does not come from {issuer}")
        if "error" in self.parameters:
            text = self.parameters.get("error_description") or self.parameters["error"]
            raise RefusedError(f"the authorization server refused: {plain(text[:_MOST_WORDS])}")
        if not self.parameters.get("code"):
            raise RefusedError("the answer in the browser holds no code")
        return self.parameters["code"]


class Redirect:
    """A listener on 127.0.0.1 for the one answer that carries ``state``; any other request changes nothing.

    Use as an async context manager. ``port`` None takes a free one.
    """

    def __init__(self, state: str, port: int | None = None) -> None:
        self._state = state
        self._wanted = port
        self._server: asyncio.Server | None = None
        self._answer: asyncio.Future[AuthorizationResponse] | None = None

    async def __aenter__(self) -> Redirect:
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._wanted or 0, limit=_MOST_LINE)
        except OSError as error:
            raise UsageError(
                f"the redirect's port {self._wanted} can't be used: {error.strerror}",
                hint="choose another --oauth-port",
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        if self._answer is not None:
            self._answer.cancel()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def uri(self) -> str:
        """The redirect URI: the loopback address itself, never a name (RFC 8252 section 8.3)."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    async def answer(self, timeout: float) -> AuthorizationResponse:
        """Wait for the answer, at most ``timeout`` seconds.

        Raises:
            NotAssessedError: none came.
        """
        assert self._answer is not None
        try:
            async with asyncio.timeout(timeout):
                return await self._answer
        except TimeoutError:
            raise NotAssessedError("nobody logged in in the browser in time") from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                status, text = self._judge(await _request(reader))
                writer.write(_page(status, text))
                await writer.drain()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    def _judge(self, request: tuple[str, str, str]) -> tuple[str, str]:
        method, target, host = request
        parts = urlsplit(target)
        if method != "GET" or parts.path != PATH or host not in {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}:
            return "404 Not Found", "There is nothing here."
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=50)
        parameters = dict(pairs)
        mine = hmac.compare_digest(parameters.get("state", "").encode(), self._state.encode())
        if not mine or len(parameters) != len(pairs):
            return "400 Bad Request", "This answer belongs to no login that is waiting here."
        assert self._answer is not None
        if self._answer.done():
            return "400 Bad Request", "This login has been answered already."
        self._answer.set_result(AuthorizationResponse(parameters))
        if "error" in parameters:
            return "200 OK", "The login was refused. You can close this window."
        return "200 OK", "mcpsec has the answer. You can close this window."


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, str]:
    """Method, target and host of a request; ValueError when it is none."""
    method, target, version = (await reader.readuntil(b"\n")).decode("ascii").split()
    if not version.startswith("HTTP/1."):
        raise ValueError("not HTTP")
    host = ""
    for _ in range(_MOST_HEADERS):
        line = (await reader.readuntil(b"\n")).decode("latin-1").strip()
        if not line:
            return method, target, host
        name, _, value = line.partition(":")
        if name.lower() == "host":
            host = value.strip()
    raise ValueError("too many headers")


def _page(status: str, text: str) -> bytes:
    body = f"<!doctype html><meta charset=utf-8><title>mcpsec</title><p>{html.escape(text)}</p>".encode()
    lines = [
        f"HTTP/1.1 {status}",
        "content-type: text/html; charset=utf-8",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'; frame-ancestors 'none'",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def open_browser(url: str) -> None:
    """Open a page in the person's browser, through a process of its own that can't write into the MCP stream.

    That no browser could be opened is no error: the address has been said in words too.
    """
    null = asyncio.subprocess.DEVNULL
    with contextlib.suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "webbrowser", url, stdin=null, stdout=null, stderr=null
        )
        try:
            await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
