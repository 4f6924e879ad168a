"""``mcpsec policy``: check, explain, test, document and tighten who may do what."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcpsec.cli.calls import (
    ArgOption,
    ArgumentsOption,
    PromptOption,
    ResourceOption,
    ToolOption,
    call_arguments,
    call_target,
    command_text,
)
from mcpsec.cli.options import ConfigOption, Rendering, RenderingOption, application
from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode, UsageError
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from mcpsec.deployment import Deployment
    from mcpsec.gateway.policy import Call, Context, Decision
    from mcpsec.gateway.policy.suggest import Suggestion

app = application(
    "Explain, test and document who may do what.",
    epilog=examples(
        "mcpsec policy check",
        "mcpsec policy explain --client reporting-agent --tool tickets/get_ticket --arg project=WEB",
        "mcpsec policy test policy-tests.toml",
    ),
)


class TestFormat(StrEnum):
    """How the outcome of tests is written."""

    CONSOLE = "console"
    JSON = "json"
    JUNIT = "junit"


@app.callback()
def policy() -> None:
    """Explain, test and document who may do what."""


@app.command(epilog=examples("mcpsec policy check", "mcpsec policy check --strict --format json"))
def check(
    config: ConfigOption = Path("mcpsec.toml"),
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
    format: RenderingOption = Rendering.CONSOLE,
) -> None:
    """Find what contradicts itself, grants nothing, or grants more than it seems to.

    Exit code 0 without errors, 1 with errors, 2 when the file can't be read.
    """
    from mcpsec.clientfiles.toml import locate
    from mcpsec.deployment.problems import Report
    from mcpsec.gateway.policy import Policy
    from mcpsec.gateway.policy.lint import check as examine

    deployment = _load(config)
    Policy(deployment)  # raises for what the gateway could not start with
    report = Report(config.absolute(), config.absolute().parent, locate(config.read_text("utf-8-sig")))
    findings = examine(deployment)
    for finding in findings:
        report.add(finding.key, finding.message, finding.hint)
    located = list(zip(findings, report.problems, strict=True))
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    good = not errors and not (strict and warnings)
    if format is Rendering.JSON:
        listed = [
            {
                "severity": finding.severity,
                "check": finding.check,
                "message": finding.message,
                "hint": finding.hint,
                "key": problem.key,
                "path": str(config.absolute()),
                "line": problem.line,
            }
            for finding, problem in located
        ]
        out.json({"schema": "mcpsec.policy-check/1", "ok": good, "findings": listed})
    else:
        for finding, problem in located:
            out.result(f"{config}:{problem.line}: {finding.severity}: {finding.message} [{finding.check}]")
            out.result(f"    {finding.hint}")
        if not findings:
            out.result(f"{config}: nothing to say against this policy")
        out.note(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}")
    if not good:
        raise typer.Exit(ExitCode.NO)


@app.command(
    epilog=examples(
        "mcpsec policy explain --client reporting-agent --tool tickets/get_ticket --arg project=WEB",
        "mcpsec policy explain --client ops --tool tickets/delete_old --at 2026-11-22T02:30+01:00 --address 10.0.0.1",
        "mcpsec policy explain --client ops --resource files/file:///data/a.txt --format json",
    )
)
def explain(
    client: Annotated[str, typer.Option("--client", metavar="ID", help="The client's id.")],
    tool: ToolOption = None,
    resource: ResourceOption = None,
    prompt: PromptOption = None,
    complete: Annotated[
        str | None,
        typer.Option("--complete", metavar="UP/WHAT", help="Completing for prompt:NAME or resource:TEMPLATE."),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", metavar="UP/METHOD", help="Another method of the protocol.")
    ] = None,
    arg: ArgOption = None,
    arguments: ArgumentsOption = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="The moment of the call, with its offset; default: now.")
    ] = None,
    address: Annotated[str, typer.Option("--address", metavar="IP", help="The peer's address.")] = "127.0.0.1",
    certificate_sha256: Annotated[
        str | None,
        typer.Option("--certificate-sha256", metavar="HEX", help="The certificate's fingerprint; default: the file's."),
    ] = None,
    confirmed: Annotated[
        list[str] | None,
        typer.Option("--confirmed", metavar="HEADER", help="With a valid confirmation in this header. Repeatable."),
    ] = None,
    config: ConfigOption = Path("mcpsec.toml"),
    format: RenderingOption = Rendering.CONSOLE,
) -> None:
    """Say step by step why a call is allowed or refused.

    Exit code 0 when it is allowed, 1 when it is refused.
    """
    from mcpsec.gateway.policy import Call, Context, Policy

    deployment, client = _load(config), command_text(client)
    targets = {"tool": tool, "resource": resource, "prompt": prompt, "complete": complete, "method": method}
    kind, upstream, name = call_target(targets)
    call = Call(upstream, kind, name, call_arguments(arg or [], arguments))
    shown = None if certificate_sha256 is None else _fingerprint(certificate_sha256)
    fingerprint = shown or _configured_fingerprint(deployment, client)
    context = Context(fingerprint, _address(address), _moment(at), frozenset(map(_header, confirmed or [])))
    decision = Policy(deployment).decide(client, call, context, explain=True)
    _show_decision(client, call, context, decision, format)
    if not decision.allowed:
        raise typer.Exit(ExitCode.NO)


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
    except ValueError:
        raise UsageError("--at must be a time with its offset", hint="as in 2026-11-22T02:30:00+01:00") from None
    return moment


def _fingerprint(text: str) -> str:
    plain = text.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", plain):
        raise UsageError(
            "--certificate-sha256 has 64 hexadecimal digits", hint="as `mcpsec certs fingerprint NAME` prints it"
        )
    return plain


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise UsageError(f"--address: {text!r} is no IP address", hint="as in 10.0.0.1 or 2001:db8::1") from None


def _header(text: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text):
        raise UsageError(f"--confirmed: {text!r} is no header's name", hint="as in x-confirm-delete")
    return text.lower()


def _configured_fingerprint(deployment: Deployment, client_id: str) -> str | None:
    """The fingerprint that the file gives this client, if it knows its certificate by that."""
    certificates = [client.certificate for client in deployment.clients if client.id == client_id]
    return certificates[0].sha256 if certificates and certificates[0] else None


def _show_decision(client: str, call: Call, context: Context, decision: Decision, format: Rendering) -> None:
    if format is Rendering.JSON:
        out.json(
            {
                "schema": "mcpsec.policy-explain/1",
                "client": client,
                "upstream": call.upstream,
                "kind": call.kind,
                "name": call.name,
                "at": context.now.isoformat(),
                "address": context.address,
                "confirmed": sorted(context.confirmed),
                "allowed": decision.allowed,
                "rule": decision.rule,
                "reason": decision.reason,
                "method_class": decision.method_class,
                "steps": [{"passed": step.passed, "text": step.text} for step in decision.steps],
            }
        )
        return
    marks = {True: "yes", False: "no ", None: "   "}
    for step in decision.steps[:-1]:
        out.result(f"  {marks[step.passed]} {plain(step.text)}")
    out.result(f"{'allowed' if decision.allowed else 'refused'}: {decision.reason} [{decision.rule}]")


@app.command(epilog=examples("mcpsec policy test policy-tests.toml", "mcpsec policy test tests.toml --format junit"))
def test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=r"A TOML file of [\[tests]].")],
    config: ConfigOption = Path("mcpsec.toml"),
    format: Annotated[TestFormat, typer.Option("--format", help="console, json or junit.")] = TestFormat.CONSOLE,
) -> None:
    """Run the unit tests of a policy: calls, and what must become of them.

    Exit code 0 when all pass, 1 when one fails, 2 when a file is wrong.
    """
    from mcpsec.gateway.policy import Policy
    from mcpsec.gateway.policy.suite import junit, read, run

    outcomes = run(Policy(_load(config)), read(file))
    failed = [outcome for outcome in outcomes if outcome.problem is not None]
    if format is TestFormat.JUNIT:
        out.result(junit(outcomes, str(file)))
    elif format is TestFormat.JSON:
        out.json(
            {
                "schema": "mcpsec.policy-test/1",
                "tests": [
                    {
                        "name": outcome.test.name,
                        "line": outcome.test.line,
                        "passed": outcome.problem is None,
                        "problem": outcome.problem,
                        "rule": outcome.decision.rule,
                    }
                    for outcome in outcomes
                ],
                "summary": {"tests": len(outcomes), "failed": len(failed)},
            }
        )
    else:
        for outcome in failed:
            out.result(f"{file}:{outcome.test.line}: {plain(outcome.test.name)}: {outcome.problem}")
            for step in outcome.decision.steps[:-1]:
                out.result(f"    {plain(step.text)}")
        out.result(f"{_count(len(outcomes) - len(failed), 'test')} passed, {len(failed)} failed")
    if failed:
        raise typer.Exit(ExitCode.NO)


@app.command(epilog=examples("mcpsec policy document > docs/who-may-do-what.md"))
def document(config: ConfigOption = Path("mcpsec.toml")) -> None:
    """Write a Markdown page that says who may do what, and which line of the file says so.

    The page depends on nothing but the file, so that it can be kept beside it and compared in review.
    """
    from mcpsec.gateway.policy.document import markdown

    out.result(markdown(_load(config)))


@app.command(epilog=examples("mcpsec policy suggest", "mcpsec policy suggest log/events.jsonl --since 30d"))
def suggest(
    log: Annotated[
        Path | None, typer.Argument(metavar="[LOG]", help="The audit log; default: the one that the file names.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only what happened since: 30d, 2026-11-01.")
    ] = None,
    config: ConfigOption = Path("mcpsec.toml"),
    format: RenderingOption = Rendering.CONSOLE,
) -> None:
    """Propose the least privilege that each client's calls in the log needed, as a change to its grants."""
    from mcpsec.gateway.policy.suggest import suggest as compare
    from mcpsec.telemetry.query import Query, logs_of, parse_time, read

    deployment = _load(config)
    query = Query(kinds=("request", "authorization"), since=None if since is None else parse_time(since))
    logs = logs_of(deployment.log.file) if log is None else [log]
    suggestions = compare(deployment, (event for each in logs for event in read(each, query)))
    if format is Rendering.JSON:
        clients = [
            {
                "client": suggestion.client,
                "calls": dict(sorted(suggestion.calls.items())),
                "refused": suggestion.refused,
                "allow_resources": suggestion.resources,
                "allow_methods": suggestion.allow_methods,
                "unused": [{"granted_by": label, "glob": glob} for label, glob in suggestion.unused],
            }
            for suggestion in suggestions
        ]
        out.json({"schema": "mcpsec.policy-suggest/1", "clients": clients})
        return
    if not any(suggestion.calls for suggestion in suggestions):
        out.warn("the log holds no call of these clients in that time: what follows takes all their grants away")
    for suggestion in suggestions:
        _show_suggestion(suggestion)


def _show_suggestion(suggestion: Suggestion) -> None:
    """The client's grants as they are and as they could be, as a unified diff of TOML."""
    from difflib import unified_diff

    before = _lines(suggestion.client, list(suggestion.granted_now), list(suggestion.methods_now))
    after = _lines(suggestion.client, suggestion.resources, suggestion.allow_methods)
    calls = sum(suggestion.calls.values())
    out.result(f"# {suggestion.client}: {_count(calls, 'call')}, {suggestion.refused} refused")
    for label, glob in suggestion.unused:
        out.result(f"# not used: {plain(glob)} ({label})")
    for line in unified_diff(before, after, "granted now, roles included", "needed by the log", lineterm="", n=100):
        out.result(line)
    out.result("")


def _lines(client: str, resources: list[str], methods: list[str]) -> list[str]:
    def quoted(text: str) -> str:
        import json

        return plain(json.dumps(text, ensure_ascii=False))

    return [
        "[[clients]]",
        f"id = {quoted(client)}",
        "allow_resources = [",
        *(f"  {quoted(resource)}," for resource in resources),
        "]",
        f"allow_methods = [{', '.join(map(quoted, methods))}]",
    ]


def _load(config: Path) -> Deployment:
    from mcpsec.deployment import load

    return load(config)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
