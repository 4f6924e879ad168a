"""`certs check`: what ends soon, for people, cron, CI and monitors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mcpsec.cli.certs.context import CertsContext, context, purpose_of
from mcpsec.cli.certs.rendering import SCHEMA, moment, show_table
from mcpsec.cli.output import out
from mcpsec.errors import ExitCode, NotAssessedError

if TYPE_CHECKING:
    from mcpsec.certs.expiry import Item, Margin
    from mcpsec.certs.ledger import Purpose

__all__ = ["check"]


def check(
    ctx: typer.Context,
    *,
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]...", help="Files, directories or HOST:PORT instead of the PKI in --dir."),
    ] = None,
    warn: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Due when less is left: 30d, 12h, 33% (default: a third of the life)."),
    ] = None,
    fail: Annotated[
        str | None, typer.Option(metavar="TIME", help="Late when less is left (default: a tenth of the life).")
    ] = None,
    client: Annotated[bool, typer.Option("--client", help="Of the PKI: only the client authority.")] = False,
    server: Annotated[bool, typer.Option("--server", help="Of the PKI: only the server authority.")] = False,
    exit_on: Annotated[
        Literal["due", "late"], typer.Option(help="Exit 1 for what is due, or only for what is late or expired.")
    ] = "due",
    format: Annotated[
        Literal["text", "json", "prometheus", "nagios"], typer.Option(help="Output; nagios also sets its exit codes.")
    ] = "text",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there atomically (for a textfile collector).")
    ] = None,
) -> None:
    """Check what ends soon: certificates, CAs and CRLs.

    Exit codes: 0 nothing is due, 1 something is due, late or expired, 3 a target could not be read.
    With --format nagios: 0 OK, 1 WARNING (due), 2 CRITICAL (late), 3 UNKNOWN.
    """
    from mcpsec.certs import expiry, monitoring
    from mcpsec.certs.leaf import now_utc

    margins = tuple(None if text is None else expiry.parse_margin(text) for text in (warn, fail))
    now = now_utc()
    items, unread = _collect(context(ctx), targets or [], margins, purpose_of(client, server))
    items.sort(key=lambda item: item.not_after)
    code = _exit_code(items, unread, exit_on)
    match format:
        case "nagios":
            text, code = monitoring.nagios(items, unread, now)
        case "prometheus":
            text = monitoring.prometheus(items, len(unread), now).decode()
        case "json":
            import json

            document = {"schema": SCHEMA, "items": [_json(item) for item in items], "unread": unread, "due": code == 1}
            text = json.dumps(document, indent=2, ensure_ascii=False)
        case _:
            text = ""
    if output is not None:
        from mcpsec.writing import write_output

        write_output(output, text.encode() if text.endswith("\n") else f"{text}\n".encode())
    elif format == "text":
        _show(items)
    else:
        out.result(text)
    if format != "nagios":
        for one in unread:
            out.warn(f"not checked: {one}")
    if code:
        raise typer.Exit(code)


def _collect(
    own: CertsContext, targets: list[str], margins: tuple[Margin | None, ...], purpose: Purpose | None
) -> tuple[list[Item], list[str]]:
    from mcpsec.certs import expiry
    from mcpsec.certs.reading import NoCertificateError, read_lists, read_target

    warn, fail = margins
    items: list[Item] = []
    unread: list[str] = []
    if not targets:
        with own.open() as pki:
            found = expiry.check_pki(pki, warn=warn, fail=fail)
            items.extend(item for item in found if purpose is None or item.purpose in (purpose, "root"))
            hidden = [other for other in pki.unreadable_purposes() if purpose in (None, other)]
            unread += [f"the {other} authority's ledger" for other in hidden]
        return items, unread
    for target in targets:
        lists = [expiry.check_found_list(found) for found in read_lists(target)]
        items += lists
        try:
            items.extend(expiry.check_found(found, warn=warn, fail=fail) for found in read_target(target))
        except NotAssessedError as error:
            if not (lists and isinstance(error, NoCertificateError)):
                unread.append(str(error))
    return items, unread


def _exit_code(items: list[Item], unread: list[str], exit_on: str) -> int:
    from mcpsec.certs.expiry import Level

    bad = (Level.LATE,) if exit_on == "late" else (Level.LATE, Level.DUE)
    if any(item.level in bad for item in items):
        return ExitCode.NO
    return ExitCode.NOT_ASSESSED if unread else ExitCode.OK


def _show(items: list[Item]) -> None:
    rows = [
        (item.level.value, item.kind, item.name, f"{item.not_after:%Y-%m-%d %H:%M}", item.reason, item.place)
        for item in items
    ]
    colors = {"ok": "32", "due": "33", "late": "31"}
    show_table(("LEVEL", "KIND", "NAME", "ENDS", "WHY", "PLACE"), rows, colors)


def _json(item: Item) -> dict[str, Any]:
    return {
        "name": item.name,
        "kind": item.kind,
        "place": item.place,
        "serial": item.serial,
        "purpose": item.purpose,
        "not_before": moment(item.not_before),
        "not_after": moment(item.not_after),
        "renew_after": moment(item.renew_after),
        "level": item.level.value,
        "reason": item.reason,
    }
