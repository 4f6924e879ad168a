"""Mutual TLS and transport, as files show them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from mcpsec.audit.model import Finding
from mcpsec.audit.readers.certificates import is_authority
from mcpsec.audit.readers.clients import Server
from mcpsec.audit.readers.compose import Compose
from mcpsec.audit.readers.deployment import DeploymentFile
from mcpsec.audit.readers.dockerfile import Stage
from mcpsec.audit.readers.kubernetes import Object
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.toml import KeyPath

__all__ = ["is_local", "unverified"]

_SWITCHES = {
    "NODE_TLS_REJECT_UNAUTHORIZED": ("0",),
    "PYTHONHTTPSVERIFY": ("0",),
    "GIT_SSL_NO_VERIFY": ("1", "true"),
    "SSL_VERIFY": ("0", "false", "no"),
    "VERIFY_SSL": ("0", "false", "no"),
    "TLS_VERIFY": ("0", "false", "no"),
    "REQUESTS_VERIFY": ("0", "false"),
    "TLS_SKIP_VERIFY": ("1", "true", "yes"),
    "SSL_NO_VERIFY": ("1", "true", "yes"),
    "INSECURE_SKIP_VERIFY": ("1", "true", "yes"),
    "NPM_CONFIG_STRICT_SSL": ("false",),
    "CURL_INSECURE": ("1", "true"),
}
_OPTIONS = re.compile(
    r"--(?:insecure|no-verify-ssl|no-ssl-verify|skip-(?:tls|ssl)-verify|tls-skip-verify|insecure-skip-(?:tls-)?verify|"
    r"no-check-certificate|ignore-certificate-errors|disable-ssl-verification|ssl-no-verify)(?:=(?:true|1|yes))?"
    r"|--(?:verify-ssl|ssl-verify|verify|tls-verify)=(?:false|0|no)",
    re.I,
)
_LOCAL_NAMES = {
    "localhost",
    "host.docker.internal",
    "host.containers.internal",
    "ip6-localhost",
    "gateway.docker.internal",
}


def is_local(host: str) -> bool:
    """True for a name or address of this machine."""
    host = host.strip("[]").lower().rstrip(".")
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of a URL, empty when it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def unverified(name: str, value: str) -> bool:
    """True for a variable that switches the verification of certificates off."""
    known = _SWITCHES.get(name.upper())
    if known is None:
        known = next(
            (values for key, values in _SWITCHES.items() if len(key) > 9 and name.upper().endswith("_" + key)), None
        )
    return known is not None and value.strip().lower() in known


@examines("client")
def client(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS012: how the servers of a client are reached."""
    servers: list[Server] = subject.model
    for server in servers:
        wrong = list(_client_faults(subject, server))
        yield from wrong
        reached = server.url or any("://" in word for word in server.command)
        if reached and not wrong:
            yield subject.ok(
                "TLS012", server.path, "verified TLS, or this machine", name=server.name, document=server.document
            )


def _client_faults(subject: Subject, server: Server) -> Iterator[Finding]:
    more: dict[str, Any] = {"name": server.name, "document": server.document}
    urls = [(server.url, server.url_path)] if server.url else []
    words = list(zip(server.command, server.places, strict=True))
    urls += [(word, place) for word, place in words if word.lower().startswith("http://")]
    remote_plain = False
    for url, path in urls:
        if url.lower().startswith(("http://", "ws://")):
            host = host_of(url)
            if host and not is_local(host) and not re.search(r"[${}<>%]", host):
                remote_plain = True
                severity = "high" if "." in host or ":" in host else "medium"
                edit = (
                    subject.replace(path, f'"{"https" + url[4:]}"', server.document)
                    if path == server.url_path
                    else None
                )
                yield subject.fail(
                    "TLS012", path, f"plain HTTP to {host}", severity=severity, key=f"http {host}", edit=edit, **more
                )
    for word, path in words:
        if _OPTIONS.fullmatch(word):
            yield subject.fail("TLS012", path, f"{word} switches verification off", key=word, **more)
        elif word == "--allow-http":
            local = (
                urls and not remote_plain and all(is_local(host_of(url)) for url, _ in urls if url.startswith("http:"))
            )
            yield subject.fail("TLS012", path, "--allow-http", severity="low" if local else "high", key=word, **more)
    for name, (value, path) in server.environment.items():
        if unverified(name, value):
            yield subject.fail("TLS012", path, f"{name}={value} switches verification off", key=name, **more)
    for key in ("verify", "verifySsl", "verify_ssl", "rejectUnauthorized", "sslVerify", "tlsVerify"):
        if server.table.get(key) is False:
            yield subject.fail("TLS012", (*server.path, key), f"{key}: false", key=key, **more)
    for key in ("insecure", "skipTlsVerify", "insecureSkipVerify", "skip_tls_verify", "allowInsecure"):
        if server.table.get(key) is True:
            yield subject.fail("TLS012", (*server.path, key), f"{key}: true", key=key, **more)


@examines("compose")
def compose(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS012 in the environment and command of services."""
    model: Compose = subject.model
    for service in model.services:
        for name, (value, path) in service.environment.items():
            if unverified(name, value):
                text = f"{name}={value} switches verification off"
                yield subject.fail("TLS012", path, text, name=service.name, key=name)
        for word in service.words("command"):
            if _OPTIONS.fullmatch(word):
                path = (*service.path, "command")
                yield subject.fail("TLS012", path, f"{word} switches verification off", name=service.name, key=word)


@examines("kubernetes")
def kubernetes(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS012 in the environment of containers."""
    objects: list[Object] = subject.model
    for each in objects:
        for container in each.pod.containers if each.pod else ():
            rows = container.table.get("env")
            for index, row in enumerate(rows if isinstance(rows, list) else ()):
                if isinstance(row, dict) and unverified(str(row.get("name", "")), str(row.get("value", ""))):
                    path: KeyPath = (*container.path, "env", index, "value")
                    yield subject.fail(
                        "TLS012", path, f"{row['name']} switches verification off",
                        name=each.label, document=each.document, key=str(row["name"]),
                    )  # fmt: skip


@examines("dockerfile")
def dockerfile(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS012 in ENV."""
    stages: list[Stage] = subject.model
    for stage in stages:
        for each in stage.instructions:
            for name, value in each.pairs if each.name == "ENV" else ():
                if unverified(name, value):
                    yield subject.fail("TLS012", each.line, f"{name}={value} switches verification off", key=name)


@examines("systemd")
def systemd(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS012 in Environment=."""
    for value, line in subject.model.all("Service", "Environment"):
        for name, text in re.findall(r"[\"']?([A-Za-z_]\w*)=([^\"'\s]*)", value):
            if unverified(name, text):
                yield subject.fail("TLS012", line, f"{name}={text} switches verification off", key=name)


@examines("deployment")
def deployment(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS006, TLS010, TLS013 of the gateway."""
    model: DeploymentFile = subject.model
    loaded = model.deployment
    if loaded is None:
        yield subject.unknown("TLS010", "the file does not load: see DEP005", required=True)
        return
    if "mtls" in loaded.auth.require:
        yield from _client_ca(subject, model)
    else:
        path: KeyPath = ("auth", "require") if model.document.has(("auth", "require")) else ("auth",)
        severity = "high" if is_local(loaded.server.listen.host) else "critical"
        yield subject.fail("TLS010", path, "mtls is not required", severity=severity, key="mtls")
    for index, client in enumerate(loaded.clients):
        if client.require is not None and "mtls" not in client.require:
            text = "mtls is not required of this client"
            yield subject.fail(
                "TLS010",
                ("clients", index, "require"),
                text,
                name=f"client {client.id}",
                severity="high",
                key=client.id,
            )
    oldest = loaded.server.tls.minimum_version
    state = subject.ok if oldest in ("1.2", "1.3") else subject.fail
    yield state("TLS006", ("server", "tls", "minimum_version"), f"TLS {oldest} or newer")
    for upstream in loaded.upstreams.values():
        if not upstream.url:
            continue
        host = host_of(upstream.url)
        place: KeyPath = ("upstreams", upstream.name, "url")
        if upstream.url.lower().startswith("https:") or is_local(host):
            yield subject.ok("TLS013", place, f"{host}: https, or this machine", name=f"upstream {upstream.name}")
        else:
            name = f"upstream {upstream.name}"
            yield subject.fail("TLS013", place, f"plain HTTP to {host}", name=name, key=f"http {host}")


def _client_ca(subject: Subject, model: DeploymentFile) -> Iterator[Finding]:
    from mcpsec.audit.readers.certificates import read
    from mcpsec.clientfiles.positions import Malformed

    assert model.deployment is not None
    path = model.deployment.server.tls.client_ca
    place: KeyPath = ("server", "tls", "client_ca")
    try:
        parsed = read(Subject("certificate", path, subject.label, path.read_bytes()))
    except OSError as error:
        yield subject.fail("TLS010", place, f"the client CA can't be read: {error.strerror}", key="ca")
        return
    except Malformed as error:
        yield subject.fail("TLS010", place, f"the client CA: {error.message}", key="ca")
        return
    certificates = getattr(parsed, "certificates", [])
    if not certificates or not all(is_authority(each) for each in certificates):
        yield subject.fail("TLS010", place, "client_ca holds a certificate that is no CA", key="ca")
    elif any(_is_public(each) for each in certificates):
        yield subject.fail(
            "TLS010", place, "client_ca holds a public CA: anybody gets its certificates", key="public ca"
        )
    else:
        yield subject.ok("TLS010", ("auth", "require"), "mtls is required, from a CA of its own")


def _is_public(certificate: Any) -> bool:
    """True for roots and intermediates of well-known public CAs."""
    name = certificate.subject.rfc4514_string()
    return bool(
        re.search(
            r"(?i)let's encrypt|isrg root|digicert|sectigo|globalsign|google trust|amazon root|godaddy|entrust", name
        )
    )
