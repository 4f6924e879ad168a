"""mcpsec's own ``init`` and ``serve``, probed with the keys at hand: all is met, and each control off is seen live."""

from __future__ import annotations

import re

import pytest

from mcpsec.audit.probes import load, session
from mcpsec.audit.probes.given import Given, live_options
from mcpsec.audit.runner import Request, audit
from mcpsec.deployment.scaffold import create
from tests.audit.helpers import failing, judged
from tests.fixtures.gateway import start_gateway

LIVE = {
    "TLS001", "TLS002", "TLS003", "TLS004", "TLS005", "TLS006", "TLS007", "TLS008", "TLS009", "CRT001", "CRT002", "CRT009",
    "AUT001", "ORG001", "ORG002", "ORG003", "ORG004", "ERR001", "ERR002", "HDR001", "HDR002", "INP001", "INP002", "INP003",
    "INP004", "LOG002", "MON001", "MON003", "PRM003", "PRM004", "PRM006", "RTE003", "RTE004", "SES002", "SES003", "SIG001",
    "SIG002", "SIG003", "SIG004", "TMO003", "TOL001", "TOL002", "TOL006",
}  # fmt: skip
"""What the gateway meets, live. Bearer tokens, older sessions and pins have tests of their own."""
LIMITS = 'rate_limit = "1000/second"\nheader_timeout = "2s"\nbody_timeout = "2s"'
RATE = 'rate_limit = { rate = "6/minute", burst = 20 }'
"""What one client may do that nothing else is done with: it fills so slowly that a slow machine changes nothing."""
DENIED = "digest"
"""The tool that no client is granted: it does nothing, and requires an argument."""
GRANTED = '["demo/echo", "demo/time_now", "demo/text_statistics", "demo/convert", "demo/json_format"]'
LIMITED = ("RTE003", "RTE004")
LOAD = {*LIMITED, "TMO003", "INP001", "INP002"}
CONTROLS = {
    "signatures": (r"^require = .*", 'require = ["mtls"]', {"SIG001"}),
    "origins": (r"^allowed_origins = .*", 'allowed_origins = ["https://attacker.invalid"]', {"ORG001"}),
    "hosts": (r"^allowed_origins = .*", 'allowed_origins = []\nallowed_hosts = ["attacker.invalid"]', {"ORG002"}),
    "TLS 1.3": (r"^minimum_version = .*", 'minimum_version = "1.2"', {"TLS006"}),
    "client certificates": (r"^require = .*", 'require = ["signature"]', {"TLS002"}),
    "rate limit": (r"^rate_limit = \{.*\n", "", {"RTE003"}),
    "header timeout": (r"^header_timeout = .*", 'header_timeout = "1m"', {"TMO003"}),
    "body timeout": (r"^body_timeout = .*", 'body_timeout = "1m"', {"TMO003"}),
    "body size": (r"^body_timeout = .*", 'body_bytes = "32MiB"\nbody_timeout = "1m"', {"INP001"}),
    "grants": (r"^allow_resources = .*", 'allow_resources = ["demo/*"]', {"PRM003", "PRM004"}),
    "age of signatures": (r"^max_age = .*", 'max_age = "1h"', {"SIG003"}),
}
"""Control → what is written instead, and the checks of the endpoint that fail then."""


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    monkeypatch.setattr(session, "PACE", 0.0)
    monkeypatch.setattr(load, "GRACE", 1.0)
    monkeypatch.setattr(load, "LONGEST_BURST", 300.0)
    monkeypatch.setattr(load, "LONGEST_WINDOW", 300.0)


class Made:
    """A deployment as ``init`` writes it, with its own file for each gateway: what ``start_gateway`` needs of one."""

    def __init__(self, directory, name, text):
        self.directory = directory
        self.config = directory / f"{name}.toml"
        self.config.write_text(text)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    return create(tmp_path_factory.mktemp("own") / "d", ["agent", "second", "third"]).directory


@pytest.fixture
def serve(deployment):
    """Starts a gateway from the file as changed; gives it, and the file that says how it should be."""
    running = []

    def start(name, pattern="", replacement=""):
        text = (deployment / "mcpsec.toml").read_text()
        text = text.replace("[server.tls]", f"[server.limits]\n{LIMITS}\n\n[server.tls]", 1)
        text = text.replace('allow_resources = ["demo/*"]', f"allow_resources = {GRANTED}", 1)
        text = text.replace('\nid = "third"\n', f'\nid = "third"\n{RATE}\n')
        text = text.replace('file = "log/events.jsonl"', f'file = "log/{name}.jsonl"')
        right = Made(deployment, f"{name}-right", text)
        if pattern:
            text, count = re.subn(pattern, replacement, text, count=1, flags=re.M)
            assert count == 1
        running.append(start_gateway(Made(deployment, name, text), limit_rate=True))
        return running[-1], right.config

    yield start
    for gateway in running:
        gateway.stop()


def probed(gateway, config, *, client="agent", **more):
    """The audit of a gateway with its own files and keys."""
    pki = config.parent / "pki"
    options = live_options(
        Given(
            config=config,
            client=client,
            other_client="second",
            client_ca=pki / "client-ca.pem",
            client_ca_key=pki / "private" / "client" / "key-1.pem",
        )
    )
    options |= {"denied": [DENIED], "longest": 8.0, "window": 1.0, "metrics": f"{gateway.admin_url}/metrics"}
    request = Request(targets=[gateway.url], root=config.parent, profile="load", options=options, **more)
    return audit(request)


def states(found, *wanted):
    return {r.check for r in found.results if r.state in wanted}


def test_all_that_can_be_met_on_one_machine_is_met(serve, deployment):
    gateway, config = serve("whole")
    found = probed(gateway, config, ignore=LIMITED)
    limited = probed(gateway, config, client="third", select=LIMITED)
    told = [(r.check, r.state, r.observed) for each in (found, limited) for r in each.results if r.state != "pass"]
    assert states(found, "fail") | states(limited, "fail") == set(), told
    assert states(found, "not-assessed") | states(limited, "not-assessed") == {"CRT006"}, told
    assert states(found, "pass") | states(limited, "pass") >= LIVE, told
    assert (found.exit_code, limited.exit_code) == (0, 0)
    gateway.stop()
    log = deployment / "log" / "whole.jsonl"
    assert failing(judged(deployment, str(log), select=["LOG006", "LOG004"])) == []
    changed = log.with_name("changed.jsonl")
    changed.write_text(log.read_text().replace('"client":"agent"', '"client":"other"', 1))
    assert changed.read_text() != log.read_text()
    changed.with_name("changed.jsonl.pub").write_bytes(log.with_name("whole.jsonl.pub").read_bytes())
    assert states(judged(deployment, str(changed), select=["LOG006"]), "fail") == {"LOG006"}


@pytest.mark.parametrize("control", CONTROLS)
def test_each_control_off_turns_exactly_its_checks_red_live(control, serve):
    pattern, replacement, red = CONTROLS[control]
    gateway, config = serve(control.replace(" ", "-"), pattern, replacement)
    if red <= set(LIMITED):
        found = probed(gateway, config, client="third", select=LIMITED)
    else:
        found = probed(gateway, config, select=sorted(LIVE - LOAD | red))
    told = [(r.check, r.state, r.observed) for r in found.results if r.state != "pass"]
    assert states(found, "fail") == red, told
