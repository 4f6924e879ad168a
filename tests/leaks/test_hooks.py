"""The hooks that ``install-hook`` writes, run by git: what is committed or pushed is scanned, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mcpsec.errors import UsageError
from mcpsec.leaks.hooks import install

from .conftest import git
from .samples import ENV, PASSWORD


def commit(repo: Path, name: str, text: str) -> None:
    (repo / name).write_text(text)
    git(repo, "add", ".")
    git(repo, "commit", "-qm", name, "--no-verify")


def push(repo: Path, *arguments: str) -> tuple[bool, str]:
    run = subprocess.run(["git", "push", "-q", "origin", *arguments], cwd=repo, capture_output=True, text=True)
    assert PASSWORD not in run.stdout + run.stderr
    return run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(params=["sha1", "sha256"])
def pushing(repo: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A repository with the pre-push hook, one clean commit and an empty place to push to."""
    place, work = tmp_path / "origin", tmp_path / "work"
    for directory, bare in ((place, ["--bare"]), (work, [])):
        git(repo, "init", "-q", "-b", "main", f"--object-format={request.param}", *bare, str(directory))
    git(work, "remote", "add", "origin", str(place))
    commit(work, "readme", "hello\n")
    assert [path.name for path in install(pre_push=True, directory=str(work))] == ["pre-commit", "pre-push"]
    return work


def test_what_is_pushed_is_scanned(pushing: Path) -> None:
    assert push(pushing, "main")[0]
    commit(pushing, "a.env", ENV)
    pushed, said = push(pushing, "main")
    assert not pushed and "a.env:1" in said


def test_a_branch_that_is_not_checked_out_is_scanned_when_it_is_pushed(pushing: Path) -> None:
    assert push(pushing, "-u", "main")[0]
    git(pushing, "checkout", "-qb", "other")
    commit(pushing, "clean.txt", "x\n")
    assert push(pushing, "other")[0]
    commit(pushing, "b.env", ENV)
    git(pushing, "checkout", "-q", "main")
    pushed, said = push(pushing, "other")
    assert not pushed and "b.env:1" in said
    assert push(pushing, "main")[0], "which has nothing of it"


def test_a_branch_can_be_deleted(pushing: Path) -> None:
    assert push(pushing, "main", "main:old")[0]
    commit(pushing, "a.env", ENV)  # which is not pushed
    assert push(pushing, "--delete", "old")[0]


def test_hooks_belong_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="not a git repository"):
        install(directory=str(tmp_path))
