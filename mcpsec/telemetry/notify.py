"""Channels of alerts: signed webhook, Slack-compatible webhook, syslog, a command. The log always gets them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

import orjson

from mcpsec.errors import ConfigurationError
from mcpsec.signing import SignedMessage, Signer, SigningKey
from mcpsec.telemetry.alerts import Alert
from mcpsec.telemetry.export import syslog
from mcpsec.telemetry.shipping import ShippingError, SyslogSender, checked, syslog_target, trusting, without_credentials
from mcpsec.urls import is_confidential

__all__ = ["CommandChannel", "SlackChannel", "SyslogChannel", "WebhookChannel"]

_TIMEOUT = 10.0
_TRIES = 3
_PAUSE = 2.0
_EMOJI = {"low": ":information_source:", "medium": ":warning:", "high": ":rotating_light:", "critical": ":fire:"}


class WebhookChannel:
    """Posts ``mcpsec.alert/1`` to a URL, signed with the project's own scheme when there is a ``key``.

    The receiver verifies with ``mcpsec sign verify`` or ``mcpsec.signing.Verifier``. Three tries, seconds apart; no
    redirect is followed.

    Raises:
        ConfigurationError: the URL is not https (or http on this machine).
    """

    def __init__(
        self, url: str, *, key: SigningKey | None = None, scheme: str = "hmac-sha256", ca: str | None = None
    ) -> None:
        _refuse_clear_text(url)
        self.name = f"webhook {without_credentials(url)}"
        self._url = url
        self._signer = None if key is None else Signer(key, scheme)
        self._ca = ca

    async def send(self, alert: Alert) -> None:
        """Deliver one alert.

        Raises:
            ShippingError: the receiver can't be reached or refuses it.
        """
        await self._post(orjson.dumps(alert.document()))

    async def _post(self, body: bytes) -> None:
        problem = ""
        import httpx  # 118 modules, for a gateway that alerts somebody

        async with httpx.AsyncClient(timeout=_TIMEOUT, verify=trusting(self._ca), trust_env=False) as client:
            for attempt in range(_TRIES):
                if attempt:
                    await asyncio.sleep(_PAUSE * attempt)
                headers = {"content-type": "application/json", **self._signature(body)}
                try:
                    answer = await client.post(self._url, content=body, headers=headers)
                except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                    problem = f"{type(error).__name__}: {error}"
                    continue
                if answer.is_success:
                    return
                problem = f"it answered {answer.status_code}"
                if answer.status_code < 500 and answer.status_code != 429:
                    break
        raise ShippingError(f"{self.name}: {problem}")

    def _signature(self, body: bytes) -> Mapping[str, str]:
        """Headers that sign this very try: a replayed nonce would be refused."""
        if self._signer is None:
            return {}
        headers = [("content-type", "application/json")]
        return self._signer.sign(SignedMessage.from_url("POST", self._url, headers=headers, body=body))


class SlackChannel(WebhookChannel):
    """Posts the JSON that Slack, Mattermost, Rocket.Chat and Discord (``/slack``) take; the URL is the secret."""

    def __init__(self, url: str, *, ca: str | None = None) -> None:
        super().__init__(url, ca=ca)
        self.name = f"Slack webhook at {checked(url).hostname}"

    async def send(self, alert: Alert) -> None:
        """Deliver one alert.

        Raises:
            ShippingError: the receiver can't be reached or refuses it.
        """
        title = f"{_EMOJI[alert.severity]} *{alert.severity}* `{alert.rule}`"
        text = f"{title}\n{_slack(alert.summary)}"
        if alert.suppressed:
            text += f"\n_{alert.suppressed} more like this since the last alert_"
        blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
        await self._post(orjson.dumps({"text": f"[{alert.severity}] {_slack(alert.summary)}", "blocks": blocks}))


class SyslogChannel:
    """Sends alerts to a syslog daemon (RFC 5424): ``udp://``, ``tcp://``, ``tls://`` or ``unix:/dev/log``.

    Raises:
        UsageError: the target is none of these.
    """

    def __init__(self, target: str, *, ca: str | None = None) -> None:
        syslog_target(target)
        self.name = f"syslog {without_credentials(target)}"
        self._target = target
        self._ca = ca

    async def send(self, alert: Alert) -> None:
        """Deliver one alert.

        Raises:
            ShippingError: the daemon can't be reached.
        """
        await asyncio.to_thread(self._send, alert)

    def _send(self, alert: Alert) -> None:
        from mcpsec.telemetry.events import timestamp

        fields = {**alert.document(), "kind": "alert", "time": timestamp(alert.time)}
        with SyslogSender(self._target, ca=self._ca) as sender:
            sender.send(syslog(fields))


class CommandChannel:
    """Runs a command for each alert, its JSON on standard input; no shell, and none of the gateway's environment."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        if not command:
            raise ConfigurationError("an alert command needs at least a program")
        self.name = f"command {command[0]}"
        self._command = tuple(command)
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "SYSTEMROOT") if name in os.environ}
        self._environment = {**inherited, **(environment or {})}

    async def send(self, alert: Alert) -> None:
        """Deliver one alert.

        Raises:
            ShippingError: the command can't be started, fails, or takes longer than 10 seconds.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._environment,
            )
        except OSError as error:
            raise ShippingError(f"{self.name} cannot be started: {error.strerror}") from None
        try:
            async with asyncio.timeout(_TIMEOUT):
                await process.communicate(orjson.dumps(alert.document()) + b"\n")
        except TimeoutError:
            raise ShippingError(f"{self.name} took longer than {_TIMEOUT:g} s and was ended") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            raise ShippingError(f"{self.name} ended with {process.returncode}")


def _slack(text: str) -> str:
    """Text without Slack's control characters: a peer's words must not become links or mentions."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("@", "@\u200b").replace("`", "'")


def _refuse_clear_text(url: str) -> None:
    parts = checked(url)
    if parts.hostname and is_confidential(parts):
        return
    if not parts.hostname:
        raise ConfigurationError(
            "an alert webhook's address is no URL", hint="such as https://hooks.example.com/mcpsec"
        )
    raise ConfigurationError(  # its path may be the secret
        f"an alert webhook needs https: {parts.hostname}", hint="http is accepted for this machine only"
    )
