"""What an answer must not carry out: credentials, keys and certificates, and the inside of the server that failed.

The engine that scans repositories looks at every message on its way to a client. A clean one costs a few microseconds
and stays the bytes that it was. In a message with a secret, every text is cleaned for itself, also those that only the
name beside them makes a secret. Stack traces and paths of the server's machine in errors are replaced by the request's
id, under which the log keeps where the trace came from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
import re2

from mcpsec.leaks import clean
from mcpsec.leaks.redaction import holds_secret, is_quiet
from mcpsec.protocol import codes
from mcpsec.protocol.exact import exact_bytes
from mcpsec.protocol.jsonrpc import has_doubled_members

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcpsec.deployment.model import ErrorDetails, OnSecret
    from mcpsec.gateway.message import Exchange

__all__ = ["AnswerCleaner"]

_ENVELOPE = frozenset({"jsonrpc", "id"})
_BINARY = frozenset({"image", "audio"})
_MOST_DETAIL = 400
_MOST_DEPTH = 200
_SHORT = 16 * 1024
"""Bytes of a message that is looked at together with others."""
_OPENS, _CLOSES = b"{}"
_B, _M, _BACKSLASH = b"BM\\"  # numbers: to look for a text of bytes, Python raises an exception and drops it first
_TOO_DEEP = "nested-too-deeply"
_BLOCK = "certificate-or-key"
_certificates = re2.compile(
    r"(?s)-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|$)|\b(?:MII[A-Za-z0-9+/=\r\n]{200,})"
)
"""PEM of any kind (certificates are no secrets, but say who talks to whom), and DER in base64."""

_TRACES = re2.compile(
    r"(?m)Traceback \(most recent call last\)"
    r'|^\s*File "[^"\n]+", line \d+'
    r"|^\s*at .{0,200}\(?(?:file://|node:|/|[A-Za-z]:\\|\w[\w./-]*\.(?:java|kt|scala|js|mjs|cjs|ts|cs|php|rb))[^\n]{0,200}:\d+(?::\d+)?\)?\s*$"
    r"|^\s*at [\w.$<>]+\((?:Unknown Source|Native Method|\w+\.(?:java|kt|scala):\d+)\)"
    r"|^\s*at [\w.`<>\[\]]+\(.{0,200}\) in .{1,200}:line \d+"
    r"|goroutine \d+ \["
    r"|^\s*from \S+\.rb:\d+:in "
    r"|^#\d+ +(?:0x[0-9a-f]+ |/|\{main\})"
    r"|thread '[^']*' panicked at "
    r"|stack backtrace:"
)
_PLACES = (
    r'File "([^"\n]{1,200})", line (\d{1,7})|\(?((?:file://|node:)?[\w./@\\-]{1,200}\.\w{1,5}):(?:line )?(\d{1,7})'
)
"""Compiled when an error first needs it (``re`` keeps it then), as the one below."""

_ROOTS = (
    "Applications|Library|System|Users|Volumes|app|bin|boot|code|data|dev|etc|home|lib|lib64|media|mnt|nix|node_modules|"
    "opt|private|proc|root|run|sbin|site-packages|snap|src|srv|sys|tmp|usr|var|work|workspace|workspaces"
)
_PATHS = (
    rf"(?<![\w/:.~-])(?:file://)?/(?:{_ROOTS})(?:/[\w.@+%=~-]+)+/?"
    r"|(?<![\w/:.~-])/(?:[\w.@+%=~-]+/)*[\w.@+%=~-]+\.(?:py|js|mjs|cjs|ts|go|rb|java|rs|php|cs|so|dll|toml|ya?ml|json|env|pem|key|db|sqlite3?)\b"
    r"|\b[A-Za-z]:\\(?:[^\\\s\"'<>|:]+\\)+[^\\\s\"'<>|:]*"
)


class AnswerCleaner:
    """Cleans the messages of one upstream, in place."""

    def __init__(self, secrets: OnSecret, errors: ErrorDetails) -> None:
        self._secrets = secrets
        self._errors = errors

    def is_clean(self, frame: dict[str, Any], data: bytes) -> bool:
        """Whether a message with this text, which is no error, holds nothing to take out."""
        if self._secrets == "pass":
            return True
        return not _is_suspicious(data) and (_BACKSLASH not in data or not _hides_secret(frame))

    def are_clean(self, found: Sequence[tuple[dict[str, Any], bytes]]) -> bool:
        """Whether none of several such messages does; False where that can't be told of all together.

        They can where nothing in a text that holds them all looks like anything: each begins and ends with a brace,
        with which nothing that is looked for at a text's beginning or end begins or ends. What looks like something is
        never judged beside another's words.
        """
        if self._secrets == "pass":
            return True
        texts = [data for _, data in found]
        if len(texts) == 1:
            return self.is_clean(*found[0])
        if not all(data[0] == _OPENS and data[-1] == _CLOSES and len(data) <= _SHORT for data in texts):
            return False
        together = b"\n".join(texts)
        if not is_quiet(together) or _shows_block(together):
            return False
        return _BACKSLASH not in together or not any(
            _BACKSLASH in data and _hides_secret(frame) for frame, data in found
        )

    def clean(self, exchange: Exchange, frame: dict[str, Any], data: bytes | None = None) -> bool:
        """Clean one message; True when it was changed. ``data`` is its text, if it is at hand unchanged."""
        changed = self._errors == "hide" and _conceal(exchange, frame)
        if self._secrets == "pass":
            return changed
        if changed or data is None:
            try:
                data = exact_bytes(frame)
            except orjson.JSONEncodeError:  # deeper than anything that is passed on
                return changed
        if self.is_clean(frame, data):
            return changed
        rules: list[str] = []
        for member, value in frame.items():
            if member not in _ENVELOPE or (member == "id" and value != exchange.due):  # its client's own stays
                frame[member] = _redacted(value, "", 0, rules)
        _clean_names(frame, rules)
        if not rules:
            # What came twice, of which our reader has dropped the first, is not passed on: it is written again, which
            # rounds integers of more than 64 bits. All else stays as it came.
            return changed or has_doubled_members(data, frame)
        exchange.redactions += len(rules)
        for rule in rules:
            exchange.guard("secret-blocked" if self._secrets == "block" else "secret-redacted", rule)
        if self._secrets == "block":
            _block(exchange, frame)
        return True


def _hides_secret(frame: dict[str, Any]) -> bool:
    """Whether a message's words deserve the long look: the text may hide them in escapes."""
    words = "\n".join(_strings(frame))
    return _is_suspicious(words.encode("utf-8", "surrogatepass"))


def _is_suspicious(text: bytes) -> bool:
    return holds_secret(text) or _shows_block(text)


def _shows_block(text: bytes) -> bool:
    """Whether there is a key or certificate in it."""
    # One letter is looked for ten times as fast as three.
    if _B in text and b"-----BEGIN" in text:
        return True
    return _M in text and b"MII" in text and _certificates.search(text) is not None


def _strings(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            pending += each.values()
            pending += [f"{key}={inner}" if isinstance(inner, str) else key for key, inner in each.items()]
        elif isinstance(each, list):
            pending += each


def _redacted(value: Any, key: str, depth: int, rules: list[str]) -> Any:
    """A value without its secrets; the rule of each goes to ``rules``. ``key`` is the name that it stands under."""
    if isinstance(value, str):
        return _redacted_text(value, key, rules)
    if not isinstance(value, dict | list):
        return value
    if depth > _MOST_DEPTH:  # what is not looked at is not passed on
        rules.append(_TOO_DEEP)
        return f"[REDACTED:{_TOO_DEEP}]"
    if isinstance(value, dict):
        binary = value.get("type") in _BINARY
        for name, each in value.items():
            if not (binary and name == "data" and isinstance(each, str)):
                value[name] = _redacted(each, name, depth + 1, rules)
        _clean_names(value, rules)
    else:
        for index, each in enumerate(value):
            value[index] = _redacted(each, key, depth + 1, rules)
    return value


def _clean_names(members: dict[str, Any], rules: list[str]) -> None:
    """Take secrets out of the names of members; their order stays, and each member has a name of its own."""
    shown = {name: _redacted_text(name, "", rules) for name in members}
    if all(name == other for name, other in shown.items()):
        return
    kept = list(members.items())
    members.clear()
    for name, value in kept:
        other, number = shown[name], 1
        while other in members:
            number += 1
            other = f"{shown[name]} {number}"
        members[other] = value


def _redacted_text(text: str, key: str, rules: list[str]) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    cleaned, found = clean(raw)
    shown: str = cleaned.decode("utf-8", "replace") if found else text
    shown, blocks = _certificates.subn(f"[REDACTED:{_BLOCK}]", shown)
    rules += [*found, *[_BLOCK] * blocks]
    if found or blocks or not key:
        return shown
    named = clean(b"%b=%b" % (key.encode("utf-8", "surrogatepass"), raw))[1]  # only its name makes it one
    rules += named[:1]
    return f"[REDACTED:{rules[-1]}]" if named else text


def _block(exchange: Exchange, frame: dict[str, Any]) -> None:
    """Nothing of a message with a secret passes: an error in place of an answer, empty parameters in all else."""
    exchange.decision, exchange.rule = "refused", "answer-secret"
    if "method" in frame:
        frame["params"] = {}
        return
    frame.pop("result", None)
    frame["error"] = {
        "code": codes.ANSWER_UNUSABLE,
        "message": "the answer can't be passed on",
        "data": {"request": exchange.id},
    }


# --- the inside of a server that failed -------------------------------------------------------------------------------


def _conceal(exchange: Exchange, frame: dict[str, Any]) -> bool:
    """Hide stack traces and paths in an error, or in a tool's answer that says it is one."""
    error, result = frame.get("error"), frame.get("result")
    if (
        error is None
        and isinstance(result, dict)
        and result.get("isError") is not True
        and "taskId" not in result
        and "method" not in frame
    ):
        return False  # an ordinary answer
    changed = False
    task = result if "method" not in frame else frame.get("params")
    if isinstance(task, dict) and "taskId" in task:  # how the task ended stands inside of what is said about it
        changed = _conceal_task(exchange, task)
    if isinstance(error, dict):
        for member in ("message", "data"):
            if member in error:
                error[member], hidden = _concealed(exchange, error[member], 0)
                changed = changed or hidden
    elif isinstance(result, dict) and result.get("isError") is True:
        for member in ("content", "structuredContent"):
            if member in result:
                result[member], hidden = _concealed(exchange, result[member], 0)
                changed = changed or hidden
    return changed


def _conceal_task(exchange: Exchange, task: dict[str, Any]) -> bool:
    changed = _conceal(exchange, {"error": task.get("error"), "result": task.get("result")})
    if isinstance(task.get("statusMessage"), str):
        shown = _concealed_text(exchange, task["statusMessage"])
        changed = changed or shown is not task["statusMessage"]
        task["statusMessage"] = shown
    return changed


def _concealed(exchange: Exchange, value: Any, depth: int) -> tuple[Any, bool]:
    if isinstance(value, str):
        shown = _concealed_text(exchange, value)
        return shown, shown is not value
    if not isinstance(value, dict | list):
        return value, False
    if depth > _MOST_DEPTH:
        exchange.guard("error-hidden", _TOO_DEEP)
        return f"[{_TOO_DEEP}]", True
    changed = False
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        value[key], hidden = _concealed(exchange, each, depth + 1)
        changed = changed or hidden
    return value, changed


def _concealed_text(exchange: Exchange, text: str) -> str:
    if _TRACES.search(text):
        places = [f"{file or other}:{line or number}" for file, line, other, number in re.findall(_PLACES, text)]
        exchange.guard("error-hidden", "stack-trace")
        _remember(exchange, "stack trace hidden: " + (" < ".join(reversed(places[-8:])) or "no places in it"))
        return f"the server failed; the gateway's log has the details under error id {exchange.id}"
    if "/" not in text and "\\" not in text:
        return text
    known = "\n".join(_strings(exchange.arguments)) if exchange.arguments else ""
    hidden = [path for path in dict.fromkeys(re.findall(_PATHS, text)) if path not in known]
    for path in sorted(hidden, key=len, reverse=True):
        text = text.replace(path, "[path]")
    if hidden:
        exchange.guard("error-hidden", "server-path")
        _remember(exchange, "paths hidden: " + ", ".join(hidden[:4]))
    return text


def _remember(exchange: Exchange, detail: str) -> None:
    """For the log: where it happened, never what the failing call was about."""
    if not exchange.detail:
        exchange.detail = detail[:_MOST_DETAIL]
