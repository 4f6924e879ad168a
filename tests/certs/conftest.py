"""A PKI to test with, made once for each test process and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpsec.certs import Pki


@pytest.fixture(scope="session")
def _pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certs") / "pki"
    Pki.create(directory, trust_domain="example.com").close()
    return directory


@pytest.fixture
def pki(_pristine: Path, tmp_path: Path) -> Iterator[Pki]:
    directory = tmp_path / "pki"
    shutil.copytree(_pristine, directory)
    with Pki.open(directory) as opened:
        yield opened
