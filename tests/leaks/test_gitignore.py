"""The reading of .gitignore files beside git's own."""

import subprocess

import pytest

from mcpsec.leaks.files import Skipped, walk

NAMES = (
    "keep.log",
    "a.log",
    "build/out.txt",
    "src/build/x.txt",
    "src/a.min",
    "doc/x.md",
    "doc/deep/y.md",
    "tmp/z",
    "Ä b.txt",
)
IGNORES = (
    "*.log\n!keep.log\n",
    "build\n",
    "/build/\n",
    "build/\n*.min\n",
    "doc/**/y.md\n!x.md\n",
    "doc/*\n!doc/deep\n",
    "# comment\n\n*.txt  \n!src/**\n",
    "[a-k]*.log\n?mp\n",
    "**/deep/\n\\!odd\n",
    "*\n!*/\n!*.md\n",
    "[a&&k].log\n[~~|k]eep.log\n[[x]/y.md\n",
    ".log\n*log\nz\n",
    "*.[lm][oid][gn]\n[[k]eep.log\n",
    "**/[xz]\n**/*.m[d]\n!d*/x.md\n",
    "b*\n!b*d/o*.txt\nsrc/*.min\ndoc/**\n",
    "*l?g\n!k*g\n*o*\n",
    "x.*\n!x.txt\n*.md\n!*.md\nx.md\n",
)


@pytest.mark.parametrize("text", IGNORES)
def test_what_git_ignores_is_ignored(tmp_path, text):
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / ".gitignore").write_text(text)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    listed = subprocess.run(
        ["git", "-C", str(tmp_path), "ls-files", "-z", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    )
    expected = sorted(name for name in listed.stdout.decode().split("\0") if name and name != ".gitignore")
    found = [
        entry.path.removeprefix(f"{tmp_path}/")
        for entry in walk(str(tmp_path), skipped=Skipped(), problems=[], ignore=True)
    ]
    assert sorted(name for name in found if name != ".gitignore") == expected
