"""Judging a name and a value together: which generic rule applies, and how sure that is."""

from __future__ import annotations

from binascii import a2b_base64
from unicodedata import normalize

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.programs import is_code, is_fixed, is_tangled
from mcpsec.leaks.values import (
    PLACEHOLDER_WORDS,
    digits_share,
    entropy,
    is_counted,
    is_filler,
    is_gibberish,
    is_jumbled,
    is_placeholder,
    is_reference,
    is_woven,
    kinds,
    looks_random,
    wordiness,
)
from mcpsec.leaks.weakness import LEET, is_foreign, is_proverbial, is_weak_password

__all__ = [
    "LOW",
    "OPAQUE_BARE",
    "OPAQUE_QUOTED",
    "WORDY",
    "ends_lines",
    "hides_sample",
    "is_app_password",
    "is_chosen_password",
    "is_chosen_secret",
    "is_chosen_word",
    "is_foreign",
    "is_joined_phrase",
    "is_variable",
    "is_weak_password",
    "judge",
    "password_strength",
    "spells_its_name",
]

LOW, MEDIUM, HIGH = 0, 1, 2
CAUTIOUS = frozenset(("prose", "next", "call", "space", "field", "cell", "line"))
"""Ways of writing that say less than an assignment: what stands there is of medium confidence at most."""
RULES = {
    "password": "generic-password",
    "secret": "generic-secret",
    "token": "generic-token",
    "apikey": "generic-api-key",
    "key": "generic-key",
    "auth": "generic-credential",
    "weak": "generic-salt-or-cookie",
}
"""The generic rule for each kind of name."""
KEPT = frozenset(("secret", "apikey"))
"""Names that say outright that the value is to be kept; parsers have tokens and keys, too."""
SHORTEST = {"password": 4, "secret": 8, "token": 10, "apikey": 10, "key": 16, "auth": 10, "weak": 16}

SHORTEST_ISSUED = 12
"""Characters that a service gives a token or a key at least: 72 bits in base64; shorter ones are names and numbers."""
LONG_TANGLE = 20
"""From this length on, a quoted value full of symbols beside a secret's name leaves no doubt."""
TANGLED = r"(?:[^\s\"'`]{0,20}[^\w\s\"'`./:,-]){5}"
"""Five symbols that no name, path or number holds; see :func:`is_tangled`."""
_OPAQUE_QUOTED = r"[^\s\"'`0-9]{0,39}[0-9]|[A-Za-z+/=_.-]{16}"
OPAQUE_QUOTED = f"{_OPAQUE_QUOTED}|{TANGLED}"
OPAQUE_BARE = r"[^\s\"'`<>(){}0-9]{0,39}[0-9]"
"""How an opaque value begins: a digit soon or, between quotes, many letters. Hyperscan looks for the same."""
_TANGLED = expression(TANGLED)
_OF_EXPRESSION = expression(r"\(\?|\[\^|\\")
_OPAQUE = {True: expression(_OPAQUE_QUOTED), False: expression(OPAQUE_BARE)}

_SEPARATORS = expression(r"[-_. /:+]")
_TIME = expression(
    r"^\d{4}-\d\d-\d\d|^\d\d?[:/.]\d\d[:/.]\d\d|^v?\d+(?:\.\d+){1,4}(?:[-+][\w.]+)?$|^\d+(?:ms|s|m|h|d|px|em|rem|%|kb|mb|gb)?$"
)
_VERSION = expression(r"^[~^<>=v]{0,3}\d+(?:\.(?:\d+|[x*]))+(?:[-+][\w.]+)?$")
_PUBLIC_KEY = expression(
    r"^(?:LS0tLS1CRUdJTi(?:BDRVJU|BQVUJM|[\w+/=]{0,90}$)|MIG[a-f]MA0GCSqGSIb3DQEB|MIIB[\w+/]{2}ANBgkqhkiG9w0B|MIIC[\w+/]{2}ANBgkqhkiG9w0B|MIGfMA0GCSqGSIb3DQEB|MFkwEwYHKoZIzj0C|MHYwEAYHKoZIzj0C"
    r"|MCowBQYDK2V|MIGbMBAGByqGSM49|AAAA[BCE]3NzaC1|AAAAE2VjZHNh"
    r"|(?i:30819f300d0609|30820122300d0609|30820222300d0609|3059301306072a86|302a300506032b65|30[0-9a-f]{2}300906052b0e03021a0500))"
)
"""A public key as X.509 (SubjectPublicKeyInfo, in base64 or hex) or SSH write it, and what OCSP calls a certificate by:
RFC 5280, RFC 8410, RFC 4253, RFC 6960 (CertID). Or the base64 of an armoured block that is empty or no private key."""
_NAMED_PART = expression(r"^[A-Za-z_]{2,20}=[^=]")
_NUMBER_AT_END = expression(r"[A-Za-z_]{6}\d{3,6}$")
"""``lantern_willow2382``: names of variables are not numbered into the hundreds, passwords of people are."""
_DIGEST_NAME = expression(r"(?i)(?:hash|hashed|digest|md5|sha\d{0,3})$")
_DIGEST = expression(r"^(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})$")
_DIGESTED_NAME = expression(r"(?i)(?:encoded|hashed|digested)[-_]?p")
_HEXADECIMAL = expression(r"^(?:[0-9a-f]{2}){8,}$|^(?:[0-9A-F]{2}){8,}$")
SHORTEST_DIGEST = 32
_UUID = expression(r"^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$")


def password_strength(value: str) -> int | None:
    """LOW for words, MEDIUM for what a person might choose, HIGH for what a generator makes; None for no password."""
    size = len(value)
    if size < 4 or size > 256 or is_placeholder(value):
        return None
    if is_weak_password(value):
        return LOW
    variety = kinds(value)
    letters_only = value.isalpha()
    if value.isdigit():
        return MEDIUM if size >= 6 and len(set(value)) >= 4 else LOW
    if letters_only:
        drawn = size >= 5 and value.isascii() and value.lower() not in _OWN_WORDS
        return MEDIUM if drawn and (is_jumbled(value) or _is_unspoken(value)) else LOW
    if not value.isascii() and is_foreign(value):
        return LOW
    if is_proverbial(value):
        return LOW
    words = wordiness(value)
    if digits_share(value) == 0:
        separated = _SEPARATORS.split(value)
        if all(part.isalpha() or not part for part in separated):
            return MEDIUM if size >= 7 and (is_gibberish(value) or _is_unspoken(value)) else LOW
    if spells_its_name(value):
        return LOW
    if variety >= 3 and size >= 8 and words < 0 and entropy(value) >= 2.9:
        return HIGH
    return MEDIUM if size >= 5 else LOW


def _is_unspoken(value: str) -> bool:
    from mcpsec.leaks.spelling import is_unspoken

    return is_unspoken(value)


def is_chosen_word(value: str, name: str = "") -> bool:
    """True for one long word in small letters that says nothing about passwords and is no product's default.

    Weak, but somebody's; ``clickhouse`` beside ``CLICKHOUSE_PASSWORD`` is what the product comes with.
    """
    alone = value.isalpha() and value.islower() and value not in name.lower() and not is_weak_password(value)
    unsaid = "password" not in value and "secret" not in value and not spells_its_name(value)
    return len(value) >= 8 and alone and unsaid


_SPEECH = frozenset(
    """
    password passwords passphrase passcode passwort pin your you please enter must invalid required forgot forgotten
    confirm repeat wrong incorrect change changed reset login log sign user username email new old not the this is are
    was if for from when show hide set use type empty missing match here secret token key
    wachtwoord kennwort contrasena clave senha parola haslo heslo geslo lozinka salasana losenord adgangskode passord
    sandi kunci khau
    """.split()  # noqa: SIM905
)
"""Words of labels and messages about secrets; people seldom choose them for the secret itself."""


def is_joined_phrase(value: str) -> bool:
    """True for ``LongRagHaltsLied``: three words or more that somebody joined, none of them about secrets."""
    words = _LETTERS.findall(value)
    spoken = _SPEECH | _OWN_WORDS | PLACEHOLDER_WORDS
    return value.isalpha() and len(value) >= 12 and len(words) >= 3 and not any(w.lower() in spoken for w in words)


def is_variable(name: str, where: str) -> bool:
    """True for ``POSTGRES_PASSWORD`` outside programs: what is set there is the value itself, be it a word."""
    return where != "code" and "_" in name and name.isupper()


def _is_digest(name: str, value: str, how: str) -> bool:
    """True for the digest of a password, or what is hashed with it: ``encodedPassword``, ``matches("password", "5f4d…")``."""  # noqa: E501
    if _DIGEST_NAME.search(name) and _DIGEST.match(value):
        return True
    if _HEXADECIMAL.match(value) is None:
        return False
    return how == "next" or (len(value) >= SHORTEST_DIGEST and _DIGESTED_NAME.search(name) is not None)


def is_passphrase(value: str, where: str) -> bool:
    """True for words that somebody chose as a secret: quoted in a file of settings, or four small words anywhere.

    Text that is shown to people stands beside the same names, so a word that belongs to such text decides against it.
    """
    words = value.split(" ")
    if not 2 <= len(words) <= 24 or len(value) > 160 or not all(word.isalnum() for word in words):
        return False
    if any(word.lower() in _SPEECH for word in words):
        return False
    if where == "settings":
        return len(value) >= 10
    return len(words) >= 4 and value.isascii() and all(len(w) >= 3 and w.isalpha() and w.islower() for w in words)


_GROUPS = expression(r"[a-z]{4}(?: [a-z]{4}){3}$")


def is_app_password(value: str) -> bool:
    """True for four groups of four letters as Google draws them (https://support.google.com/accounts/answer/185833)."""
    return _GROUPS.match(value) is not None and is_gibberish(value) and not is_placeholder(value)


_LETTERS = expression(r"[A-Z]?[a-z]+|[A-Z]+")
_OWN_WORDS = frozenset(
    """
    pass password passwd passwort pwd pw passphrase secret token key user username admin root test proxy api auth
    native caching sha default new old my the dev local db database value string private public client server reader
    writer secure strong valid invalid complex short good bad wrong correct another weak safe super very some initial
    temp readonly your this is sample field input param name column
    contrasena clave segura seguro fuerte una tu mi su senha chave forte minha sua mot de passe mdp ihr mein sicheres
    sicher geheim geheimes kennwort heslo haslo parola wachtwoord losenord wagwoord parool jelszo
    """.split()  # noqa: SIM905
)


_NUMBERED = expression(
    r"(?i)^(?=.{4,48}$)(?:[a-z]{1,12}[-_.])*(?:[a-z]{0,8}token|secret|[a-z]{0,10}pass(?:word|wd)?|passphrase|pwd|(?:api[-_]?)?key|credential)s?"
    r"(?:[-_.](?:[a-z]{1,8}|\d{1,4}|abc\d{0,3}|xyz\d{0,3}))*$"
)


def spells_its_name(value: str) -> bool:
    """True for ``proxy_pwd``, ``caching_sha2_password``, ``job-token-123``: words that only say what stands here."""
    return bool(_NUMBERED.match(value)) or _own_words_only(value) or _own_words_only(_unadorned(value), 2)


def is_chosen_password(value: str) -> bool:
    """True for eight letters and digits with hardly a word among them, or twelve letters that make none."""
    if value.isalpha():
        return len(value) >= 12 and is_gibberish(value)
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return len(value) >= 8 and mixed and not spells_its_name(value) and wordiness(value) < WORDY


WORDY = 0.3
"""From here on letters make words; see :func:`mcpsec.leaks.values.wordiness`."""


def _own_words_only(value: str, fewest: int = 0) -> bool:
    plain = value if value.isascii() else normalize("NFKD", value).encode("ascii", "ignore").decode()
    words = [word.lower() for word in _LETTERS.findall(plain)]
    return len(words) >= fewest and sum(map(len, words)) > len(value) // 2 and all(word in _OWN_WORDS for word in words)


def _unadorned(value: str) -> str:
    """``StrongPass`` of ``StrongP@ss123!``: without what a rule for passwords made its author add."""
    return value.rstrip("0123456789!@#$%&*.?").translate(LEET)


def judge(  # noqa: PLR0912
    kind: str, value: str, *, quoted: bool, how: str, where: str, name: str, floor: int = LOW
) -> tuple[str, int] | None:
    """The generic rule and its confidence for a value beside a name of this kind, or None.

    Where only what is above LOW is asked for, a value of LOW may be answered with None: most are no more than that.
    """
    value = value.strip()
    size = len(value)
    if size < SHORTEST[kind] or (floor > LOW and not _may_be_sure(kind, value)):
        return None
    if "\ufffd" in value or is_reference(value) or is_code(value, quoted=quoted):
        return None
    if kind == "password" and quoted and ends_lines(value):
        return None
    if any(c.isspace() for c in value) or not value.isprintable():
        return (
            (RULES[kind], MEDIUM)
            if kind == "password" and quoted and how == "assign" and is_passphrase(value, where)
            else None
        )
    if not any(map(str.isalnum, value)) or _VERSION.match(value) or is_fixed(value) or _PUBLIC_KEY.match(value):
        return None
    lowered = value.lower()
    named = name.lower().strip("-_.")
    if (
        lowered == named
        or (len(named) >= 8 and named in lowered and kind != "password")
        or (kind != "password" and (size < 20 or kind == "token") and _TIME.match(value))
    ):
        return None
    rule = RULES[kind]
    if kind == "password":
        strength = password_strength(value)
        if strength is None:
            return None
        if _is_digest(name, value, how):
            return rule, LOW
        if how == "next" and _PAIR.match(value):
            return None  # the next of several settings: "a.password=x", "a.user=y"
        if how == "next" and value.count("-") >= MOST_HYPHENS and _is_slug(value):
            return rule, LOW
        if (strength > LOW and hides_sample(value)) or _ESCAPED.search(value):
            return rule, LOW
        if is_tangled(value) and len(value) >= LONG_TANGLE and quoted and how == "assign":
            return rule, HIGH
        if (
            (where == "settings" or is_variable(name, where))
            and how == "assign"
            and strength == LOW
            and is_chosen_word(value, name)
        ):
            return rule, MEDIUM
        if not quoted and where == "text" and how in ("call", "tag") and strength < HIGH:
            return rule, LOW
        if how in ("call", "field") and value.isalpha() and size < 6:
            return rule, LOW
        like_a_name = value.isidentifier() and wordiness(value) > 0.2 and not _NUMBER_AT_END.search(value)
        if how == "blank" or (how in ("next", "field") and like_a_name):
            return rule, LOW
        if how in ("prose", "cell") and (
            digits_share(value) == 0
            or size < 6
            or (wordiness(value) > 0.9 and kinds(value) < 4 and not _NUMBER_AT_END.search(value))
        ):
            return rule, LOW
        return rule, min(strength, MEDIUM) if how in CAUTIOUS else strength
    if (
        (quoted or where == "settings")
        and is_tangled(value)
        and _TANGLED.match(value)
        and not _OF_EXPRESSION.search(value)
    ):
        certain = HIGH if len(value) >= LONG_TANGLE and how == "assign" and not is_woven(value) else MEDIUM
        return rule, certain if kind in KEPT and value.isascii() else LOW  # beside "token" and "key" stand grammars
    if "\\u" in value or _NAMED_PART.match(value) or (how == "next" and _is_name(value)):
        return None
    if kind == "secret" and how in ("assign", "call") and (quoted or where == "settings") and _is_drawn_word(value):
        return rule, MEDIUM
    if not value.isascii() or not _OPAQUE[quoted].match(value) or is_filler(value) or is_weak_password(value):
        return None
    if (
        _NUMBERED.match(value)
        or _is_slug(value)
        or (how == "blank" and kind in ("key", "auth") and _COMMIT.match(value))
    ):
        return rule, LOW
    if kind not in ("key", "weak") and _is_of_key_size(value) and is_counted(value):
        return rule, MEDIUM
    drawn = looks_random(value, no_filler=True)  # and so not counted out
    if _UUID.match(value):
        return (rule, MEDIUM) if drawn and kind in ("secret", "token", "apikey") else None
    if not drawn:
        literal = kind == "secret" and (quoted or where == "settings") and how == "assign"
        if literal and (is_chosen_secret(value) or _is_mashed(value)):
            return rule, MEDIUM
        if kind == "secret" and how == "assign" and _is_signing_secret(name, value):
            return rule, MEDIUM
        meant = kinds(value) >= 2 and digits_share(value) > 0
        return (rule, LOW) if (meant or hides_sample(value)) and not is_counted(value) else None
    if hides_sample(value) or (how == "next" and value.isalpha()):
        return rule, LOW
    if kind == "auth" and _is_weak_pair(value):
        return rule, LOW
    confidence = _opaque(kind, value, how)
    return rule, min(confidence, MEDIUM) if _is_no_web_token(value) else confidence


def _is_no_web_token(value: str) -> bool:
    """True for what is written like a JSON Web Token and is none, as tests of parsers are full of them."""
    if not value.startswith("eyJ") or "." not in value:
        return False
    from mcpsec.leaks.checks import jwt

    return jwt(value) is not True


def _may_be_sure(kind: str, value: str) -> bool:
    """Whether :func:`judge` may have more than low confidence in a value, by the least that this takes."""
    if kind in ("password", "secret"):
        return True
    if kind == "weak":
        return False
    return looks_random(value, no_filler=True) or _is_of_key_size(value) or (kind in KEPT and is_tangled(value))


def _is_drawn_word(value: str) -> bool:
    """True for letters that make no word, in one piece or in pieces too long for the abbreviations of names."""
    pieces = _SEPARATORS.split(value)
    if not value.isascii() or len(value) > LONGEST_CHOSEN or not all(map(str.isalpha, pieces)):
        return False
    return min(map(len, pieces)) >= SHORTEST_PIECE and password_strength(value) == MEDIUM


SHORTEST_PIECE = 5


def is_chosen_secret(value: str) -> bool:
    """True for what a person would choose as a password, where a program wants something to sign with."""
    if len(value) > LONGEST_CHOSEN or (password_strength(value) or LOW) == LOW:
        return False
    return (value.isalnum() and value[-2:].isdigit()) or _ADORNED.match(value) is not None


LONGEST_CHOSEN = 24
_ADORNED = expression(
    r"(?=[^A-Z]*[A-Z])(?=\D*\d)[A-Za-z0-9]{3,}[!@#$%&*?][A-Za-z0-9]*[!@#$%&*?]{0,2}$"
    r"|(?=(?:\D*\d){2})[a-z0-9]{3,}[!#$%&*?][a-z0-9]*[!#$%&*?]{0,2}$"
)
"""``Marble#30bianca``: a number, a sign, a capital or another number, as rules for passwords want and names lack."""


def _is_mashed(value: str) -> bool:
    """True for what somebody hit on the keyboard: no words, but the same few keys again and again."""
    return (
        len(value) >= SHORTEST_MASHED
        and len(set(value)) >= FEWEST_KEYS
        and digits_share(value) >= FEWEST_DIGITS
        and wordiness(value) < 0
        and not is_counted(value)
    )


SHORTEST_MASHED = 16
FEWEST_KEYS = 8
FEWEST_DIGITS = 0.1

_SIGNING = expression(r"(?i)jwt|session|sign|cookie|app|^secret_?key")
SHORTEST_SENTENCE = 24
_TRIAL = frozenset(("dev", "develop", "development", "local", "test", "testing", "ci", "insecure", "unsafe", "only"))
"""What a developer writes into a value that protects nothing."""


def _is_signing_secret(name: str, value: str) -> bool:
    """True for the long line of words and numbers that people make up for a program to sign sessions with."""
    return (
        len(value) >= SHORTEST_SENTENCE
        and kinds(value) >= 3
        and digits_share(value) > 0
        and _SIGNING.search(name) is not None
        and not (hides_sample(value) or spells_its_name(value) or is_woven(value))
        and _TRIAL.isdisjoint(word.lower() for word in _LETTERS.findall(value))
    )


def hides_sample(value: str) -> bool:
    """True for the base64 of words, such as "example-app-secret", "Bearer sk-my-key", "admin:password".

    Whoever can read it judges it as it would stand there by itself: nobody draws words at random.
    """
    if not _BASE64.match(value) or (value.isalpha() and value.islower()):
        return False
    try:
        text = a2b_base64(value + "=" * (-len(value) % 4)).decode("ascii").strip()
    except ValueError:
        return False
    if len(text) < SHORTEST_HIDDEN or not text.isprintable():
        return False
    text = _SCHEME.sub("", text)
    if " " in text:
        return _WORDS.match(text) is not None and (is_filler(text) or is_weak_password(text) or wordiness(text) > 0.5)
    if len(_SEPARATORS.split(text)) >= FEWEST_JOINED and wordiness(text) > 0.5:
        return True
    _, colon, password = text.partition(":")
    return (password_strength(password if colon and password else text) or LOW) == LOW


def ends_lines(value: str) -> bool:
    """True for several lines in one literal, or a test of what ends a text: nobody can type that as a password.

    In what a generator drew, a backslash and an n are two characters of it: there are no lines of anything.
    """
    if "\\" not in value or _LINE_ENDS.search(value) is None:
        return False
    return not (_DRAWN_LINE.match(value) and kinds(value) == MOST_KINDS and wordiness(value.replace("\\", "")) < 0)


MOST_KINDS = 4
_DRAWN_LINE = expression(r"[^\s\\]{2,40}\\[nr][^\s\\]{2,40}$")
SHORTEST_HIDDEN = 5
FEWEST_JOINED = 5
"""Joined words that make a sentence: ``my-secret-key-which-should-be-changed``."""
_SCHEME = expression(r"(?i)^(?:bearer|basic|token|apikey)[ :]+")
_WORDS = expression(r"^[A-Za-z][A-Za-z _.!?-]{5,160}$")
_BASE64 = expression(r"^(?:[A-Za-z0-9+/]{4}){1,80}(?:[A-Za-z0-9+/]{2,3}={0,2})?$")
_LINE_ENDS = expression(r"(?<!\\)\\(?:x00|0(?!\d)|u0000|[nr])")
_PAIR = expression(r"^(?:[A-Za-z][\w-]{0,40}(?:\.[\w-]{1,40}){1,12}|[A-Z][A-Z0-9]{0,20}_[A-Z0-9_]{1,40})=")
_COMMIT = expression(r"^[0-9a-f]{40}$")
"""What stands behind the name of a module or a file with a blank between: the commit, as git writes it."""
_SLUG = expression(
    r"^[A-Za-z]{2,20}(?:[-_./](?:[A-Za-z]{2,20}\d{0,2}|v?\d{1,8}(?:\.\d{1,4}){0,3}|x\d\d)){2,30}(?:-[0-9a-f]{32,64})?$"
)


_ESCAPED = expression(r"\\u(?!00[0-7])[0-9A-Fa-f]{4}")
"""A letter as catalogues of translations for Java write it; JSON writes signs of ASCII so, which passwords have."""
MOST_HYPHENS = 6
"""From so many on, words in a row are the name of something generated, not what somebody chose."""


def _is_slug(value: str) -> bool:
    """True for words and numbers in a row, ``gemini-pro-2-20251001`` or the key of a cache that ends in a digest."""
    if _SLUG.match(value) is None:
        return False
    return _VERSIONED.search(value) is not None or not is_gibberish(_NO_LETTERS.sub("", value))


_VERSIONED = expression(r"[-_./]v?\d{1,3}(?:\.\d{1,4}){1,3}(?:[-_./]|$)|[-_](?:19|20)\d\d(?:[-_]|$)")
"""A version or a year as a part of its own, as ``cc-by-sa-3.0`` has it: a generator's hyphens part no such numbers."""
_NO_LETTERS = expression(r"(?:-[0-9a-f]{32,64})?$|[^A-Za-z]+")


def _is_weak_pair(value: str) -> bool:
    """True for the base64 of a user and a password of words, as in examples of Docker's configuration."""
    try:
        user, colon, password = a2b_base64(value).decode().partition(":")
    except ValueError:
        return False
    return bool(user and colon) and user.isprintable() and password.isprintable() and not password_strength(password)


def _is_name(value: str) -> bool:
    """True for what may be a variable's or an option's name: an identifier of words, not of hexadecimal digits."""
    return value.isidentifier() and wordiness(value) > 0 and not (len(value) >= 16 and looks_random(value))


def _is_of_key_size(value: str) -> bool:
    """True for a counted-out value of exactly the form of a key: 128, 160 or 256 bits in hex."""
    return (
        len(value) in (32, 40, 64)
        and all(c in "0123456789abcdefABCDEF" for c in value)
        and len(set(value)) >= 10
        and kinds(value) == 2
        and digits_share(value) > 0
    )


def _opaque(kind: str, value: str, how: str) -> int:
    """Confidence for a random-looking value."""
    size, variety = len(value), kinds(value)
    if kind == "weak":
        return LOW
    hexadecimal = all(c in "0123456789abcdefABCDEF" for c in value)
    strong = size >= 20 and (variety >= 3 or (variety == 2 and digits_share(value) >= 0.1 and wordiness(value) < 0))
    strong = (strong and not hexadecimal) or (hexadecimal and size >= 32)
    if kind == "key":
        strong = strong or (how == "assign" and size >= 16 and variety >= 3 and wordiness(value) < 0)
        return MEDIUM if strong and how != "next" else LOW
    if how == "blank":
        return MEDIUM if strong or (size >= 24 and variety >= 2) else LOW
    if strong and how in ("assign", "arg", "pair", "element", "tag"):
        return MEDIUM if is_woven(value) else HIGH
    if kind in ("token", "apikey") and size < SHORTEST_ISSUED:
        return LOW
    return MEDIUM if size >= 16 or variety >= 2 else LOW
