"""A small HTTP/1.1 client for one server: a pool of connections, each request signed, answers streamed.

General clients spend two milliseconds on a request; this one spends what the protocol needs, because every call of an
MCP client passes through it. It follows no redirects, keeps no cookies and asks for no compression.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import urlsplit

import httptools

from mcpsec import __version__
from mcpsec.connect.messages import is_field_value
from mcpsec.connect.trust import LOOK_SECONDS, closed_after_handshake, explain
from mcpsec.errors import Error
from mcpsec.protocol import ProtocolError, codes
from mcpsec.signing import SignedMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from mcpsec.connect.credentials import Credentials
    from mcpsec.connect.oauth.authorizer import Authorizer

__all__ = ["HttpClient", "HttpFailure", "Response"]

_CHUNK: Final = 64 * 1024
_MOST_HEADER_BYTES: Final = 64 * 1024
_MOST_IDLE: Final = 8
_LINGER_SECONDS: Final = 0.25
_MOST_CHALLENGES: Final = 3
"""How often one request answers a demand for an access token: a kept token, a nonce for its proof, a new token."""

_TOKEN_SCHEMES: Final = re.compile(r"(?i)(?:^|[\s,])(?:bearer|dpop)(?:$|[\s,])")


class HttpFailure(Exception):
    """A request that got no usable answer. ``message`` is in words for people.

    ``delivered`` is False when the server can't have acted on it. ``refused`` is True when the server said no to this
    client's certificate, so that trying again is useless.
    """

    def __init__(self, message: str, *, delivered: bool, refused: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.delivered = delivered
        self.refused = refused


class _Address(NamedTuple):
    host: str
    port: int
    tls: bool


class _Connection:
    """One connection, on which one answer at a time is read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.used = False

    @property
    def usable(self) -> bool:
        return not (self._reader.at_eof() or self._writer.is_closing() or self._reader.exception())

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> bytes:
        return await self._reader.read(_CHUNK)

    def close(self) -> None:
        self._writer.transport.abort()


class Response:
    """The head of an answer, and its body as it comes. Use as an async context manager; leaving it early cancels.

    Leaving before the end closes the connection, which is how MCP 2026-07-28 cancels a request.
    """

    def __init__(self, client: HttpClient, connection: _Connection) -> None:
        self._client = client
        self._connection = connection
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._unread = 0  # bytes since the last of the body, which the parser may keep until a line of them ends
        self._head = False
        self._complete = False
        self._keep_alive = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.answered = False
        """All that is wanted has been read; the rest may end by itself, so that the connection can serve again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.answered and not self._complete:
            self._client.linger(self)
            return
        self.release()

    def release(self) -> None:
        """Give the connection back: to the next request when the answer was read to its end, else closed."""
        self._client.give_back(self._connection, reusable=self._complete and self._keep_alive)

    def on_message_begin(self) -> None:
        """Called by the parser: forget an interim answer, if there was one."""
        self._head = self._complete = False
        self.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header line, and for each trailer, which says nothing here."""
        if self._head:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Called by the parser after the last header line."""
        self._head = True
        self._keep_alive = self._parser.should_keep_alive()  # the parser knows only now

    def on_body(self, body: bytes) -> None:
        """Called by the parser for each piece of the body."""
        self._unread = -1
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser at the body's end."""
        self._complete = True

    async def read_head(self) -> None:
        """Wait for status and headers; an interim answer (1xx) is passed over."""
        while not self._head or self._parser.get_status_code() < 200:
            await self._feed()
        self.status = self._parser.get_status_code()

    async def _feed(self) -> None:
        try:
            data = await self._connection.read()
            if not data:
                raise EOFError("the connection was closed")
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise HttpFailure("the server's answer is not HTTP", delivered=True) from None
        self._unread = 0 if self._unread < 0 else self._unread + len(data)
        if self._unread > _MOST_HEADER_BYTES:
            raise HttpFailure("the server's answer has too many headers", delivered=True)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's pieces as they come.

        Raises:
            HttpFailure: the connection broke before the body's end.
        """
        while True:
            pieces, self._body = self._body, []
            for piece in pieces:
                yield piece
            if self._complete:
                return
            try:
                await self._feed()
            except (OSError, EOFError) as error:
                raise HttpFailure(f"the answer broke off: {_words(error)}", delivered=True) from error

    async def read(self, most: int) -> bytes:
        """The whole body, of at most ``most`` bytes."""
        pieces, size = [], 0
        async for piece in self.chunks():
            size += len(piece)
            if size > most:
                raise HttpFailure(f"the answer is larger than {most} bytes", delivered=True)
            pieces.append(piece)
        return b"".join(pieces)


class HttpClient:
    """Sends requests to one URL. ``connect_timeout`` is in seconds.

    ``authorizer`` makes the one that gets access tokens; it is called when the server asks for a token.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        connect_timeout: float = 10.0,
        authorizer: Callable[[], Authorizer] | None = None,
    ) -> None:
        described = SignedMessage.from_url("POST", url)  # refuses what can't be sent
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        self._address = _Address(parts.hostname or "", parts.port or (443 if tls else 80), tls)
        self._target = described
        self._credentials = credentials
        self._connect_timeout = connect_timeout
        self._url = url
        self._make_authorizer = authorizer
        self._authorizer: Authorizer | None = None
        self._authorized = asyncio.Event()  # set once there is an authorizer
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._lingering: set[asyncio.Task[None]] = set()
        self._common = f"host: {described.authority}\r\nuser-agent: mcpsec/{__version__}\r\n"

    async def request(self, method: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Send a request, signed now, and wait for the head of its answer.

        A server that asks for an access token gets one, which may wait for a person; it has not acted on a request that
        it refused, so that this is the one reason for which any request is sent again.

        Raises:
            HttpFailure: there is none.
            ProtocolError: a header can't hold what it is to say.
        """
        for _ in range(_MOST_CHALLENGES):
            token = await self._token(method)
            response = await self._exchange(method, {**headers, **token}, body)
            if not await self._challenged(response, token):
                return response
        return await self._exchange(method, {**headers, **await self._token(method)}, body)

    @property
    def logging_in(self) -> bool:
        """Whether requests wait for a person who may have to log in."""
        return self._authorizer is not None and self._authorizer.logging_in

    async def login_turn(self) -> None:
        """Until ``logging_in`` may be another; for ever where nobody ever logs in."""
        await (self._authorized if self._authorizer is None else self._authorizer.turn).wait()

    async def _token(self, method: str) -> dict[str, str]:
        if self._authorizer is None:
            return {}
        try:
            return await self._authorizer.headers(method, self._url)
        except Error as error:
            raise _unauthorized(error) from error

    async def _challenged(self, response: Response, token: Mapping[str, str]) -> bool:
        """Whether the server wants an access token and there is a new one now; the answer is used up then."""
        if self._authorizer is None:
            asks = response.status == 401 and _TOKEN_SCHEMES.search(response.headers.get("www-authenticate", ""))
            if not asks or self._make_authorizer is None:
                return False
        try:
            if self._authorizer is None and self._make_authorizer is not None:
                self._authorizer = self._make_authorizer()
                self._authorized.set()
            assert self._authorizer is not None
            self._authorizer.seen(response.status, response.headers)
            if response.status not in {401, 403}:
                return False
            again = await self._authorizer.challenged(response.status, response.headers, token)
        except BaseException as error:
            await response.__aexit__()
            if isinstance(error, Error):
                raise _unauthorized(error) from error
            raise
        if again:
            async with response:
                with contextlib.suppress(HttpFailure):
                    await response.read(_CHUNK)
        return again

    async def _exchange(self, method: str, headers: Mapping[str, str], body: bytes) -> Response:
        for name, value in headers.items():  # some of them are what a server said, which must not write others
            if not is_field_value(value):
                raise ProtocolError(codes.INVALID_REQUEST, f"the header {name} can't hold what it is to say", 400)
        if self._credentials.refresh():
            self._drop_idle()
        connection = self._take_idle() or await self._connect()
        try:
            await connection.write(self._bytes(method, headers, body))
            response = Response(self, connection)
            await response.read_head()
        except (OSError, EOFError) as error:
            self.give_back(connection, reusable=False)
            unclear = self._address.tls and not connection.used and explain(error) is None
            raise (await self._refusal() if unclear else None) or self._failure(error) from error
        except BaseException:
            self.give_back(connection, reusable=False)
            raise
        connection.used = True
        return response

    def _bytes(self, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
        target = self._target
        signer = self._credentials.signer
        if signer is not None:
            pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
            message = SignedMessage(method, target.authority, target.path, target.query, pairs, body)
            headers = {**headers, **signer.sign(message)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = f"content-length: {len(body)}\r\n" if body or method == "POST" else ""
        head = f"{method} {target.target} HTTP/1.1\r\n{self._common}{lines}{length}\r\n"
        return head.encode("latin-1") + body

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            self.give_back(connection, reusable=False)
        return None

    async def _connect(self) -> _Connection:
        host, port, tls = self._address
        try:
            async with asyncio.timeout(self._connect_timeout):
                reader, writer = await asyncio.open_connection(
                    host,
                    port,
                    ssl=self._credentials.ssl_context() if tls else None,
                    server_hostname=host if tls else None,
                )
        except TimeoutError:
            raise HttpFailure(f"{host}:{port} did not answer in time", delivered=False) from None
        except OSError as error:  # ssl.SSLError is one
            raise self._failure(error, connecting=True) from error
        raw = writer.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = _Connection(reader, writer)
        self._open.add(connection)
        return connection

    async def _refusal(self) -> HttpFailure | None:
        """What the server has against the certificate, when a new connection ended before its first answer.

        See ``trust.refusal_of``: on a second connection nothing is sent. None when it takes the certificate.
        """
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                connection = await self._connect()
                if await connection.read():
                    return None
        except TimeoutError:
            return None
        except HttpFailure as failure:
            return failure if failure.refused else None
        except (ConnectionError, ssl.SSLEOFError):
            pass  # as an end without a word
        except OSError as error:
            return self._failure(error) if explain(error) is not None else None
        finally:
            if connection is not None:
                self.give_back(connection, reusable=False)
        closed = closed_after_handshake(self._credentials.certificate)
        return HttpFailure(f"{self._address.host}:{self._address.port} {closed.message}", delivered=True, refused=True)

    def _failure(self, error: Exception, *, connecting: bool = False) -> HttpFailure:
        where = f"{self._address.host}:{self._address.port}"
        known = explain(error)
        if known is not None:
            return HttpFailure(f"{where}: {known.message}; {known.hint}", delivered=False, refused=True)
        if connecting:
            return HttpFailure(f"{where} can't be reached: {_words(error)}", delivered=False)
        return HttpFailure(f"{where} closed the connection before it answered", delivered=True)

    def give_back(self, connection: _Connection, *, reusable: bool) -> None:
        """Keep a connection for the next request, or close it."""
        if reusable and connection.usable and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
            return
        self._open.discard(connection)
        connection.close()

    def linger(self, response: Response) -> None:
        """Let an answer that holds what was wanted come to its end; nobody waits for that."""
        task = asyncio.create_task(_to_its_end(response))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    def _drop_idle(self) -> None:
        """New credentials: what is idle was opened with the old ones."""
        while self._idle:
            self.give_back(self._idle.pop(), reusable=False)

    async def close(self) -> None:
        """Close every connection, answers or not."""
        if self._authorizer is not None:
            await self._authorizer.close()
        for task in [*self._lingering]:
            task.cancel()
        await asyncio.gather(*self._lingering, return_exceptions=True)
        for connection in [*self._open]:
            self.give_back(connection, reusable=False)
        self._idle.clear()


async def _to_its_end(response: Response) -> None:
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            async for _ in response.chunks():
                pass
    except (TimeoutError, HttpFailure):
        pass
    finally:
        response.release()


def _unauthorized(error: Error) -> HttpFailure:
    text = f"the server wants an access token: {error}"
    return HttpFailure(f"{text}; {error.hint}" if error.hint else text, delivered=False, refused=True)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:  # asyncio puts a sentence of its own where the system's should be
        return os.strerror(error.errno).lower() if error.errno > 0 else str(error.strerror).lower()
    return str(error) or type(error).__name__
