"""Confirmations: what one is good for, and every way in which it is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpsec.errors import SecretError
from mcpsec.gateway.policy import Call
from mcpsec.gateway.policy.confirmation import ConfirmationKey, Confirmations
from mcpsec.gateway.state import MemoryState

SECRET = b"s" * 32
KEY = ConfirmationKey(SECRET, 3600.0)
NOW = 1_795_868_671.0
CALL = Call("tickets", "tool", "delete_old", {"id": 7})
PARAMS: dict[str, Any] = {"name": "tickets_delete_old", "arguments": {"id": 7}, "_meta": {"progressToken": 1}}
ABOUT = ("ops", "tools/call", CALL, PARAMS)
DIGEST = KEY.digest(*ABOUT)


@pytest.mark.parametrize(
    ("client", "method", "call", "params"),
    [
        ("other", "tools/call", CALL, PARAMS),
        ("ops", "tools/call2", CALL, PARAMS),
        ("ops", "tools/call", CALL._replace(upstream="files"), PARAMS),
        ("ops", "tools/call", CALL._replace(name="delete_new"), PARAMS),
        ("ops", "tools/call", CALL._replace(kind="prompt"), PARAMS),
        ("ops", "tools/call", CALL, {**PARAMS, "arguments": {"id": 8}}),
        ("ops", "tools/call", CALL, {**PARAMS, "arguments": {"id": "7"}}),
        ("ops", "tools/call", CALL, {**PARAMS, "arguments": {"id": 7.0}}),
        ("ops", "tools/call", CALL, {**PARAMS, "arguments": {"id": 7, "force": True}}),
        ("ops", "tools/call", CALL, {**PARAMS, "arguments": {"ID": 7}}),
        ("ops", "tools/call", CALL, {**PARAMS, "arguments": {}}),
        ("ops", "tools/call", CALL, {**PARAMS, "inputResponses": {"ok": {"action": "accept"}}}),
        ("ops", "tools/call", CALL, {**PARAMS, "task": {"ttl": 1}}),
    ],
)
def test_another_call_has_another_digest(client: str, method: str, call: Call, params: dict[str, Any]) -> None:
    assert KEY.digest(client, method, call, params) != DIGEST


def test_what_a_message_says_about_itself_changes_no_digest() -> None:
    for params in ({**PARAMS, "_meta": {}}, {**PARAMS, "name": "delete_old"}, {**PARAMS, "requestState": "sealed"}):
        assert KEY.digest("ops", "tools/call", CALL, params) == DIGEST
    empty, absent = {"arguments": {}}, dict[str, Any]()
    assert KEY.digest("ops", "tools/call", CALL, empty) == KEY.digest("ops", "tools/call", CALL, absent)
    reordered = {"arguments": {"b": 1, "a": 2}}, {"arguments": {"a": 2, "b": 1}}
    assert len({KEY.digest("ops", "tools/call", CALL, params) for params in reordered}) == 1


def test_a_digest_can_not_be_guessed_without_the_key() -> None:
    assert ConfirmationKey(b"t" * 32, 3600).digest("ops", "tools/call", CALL, PARAMS) != DIGEST


def test_a_confirmation_holds_for_its_call_and_time() -> None:
    text = KEY.make(DIGEST, 600, NOW)
    presented = KEY.read(text, DIGEST, NOW)
    assert presented is not None and presented.expires == int(NOW) + 600
    assert KEY.read(text, DIGEST, NOW + 599) is not None
    assert KEY.read(text, DIGEST, NOW - 30) is not None, "clocks differ a little"
    assert KEY.read(text, DIGEST, NOW + 600) is None
    assert KEY.read(text, DIGEST, NOW - 120) is None, "made in the future"
    assert KEY.read(text, DIGEST, NOW, since=NOW + 1) is None, "made before the gateway could know it"
    assert KEY.read(text, "0" * 64, NOW) is None
    assert ConfirmationKey(b"t" * 32, 3600).read(text, DIGEST, NOW) is None


def test_no_confirmation_is_valid_longer_than_the_file_allows() -> None:
    assert KEY.read(KEY.make(DIGEST, 86_400, NOW), DIGEST, NOW + 3599) is not None
    assert KEY.read(KEY.make(DIGEST, 86_400, NOW), DIGEST, NOW + 3600) is None
    longer = ConfirmationKey(SECRET, 86_400.0).make(DIGEST, 86_400, NOW)
    assert KEY.read(longer, DIGEST, NOW) is None, "made by somebody with a longer max_age"


@given(st.integers(0, 200), st.sampled_from("0aA._-= \n\x00é"))
def test_a_changed_confirmation_is_none(at: int, char: str) -> None:
    text = KEY.make(DIGEST, 600, NOW)
    at %= len(text)
    changed = text[:at] + char + text[at + 1 :]
    # The last character of each part has bits that decoders drop: another spelling of the code must not pass either.
    assert (KEY.read(changed, DIGEST, NOW) is None) is (changed != text)


@given(st.text(max_size=80))
def test_what_is_no_confirmation_is_none(text: str) -> None:
    assert KEY.read(text, DIGEST, NOW) is None


def test_each_is_used_once() -> None:
    desk = Confirmations(KEY, MemoryState())
    first = desk.presented(KEY.make(DIGEST, 600).encode(), *ABOUT)
    second = desk.presented(KEY.make(DIGEST, 600).encode(), *ABOUT)
    assert first is not None and second is not None
    assert (desk.claim(first), desk.claim(first), desk.claim(second)) == (True, False, True)
    assert desk.presented(b"\xff", *ABOUT) is None


def test_after_a_restart_older_ones_are_refused_unless_the_store_remembers() -> None:
    now = [NOW]
    text = KEY.make(DIGEST, 600, NOW).encode()
    now[0] += 10
    memory = Confirmations(KEY, MemoryState(), since=now[0], clock=lambda: now[0])
    assert memory.presented(text, *ABOUT) is None
    assert memory.presented(KEY.make(DIGEST, 600, NOW + 10).encode(), *ABOUT) is not None
    assert Confirmations(KEY, MemoryState(), clock=lambda: now[0]).presented(text, *ABOUT)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SecretError, match="31 bytes"):
        ConfirmationKey(b"s" * 31, 60)


def test_keys_of_one_secret_are_one_and_confirmations_outlive_a_change_of_the_key() -> None:
    assert ConfirmationKey(SECRET, 60.0) == KEY and hash(KEY) == hash(ConfirmationKey(SECRET, 60.0))
    other = ConfirmationKey(b"t" * 32, 3600.0)
    assert other != KEY and KEY != SECRET
    now = [NOW]
    desk = Confirmations(KEY, MemoryState(), clock=lambda: now[0])
    assert desk.digest(*ABOUT) == DIGEST
    code = KEY.make(DIGEST, 600.0, NOW).encode()
    desk.renew(other, overlap=60.0)
    assert desk.digest(*ABOUT) == other.digest(*ABOUT) != DIGEST
    changed = Confirmations(ConfirmationKey(b"t" * 32, 30.0), MemoryState(), before=desk, clock=lambda: now[0])
    assert desk.presented(code, *ABOUT) is not None
    assert changed.presented(code, *ABOUT) is None  # the file allows less time now, for the former key, too
    now[0] += 61.0
    assert desk.presented(code, *ABOUT) is None
