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
