"""Where a command's words go: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from mcpsec.errors import Error
from mcpsec.terminal import one_saying, tame

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "examples", "out"]


@dataclass
class Output:
    """The two streams of one run. ``quiet`` silences notes, never results or errors."""

    quiet: bool = False
    no_color: bool = False

    def colored(self, stream: TextIO) -> bool:
        """True when ``stream`` is a terminal and nobody asked for plain text (https://no-color.org)."""
        return not self.no_color and not os.environ.get("NO_COLOR") and stream.isatty()

    def console(self, *, stderr: bool = False) -> Console:
        """A Rich console for tables and panels; plain text when the stream is not a terminal.

        What stands in them steers no terminal.
        """
        from mcpsec.cli.consoles import TameConsole

        stream = sys.stderr if stderr else sys.stdout
        return TameConsole(file=stream, no_color=not self.colored(stream), highlight=False, soft_wrap=True)

    def result(self, text: str) -> None:
        """Write what the command was asked for, so that nothing in it steers a terminal.

        Raises:
            BrokenPipeError: nobody reads it any more.
            Error: it can't be written, because the disk is full, say.
        """
        self.painted(tame(text))

    def painted(self, text: str) -> None:
        """Write a result that has colours of ours: what somebody else brought into it is ``plain`` already.

        Raises:
            BrokenPipeError: nobody reads it any more.
            Error: it can't be written, because the disk is full, say.
        """
        try:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Error(f"standard output can't be written: {error.strerror}") from None

    def json(self, document: dict[str, Any]) -> None:
        """Write one JSON document, which carries its versioned ``schema``."""
        if "schema" not in document:
            raise ValueError("a JSON result needs its schema name")
        self.result(json.dumps(document, indent=2, ensure_ascii=False))

    def note(self, text: str) -> None:
        """Say something about the run on standard error."""
        if not self.quiet:
            self._stderr(tame(text))

    def warn(self, text: str) -> None:
        """Say something on standard error that even ``--quiet`` must not hide."""
        self._stderr(f"{self._paint('warning', '33')}: {one_saying(text)}")

    def event(self, text: str) -> None:
        """Pass on what a running gateway has to say, good or bad; ``--quiet`` must not hide it."""
        self._stderr(f"gateway: {one_saying(text)}")

    def error(self, error: Error) -> None:
        """Show an error as what, where and what to do."""
        self._stderr(f"{self._paint('error', '1;31')}: {one_saying(str(error))}")
        if error.hint:
            self._stderr(f"{self._paint('hint', '36')}: {one_saying(error.hint)}")

    def _paint(self, word: str, sgr: str) -> str:
        return f"\x1b[{sgr}m{word}\x1b[0m" if self.colored(sys.stderr) else word

    @staticmethod
    def _stderr(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


out = Output()
"""The one output of this process; the root command sets it from the command line."""


def examples(*lines: str) -> str:
    """An epilog that shows each example command on a line of its own."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"$ {line}" for line in lines)])
