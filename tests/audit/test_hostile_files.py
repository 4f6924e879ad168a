"""Files that somebody made to break the auditor: it judges them or says that it can't, and never falls over."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from mcpsec.audit.model import State
from mcpsec.errors import Error
from tests.audit.helpers import of_text
from tests.audit.labelled import CASES, HARDENED
from tests.fixtures.deployments import make_deployment
from tests.fixtures.mutations import examples, mutations

EXAMPLES = examples(60)


@pytest.mark.parametrize("path", sorted(HARDENED))
def test_other_peoples_files(path: str) -> None:
    seeds = [HARDENED[path].encode(), *(case.text.encode() for case in CASES if case.path == path)]

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(mutations(*seeds))
    def judge(document: bytes) -> None:
        with tempfile.TemporaryDirectory() as directory:
            try:
                found = of_text(Path(directory), path, document)
            except Error:
                return
            assert all(result.state in State for result in found.results)
            assert found.exit_code in (0, 1, 3)

    judge()


def test_deployment_files(tmp_path: Path) -> None:
    made = make_deployment(tmp_path, {"files": {"command": ["true"], "access": {"read_*": "read"}}})
    seed = made.config.read_bytes()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(mutations(seed))
    def judge(document: bytes) -> None:
        try:
            found = of_text(tmp_path, "mcpsec.toml", document)
        except Error:
            return
        json.dumps([result.check for result in found.results])
        assert found.exit_code in (0, 1, 3)

    judge()


@pytest.mark.parametrize("setting", ["certificate", "client_ca", "secret"])
def test_a_name_that_no_file_can_have_stops_no_audit(tmp_path: Path, setting: str) -> None:
    """What else there is to say about the deployment is said."""
    made = make_deployment(tmp_path, {"files": {"command": ["true"], "access": {"read_*": "read"}}})
    text, long = made.config.read_text(), "a" * 300
    old = {"certificate": '"pki/server-ca/', "client_ca": '"pki/client-ca/', "secret": '"tester.secret'}[setting]
    assert old in text
    found = of_text(tmp_path, "mcpsec.toml", text.replace(old, f'"{long}/{old[1:]}').encode())
    twin = of_text(tmp_path, "mcpsec.toml", text.encode())
    assert {each.check for each in twin.results} >= {each.check for each in found.results}
    assert len({each.check for each in found.results}) > 20
