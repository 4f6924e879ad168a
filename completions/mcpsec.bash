# bash completion for mcpsec; printed by `mcpsec completions bash`
_mcpsec() {
    local current="${COMP_WORDS[COMP_CWORD]}" path="mcpsec" commands="" options="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -- ]] && return
        case "$path $word" in
            "mcpsec init"|"mcpsec serve"|"mcpsec sandbox"|"mcpsec sandbox check"|"mcpsec config"|"mcpsec config check"|"mcpsec config show"|"mcpsec config secrets"|"mcpsec config schema"|"mcpsec config reference"|"mcpsec certs"|"mcpsec certs init"|"mcpsec certs issue"|"mcpsec certs list"|"mcpsec certs show"|"mcpsec certs renew"|"mcpsec certs revoke"|"mcpsec certs crl"|"mcpsec certs check"|"mcpsec certs verify"|"mcpsec certs lint"|"mcpsec certs inspect"|"mcpsec certs fingerprint"|"mcpsec certs rotate-ca"|"mcpsec certs schedule"|"mcpsec certs request"|"mcpsec certs export"|"mcpsec certs ledger"|"mcpsec sign"|"mcpsec sign verify"|"mcpsec sign keygen"|"mcpsec connect"|"mcpsec scan-secrets"|"mcpsec scan-secrets install-hook"|"mcpsec scan-secrets rules"|"mcpsec scan-secrets rules list"|"mcpsec scan-secrets rules show"|"mcpsec scan-secrets rules test"|"mcpsec audit"|"mcpsec audit list"|"mcpsec audit explain"|"mcpsec drill"|"mcpsec policy"|"mcpsec policy check"|"mcpsec policy explain"|"mcpsec policy test"|"mcpsec policy document"|"mcpsec policy suggest"|"mcpsec pin"|"mcpsec approve"|"mcpsec log"|"mcpsec log verify"|"mcpsec log head"|"mcpsec log schema"|"mcpsec log tail"|"mcpsec log query"|"mcpsec log stats"|"mcpsec log export"|"mcpsec alerts"|"mcpsec alerts rules"|"mcpsec alerts test"|"mcpsec alerts replay"|"mcpsec monitor"|"mcpsec monitoring"|"mcpsec monitoring export"|"mcpsec completions") path="$path $word" ;;
        esac
    done
    case "$path" in
        "mcpsec") commands="init serve sandbox config certs sign connect scan-secrets audit drill policy pin approve log alerts monitor monitoring completions" options="--help --no-color --quiet --version" ;;
        "mcpsec init") commands="" options="--client --help" ;;
        "mcpsec serve") commands="" options="--admin-listen --app --auth --config --grant --help --listen --quickstart --rate-limit --ready-file --upstream --workers" ;;
        "mcpsec sandbox") commands="check" options="--help" ;;
        "mcpsec sandbox check") commands="" options="--config --format --help" ;;
        "mcpsec config") commands="check show secrets schema reference" options="--help" ;;
        "mcpsec config check") commands="" options="--config --format --help" ;;
        "mcpsec config show") commands="" options="--config --format --help" ;;
        "mcpsec config secrets") commands="" options="--config --format --help" ;;
        "mcpsec config schema") commands="" options="--help" ;;
        "mcpsec config reference") commands="" options="--help" ;;
        "mcpsec certs") commands="init issue list show renew revoke crl check verify lint inspect fingerprint rotate-ca schedule request export ledger" options="--dir --help --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" ;;
        "mcpsec certs init") commands="" options="--ca-days --client-crl-url --crl-days --encrypt --external-key --format --help --key --organization --permit-client --permit-server --root-days --server-crl-url --trust-domain" ;;
        "mcpsec certs issue") commands="" options="--batch --client --csr --days --format --help --key --key-passphrase-file --profile --replace --san --server --skip-existing" ;;
        "mcpsec certs list") commands="" options="--all --client --format --help --server --state" ;;
        "mcpsec certs show") commands="" options="--client --format --help --pem --server" ;;
        "mcpsec certs renew") commands="" options="--all-due --client --csr --days --format --help --hook --interval --key --reuse-key --server --watch --within" ;;
        "mcpsec certs revoke") commands="" options="--client --format --help --reason --server" ;;
        "mcpsec certs crl") commands="" options="--client --format --help --if-due --server" ;;
        "mcpsec certs check") commands="" options="--client --exit-on --fail --format --help --output --server --warn" ;;
        "mcpsec certs verify") commands="" options="--at --ca --cert --client --crl --format --help --host --key --server" ;;
        "mcpsec certs lint") commands="" options="--fail-on --format --help" ;;
        "mcpsec certs inspect") commands="" options="--format --help" ;;
        "mcpsec certs fingerprint") commands="" options="--format --help --spki" ;;
        "mcpsec certs rotate-ca") commands="" options="--days --encrypt --external-key --format --help --key --retire --root-key" ;;
        "mcpsec certs schedule") commands="" options="--format --help --hook --image --user" ;;
        "mcpsec certs request") commands="" options="--format --help --key --key-passphrase-file --out --san" ;;
        "mcpsec certs export") commands="" options="--bundle-passphrase-file --client --format --help --out --server" ;;
        "mcpsec certs ledger") commands="" options="--help" ;;
        "mcpsec sign") commands="verify keygen" options="--arg --body-file --ca --cert --client --config --era --format --header --help --key --key-file --key-id --method --nonce --scheme --secret-file --send --tamper --timeout --timestamp --tool --url" ;;
        "mcpsec sign verify") commands="" options="--at --body-file --format --headers-file --help --key-file --key-id --max-age --method --scheme --secret-file --url" ;;
        "mcpsec sign keygen") commands="" options="--help --kind" ;;
        "mcpsec connect") commands="" options="--ca --cert --client --config --help --install --key --key-file --key-id --login --logout --name --no-browser --oauth-binding --oauth-ca --oauth-client-id --oauth-client-key-file --oauth-client-secret-file --oauth-grant --oauth-issuer --oauth-port --oauth-scope --oauth-store --print --scheme --secret-file --uninstall --yes" ;;
        "mcpsec scan-secrets") commands="install-hook rules" options="--help" ;;
        "mcpsec scan-secrets install-hook") commands="" options="--force --help --pre-push" ;;
        "mcpsec scan-secrets rules") commands="list show test" options="--help" ;;
        "mcpsec scan-secrets rules list") commands="" options="--format --help" ;;
        "mcpsec scan-secrets rules show") commands="" options="--help" ;;
        "mcpsec scan-secrets rules test") commands="" options="--help" ;;
        "mcpsec audit") commands="list explain" options="--help" ;;
        "mcpsec audit list") commands="" options="--format --help" ;;
        "mcpsec audit explain") commands="" options="--help" ;;
        "mcpsec drill") commands="" options="--config --format --help --list --longest --only --out --recover-within --skip --slack --upstream" ;;
        "mcpsec policy") commands="check explain test document suggest" options="--help" ;;
        "mcpsec policy check") commands="" options="--config --format --help --strict" ;;
        "mcpsec policy explain") commands="" options="--address --arg --arguments --at --certificate-sha256 --client --complete --config --confirmed --format --help --method --prompt --resource --tool" ;;
        "mcpsec policy test") commands="" options="--config --format --help" ;;
        "mcpsec policy document") commands="" options="--config --help" ;;
        "mcpsec policy suggest") commands="" options="--config --format --help --since" ;;
        "mcpsec pin") commands="" options="--accept-flagged --check --client --config --format --help --update" ;;
        "mcpsec approve") commands="" options="--arg --arguments --client --config --format --help --prompt --resource --tool --valid" ;;
        "mcpsec log") commands="verify head schema tail query stats export" options="--help" ;;
        "mcpsec log verify") commands="" options="--checkpoint --config --expect --format --help --key --part" ;;
        "mcpsec log head") commands="" options="--config --export --format --help" ;;
        "mcpsec log schema") commands="" options="--help" ;;
        "mcpsec log tail") commands="" options="--all --client --config --decision --follow --format --help --kind --lines --request-id --resource --rule --status --text --trace-id --upstream" ;;
        "mcpsec log query") commands="" options="--all --client --config --decision --format --help --kind --limit --request-id --resource --rule --since --status --text --trace-id --until --upstream" ;;
        "mcpsec log stats") commands="" options="--all --client --config --decision --format --help --kind --request-id --resource --rule --since --status --text --top --trace-id --until --upstream" ;;
        "mcpsec log export") commands="" options="--all --ca --client --config --decision --format --help --kind --request-id --resource --rule --since --status --text --to --to-format --trace-id --until --upstream" ;;
        "mcpsec alerts") commands="rules test replay" options="--help" ;;
        "mcpsec alerts rules") commands="" options="--format --help" ;;
        "mcpsec alerts test") commands="" options="--ca --command --config --help --key-id --secret-file --slack-file --syslog --webhook" ;;
        "mcpsec alerts replay") commands="" options="--config --format --help --since" ;;
        "mcpsec monitor") commands="" options="--config --help --once" ;;
        "mcpsec monitoring") commands="export" options="--help" ;;
        "mcpsec monitoring export") commands="" options="--force --help" ;;
        "mcpsec completions") commands="" options="--help" ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
    fi
}
complete -o default -F _mcpsec mcpsec
