"""The JSON contract."""

from __future__ import annotations

import json
from importlib.resources import files

from jsonschema import Draft202012Validator

from mcpsec.audit.catalogue import checklist, checks, table
from tests.audit.helpers import judged, of_text

SCHEMA = json.loads((files("mcpsec.audit") / "data" / "report.schema.json").read_text())


def test_report_is_of_its_schema(tmp_path):
    of_text(tmp_path, ".mcp.json", '{"mcpServers": {"it": {"command": "npx", "args": ["srv"]}}}')
    (tmp_path / "bad.service").write_text("[Service]\nwhat is this\n")
    found = judged(tmp_path)
    document = json.loads(json.dumps(found.document()))
    Draft202012Validator(SCHEMA).validate(document)
    assert document["summary"]["not-assessed"] == 1
    assert document["summary"]["exit_code"] == 3


def test_nothing_found_is_not_clean(tmp_path):
    (tmp_path / "README.md").write_text("hello")
    assert judged(tmp_path).exit_code == 3


def test_catalogue_is_whole():
    cwe, owasp = table("cwe.toml"), table("owasp.toml")
    kinds = {"endpoint"}
    from mcpsec.audit.detection import KINDS

    kinds |= set(KINDS)
    for check in checks().values():
        assert all(str(number) in cwe for number in check.cwe), check.id
        assert all(name in owasp for name in check.owasp), check.id
        assert check.fix, check.id
        assert set(check.kinds) <= kinds, check.id
        assert all(1 <= item <= 10 for item in check.items), check.id
        assert not check.title.endswith(".") and not check.passes.endswith("."), check.id
    assert [item.number for item in checklist()] == list(range(1, 11))
    for item in checklist():
        assert all(item.number in checks()[name].items for name in item.deciding), item
