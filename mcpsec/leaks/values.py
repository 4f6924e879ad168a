"""Judging a value: a reference, a placeholder, words, or what looks like a secret.

This is the grammar on which precision rests. It works on text and knows nothing of rules or files.
"""

from __future__ import annotations

from _operator import sub
from math import log2

from mcpsec.leaks.expressions import expression

__all__ = [
    "digits_share",
    "entropy",
    "is_counted",
    "is_filler",
    "is_gibberish",
    "is_jumbled",
    "is_placeholder",
    "is_reference",
    "is_woven",
    "kinds",
    "looks_random",
    "randomness",
    "wordiness",
]

_BIGRAMS = (
    "JLMLHIKHKFJNMNFLFNMOJIIIJGKHIHKHGFKHFLGGKGEJJGJFFFHFMHJIMHGMKFLKHGNHFKJMJGFFHFLIIJNIHGMFFIHHKHFJJIJGFFHF"
    "MJMNKLJHJGHMLOIKJPONIKJLJGJGHHJKGFLFFJGGKGFJIIJFFFHFJGHGMGHIJFFIHJIGFKJHIGFFGFLFGGLFFFKFFHHGKGFIHIHFFFHF"
    "KKMLKKLFGGHMLPMKFKMMGKFIFKHFFFHFFFGFGFFFHFEFGFHFFFFEIFGGLFGGJFFHGGHGFGIGGFGEGFMHIJNHGGNFGLHGMIFGKKJHFFKF"
    "NJGHNGFFLFGIJGKLFGJHJGFFHFMHLMMJNHLGIIHJLIFHMNJIGFHGIJLLHIJGIGILLOKLFNLLLJKHGFMGHHMHGJKFGKGGLJFMJKJGGFJF"
    "FFFFFFEFFFEGFFFFFGGFKFFEFFNHKKOIJGNFIJKJMIFKLLJIGFJFKGKHNHHKMFIJIHLLHHLOLGHFJFMHJIOIGMOFGJIIMJFNLKJHHGKG"
    "JKIHJIHFJFGKKMHJFLKLFGFFFFKFGFMFFFJFFFGFHGFFGFFFFFFFJFGGJFFHJEFGFHIFFIIGFFFFFEGFHGHGFFHEFGGFGJFGHJFFFGGF"
    "HGHGHGGFHFFHIIHKFGIIGGGFGGHFFFKFFFHFFFFFGFFFFGFFFFFG"
)
"""How much likelier than chance a letter follows another in English and program text, 26 x 26, log2 in steps of 1/1.6."""  # noqa: E501

_ALPHABET_ORDERS = ("abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm", "01234567890", "9876543210")

PLACEHOLDER_WORDS = frozenset(
    """
    your yours my placeholder example examples sample samples dummy fake mock mocked changeme change replace
    replaceme replaced insert enter fill redacted removed hidden masked censored sanitized todo fixme tbd xxx
    xxxx none null nil undefined unset empty blank default foo bar baz foobar qux lorem ipsum here goes
    something whatever anything secretsecret notreal notasecret notarealkey invalid bogus nonsense test testing
    tests tester demo deadbeef cafebabe badc0ffee abc123 abcd1234 asdf asdfgh qwerty obfuscated snip truncated
    votre ton mon mettre ici remplacer exemple ihr ihre dein deine mein beispiel platzhalter ersetzen hier tu su
    mi aqui ejemplo reemplazar cambiar clave seu sua exemplo substituir chave tuo tua esempio inserisci uw jouw
    voorbeeld din ditt exempel twoj tw\u00f3j twoje przyklad vasha primer klucz sleutel schl\u00fcssel schluessel nyckel
    jeton cle cl\u00e9 llave chiave
    """.split()  # noqa: SIM905
)
"""Words that, standing alone between separators, say that a value is to be filled in."""

_STRONG_WORDS = expression(
    r"(?i)your[-_ .]?|placeholder|example|change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|this|with)|dummy|redacted"
    r"|insert[-_ ]|<[^>]{0,60}>|x{5,}|x{4}$|\*{3,}|\.{3,}|-here$|_here$"
    r"|not[-_]?(?:an?[-_]?)?(?:real|secret|valid|key|token)|not[-_]an?[-_]"
    r"|fake|sample"
    r"|to[-_]be[-_]|fill[-_ ]?(?:me|in)|todo|your(?:key|token|secret|password|api)|lorem|hidden|censored"
    r"|enter[-_ ]|obfuscat|f{0,1}oobar|secret[-_]?(?:here|value|goes)"
    r"|\u4f60\u7684|\u60a8\u7684|\u3042\u306a\u305f|\uc5ec\uae30|\u0432\u0430\u0448|\u5bc6\u7801|\u8bf7|\ub2f9\uc2e0|\u2026"
)
"""Marks that decide even inside a longer run of characters."""

_PARTS = expression(r"[a-z]+|\d+")
_SPELLED = expression(r"([^=_-])\1{9}")
"""One character ten times: no generator made that, in no format."""

_UNSIGNED = expression(
    r"^eyJ(?:hbGciOi|0eXAiOi|raWQiOi)[A-Za-z0-9_-]{0,100}(?:={0,2}|\.{0,3}|\.eyJ[A-Za-z0-9_-]{0,400}(?:\.[A-Za-z0-9_-]{0,15})?)$"
)
"""The header of a JSON Web Token, or one whose signature is missing or too short for any algorithm (RFC 7518)."""

_COUNTED = expression(r"(?i)0{8,}|1234567(?:89|8|$)|abcdefgh|qwerty|deadbeef|123456:ABC-?DEF")

_WRAPPED = expression(
    r"(?s)^(?:<[^<>]*>?|\[[^\[\]]*\]?|\{[^{}]*\}?|\{\{.*\}\}|\(.*\)|__.+__|%[^%]+%|@[^@]+@|@@.+@@|\*+[^*]*\*+|#\{.*\}|~.*~|_+|-+)$"
)

_REFERENCE = expression(
    r"""(?xis)^(?:
      \$\{[A-Za-z_.!#][\w.:/?=+,@ -]*(?:\[[^\]]*\])?(?:[:?+|-].*)?\}.*   # shell, compose, VS Code inputs: ${VAR}, ${input:x}
    | \$\{\{.* | \$\([^()]*(?:\).*)?$          # workflow expression, command substitution
    | [\\/]*\$\$?[A-Za-z_][A-Za-z0-9_]*(?:[:.\[-].*|,?\{\{.*)?$   # $VAR, $env:VAR, $VAR{{ before a template's part
    | \$\{[A-Za-z_]\w*(?:\[[^\]]*\])?(?:[/%\#^,@]|:[?+=]).*   # ${VAR//a/b}, ${VAR%.txt}, and ${VAR:?message cut off at a blank
    | \$\{[A-Za-z_]\w*:?[-+?=]\$.*           # ${VAR:-$(cat file)}, cut off at a quote
    | (?:\$\{?[A-Za-z_]\w*\}?[^\w$]*){2,}$    # "$VAR|$OTHER"
    | \.\s?\$[A-Za-z_].*                     # 'password=' . $value in PHP
    | \{\{.*\}\}.* | <%.* | %\(.* | \#\{\w.* | \{%.*     # Jinja, ERB, Python, Ruby
    | %[A-Za-z_][A-Za-z0-9_]*%$              # cmd.exe
    | %-?\d{0,3}[sdqvr]$ | \{\d{0,2}\}$ | \{[A-Za-z_][\w.]*(?:![rs])?(?::[^}]*)?\}$
    | (?:env|environ|process\.env|os\.environ|os\.getenv|getenv|secrets?|vars?|var|local|data|module|params?|config
        |settings|options|self|this|args|input|inputs|steps|needs|github|vault|request|req|props|state|ctx|context)[.:\[(]
    | (?:op|1password|vault|ssm|awssm|gcpsm|akv|secretsmanager|azurekeyvault|doppler|infisical|bws|keyring|pass|lpass|bw|sops
        |file|env|cmd|command|exec|secret|ref|aws-ssm|parameterstore|keychain)(?:\+[a-z]+)?:(?://)?\S
    | ref\+\w+:// | arn:aws | projects/[^/]+/secrets/ | @Microsoft\.KeyVault | ENC\[ | \{cipher\} | !(?:vault|Ref|Sub|env)
    | enc:v\d: | AQIC[A-Za-z0-9+/] | \$ANSIBLE_VAULT | \{(?:AES|SSHA\d*|SHA\d*|noop|bcrypt|MD5|CRYPT)\}
    | U2FsdGVkX1 | Ag[A-D][A-Za-z0-9+/]{100} | SCRAM-SHA- | \*[0-9A-F]{40}$ | 0x[0-9a-f]{32,}$ | NACL\[ | ENC\(   # cipher texts and hashes
    | \$2[abxy]?\$\d\d\$ | \$(?:\d\d?|y)\$ | \$argon2 | \$pbkdf2 | pbkdf2[:_] | scrypt: | sha256: | sha512: | sha1: | md5:
    | sha(?:256|384|512)-                    # subresource integrity, hashes
    )"""  # noqa: E501
)

_SPLIT = expression(r"[^A-Za-z0-9\u00c0-\uffff]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_SEPARATED = expression(r"[^A-Za-z0-9\u00c0-\uffff]+")
"""Words of two letters (``my``, ``su``, ``uw``) count only between separators: digits cut such pieces out of anything."""  # noqa: E501


def entropy(text: str) -> float:
    """Shannon entropy in bits per character."""
    if not text:
        return 0.0
    size = len(text)
    return -sum(n / size * log2(n / size) for n in map(text.count, set(text)))


def kinds(text: str) -> int:
    """How many of lower case, upper case, digits and everything else occur."""
    lower = upper = digit = other = 0
    for c in text:
        if "a" <= c <= "z":
            lower = 1
        elif "A" <= c <= "Z":
            upper = 1
        elif "0" <= c <= "9":
            digit = 1
        else:
            other = 1
    return lower + upper + digit + other


def digits_share(text: str) -> float:
    """The share of decimal digits."""
    return sum("0" <= c <= "9" for c in text) / len(text) if text else 0.0


def wordiness(text: str) -> float:
    """Mean log2 odds of its letter pairs against chance: above 0.5 for words, below -0.3 for random letters."""
    total = pairs = 0
    text = text.lower()
    for a, b in zip(text, text[1:], strict=False):  # noqa: RUF007
        if "a" <= a <= "z" and "a" <= b <= "z":
            pairs += 1
            total += ord(_BIGRAMS[(ord(a) - 97) * 26 + ord(b) - 97]) - 74
    return total / pairs / 1.6 if pairs else 0.0


_TYPED = expression(
    "|".join(row[i : i + 4] for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm") for i in range(len(row) - 3))
)


SHORTEST_RUN = 3
"""The fewest characters that count as a run."""


def _run_share(text: str) -> float:
    """The share of characters that lie in a run: repeated, counted (abc, 321), or typed along the keyboard."""
    low = text.lower()
    size = len(low)
    codes = [*map(ord, low)]
    steps = [*map(sub, codes[1:], codes)]
    if 9 in steps or -9 in steps:
        steps = [
            1 if pair == -9 and low[i] == "9" else -1 if pair == 9 and low[i] == "0" else pair
            for i, pair in enumerate(steps)
        ]
    typed = _TYPED.search(low) is not None
    if not typed and steps.count(0) + steps.count(1) + steps.count(-1) < SHORTEST_RUN - 1:
        return 0.0
    covered, start = 0, 0
    while start < size - 1:
        step = steps[start]
        end = start + 1
        if -1 <= step <= 1:
            while end < size and steps[end - 1] == step:
                end += 1
        if typed and end - start < 4:
            end = max(end, _typed_end(low, start))
        if end - start >= 4 or (end - start == 3 and size <= 8):
            covered += end - start
            start = end
        else:
            start += 1
    return covered / size if size else 0.0


def _typed_end(low: str, start: int) -> int:
    """Where a run along a row of keys that begins at ``start`` ends; ``start`` when it is shorter than four."""
    for order in _ALPHABET_ORDERS[1:4]:
        at = order.find(low[start : start + 4])
        if at >= 0 and start + 4 <= len(low):
            end = start + 4
            while end < len(low) and order[at : at + end + 1 - start] == low[start : end + 1]:
                end += 1
            return end
    return start


def _is_pattern(text: str) -> bool:
    """Repeated blocks, counting, and counting on every second or third place (a1b2c3, Aa1Bb2Cc3)."""
    size = len(text)
    if size >= 4 and len(set(text)) <= 2:
        return True
    if size >= 8 and len(set(text)) <= 3:
        return True
    for block in range(1, min(12, size // 2) + 1):
        if text[block] != text[0]:
            continue
        if size >= 3 * block and text == (text[:block] * (size // block + 1))[:size]:
            return True
        if block >= 8 and size == 2 * block and text[:block] == text[block:]:
            return True
    if _run_share(text) > 0.6:
        return True
    return any(
        size >= 4 * step and all(_run_share(text[start::step]) > 0.6 for start in range(step)) for step in (2, 3)
    )


def is_reference(text: str) -> bool:
    """True when the value only names where the secret is kept, or is a digest or cipher text of it."""
    return _REFERENCE.match(text) is not None


def is_filler(text: str) -> bool:
    """True when the value says that it is to be replaced: ``<your-key>``, ``xxxx``, ``EXAMPLE``, ``VOTRE_CLE``."""
    text = text.strip()
    if len(text) < 3 or _WRAPPED.match(text):
        return True
    if (_STRONG_WORDS.search(text) and not _is_chance(text)) or _UNSIGNED.match(text):
        return True
    if (len(text) >= 6 and len(set(text)) <= 2) or _SPELLED.search(text):
        return True
    if len(text) > 64:
        return False
    words = [w for w in _SPLIT.split(text) if w]
    whole = frozenset(_SEPARATED.split(text))
    named = [w for w in words if w.lower() in PLACEHOLDER_WORDS and (len(w) > 2 or w in whole)]
    if not named or (digits_share(text) >= MANY_DIGITS and wordiness(text) < 0.3 and all(len(w) <= 2 for w in named)):
        return False
    if sum(map(len, named)) * 4 >= len(text) - len(words) + 1 and (len(text) < 20 or digits_share(text) < 0.2):
        return True
    return wordiness(text) > 0.5 and digits_share(text) < 0.3


MANY_DIGITS = 0.15
"""The share of digits from which on a word of two letters is chance: ``my%9LR1Y6ZL0oL``."""
_CHANCE_WORDS = expression(r"(?i)(?<=[A-Za-z0-9])(?:fake|todo|sample)(?=[A-Za-z0-9])")


def _is_chance(text: str) -> bool:
    """True when the only mark of a sample is a short word in the midst of a long run of random characters."""
    if len(text) < 20 or digits_share(text) < 0.1:
        return False
    rest = _CHANCE_WORDS.sub("", text)
    return len(rest) < len(text) and not _STRONG_WORDS.search(rest) and wordiness(rest) < 0.3


def is_counted(text: str) -> bool:
    """True for values typed by counting or repeating: ``abcd1234``, ``a1b2c3d4``, ``0123456789abcdef``, ``abcabcabc``."""  # noqa: E501
    text = text.strip()
    if _COUNTED.search(text) or _is_pattern(text):
        return True
    parts = _PARTS.findall(text.lower())
    return len(parts) >= 2 and all(len(p) >= 3 and _run_share(p) > 0.9 for p in parts)


SHORTEST_WOVEN = 9
"""Different letters in the alphabet's order, more than hexadecimal has: chance does not bring them."""


def is_woven(text: str) -> bool:
    """True when the letters alone are the alphabet: ``AbC123dEf456GhI789``, ``Ab1!Cd2@Ef3#Gh4$Ij5%``."""
    letters = "".join(filter(str.isalpha, text.lower()))
    return len(set(letters)) >= SHORTEST_WOVEN and _run_share(letters) > 0.6


def is_placeholder(text: str) -> bool:
    """Either of the two: nobody's secret looks like this."""
    return is_filler(text) or is_counted(text)


def is_gibberish(text: str) -> bool:
    """True when the letters follow each other as chance has it, not as words do. Needs six letters to tell."""
    return wordiness(text) < min(0.1, 0.06 * len(text) - 0.9)


_HUMPS = expression(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_CONSONANTS = expression(r"(?i)[bcdfghjklmnpqrstvwxz]{5}")


def is_jumbled(text: str) -> bool:
    """True for letters as a generator makes them: gibberish, case that no camel case has, or no vowel for long."""
    if is_gibberish(text):
        return True
    words = wordiness(text)
    if words < 0.9 and not text.islower() and not text.isupper():
        humps = len(_HUMPS.findall(text))
        if humps >= 2 and humps * 2.4 >= len(text):
            return True
    return words < 0.3 and _CONSONANTS.search(text) is not None


def looks_random(text: str, *, no_filler: bool = False) -> bool:
    """True when a random generator could have made the value: spread of characters, no words, no counting.

    ``no_filler`` says that :func:`is_filler` was asked already, and denied.
    """
    size = len(text)
    if size < 6:
        return False
    body = text.strip("=")
    alphabet = len(set(body.lower()))
    hexadecimal = alphabet <= 17 and all(c in "0123456789abcdef-" for c in body.lower())  # a UUID has hyphens, too
    wanted = 0.72 * log2(min(size, 10 if body.isdigit() else 16 if hexadecimal else 40))
    if entropy(body) < wanted or _run_share(body) > 0.5 or is_counted(text) or (not no_filler and is_filler(text)):
        return False
    if hexadecimal and 0.25 < digits_share(body) < 0.95 and size >= 8:
        return True  # the letters a to f make up words by chance
    if digits_share(body) >= 0.12 and wordiness(body) < 0.9:
        return True
    return is_gibberish(body) or (size >= 16 and digits_share(body) > 0 and is_jumbled(body) and wordiness(body) < 0.5)


def randomness(text: str) -> bool | None:
    """True when the value looks random, False when it says that it is a sample or is made of words, None in between.

    A value that was counted out (``abcdef0123…``) in the exact form of a provider's token is in between.
    """
    if looks_random(text):
        return True
    if is_filler(text) or (wordiness(text) > 0.7 and digits_share(text) < 0.05 and not is_counted(text)):
        return False
    return None
