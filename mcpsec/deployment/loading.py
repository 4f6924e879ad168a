"""Reading a deployment file, strictly: every fault is found, none is passed over, each names its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from mcpsec.clientfiles.toml import locate
from mcpsec.deployment.checks import Parts, check_authentication, check_names
from mcpsec.deployment.grant_checks import check_grants
from mcpsec.deployment.keys import DEPLOYMENT
from mcpsec.deployment.kinds import parse_address, parse_rate
from mcpsec.deployment.model import Address, Admin, Deployment, Factor, Rate
from mcpsec.deployment.problems import Problem, Report
from mcpsec.deployment.shapes import Wrong, suggestion
from mcpsec.errors import ConfigurationError, UsageError, advice
from mcpsec.reading import read_file

__all__ = ["MAXIMUM_BYTES", "examine", "load", "override", "read"]

MAXIMUM_BYTES = 4 << 20
"""A deployment file that is larger is something else."""


def load(path: str | Path) -> Deployment:
    """Read and check a deployment file.

    Raises ConfigurationError with file and line: for the first fault, and saying how many more there are. The files
    that it names are not looked at (``files.check`` does that), and no secret is resolved.
    """
    deployment, problems = examine(path)
    if problems or deployment is None:
        raise problems[0].error(others=len(problems) - 1)
    return deployment


def examine(path: str | Path) -> tuple[Deployment | None, list[Problem]]:
    """Read a deployment file and return every fault, in the order of the file; the deployment when there is none."""
    path = Path(path).absolute()
    try:
        text = _text(path)
    except ConfigurationError as error:
        return None, [Problem(error.message, error.hint, path, error.line)]
    return read(text, path)


def read(text: str, path: Path) -> tuple[Deployment | None, list[Problem]]:
    """Do what ``examine`` does for text that is, or could be, the content of the file ``path``."""
    report = Report(path, path.parent)
    try:
        document = tomllib.loads(text)
        report.locations = locate(text)
    except RecursionError:
        return None, [Problem("tables and arrays are nested too deep", path=path, line=1)]
    except ValueError as error:
        return None, [_syntax_problem(error, text, path)]
    deployment = DEPLOYMENT.read(document, (), report)
    parts = Parts.read(report)
    check_authentication(parts, report)
    check_names(parts, report)
    check_grants(parts, report)
    if report.problems:
        return None, report.sorted()
    return replace(cast("Deployment", deployment), path=path), []


def _text(path: Path) -> str:
    try:
        content = read_file(path, MAXIMUM_BYTES, "deployment file")
    except FileNotFoundError:
        raise ConfigurationError(
            "there is no such file", hint="`mcpsec init` writes a deployment; -c FILE names another", path=path
        ) from None
    except IsADirectoryError:
        raise ConfigurationError(
            "this is a directory", hint=f"name the file: {path / 'mcpsec.toml'}", path=path
        ) from None
    except OSError as error:
        raise ConfigurationError(f"can't be read: {error.strerror}", path=path, hint=advice(error)) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError("is not UTF-8", hint="save it as UTF-8", path=path, line=line) from None


def _syntax_problem(error: ValueError, text: str, path: Path) -> Problem:
    """Turn the parser's "… (at line 3, column 5)" into a place."""
    message = str(error)
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
    if not match:  # a number or date that Python refuses; its text stays out of the message
        return Problem("not TOML: a value is out of range", path=path, line=1)
    line = int(match[2]) if match[2] else text.rstrip("\n").count("\n") + 1
    said = match[1][0].lower() + match[1][1:]
    hint = 'text stands between quotes: key = "text"' if said.startswith("invalid value") else None
    if said.startswith("unclosed") or (hint and _in_open_array(text, line)):
        hint = "an array ends with ], an inline table with }, perhaps on a line above"
    return Problem(f"not TOML: {said}", hint, path, line, int(match[3]) if match[3] else None)


def _in_open_array(text: str, line: int) -> bool:
    """True when ``line`` is a table's heading that the parser took for an array in one that nobody closed."""
    above, heading = text.splitlines()[: line - 1], text.splitlines()[line - 1 : line]
    if not heading or not heading[0].lstrip().startswith("["):
        return False
    try:
        tomllib.loads("\n".join(above))
    except ValueError as error:
        return "nclosed" in str(error) or "end of document" in str(error)
    return False


def override(
    deployment: Deployment,
    *,
    listen: str | Address | None = None,
    admin_listen: str | Address | None = None,
    auth: str | Sequence[str] | None = None,
    rate_limit: str | Rate | None = None,
    log_file: Path | None = None,
) -> Deployment:
    """Return the deployment as a command line changes it for one run; what is None stays.

    ``auth`` is ``"mtls,signature,bearer"`` or ``"none"``, ``rate_limit`` is ``"100/minute"`` or ``"off"``; both hold
    for every client, also for those with factors or a rate of their own. Raises UsageError for a value that is wrong,
    and for a result that the file could not say either (another machine's address without authentication, …).
    """
    server, clients = deployment.server, deployment.clients
    if listen is not None:
        server = replace(server, listen=_address(listen, "--listen"))
    if admin_listen is not None:
        admin = replace(server.admin or Admin(), listen=_address(admin_listen, "--admin-listen"))
        server = replace(server, admin=admin)
    if rate_limit is not None:
        rate = _rate(rate_limit)
        server = replace(server, limits=replace(server.limits, rate_limit=rate))
        clients = tuple(replace(client, rate_limit=None) for client in clients)
    require = deployment.auth.require if auth is None else _factors(auth)
    if auth is not None:
        clients = tuple(replace(client, require=None) for client in clients)
    changed = replace(
        deployment,
        server=server,
        clients=clients,
        auth=replace(deployment.auth, require=require),
        log=deployment.log if log_file is None else replace(deployment.log, file=log_file.absolute()),
    )
    report = Report(None, deployment.path.parent if deployment.path else Path.cwd())
    check_authentication(Parts.of(changed), report)
    if report.problems:
        raise UsageError(report.problems[0].message, hint=report.problems[0].hint)
    return changed


def _option(name: str, parse: Any, value: Any) -> Any:
    try:
        return parse(value)
    except Wrong as wrong:
        raise UsageError(f"{name} {wrong.message}", hint=wrong.hint) from None


def _address(value: str | Address, option: str) -> Address:
    return value if isinstance(value, Address) else cast("Address", _option(option, parse_address, value))


def _rate(value: str | Rate) -> Rate | None:
    if isinstance(value, Rate):
        return value
    return None if value == "off" else cast("Rate", _option("--rate-limit", parse_rate, value))


def _factors(value: str | Sequence[str]) -> tuple[Factor, ...]:
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else list(value)
    if words == ["none"]:
        return ()
    known = get_args(Factor)
    for word in words:
        if word == "none":
            raise UsageError("--auth none stands alone", hint=f"or name some of: {', '.join(known)}")
        if word not in known:
            raise UsageError(f"--auth does not know {word!r}", hint=suggestion(word, [*known, "none"]))
    return cast("tuple[Factor, ...]", tuple(dict.fromkeys(words)))
