"""Telling a piece of a program from a literal value: expressions, types, patterns, paths, addresses, fixed names."""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.values import digits_share, is_gibberish, kinds, looks_random, wordiness

__all__ = ["is_code", "is_fixed", "is_tangled"]

_PATH = expression(r"^(?:~|\.{1,2}|[A-Za-z]:|/|\\\\)?(?:[\\/]{1,2}[\w .@%+~-]+)+[\\/]?$|^(?:[\w.@~-]+/)+[\w.@*-]*$")
_FILE = expression(
    r"(?i)\.(?:pem|key|crt|cer|p12|pfx|jks|json|ya?ml|txt|html?|jsp?x?|tsx?|py|xml|conf|cfg|ini|env|properties|gpg|asc|pub|php|log"
    r"|png|svg|css|sh|md|csv|db|sql|go|rb|java|cs|tf|lock|proto|com|org|net|io|local|svc|internal)$"
)
_OPENS, _CLOSES = expression(r"[\w.$]*[({\[]"), expression(r"[)}\]]\W{0,3}$")
_REGEX = expression(r"\\[dwsSDWb]|\[\^?[\w]-[\w]|\(\?[:=!P<]|\.\*|\.\+|\{\d+,\d*\}|\]\+|\]\*")
_EXPRESSION = expression(
    r"\$\{[\w.:\[\]@ -]*\}|\{\{[^{}]*\}\}|\$\([^()]*\)|#\{[^{}]*\}|<%|%>|%\(\w+\)|[\"'] ?\+|\+ ?[\"']|\|\||&&|=>|::|->|\(\)|\[\d*\]|\[['\"]|^[A-Za-z_$][\w$.]*\(|^!+[A-Za-z(]|^&[A-Za-z]\w*$"  # noqa: E501
    r"|^\w+\.\w+\.\w+$(?<![0-9a-fA-F]{8})|^new |^function|^lambda|\\[nrt]$|%[sdv]$|^%[sdv]|\{[A-Za-z_]\w{2,}\}|\{\d?\}"
    r"|^&(?:lt|#x3[cC]|#60);|\w&lt;\w+&gt;|\[:\w{2,12}\]|^[A-Za-z_][\w.]*[\[({]$|@[A-Z][A-Z0-9]*_[A-Z0-9_]*@|%%[A-Z][A-Z0-9_]{2,}%%|__[A-Z][A-Z0-9]*_[A-Z0-9_]*__"
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


_FIXED = expression(
    r"(?i)^\d{4}-\d\d-\d\dT\d\d"
    r"|^(?:scram[-_])?(?:hmac[-_]?)?(?:sha|md|aes|rsa|ecdsa|dsa|ed|rs|hs|es|ps|blake)[-_]?\d{1,5}"
    r"(?:[-_][a-z]{2,8}\d{0,4}){0,3}$"
    r"|^@\{|\{\{|\{\w+\}$|^(?:\\u[0-9a-f]{4}){1,8}$|^@?(?-i:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+[a-z]?)$"
    r"|^[^$]{0,40}\$(?:2[abxy]?|apr1|argon2\w*)\$|^(?:pass(?:word)?|key|token)_?\d?$"
    r"|^--?[A-Za-z][\w-]*=?$|^(?:required|nullable|sometimes|filled|confirmed|string|bail)\|"
    r"|--[a-z][\w-]{1,40}=|sha3[-_]\d{3}$|argon2[id]{1,2}$|bcrypt;|[a-z]{2}[-_](?:\d{3}|(?-i:[A-Z]{2}))$|\d{0,3}\*\d{0,3}(?-i:[A-Z][A-Za-z-]{1,20})$"
    r"|(?-i:P(?=[\dT])(?:\d+(?:\.\d+)?[YMWD]){0,4}(?:T(?:\d+(?:\.\d+)?[HMS]){1,3})?)$"
    r"|(?:18446744073709551615|9223372036854775807|4294967295|2147483647)$"
    r"|\\{0,2}(?-i:[A-Z][A-Za-z0-9]+(?:\\{1,2}[A-Z][A-Za-z0-9]+){2,})$|[a-z_]\w*(?:\.\w+)+#[a-z_]\w*$|#[a-z_]+(?:-[a-z_]+)*$|crwdns\d+:\d+crwdne\d+:\d+$"
    r"|(?:[a-z_]{2,24}(?::[\w,./-]{1,60})?\|){1,12}[a-z_]{2,24}(?::[\w,./-]{1,60})?$|required_(?:if|unless|with|without)(?:_all)?:"
    r"|(?:com|org|io|net|androidx|jakarta|javax)\.[\w.-]{1,80}:[\w.-]{1,80}(?::[\w.+-]{1,40})?$|pb(?:e|kdf2)with\w{3,40}$"
    r"|[^@]{1,200}@sha256:[0-9a-f]{64}$|[a-z0-9@._-]{2,60}[-_]sha-?(?:1|256|384|512)$|^\\[0-9a-f]{2,6}$|^[a-z-]{2,24}\{[a-z-]{2,32}:|^\*?u?int(?:8|16|32|64|ptr)(?:_t)?$"
    r"|^(?:u[ft]f-?(?:8|16|32)(?:-?[bl]e)?|iso-?8859-\d{1,2}|latin-?\d|cp-?\d{3,4}|windows-125\d|euc-[jk][pr]|koi8-[ru]|base-?(?:16|32|36|58|62|64|85)-?(?:url)?|(?:win|mac|linux|darwin|windows|osx)-?(?:x?(?:64|86|32)|arm64))$"
)
"""Dates, durations, digests, pinned images, style sheets, options, names of algorithms, encodings, platforms, regions,
classes and their methods, and variables, the largest numbers, what Crowdin puts in a text's place, Laravel's rules for
fields, and libraries of Maven: never what a person keeps secret."""


def is_fixed(value: str) -> bool:
    """True for what a standard, a platform or a program fixes: dates, algorithms, encodings, names of constants."""
    return _FIXED.match(value) is not None


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
    if value.lower() in _TYPES or ("|" in value and _TYPES.issuperset(value.lower().split("|"))):
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
_CALLED = expression(
    r"[\w\])]\)\.[A-Za-z_]\w*\(|^![01][,;)}]|^[)\]}][,;.)\]}]|^[\w.\"']+\)\{[A-Za-z_$]\w*[.(=;]|^\\{1,4}\)"
)
"""A call on a result, true and false and the ends of calls and conditions as minified programs write them, a group that
sed closes: code, however full of symbols."""
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
