"""Every labelled file: what must fail fails, nothing else does; precision and recall by area."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.audit.helpers import failing, judged, of_text
from tests.audit.labelled import CASES, HARDENED
from tests.audit.test_variants import VARIANTS, text_of


@pytest.mark.parametrize("path", HARDENED)
def test_hardened_file_has_no_failure(path, tmp_path):
    found = of_text(tmp_path, path, HARDENED[path])
    assert [(r.check, r.subject, r.observed) for r in failing(found)] == []
    assert [r for r in found.results if r.state == "not-assessed" and r.check == "FIL001"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_flaw_is_found_and_nothing_else(case, tmp_path):
    found = of_text(tmp_path, case.path, case.text)
    assert {r.check for r in failing(found)} == case.fails, [(r.check, r.observed) for r in failing(found)]
    for result in failing(found, *case.fails):
        assert result.location.path == case.path
        assert result.fix
        assert "7f3c9a1e5b2d8f4a6c0e" not in str(result.document())


def test_hardened_repository_has_no_failure(tmp_path):
    for path, text in HARDENED.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = judged(tmp_path)
    assert {each.label for each in found.subjects} == set(HARDENED)
    assert [(r.check, r.subject, r.observed) for r in failing(found)] == []


def test_what_only_speaks_of_keys_and_images_is_neither(tmp_path):
    key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
    (tmp_path / "dockerfile.py").write_text("from x import y\n")
    (tmp_path / "rules.toml").write_text(f'pattern = """\n{key}"""\n')
    (tmp_path / "Dockerfile.md").write_text("FROM here on\n")
    assert judged(tmp_path).subjects == []
    (tmp_path / "server.key").write_text(key)
    assert [each.kind for each in judged(tmp_path).subjects] == ["key"]


def _cases():
    """Every labelled text: what must fail, and what must not; the hardened ones must fail nothing at all."""
    for path, text in HARDENED.items():
        yield path, text, set(), None
    for case in CASES:
        yield case.path, case.text, set(case.fails), None
    for each in VARIANTS:
        judged_checks = {
            *each.get("fails", ()),
            *each.get("passes", ()),
            *each.get("quiet", ()),
            *each.get("manual", ()),
        }
        yield each["path"], text_of(each), set(each.get("fails", ())), judged_checks


def test_precision_and_recall(tmp_path, record_property):
    """By area, over all labelled texts; the summary of every run shows the table."""
    right, missed, alarms = Counter(), Counter(), Counter()
    for number, (path, text, fails, about) in enumerate(_cases()):
        got = {r.check for r in failing(of_text(tmp_path / str(number), path, text))}
        got = got if about is None else got & about
        right.update(check[:3] for check in got & fails)
        missed.update(check[:3] for check in fails - got)
        alarms.update(check[:3] for check in got - fails)
    lines = [f"{'area':6}{'flaws':>7}{'found':>7}{'alarms':>8}{'precision':>11}{'recall':>8}"]
    for area in (*sorted({*right, *missed, *alarms}), "all"):
        found, lost, false = (
            sum(counter.values()) if area == "all" else counter[area] for counter in (right, missed, alarms)
        )
        precision, recall = found / max(1, found + false), found / max(1, found + lost)
        lines.append(f"{area:6}{found + lost:7}{found:7}{false:8}{precision:11.2f}{recall:8.2f}")
    record_property("precision and recall of the audit", "\n" + "\n".join(lines))
    assert not +missed and not +alarms, "\n".join(lines)
