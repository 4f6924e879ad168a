"""Secrets as repositories hold them, and the same lines with a placeholder in the secret's place.

``lines.tsv`` and ``configurations.tsv`` are file names and texts with a slot: ``@P@`` a password as people choose them,
``@G@`` one that was generated, ``@K@`` a key, and so on. The values come from a seeded generator, so the tables hold no
secret and cover more than one value for each slot.
"""

import base64
import random
import re
import string
from pathlib import Path

from mcpsec.leaks import scan_bytes

HERE = Path(__file__).parent
ALNUM, HEX = string.ascii_letters + string.digits, "0123456789abcdef"
SYMBOLS = ALNUM + "!@#%^&*(-_=+)"
WORDS = ("harbor", "cobalt", "lantern", "willow", "orchid", "maple", "tundra", "falcon", "pebble", "canyon", "ember")
_PASSWORDS = """
    <YOUR_PASSWORD> changeme your-password ${DB_PASSWORD} xxxxxxxx %DB_PASSWORD% REPLACE_ME your_secret_here <password>
    ******** CHANGE_ME_PLEASE
"""
_KEYS = """
    <YOUR_API_KEY> YOUR_API_KEY ${API_KEY} your-api-key-here xxxxxxxxxxxxxxxxxxxxxxxx REPLACE_WITH_YOUR_KEY $API_KEY
    INSERT_KEY_HERE example-api-key
"""
PASSWORDS, KEYS = _PASSWORDS.split(), _KEYS.split()
SLOT = re.compile(r"@(UUID|BASIC|[A-Z]\d*)@")


def table(name):
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        path, text = line.split("\t")
        yield path, re.sub(r"\\([\\nt])", lambda m: {"\\": "\\", "n": "\n", "t": "\t"}[m[1]], text)


class Values:
    """Makes a value for each slot."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def drawn(self, alphabet, size):
        return "".join(self.random.choice(alphabet) for _ in range(size))

    def password(self):
        word, other, number = self.random.choice(WORDS), self.random.choice(WORDS), self.random.randrange(1000, 9999)
        ways = (
            f"{word.capitalize()}{number % 90 + 10}!",
            f"{word}_{other}{number}",
            f"{word.capitalize()}#{number}q",
            self.drawn(ALNUM, 14),
        )
        return self.random.choice(ways)

    def __call__(self, slot):
        kind, size = slot[0], int(slot[1:]) if slot[1:].isdigit() else 0
        if slot == "UUID":
            return "-".join(self.drawn(HEX, n) for n in (8, 4, 4, 4, 12))
        if slot == "BASIC":
            return base64.b64encode(f"ci:{self.drawn(ALNUM, 18)}".encode()).decode()
        if kind in "PW":
            return self.password()
        if kind == "B":
            return base64.b64encode(self.random.randbytes(size)).decode()
        alphabets = {"G": ALNUM, "K": ALNUM, "V": ALNUM, "H": HEX, "R": ALNUM + "./", "S": SYMBOLS}
        return self.drawn(alphabets[kind], size or self.random.choice((20, 24, 32)))


def found(path, text):
    return bool(scan_bytes(text.encode() + b"\n", path=path))


def sample(slot, number):
    return {"B": "<account-key>", "R": "x" * 22}.get(slot[0], (PASSWORDS if slot[0] in "PGW" else KEYS)[number])


def test_every_secret_is_found():
    values = Values(20_261_129)
    missed = []
    for path, text in [*table("lines.tsv"), *table("configurations.tsv")]:
        filled = SLOT.sub(lambda m: values(m[1]), text)
        if not found(path, filled):
            missed.append((path, filled))
    assert missed == []


def test_no_placeholder_is_reported():
    wrong = []
    for number, (path, text) in enumerate(table("lines.tsv")):
        filled = SLOT.sub(lambda m, number=number: sample(m[1], number % 9), text)
        if found(path, filled):
            wrong.append((path, filled))
    assert wrong == []


def test_placeholders_of_documentation_in_many_languages_are_left_alone():
    shapes = [
        (path, text)
        for path, text in table("configurations.tsv")
        if "://app:" not in text and "redis:" not in text and "Password=" not in text and "us14" not in text
    ]
    wrong = []
    for number, word in enumerate((HERE / "placeholders.txt").read_text(encoding="utf-8").splitlines()):
        for path, text in (shapes[number % len(shapes)], shapes[(number * 7 + 3) % len(shapes)]):
            filled = SLOT.sub(lambda _, word=word: word, text)
            if found(path, filled):
                wrong.append((path, filled))
    assert wrong == []
