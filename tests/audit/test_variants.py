"""Configurations as other people write them: what is wrong in them is found, and what is right is left alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.audit.helpers import failing, judged, of_text

_WORDS = {
    "@SECRET@": "7f3c9a1e5b2d8f4a6c0e",
    "@PASSWORD@": "Gh7kLm92xQ",
    "@SEALED@": "By3i4OJSWK+PiTySYZZA9rO43cGDEq1Qz1w2e3r4",
}
VARIANTS = tomllib.loads((Path(__file__).parent / "variants.toml").read_text(encoding="utf-8"))["variants"]


def text_of(variant):
    text = variant["text"]
    for mark, word in _WORDS.items():
        text = text.replace(mark, word)
    return text


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each["name"])
def test_variant(variant, tmp_path):
    found = of_text(tmp_path, variant["path"], text_of(variant))
    states: dict[str, set[str]] = {}
    for result in found.results:
        states.setdefault(result.check, set()).add(str(result.state))
    assert "not-assessed" not in states["FIL001"]
    wrong = [check for check in variant.get("fails", ()) if "fail" not in states.get(check, ())]
    wrong += [check for check in variant.get("manual", ()) if "manual" not in states.get(check, ())]
    for check in variant.get("passes", ()):
        wrong += [check] if "pass" not in states.get(check, ()) or "fail" in states[check] else []
    wrong += [check for check in variant.get("quiet", ()) if "fail" in states.get(check, ())]
    assert not wrong, [(r.check, r.state, r.observed) for r in found.results if r.check in wrong]


def test_file_in_utf_16(tmp_path):
    """What PowerShell's > writes."""
    text = '{"mcpServers": {"a": {"command": "npx", "args": ["-y", "some-server"]}}}'
    found = of_text(tmp_path, ".mcp.json", text.encode("utf-16"))
    assert [r.check for r in failing(found, "SUP001")] == ["SUP001"]


def test_secret_in_a_comment_is_told_at_its_line(tmp_path):
    text = (
        "services:\n  a:\n    image: x:1.0\n    environment:\n      - NAME=é\n"
        "      # - URL=postgres://app:Gh7kLm92xQ@db/app\n"
    )
    [result] = failing(of_text(tmp_path, "compose.yaml", text), "SEC001")
    assert result.location.line == 6


def test_what_only_looks_like_a_kind_is_none(tmp_path):
    (tmp_path / "caddyfile.go").write_text("func parse() {\n\trespond(w)\n}\n")
    (tmp_path / "arm.json").write_text(
        '{"$schema": "https://schema.management.azure.com/deploymentTemplate.json#",\n'
        ' "resources": [{"apiVersion": "2024-01-01", "kind": "web", "metadata": {}}]}\n'
    )
    assert judged(tmp_path).subjects == []


def test_operator_may_have_a_group_of_its_own(tmp_path):
    def role(group):
        return (
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"
            f'rules: [{{apiGroups: ["{group}"], resources: ["*"], verbs: ["*"]}}]\n'
        )

    assert failing(of_text(tmp_path / "a", "r.yaml", role("custom.metrics.k8s.io")), "PRM010") == []
    assert failing(of_text(tmp_path / "b", "r.yaml", role("")), "PRM010")


def test_names_of_products_are_no_secrets(tmp_path):
    text = (
        "services:\n  a:\n    image: x:1.0\n    environment:\n      SSO_KEYCLOAK_REALM: mcp-gateway\n"
        '      OAUTH2_PROXY_HTTP_ADDRESS: "0.0.0.0:4180"\n      API_ACCESS_TOKEN: access-token\n'
    )
    assert failing(of_text(tmp_path / "a", "compose.yaml", text), "SEC001") == []
    text += "      SSO_KEYCLOAK_CLIENT_SECRET: 7f3c9a1e5b2d8f4a6c0e\n"
    assert failing(of_text(tmp_path / "b", "compose.yaml", text), "SEC001")


def test_part_of_an_nginx_server_is_left_to_the_whole(tmp_path):
    part = "location /mcp { proxy_pass http://127.0.0.1:9000; }\n"
    assert failing(of_text(tmp_path / "a", "mcp.conf", part), "TLS011", "RTE002") == []
    whole = "server { listen 443 ssl; server_name a.b; " + part + "}\n"
    assert {r.check for r in failing(of_text(tmp_path / "b", "mcp.conf", whole))} >= {"TLS011", "RTE002"}


def test_place_beside_the_server_needs_no_limit_of_its_own(tmp_path):
    def server(path):
        return (
            "server { listen 443 ssl; location /mcp { limit_req zone=a burst=5; proxy_pass http://127.0.0.1:9000; }\n"
            f" location {path} {{ proxy_pass http://127.0.0.1:9000; }} }}\n"
        )

    assert failing(of_text(tmp_path / "a", "nginx.conf", server("= /healthz")), "RTE002") == []
    assert failing(of_text(tmp_path / "c", "nginx.conf", server("~* \\.(css|js|png)$")), "RTE002") == []
    assert failing(of_text(tmp_path / "b", "nginx.conf", server("/tools")), "RTE002")
