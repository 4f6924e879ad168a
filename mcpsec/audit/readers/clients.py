"""The servers of an MCP client's configuration: JSON with comments, TOML or YAML, each client with keys of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcpsec.clientfiles.clients import CONTAINERS
from mcpsec.clientfiles.positions import Document, Malformed

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject
    from mcpsec.clientfiles.toml import KeyPath

__all__ = ["Server", "read", "servers"]

_SERVER_KEYS = {"command", "url", "serverUrl", "httpUrl", "uri", "cmd", "endpoint", "baseUrl"}
_MAXIMUM = 2000


@dataclass(frozen=True)
class Server:
    """One entry: how a server is started or reached. ``path`` is where it stands in ``document``."""

    name: str
    path: KeyPath
    document: Document
    table: dict[str, Any]
    command: list[str] = field(default_factory=list)
    places: list[KeyPath] = field(default_factory=list)
    """Where each word of ``command`` stands."""
    url: str = ""
    url_path: KeyPath = ()
    transport: str = ""
    transport_path: KeyPath = ()
    environment: dict[str, tuple[str, KeyPath]] = field(default_factory=dict)
    headers: dict[str, tuple[str, KeyPath]] = field(default_factory=dict)

    @property
    def enabled(self) -> bool:
        """False for an entry that its client does not start."""
        return self.table.get("disabled") is not True and self.table.get("enabled") is not False


def read(subject: Subject) -> list[Server]:
    """Every server of the file. Raises Malformed when it can't be read."""
    found: list[Server] = []
    for document in subject.documents:
        found += servers(document)
    if len(found) > _MAXIMUM:
        raise Malformed(f"more than {_MAXIMUM} servers")
    return found


def servers(document: Document) -> list[Server]:
    """The servers of one document, wherever its client keeps them (also below projects and profiles)."""
    return [_server(name, table, path, document) for name, table, path in _entries(document.data, (), 0)]


def _entries(value: Any, path: KeyPath, depth: int) -> Iterator[tuple[str, dict[str, Any], KeyPath]]:
    if depth > 6:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in CONTAINERS and (members := list(_members(inner, (*path, key)))):
                yield from members
            elif isinstance(inner, (dict, list)):
                yield from _entries(inner, (*path, key), depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value[:1000]):
            if isinstance(inner, dict):
                yield from _entries(inner, (*path, index), depth + 1)


def _members(value: Any, path: KeyPath) -> Iterator[tuple[str, dict[str, Any], KeyPath]]:
    if isinstance(value, dict):
        for name, table in value.items():
            if isinstance(table, dict) and _is_server(table):
                yield str(name), table, (*path, name)
            elif isinstance(table, dict) and name in CONTAINERS:
                yield from _members(table, (*path, name))
    elif isinstance(value, list):  # Continue and some others keep a list with names in it
        for index, table in enumerate(value):
            if isinstance(table, dict) and _is_server(table):
                yield str(table.get("name") or table.get("id") or index), table, (*path, index)


def _is_server(table: dict[str, Any]) -> bool:
    if _SERVER_KEYS & set(table):
        return True
    inner = table.get("transport")
    return isinstance(inner, dict) and bool(_SERVER_KEYS & set(inner))


def _server(name: str, table: dict[str, Any], path: KeyPath, document: Document) -> Server:
    nested = table.get("transport")
    if isinstance(nested, dict) and not (_SERVER_KEYS & set(table)):
        table, path = {**nested, **{k: v for k, v in table.items() if k != "transport"}}, (*path, "transport")
    words, places = _command(table, path, document)
    url_key = next((key for key in ("url", "serverUrl", "httpUrl", "uri", "endpoint", "baseUrl") if key in table), "")
    url = table.get(url_key, "")
    kind_key = next((key for key in ("type", "transport", "transportType") if isinstance(table.get(key), str)), "")
    return Server(
        name=name,
        path=path,
        document=document,
        table=table,
        command=words,
        places=places,
        url=url if isinstance(url, str) else "",
        url_path=(*path, url_key),
        transport=str(table.get(kind_key, "")).lower(),
        transport_path=(*path, kind_key),
        environment=_pairs(table, path, ("env", "envs", "environment", "env_vars")),
        headers=_pairs(table, path, ("headers", "http_headers", "requestInit", "header")),
    )


def _command(table: dict[str, Any], path: KeyPath, document: Document) -> tuple[list[str], list[KeyPath]]:
    words: list[str] = []
    places: list[KeyPath] = []
    key = "command" if "command" in table else "cmd"
    command = table.get(key)
    at: KeyPath = (*path, key)
    if isinstance(command, dict):  # Zed: { "path": …, "args": … }
        inner, inner_places = _command({"command": command.get("path"), "args": command.get("args")}, at, document)
        renamed: list[KeyPath] = [(*at, "path") if place == (*at, "command") else place for place in inner_places]
        return inner, renamed
    if isinstance(command, list):
        for index, word in enumerate(command):
            words.append(str(word))
            places.append((*at, index))
    elif isinstance(command, str):
        split = command.split() if re.search(r"\s", command) and not command.startswith(("/", "C:", '"')) else [command]
        words += split
        places += [at] * len(split)
    arguments = table.get("args", table.get("arguments"))
    name = "args" if "args" in table else "arguments"
    if isinstance(arguments, list):
        for index, word in enumerate(arguments):
            words.append(str(word))
            places.append((*path, name, index))
    elif isinstance(arguments, str):
        words += arguments.split()
        places += [(*path, name)] * len(arguments.split())
    return words, places


def _pairs(table: dict[str, Any], path: KeyPath, names: tuple[str, ...]) -> dict[str, tuple[str, KeyPath]]:
    found: dict[str, tuple[str, KeyPath]] = {}
    for name in names:
        inner, at = table.get(name), (*path, name)
        if name == "requestInit" and isinstance(inner, dict):
            inner, at = inner.get("headers"), (*at, "headers")
        if isinstance(inner, dict):
            for key, value in inner.items():
                if isinstance(value, (str, int, float)):
                    found[str(key)] = (str(value), (*at, key))
        elif isinstance(inner, list):
            for index, pair in enumerate(inner):
                if isinstance(pair, str) and "=" in pair:
                    key, _, text = pair.partition("=")
                    found[key] = (text, (*at, index))
    return found
