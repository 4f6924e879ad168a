"""Telling a piece of a program from a literal value: expressions, types, patterns, paths and addresses."""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.values import digits_share, is_gibberish, kinds, looks_random, wordiness

__all__ = ["is_code", "is_tangled"]

_PATH = expression(r"^(?:~|\.{1,2}|[A-Za-z]:|/|\\\\)?(?:[\\/]{1,2}[\w .@%+~-]+)+[\\/]?$|^(?:[\w.@~-]+/)+[\w.@*-]*$")
_FILE = expression(
    r"(?i)\.(?:pem|key|crt|cer|p12|pfx|jks|json|ya?ml|txt|html?|jsp?x?|tsx?|py|xml|conf|cfg|ini|env|properties|gpg|asc|pub|php|log"
    r"|png|svg|css|sh|md|csv|db|sql|go|rb|java|cs|tf|lock|proto|com|org|net|io|local|svc|internal)$"
)
_OPENS, _CLOSES = expression(r"[\w.$]*[({\[]"), expression(r"[)}\]]\W{0,3}$")
_REGEX = expression(r"\\[dwsSDWb]|\[\^?[\w]-[\w]|\(\?[:=!P<]|\.\*|\.\+|\{\d+,\d*\}|\]\+|\]\*")
_EXPRESSION = expression(
    r"\$\{[\w.:\[\]@ -]*\}|\{\{[^{}]*\}\}|\$\([^()]*\)|#\{[^{}]*\}|<%|%>|%\(\w+\)|[\"'] ?\+|\+ ?[\"']|\|\||&&|=>|::|->|\(\)|\[\d*\]|\[['\"]|^[A-Za-z_$][\w$.]*\(|^!+[A-Za-z]|^&[A-Za-z]\w*$"  # noqa: E501
    r"|^\w+\.\w+\.\w+$(?<![0-9a-fA-F]{8})|^new |^function|^lambda|\\[nrt]$|%[sdv]$|^%[sdv]|\{[A-Za-z_]\w{2,}\}|\{\d?\}"
    r"|^[A-Za-z_][\w.]*[\[({]$|@[A-Z][A-Z0-9]*_[A-Z0-9_]*@|%%[A-Z][A-Z0-9_]{2,}%%|__[A-Z][A-Z0-9]*_[A-Z0-9_]*__"
)
_IDENTIFIER = expression(r"^[A-Za-z_$@][A-Za-z0-9_$]*(?:(?:\.|::|->|-|:|\?\.)[A-Za-z_$][A-Za-z0-9_$]*)*[;,)]*$")
_URL = expression(r"(?i)^(?:[a-z][a-z0-9+.-]{1,20}:)?//|^www\.|^mailto:|^data:|^urn:|^[\w.+-]+@[\w-]+(?:\.[\w-]+)+$")
_TYPES = frozenset(
    """
    string str text integer int number boolean bool object array bytes byte char varchar true false yes no on
    off null none nil undefined void any unknown optional required secret password hidden masked auto random
    generated generate disabled enabled enable disable basic bearer digest token plain plaintext sha256 sha512
    md5 bcrypt argon2 scrypt aes hs256 rs256 aws4-hmac-sha256
    """.split()  # noqa: SIM905
)
_PUNCTUATION = expression(r"[^A-Za-z0-9\s]")
_BRACKETS = {")": "(", "]": "[", "}": "{"}


def is_tangled(value: str) -> bool:
    """True for a password full of symbols: no expression in any language leaves its brackets open or crosses them."""
    if len(value) < 12 or len(_PUNCTUATION.findall(value)) < 6 or any(map(str.isspace, value)):
        return False
    opened = []
    for character in value:
        if character in "([{":
            opened.append(character)
        elif character in _BRACKETS and (not opened or opened.pop() != _BRACKETS[character]):
            return True
    return False


def is_code(value: str, *, quoted: bool) -> bool:
    """True when the text is an expression, a type, a pattern, a path or an address rather than a literal."""
    if _CALLED.search(value):
        return True
    if is_tangled(value):
        return False
    if quoted and value[:1] in ("!", "&") and (_is_drawn(value) or _EXCLAIMED.match(value)):
        return False
    if _REGEX.search(value) or _EXPRESSION.search(value) or _URL.match(value):
        return True
    if (
        _PATH.match(value)
        and (wordiness(value) > 0 or value.startswith(("/", "./", "../", "~")))
        and not _base64like(value)
    ):
        return True
    if _FILE.search(value) and len(value) < 80:
        return True
    if value.lower() in _TYPES:
        return True
    if quoted:
        return False
    if value.rstrip(")]},;:|").lower() in _TYPES:  # a document on one line: {"password": true}]
        return True
    typed = _TYPED_MEMBER.match(value)
    if typed and typed[1].lower() in _TYPES:
        return True
    if value.startswith(("(", "[", "{")) or (_OPENS.match(value) and _CLOSES.search(value)):
        return True
    if value.startswith(("&", "*", "!")) and value[1:2].isalpha() and wordiness(value) > 0.3:
        return True
    return bool(_IDENTIFIER.match(value)) and digits_share(value) == 0 and not is_gibberish(value)


def _is_drawn(value: str) -> bool:
    """True for what a generator drew, whatever it begins with; an operand is a name."""
    return kinds(value) >= 3 and digits_share(value) > 0 and not _OPERATORS.search(value) and looks_random(value)


_EXCLAIMED = expression(r"!+[A-Za-z]{3,}[-_]?\d{2,6}[!?.*#%]?$")
"""A word with a number, and the mark that somebody put before it to please a rule; operands are not numbered so."""
_CALLED = expression(r"[\w\])]\)\.[A-Za-z_]\w*\(|^![01][,;)}]")
"""A call on a result, and true or false as minified programs write them: code, however full of symbols."""
_OPERATORS = expression(r"[()\[\]{}<>=|\s.]")
_TYPED_MEMBER = expression(r"([a-z]{3,9})[,;][A-Za-z_]\w*\??:")
"""``boolean,detail?:string``: a type, and the next member of what it is the type of."""


def _base64like(value: str) -> bool:
    return (
        len(value) >= 24
        and kinds(value.replace("/", "")) >= 3
        and wordiness(value) < 0.5
        and value.count("/") <= len(value) // 12
    )
