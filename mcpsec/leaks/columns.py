"""Values whose name stands at the head of their column: tables of wikis, CSV files, SQL inserts.

``| host | password |`` and the row below it, ``user,password`` in a file's first line, ``INSERT INTO users (name,
password) VALUES ('admin', '…')``, ``COPY users (name, password) FROM stdin``: the name and the value are as far apart
as the table is wide, so the fields of head and row are counted. The judgement is that of every other value beside a
name, with less trust.
"""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import Match
from mcpsec.leaks.names import kind_of
from mcpsec.leaks.secrecy import MEDIUM, judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Sequence

    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["GATES", "REACH", "detect"]

REACH = 1024
"""The longest head that is looked at, in bytes."""
MOST_ROWS = 200
_WORD = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|passwort|wachtwoord|contrase|senha|mdp\w{0,8}|mot_?de_?passe|kennwort|sifre"
    r"|heslo|haslo|parola|secret|token|api[ _-]?key)"
)
_INTO = r"\binto[ \t]+[^\s(]{1,100}\s{0,20}\("
_NAMES = rf"[^()]{{0,400}}?{_WORD}[^()]{{0,400}}"
_VALUES = r"\)\s{0,40}values\s{0,20}"
_TABLE = (
    rf"\|[^\n]{{0,300}}?\b{_WORD}[ \t*`]{{0,4}}\|[^\n]{{0,300}}\n[ \t>]{{0,8}}\|[ \t]{{0,8}}:?-{{2,80}}:?[ \t]{{0,8}}\|"
)
_CSV = rf"[\w \"'.,;\t-]{{0,400}}?{_WORD}\"?(?:[,;\t][\w \"'.,;\t-]{{0,400}})?\r?\n"
_COPY = r"\bcopy[ \t]+[\w.\"]{1,100}[ \t]*\("
_STDIN = r"\)[ \t]+from[ \t]+stdin[^\n]{0,80};[ \t]*\r?\n"
GATES = (
    rf"(?i){_INTO}{_NAMES}{_VALUES}\(",
    f"(?i){_TABLE}",
    rf"(?i){_COPY}{_NAMES}{_STDIN}",
    rf"(?i)\A(?:\xef\xbb\xbf)?{_CSV}",
)

_INSERTS = expression(rf"(?i){_INTO}(?P<head>{_NAMES}){_VALUES}(?=\()".encode())
_TABLES = expression(
    rf"(?im)^[ \t>]{{0,8}}\|(?P<head>[^\n]{{0,300}}?\b{_WORD}[ \t*`]{{0,4}}\|[^\n]{{0,300}})\n"
    rf"[ \t>]{{0,8}}\|[ \t|:-]{{3,400}}\n".encode()
)
_COPIES = expression(rf"(?i){_COPY}(?P<head>{_NAMES}){_STDIN}".encode())
"""How pg_dump writes rows: one a line, fields between tabs (PostgreSQL's COPY, "File Formats")."""
_FIELD = expression(
    rb"\s*(?:N?'(?P<a>(?:[^'\\]|''|\\.){0,400})'|\"(?P<q>[^\"\n]{0,400})\"|(?P<bare>[^,()'\"]{0,200}))\s*(?=[,)])"
)
_DIGEST = expression(r"[0-9a-fA-F]{32}$|[0-9a-fA-F]{40}$|[0-9a-fA-F]{64}$|[0-9a-fA-F]{128}$")
_LINE = expression(rb"[^\r\n]{1,2000}")


def detect(
    book: Rulebook, data: bytes, lower: bytes, where: str, spans: Sequence[tuple[int, int]], floor: int = 0
) -> Iterator[Match]:
    """Every value below the name of a secret, in tables that begin in one of the spans."""
    for start, end in spans:
        if lower.find(b"values", start, end) >= 0:
            for head in _INSERTS.finditer(data, max(0, start), end):
                yield from _inserted(book, data, head)
        if lower.find(b"stdin", start, end) >= 0:
            for head in _COPIES.finditer(data, max(0, start), end):
                yield from _rows(book, data, head["head"].replace(b",", b"\t"), b"\t", head.end())
        if lower.find(b"|", start, end) >= 0:
            for head in _TABLES.finditer(data, max(0, start), min(len(data), end + 400)):
                yield from _rows(book, data, head["head"], b"|", head.end())
        if start <= 0:
            yield from _listed(book, data, where)


def _kinds(fields: Iterable[bytes]) -> list[tuple[str, str]]:
    """The name and the kind of each column, "" for one that holds no secret."""
    names = [field.strip(b" \t\r\n\"'`*[]").decode("utf-8", "replace") for field in fields]
    return [(name, kind_of(name) if len(name) <= 40 else "") for name in names]


def _judged(book: Rulebook, column: tuple[str, str], start: int, raw: bytes) -> Iterator[Match]:
    name, kind = column
    value = raw.strip(b" \t\"'`")
    if value[:1] == b"*":  # emphasis
        value = value.strip(b"*")
    if not kind or kind in ("key", "auth", "weak") or not value:
        return
    begin = start + raw.find(value)
    text = value.decode("utf-8", "replace")
    if kind == "password" and _DIGEST.match(text):
        return  # a program's own table holds what it hashed
    verdict = judge(kind, text, quoted=True, how="cell", where="text", name=name)
    rule = book.named(verdict[0]) if verdict else None
    if verdict and rule is not None:
        yield Match(rule, begin, begin + len(value), text, min(MEDIUM, verdict[1]))


def _inserted(book: Rulebook, data: bytes, head: re.Match[bytes]) -> Iterator[Match]:
    columns = _kinds(head["head"].split(b","))
    at = head.end()
    for _ in range(MOST_ROWS):
        if data[at : at + 1] != b"(":
            return
        at += 1
        matches: list[Match] = []
        for column in columns:
            field = _FIELD.match(data, at)
            if field is None:
                return
            group = str(field.lastgroup)
            if group != "bare":
                matches.extend(_judged(book, column, field.start(group), field[group]))
            at = field.end() + 1
        if data[at - 1 : at] != b")":
            return  # not as many fields as the head names
        yield from matches
        while data[at : at + 1] in (b",", b" ", b"\n", b"\r", b"\t"):
            at += 1


def _rows(book: Rulebook, data: bytes, head: bytes, mark: bytes, at: int) -> Iterator[Match]:
    """The values of the rows below a head that ends before ``at``."""
    fields = head.rstrip(b" \t\r").removesuffix(mark if mark == b"|" else b"").split(mark)
    columns = _kinds(fields)
    for _ in range(MOST_ROWS):
        line = _LINE.match(data, at)
        if line is None:
            return
        text, begin = line.group(), line.start()
        if mark == b"|":
            opened = text.find(mark) + 1
            if not opened or text[: opened - 1].strip(b" \t>"):
                return
            text, begin = text[opened:].rstrip().removesuffix(mark), begin + opened
        cells = text.split(mark)
        if len(cells) != len(columns):
            return
        for column, cell in zip(columns, cells, strict=True):
            yield from _judged(book, column, begin, cell)
            begin += len(cell) + 1
        at = line.end()
        at += 2 if data[at : at + 2] == b"\r\n" else 1


_HEADS = expression(rf"(?i)(?:\xef\xbb\xbf)?(?P<head>{_CSV})".encode("latin-1"))


def _listed(book: Rulebook, data: bytes, where: str) -> Iterator[Match]:
    """The values of a CSV file whose first line names a column of secrets."""
    if where != "text":
        return
    found = _HEADS.match(data)
    if found is None:
        return
    head = found["head"].rstrip(b"\r\n")
    mark = max((b",", b";", b"\t"), key=head.count)
    if head.count(mark) and len(head) < REACH:
        yield from _rows(book, data, head, mark, found.end())
