"""Keys that change: what was made with the old one is good for the overlap, and not a moment longer."""

from __future__ import annotations

from typing import Any

import pytest

from mcpsec.errors import SecretError
from mcpsec.gateway.handles import HandleSeal, SealKey
from mcpsec.gateway.overlap import OverlappingKeys
from mcpsec.gateway.policy import Call
from mcpsec.gateway.policy.confirmation import ConfirmationKey, Confirmations
from mcpsec.gateway.state import MemoryState

ONE, OTHER = b"1" * 32, b"2" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_old_and_new_are_read_for_the_overlap() -> None:
    clock = Clock()
    keys = OverlappingKeys("a", clock=clock)
    assert keys.replace("b", overlap=60)
    assert keys.making == "b" and list(keys.reading) == ["b", "a"]
    clock.now += 59.9
    assert list(keys.reading) == ["b", "a"]
    clock.now += 0.1
    assert list(keys.reading) == ["b"]


def test_without_an_overlap_the_old_is_over_at_once() -> None:
    keys = OverlappingKeys("a", clock=Clock())
    keys.replace("b", overlap=0)
    assert keys.making == "b" and list(keys.reading) == ["b"]


def test_a_key_is_made_with_only_when_others_had_the_time_to_learn_it() -> None:
    clock = Clock()
    keys = OverlappingKeys("a", clock=clock)
    keys.replace("b", overlap=60, delay=10)
    assert keys.making == "a" and list(keys.reading) == ["b", "a"]
    clock.now += 10
    assert keys.making == "b" and list(keys.reading) == ["b", "a"]
    clock.now += 60
    assert list(keys.reading) == ["b"]


def test_several_changes_within_one_overlap_keep_each_its_time() -> None:
    clock = Clock()
    keys = OverlappingKeys("a", clock=clock)
    keys.replace("b", overlap=60)
    clock.now += 30
    keys.replace("c", overlap=60)
    assert list(keys.reading) == ["c", "b", "a"]
    clock.now += 30
    assert list(keys.reading) == ["c", "b"]
    assert not keys.replace("c", overlap=60)
    clock.now += 30
    assert list(keys.reading) == ["c"]


def test_a_key_that_comes_back_stands_once() -> None:
    keys = OverlappingKeys("a", clock=Clock())
    keys.replace("b", overlap=60)
    keys.replace("a", overlap=60)
    assert keys.making == "a" and sorted(keys.reading) == ["a", "b"]


def test_however_often_it_changes_few_are_kept() -> None:
    clock = Clock()
    keys = OverlappingKeys(0, clock=clock)
    for number in range(1, 100):
        keys.replace(number, overlap=60, delay=30)
    assert len(keys.reading) == 8 and keys.making == keys.reading[-1]
    clock.now += 30
    assert keys.making == 99


# --- confirmations ---

CALL = Call("tickets", "tool", "delete_old", {"id": 7})
PARAMS: dict[str, Any] = {"name": "delete_old", "arguments": {"id": 7}}
ABOUT = ("ops", "tools/call", CALL, PARAMS)


def test_confirmations_of_either_key_for_digests_of_either_hold_for_the_overlap() -> None:
    clock = Clock()
    old, new, foreign = (ConfirmationKey(secret, 3600) for secret in (ONE, OTHER, b"3" * 32))
    desk = Confirmations(old, MemoryState(), clock=clock)
    desk.renew(new, overlap=60)
    assert desk.digest(*ABOUT) == new.digest(*ABOUT)

    def holds(code: ConfirmationKey, digest: ConfirmationKey) -> bool:
        text = code.make(digest.digest(*ABOUT), 600, clock.now)
        return desk.presented(text.encode(), *ABOUT) is not None

    assert all(holds(code, digest) for code in (old, new) for digest in (old, new))
    assert not any(holds(code, digest) for code, digest in ((foreign, old), (old, foreign), (foreign, new)))
    clock.now += 60
    assert [holds(code, digest) for code in (old, new) for digest in (old, new)] == [False, False, False, True]


def test_one_confirmation_is_used_once_whichever_key_reads_it() -> None:
    clock = Clock()
    old = ConfirmationKey(ONE, 3600)
    desk = Confirmations(old, MemoryState(), clock=clock)
    text = old.make(old.digest(*ABOUT), 600, clock.now).encode()
    first = desk.presented(text, *ABOUT)
    assert first is not None and desk.claim(first)
    desk.renew(ConfirmationKey(OTHER, 3600), overlap=60)
    again = desk.presented(text, *ABOUT)
    assert again is not None and not desk.claim(again)


def test_a_shorter_age_counts_for_the_old_key_too() -> None:
    clock = Clock()
    old = ConfirmationKey(ONE, 3600)
    before = Confirmations(old, MemoryState(), clock=clock)
    text = old.make(old.digest(*ABOUT), 3600, clock.now).encode()
    assert before.presented(text, *ABOUT) is not None
    desk = Confirmations(ConfirmationKey(ONE, 60), MemoryState(), before=before, clock=clock)
    assert desk.presented(text, *ABOUT) is None
    assert desk.presented(old.make(old.digest(*ABOUT), 60, clock.now).encode(), *ABOUT) is not None


# --- handles ---


def test_a_short_shared_key_is_refused() -> None:
    with pytest.raises(SecretError, match="31 bytes"):
        SealKey.of(b"s" * 31)
    SealKey.of(b"s" * 32)


def test_what_another_key_sealed_opens_for_the_overlap() -> None:
    clock = Clock()
    bound = [b"requestState", b"tester"]
    seal = HandleSeal(3600, SealKey.of(ONE), clock=clock)
    other_gateway = HandleSeal(3600, SealKey.of(ONE), clock=clock)
    old = seal._seal(b"content", bound)
    seal.renew(SealKey.of(OTHER), overlap=60, delay=10)
    assert other_gateway._open(seal._seal(b"more", bound), bound) == b"more", "nobody else has the new key yet"
    clock.now += 10
    new = seal._seal(b"content", bound)
    assert seal._open(old, bound) == seal._open(new, bound) == b"content"
    assert other_gateway._open(new, bound) is None
    other_gateway.renew(SealKey.of(OTHER), overlap=60, delay=10)
    assert other_gateway._open(new, bound) == b"content", "it opens at once what it does not seal with yet"
    assert seal._open(new, [b"requestState", b"another"]) is None
    clock.now += 60
    assert (seal._open(old, bound), seal._open(new, bound)) == (None, b"content")


def test_a_key_is_in_no_text() -> None:
    assert "1" * 8 not in repr(SealKey.of(ONE)) and SealKey.of(ONE) == SealKey.of(ONE) != SealKey.of(OTHER)
