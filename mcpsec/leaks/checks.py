"""Structure tests of credential formats: what a value must satisfy beyond its pattern.

A rule names one with ``check = "…"``. Each test takes the captured value and answers

* ``True``: the structure holds (a checksum matches, a header decodes, a key parses): the rule's confidence stands;
* ``None``: the shape is right but its proof does not hold or can't be computed (a wrong checksum, a body that was
  counted out): confidence is medium at most;
* ``False``: this can't be such a credential: no finding.

Names that rules may use
------------------------
============================  =========================================================================================
``github-checksum``           prefix, ``_``, body, last six characters = CRC-32 of the body in base62 (ghp_ gho_ ghu_ ghs_ ghr_)
``npm-checksum``              ``npm_`` + 30 + 6, the same CRC-32/base62 tail
``crc32-base62-tail``         the same tail over everything between the first ``_`` and the last six characters
``crc32-hex-tail``            ends in 8 hex digits = CRC-32 (either byte order) of what stands before them, with or without
                              the separator (Grafana ``glsa_``, Zuplo ``zpka_`` …)
``gitlab-token``              classic 20 characters, or the routable form (base64url payload ``.`` two-digit version and
                              length ``.`` CRC-32 in base36)
``jwt``                       first segment decodes to a JSON object with ``alg``; second to a JSON object (or JWE)
``pem``                       PEM or armour block whose body is base64 of DER (or OpenSSH, PGP, PuTTY) of the right kind
``aws-access-key-id``         four-letter prefix + 16 of ``A-Z2-7``, not a documentation key
``aws-secret-key``            40 base64 characters, mixed, neither hex nor path-like
``slack``                     ``xox…`` with its numeric identifiers, or ``xapp``/webhook shape, and a random tail
``stripe``                    ``(sk|rk|pk|whsec)_(live|test)_`` + at least 24 random characters
``pypi``                      ``pypi-`` + macaroon whose location decodes to the index's own host name
``google-api-key``            ``AIza`` + exactly 35 of base64url, random
``openai``                    contains ``T3BlbkFJ`` at the place where OpenAI puts it (None when absent)
``anthropic``                 ``sk-ant-…`` that ends in ``AA`` (None when it does not)
``telegram-bot``              8-10 digits ``:`` 35 characters
``discord-bot``               first segment is base64 of a decimal snowflake
``discord-snowflake``         17-20 digits that are a date after 2015
``twilio``                    two letters + 32 lower-case hex, random
``sendgrid``                  ``SG.`` + 22 + ``.`` + 43
``mailgun``                   ``key-`` + 32 hex
``azure-client-secret``       AAD v2 secret: 3 characters, digit, ``Q~``, 31-34 characters
``azure-storage-key``         base64 of exactly 64 bytes
``base64-32``                 base64 of exactly 32 bytes (``base64-16``, ``base64-20``, ``base64-64`` likewise)
``docker-auth``, ``basic``    base64 of ``user:password`` in printable text (placeholders refused)
``cisco-type-7``              two digits of an offset, hex that the published table turns back into printable text
``luhn``                      decimal digits with a valid Luhn digit
``uuid``                      8-4-4-4-12 hex, not nil, not sequential
``hex``                       hexadecimal, random looking, not one repeated or counted pattern
``random``                    characters look random: no dictionary text, no run, no counting
``base58check``               Base58 whose last four bytes are the double SHA-256 of the rest (WIF, xprv)
``bech32``                    Bech32 checksum (age ``AGE-SECRET-KEY-1``, nostr ``nsec1``)
``json-base64``               base64 of a JSON object
``seed-phrase``               12, 15, 18, 21 or 24 words, hardly one twice, none of the phrases that tools for tests bring
``kubernetes-token``          service-account JWT (``kubernetes`` in issuer or ``kid`` header)
``mixed``                     has a digit and a letter
``strong``                    has three of: lower, upper, digit, other; or at least 20 characters
``chosen``                    what a person or a generator would choose as a password; None for the former
============================  =========================================================================================
"""  # noqa: E501

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, crc32

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.secrecy import LOW, is_foreign, is_weak_password, password_strength, spells_its_name
from mcpsec.leaks.urlquote import unquote
from mcpsec.leaks.values import entropy, is_filler, is_placeholder, is_reference, looks_random, randomness, wordiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Verdict = bool | None

__all__ = ["CHECKS", "NAMES", "run"]

_REPEATED = expression(r"([^=_-])\1{9}")
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
DISCORD_EPOCH_BITS = 22


def unbase64(text: str) -> bytes | None:
    """Decode base64 or base64url with or without padding; None when it is neither."""
    text = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
    if len(text) % 4 == 1:
        return None
    try:
        return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except (Base64Error, ValueError):
        return None


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits.rjust(width, "0")


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


def crc32_base62_tail(value: str) -> Verdict:
    """The scheme of GitHub and npm (https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/)."""
    body = value.partition("_")[2]
    if len(body) < 12:
        return False
    if _base62(crc32(body[:-6].encode()), 6) == body[-6:]:
        return True
    return None if randomness(body) is not False else False


def crc32_hex_tail(value: str) -> Verdict:
    """Eight hex digits of CRC-32 at the end, over what stands before them."""
    head, tail = value[:-8], value[-8:].lower()
    if not all(c in "0123456789abcdef" for c in tail):
        return False
    for covered in (head, head.rstrip("_-."), head.rstrip("_-.").rpartition("_")[2]):
        sum_ = crc32(covered.encode())
        if tail in (sum_.to_bytes(4, "big").hex(), sum_.to_bytes(4, "little").hex()):
            return True
    return None if randomness(head) is not False else False


def gitlab_token(value: str) -> Verdict:
    """Classic and routable GitLab tokens (https://docs.gitlab.com/security/tokens/)."""
    body = value.partition("-")[2]
    if body.count(".") == 2:
        payload, length, tail = body.split(".")
        if unbase64(payload) is None or len(tail) != 7 or len(length) != 2:
            return None
        computed = _base36(crc32(value[: -len(tail)].encode())).rjust(7, "0")
        return True if computed == tail else None
    return randomness(body)


def _json_object(segment: str) -> dict[str, object] | None:
    import json

    raw = unbase64(segment)
    if raw is None:
        return None
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def jwt(value: str) -> Verdict:
    """JSON Web Token in compact form (RFC 7519, RFC 7515 section 7.1, RFC 7516 section 7.1)."""
    parts = value.split(".")
    header = _json_object(parts[0])
    if header is None:
        return False
    if "enc" in header or len(parts) == 5:
        return True
    if "alg" not in header and "typ" not in header:
        return False
    if len(parts) < 2 or _json_object(parts[1]) is None:
        return None
    if len(parts) > 2 and wordiness(parts[2]) > 0.5:
        return False  # signed with the word "signature"
    if str(header.get("alg")).lower() == "none":
        return False  # RFC 7519, section 6: anybody can make one
    return True if _is_signed(str(header.get("alg")), parts) else None


SIGNATURES = {"256": 43, "384": 64, "512": 86}
"""Characters of base64url that the signature of HMAC with SHA-2 of that size has (RFC 7518, section 3.2)."""
_SAMPLE_TOKEN = expression(r'"John Doe"|"1234567890"|"iss": ?"joe"|"some": ?"payload"')
"""Claims of the tokens that RFC 7519 and jwt.io show, copied into every documentation."""


def _is_signed(alg: str, parts: list[str]) -> bool:
    """True when the signature has the length of its algorithm, and the token is none of the well-known samples."""
    family, size = alg[:2], len(parts[2]) if len(parts) > 2 else 0
    known = SIGNATURES.get(alg[2:], 0)
    fits = {"HS": size == known, "ES": size == {"256": 86, "384": 128, "512": 176}.get(alg[2:]), "Ed": size == 86}
    right = fits.get(family, size >= 171) if alg not in ("none", "None") else False
    return right and not _SAMPLE_TOKEN.search((unbase64(parts[1]) or b"").decode("utf-8", "replace"))


def kubernetes_token(value: str) -> Verdict:
    """A Kubernetes service-account token (https://kubernetes.io/docs/reference/access-authn-authz/authentication/)."""
    verdict = jwt(value)
    claims = _json_object(value.split(".")[1]) if verdict and value.count(".") == 2 else None
    issuer = str(claims.get("iss", "")) if claims else ""
    return True if "kubernetes" in issuer or (claims and "kubernetes.io" in claims) else verdict and None


def pem(value: str) -> Verdict:
    """A private key block: RFC 7468, PKCS#1, PKCS#8, SEC 1, OpenSSH, OpenPGP (RFC 9580 section 6), PuTTY."""
    from mcpsec.leaks.keyblocks import judge

    return judge(value)


def aws_access_key_id(value: str) -> Verdict:
    """AWS unique identifiers: prefix and base32 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html)."""
    body = value[4:]
    if len(body) != 16 or "EXAMPLE" in value or randomness(body) is False:
        return False
    return randomness(body) if all(c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" for c in body) else None


def aws_secret_key(value: str) -> Verdict:
    """Forty base64 characters; hex digests and paths are not secret keys."""
    if len(value) != 40 or "EXAMPLE" in value or is_placeholder(value):
        return False
    if all(c in "0123456789abcdefABCDEF" for c in value) or value.count("/") > 6:
        return False
    kinds = (any(map(str.islower, value)), any(map(str.isupper, value)), any(map(str.isdigit, value)))
    return all(kinds) and entropy(value) >= 3.5


def slack(value: str) -> Verdict:
    """Slack tokens and webhooks (https://api.slack.com/concepts/token-types)."""
    tail = value.rpartition("/" if "hooks.slack" in value else "-")[2]
    return randomness(tail) if len(tail) >= 10 else False


def stripe(value: str) -> Verdict:
    """Stripe keys (https://docs.stripe.com/keys): publishable ones are not secret."""
    if value.startswith("pk_"):
        return False
    body = value.rpartition("_")[2]
    if len(body) < 10 or randomness(body) is False:
        return False
    return randomness(body) if len(body) >= 24 else None


def pypi(value: str) -> Verdict:
    """PyPI tokens are macaroons with a fixed location (https://warehouse.pypa.io/development/token-scanning.html)."""
    raw = unbase64(value.removeprefix("pypi-")[:32])
    if raw is None or b"pypi." not in raw:
        return False
    return randomness(value[37:])


def google_api_key(value: str) -> Verdict:
    """``AIza`` and 35 characters."""
    return randomness(value[4:]) if len(value) == 39 else False


def openai(value: str) -> Verdict:
    """Every OpenAI key holds base64 of ``OpenAI`` in its middle."""
    verdict = randomness(value.removeprefix("sk-").replace("T3BlbkFJ", ""))
    return verdict if "T3BlbkFJ" in value or verdict is False else None


def anthropic(value: str) -> Verdict:
    """Anthropic keys end in ``AA``."""
    verdict = randomness(value.split("-", 3)[-1])
    return verdict if value.endswith("AA") or verdict is False else None


def telegram_bot(value: str) -> Verdict:
    """``<bot id>:<35 characters>`` (https://core.telegram.org/bots/api#authorizing-your-bot)."""
    number, _, tail = value.partition(":")
    if not number.isdigit() or len(tail) not in (34, 35, 36) or randomness(tail) is False:
        return False
    return randomness(tail) if tail.startswith("AA") else None


def discord_snowflake(value: str) -> Verdict:
    """An identifier whose time lies after Discord's epoch (https://docs.discord.com/developers/reference#snowflakes)."""
    return value.isdigit() and 17 <= len(value) <= 20 and int(value) >> DISCORD_EPOCH_BITS > 86_400_000


def discord_bot(value: str) -> Verdict:
    """The first segment of a bot token is its user's snowflake in base64."""
    raw = unbase64(value.split(".", 1)[0])
    if raw is None or not raw.isdigit():
        return None if randomness(value) is not False else False
    return True if 16 <= len(raw) <= 20 else None


def twilio(value: str) -> Verdict:
    """Two letters and 32 hex digits."""
    return randomness(value[2:]) if len(value) == 34 else False


def sendgrid(value: str) -> Verdict:
    """``SG.<22>.<43>`` (https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys)."""
    parts = value.split(".")
    if len(parts) != 3 or randomness(parts[2]) is False:
        return False
    return randomness(parts[2]) if (len(parts[1]), len(parts[2])) == (22, 43) else None


def mailgun(value: str) -> Verdict:
    """``key-`` and 32 hex digits."""
    return hexadecimal(value.removeprefix("key-"))


def azure_client_secret(value: str) -> Verdict:
    """Entra ID application secrets carry the version ``Q~`` at offset 4."""
    if value[4:6] != "Q~" and value[3:6] != "8Q~":
        return False
    return randomness(value[6:])


def _base64_of(size: int) -> Callable[[str], Verdict]:
    def check(value: str) -> Verdict:
        raw = unbase64(value)
        return randomness(value) if raw is not None and len(raw) == size else False

    return check


def basic(value: str) -> Verdict:
    """Base64 of ``user:password`` (RFC 7617)."""
    raw = unbase64(value)
    if raw is None:
        return False
    try:
        user, colon, password = raw.decode().partition(":")
    except UnicodeDecodeError:
        return False
    if not colon or not password or not (user + password).isprintable() or is_placeholder(password):
        return False
    return True if password_strength(password) else None  # words prove little


_TYPE_7 = b"dsfd;kfoA,.iyewrkldJKDHSUBsgvca69834ncxv9873254k;fg87"
"""What Cisco IOS mixes into a password of type 7; public since 1995."""


def cisco_type_7(value: str) -> Verdict:
    offset = int(value[:2])
    plain = bytes(
        byte ^ _TYPE_7[(offset + place) % len(_TYPE_7)] for place, byte in enumerate(bytes.fromhex(value[2:]))
    )
    return plain.isascii() and plain.decode().isprintable()


def luhn(value: str) -> Verdict:
    """ISO/IEC 7812-1 annex B."""
    digits = [int(c) for c in value if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return len(digits) >= 8 and len(set(digits)) > 2 and sum(doubled) % 10 == 0


def uuid(value: str) -> Verdict:
    """RFC 9562 text form; nil, maximal and counted values are samples."""
    digits = value.replace("-", "").lower()
    if len(digits) != 32 or len(set(digits)) < 5:
        return False
    return True if looks_random(digits) else None


def hexadecimal(value: str) -> Verdict:
    """Hex digits that somebody's random generator could have made."""
    return randomness(value) if all(c in "0123456789abcdefABCDEF" for c in value) else False


def base58check(value: str) -> Verdict:
    """Base58Check (Bitcoin WIF, BIP-32 extended keys)."""
    import hashlib

    number = 0
    for character in value:
        digit = BASE58.find(character)
        if digit < 0:
            return False
        number = number * 58 + digit
    raw = number.to_bytes(max(5, (number.bit_length() + 7) // 8), "big")
    return hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:] or None


def bech32(value: str) -> Verdict:
    """BIP-173 checksum."""
    if value.lower() != value and value.upper() != value:
        return False
    prefix, _, data = value.lower().rpartition("1")
    if not prefix or len(data) < 6 or any(c not in BECH32 for c in data):
        return False
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [BECH32.index(c) for c in data]
    check = 1
    for item in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ item
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> bit) & 1 else 0
    return True if check == 1 else None


def json_base64(value: str) -> Verdict:
    """Base64 of a JSON object."""
    return _json_object(value) is not None


def mixed(value: str) -> Verdict:
    """At least one digit and one letter."""
    if not any(map(str.isdigit, value)) or not any(map(str.isalpha, value)) or is_filler(value):
        return False
    return None if is_placeholder(value) else True


def strong(value: str) -> Verdict:
    """Three character kinds, or twenty characters."""
    if is_reference(value):  # %PASSWORD% of cmd.exe is no percent encoding
        return False
    value = unquote(value)
    kinds = [any(map(test, value)) for test in (str.islower, str.isupper, str.isdigit)]
    kinds.append(not value.isalnum())
    if (
        is_weak_password(value)
        or is_placeholder(value)
        or is_reference(value)
        or _ADDRESS.match(value)
        or spells_its_name(value)
        or is_foreign(value)
    ):
        return False
    if password_strength(value) == LOW:
        return None  # words, however many
    return sum(kinds) >= 3 or len(value) >= 20


def chosen(value: str) -> Verdict:
    """No word and no placeholder: what somebody, or a generator, made a password of."""
    strength = None if is_reference(value) or spells_its_name(value) else password_strength(value)
    return (strong(value) or None) if strength else False


_ADDRESS = expression(r"[a-z0-9]{2,16}://|[~.]{0,2}/")
"""A password that names where it is kept."""


def random(value: str) -> Verdict:
    """No words, no runs, no counting."""
    return randomness(value)


_TEST_PHRASES = ("myth like bonus scare ", "candy maple cake sugar ")
"""How the phrases of Ganache and Truffle begin: chains for tests, the same everywhere."""


def seed_phrase(value: str) -> Verdict:
    """Words of a wallet (BIP-39, "Generating the mnemonic"): drawn by chance, so that hardly one comes twice."""
    words = value.split()
    if len(words) not in {12, 15, 18, 21, 24} or len(set(words)) < len(words) - 2:
        return False
    return not value.startswith(_TEST_PHRASES)


CHECKS: dict[str, Callable[[str], Verdict]] = {
    "anthropic": anthropic,
    "aws-access-key-id": aws_access_key_id,
    "aws-secret-key": aws_secret_key,
    "azure-client-secret": azure_client_secret,
    "azure-storage-key": _base64_of(64),
    "base58check": base58check,
    "base64-16": _base64_of(16),
    "base64-20": _base64_of(20),
    "base64-32": _base64_of(32),
    "base64-64": _base64_of(64),
    "basic": basic,
    "bech32": bech32,
    "crc32-base62-tail": crc32_base62_tail,
    "crc32-hex-tail": crc32_hex_tail,
    "discord-bot": discord_bot,
    "discord-snowflake": discord_snowflake,
    "docker-auth": basic,
    "github-checksum": crc32_base62_tail,
    "gitlab-token": gitlab_token,
    "google-api-key": google_api_key,
    "hex": hexadecimal,
    "json-base64": json_base64,
    "jwt": jwt,
    "kubernetes-token": kubernetes_token,
    "cisco-type-7": cisco_type_7,
    "luhn": luhn,
    "mailgun": mailgun,
    "mixed": mixed,
    "npm-checksum": crc32_base62_tail,
    "openai": openai,
    "pem": pem,
    "pypi": pypi,
    "random": random,
    "seed-phrase": seed_phrase,
    "sendgrid": sendgrid,
    "slack": slack,
    "stripe": stripe,
    "strong": strong,
    "chosen": chosen,
    "telegram-bot": telegram_bot,
    "twilio": twilio,
    "uuid": uuid,
}
NAMES = frozenset(CHECKS)


def run(name: str, value: str) -> Verdict:
    """Apply the test ``name``; a value that breaks the test itself has not the format."""
    secret = value.rpartition("-")[2] if name == "slack" else value  # documents blank the numbers before a Slack token
    if "xxxxx" in value.lower() or _REPEATED.search(secret):
        return False
    try:
        return CHECKS[name](value)
    except (ValueError, IndexError, OverflowError):
        return False
