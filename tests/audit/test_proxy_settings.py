"""Traefik and Envoy: settings that open something, each beside the one that does the same safely."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.helpers import failing, of_text
from tests.audit.labelled import HARDENED

TRAEFIK, ENVOY = "proxy/traefik.yml", "proxy/envoy.yaml"
POINT = "entryPoints: {web: {transport: {respondingTimeouts: {readTimeout: %s}}}}\n"
KEPT = "accessLog: {fields: {headers: {defaultMode: keep%s}}}\n"
CORS = "    cors: {headers: {accessControlAllowOriginList: ['%s']}}\n    limit:\n"
HOSTS, MATCH = '{name: mcp, domains: ["*"],', '{name: mcp, domains: ["*"], cors: {allow_origin_string_match: [{%s}]},'
PREFIX, WRITTEN = (
    "stat_prefix: mcp\n",
    "stat_prefix: mcp\n          access_log: [{typed_config: {text_format: '%s'}}]\n",
)

FLAWS = {
    "dashboard": (TRAEFIK, "tls:\n  options", "api: {insecure: true}\ntls:\n  options", "api: {}\ntls:\n  options", "DEP001"),
    "debug log": (TRAEFIK, "tls:\n  options", "log: {level: DEBUG}\ntls:\n  options", "log: {level: INFO}\ntls:\n  options", "LOG003"),
    "kept headers": (
        TRAEFIK, "tls:\n  options", KEPT % "" + "tls:\n  options",
        KEPT % ", names: {Authorization: drop, Cookie: redact}" + "tls:\n  options", "LOG003",
    ),
    "endless read": (TRAEFIK, "tls:\n  options", POINT % "0s" + "tls:\n  options", POINT % "10s" + "tls:\n  options", "TMO002"),
    "any origin": (TRAEFIK, "    limit:\n", CORS % "*", CORS % "https://acme.io", "ORG003"),
    "unverified hop": (
        TRAEFIK, "  services:\n", "  serversTransports: {x: {insecureSkipVerify: true}}\n  services:\n",
        "  serversTransports: {x: {insecureSkipVerify: false}}\n  services:\n", "TLS013",
    ),
    "clear hop": (TRAEFIK, "http://127.0.0.1:9000", "http://mcp.acme.io:9000", "https://mcp.acme.io:9000", "TLS013"),
    "a limit that is not there": (TRAEFIK, "[limit]", "[other]", "[other, limit]", "RTE002"),
    "limit of nothing": (TRAEFIK, "average: 100", "average: 0", "average: 50", "RTE002"),
    "any origin of a pattern": (
        ENVOY, HOSTS, MATCH % 'safe_regex: {regex: ".*"}', MATCH % "exact: https://acme.io", "ORG003",
    ),
    "written tokens": (ENVOY, PREFIX, WRITTEN % "%REQ(AUTHORIZATION)%", WRITTEN % "%RESPONSE_CODE%", "LOG003"),
}  # fmt: skip


def fails(directory: Path, path: str, old: str, new: str) -> set[str]:
    text = HARDENED[path]
    assert text.count(old) == 1
    return {result.check for result in failing(of_text(directory, path, text.replace(old, new)))}


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_and_its_twin(name: str, tmp_path: Path) -> None:
    path, old, bad, good, check = FLAWS[name]
    assert fails(tmp_path, path, old, bad) == {check}
    assert fails(tmp_path, path, old, good) == set()


def test_a_limit_within_a_chain_counts(tmp_path: Path) -> None:
    text = HARDENED[TRAEFIK].replace("[limit]", "[all@file]")
    text = text.replace("    limit:\n", "    all: {chain: {middlewares: [limit@file]}}\n    limit:\n")
    assert failing(of_text(tmp_path, TRAEFIK, text)) == []
