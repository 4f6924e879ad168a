"""``mcpsec pin``: record what MCP servers say of themselves, and see what has changed since."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpsec.cli.options import CONFIG, ConfigOption, Rendering, RenderingOption, application, load_with_managers
from mcpsec.cli.output import examples, out
from mcpsec.errors import ConfigurationError, ExitCode, UsageError

if TYPE_CHECKING:
    from mcpsec.deployment import Deployment
    from mcpsec.deployment.model import Client
    from mcpsec.gateway.pins import Lock
    from mcpsec.gateway.pins.review import Reviewed

app = application(group=False)

_DEFAULT_FILE = "mcpsec.pins.toml"


@app.command(
    epilog=examples("mcpsec pin", "mcpsec pin --check --format json", "mcpsec pin --update tickets -c mcpsec.toml")
)
def pin(
    upstreams: Annotated[
        list[str] | None, typer.Argument(metavar="[UPSTREAM...]", help="Only these upstreams of the file.")
    ] = None,
    config: ConfigOption = CONFIG,
    client: Annotated[
        str | None, typer.Option("--client", metavar="CLIENT", help="Ask as this client (default: the file's first).")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Pin also what differs from the lock file.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing: only say whether anything differs.")] = False,
    accept_flagged: Annotated[
        bool, typer.Option("--accept-flagged", help="Pin also definitions that look like orders to the model.")
    ] = False,
    format: RenderingOption = Rendering.CONSOLE,
) -> None:
    """Record every tool, schema, prompt and instruction of the upstreams in a lock file.

    Each upstream is started and asked, and nothing is called. What is new is pinned; what differs from the lock file
    is shown, and pinned with --update. Definitions with hidden characters, or text that gives orders to the model
    instead of describing a tool, are shown and not pinned unless --accept-flagged says so.
    Exit code 1 when something differs or looks wrong and was not pinned, 3 when an upstream can't be asked.
    """
    if check and update:
        raise UsageError("--check and --update exclude each other")
    from mcpsec.gateway.pins import Lock
    from mcpsec.gateway.pins.review import review

    deployment = load_with_managers(config)
    names = _names(deployment, upstreams or [])
    path = deployment.pins.file if deployment.pins else config.absolute().parent / _DEFAULT_FILE
    lock = Lock.read(path) if path.exists() else Lock()
    reviewed = asyncio.run(review(deployment, names, _client(deployment, client), lock))
    differs = any(each.changes and not each.is_new for each in reviewed)
    flagged = any(each.flags for each in reviewed) and not accept_flagged
    fine = not flagged and (update or not differs) and not (check and any(each.changes for each in reviewed))
    written = fine and not check and _write(lock, path, reviewed)
    if format is Rendering.JSON:
        out.json(_document(path, reviewed, written=written))
    else:
        _show(path, reviewed, written=written)
    if not fine:
        _say_why(path, flagged=flagged, check=check)
        raise typer.Exit(ExitCode.NO)
    if deployment.pins is None and not check:
        out.note(f'to hold the upstreams to their pins, add to {config}:\n\n[pins]\nfile = "{path.name}"')


def _names(deployment: Deployment, wanted: list[str]) -> list[str]:
    pinnable = [name for name, each in deployment.upstreams.items() if each.builtin is None]
    for name in wanted:
        if name in deployment.upstreams and name not in pinnable:
            raise UsageError(f"{name!r} is built into mcpsec itself, and needs no pins", path=deployment.path)
        if name not in pinnable:
            raise UsageError(
                f"the file has no upstream {name!r} to pin", hint=f"it has {', '.join(pinnable) or 'none'}"
            )
    if not pinnable:
        raise ConfigurationError(
            "the file has no upstream to pin", path=deployment.path, hint="built-in servers are part of mcpsec itself"
        )
    return wanted or pinnable


def _client(deployment: Deployment, wanted: str | None) -> Client:
    if not deployment.clients:
        raise ConfigurationError("the file has no client to ask as", path=deployment.path)
    for client in deployment.clients:
        if wanted in {None, client.id}:
            return client
    ids = ", ".join(client.id for client in deployment.clients)
    raise UsageError(f"--client {wanted}: the file has no such client", hint=f"it has {ids}")


def _write(lock: Lock, path: Path, reviewed: list[Reviewed]) -> bool:
    """Write the lock file if anything in it has to change."""
    if not any(each.changes or each.is_new for each in reviewed):
        return False
    for each in reviewed:
        lock.upstreams[each.name] = each.now
    lock.write(path)
    return True


def _document(path: Path, reviewed: list[Reviewed], *, written: bool) -> dict[str, Any]:
    from mcpsec.gateway.pins import KINDS
    from mcpsec.gateway.pins.definitions import diff

    return {
        "schema": "mcpsec.pin/1",
        "file": str(path),
        "written": written,
        "upstreams": [
            {
                "name": each.name,
                "server": each.now.server,
                "new": each.is_new,
                **{kind: each.now.count(kind) for kind in KINDS},
                "changes": [
                    {"kind": change.kind, "name": change.name, "state": change.state, "diff": diff(change)}
                    for change in each.changes
                ],
                "flags": [
                    {
                        "kind": flag.kind,
                        "name": flag.name,
                        "pointer": flag.pointer,
                        "id": flag.id,
                        "message": flag.message,
                        "pinned": flag in each.accepted,
                    }
                    for flag in (*each.flags, *each.accepted)
                ],
            }
            for each in reviewed
        ],
    }


def _show(path: Path, reviewed: list[Reviewed], *, written: bool) -> None:
    from mcpsec.gateway.pins.definitions import diff
    from mcpsec.gateway.pins.suspicious import visible

    for each in reviewed:
        counts = ", ".join(
            f"{each.now.count(kind)} {word}"
            for kind, word in (("tools", "tools"), ("prompts", "prompts"), ("resourceTemplates", "resource templates"))
        )
        out.result(visible(f"{each.name}: {each.now.server or 'unnamed server'}, {counts}"))
        for change in () if each.is_new else each.changes:
            out.result(visible(f"  {change}"))
            for line in diff(change)[2:]:
                out.result(visible(f"    {line}"))
        for flag in each.flags:
            out.result(visible(f"  suspicious: {flag}"))
        for flag in each.accepted:
            out.result(visible(f"  pinned although suspicious: {flag}"))
    out.result(f"wrote {path}" if written else "nothing written")


def _say_why(path: Path, *, flagged: bool, check: bool) -> None:
    if flagged:
        out.note("suspicious definitions are not pinned: read them, then --accept-flagged, or don't use that server")
    elif check:
        out.note(f"what the upstreams say is not what {path} holds")
    else:
        out.note("what differs from the lock file is not pinned: read it, then --update")
