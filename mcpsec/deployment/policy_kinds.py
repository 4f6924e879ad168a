"""The scalars that say who may do what: globs, fingerprints, networks, time windows, and an upstream's command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from os.path import normpath
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from mcpsec.clientfiles.toml import KeyPath
from mcpsec.deployment.kinds import Text
from mcpsec.deployment.literals import argument_holds_secret
from mcpsec.deployment.problems import INVALID, Report, dotted
from mcpsec.deployment.shapes import Kind, Scalar, Schema, Wrong, kind_of, text_of

__all__ = ["Command", "Fingerprint", "Glob", "HeaderName", "Network", "Window"]

_DAYS = "daily|Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"


@dataclass(frozen=True, slots=True)
class Glob(Scalar):
    """A pattern with ``*``, ``?`` and ``[…]``; ``resource`` when it names things of an upstream: ``files/read_*``."""

    resource: bool = False

    @property
    def label(self) -> str:
        """Its name."""
        return "glob over `upstream/tool`" if self.resource else "glob"

    def parse(self, value: Any, base: Any) -> str:
        """Accept a pattern that can match something."""
        text = text_of(value)
        if not text or text != text.strip() or not text.isprintable():
            raise Wrong("is not a glob", "it is empty, or has spaces around it")
        if "[" in re.sub(r"\[!?\]?[^\]]*\]", "", text):
            raise Wrong("is not a glob", "a [ lacks its ]; write [[] for the character itself")
        if self.resource and not re.fullmatch("[^/]+/.+", text):
            raise Wrong("is not a glob over upstream/tool", 'write both halves, as "files/read_*" or "*/get_*"')
        return text

    def schema(self) -> Schema:
        """Describe its pattern."""
        return {"type": "string", "pattern": "^[^/]+/.+$" if self.resource else "^.+$"}


@dataclass(frozen=True, slots=True)
class Fingerprint(Scalar):
    """SHA-256 of a certificate in DER form, as 64 hexadecimal digits; colons and capitals are accepted."""

    label: ClassVar[str] = "SHA-256 fingerprint"

    def parse(self, value: Any, base: Any) -> str:
        """Accept what ``openssl x509 -fingerprint -sha256`` prints, and plain digits."""
        text = text_of(value).replace(":", "").lower()
        if not re.fullmatch(r"[0-9a-f]{64}", text):
            raise Wrong(
                "is not a SHA-256 fingerprint",
                "64 hexadecimal digits: openssl x509 -noout -fingerprint -sha256 -in FILE",
            )
        return text

    def schema(self) -> Schema:
        """Describe its pattern."""
        return {"type": "string", "pattern": "^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"}


@dataclass(frozen=True, slots=True)
class Network(Scalar):
    """A CIDR block."""

    label: ClassVar[str] = "network"

    def parse(self, value: Any, base: Any) -> str:
        """Accept a block whose host bits are zero."""
        text = text_of(value)
        try:
            return str(ip_network(text))
        except ValueError:
            raise Wrong("is not a network", 'write a CIDR block, as "10.1.0.0/16" or "2001:db8::/32"') from None

    def schema(self) -> Schema:
        """Describe its characters."""
        return {"type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"}


@dataclass(frozen=True, slots=True)
class Window(Scalar):
    """A recurring time window: ``Sun 02:00-04:00 Europe/Berlin``; ``daily`` for every day."""

    label: ClassVar[str] = "time window"
    pattern: ClassVar[str] = rf"({_DAYS}) ({_TIME})-({_TIME}) ([A-Za-z][A-Za-z0-9_+/-]*)"

    def parse(self, value: Any, base: Any) -> str:
        """Accept day, local times and a time zone of the IANA database."""
        match = isinstance(value, str) and re.fullmatch(self.pattern, value)
        if not match:
            raise Wrong(
                "is not a time window",
                'write day, times and zone, as "Sun 02:00-04:00 Europe/Berlin" or "daily 22:00-06:00 UTC"',
            )
        if match[2] == match[3]:
            raise Wrong("is an empty time window", "it starts and ends at the same time")
        try:
            ZoneInfo(match[4])
        except (ValueError, OSError, LookupError):
            raise Wrong("names an unknown time zone", 'use a name of the IANA database, as "Europe/Berlin"') from None
        return match[0]

    def schema(self) -> Schema:
        """Describe its pattern."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, slots=True)
class HeaderName(Scalar):
    """A header that the gateway may be told to send (RFC 9110 token), lower case in the model."""

    label: ClassVar[str] = "header name"
    reserved: ClassVar[str] = "(connection|content-.*|host|keep-alive|mcp-.*|te|trailer|transfer-encoding|upgrade)"

    def parse(self, value: Any, base: Any) -> str:
        """Accept a token that is not one of the transport's own headers."""
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", value):
            raise Wrong("is not a header name")
        if re.fullmatch(self.reserved, value.lower()):
            raise Wrong(f"{value} is a header that the gateway sets itself")
        return value.lower()

    def schema(self) -> Schema:
        """Describe its pattern."""
        return {"type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"}


@dataclass(frozen=True, slots=True)
class Command(Kind):
    """A program and its arguments; a program with a slash in its name is relative to the deployment file."""

    label: ClassVar[str] = "program and arguments"

    def read(self, value: object, at: KeyPath, report: Report) -> Any:
        """Accept a list of text without secrets in it."""
        if not isinstance(value, list):
            hint = 'write a list, as ["mcp-server-filesystem", "/data"]; there is no shell'
            return report.add(at, f"{dotted(at)} must be a list, not {kind_of(value)}", hint)
        words = [_ARGUMENT.read(word, (*at, index), report) for index, word in enumerate(value)]
        if INVALID in words:
            return INVALID
        if not words or not words[0]:
            return report.add(at, f"{dotted(at)} lacks its program")
        for index in range(len(words)):
            if argument_holds_secret(words, index):
                return report.add(
                    (*at, index),
                    f"{dotted(at)}[{index}] holds a secret, which must not stand in this file",
                    'give it to the program in a variable: environment = { NAME = { file = "secrets/name" } }',
                )
        program = words[0] if "/" not in words[0] else normpath(report.base / words[0])
        return (program, *words[1:])

    def schema(self) -> Schema:
        """Describe a list of text."""
        first = {"type": "string", "minLength": 1}
        return {"type": "array", "minItems": 1, "prefixItems": [first], "items": {"type": "string"}}

    def show(self, value: Any) -> list[str]:
        """Write the words."""
        return list(value)


_ARGUMENT = Text("argument", r"[^\x00]*")
