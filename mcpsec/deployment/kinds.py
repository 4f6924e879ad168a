"""The scalars of the deployment file: durations, sizes, rates, addresses, paths, globs, references to secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from os.path import normpath
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from mcpsec.clientfiles.toml import KeyPath
from mcpsec.deployment.literals import argument_holds_secret, looks_secret, url_holds_secret
from mcpsec.deployment.model import Address, Rate
from mcpsec.deployment.problems import Report, dotted
from mcpsec.deployment.shapes import Kind, Scalar, Schema, Wrong, kind_of, suggestion, text_of
from mcpsec.errors import SecretError
from mcpsec.frozen import dataclass
from mcpsec.secretrefs import CommandSource, SecretRef

__all__ = [
    "AddressKind",
    "Choice",
    "Constant",
    "Duration",
    "FilePath",
    "Flag",
    "Origin",
    "RateKind",
    "Secret",
    "Size",
    "Text",
    "Url",
    "Whole",
    "parse_address",
    "parse_rate",
]

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


def _quoted(value: str) -> str:
    """Repeat a short plain value in a message; anything longer might be something that must not be repeated."""
    return f" {value!r}" if re.fullmatch(r"[\w .:/%+*,-]{1,24}", value) else ""


@dataclass(frozen=True, slots=True)
class Text(Scalar):
    """Text that matches ``pattern`` (all of it); ``what`` names it."""

    what: str = "text"
    pattern: str = r"[^\x00-\x1f\x7f]+"
    hint: str | None = None
    secret_hint: str | None = None
    """When given, text in the shape of a secret is refused with this hint."""

    @property
    def label(self) -> str:
        """Its name."""
        return self.what

    def parse(self, value: Any, base: Any) -> str:
        """Accept text that matches."""
        text = text_of(value)
        if self.secret_hint and looks_secret(text):
            raise Wrong("holds a secret, which must not stand in this file", self.secret_hint)
        if not re.fullmatch(self.pattern, text):
            raise Wrong(f"is not {_article(self.what)}{_quoted(text) and f':{_quoted(text)}'}", self.hint)
        return text

    def schema(self) -> Schema:
        """Describe it by its pattern."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class Flag(Scalar):
    """True or false."""

    label: ClassVar[str] = "true or false"

    def parse(self, value: Any, base: Any) -> bool:
        """Accept a boolean."""
        if not isinstance(value, bool):
            raise Wrong(f"must be true or false, not {kind_of(value)}")
        return value

    def schema(self) -> Schema:
        """Describe a boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Whole(Scalar):
    """A whole number within bounds."""

    least: int = 1
    most: int = 1_000_000
    label: ClassVar[str] = "number"

    def parse(self, value: Any, base: Any) -> int:
        """Accept an integer."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise Wrong(f"must be a whole number, not {'text' if isinstance(value, str) else kind_of(value)}")
        if not self.least <= value <= self.most:
            raise Wrong(f"must be between {self.least} and {self.most}")
        return value

    def schema(self) -> Schema:
        """Describe an integer with its bounds."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Constant(Scalar):
    """The one value that there is."""

    value: int
    label: ClassVar[str] = "number"

    def parse(self, value: Any, base: Any) -> int:
        """Accept exactly it."""
        if value != self.value or isinstance(value, bool):
            raise Wrong(f"must be {self.value}", "this mcpsec reads no other version of the file")
        return self.value

    def schema(self) -> Schema:
        """Describe the constant."""
        return {"const": self.value}


@dataclass(frozen=True, slots=True)
class Choice(Scalar):
    """One of a few words."""

    options: tuple[str, ...]

    @property
    def label(self) -> str:
        """The words."""
        return ", ".join(f'"{option}"' for option in self.options)

    def parse(self, value: Any, base: Any) -> str:
        """Accept one of the words."""
        text = value if isinstance(value, str) else None
        if text not in self.options:
            choices = ", ".join(f'"{option}"' for option in self.options)
            raise Wrong(
                f"must be {'one of ' if len(self.options) > 1 else ''}{choices}", text and _meant(text, self.options)
            )
        return text

    def schema(self) -> Schema:
        """Describe the words."""
        return {"enum": list(self.options)}


@dataclass(frozen=True, slots=True)
class Duration(Scalar):
    """``"250ms"``, ``"10s"``, ``"5m"``, ``"1h"``, ``"90d"``, as seconds."""

    least: float = 0.001
    most: float = 86400.0 * 366
    label: ClassVar[str] = "duration"

    def parse(self, value: Any, base: Any) -> float:
        """Accept a number with its unit."""
        match = isinstance(value, str) and re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)", value)
        if not match:
            example = f"{value}s" if isinstance(value, int | float) and not isinstance(value, bool) else "10s"
            raise Wrong("is not a duration", f'write a number and its unit (ms, s, m, h, d), as "{example}"')
        seconds = float(match[1]) * _SECONDS[match[2]]
        if not self.least <= seconds <= self.most:
            raise Wrong(f"must be between {_duration(self.least)} and {_duration(self.most)}")
        return seconds

    def schema(self) -> Schema:
        """Describe its pattern."""
        return {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d)$"}

    def show(self, value: Any) -> str:
        """Write it in the largest unit that divides it."""
        return _duration(value)


def _duration(seconds: float) -> str:
    for unit in ("d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{round(seconds * 1000, 3):.15g}ms"


@dataclass(frozen=True, slots=True)
class Size(Scalar):
    """``"64KiB"``, ``"4MiB"``, or a plain number of bytes."""

    least: int = 1
    most: int = 4 << 30
    label: ClassVar[str] = "size"

    def parse(self, value: Any, base: Any) -> int:
        """Accept bytes with a binary unit, or a number."""
        match = isinstance(value, str) and re.fullmatch(r"([0-9]{1,12})(B|KiB|MiB|GiB)", value)
        if match:
            size = int(match[1]) * _BYTES[match[2]]
        elif isinstance(value, int) and not isinstance(value, bool):
            size = value
        else:
            raise Wrong("is not a size", 'write a whole number and its unit (B, KiB, MiB, GiB), as "4MiB"')
        if not self.least <= size <= self.most:
            raise Wrong(f"must be between {_size(self.least)} and {_size(self.most)}")
        return size

    def schema(self) -> Schema:
        """Describe text or number."""
        return {
            "oneOf": [
                {"type": "string", "pattern": "^[0-9]{1,12}(B|KiB|MiB|GiB)$"},
                {"type": "integer", "minimum": self.least, "maximum": self.most},
            ]
        }

    def show(self, value: Any) -> str:
        """Write it in the largest unit that divides it."""
        return _size(value)


def _size(size: int) -> str:
    unit = next(unit for unit in ("GiB", "MiB", "KiB", "B") if size % _BYTES[unit] == 0 and size >= _BYTES[unit])
    return f"{size // _BYTES[unit]}{unit}"


def parse_rate(text: str, burst: int | None = None) -> Rate:
    """Read ``100/minute``; a period's worth may come at once unless ``burst`` says otherwise. Raises Wrong."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})/(second|minute|hour|day)", text)
    if not match:
        raise Wrong("is not a rate", 'write how many per second, minute, hour or day, as "100/minute"')
    count = int(match[1])
    return Rate(count, _PERIODS[match[2]], burst or count)


@dataclass(frozen=True, slots=True)
class RateKind(Scalar):
    """``"100/minute"`` or ``{ rate = "100/minute", burst = 20 }``; ``"off"`` where there may be no limit."""

    may_be_off: bool = False
    most_burst: ClassVar[int] = 1_000_000_000

    @property
    def absent(self) -> str | None:
        """How no limit is written."""
        return "off" if self.may_be_off else None

    @property
    def label(self) -> str:
        """Its name."""
        return 'rate or "off"' if self.may_be_off else "rate"

    def parse(self, value: Any, base: Any) -> Rate | None:
        """Accept both forms."""
        if value == "off":
            if self.may_be_off:
                return None
            raise Wrong(
                'can\'t be "off" here',
                'only [server.limits] rate_limit can; give this client a high rate, as "1000/second"',
            )
        if isinstance(value, dict):
            if unknown := sorted(set(value) - {"rate", "burst"}):
                raise Wrong(f"has no key{_quoted(unknown[0])}", suggestion(unknown[0], ["rate", "burst"]))
            burst = value.get("burst")
            if burst is not None and (
                isinstance(burst, bool) or not isinstance(burst, int) or not 0 < burst <= self.most_burst
            ):
                raise Wrong("must have a whole number above 0 as its burst")
            return parse_rate(value["rate"] if isinstance(value.get("rate"), str) else "", burst)
        return parse_rate(value if isinstance(value, str) else "")

    def schema(self) -> Schema:
        """Describe both forms."""
        rate = {"type": "string", "pattern": "^[1-9][0-9]{0,8}/(second|minute|hour|day)$"}
        burst = {"type": "integer", "minimum": 1, "maximum": self.most_burst}
        table = {
            "type": "object",
            "properties": {"rate": rate, "burst": burst},
            "required": ["rate"],
            "additionalProperties": False,
        }
        return {"oneOf": [rate, table, *([{"const": "off"}] if self.may_be_off else [])]}

    def show(self, value: Any) -> Any:
        """Write the short form when the burst is the ordinary one."""
        return str(value) if value.burst == value.count else {"rate": str(value), "burst": value.burst}


def parse_address(text: str) -> Address:
    """Read ``127.0.0.1:8443``, ``[::1]:8443`` or ``localhost:8443``. Raises Wrong."""
    match = re.fullmatch(rf"({_HOST}):([0-9]{{1,5}})", text)
    if text.startswith(":") and text[1:].isdigit():
        raise Wrong("lacks its host", f'write "127.0.0.1{text}", or "0.0.0.0{text}" for every interface')
    if not match or int(match[2]) > 65535:
        raise Wrong("is not an address", 'write host and port, as "127.0.0.1:8443" or "[::1]:8443"')
    host = match[1].strip("[]")
    if match[1] != host or re.fullmatch(r"[0-9.]+", host):
        try:
            host = str(ip_address(host))
        except ValueError:
            raise Wrong("is not an address", "the host is no IP address") from None
    return Address(host, int(match[2]))


@dataclass(frozen=True, slots=True)
class AddressKind(Scalar):
    """Host and port to listen on."""

    label: ClassVar[str] = "address"

    def parse(self, value: Any, base: Any) -> Address:
        """Accept host and port."""
        return parse_address(text_of(value))

    def schema(self) -> Schema:
        """Describe its pattern."""
        return {"type": "string", "pattern": rf"^{_HOST}:[0-9]{{1,5}}$"}

    def show(self, value: Any) -> str:
        """Write it with brackets where IPv6 needs them."""
        return str(value)


@dataclass(frozen=True, slots=True)
class FilePath(Scalar):
    """A path, absolute in the model. ``role`` says what must be there before the gateway runs."""

    role: Literal["file", "private file", "directory", "new file", "any"] = "any"

    @property
    def label(self) -> str:
        """Its name."""
        return "directory" if self.role == "directory" else "path"

    def parse(self, value: Any, base: Any) -> Path:
        """Accept a path; a relative one starts at the deployment file."""
        text = text_of(value)
        if not text or "\0" in text or not text.isprintable():
            raise Wrong("is not a path")
        if text.startswith("~"):
            raise Wrong(
                "starts with ~, which nothing expands here", "write the whole path, or one relative to this file"
            )
        return Path(normpath(base / text))

    def schema(self) -> Schema:
        """Describe non-empty text."""
        return {"type": "string", "minLength": 1, "pattern": "^[^~]"}

    def show(self, value: Any) -> str:
        """Write the absolute path."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Url(Scalar):
    """An absolute URL without credentials in it."""

    schemes: tuple[str, ...] = ("https", "http")

    @property
    def label(self) -> str:
        """Its name."""
        return "URL"

    def parse(self, value: Any, base: Any) -> str:
        """Accept a URL of one of the schemes."""
        text = text_of(value)
        if url_holds_secret(text):
            raise Wrong(
                "has credentials in it, which must not stand in this file",
                'send them in a header: headers = { authorization = { env = "NAME", prefix = "Bearer " } }',
            )
        try:
            parts = urlsplit(text)
            good = parts.scheme in self.schemes and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good or parts.fragment or re.search(r"[\s\x00-\x1f\x7f\\]", text):
            raise Wrong(
                f"must be an absolute URL that starts with {' or '.join(f'{scheme}://' for scheme in self.schemes)}"
            )
        return text

    def schema(self) -> Schema:
        """Describe it by its scheme; no user name before the host."""
        return {"type": "string", "format": "uri", "pattern": rf"^({'|'.join(self.schemes)})://[^/@\s]+(/.*)?$"}


@dataclass(frozen=True, slots=True)
class Origin(Scalar):
    """A web origin (RFC 6454): scheme, host, port, nothing else."""

    label: ClassVar[str] = "origin"
    pattern: ClassVar[str] = rf"https?://{_HOST}(?::[0-9]{{1,5}})?"

    def parse(self, value: Any, base: Any) -> str:
        """Accept an exact origin, as browsers send it: lower case."""
        text = text_of(value)
        if text == "*":
            raise Wrong("can't allow every origin", "name each one: any web page could reach the gateway otherwise")
        if not re.fullmatch(self.pattern, text):
            raise Wrong("is not an origin", 'write scheme, host and port without a path, as "https://app.example.com"')
        return text.lower()

    def schema(self) -> Schema:
        """Describe its pattern."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, slots=True)
class Secret(Kind):
    """A reference to a secret, never the secret.

    ``text_allowed`` where plain text that is no secret may stand too; ``is_secret`` then tells by the key's name when
    text is one.
    """

    text_allowed: bool = False
    is_secret: Callable[[str], bool] = bool

    @property
    def label(self) -> str:
        """Its name."""
        return "text or secret reference" if self.text_allowed else "secret reference"

    def read(self, value: object, at: KeyPath, report: Report) -> Any:
        """Accept a reference; refuse a literal without repeating it."""
        name = dotted(at)
        if isinstance(value, str) and not self.text_allowed:
            return report.add(at, f"{name} holds a secret itself; only a reference may stand here", _REFERENCE)
        if isinstance(value, str):
            return self._plain(value, at, report)
        try:
            reference = SecretRef.parse(value, report.base)
        except SecretError as error:
            return report.add(at, f"{name}: {error.message}", error.hint)
        if looks_secret(reference.prefix):
            return report.add(
                at, f"{name}: the prefix holds a secret itself", 'write only what stands before it, as "Bearer "'
            )
        arguments = list(reference.source.arguments) if isinstance(reference.source, CommandSource) else []
        if any(argument_holds_secret(arguments, index) for index in range(len(arguments))):
            return report.add(
                at, f"{name}: the command holds a secret itself", "let the program find its own credential"
            )
        return reference

    def _plain(self, value: str, at: KeyPath, report: Report) -> Any:
        if looks_secret(value) or (value and self.is_secret(str(at[-1]))):
            return report.add(at, f"{dotted(at)} holds a secret itself; only a reference may stand here", _REFERENCE)
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
            return report.add(at, f"{dotted(at)} holds a line break or another control character")
        return value

    def schema(self) -> Schema:
        """Point at the one definition of a reference."""
        reference: Schema = {"$ref": "#/$defs/secret"}
        return {"oneOf": [{"type": "string"}, reference]} if self.text_allowed else reference

    def show(self, value: Any) -> Any:
        """Write the reference, or the text that is no secret."""
        return value.written() if isinstance(value, SecretRef) else value


_REFERENCE = 'move it into a file that only you can read and write { file = "secrets/NAME" }, or { env = "NAME" }'


def _article(what: str) -> str:
    return what if what == "text" else f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _meant(text: str, options: tuple[str, ...]) -> str | None:
    hint = suggestion(text, list(options))
    return hint if hint.startswith("did") else None
