"""Secrets written out where a reference belongs: told by the name they stand under, or by their own shape.

The answers are for refusing a deployment file, so they lean towards refusing: a value under such a name is taken for
a secret whatever it looks like. Nothing here returns or repeats a value.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

__all__ = ["argument_holds_secret", "environment_is_secret", "header_is_secret", "looks_secret", "url_holds_secret"]

_HEADER_WORDS = {"apikey", "authorization", "cookie", "credential", "key", "password", "passwd", "secret", "token"}
_VARIABLE_WORDS = _HEADER_WORDS | {
    "auth",
    "credentials",
    "keys",
    "pass",
    "passphrase",
    "pat",
    "psk",
    "pw",
    "pwd",
    "secrets",
}
_QUERY_NAMES = re.compile(r"(?i)(^|[_-])(api_?key|key|token|secret|password|passwd|pwd|sig|signature|auth)$")
_HARMLESS = re.compile(r"(?i)(^|[_-])(public[_-]?key|pubkey|primary[_-]?key|sort[_-]?key|partition[_-]?key)$")
_FLAG = re.compile(
    r"(?i)--?[a-z0-9_-]*(?:password|passwd|passphrase|secret|token|credentials?|api[_-]?key|(?:access|auth|secret|private)[_-]key)"
)
_SHAPES = re.compile(
    r"(?:gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|npm_|pypi-Ag|dckr_pat_|hf_)[A-Za-z0-9_-]{10}"
    r"|\bsk-[A-Za-z0-9_-]{16}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{30}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|AGE-SECRET-KEY-1|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\."
    r"|(?i:\b(?:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,})"
)


def looks_secret(value: str) -> bool:
    """Tell a well-known token, a private key, or a URL with a password in it, whatever name it stands under."""
    return bool(_SHAPES.search(value)) or any(url_holds_secret(word) for word in value.split() if "://" in word)


def header_is_secret(name: str) -> bool:
    """Tell whether a header of this name carries a credential, as authorization, cookie, *-key, *-token, *-secret."""
    words = re.split(r"[-_]", name.lower())
    return not _HARMLESS.search(name) and words[-1] in _HEADER_WORDS


def environment_is_secret(name: str) -> bool:
    """Tell whether a variable of this name holds a credential, as API_KEY, GITHUB_TOKEN, DB_PASSWORD.

    Names of places and switches (``TOKEN_FILE``, ``AWS_ACCESS_KEY_ID``, ``PWD``) do not.
    """
    if name.upper() in ("PWD", "OLDPWD") or _HARMLESS.search(name):
        return False
    return name.lower().split("_")[-1] in _VARIABLE_WORDS or bool(re.search(r"(?i)(password|apikey)$", name))


def url_holds_secret(url: str) -> bool:
    """Tell a URL with a user name or password before the host, or a credential among its query parameters."""
    try:
        parts = urlsplit(url)
        names = [name for name, value in parse_qsl(parts.query) if value]
    except ValueError:
        return "@" in url
    return "@" in parts.netloc or any(_QUERY_NAMES.search(name) for name in names)


def argument_holds_secret(arguments: list[str], index: int) -> bool:
    """Tell whether one argument of a command line is a secret: by its shape, or as the value of a flag like --token."""
    argument = arguments[index]
    if looks_secret(argument):
        return True
    name, equals, value = argument.partition("=")
    if equals and value:
        return bool(_FLAG.fullmatch(name)) or (not name.startswith("-") and _assigns_secret(name))
    before = arguments[index - 1] if index else ""
    return bool(argument) and not argument.startswith("-") and bool(_FLAG.fullmatch(before))


def _assigns_secret(name: str) -> bool:
    """Tell ``env API_KEY=… program`` from ``key=value`` settings of a program: variables are upper case."""
    return bool(re.fullmatch(r"[A-Z][A-Z0-9_]*", name)) and environment_is_secret(name)
