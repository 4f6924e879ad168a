"""Where a value beside a name begins and ends: literals of programs, bare values of settings, contents of elements."""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.secrecy import is_app_password

__all__ = ["in_comment", "value_at"]

VALUE_BYTES = 2048
_QUOTED = expression(
    rb"""(?x)(?:[bBrRuUfFLN@$]{1,2}(?=["'`]))?
    (?: \"\"\"(?P<q3>[^"\r\n]{0,2048})\"\"\" | '''(?P<a3>[^'\r\n]{0,2048})'''
      | \\{1,3}"(?P<eq>[^"\\\r\n]{0,2048})\\{1,3}" | \\'(?P<ea>[^'\\\r\n]{0,2048})\\'
      | "(?P<q>(?:[^"\\\r\n]|\\.){0,2048})" | '(?P<a>(?:[^'\\\r\n]|\\.){0,2048})' | `(?P<b>[^`\r\n]{0,2048})`
      | &quot;(?P<h>[^&\r\n]{0,2048})&quot; | &\#39;(?P<ha>[^&\r\n]{0,2048})&\#39; )"""
)
_BARE = expression(rb"[^\s\"'`<>]{1,2048}")
_CODE_MARKS = expression(rb"[,:][A-Za-z_$\"'{(\[!]|[(){}\[\]]|=>|&&|\|\|")
_WRAPPER = expression(
    rb"\(?(?:(?:z(?:\.coerce)?|[Jj]oi)\.string\(\)[\w.(), ]{0,60}\.default\("  # Zod, Joi
    rb"|(?:new )?(?:\[\])?[A-Za-z_][\w.:]{0,40}\([ \t]{0,2}|ConvertTo-SecureString (?:-String )?)(?=[\"'])"
)
_SAFE_WRAPPERS = expression(
    rb"(?i)secretstr|securestring|some\(|optional|string|byte|decode|quote|protect|password|credential|secret|buffer\.from|encode|key|token"
)

_GROUPS = expression(rb"[a-z]{4}(?: [a-z]{4}){3}(?=\s|\Z)")
"""The one bare value that has blanks in it: a password for an application, as Google shows it."""
_PUBLISHED = expression(
    rb"badge|//(?:pan\.baidu\.com|share\.weiyun\.com|www\.(?:aliyundrive|alipan)\.com|(?:[\w-]{1,20}\.)?zoom\.us)/"
)
"""A badge's token only shows a number; a share's code is given to whoever may follow the link. Both are published."""
_FOLLOWING = expression(rb",[A-Za-z_][\w.-]{0,40}=|\\[rn](?=[A-Za-z_\\}<&]|$)")
"""The next of several pairs, or an escaped end of line: neither belongs to a bare value."""
_SENTENCE = expression(rb"[ \t][^\s=:#;\\]{1,40}(?:[ \t][^\s=:]|[.!?]?\r?(?:\n|\Z))")
"""More words in a line of settings: a message, as catalogues of translations hold them."""


def value_at(data: bytes, at: int, how: str, where: str, name: bytes, head: int) -> tuple[int, int, bool] | None:
    """Where the value that follows a name and its operator stands, and whether it is quoted; None where none does.

    ``at`` is where the operator ends, ``how`` what that amounts to, ``head`` where the name begins.
    """
    quoted = _QUOTED.match(data, at)
    if quoted is None and how in ("assign", "arg", "call"):
        wrapper = _WRAPPER.match(data, at)
        if wrapper and _SAFE_WRAPPERS.search(wrapper.group()):
            quoted = _QUOTED.match(data, wrapper.end())
    if quoted is not None:
        begin, stop = _unwrapped(data, *quoted.span(str(quoted.lastgroup)))
        return (begin, stop, True) if how != "prose" or stop > begin else None
    if how in ("call", "next", "field"):
        return None
    if how in ("tag", "element"):
        if data.startswith(b"<![CDATA[", at):
            at += len(b"<![CDATA[")
            stop = data.find(b"]]>", at, at + VALUE_BYTES)
            return (at, stop, True) if stop > at else None
        stop = data.find(b"<", at, at + VALUE_BYTES)
        inner = data[at:stop].strip() if stop > at and data[stop + 1 : stop + 2] in (b"/", b"!") else b""
        at = data.find(inner, at)
        return (at, at + len(inner), True) if inner else None
    bare = _BARE.match(data, at)
    if bare is None:
        return None
    begin, stop = bare.span()
    if where == "code" and not name.startswith(b"-") and not _inside_string(data, head, head + len(name)):
        return None
    bare_value = _bare_value(data, where, head, begin, stop)
    if bare_value is not None and where == "code" and data[bare_value[1] : bare_value[1] + 1] == b";":
        return bare_value[0], bare_value[1], _is_part_of_connection(data, head)
    return bare_value


def _unwrapped(data: bytes, begin: int, stop: int) -> tuple[int, int]:
    """Without the quotes of a literal inside the literal: ``buildConfigField('String', 'KEY', '"value"')``."""
    for mark in (b'"', b"'", b'\\"'):
        if data[begin + len(mark) : begin + len(mark) + 1] in (b"+", b".", b"&", b" "):
            continue  # passwd='" + password + "': the outer literal ends here, and another begins behind
        if stop - begin > 2 * len(mark) and data.startswith(mark, begin) and data.endswith(mark, begin, stop):
            return begin + len(mark), stop - len(mark)
    return begin, stop


def _bare_value(data: bytes, where: str, head: int, begin: int, stop: int) -> tuple[int, int, bool] | None:
    """What of the characters between two offsets is the value: the rest of a URL's query or a closing mark is not."""
    end = _address_end(data, head, begin, stop)
    if end is None or data[begin : begin + 1] == b",":
        return None
    stop = end
    grouped = _GROUPS.match(data, begin)
    if grouped and is_app_password(grouped.group().decode()):
        return begin, grouped.end(), True
    if where == "settings":
        if data[begin:stop].isalpha() and _SENTENCE.match(data, stop):
            return None
    elif data[begin : begin + 1] in b")]}":
        return None
    following = _FOLLOWING.search(data, begin, stop)
    if following:
        stop = following.start()
    if data[begin - 2 : begin] == b":-" and data.find(b"}", begin, stop) > begin:  # ${PASSWORD:-default}
        stop = data.find(b"}", begin, stop)
    trimmed = _trim(data, begin, stop)
    if trimmed is not None and where == "code":
        if _CODE_MARKS.search(data, trimmed[0], trimmed[1]):
            return None
        if _NAMES.match(data, trimmed[0], trimmed[1]) and in_comment(data, head):
            return None
    return trimmed


_NAMES = expression(
    rb"(?:[A-Za-z_]\w{0,40}(?:\.[A-Za-z_]\w{0,40}){1,6}|[A-Za-z]{1,20}(?:_[A-Za-z]{1,20}){1,6}\d|[a-z]{1,20}(?:[A-Z][a-z]{1,20}){1,6}\d)\Z"
)
"""Statements that somebody took out, as people name things in programs: ``txtPwd1.Text``, ``shadow_map2``."""
_CLOSED = expression(rb"\)(?:[\s._,;*\]]|\Z)")
_IN_PARENTHESES = expression(rb"\([A-Za-z][A-Za-z0-9+.-]{1,30}\Z")


def _address_end(data: bytes, head: int, begin: int, stop: int) -> int | None:
    """Where a value ends in an address or a connection string, which may go on; None where it is published."""
    before = data[head - 1 : head]
    if before in (b"?", b"&", b";") or data.rfind(b"://", max(0, head - 200), head) > data.rfind(
        b"\n", max(0, head - 200), head
    ):
        if _PUBLISHED.search(data, max(0, head - 120), head):
            return None
        ends = before == b";" and data[head - 5 : head] != b"&amp;"  # of a connection string, where only that ends one
        for mark in (b";",) if ends else (b"&", b";", b"#"):
            cut = data.find(mark, begin, stop)
            if cut > begin:
                stop = cut
        if not ends:
            return _closed(data, head, begin, stop)
    return stop


def _closed(data: bytes, head: int, begin: int, stop: int) -> int:
    """Where the parenthesis ends that an address stands in; one that more of a password follows belongs to that."""
    address = data.rfind(b"://", max(0, head - 200), head)
    if address >= 0 and _IN_PARENTHESES.search(data, max(0, address - 32), address):
        cut = data.find(b")", begin, stop)
    else:
        closed = _CLOSED.search(data, begin, stop + 1)
        cut = closed.start() if closed else -1
    return cut if begin < cut < stop else stop


def _is_part_of_connection(data: bytes, head: int) -> bool:
    """True for a name behind a quote or a semicolon: a part of a connection string, where no operators stand."""
    return data[:head].endswith((b'"', b"'", b";", b"; "), max(0, head - 2))


def _trim(data: bytes, begin: int, stop: int) -> tuple[int, int, bool] | None:
    """Leave off what closes the construct around a bare value."""
    for opening, closing in ((b"(", b")"), (b"[", b"]"), (b"{", b"}")):
        if data[stop - 1 : stop] == closing and data.count(opening, begin, stop) < data.count(closing, begin, stop):
            stop -= 1
    while stop > begin and data[stop - 1] in b",;\\":
        stop -= 1
    return (begin, stop, False) if stop > begin else None


def _inside_string(data: bytes, head: int, tail: int) -> bool:
    """True when the name stands inside a quoted string of its line, or in a comment; a quoted key stands in neither."""
    if data[head - 1 : head] in (b"'", b'"', b"`") and data[tail : tail + 1] == data[head - 1 : head]:
        return False
    line = data[max(data.rfind(b"\n", max(0, head - 400), head) + 1, head - 400) : head]
    if len(line) >= 400:
        return False  # generated code
    if b"//" in line or line.lstrip()[:1] in (b"#", b"*") or in_comment(data, head):
        return True
    return line.count(b'"') % 2 == 1 or line.count(b"'") % 2 == 1 or line.count(b"`") % 2 == 1


LONGEST_COMMENT = 2048
LONGEST_INDENT = 80


def in_comment(data: bytes, head: int) -> bool:
    """True for a line's first word in a comment that began a line above, with settings as they stand elsewhere."""
    if data[max(data.rfind(b"\n", max(0, head - LONGEST_INDENT), head), head - LONGEST_INDENT, 0) : head].strip():
        return False
    opened = data.rfind(b"/*", max(0, head - LONGEST_COMMENT), head)
    if opened < 0 or data.find(b"*/", opened, head) >= 0:
        return False
    return not data[data.rfind(b"\n", 0, opened) + 1 : opened].strip()
