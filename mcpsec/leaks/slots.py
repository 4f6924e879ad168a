"""Secrets in MCP client configurations: every ``env``, ``headers``, ``args`` and ``url`` slot judged by itself.

A slot is a secret, a reference, a placeholder or nothing of interest. What it is decides: a sample token in a slot is
no finding even when its form is a provider's, and an opaque value behind ``--access-token`` in the next array item is
one although no rule knows its form.
"""

from __future__ import annotations

from _bisect import bisect_left, bisect_right
from itertools import accumulate

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import Match
from mcpsec.leaks.names import kind_of
from mcpsec.leaks.programs import is_code
from mcpsec.leaks.secrecy import (
    HIGH,
    LOW,
    MEDIUM,
    hides_sample,
    is_chosen_password,
    is_chosen_secret,
    is_chosen_word,
    is_weak_password,
    password_strength,
)
from mcpsec.leaks.urlquote import unquote
from mcpsec.leaks.values import digits_share, is_placeholder, is_reference, kinds, looks_random, wordiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpsec.clientfiles.jsonc import Leaf
    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["FRAGMENT_MARKS", "MARKS", "is_configuration", "judged"]

MARKS = (b"mcpservers", b"context_servers", b"mcp_servers", b"mcp-servers")
"""Any of these makes a text a configuration of an MCP client."""
FRAGMENT_MARKS = (b'"servers"', b'"mcp"', b'"args"', b"extensions:")
"""Others write these too, so a command or an address has to stand beside them."""
_COMMANDS = (b'"command"', b'"url"', b'"httpurl"', b'"serverurl"', b"cmd:", b"command:", b"uri:")
LARGEST = 1 << 20
LARGEST_FRAGMENT = 128 << 10
"""Bytes: nobody writes larger ones by hand, and generated files of that size are not configurations."""
_SLOTS = frozenset(
    ("env", "environment", "headers", "args", "arguments", "http_headers", "requestInit", "envs", "env_vars")
)
_URLS = frozenset(("url", "serverUrl", "httpUrl", "uri", "endpoint", "baseUrl", "serverURL"))
_SCHEME = expression(r"(?i)(?:bearer|basic|token|apikey|api-key|key|pat|bot)[ =:]+")
_PAIR = expression(r"(?s)(?P<dash>-{0,2})(?P<name>[A-Za-z][\w.-]{0,80}?)(?P<op>\s*[=:]\s*)(?P<value>.+)")
_OPTION = expression(r"--?[A-Za-z][\w.-]{0,80}$")
_LOGINS = frozenset("u user auth basic-auth basic_auth basicauth login credentials creds".split())  # noqa: SIM905
_LOGIN = expression(r"[\w.@+-]{1,64}:(?P<password>[^\s:/]{4,128})$")
"""What options and variables of these names take: ``admin:password``."""
_USERS = frozenset(("user", "login"))
"""Names for somebody alone, be there a colon in it."""
_NO_LOGIN = expression(r"\d+:\d+$|(?i:oauth2?|oidc|saml|sso|jwt):")
"""The numbers of a container's user and group, and a way to log in."""
_SHORT_OPTION = expression(r"[A-Za-z]$")
"""What is left of ``-k``: the letter tells nothing, so the value must."""
_FLAGS = frozenset(("-m", "-q", "-y"))
"""Options of npx, uvx and python: what stands behind them is what is run."""
_SET_BEFORE = expression(r"(?:^|\s)(?P<name>[A-Z][A-Z0-9_]{1,80})=(?P<value>[^\s\"'=:&;]{1,4096})(?=\s|&&|;)")
"""``API_KEY=value server --option``, ``set API_KEY=value&& server``: what a shell gives to the program behind it."""
_QUERY = expression(r"[?&;](?P<name>[\w.-]{1,64})=(?P<value>[^&#\s]{4,4096})")
_SEGMENT = expression(r"(?<=/)(?P<value>[A-Za-z0-9]{32,128})(?=/|$|\?)")
"""A part of an address's path that is long enough for a key; identifiers in paths are shorter or UUIDs."""
_USERINFO = expression(
    r"(?i)^[a-z][a-z0-9+.-]{1,30}://[^/?#\s:@]{0,128}:(?P<password>[^/?#\s]{1,256})@(?P<host>[^/?#\s:]+)"
)
_EXAMPLE_HOST = expression(
    r"(?i)//(?:[^/@]*@)?(?:[\w.-]*\.)?(?:example|test|invalid|localhost|your[\w-]*|my[\w-]*)(?:\.\w+)?(?:[:/?]|$)"
)
"""Hosts of examples and of developers alike: what was drawn at random is somebody's there, too; words are not."""
SHORTEST_DRAWN = 16
_HEADER_OPTIONS = frozenset(("--header", "-H", "--headers"))
_HEADER_NAMES = frozenset(
    "authorization cookie x-auth authorization-header authorization_header auth-header auth_header".split()  # noqa: SIM905
)
_ENV_OPTIONS = frozenset(("-e", "--env"))
_IDENTIFIES = expression(
    r"(?i)(?:id|ids|[ug]uid|ur[il]|path|dir|directory|file|folder|host|name|user|region|project|workspace|team|org"
    r"|organi[sz]ation|account|tenant|client|bucket|model|db|database|base|sheet|page|board|space|channel|version|hash"
    r"|sha\d{0,3}|digest|commit|address|wallet|index|collection|table|domain|issuer|thumbprint|fingerprint|site|match"
    r"|etag|doc|document|repo|repository|branch|profile|calendar|list|view|form|property|zone|graph|node|cluster)s?$"
)
"""The last word of names for what is to be told apart, and not for what is to be kept."""
_SAYS_WHAT = expression(r"(?i)key|token|secret|pass|auth|cred|public|publish|cert|csrf|nonce|salt")
"""A name with one of these says what its value is, be that no secret: ``PUBLIC_KEY``."""
_HEX_KEY = expression(r"(?:[0-9a-f]{32}|[0-9a-f]{48}|[0-9a-f]{64})$")
"""Keys as services write them in hexadecimal; forty digits are a commit."""
_FENCE = expression(rb"(?m)^[ \t>]*```[^\n]*\n([\s\S]*?)^[ \t>]*```")
_KEY_NAME = expression(r"SK[0-9a-f]{32}$")
_SECRET_HALF = expression(rb"(?i)twilio[\w.-]{0,20}secret[\w.-]{0,8}[\"']?\s{0,4}[:=,]\s{0,4}[\"']?$")
"""A Twilio key's name, and the slot of its secret (https://www.twilio.com/docs/iam/api-keys)."""
LONGEST_NAME = 64
_PREFIXED = expression(r"[A-Za-z]{1,8}[-_](?P<rest>\w{3,32}$)")
"""What is left of ``sk-1234`` behind what may be a provider's prefix."""
_SAMPLE = expression(r"(?i)secret|token|password|passwd|api[-_]?key|apikey|\bkey\b|[-_]key|value|string|credential")


def is_configuration(lower: bytes) -> bool:
    """A cheap look: whether this text could hold an MCP client configuration."""
    if len(lower) > LARGEST or not any(slot in lower for slot in (b"env", b"headers", b"args", b"url")):
        return False
    if any(mark in lower for mark in MARKS):
        return True
    return (
        len(lower) <= LARGEST_FRAGMENT
        and any(mark in lower for mark in FRAGMENT_MARKS)
        and any(command in lower for command in _COMMANDS)
    )


def judged(book: Rulebook, data: bytes, path: str | None, matches: list[Match]) -> list[Match]:
    """What other rules found in a configuration, corrected by what its slots are, and the secrets in the slots.

    What a slot holds is known to be a sample or no secret: a match of no provider inside it goes. A provider's token
    stays, unless it is a sample itself; a rule that only weighs a password's strength knows no more than the slot.
    """
    found, quiet = detect(book, data, path)
    if quiet:
        stretches = _Stretches(quiet)
        matches = [
            match
            for match in matches
            if not stretches.concern(match)
            or not (match.rule.detector or match.rule.check == "strong" or _is_sample(match.value))
        ]
        if _refers_to_secret(data, quiet):
            return [match for match in matches + found if not _KEY_NAME.match(match.value)]
    return matches + found


def _refers_to_secret(data: bytes, quiet: list[tuple[int, int]]) -> bool:
    """True when the secret of a key is kept elsewhere: the key's name opens nothing by itself."""
    return any(_SECRET_HALF.search(data, max(0, begin - LONGEST_NAME), begin) for begin, _ in quiet)


class _Stretches:
    """Parts of a text. A file may have ten thousand, and as many matches: not each is compared with each."""

    def __init__(self, stretches: list[tuple[int, int]]) -> None:
        ordered = sorted(stretches)
        self._begins = [begin for begin, _ in ordered]
        self._last_ends = list(accumulate((end for _, end in ordered), max))
        """Of those up to each, the one that reaches furthest."""
        self._first_ends = [*accumulate((end for _, end in reversed(ordered)), min)][::-1]
        """Of those from each on, the one that is over first."""

    def concern(self, match: Match) -> bool:
        """True when a match lies in one of them, or was decoded from a text that is around one."""
        before = bisect_right(self._begins, match.start)
        if before and match.end <= self._last_ends[before - 1]:
            return True
        after = bisect_left(self._begins, match.start)
        return bool(match.note) and after < len(self._begins) and self._first_ends[after] <= match.end


def detect(book: Rulebook, data: bytes, path: str | None) -> tuple[list[Match], list[tuple[int, int]]]:
    """The secrets in slots, and the stretches that are known to hold none."""
    rule = book.named("mcp-client-secret")
    matches: list[Match] = []
    quiet: list[tuple[int, int]] = []
    if rule is None:
        return matches, quiet
    for leaf, rest in _slots(data, path):
        at_example = "//" in leaf.value and _EXAMPLE_HOST.search(leaf.value) is not None
        for name, value, start in _candidates(leaf, rest):
            verdict = _judge(name, value)
            if verdict == HIGH and at_example:
                verdict = MEDIUM
            end = start + len(value) if _verbatim(data, start, value) else leaf.end
            begin = start if _verbatim(data, start, value) else leaf.start
            if verdict is None:
                quiet.append((begin, end))
            elif verdict >= 0:
                matches.append(Match(rule, begin, end, _text(value), verdict))
    return matches, quiet


def _verbatim(data: bytes, start: int, value: str) -> bool:
    return data[start : start + len(value)] == value.encode("latin-1", "replace")


def _text(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return value


def _slots(data: bytes, path: str | None) -> Iterator[tuple[Leaf, tuple[str | int, ...]]]:
    """Every scalar in a slot, with the part of its path that begins with the slot's name. Offsets are bytes."""
    previous: Leaf | None = None
    found = list(_leaves(data, path))
    inputs: dict[tuple[str | int, ...], dict[str | int, str]] = {}
    for leaf in found:
        if leaf.path[-1:] in (("id",), ("password",)) and "inputs" in leaf.path:
            inputs.setdefault(leaf.path[:-1], {})[leaf.path[-1]] = leaf.value
    for leaf in found:
        keys = leaf.path
        for depth, key in enumerate(keys):
            is_list = depth + 1 < len(keys) and isinstance(keys[depth + 1], int)
            if depth + 1 < len(keys) and (_is_slot(keys, depth) or (key == "command" and is_list)):
                rest = keys[depth:]
                if key in ("args", "arguments", "command"):
                    leaf_before = previous if previous is not None and previous.path[:-1] == keys[:-1] else None
                    yield leaf, ("args", leaf_before.value if leaf_before else "")
                else:
                    yield leaf, rest
                break
        else:
            if keys and keys[-1] in _URLS:
                yield leaf, ("url",)
            elif keys[-1:] == ("default",) and "inputs" in keys:
                yield leaf, ("inputs", _input_name(inputs.get(keys[:-1], {})))
        previous = leaf


def _input_name(members: dict[str | int, str]) -> str:
    """The id of what VS Code asks for, or ``password`` where it says that what is typed is to be hidden.

    https://code.visualstudio.com/docs/copilot/reference/mcp-configuration
    """
    name = members.get("id", "k")
    return "password" if members.get("password") == "true" and not kind_of(name) else name


def _is_slot(keys: tuple[str | int, ...], depth: int) -> bool:
    """True for a key below which a server's secrets stand; Zed's extensions have them in their ``settings``."""
    return keys[depth] in _SLOTS or (keys[depth] == "settings" and "context_servers" in keys[:depth])


def _leaves(data: bytes, path: str | None) -> Iterator[Leaf]:
    from mcpsec.clientfiles.jsonc import Leaf, leaves

    name = (path or "").lower()
    text = data.decode("latin-1")
    if name.endswith((".md", ".mdx", ".markdown", ".rst", ".txt")) and b"```" in data:
        for block in _FENCE.finditer(data):
            inner = block.group(1)
            if is_configuration(inner.lower()):
                for leaf in _leaves(inner, _kind_of_block(inner)):
                    yield Leaf(
                        leaf.path, leaf.value, leaf.start + block.start(1), leaf.end + block.start(1), leaf.quoted
                    )
        return
    kind = name.rpartition(".")[2]
    if kind not in ("json", "jsonc", "json5", "toml", "yaml", "yml"):
        kind = _kind_of_block(data)
    if kind.endswith("toml"):
        from mcpsec.clientfiles.yamllight import toml_leaves

        yield from toml_leaves(text)
    elif kind.endswith(("yaml", "yml")):
        from mcpsec.clientfiles.yamllight import yaml_leaves

        yield from yaml_leaves(text)
    else:
        yield from leaves(text)


_TOML_SERVERS = expression(rb"(?m)^\s*\[[\w.\"-]*mcp_servers")
_YAML_SERVERS = expression(rb"(?m)^\s*(?:mcpServers|mcp_servers|mcp-servers|servers|extensions):\s*$")


def _kind_of_block(data: bytes) -> str:
    if _TOML_SERVERS.search(data):
        return "x.toml"
    if _YAML_SERVERS.search(data):
        return "x.yaml"
    return "x.json"


def _candidates(leaf: Leaf, rest: tuple[str | int, ...]) -> Iterator[tuple[str, str, int]]:
    """Name, value and offset of what a slot may hold; one argument may hold several."""
    slot, value, start = rest[0], leaf.value, leaf.start
    if slot == "url" or "://" in value[:40]:
        yield from _of_url(value, start)
        return
    if slot in ("env", "environment", "envs", "env_vars") and isinstance(rest[-1], int):
        yield from _of_pair(value, start)
    elif slot == "args":
        before = str(rest[1])
        if before in _HEADER_OPTIONS or before in _ENV_OPTIONS:
            yield from _with_nameless(_of_pair(value, start))
        elif before.lstrip("-").lower() in _LOGINS and _NO_LOGIN.match(value):
            yield "sample", value, start
        elif value.startswith("-") or _PAIR.match(value) or _SET_BEFORE.search(value):
            set_before = [] if value.startswith("-") else [*_SET_BEFORE.finditer(value)]
            for pair in set_before:
                yield from _stripped(pair["name"], pair["value"], start + pair.start("value"))
            if not set_before:
                yield from _of_pair(value, start)
            if _OPTION.match(before) and (not value.startswith("-") or _is_opaque(value)):
                yield from _stripped(before.lstrip("-"), value, start)
        elif _OPTION.match(before) and before not in _FLAGS:
            yield before.lstrip("-"), value, start
        elif _stands_alone(before, value):
            yield "k", value, start
    else:
        name = next((str(key) for key in reversed(rest) if isinstance(key, str)), "")
        yield from _with_nameless(_stripped(name, value, start))


def _with_nameless(found: Iterator[tuple[str, str, int]]) -> Iterator[tuple[str, str, int]]:
    """The same, but for keys without a name as if they stood behind ``-k``."""
    for name, value, start in found:
        yield "k" if _is_nameless(name, value) else name, value, start


def _is_nameless(name: str, value: str) -> bool:
    """True for a key whose variable or header says only whose it is: drawn at random, and no identifier by its name."""
    if _SAYS_WHAT.search(name) or _IDENTIFIES.search(name) or name.lower() in _HEADER_NAMES or kind_of(name):
        return False
    return _is_drawn(value)


def _stands_alone(before: str, value: str) -> bool:
    """True for a key that a server takes by its place: drawn at random, behind what is run, which is no option."""
    return bool(before) and not before.startswith("-") and not value.isdigit() and _is_drawn(value)


def _is_drawn(value: str) -> bool:
    """True for what somebody drew at random, in any letters or in as many hexadecimal digits as a key has."""
    return _is_opaque(value) or (_HEX_KEY.match(value) is not None and looks_random(value))


def _stripped(name: str, value: str, start: int) -> Iterator[tuple[str, str, int]]:
    login = _LOGIN.match(value) if name.lower() in _LOGINS else None
    if login and (_NO_LOGIN.match(value) or (name.lower() in _USERS and not _is_strong(login["password"]))):
        yield "sample", value, start
        return
    if login:
        yield "sample", value, start  # the user's name is no part of it
        yield "password", login["password"], start + login.start("password")
        return
    scheme = _SCHEME.match(value)
    if scheme and scheme.end() < len(value):
        yield name if kind_of(name) else "authorization", value[scheme.end() :], start + scheme.end()
    else:
        yield name, value, start


def _is_strong(password: str) -> bool:
    return is_chosen_password(password) or password_strength(password) == HIGH


def _of_pair(value: str, start: int) -> Iterator[tuple[str, str, int]]:
    pair = _PAIR.match(value)
    if pair is None:
        return
    if "://" in pair.group("value")[:40]:
        yield from _of_url(pair.group("value"), start + pair.start("value"))
        return
    inner = _PAIR.match(pair.group("value"))
    if pair.group("name") in ("header", "headers", "env", "H", "e") and pair.group("dash") and inner:
        yield from _of_pair(pair.group("value"), start + pair.start("value"))
        return
    yield from _stripped(pair.group("name"), pair.group("value"), start + pair.start("value"))


def _of_url(value: str, start: int) -> Iterator[tuple[str, str, int]]:
    sample = bool(_EXAMPLE_HOST.search(value))
    found = _USERINFO.match(value)
    if found:
        password = found.group("password")
        plain = unquote(password)
        named = is_reference(plain) or is_placeholder(plain) or is_code(plain, quoted=True)
        strength = password_strength(plain) or 0
        weak = named or strength < MEDIUM or (sample and strength < HIGH and not is_chosen_password(plain))
        yield ("sample" if weak else "password"), password, start + found.start("password")
    for segment in [] if sample else _SEGMENT.finditer(value):
        if _is_opaque(segment["value"]):
            yield "k", segment["value"], start + segment.start("value")
    for query in _QUERY.finditer(value):
        drawn = len(query["value"]) >= SHORTEST_DRAWN and looks_random(query["value"])
        yield (query["name"] if drawn or not sample else "sample"), query["value"], start + query.start("value")


def _judge(name: str, raw: str) -> int | None:
    """HIGH or MEDIUM for a secret, None for what surely is none, -1 for what this can't say."""
    value = _text(raw).strip()
    if value.startswith(("{", "[")) and '"' in value and ":" in value:
        return -1  # a document of its own, such as a table of headers
    if name == "sample" or not value or is_reference(value) or _is_sample(value):
        return None
    if _SHORT_OPTION.match(name):
        return MEDIUM if _is_opaque(value) or _HEX_KEY.match(value) else -1
    kind = kind_of(name)
    if name.lower() in _HEADER_NAMES:
        kind = kind or "auth"
    if not kind or any(c.isspace() for c in value) or len(value) < 4:
        return -1
    if is_code(value, quoted=True):
        return None if kind != "password" else -1
    if kind == "password":
        strength = password_strength(value)
        if strength == LOW and is_chosen_word(value, name) and not _is_trial(name, value):
            return MEDIUM
        return None if strength is None or strength == LOW else max(strength, MEDIUM)
    if hides_sample(value):
        return None
    if looks_random(value):
        return HIGH if len(value) >= 16 else MEDIUM
    if len(value) >= 12 and kinds(value) >= 2 and digits_share(value) > 0 and wordiness(value) < 0.8:
        return MEDIUM
    return MEDIUM if len(value) >= SHORTEST_CHOSEN and is_chosen_secret(value) and not _is_trial(name, value) else None


SHORTEST_CHOSEN = 10
_OF_A_TRIAL = expression(
    r"(?i)key|token|secret|pass|pwd|test|demo|dev|api|local|sample|user|admin|server|client|mcp|123|(\d)\1\1|foo|bar|abc"
    r"|project|workspace|sandbox|staging|prod|random|team|database|search|house|sql|agent|model"
)
"""Words and numbers that make an example of what a person might have chosen for a key: ``devkey2024``."""
_WORDS = expression(r"[a-z]{4,}")


def _is_trial(name: str, value: str) -> bool:
    """True for words of documentation, or of the slot's own name: ``linear2024`` in ``LINEAR_API_KEY``."""
    lowered = value.lower()
    return _OF_A_TRIAL.search(value) is not None or any(word in lowered for word in _WORDS.findall(name.lower()))


_JOINTS = str.maketrans("", "", "-_+")


def _is_opaque(value: str) -> bool:
    """True for what can only be a key, although no name says so: long, of three kinds, drawn at random, no path."""
    return len(value) >= 20 and kinds(value) >= 3 and value.translate(_JOINTS).isalnum() and looks_random(value)


def _is_sample(value: str) -> bool:
    """Stricter than elsewhere: a word that names what is to be put here makes a sample of a short value."""
    if is_placeholder(value) or is_weak_password(value) or is_weak_password(value.rstrip("0123456789!@#$.")):
        return True
    prefixed = _PREFIXED.match(value)
    if prefixed and is_placeholder(prefixed.group("rest")):
        return True
    return len(value) < 40 and bool(_SAMPLE.search(value)) and digits_share(value) < 0.35
