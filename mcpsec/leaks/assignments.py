"""Values next to secret names: ``password = "…"``, ``DB_PASS: …``, ``--api-key …``, ``<secret>…</secret>``.

The walk goes from each keyword to the whole name, from the name over an operator to the value, then judges both.
Unquoted values in source code are expressions, so there only literals count.
"""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import Match
from mcpsec.leaks.literals import in_comment, value_at
from mcpsec.leaks.names import KEYWORDS, kind_of
from mcpsec.leaks.secrecy import MEDIUM, is_variable, judge
from mcpsec.leaks.values import looks_random

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Sequence

    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["GATES", "REACH", "detect", "stretch"]

NAME_BYTES = 64
MOST_REMEMBERED = 2048
REACH = 400
"""How far before and after a gate's hit the walk may look, not counting the value."""


def _any_of(words: Iterable[bytes]) -> bytes:
    """The expression for any of the words; by what they begin with, so that few are tried at a place."""
    begun: dict[bytes, list[bytes]] = {}
    for word in words:
        begun.setdefault(word[:1], []).append(word[1:])
    return b"|".join(first + b"(?:" + b"|".join(rests) + b")" for first, rests in begun.items())


_NAME_REST = expression(rb"[\w.$\x80-\xff-]{0,64}")
_NAME_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$-") | frozenset(
    range(128, 256)
)
_NAMES_ONLY = bytes(byte if byte in _NAME_BYTES else 0 for byte in range(256))
"""Turns every byte that can't be part of a name into NUL, so that a name's beginning is found without a loop."""
_OPERATOR_STARTS = frozenset(bytes([byte]) for byte in b" \t\r\n,{}:=!?|+-<>(*\"'`]\\[\xef")
"""What may follow a name whose value comes; anything may when it is the name of a tag."""

_OPERATOR = expression(
    rb"""(?x)
      (?P<arg>[ \t]{1,4}(?=[^\s-]))                                              # --password VALUE (only after a dash)
    | (?:["']\]\[["'][\w.@%-]{1,40}["']\]|(?:\\{0,3}["'`\]]|\*|\[\d{0,4}\]){0,3})
      (?: (?P<pair>(?:[ \t\r\n,]{1,30}
                | :[ \t]{0,4}\{\s{0,30}(?=")
                | [ \t]{0,4}\{\s{1,30}(?:(?:type|description|sensitive)[ \t]{0,12}=[^\n{}]{1,80}\n\s{0,30}){0,3}
                | :[ \t]{0,4}\{?\r?\n                                                        # CloudFormation
                  (?:[ \t]{1,24}["']?(?:[Tt]ype|[Dd]escription|NoEcho|M(?:in|ax)Length)["']?:[^\n]{1,160}\n){1,5}
                  [ \t]{1,24})
                (?:[ ]?"[A-Za-z]{2,20}":[ ]?(?:"[\w .,:-]{0,60}"|\w{1,8}),\s{1,20}){0,3}          # "type": "string",
                \\?["']?(?:(?:Parameter|android:)?[Vv]alue|[Dd]efault(?:_?[Vv]alue)?|content|val)\\?["']?
                [ \t]{0,4}[:=][ \t]{0,4})
        | (?P<element></(?:key|name|string|param-name)>\s{0,30}<(?:string|value|param-value)[^<>]{0,20}>)
        | (?P<field>\){1,2}\.(?:val|type|fill|send_?[kK]eys|setValue)\([ \t]{0,4}(?=["'`])   # $('#password').val("...
                | ,[ \t]{0,4}(?:with:|with[ \t]?=>)[ \t]{0,4}(?=["'`]))
        | (?P<cell>[ \t]{0,24}\|[ \t]{1,24}`?(?=[^\s|]{4,128}[ \t]{0,60}\|))                 # a row of a table
        | (?P<assign>[ \t]{0,24}
            (?: :[ \t]{0,4}(?:&(?:'[a-z]{1,10}[ ])?)?(?:\[u8(?:;[ ]?\d{1,4})?\]|[A-Za-z_][\w.<>\[\]|?&'*]{0,40})
                [ \t]{0,4}=(?!=)                                                            # name: str =
              | string[ \t]{1,4}=(?!=)
              | [Aa]s[ \t]{1,3}[A-Za-z.]{3,20}[ \t]{0,3}=(?!=) | \{[^{}\n]{0,30}\}[ \t]{0,2}=(?!=)
              | :?\*{1,2}:? | \xef\xbc\x9a
              | =>|:{1,3}=|={1,3}|!={1,2}|\?\?=?|\?=|\|\|=?|[.+]=|:-|::?|<-|->)
            [ \t]{0,12} (?:(?:\\|\(|>-?|\|-?)?\r?\n[ \t]{1,24})?)
        | (?P<tag>[^<>\n]{0,40}>(?:\s{0,30}<[Vv]alue>)?)
        | (?P<call>\([ \t]{0,4}(?=["'`]|[\w.]{1,40}\(["']))
        | (?P<fallback>(?:(?:["'`](?:,[ ]?EnvironmentVariableTarget\.\w{4,8})?[)\]]{1,2}(?:\.\w{2,12}\(\))?|\})
            (?: \s{1,24}(?:\?\?|\?:|\|\||or)[ \t]{1,4}                                 # getenv("PASSWORD") ?: "..."
              | \s{0,24}\.(?:unwrap_or(?:_else)?|getOrElse|orElse)\([ \t]{0,4}(?:\|\w{0,12}\|[ ]?(?:\{[ ]{0,8})?)?
              | [ ]?\{[ ]{0,2} ) | \}\s{1,24}//[ \t]{1,4} | "\),[ ]?) (?=["'`]|String::from\("))
        | (?P<next>[ \t]{0,4},[ \t]{0,4}(?:\r?\n[ \t]{1,24})?(?=\\?["'`]))
        | (?P<ticked>[ \t]{1,3}(?:is[ ]|was[ ])?(?=`[^\s`]{6,64}`))                          # password `value`
        | (?P<space>[ \t]{1,8}(?=@?["']))
        | (?P<blank>[ \t]{1,3}\(?(?=[A-Za-z0-9_+/=-]{20}))
        | (?P<prose>(?:[ \t](?:for|of|on|to|at|in)[ \t](?:[\w.'`-]{1,30}[ \t]){1,6}|[ \t]{1,3})
            (?:is|was|are|=)[ \t]{0,2}:?[ \t]{1,3}(?=\S))
        | (?P<line>[ \t]{1,24}(?=[^\s=:|]\S{3,127}[ \t]{0,8}(?:\r?\n|\Z)))                # ENV PASSWORD value
      )
    """
)
_KEYWORD = expression(_any_of(KEYWORDS))
_FOREIGN = "|".join(k.decode() for k in KEYWORDS if not k.isascii())
_PASSWORDS = "pass|pw|psw|psk|authtok|senha|contrase|kennwort|parola|haslo|wachtwoord|losenord|mdp|sifre|heslo"
_PLAIN = "pass|secret|token|key|auth|cred"
"""Only after these does a value stand without an operator: ``--api-key VALUE``, ``+rcon_password VALUE``."""
_PLAIN_NAME = expression(rb"(?i)[\w.$-]{0,24}(?:pass|secret|token|key|auth|cred)[\w.-]{0,24}$")
_TO_VALUE = (
    r"[\w.$\x80-\xff-]*[\\\"'`\]*]*(?:\[(?:[0-9]{0,4}|[\"'][\w.@%-]*[\"'])\])?"
    r"(?:[ \t]*(?:(?::|as)[ \t]*[A-Za-z_][\w.<>\[\]|?&'*]*[ \t]*=|\{[^{}\n]*\}[ \t]*=|[.|?:!<=+-]{0,2}[=:>-]|:?\*{1,2}:?|[,(<]|\bis|\bwas|\bare)[ \t]*(?:[\\(>|-]{0,2}\r?\n[ \t]*)?"  # noqa: E501
    r"|[\r\n, ][ \t\r\n,]*\\?[\"']?(?:default_?|parameter|android:)?(?:[Vv]alue|default|content|val)\\?[\"']?[ \t]*[:=][ \t]*|</[a-z-]{3,10}>\s*<[a-z-]{5,11}[^<>]*>)"  # noqa: E501
)
"""Unbounded, unlike the walk: an automaton that need not count is a fraction of the size, and as much the quicker."""
_FORMS = (
    r"[ \t]+string[ \t]+=",  # Go: Password   string = "..."
    r"[ \t]*:[ \t]*&(?:'[a-z]+ )?(?:str|\[u8(?:; ?\d+)?\])[ \t]*=",  # Rust
    r"[ \t]*(?:\|\||\?\?)[ \t]*[\"'`]",
    r"[ \t]*:::?=",
    r"[\"'`]\)+\.(?:val|type|fill|send_?keys|setvalue)\(",
    r"[\"'`],[ \t]*with(?::|[ \t]?=>)",
    r"[\"']>\s*<value>",
    r"[^<>\n]*>\s*[A-Za-z+/=_.-]{20}",
    r"`?[ \t]*\|[ \t]+`?[^\s|]{4}",
    r"[\"']?:[ \t]*\{?\r?\n[ \t]+[\"']?(?:type|description|noecho|m(?:in|ax)length)[\"']?:",
    r"[\"'][ \t]*\{",
    r"\"[ \t]*:[ \t]*\{[ \t]*\r?\n?[ \t]*\"[A-Za-z]",
    r"\",[ \t]*\r?\n?[ \t]*\"[A-Za-z]+\":",
    r"[\"']?>\s*<!\[cdata\[",
    r"[ \t]+\(?[A-Za-z0-9_+/=-]{20}",
    r"\xef\xbc\x9a[ \t]*[^\s]{4}",
    r"[ \t]+@?[\"'][^\s\"']{4}",
    r"[ \t]+(?:is |was )?`[^\s`]{6}",
    r"[ \t](?:for|of|on|to|at|in)[ \t][\w.'` \t-]*[ \t](?:is|was|are|=)[ \t]*:?[ \t]+[^\s]",
    r"[ \t]+\((?:convertto-securestring|new|\[)[^\n()\"']*[\"']",
    r"[\"']?>\s*<value>",
    r"(?:,[ ]?environmentvariabletarget\.\w+)?[)\]}]+(?:\.[a-z_]+\(\))?\s+(?:\?\?|\?:|\|\||//|or)[ \t]+[\"'`]",
    r"[ \t]*:[ \t]*(?:z(?:\.coerce)?|joi)\.string\(\)[\w.(), ]*\.default\([\"'`]",
    r"\)+(?:\.[a-z_]+\(\))?\s*\.(?:unwrap_or(?:_else)?|getorelse|orelse)\([^()\"']*(?:string::from\()?[\"'`]",
    r"\)+(?:\.[a-z_]+\(\))?[ ]?\{ *[\"'`]",
)
"""Rarer ways from a name to its value, one expression as they count nothing: of its own each would be woken by every ``key``."""  # noqa: E501
_OPENING = r"(?:[bru@$fln]{0,2}(?:\\*[\"'`]|&quot;)+|(?:\[\])?[A-Za-z_][\w.: ]*\([ \t]*[\"'])"
_TANGLED = r"(?:[\w./:,-]*[^\w\s\"'`./:,-]){5}"
_QUOTED_OPAQUE = rf"[^\s\"'`0-9]*[0-9]|[A-Za-z+/=_.-]{{16}}|{_TANGLED}"
_BARE_OPAQUE = r"[^\s\"'`<>(){}0-9]*[0-9]"
GATES = (
    rf"(?i)(?:pass|secret|token|key|auth|cred|bearer|jwt|salt|pepper|clave|nonce|cookie|_pat){_TO_VALUE}(?:{_OPENING}(?:{_QUOTED_OPAQUE})|{_BARE_OPAQUE})",
    rf"(?i)(?:{_PASSWORDS}){_TO_VALUE}(?:{_OPENING}[^\s\"'`][^\"'`\r\n]{{3}}|[^\s\"'`<>(){{}}][^\s\"'`<>]{{3}})",
    rf"(?i)secret{_TO_VALUE}(?:{_OPENING}|[^\"'`\r\n]{{0,1}})[A-Za-z_.+/-]{{8}}",
    rf"(?i)[-+][\w-]{{0,24}}(?:{_PLAIN})[\w-]{{0,24}}[ \t]{{1,4}}[^\s-]",
    rf"(?i)env[ \t]+[\w.$-]{{0,64}}(?:{_PLAIN}|{_PASSWORDS})[\w.-]*[ \t]+[^\s=:|]\S{{3}}",
    rf"(?i)(?:{_PLAIN}|{_PASSWORDS})[\w.-]*[\\\"'`\]*]*(?:{'|'.join(_FORMS)})",
    rf"(?:{_FOREIGN})",
    rf"(?i)or\(os\.getenv\(\"[\w.-]{{0,64}}(?:{_PLAIN}|{_PASSWORDS})[\w.-]{{0,64}}\"\),[ ]?[\"`]",
    rf"(?i)[\"'`][ \t]{{0,2}}[!=]={{1,2}}[ \t]{{0,2}}[\w.$]{{0,40}}(?:{_PASSWORDS}|secret|token|key)",
)
"""The same walk as expressions, for engines that look for all rules at once; they may find more than it does, not less.

But for a name alone at a line's beginning: that means something in settings only, which are few and small (see
:func:`mcpsec.leaks.surroundings.surroundings`), and looking for it everywhere would cost as much as all the others.
"""


def stretch(data: bytes, end: int) -> tuple[int, int]:
    """Where the name may stand for a gate's hit that ends at ``end``.

    That is in its line or, since every gate passes over one break at most, in the line before that has text: a sixth
    of :data:`REACH`.
    """
    lowest = end - REACH if end > REACH else 0
    line = data.rfind(b"\n", lowest, end)
    if line < 0:
        return lowest, end
    text = lowest + len(data[lowest:line].rstrip(b" \t\r\n,"))
    return data.rfind(b"\n", lowest, text) + 1 or lowest, end


class _Kinds:
    """Remembers what names mean; the same few come again and again."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}

    def __call__(self, name: bytes) -> str:
        kind = self._known.get(name)
        if kind is None:
            if len(self._known) > MOST_REMEMBERED:
                self._known.clear()
            kind = self._known[name] = kind_of(name.decode("utf-8", "replace"))
        return kind


_kinds = _Kinds()


def detect(
    book: Rulebook, data: bytes, lower: bytes, where: str, spans: Sequence[tuple[int, int]], floor: int = 0
) -> Iterator[Match]:
    """Every value beside a secret name whose keyword starts in a span; below the ``floor`` some are left out.

    ``lower`` may be empty when the spans are a few lines.
    """
    done = -1
    for at in _keyword_positions(lower) if lower and spans == [(0, len(data))] else _keywords_in(data, spans):
        if at >= done:
            head, done = _name(data, at)
            kind = _kinds(data[head:done].strip(b"-.$"))
            match = _at(book, data, where, head, done, kind, floor) if kind else None  # most name no secret
            if match is not None:
                yield match


def _keywords_in(data: bytes, spans: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Where a keyword begins in the spans; what overlaps with one before it is not looked for."""
    for start, end in spans:
        for found in _KEYWORD.finditer(data[start:end].lower()):
            yield start + found.start()


def _keyword_positions(lower: bytes) -> list[int]:
    """Where a keyword begins: each looked for by itself, which in a long text takes less time than the expression."""
    positions = []
    for keyword in KEYWORDS:
        at = lower.find(keyword)
        while at >= 0:
            positions.append(at)
            at = lower.find(keyword, at + 1)
    positions.sort()
    return positions


def _name(data: bytes, at: int) -> tuple[int, int]:
    """Where the name around a keyword begins and ends."""
    floor = at - NAME_BYTES if at > NAME_BYTES else 0
    rest = _NAME_REST.match(data, at)
    tail = rest.end() if rest else at
    head = floor + data[floor:at].translate(_NAMES_ONLY).rfind(b"\0") + 1
    if _WIDE in data[head:tail]:
        head = max(head, data.rfind(_WIDE, head, at) + len(_WIDE) + 1)
        wide = data.find(_WIDE, at, tail)
        tail = wide if wide >= 0 else tail
    return head, max(tail, at + 1)


_WIDE = b"\xef\xbc"
"""How a full-width sign begins in UTF-8: the colon and the brackets of Chinese and Japanese end a name."""


def _at(book: Rulebook, data: bytes, where: str, head: int, tail: int, kind: str, floor: int) -> Match | None:
    """The value beside a name of a kind, if one stands there that is worth it."""
    name = data[head:tail]
    while name[-1:] in b".-$" and len(name) > 1:
        name, tail = name[:-1], tail - 1
    kind = _kind_of_key(data[max(0, head - 16) : head]) if kind == "key" else kind
    if not kind or _is_part(data, head, tail):
        return None
    before = data[max(0, head - 4) : head]
    operator = None
    if data[tail : tail + 1] in _OPERATOR_STARTS or before[-1:] in (b"<", b":"):
        option = name.startswith(b"-") or (b"_password" in name and before[-2:] in (b" +", b'"+'))
        operator = (_OPERATOR if option else _NO_ARGUMENT).match(data, tail)
    if operator is None or before.rstrip()[-2:] in (b"==", b"!="):
        return _compared(book, data, kind, name, head) if b"=" in before else None
    how = _way(operator, data[max(0, head - 16) : head], where, kind, name)
    if not how or (how in ("arg", "blank") and not _PLAIN_NAME.match(name)):
        return None
    at = operator.end()
    if name in _VERDICTS and _TEST_PASSED.match(data, tail):
        return None
    if not _stands_right(data, how, where, kind, head):
        return None
    found = value_at(data, at, how, where, name, head)
    if found is None:
        return None
    begin, stop, quoted = found
    if how == "next" and data[stop + 1 : stop + 4].strip()[:1] == b"+":
        return None  # what only begins the next argument
    value = data[begin:stop].decode("utf-8", "replace")
    kind = "apikey" if kind == "key" and _is_raw(data, begin, stop) else kind
    verdict = _judged(kind, value, quoted or _is_literal(kind, how, where, name), how, where, name, floor)
    rule = book.named(verdict[0]) if verdict else None
    if verdict is None or rule is None:
        return None
    confidence = verdict[1]
    if confidence > MEDIUM and where == "code" and (_is_shown(data, head) or (not quoted and in_comment(data, head))):
        confidence = MEDIUM
    return Match(rule, begin, stop, value, confidence)


CIPHER_KEYS = (16, 24, 32)
"""Characters of a text that is the key of AES as it stands."""


def _is_raw(data: bytes, begin: int, stop: int) -> bool:
    """True for a literal of the length of a cipher's key of which the program takes the bytes."""
    if stop - begin not in CIPHER_KEYS:
        return False
    return data.startswith(_BYTES_OF, stop + 1) or data.endswith(b"byte(", 0, begin - 1)


_BYTES_OF = (b".getBytes(", b".encode(", b".toByteArray(")


def _kind_of_key(before: bytes) -> str:
    """What a bare ``key`` is for the word before it: a credential, any key, or nothing to keep."""
    if before[-1:] != b" ":
        return "key"
    return "" if _LOOKED_UP.search(before) else "apikey" if _QUALIFIED.search(before) else "key"


LARGEST_DOCUMENTED = 256 << 10
"""Bytes of a program before a name that are looked at for the string that documents it."""


def _is_shown(data: bytes, head: int) -> bool:
    """True in a text that documents a program, or behind an interpreter's prompt: it is an example."""
    if head < LARGEST_DOCUMENTED and data.count(b'"""', 0, head) % 2:
        opened = data.rfind(b'"""', 0, head)
        if _DOCUMENTS.match(data, data.rfind(b"\n", max(0, opened - 80), opened) + 1, opened):
            return True
    line = data[data.rfind(b"\n", max(0, head - 200), head) + 1 : head].lstrip()
    return line.startswith((b"* ", b"///", b"//!", b"#  ", b">>> ", b"iex> "))


def _is_part(data: bytes, head: int, tail: int) -> bool:
    """True for a piece of something longer: a type's name, groups between colons, a path, a digest's name."""
    if data[head:tail] == b"$PWD":  # the working directory
        return True
    if data[tail : tail + 2] == b"::" and _SCOPED.match(data, tail):
        return True
    if data[tail : tail + 2] == b"]:" and data.endswith(b"[type=", 0, head):  # a selector of style sheets
        return True
    if data[head - 1 : head] not in _INSIDE:
        return False
    before, after = data[max(0, head - 10) : head], data[tail : tail + 2]
    if before.endswith((b"::", b"checksum/")):  # AWS::AppSync::ApiKey; a chart's checksum/secret
        # What is set, as in Acme::Application.config.secret_token = "…", or Hiera's key, profile::db::password: …
        return before[-1:] == b"/" or (after != b": " and not _SET.match(data, tail))
    tight = after[:1] == b":" and after[1:].isalnum()
    if before[-1:] == b":" and tight:  # AB2X:I7PW:VYNB
        return True
    if before[-1:] in b"\"'=," and tight and data[head:tail] == b"pw":  # "pw:browser": a namespace
        return True
    if tight and data.startswith(_GROUPS, head):  # a library of Maven by its group
        return True
    if before[-1:] == b"\\" and before[-2:-1].isalpha() and data[head : head + 1].isupper():  # Acme\\Auth\\Password
        return True
    if before.endswith(b"${") and (data[head:tail] == b"PWD" or after in (b":+", b":?")):  # ${NAME:?what is then said}
        return True
    return before[-1:] in b"/%\\#" and after[:1] in _QUOTES and data[tail + 1 : tail + 2] in b",\n\r"  # "/etc/passwd",


_GROUPS = (b"com.", b"org.", b"io.", b"net.")
_SCOPED = expression(rb"::~?[A-Za-z]\w{0,80}(?:\(|\\28)")
"""``RenderPass::draw(``, in symbols ``RenderPass::draw\\28``: a member of a class."""
_SET = expression(rb"[ \t]{0,4}=[ \t]{0,4}[\"']")
_INSIDE = frozenset(bytes([byte]) for byte in b":/\\%#{$\"'=,")
_QUOTES = (b'"', b"'", b"`")
_VERDICTS = (b"PASS", b"XPASS", b"nPASS", b"tPASS")
"""A test's verdict, at a line's beginning or behind an escape that stands for one."""


def _way(operator: re.Match[bytes], before: bytes, where: str, kind: str, name: bytes) -> str:
    """What a way of writing amounts to, "" when it says nothing here."""
    how = str(operator.lastgroup)
    if how == "assign" and _EMPHASIS.match(operator.group()):
        return "prose"
    if how in ("space", "ticked") and name.lower() in (b"pass", b"key", b"auth"):
        return ""  # words of a sentence
    if how == "next":
        return "assign" if _DEFINES.search(before) else "" if _is_listed(before, name) else how
    if how == "call" and name in _TEST_CALLS:
        return ""
    if how == "fallback":
        if operator.group().startswith(b'"),'):
            return "assign" if before.endswith(b'Or(os.Getenv("') else ""
        return "assign" if operator.group()[:1] != b"}" or before.endswith(b"ENV{") else ""
    if how == "ticked":
        return "prose" if where != "code" and kind in ("password", "secret", "token", "apikey") else ""
    return how


def _stands_right(data: bytes, how: str, where: str, kind: str, head: int) -> bool:
    """Whether the name stands where its operator means something: at a tag's beginning, in a table, alone on a line."""
    if how == "tag":
        return (
            data[head - 1 : head] in (b"<", b":") or _NAMED_ELEMENT.search(data, max(0, head - 120), head) is not None
        )
    if how == "next" and data[head - 1 : head] == b" ":
        if data[max(0, head - 3) : head - 1].rstrip()[-1:] == b"+":
            return False  # the end of an expression before the next argument
        return data[data.rfind(b"\n", 0, head) + 1 : head].count(b'"') % 2 == 0  # "... pass", "the next text"
    if how not in ("cell", "line"):
        return True
    line = data[data.rfind(b"\n", max(0, head - 200), head) + 1 : head]
    if how == "cell":
        return where == "text" and line.lstrip()[:1] == b"|"
    command = line.strip().upper()
    if command == b"ENV":
        return True
    return where == "settings" and not command and kind in ("password", "secret", "token", "apikey")


_verdicts: dict[int, tuple[str, int] | None] = {}
"""Half of all values stand beside the same name elsewhere, too. Kept by hash: a value must not outlive its scan."""


def _is_literal(kind: str, how: str, where: str, name: bytes) -> bool:
    """True where no identifiers of a program stand, so that a bare password means itself."""
    variable = how == "assign" and is_variable(name.decode("latin-1"), where)
    return kind == "password" and (where == "settings" or variable)


def _judged(
    kind: str, value: str, quoted: bool, how: str, where: str, name: bytes, floor: int
) -> tuple[str, int] | None:
    """What :func:`mcpsec.leaks.secrecy.judge` says, remembered."""
    key = hash((kind, value, quoted, how, where, name, floor))
    verdict = _verdicts.get(key, ...)
    if verdict is ...:
        if len(_verdicts) > MOST_REMEMBERED:
            _verdicts.clear()
        text = name.decode("utf-8", "replace")
        verdict = judge(kind, value, quoted=quoted, how=how, where=where, name=text, floor=floor)
        _verdicts[key] = verdict
    return verdict


def _compared(book: Rulebook, data: bytes, kind: str, name: bytes, head: int) -> Match | None:
    """A literal on the left of a comparison with the name: ``"hunter2" == password``."""
    found = _COMPARED.search(data, max(0, head - LONGEST_COMPARED), head)
    if found is None:
        return None
    value = found["value"].decode("utf-8", "replace")
    verdict = judge(kind, value, quoted=True, how="assign", where="code", name=name.decode("utf-8", "replace"))
    rule = book.named(verdict[0]) if verdict else None
    return Match(rule, *found.span("value"), value, verdict[1]) if verdict and rule is not None else None


def _is_listed(before: bytes, name: bytes) -> bool:
    """True for one entry of many: an action of a service (``iam:PassRole``), a domain, or what a generator drew."""
    if before[-1:] == b":" and before[-2:-1].isalnum():
        return True
    return name.endswith(b".pw") or (len(name) >= SHORTEST_DRAWN and looks_random(name.decode("latin-1")))


SHORTEST_DRAWN = 16
"""Characters of an entry that tell drawn ones from names with a number."""
_TEST_CALLS = (b"t.pass", b"test.pass", b"assert.pass")
"""What tells a test's runner that all is well takes a message."""
_DEFINES = expression(rb"(?:define|\.put|\.set|etProperty|etOption|\.option|\.setParameter|putenv)\([ \t]?[\"']$")
"""Calls that set what is named first to what comes next: a constant of PHP, an entry, a property."""
LONGEST_COMPARED = 140
_DOCUMENTS = expression(rb"[ \t]*(?:r|@(?:module|type)?doc[ \t]*(?:~[sS])?)?$")
"""What stands before a string that is a statement of its own in Python, or an attribute of documentation in Elixir."""
_EMPHASIS = expression(rb"[ \t]{1,24}\*{1,2}$")
"""``pass *version* a long``: the mark begins the next word, and ends nothing before it."""
_TEST_PASSED = expression(rb":[ \t][^\s\"'`/]{1,128}[ \t/][^\s#]")
"""``PASS: gdb.base/break.exp: continue``, ``--- PASS: TestLogin (0.01s)``: the word is a test's verdict."""
_QUALIFIED = expression(rb"(?i)(?<![a-z])(?:api|access|secret|auth|authentication|encryption|signing|license) $")
"""Words that make a key of whatever kind a credential."""
_LOOKED_UP = expression(
    rb"(?i)(?<![a-z])(?:cache|primary|foreign|public|host|partition|sort|object|row|index|map|lookup|pgp|gpg) $"
)
"""Words that make a key something to look up, or something that everybody may have, as its fingerprint is."""
_NAMED_ELEMENT = expression(
    rb"<(?:entry|property|prop|param|parameter|setting|string|item|option|variable|secret|field|[a-z]{1,8}:(?:entry|property)|stringProp)"
    rb"\b[^<>]{0,80}=[\"'][\w.-]{0,60}\Z"
)
"""``<entry key="password">``: the value of the attribute says what the element's content is."""
_COMPARED = expression(rb"(?P<mark>[\"'`])(?P<value>[^\"'`\r\n\\]{4,128})(?P=mark)[ \t]{0,2}[!=]={1,2}[ \t]{0,2}\Z")

_NO_ARGUMENT = expression(_OPERATOR.pattern.replace(rb"(?P<arg>[ \t]{1,4}(?=[^\s-]))", rb"(?P<arg>(?!))"))
