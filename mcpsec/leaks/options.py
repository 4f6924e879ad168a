"""The options of ``scan-secrets``: one table, read by the light console script and by the Typer command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OPTIONS", "Option", "Request"]


class Option:
    """``names`` as typed; ``kind`` is flag, text, many, number or choice; ``metavar`` and ``help`` for the help page."""  # noqa: E501

    __slots__ = ("attribute", "choices", "default", "help", "kind", "metavar", "names", "panel")

    def __init__(
        self,
        *names: str,
        kind: str = "flag",
        help: str,  # the word that every option table uses
        metavar: str = "",
        choices: tuple[str, ...] = (),
        default: object = None,
        panel: str = "What to scan",
    ) -> None:
        self.names = names
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.choices = choices
        self.panel = panel
        self.default = default if default is not None else {"flag": False, "many": []}.get(kind)
        self.attribute = next(n for n in names if n.startswith("--"))[2:].replace("-", "_")


CONFIDENCE = ("high", "medium", "low")
FORMATS = ("console", "json", "sarif", "junit", "csv", "gitlab")
_LIVE, _OUT = "Living with findings", "Output"

OPTIONS = (
    Option("--staged", help="Scan what is staged for commit (git index), only added lines count."),
    Option(
        "--since", kind="text", metavar="REV", help="Scan lines added since REV, up to HEAD or, as REV..NEW, up to NEW."
    ),
    Option("--history", help="Scan every version of every file in all refs; each blob once."),
    Option("--stdin", help="Scan standard input."),
    Option("--follow", help="Keep reading a growing log file, report as lines arrive."),
    Option("--discover", help="Scan the MCP client configurations found in the home directory."),
    Option("--no-ignore", help="Also scan what .gitignore excludes, and vendored trees."),
    Option("--max-size", kind="number", metavar="MB", default=64, help="Skip files larger than this, with a note."),
    Option("--no-archives", help="Do not look into zip, gz, tar, whl, jar and office files."),
    Option("--jobs", "-j", kind="number", metavar="N", default=0, help="Processes; 0 takes the number of cores."),
    Option(
        "--confidence",
        kind="choice",
        choices=CONFIDENCE,
        default="medium",
        help="The lowest tier that is reported.",
        panel=_LIVE,
    ),
    Option("--rule", kind="many", metavar="ID", help="Only this rule (may be repeated).", panel=_LIVE),
    Option("--baseline", kind="text", metavar="FILE", help="Known findings that are not reported again.", panel=_LIVE),
    Option("--update-baseline", help="Write the findings of this run into the baseline and exit 0.", panel=_LIVE),
    Option(
        "--config",
        "-c",
        kind="text",
        metavar="FILE",
        help="Own rules and allow-lists (.mcpsec-secrets.toml, pyproject.toml, .gitleaks.toml).",
        panel=_LIVE,
    ),
    Option("--no-config", help="Ignore configuration, ignore files and baselines found in the tree.", panel=_LIVE),
    Option(
        "--format", "-f", kind="choice", choices=FORMATS, default="console", help="How results are written.", panel=_OUT
    ),
    Option(
        "--output", "-o", kind="text", metavar="FILE", help="Write results here instead of standard output.", panel=_OUT
    ),
    Option(
        "--redact",
        kind="choice",
        choices=("partial", "full"),
        default="partial",
        help="full: not even the last four characters.",
        panel=_OUT,
    ),
    Option("--exit-zero", help="Exit 0 although there are findings.", panel=_OUT),
)


class Request:
    """One run's options, by attribute, and its ``paths``."""

    staged: bool
    since: str | None
    history: bool
    stdin: bool
    follow: bool
    discover: bool
    no_ignore: bool
    max_size: int
    no_archives: bool
    jobs: int
    confidence: str
    rule: list[str]
    baseline: str | None
    update_baseline: bool
    config: str | None
    no_config: bool
    format: str
    output: str | None
    redact: str
    exit_zero: bool
    quiet: bool
    no_color: bool

    def __init__(self, paths: list[str], values: dict[str, object]) -> None:
        self.paths = paths
        self.quiet = self.no_color = False
        for option in OPTIONS:
            default = list(option.default) if isinstance(option.default, list) else option.default
            setattr(self, option.attribute, values.get(option.attribute, default))


def parse(argv: list[str]) -> Request | None:
    """Read a plain command line; None for anything that deserves the full parser (help, mistakes, subcommands)."""
    by_name = {name: option for option in OPTIONS for name in option.names}
    values: dict[str, object] = {}
    paths: list[str] = []
    flags = {"-q": "quiet", "--quiet": "quiet", "--no-color": "no_color"}
    raised: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            paths += words
        elif word in flags:
            raised.append(flags[word])
        elif not word.startswith("-") or word == "-":
            paths.append(word)
        else:
            name, equals, value = word.partition("=")
            option = by_name.get(name)
            if option is None or (equals and (option.kind == "flag" or not name.startswith("--"))):
                return None
            if not _store(values, option, value if equals else None, words):
                return None
    if paths and paths[0] in ("rules", "install-hook") and argv[0] == paths[0]:
        return None
    request = Request(paths, values)
    for name in raised:
        setattr(request, name, True)
    return request


def _store(values: dict[str, object], option: Option, value: str | None, words: Iterator[str]) -> bool:
    if option.kind == "flag":
        values[option.attribute] = True
        return True
    if value is None:
        value = next(words, None)
    if value is None or (option.choices and value not in option.choices):
        return False
    if option.kind == "number":
        if not value.isdigit():
            return False
        values[option.attribute] = int(value)
    elif option.kind == "many":
        values.setdefault(option.attribute, []).append(value)  # type: ignore[attr-defined]
    else:
        values[option.attribute] = value
    return True
