"""mcpsec's own deployment file, and what belongs to it: certificates, the PKI, the log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.clientfiles.positions import Document, toml_document
from mcpsec.reading import is_file

if TYPE_CHECKING:
    from mcpsec.audit.collection import Collected
    from mcpsec.audit.subjects import Subject
    from mcpsec.deployment.model import Deployment
    from mcpsec.deployment.problems import Problem

__all__ = ["DeploymentFile", "companions", "pki_of", "read"]


@dataclass(frozen=True)
class DeploymentFile:
    """The file as written, and as loaded; ``deployment`` is None while it has problems."""

    document: Document
    deployment: Deployment | None
    problems: list[Problem]

    def table(self, *path: str) -> dict[str, Any]:
        """A table of the file as written; empty when it is not there or is no table."""
        value: Any = self.document.data
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """An array of tables, as ``[[clients]]``."""
        value = self.document.data.get(name)
        return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def read(subject: Subject) -> DeploymentFile:
    """Read a deployment file. Raises Malformed when it is no TOML; other faults are kept as problems."""
    from mcpsec.deployment.loading import read as read_deployment

    document = toml_document(subject.text)
    deployment, problems = read_deployment(subject.text, subject.path)
    return DeploymentFile(document, deployment, problems)


def pki_of(certificate: Path) -> Path | None:
    """The directory of ``mcpsec certs`` that a file belongs to, None when it comes from elsewhere."""
    for folder in list(certificate.parents)[:4]:
        if is_file(folder / "pki.toml"):
            return folder
    return None


def companions(subject: Subject, found: Collected, root: Path) -> None:
    """Add what a deployment file names to what is judged: its log, its certificates, its PKI."""
    from mcpsec.audit.collection import open_subject

    try:
        document = toml_document(subject.text)
    except ValueError:
        return
    base = subject.path.parent
    for path, kind in _named(document.data, base):
        added = open_subject(path, root, found, kind=kind, quiet=True)
        if added is not None:
            added.facts.setdefault("deployment", subject)


def _named(data: dict[str, Any], base: Path) -> Iterator[tuple[Path, str]]:
    def text(*path: str) -> Path | None:
        value: Any = data
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return base / value if isinstance(value, str) and value else None

    if (log := text("log", "file")) is not None:
        yield log, "log"
    if (pins := text("pins", "file")) is not None:
        yield pins, "pins"
    for name, kind in (("certificate", "certificate"), ("key", "key")):
        if (path := text("server", "tls", name)) is not None:
            yield path, kind
    certificate = text("server", "tls", "certificate")
    pki = pki_of(certificate) if certificate is not None else None
    if pki is not None:
        with contextlib.suppress(OSError):
            for path in sorted(pki.glob("*/*/*.pem")):
                if path.parent.parent.name in ("client", "server") and path.name in ("cert.pem", "key.pem"):
                    yield path, "key" if path.name == "key.pem" else "certificate"
            for name in ("client", "server", "root"):
                yield from ((path, "key") for path in sorted((pki / "private" / name).glob("key*.pem")))
