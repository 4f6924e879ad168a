import json

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
    assert "1 finding; 1 file," in said
    assert ".mcpsec-secrets-ignore" in said
    assert "skipped" not in said, "the repository itself is nothing that was left out"


def test_discover_takes_no_other_source(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for other in (".", "--staged", "--stdin", "--history"):
        assert main(["scan-secrets", "--discover", other]) == 2
        assert "home directory" in capsys.readouterr().err
    assert main(["scan-secrets", "--discover"]) == 0
