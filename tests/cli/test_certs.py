import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpsec.certs import Pki, Purpose
from mcpsec.cli.root import main
from mcpsec.deployment.scaffold import create
from tests.certs.helpers import openssl_verify, server_context, tls_server
from tests.fixtures.terminal import Terminal, terminal

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
        (["verify", "none.pem"], "none.pem: no such file\nhint: check the path"),
        (["inspect", "none.pem"], "none.pem: no such file\nhint: check the path"),
        (["lint", "somewhere/none"], "somewhere/none: no such file\nhint: check the path"),
        (["inspect", "none"], "no certificate has the name"),
        (["--dir", "nowhere", "inspect", "none"], "no such file, and no PKI in nowhere"),
        (["issue", "agent", "--client", "--csr", "pki/pki.toml"], "no certificate signing request, or a damaged one"),
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


def test_a_certificate_that_is_named_like_a_file_is_found(run: Run) -> None:
    run("init")
    assert run("issue", "agent.key", "--client")[0] == 0
    assert "agent.key" in run("inspect", "agent.key")[1]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that takes no directory")
def test_an_error_names_the_place_that_was_given_and_no_scratch_directory(run: Run) -> None:
    code, _, err = run("--dir", "/proc/self/pki", "init")
    assert code == 2 and err.startswith("error: /proc/self/pki: "), err


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


def test_a_volume_that_is_mounted_already_takes_a_pki(run: Run, tmp_path: Path) -> None:
    volume = tmp_path / "pki"
    (volume / "lost+found").mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(volume)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        assert run("init")[0] == 0
        assert run("issue", "agent", "--client")[0] == 0
        assert not list(volume.glob(".*"))
        code, _, err = run("init")
        assert code == 2 and "not an empty directory" in err
    finally:
        if mounted:
            subprocess.run(["umount", str(volume)], check=True)


def test_a_passphrase_cannot_be_asked_for_without_a_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mcpsec", "certs", "--dir", "pki", "init", "--passphrase-prompt"]
    done = subprocess.run(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True
    )
    assert done.returncode == 2 and "no terminal" in done.stderr and "--passphrase-file" in done.stderr
    assert "Warning" not in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("--watch", "--days", "5"),
        ("--watch", "agent"),
        ("--watch", "--within", "5"),
        ("--watch", "--format", "json"),
        ("--all-due", "--reuse-key"),
        ("agent", "--within", "5"),
    ],
)
def test_options_of_renew_that_would_be_ignored_are_refused(words: tuple[str, ...], run: Run) -> None:
    run("init")
    assert run("renew", *words)[0] == 2


def test_lists_and_requests_are_inspected_too(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client")
    serial = _json(run, "revoke", "agent", "--reason", "keyCompromise")["certificates"][0]["serial"]
    made = _json(run, "request", "other", "--san", "spiffe://example.com/x", "--out", "mine")
    listed, asked = _json(run, "inspect", "pki/client-ca.crl", made["request"])["inspected"]
    assert [(one["serial"], one["reason"]) for one in listed["revoked"]] == [(serial, "keyCompromise")]
    assert (asked["kind"], asked["names"], asked["signature_valid"]) == ("request", ["spiffe://example.com/x"], True)
    assert serial in run("inspect", "pki/client-ca.crl")[1]
    assert run("inspect", made["key"])[0] == 3
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("a long passphrase")
    run("issue", "agent", "--client")
    bundle = _json(run, "export", "agent", "--out", "a.p12", "--bundle-passphrase-file", "secret")["bundle"]
    assert Path(bundle).stat().st_mode & 0o777 == 0o600
    assert "OnCalendar" in _json(run, "schedule", "systemd")["text"]


def test_check_reads_the_lists_of_others_and_what_is_really_published(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client")
    pki = tmp_path / "pki"
    assert run("check")[0] == 0
    document = json.loads(run("check", "pki/client-ca.crl", "--warn", "90d", "--format", "json")[1])
    assert [(one["kind"], one["level"]) for one in document["items"]] == [("crl", "ok")] and not document["unread"]
    assert {one["kind"] for one in json.loads(run("check", "pki", "--format", "json")[1])["items"]} == {
        "ca",
        "leaf",
        "crl",
    }
    settings = (pki / "pki.toml").read_text()
    (pki / "pki.toml").write_text(settings.replace("days = 30.0", "days = 0.00001"))
    run("crl", "--client")
    assert run("check", "pki/client-ca.crl")[0] == 1
    (pki / "pki.toml").write_text(settings)
    old = (pki / "client-ca.crl").read_bytes()
    assert run("crl")[0] == 0 and run("check")[0] == 0
    (pki / "client-ca.crl").write_bytes(old)
    code, out, _ = run("check")
    assert code == 1 and "not in its file" in out
    assert run("crl", "--if-due")[0] == 0 and run("check")[0] == 0
    key = pki / "client" / "agent" / "key.pem"
    key.rename(tmp_path / "aside")
    code, out, _ = run("check")
    assert code == 1 and "key is gone" in out
    (tmp_path / "aside").rename(key)
    (pki / "client" / "agent" / "cert.pem").write_bytes((pki / "root-ca.pem").read_bytes())
    code, out, _ = run("check")
    assert code == 1 and "not the certificate" in out


def test_a_list_that_cannot_be_signed_hides_no_renewal(run: Run, tmp_path: Path) -> None:
    """The timer tells of what it renewed, and runs the hooks, although the revocation list could not be signed."""
    run("init")
    run("issue", "agent", "--client")
    run("issue", "gw", "--server", "--san", "mcp.example.com")
    settings = tmp_path / "pki" / "pki.toml"
    settings.write_text(settings.read_text().replace("days = 30.0", "days = 0.00001"))
    run("crl")
    (tmp_path / "pki" / "private" / "client" / "key-1.pem").rename(tmp_path / "aside")
    code, out, err = run("renew", "--all-due", "--within", "365", "--format", "json", "--hook", "touch hooked")
    document = json.loads(out)
    assert code == 1 and [one["name"] for one in document["certificates"]] == ["gw"]
    assert [(one["kind"], one["name"]) for one in document["failed"]] == [("leaf", "agent"), ("crl", "client-ca.crl")]
    assert "client-ca.crl was not renewed" in err and (tmp_path / "hooked").exists()


def test_a_batch_is_checked_whole_before_the_first_certificate(run: Run, tmp_path: Path) -> None:
    run("init", "--permit-client", "uri:example.com")
    run("issue", "agent-3", "--client", "--san", "spiffe://example.com/3")
    rows = [f"agent-{number},spiffe://example.com/{number}" for number in range(600)]
    fleet = tmp_path / "fleet.csv"
    fleet.write_text("\n".join(["name,sans", *rows]))
    code, _, err = run("issue", "--client", "--batch", "fleet.csv")
    assert code == 2 and "fleet.csv:5" in err and "already bears" in err
    rows[590] = "agent-590,spiffe://example.org/590"
    fleet.write_text("\n".join(["name,sans", *rows]))
    code, _, err = run("issue", "--client", "--batch", "fleet.csv", "--skip-existing")
    assert code == 2 and "fleet.csv:592" in err and "name constraints" in err
    assert len(_json(run, "list")["certificates"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--encrypt", "root"), "--encrypt needs a passphrase"),
        (("--external-key", "client=nowhere"), "names no key"),
        (("--external-key", "root=openbao-pki:pki/role"), "names no key"),
        (("--permit-client", "dns:"), "is no name constraint"),
        (("--permit-server", "colour:red"), "is no name constraint"),
    ],
)
def test_init_refuses_what_it_can_not_mean(run: Run, words: tuple[str, ...], said: str) -> None:
    code, _, error = run("init", *words)
    assert code == 2
    assert said in error
    assert not Path("pki").exists()


def test_what_people_read(run: Run) -> None:
    run("init")
    run("issue", "agent", "--client", "--san", "spiffe://mcp.internal/agent")
    old = _json(run, "show", "agent")["certificates"][0]["serial"]
    run("renew", "agent")
    shown = run("show", "agent")[1]
    assert "sans         spiffe://mcp.internal/agent" in shown and f"serial       {old}" in shown
    assert run("inspect", old)[1].split()[:2] == ["place", "ledger"]  # the name's files hold the newer one
    assert run("list", "--state", "superseded", "--server")[1].count("\n") == 1  # only the head of the table
    assert old in run("list", "--state", "superseded", "--client")[1]
    assert run("lint", "agent")[2].strip() == "no fault"
    pins = [run("fingerprint", "agent", "--spki")[1].strip()]
    pins.append(_json(run, "fingerprint", "agent")["fingerprints"][0]["spki_sha256"])
    assert pins[0] == pins[1] and pins[0] in run("fingerprint", "agent", "pki/root-ca.pem", "--spki")[1]
    assert "pki/root-ca.pem" in run("fingerprint", "agent", "pki/root-ca.pem")[1]
    assert f"revoked client certificate agent, serial {old}" in run("revoke", "agent")[1]
    code, out, err = run("revoke", "agent")
    assert (code, out) == (0, "") and "nothing to revoke" in err


def test_revocation_lists_in_words_and_as_a_document(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client")
    run("revoke", "agent")
    assert "no list is due" in run("crl", "--if-due")[2]
    code, out, _ = run("crl", "--client")
    assert code == 0 and out.startswith(str(tmp_path / "pki" / "client-ca.crl")) and "until" in out
    (client,) = _json(run, "crl", "--client")["crls"]
    (server,) = _json(run, "crl", "--server")["crls"]
    assert (client["revoked"], server["revoked"]) == (1, 0) and client["next_update"] > client["this_update"]


def test_verify_judges_at_a_moment_and_against_the_ca_it_is_given(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client")
    leaf = tmp_path / "pki" / "client" / "agent" / "cert.pem"
    assert _json(run, "verify", "agent")["accepted"]
    code, out, _ = run("verify", "agent", "--at", "2090-01-01", "--format", "json")
    assert code == 1 and not json.loads(out)["accepted"]
    assert run("init", "--dir", "other")[0] == 0
    assert run("verify", leaf, "--ca", "pki/root-ca.pem")[0] == 0
    assert run("verify", leaf, "--ca", "other/root-ca.pem")[0] == 1  # a stranger's root of the same name
    code, out, err = run("--dir", "nowhere", "verify", leaf)
    assert (code, out) == (2, "") and "no CA to verify against" in err
    code, out, err = run("verify", "pki/root-ca.pem")
    assert (code, out) == (2, "") and "--client or --server" in err


def test_a_list_that_says_nothing_lets_nobody_in(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "agent", "--client")
    published = tmp_path / "pki" / "client-ca.crl"
    good = published.read_bytes()
    published.write_bytes(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    code, out, err = run("verify", "agent")
    assert code != 0 and "client-ca.crl" in out + err
    published.write_bytes(good)
    assert run("verify", "agent")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--passphrase-env", "A", "--passphrase-file", "b"], "give one of"),
        (["--passphrase-ref", "op://vault/ca"], "takes a secret reference"),
    ],
)
def test_a_passphrase_has_one_source(words: list[str], said: str, run: Run) -> None:
    code, out, err = run("init", *words)
    assert (code, out) == (2, "") and said in err and err.count("error: ") == 1 and not Path("pki").exists()


def _at_a_terminal(words: str, directory: Path) -> contextlib.AbstractContextManager[Terminal]:
    command = f"{shlex.quote(sys.executable)} -m mcpsec certs --dir pki {words}; echo ended=$?"
    return terminal(["sh", "-c", command], directory, {**os.environ, "TERM": "xterm", "COLUMNS": "120"})


@pytest.mark.parametrize(
    ("typed", "said"),
    [(["first horse", "second horse"], "the two passphrases differ"), ([""], "the passphrase is empty")],
)
def test_a_new_passphrase_is_typed_twice(typed: list[str], said: str, tmp_path: Path) -> None:
    with _at_a_terminal("init --passphrase-prompt", tmp_path) as screen:
        for question, text in zip(("New passphrase: ", "The same again: "), typed, strict=False):
            screen.wait_for(question)
            screen.type(f"{text}\r")
        screen.wait_for("ended=")
    assert said.encode() in screen.seen and b"ended=2" in screen.seen and b"horse" not in screen.seen
    assert not (tmp_path / "pki").exists()


def test_a_typed_passphrase_guards_the_keys_and_a_fleet_shows_its_progress(tmp_path: Path) -> None:
    with _at_a_terminal("init --passphrase-prompt", tmp_path) as screen:
        for question in ("New passphrase: ", "The same again: "):
            screen.wait_for(question)
            screen.type("correct horse\r")
        screen.wait_for("ended=0")
    assert "ENCRYPTED" in (tmp_path / "pki" / "private" / "client" / "key-1.pem").read_text()
    (tmp_path / "fleet.csv").write_text("name\n" + "".join(f"agent-{number}\n" for number in range(300)))
    with _at_a_terminal("issue --batch fleet.csv --client --passphrase-prompt", tmp_path) as screen:
        screen.wait_for("Passphrase of the client CA's key: ")
        screen.type("correct horse\r")
        screen.wait_for("ended=0")
    assert b"/300" in screen.seen and b"issued 300 certificates" in screen.seen and b"horse" not in screen.seen
    with _at_a_terminal("list", tmp_path) as screen:
        screen.wait_for("ended=0")
    assert b"\x1b[32mvalid" in screen.seen


def test_the_pki_of_a_deployment_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MCPSEC_CERTS_DIR")
    config = create(tmp_path / "d" / "gate").config
    code, out, _ = run("list", "-c", config)
    assert code == 0 and "agent" in out and "gateway" in out
    assert run("-c", config, "check")[0] == run("check", "--config", config)[0] == 0
    code, _, err = run("list")
    assert code == 2 and "pki" in err
    monkeypatch.setenv("MCPSEC_CONFIG", str(config))
    assert run("list")[1] == out and _json(run, "inspect", "agent")["inspected"]
    # The directory and what is typed come first.
    assert run("--dir", tmp_path / "mine", "init")[0] == run("init")[0] == 0
    assert (tmp_path / "mine" / "pki.toml").is_file() and (tmp_path / "pki" / "pki.toml").is_file()
    assert run("list", "--dir", "mine")[1] == run("list", "-d", "pki")[1] != out
    monkeypatch.setenv("MCPSEC_CERTS_DIR", "mine")
    assert run("list")[1] != out and run("list", "-c", config)[1] == out
    monkeypatch.delenv("MCPSEC_CERTS_DIR")
    monkeypatch.delenv("MCPSEC_CONFIG")
    assert run("list")[1] != out  # ./pki
    monkeypatch.chdir(config.parent)
    shutil.move("pki", "elsewhere")
    config.write_text(config.read_text().replace('"pki/', '"elsewhere/'))
    assert run("list")[1] == out


def test_a_deployment_file_without_a_pki_is_told(run: Run, tmp_path: Path) -> None:
    config = create(tmp_path / "gate").config
    (config.parent / "pki" / "pki.toml").unlink()
    for words, said in [
        (("list", "-c", config), "not kept by mcpsec certs"),
        (("list", "-c", config, "--dir", "pki"), "exclude each other"),
        (("init", "-c", config), "where --dir says"),
        (("list", "-c", tmp_path / "none.toml"), "there is no such file"),
    ]:
        code, out, err = run(*words)
        assert (code, out) == (2, "") and said in err, words


@pytest.mark.parametrize("days", ["nan", "inf", "1e300", "-1"])
def test_a_time_that_is_none_renews_nothing(days: str, run: Run) -> None:
    run("init")
    code, out, err = run("renew", "--all-due", f"--within={days}")
    assert (code, out) == (2, "") and "--within takes 0 to 36525 days" in err
    assert run("renew", "--all-due", "--within=36525")[0] == 0


@pytest.mark.parametrize("days", ["nan", "inf", "1e300", "-1", "0"])
@pytest.mark.parametrize("which", ["client", "root"])
def test_a_ca_of_no_life_replaces_nothing(which: str, days: str, run: Run, tmp_path: Path) -> None:
    run("init")
    before = sorted(tmp_path.rglob("*.pem"))
    code, _, err = run("rotate-ca", which, f"--days={days}")
    assert code == 2 and "a CA can't live for" in err
    assert sorted(tmp_path.rglob("*.pem")) == before


def test_what_can_not_be_verified_is_told(run: Run, tmp_path: Path) -> None:
    run("init")
    run("issue", "gw", "--server", "--san", "gw.example.com", "--san", "::1")
    (tmp_path / "empty").mkdir()
    code, _, err = run("verify", "empty")
    assert code == 3 and "no certificate" in err
    for host in ("\udcff", "gw..example.com", "a b", "", "é.example.com"):
        code, _, err = run("verify", "gw", "--host", host)
        assert code == 2 and "neither a DNS name nor an IP address" in err, host
    assert run("verify", "gw", "--host", "GW.example.com")[0] == run("verify", "gw", "--host", "::1")[0] == 0
    assert run("verify", "gw", "--host", "other.example.com")[0] == 1
