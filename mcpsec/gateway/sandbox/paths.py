"""Which files a program needs to run at all: itself, its interpreter, and the installation that both belong to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["program_paths"]

_SHEBANG_BYTES = 512


def program_paths(command: Sequence[str], cwd: Path | None = None) -> set[Path]:
    """Paths that the command must read: program, interpreter, their installations, and script files among arguments."""
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
    return found


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
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 # an account without a home has ~, where Path.home() raises
    if program.parent.name != "bin" or prefix in {Path("/"), home} or prefix == home.parent:
        return {program}
    return {prefix}


def _script(script: Path) -> set[Path]:
    """A script with the modules beside it; inside ``node_modules`` the whole of the outermost one."""
    real = script.resolve()
    for path in (script, real):
        for parent in reversed(path.parents):
            if parent.name == "node_modules":
                return {parent, real.parent}
    return {script.parent, real.parent}
