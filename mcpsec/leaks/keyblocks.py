"""Private keys by content: PEM and armour blocks, PuTTY files, PKCS#12 and JKS containers.

The blocks appear whole, inside JSON strings with ``\\n``, indented in YAML, or cut off in a log; so a block is judged by
what its body decodes to, and a cut one is reported with less confidence.
"""  # noqa: E501

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import Match

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["GATE", "detect", "judge"]

GATE = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY|PuTTY-User-Key-File-\d"
BODY = 16 * 1024
LONG_BODY = 256
"""Base64 characters that nobody types: an Ed25519 key of OpenSSH has 330, the smallest RSA key 420."""
_BEGIN = expression(rb"-{4,5} ?BEGIN (?P<label>(?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?) ?-{4,5}")
_END = expression(rb"-{4,5} ?END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_PUTTY = expression(
    rb"PuTTY-User-Key-File-[123]: [\w-]{3,40}[\s\S]{0,8192}?Private-Lines: \d{1,4}\s{1,8}(?P<body>[A-Za-z0-9+/=\s]{16,8192})"  # noqa: E501
)
_NOISE = expression(r"\\r|\\n|\\t|[\"']\s{0,9}\+|[\s\"',\\>|;#*]")
_HEADERS = expression(r"(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID)[:=][^\r\n\\]{0,120}")
_BASE64_TEXT = expression(r"[A-Za-z0-9+/=_-]+")
_CUT = expression(r"(?:[A-Za-z0-9+/=_\s\"',\\:;.#*>|-]){0,16384}")
_LABELS = expression(r"^-+ ?BEGIN [A-Z0-9 ]+?-+|-+ ?END [A-Z0-9 ]+?-+$")
_SPOKEN_OF = expression(rb"[\"'`][ \t]{1,4}[A-Za-z]{1,15}[ \t]")
"""``"-----BEGIN PRIVATE KEY-----" in text``: words go on behind the quote, no base64."""
_PGP_CHECKSUM = expression(r"=[A-Za-z0-9+/]{4}$")
MIXED = 5.0
"""Bits a character of base64 in 256 characters of a key: chance gives 5.8, an RSA key's constant parts take little."""
SENTENCE, SPOKEN = 60, 0.6
"""From so many characters on so wordy a body is prose about a key; of 30,000 drawn ones none had more than 0.41."""
_MADE_UP = expression(
    r"(?i)example|placeholder|redacted|xxxxx|(.)\1{11}"
    r"|your[-_]?(?:private|secret|actual|real|own|rsa|ssh|pgp|gpg|pem|key|base64|encoded|cert|content|data|value|here|"
    r"server|client|service|api|app|project|long)"
)
"""``your`` alone stands in one of 6,700 drawn keys; in a placeholder it is followed by what to put there."""


def detect(
    book: Rulebook, data: bytes, lower: bytes, where: str, spans: Sequence[tuple[int, int]], floor: int = 0
) -> Iterator[Match]:
    """Every private key whose first line starts in one of the spans."""
    for start, end in spans:
        at = data.find(b"BEGIN ", start, end)
        while at >= 0:
            begin = (
                _BEGIN.match(data, max(0, at - 5))
                or _BEGIN.match(data, max(0, at - 6))
                or _BEGIN.match(data, max(0, at - 4))
            )
            if begin:
                yield from _block(book, data, begin)
            at = data.find(b"BEGIN ", at + 6, end)
        at = data.find(b"PuTTY-User-Key-File-", start, end)
        while at >= 0:
            found = _PUTTY.match(data, at)
            rule = book.named("private-key-putty")
            if found and rule:
                body = _NOISE.sub("", found.group("body").decode())
                if _random_body(body):
                    yield Match(
                        rule, found.start("body"), found.start("body") + len(found.group("body").rstrip()), body, 2
                    )
            at = data.find(b"PuTTY-User-Key-File-", at + 20, end)


def _block(book: Rulebook, data: bytes, begin: re.Match[bytes]) -> Iterator[Match]:
    finish = _END.search(data, begin.end(), begin.end() + BODY)
    stop = finish.end() if finish else min(len(data), begin.end() + BODY)
    if not finish:
        following = _BEGIN.search(data, begin.end(), stop)
        stop = following.start() if following else stop
    if _SPOKEN_OF.match(data, begin.end()):
        return
    text = data[begin.start() : stop].decode("utf-8", "replace")
    verdict = judge(text)
    if verdict is False:
        return
    label = begin.group("label")
    name = "private-key-pgp" if b"PGP" in label else "private-key-encrypted" if b"ENCRYPTED" in label else "private-key"
    rule = book.named(name)
    if rule is None:
        return
    if not finish:
        stop = begin.end() + len(_body_text(text[begin.end() - begin.start() :])[1])
    yield Match(rule, begin.start(), stop, text, rule.confidence if verdict else max(0, rule.confidence - 1))


def _body_text(text: str) -> tuple[str, str]:
    """The base64 of a cut block, and the stretch of text it covers."""
    stretch = _CUT.match(text)
    raw = stretch.group() if stretch else ""
    return _NOISE.sub("", raw), raw


def judge(value: str) -> bool | None:
    """True when the body is a key of the kind its label names, None when it may be a cut one, False when it is none."""
    from mcpsec.leaks.checks import unbase64

    body = _LABELS.sub("", value.strip())
    body = _NOISE.sub("", _HEADERS.sub("", body))
    if "PGP" in value[:40]:
        body = _PGP_CHECKSUM.sub("", body)
    found = _BASE64_TEXT.match(body)
    run = found.group() if found else ""
    if len(run) < 16 or not _random_body(run):
        return False
    if len(run) >= LONG_BODY and _END.search(value.encode()) and _jumbled(run):
        return True
    if run != body:
        return None if len(run) >= 40 else False
    raw = unbase64(run)
    if raw is None:
        return None if len(run) >= 40 else False
    if "PGP" in value[:40] or "OPENSSH" in value[:40]:
        return True if raw[:1] and (raw.startswith(b"openssh-key-v1\0") or raw[0] & 0x80) else None
    encrypted_pem = "Proc-Type" in value[:200] or "DEK-Info" in value[:300]
    return True if encrypted_pem or _is_der(raw) else None


def _jumbled(run: str) -> bool:
    """True for characters spread as in a key: no alphabet, no repeated line, hardly a word."""
    from mcpsec.leaks.values import entropy, wordiness

    return (
        entropy(run) >= MIXED
        and len({run[at : at + 32] for at in range(0, len(run) - 32, 32)}) > 4
        and (wordiness(run) < 0)
    )


def _is_der(raw: bytes) -> bool:
    """An ASN.1 SEQUENCE that fills the buffer (ITU-T X.690 section 8.1.3)."""
    if len(raw) < 16 or raw[0] != 0x30:
        return False
    if raw[1] < 0x80:
        return raw[1] + 2 == len(raw)
    width = raw[1] & 0x7F
    return width <= 3 and int.from_bytes(raw[2 : 2 + width], "big") + 2 + width == len(raw)


def _random_body(body: str) -> bool:
    from mcpsec.leaks.values import wordiness

    sample = body[:512]
    return (
        len(set(sample)) >= min(10, len(sample) // 2)
        and "..." not in sample
        and not _MADE_UP.search(sample[:160].replace("AAAAAAAAAAAA", ""))
        and (len(sample) < SENTENCE or wordiness(sample[:160]) < SPOKEN)
    )
