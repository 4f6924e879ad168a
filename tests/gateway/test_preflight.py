"""``config check`` looks into certificates: what keeps clients away is told before the gateway runs."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose
from mcpsec.cli.root import main
from mcpsec.deployment import Problem, load
from mcpsec.deployment.scaffold import create
from mcpsec.gateway.preflight import judge_certificates, judge_keys
from tests.fixtures.pki import Authority

NAME = "clients that are told mcp.example.com refuse the gateway's certificate"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return create(tmp_path / "d").config


def after(config: Path, days: float) -> list[Problem]:
    return judge_certificates(load(config), datetime.now(UTC) + timedelta(days=days))


def said(problems: list[Problem]) -> dict[str, str]:
    """The first word about each key."""
    return {problem.key: f"{problem.severity}: {problem.message}" for problem in reversed(problems)}


def without_list(config: Path) -> None:
    config.write_text(re.sub(r"(?m)^crl = .*\n", "", config.read_text()))


def put(config: Path, certificate: Path, key: Path | None = None) -> None:
    """Other files where the gateway's own are."""
    tls = load(config).server.tls
    shutil.copyfile(certificate, tls.certificate)
    if key is not None:
        shutil.copyfile(key, tls.key)


def test_a_new_deployment_has_nothing_to_say(config: Path) -> None:
    assert after(config, 0) == []


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (59, "warning: the gateway's certificate ends on "),
        (61, "warning: the gateway's certificate ends on "),
        (91, "error: no client can connect: the gateway's certificate ended on "),
        (-1, "error: no client can connect: the gateway's certificate begins only on "),
    ],
)
def test_the_life_of_the_gateways_certificate(config: Path, days: float, expected: str) -> None:
    without_list(config)
    found = said(after(config, days))
    if days == 59:  # a day before a third of its life is left
        assert found == {}
    else:
        assert found["server.tls.certificate"].startswith(expected)


def test_the_life_of_client_authorities_and_lists(config: Path) -> None:
    life = "error: no client can connect: "
    assert said(after(config, 20))["server.tls.crl"].startswith("warning: the revocation list ends on ")
    assert said(after(config, 31))["server.tls.crl"].startswith(f"{life}the revocation list ended on ")
    found = said(after(config, 3700))
    assert found["server.tls.client_ca"].startswith(f"{life}a client CA ended on ")


def test_one_client_authority_that_lives_is_enough(config: Path, tmp_path: Path) -> None:
    without_list(config)
    bundle = load(config).server.tls.client_ca
    old = Authority(tmp_path / "old", "Old CA")  # ends in 30 days
    bundle.write_bytes(bundle.read_bytes() + old.certificate.read_bytes())
    found = [problem for problem in after(config, 31) if problem.key == "server.tls.client_ca"]
    assert [(one.severity, one.message[:50]) for one in found] == [
        ("warning", "its clients can't connect: a client CA ended on " + found[0].message[48:50])
    ]
    bundle.write_bytes(old.certificate.read_bytes())
    assert said(after(config, 31))["server.tls.client_ca"].startswith("error: no client can connect: a client CA ended")


def test_a_certificate_that_is_no_servers(config: Path) -> None:
    own = config.parent / "pki" / "client" / "agent"
    put(config, own / "chain.pem", own / "key.pem")
    found = after(config, 0)
    assert [(one.severity, one.key) for one in found[:1]] == [("error", "server.tls.certificate")]
    assert "not for a TLS server (no serverAuth in it)" in found[0].message
    assert all(one.severity == "warning" and "none of its names" in one.message for one in found[1:])


def test_a_key_of_another_is_told_as_serve_tells_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(config, config.parent / "pki" / "client" / "agent" / "chain.pem")
    assert main(["config", "check", "-c", str(config)]) == 2
    checked = capsys.readouterr().out
    assert main(["serve", "-c", str(config), "--listen", "127.0.0.1:0"]) == 2
    served = capsys.readouterr().err
    message = f"{load(config).server.tls.certificate}: the key is another certificate's"
    assert message in checked and message in served


def test_names_that_clients_are_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = config.read_text()
    config.write_text(text.replace("[server.tls]", 'public_url = "https://mcp.example.com:8443/mcp"\n[server.tls]', 1))
    (problem,) = after(config, 0)
    assert (problem.severity, problem.key) == ("warning", "server.tls.certificate") and NAME in problem.message
    assert main(["config", "check", "-c", str(config)]) == 0
    shown = capsys.readouterr()
    assert f": warning: {NAME}" in shown.out and shown.err == "1 warning\n"
    assert main(["config", "check", "-c", str(config), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True and [one["severity"] for one in document["problems"]] == ["warning"]
    for sans in (["mcp.example.com"], ["*.example.com"], ["MCP.example.COM", "192.0.2.1"]):
        with Pki.open(config.parent / "pki") as pki:
            pki.issue("gateway", Purpose.SERVER, sans=sans, replace=True)
        assert after(config, 0) == [], sans
    for sans in (["*.mcp.example.com"], ["example.com"], ["192.0.2.1"]):
        with Pki.open(config.parent / "pki") as pki:
            pki.issue("gateway", Purpose.SERVER, sans=sans, replace=True)
        assert NAME in after(config, 0)[0].message, sans


def test_an_ended_certificate_fails_the_check(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority(tmp_path / "ca")
    ended = authority.client("gateway", "spiffe://example.com/gateway", trusts=authority.certificate, ended=True)
    put(config, ended.certificate, ended.key)
    assert main(["config", "check", "-c", str(config)]) == 2
    assert "no client can connect: the gateway's certificate ended on" in capsys.readouterr().out


def test_a_client_ca_that_is_none(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(config).server.tls.client_ca.write_text("no certificate at all\n")
    assert main(["config", "check", "-c", str(config)]) == 2
    assert "no client CA can be read from this file" in capsys.readouterr().out


def test_secrets_that_are_no_keys_are_told_beforehand(config: Path) -> None:
    """``serve`` refuses to start with them; what ``init`` and ``sign keygen`` make is one."""
    (secret,) = (config.parent / "secrets").iterdir()
    shutil.copy(secret, config.parent / "approval.key")
    text = config.read_text() + '\n[approval]\nsecret = { file = "approval.key" }\n'
    config.write_text(text + '\n[state]\nhandle_key = { file = "approval.key" }\n')
    assert judge_keys(load(config)) == []
    secret.write_text("short")
    (config.parent / "approval.key").write_text("\n")
    found = said(judge_keys(load(config)))
    assert "has 5 bytes; 32 are the least" in found["clients[0].signing_keys[0].secret"]
    assert all("is empty" in found[key] for key in ("approval.secret", "state.handle_key"))
    secret.unlink()  # said by the check of files, and not twice
    assert set(said(judge_keys(load(config)))) == {"approval.secret", "state.handle_key"}


@pytest.mark.parametrize(
    "named", ["", 'allowed_hosts = ["localhost:8443"]', 'public_url = "https://localhost:8443/mcp"']
)
@pytest.mark.parametrize("address", ["0.0.0.0", "[::]", "127.0.0.1"])
def test_a_gateway_on_every_address_needs_a_name(address: str, named: str, config: Path) -> None:
    config.write_text(config.read_text().replace('listen = "127.0.0.1:8443"', f'listen = "{address}:8443"\n{named}'))
    expected = {}
    if not named and address != "127.0.0.1":
        expected["server.listen"] = (
            f"warning: clients are refused with 421: their Host header is not {address}:8443, and no other is allowed"
        )
    assert said(after(config, 0)) == expected
