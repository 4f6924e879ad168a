"""The quick looks of the grammar answer as the long ones do, whatever the value."""

import random
import string

import pytest

from mcpsec.leaks import values
from mcpsec.leaks.secrecy import LOW, RULES, judge

ALPHABETS = (
    string.ascii_letters + string.digits,
    "0123456789abcdef",
    "9876543210-",
    "aab",
    "qwertyuiopasdf1234",
    "\u00e4\u00f6\u043f\u0430\u5bc6abc12",
    string.printable,
)
WORDS = ("password", "license", "gpl", "my", "your", "1234", "qwer", "abcd", "0909", "example", "Token", "-", "_")


def made(number):
    """Values that are drawn, counted, typed, repeated, and made of words."""
    draw = random.Random(number)  # the same each time
    for _ in range(1500):
        alphabet = draw.choice(ALPHABETS)
        part = "".join(draw.choices(alphabet, k=draw.randint(0, 24)))
        yield part
        yield part[:4] * draw.randint(2, 9)
        yield "".join(draw.choices(WORDS, k=draw.randint(1, 6)))
        start = draw.randint(35, 90)
        yield "".join(map(chr, range(start, start + draw.randint(3, 12)))) + part[:5]


def test_runs_are_found_by_a_quick_look_as_by_a_long_one():
    answers = set()
    for value in made(1):
        for every in (1, 2, 3):
            long = all(values._run_share(value[start::every]) > 0.6 for start in range(every))
            answers.add(long)
            assert values._has_runs(value, 0.6, every) == long, (value, every)
    assert answers == {True, False}


def test_letters_digits_and_pairs_are_counted_one_by_one():
    for value in made(2):
        kinds = {"a" if "a" <= c <= "z" else "A" if "A" <= c <= "Z" else "0" if "0" <= c <= "9" else "." for c in value}
        assert values.kinds(value) == len(kinds), value
        assert values.digits_share(value) * len(value) == pytest.approx(sum("0" <= c <= "9" for c in value)), value
        low = value.lower()
        pairs = [a + b for a, b in zip(low, low[1:], strict=False) if min(a, b) >= "a" and max(a, b) <= "z"]  # noqa: RUF007
        odds = [ord(values._BIGRAMS[(ord(a) - 97) * 26 + ord(b) - 97]) - 74 for a, b in pairs]
        assert values.wordiness(value) == pytest.approx(sum(odds) / len(odds) / 1.6 if odds else 0.0), value


@pytest.mark.parametrize("kind", RULES)
def test_a_floor_takes_away_only_what_lies_below_it(kind):
    above = 0
    for number, value in enumerate(made(3)):
        how = ("assign", "next", "arg", "cell")[number % 4]
        asked = {"quoted": number % 3 > 0, "how": how, "where": ("code", "settings")[number % 2], "name": "app_value"}
        verdict = judge(kind, value, **asked)
        for floor in (LOW + 1, LOW + 2):
            kept = judge(kind, value, **asked, floor=floor)
            assert kept in (verdict, None), value
            if verdict and verdict[1] >= floor:
                above += 1
                assert kept == verdict, value
    assert above or kind == "weak"


@pytest.mark.parametrize(
    "drawn",
    [
        "sy8iMDCfZeh6qaTOnQ5X9bg3",
        "9bg3FooEKhRNlEtNjGKx",
        "hbp_j0Bt7HV8A9tucFZYFlW5p176hXWEnyOurRll",
        "l9wcZgnign2oBW0gHS8WnUOfFzXGfaKe",
        "test_gCkQL0yBRjD6ShcLzCDMg0iuS",
        "gzCvVOfJMFkBGtOdoCzMfpjsnxvYyFSGymBNsoywArCeXjAwsPWUb7J5WJP8",
    ],
)
def test_chance_spells_short_words(drawn):
    assert not values.is_filler(drawn)


@pytest.mark.parametrize(
    "said",
    [
        "YourApiKeyGoesHere",
        "sk-abcYourSecretKey123",
        "exampleTokenFooBarBaz1",
        "yourSecretTokenFooBarHere",
        "test_FooBarBaz_key",
        "XXX4-HMAC-SHA256",
    ],
)
def test_words_that_were_meant_are_placeholders(said):
    assert values.is_filler(said)
