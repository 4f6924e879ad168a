"""Judging a value: a reference, a placeholder, words, or what looks like a secret.

This is the grammar on which precision rests. It works on text and knows nothing of rules or files.
"""

from __future__ import annotations

from _operator import getitem, sub
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
    jeton cle cl\u00e9 llave chiave sifreniz parolaniz anahtariniz buraya degistir wpisz tutaj zadejte vlozte indtast
    ingresa ingrese introduce digite insira inserire saisir saisissez entrez eingeben eintragen einsetzen masukkan
    """.split()  # noqa: SIM905
)
"""Words that, standing alone between separators, say that a value is to be filled in."""

_STRONG_WORDS = expression(  # of the text in small letters: without regard to case it would take three times as long
    r"your[-_ .]?|placeholder|example|change[-_ ]?(?:me|it|this)|replace[-_ ]?(?:me|this|with)|dummy|redacted"
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
    | [\\/]*\$\$?[A-Za-z_][A-Za-z0-9_]*(?:[:.\[/-].*|,?\{\{.*)?$   # $VAR, $VAR/path, $env:VAR, $VAR{{ before a template's part
    | \$\{[A-Za-z_]\w*(?:\[[^\]]*\])?(?:[/%\#^,@]|:[?+=]).*   # ${VAR//a/b}, ${VAR%.txt}, and ${VAR:?message cut off at a blank
    | \$\{[A-Za-z_]\w*:?[-+?=]\$.*           # ${VAR:-$(cat file)}, cut off at a quote
    | (?:\$\{?[A-Za-z_]\w*\}?[^\w$]*){2,}$    # "$VAR|$OTHER"
    | \.\s?\$[A-Za-z_].*                     # 'password=' . $value in PHP
    | \{\{.*\}\}.* | <%.* | %[({].* | \#\{\w.* | \{%.*     # Jinja, ERB, Python, Hiera, Ruby
    | %[A-Za-z_][A-Za-z0-9_]*(?:%$|:(?:$|~|[^=%]{0,40}=)) | ~-?\d+(?:,-?\d+)?%   # cmd.exe: %NAME%, %NAME:old=new%, %NAME:~0,8%
    | %-?\d{0,3}[sdqvr]$ | \{\d{0,2}\}$ | \{[A-Za-z_][\w.]*(?:![rs])?(?::[^}]*)?\}$
    | (?:env|environ|process\.env|os\.environ|os\.getenv|getenv|secrets?|vars?|var|local|data|module|params?|config
        |settings|options|self|this|args|input|inputs|steps|needs|github|vault|request|req|props|state|ctx|context)[.:\[(]
    | (?:op|1password|vault|ssm|awssm|gcpsm|akv|secretsmanager|azurekeyvault|doppler|infisical|bws|keyring|pass|lpass|bw|sops
        |file|env|cmd|command|exec|secret|ref|aws-ssm|parameterstore|keychain)(?:\+[a-z]+)?:(?://)?\S
    | ref\+\w+:// | arn:aws | projects/[^/]+/secrets/ | @Microsoft\.KeyVault | ENC\[ | \{cipher\} | !(?:vault|Ref|Sub|env)
    | enc:v\d: | AQIC[A-Za-z0-9+/] | \$ANSIBLE_VAULT | \{(?:AES|SSHA\d*|SHA-?\d*|noop|bcrypt|scrypt|pbkdf2|argon2|MD[45]|CRYPT)(?:@\w{1,40})?\}
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
    return len(set(text.encode("utf-8", "replace").translate(_KIND_OF)))


_KIND_OF = bytes(
    b"a"[0] if 97 <= byte <= 122 else b"A"[0] if 65 <= byte <= 90 else b"0"[0] if 48 <= byte <= 57 else b"."[0]
    for byte in range(256)
)
"""One byte of each kind for every byte."""


def digits_share(text: str) -> float:
    """The share of decimal digits."""
    if not text:
        return 0.0
    plain = text.encode("utf-8", "replace")
    return (len(plain) - len(plain.translate(None, b"0123456789"))) / len(text)


def wordiness(text: str) -> float:
    """Mean log2 odds of its letter pairs against chance: above 0.5 for words, below -0.3 for random letters."""
    low = text.lower().encode("utf-8", "replace")
    odds = bytes(map(getitem, map(_FOLLOWED.__getitem__, low), low[1:]))
    pairs = len(odds) - odds.count(0)
    return (sum(odds) - 74 * pairs) / pairs / 1.6 if pairs else 0.0


_FOLLOWED = [bytes(256)] * 256
"""For every byte the odds of the byte behind it, as :data:`_BIGRAMS` writes them; 0 where one is no small letter."""
for _place in range(26):
    _FOLLOWED[97 + _place] = _BIGRAMS[26 * _place : 26 * _place + 26].encode().rjust(123, b"\0").ljust(256, b"\0")


_TYPED = expression(
    "|".join(row[i : i + 4] for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm") for i in range(len(row) - 3))
)


SHORTEST_RUN = 3
"""The fewest characters that count as a run."""


def _run_share(text: str) -> float:
    """The share of characters that lie in a run: repeated, counted (abc, 321), or typed along the keyboard."""
    low = text.lower()
    steps, typed = _steps(low), _TYPED.search(low) is not None
    if not typed and _even(steps) < SHORTEST_RUN - 1:
        return 0.0
    return _covered(low, steps, typed=typed) / len(low) if low else 0.0


def _has_runs(text: str, share: float, every: int = 1) -> bool:
    """True when more than a share of the characters lies in runs; or does if only every so-manyth is looked at.

    Three characters in a run have two even steps, and fewer than eight belong to each row's part that is found in turn:
    where these are too few, as they mostly are, nobody need look closer.
    """
    parts = [text[start::every] for start in range(every)] if every > 1 else [text]
    together = "\0".join(parts).lower()
    if _even(_steps(together)) * 1.5 + 8 * len(_TYPED.findall(together)) <= share * len(text):
        return False
    return all(_run_share(part) > share for part in parts)


def _steps(low: str) -> list[int]:
    """How far each character is from the one before; 9 and 0 are neighbours, as on a keyboard."""
    codes = low.encode() if low.isascii() else [*map(ord, low)]
    steps = [*map(sub, codes[1:], codes)]
    for pair, step in (("90", 1), ("09", -1)):
        at = low.find(pair)
        while at >= 0:
            steps[at] = step
            at = low.find(pair, at + 1)
    return steps


def _even(steps: list[int]) -> int:
    """How many steps may belong to a run."""
    return steps.count(0) + steps.count(1) + steps.count(-1)


def _covered(low: str, steps: list[int], *, typed: bool) -> int:
    """How many characters lie in runs."""
    size = len(low)
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
    return covered


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
    size, different = len(text), len(set(text))
    if (size >= 4 and different <= 2) or (size >= 8 and different <= 3):
        return True
    longest = min(12, size // 2)
    again = text.find(text[:1], 1, longest + 1)
    for block in range(again, longest + 1) if again > 0 else ():
        if text[block] != text[0]:
            continue
        if size >= 3 * block and text == (text[:block] * (size // block + 1))[:size]:
            return True
        if block >= 8 and size == 2 * block and text[:block] == text[block:]:
            return True
    return any(size >= 4 * step and _has_runs(text, 0.6, step) for step in (2, 3)) or _has_runs(text, 0.6)


def is_reference(text: str) -> bool:
    """True when the value only names where the secret is kept, or is a digest or cipher text of it."""
    return _REFERENCE.match(text) is not None


def is_filler(text: str) -> bool:
    """True when the value says that it is to be replaced: ``<your-key>``, ``xxxx``, ``EXAMPLE``, ``VOTRE_CLE``."""
    text = text.strip()
    if len(text) < 3 or _WRAPPED.match(text):
        return True
    if (_STRONG_WORDS.search(text.lower()) and not _is_chance(text)) or _UNSIGNED.match(text):
        return True
    if (len(text) >= 6 and len(set(text)) <= 2) or (len(text) >= 10 and _SPELLED.search(text)):
        return True
    if len(text) > 64:
        return False
    words = [w for w in _SPLIT.split(text) if w]
    named = [w for w in words if w.lower() in PLACEHOLDER_WORDS]
    if named:
        whole = frozenset(part.strip("0123456789") for part in _SEPARATED.split(text))
        shortest = SURE_WORD if len(text) >= 16 and is_jumbled(text) else 3
        named = [w for w in named if len(w) >= shortest or w in whole]
    if not named or (digits_share(text) >= MANY_DIGITS and wordiness(text) < 0.3 and all(len(w) <= 2 for w in named)):
        return False
    if sum(map(len, named)) * 4 >= sum(len(w) for w in words if not w.isdigit()) and (
        len(text) < 20 or digits_share(text) < 0.2
    ):
        return True
    return wordiness(text) > 0.5 and digits_share(text) < 0.3


MANY_DIGITS = 0.15
"""The share of digits from which on a word of two letters is chance: ``my%9LR1Y6ZL0oL``."""
SURE_WORD = 5
"""Letters of a word that chance does not spell inside of a drawn value, as it does ``Foo`` and ``Test``."""
_CHANCE_WORDS = expression(
    r"(?i:(?<=[A-Za-z0-9])(?:fake|todo|sample|your)(?=[A-Za-z0-9]))"
    r"|(?![A-Za-z](?:ake|odo|ample|our)|FAKE|TODO|SAMPLE|YOUR)(?i:fake|todo|sample|your)"
)
"""Short words inside of a run of characters, or in letters that nobody writes so: ``yOuR``."""


def _is_chance(text: str) -> bool:
    """True when the only mark of a sample is a short word in the midst of a long run of random characters."""
    if len(text) < 20:
        return False
    rest = _CHANCE_WORDS.sub("", text)
    if len(rest) == len(text) or _STRONG_WORDS.search(rest.lower()):
        return False
    return is_jumbled(rest) if digits_share(text) < 0.1 else wordiness(rest) < 0.3


def is_counted(text: str) -> bool:
    """True for values typed by counting or repeating: ``abcd1234``, ``a1b2c3d4``, ``0123456789abcdef``, ``abcabcabc``."""  # noqa: E501
    text = text.strip()
    if _COUNTED.search(text) or _is_pattern(text):
        return True
    parts = _PARTS.findall(text.lower())
    return len(parts) >= 2 and min(map(len, parts)) >= 3 and all(_has_runs(part, 0.9) for part in parts)


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
    return wordiness(text) < _gibberish_below(text)


def _gibberish_below(text: str) -> float:
    return min(0.1, 0.06 * len(text) - 0.9)


_HUMPS = expression(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_CONSONANTS = expression(r"(?i)[bcdfghjklmnpqrstvwxz]{5}")


def is_jumbled(text: str) -> bool:
    """True for letters as a generator makes them: gibberish, case that no camel case has, or no vowel for long."""
    words = wordiness(text)
    if words < _gibberish_below(text):
        return True
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
    alphabet = frozenset(body.lower())
    hexadecimal = alphabet <= _HEXADECIMAL
    if not _is_mixed(body, hexadecimal=hexadecimal, size=size):  # what most values fail by comes first
        return False
    wanted = 0.72 * log2(min(size, 10 if body.isdigit() else 16 if hexadecimal else 40))
    return not (
        entropy(body) < wanted or _has_runs(body, 0.5) or is_counted(text) or (not no_filler and is_filler(text))
    )


_HEXADECIMAL = frozenset("0123456789abcdef-")
"""A UUID has hyphens, too."""


def _is_mixed(body: str, *, hexadecimal: bool, size: int) -> bool:
    """True for digits among the letters, or letters that make no words."""
    digits = digits_share(body)
    if hexadecimal and 0.25 < digits < 0.95 and size >= 8:
        return True  # the letters a to f make up words by chance
    words = wordiness(body)
    if (digits >= 0.12 and words < 0.9) or words < _gibberish_below(body):
        return True
    return size >= 16 and digits > 0 and words < 0.5 and is_jumbled(body)


def randomness(text: str) -> bool | None:
    """True when the value looks random, False when it says that it is a sample or is made of words, None in between.

    A value that was counted out (``abcdef0123…``) in the exact form of a provider's token is in between.
    """
    if looks_random(text):
        return True
    if is_filler(text) or (wordiness(text) > 0.7 and digits_share(text) < 0.05 and not is_counted(text)):
        return False
    return None
