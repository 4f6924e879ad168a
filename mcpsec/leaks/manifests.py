"""Values of Kubernetes Secret manifests: base64 under ``data``, YAML or JSON.

The encoding hides them from every other rule, and most are too short to be decoded on suspicion; here the manifest
itself says that they are secret. Source: https://kubernetes.io/docs/concepts/configuration/secret/
"""

from __future__ import annotations

from mcpsec.leaks.checks import unbase64
from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import Match
from mcpsec.leaks.secrecy import HIGH, LOW, MEDIUM, password_strength
from mcpsec.leaks.values import is_placeholder, is_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["GATE", "REACH", "detect"]

REACH = 32
LONGEST = 16 * 1024
"""Bytes of a manifest that are looked at before and after the line that says what it is."""
GATE = r"(?i)kind[\"']?[ \t]{0,4}:[ \t]{0,4}[\"']?secret"
_KIND = expression(rb"(?i)kind[\"']?[ \t]{0,4}:[ \t]{0,4}[\"']?secret[\"']?[ \t]{0,8}(?=[\r\n,}#]|\Z)")
_DATA = expression(rb"(?m)^(?P<indent>[ \t]{0,20})[\"']?data[\"']?[ \t]{0,4}:[ \t]{0,4}(?:\{[ \t]{0,4})?\r?$")
_ENTRY = expression(
    rb"(?P<indent>[ \t]{1,40})[\"']?(?P<name>[\w.-]{1,120})[\"']?[ \t]{0,4}:[ \t]{0,4}"
    rb"(?:[>|][+-]?[ \t]{0,4}\r?\n[ \t]{1,40})?"
    rb"[\"']?(?P<value>[A-Za-z0-9+/]{8,4096}={0,2})[\"']?[ \t]{0,4},?[ \t]{0,4}(?:\#[^\n]{0,200})?\r?(?:\n|\Z)"
)
_OPEN = frozenset(
    ("username", "user", "host", "hostname", "port", "database", "dbname", "db", "namespace", "ca.crt", "tls.crt")
)
"""Entries that are no secret although they stand among secrets."""
_PUBLIC = expression(r"(?:^|[.-])(?:ca|cacert|cert|certificate|crt|pub)$")
_PEM = expression(r"-----BEGIN [A-Z ]*(?:PRIVATE KEY|(?P<open>[A-Z ]+?))-----(?P<body>[^-]*)")
SHORTEST_KEY = 40
"""Characters of base64 that the smallest private key has: an Ed25519 key in PKCS#8 (RFC 8410) has 64."""


def detect(
    book: Rulebook, data: bytes, lower: bytes, where: str, spans: Sequence[tuple[int, int]], floor: int = 0
) -> Iterator[Match]:
    """Every value of a Secret whose ``kind`` stands in one of the spans."""
    rule = book.named("kubernetes-secret-manifest")
    if rule is None:
        return
    for start, end in spans:
        at = lower.find(b"kind", start, end)
        while at >= 0:
            if _KIND.match(data, at):
                first = lower.rfind(b"\n---", max(0, at - LONGEST), at) + 1 or max(0, at - LONGEST)
                last = lower.find(b"\n---", at, at + LONGEST)
                for begin, stop, value, confidence in _entries(data, first, last if last >= 0 else at + LONGEST):
                    yield Match(rule, begin, stop, value, confidence)
            at = lower.find(b"kind", at + 4, end)


def _entries(data: bytes, first: int, last: int) -> Iterator[tuple[int, int, str, int]]:
    block = _DATA.search(data, first, last)
    if block is None:
        return
    outer, at = len(block["indent"]), block.end() + 1
    while at < min(last, len(data)):
        entry = _ENTRY.match(data, at)
        if entry is None or len(entry["indent"]) <= outer:
            line_end = data.find(b"\n", at, last)
            line = data[at : line_end if line_end >= 0 else last]
            if line_end < 0 or (line.strip() and not line.lstrip().startswith(b"#") and _depth(line) <= outer):
                return
            at = line_end + 1
            continue
        confidence = _judge(entry["name"].decode().lower(), entry["value"].decode())
        if confidence is not None:
            yield *entry.span("value"), entry["value"].decode(), confidence
        at = entry.end()


def _depth(line: bytes) -> int:
    return len(line) - len(line.lstrip(b" \t"))


def _judge(name: str, value: str) -> int | None:
    if name in _OPEN or _PUBLIC.search(name):
        return None
    plain = unbase64(value)
    if not plain:
        return None
    try:
        text = plain.decode().strip()
    except UnicodeDecodeError:
        return MEDIUM if len(plain) >= 16 else LOW
    if len(text) < 6 or is_reference(text) or is_placeholder(text):
        return None
    block = _PEM.match(text)
    if block and (block["open"] or len(block["body"].strip()) < SHORTEST_KEY):
        return None  # a certificate, a public key, or a block that was left empty
    if len(text) > 64 or not text.isprintable():
        return MEDIUM
    strength = password_strength(text)
    return None if strength is None else min(strength, MEDIUM) if strength == HIGH else strength
