"""``mcpsec audit``: judge a deployment, by its files and by its answers, against the ten-point checklist."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from mcpsec.audit.runner import Audit

__all__ = ["app"]


class DefaultsToRun(TyperGroup):
    """``audit TARGET…`` audits; only a first word that names a subcommand is one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the hidden subcommand ``run`` in front of everything else."""
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DefaultsToRun,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MCPSEC_AUDIT"},
)


class Format(StrEnum):
    """How a report is written."""

    console = "console"
    json = "json"
    sarif = "sarif"
    junit = "junit"
    markdown = "markdown"
    html = "html"


class Severity(StrEnum):
    """From which severity on a failure counts."""

    critical = "critical"
    high = "high"
    medium = "medium"
    low = "low"
    info = "info"
    never = "never"


class Profile(StrEnum):
    """How far probes of a live endpoint go."""

    static = "static"
    passive = "passive"
    refuse = "refuse"
    load = "load"
    drill = "drill"


class Persona(StrEnum):
    """Who is asking: how much is told."""

    regular = "regular"
    pedantic = "pedantic"
    auditor = "auditor"


_WHAT, _REPORT, _LIVE = "What is judged", "Report and exit code", "Live endpoints"


@app.command(
    "run",
    hidden=True,
    epilog=examples(
        "mcpsec audit",
        "mcpsec audit my-deployment/mcpsec.toml",
        "mcpsec audit . --format sarif -o audit.sarif",
        "mcpsec audit --discover",
        "mcpsec audit https://mcp.example.com:8443/mcp --ca ca.pem",
        "mcpsec audit https://127.0.0.1:8443/mcp -c my-deployment/mcpsec.toml --profile refuse",
    ),
)
def run(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET…",
            help="Files, directories to walk, https:// URLs, HOST:PORT; the current directory by default.",
            show_default=False,
        ),
    ] = None,
    *,
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="How the report is written.", rich_help_panel=_REPORT)
    ] = Format.console,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the report there.", rich_help_panel=_REPORT),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show what passes, too.", rich_help_panel=_REPORT)] = False,
    fail_on: Annotated[
        Severity, typer.Option("--fail-on", help="Failures from here on make exit code 1.", rich_help_panel=_REPORT)
    ] = Severity.high,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 whatever is found.", rich_help_panel=_REPORT)
    ] = False,
    allow_incomplete: Annotated[
        bool,
        typer.Option(
            "--allow-incomplete", help="Exit 0 although something could not be assessed.", rich_help_panel=_REPORT
        ),
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", metavar="ID,…", help="Only these checks (ids or beginnings).", rich_help_panel=_WHAT),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="ID,…", help="Not these checks.", rich_help_panel=_WHAT),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="GLOB", help="Leave paths out of a walk.", rich_help_panel=_WHAT),
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="What the named files are.", rich_help_panel=_WHAT)
    ] = "",
    persona: Annotated[
        Persona, typer.Option("--persona", help="How much is asked for.", rich_help_panel=_WHAT)
    ] = Persona.regular,
    discover: Annotated[
        bool, typer.Option("--discover", help="The client configurations of this user.", rich_help_panel=_WHAT)
    ] = False,
    profile: Annotated[
        Profile | None,
        typer.Option(
            "--profile",
            help="How far probes go (passive for an endpoint, else static); drill: faults, in a copy.",
            rich_help_panel=_LIVE,
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--cert", metavar="FILE", help="Client certificate to probe with.", rich_help_panel=_LIVE),
    ] = None,
    private_key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Its private key.", rich_help_panel=_LIVE)
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="CA of the server's certificate.", rich_help_panel=_LIVE),
    ] = None,
    key_id: Annotated[
        str | None, typer.Option("--key-id", metavar="ID", help="Name of the signing key.", rich_help_panel=_LIVE)
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret-file", metavar="FILE", help="Shared secret that signs.", rich_help_panel=_LIVE),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="Private key that signs by rfc9421.", rich_help_panel=_LIVE),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option("--scheme", metavar="SCHEME", help="hmac-sha256, rfc9421 or article.", rich_help_panel=_LIVE),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="Access token to probe with.", rich_help_panel=_LIVE),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Deployment behind the endpoint.", rich_help_panel=_LIVE),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="NAME", help="Its client to be (the first).", rich_help_panel=_LIVE),
    ] = None,
    other_client: Annotated[
        str | None,
        typer.Option("--other-client", metavar="NAME", help="A second client of it.", rich_help_panel=_LIVE),
    ] = None,
    other_cert: Annotated[
        Path | None,
        typer.Option("--other-cert", metavar="FILE", help="A second client's certificate.", rich_help_panel=_LIVE),
    ] = None,
    other_key: Annotated[
        Path | None, typer.Option("--other-key", metavar="FILE", help="Its private key.", rich_help_panel=_LIVE)
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option("--client-ca", metavar="FILE", help="CA of the clients' certificates.", rich_help_panel=_LIVE),
    ] = None,
    client_ca_key: Annotated[
        Path | None,
        typer.Option(
            "--client-ca-key", metavar="FILE", help="Its key, to make bad certificates.", rich_help_panel=_LIVE
        ),
    ] = None,
    own: Annotated[
        list[str] | None,
        typer.Option("--i-own-this", metavar="HOST", help="Consent to refuse and load.", rich_help_panel=_LIVE),
    ] = None,
    denied_tool: Annotated[
        list[str] | None,
        typer.Option("--denied-tool", metavar="NAME", help="A tool the client must not use.", rich_help_panel=_LIVE),
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="The endpoint's log, for the canary.", rich_help_panel=_LIVE),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="URL", help="Its metrics page.", rich_help_panel=_LIVE),
    ] = None,
    rate_limit: Annotated[
        str | None,
        typer.Option("--rate-limit", metavar="RATE", help="The limit it declares: 100/minute.", rich_help_panel=_LIVE),
    ] = None,
    replica: Annotated[
        str | None,
        typer.Option("--replica", metavar="URL", help="A second one, for replays.", rich_help_panel=_LIVE),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Keeps what was served when.", rich_help_panel=_LIVE),
    ] = None,
    waivers: Annotated[
        Path | None,
        typer.Option("--waivers", metavar="FILE", help="Default: mcpsec-waivers.toml here.", rich_help_panel=_WHAT),
    ] = None,
    no_waivers: Annotated[
        bool, typer.Option("--no-waivers", help="Without waivers and inline ignores.", rich_help_panel=_WHAT)
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FILE", help="Leave out what this file knows.", rich_help_panel=_WHAT),
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option("--write-baseline", metavar="FILE", help="Write what fails now to it.", rich_help_panel=_REPORT),
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option("--evidence", metavar="DIR", help="Keep signed, dated evidence there.", rich_help_panel=_REPORT),
    ] = None,
    threat_model: Annotated[
        bool,
        typer.Option("--threat-model", help="Each threat, what answers it, what does not.", rich_help_panel=_REPORT),
    ] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Make the safe repairs, after showing them.", rich_help_panel=_REPORT)
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --fix: do not ask.", rich_help_panel=_REPORT)] = False,
) -> None:
    """Judge a deployment, yours or anyone's, against the ten-point checklist.

    Exit codes: 0 no failure at or above --fail-on, 1 failures, 2 usage, 3 something required could not be assessed.
    Without a URL nothing touches the network. [bold]audit explain ID[/bold] says what a check is about,
    [bold]audit list[/bold] names them all.
    """
    from mcpsec.audit.detection import KINDS
    from mcpsec.audit.probes.given import Given, live_options
    from mcpsec.audit.runner import Request, audit

    if kind and kind not in KINDS:
        raise UsageError(f"there is no kind {kind}", hint=", ".join(sorted(KINDS)))
    wanted = targets or ([] if discover else ["."])
    if profile is Profile.drill:
        import signal

        signal.signal(
            signal.SIGTERM, signal.default_int_handler
        )  # what a drill has started is stopped, also when we are
    options = live_options(
        Given(
            certificate=certificate, key=private_key, ca=ca, key_id=key_id, secret_file=secret_file,
            key_file=key_file, scheme=scheme, token_file=token_file, config=config, client=client,
            other_client=other_client, other_certificate=other_cert, other_key=other_key, client_ca=client_ca,
            client_ca_key=client_ca_key, owned=own or (), denied=denied_tool or (), log=log_file, metrics=metrics,
            rate=rate_limit, replica=replica, state=state,
        )
    )  # fmt: skip
    found = audit(
        Request(
            targets=wanted,
            profile=_profile(profile, wanted),
            options=options,
            kind=kind,
            exclude=exclude or (),
            select=select or (),
            ignore=ignore or (),
            persona=persona.value,
            fail_on=fail_on.value,
            discover=discover,
            waivers=None if no_waivers else _waivers(waivers),
            inline=not no_waivers,
            baseline=_known(baseline),
        )
    )
    if threat_model:
        _threats(found, output_format, output)
    else:
        _report(found, output_format, output, show_all)
    if write_baseline is not None:
        from mcpsec.audit.baseline import write as write_known

        out.note(f"{write_baseline}: {write_known(found, write_baseline)} findings are known; critical ones never are")
    if evidence is not None:
        from mcpsec.audit.evidence import write as write_evidence

        out.note(f"wrote {write_evidence(found, evidence)}")
    if fix:
        _fix(found, ask=not yes)
    raise typer.Exit(0 if exit_zero else _exit_code(found, allow_incomplete))


def _profile(profile: Profile | None, targets: list[str]) -> str:
    from mcpsec.audit.collection import is_endpoint

    live = any(is_endpoint(target) for target in targets)
    if profile is None:
        return "passive" if live else "static"
    return profile.value


def _known(path: Path | None) -> frozenset[str]:
    from mcpsec.audit.baseline import load

    return frozenset() if path is None else load(path)


def _threats(found: Audit, output_format: Format, output: Path | None) -> None:
    from mcpsec.audit import threats

    if output_format is Format.json:
        import json

        _write(json.dumps(threats.document(found), indent=2, ensure_ascii=False) + "\n", output)
    elif output_format in (Format.console, Format.markdown):
        _write(threats.text(found), output)
    else:
        raise UsageError(f"there is no threat model as {output_format.value}", hint="console, markdown or json")


def _write(text: str, output: Path | None) -> None:
    if output is None:
        out.result(text)
        return
    from mcpsec.writing import write_output

    write_output(output, text.encode("utf-8", "replace"))
    out.note(f"wrote {output}")


def _fix(found: Audit, *, ask: bool) -> None:
    """Show each repair and make it; without a terminal to ask at, only with --yes."""
    import sys

    from mcpsec.audit.repair import apply, plan

    repairs = plan(found.results)
    for repair in repairs:
        out.note(repair.diff())
    if not repairs:
        out.note("nothing that fails has a safe repair")
        return
    if ask and not sys.stdin.isatty():
        out.note("nothing was changed: --yes makes these repairs")
        return
    if ask and not typer.confirm(f"Make these {len(repairs)} repairs?", err=True):
        return
    for repair in repairs:
        apply(repair)
        out.note(f"repaired {repair.path} ({', '.join(sorted(set(repair.checks)))})")


def _exit_code(found: Audit, allow_incomplete: bool) -> int:
    code = found.exit_code
    return ExitCode.OK if code == ExitCode.NOT_ASSESSED and allow_incomplete and found.subjects else code


def _waivers(path: Path | None) -> Any:
    from mcpsec.audit.waivers import NAME, load

    if path is None:
        path = Path(NAME)
        if not path.is_file():
            return None
    return load(path, str(path))


def _report(found: Audit, output_format: Format, output: Path | None, show_all: bool) -> None:
    if output_format is Format.console and output is None:
        from mcpsec.cli.audit_console import show

        show(found, show_all=show_all)
        return
    from mcpsec.audit.reports import render

    _write(render(found, output_format.value, show_all=show_all), output)


@app.command("list", epilog=examples("mcpsec audit list", "mcpsec audit list --format json"))
def list_checks(
    output_format: Annotated[
        str, typer.Option("--format", "-f", metavar="[console|json]", help="How they are written.")
    ] = "console",
) -> None:
    """Name every check: severity, checklist items, what it looks at."""
    from mcpsec.audit.catalogue import checks

    if output_format == "json":
        rows = [_described(check) for check in checks().values()]
        out.json({"schema": "mcpsec.audit-checks/1", "checks": rows})
        return
    area = ""
    for check in checks().values():
        if check.area != area:
            area = check.area
            out.result(f"\n{area}")
        items = ",".join(map(str, check.items)) or "-"
        out.result(f"  {check.id}  {check.severity:8}  item {items:5}  {check.probe:6}  {check.title}")
    out.note(f"{len(checks())} checks")


@app.command(epilog=examples("mcpsec audit explain TLS011", "mcpsec audit explain SEC001"))
def explain(name: Annotated[str, typer.Argument(metavar="ID", help="A check's id.")]) -> None:
    """Say what a check is about: when it passes, why it matters, what to do, what it maps to."""
    from mcpsec.audit.catalogue import find, table

    check = find(name)
    owasp, cwe = table("owasp.toml"), table("cwe.toml")
    out.result(f"{check.id}  {check.title}")
    rows = [
        ("passes when", check.passes),
        ("why", check.why),
        ("severity", f"{check.severity} (confidence {check.confidence})"),
        ("persona", check.persona),
        ("looks at", ", ".join(check.kinds)),
        ("probe", "files only" if check.probe == "static" else f"{check.probe}, of a live endpoint"),
        ("checklist", ", ".join(f"item {number}" for number in check.items)),
        ("OWASP MCP", ", ".join(f"{each} {owasp[each]}" for each in check.owasp)),
        ("CWE", ", ".join(f"CWE-{number} {cwe[str(number)]}" for number in check.cwe)),
        ("MCP", check.spec),
        ("CoSAI", check.cosai),
    ]
    for label, text in rows:
        if text:
            out.result(f"  {label:12} {text}")
    for where, text in check.fix.items():
        out.result(f"  {'fix' if where == 'any' else 'fix ' + where:12} {text}")


def _described(check: Any) -> dict[str, Any]:
    return {
        "id": check.id,
        "title": check.title,
        "area": check.area,
        "severity": check.severity,
        "confidence": check.confidence,
        "persona": check.persona,
        "items": list(check.items),
        "kinds": list(check.kinds),
        "probe": check.probe,
        "passes": check.passes,
        "why": check.why,
        "fix": check.fix,
        **check.references(),
    }
