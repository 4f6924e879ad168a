"""The documentation: it builds as a site without a dead link, and its guides work as they are written."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.upstreams import HttpServer
from tests.fixtures.walks import Walk, blocks, need_programs

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.timeout(600)

NEED_NO_SERVER = ("guides/rotation.md", "guides/pre-commit.md", "guides/threat-model.md", "guides/ci.md")
WALKED = ("tutorial.md", "guides/http-server.md", "guides/python-app.md", *NEED_NO_SERVER)
"""The pages whose blocks are all taken here."""


def walk(page: str, directory: Path, replaced: dict[str, str] | None = None, *programs: str) -> Walk:
    if missing := need_programs("bash", "git", *programs):
        pytest.skip(f"needs {', '.join(missing)}, from the system's packages")
    taken = Walk(DOCS / page, directory / "walk", replaced or {})
    taken.take()
    return taken


def test_the_tutorial(tmp_path: Path) -> None:
    said = walk("tutorial.md", tmp_path, {"/srv/notes": str(tmp_path / "walk" / "notes")}, "mcp-server-git").said
    asked = next(each for each in said if "notes_git_log" in each)
    assert "notes_git_commit" not in asked
    assert "The first note" in asked
    assert any("intact" in each for each in said)


def test_the_guide_to_http_servers(tmp_path: Path, http_server: HttpServer) -> None:
    said = walk("guides/http-server.md", tmp_path, {"http://127.0.0.1:9000/mcp": http_server.url}).said
    assert any("hello" in each for each in said)


def test_the_guide_to_python_servers(tmp_path: Path) -> None:
    assert any("apple: 3 EUR" in each for each in walk("guides/python-app.md", tmp_path).said)


@pytest.mark.parametrize("page", NEED_NO_SERVER)
def test_guides_that_need_no_server(page: str, tmp_path: Path) -> None:
    walk(page, tmp_path)


def test_the_balancers_of_the_guide_accept_their_configuration(tmp_path: Path) -> None:
    if missing := need_programs("haproxy", "nginx"):
        pytest.skip(f"needs {', '.join(missing)}, from the system's packages")
    texts = {block.language: block.text for block in blocks(DOCS / "guides/many-gateways.md")}
    haproxy, nginx = tmp_path / "haproxy.cfg", tmp_path / "nginx.conf"
    haproxy.write_text(texts["haproxy"])
    subprocess.run([shutil.which("haproxy") or "haproxy", "-c", "-f", str(haproxy)], check=True, capture_output=True)
    assert "proxy_pass gateways" in texts["nginx"]  # Debian's nginx has its stream module in a package of its own
    nginx.write_text(texts["nginx"])
    tomllib.loads(texts["toml"])


def pages_of(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else pages_of(value)


def test_every_page_is_in_the_sites_navigation() -> None:
    listed = list(pages_of(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_site_builds_without_a_dead_link(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "build/site/tutorial.html").exists()
