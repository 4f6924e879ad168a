"""The directories of certificates: key, certificate and chain belong together and change in one step.

A directory is staged under a hidden name beside its target, flushed to the disk and exchanged with what was there, so
that no reader ever finds a key beside another key's certificate. Many are flushed together, and in a thread: creating
files is the kernel's work, during which the next certificates can be signed.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from typing import TYPE_CHECKING

from mcpsec.certs.syscalls import exchange, sync_filesystem
from mcpsec.writing import inherit_owner, readable_errors, sync_directory, sync_file, write_new

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Delivery", "Files", "deliver", "discard_staged"]

Files = dict[str, tuple[bytes, int]]
"""The files of one directory: name → contents and mode."""

_MANY = 16
"""From so many directories on, one flush of the file system is cheaper than four for each of them."""
_STAGED = ".new-"
_REPLACED = ".old-"
_OCCUPIED = {errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.EPERM}
"""What systems say to a rename onto a directory that holds files (Windows: access denied)."""


def deliver(parent: Path, directories: Mapping[str, Files]) -> None:
    """Put directories (name → files) in their places below ``parent``, each in one step, all on the disk afterwards.

    Only under the lock that everyone who delivers there holds.

    Raises:
        ConfigurationError: the disk refused. What was staged is left to ``discard_staged``.
    """
    together = len(directories) >= _MANY
    base = os.fspath(parent)
    with readable_errors(parent):
        for name, files in directories.items():
            _stage(f"{base}/{_STAGED}{name}", files, flush=not together)
        if together and not sync_filesystem(parent):
            _sync_staged([f"{base}/{_STAGED}{name}" for name in directories])
        for name in directories:
            _install(base, name)
        sync_directory(parent)


class Delivery:
    """A ``deliver`` under way in a thread of its own."""

    def __init__(self, parent: Path, directories: Mapping[str, Files]) -> None:
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(parent, directories))
        self._thread.start()

    def _run(self, parent: Path, directories: Mapping[str, Files]) -> None:
        try:
            deliver(parent, directories)
        except BaseException as error:  # raised again where somebody waits for it
            self._failure = error

    def finish(self) -> None:
        """Wait until it ends, however."""
        self._thread.join()

    def wait(self) -> None:
        """Wait until it ends, and raise what it failed of."""
        self.finish()
        if self._failure is not None:
            raise self._failure


def _stage(staged: str, files: Files, *, flush: bool) -> None:
    try:
        os.mkdir(staged, 0o700)
    except FileExistsError:  # of a process that died
        shutil.rmtree(staged)
        os.mkdir(staged, 0o700)
    inherit_owner(staged)
    for name, (data, mode) in files.items():
        write_new(f"{staged}/{name}", data, mode, flush=flush, inherit=True)
    if flush:
        sync_directory(staged)


def _sync_staged(staged: Iterable[str]) -> None:
    """Flush what was staged without a flush, where the whole file system can't be flushed at once."""
    for directory in staged:
        for name in os.listdir(directory):
            sync_file(f"{directory}/{name}")
        sync_directory(directory)


def _install(base: str, name: str) -> None:
    """Put a staged directory in its place. The caller flushes the parent directory.

    Where the file system can't exchange two names there is an instant with no directory at all (never a mixed one),
    which ``discard_staged`` mends.
    """
    staged, target = f"{base}/{_STAGED}{name}", f"{base}/{name}"
    try:
        os.rename(staged, target)
    except OSError as error:
        if error.errno not in _OCCUPIED or not os.path.isdir(target):
            raise
    else:
        return
    if exchange(staged, target):
        shutil.rmtree(staged)
        return
    replaced = f"{base}/{_REPLACED}{name}"
    shutil.rmtree(replaced, ignore_errors=True)
    os.rename(target, replaced)
    os.rename(staged, target)
    shutil.rmtree(replaced)


def discard_staged(parent: Path) -> None:
    """Remove what a killed process left staged below ``parent``. Only under the lock: nobody else is staging then."""
    for left in parent.glob(f"{_REPLACED}*"):
        target = left.with_name(left.name.removeprefix(_REPLACED))
        if not target.exists():
            left.rename(target)
        else:
            shutil.rmtree(left, ignore_errors=True)
    for left in parent.glob(f"{_STAGED}*"):
        shutil.rmtree(left, ignore_errors=True)
