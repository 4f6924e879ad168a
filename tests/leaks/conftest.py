import os
import subprocess

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Rule caches of this test run only, shared by its tests."""
    base = tmp_path_factory.getbasetemp() / "mcpsec-cache"
    base.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(base))


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A git repository to work in, with an identity and no user configuration."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.com")
    directory = tmp_path / "repo"
    directory.mkdir()
    git(directory, "init", "-q", "-b", "main")
    monkeypatch.chdir(directory)
    return directory


def git(directory, *arguments):
    return subprocess.run(
        ["git", "-C", directory, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
