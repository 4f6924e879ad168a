"""Command lines wherever they stand: SUP001-SUP006, DEP001, DEP002, PRM006."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from mcpsec.audit.commands import downloads_into_shell
from mcpsec.audit.launch import Launch, image_findings, judge
from mcpsec.audit.model import Finding
from mcpsec.audit.readers.clients import Server
from mcpsec.audit.readers.compose import Compose
from mcpsec.audit.readers.deployment import DeploymentFile
from mcpsec.audit.readers.dockerfile import Stage
from mcpsec.audit.readers.kubernetes import Object
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.toml import KeyPath

__all__: list[str] = []

_INSTALL = re.compile(r"(?:pip[0-9.]*|uv pip|npm|pnpm|yarn|bun)\s+(?:install|i|add)\b([^&|;\n]*)")
_PIP_URL = re.compile(r"pip[0-9.]*\s+install\b[^&|;\n]*?\s(https?://\S+|git\+\S+)")


@examines("client")
def client(subject: Subject, context: Context) -> Iterator[Finding]:
    """The servers that a client starts."""
    servers: list[Server] = subject.model
    for server in servers:
        yield from judge(Launch(subject, server.command, server.places, name=server.name, document=server.document))


@examines("deployment")
def deployment(subject: Subject, context: Context) -> Iterator[Finding]:
    """The programs behind the gateway."""
    model: DeploymentFile = subject.model
    for name, table in model.table("upstreams").items():
        command = table.get("command") if isinstance(table, dict) else None
        if isinstance(command, list) and command:
            path: KeyPath = ("upstreams", name, "command")
            words = [str(word) for word in command]
            yield from judge(Launch(subject, words, [(*path, i) for i in range(len(words))], name=f"upstream {name}"))


@examines("compose")
def compose(subject: Subject, context: Context) -> Iterator[Finding]:
    """Images and commands of services."""
    model: Compose = subject.model
    for service in model.services:
        path = service.path
        for key in ("entrypoint", "command"):
            words = service.words(key)
            listed = isinstance(service.table.get(key), list)
            places: list[KeyPath] = [(*path, key, i) if listed else (*path, key) for i in range(len(words))]
            if words and (key == "entrypoint" or not service.words("entrypoint")):
                yield from _of_container(Launch(subject, words, places, name=service.name))
        if service.image and "build" not in service.table:
            launch = Launch(subject, [service.image], [(*path, "image")], name=service.name)
            yield from image_findings(launch, service.image, 0)


@examines("kubernetes")
def kubernetes(subject: Subject, context: Context) -> Iterator[Finding]:
    """Images and commands of containers."""
    objects: list[Object] = subject.model
    for each in objects:
        for container in each.pod.containers if each.pod else ():
            more: dict[str, Any] = {"name": each.label, "document": each.document}
            words: list[str] = []
            places: list[KeyPath] = []
            for key in ("command", "args"):
                values = container.table.get(key)
                for index, word in enumerate(values if isinstance(values, list) else ()):
                    words.append(str(word))
                    places.append((*container.path, key, index))
            if words:
                yield from _of_container(Launch(subject, words, places, **more))
            image = container.table.get("image")
            if isinstance(image, str) and image:
                launch = Launch(subject, [image], [(*container.path, "image")], **more)
                yield from image_findings(launch, image, 0)


def _of_container(launch: Launch) -> Iterator[Finding]:
    """A container's own command: a shell with a script is usual there, and what it mounts is judged elsewhere."""
    for finding in judge(launch):
        usual = finding.key == "shell" or finding.check in ("DEP001", "DEP002", "PRM006")
        if not usual:
            yield finding


@examines("systemd")
def systemd(subject: Subject, context: Context) -> Iterator[Finding]:
    """What a unit starts."""
    for value, line in subject.model.all("Service", "ExecStart"):
        try:
            words = shlex.split(value.lstrip("-@:+!"))
        except ValueError:
            words = value.split()
        for finding in judge(Launch(subject, words, [line] * len(words), name=subject.label)):
            if finding.key != "shell" or finding.severity != "medium":
                yield finding


@examines("dockerfile")
def dockerfile(subject: Subject, context: Context) -> Iterator[Finding]:
    """Base images, what RUN downloads, what starts."""
    stages: list[Stage] = subject.model
    names = {stage.name.lower() for stage in stages if stage.name}
    bad = False
    for stage in stages:
        if stage.image.lower() not in names and stage.image.lower() != "scratch":
            launch = Launch(subject, [stage.image], [stage.line], name=subject.label)
            yield from image_findings(launch, stage.image, 0)
        for each in stage.instructions:
            if each.name == "RUN":
                for finding in _run(subject, each.text, each.line):
                    bad = bad or finding.check == "SUP003"
                    yield finding
            elif each.name in ("CMD", "ENTRYPOINT") and stage is stages[-1]:
                words = each.words
                yield from _of_container(Launch(subject, words, [each.line] * len(words), name=subject.label))
    if not bad:
        yield subject.ok("SUP003", None, "nothing is run straight from the network")


def _run(subject: Subject, text: str, line: int) -> Iterator[Finding]:
    if downloads_into_shell(text):
        yield subject.fail("SUP003", line, "RUN pipes a download into a shell", key="download")
    if match := _PIP_URL.search(text):
        fixed = re.search(r"@[0-9a-f]{40}\b|#sha256=|--require-hashes", match[0])
        if not fixed:
            yield subject.fail(
                "SUP003", line, "RUN installs from a URL without a digest or commit", severity="medium", key="url"
            )
    for match in _INSTALL.finditer(text):
        loose = [word for word in match[1].split() if _is_loose(word)]
        if loose and "-r" not in match[1].split() and "--require-hashes" not in match[1]:
            yield subject.fail(
                "SUP001",
                line,
                f"installed without a version: {', '.join(loose[:5])}",
                severity="low",
                key="install " + " ".join(loose[:3]),
            )


def _is_loose(word: str) -> bool:
    """True for a package of MCP's own kind that names no version: tools like pip itself are no server."""
    if not re.fullmatch(r"@?[A-Za-z0-9][\w./@-]*(?:\[[^\]]*\])?", word) or word in (".", "./"):
        return False
    bare = re.sub(r"\[.*\]", "", word)
    return bool(re.search(r"(?i)(?:^|[-_/@])mcp(?:$|[-_/])|modelcontextprotocol", bare)) and "@" not in bare[1:]
