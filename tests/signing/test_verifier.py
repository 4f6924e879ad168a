"""The verifier: what it accepts, and each thing that it must refuse beside its legitimate twin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpsec.signing import Refusal, SignedMessage, Signer, SigningKey, VerificationKey, Verified
from tests.signing.requests import (
    MESSAGE,
    NOW,
    SECRET,
    STAMP,
    WAYS,
    field,
    key_pair,
    signed,
    value_of,
    verifier,
    with_headers,
)

everywhere = pytest.mark.parametrize(("scheme", "kind"), WAYS)


def rule(outcome: Verified | Refusal) -> str:
    return outcome.rule if isinstance(outcome, Refusal) else "accepted"


@everywhere
def test_accepts_what_was_signed(scheme: str, kind: str) -> None:
    outcome = verifier().verify(signed(scheme, kind), now=NOW)
    assert isinstance(outcome, Verified)
    assert (outcome.key_id, outcome.owner, outcome.scheme, outcome.created) == (kind, "agent", scheme, NOW)


@everywhere
def test_serves_a_copy_once(scheme: str, kind: str) -> None:
    judge, message = verifier(), signed(scheme, kind)
    assert rule(judge.verify(message, now=NOW)) == "accepted"
    assert rule(judge.verify(message, now=NOW + 1)) == "nonce-replayed"
    assert rule(judge.verify(signed(scheme, kind, timestamp=STAMP + 1000), now=NOW + 1)) == "accepted"


@everywhere
def test_a_refused_request_claims_no_nonce(scheme: str, kind: str) -> None:
    """Who can't sign must not be able to burn the nonce of someone who can."""
    judge, message = verifier(), signed(scheme, kind)
    assert rule(judge.verify(replace(message, body=b"{}"), now=NOW)) != "accepted"
    assert rule(judge.verify(message, now=NOW)) == "accepted"


@everywhere
@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (-301, "timestamp-stale"),
        (-299, "accepted"),
        (29, "accepted"),
        (31, "timestamp-future"),
        (1e9, "timestamp-future"),
    ],
)
def test_window(scheme: str, kind: str, offset: float, expected: str) -> None:
    assert rule(verifier().verify(signed(scheme, kind, timestamp=int(STAMP + offset * 1000)), now=NOW)) == expected


CHANGES: dict[str, Callable[[SignedMessage], SignedMessage]] = {
    "method": lambda m: replace(m, method="PUT"),
    "authority": lambda m: replace(m, authority="other.example.com:8443"),
    "path": lambda m: replace(m, path="/mcp/other"),
    "path encoding": lambda m: replace(m, path="/%6dcp"),
    "query": lambda m: replace(m, query="tenant=b"),
    "no query": lambda m: replace(m, query=""),
    "body": lambda m: replace(m, body=m.body.replace(b":1", b":2")),
    "body re-serialised": lambda m: replace(m, body=m.body.replace(b":", b": ")),
    "no body": lambda m: replace(m, body=b""),
    "tool": lambda m: field(m, b"mcp-name", b"delete"),
    "mcp method": lambda m: field(m, b"mcp-method", b"tools/list"),
    "revision": lambda m: field(m, b"mcp-protocol-version", b"2025-11-25"),
    "argument header": lambda m: field(m, b"mcp-param-region", b"us"),
    "argument header taken away": lambda m: field(m, b"mcp-param-region", None),
    "session slipped in": lambda m: field(m, b"mcp-session-id", b"0123456789"),
    "resumption slipped in": lambda m: field(m, b"last-event-id", b"7"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("scheme", "kind"), [way for way in WAYS if way[0] != "article"])
def test_refuses_a_changed_request(scheme: str, kind: str, change: str) -> None:
    message = signed(scheme, kind)
    expected = {"signature-invalid", "digest-mismatch", "coverage-insufficient"}
    assert rule(verifier().verify(CHANGES[change](message), now=NOW)) in expected
    assert rule(verifier().verify(message, now=NOW)) == "accepted"


def test_article_covers_time_and_body_only_and_only_where_allowed() -> None:
    message = signed("article")
    assert rule(verifier("article").verify(replace(message, path="/elsewhere"), now=NOW)) == "accepted"
    assert rule(verifier("article").verify(replace(message, body=b"{}"), now=NOW)) == "signature-invalid"
    assert rule(verifier("hmac-sha256", "rfc9421").verify(message, now=NOW)) == "nonce-missing"
    assert rule(verifier("rfc9421").verify(signed(), now=NOW)) == "scheme-not-accepted"
    assert rule(verifier("hmac-sha256").verify(signed("rfc9421"), now=NOW)) == "scheme-not-accepted"


def test_a_good_request_cannot_be_downgraded_to_the_article_scheme() -> None:
    message = signed("hmac-sha256")
    assert rule(verifier().verify(field(message, b"x-nonce", None), now=NOW)) == "signature-invalid"
    upgraded = field(signed("article"), b"x-nonce", b"abc")
    assert rule(verifier().verify(upgraded, now=NOW)) == "signature-invalid"


BAD_FIELDS = [
    (b"x-signature", None, "signature-missing"),
    (b"x-signature", b"", "signature-malformed"),
    (b"x-signature", b"0" * 63, "signature-malformed"),
    (b"x-signature", b"0" * 65, "signature-malformed"),
    (b"x-signature", b"G" * 64, "signature-malformed"),
    (b"x-signature", "é".encode() * 32, "signature-malformed"),
    (b"x-signature", b"0" * 64, "signature-invalid"),
    (b"x-timestamp", None, "timestamp-missing"),
    (b"x-timestamp", b"abc", "timestamp-malformed"),
    (b"x-timestamp", b"1795000000", "timestamp-malformed"),
    (b"x-timestamp", b"1795000000000junk", "timestamp-malformed"),
    (b"x-timestamp", b"+79500000000", "timestamp-malformed"),
    (b"x-timestamp", "１７９５０００００００００".encode(), "timestamp-malformed"),
    (b"x-timestamp", b"9999999999999", "timestamp-future"),
    (b"x-key-id", None, "key-id-missing"),
    (b"x-key-id", b"", "key-id-malformed"),
    (b"x-key-id", b"a b", "key-id-malformed"),
    (b"x-key-id", b"k" * 129, "key-id-malformed"),
    (b"x-key-id", b"nobody", "key-unknown"),
    (b"x-key-id", b"ed25519", "key-unknown"),
    (b"x-nonce", b"", "nonce-malformed"),
    (b"x-nonce", b"a b", "nonce-malformed"),
    (b"x-nonce", b"n" * 129, "nonce-malformed"),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD_FIELDS)
def test_field_syntax(name: bytes, value: bytes | None, expected: str) -> None:
    assert rule(verifier("hmac-sha256").verify(field(signed(), name, value), now=NOW)) == expected


def test_every_digit_of_the_signature_counts() -> None:
    message, judge = signed(), verifier()
    good = value_of(message, b"x-signature")
    for at in range(64):
        other = b"0" if good[at : at + 1] != b"0" else b"1"
        wrong = field(message, b"x-signature", good[:at] + other + good[at + 1 :])
        assert rule(judge.verify(wrong, now=NOW)) == "signature-invalid", at
    assert rule(judge.verify(message, now=NOW)) == "accepted"


def test_upper_case_hex_is_refused() -> None:
    message = signed()
    shouted = field(message, b"x-signature", value_of(message, b"x-signature").upper())
    assert rule(verifier().verify(shouted, now=NOW)) == "signature-malformed"


@everywhere
def test_each_field_stands_once(scheme: str, kind: str) -> None:
    message = signed(scheme, kind)
    for name, value in message.headers:
        if name == b"content-type":
            continue
        doubled = replace(message, headers=[*message.headers, (name, value)])
        assert rule(verifier().verify(doubled, now=NOW)) == "header-duplicated", name


def test_two_schemes_at_once_are_refused() -> None:
    both = replace(signed(), headers=[*signed().headers, *signed("rfc9421", "ed25519").headers[len(MESSAGE.headers) :]])
    assert rule(verifier().verify(both, now=NOW)) == "signature-ambiguous"


def test_several_keys_of_one_client_allow_rotation() -> None:
    old, new = SECRET, b"f" * 32
    keys = [
        VerificationKey("old", "agent", secret=old, not_after=NOW + 10),
        VerificationKey("new", "agent", secret=new),
    ]
    judge = verifier(keys=keys)
    for name, secret in (("old", old), ("new", new)):
        message = with_headers(MESSAGE, Signer(SigningKey(name, secret=secret)).sign(MESSAGE, timestamp=STAMP))
        assert rule(judge.verify(message, now=NOW)) == "accepted"
    late = with_headers(MESSAGE, Signer(SigningKey("old", secret=old)).sign(MESSAGE, timestamp=STAMP + 11_000))
    assert rule(judge.verify(late, now=NOW + 11)) == "key-expired"


def test_the_key_must_belong_to_the_client_of_the_certificate() -> None:
    assert rule(verifier().verify(signed(), now=NOW, owner="agent")) == "accepted"
    assert rule(verifier().verify(signed(), now=NOW, owner="other")) == "key-of-another-client"


def test_article_without_key_id_is_tried_against_the_keys_of_the_known_client() -> None:
    headers = Signer(SigningKey(None, secret=SECRET), "article").sign(MESSAGE, timestamp=STAMP)
    assert "x-key-id" not in headers
    message = with_headers(MESSAGE, headers)
    other = VerificationKey("other", "other", secret=b"o" * 32)
    both = [key_pair("secret")[1], other]
    assert rule(verifier(keys=both).verify(message, now=NOW, owner="agent")) == "accepted"
    assert rule(verifier(keys=both).verify(message, now=NOW, owner="other")) == "signature-invalid"
    assert rule(verifier(keys=both).verify(message, now=NOW)) == "key-id-missing"
    assert rule(verifier(keys=[both[0]]).verify(message, now=NOW)) == "accepted"


class _BrokenStore:
    def claim(self, key_id: str, nonce: str, expires_at: float) -> bool:
        raise ConnectionError("the store is down")


def test_a_store_that_is_down_refuses() -> None:
    assert rule(verifier(replay=_BrokenStore()).verify(signed(), now=NOW)) == "store-unavailable"


def test_the_two_halves_for_a_store_that_is_awaited() -> None:
    judge = verifier()
    claim = judge.check(signed(), now=NOW)
    assert not isinstance(claim, Refusal)
    assert claim.key_id == "secret"
    assert claim.expires_at > NOW + 300
    assert rule(claim.settle(True)) == "accepted"
    assert rule(claim.settle(False)) == "nonce-replayed"


def test_a_nonce_is_remembered_for_as_long_as_its_message_is_accepted() -> None:
    clock = [NOW]
    from mcpsec.signing import MemoryReplayStore

    judge = verifier(replay=MemoryReplayStore(clock=lambda: clock[0]))
    early = signed(timestamp=STAMP + 30_000)  # signed by a clock that runs 30 s ahead: lives longest
    assert rule(judge.verify(early, now=clock[0])) == "accepted"
    for second in (1, 299, 301, 329, 330):
        clock[0] = NOW + second
        assert rule(judge.verify(early, now=clock[0])) == "nonce-replayed", second
    clock[0] = NOW + 331
    assert rule(judge.verify(early, now=clock[0])) == "timestamp-stale"


bytes_ = st.binary(max_size=80)
names = st.sampled_from(
    [b"x-signature", b"x-timestamp", b"x-key-id", b"x-nonce", b"signature", b"signature-input", b"content-digest"]
) | st.binary(max_size=20)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(names, bytes_), max_size=8), st.text(max_size=10), st.text(max_size=10), bytes_)
def test_never_raises(headers: list[tuple[bytes, bytes]], method: str, path: str, body: bytes) -> None:
    outcome = verifier().verify(SignedMessage(method, path, path, path, headers, body), now=NOW)
    assert isinstance(outcome, Refusal)


@settings(max_examples=150, deadline=None)
@given(way=st.sampled_from(WAYS), data=st.data())
def test_never_raises_and_never_accepts_a_mutated_signature_field(way: tuple[str, str], data: st.DataObject) -> None:
    message = signed(*way)
    own = [pair for pair in message.headers if pair not in MESSAGE.headers]
    name, value = data.draw(st.sampled_from(own))
    at = data.draw(st.integers(0, len(value)))
    mutated = value[:at] + data.draw(st.binary(min_size=0, max_size=3)) + value[at + data.draw(st.integers(0, 3)) :]
    outcome = verifier().verify(field(message, name, mutated), now=NOW)
    same = mutated.strip(b" \t") == value
    if isinstance(outcome, Verified) and not same:
        # Structured fields have several spellings of one value (RFC 9651); what they say must still be the same.
        assert way[0] == "rfc9421"
        original = verifier().verify(message, now=NOW)
        assert outcome == original
    assert isinstance(outcome, Verified) or not same


@settings(max_examples=100, deadline=None)
@given(way=st.sampled_from([way for way in WAYS if way[0] != "article"]), data=st.data())
def test_no_mutation_of_a_covered_part_verifies(way: tuple[str, str], data: st.DataObject) -> None:
    message = signed(*way)
    text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)
    part = data.draw(st.sampled_from(["method", "authority", "path", "query", "body", "header"]))
    if part == "body":
        changed = replace(message, body=data.draw(st.binary(max_size=60)))
    elif part == "header":
        name = data.draw(st.sampled_from([b"mcp-name", b"mcp-method", b"mcp-param-region", b"mcp-session-id"]))
        changed = field(message, name, data.draw(text).encode())
    else:
        changed = replace(message, **{part: data.draw(text)})
    unchanged = changed == message or sorted((n, v.strip()) for n, v in changed.headers) == sorted(message.headers)
    if part in {"method", "authority", "path", "query", "body"}:
        unchanged = getattr(changed, part) == getattr(message, part)
    if not unchanged:
        assert isinstance(verifier().verify(changed, now=NOW), Refusal)


def test_line_feeds_cannot_move_a_field_into_another() -> None:
    judge = verifier("hmac-sha256")
    smuggled = replace(signed(), path="/mcp\nx", query="")
    assert rule(judge.verify(smuggled, now=NOW)) == "message-malformed"
    header = field(signed(), b"mcp-name", b"a\nmcp-param-x:b")
    assert rule(judge.verify(header, now=NOW)) == "message-malformed"


def test_port_443_and_letter_case_of_the_authority_do_not_matter() -> None:
    message = SignedMessage.from_url("POST", "https://MCP.example.com:443/mcp", body=b"{}")
    assert message.authority == "mcp.example.com"
    sent = replace(signed(message=message), authority="mcp.example.com:443")
    assert rule(verifier().verify(sent, now=NOW)) == "accepted"


def test_importing_the_room_imports_no_heavy_library() -> None:
    code = (
        "import sys, mcpsec.signing; "
        "print([m for m in ('httpx','typer','cryptography','http_message_signatures','http_sf') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
