"""Repositories that somebody made to break the scanner, or to hide from it: what git holds, and what it is told to do."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from mcpsec.errors import Error
from mcpsec.leaks.command import perform
from mcpsec.leaks.options import parse
from tests.fixtures.mutations import examples, mutations

from .conftest import git
from .samples import ENV, OPAQUE

hostile = settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
WAYS = (("--history",), ("--since", "base"), ("--staged",))


def scan(*arguments: str) -> tuple[int, str]:
    """Exit code and everything written. Raises what the scan raises."""
    request = parse(list(arguments))
    assert request is not None
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = perform(request)
    assert all(each.isprintable() or each == "\n" for each in out.getvalue()), out.getvalue()
    return code, out.getvalue()


def found(*arguments: str) -> list[dict[str, Any]]:
    request = parse([*arguments, "--format", "json", "-q"])
    assert request is not None
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        perform(request)
    findings: list[dict[str, Any]] = json.loads(out.getvalue())["findings"]
    return findings


def stored(kind: str, content: bytes) -> str:
    """The name of an object that git would never have made itself."""
    command = ["git", "hash-object", "-w", "--literally", "-t", kind, "--stdin"]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout.decode().strip()


def commit(repo: Path, content: bytes) -> None:
    (repo / ".git/refs/heads/main").write_text(stored("commit", content) + "\n")


def tree(document: bytes, blob: str) -> bytes:
    """A tree object of lines ``mode name``, each for the same blob."""
    return b"".join(line + b"\0" + bytes.fromhex(blob) for line in document.split(b"\n"))


PEOPLE = b"author %s <a@b> 1790000000 +0000\ncommitter C <c@d> 1790000000 +0000\n"


@pytest.fixture
def base(repo: Path) -> str:
    """The first commit of a good repository, called ``base``."""
    (repo / "readme").write_text("hello\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    git(repo, "tag", "base")
    return str(git(repo, "rev-parse", "HEAD"))


def test_commits(repo: Path, base: str) -> None:
    """A commit that git walks is scanned; of one that it can't read nobody is told that it is clean."""
    blob = stored("blob", ENV.encode())
    root = stored("tree", tree(b"100644 a.env", blob)).encode()
    seeds = [
        b"tree %s\nparent %s\n%s%s\nsubject\n\nbody\n" % (root, base.encode(), PEOPLE % author, more)
        for author, more in (
            (b"A", b""),
            (b"A\x01\x02B\x1b[2J\x07", b"encoding ISO-8859-1\n"),
            (b"", b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ\n -----END PGP SIGNATURE-----\n"),
            (b"\xe9\xff\xe2\x80\xae", b"encoding utf-16\n"),
            (b"A <x@y> B", b"encoding nonsense\nmergetag x\n"),
        )
    ]

    def look(document: bytes) -> None:
        commit(repo, document)
        for way in WAYS[:2]:
            try:
                code, _ = scan(*way)
            except Error as error:
                assert int(error.exit_code) == 3
            else:
                assert code in (1, 3) or way != ("--history",), document

    @hostile
    @given(mutations(*seeds))
    def attack(document: bytes) -> None:
        look(document)

    for seed in seeds:
        commit(repo, seed)
        assert [scan(*way)[0] for way in WAYS[:2]] == [1, 1], seed
    attack()


def test_trees(repo: Path, base: str) -> None:
    """Names, modes and submodules that no checkout would have."""
    blob = stored("blob", ENV.encode())
    seeds = [
        b"100644 a.env\n100755 b/../c\n120000 link\n160000 module",
        b"100644 .git\n100644 ..\n100644 :x\n100644 :100644 100644 0 0 A\n40000 d",
        b'100644 \xff\xfe.env\n100644 a\tb\n100644 \x1b]0;x\x07.env\n100644 "q\\"\n100644 \xe2\x80\xae.env',
        b"644 a.env\n0 b.env\n7777777777777 c.env\n100644  d.env\n100644 -e.env",
    ]

    def look(document: bytes) -> None:
        root = stored("tree", tree(document, blob)).encode()
        commit(repo, b"tree %s\nparent %s\n%s\nx\n" % (root, base.encode(), PEOPLE % b"A"))
        for way in WAYS:
            with contextlib.suppress(Error):
                assert scan(*way)[0] in (0, 1, 3)
                found(*way)

    @hostile
    @given(mutations(*seeds))
    def attack(document: bytes) -> None:
        look(document)

    for seed in seeds:
        look(seed)
    attack()


def test_the_author_is_named_whatever_a_file_is_called(repo: Path) -> None:
    """Git's log lists paths between its own rows; a path that looks like a row is a path."""
    for name in (":x", ":100644 100644 0 0 A", "a\nb", "z.env"):
        (repo / name).write_text(ENV if name == "z.env" else "x\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    assert [(each["path"], each["author"]) for each in found("--history")] == [("z.env", "Ada")]


@pytest.mark.parametrize("way", [("--staged",), ("--since", "base")], ids=lambda way: way[0])
def test_an_attribute_hides_no_file(repo: Path, base: str, way: tuple[str, ...]) -> None:
    (repo / ".gitattributes").write_text("*.env -diff\n*.txt binary\n")
    (repo / "a.env").write_text(ENV)
    (repo / "picture.png").write_bytes(b"\x89PNG\0\0" + ENV.encode())
    git(repo, "add", ".")
    if way != ("--staged",):
        git(repo, "commit", "-qm", "x")
    assert [each["path"] for each in found(*way)] == ["a.env"]


@pytest.mark.parametrize(
    "setting",
    [
        "diff.interHunkContext=50", "diff.relative=true", "diff.noprefix=true", "diff.context=5", "log.showRoot=false",
        "log.diffMerges=combined", "i18n.logOutputEncoding=UTF-16", "color.ui=always", "log.follow=true",
        "diff.submodule=log", "core.quotePath=true",
    ],
)  # fmt: skip
def test_what_is_found_does_not_depend_on_settings(repo: Path, setting: str) -> None:
    """Neither those of the person who scans nor those that came with the repository."""
    lines = [f"line {number}\n" for number in range(30)]
    (repo / "sub").mkdir()
    (repo / "sub/n.txt").write_text("".join(lines))
    (repo / "root.env").write_text(ENV)
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    lines[3], lines[9] = "changed\n", f"api_token: {OPAQUE}\n"
    (repo / "sub/n.txt").write_text("".join(lines))
    git(repo, "add", ".")
    staged = found("--staged")
    assert [(each["path"], each["line"]) for each in staged] == [("sub/n.txt", 10)]
    git(repo, "commit", "-qm", "y")
    history = found("--history")
    assert {each["author"] for each in history} == {"Ada"}

    git(repo, "config", *setting.split("="))
    assert found("--history") == history
    assert [each["author"] for each in found("--since", "HEAD~1")] == ["Ada"]
    git(repo, "reset", "-q", "--soft", "HEAD~1")
    assert found("--staged") == staged
    assert found("--staged", "sub") == staged


@pytest.fixture
def ran(tmp_path: Path) -> tuple[str, Path]:
    """A program, and the file that says that it ran."""
    trace, program = tmp_path / "it-ran", tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch '{trace}'\nexit 1\n")
    program.chmod(0o755)
    return str(program), trace


def test_no_program_checks_signatures(repo: Path, base: str, ran: tuple[str, Path]) -> None:
    program, trace = ran
    signed = b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ\n -----END PGP SIGNATURE-----\n"
    root = stored("tree", tree(b"100644 a.env", stored("blob", ENV.encode()))).encode()
    commit(repo, b"tree %s\nparent %s\n%s%s\nx\n" % (root, base.encode(), PEOPLE % b"A", signed))
    git(repo, "config", "log.showSignature", "true")
    git(repo, "config", "gpg.program", program)
    git(repo, "log")
    assert trace.exists(), "what git itself would do"
    trace.unlink()
    assert [each["author"] for each in (*found("--history"), *found("--since", "base"))] == ["A", "A"]
    assert not trace.exists()


def test_nothing_is_fetched_for_a_partial_clone(repo: Path, base: str, ran: tuple[str, Path], tmp_path: Path) -> None:
    """What a clone without blobs lacks is said; a transport that its configuration names is not started."""
    program, trace = ran
    for text in (ENV, "clean\n"):
        (repo / "a.env").write_text(text)
        git(repo, "add", ".")
        git(repo, "commit", "-qm", "x")
    git(repo, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git(repo, "clone", "-q", "--filter=blob:none", f"file://{repo}", str(clone))
    code, text = scan("--history", str(clone))
    assert code == 3
    assert "1 objects are missing" in text and "--no-filter" in text

    git(clone, "config", "remote.origin.url", "ssh://example.invalid/x")
    git(clone, "config", "core.sshCommand", program)
    with pytest.raises(Error) as refused:
        scan("--since", "base", str(clone))
    assert "--no-filter" in str(refused.value.hint)
    assert not trace.exists()
    subprocess.run(["git", "-C", clone, "log", "-p"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    assert trace.exists(), "what git itself would do"

    git(clone, "config", "remote.origin.url", f"file://{repo}")
    git(clone, "fetch", "-q", "--refetch", "--no-filter")
    assert scan("--history", str(clone))[0] == 1


def test_names_do_not_move_the_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a file may hold what a terminal obeys, or a line break that makes up a line of the report."""
    monkeypatch.chdir(tmp_path)
    Path("\x1b[2Ja\nno findings.env").write_text(ENV)
    code, text = scan(".")
    assert code == 1
    assert "\\x1b[2Ja\\x0ano findings.env:" in text
