"""Which files a program needs to run at all: itself, its interpreter, and the installation that both belong to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

__all__ = ["program_paths"]

_SHEBANG_BYTES = 512


def program_paths(
    command: Sequence[str], cwd: Path | None = None, private: Collection[Path] = ()
) -> tuple[set[Path], set[Path]]:
    """Paths that the command must read: program, interpreter, their installations, and script files among arguments.

    Of a directory in which any of ``private`` lies it gets what lies beside that, and the names in it: these are the
    second set.
    """
    found: set[Path] = set()
    program = shutil.which(command[0])
    if program is not None:
        for path in _with_interpreter(Path(program)):
            found |= _installation(path)
    base = cwd or Path.cwd()
    for word in command[1:]:
        script = base / word
        if Path(word).suffix in {".py", ".js", ".mjs", ".cjs", ".ts", ".rb", ".pl", ".jar"} and script.is_file():
            found |= _script(script)
    apart = {path for path in found if path.is_dir() and _holds(path.resolve(), private)}
    beside = {entry for directory in apart for entry in _beside(directory.resolve(), private)}
    return (found - apart) | beside, apart


def _holds(path: Path, private: Collection[Path]) -> bool:
    return any(each.is_relative_to(path) for each in private)


def _beside(directory: Path, private: Collection[Path]) -> Iterator[Path]:
    """What of a directory neither is private nor holds it, nor leads out of it by a link."""
    for entry in directory.iterdir():
        real = entry.resolve()
        if real.is_relative_to(directory) and not _holds(real, private) and not _holds(entry, private):
            yield entry


def _with_interpreter(program: Path) -> Iterator[Path]:
    """The program under every name it has, and the interpreter that its first line names."""
    yield program
    yield program.resolve()
    with program.open("rb") as file:
        line = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    if not line.startswith(b"#!"):
        return
    words = line[2:].split()
    if words and words[0].endswith(b"/env") and len(words) > 1:
        named = shutil.which(words[-1].decode("utf-8", "replace"))
    else:
        named = words[0].decode("utf-8", "replace") if words else None
    if named is not None and Path(named).exists():
        yield Path(named)
        yield Path(named).resolve()


def _installation(program: Path) -> set[Path]:
    """``PREFIX`` of ``PREFIX/bin/program``; of a program elsewhere, or straight under a home, only itself."""
    prefix = program.parent.parent
    return {program} if program.parent.name != "bin" or _is_of_all(prefix) else {prefix}


def _is_of_all(directory: Path) -> bool:
    """Whether far more lies there than one program: the root, a home, where homes are."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 # an account without a home has ~, where Path.home() raises
    return directory in {Path("/"), home, home.parent}


def _script(script: Path) -> set[Path]:
    """A script with the modules beside it; inside ``node_modules`` the whole of the outermost one.

    Straight under a home it is only itself.
    """
    real = script.resolve()
    for path in (script, real):
        for parent in reversed(path.parents):
            if parent.name == "node_modules":
                return {parent, real.parent}
    return {path if _is_of_all(path.parent) else path.parent for path in (script, real)}
