"""A new deployment: the commented file, a private PKI, a signing secret for each client. All of it, or none."""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from mcpsec.deployment.staging import clean, exists, stage
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.frozen import dataclass

__all__ = ["CONFIG", "Created", "client_san", "create", "template"]

CONFIG = "mcpsec.toml"
_IGNORE = ".gitignore"
_ENTRIES = ("pki", "secrets", "log", _IGNORE, CONFIG)
"""What a deployment consists of; the file comes last, because without it the rest is none."""
_TRUST_DOMAIN = "mcpsec.local"
_SERVER_NAMES = ("localhost", "127.0.0.1", "::1")
_SECRET_BYTES = 32
"""As long as the output of the SHA-256 that it keys (RFC 2104, section 3)."""


@dataclass(frozen=True, slots=True)
class Created:
    """A deployment that was just written. All paths are absolute; ``files`` names all but locks and journals."""

    directory: Path
    config: Path
    clients: tuple[str, ...]
    files: tuple[Path, ...]


def create(directory: Path, clients: Sequence[str] = ("agent",)) -> Created:
    """Write a whole deployment into ``directory``, which may exist; nothing in it is overwritten.

    Interrupted at any moment, it leaves either nothing that counts or everything (``staging``).

    Raises:
        UsageError: a client's name is unfit or comes twice.
        ConfigurationError: something that would be written exists, or the directory can't be written to.
    """
    _check_clients(clients)
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 # without "..", and links as they are
    inside = os.path.lexists(directory)
    place = directory if inside else directory.parent
    _prepare(place)
    if inside:  # behind a run that was stopped when the directory itself had just appeared
        clean(directory.parent)
    with stage(place) as staged:
        if inside:
            names = _free_entries(directory)
            _build(staged.content, clients, names)
        else:
            names = [directory.name]
            _build(_new_directory(staged.content / directory.name), clients, _ENTRIES)
        written = [path.relative_to(staged.content) for path in sorted(staged.content.rglob("*")) if _is_told(path)]
        staged.publish(names)
    made = [place / path for path in written]
    config = directory / CONFIG
    made.sort(key=lambda path: (path != config, path.parent != directory, path))
    return Created(directory, config, tuple(clients), tuple(made))


def _is_told(path: Path) -> bool:
    """Leave out what nobody has to know of: the ledger's lock and journal."""
    return path.is_file() and path.name != "lock" and not path.name.endswith("-journal")


def template(clients: Sequence[str]) -> str:
    """Return the text of a new deployment file for these clients."""
    data = files("mcpsec.deployment") / "data"
    block = Template((data / "client.toml").read_text(encoding="utf-8"))
    blocks = [block.substitute(name=name, san=client_san(name)) for name in clients]
    return Template((data / "mcpsec.toml").read_text(encoding="utf-8")).substitute(clients="".join(blocks))


def client_san(name: str) -> str:
    """Return the name in a client's certificate that its entry in the file is matched by (a SPIFFE ID)."""
    return f"spiffe://{_TRUST_DOMAIN}/client/{name}"


def _check_clients(clients: Sequence[str]) -> None:
    if not clients:
        raise UsageError("a deployment needs a client", hint="--client NAME")
    seen: set[str] = set()
    for name in clients:
        # Names become file names, key ids and a path segment of a SPIFFE ID, which allows no others (section 2.2).
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
            raise UsageError(
                f"{name!r} is not a client name", hint="letters, digits, dots, hyphens and underscores; at most 63"
            )
        if name.lower() in seen:
            raise UsageError(f"client {name} is named twice")
        seen.add(name.lower())


def _prepare(place: Path) -> None:
    if not place.exists():
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"can't be made: {error.strerror}", path=place) from None
    if not place.is_dir():
        raise ConfigurationError("is not a directory", hint="give a directory to write to", path=place)


def _free_entries(directory: Path) -> list[str]:
    """Return what is to be written; a place for the log and a .gitignore may be there, everything else must not."""
    kept = {name for name in ("log",) if (directory / name).is_dir()}
    kept |= {name for name in (_IGNORE,) if (directory / name).is_file()}
    names = [name for name in _ENTRIES if name not in kept]
    for name in reversed(names):
        if os.path.lexists(directory / name):
            raise exists(directory / name)
    return names


def _build(directory: Path, clients: Sequence[str], names: Sequence[str]) -> None:
    _build_pki(directory / "pki", clients)
    folder = _new_directory(directory / "secrets")
    for name in clients:
        text = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=")
        _write(folder / f"{name}.hmac", text + b"\n", 0o600)
    if "log" in names:
        _new_directory(directory / "log")
    if _IGNORE in names:
        ignored = (files("mcpsec.deployment") / "data" / "gitignore").read_bytes()
        _write(directory / _IGNORE, ignored, 0o644)
    else:  # the repository's own stays as it is, so each directory keeps its secrets out of it by itself
        for name in {"pki", "secrets", "log"} & set(names):
            _write(directory / name / _IGNORE, b"*\n", 0o644)
    _write(directory / CONFIG, template(clients).encode(), 0o644)


def _build_pki(directory: Path, clients: Sequence[str]) -> None:
    from mcpsec.certs import Pki, Purpose

    with Pki.create(directory, trust_domain=_TRUST_DOMAIN) as pki:
        pki.issue("gateway", Purpose.SERVER, sans=list(_SERVER_NAMES))
        for name in clients:
            pki.issue(name, Purpose.CLIENT, sans=[client_san(name)])


def _new_directory(path: Path) -> Path:
    path.mkdir(mode=0o700)
    path.chmod(0o700)  # whatever the umask took away
    return path


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
