"""mcpsec's own ``init`` and ``serve``, probed with the keys at hand: all is met, and each control off is seen live."""

from __future__ import annotations

import re

import pytest

from mcpsec.audit.probes import load, session
from mcpsec.audit.probes.given import Given, live_options
from mcpsec.audit.runner import Request, audit
from mcpsec.deployment.scaffold import create
from tests.audit.helpers import failing
from tests.fixtures.gateway import start_gateway

LIVE = {
    "TLS001", "TLS002", "TLS003", "TLS004", "TLS005", "TLS006", "TLS007", "TLS008", "TLS009", "CRT001", "CRT002", "CRT009",
    "AUT001", "ORG001", "ORG002", "ORG003", "ORG004", "ERR001", "ERR002", "HDR001", "HDR002", "INP001", "INP002", "INP003",
    "INP004", "LOG002", "MON001", "MON003", "PRM003", "PRM004", "PRM006", "RTE003", "RTE004", "SES002", "SES003", "SIG001",
    "SIG002", "SIG003", "SIG004", "TMO003", "TOL001", "TOL002", "TOL006",
}  # fmt: skip
"""What the gateway meets, live. Bearer tokens, older sessions and pins have tests of their own."""
RATE = 'rate_limit = { rate = "5/second", burst = 120 }\nheader_timeout = "2s"\nbody_timeout = "2s"'
CONTROLS = {
    "signatures": (r"^require = .*", 'require = ["mtls"]', {"SIG001"}),
    "origins": (r"^allowed_origins = .*", 'allowed_origins = ["https://attacker.invalid"]', {"ORG001"}),
    "rate limit": (r"^rate_limit = .*", 'rate_limit = "off"', {"RTE003"}),
    "header timeout": (r"^header_timeout = .*", 'header_timeout = "1m"', {"TMO003"}),
    "body timeout": (r"^body_timeout = .*", 'body_timeout = "1m"', {"TMO003"}),
    "age of signatures": (r"^max_age = .*", 'max_age = "1h"', {"SIG003"}),
}
"""Control → what is written instead, and the checks of the endpoint that fail then."""


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    monkeypatch.setattr(session, "PACE", 0.0)
    monkeypatch.setattr(load, "GRACE", 1.0)


class Made:
    """A deployment as ``init`` writes it, with its own file for each gateway: what ``start_gateway`` needs of one."""

    def __init__(self, directory, name, text):
        self.directory = directory
        self.config = directory / f"{name}.toml"
        self.config.write_text(text)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    return create(tmp_path_factory.mktemp("own") / "d", ["agent", "second"]).directory


@pytest.fixture
def probed(deployment):
    """Starts a gateway from the file as changed, and audits it with its own files and keys."""
    running = []

    def run(name, pattern="", replacement="", *, profile="load", **more):
        text = (deployment / "mcpsec.toml").read_text()
        text = text.replace("[server.tls]", f"[server.limits]\n{RATE}\n\n[server.tls]", 1)
        text = text.replace('file = "log/events.jsonl"', f'file = "log/{name}.jsonl"')
        judged_by = Made(deployment, f"{name}-judged", text)
        if pattern:
            text, count = re.subn(pattern, replacement, text, count=1, flags=re.M)
            assert count == 1
        made = Made(deployment, name, text)
        running.append(start_gateway(made, limit_rate=True))
        pki = deployment / "pki"
        options = live_options(
            Given(
                config=made.config if not pattern else judged_by.config,
                client="agent",
                other_client="second",
                client_ca=pki / "client-ca.pem",
                client_ca_key=pki / "private" / "client" / "key-1.pem",
            )
        )
        options |= {"longest": 8.0, "window": 1.0, "metrics": f"{running[-1].admin_url}/metrics"}
        return audit(
            Request(
                targets=[running[-1].url], root=deployment, profile=profile, options=options, persona="auditor", **more
            )
        )

    yield run
    for gateway in running:
        gateway.stop()


def test_all_that_can_be_met_on_one_machine_is_met(probed):
    found = probed("whole")
    assert [(r.check, r.observed) for r in failing(found)] == []
    unknown = {r.check: r.observed for r in found.results if r.state == "not-assessed"}
    assert set(unknown) == {"CRT006"}, unknown
    assert {r.check for r in found.results if r.state == "pass"} >= LIVE
    assert found.exit_code == 0


@pytest.mark.parametrize("control", CONTROLS)
def test_each_control_off_turns_exactly_its_checks_red_live(control, probed):
    pattern, replacement, red = CONTROLS[control]
    checks = [
        check
        for check in sorted(LIVE)
        if not check.startswith(("RTE", "TMO", "INP001", "INP002")) or any(check[:3] == each[:3] for each in red)
    ]
    found = probed(control.replace(" ", "-"), pattern, replacement, select=checks)
    told = [(r.check, r.state, r.observed) for r in found.results if r.state != "pass"]
    assert {r.check for r in failing(found)} == red, told
