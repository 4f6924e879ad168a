"""Which revocation lists have been in use: their numbers only rise, also over a restart.

A list from before is a backup that was copied back, or a copy that was late, and would let in who was revoked since. A
running gateway keeps the one in use; one that begins has only what its predecessor wrote down: the number of each CA's
newest list, in one file of the deployment beside its audit log, which all of its workers read and raise.
Written down is only what a known CA signed, under that CA's key: a made-up number would keep all genuine lists out.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import TYPE_CHECKING

from mcpsec.certs.files import lock
from mcpsec.errors import ConfigurationError, Error
from mcpsec.reading import read_file
from mcpsec.writing import PRIVATE, readable_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mcpsec.certs.crl import CrlFile

__all__ = ["NewestLists", "OlderListError"]

_SCHEMA = "mcpsec.crl-numbers/1"
_SUFFIX = ".crl-numbers"
_MOST = 256
"""CAs that are remembered; beyond them the one whose list has not changed for longest is forgotten."""
_LOCK_SECONDS = 5.0


class OlderListError(ConfigurationError):
    """A revocation list from before one that was in use, which would let in who was revoked since."""


class NewestLists:
    """The highest number that a list of each CA has had in use. ``file`` keeps them for the next process.

    Raises ConfigurationError for a file that can't be read.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._signed: dict[str, int] = {} if file is None else _read(file)
        """Of lists that a known CA signed, by its key: what ``file`` should hold."""
        self._said: dict[str, int] = {}
        """Of other lists, by what they say of themselves: apart, for whoever makes up issuers and numbers."""
        self._written = dict(self._signed)
        self._writing = threading.Lock()
        self._told = ""

    @classmethod
    def beside(cls, log: Path) -> NewestLists:
        """Those of the deployment that names this log, whatever its workers write. Raises ConfigurationError."""
        return cls(log.with_name(log.name + _SUFFIX))

    def refuse_older(self, crl: CrlFile, path: Path) -> None:
        """Raise OlderListError when a list in ``path`` is from before one that was in use."""
        for known, numbers in ((self._signed, crl.verified), (self._said, crl.unverified)):
            for issuer, number in numbers.items():
                if number < known.get(issuer, number):
                    raise self._older(number, known[issuer], path)

    def _older(self, number: int, newest: int, path: Path) -> OlderListError:
        back = "" if self._file is None else f"; to go back to it on purpose, stop, delete {self._file}, start"
        return OlderListError(
            f"this revocation list (number {number}) is older than the newest one used here (number {newest}): "
            "it would let in who was revoked since",
            path=path,
            hint=f"put the newest one there, or sign it again: mcpsec certs crl{back}",
        )

    def use(self, crl: CrlFile) -> None:
        """Note what is in use now."""
        _raise(self._signed, crl.verified)
        _raise(self._said, crl.unverified)

    async def maintain(self, say: Callable[[str], None]) -> None:
        """Do ``keep`` without the loop waiting for the disk. ``say`` hears once in a row why that can't be done."""
        if self._file is None or self._signed == self._written:
            return
        try:
            await asyncio.to_thread(self.keep)
            self._told = ""
        except Error as error:
            if str(error) != self._told:
                self._told = str(error)
                say(f"the number of the revocation list in use can't be kept for the next start: {error}")

    def keep(self) -> None:
        """Raise to what is in use here what the disk says. Raises Error; the next call tries again."""
        with self._writing:
            signed = dict(self._signed)
            if self._file is None or signed == self._written:
                return
            with lock(self._file.with_name(self._file.name + ".lock"), timeout=_LOCK_SECONDS):
                kept = _read(self._file)
                _raise(kept, signed)  # never lowered: another worker may have used a newer one
                numbers = [{"issuer": issuer, "number": number} for issuer, number in kept.items()]
                text = json.dumps({"schema": _SCHEMA, "newest": numbers}, indent=1)
                write_atomic(self._file, text.encode() + b"\n", PRIVATE, inherit=True)
            self._written = signed


def _raise(numbers: dict[str, int], to: Mapping[str, int]) -> None:
    for issuer, number in to.items():
        if number > numbers.get(issuer, -1):
            numbers.pop(issuer, None)  # what changed last stands last
            numbers[issuer] = number
    while len(numbers) > _MOST:
        del numbers[next(iter(numbers))]


def _read(file: Path) -> dict[str, int]:
    if not os.path.exists(file):  # noqa: PTH110 # never raises
        return {}
    try:
        with readable_errors(file):
            document = json.loads(read_file(file))
        if document["schema"] != _SCHEMA:
            raise ValueError
        return {str(each["issuer"]): int(each["number"]) for each in document["newest"]}
    except Error:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise ConfigurationError(
            "the numbers of the revocation lists that were in use can't be read from this file",
            path=file,
            hint="look at the revocation list that is there now, whether it is the newest one; then delete this file",
        ) from None
