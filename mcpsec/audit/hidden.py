"""Text that people do not see and models read, and text that gives the model orders.

Invisible characters: zero-width, bidirectional controls (Unicode TR36, section 3.2), tags (U+E0000), variation
selectors in a row. An emoji's own joiner and selector are none of them.
"""

from __future__ import annotations

import re

__all__ = ["hidden_characters", "instructs"]

_TAGS = re.compile("[\U000e0000-\U000e007f]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0]"
)
_JOINERS = re.compile("(?<![\u0600-\u08ff\u0900-\u0dff\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])[\u200c\u200d]")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}")
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007f]+")


def hidden_characters(text: str) -> str:
    """What is hidden in a text, in words; empty for nothing."""
    if text.isascii():
        return ""
    text = _FLAG.sub("", text)
    found = []
    for name, pattern in (
        ("tag characters", _TAGS),
        ("bidirectional controls", _BIDI),
        ("zero-width or invisible characters", _INVISIBLE),
        ("joiners", _JOINERS),
        ("variation selectors in a row", _SELECTORS),
    ):
        matches = pattern.findall(text)
        if matches:
            found.append(f"{len(matches)} {name} (U+{ord(matches[0][0]):04X})")
    return ", ".join(found)


_ADDRESSED = re.compile(
    r"""\b(?:
        you[ ](?:must|should|have[ ]to|are[ ]required)
      | (?:the[ ])?(?:assistant|model|ai|agent|llm)\b[^.]{0,40}\b(?:must|should|shall)
      | before[ ](?:using|calling)[ ](?:this|any) | always[ ](?:call|use|read|send|include|pass)
      | never[ ](?:call|use|tell|mention|ask) | ignore[ ](?:all[ ]|any[ ])?(?:previous|prior|earlier|other)
      | system[ ](?:override|prompt)
    ) | <important> | \[system\]""",
    re.I | re.X,
)
_SECRECY = re.compile(
    r"""\b(?:
        (?:do[ ]not|don't|never)[ ](?:tell|mention|inform|show|reveal|notify|let)[^.]{0,40}(?:user|anyone|human)
      | without[ ](?:telling|informing|asking|notifying)[ ](?:the[ ])?user
      | (?:keep|stay)[^.]{0,20}(?:secret|hidden|silent)[^.]{0,20}(?:user|human)
      | user[ ](?:must|should)[ ]not[ ](?:see|know|notice)
    )""",
    re.I | re.X,
)
_EXFILTRATION = re.compile(
    r"""~/\.(?:ssh|aws|cursor|config|kube) | \.env\b | id_rsa | mcp\.json | credentials?\b | private[ ]key
      | conversation[ ]history | system[ ]prompt | chat[ ]history | api[ _-]?keys?\b | passwords?\b""",
    re.I | re.X,
)
_SENDING = re.compile(r"\b(?:send|post|upload|forward|pass|include|append|put|attach|exfiltrate|read)\b", re.I)
_OVERRIDE = re.compile(
    r"""\b(?:ignore|disregard|forget|override)\b[^.]{0,30}\b(?:previous|prior|earlier|all|other|system)\b[^.]{0,30}
        \b(?:instructions?|rules|guidelines|polic(?:y|ies)|prompts?) | system[ ]override""",
    re.I | re.X,
)
_OTHER_TOOLS = re.compile(
    r"""\b(?:instead[ ]of|rather[ ]than|when(?:ever)?[ ](?:the[ ])?)[^.]{0,60}\b(?:tool|function)\b[^.]{0,40}
        \b(?:call|use|send|change|must)""",
    re.I | re.X,
)


def instructs(text: str) -> int:
    """How strongly a text gives the model orders against its user: 0 not at all, 2 probably, 3 and more surely.

    An order alone is nothing: API documentation is full of MUST and IMPORTANT. It counts with secrecy towards the
    user, with data of others that is to be sent along, or with other rules that are to be overridden.
    """
    addressed = bool(_ADDRESSED.search(text))
    secrecy = bool(_SECRECY.search(text))
    sending = bool(_EXFILTRATION.search(text) and _SENDING.search(text))
    override = bool(_OVERRIDE.search(text))
    others = bool(_OTHER_TOOLS.search(text))
    score = 2 * secrecy + 2 * override + (sending and (addressed or secrecy)) * 2 + (addressed and others) + addressed
    return score if (secrecy or override or (sending and addressed)) and score >= 2 else 0
