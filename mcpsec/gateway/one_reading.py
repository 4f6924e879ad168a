"""A message of an upstream that two readers could read in two ways becomes one that all read alike.

The guard judges what its own reader finds. A client's may find another: of a member that is there twice some readers
take the first (RapidJSON, simdjson) and some the last, some take ``Tools`` for ``tools`` (Go), and what is a request
and an answer at once, or an answer with a result and an error, is whatever a client looks for first. So what was not
judged does not go on: nothing is refused for it, since a sloppy server is more frequent than a hostile one.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DOUBLED", "settle"]

DOUBLED = "doubled-member"
_ENVELOPE = frozenset({"error", "id", "jsonrpc", "method", "params", "result"})
_JUDGED = frozenset(
    {
        "_meta", "cacheScope", "capabilities", "content", "inputRequests", "instructions", "isError", "nextCursor",
        "prompts", "protocolVersion", "requestState", "resourceTemplates", "resources", "resultType",
        "structuredContent", "task", "taskId", "tasks", "tools", "uri",
    }
)  # fmt: skip
"""Members of a result, or of a notification's parameters, that decide what becomes of it here or at its client."""
_FOLDED = {known: frozenset(name.casefold() for name in known) for known in (_ENVELOPE, _JUDGED)}


def settle(frame: dict[str, Any]) -> str:
    """Take out of a message, in place, what only some readers would find. Returns what that was, or ``""``."""
    found = _in_other_letters(frame, _ENVELOPE)
    for member in ("result", "params"):
        inner = frame.get(member)
        if isinstance(inner, dict):
            found = _in_other_letters(inner, _JUDGED) or found
    if "method" in frame:
        if "result" in frame or "error" in frame:
            frame.pop("result", None)
            frame.pop("error", None)
            found = "request-and-answer"
    elif "result" in frame and "error" in frame:
        # Some servers say ``"error": null`` with each result. With both, the call has failed.
        del frame["error" if frame["error"] is None else "result"]
        found = "result-and-error"
    return found


def _in_other_letters(members: dict[str, Any], known: frozenset[str]) -> str:
    if known.issuperset(members):
        return ""
    folded = _FOLDED[known]
    odd = [name for name in members if name not in known and name.casefold() in folded]
    for name in odd:
        del members[name]
    return "member-in-other-letters" if odd else ""
