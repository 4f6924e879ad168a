"""References to secrets: where a secret is kept, never the secret itself.

A configuration names a secret by a small table, ``{ env = "NAME" }``, ``{ file = "secrets/x" }`` or
``{ command = ["op", "read", "op://vault/item/field"] }``. ``SecretRef.parse`` reads one, ``resolve`` fetches the
secret at the moment it is needed. A new kind is one class in ``sources`` and one entry in its table.
"""

from mcpsec.secretrefs.reference import ENCODINGS, SecretRef, reference_schema
from mcpsec.secretrefs.sources import SOURCES, CommandSource, EnvSource, FileSource, Source

__all__ = [
    "ENCODINGS",
    "SOURCES",
    "CommandSource",
    "EnvSource",
    "FileSource",
    "SecretRef",
    "Source",
    "reference_schema",
]
