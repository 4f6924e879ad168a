"""What can be completed: every command with its options, and what kind of value each option and argument takes.

A *kind* is one word: ``flag`` (no value), ``none`` (a value nobody can guess), ``file``, ``dir``, ``words:a b`` (one of
these), or a name that a script looks up: ``check`` and ``rule`` in its own data, ``client``, ``upstream`` and
``certificate`` in the deployment file and the certificate store of the current directory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

__all__ = ["CLIENTS_PROGRAM", "UPSTREAMS_PROGRAM", "Node", "Option", "alternatives", "by_kind", "commands", "lists"]


@dataclass(frozen=True)
class Option:
    """One spelling of an option."""

    help: str
    kind: str


@dataclass
class Node:
    """One command: its subcommands, its options, and the kind of its arguments."""

    path: str
    commands: dict[str, str] = field(default_factory=dict)
    options: dict[str, Option] = field(default_factory=dict)
    arguments: str = "none"

    def long_options(self) -> dict[str, Option]:
        """The options that are worth offering: short ones are quicker typed than chosen."""
        return {name: option for name, option in self.options.items() if name.startswith("--")}


# Only what such a name can be: a file that was downloaded must not put a command into a shell's words.
CLIENTS_PROGRAM = (
    r"/^[ \t]*\[/ { inside = ($0 ~ /^[ \t]*\[\[[ \t]*clients[ \t]*\]\]/) } "
    r'inside && /^[ \t]*id[ \t]*=/ { split($0, part, /["\047]/); '
    r"if (part[2] ~ /^[A-Za-z0-9][A-Za-z0-9._:@\/-]*$/) print part[2] }"
)
"""An awk program: the ids of a deployment file's ``[[clients]]`` tables."""

UPSTREAMS_PROGRAM = (
    r"/^[ \t]*\[[ \t]*upstreams[ \t]*\./ { name = $0; sub(/^[^.]*\.[ \t]*/, \"\", name); "
    r"sub(/[] \t.].*/, \"\", name); if (name ~ /^[a-z0-9][a-z0-9-]*$/ && !seen[name]++) print name }"
).replace('\\"', '"')
"""An awk program: the names of its ``[upstreams.NAME]`` tables."""


def commands() -> list[Node]:
    """Every command there is, the root first, a parent before its children."""
    from mcpsec.cli.root import COMMANDS, app, load

    root = typer.main.get_command(app)
    found = [Node("mcpsec", {name: _line(text) for name, text in COMMANDS.items()}, _options(root, "mcpsec"))]
    for name in COMMANDS:
        _walk(load(name), f"mcpsec {name}", found, {})
    return found


def by_kind(nodes: list[Node]) -> dict[str, list[str]]:
    """Of each kind but flags, the ``PATH OPTION`` that take such a value: what a script has to know to skip it."""
    kinds: dict[str, list[str]] = {}
    for node in nodes:
        for name, option in node.options.items():
            if option.kind != "flag":
                kinds.setdefault(option.kind, []).append(f"{node.path} {name}")
    return kinds


def alternatives(words: list[str]) -> str:
    """A pattern of a shell's ``case`` that is each of these words."""
    return "|".join(f"'{word}'" for word in words)


def lists() -> dict[str, list[str]]:
    """The words of the kinds whose names are packaged data."""
    from mcpsec.audit.catalogue import checks
    from mcpsec.leaks.rulebook import packaged

    return {"check": sorted(checks()), "rule": sorted(rule.id for rule in packaged().rules)}


def _walk(command: Any, path: str, nodes: list[Node], shared: dict[str, Option]) -> None:
    """Add a command and what is below it; a hidden subcommand is what its group does when nobody names one."""
    from mcpsec.cli.certs.context import CertsGroup

    every = getattr(command, "commands", {})
    below = {name: each for name, each in every.items() if not each.hidden}
    node = Node(path, {name: _line(each.help) for name, each in below.items()}, _options(command, path) | shared)
    node.arguments = _arguments(command, path)
    for hidden in (each for each in every.values() if each.hidden):
        node.options = dict(sorted({**node.options, **_options(hidden, path)}.items()))
        node.arguments = _arguments(hidden, path)
    nodes.append(node)
    handed_on = {**node.options} if isinstance(command, CertsGroup) else {}
    for name, each in below.items():
        _walk(each, f"{path} {name}", nodes, handed_on)


def _options(command: Any, path: str) -> dict[str, Option]:
    found = {"--help": Option("Show this message and exit", "flag")}
    for parameter in command.params:
        if parameter.param_type_name != "option" or parameter.hidden:
            continue
        for name in parameter.opts + parameter.secondary_opts:
            found[name] = Option(_line(parameter.help), _kind(parameter, name, path))
    return dict(sorted(found.items()))


def _arguments(command: Any, path: str) -> str:
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            return _kind(parameter, "", path)
    return "none"


_NAMED = {
    ("audit explain", ""): "check",
    ("audit", "--select"): "check",
    ("audit", "--ignore"): "check",
    ("audit", ""): "file",
    ("scan-secrets rules show", ""): "rule",
    ("scan-secrets rules test", ""): "rule",
    ("scan-secrets", "--rule"): "rule",
    ("scan-secrets", ""): "file",
    ("certs issue", ""): "certificate",
    ("certs show", ""): "certificate",
    ("certs renew", ""): "certificate",
    ("certs revoke", ""): "certificate",
    ("certs export", ""): "certificate",
    ("pin", ""): "upstream",
    ("drill", "--upstream"): "upstream",
    ("log tail", "--upstream"): "upstream",
    ("log query", "--upstream"): "upstream",
    ("log stats", "--upstream"): "upstream",
    ("log export", "--upstream"): "upstream",
    ("serve", ""): "command",
    ("init", "--client"): "none",
}
_CLIENTS = {"--client", "--other-client", "--grant"}
_FILES = {"FILE", "[FILE]", "[LOG]", "JSON", "PROGRAM", "TARGET", "TARGET...", "[TARGET]..."}
_DIRECTORIES = {"DIR", "[DIR]"}


def _kind(parameter: Any, name: str, path: str) -> str:
    """What a parameter's value is: said by its name here, else by its type, else by what its help calls it."""
    if getattr(parameter, "is_flag", False):
        return "flag"
    place = (path.removeprefix("mcpsec "), name)
    if place in _NAMED:
        return _NAMED[place]
    words = _table(*place) or _choices(parameter.type_descriptor.annotation)
    if words:
        return "words:" + " ".join(words)
    if name in _CLIENTS:
        return "client"
    metavar = parameter.metavar or ""
    if "|" in metavar and metavar.islower():
        return "words:" + metavar.strip("[]").replace("|", " ")
    if metavar in _DIRECTORIES:
        return "dir"
    return "file" if metavar in _FILES or _is_path(parameter.type_descriptor.annotation) else "none"


def _table(path: str, name: str) -> list[str]:
    """The words of options whose values are keys of a table in the library."""
    if (path, name) == ("audit", "--kind"):
        from mcpsec.audit.detection import KINDS

        return sorted(KINDS)
    if path == "drill" and name in ("--only", "--skip"):
        from mcpsec.audit.drill.faults import FAULTS

        return sorted(FAULTS)
    if path == "connect" and name in ("--install", "--uninstall"):
        from mcpsec.connect.install import client_names

        return sorted(client_names())
    if path.startswith("log ") and name == "--kind":
        from mcpsec.telemetry.events import KINDS as EVENTS

        return sorted(EVENTS)
    return []


def _choices(annotation: Any) -> list[str]:
    """The words of an enumeration or a literal, also inside ``list[…]`` and ``… | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(each.value) for each in annotation]
    if get_origin(annotation) is Literal:
        return [str(each) for each in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _choices(part)]


def _is_path(annotation: Any) -> bool:
    return annotation is Path or any(_is_path(part) for part in get_args(annotation))


def _line(text: str | None) -> str:
    """The first sentence of a help text, without markup and what shells would read."""
    first = (text or "").strip().split("\n\n")[0].replace("\n", " ")
    plain = first.partition(". ")[0].rstrip(".").replace("'", "\u2019")
    return "".join(char for char in plain if char not in '"`$\\[]:|')[:80].strip()
