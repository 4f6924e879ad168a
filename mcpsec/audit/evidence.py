"""Evidence of an audit: the report, dated, tied to what was deployed, and signed.

One JSON document (``mcpsec.audit-evidence/1``): the report, digests of policy, clients and pins as they were, and an
Ed25519 signature over its canonical form (sorted keys, no spaces). The key is the one that signs the deployment's
audit log, else one that is made in the directory; its public half lies beside the evidence.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.audit.readers.deployment import DeploymentFile
from mcpsec.clientfiles.positions import Malformed
from mcpsec.errors import ConfigurationError
from mcpsec.reading import is_file

if TYPE_CHECKING:
    from mcpsec.audit.runner import Audit
    from mcpsec.audit.subjects import Subject
    from mcpsec.telemetry.keys import LogKey

__all__ = ["SCHEMA", "deployed", "digests", "signed_by", "write"]

SCHEMA = "mcpsec.audit-evidence/1"
_KEY = "audit"


def digests(subject: Subject) -> dict[str, str]:
    """Digests of what item 9 watches in a deployment: its policy, its clients, its pins."""
    model: DeploymentFile = subject.model
    data = model.document.data
    parts = {
        "policy": {name: data.get(name) for name in ("roles", "rules", "upstreams", "auth")},
        "clients": data.get("clients"),
    }
    found = {name: _digest(json.dumps(part, sort_keys=True, default=str).encode()) for name, part in parts.items()}
    pins = model.table("pins").get("file", "mcpsec.lock")
    try:
        found["pins"] = _digest((subject.path.parent / str(pins)).read_bytes())
    except OSError:
        found["pins"] = ""
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def deployed(subjects: Iterable[Subject]) -> list[Subject]:
    """The deployment files that can be read."""
    found = []
    for subject in subjects:
        if subject.kind == "deployment":
            try:
                _ = subject.model
            except Malformed:
                continue
            found.append(subject)
    return found


def write(found: Audit, directory: Path) -> Path:
    """Write the evidence of an audit and return its file.

    Raises:
        ConfigurationError: the directory or the signing key can't be used.
    """
    from mcpsec.writing import PUBLIC, write_atomic

    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"can't be made: {error.strerror}", path=directory) from None
    deployments = deployed(found.subjects)
    key = _key(deployments, directory)
    now = datetime.now(UTC)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "created": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "deployments": [{"path": each.label, **digests(each)} for each in deployments],
        "report": found.document(),
    }
    signature = base64.b64encode(key.sign(_canonical(document))).decode()
    document["signature"] = {
        "algorithm": "ed25519",
        "key": key.public.pem.decode(),
        "fingerprint": key.public.fingerprint,
        "value": signature,
    }
    path = directory / f"audit-{now:%Y-%m-%dT%H%M%SZ}.json"
    write_atomic(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(), PUBLIC)
    return path


def _key(deployments: list[Subject], directory: Path) -> LogKey:
    """The key of the deployment's log when it is there, else one of the evidence itself."""
    from mcpsec.telemetry.keys import LogKey, key_paths

    for each in deployments:
        log = each.model.table("log").get("file")
        if isinstance(log, str) and is_file(key_paths(each.path.parent / log)[0]):
            return LogKey.load_or_make(each.path.parent / log)
    return LogKey.load_or_make(directory / _KEY)


def signed_by(document: dict[str, Any]) -> str:
    """The fingerprint of the key that signed a piece of evidence; empty when the signature does not hold."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from mcpsec.telemetry.keys import PublicKey

    signature = document.get("signature")
    if not isinstance(signature, dict):
        return ""
    try:
        key = load_pem_public_key(str(signature["key"]).encode())
        value = base64.b64decode(str(signature["value"]), validate=True)
    except (KeyError, ValueError, binascii.Error):
        return ""
    if not isinstance(key, Ed25519PublicKey):
        return ""
    public = PublicKey(key)
    rest = {name: part for name, part in document.items() if name != "signature"}
    return public.fingerprint if public.verifies(value, _canonical(rest)) else ""
