"""Every `mcpsec …` that README, docs/ and the packaging show is a real command with real options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mcpsec.cli.outcome import hoist
from mcpsec.cli.root import app, main
from tests.fixtures.walks import FENCE

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_COMMAND = r"(?:\w+=\S+ )*(?:\S*/)?(mcpsec\s.*)"
_SHELL = re.compile(r"(?:[$#] )?" + _COMMAND)
PROMPTED = re.compile(r"\$ " + _COMMAND)
LINES = {"sh": _SHELL, "console": _SHELL, "bash": _SHELL, "text": _SHELL, "yaml": re.compile("- " + _COMMAND)}
"""What a line with a command looks like in a block of each language; in any other it has a prompt."""
INLINE = re.compile(r"`(mcpsec [^`\n]+)`")
CONTINUED = re.compile(r"\\\n\s*")
ENDS = re.compile(r"\s(?:\||>|<|&&|\|\||;|#)\s.*|\s[12]?>\S+.*|[;)]+$")
PLACEHOLDERS = ("…", "...", "[", "|", "<")


def fenced(text: str) -> Iterator[tuple[str, str]]:
    """Language and lines of each fenced block, also of those that name no language or stand in a list."""
    language, lines = None, []
    for line in text.splitlines():
        mark = re.fullmatch(r" *```(\w*)[^`]*", line)
        if mark is None:
            lines.append(line)
        elif language is None:
            language, lines = mark[1], []
        else:
            yield language, "\n".join(lines) + "\n"
            language = None


def commands() -> Iterator[tuple[str, str, bool]]:
    """Page, command line, whether it is a whole one (and not a mention in a sentence)."""
    for page in PAGES:
        text = page.read_text()
        name = page.relative_to(ROOT).as_posix()
        for language, block in fenced(text):
            for line in CONTINUED.sub(" ", block).splitlines():
                found = LINES.get(language, PROMPTED).match(line.strip())
                if found:
                    yield name, found[1], language != "text"
        if name != "CHANGELOG.md":  # what was, need not be any more
            for match in INLINE.finditer(FENCE.sub("", text)):
                yield name, match[1], False


def words_of(line: str) -> list[str]:
    return shlex.split(ENDS.sub("", line), comments=True)[1:]


ALL = sorted({(line, whole) for _, line, whole in commands()})


def parse(words: list[str]) -> None:
    """What the command line itself does before it runs anything. Raises typer.TyperException."""
    command: Any = typer.main.get_command(app)
    flags, rest = hoist(words)
    words = [*flags, *rest]
    context = command.make_context("mcpsec", words)
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return  # a group's own name
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("line", "whole"), ALL, ids=[line for line, _ in ALL])
def test_it_is_one(line: str, whole: bool) -> None:
    words = words_of(line)
    if "…" in words:
        words, whole = [word for word in words if word != "…"], False
    if not whole and any(mark in word for word in words for mark in PLACEHOLDERS):
        words = words[: next(n for n, word in enumerate(words) if any(mark in word for mark in PLACEHOLDERS))]
    try:
        parse(words)
    except (typer.Exit, typer.TyperException) as error:
        kind = type(error).__name__
        if kind == "Exit":  # --help and --version
            return
        said = str(getattr(error, "message", error))
        mention = not whole and (kind in ("MissingParameter", "BadParameter") or "requires" in said)
        assert mention or kind == "NoArgsIsHelpError", f"{line}: {kind} {said}"


ALONE = re.compile(
    r"mcpsec (?:audit (?:list|explain \w+)|config (?:schema|reference)|completions \w+|drill --list|alerts rules)\b.*"
)
"""Commands that need no deployment, network or server: these run as they are shown."""


@pytest.mark.parametrize("line", sorted({line for line, _ in ALL if ALONE.fullmatch(line)}))
def test_it_runs(line: str, capsys: Any) -> None:
    if any(word in line for word in (" ID", " SHELL")):
        return  # a form, not a command
    assert main(words_of(line)) == 0
    assert capsys.readouterr().out


def test_there_are_many() -> None:
    assert len(ALL) > 150
    with pytest.raises(typer.TyperException):
        parse(["serve", "--no-such-option"])
    with pytest.raises(typer.TyperException):
        parse(["no-such-command"])
