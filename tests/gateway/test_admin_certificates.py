"""An admin listener with administrators: their certificates get in over mutual TLS, nobody else's do."""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mcpsec.certs import Pki, Purpose
from tests.fixtures.deployments import EVERYTHING, TESTER
from tests.fixtures.gateway import Gateway
from tests.fixtures.pki import Authority, Identity, tlv
from tests.fixtures.processes import PATIENCE, wait_until
from tests.gateway.test_trust_upkeep import Wallet, deployment_of, serving


def fetch(running: Gateway, path: str, identity: Identity) -> int:
    assert running.admin_url is not None
    parts = urlsplit(running.admin_url)
    assert parts.scheme == "https"
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, context=identity.client_context(), timeout=60
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_administrators_get_in(deployment: Any, gateway: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}})
    made.document["server"]["admin"] = {"listen": "127.0.0.1:0", "administrators": [{"san": TESTER}]}
    made.write()
    running = gateway(made)
    for path in ("/healthz", "/metrics", "/dashboard", "/dashboard/data"):
        assert fetch(running, path, made.client) == 200
        assert fetch(running, path, made.other) == 403
    with pytest.raises(OSError):
        fetch(running, "/metrics", made.stranger)
    bare = ssl.create_default_context(cafile=str(made.client.ca))
    with pytest.raises(OSError):
        assert running.admin_url is not None
        parts = urlsplit(running.admin_url)
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=bare, timeout=60)
        connection.request("GET", "/metrics")
        connection.getresponse()
    reasons = wait_until(
        lambda: (
            (found := {event.get("reason") for event in made.events()}) >= {"admin: no client certificate"} and found
        ),
        "the refused handshake in the log",
    )
    assert "admin: not an administrator's certificate" in reasons


def test_administrators_of_a_ca_of_their_own(deployment: Any, gateway: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}})
    operators = Authority(made.directory / "pki" / "operators", "Operators")
    anna = operators.client("anna", "spiffe://mcpsec.test/operator/anna", trusts=made.client.ca)
    made.document["server"]["admin"] = {
        "listen": "127.0.0.1:0",
        "administrators": [{"san": "spiffe://mcpsec.test/operator/anna"}],
        "client_ca": str(operators.certificate),
    }
    made.write()
    running = gateway(made)
    assert fetch(running, "/metrics", anna) == 200
    with pytest.raises(OSError):
        fetch(running, "/metrics", made.client)


def test_an_administrators_name_is_found_in_whatever_form_it_is_written(deployment: Any, gateway: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}})
    operators = Authority(made.directory / "pki" / "operators", "Operators")
    names = {
        "anna": tlv(0x82, b"anna.example.com"),
        "bob": tlv(0x87, ipaddress.ip_address("2001:db8::7").packed),
        "eve": tlv(0x82, b"anna.example.com.evil.example"),
    }
    anna, bob, eve = (operators.odd(who, tlv(0x30, name), trusts=made.client.ca) for who, name in names.items())
    made.document["server"]["admin"] = {
        "listen": "127.0.0.1:0",
        "administrators": [{"san": "Anna.Example.com"}, {"san": "2001:DB8:0::7"}],
        "client_ca": str(operators.certificate),
    }
    made.write()
    running = gateway(made)
    assert [fetch(running, "/metrics", each) for each in (anna, bob, eve)] == [200, 200, 403]


def test_the_admin_listener_goes_back_to_no_older_list_either(tmp_path: Path) -> None:
    """Here clients prove themselves by signatures, and only administrators by certificates."""
    with Pki.create(tmp_path / "pki") as pki:
        made = deployment_of(tmp_path, pki)
        bob, crl = Wallet(pki, tmp_path / "wallet").identity, pki.authority(Purpose.CLIENT).crl_file
        made.document["server"]["admin"]["administrators"] = [{"san": "spiffe://mcp.internal/client/bob"}]
        key = {"id": "bob-1", "secret": {"file": made.secret.name}}
        made.document["clients"] = [{"id": "bob", "signing_keys": [key], **EVERYTHING}]
        made.document["auth"] = {"require": ["signature"]}
        made.write()
        before = crl.read_bytes()
        with serving(made) as running:
            assert fetch(running, "/metrics", bob) == 200
            pki.revoke("bob", purpose=Purpose.CLIENT)
            wait_until(lambda: not gets_in(running, bob), "the revoked administrator to be kept out")
            crl.write_bytes(before)
            wait_until(lambda: "admin listener's changed TLS files" in running.stderr(), "the older list to be refused")
            assert "internal error" not in running.stderr() and not gets_in(running, bob)
            assert running.stderr().count("admin listener's changed TLS files") == 1
            running.expected += [r".*the admin listener's changed TLS files.*", r"\s*hint.*"]
        refused = subprocess.run(
            [sys.executable, "-m", "mcpsec", "serve", "-c", str(made.config)],
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert refused.returncode == 2 and "older than the newest one used here" in refused.stderr


def gets_in(running: Gateway, identity: Identity) -> bool:
    try:
        return fetch(running, "/metrics", identity) == 200
    except OSError:
        return False


def test_an_admin_listener_for_everybody_is_refused(deployment: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from mcpsec.cli.root import main

    made = deployment({"demo": {"builtin": "demo"}})
    made.document["server"]["admin"] = {"listen": "0.0.0.0:9464"}
    made.write()
    assert main(["config", "check", "-c", str(made.config), "--format", "json"]) == 2
    assert any("administrators" in str(problem) for problem in json.loads(capsys.readouterr().out).values())


def test_named_arguments_are_in_the_log_and_no_others(deployment: Any, gateway: Any) -> None:
    from tests.fixtures.raw import RawClient, call

    made = deployment({"demo": {"builtin": "demo"}})
    made.document["log"]["arguments"] = {"demo/ec*": ["text"]}
    made.write()
    running = gateway(made)
    with RawClient(running) as client:
        assert client.post(call("echo", {"text": "in-clear"})).status == 200
        client.post(call("digest", {"text": "not-in-clear"}))
        secret = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
        client.post(call("echo", {"text": secret}))
    running.stop()
    events = [event for event in made.events() if "status" in event]
    assert events[0]["arguments"] == {"text": "in-clear"}
    assert "arguments" not in events[1]
    assert secret not in made.log.read_text()
    assert "arguments" in events[2]
