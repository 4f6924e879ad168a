"""``mcpsec sandbox``: what this machine keeps stdio servers from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpsec.cli.options import Rendering, RenderingOption, application
from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode

if TYPE_CHECKING:
    from mcpsec.gateway.sandbox.standing import Standing
    from mcpsec.gateway.sandbox.trial import Trial

app = application(
    epilog=examples("mcpsec sandbox check", "mcpsec sandbox check -c mcpsec.toml --format json"),
)

_WORDS = {
    "files": "only the named files",
    "network": "no network (network = false)",
    "calls": "no dangerous system calls",
    "view": "no sight of other processes",
    "sockets": "no sockets of other services",
    "named paths": "what is named works",
    "privileges": "no new privileges",
    "account": "an account of its own",
    "memory": "bounded memory",
    "processes": "bounded processes",
    "end": "nothing outlives it",
}


@app.callback()
def sandbox() -> None:
    """What this machine keeps stdio servers from."""


@app.command(epilog=examples("mcpsec sandbox check", "mcpsec sandbox check -c mcpsec.toml --format json"))
def check(
    config: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", metavar="FILE", envvar="MCPSEC_CONFIG", help="Judge the upstreams of this file, too."
        ),
    ] = None,
    format: RenderingOption = Rendering.CONSOLE,
) -> None:
    """Send a program into a sandbox that tries to get out, and say what held.

    Run it as the account that the gateway runs under, in the same container or service: what is tried is what will be
    in force there. Exit code 1 when something is missing: with a file, something that the file asks for.
    """
    from mcpsec.deployment import load
    from mcpsec.gateway.sandbox.standing import standing_of
    from mcpsec.gateway.sandbox.trial import try_out

    deployment = None if config is None else load(config)
    trial = try_out()
    standings = [] if deployment is None else [standing_of(each, trial) for each in deployment.upstreams.values()]
    if deployment is None:
        whole = all(measure.state != "absent" for measure in trial.measures)
    else:
        whole = not any(each.missing for each in standings)
    if format is Rendering.JSON:
        out.json(_document(trial, None if deployment is None else standings, ok=whole))
    else:
        _show(trial, standings)
    if not whole:
        raise typer.Exit(ExitCode.NO)


def _document(trial: Trial, standings: list[Standing] | None, *, ok: bool) -> dict[str, Any]:
    import os
    import platform

    document = {
        "schema": "mcpsec.sandbox/1",
        "ok": ok,
        "platform": platform.system(),
        "kernel": platform.release(),
        "uid": os.geteuid() if hasattr(os, "geteuid") else None,
        "facts": asdict(trial.facts),
        "fault": trial.fault or None,
        "measures": [asdict(each) for each in trial.measures],
    }
    return document if standings is None else {**document, "upstreams": [asdict(each) for each in standings]}


def _show(trial: Trial, standings: list[Standing]) -> None:
    for each in trial.measures:
        by = f" ({each.by})" if each.by else ""
        out.result(f"{each.state:<9} {_WORDS[each.name]}{by}")
        out.result(f"          {each.tried}")
    facts = trial.facts
    kinds = {"user": facts.user_namespaces, "PID": facts.pid_namespaces, "network": facts.network_namespaces}
    got = ", ".join(kind for kind, there in kinds.items() if there) or "none"
    tcp = "with" if facts.landlock >= 4 else "without"
    landlock = f"Landlock ABI {facts.landlock} ({tcp} rules for TCP)" if facts.landlock else "no Landlock"
    groups = facts.memory_group or facts.process_group or "no control group may be made"
    out.note(f"kernel: {landlock}; namespaces: {got}; {groups}")
    for standing in standings:
        out.result(f"\n[upstreams.{standing.name}] {_summary(standing)}")
        for label, names in (
            ("in force", standing.in_force),
            ("weaker", standing.weaker),
            ("MISSING", standing.missing),
            ("not asked for", standing.not_asked),
        ):
            if names:
                out.result(f"  {label}: {'; '.join(_WORDS[name] for name in names)}")


def _summary(standing: Standing) -> str:
    if standing.kind != "command":
        places = {
            "url": "a server elsewhere",
            "app": "code inside the gateway, with the gateway's rights",
            "builtin": "harmless tools of the gateway's own",
        }
        return f"{places[standing.kind]}: no process to confine"
    if not standing.starts:
        return "will not be started: its sandbox can't be kept here"
    if standing.every_file:
        return "without a sandbox, under root: it reads and writes every file of this machine, whoever owns it"
    return "with a sandbox" if standing.sandboxed else "without a sandbox: it reads and reaches what its account may"
