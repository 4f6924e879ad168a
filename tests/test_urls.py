"""URLs as people type them: what is none is said in one line by every command that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpsec.certs.issuers.openbao import OpenBao
from mcpsec.cli import root
from mcpsec.connect.oauth.http import checked_url
from mcpsec.deployment.oauth_keys import ServerUrl
from mcpsec.deployment.scaffold import create
from mcpsec.deployment.shapes import Wrong
from mcpsec.errors import Error
from mcpsec.secretrefs.managers import VaultSettings
from mcpsec.secretrefs.vault import _Login
from mcpsec.signing.keys import generate_secret, write_private
from mcpsec.telemetry.notify import WebhookChannel
from mcpsec.telemetry.shipping import SyslogSender, ship_otlp, without_credentials
from mcpsec.urls import is_confidential, is_loopback_name, split_url

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
        ["sign", "--send", "--key-id", "a", "--secret-file", "secret", "--tool", "echo", "--url", "URL"],
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
    write_private(tmp_path / "secret", f"{generate_secret()}\n".encode())
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


@pytest.mark.parametrize(
    ("url", "stays"),
    [
        ("https://hooks.example.com/x", True),
        ("http://localhost:8200", True),
        ("http://LOCALHOST/", True),
        ("http://127.0.0.1:8200/", True),
        ("http://[::1]/", True),
        ("http://hooks.example.com/x", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://127.0.0.2/", False),  # this machine's too, but nobody writes it by accident
        ("http://127.1/", False),
        ("http://[::ffff:127.0.0.1]/", False),
        ("http://localhost.example.com/", False),
        ("http://app.localhost/", False),
        ("http://localhost./", False),
        ("http://0.0.0.0/", False),
        ("http://localhost@example.com/", False),
        ("http:///x", False),
        ("ftp://localhost/", False),
        ("localhost:8200", False),
    ],
)
def test_http_is_for_this_machine_by_its_own_names(url: str, stays: bool) -> None:
    parts = split_url(url)
    assert parts is not None
    assert is_confidential(parts) is stays


def test_a_host_that_is_missing_is_not_this_machine() -> None:
    assert is_loopback_name("localhost") and not is_loopback_name(None) and not is_loopback_name("")


ASKED = {
    "a webhook": WebhookChannel,
    "an endpoint of OAuth": lambda url: checked_url(url, "the token endpoint"),
    "[auth.oauth] issuer": lambda url: ServerUrl().parse(url, None),
    "a secrets manager": lambda url: _Login(VaultSettings(address=url)).close(),
    "a CA elsewhere": lambda _: OpenBao(),
}
"""All who are told more than anybody on the way may read."""


@pytest.mark.parametrize("who", ASKED)
def test_all_of_them_refuse_to_speak_in_the_clear(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAO_TOKEN", "token")
    for url in ("https://other.example.com/x", "http://localhost:1/x", "http://127.0.0.1:1/x", "http://[::1]:1/x"):
        monkeypatch.setenv("BAO_ADDR", url)
        ASKED[who](url)
    for url in ("http://other.example.com/x", "http://127.0.0.2:1/x", "http://localhost.example.com/x"):
        monkeypatch.setenv("BAO_ADDR", url)
        with pytest.raises((Error, Wrong), match="https"):
            ASKED[who](url)
