"""Sending exported events to a collector: syslog over UDP, TCP, TLS or a local socket; OTLP over HTTP."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult

import orjson

from mcpsec.errors import Error, ExitCode, UsageError
from mcpsec.telemetry.export import otlp, syslog
from mcpsec.urls import split_url

__all__ = [
    "ShippingError",
    "SyslogSender",
    "ship_otlp",
    "ship_syslog",
    "syslog_target",
    "trusting",
    "without_credentials",
]

_TIMEOUT = 10.0
_BATCH = 500
_DATAGRAM = 60_000
_REACH = "is the collector listening there, and may this machine reach it?"
_PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
"""RFC 5426, RFC 6587 and RFC 5425."""


class ShippingError(Error):
    """A collector did not take what was sent."""

    exit_code = ExitCode.NO


class UnreachableError(ShippingError):
    """Nobody answers there, as far as this machine can tell: what became of the events is not known."""

    exit_code = ExitCode.NOT_ASSESSED


class UnusableAuthorityError(ShippingError):
    """The file that is to hold a collector's authority holds none: nothing was sent."""

    exit_code = ExitCode.USAGE


def trusting(ca: str | None) -> ssl.SSLContext:
    """A context that trusts the authorities of the file ``ca``, those of the system for None.

    Raises:
        UnusableAuthorityError: the file can't be read, or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        raise UnusableAuthorityError(
            f"no authority can be read from it: {_words(error)}",
            hint="it has to be a PEM file with the certificate of the CA that the other side's was issued by",
            path=ca,
        ) from None


def _words(error: Exception) -> str:
    """What the system said, without its number."""
    said = str(error)
    return (said.partition("] ")[2] if said.startswith("[") else "") or said


class SyslogSender:
    """One connection to a syslog daemon: ``udp://HOST[:PORT]``, ``tcp://``, ``tls://`` or ``unix:/dev/log``.

    Streams use octet counting (RFC 6587 section 3.4.1, RFC 5425). TLS verifies the daemon's certificate against the
    system's authorities or ``ca``.
    """

    def __init__(self, target: str, *, ca: str | None = None) -> None:
        parts = syslog_target(target)
        self._target = without_credentials(target)
        self._scheme = parts.scheme
        try:
            if parts.scheme == "unix":
                self._socket = _unix(parts.path)
            else:
                self._socket = _inet(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme], ca)
        except (OSError, ValueError) as error:
            raise UnreachableError(f"{self._target} cannot be reached: {_words(error)}", hint=_REACH) from None
        self._stream = self._socket.type == socket.SOCK_STREAM and parts.scheme != "unix"

    def send(self, message: bytes) -> None:
        """Send one message.

        Raises:
            ShippingError: the daemon or the network did not take it.
        """
        try:
            if self._stream:
                self._socket.sendall(b"%d %b" % (len(message), message))
            elif self._socket.type == socket.SOCK_STREAM:
                self._socket.sendall(message + b"\n")
            else:
                self._socket.send(message[:_DATAGRAM])
        except OSError as error:
            raise ShippingError(f"{self._target} does not take messages: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> SyslogSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ship_syslog(events: Iterable[dict[str, Any]], target: str, *, ca: str | None = None) -> int:
    """Send events to a syslog daemon and return how many.

    Raises:
        UsageError: ``target`` is none.
        ShippingError: it can't be reached.
    """
    count = 0
    with SyslogSender(target, ca=ca) as sender:
        for event in events:
            sender.send(syslog(event))
            count += 1
    return count


def ship_otlp(
    events: Iterable[dict[str, Any]], url: str, *, headers: dict[str, str] | None = None, ca: str | None = None
) -> int:
    """Post events to an OTLP/HTTP endpoint (``/v1/logs`` is added to a bare address) and return how many.

    Raises:
        UsageError: ``url`` is none.
        ShippingError: it can't be reached or refuses them.
    """
    parts = checked(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{without_credentials(url)!r} is no OTLP endpoint", hint="such as https://HOST:4318")
    if parts.path in {"", "/"}:
        url = url.rstrip("/") + "/v1/logs"
    verify = trusting(ca)
    count = 0
    import httpx  # the gateway imports this module, and ships nothing

    with httpx.Client(timeout=_TIMEOUT, verify=verify, follow_redirects=False, trust_env=False) as client:
        for batch in _batches(events):
            try:
                answer = client.post(
                    url,
                    content=orjson.dumps(otlp(batch)),
                    headers={"content-type": "application/json", **(headers or {})},
                )
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # a host that IDNA 2008 has no word for
                raise UnreachableError(
                    f"{without_credentials(url)} cannot be reached: {_words(error)}", hint=_REACH
                ) from None
            if not answer.is_success:
                raise ShippingError(
                    f"{without_credentials(url)} answered {answer.status_code}; {count} events were taken before"
                )
            count += len(batch)
    return count


def checked(url: str) -> SplitResult:
    """The parts of a receiver's URL. Raises UsageError, which doesn't repeat the URL: it may be a secret."""
    if (parts := split_url(url)) is None:
        raise UsageError("the receiver's address is no URL", hint="such as https://siem.example.com or tls://HOST:PORT")
    return parts


def syslog_target(target: str) -> SplitResult:
    """The parts of a syslog daemon's address. Raises UsageError."""
    parts = checked(target)
    if parts.path if parts.scheme == "unix" else parts.scheme in _PORTS and parts.hostname:
        return parts
    raise UsageError(
        f"{without_credentials(target)!r} is no syslog target",
        hint="udp://HOST:514, tcp://HOST:601, tls://HOST, unix:/dev/log",
    )


def without_credentials(url: str) -> str:
    """``url`` as it may be shown: no user, no password, no query."""
    parts = checked(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _batches(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(events)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _inet(scheme: str, host: str, port: int, ca: str | None) -> socket.socket:
    if scheme == "udp":
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        datagrams = socket.socket(family, kind, protocol)
        datagrams.connect(address)
        return datagrams
    stream = socket.create_connection((host, port), timeout=_TIMEOUT)
    if scheme == "tcp":
        return stream
    try:
        return trusting(ca).wrap_socket(stream, server_hostname=host)
    except BaseException:
        stream.close()
        raise


def _unix(path: str) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this platform has no Unix sockets")
    last: OSError | None = None
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        local = socket.socket(socket.AF_UNIX, kind)
        try:
            local.settimeout(_TIMEOUT)
            local.connect(path)
        except OSError as error:
            local.close()
            last = error
        else:
            return local
    raise last or OSError("no socket")
