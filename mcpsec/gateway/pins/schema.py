"""Arguments against the pinned input schema: JSON Schema 2020-12, bounded, with no way to the network or the disk."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["ArgumentSchema", "UnusableSchemaError"]

_MAXIMUM_BYTES = 1 << 20
_BACKTRACKING = 10_000
_REGEX_BYTES = 10 << 20
_MOST_POINTERS = 3


class UnusableSchemaError(Exception):
    """A schema that can't be enforced: not a schema, too large, or it refers to something outside itself."""


class ArgumentSchema:
    """The compiled ``inputSchema`` of one tool. Raises UnusableSchemaError."""

    def __init__(self, schema: Any) -> None:
        if not isinstance(schema, dict):
            raise UnusableSchemaError("inputSchema is not an object")
        try:
            size = len(orjson.dumps(schema))
        except orjson.JSONEncodeError:
            raise UnusableSchemaError("inputSchema is nested too deep") from None
        if size > _MAXIMUM_BYTES:
            raise UnusableSchemaError("inputSchema is larger than 1 MiB")
        import jsonschema_rs  # 3 MiB, for upstreams that are pinned

        validator = _compiled(schema, jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES))
        # Only look-around and back-references need the backtracking engine, which gives up after a bounded effort.
        validator = validator or _compiled(schema, jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKING))
        if validator is None:
            raise UnusableSchemaError("inputSchema is not a JSON Schema that can be enforced")
        self._validator = validator

    def faults(self, arguments: Any) -> list[str]:
        """Where arguments break the schema, as JSON pointers with the keyword: never a value. Empty when they fit."""
        try:
            return [] if self._validator.is_valid(arguments) else self._explain(arguments)
        except (TypeError, ValueError):  # nested deeper than it reads
            return ["/: depth"]

    def _explain(self, arguments: Any) -> list[str]:
        found = []
        for error in self._validator.iter_errors(arguments):
            pointer = "".join(f"/{part}" for part in error.instance_path)[:200]
            keyword = next((str(part) for part in reversed(error.schema_path) if isinstance(part, str)), "schema")
            found.append(f"{pointer or '/'}: {keyword}"[:300])
            if len(found) == _MOST_POINTERS:
                break
        return found or ["/: schema"]


def _compiled(schema: dict[str, Any], patterns: Any) -> Any:
    import jsonschema_rs

    draft7 = "draft-07" in str(schema.get("$schema", ""))
    make = jsonschema_rs.Draft7Validator if draft7 else jsonschema_rs.Draft202012Validator
    try:
        return make(schema, pattern_options=patterns, offline=True, validate_formats=False)
    except (TypeError, ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return None
