"""A call as the command line describes it: the options for it, what it is about, and with which arguments."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mcpsec.errors import UsageError

__all__ = [
    "ArgOption",
    "ArgumentsOption",
    "PromptOption",
    "ResourceOption",
    "ToolOption",
    "call_arguments",
    "call_target",
    "command_text",
]


ToolOption = Annotated[str | None, typer.Option("--tool", metavar="UP/NAME", help="Calling this tool.")]
ResourceOption = Annotated[str | None, typer.Option("--resource", metavar="UP/URI", help="Reading this resource.")]
PromptOption = Annotated[str | None, typer.Option("--prompt", metavar="UP/NAME", help="Getting this prompt.")]
ArgOption = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="NAME=VALUE", help="An argument; the value is JSON, or else text. Repeatable."),
]
ArgumentsOption = Annotated[
    str | None, typer.Option("--arguments", metavar="JSON", help="All arguments as a JSON object.")
]


def call_target(targets: dict[str, str | None]) -> tuple[Any, str, str]:
    """The one option that was given: the kind of call, the upstream, the name. Raises UsageError."""
    from mcpsec.gateway.policy.suite import TARGETS

    given = [(option, value) for option, value in targets.items() if value is not None]
    if len(given) != 1:
        names = ", ".join(f"--{option}" for option in targets)
        raise UsageError("say what the call is about, once", hint=f"one of {names}")
    option, value = given[0]
    upstream, slash, name = command_text(value).partition("/")
    if not slash:
        raise UsageError(f"--{option} is written UPSTREAM/NAME", hint="as in tickets/get_ticket")
    return TARGETS[option], upstream, name


def call_arguments(pairs: list[str], whole: str | None) -> dict[str, Any]:
    """The arguments of ``--arguments`` with those of each ``--arg`` over them. Raises UsageError."""
    import json

    found: dict[str, Any] = {}
    if whole is not None:
        try:
            found = json.loads(command_text(whole), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise UsageError("--arguments is not JSON", hint='as in \'{"project": "WEB"}\'') from None
        if not isinstance(found, dict):
            raise UsageError("--arguments must be a JSON object")
    for pair in pairs:
        name, equals, text = command_text(pair).partition("=")
        if not equals or not name:
            raise UsageError("--arg is written NAME=VALUE", hint="as in --arg project=WEB")
        try:
            found[name] = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            found[name] = text
    return found


def _no_constant(name: str) -> None:
    """NaN and Infinity are Python's additions to JSON; no message can hold them."""
    raise ValueError(name)


def command_text(value: str) -> str:
    """A word of the command line, which the system may hand over with bytes that are no text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError("the command line holds something that is not UTF-8") from None
    return value
