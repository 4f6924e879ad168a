"""No pattern may take more than linear time: each is run against hostile text of two sizes and the work compared."""

import re
import time

import pytest

from mcpsec.leaks import (
    assignments,
    columns,
    commands,
    connections,
    decoding,
    keyblocks,
    manifests,
    secrecy,
    slots,
    values,
)
from mcpsec.leaks.rulebook import packaged

UNITS = (
    b"a",
    b"A1",
    b"1",
    b"0",
    b"-",
    b"_",
    b"/",
    b" ",
    b"\n",
    b"=",
    b'"',
    b":",
    b".",
    b"a.",
    b"key=",
    b"%41",
    b"\\u0041",
    b"://a:",
)


def bounded(pattern):
    from re import _parser

    return _parser.parse(pattern.encode()).getwidth()[1] < 1 << 20


def test_every_rule_is_bounded():
    wide = [rule.id for rule in packaged().rules if rule.pattern and not bounded(rule.pattern)]
    assert wide == []


def seconds(compiled, text, times=3):
    best = 9.0
    for _ in range(times):
        started = time.process_time()
        for _ in compiled.finditer(text):
            pass
        best = min(best, time.process_time() - started)
    return best


def test_no_rule_is_quadratic():
    book = packaged()
    slow = []
    for index, rule in enumerate(book.rules):
        if not rule.pattern:
            continue
        compiled = book.pattern(index).compiled
        lead = rule.keywords[0].encode()
        for unit in (b"a1", lead + b"_", lead + b" "):
            text = (lead + unit * (1500 // len(unit)))[:1500]
            if seconds(compiled, text * 4, times=1) < 0.1:
                continue
            small, large = seconds(compiled, text), seconds(compiled, text * 4)
            if large > 0.4 and large > 9 * small:
                slow.append((rule.id, unit, small, large))
    assert slow == []


MODULES = (assignments, columns, commands, connections, decoding, keyblocks, manifests, secrecy, slots, values)
OURS = [(m.__name__, n, p) for m in MODULES for n, p in vars(m).items() if isinstance(p, re.Pattern)]
OURS += [(commands.__name__, f"[{word.decode()}]", idiom) for word, idiom, _ in commands._TABLE]


@pytest.mark.parametrize(("module", "name", "pattern"), OURS, ids=[f"{m.rpartition('.')[2]}{n}" for m, n, _ in OURS])
def test_no_expression_of_the_detectors_is_quadratic(module, name, pattern):
    lead = name.strip("[]").encode() + b" " if module == commands.__name__ and name[:1] == "[" else b""
    for unit in (*UNITS, lead) if lead else UNITS:
        text = lead + unit * (3000 // len(unit))
        subject = text if isinstance(pattern.pattern, bytes) else text.decode()
        small, large = seconds(pattern, subject), seconds(pattern, subject * 4)
        assert large < 0.5 or large < 9 * small, unit
