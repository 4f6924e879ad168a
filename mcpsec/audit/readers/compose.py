"""Compose files: services with their ports, volumes, environment and secrets (https://compose-spec.io)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpsec.clientfiles.positions import Document, Malformed

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject
    from mcpsec.clientfiles.toml import KeyPath

__all__ = ["Compose", "Port", "Service", "Volume", "environment_of", "read"]

_PORT = re.compile(
    r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9.]+|\$\{[^}]*\}|[A-Za-z][\w.-]*):)?(?:(?P<published>[0-9-]*|\$\{[^}]*\}):)?(?P<target>[0-9-]+|\$\{[^}]*\})(?:/(?:tcp|udp))?"
)


@dataclass(frozen=True)
class Port:
    """A published port; ``host`` is empty for all interfaces."""

    host: str
    published: str
    target: str
    path: KeyPath
    text: str = ""


@dataclass(frozen=True)
class Volume:
    """A mount; ``source`` is empty for an anonymous one."""

    source: str
    target: str
    read_only: bool
    path: KeyPath


@dataclass(frozen=True)
class Service:
    """One service and where it stands."""

    name: str
    table: dict[str, Any]
    path: KeyPath
    ports: list[Port]
    volumes: list[Volume]
    environment: dict[str, tuple[str, KeyPath]]

    @property
    def image(self) -> str:
        """Its image, empty when it is built here."""
        value = self.table.get("image")
        return value if isinstance(value, str) else ""

    def words(self, key: str) -> list[str]:
        """``command`` or ``entrypoint`` as words."""
        value = self.table.get(key)
        if isinstance(value, list):
            return [str(word) for word in value]
        return value.split() if isinstance(value, str) else []


@dataclass(frozen=True)
class Compose:
    """The file."""

    document: Document
    services: list[Service]


def read(subject: Subject) -> Compose:
    """Read a Compose file. Raises Malformed."""
    document = subject.document
    data = document.data
    services = data.get("services") if isinstance(data, dict) else None
    if not isinstance(services, dict):
        raise Malformed("there is no mapping called services")
    made = []
    for name, table in services.items():
        if not isinstance(table, dict):
            continue
        path: KeyPath = ("services", name)
        volumes = list(_volumes(table, path))
        made.append(Service(str(name), table, path, list(_ports(table, path)), volumes, environment_of(table, path)))
    return Compose(document, made)


def _ports(table: dict[str, Any], path: KeyPath) -> Iterator[Port]:
    ports = table.get("ports")
    for index, port in enumerate(ports if isinstance(ports, list) else []):
        at: KeyPath = (*path, "ports", index)
        if isinstance(port, dict):
            host = str(port.get("host_ip") or "")
            yield Port(
                host, str(port.get("published", "")), str(port.get("target", "")), at, str(port.get("published"))
            )
        elif isinstance(port, (str, int)) and not isinstance(port, bool):
            match = _PORT.fullmatch(str(port).strip())
            if match is None:
                continue
            host, published = match["host"] or "", match["published"]
            if published is None and host and (host.isdigit() or (host.startswith("$") and ":" not in _default(host))):
                host, published = "", host  # two parts are a port and a port, also of a variable
            yield Port(host, published or "", match["target"], at, str(port))


def _default(variable: str) -> str:
    """What ``${NAME:-DEFAULT}`` is when nobody sets it; empty for a variable without a default."""
    return variable[2:-1].partition("-")[2] if variable.startswith("${") else ""


def _volumes(table: dict[str, Any], path: KeyPath) -> Iterator[Volume]:
    volumes = table.get("volumes")
    for index, volume in enumerate(volumes if isinstance(volumes, list) else []):
        at: KeyPath = (*path, "volumes", index)
        if isinstance(volume, dict):
            if volume.get("type", "bind") in ("bind", "volume"):
                source, target = str(volume.get("source") or ""), str(volume.get("target") or "")
                yield Volume(source, target, volume.get("read_only") is True, at)
        elif isinstance(volume, str):
            parts = re.sub(r"\$\{[^}]*\}", lambda m: m[0].replace(":", "\0"), volume).split(":")
            parts = [part.replace("\0", ":") for part in parts]
            if len(parts) == 1:
                yield Volume("", parts[0], False, at)
            else:
                yield Volume(parts[0], parts[1], len(parts) > 2 and "ro" in parts[2].split(","), at)


def environment_of(table: dict[str, Any], path: KeyPath) -> dict[str, tuple[str, KeyPath]]:
    """Names, values and places of an ``environment`` in either form; names without a value come from outside."""
    environment = table.get("environment")
    found: dict[str, tuple[str, KeyPath]] = {}
    if isinstance(environment, dict):
        for name, value in environment.items():
            if value is not None and not isinstance(value, (dict, list)):
                found[str(name)] = (str(value), (*path, "environment", name))
    elif isinstance(environment, list):
        for index, pair in enumerate(environment):
            if isinstance(pair, str) and "=" in pair:
                name, _, value = pair.partition("=")
                found[name] = (value, (*path, "environment", index))
    return found
