"""What kind of file this is: by its name, and by what is in it. A wrong guess costs false alarms, so both must fit."""

from __future__ import annotations

import re
from pathlib import PurePath

from mcpsec.clientfiles.clients import CLIENTS

__all__ = ["KINDS", "candidate", "detect"]

KINDS = {
    "deployment": "mcpsec deployment file",
    "client": "MCP client configuration",
    "compose": "Docker Compose file",
    "dockerfile": "Dockerfile",
    "kubernetes": "Kubernetes manifest",
    "nginx": "nginx configuration",
    "caddy": "Caddyfile",
    "traefik": "Traefik configuration",
    "envoy": "Envoy configuration",
    "haproxy": "HAProxy configuration",
    "systemd": "systemd unit",
    "log": "log file",
    "certificate": "certificate",
    "key": "private key",
    "pins": "tool definitions (pins or a tools/list dump)",
    "prometheus": "Prometheus rules",
    "grafana": "Grafana dashboard",
    "workflow": "CI workflow",
    "evidence": "audit or drill evidence",
    "environment": "environment file",
    "waivers": "waivers of the audit",
    "endpoint": "live endpoint",
}
"""Every kind of subject and how it is called."""

_CLIENT_NAMES = {PurePath(path).name for paths in CLIENTS.values() for path in paths} | {"mcp.json", ".mcp.json"}
_GENERIC = {"settings.json", "config.json", "config.yaml", "config.toml", "settings.local.json", "default.json"}
_CLIENT_KEYS = re.compile(
    rb"[\"']?(?:mcpServers|mcp_servers|context_servers|mcp\.servers|mcpservers)\b[\"']?|\[mcp_servers", re.ASCII
)
_SERVERS = re.compile(rb"\"(?:servers|mcp|extensions)\"\s*:\s*\{|(?m:^(?:extensions|mcp):\s*$)")
_DOCKERFILE = re.compile(r"(?i)(?:dockerfile|containerfile)(?:[.\-_].*)?|.*\.(?:dockerfile|containerfile)")
_COMPOSE = re.compile(r"(?i)(?:docker-)?compose(?:[.\-_][\w.-]*)?\.ya?ml|.*[.\-_]compose\.ya?ml")
_NGINX = re.compile(
    r"(?m)^\s*(?:http|server|upstream\s+\S+|location\s+[^\n{]+|stream|events)\s*\{|"
    r"^\s*(?:ssl_(?:certificate|verify_client|protocols)|proxy_pass|listen|server_name)\s[^\n;{}]*;"
)
_HAPROXY = re.compile(r"(?m)^[ \t]*(?:frontend|listen|backend|defaults|global)(?:\s|$)")
_UNIT = re.compile(r"(?m)^\s*\[(?:Service|Timer|Socket)\]")
_TRAEFIK = re.compile(
    r"(?m)^(?:entryPoints|\[entryPoints|certificatesResolvers)|^\s*(?:routers|clientAuth|middlewares):"
)
_KUBERNETES = re.compile(r"(?m)^apiVersion:\s*\S")
_KUBERNETES_KIND = re.compile(r"(?m)^kind:\s*\S")
_PEM_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PEM_KEY = re.compile(rb"(?m)^-----BEGIN (?:[A-Z]+ )?(?:ENCRYPTED )?PRIVATE KEY-----")
_CADDY = re.compile(
    r"(?m)^\s*(?:reverse_proxy|tls|file_server|respond|import|client_auth|route|handle)\b|^[^\s#{][^\n]*\{\s*$|^\{\s*$"
)
_SOURCES = (".py", ".go", ".rs", ".js", ".ts", ".rb", ".md", ".rst", ".txt", ".sh", ".html", ".j2", ".tmpl", ".tpl")
"""Endings of programs and texts about Dockerfiles, and of templates of them."""
_STRUCTURED = (".yaml", ".yml", ".json", ".jsonc", ".json5", ".toml")
_CERTIFICATES = (".pem", ".crt", ".cer", ".der", ".cert", ".key")
_TEXTS = (".conf", ".cfg", ".cnf", ".service", ".timer", ".socket", ".log", ".jsonl", ".caddy", ".caddyfile", ".nginx")


def candidate(name: str) -> bool:
    """True when a file of this name could be of interest; tells without opening it."""
    low = name.lower()
    return (
        low.endswith((*_STRUCTURED, *_CERTIFICATES, *_TEXTS))
        or low.startswith(("dockerfile", "containerfile", "caddyfile", "compose", ".env", "nginx"))
        or low.endswith((".dockerfile", ".containerfile", ".env"))
        or low in ("haproxy", "default")
    )


def detect(path: PurePath, raw: bytes) -> str | None:
    """The kind of a file, None for one that the audit has no eye for."""
    name = path.name.lower()
    if name in ("mcpsec-waivers.toml",):
        return "waivers"
    if (
        _PEM_KEY.search(raw[:4096])
        and _PEM_CERTIFICATE not in raw[:65536]
        and not name.endswith((*_STRUCTURED, *_TEXTS))
    ):
        return "key"
    inline = name.endswith((*_STRUCTURED, *_TEXTS))  # a certificate in a configuration is a part of that
    if name.endswith(_CERTIFICATES) or (_PEM_CERTIFICATE in raw[:4096] and not inline):
        der = raw[:2] in (b"\x30\x82", b"\x30\x81") and name.endswith((".der", ".cer", ".crt", ".cert"))
        if _PEM_CERTIFICATE in raw or der:
            return "certificate"
        if name.endswith(_CERTIFICATES):
            return None
    if name.endswith((".log", ".jsonl")):
        return "log"
    if name.startswith(".env") or name.endswith(".env"):
        return "environment"
    if _DOCKERFILE.fullmatch(path.name) and not name.endswith(_SOURCES) and re.search(rb"(?mi)^\s*FROM\s", raw):
        return "dockerfile"
    if name.endswith(_STRUCTURED):
        return _structured(path, name, raw)
    return _plain(name, raw[:262_144].decode("utf-8", "replace"), raw)


def _plain(name: str, text: str, raw: bytes) -> str | None:
    if name.endswith((".service", ".timer", ".socket")) and _UNIT.search(text):
        return "systemd"
    named = name.startswith("caddyfile") and not name.endswith(_SOURCES)
    if (named or name.endswith((".caddy", ".caddyfile"))) and _CADDY.search(text):
        return "caddy"
    sections = _HAPROXY.findall(text)
    if (name.endswith(".cfg") or "haproxy" in name) and (len(sections) > 1 or "haproxy" in name) and sections:
        return "haproxy"
    nginx = _NGINX.search(text)
    if nginx and (name.endswith((".conf", ".nginx", ".cnf")) or "nginx" in name or name == "default"):
        return "nginx"
    if _CLIENT_KEYS.search(raw) and raw.lstrip()[:1] == b"{":
        return "client"
    return None


def _structured(path: PurePath, name: str, raw: bytes) -> str | None:  # noqa: PLR0912
    text = raw[:262_144].decode("utf-8", "replace")
    parts = {part.lower() for part in path.parts}
    if name.endswith(".toml"):
        if name == "mcpsec.toml" or (
            re.search(r"(?m)^\[server(?:\.tls)?\]", text) and re.search(r"(?m)^version\s*=\s*1\b", text)
        ):
            return "deployment"
        if re.search(r'(?m)^schema\s*=\s*"mcpsec\.pins/1"', text[:4096]):
            return "pins"
        if _CLIENT_KEYS.search(raw):
            return "client"
        return "traefik" if _TRAEFIK.search(text) or "[http.routers" in text or "[tls.options" in text else None
    is_yaml = name.endswith((".yaml", ".yml"))
    if is_yaml:
        if ("workflows" in parts and ".github" in parts) or name in (".gitlab-ci.yml", ".gitlab-ci.yaml"):
            return "workflow"
        if _COMPOSE.fullmatch(path.name) and "services" in text:
            return "compose"
        if _KUBERNETES.search(text) and _KUBERNETES_KIND.search(text):
            return "kubernetes"
        if re.search(r"(?m)^static_resources:|^dynamic_resources:", text):
            return "envoy"
        if re.search(r"(?m)^groups:\s*$", text) and re.search(r"(?m)^\s*(?:- )?(?:alert|record|expr):", text):
            return "prometheus"
        if re.search(r"(?m)^services:\s*$", text) and re.search(r"(?m)^\s+(?:image|build):", text):
            return "compose"
        if _TRAEFIK.search(text) and re.search(r"(?m)^(?:http|tls|entryPoints|providers|certificatesResolvers):", text):
            return "traefik"
    elif (kind := _json(text)) is not None:
        return kind
    if _CLIENT_KEYS.search(raw):
        return "client"
    if (name in _CLIENT_NAMES and name not in _GENERIC) and _SERVERS.search(raw):
        return "client"
    if name in ("config.yaml", "opencode.json", "opencode.jsonc") and _SERVERS.search(raw):
        return "client"
    return None


def _json(text: str) -> str | None:
    head = text[:4096]
    if '"mcpsec.audit/1"' in head or '"mcpsec.audit-evidence/1"' in head or '"mcpsec.drill/1"' in head:
        return "evidence"
    if '"static_resources"' in text:
        return "envoy"
    if '"mcpsec.pins/1"' in head or ('"inputSchema"' in text and '"tools"' in text):
        return "pins"
    if '"panels"' in text and ('"schemaVersion"' in text or '"dashboard"' in text or '"targets"' in text):
        return "grafana"
    if (
        '"$schema"' not in head
        and re.search(r'"apiVersion"\s*:\s*"', text)
        and re.search(r'"kind"\s*:\s*"', text)
        and '"metadata"' in text
    ):
        return "kubernetes"
    return None
