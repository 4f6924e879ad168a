"""MCP client configurations: approval, transport, authentication of local servers, names, hidden text, shadows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from mcpsec.audit.checks.tls import host_of, is_local
from mcpsec.audit.commands import packages_of, program
from mcpsec.audit.hidden import hidden_characters, instructs
from mcpsec.audit.model import Edit, Finding
from mcpsec.audit.readers.clients import Server
from mcpsec.audit.registry import across, examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.toml import KeyPath

__all__: list[str] = []

_APPROVALS = (
    "autoApprove",
    "alwaysAllow",
    "auto_approve",
    "always_allow",
    "autoApproveTools",
    "allowedTools",
    "autoapprove",
)
_CREDENTIAL = re.compile(r"(?i)^(?:authorization|x-api-key|api-key|x-auth.*|.*-token|.*-key|cookie)$")


@examines("client")
def approval(subject: Subject, context: Context) -> Iterator[Finding]:
    """PRM007."""
    servers: list[Server] = subject.model
    for server in servers:
        more: dict[str, Any] = {"name": server.name, "document": server.document}
        wrong = False
        stated = False
        for key in _APPROVALS:
            value = server.table.get(key)
            stated = stated or isinstance(value, list)
            if value is True:
                wrong = True
                yield subject.fail("PRM007", (*server.path, key), f"{key}: every tool runs unasked", key=key, **more)
            for index, tool in enumerate(value if isinstance(value, list) else ()):
                if isinstance(tool, str) and (tool.strip() in ("*", "all", ".*") or tool.strip().endswith("/*")):
                    wrong = True
                    path: KeyPath = (*server.path, key, index)
                    yield subject.fail("PRM007", path, f"{key}: {tool} approves every tool", key=key, **more)
        for key in ("trust", "autoApproveAll", "alwaysAllowAll", "skipApproval", "yolo"):
            if server.table.get(key) is True:
                wrong = True
                yield subject.fail("PRM007", (*server.path, key), f"{key}: every tool runs unasked", key=key, **more)
        if stated and not wrong:
            yield subject.ok("PRM007", server.path, "tools are approved by name", **more)
    yield from _settings(subject)


def _settings(subject: Subject) -> Iterator[Finding]:
    """What the whole file says about approval."""
    data = subject.document.data
    if not isinstance(data, dict):
        return
    if data.get("enableAllProjectMcpServers") is True:
        path: KeyPath = ("enableAllProjectMcpServers",)
        yield subject.fail("PRM007", path, "servers of any project start unasked", key="project servers")
    permissions = data.get("permissions")
    allowed = permissions.get("allow") if isinstance(permissions, dict) else None
    for index, rule in enumerate(allowed if isinstance(allowed, list) else ()):
        if rule in ("mcp__*", "*", "Bash(*)", "Bash"):
            yield subject.fail(
                "PRM007", ("permissions", "allow", index), f"{rule} is allowed unasked", key=f"rule {rule}"
            )


@examines("client")
def transport(subject: Subject, context: Context) -> Iterator[Finding]:
    """SES003 and AUT001, as far as the entry shows them."""
    servers: list[Server] = subject.model
    for server in servers:
        more: dict[str, Any] = {"name": server.name, "document": server.document}
        urls = [(server.url, server.url_path)] if server.url else []
        urls += [
            (w, p) for w, p in zip(server.command, server.places, strict=True) if w.startswith(("http://", "https://"))
        ]
        for url, path in urls:
            yield _sse(subject, server, url, path, more)
            if url.startswith("http://") and is_local(host_of(url)):
                yield _local(subject, server, path, more)


def _sse(subject: Subject, server: Server, url: str, path: KeyPath, more: dict[str, Any]) -> Finding:
    try:
        last = urlsplit(url).path.rstrip("/").rpartition("/")[2].lower()
    except ValueError:
        last = ""
    if server.transport == "sse" and path == server.url_path:
        edit = subject.replace(server.transport_path, '"http"', server.document)
        return subject.fail(
            "SES003", server.transport_path, "transport sse", key="sse", edit=_only_own(edit, last), **more
        )
    words = [word.lower() for word in server.command]
    if last == "sse" or "sse-only" in words:
        return subject.fail("SES003", path, "the address of an HTTP+SSE server", key="sse", **more)
    return subject.ok("SES003", path, "Streamable HTTP", **more)


def _only_own(edit: Edit, last: str) -> Edit | None:
    """The repair, unless the address is the SSE one, too: then changing the type alone would break the entry."""
    return None if last == "sse" else edit


def _local(subject: Subject, server: Server, path: KeyPath, more: dict[str, Any]) -> Finding:
    credentials = any(_CREDENTIAL.match(name) for name in server.headers)
    credentials = credentials or any(word in ("--header", "-H") for word in server.command)
    configured = {"oauth", "auth", "authorization", "apiKey", "bearer_token_env_var", "token", "clientCertificate"}
    if credentials or configured & set(server.table):
        return subject.ok("AUT001", path, "a server on this machine, with a credential", **more)
    text = "a server on this machine that asks for no credential: any program and web page of the user can call it"
    return subject.fail("AUT001", path, text, severity="medium", confidence="medium", key="local", **more)


@examines("client")
def hidden(subject: Subject, context: Context) -> Iterator[Finding]:
    """TOL001 and TOL002 in names, descriptions and arguments of entries."""
    servers: list[Server] = subject.model
    for server in servers:
        more: dict[str, Any] = {"name": server.name, "document": server.document}
        wrong = False
        for path, text in _texts(server.table, server.path, 0):
            found = hidden_characters(text)
            if found:
                wrong = True
                yield subject.fail("TOL001", path, f"hidden characters: {found}", key=f"hidden {path[-1]}", **more)
            elif len(text) > 40 and (score := instructs(text)):
                severity = "high" if score >= 3 else "medium"
                yield subject.fail(
                    "TOL002", path, "a text that instructs the model", severity=severity, key=f"{path[-1]}", **more
                )
        if hidden_characters(server.name):
            wrong = True
            yield subject.fail("TOL001", server.path, "hidden characters in the name", key="hidden name", **more)
        if not wrong:
            yield subject.ok("TOL001", server.path, "no hidden character", **more)


def _texts(value: Any, path: KeyPath, depth: int) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif depth < 6 and isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key), depth + 1)
    elif depth < 6 and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index), depth + 1)


@across
def shadows(context: Context) -> Iterator[Finding]:
    """SHD001: servers that go round the gateway, where there is one."""
    deployments = context.of_kind("deployment")
    if not deployments:
        return
    known: set[str] = set()
    for each in deployments:
        model = each.model if not _broken(each) else None
        loaded = model.deployment if model is not None else None
        for upstream in loaded.upstreams.values() if loaded else ():
            known |= {upstream.name.lower(), *(package.name.lower() for package in packages_of(upstream.command or ()))}
    for subject in context.of_kind("client"):
        for server in [] if _broken(subject) else subject.model:
            names = {server.name.lower(), *(package.name.lower() for package in packages_of(server.command))}
            through = any(program(word) == "mcpsec" for word in server.command)
            more = {"name": server.name, "document": server.document}
            if through or names & known:
                yield subject.ok("SHD001", server.path, "goes through the gateway, or is one of its upstreams", **more)
            else:
                yield subject.fail("SHD001", server.path, "is not among the gateway's upstreams", key="shadow", **more)


def _broken(subject: Subject) -> bool:
    from mcpsec.clientfiles.positions import Malformed

    try:
        _ = subject.model
    except Malformed:
        return True
    return False
