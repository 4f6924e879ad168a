"""The completion script of zsh."""

from __future__ import annotations

from mcpsec.cli.shells.tree import CLIENTS_PROGRAM, UPSTREAMS_PROGRAM, Node, alternatives, by_kind, lists

__all__ = ["write"]

_SCRIPT = r"""#compdef mcpsec
# zsh completion for mcpsec; printed by `mcpsec completions zsh`
_mcpsec_kind() { # what value "COMMAND OPTION" takes: sets kind, empty when it takes none
    kind=''
    case "$1" in
@KINDS@
    esac
}
_mcpsec_values() { # offers what $kind says
    local -a names
    case "$kind" in
        words:*) compadd -- ${=kind#words:} ;;
        check)
            compset -P '*,' # several stand in one word, with commas between
            compadd -- @CHECKS@ ;;
        rule) compadd -- @RULES@ ;;
        client) names=(${(f)"$(awk '@CLIENTS@' "$config" 2>/dev/null)"}); compadd -- $names ;;
        upstream) names=(${(f)"$(awk '@UPSTREAMS@' "$config" 2>/dev/null)"}); compadd -- $names ;;
        certificate)
            names=($store/{client,server}/*/cert.pem(N:h:t))
            compadd -- ${(M)names:#[A-Za-z0-9][A-Za-z0-9._@+-]#} ;;
        dir) _files -/ ;;
        file|command) _files ;;
    esac
}
_mcpsec() {
    emulate -L zsh
    setopt extendedglob
    local where=mcpsec word option='' kind=''
    local config="${MCPSEC_CONFIG:-mcpsec.toml}" store="${MCPSEC_CERTS_DIR:-pki}"
    local -a commands options
    local -i at
    for (( at = 2; at < CURRENT; at++ )); do
        word="${words[at]}"
        word="${word/#\~\//$HOME/}"
        if [[ -n $option ]]; then
            case "$option" in
                -c|--config) config="$word" ;;
                -d|--dir) store="$word" ;;
            esac
            option=''
            continue
        fi
        if [[ $word == -- ]]; then
            words=("${(@)words[at+1,-1]}")
            (( CURRENT -= at ))
            _normal
            return
        fi
        case "$word" in
            --config=*) config="${word#*=}" ;;
            --dir=*) store="${word#*=}" ;;
        esac
        _mcpsec_kind "$where $word"
        [[ -n $kind ]] && option="$word"
        case "$where $word" in
            @KNOWN@) where="$where $word" ;;
        esac
    done
    if [[ -n $option ]]; then
        _mcpsec_kind "$where $option"
        _mcpsec_values
        return
    fi
    if [[ $PREFIX == --*=* ]]; then
        _mcpsec_kind "$where ${PREFIX%%=*}"
        compset -P 1 '*='
        _mcpsec_values
        return
    fi
    case "$where" in
@NODES@
    esac
    if [[ $PREFIX == -* ]]; then
        _describe -o option options
    else
        (( $#commands )) && _describe command commands
        _mcpsec_values
    fi
}
if [[ $funcstack[1] == _mcpsec ]]; then
    _mcpsec "$@"
else
    compdef _mcpsec mcpsec
fi
"""


def write(nodes: list[Node]) -> str:
    """The script for these commands."""

    def words(entries: dict[str, str]) -> str:
        return " ".join(f"'{name}:{text}'" for name, text in entries.items())

    rows = "\n".join(
        f"        '{node.path}') commands=({words(node.commands)}); "
        f"options=({words({name: option.help for name, option in node.long_options().items()})}); "
        f"kind='{node.arguments}' ;;"
        for node in nodes
    )
    kinds = "\n".join(f"        {alternatives(places)}) kind='{kind}' ;;" for kind, places in by_kind(nodes).items())
    names = lists()
    return (
        _SCRIPT.replace("@NODES@", rows)
        .replace("@KINDS@", kinds)
        .replace("@KNOWN@", alternatives([node.path for node in nodes[1:]]))
        .replace("@CHECKS@", " ".join(names["check"]))
        .replace("@RULES@", " ".join(names["rule"]))
        .replace("@CLIENTS@", CLIENTS_PROGRAM)
        .replace("@UPSTREAMS@", UPSTREAMS_PROGRAM)
    )
