"""``mcpsec alerts``: what the rules are, whether the channels work, what would have been alerted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcpsec.cli.options import (
    CONFIG,
    ConfigOption,
    Format,
    FormatOption,
    LogFile,
    application,
    load_with_managers,
    log_of,
)
from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode, UsageError, advice
from mcpsec.reading import read_file
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from mcpsec.telemetry.alerts import Alert, Channel

app = application("Alert rules and channels.")


@app.command(epilog=examples("mcpsec alerts rules"))
def rules(format: FormatOption = Format.text) -> None:
    """List the alert rules and what each means."""
    from mcpsec.telemetry.alerts import RULES

    if format is Format.json:
        out.json(
            {"schema": "mcpsec.alert-rules/1", "rules": [{"rule": name, "meaning": RULES[name]} for name in RULES]}
        )
        return
    width = max(map(len, RULES))
    for name, meaning in RULES.items():
        out.result(f"{name:{width}}  {meaning}")


@app.command(
    epilog=examples(
        "mcpsec alerts test",
        "mcpsec alerts test --webhook https://hooks.example.com/mcpsec --secret-file hook.secret --key-id gateway",
        "mcpsec alerts test --slack-file slack-url.txt",
        "mcpsec alerts test --command /usr/local/bin/page-someone",
    )
)
def test(
    *,
    config: ConfigOption = CONFIG,
    webhook: Annotated[str | None, typer.Option("--webhook", metavar="URL", help="Post the alert as JSON.")] = None,
    secret_file: Annotated[
        Path | None, typer.Option("--secret-file", metavar="FILE", help="Sign the webhook with this shared secret.")
    ] = None,
    key_id: Annotated[str, typer.Option("--key-id", help="Identifier of the webhook's signing key.")] = "alerts",
    slack_file: Annotated[
        Path | None,
        typer.Option("--slack-file", metavar="FILE", help="File with a Slack-compatible webhook URL (it is a secret)."),
    ] = None,
    syslog: Annotated[
        str | None, typer.Option("--syslog", metavar="TARGET", help="udp://, tcp://, tls://HOST:PORT or unix:/dev/log.")
    ] = None,
    command: Annotated[str | None, typer.Option("--command", metavar="PROGRAM", help="Run it, JSON on stdin.")] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="Authority that signed the receivers' certificates.")
    ] = None,
) -> None:
    r"""Send one test alert through each channel, and say which took it. Exit code 1 when one did not.

    The channels are those named here, else those of the deployment file ([\[alerts.channels]]).
    """
    if secret_file is not None and webhook is None:
        raise UsageError("--secret-file signs a webhook", hint="give that with --webhook URL")
    authority = None if ca is None else str(ca)
    if authority is not None:
        from mcpsec.telemetry.shipping import trusting

        trusting(authority)  # what is no authority is a mistake, and no channel's failure
    channels = _channels(webhook, secret_file, key_id, slack_file, syslog, command, authority)
    if not channels:
        channels = _configured(config)
    failed = asyncio.run(_send(channels))
    if failed:
        raise typer.Exit(ExitCode.NO)


@app.command(epilog=examples("mcpsec alerts replay log/events.jsonl", "mcpsec alerts replay --since 7d --format json"))
def replay(
    *,
    file: LogFile = None,
    config: ConfigOption = CONFIG,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From then on: 2h, 7d (ago), a date.")
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """Run the rules over a log and show what they would have alerted. Sends nothing.

    Thresholds and learning are those of the deployment file, where there is one.
    """
    from mcpsec.deployment.telemetry_model import Alerts
    from mcpsec.telemetry.alerting import alert_engine
    from mcpsec.telemetry.alerts import parse_record_time
    from mcpsec.telemetry.query import Query, parse_time, read

    now = [0.0]
    settings = Alerts()
    if file is None or config != CONFIG or config.exists():
        from mcpsec.deployment import load

        settings = load(config).alerts
    engine = alert_engine(
        replace(settings, channels=()), patterns=None, record=lambda _event: None, clock=lambda: now[0]
    )
    found: list[Alert] = []
    for event in read(log_of(file, config), Query(since=None if since is None else parse_time(since), own=True)):
        now[0] = parse_record_time(event)
        engine.feed(event)
        found += engine.take()
    if format is Format.json:
        out.json({"schema": "mcpsec.alerts/1", "alerts": [alert.document() for alert in found]})
        return
    for alert in found:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(alert.time))
        out.result(f"{stamp}  {alert.severity:8}  {alert.rule:24}  {plain(alert.summary)}")
    out.note(f"{len(found)} alerts")


def _configured(config: Path) -> list[Channel]:
    from mcpsec.telemetry.alerting import channels_of

    channels: list[Channel] = [*channels_of(load_with_managers(config).alerts)]
    if not channels:
        raise UsageError(
            "the deployment file has no alert channel",
            path=config,
            hint="add an [[alerts.channels]] table, or name one: --webhook, --slack-file, --syslog, --command",
        )
    return channels


def _channels(
    webhook: str | None,
    secret_file: Path | None,
    key_id: str,
    slack_file: Path | None,
    syslog: str | None,
    command: str | None,
    ca: str | None,
) -> list[Channel]:
    from mcpsec.signing import SigningKey, load_secret
    from mcpsec.telemetry.notify import CommandChannel, SlackChannel, SyslogChannel, WebhookChannel

    channels: list[Channel] = []
    if webhook is not None:
        key = None if secret_file is None else SigningKey(key_id, secret=load_secret(secret_file))
        channels.append(WebhookChannel(webhook, key=key, ca=ca))
    if slack_file is not None:
        try:
            url = read_file(slack_file).decode().strip()
        except OSError as error:
            raise UsageError(
                f"the file cannot be read: {error.strerror}", path=slack_file, hint=advice(error)
            ) from None
        except UnicodeDecodeError:
            raise UsageError("the file holds no URL", path=slack_file) from None
        channels.append(SlackChannel(url, ca=ca))
    if syslog is not None:
        channels.append(SyslogChannel(syslog, ca=ca))
    if command is not None:
        channels.append(CommandChannel([command]))
    return channels


async def _send(channels: list[Channel]) -> int:
    from mcpsec.errors import Error
    from mcpsec.telemetry.alerts import Alert

    alert = Alert("test", "low", "test", "This is a test alert from mcpsec; nothing is wrong.", time.time())
    failed = 0
    for channel in channels:
        try:
            await channel.send(alert)
        except Error as error:
            failed += 1
            out.result(f"failed  {error}")
        else:
            out.result(f"sent    {channel.name}")
    return failed
