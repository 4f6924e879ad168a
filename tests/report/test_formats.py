import csv
import io
import json
import xml.etree.ElementTree as ElementTree

from mcpsec.report import csvfile, gitlab, junit, sarif
from mcpsec.report.entry import Entry, Topic

TOPIC = Topic("a-rule", "A rule", "Do this.", "https://example.com/rule", ("secret",))
ENTRIES = [
    Entry(TOPIC, "A rule: ****", "critical", "./dir/a b.env", 3, 5, "f" * 32, confidence="high"),
    Entry(
        TOPIC, "A \x01<&\"'\u2028", "low", "/abs/\udcff", commit="c" * 40, author="=cmd()", date="2026-01-01T00:00:00Z"
    ),
]
PROBLEMS = [("x.zip", "broken")]


def test_sarif():
    run = json.loads(sarif.render(ENTRIES, tool="t", version="1", problems=PROBLEMS))["runs"][0]
    assert [r["level"] for r in run["results"]] == ["error", "note"]
    assert run["results"][0]["partialFingerprints"] == {"mcpsec/v1": "f" * 32}
    location = run["results"][0]["locations"][0]["physicalLocation"]
    assert location == {"artifactLocation": {"uri": "dir/a%20b.env"}, "region": {"startLine": 3, "startColumn": 5}}
    assert run["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].startswith("file:///abs/")
    rule = run["tool"]["driver"]["rules"][0]
    assert (rule["help"]["text"], rule["properties"]["security-severity"]) == ("Do this.", "9.5")
    assert run["invocations"][0]["executionSuccessful"] is False


def test_junit():
    root = ElementTree.fromstring(
        junit.render(ENTRIES, suite="s", seconds=1.0, problems=PROBLEMS).encode("utf-8", "replace")
    )
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "2", "1")
    clean = ElementTree.fromstring(junit.render([], suite="s", seconds=1.0))
    assert clean.get("failures") == "0"
    assert len(clean.findall(".//testcase")) == 1


def test_junit_of_cases_that_pass_fail_and_are_skipped():
    cases = [
        junit.Case("fault", "kill <store>"),
        junit.Case("fault", "slow", "failure", "took & took", "timeout", "line 1\n\x01"),
        junit.Case("fault", "disk", "error", "no space", "not-assessed", "why"),
        junit.Case("fault", "net", "skipped", "not asked for"),
    ]
    root = ElementTree.fromstring(junit.render_cases(cases, suite='a "suite"', seconds=1.5))
    for each in (root, root[0]):
        assert [each.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    passed, failed, error, skipped = root[0]
    assert passed.get("name") == "kill <store>" and len(passed) == 0
    assert (failed[0].tag, failed[0].get("message"), failed[0].get("type")) == ("failure", "took & took", "timeout")
    assert failed[0].text == "line 1\n\ufffd"
    assert (error[0].tag, error[0].text) == ("error", "why")
    assert (skipped[0].tag, skipped[0].get("message"), skipped[0].text) == ("skipped", "not asked for", None)


def test_gitlab():
    document = json.loads(gitlab.render(ENTRIES, tool="t", version="1", started="a", ended="b"))
    ids = [v["id"] for v in document["vulnerabilities"]]
    assert len(set(ids)) == 2
    assert document["vulnerabilities"][0]["location"]["start_line"] == 3
    again = json.loads(gitlab.render(ENTRIES, tool="t", version="1", started="a", ended="b"))
    assert [v["id"] for v in again["vulnerabilities"]] == ids


def test_csv():
    rows = list(csv.DictReader(io.StringIO(csvfile.render(ENTRIES))))
    assert rows[0]["path"] == "./dir/a b.env"
    assert rows[1]["author"] == "'=cmd()"
