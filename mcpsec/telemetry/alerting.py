"""The alert engine and its channels as a deployment file describes them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, get_args

from mcpsec.deployment.telemetry_model import Severity
from mcpsec.errors import ConfigurationError, SecretError
from mcpsec.signing import SigningKey
from mcpsec.telemetry.alerts import AlertEngine, Thresholds
from mcpsec.telemetry.baseline import Baselines
from mcpsec.telemetry.notify import CommandChannel, SlackChannel, SyslogChannel, WebhookChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from mcpsec.deployment.telemetry_model import AlertChannel, AlertLearning, Alerts
    from mcpsec.secretrefs import SecretRef
    from mcpsec.telemetry.alerts import Alert, Channel
    from mcpsec.telemetry.events import Event

__all__ = ["Selective", "alert_engine", "channels_of", "learned_patterns"]

_SEVERITIES: tuple[str, ...] = get_args(Severity)


class Selective:
    """A channel that takes only alerts that are severe enough and of some rules (none named: of all)."""

    def __init__(self, channel: Channel, severity: str, rules: Collection[str]) -> None:
        self.name = channel.name
        self._channel = channel
        self._least = _SEVERITIES.index(severity)
        self._rules = frozenset(rules)

    def wants(self, alert: Alert) -> bool:
        """True when this alert is for this channel; a test alert is for every one."""
        if alert.rule == "test":
            return True
        return _SEVERITIES.index(alert.severity) >= self._least and (not self._rules or alert.rule in self._rules)

    async def send(self, alert: Alert) -> None:
        """Deliver one alert, if it is for this channel.

        Raises:
            ShippingError: it did not arrive.
        """
        if self.wants(alert):
            await self._channel.send(alert)


def channels_of(
    alerts: Alerts, reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve()
) -> list[Selective]:
    """The channels of ``[[alerts.channels]]``, their secrets fetched by ``reveal``.

    Raises:
        ConfigurationError: a URL is not https, a secret can't be fetched or is too short.
    """
    return [Selective(_channel(each, reveal), each.severity, each.rules) for each in alerts.channels]


def alert_engine(
    alerts: Alerts,
    *,
    patterns: Path | None,
    record: Callable[[Event], object],
    readers: Collection[str] = (),
    clock: Callable[[], float] = time.time,
    reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve(),
) -> AlertEngine:
    """The engine with its rules, channels and thresholds; ``patterns`` is where learned patterns are kept.

    Raises:
        ConfigurationError: as ``channels_of``.
    """
    limits = alerts.thresholds
    return AlertEngine(
        channels_of(alerts, reveal),
        record=record,
        thresholds=Thresholds(
            authentication_failures=limits.authentication_failures,
            authentication_window=limits.authentication_window,
            rate_limit_hits=limits.rate_limit_hits,
            rate_limit_window=limits.rate_limit_window,
            certificate_days=limits.certificate_days,
            cooldown=alerts.cooldown,
        ),
        baselines=learned_patterns(alerts.learning, patterns),
        disabled=alerts.disable,
        readers=readers,
        clock=clock,
    )


def learned_patterns(learning: AlertLearning, path: Path | None) -> Baselines:
    """The clients' normal patterns, learned as the file says."""
    return Baselines(
        path,
        days=learning.period / 86400,
        requests=learning.requests,
        factor=learning.rate_factor,
        clients=learning.clients,
        resources=learning.resources,
    )


def _channel(config: AlertChannel, reveal: Callable[[SecretRef], bytes]) -> Channel:
    ca = None if config.ca is None else str(config.ca)
    if config.webhook is not None:
        key = None
        if config.secret is not None:
            key = SigningKey(config.key_id, secret=reveal(config.secret))
        return WebhookChannel(config.webhook, key=key, ca=ca)
    if config.slack is not None:
        try:
            url = reveal(config.slack).decode("ascii").strip()
        except UnicodeDecodeError:
            raise SecretError("the Slack webhook's URL is not plain text") from None
        return SlackChannel(url, ca=ca)
    if config.syslog is not None:
        return SyslogChannel(config.syslog, ca=ca)
    if config.command is None:
        raise ConfigurationError("an alert channel needs one of webhook, slack, syslog and command")
    return CommandChannel(config.command)
