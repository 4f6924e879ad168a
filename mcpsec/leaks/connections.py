"""Credentials that travel with an address or a request.

That is ``scheme://user:password@host``, ``Authorization`` headers and ``curl -u user:password``.
"""

from __future__ import annotations

from mcpsec.leaks import checks
from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import Match
from mcpsec.leaks.programs import is_code
from mcpsec.leaks.secrecy import (
    HIGH,
    LOW,
    MEDIUM,
    WORDY,
    hides_sample,
    is_chosen_password,
    is_weak_password,
    password_strength,
    spells_its_name,
)
from mcpsec.leaks.values import is_counted, is_placeholder, is_reference, looks_random, wordiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["AUTHORIZATION_GATE", "CURL_GATE", "HEADER_GATE", "URL_GATE", "detect"]

_URL = expression(
    rb"(?P<user>[^\s:/?#\"'<>@\\`,()|]{0,128}):(?P<password>[^\s\"'<>`/?#]{1,256}|[^\s\"'<>`]{1,128}?)@"
    rb"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.$%{}<-][A-Za-z0-9_.$%{}<>-]{0,253})"
)
_SCHEME = expression(rb"[A-Za-z][A-Za-z0-9+.-]{1,30}$")
_HEADER = expression(
    rb"(?i)(?P<scheme>bearer|basic|token|apikey|api-key|digest|sso-key|splunk|key|bot|pat|oauth|geniekey|ssws)"
    rb"(?:[ \t]{1,3}|\\?[\"'] ?[+.,&] ?\\?[\"']|%20|\+)(?P<value>[A-Za-z0-9_.~+/:=|!@$%*-]{8,4096})"
)
_NAMED_SCHEME = expression(rb"(?i)\b(?:token|key|digest|bot|pat|oauth|geniekey)(?:[ \t]|\\?[\"'] ?[+.,&]|%20|\+)")
LONGEST_COMMAND = 1500
"""How far before an option its program may stand, over continued lines."""
NAMED = 40
"""How far after the header's name its scheme may stand."""
_AUTHORIZATION = expression(
    rb"(?i)authorization[\"'`\]\\]{0,4}[ \t]{0,4}(?:=>|:=|[:=,(])[ \t]{0,4}\\?[\"'`]?(?:(?P<scheme>[a-z][\w-]{1,20})[ \t])?(?P<value>[A-Za-z0-9_.~+/=-]{16,4096})(?=[\"'`\s\\]|$)"  # noqa: E501
)
_CURL_USER = expression(
    rb"(?:^|[\s\"'=])(?:-u|--user|--proxy-user|-U)(?:[ \t=]{1,3}|\\?[\"'],\s{0,8}\\?[\"'])?[\"']?"
    rb"(?P<user>\$\{?\w{1,40}\}?|[^\s:\"'`$<{@]{0,64}):(?P<value>[^\s\"'`]{3,128})"
)
_PARAMETER = expression(r"[A-Za-z]{2,20}=[^=]")
"""``AWS4-HMAC-SHA256 Credential=…``: what stands behind such a scheme is a list of parameters (RFC 9110, 11.4)."""
_PORT = expression(r"(?:port|\d{2,5})/")
"""The path of an address with a port, in which an at sign stands: ``http://127.0.0.1:8080/services/one@file``."""
_VARIABLE = expression(r"\$[A-Za-z_]{2}")
HOSTS_OF_EXAMPLES = expression(
    r"(?i)^(?:(?:[\w-]+\.)*example\.(?:com|org|net)|.*\.(?:example|test|invalid)|host(?:name)?|server|localhost|127\.0\.0\.1|db|domain(?:\.com)?|\[::1\])$"
)
_LOCAL = expression(r"(?i)^(?:localhost|127\.0\.0\.1|db|\[::1\])$")
"""Hosts of examples and of developers alike: there a password that is no word may be somebody's."""
_ADMINISTERS = expression(r"(?i)(?:admin|root)(?:admin|root|\d{1,6})?[!@#.]?$")
"""Words that say who logs in: at somebody's own server that is the password, where documentation says ``password``."""
_OF_RABBITMQ = "guest"
"""The user whom RabbitMQ comes with, and whom it lets in from its own machine only."""
_NUMBERED = expression(r"[A-Za-z]{3,24}[@#._-]?(?P<number>\d{4,8})[!.]?$")
"""A word with somebody's year or day behind it."""

URL_GATE = r"://[^\s:/?#\"'<>@\\`,()|]{0,128}:[^\s\"'<>`]{1,256}@"
_SEPARATORS = r"(?:[ \t]{1,3}|\\?[\"'] ?[+.,&] ?\\?[\"']|%20|\+)"
HEADER_GATE = rf"(?i)(?:bearer|basic|apikey|api-key|sso-key|splunk|ssws){_SEPARATORS}[A-Za-z0-9_.~+/:=|!@$%*-]{{8}}"
AUTHORIZATION_GATE = (
    rf"(?is)authorization(?:.{{0,{NAMED}}}(?:token|key|digest|bot|pat|oauth|geniekey){_SEPARATORS}[A-Za-z0-9_.~+/:=|!@$%*-]{{8}}"
    r"|[\"'`\]\\]{0,4}[ \t]{0,4}(?:=>|:=|[:=,(])[ \t]{0,4}\\?[\"'`]?(?:[a-z][\w-]{1,20}[ \t])?[A-Za-z0-9_.~+/=-]{16})"
)
CURL_GATE = (
    r"(?:^|[\s\"'=])(?:-u|--user|--proxy-user|-U)(?:[ \t=\"'a-zA-Z]{1,4}|\\?[\"'],\s{0,8}\\?[\"'])"
    r"[^\s]{0,80}:[^\s\"'`]{3}"
)


def detect(
    book: Rulebook, data: bytes, lower: bytes, where: str, spans: Sequence[tuple[int, int]], floor: int = 0
) -> Iterator[Match]:
    """Every credential of these kinds whose mark starts in one of the spans."""
    for start, end in spans:
        at = lower.find(b"://", start, end)
        while at >= 0:
            yield from _url(book, data, at)
            at = lower.find(b"://", at + 3, end)
        for mark in (b"bearer", b"basic", b"apikey", b"api-key", b"sso-key", b"splunk", b"ssws"):
            at = lower.find(mark, start, end)
            while at >= 0:
                yield from _header(book, data, at)
                at = lower.find(mark, at + 1, end)
        at = lower.find(b"authorization", start, end)
        while at >= 0:
            yield from _authorization(book, data, at)
            at = lower.find(b"authorization", at + 1, end)
        for mark in (b"-u", b"--user", b"--proxy-user"):
            at = data.find(mark, start, end)
            while at >= 0:
                yield from _curl(book, data, at)
                at = data.find(mark, at + 2, end)


def _match(book: Rulebook, rule: str, start: int, end: int, value: str, confidence: int) -> Iterator[Match]:
    found = book.named(rule)
    if found is not None:
        yield Match(found, start, end, value, confidence)


def _url(book: Rulebook, data: bytes, at: int) -> Iterator[Match]:
    found = _URL.match(data, at + 3)
    if found is None or not _SCHEME.search(data, max(0, at - 31), at):
        return
    user, password, host = (found.group(n).decode("utf-8", "replace") for n in ("user", "password", "host"))
    from mcpsec.leaks.hosting import is_hosted
    from mcpsec.leaks.urlquote import unquote

    plain = unquote(password)
    if (
        user.startswith("[")  # an IPv6 address, its port and an at sign
        or is_reference(plain)
        or is_reference(password)
        or is_placeholder(plain)
        or (any(c in plain for c in "{}<>$(") and not _dollar_is_literal(plain))
    ):
        return
    strength = password_strength(plain)
    if strength is None or _PORT.match(plain):
        return
    if plain == user == _OF_RABBITMQ:
        return
    if is_hosted(host) and (not spells_its_name(plain) or _ADMINISTERS.match(plain)):
        strength = max(strength, MEDIUM)  # somebody's own server, whose password is its user's name or a word
    elif plain.lower() == user.lower():
        return
    if HOSTS_OF_EXAMPLES.match(host):
        own = _LOCAL.match(host) and (wordiness(plain) < WORDY or (strength > LOW and _is_numbered(plain)))
        made_up = strength < HIGH and not own
        strength = LOW if made_up else MEDIUM
    elif strength == MEDIUM and user and "." in host and is_chosen_password(plain):
        strength = HIGH
    yield from _match(book, "url-credentials", *found.span("password"), password, strength)


def _is_numbered(plain: str) -> bool:
    """True for ``Lena1987``, not for ``docker1234`` and ``user0000``: documentation counts, or repeats a digit."""
    found = _NUMBERED.match(plain)
    return found is not None and not is_weak_password(plain) and not is_counted(found["number"])


def _dollar_is_literal(plain: str) -> bool:
    return "$" in plain and not any(c in plain for c in "{}<>(") and not _VARIABLE.search(plain)


def _header(book: Rulebook, data: bytes, at: int) -> Iterator[Match]:
    found = _HEADER.match(data, at)
    if found is None or (at and data[at - 1 : at].isalnum()):
        return
    scheme = found.group("scheme").lower()
    value = found.group("value").decode()
    start, end = found.span("value")
    if scheme == b"basic":
        verdict = checks.run("basic", value)
        if verdict is not False:
            user, _, password = (checks.unbase64(value) or b"").decode().partition(":")
            weak = is_weak_password(password) or (password.lower() == user.lower() and not looks_random(password))
            confidence = LOW if weak else HIGH if verdict else MEDIUM
            yield from _match(book, "authorization-header", start, end, value, confidence)
        return
    if scheme == b"bearer":
        value = value.partition("%")[0]  # RFC 6750: no such sign in one, so it begins an escape that follows
    if value.endswith("...") or _PARAMETER.match(value):
        return
    value = value.rstrip(".,:;")
    end = start + len(value)
    if len(value) < 16 and (scheme != b"bearer" or not any(map(str.isdigit, value))):
        return  # a word of a sentence
    if is_reference(value) or is_placeholder(value) or is_code(value, quoted=False) or hides_sample(value):
        return
    if len(value) >= 16 and looks_random(value):
        named = scheme == b"bearer" or b"uthorization" in data[max(0, at - NAMED - 13) : at]
        if not named and scheme in (b"token", b"key", b"bot", b"pat", b"digest", b"oauth"):
            return
        web_token = value.startswith("eyJ") and "." in value
        sure = len(value) >= 20 and named and (not web_token or checks.run("jwt", value) is True)
        yield from _match(book, "authorization-header", start, end, value, HIGH if sure else MEDIUM)
    elif scheme == b"bearer" and any(map(str.isdigit, value)) and wordiness(value) < 0.8:
        yield from _match(book, "authorization-header", start, end, value, LOW)


def _authorization(book: Rulebook, data: bytes, at: int) -> Iterator[Match]:
    scheme = _NAMED_SCHEME.search(data, at + 13, at + 13 + NAMED)
    if scheme:
        yield from _header(book, data, scheme.start())
    found = _AUTHORIZATION.match(data, at)
    if found is None:
        return
    if (found["scheme"] or b"").lower() in (b"bearer", b"basic"):
        return  # judged where they stand
    value = found.group("value").decode()
    if not looks_random(value) or is_reference(value) or _PARAMETER.match(value):
        return
    if not is_code(value, quoted=False) and not hides_sample(value):
        yield from _match(book, "authorization-header", *found.span("value"), value, MEDIUM)


def _command_start(data: bytes, at: int) -> int:
    """Where the command around an offset begins, over up to eight lines that a backslash continues."""
    start = data.rfind(b"\n", max(0, at - LONGEST_COMMAND), at)
    for _ in range(8):
        if start <= 0 or data[max(0, start - 8) : start].rstrip(b" \t\r")[-1:] != b"\\":
            break
        start = data.rfind(b"\n", max(0, at - LONGEST_COMMAND), start)
    return max(start + 1, at - LONGEST_COMMAND, 0)


def _curl(book: Rulebook, data: bytes, at: int) -> Iterator[Match]:
    found = _CURL_USER.match(data, max(0, at - 1)) or (_CURL_USER.match(data, at) if at == 0 else None)
    if found is None:
        return
    value = found.group("value").decode("utf-8", "replace")
    if is_reference(value) or is_placeholder(value) or is_code(value, quoted=True) or value.isdigit():
        return
    strength = password_strength(value)
    line = data[_command_start(data, at) : at]
    if strength is not None and (b"curl" in line or b"http" in data[at : at + 300].split(b"\n")[0] or strength == HIGH):
        yield from _match(book, "command-line-credentials", *found.span("value"), value, strength)
