import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpsec.certs import Pki, Purpose
from mcpsec.cli.root import main
from tests.certs.helpers import openssl_verify, server_context, tls_server

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in [name for name in os.environ if name.startswith("MCPSEC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MCPSEC_CERTS_DIR", str(tmp_path / "pki"))
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        code = main(["certs", *map(str, words)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err and code != 4, said.err
        return code, said.out, said.err

    return call


def _json(run: Run, *words: object) -> Any:
    code, out, err = run(*words, "--format", "json")
    assert code == 0, err
    document = json.loads(out)
    assert document["schema"] == "mcpsec.certs/1"
    return document


def test_the_contract_of_list(run: Run, tmp_path: Path) -> None:
    assert run("init", "--trust-domain", "example.com")[0] == 0
    assert run("issue", "reporting", "--client", "--san", "spiffe://example.com/agent/reporting")[0] == 0
    assert run("issue", "gw", "--server", "--san", "mcp.example.com", "--san", "192.0.2.10", "--days", "30")[0] == 0
    document = _json(run, "list")
    client, server = document["certificates"]
    wanted = {"name", "serial", "sans", "purpose", "not_before", "not_after", "state", "certificate", "chain", "key"}
    assert wanted <= set(client)
    assert (client["name"], client["purpose"], client["state"]) == ("reporting", "client", "valid")
    assert client["sans"] == ["spiffe://example.com/agent/reporting"] and server["sans"] == [
        "mcp.example.com",
        "192.0.2.10",
    ]
    for one in (client, server):
        for part in ("certificate", "chain", "key"):
            assert Path(one[part]).is_absolute() and Path(one[part]).is_file()
    roles = [authority["role"] for authority in document["authorities"]]
    assert roles == ["root", "client", "server"]
    assert {"name", "serial", "not_before", "not_after", "certificate"} <= set(document["authorities"][0])
    assert openssl_verify(Path(client["certificate"]), tmp_path / "pki" / "client-ca.pem", "client")[0]


def test_life_and_death_of_a_certificate(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client")
    first = _json(run, "list")["certificates"][0]["serial"]
    renewed = _json(run, "renew", "agent")["certificates"][0]
    assert renewed["serial"] != first
    assert [one["state"] for one in _json(run, "list", "--all")["certificates"]] == ["superseded", "valid"]
    assert run("verify", "agent")[0] == 0
    revoked = _json(run, "revoke", "agent", "--reason", "keyCompromise")["certificates"]
    assert {one["state"] for one in revoked} == {"revoked"} and len(revoked) == 2
    code, out, _ = run("verify", "agent")
    assert code == 1 and "certificate revoked" in out
    assert run("issue", "agent", "--client")[0] == 0
    assert len(_json(run, "show", "agent")["certificates"]) == 3
    assert "BEGIN CERTIFICATE" in run("show", "agent", "--pem")[1]
    assert len(run("ledger")[1].splitlines()) == 3
    table = run("list")[1]
    assert table.splitlines()[0].split() == ["NAME", "PURPOSE", "STATE", "ENDS", "LEFT", "SERIAL", "NAMES"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["issue", "agent"], "say what the certificate is for"),
        (["issue", "--client"], "give a name"),
        (["issue", "agent", "--client", "--server"], "exclude each other"),
        (["issue", "../agent", "--client"], "can't name a certificate"),
        (["issue", "agent", "--client", "--san", "a,DNS:b"], "no subject alternative name"),
        (["issue", "agent", "--client", "--days", "-1"], "can't live"),
        (["issue", "agent", "--client", "--profile", "none"], "no profile"),
        (["issue", "agent", "--client", "--csr", "none.pem"], "no such file"),
        (["issue", "agent", "--client", "--batch", "none.csv"], "--batch everything stands in the list"),
        (["issue", "--client", "--batch", "none.csv"], "can't be read"),
        (["renew"], "give names, or --all-due"),
        (["renew", "nobody"], "no certificate has the name"),
        (["renew", "--all-due", "--days", "3"], "as it was"),
        (["renew", "a", "--hook", "'"], "hook can't be read"),
        (["revoke", "nobody"], "no certificate has the name"),
        (["rotate-ca", "client", "--retire"], "overlaps"),
        (["verify", "none.pem"], "no certificate has the name"),
        (["check", "--warn", "soon"], "no length of time"),
        (["schedule", "cron", "--user", "a\nb"], "can't stand in a schedule"),
        (["init"], "not an empty directory"),
        (["init", "--encrypt", "root"], "needs a passphrase"),
        (["--dir", "nowhere", "list"], "no PKI here"),
        (["init", "--dir", "new", "--permit-client", "x"], "no name constraint"),
        (["init", "--dir", "new", "--external-key", "client=/etc/key"], "names no key"),
    ],
)
def test_a_users_mistake_is_one_clear_error(words: list[str], said: str, run: Run) -> None:
    run("init")
    code, out, err = run(*words)
    assert code == 2 and out == "" and said in err and err.count("error: ") == 1


def test_check_exits_1_when_something_is_due(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client", "--days", "20")
    assert run("check")[0] == 0
    code, out, _ = run("check", "--warn", "30d")
    assert code == 1 and "due" in out
    assert run("check", "--warn", "30d", "--exit-on", "late")[0] == 0
    assert run("check", "--fail", "30d", "--exit-on", "late")[0] == 1
    certificate = tmp_path / "pki" / "client" / "agent" / "cert.pem"
    assert run("check", certificate)[0] == 0 and run("check", certificate, "--warn", "21d")[0] == 1
    assert run("check", tmp_path / "pki")[0] == 0
    code, _, err = run("check", certificate, "127.0.0.1:9")
    assert code == 3 and "not checked" in err
    assert run("check", certificate, "127.0.0.1:9", "--warn", "21d")[0] == 1  # a finding outranks what was not read
    document = json.loads(run("check", "--warn", "30d", "--format", "json")[1])
    assert document["due"] is True and document["items"][0]["level"] == "due"


def test_nagios_and_prometheus(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client", "--days", "20")
    for words, code in (([], 0), (["--warn", "30d"], 1), (["--fail", "30d"], 2), (["127.0.0.1:9"], 3)):
        assert run("check", "--format", "nagios", *words)[0] == code
    file = tmp_path / "certs.prom"
    assert run("check", "--format", "prometheus", "--output", file)[:2] == (0, "")
    assert "mcpsec_certificate_not_after_seconds{" in file.read_text()


def test_a_passphrase_by_file_environment_reference_and_prompt(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    assert run("init", "--passphrase-file", secret)[0] == 0
    for name in ("root/key.pem", "client/key-1.pem", "server/key-1.pem"):
        assert "ENCRYPTED" in (tmp_path / "pki" / "private" / name).read_text()
    code, _, err = run("issue", "agent", "--client")
    assert code == 2 and "no passphrase was given" in err
    assert run("issue", "a", "--client", "--passphrase-file", secret)[0] == 0
    monkeypatch.setenv("CA_SECRET", "correct horse")
    assert run("--passphrase-env", "CA_SECRET", "issue", "b", "--client")[0] == 0
    reference = json.dumps([sys.executable, "-c", "print('correct horse')"])
    assert run("issue", "c", "--client", "--passphrase-ref", f"{{ command = {reference} }}")[0] == 0
    monkeypatch.setattr("getpass.getpass", lambda question: "correct horse")
    assert run("issue", "d", "--client", "--passphrase-prompt")[0] == 0
    monkeypatch.setenv("CA_SECRET", "wrong battery")
    code, out, err = run("--passphrase-env", "CA_SECRET", "issue", "e", "--client")
    assert code == 2 and "passphrase is wrong" in err and "battery" not in out + err
    secret.chmod(0o644)
    assert run("issue", "f", "--client", "--passphrase-file", secret)[0] == 2
    assert [one["name"] for one in _json(run, "list")["certificates"]] == ["a", "b", "c", "d"]
    assert run("init", "--dir", "other", "--passphrase-env", "CA_SECRET", "--encrypt", "root")[0] == 0
    assert "ENCRYPTED" not in Path("other/private/client/key-1.pem").read_text()


def test_a_fleet_in_one_command(run: Run, tmp_path: Path) -> None:
    run("init")
    rows = "".join(f"agent-{number},spiffe://mcp.internal/fleet/{number}\n" for number in range(300))
    (tmp_path / "fleet.csv").write_text("name,sans\n" + rows)
    code, out, _ = run("issue", "--batch", "fleet.csv", "--client")
    assert code == 0 and "issued 300" in out
    code, _, err = run("issue", "--batch", "fleet.csv", "--client")
    assert code == 2 and "already bears" in err
    assert "issued 0" in run("issue", "--batch", "fleet.csv", "--client", "--skip-existing")[1]
    assert len(_json(run, "list")["certificates"]) == 300


def test_a_request_from_where_the_key_lives(run: Run, tmp_path: Path) -> None:
    run("init")
    assert run("request", "own", "--san", "spiffe://mcp.internal/own", "--out", "mine")[0] == 0
    assert Path("mine/key.pem").stat().st_mode & 0o777 == 0o600
    assert run("request", "own", "--out", "mine")[0] == 2  # a key is never overwritten
    (one,) = _json(run, "issue", "own", "--client", "--csr", "mine/request.pem")["certificates"]
    assert one["key"] is None and one["sans"] == ["spiffe://mcp.internal/own"]
    run("request", "own", "--out", "new")
    assert run("renew", "own", "--csr", "new/request.pem")[0] == 0
    secret = Path("secret")
    secret.write_text("a secret")
    secret.chmod(0o600)
    assert run("export", "own", "--out", "own.p12", "--bundle-passphrase-file", secret)[0] == 2
    run("issue", "here", "--client")
    assert run("export", "here", "--out", "here.p12", "--bundle-passphrase-file", secret)[0] == 0


def test_rotation_on_the_command_line(run: Run) -> None:
    run("init")
    run("issue", "agent", "--client")
    made = _json(run, "rotate-ca", "client")["authorities"]
    assert [one["state"] for one in made] == ["active", "overlapping"]
    assert run("rotate-ca", "client", "--retire")[0] == 1
    assert run("renew", "--all-due")[0] == 0
    assert run("rotate-ca", "client", "--retire")[0] == 0
    assert run("verify", "agent")[0] == 0
    assert run("rotate-ca", "root")[0] == 0


def test_looking_at_a_server(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "gw", "--server", "--san", "127.0.0.1")
    run("issue", "agent", "--client")
    pki = tmp_path / "pki"
    gw, agent = pki / "server" / "gw", pki / "client" / "agent"
    with tls_server(server_context(gw / "chain.pem", gw / "key.pem", pki / "client-ca.pem")) as port:
        target = f"127.0.0.1:{port}"
        code, out, _ = run("verify", target)
        assert code == 1 and "handshake: REFUSES" in out
        assert run("verify", target, "--cert", agent / "chain.pem", "--key", agent / "key.pem")[0] == 0
        assert run("check", target)[0] == 0
        served = _json(run, "fingerprint", target)["fingerprints"][0]["sha256"]
        assert served == run("fingerprint", "gw")[1].strip()
        assert (
            _json(run, "inspect", target)["inspected"][0]["serial"]
            == _json(run, "show", "gw")["certificates"][0]["serial"]
        )


def test_lint_and_its_floor(run: Run) -> None:
    run("init")
    run("issue", "wild", "--server", "--san", "*.example.com")
    assert run("lint", "wild")[0] == 0
    code, out, _ = run("lint", "wild", "--fail-on", "notice")
    assert code == 1 and "name-wildcard" in out
    assert _json(run, "lint", "wild")["faults"][0]["severity"] == "notice"


def test_the_hook_runs_and_its_failure_counts(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client")
    touch = f'{sys.executable} -c \'import os; open(os.environ["MCPSEC_NAME"], "w").close()\''
    assert run("renew", "agent", "--hook", touch)[0] == 0 and (tmp_path / "agent").exists()
    code, _, err = run("renew", "agent", "--hook", "false")
    assert code == 1 and "exit code 1" in err


def test_watch_renews_and_stops_when_told(run: Run, tmp_path: Path) -> None:
    run("init")
    with Pki.open(tmp_path / "pki") as pki:
        first = pki.issue("short", Purpose.CLIENT, days=4 / 86400).serial
    command = [sys.executable, "-m", "mcpsec", "certs", "renew", "--watch", "--interval", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "renewed client certificate short" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
    with Pki.open(tmp_path / "pki") as pki:
        assert pki.current("short").serial != first


def test_list_imports_no_http_client(run: Run, tmp_path: Path) -> None:
    run("init")
    imported = _imported("list")
    for name in ("httpx", "httpx2", "rich.table", "prometheus_client", "asyncio", "mcp"):
        assert f"'{name}'" not in imported, name
    assert "'cryptography'" not in _imported("--help")


def _imported(word: str) -> str:
    run = f"from mcpsec.cli.root import main; main(['certs', {word!r}])"
    code = f"import sys; {run}; print(sorted(sys.modules), file=sys.stderr)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr


@pytest.mark.parametrize("system", ["systemd", "cron", "kubernetes"])
def test_schedules_are_printed(system: str, run: Run) -> None:
    run("init")
    code, out, _ = run("schedule", system, "--hook", "systemctl reload nginx")
    assert code == 0 and "--all-due" in out and "--hook" in out
