"""Other people's files, one kind a module: each has ``read(subject)``, which raises ``Malformed`` for what it is not.

A reader keeps where things stand, bounds what it takes, and decides nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject

__all__ = ["READERS", "read"]

READERS = {
    "caddy": "caddy",
    "certificate": "certificates",
    "client": "clients",
    "compose": "compose",
    "deployment": "deployment",
    "dockerfile": "dockerfile",
    "haproxy": "haproxy",
    "key": "certificates",
    "kubernetes": "kubernetes",
    "nginx": "nginx",
    "systemd": "systemd",
}


def read(subject: Subject) -> Any:
    """What the reader of the subject's kind makes of it; its documents for kinds that need no reader."""
    name = READERS.get(subject.kind)
    if name is None:
        _ = None if subject.kind in ("log", "environment") else subject.document  # Malformed when there is nothing
        return subject
    return import_module(f"mcpsec.audit.readers.{name}").read(subject)
