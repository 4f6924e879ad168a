"""For checks that no other table has: a target that fails it, and the same done right."""

from __future__ import annotations

import json

import pytest

from mcpsec.deployment.scaffold import create
from tests.audit.helpers import failing, judged
from tests.fixtures.pki import Authority

PASSWORD = "aV3ry-l0ng-and-random-w0rd"
RULES = """\
groups:
- name: mcp
  rules:
  - alert: A
    expr: mcpsec_authentication_failures_total > 1
  - alert: B
    expr: {} > 1
"""
TOOL = {
    "name": "run",
    "description": "Runs.",
    "inputSchema": {"type": "object", "properties": {"command": {"type": "string"}}},
}
BOUND = {**TOOL, "inputSchema": {"type": "object", "properties": {"command": {"type": "string", "enum": ["date"]}}}}
EVENT = {"time": "2026-11-20T10:00:00Z", "client": "a", "method": "tools/call", "tool": "echo", "decision": "allowed"}
CLIENT = {"mcpServers": {"x": {"command": "/opt/mcp/server", "args": ["/srv/data"]}}}
THROUGH = {"mcpServers": {"x": {"command": "mcpsec", "args": ["connect", "https://127.0.0.1:8443/mcp"]}}}


def changed(old, new, *, more=""):
    """A deployment as ``init`` writes it, with one thing changed."""

    def write(directory):
        made = create(directory / "d", ["agent", "second"]).directory
        text = (made / "mcpsec.toml").read_text()
        assert old in text
        (made / "mcpsec.toml").write_text(text.replace(old, new) + more)

    return write


def named(texts):
    def write(directory):
        for name, text in texts.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
            (directory / name).chmod(0o640)

    return write


def logged(mode):
    """A log of one event with a mode."""

    def write(directory):
        (directory / "a.jsonl").write_text(json.dumps(EVENT) + "\n")
        (directory / "a.jsonl").chmod(mode)

    return write


def _without_key(directory):
    made = create(directory / "d", ["agent"]).directory
    for key in (made / "pki" / "private" / "server").glob("*.pem"):
        key.unlink()


def keys(same_key, same_pair):
    """Two certificates: with one key or two; the first with its own key beside it or with the other's."""

    def write(directory):
        authority = Authority(directory / "ca", "CA")
        one = authority.client("one", "spiffe://t/one", trusts=authority.certificate)
        two = authority.client("two", "spiffe://t/two", trusts=authority.certificate)
        (directory / "pair").mkdir()
        (directory / "pair" / "cert.pem").write_bytes(one.certificate.read_bytes())
        (directory / "pair" / "key.pem").write_bytes((one if same_pair else two).key.read_bytes())
        (directory / "pair" / "key.pem").chmod(0o600)
        if same_key:
            from cryptography import x509

            leaf = x509.load_pem_x509_certificate(one.certificate.read_bytes())
            text = _again(authority, leaf)
            (directory / "ca" / "two.pem").write_bytes(text)

    return write


def _again(authority, leaf):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    builder = x509.CertificateBuilder(
        issuer_name=leaf.issuer, subject_name=leaf.subject, public_key=leaf.public_key(),
        serial_number=x509.random_serial_number(), not_valid_before=leaf.not_valid_before_utc,
        not_valid_after=leaf.not_valid_after_utc, extensions=list(leaf.extensions),
    )  # fmt: skip
    return builder.sign(authority._key, hashes.SHA256()).public_bytes(Encoding.PEM)


INIT = 'allow_methods = ["read"]'
ALL = 'allow_methods = ["read", "write", "execute"]'
COMMAND = '\n[upstreams.files]\ncommand = ["mcp-server-filesystem", "/srv/data"]\n'
OAUTH = """
[auth.oauth]
issuer = "https://login.acme.io/"
audience = "https://mcp.acme.io/mcp"
sender_constrained = {}
"""
REFERENCE = 'secret = { file = "secrets/agent.hmac" }'
SECRET = 'secret = { command = ["op", "read", "op://mcp/agent/hmac"] }'
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: mcp-server, namespace: mcp}\nspec: {containers: [{name: mcp, image: 'a/mcp:1'}]}\n"
NETWORK = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: n, namespace: mcp}\nspec: {podSelector: {}}\n"
ENVIRONMENT = "services:\n  mcp:\n    image: acme/mcp:1.0\n    environment: {API_TOKEN: '${API_TOKEN}'}\n"
MOUNTED = "services:\n  mcp:\n    image: acme/mcp:1.0\n    environment: {API_TOKEN_FILE: /run/secrets/t}\n    secrets: [t]\nsecrets: {t: {file: ./t}}\n"

PAIRS = {
    "CRT004": ("a certificate beside another one's key", keys(False, False), keys(False, True)),
    "CRT005": (
        "a server authority whose key is elsewhere, so that serve can't renew",
        lambda directory: _without_key(directory),
        changed(INIT, INIT),
    ),
    "LOG005": ("a log that everybody may read", logged(0o644), logged(0o640)),
    "CRT008": ("two certificates with one key", keys(True, True), keys(False, True)),
    "PRM002": (
        "a role that names tools and no kind of use",
        changed(INIT, ""),
        changed(INIT, INIT),
    ),
    "PRM009": ("clients that may all do everything", changed(INIT, ALL), changed(INIT, INIT)),
    "LOG004": (
        "a log that does not say who",
        named({"a.jsonl": json.dumps({key: EVENT[key] for key in ("time", "method", "tool")}) + "\n"}),
        named({"a.jsonl": json.dumps(EVENT) + "\n"}),
    ),
    "SEC002": ("a secret by environment", named({"compose.yaml": ENVIRONMENT}), named({"compose.yaml": MOUNTED})),
    "SEC005": (
        "a secret in a plain file",
        changed(INIT, INIT),
        lambda directory: _managed(directory),
    ),
    "MON002": (
        "rules that watch one counter",
        named({"rules.yaml": RULES.format("mcpsec_up")}),
        named({"rules.yaml": RULES.format("mcpsec_rate_limited_total")}),
    ),
    "AUT006": (
        "tokens that are good in anybody's hands",
        lambda at: _oauth(at, "false"),
        lambda at: _oauth(at, "true"),
    ),
    "TOL003": (
        "one tool's name at two servers",
        named({"a.json": json.dumps({"tools": [BOUND]}), "b.json": json.dumps({"tools": [BOUND]})}),
        named({"a.json": json.dumps({"tools": [BOUND]}), "b.json": json.dumps({"tools": [{**BOUND, "name": "b"}]})}),
    ),
    "TOL007": (
        "a command without bounds",
        named({"a.json": json.dumps({"tools": [TOOL]})}),
        named({"a.json": json.dumps({"tools": [BOUND]})}),
    ),
    "DEP006": (
        "a program without a sandbox",
        changed(INIT, INIT, more=COMMAND),
        changed(INIT, INIT, more=f'{COMMAND}[upstreams.files.sandbox]\nread = ["/srv/data"]\n'),
    ),
    "DEP007": ("a pod without a network policy", named({"pod.yaml": POD}), named({"pod.yaml": POD + NETWORK})),
    "SHD001": (
        "a client's server that goes round the gateway",
        lambda directory: (changed(INIT, INIT)(directory), named({".mcp.json": json.dumps(CLIENT)})(directory)),
        lambda directory: (changed(INIT, INIT)(directory), named({".mcp.json": json.dumps(THROUGH)})(directory)),
    ),
}
"""Check → what fails it in words, a writer of that, and a writer of the same done right."""


def _oauth(directory, bound):
    made = create(directory / "d", ["agent"]).directory
    text = (made / "mcpsec.toml").read_text()
    text = text.replace('["mtls", "signature"]', '["mtls", "bearer"]')
    text = text.replace('\nid = "agent"\n', '\nid = "agent"\noauth = { subject = "agent" }\n')
    (made / "mcpsec.toml").write_text(text + OAUTH.format(bound))


def _managed(directory):
    made = create(directory / "d", ["agent"]).directory
    text = (made / "mcpsec.toml").read_text()
    (made / "mcpsec.toml").write_text(text.replace(REFERENCE, SECRET))


@pytest.mark.parametrize("check", PAIRS)
def test_what_fails_fails_and_done_right_passes(check, tmp_path):
    _, wrong, right = PAIRS[check]
    for name, write in (("wrong", wrong), ("right", right)):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    found = judged(tmp_path / "wrong", select=[check])
    assert {r.check for r in failing(found)} == {check}, [(r.check, r.state, r.observed) for r in found.results]
    found = judged(tmp_path / "right", select=[check])
    assert failing(found) == [], [(r.check, r.observed) for r in failing(found)]
