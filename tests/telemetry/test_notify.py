from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.signing import MemoryReplayStore, SignedMessage, SigningKey, VerificationKey, Verified, Verifier
from mcpsec.telemetry.alerts import Alert
from mcpsec.telemetry.notify import CommandChannel, SlackChannel, SyslogChannel, WebhookChannel
from mcpsec.telemetry.shipping import ShippingError, SyslogSender
from tests.certs.helpers import server_context, tls_server
from tests.fixtures.receiver import Receiver

ALERT = Alert("breaker-open", "high", "files", "the breaker of <files> opened @here", time.time(), 3)
SECRET = b"k" * 40


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_a_webhook_is_signed_so_that_the_projects_verifier_accepts_it(receiver: Receiver) -> None:
    asyncio.run(WebhookChannel(receiver.url, key=SigningKey("hook", secret=SECRET)).send(ALERT))
    ((headers, body, path),) = receiver.requests
    assert json.loads(body)["rule"] == "breaker-open"
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    message = SignedMessage("POST", headers["host"], path, "", pairs, body)
    keys = {"hook": VerificationKey("hook", "gateway", secret=SECRET)}
    verifier = Verifier(keys, schemes=["hmac-sha256"], max_age=60, replay=MemoryReplayStore())
    assert isinstance(verifier.verify(message), Verified)
    forged = SignedMessage("POST", headers["host"], path, "", pairs, body.replace(b"high", b"low "))
    fresh = Verifier(keys, schemes=["hmac-sha256"], max_age=60, replay=MemoryReplayStore())
    assert not isinstance(fresh.verify(forged), Verified)


def test_a_refusal_is_final_and_said(receiver: Receiver) -> None:
    receiver.statuses = [400]
    with pytest.raises(ShippingError, match="400"):
        asyncio.run(WebhookChannel(receiver.url).send(ALERT))
    assert len(receiver.requests) == 1


def test_a_busy_receiver_is_tried_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.telemetry.notify._PAUSE", 0.01)
    receiver.statuses = [503, 429]
    asyncio.run(WebhookChannel(receiver.url, key=SigningKey("hook", secret=SECRET)).send(ALERT))
    assert len({headers["x-nonce"] for headers, _, _ in receiver.requests}) == 3


def test_slack_text_can_carry_no_link_and_no_mention(receiver: Receiver) -> None:
    asyncio.run(SlackChannel(receiver.url).send(ALERT))
    document = json.loads(receiver.requests[0][1])
    assert "<files>" not in json.dumps(document)
    assert "@here" not in json.dumps(document, ensure_ascii=False)
    assert "3 more" in document["blocks"][0]["text"]["text"]


@pytest.mark.parametrize("url", ["http://hooks.example.com/x", "ftp://127.0.0.1/", "https://", "nonsense"])
def test_clear_text_leaves_this_machine_never(url: str) -> None:
    with pytest.raises(ConfigurationError):
        WebhookChannel(url)


def test_a_secret_url_is_not_shown() -> None:
    for channel in (
        WebhookChannel("https://u:pw@h.example.com/x?token=abc"),
        SlackChannel("https://h.example.com/T1/abc"),
    ):
        assert "abc" not in channel.name
        assert "pw" not in channel.name


def test_a_command_gets_the_alert_on_stdin_and_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GATEWAY", "canary")
    target = tmp_path / "got.json"
    code = f"import sys, os, json; json.dump([json.load(sys.stdin), dict(os.environ)], open({str(target)!r}, 'w'))"
    asyncio.run(CommandChannel([sys.executable, "-c", code]).send(ALERT))
    document, environment = json.loads(target.read_text())
    assert document["schema"] == "mcpsec.alert/1"
    assert "SECRET_OF_THE_GATEWAY" not in environment


def test_a_command_that_fails_hangs_or_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for command, text, seconds in (
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3", 60.0),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "longer than", 0.3),
        (["/no/such/program"], "cannot be started", 60.0),
    ):
        monkeypatch.setattr("mcpsec.telemetry.notify._TIMEOUT", seconds)
        with pytest.raises(ShippingError, match=text):
            asyncio.run(CommandChannel(command).send(ALERT))


def test_a_receiver_that_is_not_there_is_said_after_three_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.telemetry.notify._PAUSE", 0.001)
    with pytest.raises(ShippingError, match="ConnectError"):
        asyncio.run(WebhookChannel("http://127.0.0.1:9/hook").send(ALERT))


def test_an_alert_that_is_the_first_of_its_kind_counts_no_others(receiver: Receiver) -> None:
    asyncio.run(SlackChannel(receiver.url).send(Alert("breaker-open", "high", "files", "it opened", time.time())))
    assert b"more like this" not in receiver.requests[0][1]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_an_alert_reaches_a_local_syslog_of_either_kind(kind: socket.SocketKind, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, kind) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(5)
        if kind is socket.SOCK_STREAM:
            daemon.listen()
        asyncio.run(SyslogChannel(f"unix:{path}").send(ALERT))
        if kind is socket.SOCK_STREAM:
            with daemon.accept()[0] as talking, talking.makefile("rb") as file:
                got = file.read()
            assert got.endswith(b"\n")
        else:
            got = daemon.recv(65536)
    assert got.startswith(b"<") and b"breaker-open" in got


def test_a_local_syslog_that_is_not_there_or_ends(tmp_path: Path) -> None:
    with pytest.raises(ShippingError, match="cannot be reached"):
        SyslogSender(f"unix:{tmp_path / 'none'}")
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        sender = SyslogSender(f"unix:{path}")
    with sender, pytest.raises(ShippingError, match="does not take messages"):
        sender.send(b"message")


@pytest.mark.parametrize("target", ["tls://[x", "tls://h:port"])
def test_what_is_no_address_is_not_repeated(target: str) -> None:
    with pytest.raises((UsageError, ShippingError)) as caught:
        SyslogSender(target)
    assert "secret" not in str(caught.value)


def test_syslog_over_tls_is_verified(tmp_path: Path) -> None:
    with Pki.create(tmp_path / "pki") as pki:
        server = pki.issue("syslog", Purpose.SERVER, ["127.0.0.1"])
        assert server.key is not None
        context = server_context(server.chain, server.key)
        with tls_server(context) as port:
            with SyslogSender(f"tls://127.0.0.1:{port}", ca=str(pki.root_file)) as sender:
                sender.send(b"message")
            with pytest.raises(ShippingError, match="cannot be reached"):
                SyslogSender(f"tls://127.0.0.1:{port}")


def test_a_command_needs_a_program() -> None:
    with pytest.raises(ConfigurationError, match="at least a program"):
        CommandChannel([])
