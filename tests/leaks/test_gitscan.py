import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcpsec.leaks import hook

from .conftest import git
from .samples import ENV, OPAQUE, PASSWORD


def run(capsys, *arguments):
    code = hook.main([*arguments, "--format", "json", "-q"])
    captured = capsys.readouterr()
    return code, (json.loads(captured.out) if captured.out.startswith("{") else None), captured.err


def test_staged_lines_with_their_numbers(repo, capsys):
    (repo / "a.txt").write_text("one\ntwo\nthree\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    assert run(capsys, "--staged")[0] == 0
    (repo / "a.txt").write_text(f"one\n{ENV}two\nthree\n--- not a header\n+++ b/other\napi_token: {OPAQUE}\n")
    (repo / "b \u00e9.txt").write_text(ENV)
    git(repo, "add", ".")
    (repo / "c.txt").write_text(ENV)
    code, document, _ = run(capsys, "--staged")
    assert code == 1
    assert [(f["path"], f["line"]) for f in document["findings"]] == [("a.txt", 2), ("a.txt", 7), ("b \u00e9.txt", 1)]


def test_removed_lines_do_not_count(repo, capsys):
    (repo / "a.txt").write_text(ENV)
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    (repo / "a.txt").write_text("clean\n")
    git(repo, "add", ".")
    assert run(capsys, "--staged")[0] == 0


def test_history_finds_what_was_removed_and_who_brought_it(repo, capsys):
    (repo / "a.env").write_text(ENV)
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "first")
    first = git(repo, "rev-parse", "HEAD")
    (repo / "a.env").write_text(ENV + "X=1\n")
    git(repo, "commit", "-qam", "second")
    git(repo, "rm", "-q", "a.env")
    git(repo, "commit", "-qm", "third")
    git(repo, "checkout", "-qb", "side")
    (repo / "b.env").write_text(f"API_TOKEN={OPAQUE}\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "side")
    git(repo, "checkout", "-q", "main")
    code, document, _ = run(capsys, "--history")
    assert code == 1
    rows = [(f["path"], f["line"], f["author"], f["email"]) for f in document["findings"]]
    assert rows == [("a.env", 1, "Ada", "ada@example.com"), ("b.env", 1, "Ada", "ada@example.com")]
    assert document["findings"][0]["commit"] == first
    assert PASSWORD not in json.dumps(document)


def test_a_change_in_a_big_file_is_seen_at_its_line(repo, capsys):
    lines = [f"line {n} of a file that is long enough" for n in range(2000)]
    (repo / "big.txt").write_text("\n".join(lines) + "\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    lines[1500] = ENV.strip()
    (repo / "big.txt").write_text("\n".join(lines) + "\n")
    git(repo, "commit", "-qam", "y")
    assert [f["line"] for f in run(capsys, "--history")[1]["findings"]] == [1501]


def test_the_commit_that_brought_it_in_is_named_not_the_last_one_that_touched_the_file(repo, capsys):
    def commit(lines, when):
        (repo / "app.py").write_text("\n".join(lines) + "\n")
        git(repo, "add", ".")
        git(repo, "commit", "-qm", when)
        return git(repo, "rev-parse", "HEAD").strip()

    lines = [f"value_{n} = {n}" if n % 3 else "" for n in range(3000)]
    commit(lines, "before")
    lines[1400] = f'api_token = "{OPAQUE}"'
    wanted = commit(lines, "brings it in")
    for n in (10, 2900, 1500):
        lines[n] = f"changed_{n} = {n}"
        commit(lines, f"changes line {n}")
    lines.insert(20, "")
    commit(lines, "moves everything")
    _, document, _ = run(capsys, "--history")
    assert [(f["commit"], f["line"]) for f in document["findings"]] == [(wanted, 1401)]


def test_only_new_paragraphs_of_a_version_are_looked_at():
    from mcpsec.leaks.history import fresh, slices

    text = b"\n\n".join(b"paragraph %d " % n + b"x" * 300 for n in range(60)) + b"\n"
    seen = set()
    assert fresh(seen, text, 0, len(text)) == [(0, len(text))]
    assert fresh(seen, text, 0, len(text)) == []
    later = text.replace(b"paragraph 30 ", b"paragraph thirty ").replace(b"paragraph 2 ", b"paragraph two ")
    stretches = fresh(seen, later, 0, len(later))
    assert [b"thirty" in later[a:b] or b"two" in later[a:b] for a, b in stretches] == [True, True]
    assert sum(b - a for a, b in stretches) < 6000
    versions = [("a", "1", text), ("a", "2", later), ("b", "3", text)]
    assert [(name, whole == part) for _, name, part, _, whole in slices(iter(versions))] == [
        ("1", True), ("2", False), ("2", False), ("3", True),
    ]  # fmt: skip


def test_blank_lines_in_rows_and_long_paragraphs_hide_no_change():
    from mcpsec.leaks.history import slices

    spaced = b"\n\n\n".join(b"def function_%d" % n + b"x" * 300 for n in range(60)) + b"\n"
    long = b"".join(b"line %d is one of very many\n" % n for n in range(3000))
    for old in (spaced, long, b"short\n"):
        for at in (0, 1, len(old) // 2, len(old) - 1, len(old)):
            for cut in (0, 1, min(700, len(old) - at)):
                new = old[:at] + b"NEW" + old[at + cut :]
                parts = [
                    part for _, name, part, _, _ in slices(iter([("a", "1", old), ("a", "2", new)])) if name == "2"
                ]
                assert any(b"NEW" in part for part in parts), (old[:9], at, cut)
                assert sum(map(len, parts)) < 4000


def test_a_log_is_read_in_portions_without_a_field_lost(monkeypatch):
    from mcpsec.leaks import history

    log = b"\0".join(b"%d" % n * (n % 5) for n in range(200))
    for size in (1, 2, 7, 1 << 20):
        monkeypatch.setattr(history, "BUFFER", size)
        for text in (log, log + b"\0", b"\0" + log, b"", b"\0\0"):
            assert list(history._fields(text)) == text.split(b"\0")


def test_where_text_was_taken_out_or_comes_again_is_looked_at():
    from mcpsec.leaks.history import STEP, _apart, changed, slices

    lines = b"".join(b"line %d is one of very many\n" % n for n in range(3000))
    for at in (20 * STEP, 20 * STEP + 9):
        rest = lines[at + 10 * STEP : at + 60 * STEP]
        new = lines[:at] + rest
        parts = [
            part
            for _, name, part, _, _ in slices(iter([("a", "1", lines[: at + 60 * STEP]), ("a", "2", new)]))
            if name == "2"
        ]
        assert any(new[at - 9 : at + 9] in part for part in parts), at
    few, many = b"the same line\n" * 500, b"the same line\n" * 2000
    for old, new in ((few, many), (many, few)):
        assert all(0 <= begin <= end <= len(new) for begin, end in _apart(old, new))
        assert changed(old, new)


def test_changes_far_from_each_other_are_each_seen_and_what_is_between_them_is_not_read_again():
    from mcpsec.leaks.history import changed, slices

    chance = random.Random(7)
    rows = [b"row %d of a long table, %d\n" % (n, chance.randrange(10**9)) + b"\n" * (n % 9 == 0) for n in range(9000)]
    old = b"".join(rows)
    for _ in range(20):
        places = sorted(chance.sample(range(9000), 6))
        later = list(rows)
        for number, place in enumerate(places):
            kind = chance.randrange(3)  # put in, changed, or in the place of many
            later[place : place + (0, 1, 40)[kind]] = [b"NEW %d\n" % number]
        new = b"".join(later)
        there = [b"NEW %d\n" % number for number in range(6) if b"NEW %d\n" % number in new]
        parts = [part for _, name, part, _, _ in slices(iter([("a", "1", old), ("a", "2", new)])) if name == "2"]
        assert all(any(mark in part for part in parts) for mark in there)
        stretches = changed(old, new)
        assert sum(end - begin for begin, end, _ in stretches) < len(new) / 3
        ends = [0, *(at for begin, end, _ in stretches for at in (begin, end)), len(new)]
        assert ends == sorted(ends)
        assert all(new[a:b] in old for a, b in zip(ends[::2], ends[1::2], strict=True))


def test_a_change_beside_a_key_makes_no_other_key_of_its_half(repo, capsys):
    lines = base64.encodebytes(hashlib.shake_256(b"x").digest(1600)).decode()
    key = f"-----BEGIN {'RSA'} PRIVATE KEY-----\n{lines}-----END {'RSA'} PRIVATE KEY-----\n"
    commit(repo, "a.txt", "before\n\n" + key)
    for line in ("after\n", "after\n\nlater\n"):
        commit(repo, "a.txt", "before\n\n" + key + line)
        commit(repo, "a.txt", "changed\n\n" + key + line)
    assert [f["line"] for f in run(capsys, "--history")[1]["findings"]] == [3]


def test_each_blob_is_somebodys_whatever_was_merged_renamed_or_only_tagged(repo, capsys):
    def made(name, text):
        (repo / name).write_text(text)
        git(repo, "add", ".")
        git(repo, "commit", "-qm", name)
        return git(repo, "rev-parse", "HEAD")

    made("a.txt", "nothing\n")
    git(repo, "checkout", "-qb", "side")
    wanted = {"side.env": made("side.env", ENV)}
    git(repo, "mv", "side.env", "later.env")
    git(repo, "commit", "-qm", "renamed")
    git(repo, "checkout", "-q", "main")
    made("b.txt", "nothing else\n")
    git(repo, "merge", "-q", "--no-commit", "side")
    (repo / "merge.env").write_text(f"API_TOKEN={OPAQUE}\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "merged, and more")
    wanted["merge.env"] = git(repo, "rev-parse", "HEAD")
    (repo / "tagged.env").write_text(f"OTHER_TOKEN={OPAQUE[::-1]}\n")
    git(repo, "add", ".")
    git(repo, "tag", "-am", "x", "snapshot", git(repo, "write-tree"))
    git(repo, "rm", "-q", "--cached", "tagged.env")
    _, document, _ = run(capsys, "--history")
    assert {f["path"]: f.get("commit") for f in document["findings"]} == wanted | {"tagged.env": None}


def test_processes_that_share_a_history_find_what_one_finds(repo, capsys):
    for number in range(260):
        (repo / f"{number}.env").write_text(f"X={number}\n" + (ENV if number % 40 == 7 else ""))
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    one, two = (run(capsys, "--history", "--jobs", jobs)[1] for jobs in ("1", "2"))
    assert len(one["findings"]) == 7
    assert one["findings"] == two["findings"]
    assert one["summary"]["files"] == two["summary"]["files"] == 260


def test_a_blob_that_is_not_there_is_counted_and_the_rest_scanned(repo, capsys):
    commit(repo, "a.env", ENV)
    commit(repo, "b.txt", "gone\n")
    name = git(repo, "rev-parse", "HEAD:b.txt")
    (repo / ".git/objects" / name[:2] / name[2:]).unlink()
    code, document, error = run(capsys, "--history")
    assert (code, [f["path"] for f in document["findings"]]) == (1, ["a.env"])
    assert "1 objects are missing" in error


def test_a_tree_that_is_not_there_is_said_and_every_file_that_is_there_scanned(repo, capsys):
    commit(repo, "a.env", ENV)
    (repo / "sub").mkdir()
    commit(repo, "sub/b.env", f"API_TOKEN={OPAQUE}\n")
    commit(repo, "later.txt", "nothing\n")
    assert len(run(capsys, "--history")[1]["findings"]) == 2
    name = git(repo, "rev-parse", "HEAD:sub")
    (repo / ".git/objects" / name[:2] / name[2:]).unlink()
    code, document, error = run(capsys, "--history")
    blobs = [git(repo, "rev-parse", rev) for rev in ("HEAD:a.env", git(repo, "hash-object", "sub/b.env"))]
    assert code == 1
    assert {each["path"] for each in document["findings"]} == {f"blob {blob}" for blob in blobs}
    assert name in error and "every file version that is stored was scanned" in error
    assert document["summary"]["problems"]


def test_since(repo, capsys):
    (repo / "old.env").write_text(ENV)
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    git(repo, "tag", "base")
    (repo / "new.env").write_text(f"API_TOKEN={OPAQUE}\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "y")
    git(repo, "rm", "-q", "new.env")
    git(repo, "commit", "-qm", "z")
    code, document, _ = run(capsys, "--since", "base")
    assert (code, [f["path"] for f in document["findings"]]) == (1, ["new.env"])
    assert document["findings"][0]["author"] == "Ada"
    git(repo, "checkout", "-q", "base")
    assert run(capsys, "--since", "base")[0] == 0, "up to HEAD"
    assert run(capsys, "--since", "base..@{-1}")[0] == 1, "up to a branch that is not checked out, as a server sees it"
    for wrong in ("nosuch", "base..nosuch", "..base", "base...HEAD", "base..--output=x"):
        assert run(capsys, "--since", wrong)[0] == 2, wrong
    assert run(capsys, "--since=--output=x")[0] == 2


PAGE = Path(__file__).parents[2] / "docs/scan-secrets.md"
NEW = "0" * 40


def commit(repo, name, text):
    (repo / name).write_text(text)
    git(repo, "add", ".")
    git(repo, "commit", "-qm", name)


def push(repo, *arguments):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["git", "push", *arguments], cwd=repo, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_the_pages_pre_receive_hook_refuses_a_leak_on_new_and_on_old_branches(repo, tmp_path):
    server = tmp_path / "server.git"
    git(tmp_path, "init", "-q", "--bare", str(server))
    receiving = server / "hooks/pre-receive"
    receiving.write_text(re.search(r"```sh\n(#!/bin/sh.*?)```", PAGE.read_text(), re.DOTALL)[1])
    receiving.chmod(0o755)
    commit(repo, "clean.txt", "nothing\n")
    assert push(repo, str(server), "main").returncode == 0
    commit(repo, "a.env", ENV)
    for target in ("main", "main:side", "main:refs/tags/v1"):
        refused = push(repo, str(server), target)
        assert refused.returncode == 1, target
        assert "a.env:1:13" in refused.stderr, target
    git(repo, "reset", "-q", "--hard", "HEAD~")
    commit(repo, "more.txt", "nothing either\n")
    assert push(repo, str(server), "main", "main:side").returncode == 0
    assert push(repo, str(server), ":side").returncode == 0


def test_the_pre_push_hook_looks_at_what_is_pushed_and_at_nothing_else(repo, tmp_path):
    from mcpsec.leaks.hooks import install

    server = tmp_path / "server.git"
    git(tmp_path, "init", "-q", "--bare", str(server))
    git(repo, "remote", "add", "origin", str(server))
    commit(repo, "old.env", ENV)
    assert push(repo, "origin", "main").returncode == 0
    install(pre_push=True)
    git(repo, "checkout", "-qb", "side")
    commit(repo, "clean.txt", "nothing\n")
    sent = push(repo, "origin", "side")
    assert (sent.returncode, "old.env" in sent.stderr, "fatal" in sent.stderr) == (0, False, False), sent.stderr
    (repo / "new.env").write_text(f"API_TOKEN={OPAQUE}\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "leak", "--no-verify")
    git(repo, "checkout", "-q", "main")
    for target in ("side", "side:other"):  # not what is checked out
        refused = push(repo, "origin", target)
        assert refused.returncode == 1, target
        assert "new.env:1:11" in refused.stdout + refused.stderr, target


def test_the_commits_of_a_new_ref_are_those_that_nobody_has(repo, capsys):
    commit(repo, "a.env", ENV)
    assert run(capsys, "--since", f"{NEW}..HEAD")[0] == 1, "no remote has it"
    git(repo, "update-ref", "refs/remotes/origin/main", "HEAD")
    assert run(capsys, "--since", f"{NEW}..HEAD")[0] == 0
    assert run(capsys, "--since", f"{NEW}..nosuch")[0] == 2


def test_outside_a_repository_staged_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, "--staged")
    assert code == 3
    assert "not a git repository" in error
    assert "run it inside a repository" in error


def test_no_repository_and_a_damaged_one(tmp_path, monkeypatch, capsys, repo):
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    code, _, error = run(capsys, "--history", str(outside))
    assert code == 3
    assert "not a git repository" in error
    (repo / "a.env").write_text("x\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    shutil.rmtree(repo / ".git" / "objects")
    (repo / ".git" / "objects").mkdir()
    assert run(capsys, "--history")[0] == 3


def test_a_shallow_clone_is_said_to_be_one(repo, tmp_path, capsys):
    for n in range(3):
        (repo / "a.txt").write_text(f"{n}\n")
        git(repo, "add", ".")
        git(repo, "commit", "-qm", "x")
    clone = tmp_path / "clone"
    git(repo, "clone", "-q", "--depth", "1", f"file://{repo}", str(clone))
    code, document, error = run(capsys, "--history", str(clone))
    assert code == 3
    assert "shallow" in error
    assert document["summary"]["problems"]


def test_without_git_it_says_so(repo, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for option in ("--history", "--staged"):
        code, _, error = run(capsys, option)
        assert code == 3
        assert "git is not installed" in error
        assert "install git" in error


def test_the_hook_refuses_the_commit(repo):
    from mcpsec.leaks.hooks import install

    paths = install(pre_push=True)
    assert [p.name for p in paths] == ["pre-commit", "pre-push"]
    (repo / "a.env").write_text(ENV)
    git(repo, "add", ".")
    refused = subprocess.run(["git", "commit", "-qm", "x"], cwd=repo, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "a.env:1:13" in refused.stdout + refused.stderr
    assert PASSWORD not in refused.stdout + refused.stderr
    (repo / "a.env").write_text("DB_PASSWORD=${DB_PASSWORD}\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    from mcpsec.errors import UsageError

    (repo / ".git/hooks/pre-commit").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(UsageError, match="exists"):
        install()


def test_a_hook_that_is_there_stays_and_the_line_to_add_is_said(repo):
    from mcpsec.errors import UsageError
    from mcpsec.leaks.hooks import install

    theirs = repo / ".git/hooks/pre-push"
    theirs.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(UsageError) as refused:
        install(pre_push=True)
    assert "mcpsec-scan-secrets --since @{upstream} || exit" in str(refused.value.hint), (
        "also in the middle of their hook"
    )
    assert theirs.read_text() == "#!/bin/sh\nexit 0\n"
    assert not (repo / ".git/hooks/pre-commit").exists(), "all or nothing"


def test_with_husky_the_hook_goes_where_husky_looks(repo):
    from mcpsec.leaks.hooks import install

    (repo / ".husky/_").mkdir(parents=True)
    called = repo / ".husky/_/pre-commit"
    called.write_text('#!/bin/sh\nexec sh "$(dirname "$0")/../pre-commit"\n')
    called.chmod(0o755)
    git(repo, "config", "core.hooksPath", ".husky/_")
    assert install() == [Path(".husky/pre-commit")]
    (repo / "a.env").write_text(ENV)
    git(repo, "add", "a.env")
    refused = subprocess.run(["git", "commit", "-qm", "x"], cwd=repo, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "a.env:1:13" in refused.stdout + refused.stderr
