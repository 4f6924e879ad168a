"""The front door of ``mcpsec``: a plain ``serve`` starts at once, everything else by the root command.

Next to nothing is imported before ``run`` is ready for Ctrl-C, which may come while the rest is being loaded.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["hold_standard_streams", "main", "run"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing is raised but what ends the loading of the command."""
    from mcpsec.cli.outcome import hoist, outcome
    from mcpsec.cli.output import out

    arguments = list(sys.argv[1:] if argv is None else argv)
    flags, words = hoist(arguments)
    if words[:1] == ["serve"]:
        from mcpsec.cli.light import serve_options
        from mcpsec.cli.serving import serve

        options = serve_options(words[1:])
        if options is not None:
            out.quiet, out.no_color = "--quiet" in flags, "--no-color" in flags
            return outcome(lambda: serve(options), arguments)
    from mcpsec.cli import root

    return root.main(arguments)


def run() -> None:
    """Entry point of the ``mcpsec`` console script."""
    try:
        hold_standard_streams()
        out = sys.stdout
        if isinstance(out, io.TextIOWrapper) and (out.errors == "strict" or out.encoding.lower() != "utf-8"):
            out.reconfigure(errors="backslashreplace")  # a name that is no text, or an arrow in a locale that has none
        code = main()
    except KeyboardInterrupt:  # before anything had begun
        code = 130
    if "mcpsec.cli.leaving" in sys.modules:
        from mcpsec.cli.leaving import leave

        leave(code)
    raise SystemExit(code)


def hold_standard_streams() -> None:
    """Open what the caller closed (``>&-``): else the next file that is opened would be taken for standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
