"""``mcpsec-scan-secrets``: the same command as ``mcpsec scan-secrets`` with a start light enough for a commit hook.

A front door like those of ``mcpsec.cli``, but it must not import that room (Typer alone costs more than a whole scan).
Whatever is not a plain scan, and every mistake on the command line, is handed over to the full command.
"""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["main", "run"]


def main(argv: list[str]) -> int:
    """Run one command line and return its exit code."""
    from mcpsec.leaks.options import parse

    request = parse(argv)
    if request is None:
        return _full(argv)
    from mcpsec.leaks.command import perform

    try:
        return perform(request)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        from mcpsec.errors import Error

        if not isinstance(error, Error):
            return _full(argv)
        from mcpsec.terminal import one_saying

        told = [f"error: {one_saying(str(error))}\n"]
        if error.hint:
            told.append(f"hint: {one_saying(error.hint)}\n")
        sys.stderr.write("".join(told))
        return int(error.exit_code)


def _full(argv: list[str]) -> int:
    from importlib import import_module

    return int(import_module("mcpsec.cli.root").main(["scan-secrets", *argv]))


def run() -> None:
    """Entry point of the console script."""
    gc.disable()  # next to nothing that a scan makes is cyclic, and looking for it costs a hook a tenth of its time
    if None in (sys.stdin, sys.stdout, sys.stderr):  # the caller closed one (`>&-`)
        from importlib import import_module

        import_module("mcpsec.cli.entry").hold_standard_streams()
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # before anything had begun
        code = 130
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # a full disk has been told of already
        code = code or 2
    if "mcpsec.cli.root" in sys.modules:
        raise SystemExit(code)
    os._exit(code)  # taking apart what was loaded costs another tenth, and there is nothing left that has to be closed
