"""A real authorization server and a resource server that demands its tokens, as one Node process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mcpsec.connect import Credentials
from mcpsec.connect.oauth.jose import b64url
from tests.fixtures.node import NodeParts
from tests.fixtures.pki import Authority, Identity
from tests.fixtures.processes import spawn, wait_for_file

SCRIPT = Path(__file__).with_name("servers.mjs")
SECRET = "only-a-test-secret-of-a-machine %+/"
AGENT = "spiffe://mcpsec.test/agent/oauth"


@dataclass
class Servers:
    """``issuer`` and ``resource`` are URLs; ``ca`` is the authority of both servers' certificates."""

    issuer: str
    resource: str
    ca: Path
    agent: Identity
    clients: Authority
    log: Path
    directory: Path
    stop: Callable[[], None] = field(repr=False)

    def credentials(self, *, certificate: bool = True) -> Credentials:
        if not certificate:
            return Credentials.load(ca=self.ca)
        return Credentials.load(certificate=self.agent.certificate, key=self.agent.key, ca=self.ca)

    def said(self, what: str) -> list[list[Any]]:
        """What the endpoints were asked, or why the resource refused."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("[")]
        return [line[1:] for line in lines if line[0] == what]

    def grants(self) -> list[str]:
        """The grants that the token endpoint was asked for and gave, in order."""
        return [line[1] for line in self.said("endpoint") if line[0] == "/token" and line[2] == 200]


def _machines(agent: Identity) -> list[dict[str, Any]]:
    """Clients that are registered beforehand, one for each way to authenticate."""
    key = load_pem_private_key(agent.key.read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    numbers = key.public_key().public_numbers()
    x, y = (b64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    both = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
    bound = {**both, "tls_client_certificate_bound_access_tokens": True}
    return [
        {"client_id": "by-secret", "client_secret": SECRET, **bound},
        {
            "client_id": "by-key",
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256"}]},
            **bound,
        },
        {
            "client_id": "by-certificate",
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_san_uri": AGENT,
            **bound,
        },
    ]


def start_servers(directory: Path, parts: NodeParts, **config: Any) -> Servers:
    """Start both; ``features`` switches what the authorization server offers."""
    parts.script("oidc-provider", "package.json")
    servers, clients = Authority(directory / "as", "OAuth servers"), Authority(directory / "clients", "OAuth clients")
    server = servers.server("server", trusts=clients.certificate)
    agent = clients.client("agent", AGENT, trusts=servers.certificate)
    settings = {
        "key": str(server.key),
        "certificate": str(server.certificate),
        "clientCa": str(clients.certificate),
        "clients": _machines(agent),
        "features": {},
        "tokenSeconds": 600,
        **config,
    }
    file, ready, log = directory / "oauth.json", directory / "ready.json", directory / "oauth.log"
    file.write_text(json.dumps(settings))
    with log.open("w") as output:
        command = [parts.node, str(SCRIPT), str(parts.directory), str(file), str(ready)]
        process = spawn(command, stdout=output, stderr=output)
    found = wait_for_file(ready, process, log)

    def stop() -> None:
        process.terminate()
        process.wait(timeout=60)

    return Servers(found["issuer"], found["resource"], servers.certificate, agent, clients, log, directory, stop)
