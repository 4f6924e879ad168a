import sys
from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose
from mcpsec.certs.hooks import parse_hook, run_hook
from mcpsec.errors import Error, UsageError


def test_a_hook_learns_what_was_renewed_and_no_shell_reads_it(pki: Pki, tmp_path: Path) -> None:
    issued = pki.issue("agent", Purpose.CLIENT)
    facts = "os.environ['MCPSEC_NAME'] + ' ' + os.environ['MCPSEC_KEY'] + sys.argv[2]"
    code = f"import os, sys, pathlib; pathlib.Path(sys.argv[1]).write_text({facts})"
    run_hook([sys.executable, "-c", code, str(tmp_path / "seen"), "; touch $HOME/evil"], issued)
    assert (tmp_path / "seen").read_text() == f"agent {issued.key}; touch $HOME/evil"
    assert parse_hook("reload --name 'my server'") == ["reload", "--name", "my server"]


def test_failures_are_told(pki: Pki, tmp_path: Path) -> None:
    issued = pki.issue("agent", Purpose.CLIENT)
    for words, said in (
        (["false"], "exit code 1"),
        ([str(tmp_path / "none")], "can't be started"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "longer"),
    ):
        with pytest.raises(Error, match=said):
            run_hook(words, issued, timeout=0.5 if said == "longer" else 30)
    for text in ("", "a 'b"):
        with pytest.raises(UsageError):
            parse_hook(text)
