"""Tokens between two runs: in the system's keyring, or in a file that only its owner can read.

One lock a server keeps two bridges of the same person from using one refresh token twice, which an authorization server
that rotates them takes for theft, and from opening two browser windows.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import stat
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcpsec.connect.oauth.settings import Keep
from mcpsec.connect.places import home_directory, named_directory
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.locking import try_lock
from mcpsec.writing import PRIVATE, write_atomic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Grant", "Store", "directory", "store_for"]

_SERVICE: Final = "mcpsec"
_POLL: Final = 0.05


@dataclass
class Grant:
    """What an authorization server gave for one resource. Times are Unix times in seconds.

    ``certificate`` is the thumbprint of the client certificate that the token is bound to, ``dpop_key`` its private
    key.
    """

    issuer: str
    resource: str
    client_id: str
    token: str = field(default="", repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    renew_at: float | None = None
    scope: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    client_authentication: str | None = None
    registered: bool = False
    redirect_port: int | None = None
    certificate: str | None = None
    dpop_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_text(cls, text: str) -> Grant | None:
        """Read what ``text`` kept; None when it is not that."""
        try:
            value = json.loads(text)
            known = {item.name for item in fields(cls)}
            return cls(**{name: value[name] for name in value if name in known})
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None

    @property
    def text(self) -> str:
        """For keeping."""
        return json.dumps(asdict(self))


class Place(Protocol):
    """Somewhere to keep one text under one name."""

    title: str

    def read(self, name: str) -> str | None:
        """What is kept under the name."""

    def write(self, name: str, text: str) -> None:
        """Keep it, whole or not at all."""

    def delete(self, name: str) -> None:
        """Forget it; harmless when nothing is kept."""


def directory() -> Path:
    """Where tokens and their locks are on this system."""
    if sys.platform == "darwin":
        return home_directory() / "Library" / "Application Support" / "mcpsec" / "tokens"
    if sys.platform == "win32":
        return named_directory("LOCALAPPDATA", lambda: home_directory() / "AppData" / "Local") / "mcpsec" / "tokens"
    return named_directory("XDG_STATE_HOME", lambda: home_directory() / ".local" / "state") / "mcpsec" / "tokens"


class FilePlace:
    """Files of mode 0600 in a directory of mode 0700."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.title = str(base)

    def _path(self, name: str) -> Path:
        return self._base / f"{name}.json"

    def read(self, name: str) -> str | None:
        """What is kept under the name.

        Raises:
            ConfigurationError: the file can't be read, or others can read it too.
        """
        path = self._path(name)
        try:
            with path.open(encoding="utf-8") as file:
                if sys.platform != "win32" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise ConfigurationError(
                        "tokens are kept in a file that others can read",
                        path=path,
                        hint="delete it and log in again: mcpsec connect URL --login",
                    )
                return file.read()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigurationError(f"the kept tokens can't be read: {reason}", path=path) from None

    def write(self, name: str, text: str) -> None:
        """Replace the file in one step.

        Raises:
            ConfigurationError: it can't be written.
        """
        path = self._path(name)
        try:
            _private_directory(self._base)
        except OSError as error:
            raise ConfigurationError(f"the tokens can't be kept: {error.strerror}", path=path) from None
        write_atomic(path, text.encode(), PRIVATE)

    def delete(self, name: str) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self._path(name).unlink()


class KeyringPlace:
    """The system's keyring, through the ``keyring`` library."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.title = f"the keyring ({library.get_keyring().name})"

    def read(self, name: str) -> str | None:
        """What is kept under the name.

        Raises:
            ConfigurationError: the keyring is locked or fails.
        """
        text = self._call("get_password", name)
        return text if isinstance(text, str) else None

    def write(self, name: str, text: str) -> None:
        """Keep it.

        Raises:
            ConfigurationError: the keyring is locked or fails.
        """
        self._call("set_password", name, text)

    def delete(self, name: str) -> None:
        """Forget it."""
        with contextlib.suppress(ConfigurationError):
            self._call("delete_password", name)

    def _call(self, what: str, *arguments: str) -> object:
        try:
            return getattr(self._library, what)(_SERVICE, *arguments)
        except Exception as error:  # each backend has errors of its own
            raise ConfigurationError(
                f"the system's keyring fails: {type(error).__name__}", hint="use --oauth-store file"
            ) from None


def _private_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _keyring(*, demanded: bool) -> KeyringPlace | None:
    try:
        import keyring
    except ImportError:
        if demanded:
            raise UsageError(
                "the keyring library is not installed", hint="pip install 'mcpsec-toolkit[keyring]'"
            ) from None
        return None
    try:
        usable = keyring.get_keyring().priority > 0
    except Exception:  # a backend that can't even say so
        usable = False
    if usable:
        return KeyringPlace(keyring)
    if demanded:
        raise UsageError("this system has no keyring that can be used", hint="use --oauth-store file")
    return None


def store_for(keep: Keep, url: str, client_id: str | None) -> Store:
    """Where the tokens for ``url`` are kept, by what the person chose.

    Raises:
        UsageError: the keyring was demanded and there is none.
    """
    place: Place | None = None if keep is Keep.file else _keyring(demanded=keep is Keep.keyring)
    name = hashlib.sha256(f"{url}\n{client_id or ''}".encode()).hexdigest()[:32]
    return Store(place or FilePlace(directory()), name)


class Store:
    """One server's grant in one place."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name

    @property
    def title(self) -> str:
        """Where it is, in words."""
        return self._place.title

    def load(self) -> Grant | None:
        """What is kept; None when nothing is.

        Raises:
            ConfigurationError: it can't be read, or others can read it.
        """
        text = self._place.read(self._name)
        return None if text is None else Grant.from_text(text)

    def save(self, grant: Grant) -> None:
        """Keep a grant in place of what was kept.

        Raises:
            ConfigurationError: it can't be written.
        """
        self._place.write(self._name, grant.text)

    def delete(self) -> None:
        """Forget the grant."""
        self._place.delete(self._name)

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold this server's lock among all processes of this person; waits while another one has it."""
        base = directory()
        try:
            _private_directory(base)
            descriptor = os.open(base / f"{self._name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _no_lock(base, error) from None
        try:
            while not _taken(descriptor, base):  # noqa: ASYNC110 # another process, which no event of ours can hear
                await asyncio.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)


def _taken(descriptor: int, base: Path) -> bool:
    try:
        return try_lock(descriptor)
    except OSError as error:
        raise _no_lock(base, error) from None


def _no_lock(base: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the tokens' lock can't be made: {error.strerror}", path=base)
