"""Secrets in a file that SOPS has encrypted; the program ``sops`` decrypts it, with whatever key it finds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar, Self

from mcpsec.errors import SecretError
from mcpsec.frozen import dataclass
from mcpsec.secretrefs.managers import split_reference
from mcpsec.secretrefs.sources import CommandSource

__all__ = ["SopsSource"]


@dataclass(frozen=True, slots=True)
class SopsSource:
    """One value of an encrypted file, or all of it."""

    kind: ClassVar[str] = "sops"
    doc: ClassVar[str] = (
        "a file encrypted with SOPS and, after #, the keys that lead to the value, parted by dots, as "
        "`secrets.enc.yaml#agent.hmac` (the program `sops` must be there)"
    )
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^[^#]+(#[^#]+)?$"}

    path: Path
    field: str | None

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Accept ``file`` or ``file#key.key``; a relative path starts at ``base``."""
        place, field = split_reference("sops", value, '"secrets.enc.yaml#agent.hmac"')
        return cls(Path(os.path.normpath(base / place)), field)

    def describe(self) -> str:
        """Name the file and the keys."""
        return f"SOPS file {self.written()}"

    def written(self) -> object:
        """Return the absolute path and the keys."""
        return str(self.path) if self.field is None else f"{self.path}#{self.field}"

    def check(self) -> None:
        """Raise SecretError when the file or the program is missing."""
        if not self.path.is_file():
            raise SecretError("there is no such SOPS file", path=self.path)
        if shutil.which("sops") is None:
            raise SecretError("there is no program sops", hint="install SOPS: it decrypts this file")

    def read(self) -> bytes:
        """Decrypt; what is decrypted goes from the program to this process and nowhere else."""
        self.check()
        words = ["sops", "--decrypt"]
        if self.field is not None:
            keys = "".join(f'["{key}"]' for key in self.field.split("."))
            words += ["--extract", keys]
        return CommandSource((*words, str(self.path)), self.path.parent).read()
