"""Which findings are not reported: inline comments, the ignore file, allow-lists, baselines, and other tools' files.

Loaded only when there is something to report, so that a clean run pays nothing.
"""

from __future__ import annotations

import os

from mcpsec.leaks.expressions import expression

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcpsec.leaks.configuration import Configuration
    from mcpsec.leaks.findings import Finding, Match
    from mcpsec.leaks.linear import TextExpression

__all__ = ["IGNORE_FILE", "Allowed", "inline"]

IGNORE_FILE = ".mcpsec-secrets-ignore"
_INLINE = expression(
    rb"(?i)mcpsec:allow(?:[= ]\s*(?P<rules>[a-z0-9-]+(?:,[a-z0-9-]+)*))?(?:\s|[*/\->;)]|$)|(?:gitleaks|betterleaks):allow"  # noqa: E501
    rb"|pragma: ?(?:white|allow)list secret"
)
_FINGERPRINT, _COMMIT = expression(r"[0-9a-f]{32}"), expression(r"[0-9a-f]{40}")
_NEXT_LINE = expression(rb"(?i)pragma: ?(?:white|allow)list nextline secret|mcpsec:allow-next-line")
_ENTRY = expression(r"(?P<what>\S+)(?P<options>(?:\s+(?:rule|until)=\S*)*)(?:\s+(?P<reason>\S.*))?$")


def inline(data: bytes, match: Match) -> bool:
    """True when the match's line (or the line before, for the next-line forms) allows it."""
    begin = data.rfind(b"\n", 0, match.start) + 1
    end = data.find(b"\n", match.end)
    line = data[begin : end if end >= 0 else len(data)][:20_000]
    found = _INLINE.search(line) if _may_allow(line) else None
    if found:
        rules = found.group("rules")
        if rules is None or match.rule.id.encode() in rules.split(b","):
            return True
    if begin:
        before = data[data.rfind(b"\n", 0, begin - 1) + 1 : begin][:20_000]
        return _may_allow(before) and _NEXT_LINE.search(before) is not None
    return False


def _may_allow(line: bytes) -> bool:
    """A quick look for a word that every one of the forms has; few lines with a finding have one."""
    lower = line.lower()
    return b"allow" in lower or b"whitelist" in lower


class Allowed:
    """What a repository's files say is known or meant. ``today`` is an ISO date (UTC)."""

    def __init__(self, root: str, configuration: Configuration | None, *, today: str, warn: list[str]) -> None:
        self._configuration = configuration
        self._fingerprints: set[str] = set()
        self._paths: list[tuple[TextExpression, str]] = []
        self._gitleaks: set[tuple[str, str, int]] = set()
        self._hashes: dict[str, set[str]] = {}
        if configuration is not None or root:
            self._read_ignore(os.path.join(root, IGNORE_FILE), today, warn)  # noqa: PTH118
            self._read_gitleaksignore(os.path.join(root, ".gitleaksignore"))  # noqa: PTH118
            self._read_secrets_baseline(os.path.join(root, ".secrets.baseline"), warn)  # noqa: PTH118
        self._root = os.path.abspath(root or ".")  # noqa: PTH100

    def _read_ignore(self, path: str, today: str, warn: list[str]) -> None:
        for number, line in enumerate(_lines(path), 1):
            entry = _ENTRY.match(line)
            if entry is None or line.startswith("#"):
                continue
            options = dict(option.split("=", 1) for option in entry["options"].split())
            until = options.get("until")
            if until is not None and not _is_date(until):
                warn.append(f"{path}:{number}: until={until}: not a date like 2027-01-31; the exception is not applied")
                continue
            if options.get("rule") == "":
                warn.append(f"{path}:{number}: rule= names no rule; the exception is not applied")
                continue
            if until and until < today:
                warn.append(f"{path}:{number}: the exception ended on {until}")
                continue
            if not entry["reason"]:
                warn.append(f"{path}:{number}: an exception needs a reason; it is not applied")
                continue
            if _FINGERPRINT.fullmatch(entry["what"]):
                self._fingerprints.add(entry["what"])
            else:
                self._paths.append((glob(entry["what"]), options.get("rule", "")))

    def _read_gitleaksignore(self, path: str) -> None:
        for line in _lines(path):
            parts = line.split("#")[0].strip().rsplit(":", 2)
            if len(parts) == 3 and parts[2].isdigit():
                name = parts[0]
                commit, _, rest = name.partition(":")
                if _COMMIT.fullmatch(commit):
                    name = rest
                self._gitleaks.add((name, parts[1], int(parts[2])))

    def _read_secrets_baseline(self, path: str, warn: list[str]) -> None:
        if not os.path.isfile(path):  # noqa: PTH113
            return
        import json

        try:
            with open(path, encoding="utf-8") as stream:  # noqa: PTH123
                results = json.load(stream).get("results", {})
            for name, entries in results.items():
                self._hashes[name] = {entry["hashed_secret"] for entry in entries}
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            warn.append(f"{path}: not a detect-secrets baseline; not applied")

    def match(self, match: Match, data: bytes, path: str) -> bool:
        """True when a match is meant to be there; asked while its value is still known."""
        if inline(data, match):
            return True
        relative = self._relative(path)
        if self._configuration is not None and self._configuration.allows(match, data, relative):
            return True
        hashes = self._hashes.get(relative)
        if hashes:
            from hashlib import sha1

            return sha1(match.value.encode(), usedforsecurity=False).hexdigest() in hashes
        return False

    def finding(self, finding: Finding) -> bool:
        """True when a finding is ignored by fingerprint, by path, or by a gitleaks entry."""
        if finding.fingerprint in self._fingerprints:
            return True
        relative = self._relative(finding.path)
        if any(pattern.match(relative) and rule in ("", finding.rule.id) for pattern, rule in self._paths):
            return True
        return any(name == relative and line == finding.line for name, _, line in self._gitleaks)

    def _relative(self, path: str) -> str:
        absolute = os.path.abspath(path)  # noqa: PTH100
        inside = absolute.startswith(self._root + os.sep)
        return (absolute[len(self._root) + 1 :] if inside else path).replace(os.sep, "/")


def glob(pattern: str) -> TextExpression:
    """A path glob (``**`` over directories) over relative paths with ``/``; what is none fits no path."""
    from mcpsec.leaks.gitignore import NOTHING, translate
    from mcpsec.leaks.linear import NotLinearError, TextExpression

    source = translate(pattern)
    try:
        return TextExpression(source.removesuffix(r"\z") + r"(?:/.*)?\z" if source else NOTHING, names=True)
    except NotLinearError:
        return TextExpression(NOTHING, names=True)


def _is_date(text: str) -> bool:
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            return [line.strip() for line in stream]
    except OSError:
        return []
