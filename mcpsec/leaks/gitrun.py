"""Starting git. ``posix_spawn`` and a pipe do for a commit hook; :mod:`subprocess` alone would cost it 14 ms."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["PREFIX", "GitFailed", "environment", "output", "together"]

SETTINGS = (
    # No program that a repository's configuration names is run: a directory to scan may be somebody else's whole.
    "core.fsmonitor=false", "diff.external=", "diff.submodule=short", "log.showSignature=false",
    # What is shown, and how, is what is read here, whatever the user or the repository prefer.
    "core.quotepath=off", "diff.interHunkContext=0", "diff.relative=false", "i18n.logOutputEncoding=UTF-8",
    "log.diffMerges=separate", "log.showRoot=true",
    # Of itself git would map the whole of a large repository and keep 96 MB of what it unpacked.
    "core.deltaBaseCacheLimit=48m", "core.packedGitLimit=64m", "core.packedGitWindowSize=16m",
)  # fmt: skip
PREFIX = ("git", *(word for setting in SETTINGS for word in ("-c", setting)), "--no-pager")
CLOSED = {"GIT_ALLOW_PROTOCOL": "-", "GIT_NO_LAZY_FETCH": "1"}
"""Scanning fetches nothing. In a partial clone git would, by the programs that its configuration names."""


PIPE = 1 << 16
"""What a pipe holds: more is not read at once, and room for more would be taken in vain."""


class GitFailed(Exception):
    """Git is missing or refused; ``message`` is the first line that it wrote."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def environment() -> dict[str, str]:
    """The environment that git runs in."""
    return {**os.environ, **CLOSED}


def output(*arguments: str, cwd: str | None = None) -> bytes:
    """Run git and return its standard output. GitFailed when it can't run or exits with an error."""
    command = [*PREFIX, *(("-C", cwd) if cwd else ()), *arguments]
    if hasattr(os, "posix_spawnp"):
        return _spawn(command)
    import subprocess

    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, env=environment())
    except OSError as error:
        raise GitFailed(error.strerror or "git can't be started") from error
    if done.returncode:
        raise GitFailed(_first_line(done.stderr))
    return done.stdout


def together(
    commands: Iterable[tuple[str, ...]], meanwhile: Callable[[], None], cwd: str | None = None
) -> list[bytes | GitFailed]:
    """Run git several times at once, and something here besides: each one's output, or why there is none."""
    prefix = [*PREFIX, *(("-C", cwd) if cwd else ())]
    if not hasattr(os, "posix_spawnp"):
        meanwhile()
        return [_tried(output, *command, cwd=cwd) for command in commands]
    running = [_begin([*prefix, *command]) for command in commands]
    try:
        meanwhile()
    finally:
        answers = [_tried(_end, *each) for each in running]
    return answers


def _tried(run: Callable[..., bytes], *arguments: Any, **options: Any) -> bytes | GitFailed:
    try:
        return run(*arguments, **options)
    except GitFailed as error:
        return error


def _spawn(command: list[str]) -> bytes:
    return _end(*_begin(command))


def _begin(command: list[str]) -> tuple[int, int, int]:
    """Start git; its number, and where its output and its errors come out."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out_write, 1),
        (os.POSIX_SPAWN_DUP2, err_write, 2),
    ]
    try:
        pid = os.posix_spawnp(command[0], command, environment(), file_actions=actions)
    except OSError as error:
        for handle in (out_read, out_write, err_read, err_write):
            os.close(handle)
        raise GitFailed(
            "git is not installed" if error.errno == 2 else error.strerror or "git can't be started"
        ) from error
    os.close(out_write)
    os.close(err_write)
    return pid, out_read, err_read


def _end(pid: int, out_read: int, err_read: int) -> bytes:
    out, err = _drain(out_read, err_read)
    _, status = os.waitpid(pid, 0)
    if status:
        raise GitFailed(_first_line(err))
    return out


def _drain(out_read: int, err_read: int) -> tuple[bytes, bytes]:
    """Read both pipes to their ends without blocking on the one that has nothing."""
    chunks: dict[int, list[bytes]] = {out_read: [], err_read: []}
    import select

    poller = select.poll()
    poller.register(out_read, select.POLLIN | select.POLLHUP)
    poller.register(err_read, select.POLLIN | select.POLLHUP)
    pending = 2
    while pending:
        for handle, _ in poller.poll():
            chunk = os.read(handle, PIPE)
            if chunk:
                chunks[handle].append(chunk)
            else:
                poller.unregister(handle)
                os.close(handle)
                pending -= 1
    return b"".join(chunks[out_read]), b"".join(chunks[err_read])


def _first_line(text: bytes) -> str:
    line = text.decode("utf-8", "replace").strip().partition("\n")[0]
    return line.removeprefix("fatal: ") or "git failed"
