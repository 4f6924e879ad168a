"""Which revocation lists have been in use: their numbers only rise, also over a restart.

A list from before is a backup that was copied back, or a copy that was late, and would let in who was revoked since. A
running gateway keeps the one in use; one that begins has only what its predecessor wrote down: the number of each CA's
newest list, in a file beside the audit log, which is the one place that every gateway and every worker has for itself.
Written down is only what a known CA signed: a made-up number would keep all genuine lists out.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError, Error
from mcpsec.reading import read_file
from mcpsec.writing import PRIVATE, readable_errors, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.certs.crl import CrlFile

__all__ = ["NewestLists", "OlderListError"]

_SCHEMA = "mcpsec.crl-numbers/1"
_SUFFIX = ".crl-numbers"
_MOST = 256
"""CAs that are remembered; beyond them the one whose list has not changed for longest is forgotten."""


class OlderListError(ConfigurationError):
    """A revocation list from before one that was in use, which would let in who was revoked since."""


class NewestLists:
    """The highest number that a list of each CA has had in use. ``file`` keeps them for the next process.

    Raises ConfigurationError for a file that can't be read.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._numbers: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        """What ``file`` should hold."""
        self._writing = threading.Lock()
        if file is not None and os.path.exists(file):  # noqa: PTH110 # never raises
            self._numbers = _read(file)
            self._kept = dict(self._numbers)
        self._written = dict(self._kept)

    @classmethod
    def beside(cls, log: Path) -> NewestLists:
        """Those of the gateway that writes this log. Raises ConfigurationError."""
        return cls(log.with_name(log.name + _SUFFIX))

    def refuse_older(self, crl: CrlFile, path: Path) -> None:
        """Raise OlderListError when a list in ``path`` is from before one that was in use."""
        for issuer, number in crl.newest.items():
            newest = self._numbers.get(_name(issuer), number)
            if number < newest:
                back = "" if self._file is None else f"; to go back to it on purpose, stop, delete {self._file}, start"
                raise OlderListError(
                    f"this revocation list (number {number}) is older than the newest one used here (number {newest}): "
                    "it would let in who was revoked since",
                    path=path,
                    hint=f"put the newest one there, or sign it again: mcpsec certs crl{back}",
                )

    def use(self, crl: CrlFile) -> None:
        """Note what is in use now."""
        for issuer, number in crl.newest.items():
            _raise(self._numbers, _name(issuer), number)
            if issuer in crl.proven:
                _raise(self._kept, _name(issuer), number)

    def keep(self) -> None:
        """Write to the disk what is new since the last time. Raises ConfigurationError; the next call tries again."""
        with self._writing:
            kept = dict(self._kept)
            if self._file is None or kept == self._written:
                return
            numbers = [{"issuer": issuer, "number": number} for issuer, number in kept.items()]
            text = json.dumps({"schema": _SCHEMA, "newest": numbers}, indent=1)
            write_atomic(self._file, text.encode() + b"\n", PRIVATE, inherit=True)
            self._written = kept


def _name(issuer: tuple[bytes, bytes]) -> str:
    """A name and the identifier of a key, as one word."""
    name, key = issuer
    return hashlib.sha256(len(name).to_bytes(4, "big") + name + key).hexdigest()


def _raise(numbers: dict[str, int], issuer: str, number: int) -> None:
    if number > numbers.get(issuer, -1):
        numbers.pop(issuer, None)  # what changed last stands last
        numbers[issuer] = number
        while len(numbers) > _MOST:
            del numbers[next(iter(numbers))]


def _read(file: Path) -> dict[str, int]:
    try:
        with readable_errors(file):
            document = json.loads(read_file(file))
        if document["schema"] != _SCHEMA:
            raise ValueError
        return {str(each["issuer"]): int(each["number"]) for each in document["newest"]}
    except Error:
        raise
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigurationError(
            "the numbers of the revocation lists that were in use can't be read from this file",
            path=file,
            hint="look at the revocation list that is there now, whether it is the newest one; then delete this file",
        ) from None
