"""The house keeps its shape: a room imports only from floors below its own, and modules stay of one subject."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import mcpsec

ROOT = Path(mcpsec.__file__).parent
FLOORS = [
    {"cli"},
    {"audit"},
    {"gateway"},
    {"telemetry", "connect"},
    {"deployment"},
    {"certs", "leaks"},
    {"signing", "protocol", "secretrefs", "clientfiles", "report"},
    {"reading", "writing"},
    {"errors", "frozen", "locking", "terminal", "urls"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
PRINTING = {"print", "input", "exit", "quit"}


def modules() -> Iterator[tuple[Path, str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        yield path, room, ast.parse(path.read_text(encoding="utf-8"))


def imported_rooms(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "mcpsec" else [base]
        for name in names:
            parts = name.split(".")
            if parts[0] == "mcpsec" and len(parts) > 1:
                yield parts[1]


def test_rooms_import_downwards_only() -> None:
    wrong = []
    for path, room, tree in modules():
        if room not in LEVEL:
            assert room in {"__init__", "__main__"}, f"{path}: which floor is {room} on?"
            continue
        for other in imported_rooms(tree):
            if other == "__version__" or other == room:
                continue
            if LEVEL[other] <= LEVEL[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_only_the_command_line_talks_to_people() -> None:
    wrong = []
    for path, room, tree in modules():
        if room == "cli" or path.name in {"launcher.py", "__main__.py"}:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PRINTING:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.func.id}()")
    assert not wrong, "\n".join(wrong)


def test_modules_are_of_one_subject() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path, _, _ in modules()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 550
    }
    assert not long


def test_no_merge_is_left_unfinished() -> None:
    texts = [
        path
        for pattern in ("*.md", "*.toml", "docs/**/*.md", "completions/*", "packaging/**/*", ".github/**/*", ".ci/run")
        for path in ROOT.parent.glob(pattern)
        if path.is_file()
    ]
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    assert texts
    assert not [path.name for path in texts if any(line.startswith(marks) for line in path.read_text().splitlines())]


def test_no_expression_has_a_possessive_group() -> None:
    """Python before 3.11.5, Debian 12's among them, loses its place in them: they match too much, or nothing."""
    for path in [*ROOT.rglob("*.py"), *ROOT.rglob("*.toml")]:
        text = path.read_text(encoding="utf-8").replace("()*+", "")  # all of them are signs of addresses
        assert re.search(r"\)(?:[*+?]|\{[\d,]+\})\+|\(\?>[^\"]", text) is None, path
