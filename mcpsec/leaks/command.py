"""What both command lines do with a request: scan, write the results, name the problems, decide the exit code."""

from __future__ import annotations

import sys

from mcpsec.leaks.runner import Result, execute
from mcpsec.terminal import plain, tame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from mcpsec.leaks.options import Request

__all__ = ["perform", "render"]


def perform(request: Request) -> int:
    """Run the request; results go to standard output or ``--output``, everything else to standard error."""
    result = execute(request)
    text = render(result, request).encode("utf-8", "replace").decode()  # a path may hold bytes that are no UTF-8
    if request.output:
        _write(request.output, text)
    elif text:
        # CSV has no escapes: a program gets the names themselves, a terminal none that steers it
        harmless = request.format == "console" or (request.format == "csv" and not sys.stdout.isatty())
        _say(text if harmless else tame(text))
    _notes(result, request)
    if request.exit_zero and result.findings:
        return 3 if result.problems else 0
    return result.exit_code


def render(result: Result, request: Request) -> str:
    """The results in the format asked for."""
    if request.format == "console":
        from mcpsec.leaks.console import render as console

        return console(result, color=_colored(request, sys.stdout))
    from mcpsec.leaks import formats

    return formats.render(request.format, result)


def _say(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from mcpsec.errors import Error

        raise Error(f"standard output can't be written: {error.strerror}") from error


def _write(path: str, text: str) -> None:
    from pathlib import Path

    from mcpsec.writing import write_output

    write_output(Path(path), text.encode())


def _notes(result: Result, request: Request) -> None:
    write = sys.stderr.write
    for problem in result.problems[:20]:
        write(f"warning: {plain(problem.path)}: not scanned: {plain(problem.reason)}\n")
    if len(result.problems) > 20:
        write(f"warning: and {len(result.problems) - 20} more that could not be scanned\n")
    for text in result.warnings:
        write(f"warning: {plain(text)}\n")
    if request.quiet:
        return
    left_out = ", ".join(f"{reason} ({count})" for reason, count in sorted(result.skipped.counts.items()))
    if left_out:
        write(f"skipped: {left_out}\n")
    found = len(result.findings)
    hidden = f", {result.suppressed} known or allowed" if result.suppressed else ""
    size = result.bytes / 1e6
    files = f"{result.files} file{'s' * (result.files != 1)}"
    write(f"{found} finding{'s' * (found != 1)}{hidden}; {files}, {size:.1f} MB in {result.seconds:.2f} s\n")
    if found and request.format == "console":
        write("hint: for a value that is no secret: mcpsec:allow in a comment, or a line in .mcpsec-secrets-ignore\n")


def _colored(request: Request, stream: TextIO) -> bool:
    import os

    return not request.no_color and not request.output and not os.environ.get("NO_COLOR") and stream.isatty()
