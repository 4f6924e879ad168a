"""The keys of ``[log]``, ``[alerts]`` and ``[opentelemetry]``. Part of ``keys``."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from mcpsec.deployment import telemetry_model as model
from mcpsec.deployment.kinds import Choice, Duration, FilePath, Flag, Secret, Size, Text, Url, Whole
from mcpsec.deployment.literals import header_is_secret
from mcpsec.deployment.policy_kinds import Command, Glob, HeaderName
from mcpsec.deployment.shapes import Key, ListOf, MapOf, Scalar, Table, Wrong
from mcpsec.frozen import dataclass

__all__ = ["ALERTS", "LOG", "OPENTELEMETRY"]

_DAY = 86400.0
_YEARS = 10 * 366 * _DAY
_RULES = ListOf(Choice(get_args(model.AlertRule)))
_KEY_ID = Text("key id", r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}")
_SYSLOG = Text(
    "syslog target",
    r"(?:udp|tcp|tls)://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?|unix:/\S+",
    'write "udp://HOST:514", "tcp://HOST:601", "tls://HOST:6514" or "unix:/dev/log"',
)


@dataclass(frozen=True, slots=True)
class Number(Scalar):
    """A finite number within bounds."""

    least: float
    most: float
    label: ClassVar[str] = "number"

    def parse(self, value: Any, base: Any) -> float:
        """Accept a number, whole or not."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong("must be a number")
        if not self.least <= value <= self.most:  # nan is nowhere
            raise Wrong(f"must be between {self.least:g} and {self.most:g}")
        return float(value)

    def schema(self) -> dict[str, Any]:
        """Describe a number with its bounds."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}


LOG = Table(
    model.Log,
    (
        Key("file", FilePath("new file"), "The audit log: JSON Lines, hash-chained.", '"log/events.jsonl"'),
        Key(
            "fsync",
            Choice(get_args(model.Fsync)),
            "When lines are forced to the disk. `event` loses nothing even in a power cut, and costs every request a "
            "disk write.",
        ),
        Key(
            "on_full",
            Choice(get_args(model.OnFull)),
            "While the log can't be written: refuse every request (503), or serve, drop events and record how many.",
        ),
        Key("buffer", Size(64 * 1024, 1 << 30), "Events that wait to be written while the disk does not take them."),
        Key("checkpoint_events", Whole(1, 1_000_000), "At most so many events between two signed checkpoints."),
        Key("checkpoint_age", Duration(0.2, 3600), "An event is under a signed checkpoint after this."),
        Key("rotate_size", Size(64 * 1024, 1 << 40), "A file is rotated at this size."),
        Key("rotate_age", Duration(1, _YEARS), "A file is rotated at this age, however small."),
        Key("keep_parts", Whole(1, 1_000_000), "So many rotated files are kept; without it all of them."),
        Key("keep_age", Duration(60, _YEARS), "Rotated files are kept so long; without it for ever."),
        Key("compress", Flag(), "Rotated files are compressed (gzip)."),
        Key(
            "arguments",
            MapOf(Glob(resource=True), ListOf(Text("argument name", r"[^\x00-\x1f]{1,128}")), of='"UPSTREAM/TOOL"'),
            "Arguments that are written in clear (redacted), by glob over tools. Dots lead into objects. Of all other "
            "arguments only a keyed digest is written.",
        ),
    ),
    "The record of every request and every refusal.",
)

_CHANNEL = Table(
    model.AlertChannel,
    (
        Key(
            "webhook", Url(), "Post each alert there as JSON (`mcpsec.alert/1`).", '"https://hooks.example.com/mcpsec"'
        ),
        Key("slack", Secret(), "A Slack-compatible webhook's URL, which is a secret, by reference."),
        Key("syslog", _SYSLOG, "Send each alert to a syslog daemon (RFC 5424)."),
        Key("command", Command(), "Run this program, the alert's JSON on standard input, no shell."),
        Key("secret", Secret(), "Sign the webhook's requests with this shared secret (HMAC-SHA-256).", needs="webhook"),
        Key("key_id", _KEY_ID, "The secret's name in the signature.", needs="secret"),
        Key("ca", FilePath("file"), "CA certificates, PEM, that the receiver's certificate must come from."),
        Key("severity", Choice(get_args(model.Severity)), "Only alerts at least this severe."),
        Key("rules", _RULES, "Only alerts of these rules; empty: of all."),
    ),
    "Where alerts go. The log and the dashboard always have them.",
    one_of=("webhook", "slack", "syslog", "command"),
)

_THRESHOLDS = Table(
    model.AlertThresholds,
    (
        Key("authentication_failures", Whole(1, 100_000), "Failed authentications of one client or address."),
        Key("authentication_window", Duration(1, _DAY), "Failures within this count together."),
        Key("rate_limit_hits", Whole(1, 100_000), "Limit hits of one client."),
        Key("rate_limit_window", Duration(1, _DAY), "Hits within this count together."),
        Key("certificate_days", ListOf(Whole(0, 3650)), "Days before a certificate's end at which it is alerted."),
    ),
    "When the counting rules fire.",
)

_LEARNING = Table(
    model.AlertLearning,
    (
        Key("period", Duration(60, 366 * _DAY), "A client's pattern is learned after this, and after `requests`."),
        Key("requests", Whole(1, 100_000_000), "Until a client made so many, nothing is unusual."),
        Key("rate_factor", Number(1.1, 1000), "A minute with more requests than the busiest learned one times this."),
        Key("clients", Whole(1, 1_000_000), "Clients whose pattern is kept; the one longest unseen goes first."),
        Key("resources", Whole(1, 100_000), "Resources kept of each; who uses more is not judged by resource."),
    ),
    "How a client's normal pattern is learned.",
)

ALERTS = Table(
    model.Alerts,
    (
        Key("disable", _RULES, "Rules that are off: `mcpsec alerts rules` lists them."),
        Key("cooldown", Duration(1, 30 * _DAY), "A rule alerts once for a subject in this time."),
        Key("channels", ListOf(_CHANNEL), "Where alerts go."),
        Key("thresholds", _THRESHOLDS, "When the counting rules fire."),
        Key("learning", _LEARNING, "How a client's normal pattern is learned."),
    ),
    "What somebody should be told.",
)

OPENTELEMETRY = Table(
    model.OpenTelemetry,
    (
        Key(
            "endpoint",
            Url(),
            "The collector's OTLP/HTTP address; /v1/traces and /v1/metrics are added.",
            '"http://127.0.0.1:4318"',
        ),
        Key(
            "headers",
            MapOf(HeaderName(), Secret(text_allowed=True, is_secret=header_is_secret), of="HEADER"),
            "Headers sent with every export, as the collector's credential.",
        ),
        Key("ca", FilePath("file"), "CA certificates, PEM, that its certificate must come from."),
        Key("service_name", Text("service name", r"[!-~]{1,128}"), "`service.name` of what is sent."),
        Key("traces", Flag(), "Send a span for every request."),
        Key("metrics", Flag(), "Send the figures of /metrics."),
        Key("sample", Number(0, 1), "Share of traces that begin here; a trace begun by the client keeps its decision."),
        Key("interval", Duration(1, 3600), "Time between two exports of metrics."),
    ),
    "Traces and metrics to an OpenTelemetry collector. Needs `pip install 'mcpsec-toolkit[otel]'`.",
)
