"""Baseline, ignore file, inline allows, configurations of ours and of other tools."""

import hashlib
import json

import pytest

from mcpsec.leaks import hook

from .samples import ENV, OPAQUE, PASSWORD


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "a.env").write_text(ENV)
    return tmp_path


def run(capsys, *arguments):
    code = hook.main([*arguments, "--format", "json"])
    captured = capsys.readouterr()
    return code, (json.loads(captured.out)["findings"] if captured.out.startswith("{") else None), captured.err


def test_baseline_knows_values_not_lines(tree, capsys):
    assert run(capsys, "--update-baseline", ".")[0] == 0
    text = (tree / ".mcpsec-secrets-baseline").read_text()
    assert PASSWORD not in text
    assert run(capsys, ".")[0] == 0
    (tree / "sub").mkdir()
    (tree / "sub/moved.env").write_text("\n\n" + ENV)
    (tree / "a.env").unlink()
    assert run(capsys, ".")[0] == 0
    (tree / "sub/moved.env").write_text(f"API_TOKEN={OPAQUE}\n" + ENV)
    code, findings, _ = run(capsys, ".")
    assert (code, len(findings)) == (1, 1)
    before = (tree / ".mcpsec-secrets-baseline").read_text().splitlines()
    run(capsys, "--update-baseline", ".")
    after = (tree / ".mcpsec-secrets-baseline").read_text().splitlines()
    assert [line.split()[0] for line in before] == [
        line.split()[0] for line in after if line.split()[0] in {b.split()[0] for b in before}
    ]
    run(capsys, "--update-baseline", ".")
    assert (tree / ".mcpsec-secrets-baseline").read_text().splitlines() == after


def test_a_wrong_baseline_is_an_error(tree, capsys):
    (tree / "b").write_text("nonsense\n")
    assert run(capsys, "--baseline", "b", ".")[0] == 2
    (tree / "nothing").mkdir()
    assert run(capsys, "--baseline", "nothing", "nothing")[0] == 2
    assert "nothing: the baseline can't be read" in run(capsys, "--baseline", "nothing", "nothing")[2]
    assert run(capsys, "--baseline", "none", ".")[0] == 2


@pytest.mark.parametrize(
    "mark",
    [
        "mcpsec:allow",
        "gitleaks:allow",
        "BetterLeaks:Allow",
        "pragma: allowlist secret",
        "pragma: whitelist secret",
    ],
)
def test_inline_allows_only_its_line(tree, capsys, mark):
    (tree / "a.env").write_text(f"{ENV.strip()} # {mark}\nAPI_TOKEN={OPAQUE}\n")
    assert [f["line"] for f in run(capsys, ".")[1]] == [2]


def test_inline_allow_of_another_rule_does_not_help(tree, capsys):
    (tree / "a.env").write_text(f"{ENV.strip()} # mcpsec:allow=generic-token\n")
    assert run(capsys, ".")[0] == 1
    (tree / "a.env").write_text(f"{ENV.strip()} # mcpsec:allow=generic-password\n")
    assert run(capsys, ".")[0] == 0


def test_ignore_file_needs_a_reason_and_expires(tree, capsys):
    fingerprint = run(capsys, ".")[1][0]["fingerprint"]
    ignore = tree / ".mcpsec-secrets-ignore"
    for line, code, said in (
        (f"{fingerprint} test database only", 0, ""),
        (f"{fingerprint} until=2999-01-01 test database only", 0, ""),
        (f"{fingerprint} until=2020-01-01 test database only", 1, "ended"),
        (f"{fingerprint} until=soon test database only", 1, "not a date"),
        (f"{fingerprint} until=2999-02-30 test database only", 1, "not a date"),
        (f"{fingerprint} until=2999-01-01", 1, "reason"),
        (fingerprint, 1, "reason"),
        ("*.env until=2999-01-01 rule=generic-password fixtures", 0, ""),
        ("*.env until=2999-01-01 rule=generic-token fixtures", 1, ""),
        ("*.env rule= fixtures", 1, "names no rule"),
        ("*.env rule=generic-password fixtures", 0, ""),
        ("*.env rule=generic-token fixtures", 1, ""),
    ):
        ignore.write_text(line + "\n")
        result = run(capsys, ".")
        assert result[0] == code, line
        assert said in result[2]


def test_own_rules_and_allow_lists(tree, capsys):
    config = tree / ".mcpsec-secrets.toml"
    config.write_text('[allow]\npaths = ["*.env"]\n')
    assert run(capsys, ".")[0] == 0
    assert run(capsys, "--no-config", ".")[0] == 1
    config.write_text(
        "[[rules]]\nid = 'acme'\nconfidence = 'high'\nkeywords = ['acme_']\npattern = '\\bacme_([0-9a-f]{16})\\b'\n"
    )
    (tree / "b.txt").write_text("x acme_" + "9f86d081884c7d65\n")
    assert {f["rule"] for f in run(capsys, ".")[1]} == {"acme", "generic-password"}
    config.write_text("extend = false\n")
    code, _, error = run(capsys, ".")
    assert code == 2
    assert "no rule" in error
    for wrong in ("extnd = 1\n", "[allow]\nvalues = ['(']\n", "disable = ['nope']\n", "= 1\n", "[[rules]]\nid = 'x'\n"):
        config.write_text(wrong)
        assert run(capsys, ".")[0] == 2, wrong
    rule = "[[rules]]\nid = 'x'\nconfidence = 'high'\nkeywords = ['a']\npattern = 'a(b)'\n"
    for wrong, said in (
        ("disable = 7\n", "disable must be a list of texts"),
        ("allow = 3\n", "allow must be a table"),
        ("[allow]\npaths = '*.env'\n", "paths must be a list of texts"),
        ("extend = 'no'\n", "extend must be true or false"),
        ("rules = 3\n", "rules must be tables"),
        (f"{rule}entropy = 'x'\n", "entropy must be a number"),
    ):
        config.write_text(wrong)
        code, _, error = run(capsys, ".")
        assert (code, said in error) == (2, True), (wrong, error)


@pytest.mark.parametrize("pattern", ["**", "*", "**/*"])
def test_an_allow_list_that_fits_every_file_is_said(tree, capsys, pattern):
    config = tree / ".mcpsec-secrets.toml"
    config.write_text(f"[allow]\npaths = ['{pattern}']\n")
    code, _, error = run(capsys, ".")
    assert (code, "fits every file" in error) == (0, True)
    config.write_text("[allow]\npaths = ['*.env', 'tests/**']\n")
    assert "every file" not in run(capsys, ".")[2]


def test_pyproject(tree, capsys):
    (tree / "pyproject.toml").write_text('[tool.mcpsec.secrets.allow]\nstopwords = ["sdkq"]\n')
    assert run(capsys, ".")[0] == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("regex = 'k'\nentropy = 3.5", 1),
        (f"regex = 'k'\nentropy = {'9' * 400}", 2),
        ("regex = 'k'\nentropy = 'much'", 2),
        (f"regex = '{'(' * 3000}{')' * 3000}'", 1),
        (f"x = {'[' * 5000}", 2),
    ],
    ids=["good", "a number beyond measure", "no number", "a deep expression", "a deep document"],
)
def test_a_configuration_made_to_break_the_scanner(tree, capsys, line, code):
    """It comes with a downloaded repository: what it says is applied, or passed over and said, and the scan goes on."""
    (tree / ".gitleaks.toml").write_text(f"[[rules]]\nid = 'a'\nkeywords = ['k']\n{line}\n")
    found, _, error = run(capsys, ".")
    assert found == code, error
    assert "internal" not in error


def test_an_own_expression_that_is_too_deep_is_an_error(tree, capsys):
    (tree / "own.toml").write_text(f"[[rules]]\nid = 'a'\npattern = '{'(' * 3000}{')' * 3000}'\n")
    code, _, error = run(capsys, "--config", "own.toml", ".")
    assert code == 2
    assert "internal" not in error


def test_gitleaks_files(tree, capsys):
    (tree / ".gitleaks.toml").write_text("[allowlist]\nregexes = ['(?i)^XK29']\n")
    assert run(capsys, ".")[0] == 0
    (tree / ".gitleaks.toml").write_text(
        "[[rules]]\nid = 'own'\nregex = 'zz_[0-9a-f]{16}'\nkeywords = ['zz_']\n[allowlist]\npaths = ['nothing']\n"
    )
    (tree / "b.txt").write_text("x zz_" + "9f86d081884c7d65\n")
    assert "own" in {f["rule"] for f in run(capsys, ".")[1]}
    (tree / ".gitleaks.toml").unlink()
    (tree / "b.txt").unlink()
    (tree / ".gitleaksignore").write_text("a.env:generic-api-key:1\n")
    assert run(capsys, ".")[0] == 0


def test_detect_secrets_baseline(tree, capsys):
    digest = hashlib.sha1(PASSWORD.encode()).hexdigest()
    (tree / ".secrets.baseline").write_text(json.dumps({"results": {"a.env": [{"hashed_secret": digest}]}}))
    assert run(capsys, ".")[0] == 0
    (tree / ".secrets.baseline").write_text("{}x")
    code, _, error = run(capsys, ".")
    assert code == 1
    assert "not applied" in error
