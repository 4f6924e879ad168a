"""References to secrets: where a secret is kept, never the secret itself.

A configuration names a secret by a small table, ``{ env = "NAME" }``, ``{ file = "secrets/x" }`` or
``{ command = ["op", "read", "op://vault/item/field"] }``. ``SecretRef.parse`` reads one, ``resolve`` fetches the
secret at the moment it is needed. A new kind is one class in ``sources`` and one entry in its table.
"""

from mcpsec.secretrefs.managers import AppRole, AwsSettings, KubernetesLogin, VaultSettings, configure
from mcpsec.secretrefs.reference import ENCODINGS, SOURCES, SecretRef, reference_schema
from mcpsec.secretrefs.sources import CommandSource, EnvSource, FileSource, Source

__all__ = [
    "ENCODINGS",
    "SOURCES",
    "AppRole",
    "AwsSettings",
    "CommandSource",
    "EnvSource",
    "FileSource",
    "KubernetesLogin",
    "SecretRef",
    "Source",
    "VaultSettings",
    "configure",
    "reference_schema",
]
