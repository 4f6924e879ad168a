"""What belongs to the gateway alone: no program is given it because it happens to lie beside that program's files."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.secretrefs import SecretRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpsec.deployment.model import Deployment

__all__ = ["private_paths"]


def private_paths(deployment: Deployment) -> frozenset[Path]:
    """The deployment file, the gateway's key, the keys of its PKI, the file of every secret, and the log."""
    tls, log = deployment.server.tls, deployment.log.file
    found = {tls.key, log, log.with_name(f"{log.name}.key"), *_secret_files(deployment)}
    if deployment.path is not None:
        found.add(deployment.path)
    for file in (tls.key, tls.client_ca):  # the authorities' keys are there too, and nothing in the file names them
        pki = next((parent for parent in file.parents if (parent / "pki.toml").is_file()), None)
        if pki is not None:
            found |= {pki / name for name in ("private", "client", "server", "pki.toml")}
    return frozenset(path.resolve() for path in found)


def _secret_files(part: Any) -> Iterator[Path]:
    """The files that any reference in a part of the deployment names."""
    if isinstance(part, SecretRef):
        path = getattr(part.source, "path", None)
        if isinstance(path, Path):
            yield path
    elif is_dataclass(part):
        for field in fields(part):
            yield from _secret_files(getattr(part, field.name))
    elif isinstance(part, dict):
        for value in part.values():
            yield from _secret_files(value)
    elif isinstance(part, (tuple, list)):
        for value in part:
            yield from _secret_files(value)
