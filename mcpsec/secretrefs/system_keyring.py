"""Secrets in the keyring of the system: Secret Service, KWallet, macOS Keychain, Windows Credential Locker."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mcpsec.errors import SecretError
from mcpsec.frozen import dataclass
from mcpsec.secretrefs.managers import missing_part

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KeyringSource"]


@dataclass(frozen=True, slots=True)
class KeyringSource:
    """A password of the keyring."""

    kind: ClassVar[str] = "keyring"
    doc: ClassVar[str] = "the system's keyring: service, slash, user name, as `mcpsec/tickets` (extra `keyring`)"
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^.+/[^/]+$"}

    service: str
    user: str

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Accept ``service/user``; the last slash parts them."""
        del base
        service, _, user = value.rpartition("/") if isinstance(value, str) and value.isprintable() else ("", "", "")
        if not service or not user:
            raise SecretError("keyring must name service and user", hint='for example { keyring = "mcpsec/tickets" }')
        return cls(service, user)

    def describe(self) -> str:
        """Name the entry."""
        return f"keyring entry {self.service}/{self.user}"

    def written(self) -> object:
        """Return service and user."""
        return f"{self.service}/{self.user}"

    def check(self) -> None:
        """Raise SecretError when the library is not there."""
        if importlib.util.find_spec("keyring") is None:
            raise missing_part("the system's keyring", "keyring")

    def read(self) -> bytes:
        """Ask the keyring."""
        self.check()
        import keyring

        try:
            value = keyring.get_password(self.service, self.user)
        except Exception as error:  # each backend raises what it likes: D-Bus errors, those of its files
            raise SecretError(
                f"{self.describe()}: the keyring can't be used ({type(error).__name__})",
                hint="it must be unlocked, and on a server there often is none: keep the secret in a file or a manager",
            ) from None
        if value is None:
            raise SecretError(f"{self.describe()} does not exist", hint=f"keyring set {self.service} {self.user}")
        return value.encode()
