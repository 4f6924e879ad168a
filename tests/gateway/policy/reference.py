"""A second evaluator, written from docs/policy.md alone: slow, plain, and without a line of the gateway's own matching.

It reads a policy as nested dictionaries in the shape of the file.
"""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
import urllib.parse
from datetime import datetime, time, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

__all__ = ["decide", "visible"]

FREE = (
    *("initialize", "ping", "server/discover", "logging/setLevel", "tools/list", "prompts/list", "resources/list"),
    *("resources/templates/list", "subscriptions/listen", "tasks/list"),
)


# --- Globs ---


def percent_decoded(text: str) -> str:
    """One round of replacing %00 to %7f."""
    result, index = "", 0
    while index < len(text):
        digits = text[index + 1 : index + 3]
        if text[index] == "%" and len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            number = int(digits, 16)
            if number <= 0x7F:
                result, index = result + chr(number), index + 3
                continue
        result, index = result + text[index], index + 1
    return result


def has_dot_segment(text: str) -> bool:
    if "%" in text and len(text) > 8192:
        return True
    for round_ in range(1, 9):
        decoded = percent_decoded(text)
        if decoded != text and round_ == 8:
            return True
        text = decoded
    for start in range(len(text)):
        if text[start] != "." or (start > 0 and text[start - 1] not in "/\\"):
            continue
        end = start + 1
        while end < len(text) and text[end] in ". ":
            end += 1
        if end == len(text) or text[end] in "/\\?#;" or ord(text[end]) <= 0x1F:
            return True
    return False


def glob(pattern: str, text: str) -> bool:
    if "*" not in pattern:
        return pattern == text
    if set(pattern) == {"*"}:
        return True
    expression = "".join("(?:.|\\n)*" if char == "*" else re.escape(char) for char in pattern)
    return re.fullmatch(expression, text) is not None and not has_dot_segment(text)


def resource_glob(pattern: str, upstream: str, what: str) -> bool:
    cut = pattern.index("/")
    return glob(pattern[:cut], upstream) and glob(pattern[cut + 1 :], what)


def plain(text: str) -> str:
    """The plain form of a resource's or prompt's what, or of a glob over these."""
    for _ in range(8):
        text = urllib.parse.unquote(text)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return re.sub("/+", "/", text.replace("\\", "/")).rstrip().rstrip("/")


def fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def applies(pattern: str, what: str) -> bool:
    """Whether something that narrows is about this."""
    if glob(pattern, what):
        return True
    if what[:9] != "resource:" and what[:7] != "prompt:":
        return False
    wanted = plain(pattern) if pattern[:9] == "resource:" or pattern[:7] == "prompt:" else pattern
    if fits(wanted, plain(what)):
        return True
    return "?" not in wanted and "#" not in wanted and fits(wanted, re.split("[?#]", plain(what))[0].rstrip("/"))


def applies_to(pattern: str, upstream: str, what: str) -> bool:
    cut = pattern.index("/")
    return glob(pattern[:cut], upstream) and applies(pattern[cut + 1 :], what)


# --- Method classes ---


def method_class(access: dict[str, str], what: str) -> str:
    both = [class_by(access, what, about) for about in (glob, applies)]
    return max(both, key=["read", "write", "execute"].index)


def class_by(access: dict[str, str], what: str, about: Any) -> str:
    best: tuple[bool, int, int] | None = None
    for pattern, given in access.items():
        if about(pattern, what):
            rank = ("*" not in pattern, len(pattern.replace("*", "")), ["read", "write", "execute"].index(given))
            best = rank if best is None else max(best, rank)
    if best is not None:
        return ["read", "write", "execute"][best[2]]
    return "read" if what.startswith("resource:") or what.startswith("prompt:") else "execute"


# --- Argument filters ---


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def allows(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, list):
        return any(glob(pattern, text_of(value)) for pattern in wanted)
    if "regex" in wanted:
        return bool(re.fullmatch(wanted["regex"], text_of(value), re.DOTALL))
    if isinstance(value, bool | str):
        return False
    return bool(wanted.get("min", value) <= value <= wanted.get("max", value))


def same_to_a_lax_reader(one: str, other: str) -> bool:
    return unicodedata.normalize("NFKC", one).casefold() == unicodedata.normalize("NFKC", other).casefold()


def filter_holds(path: list[str], wanted: Any, value: Any) -> bool:
    if isinstance(value, list):
        if not value or any(isinstance(element, list) for element in value):
            return False
        return all(filter_holds(path, wanted, element) for element in value)
    if not path:
        return not isinstance(value, dict) and value is not None and allows(wanted, value)
    if not isinstance(value, dict) or path[0] not in value:
        return False
    if [name for name in value if same_to_a_lax_reader(name, path[0])] != [path[0]]:
        return False
    return filter_holds(path[1:], wanted, value[path[0]])


# --- Context rules ---


def in_window(window: str, now: datetime) -> bool:
    day, times, zone = window.split(" ")
    start, end = (time(int(text[:2]), int(text[3:])) for text in times.split("-"))
    wall = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for begins in (wall.date(), wall.date() - timedelta(days=1)):
        if day not in ("daily", begins.strftime("%a")):
            continue
        ends = begins if start < end else begins + timedelta(days=1)
        if datetime.combine(begins, start) <= wall < datetime.combine(ends, end):
            return True
    return False


def in_networks(networks: list[str], address: str) -> bool:
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in ipaddress.ip_network(network) for network in networks)


def broken_condition(rule: dict[str, Any], context: Any) -> str | None:
    if "certificate_sha256" in rule:
        listed = [print_.replace(":", "").lower() for print_ in rule["certificate_sha256"]]
        if context.certificate_sha256 not in listed:
            return "context-certificate"
    if "networks" in rule and not in_networks(rule["networks"], context.address):
        return "context-network"
    if "window" in rule and not in_window(rule["window"], context.now):
        return "context-window"
    return None


# --- The decision ---


def is_over(entry: dict[str, Any], now: datetime) -> bool:
    return "until" in entry and now >= datetime.fromisoformat(entry["until"])


def decide(policy: dict[str, Any], client_id: str, call: Any, context: Any) -> str:
    if client_id not in policy["clients"]:
        return "unknown-client"
    if call.kind == "method":
        return "lifecycle" if call.name in FREE or call.name[:14] == "notifications/" else "method-not-listed"
    if call.upstream not in policy["upstreams"]:
        return "unknown-upstream"
    what = {"resource": "resource:", "prompt": "prompt:"}.get(call.kind, "") + call.name
    named = call.name[:9] == "resource:" or call.name[:7] == "prompt:"
    if call.name == "" or (call.kind in ("tool", "task") and named) or (call.kind == "completion" and not named):
        return "name-not-acceptable"
    if has_dot_segment(what) or ((what[:9] == "resource:" or what[:7] == "prompt:") and has_dot_segment(plain(what))):
        return "name-not-acceptable"
    client = policy["clients"][client_id]
    entries = [policy["roles"][role] for role in client.get("roles", [])] + [client]
    wanted_class = method_class(policy["upstreams"][call.upstream], what)

    def about(pattern: str) -> bool:
        return applies_to(pattern, call.upstream, what)

    def grants(pattern: str) -> bool:
        return resource_glob(pattern, call.upstream, what)

    named = [entry for entry in entries if any(grants(pattern) for pattern in entry.get("allow_resources", []))]
    matching = [entry for entry in named if not is_over(entry, context.now)]
    if not any(wanted_class in entry.get("allow_methods", []) for entry in matching):
        if any(wanted_class in entry.get("allow_methods", []) for entry in named):
            return "grant-ended"
        return "method-class-not-granted" if matching else "resource-not-granted"
    filters = [
        (path, wanted)
        for entry in entries
        for pattern, tests in entry.get("resource_filters", {}).items()
        for path, wanted in tests.items()
        if about(pattern)
    ]
    if filters and call.kind == "completion":
        return "completion-filtered"
    for path, wanted in filters if call.kind != "task" else []:
        if not filter_holds(path.split("."), wanted, call.arguments):
            return "argument-not-allowed"
    for rule in policy["rules"]:
        if any(about(pattern) for pattern in rule["resources"]):
            broken = broken_condition(rule, context)
            if broken:
                return broken
    if call.kind == "task":
        return "granted"
    for rule in policy["rules"]:
        header = rule.get("confirmation_header")
        if header is not None and header not in context.confirmed and any(about(one) for one in rule["resources"]):
            return "context-confirmation"
    return "granted"


def visible(policy: dict[str, Any], client_id: str, call: Any, now: datetime) -> bool:
    """A client sees what its entries grant, without regard to argument filters and context rules."""
    clients = {
        name: {key: value for key, value in keys.items() if key != "resource_filters"}
        for name, keys in policy["clients"].items()
    }
    roles = {
        name: {key: value for key, value in keys.items() if key != "resource_filters"}
        for name, keys in policy["roles"].items()
    }
    bare = {"upstreams": policy["upstreams"], "clients": clients, "roles": roles, "rules": []}
    return decide(bare, client_id, call, SimpleNamespace(now=now)) == "granted"
