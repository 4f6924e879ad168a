"""Every parser of what others send or write, against variants made to break it: an answer or a proper refusal."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings

from mcpsec.errors import Error
from tests.fixtures.mutations import examples, mutations
from tests.fixtures.pki import Authority

hostile = settings(max_examples=examples(120), suppress_health_check=list(HealthCheck))


def attack(parse: Callable[[bytes], Any], *seeds: bytes, refusals: tuple[type[Exception], ...] = (Error,)) -> None:
    """Give ``parse`` the variants; only ``refusals`` may come out of it."""

    @hostile
    @given(mutations(*seeds))
    def run(document: bytes) -> None:
        try:
            parse(document)
        except refusals:
            return

    for seed in seeds:
        parse(seed)  # the twin: what nobody changed is read
    run()


def part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


CLAIMS = {"iss": "https://login.example.com/", "aud": ["a"], "exp": 1795000000, "iat": 1794990000, "sub": "s",
          "client_id": "c", "jti": "j", "scope": "a b", "cnf": {"x5t#S256": "A" * 43}}  # fmt: skip


def test_tokens() -> None:
    from mcpsec.gateway.oauth.compact import TokenError, read_jwt

    token = f"{part({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'k'})}.{part(CLAIMS)}.{'A' * 86}"
    attack(lambda text: read_jwt(text.decode("latin-1")), token.encode(), refusals=(TokenError,))


def test_claims_of_tokens() -> None:
    """The parts of a token changed one by one, encoded again: what a hostile issuer could sign."""
    from mcpsec.gateway.oauth.compact import TokenError, read_jwt

    def parse(claims: bytes) -> None:
        body = base64.urlsafe_b64encode(claims).rstrip(b"=").decode()
        read_jwt(f"{part({'alg': 'ES256', 'typ': 'at+jwt'})}.{body}.{'A' * 86}")

    attack(parse, json.dumps(CLAIMS).encode(), refusals=(TokenError,))


def test_proofs() -> None:
    """DPoP proofs, rightly signed by whoever made them: all of their claims are the caller's."""
    from joserfc import jws
    from joserfc.jwk import ECKey

    from mcpsec.gateway.oauth.compact import TokenError
    from mcpsec.gateway.oauth.dpop import check_proof

    key = ECKey.generate_key("P-256")
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": key.as_dict(private=False)}
    ath = base64.urlsafe_b64encode(b"\x00" * 32).rstrip(b"=").decode()
    claims = {"jti": "j", "htm": "POST", "htu": "https://h.example/mcp", "iat": 1795000000, "ath": ath, "nonce": "n"}

    def parse(body: bytes) -> None:
        proof = jws.serialize_compact(header, body, key)
        try:
            check_proof(
                proof, method="POST", url="https://h.example/mcp", token="t", max_age=60, nonces=None, now=1795000000.0
            )
        except TokenError:
            return

    attack(parse, json.dumps(claims).encode())


def test_certificates(tmp_path: Path) -> None:
    from mcpsec.certs.inspection import describe
    from mcpsec.certs.lint import lint
    from mcpsec.certs.reading import load_certificates

    authority = Authority(tmp_path / "ca", "Test CA")
    made = authority.client("c", "spiffe://mcpsec.test/agent/c", trusts=authority.certificate)
    der = x509.load_pem_x509_certificate(made.certificate.read_bytes()).public_bytes(Encoding.DER)
    file = tmp_path / "their.pem"

    def parse(document: bytes) -> None:
        file.write_bytes(document)
        for certificate in load_certificates(file):
            json.dumps(describe(certificate))
            lint(certificate)

    attack(parse, made.certificate.read_bytes(), der)


def test_logs() -> None:
    from mcpsec.cli.root import main

    def parse(document: bytes) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "events.jsonl"
            file.write_bytes(document)
            assert main(["log", "tail", str(file), "-n", "5"]) in (0, 1, 2)

    event = {"schema": "mcpsec.event/1", "seq": 1, "time": "2026-11-28T10:00:00.000Z", "kind": "request", "client": "c",
             "decision": "allowed", "status": 200, "seconds": 0.01, "request": "ab", "hash": "0" * 64}  # fmt: skip
    attack(parse, (json.dumps(event) + "\n").encode() * 3)


@pytest.mark.parametrize(
    "path", ["a.env", "a.json", "a.yaml", "a.toml", "a.py", "a.ipynb", "a.tf", ".mcp.json", "a.sql"]
)
def test_texts_to_scan(path: str) -> None:
    from mcpsec.leaks import redact_bytes, scan_bytes

    seed = (
        b'{"mcpServers": {"x": {"command": "npx", "args": ["--api-key", "q7Xv2LmN8pRt4WzK"], "env": {"TOKEN": "aB3dE5fG7"}}}}\n'
        b"password: hunter2hunter2\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCYzzKEYqT1s0dU # mcpsec:allow\n"
        b"postgres://user:p4ssw0rd@db.example.com/app\nAuthorization: Basic dXNlcjpwYXNzd29yZA==\n"
        b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA==\n-----END EC PRIVATE KEY-----\n"
    )

    def parse(document: bytes) -> None:
        for finding in scan_bytes(document, path=path, confidence="low"):
            assert 1 <= finding.line <= document.count(b"\n") + document.count(b"\r") + 1
        redact_bytes(document)

    attack(parse, seed, refusals=())


PATCH = (
    b"commit 0123456789012345678901234567890123456789\n\ndiff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n"
    b"@@ -1,2 +3,2 @@ def f():\n-old\n-older\n+new\n+newer\n\\ No newline at end of file\n"
    b'diff --git "a/\\303\\274.txt" "b/\\303\\274.txt"\n--- /dev/null\n+++ "b/\\303\\274.txt"\n@@ -0,0 +1 @@\n+text\n'
)


def test_patches() -> None:
    """What git prints of other people's commits; a line that is read stands in the patch as an added one."""
    from mcpsec.leaks.patches import added

    def parse(patch: bytes) -> None:
        lines = patch.split(b"\n")
        for file in added(patch):
            for number, line in enumerate(file.text.removesuffix(b"\n").split(b"\n"), 1):
                assert b"+" + line in lines
                assert file.line_of(number) >= 0

    attack(parse, PATCH, refusals=())


def test_trace_contexts() -> None:
    """What is taken is what the specification calls valid, and what is handed on is well-formed."""
    from mcpsec.gateway.steps.trace import parse_traceparent

    shape = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")

    def parse(document: bytes) -> None:
        parent, _, state = document.decode("latin-1").partition(" ")
        found = parse_traceparent(parent, state)
        if found is not None:
            assert shape.fullmatch(found.traceparent)
            assert len(found.state) <= 512
            assert found.state.isascii() and (not found.state or found.state.isprintable())

    good = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 vendor=1,other=2"
    attack(parse, good, good.replace(b"00-4", b"cc-4", 1).replace(b"-01 ", b"-01-more "), refusals=())


def test_names_in_a_deployment_file_for_completions(tmp_path: Path) -> None:
    """A shell completes from a file that may have been downloaded: only harmless names come out of awk."""
    from mcpsec.cli.shells.tree import CLIENTS_PROGRAM, UPSTREAMS_PROGRAM

    file = tmp_path / "mcpsec.toml"
    good = b'version = 1\n[upstreams.files]\nurl = "x"\n[[clients]]\nid = "agent"\n[[clients]]\nid = \'b:c@d\'\n[[rules]]\n'
    wanted = {
        CLIENTS_PROGRAM: rb"(?:[A-Za-z0-9][A-Za-z0-9._:@/-]*\n)*",
        UPSTREAMS_PROGRAM: rb"(?:[a-z0-9][a-z0-9-]*\n)*",
    }
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}

    def parse(document: bytes) -> None:
        file.write_bytes(document)
        for program, shape in wanted.items():
            run = subprocess.run(["awk", program, str(file)], capture_output=True, env=environment)
            assert re.fullmatch(shape, run.stdout), run.stdout

    attack(parse, good, refusals=())


# Each parser of what a peer, a server, a file of somebody else's or a downloaded repository says, and the test that
# makes variants of it. A new parser gets a line here.
PARSERS = {
    "mcpsec/gateway/connection.py": "gateway/attacks/test_fuzz_http.py",
    "mcpsec/protocol/jsonrpc.py": "protocol/test_jsonrpc.py",
    "mcpsec/protocol/headers.py": "protocol/test_headers.py",
    "mcpsec/protocol/param_headers.py": "protocol/test_param_headers.py",
    "mcpsec/protocol/sse.py": "protocol/test_sse.py",
    "mcpsec/protocol/stdio.py": "protocol/test_stdio.py",
    "mcpsec/signing/verifier.py": "signing/test_verifier.py",
    "mcpsec/gateway/oauth/compact.py": "system/test_hostile_documents.py",
    "mcpsec/gateway/oauth/introspection.py": "gateway/oauth/test_hostile_answers.py",
    "mcpsec/gateway/oauth/keyset.py": "gateway/oauth/test_hostile_answers.py",
    "mcpsec/gateway/oauth/issuer.py": "gateway/oauth/test_hostile_answers.py",
    "mcpsec/gateway/upstreams/http_client.py": "gateway/upstreams/test_hostile_answers.py",
    "mcpsec/connect/oauth/discovery.py": "connect/oauth/test_discovery.py",
    "mcpsec/gateway/state/resp.py": "gateway/state/test_resp.py",
    "mcpsec/gateway/pins/lock.py": "gateway/pins/test_lock.py",
    "mcpsec/gateway/policy/globs.py": "gateway/policy/test_globs.py",
    "mcpsec/gateway/steps/trace.py": "system/test_hostile_documents.py",
    "mcpsec/deployment/loading.py": "deployment/test_loading.py",
    "mcpsec/secretrefs/reference.py": "secretrefs/test_reference.py",
    "mcpsec/certs/reading.py": "system/test_hostile_documents.py",
    "mcpsec/certs/names.py": "certs/test_names.py",
    "mcpsec/clientfiles/jsonc.py": "clientfiles/test_jsonc_edit.py",
    "mcpsec/clientfiles/toml.py": "clientfiles/test_toml.py",
    "mcpsec/clientfiles/yamllight.py": "clientfiles/test_yaml_edit.py",
    "mcpsec/audit/readers": "audit/test_hostile_files.py",
    "mcpsec/telemetry/verify.py": "system/test_hostile_documents.py",
    "mcpsec/leaks/detection.py": "system/test_hostile_documents.py",
    "mcpsec/leaks/redaction.py": "leaks/test_redaction.py",
    "mcpsec/leaks/patches.py": "system/test_hostile_documents.py",
    "mcpsec/leaks/history.py": "leaks/test_hostile_repositories.py",
    "mcpsec/leaks/gitscan.py": "leaks/test_hostile_repositories.py",
    "mcpsec/cli/shells/tree.py": "system/test_hostile_documents.py",
    "mcpsec/certs/csr.py": "system/test_hostile_files.py",
    "mcpsec/certs/crl.py": "system/test_hostile_files.py",
    "mcpsec/certs/batch.py": "system/test_hostile_files.py",
    "mcpsec/leaks/archives.py": "system/test_hostile_files.py",
    "mcpsec/leaks/configuration.py": "system/test_hostile_files.py",
    "mcpsec/leaks/gitignore.py": "system/test_hostile_files.py",
    "mcpsec/audit/probes/wire.py": "system/test_hostile_files.py",
    "mcpsec/connect/http1.py": "system/test_hostile_files.py",
    "mcpsec/gateway/policy/confirmation.py": "gateway/policy/test_confirmation.py",
}


@pytest.mark.parametrize("parser", PARSERS)
def test_every_parser_of_hostile_input_has_its_fuzz_test(parser: str) -> None:
    root = Path(__file__).parents[2]
    assert (root / parser).exists(), "moved: name its new place"
    text = (root / "tests" / PARSERS[parser]).read_text()
    assert re.search(r"@given\(|mutations\(|attack\(|Fuzzer", text)
