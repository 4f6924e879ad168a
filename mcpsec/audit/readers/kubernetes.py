"""Kubernetes manifests: objects, and the pods that workloads make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpsec.clientfiles.positions import Document, Malformed

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject
    from mcpsec.clientfiles.toml import KeyPath

__all__ = ["Container", "Object", "Pod", "at", "read"]

_TEMPLATES: dict[str, KeyPath] = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Rollout"), ("spec", "template", "spec")
    ),
}


def at(value: Any, *path: str | int) -> Any:
    """What stands at a path of nested values; None where there is nothing."""
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True)
class Container:
    """One container of a pod."""

    name: str
    table: dict[str, Any]
    path: KeyPath
    init: bool = False


@dataclass(frozen=True)
class Pod:
    """The pod of a workload."""

    spec: dict[str, Any]
    path: KeyPath
    containers: list[Container]


@dataclass(frozen=True)
class Object:
    """One object. ``path`` leads into ``document`` (objects of a List stand below it)."""

    kind: str
    name: str
    namespace: str
    table: dict[str, Any]
    path: KeyPath
    document: Document

    @property
    def label(self) -> str:
        """``Deployment/name``."""
        return f"{self.kind}/{self.name}"

    @property
    def pod(self) -> Pod | None:
        """The pod that it makes, None for objects that make none."""
        inner = _TEMPLATES.get(self.kind)
        spec = at(self.table, *inner) if inner else None
        if not isinstance(spec, dict) or inner is None:
            return None
        where: KeyPath = (*self.path, *inner)
        return Pod(spec, where, list(_containers(spec, where)))


def read(subject: Subject) -> list[Object]:
    """Every object of the file. Raises Malformed."""
    found: list[Object] = []
    for document in subject.documents:
        found += _objects(document.data, (), document, 0)
    if not found:
        raise Malformed("the file holds no Kubernetes object")
    return found


def _objects(data: Any, path: KeyPath, document: Document, depth: int) -> Iterator[Object]:
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str) or depth > 2:
        return
    items = data.get("items")
    if data["kind"].endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _objects(item, (*path, "items", index), document, depth + 1)
        return
    name, namespace = at(data, "metadata", "name"), at(data, "metadata", "namespace")
    yield Object(data["kind"], str(name or "?"), str(namespace or ""), data, path, document)


def _containers(spec: dict[str, Any], path: KeyPath) -> Iterator[Container]:
    for key in ("containers", "initContainers"):
        rows = spec.get(key)
        for index, table in enumerate(rows if isinstance(rows, list) else []):
            if isinstance(table, dict):
                yield Container(str(table.get("name", index)), table, (*path, key, index), key == "initContainers")
