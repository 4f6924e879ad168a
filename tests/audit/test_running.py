"""Waivers, baseline, inline ignores, repairs, reports, the command line, hostile files."""

from __future__ import annotations

import json
import os
import random
import xml.etree.ElementTree as ElementTree
from datetime import date, timedelta
from pathlib import Path

import pytest

from mcpsec.audit import baseline, repair, threats
from mcpsec.audit.detection import KINDS
from mcpsec.audit.reports import FORMATS, render
from mcpsec.audit.waivers import load
from mcpsec.cli.root import main
from mcpsec.errors import ConfigurationError
from tests.audit.helpers import failing, judged, of_text
from tests.audit.labelled import HARDENED

COMPOSE = 'services:\n  tickets:\n    image: "acme/t:1"\n    ports: ["9000:9000"]\n'
WAIVER = """[[waivers]]
check = "DEP001"
subject = "tick*"
reason = "reachable from the build network only"
owner = "platform@acme.io"
expires = {}
"""


def waived(tmp_path, expires, **more):
    path = tmp_path / "mcpsec-waivers.toml"
    path.write_text(WAIVER.format(expires))
    return of_text(
        tmp_path, "compose.yaml", COMPOSE, persona="regular", waivers=load(path, "mcpsec-waivers.toml"), **more
    )


def test_a_waiver_covers_until_its_end(tmp_path):
    soon = date.today() + timedelta(days=60)
    found = waived(tmp_path, soon)
    assert failing(found) == []
    result = next(r for r in found.results if r.check == "DEP001")
    assert (str(result.state), result.waiver["owner"]) == ("waived", "platform@acme.io")
    assert [str(r.state) for r in found.results if r.check == "AUD003"] == ["pass"]
    over = waived(tmp_path, date.today() - timedelta(days=1))
    assert {(r.check, r.severity) for r in failing(over)} == {("DEP001", "medium"), ("AUD003", "medium")}
    near = waived(tmp_path, date.today() + timedelta(days=3))
    assert [str(r.state) for r in near.results if r.check == "AUD003"] == ["manual"]


def test_a_waiver_that_waives_nothing_is_told(tmp_path):
    path = tmp_path / "w.toml"
    path.write_text(WAIVER.format(date.today() + timedelta(days=60)).replace("tick*", "nobody"))
    found = of_text(tmp_path, "compose.yaml", COMPOSE, persona="regular", waivers=load(path))
    assert {r.check for r in failing(found)} == {"DEP001", "AUD003"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('owner = "platform@acme.io"\n', ""),
        ("reachable from the build network only", "because"),
        ("DEP001", "DEP999"),
        ("expires = 2", 'expires = "2'),
        ("owner =", "onwer ="),
        ("[[waivers]]", "[waivers]"),
    ],
)
def test_a_wrong_waiver_names_its_line(tmp_path, old, new):
    path = tmp_path / "w.toml"
    path.write_text(WAIVER.format(date.today() + timedelta(days=30)).replace(old, new))
    with pytest.raises(ConfigurationError):
        load(path)
    path.write_text(WAIVER.format(date.today() + timedelta(days=300)))
    with pytest.raises(ConfigurationError, match="180 days"):
        load(path)


def test_inline_ignore_needs_a_reason(tmp_path):
    line = '    ports: ["9000:9000"]'
    ignored = COMPOSE.replace(line, f"{line}  # mcpsec: ignore[DEP001] only on the lab network")
    found = of_text(tmp_path, "compose.yaml", ignored, persona="regular")
    assert failing(found) == []
    assert [r.waiver["kind"] for r in found.results if r.state == "waived"] == ["inline"]
    assert failing(of_text(tmp_path, "compose.yaml", ignored, persona="regular", inline=False), "DEP001")
    bare = COMPOSE.replace(line, f"{line}  # mcpsec: ignore[DEP001]")
    assert failing(of_text(tmp_path, "compose.yaml", bare, persona="regular"), "DEP001")


def test_baseline_hides_what_is_known_and_never_what_is_critical(tmp_path):
    text = COMPOSE + "    privileged: true\n"
    found = of_text(tmp_path, "compose.yaml", text, persona="regular")
    known = tmp_path / "known"
    assert baseline.write(found, known) == 1
    again = of_text(tmp_path, "compose.yaml", "# moved\n\n" + text, persona="regular", baseline=baseline.load(known))
    assert {r.check for r in failing(again)} == {"DEP002"}
    known.write_text("nonsense\n")
    with pytest.raises(ConfigurationError):
        baseline.load(known)


def test_repairs_show_a_diff_and_mend(tmp_path):
    key = tmp_path / "server.key"
    key.write_text("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n")
    key.chmod(0o644)
    (tmp_path / "compose.yaml").write_text("# kept\n" + COMPOSE)
    (tmp_path / ".mcp.json").write_text(
        '{\n  // kept\n  "mcpServers": {"a": {"type": "http", "url": "http://mcp.acme.io/mcp"}},\n}\n'
    )
    plans = repair.plan(judged(tmp_path, persona="regular").results)
    text = "\n".join(each.diff() for each in plans)
    assert '+    ports: ["127.0.0.1:9000:9000"]' in text
    assert "chmod 600" in text
    assert '"https://mcp.acme.io/mcp"' in text
    for each in plans:
        repair.apply(each)
    assert {r.check for r in failing(judged(tmp_path, persona="regular")) if r.edit} == set()
    assert (tmp_path / "compose.yaml").read_text().startswith("# kept\n")
    assert "// kept" in (tmp_path / ".mcp.json").read_text()
    assert key.stat().st_mode & 0o777 == 0o600 or os.name == "nt"
    stale = repair.plan(of_text(tmp_path, "other.compose.yaml", COMPOSE).results)
    (tmp_path / "other.compose.yaml").write_text(COMPOSE + "\n")
    with pytest.raises(ConfigurationError, match="changed since"):
        repair.apply(stale[0])


def test_the_diff_of_a_repair_shows_no_secret(tmp_path):
    """A secret on the line that is repaired, by its form and by its name; what is written keeps it."""
    token, word = "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "Gh7kLm92xQ-plain"
    text = (
        '{"mcpServers": {"a": {"type": "sse", "url": "http://mcp.acme.io/mcp", '
        f'"headers": {{"Authorization": "Bearer {token}"}}, "env": {{"DB_PASSWORD": "{word}"}}}}}}}}\n'
    )
    (planned,) = repair.plan(of_text(tmp_path, ".mcp.json", text).results)
    shown = planned.diff()
    assert token not in shown and word not in shown
    assert "+" in shown and "https://mcp.acme.io" in shown
    assert token in planned.after and word in planned.after


def test_every_format(tmp_path):
    (tmp_path / ".mcp.json").write_text(
        '{"mcpServers": {"a|<b>": {"command": "npx", "args": ["srv@latest"], "env": {"API_KEY": "7f3c9a1e5b2d8f4a6c0e"}}}}'
    )
    (tmp_path / "bad.service").write_text("[Service]\nnonsense\n")
    found = waived(tmp_path, date.today() + timedelta(days=60))
    found = judged(tmp_path, waivers=load(tmp_path / "mcpsec-waivers.toml"), persona="regular")
    written = {name: render(found, name) for name in FORMATS}
    for text in written.values():
        assert "7f3c9a1e5b2d8f4a6c0e" not in text
    run = json.loads(written["sarif"])["runs"][0]
    assert {r["ruleId"] for r in run["results"]} >= {"mcpsec/SUP001", "mcpsec/SEC001", "mcpsec/DEP001"}
    suppressed = [r for r in run["results"] if "suppressions" in r]
    assert [r["ruleId"] for r in suppressed] == ["mcpsec/DEP001"]
    assert all("primaryLocationLineHash" not in r["partialFingerprints"] for r in run["results"])
    assert all(
        not r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].startswith("/") for r in run["results"]
    )
    assert run["invocations"][0]["toolExecutionNotifications"]
    suite = ElementTree.fromstring(written["junit"])
    assert int(suite.get("failures")) == len(failing(found))
    assert int(suite.get("errors")) == 1
    assert int(suite.get("tests")) == len(found.results)
    assert written["markdown"].count("\n| ") >= 12 and "a\\|&lt;b>" in written["markdown"]
    page = written["html"]
    assert "<script" not in page and 'http-equiv="Content-Security-Policy"' in page and "a|&lt;b&gt;" in page
    assert "src=" not in page and "href=" not in page


def test_sarif_names_a_file_from_the_top_of_its_repository(tmp_path, monkeypatch):
    """Code scanning looks for it there, whatever directory the audit was started in."""
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / "deploy").mkdir()
    compose = tmp_path / "repository" / "deploy" / "compose.yaml"
    compose.write_text(COMPOSE)
    loose = tmp_path / "compose.yaml"
    loose.write_text(COMPOSE)

    def places(target):
        run = json.loads(render(judged(Path.cwd(), str(target)), "sarif"))["runs"][0]
        return {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]}

    monkeypatch.chdir("/")
    assert places(compose) == {"deploy/compose.yaml"}
    monkeypatch.chdir(compose.parent)
    assert all(each.startswith("file:///") for each in places(loose))
    assert places("compose.yaml") == {"deploy/compose.yaml"}


def test_sarif_fingerprint_survives_moved_lines(tmp_path):
    def prints(text):
        return {r.fingerprint for r in failing(of_text(tmp_path, "compose.yaml", text))}

    assert prints(COMPOSE) == prints("# one\n# two\n" + COMPOSE)


def test_threat_model_names_answers_and_gaps(tmp_path):
    for path, text in HARDENED.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = judged(tmp_path)
    by_name = {each.id: each for each in threats.model(found)}
    assert len(by_name) == 15
    assert by_name["T4"].verdict == "answered"
    assert "# Threat model" in threats.text(found)
    worse = of_text(tmp_path, "proxy/nginx.conf", HARDENED["proxy/nginx.conf"].replace("ssl_verify_client on;", ""))
    assert {each.id: each.verdict for each in threats.model(worse)}["T4"] == "open"


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"a": {"command": "bash"}}}')
    assert main(["audit"]) == 1
    text = capsys.readouterr().out
    assert "What to do next" in text and "PRM006" in text
    assert text.index("Mutual TLS") < text.index("What to do next")
    assert main(["audit", ".", "--fail-on", "critical"]) == 0
    assert main(["audit", ".", "--exit-zero"]) == 0
    capsys.readouterr()
    assert main(["audit", ".", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["schema"] == "mcpsec.audit/1"
    assert main(["audit", ".", "--ignore", "PRM006"]) == 0
    assert main(["audit", ".", "--select", "NOPE"]) == 2
    assert main(["audit", "nowhere"]) == 2
    assert main(["audit", "explain", "TLS011"]) == 0
    assert "CWE-295" in capsys.readouterr().out
    assert main(["audit", "explain", "TLS0111"]) == 2
    assert main(["audit", "list", "--format", "json"]) == 0
    assert main(["audit", ".", "--format", "html", "-o", "report.html"]) == 1
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    (tmp_path / "broken.service").write_text("[Service\n")
    assert main(["audit", "broken.service", "--kind", "systemd"]) == 3
    assert main(["audit", "broken.service", "--kind", "systemd", "--allow-incomplete"]) == 0


HOSTILE = [
    b"", b"\x00" * 200, b"{" * 100_000, b"[" * 100_000, b"- " * 50_000, b"a: &a [*a]\n", b'{"a":' * 5000, b"\xff\xfe\x00a", b"[" + b"[a." * 3000,
    b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(12)),
    b"server { " * 10_000, b"\\\n" * 10_000, b"FROM " + b"a" * 100_000, b'"' * 50_000, b"<<: *x\n", b"? [a]\n: b\n", b"%YAML 9\n---\n", b"a: b: c\n",
    b"FROM x\nRUN <<EOF\n" + b"x\n" * 1000, b"services: 5\n", b"services: {a: 5, b: {ports: {x: y}, environment: 7, volumes: [[1]]}}\n",
    b"apiVersion: v1\nkind: Deployment\nspec: []\nmetadata: 4\n", b"apiVersion: v1\nkind: List\nitems: [1, {kind: [2]}]\n",
    b'{"mcpServers": {"a": {"command": 5, "args": {"x": 1}, "env": [1], "headers": "x", "url": ["y"]}, "b": [], "c": {"command": ["x", 1]}}}',
    b'{"tools": [1, {"name": 5, "inputSchema": [], "annotations": 3}]}', b"static_resources: {listeners: [1, {filter_chains: [2]}], clusters: 5}\n",
    b"http: {routers: [1], middlewares: 5, services: {a: 1}}\ntls: {options: [1]}\n", b"[server]\nlisten = 5\n[[clients]]\nid = 3\n[upstreams]\na = 1\n",
    b'{"schema": "mcpsec.audit-evidence/1", "signature": 5, "deployments": "x", "created": []}', b'{"schema": "mcpsec.drill/1", "created": "2026-01-01", "drills": [1, {}]}',
]  # fmt: skip


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"endpoint", "waivers"}))
def test_hostile_files_are_bounded_and_never_a_traceback(kind, tmp_path):
    names = {"deployment": "x.toml", "client": "x.json", "pins": "x.json", "grafana": "x.json", "evidence": "x.json"}
    chance = random.Random(kind)
    seeds = [text.encode() for text in HARDENED.values()]
    cut = [
        seed[: chance.randrange(len(seed))] + bytes([chance.randrange(256)]) + seed[chance.randrange(len(seed)) :]
        for seed in seeds
    ]
    for number, content in enumerate([*HOSTILE, *cut]):
        for suffix in (names.get(kind, "x.yaml"), "x.json"):
            found = of_text(tmp_path / str(number), suffix, content, kind=kind)
            assert found.results or found.unreadable
