"""The completion script of fish."""

from __future__ import annotations

from mcpsec.cli.shells.tree import CLIENTS_PROGRAM, UPSTREAMS_PROGRAM, Node, by_kind, lists

__all__ = ["write"]

_SCRIPT = r"""# fish completion for mcpsec; printed by `mcpsec completions fish`
set -g __mcpsec_takes @TAKES@
set -g __mcpsec_known @KNOWN@
function __mcpsec_at
    set -l path mcpsec
    set -l option
    for word in (commandline -opc)[2..-1]
        if set -q option[1]
            set -e option
            continue
        end
        test "$word" = --; and return 1
        contains -- "$path $word" $__mcpsec_takes; and set option $word
        contains -- "$path $word" $__mcpsec_known; and set path "$path $word"
    end
    test "$path" = "$argv"
end
function __mcpsec_given # the value that one of these options has on the line, else the default
    set -l found $argv[1]
    set -l words (commandline -opc)
    for at in (seq 2 (count $words))
        contains -- $words[$at] $argv[2..-1]; and set -q words[(math $at + 1)]; and set found $words[(math $at + 1)]
        for name in $argv[2..-1]
            string match -q -- "$name=*" $words[$at]; and set found (string replace -- "$name=" '' $words[$at])
        end
    end
    string replace -r '^~/' "$HOME/" -- $found
end
function __mcpsec_config
    set -l default mcpsec.toml
    set -q MCPSEC_CONFIG; and set default $MCPSEC_CONFIG
    __mcpsec_given $default -c --config
end
function __mcpsec_clients
    awk '@CLIENTS@' (__mcpsec_config) 2>/dev/null
end
function __mcpsec_upstreams
    awk '@UPSTREAMS@' (__mcpsec_config) 2>/dev/null
end
function __mcpsec_certificates
    set -l default pki
    set -q MCPSEC_CERTS_DIR; and set default $MCPSEC_CERTS_DIR
    set -l store (__mcpsec_given $default -d --dir)
    for each in $store/client/*/cert.pem $store/server/*/cert.pem
        string match -r '^[A-Za-z0-9][A-Za-z0-9._@+-]*$' -- (string split / -- $each)[-2]
    end
end
function __mcpsec_checks # several stand in one word, with commas between
    set -l lead (string match -r '^(?:--[a-z]+=)?(.*,)' -- (commandline -ct))[2]
    printf "$lead%s\n" @CHECKS@
end
function __mcpsec_rules
    printf '%s\n' @RULES@
end
"""


def write(nodes: list[Node]) -> str:
    """The script for these commands."""
    names = lists()
    kinds = by_kind(nodes)
    lines = [
        _SCRIPT.replace("@TAKES@", " ".join(f"'{place}'" for places in kinds.values() for place in places))
        .replace("@KNOWN@", " ".join(f"'{node.path}'" for node in nodes[1:]))
        .replace("@CHECKS@", " ".join(names["check"]))
        .replace("@RULES@", " ".join(names["rule"]))
        .replace("@CLIENTS@", CLIENTS_PROGRAM.replace("\\", "\\\\"))
        .replace("@UPSTREAMS@", UPSTREAMS_PROGRAM.replace("\\", "\\\\"))
        .rstrip("\n")
    ]
    for node in nodes:
        at = f"complete -c mcpsec -n '__mcpsec_at {node.path}'"
        lines += [f"{at} {each}" for each in _arguments(node.arguments)]
        lines += [f"{at} -a {name} -d '{text}'" for name, text in node.commands.items()]
        for name, option in node.options.items():
            spelled = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            lines.append(f"{at} {spelled}{_value(option.kind)} -d '{option.help}'")
    return "\n".join(lines) + "\n"


def _candidates(kind: str) -> str:
    """The shell text that gives the words of a kind, or nothing."""
    if kind.startswith("words:"):
        return kind.removeprefix("words:")
    dynamic = {
        "check": "__mcpsec_checks",
        "rule": "__mcpsec_rules",
        "client": "__mcpsec_clients",
        "upstream": "__mcpsec_upstreams",
        "certificate": "__mcpsec_certificates",
        "dir": "__fish_complete_directories",
    }
    return f"({dynamic[kind]})" if kind in dynamic else ""


def _arguments(kind: str) -> list[str]:
    if kind in ("file", "command"):
        return []
    return ["-f", *([f"-a '{words}'"] if (words := _candidates(kind)) else [])]


def _value(kind: str) -> str:
    if kind == "flag":
        return ""
    if kind == "file":
        return " -r -F"
    return f" -x -a '{words}'" if (words := _candidates(kind)) else " -x"
