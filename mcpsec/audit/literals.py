"""Telling a written-out secret from a reference to one, a placeholder or a setting, by its name and its value.

The engine of ``scan-secrets`` knows the formats; what it can't know is that the value of ``DB_PASSWORD`` in a
server's environment is the password, whatever it looks like. Both are asked. Nothing here returns a value.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from mcpsec.leaks.names import kind_of
from mcpsec.leaks.programs import is_code
from mcpsec.leaks.secrecy import is_weak_password
from mcpsec.leaks.values import is_placeholder, is_reference

__all__ = ["is_literal_secret", "query_secret", "refers", "secret_name", "url_password"]

_KINDS = {"password", "secret", "token", "apikey", "key", "auth"}
_REFERENCE = re.compile(
    r"\$\{?[\w:.-]+|\$\(|\{\{|%[A-Za-z_]\w*%|<[^>]*>|^(?:op|vault|aws|gcp|azurekv|sops|keyring|file|env|ref|doppler|bws)[:+]"
    r"|^!(?:vault|secret|env)|^/run/secrets/|^/(?:etc|var|run|mnt|vault)/|\binput:|^__.*__$|^@\w+|@[A-Z][A-Z0-9_]{3,}@"
)
"""Also ``@NAME@`` inside a value, as autoconf, CMake and Maven write what is put in by a build or a test."""
_HARMLESS = re.compile(
    r"(?i)true|false|yes|no|on|off|none|null|auto|default|required|optional|disabled?|enabled?|\d{1,5}"
)
_SCHEME = re.compile(r"(?i)^(?:bearer|basic|token|apikey|digest)\s+")
_QUERY = re.compile(r"(?i)(?:^|[_-])(?:api_?key|apikey|key|token|secret|password|passwd|pwd|sig|signature|auth)$")
_NO_SECRET = re.compile(
    r"(?i)(?:tokenizers|_type|_mode|_url|_uri|_path|_file|_dir|_name|_id|_method|_header|_count|_limit)"
    r"|[_-](?:addr(?:ess)?|realm|host(?:name)?|port|domain|region|issuer|audience|scopes?|redirect|provider|backend)s?$"
)
_PRODUCTS = re.compile(
    r"(?i)keycloak|keyspaces?|keystone|keydb|oauth2?(?=[_-])|authentik|authelia|passbolt|tokenizers?"
)
"""Names of products and protocols that only sound like secrets."""


def refers(value: str) -> bool:
    """True when a value only says where the secret is, or that one has to be put there."""
    text = _SCHEME.sub("", value.strip()).strip()
    return not text or bool(_REFERENCE.search(text)) or is_reference(text) or is_placeholder(text)


def secret_name(name: str) -> str:
    """What kind of secret a variable or header of this name holds; empty when it holds none."""
    if _NO_SECRET.search(name):
        return ""
    kind = kind_of(_PRODUCTS.sub("x", name))
    if name.lower() in ("authorization", "proxy-authorization", "cookie", "x-auth"):
        kind = kind if kind in _KINDS else "auth"
    return kind if kind in _KINDS else ""


def is_literal_secret(name: str, value: str, *, weak: bool = False) -> bool:
    """True when the value under this name is a secret written out; ``weak``: dictionary passwords count, too."""
    kind = secret_name(name)
    text = _SCHEME.sub("", value.strip()).strip()
    if not kind or len(text) < 4 or refers(value) or _HARMLESS.fullmatch(text) or any(c.isspace() for c in text):
        return False
    if is_weak_password(text):
        return weak and kind == "password"
    if "://" in text and kind != "password":
        return False
    if kind == "password":
        return not text.startswith("/")
    if set(re.findall(r"[a-z]+|\d+", text.lower())) <= {*re.findall(r"[a-z]+", name.lower()), "my", "some", "secret"}:
        return False  # API_ACCESS_TOKEN=access-token
    return len(text) >= 8 and not is_code(text, quoted=True)


def url_password(url: str) -> bool:
    """True for a URL with a password before its host."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return False
    return bool(password) and not refers(password or "") and not is_weak_password(password or "")


def query_secret(url: str) -> str:
    """The name of the first query parameter that carries a credential; empty when none does."""
    try:
        pairs = parse_qsl(urlsplit(url).query)
    except ValueError:
        return ""
    return next((name for name, value in pairs if _QUERY.search(name) and len(value) >= 6 and not refers(value)), "")
