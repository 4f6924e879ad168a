"""``[state] url``: which stores the file may name, and that no credential stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpsec.deployment import load
from mcpsec.errors import ConfigurationError
from tests.deployment.documents import MINIMAL


def written(tmp_path: Path, url: str) -> Path:
    path = tmp_path / "mcpsec.toml"
    path.write_text(MINIMAL + f'[state]\nurl = "{url}"\n')
    return path


@pytest.mark.parametrize(
    "url", ["memory://", "redis://host", "redis://host:6379/", "rediss://[::1]:6380/15", "unix:///run/valkey.sock"]
)
def test_a_store(url: str, tmp_path: Path) -> None:
    assert load(written(tmp_path, url)).state.url == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://", "redis://host:0", "redis://host:port", "redis://[x", "redis://host/name", "redis://host?db=1",
        "redis://host#1", "unix://", "unix:///", "http://host", "memory", "/run/valkey.sock",
    ],
)  # fmt: skip
def test_what_is_no_store(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a store"):
        load(written(tmp_path, url))


@pytest.mark.parametrize("url", ["redis://:canary@host", "rediss://user:canary@host/0", "redis://host?password=canary"])
def test_a_credential_in_the_url_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has credentials in it") as raised:
        load(written(tmp_path, url))
    assert "canary" not in f"{raised.value} {raised.value.hint}"
