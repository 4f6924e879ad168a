"""Several new files that appear together or not at all.

They are made in a hidden directory beside their final places, flushed to the disk, and then moved in order; the last
move is the commit point. Before the first move a journal says which files (by inode) will be moved. Whoever comes next
and finds a stage whose owner is gone takes back what was moved without the commit point, or only removes the empty
stage when everything had arrived. So a crash at any moment, ``kill -9`` or a power cut, leaves nothing that counts.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mcpsec.errors import ConfigurationError, Error
from mcpsec.writing import PRIVATE, write_new

__all__ = ["PREFIX", "Stage", "clean", "exists", "stage"]

PREFIX = ".mcpsec-init-"
_JOURNAL = "journal.json"
_CONTENT = "content"


class Stage:
    """A hidden directory in ``place``: fill ``content``, then ``publish`` what is in it."""

    def __init__(self, place: Path, directory: Path) -> None:
        self.place = place
        self.directory = directory
        self.content = directory / _CONTENT

    def publish(self, names: Sequence[str]) -> None:
        """Move these entries of ``content`` into ``place``, the last one being the commit point.

        Raises ConfigurationError when one of them exists by now; what was moved is taken back then.
        """
        _flush_tree(self.content)
        journal = {name: _identity(self.content / name) for name in names}
        # Under its name whole or not at all: half a journal would be no journal, with files moved already.
        unfinished = self.directory / f"{_JOURNAL}.new"
        write_new(unfinished, json.dumps(journal).encode(), PRIVATE)
        unfinished.rename(self.directory / _JOURNAL)
        _flush(self.directory)
        try:
            for name in names:
                if name == names[-1]:
                    _flush(self.place)
                _move(self.content / name, self.place / name)
        except OSError:
            self._take_back(journal)
            raise
        _flush(self.place)

    def undo(self) -> None:
        """Take back what ``publish`` moved unless it came to its end, and remove the stage.

        What stands at the commit point is taken for the end of it, whoever made it: to leave a few files too many
        does no harm, to take away those of a deployment in use would.
        """
        journal = self._journal()
        if journal and not os.path.lexists(self.place / list(journal)[-1]):
            self._take_back(journal)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _take_back(self, journal: dict[str, list[int]]) -> None:
        for name, identity in journal.items():
            if _identity(self.place / name) == identity:
                (self.place / name).rename(self.directory / f"undone-{name}")
        _flush(self.place)

    def _journal(self) -> dict[str, list[int]]:
        try:
            journal = json.loads((self.directory / _JOURNAL).read_bytes())
        except (OSError, ValueError):
            return {}
        # A name with a slash is none of ours: whoever wrote it wants a file elsewhere moved.
        return {name: identity for name, identity in journal.items() if Path(name).name == name}


@contextlib.contextmanager
def stage(place: Path) -> Iterator[Stage]:
    """Make a stage in ``place`` after cleaning up behind interrupted runs; it is gone afterwards, whatever happens.

    Raises ConfigurationError when the place can't be written to.
    """
    with _readable_errors(place):
        clean(place)
        with _new_directory(place) as directory:
            made = Stage(place, directory)
            try:
                made.content.mkdir(mode=0o700)
                yield made
            finally:
                made.undo()


@contextlib.contextmanager
def _new_directory(place: Path) -> Iterator[Path]:
    """Make a directory and hold its lock; another run's ``clean`` may come between the two, so look and try again."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_locked(directory))
            except (BlockingIOError, FileNotFoundError):
                continue
            if directory.is_dir():
                yield directory
                return


def clean(place: Path) -> None:
    """Take back what interrupted runs left in ``place``; those still running are left alone."""
    for directory in sorted(place.glob(f"{PREFIX}*")):
        ours = os.name == "nt" or directory.lstat().st_uid == os.geteuid()
        if ours and directory.is_dir() and not directory.is_symlink():
            # Still running, gone meanwhile, or in a place that this user may not write to: left as it is.
            with contextlib.suppress(OSError), _locked(directory):
                Stage(place, directory).undo()


def _move(source: Path, target: Path) -> None:
    """Rename, but never over something that is there. Raises FileExistsError that names ``target``."""
    taken = FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    if source.is_dir():
        try:
            source.rename(target)  # fails unless the target is missing or an empty directory
        except OSError as error:
            raise taken if os.path.lexists(target) else error from None
        return
    try:
        os.link(source, target)
    except OSError:  # taken, or a file system without hard links
        if os.path.lexists(target):
            raise taken from None
        source.rename(target)
    else:
        source.unlink()


def _identity(path: Path) -> list[int]:
    try:
        status = path.lstat()
    except OSError:
        return []
    return [status.st_dev, status.st_ino]


def _flush_tree(directory: Path) -> None:
    for path in (*directory.rglob("*"), directory):
        if not path.is_symlink():
            _flush(path)


def _flush(path: Path) -> None:
    """Force a file or a directory's list of names to the disk; Windows can't do the latter and needs it less."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a lock that ends with this process. Raises BlockingIOError when another one holds it."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _readable_errors(place: Path) -> Iterator[None]:
    try:
        yield
    except Error:
        raise
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise exists(Path(error.filename)) from None
        named = Path(error.filename or place)
        if any(part.startswith(PREFIX) for part in named.parts):  # a name of ours, that the reader never heard of
            named = place
        hint = "give a directory that this account may write to, and that has room"
        if error.errno == errno.ENAMETOOLONG:
            hint = "give it a shorter name"
        raise ConfigurationError(f"can't write there: {error.strerror}", hint=hint, path=named) from None


def exists(path: Path) -> ConfigurationError:
    """Return the error that says what is in the way."""
    return ConfigurationError(
        "already exists, and nothing is overwritten",
        hint="nothing was written; give another directory, as in `mcpsec init my-deployment`",
        path=path,
    )
