"""What several commands share: how an application is made, the options that mean the same everywhere, log filters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from mcpsec.deployment import Deployment
    from mcpsec.telemetry.query import Query

__all__ = [
    "CONFIG",
    "ConfigOption",
    "Format",
    "FormatOption",
    "LogFile",
    "Rendering",
    "RenderingOption",
    "application",
    "filtered",
    "load_with_managers",
    "log_of",
]

CONFIG = Path("mcpsec.toml")
"""The deployment file when neither an option nor MCPSEC_CONFIG names one."""


class Format(StrEnum):
    """How a result is shown."""

    text = "text"
    json = "json"


class Rendering(StrEnum):
    """How a result is written by the commands that share renderers with reports."""

    CONSOLE = "console"
    JSON = "json"


ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", envvar="MCPSEC_CONFIG", help="The deployment file.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="text or json.")]
RenderingOption = Annotated[Rendering, typer.Option("--format", help="console, or one JSON document.")]
LogFile = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="The log; default: the one that the deployment file names.")
]


def application(help: str | None = None, *, epilog: str | None = None, group: bool = True) -> typer.Typer:
    """A Typer application in the house's manner; ``group`` when it has subcommands."""
    return typer.Typer(
        add_completion=False,
        no_args_is_help=group,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        help=help,
        epilog=epilog,
    )


def log_of(file: Path | None, config: Path) -> Path:
    """The log asked for: the file named, else the one in the deployment file."""
    if file is not None:
        return file
    from mcpsec.deployment import load

    return load(config).log.file


def load_with_managers(config: Path) -> Deployment:
    """The deployment, its secrets ready to be read: from the managers that its ``[secrets]`` names."""
    from mcpsec.deployment import load
    from mcpsec.secretrefs import configure

    deployment = load(config)
    configure(vault=deployment.secrets.vault, aws=deployment.secrets.aws)
    return deployment


def _names(option: str, help: str) -> Any:
    return Annotated[list[str] | None, typer.Option(option, help=help)]


_FILTERS: dict[str, Any] = {
    "client": _names("--client", "Only these clients (glob; repeatable)."),
    "resource": _names("--resource", "Only these resources (glob; repeatable)."),
    "upstream": _names("--upstream", "Only these upstreams (glob; repeatable)."),
    "decision": _names("--decision", "allowed, refused or failed (repeatable)."),
    "kind": _names("--kind", "Only these kinds of event (repeatable)."),
    "rule": _names("--rule", "Only what these rules decided (glob; repeatable)."),
    "status": Annotated[
        list[int] | None,
        typer.Option("--status", min=100, max=599, help="Only answers with this HTTP status (repeatable)."),
    ],
    "request_id": Annotated[str | None, typer.Option("--request-id", help="Only this request.")],
    "trace_id": Annotated[str | None, typer.Option("--trace-id", help="Only this W3C trace.")],
    "text": Annotated[str | None, typer.Option("--text", help="Only events in which this text stands (any case).")],
}
_TIMES: dict[str, Any] = {
    "since": Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From then on: 15m, 2h, 7d (ago) or 2026-11-23T08:00:00Z."),
    ],
    "until": Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then.")],
}
_OWN: dict[str, Any] = {
    "own": Annotated[bool, typer.Option("--all", help="Also the log's own lines (checkpoints).")],
}


def filtered(*, times: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that choose events; it gets them as one ``query``. ``times``: --since and --until."""
    options = {**_FILTERS, **(_TIMES if times else {}), **_OWN}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in options}
            command(**given, query=_query(**chosen))

        parameters = [
            each.replace(annotation=_evaluated(each.annotation, command))
            for name, each in inspect.signature(command).parameters.items()
            if name != "query"
        ]
        parameters += [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=False if name == "own" else None, annotation=kind
            )
            for name, kind in options.items()
        ]
        vars(wrapper)["__signature__"] = inspect.Signature(parameters)  # what Typer asks for
        wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapper

    return decorate


def _evaluated(annotation: Any, command: Callable[..., None]) -> Any:
    """What a postponed annotation stands for (``query``'s own type is not imported when Typer asks)."""
    return eval(annotation, command.__globals__) if isinstance(annotation, str) else annotation  # noqa: S307 # our own


def _query(
    *,
    client: list[str] | None,
    resource: list[str] | None,
    upstream: list[str] | None,
    decision: list[str] | None,
    kind: list[str] | None,
    rule: list[str] | None,
    status: list[int] | None,
    request_id: str | None,
    trace_id: str | None,
    text: str | None,
    own: bool,
    since: str | None = None,
    until: str | None = None,
) -> Query:
    from mcpsec.telemetry.events import KINDS, LOG_KINDS
    from mcpsec.telemetry.query import Query, parse_time

    _one_of("--decision", decision, ("allowed", "refused", "failed"))
    _one_of("--kind", kind, (*KINDS, *LOG_KINDS))
    begin, end = (None if each is None else parse_time(each) for each in (since, until))
    if begin is not None and end is not None and begin >= end:
        raise UsageError("--since is not before --until, so nothing can be found", hint="change the two about, perhaps")
    return Query(
        clients=tuple(client or ()),
        resources=tuple(resource or ()),
        upstreams=tuple(upstream or ()),
        decisions=tuple(decision or ()),
        kinds=tuple(kind or ()),
        rules=tuple(rule or ()),
        statuses=tuple(status or ()),
        request_id=request_id,
        trace_id=trace_id,
        since=begin,
        until=end,
        text=text,
        own=own,
    )


def _one_of(option: str, values: list[str] | None, known: tuple[str, ...]) -> None:
    for value in values or ():
        if value not in known:
            raise UsageError(f"{option}: {value!r} is none of them", hint=", ".join(known))
