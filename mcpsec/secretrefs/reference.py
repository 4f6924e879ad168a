"""One reference: a source, and how its bytes become the secret."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from mcpsec.errors import SecretError
from mcpsec.frozen import dataclass
from mcpsec.secretrefs.aws import AwsSource
from mcpsec.secretrefs.sops import SopsSource
from mcpsec.secretrefs.sources import CommandSource, EnvSource, FileSource, Source
from mcpsec.secretrefs.system_keyring import KeyringSource
from mcpsec.secretrefs.vault import VaultSource

__all__ = ["ENCODINGS", "SOURCES", "Encoding", "SecretRef", "reference_schema"]

Encoding = Literal["text", "base64url", "hex"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)

_KINDS: tuple[type[Source], ...] = (
    EnvSource, FileSource, CommandSource, VaultSource, AwsSource, KeyringSource, SopsSource,
)  # fmt: skip
SOURCES: dict[str, type[Source]] = {source.kind: source for source in _KINDS}
"""Every kind by its key."""

_PREFIX = re.compile(r"[!-~ ]{0,32}")
_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*={0,2}")
_EXAMPLE = 'write a reference: { env = "NAME" }, { file = "secrets/name" } or { command = ["program", "argument"] }'


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is kept, what is written in front of it (``Bearer ``), and how its text encodes its bytes.

    A reference holds no secret, so it may be compared, stored and printed; only ``resolve`` and ``resolve_text``
    return one, and nothing here keeps it.
    """

    source: Source
    prefix: str = ""
    encoding: Encoding = "text"

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Read a reference as configuration files write it; relative paths start at ``base``.

        Raises SecretError; its message never repeats a value, which might be a secret in the wrong place.
        """
        if not isinstance(value, Mapping):
            raise SecretError("a secret must be a reference to where it is kept", hint=_EXAMPLE)
        _refuse_unknown(value)
        kinds = [kind for kind in SOURCES if kind in value]
        if len(kinds) != 1:
            raise SecretError(f"a secret reference names exactly one of {', '.join(SOURCES)}", hint=_EXAMPLE)
        prefix, encoding = value.get("prefix", ""), value.get("encoding", "text")
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise SecretError(
                "prefix must be at most 32 printable ASCII characters", hint='it stands before the secret, as "Bearer "'
            )
        if encoding not in ENCODINGS:
            raise SecretError(f"encoding must be one of {', '.join(ENCODINGS)}")
        if prefix and encoding != "text":
            raise SecretError(f"prefix makes sense for text only, not for encoding = {encoding!r}")
        return cls(SOURCES[kinds[0]].parse(value[kinds[0]], base), prefix, cast("Encoding", encoding))

    @property
    def kind(self) -> str:
        """The key that names the source: env, file, command."""
        return self.source.kind

    def describe(self) -> str:
        """Say where the secret is kept; safe to show to anybody."""
        return self.source.describe()

    def written(self) -> dict[str, Any]:
        """Return the reference as a file would write it, paths absolute, safe to show to anybody."""
        table: dict[str, Any] = {self.kind: self.source.written()}
        if self.prefix:
            table["prefix"] = self.prefix
        if self.encoding != "text":
            table["encoding"] = self.encoding
        return table

    def check(self) -> None:
        """Raise SecretError when the place is missing or kept unsafely, without reading the secret."""
        self.source.check()

    def resolve(self) -> bytes:
        """Fetch the secret: prefix, then the decoded bytes; one line end at the end is not part of it.

        Raises SecretError when the source fails, when it is empty, or when it is not in the stated encoding.
        """
        raw = self.source.read().removesuffix(b"\n").removesuffix(b"\r")
        if not raw:
            raise SecretError(f"the secret in {self.describe()} is empty")
        return self.prefix.encode("ascii") + self._decode(raw)

    def resolve_text(self) -> str:
        """Fetch the secret as text for a header or an environment variable.

        Raises SecretError also when it is not UTF-8 or holds control characters (which would end a header early).
        """
        try:
            text = self.resolve().decode("utf-8")
        except UnicodeDecodeError:
            raise SecretError(f"the secret in {self.describe()} is not text") from None
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
            raise SecretError(f"the secret in {self.describe()} holds a line break or another control character")
        return text

    def _decode(self, raw: bytes) -> bytes:
        decoded: bytes | None = None
        try:
            if self.encoding == "text":
                decoded = raw
            elif self.encoding == "hex":
                decoded = binascii.unhexlify(raw)
            elif _BASE64URL.fullmatch(raw):
                bare = raw.rstrip(b"=")
                decoded = base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_", validate=True)
        except ValueError:
            pass  # said below, outside this handler, so that no chained exception holds a piece of the secret
        if not decoded:
            raise SecretError(f"the secret in {self.describe()} is not {self.encoding}")
        return decoded

    def __repr__(self) -> str:
        return f"<SecretRef {self.describe()}>"


def _refuse_unknown(table: Mapping[str, object]) -> None:
    known = [*SOURCES, "prefix", "encoding"]
    for key in table:
        if key not in known:
            from difflib import get_close_matches

            close = get_close_matches(key, known, 1)
            raise SecretError(
                "a secret reference has an unknown key" if len(key) > 32 else f"a secret reference has no key {key!r}",
                hint=f"did you mean {close[0]!r}?" if close else _EXAMPLE,
            )


def reference_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a reference."""
    return {
        "type": "object",
        "description": "A reference to a secret. The secret itself never stands in the file.",
        "properties": {
            **{kind: {"description": source.doc, **source.schema} for kind, source in SOURCES.items()},
            "prefix": {
                "description": 'Text in front of the secret, as "Bearer ".',
                "type": "string",
                "maxLength": 32,
                "pattern": "^[!-~ ]*$",
            },
            "encoding": {
                "description": "How the text that is kept there encodes the secret's bytes.",
                "enum": list(ENCODINGS),
                "default": "text",
            },
        },
        "additionalProperties": False,
        "oneOf": [{"required": [kind]} for kind in SOURCES],
    }
