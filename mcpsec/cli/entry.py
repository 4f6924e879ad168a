"""The front door of ``mcpsec``: a plain ``serve`` starts at once, everything else by the root command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mcpsec.cli.outcome import hoist, outcome
from mcpsec.cli.output import out

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "run"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing is raised."""
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
    raise SystemExit(main())
