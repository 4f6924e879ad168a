"""Letters that a generator drew against words that nobody used to make the table."""

import random
import string

from mcpsec.leaks.secrecy import password_strength
from mcpsec.leaks.spelling import is_unspoken

WORDS = """
    gardener saucepan windmill turnpike cherries doorbell tranquil biscuits lavender marigold umbrella postcard
    ruisseau fenetre boulanger kartoffel schmetterling zwiebel spiegelei cuchillo zanahoria lavadora ventana gioiello
    asciugamano cappello przyjaciel ksiazka rowerzysta knihovna jablko tetejszo bogarak sokolov nakamura okonkwo
    bergstrom villanueva anagrammatic photosynthesis crystallize
""".split()  # noqa: SIM905


def drawn(size, seed=11, count=2000):
    chance = random.Random(seed)
    return ["".join(chance.choice(string.ascii_lowercase) for _ in range(size)) for _ in range(count)]


def test_drawn_letters_are_told_from_words():
    for size, share in ((6, 0.74), (8, 0.87), (10, 0.93), (12, 0.95)):
        found = [letters for letters in drawn(size) if password_strength(letters)]
        assert len(found) >= share * 2000, size


def test_words_are_spoken():
    rare = {"ksiazka", "knihovna"}  # Slavic languages without their accents are where the table knows least
    assert {word for word in WORDS if is_unspoken(word)} <= rare
    assert {word for word in WORDS if password_strength(word)} <= rare


def test_signs_part_letters_and_few_letters_tell_nothing():
    assert not is_unspoken("")
    assert not is_unspoken("xkcd")
    assert not is_unspoken("a-b-c-d-e-f")
    assert is_unspoken("QZVKTMWHBX")
    assert not is_unspoken("\u043f\u0430\u0440\u043e\u043b\u044c")
