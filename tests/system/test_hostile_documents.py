"""Every parser of what others send or write, against variants made to break it: an answer or a proper refusal."""

from __future__ import annotations

import base64
import json
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
