"""``mcpsec approve``: an operator's confirmation of one call."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

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
from mcpsec.cli.options import (
    CONFIG,
    ConfigOption,
    Rendering,
    RenderingOption,
    application,
    load_with_managers,
)
from mcpsec.cli.output import examples, out
from mcpsec.errors import ConfigurationError, RefusedError, UsageError

if TYPE_CHECKING:
    from mcpsec.deployment import Deployment
    from mcpsec.gateway.policy.confirmation import ConfirmationKey

app = application(group=False)

_METHODS = {"tool": "tools/call", "resource": "resources/read", "prompt": "prompts/get"}
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Asked(NamedTuple):
    """The call to confirm: its digest, the headers that a confirmation belongs in, and words for the operator."""

    digest: str
    headers: tuple[str, ...]
    client: str
    resource: str


@app.command(
    epilog=examples(
        "mcpsec approve 5f0c…e1",
        "mcpsec approve 5f0c…e1 --client ops --tool tickets/delete_old --arg id=7",
        "mcpsec approve --client ops --tool tickets/delete_old --arg id=7 --valid 5m",
    )
)
def approve(
    digest: Annotated[
        str | None, typer.Argument(metavar="[DIGEST]", help="What the gateway's refusal asks to approve.")
    ] = None,
    client: Annotated[str | None, typer.Option("--client", metavar="ID", help="The client that will call.")] = None,
    tool: ToolOption = None,
    resource: ResourceOption = None,
    prompt: PromptOption = None,
    arg: ArgOption = None,
    arguments: ArgumentsOption = None,
    valid: Annotated[str, typer.Option("--valid", metavar="DURATION", help="How long it may be used.")] = "10m",
    config: ConfigOption = CONFIG,
    format: RenderingOption = Rendering.CONSOLE,
) -> None:
    """Confirm one call that a rule with confirmation_header holds back; prints the header that the caller must send.

    The call is named by the digest in the refusal, described by the options, or both: then they must be the same call.
    A digest alone is looked up in the audit log, so that nothing is confirmed unseen. The confirmation is good for that
    client, that call with those arguments, once.

    Exit code 0 when it was made, 1 when it can't be: the call is unknown, or no rule asks for a confirmation of it.
    """
    from mcpsec.gateway.policy.confirmation import ConfirmationKey

    deployment = load_with_managers(config)
    if deployment.approval is None:
        raise ConfigurationError(
            "there is no [approval] table, so no key to confirm with",
            hint='add [approval] secret = { file = "secrets/approval.key" }; docs/policy.md says more',
            path=config,
        )
    digest = None if digest is None else _digest(digest)
    seconds = _seconds(valid, deployment.approval.max_age)
    key = ConfirmationKey.of(deployment.approval)
    targets = {"tool": tool, "resource": resource, "prompt": prompt}
    if client is not None or any(targets.values()):
        asked = _described(deployment, key, client, targets, call_arguments(arg or [], arguments))
        if digest not in (None, asked.digest):
            raise RefusedError(
                "the digest is not that of this call",
                hint="the client asked for something else, or the approval secret has changed since: "
                "look at its arguments, and let it ask again",
            )
    elif digest is None:
        raise UsageError("say what to approve", hint="a digest from a refusal, or --client with --tool and its --arg")
    else:
        asked = _logged(deployment, digest)
    expires = datetime.fromtimestamp(int(datetime.now(UTC).timestamp() + seconds), UTC)
    out.note(f"confirming: {asked.client} may use {asked.resource} once, until {expires.isoformat(sep=' ')}")
    values = {header: key.make(asked.digest, seconds) for header in asked.headers}
    if format is Rendering.JSON:
        out.json(
            {
                "schema": "mcpsec.approve/1",
                "digest": asked.digest,
                "client": asked.client,
                "resource": asked.resource,
                "expires": expires.isoformat(),
                "headers": values,
            }
        )
        return
    for header, value in values.items():
        out.result(f"{header}: {value}")


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text.lower()):
        raise UsageError("that is not a digest", hint="it has 64 hexadecimal digits: `approve` in the refusal's data")
    return text.lower()


def _seconds(text: str, most: float) -> float:
    from mcpsec.deployment.kinds import Duration
    from mcpsec.deployment.shapes import Wrong

    try:
        seconds: float = Duration(1, most).parse(text, None)
    except Wrong as wrong:
        raise UsageError(f"--valid {wrong.message}", hint=wrong.hint or "[approval] max_age is the most") from None
    return seconds


def _described(
    deployment: Deployment,
    key: ConfirmationKey,
    client: str | None,
    targets: dict[str, str | None],
    arguments: dict[str, Any],
) -> _Asked:
    from mcpsec.gateway.policy import Call, Policy, what_of

    kind, upstream, name = call_target(targets)
    if client is None or command_text(client) not in [known.id for known in deployment.clients]:
        raise UsageError("--client must name a client of the file", hint=", ".join(c.id for c in deployment.clients))
    what = what_of(kind, name)
    headers = () if what is None else Policy(deployment).confirmations_of(upstream, what)
    if not headers:
        raise RefusedError(f"no rule asks for a confirmation of {upstream}/{what or name}")
    call = Call(upstream, kind, name, arguments)
    try:
        digest = key.digest(client, _METHODS[kind], call, {"arguments": arguments} if arguments else {})
    except TypeError:
        raise UsageError("an argument is no JSON that a message could hold: a number is out of range") from None
    return _Asked(digest, headers, client, f"{upstream}/{what}")


def _logged(deployment: Deployment, digest: str) -> _Asked:
    """The refusal of the audit log that asked for this digest."""
    from mcpsec.telemetry.query import Query, last, logs_of

    wanted = f"approve {digest} in "
    query = Query(kinds=("authorization",), rules=("context-confirmation",), text=wanted)
    logs = logs_of(deployment.log.file)
    found = sorted((event for log in logs for event in last(log, query, 1)), key=lambda event: str(event.get("time")))
    if not found:
        raise RefusedError(
            "no refusal in the audit log asks for this digest",
            hint="describe the call, so that nothing is confirmed unseen: --client ID --tool UP/NAME --arg NAME=VALUE",
        )
    event = found[-1]
    header = str(event.get("detail", "")).removeprefix(wanted)
    if header not in {rule.require.confirmation_header for rule in deployment.rules}:
        raise RefusedError("the rule that asked for this confirmation is not in the file any more")
    out.note(f"asked for at {event.get('time')} by {event.get('client')} from {event.get('address')}")
    return _Asked(digest, (header,), str(event.get("client")), str(event.get("resource")))
