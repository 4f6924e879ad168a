import json
import os
import subprocess
import sys

import pytest

from mcpsec.leaks import hook

from .samples import ENV, OPAQUE, PASSWORD


def run(capsys, *arguments):
    code = hook.main([*map(str, arguments), "--format", "json"])
    captured = capsys.readouterr()
    return code, (json.loads(captured.out) if captured.out.startswith("{") else {}), captured.err


def paths(document):
    return [os.path.basename(f["path"]) for f in document["findings"]]


def test_contract(tmp_path, capsys):
    (tmp_path / "a.env").write_text(ENV)
    code, document, _ = run(capsys, tmp_path)
    assert code == 1
    assert document["schema"] == "mcpsec.secrets/1"
    assert {"rule", "path", "line", "column", "confidence", "fingerprint", "redacted"} <= set(document["findings"][0])
    assert {"files", "bytes", "seconds"} <= set(document["summary"])
    assert PASSWORD not in json.dumps(document)


def test_code_hosts_are_told_paths_from_the_top_of_the_repository(tmp_path, capsys, monkeypatch):
    """Wherever in it the scan was started, and of a commit as of a tree; the console's are those that one can open."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.env").write_text(f"API_TOKEN={OPAQUE}\n")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path / "sub")
    for what in (".", "a.env", str(tmp_path), "--staged"):
        hook.main([what, "--format", "sarif"])
        (found,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
        assert found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "sub/a.env"
        hook.main([what, "--format", "gitlab"])
        (found,) = json.loads(capsys.readouterr().out)["vulnerabilities"]
        assert found["location"]["file"] == "sub/a.env"
    assert run(capsys, ".")[1]["findings"][0]["path"] == "a.env"


def test_gitignore_vendored_and_binary(tmp_path, capsys):
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n/build/\n")
    for name in ("a.log", "keep.log", "build/x.env", "sub/build/x2.env", "node_modules/p/n.env", "pic.png", "a.env"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ENV)
    (tmp_path / "binary.env").write_bytes(b"\0\1\2" + ENV.encode())
    code, document, error = run(capsys, tmp_path)
    assert code == 1
    assert sorted(paths(document)) == ["a.env", "keep.log", "x2.env"]
    assert "excluded by .gitignore" in error
    assert {"n.env", "x.env"} <= set(paths(run(capsys, tmp_path, "--no-ignore")[1]))


def test_a_named_file_is_scanned_whatever_its_name(tmp_path, capsys):
    (tmp_path / "package-lock.json").write_text(ENV)
    assert run(capsys, tmp_path / "package-lock.json")[0] == 1


def test_utf16_and_invalid_utf8(tmp_path, capsys):
    (tmp_path / "a.ini").write_bytes(("[x]\r\n" + ENV).encode("utf-16"))
    (tmp_path / "b.env").write_bytes(b"\xff\xfa\x80\n" + ENV.encode())
    assert paths(run(capsys, tmp_path)[1]) == ["a.ini", "b.env"]


def test_what_can_not_be_read_is_said_and_the_rest_scanned(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("clean\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    code, document, error = run(capsys, tmp_path / "missing", tmp_path / "a.txt")
    assert code == 3
    assert "missing" in error
    assert document["summary"]["files"] == 1
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + b"\0" * 40)
    assert run(capsys, tmp_path)[0] == 3
    os.mkfifo(tmp_path / "pipe")
    assert run(capsys, tmp_path / "pipe")[0] == 3
    (tmp_path / "b.env").write_text(ENV)
    assert run(capsys, tmp_path)[0] == 1


def test_one_very_long_line_is_scanned_in_blocks(tmp_path, capsys, monkeypatch):
    from mcpsec.leaks import files, runner

    for module in (files, runner):
        monkeypatch.setattr(module, "BLOCK", 256 << 10)
    path = tmp_path / "long.txt"
    filler = b"x y " * ((files.BLOCK - 64) // 4)
    path.write_bytes(filler + b"\n" + ENV.encode() + filler + b" api_token: " + OPAQUE.encode() + b"\n")
    code, document, _ = run(capsys, path)
    assert code == 1
    assert [f["line"] for f in document["findings"]] == [2, 3]
    path.write_bytes(b"first\n" + filler * 3 + b" api_token: " + OPAQUE.encode() + b"\n")
    column = len(filler) * 3 + len(b" api_token: ") + 1
    assert [(f["line"], f["column"]) for f in run(capsys, path)[1]["findings"]] == [(2, column)]


@pytest.mark.parametrize("size", [1, 3])
def test_processes_find_what_one_finds(tmp_path, capsys, size, monkeypatch):
    from mcpsec.leaks import runner

    monkeypatch.setattr(runner, "PARALLEL", 1)
    for n in range(30):
        (tmp_path / f"f{n:02}.env").write_text(ENV if n % 3 else "clean\n")
    code, document, _ = run(capsys, tmp_path, "--jobs", size)
    assert code == 1
    assert paths(document) == [f"f{n:02}.env" for n in range(30) if n % 3]
    assert document["summary"]["files"] == 30


def test_processes_do_not_report_again_what_was_found_before_them(tmp_path, capsys, monkeypatch):
    from mcpsec.leaks import runner

    monkeypatch.setattr(runner, "PARALLEL", 1)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "named.env").write_text(ENV)
    (tree / "loop").symlink_to(tree)
    for n in range(4):
        (tree / f"f{n}.env").write_text("clean\n")
    code, document, error = run(capsys, tmp_path / "named.env", tmp_path / "missing", tree, "--jobs", 2)
    assert (code, paths(document)) == (1, ["named.env"])
    assert document["summary"]["files"] == 5
    assert len(document["summary"]["problems"]) == 1
    assert "symbolic link (1)" in error


def test_stdin(capsys, monkeypatch):
    import io

    class Stream:
        buffer = io.BytesIO(ENV.encode())

    monkeypatch.setattr(sys, "stdin", Stream())
    code, document, _ = run(capsys, "--stdin")
    assert (code, paths(document)) == (1, ["<stdin>"])


def test_discover(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor/mcp.json").write_text(json.dumps({"mcpServers": {"a": {"args": ["--token", OPAQUE]}}}))
    code, document, _ = run(capsys, "--discover")
    assert (code, paths(document)) == (1, ["mcp.json"])


def test_redact_full(tmp_path, capsys):
    (tmp_path / "a.env").write_text(f"API_TOKEN={OPAQUE}\n")
    assert run(capsys, tmp_path)[1]["findings"][0]["redacted"] == "****" + OPAQUE[-4:]
    assert run(capsys, tmp_path, "--redact", "full")[1]["findings"][0]["redacted"] == "****"
