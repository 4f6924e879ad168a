"""Ready texts that run the renewal by itself: a systemd timer, a line for cron, a Kubernetes CronJob."""

from __future__ import annotations

import json
import shlex
import zlib
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Literal, get_args

from mcpsec import __version__
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["SYSTEMS", "System", "schedule"]

System = Literal["systemd", "cron", "kubernetes"]
SYSTEMS: tuple[System, ...] = get_args(System)


def schedule(
    system: System,
    directory: Path,
    *,
    program: str = "mcpsec",
    user: str = "mcpsec-ca",
    image: str = f"mcpsec:{__version__}",
    options: Sequence[str] = (),
) -> str:
    """Write the text for one system. ``directory`` is the PKI's; ``options`` are more options of ``certs renew``.

    Raises:
        UsageError: a value holds a line break, or a character that the system would read as its own.
    """
    arguments = ["certs", "--dir", str(directory), "renew", "--all-due", *options]
    for value in (program, user, image, *arguments):
        if not value.isprintable() or (system != "kubernetes" and "%" in value):
            raise UsageError(f"{value!r} can't stand in a schedule", hint="no line break, and no percent sign")
    text = resources.files("mcpsec.certs").joinpath(f"schedules/{system}.txt").read_text(encoding="utf-8")
    quote = _systemd_word if system == "systemd" else shlex.quote
    return Template(text).substitute(
        command=" ".join(quote(word) for word in (program, *arguments)),
        arguments=json.dumps(arguments),
        directory=json.dumps(str(directory)) if system == "kubernetes" else quote(str(directory)),
        user=user,
        image=json.dumps(image),
        minute=zlib.crc32(str(directory).encode()) % 60,  # machines with other directories don't all run at once
    )


def _systemd_word(word: str) -> str:
    """Quote a word as systemd.service(5) reads command lines."""
    if all(character.isalnum() or character in "/._-=:@+," for character in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'
