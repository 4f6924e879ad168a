from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.signing import MemoryReplayStore, SignedMessage, SigningKey, VerificationKey, Verified, Verifier
from mcpsec.telemetry.alerts import Alert
from mcpsec.telemetry.notify import CommandChannel, SlackChannel, WebhookChannel
from mcpsec.telemetry.shipping import ShippingError
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
