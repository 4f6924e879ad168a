"""A call as the command line describes it: the options for it, what it is about, and with which arguments."""

from __future__ import annotations

import math
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
    found: dict[str, Any] = {}
    given: set[str] = set()
    if whole is not None:
        try:
            found = _json(command_text(whole))
        except (ValueError, RecursionError):
            raise UsageError("--arguments is not JSON", hint='as in \'{"project": "WEB"}\'') from None
        if not isinstance(found, dict):
            raise UsageError("--arguments must be a JSON object")
    for pair in pairs:
        name, equals, text = command_text(pair).partition("=")
        if not equals or not name:
            raise UsageError("--arg is written NAME=VALUE", hint="as in --arg project=WEB")
        if name in given:
            raise _twice(name)
        given.add(name)
        try:
            found[name] = _json(text)
        except (ValueError, RecursionError):
            found[name] = text
    return found


def _json(text: str) -> Any:
    import json

    return json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once_each)


def _once_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose members have names of their own: a gateway takes no other, and which one was meant is a guess."""
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise _twice(name)
        found[name] = value
    return found


def _twice(name: str) -> UsageError:
    return UsageError(f"the argument {name!r} is there twice", hint="give each argument once")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise UsageError(f"the number {text[:20]} is out of range", hint="no message can hold it")
    return number


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
