"""URLs as people type them: what is none is said in one line by every command that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpsec.cli import root
from mcpsec.deployment.scaffold import create
from mcpsec.errors import Error
from mcpsec.telemetry.notify import WebhookChannel
from mcpsec.telemetry.shipping import SyslogSender, ship_otlp, without_credentials
from mcpsec.urls import split_url

BROKEN = [
    "https://[x/mcp",
    "https://host:port/mcp",
    "https://host:99999/mcp",
    "https://host/\r\nx: y",
    "https://h\x00/",
]


@pytest.mark.parametrize("url", BROKEN)
def test_a_text_that_is_no_url_has_no_parts(url: str) -> None:
    assert split_url(url) is None


def test_a_url_has_its_parts() -> None:
    parts = split_url("https://[::1]:8443/mcp?x=1")
    assert parts is not None
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("https", "::1", 8443, "/mcp")


@pytest.mark.parametrize("url", BROKEN[:2])
@pytest.mark.parametrize(
    "command",
    [
        ["connect", "URL"],
        ["connect", "URL", "--print"],
        ["connect", "URL", "--uninstall", "cursor"],
        ["serve", "-c", "new/mcpsec.toml", "--upstream", "URL"],
        ["alerts", "test", "--webhook", "URL"],
        ["alerts", "test", "--syslog", "URL"],
        ["log", "export", "events.jsonl", "--format", "syslog", "--to", "URL"],
        ["log", "export", "events.jsonl", "--format", "otlp", "--to", "URL"],
    ],
)
def test_every_command_says_so(
    command: list[str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MCPSEC_CONFIG", raising=False)
    create(tmp_path / "new")
    (tmp_path / "events.jsonl").write_text("{}\n")
    assert root.main([url if word == "URL" else word for word in command]) == 2
    said = capsys.readouterr().err
    assert "URL" in said and "internal error" not in said


@pytest.mark.parametrize("url", ["https://[hooks.example.com/T0/canary", "tls://[user:canary@siem"])
def test_a_receivers_address_is_not_repeated(url: str) -> None:
    """The path of a webhook is its secret, and a user's password stands before the host."""
    for attempt in (WebhookChannel, SyslogSender, without_credentials, lambda url: ship_otlp([], url)):
        with pytest.raises(Error) as raised:
            attempt(url)
        assert "canary" not in f"{raised.value} {raised.value.hint}"
