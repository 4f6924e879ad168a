"""The scalars that say who may do what: globs, fingerprints, networks, time windows, and an upstream's command line."""

from __future__ import annotations

import re
from datetime import datetime
from ipaddress import ip_network
from math import isfinite
from os.path import normpath
from typing import Any, ClassVar

from mcpsec.clientfiles.toml import KeyPath
from mcpsec.deployment.kinds import Text
from mcpsec.deployment.literals import argument_holds_secret
from mcpsec.deployment.model import ArgumentFilter
from mcpsec.deployment.problems import INVALID, Report, dotted
from mcpsec.deployment.shapes import Key, Kind, ListOf, Scalar, Schema, Table, Wrong, kind_of, text_of
from mcpsec.frozen import dataclass

__all__ = [
    "ArgumentTest",
    "Command",
    "ConfirmationHeader",
    "Fingerprint",
    "Glob",
    "HeaderName",
    "Moment",
    "Network",
    "Window",
]

_DAYS = "daily|Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"


@dataclass(frozen=True, slots=True)
class Glob(Scalar):
    """A pattern with ``*`` for any characters; ``resource`` when it names things of an upstream: ``files/read_*``."""

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
        if self.resource and not re.fullmatch("[^/]+/.+", text):
            raise Wrong("is not a glob over upstream/tool", 'write both halves, as "files/read_*" or "*/get_*"')
        # Tools have no such characters in their names, resources (URIs) may.
        if ":" not in text and re.search(r"[?\[\]{}]", text):
            raise Wrong("is not a glob", "only * is special; ? and [ ] would stand for themselves")
        return text

    def schema(self) -> Schema:
        """Describe its pattern."""
        return {"type": "string", "pattern": "^[^/]+/.+$" if self.resource else "^.+$"}


@dataclass(frozen=True, slots=True)
class ArgumentValue(Scalar):
    """One allowed value of an argument, with ``*`` for any characters; numbers and booleans as their JSON text."""

    label: ClassVar[str] = "value or glob"

    def parse(self, value: Any, base: Any) -> str:
        """Accept text, a whole number or a boolean."""
        if isinstance(value, bool | int):
            return str(value).lower()
        return text_of(value)

    def schema(self) -> Schema:
        """Describe the three types."""
        return {"type": ["string", "integer", "boolean"]}


@dataclass(frozen=True, slots=True)
class Number(Scalar):
    """A finite number."""

    label: ClassVar[str] = "number"

    def parse(self, value: Any, base: Any) -> float:
        """Accept a number, whole or not."""
        # A whole number is finite, however large; isfinite would turn it into a float first.
        if type(value) is not int and not (isinstance(value, float) and isfinite(value)):
            raise Wrong(f"must be a finite number, not {kind_of(value)}")
        return value

    def schema(self) -> Schema:
        """Describe a number."""
        return {"type": "number"}


@dataclass(frozen=True, slots=True)
class Expression(Scalar):
    """A regular expression of RE2, which can't be made to run long; it must match the whole value."""

    label: ClassVar[str] = "regular expression (RE2)"

    def parse(self, value: Any, base: Any) -> str:
        """Accept what RE2 compiles."""
        text = text_of(value)
        import re2

        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(text, options)
        except re2.error:
            raise Wrong(
                "is not a regular expression", "the syntax is RE2's: no back-references, no look-around"
            ) from None
        return text

    def schema(self) -> Schema:
        """Describe text."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class ArgumentTest(Kind):
    """What an argument of a tool may be: a list of values, a range of numbers, or an expression."""

    label: ClassVar[str] = "values, `{ min, max }` or `{ regex }`"

    def read(self, value: object, at: KeyPath, report: Report) -> Any:
        """Accept one of the three forms."""
        if isinstance(value, list):
            return _VALUES.read(value, at, report)
        if not isinstance(value, dict):
            hint = 'write a list, as ["WEB", "API-*"], or { min = 1, max = 500 }, or { regex = "…" }'
            return report.add(at, f"{dotted(at)} must be a list or a table, not {kind_of(value)}", hint)
        if value and not set(value) & {"min", "max", "regex"}:
            hint = f'for an argument inside an object, quote the path: "{at[-1]}.{next(iter(value))}" = […]'
            return report.add(at, f"{dotted(at)} is neither a range nor an expression", hint)
        wanted = _RANGE.read(value, at, report)
        if not report.touched(at):
            self._check(wanted, at, report)
        return wanted

    @staticmethod
    def _check(wanted: ArgumentFilter, at: KeyPath, report: Report) -> None:
        if wanted.regex is not None and (wanted.min is not None or wanted.max is not None):
            report.add(at, f"{dotted(at)} is a range and an expression at once", "write either min and max, or regex")
        if wanted.min is not None and wanted.max is not None and wanted.min > wanted.max:
            report.add(at, f"{dotted(at)} allows nothing: min is above max")

    def schema(self) -> Schema:
        """Describe the three forms."""
        number = {"type": "number"}
        return {
            "oneOf": [
                _VALUES.schema(),
                {**_NO_OTHERS, "properties": {"min": number, "max": number}},
                {**_NO_OTHERS, "properties": {"regex": {"type": "string"}}},
            ]
        }

    def show(self, value: Any) -> Any:
        """Write it in its form."""
        return _RANGE.show(value) if isinstance(value, ArgumentFilter) else _VALUES.show(value)


_VALUES = ListOf(ArgumentValue(), at_least=1)
_NO_OTHERS: Schema = {"type": "object", "minProperties": 1, "additionalProperties": False}
_RANGE = Table(
    ArgumentFilter,
    (
        Key("min", Number(), "The least that it may be."),
        Key("max", Number(), "The most that it may be."),
        Key("regex", Expression(), "What the whole of it must match."),
    ),
    at_least=1,
)


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
        from zoneinfo import ZoneInfo

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
class ConfirmationHeader(HeaderName):
    """The header that a confirmation arrives in: one that means nothing else to anybody on the way."""

    taken: ClassVar[str] = (
        "(accept.*|authorization|baggage|cookie|date|dpop|expect|forwarded|last-event-id|origin|proxy-.*|range|referer"
        "|signature.*|trace.*|user-agent|via|x-forwarded.*|x-key-id|x-nonce|x-real-ip|x-signature|x-timestamp)"
    )

    def parse(self, value: Any, base: Any) -> str:
        """Accept a name that no other part of a request has."""
        name = HeaderName.parse(self, value, base)
        if re.fullmatch(self.taken, name):
            raise Wrong(f"{name} is a header with a meaning of its own", 'take a new name, as "x-confirm-delete"')
        return name


@dataclass(frozen=True, slots=True)
class Moment(Scalar):
    """A moment with its offset: ``2026-12-31T18:00:00+01:00``, as a TOML date-time or as text."""

    label: ClassVar[str] = "date and time with offset"

    def parse(self, value: Any, base: Any) -> datetime:
        """Accept a date and time that says which moment it is."""
        moment = value
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                moment = None
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise Wrong("is not a moment", "write date, time and offset, as 2026-12-31T18:00:00+01:00")
        return moment

    def schema(self) -> Schema:
        """Describe its text form; editors give TOML date-times to a schema as such text."""
        return {"type": "string", "format": "date-time"}

    def show(self, value: Any) -> str:
        """Write it as text, which JSON has a form for."""
        return str(value.isoformat())


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
