import configparser
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mcpsec.certs.schedule import SYSTEMS, schedule
from mcpsec.errors import UsageError

_DIRECTORY = Path("/etc/my pki/it's")


def test_cron_runs_the_very_command() -> None:
    line = schedule("cron", _DIRECTORY, user="ca", options=["--hook", "reload it"]).splitlines()[-1]
    (
        minute,
        hours,
        *_,
    ) = line.split()[:5]
    assert 0 <= int(minute) < 60 and hours == "3,15"
    user, *command = shlex.split(line)[5:]
    assert user == "ca"
    assert command == [
        "mcpsec",
        "certs",
        "--dir",
        str(_DIRECTORY),
        "renew",
        "--all-due",
        "--hook",
        "reload it",
        "--quiet",
    ]


def test_systemds_units_parse_and_run_as_the_account(tmp_path: Path) -> None:
    text = schedule(
        "systemd", Path("/etc/my pki"), program="/usr/bin/mcpsec", user="ca", options=["--hook", 'say "$HOME"']
    )
    service, timer = text.partition("# --- mcpsec-certs.service")[2].split("# --- mcpsec-certs.timer")
    for name, unit in (("service", service), ("timer", timer)):
        (tmp_path / f"mcpsec-certs.{name}").write_text(unit)
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(service)
    assert parsed["Service"]["User"] == "ca"
    assert parsed["Service"]["ExecStart"] == (
        '/usr/bin/mcpsec certs --dir "/etc/my pki" renew --all-due --hook "say \\"$$HOME\\""'
    )
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / "mcpsec-certs.timer")],
            capture_output=True,
            text=True,
        )
        complaints = [line for line in done.stderr.splitlines() if "mcpsec-certs.timer" in line]
        assert not complaints, done.stderr


def test_kubernetes_gets_json_in_yaml() -> None:
    text = schedule("kubernetes", Path("/pki"), image="registry.example.com/mcpsec:1")
    assert '              args: ["certs", "--dir", "/pki", "renew", "--all-due"]' in text
    assert '                  mountPath: "/pki"' in text and 'image: "registry.example.com/mcpsec:1"' in text
    assert json.loads(text.split("args: ")[1].splitlines()[0])[2] == "/pki"


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("wrong", ["a\nb", "a\r", "\x00"])
def test_a_line_break_can_not_add_a_line(system: str, wrong: str) -> None:
    with pytest.raises(UsageError):
        schedule(system, Path("/pki"), user=wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        schedule(system, Path("/pki"), options=["--hook", wrong])  # type: ignore[arg-type]


def test_percent_signs_which_cron_and_systemd_read_themselves() -> None:
    for system in ("cron", "systemd"):
        with pytest.raises(UsageError):
            schedule(system, Path("/pki/%h"))  # type: ignore[arg-type]
