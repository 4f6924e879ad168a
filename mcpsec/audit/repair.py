"""Safe repairs of one line or of a file's permissions: shown as a diff first, applied whole or not at all."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mcpsec.audit.model import Edit, Result, State
from mcpsec.errors import ConfigurationError
from mcpsec.writing import write_output

__all__ = ["Repair", "apply", "plan"]


_PAIR = re.compile(r"""(?P<name>[\w.-]+)["']?\s*[:=]\s*["']?(?P<value>[^"',}\n]+)""")


def _masked(text: str) -> str:
    """A text without its secrets, line for line: a repair's lines may hold what has nothing to do with it."""
    from mcpsec.audit.literals import is_literal_secret
    from mcpsec.leaks.detection import find

    raw = text.encode("utf-8", "surrogatepass")
    spans = [(match.start, match.end) for match in find(raw, floor=1)]
    for pair in _PAIR.finditer(text):
        if is_literal_secret(pair["name"], pair["value"], weak=True):
            begin = len(text[: pair.start("value")].encode("utf-8", "surrogatepass"))
            spans.append((begin, begin + len(pair["value"].encode("utf-8", "surrogatepass"))))
    for begin, end in sorted(spans, reverse=True):
        hidden = b"****" + b"\n" * raw.count(b"\n", begin, end)
        raw = raw[:begin] + hidden + raw[max(begin, end) :]
    return raw.decode("utf-8", "replace")


@dataclass
class Repair:
    """What is to be changed in one file."""

    path: Path
    before: str = ""
    after: str = ""
    mode: int | None = None
    checks: list[str] = field(default_factory=list)

    def diff(self) -> str:
        """The change as people read it."""
        lines = []
        if self.mode is not None:
            lines.append(f"chmod {self.mode:o} {self.path}")
        if self.before != self.after:
            old, new = _masked(self.before).splitlines(), _masked(self.after).splitlines()
            lines += difflib.unified_diff(old, new, f"{self.path}", f"{self.path}", n=1, lineterm="")
        return "\n".join(lines)


def plan(results: Iterable[Result]) -> list[Repair]:
    """The repairs of what fails, one for each file; edits that overlap are left for the next run."""
    repairs: dict[str, Repair] = {}
    edits: dict[str, list[tuple[Edit, str]]] = {}
    for result in results:
        edit = result.edit
        if edit is None or result.state is not State.FAIL:
            continue
        repair = repairs.setdefault(edit.path, Repair(Path(edit.path)))
        if edit.mode is not None:
            repair.mode = edit.mode
            repair.checks.append(result.check)
        else:
            edits.setdefault(edit.path, []).append((edit, result.check))
    for path, wanted in edits.items():
        repair = repairs[path]
        repair.before = _text(repair.path)
        repair.after = repair.before
        last = len(repair.before) + 1
        for edit, check in sorted(wanted, key=lambda each: -each[0].start):
            if edit.end <= last:
                repair.after = repair.after[: edit.start] + edit.text + repair.after[edit.end :]
                repair.checks.append(check)
                last = edit.start
    return [repair for repair in repairs.values() if repair.mode is not None or repair.before != repair.after]


def apply(repair: Repair) -> None:
    """Write a repair, if the file is still what the audit saw.

    Raises:
        ConfigurationError: it is not, or it can't be written.
    """
    try:
        if repair.before != repair.after:
            if _text(repair.path) != repair.before:
                raise ConfigurationError("changed since it was judged; run the audit again", path=repair.path)
            write_output(repair.path, repair.after.encode("utf-8"))
        if repair.mode is not None:
            repair.path.chmod(repair.mode)
    except OSError as error:
        raise ConfigurationError(f"can't be changed: {error.strerror}", path=repair.path) from None


def _text(path: Path) -> str:
    """The file as the reader saw it: without the byte order mark, which stays out of the repaired file."""
    return path.read_bytes().decode("utf-8-sig", "strict")
