import json
import re

from mcpsec.cli.root import main


def test_scan_and_subcommands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    value = "Xk29" + "!sdkqQw"
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/a.env").write_text(f"DB_PASSWORD={value}\n")
    assert main(["scan-secrets", "./rules", "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["findings"][0]["path"].endswith("a.env")
    assert main(["scan-secrets", "--confidence", "high", "./rules"]) == 1
    assert value not in capsys.readouterr().out
    assert main(["scan-secrets", "rules", "list", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rules"]) >= 300
    assert main(["scan-secrets", "rules", "show", "generic-password"]) == 0
    assert main(["scan-secrets", "rules", "show", "generic-pasword"]) == 2
    assert "generic-password" in capsys.readouterr().err
    assert main(["scan-secrets", "--exit-zero", "./rules"]) == 0
    assert main(["scan-secrets", "--format", "sarif", "-o", str(tmp_path / "out.sarif"), "./rules"]) == 1
    assert json.loads((tmp_path / "out.sarif").read_text())["version"] == "2.1.0"
    assert main(["scan-secrets", "-o", str(tmp_path / "no/such"), "./rules"]) == 2


def test_a_path_has_one_name_however_it_is_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.env").write_text("DB_PASSWORD=" + "Xk29" + "!sdkqQw\n")
    for target in ((), (".",), ("./a.env",), ("a.env",)):
        assert main(["scan-secrets", *target, "--format", "json"]) == 1
        assert json.loads(capsys.readouterr().out)["findings"][0]["path"] == "a.env", target


def test_what_comes_after_a_finding_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.env").write_text("DB_PASSWORD=" + "Xk29" + "!sdkqQw\n")
    (tmp_path / ".git").mkdir()
    assert main(["scan-secrets"]) == 1
    said = capsys.readouterr().err
    assert re.search(r"^1 finding; \d files?, ", said, re.MULTILINE)
    assert ".mcpsec-secrets-ignore" in said
    assert "skipped" not in said, "the repository itself is nothing that was left out"


def test_discover_takes_no_other_source(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for other in (".", "--staged", "--stdin", "--history"):
        assert main(["scan-secrets", "--discover", other]) == 2
        assert "home directory" in capsys.readouterr().err


def test_discover_says_when_there_was_nothing_to_scan(tmp_path, capsys, monkeypatch):
    """As ``audit --discover`` does: what was asked for is not there, and nobody may take that for clean."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["scan-secrets", "--discover"]) == 3
    assert "no MCP client's configuration is there" in capsys.readouterr().err
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor/mcp.json").write_text('{"mcpServers": {}}')
    assert main(["scan-secrets", "--discover"]) == 0


OWN = """
disable = ["generic-key"]
[[rules]]
id = "acme-token"
confidence = "high"
keywords = ["acme_"]
pattern = '\\b(acme_[0-9a-f]{16})\\b'
examples = ["key acme_9f86d081884c7d65", { parts = ["acme", "_9f86d081884c7d65"] }]
counter_examples = ["acme_9f86"]
"""


def test_rules_of_your_own_are_listed_shown_and_tested(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".mcpsec-secrets.toml"
    file.write_text(OWN)
    assert main(["scan-secrets", "rules", "list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert "acme-token" in listed and "generic-key" not in listed
    assert main(["scan-secrets", "rules", "show", "acme-token"]) == 0
    assert "acme_[0-9a-f]{16}" in capsys.readouterr().out
    assert main(["scan-secrets", "rules", "test", "acme-token"]) == 0
    assert "1 rule, 0 examples failed" in capsys.readouterr().err
    file.write_text(OWN.replace("counter_examples = [", 'counter_examples = ["acme_9f86d081884c7d65", '))
    assert main(["scan-secrets", "rules", "test", "acme-token"]) == 1
    assert "acme-token: counter-example 1 is found" in capsys.readouterr().out
    file.write_text(OWN.replace("counter_examples = [", "counter_examples = [1, "))
    assert main(["scan-secrets", "rules", "test"]) == 2
    assert "counter_examples of rule acme-token must be a list of texts" in capsys.readouterr().err
