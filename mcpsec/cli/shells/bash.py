"""The completion script of bash."""

from __future__ import annotations

from mcpsec.cli.shells.tree import CLIENTS_PROGRAM, UPSTREAMS_PROGRAM, Node, alternatives, by_kind, lists

__all__ = ["write"]

_SCRIPT = r"""# bash completion for mcpsec; printed by `mcpsec completions bash`
_mcpsec_node() { # what follows a command: sets commands, options, kind
    case "$1" in
@NODES@
    esac
}
_mcpsec_kind() { # what value "COMMAND OPTION" takes: sets kind, empty when it takes none
    kind=""
    case "$1" in
@KINDS@
    esac
}
_mcpsec_offer() { # keeps the lines that fit; never `compgen -W`, which would run what a name holds
    local each
    while IFS= read -r each; do
        [[ -n $each && $each == "$current"* ]] && COMPREPLY+=("$lead$each")
    done
}
_mcpsec_certificates() {
    local each
    for each in "$1"/client/*/cert.pem "$1"/server/*/cert.pem; do
        each="${each%/cert.pem}" each="${each##*/}"
        [[ $each =~ ^[A-Za-z0-9][A-Za-z0-9._@+-]*$ ]] && printf '%s\n' "$each"
    done
}
_mcpsec_values() { # offers what $kind says
    local list
    case "$kind" in
        words:*) read -ra list <<<"${kind#words:}"; _mcpsec_offer < <(printf '%s\n' "${list[@]}") ;;
        check) # several stand in one word, with commas between
            if [[ $current == *,* ]]; then lead="${current%,*},$lead" current="${current##*,}"; fi
            _mcpsec_offer <<'CHECKS'
@CHECKS@
CHECKS
            ;;
        rule) _mcpsec_offer <<'RULES'
@RULES@
RULES
            ;;
        client) _mcpsec_offer < <(awk '@CLIENTS@' "$config" 2>/dev/null) ;;
        upstream) _mcpsec_offer < <(awk '@UPSTREAMS@' "$config" 2>/dev/null) ;;
        certificate) _mcpsec_offer < <(_mcpsec_certificates "$store") ;;
        dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        file|command) compopt -o default 2>/dev/null ;;
    esac
}
_mcpsec() {
    local -a words list
    local current path="mcpsec" commands options kind option="" word lead="" tail="${COMP_WORDS[COMP_CWORD]}"
    local config="${MCPSEC_CONFIG:-mcpsec.toml}" store="${MCPSEC_CERTS_DIR:-pki}"
    # bash parts words at = and : too, so the words are taken from the line.
    read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
    current=""
    if [[ ${COMP_LINE:0:COMP_POINT} != *[[:space:]] ]]; then
        current="${words[-1]}"
        unset 'words[-1]'
    fi
    COMPREPLY=()
    for word in "${words[@]:1}"; do
        word="${word/#\~\//$HOME/}"
        if [[ -n $option ]]; then
            case "$option" in
                -c|--config) config="$word" ;;
                -d|--dir) store="$word" ;;
            esac
            option=""
            continue
        fi
        if [[ $word == -- ]]; then
            compopt -o default 2>/dev/null
            return
        fi
        case "$word" in
            --config=*) config="${word#*=}" ;;
            --dir=*) store="${word#*=}" ;;
        esac
        _mcpsec_kind "$path $word"
        [[ -n $kind ]] && option="$word"
        case "$path $word" in
            @KNOWN@) path="$path $word" ;;
        esac
    done
    if [[ -n $option ]]; then
        _mcpsec_kind "$path $option"
        _mcpsec_values
    elif [[ $current == --*=* ]]; then
        _mcpsec_kind "$path ${current%%=*}"
        lead="${current%%=*}=" current="${current#*=}"
        _mcpsec_values
    else
        _mcpsec_node "$path"
        read -ra list <<<"$commands"
        if [[ $current == -* ]]; then
            read -ra list <<<"$options"
            kind=none
        fi
        _mcpsec_offer < <(printf '%s\n' "${list[@]}")
        if [[ $kind == file && -n $commands && -z $current ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f)
        elif [[ ${#COMPREPLY[@]} == 0 ]]; then
            _mcpsec_values
        fi
    fi
    # What bash already took as words of their own must not be inserted again.
    [[ $tail == [=:] ]] && tail=""
    [[ $COMP_TYPE ]] || return 0
    word="${COMP_LINE:0:COMP_POINT}" word="${word##*[[:space:]]}" word="${word%"$tail"}" word="${word%@}"
    [[ -n $word ]] && COMPREPLY=("${COMPREPLY[@]#"$word"}")
    return 0
}
complete -F _mcpsec mcpsec
"""


def write(nodes: list[Node]) -> str:
    """The script for these commands."""
    rows = "\n".join(
        f'        "{node.path}") commands="{" ".join(node.commands)}" options="{" ".join(node.long_options())}" '
        f'kind="{node.arguments}" ;;'
        for node in nodes
    )
    kinds = "\n".join(f"        {alternatives(places)}) kind='{kind}' ;;" for kind, places in by_kind(nodes).items())
    names = lists()
    return (
        _SCRIPT.replace("@NODES@", rows)
        .replace("@KINDS@", kinds)
        .replace("@KNOWN@", alternatives([node.path for node in nodes[1:]]))
        .replace("@CHECKS@", "\n".join(names["check"]))
        .replace("@RULES@", "\n".join(names["rule"]))
        .replace("@CLIENTS@", CLIENTS_PROGRAM)
        .replace("@UPSTREAMS@", UPSTREAMS_PROGRAM)
    )
