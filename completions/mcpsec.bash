# bash completion for mcpsec; printed by `mcpsec completions bash`
_mcpsec_node() { # what follows a command: sets commands, options, kind
    case "$1" in
        "mcpsec") commands="init serve sandbox config certs sign connect scan-secrets audit drill policy pin approve log alerts monitor monitoring completions" options="--help --no-color --quiet --version" kind="none" ;;
        "mcpsec init") commands="" options="--client --help" kind="dir" ;;
        "mcpsec serve") commands="" options="--admin-listen --app --auth --config --grant --help --listen --quickstart --rate-limit --ready-file --upstream --workers" kind="command" ;;
        "mcpsec sandbox") commands="check" options="--help" kind="none" ;;
        "mcpsec sandbox check") commands="" options="--config --format --help" kind="none" ;;
        "mcpsec config") commands="check show secrets schema reference" options="--help" kind="none" ;;
        "mcpsec config check") commands="" options="--config --format --help" kind="none" ;;
        "mcpsec config show") commands="" options="--config --format --help" kind="none" ;;
        "mcpsec config secrets") commands="" options="--config --format --help" kind="none" ;;
        "mcpsec config schema") commands="" options="--help" kind="none" ;;
        "mcpsec config reference") commands="" options="--help" kind="none" ;;
        "mcpsec certs") commands="init issue list show renew revoke crl check verify lint inspect fingerprint rotate-ca schedule request export ledger" options="--config --dir --help --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="none" ;;
        "mcpsec certs init") commands="" options="--ca-days --client-crl-url --crl-days --encrypt --external-key --format --help --key --organization --permit-client --permit-server --root-days --server-crl-url --trust-domain --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="none" ;;
        "mcpsec certs issue") commands="" options="--batch --client --csr --days --format --help --key --key-passphrase-file --profile --replace --san --server --skip-existing --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="certificate" ;;
        "mcpsec certs list") commands="" options="--all --client --format --help --server --state --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="none" ;;
        "mcpsec certs show") commands="" options="--client --format --help --pem --server --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="certificate" ;;
        "mcpsec certs renew") commands="" options="--all-due --client --csr --days --format --help --hook --interval --key --reuse-key --server --watch --within --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="certificate" ;;
        "mcpsec certs revoke") commands="" options="--client --format --help --reason --server --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="certificate" ;;
        "mcpsec certs crl") commands="" options="--client --format --help --if-due --server --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="none" ;;
        "mcpsec certs check") commands="" options="--client --exit-on --fail --format --help --output --server --warn --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="file" ;;
        "mcpsec certs verify") commands="" options="--at --ca --cert --client --crl --format --help --host --key --server --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="file" ;;
        "mcpsec certs lint") commands="" options="--fail-on --format --help --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="file" ;;
        "mcpsec certs inspect") commands="" options="--format --help --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="file" ;;
        "mcpsec certs fingerprint") commands="" options="--format --help --spki --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="file" ;;
        "mcpsec certs rotate-ca") commands="" options="--days --encrypt --external-key --format --help --key --retire --root-key --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="words:client server root" ;;
        "mcpsec certs schedule") commands="" options="--format --help --hook --image --user --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="words:systemd cron kubernetes" ;;
        "mcpsec certs request") commands="" options="--format --help --key --key-passphrase-file --out --san --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="none" ;;
        "mcpsec certs export") commands="" options="--bundle-passphrase-file --client --format --help --out --server --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="certificate" ;;
        "mcpsec certs ledger") commands="" options="--help --config --dir --passphrase-env --passphrase-file --passphrase-prompt --passphrase-ref" kind="none" ;;
        "mcpsec sign") commands="verify keygen" options="--arg --body-file --ca --cert --client --config --era --format --header --help --key --key-file --key-id --method --nonce --scheme --secret-file --send --tamper --timeout --timestamp --tool --url" kind="none" ;;
        "mcpsec sign verify") commands="" options="--at --body-file --format --headers-file --help --key-file --key-id --max-age --method --scheme --secret-file --url" kind="none" ;;
        "mcpsec sign keygen") commands="" options="--help --kind" kind="file" ;;
        "mcpsec connect") commands="" options="--ca --cert --client --config --help --install --key --key-file --key-id --login --logout --name --no-browser --oauth-binding --oauth-ca --oauth-client-id --oauth-client-key-file --oauth-client-secret-file --oauth-grant --oauth-issuer --oauth-port --oauth-scope --oauth-store --print --scheme --secret-file --uninstall --yes" kind="none" ;;
        "mcpsec scan-secrets") commands="install-hook rules" options="--baseline --confidence --config --discover --exit-zero --follow --format --help --history --jobs --max-size --no-archives --no-config --no-ignore --output --redact --rule --since --staged --stdin --update-baseline" kind="file" ;;
        "mcpsec scan-secrets install-hook") commands="" options="--force --help --pre-push" kind="none" ;;
        "mcpsec scan-secrets rules") commands="list show test" options="--help" kind="none" ;;
        "mcpsec scan-secrets rules list") commands="" options="--format --help" kind="none" ;;
        "mcpsec scan-secrets rules show") commands="" options="--help" kind="rule" ;;
        "mcpsec scan-secrets rules test") commands="" options="--help" kind="rule" ;;
        "mcpsec audit") commands="list explain" options="--all --allow-incomplete --baseline --ca --cert --client --client-ca --client-ca-key --config --denied-tool --discover --evidence --exclude --exit-zero --fail-on --fix --format --help --i-own-this --ignore --key --key-file --key-id --kind --log --metrics --no-waivers --other-cert --other-client --other-key --output --persona --profile --rate-limit --replica --scheme --secret-file --select --state --threat-model --token-file --waivers --write-baseline --yes" kind="file" ;;
        "mcpsec audit list") commands="" options="--format --help" kind="none" ;;
        "mcpsec audit explain") commands="" options="--help" kind="check" ;;
        "mcpsec drill") commands="" options="--config --format --help --list --longest --only --out --recover-within --skip --slack --upstream" kind="none" ;;
        "mcpsec policy") commands="check explain test document suggest" options="--help" kind="none" ;;
        "mcpsec policy check") commands="" options="--config --format --help --strict" kind="none" ;;
        "mcpsec policy explain") commands="" options="--address --arg --arguments --at --certificate-sha256 --client --complete --config --confirmed --format --help --method --prompt --resource --tool" kind="none" ;;
        "mcpsec policy test") commands="" options="--config --format --help" kind="file" ;;
        "mcpsec policy document") commands="" options="--config --help" kind="none" ;;
        "mcpsec policy suggest") commands="" options="--config --format --help --since" kind="file" ;;
        "mcpsec pin") commands="" options="--accept-flagged --check --client --config --format --help --update" kind="upstream" ;;
        "mcpsec approve") commands="" options="--arg --arguments --client --config --format --help --prompt --resource --tool --valid" kind="none" ;;
        "mcpsec log") commands="verify head schema tail query stats export" options="--help" kind="none" ;;
        "mcpsec log verify") commands="" options="--checkpoint --config --expect --format --help --key --part" kind="file" ;;
        "mcpsec log head") commands="" options="--config --export --format --help" kind="file" ;;
        "mcpsec log schema") commands="" options="--help" kind="none" ;;
        "mcpsec log tail") commands="" options="--all --client --config --decision --follow --format --help --kind --lines --request-id --resource --rule --status --text --trace-id --upstream" kind="file" ;;
        "mcpsec log query") commands="" options="--all --client --config --decision --format --help --kind --limit --request-id --resource --rule --since --status --text --trace-id --until --upstream" kind="file" ;;
        "mcpsec log stats") commands="" options="--all --client --config --decision --format --help --kind --request-id --resource --rule --since --status --text --top --trace-id --until --upstream" kind="file" ;;
        "mcpsec log export") commands="" options="--all --ca --client --config --decision --format --help --kind --request-id --resource --rule --since --status --text --to --to-format --trace-id --until --upstream" kind="file" ;;
        "mcpsec alerts") commands="rules test replay" options="--help" kind="none" ;;
        "mcpsec alerts rules") commands="" options="--format --help" kind="none" ;;
        "mcpsec alerts test") commands="" options="--ca --command --config --help --key-id --secret-file --slack-file --syslog --webhook" kind="none" ;;
        "mcpsec alerts replay") commands="" options="--config --format --help --since" kind="file" ;;
        "mcpsec monitor") commands="" options="--config --help --once" kind="file" ;;
        "mcpsec monitoring") commands="export" options="--help" kind="none" ;;
        "mcpsec monitoring export") commands="" options="--force --help" kind="dir" ;;
        "mcpsec completions") commands="" options="--help" kind="words:bash zsh fish powershell" ;;
    esac
}
_mcpsec_kind() { # what value "COMMAND OPTION" takes: sets kind, empty when it takes none
    kind=""
    case "$1" in
        'mcpsec init --client'|'mcpsec serve --admin-listen'|'mcpsec serve --app'|'mcpsec serve --auth'|'mcpsec serve --listen'|'mcpsec serve --rate-limit'|'mcpsec serve --upstream'|'mcpsec serve --workers'|'mcpsec certs --passphrase-env'|'mcpsec certs --passphrase-ref'|'mcpsec certs init --ca-days'|'mcpsec certs init --client-crl-url'|'mcpsec certs init --crl-days'|'mcpsec certs init --encrypt'|'mcpsec certs init --external-key'|'mcpsec certs init --organization'|'mcpsec certs init --permit-client'|'mcpsec certs init --permit-server'|'mcpsec certs init --root-days'|'mcpsec certs init --server-crl-url'|'mcpsec certs init --trust-domain'|'mcpsec certs init --passphrase-env'|'mcpsec certs init --passphrase-ref'|'mcpsec certs issue --days'|'mcpsec certs issue --profile'|'mcpsec certs issue --san'|'mcpsec certs issue --passphrase-env'|'mcpsec certs issue --passphrase-ref'|'mcpsec certs list --passphrase-env'|'mcpsec certs list --passphrase-ref'|'mcpsec certs show --passphrase-env'|'mcpsec certs show --passphrase-ref'|'mcpsec certs renew --days'|'mcpsec certs renew --hook'|'mcpsec certs renew --interval'|'mcpsec certs renew --within'|'mcpsec certs renew --passphrase-env'|'mcpsec certs renew --passphrase-ref'|'mcpsec certs revoke --passphrase-env'|'mcpsec certs revoke --passphrase-ref'|'mcpsec certs crl --passphrase-env'|'mcpsec certs crl --passphrase-ref'|'mcpsec certs check --fail'|'mcpsec certs check --warn'|'mcpsec certs check --passphrase-env'|'mcpsec certs check --passphrase-ref'|'mcpsec certs verify --at'|'mcpsec certs verify --host'|'mcpsec certs verify --passphrase-env'|'mcpsec certs verify --passphrase-ref'|'mcpsec certs lint --passphrase-env'|'mcpsec certs lint --passphrase-ref'|'mcpsec certs inspect --passphrase-env'|'mcpsec certs inspect --passphrase-ref'|'mcpsec certs fingerprint --passphrase-env'|'mcpsec certs fingerprint --passphrase-ref'|'mcpsec certs rotate-ca --days'|'mcpsec certs rotate-ca --external-key'|'mcpsec certs rotate-ca --passphrase-env'|'mcpsec certs rotate-ca --passphrase-ref'|'mcpsec certs schedule --hook'|'mcpsec certs schedule --image'|'mcpsec certs schedule --user'|'mcpsec certs schedule --passphrase-env'|'mcpsec certs schedule --passphrase-ref'|'mcpsec certs request --san'|'mcpsec certs request --passphrase-env'|'mcpsec certs request --passphrase-ref'|'mcpsec certs export --passphrase-env'|'mcpsec certs export --passphrase-ref'|'mcpsec certs ledger --passphrase-env'|'mcpsec certs ledger --passphrase-ref'|'mcpsec sign --arg'|'mcpsec sign --header'|'mcpsec sign --key-id'|'mcpsec sign --method'|'mcpsec sign --nonce'|'mcpsec sign --timeout'|'mcpsec sign --timestamp'|'mcpsec sign --tool'|'mcpsec sign --url'|'mcpsec sign -H'|'mcpsec sign verify --at'|'mcpsec sign verify --key-id'|'mcpsec sign verify --max-age'|'mcpsec sign verify --method'|'mcpsec sign verify --url'|'mcpsec connect --key-id'|'mcpsec connect --name'|'mcpsec connect --oauth-client-id'|'mcpsec connect --oauth-issuer'|'mcpsec connect --oauth-port'|'mcpsec connect --oauth-scope'|'mcpsec scan-secrets --jobs'|'mcpsec scan-secrets --max-size'|'mcpsec scan-secrets --since'|'mcpsec scan-secrets -j'|'mcpsec audit --denied-tool'|'mcpsec audit --exclude'|'mcpsec audit --i-own-this'|'mcpsec audit --key-id'|'mcpsec audit --metrics'|'mcpsec audit --rate-limit'|'mcpsec audit --replica'|'mcpsec audit --scheme'|'mcpsec drill --longest'|'mcpsec drill --recover-within'|'mcpsec drill --slack'|'mcpsec policy explain --address'|'mcpsec policy explain --arg'|'mcpsec policy explain --at'|'mcpsec policy explain --certificate-sha256'|'mcpsec policy explain --complete'|'mcpsec policy explain --confirmed'|'mcpsec policy explain --method'|'mcpsec policy explain --prompt'|'mcpsec policy explain --resource'|'mcpsec policy explain --tool'|'mcpsec policy suggest --since'|'mcpsec approve --arg'|'mcpsec approve --prompt'|'mcpsec approve --resource'|'mcpsec approve --tool'|'mcpsec approve --valid'|'mcpsec log verify --expect'|'mcpsec log tail --decision'|'mcpsec log tail --lines'|'mcpsec log tail --request-id'|'mcpsec log tail --resource'|'mcpsec log tail --rule'|'mcpsec log tail --status'|'mcpsec log tail --text'|'mcpsec log tail --trace-id'|'mcpsec log tail -n'|'mcpsec log query --decision'|'mcpsec log query --limit'|'mcpsec log query --request-id'|'mcpsec log query --resource'|'mcpsec log query --rule'|'mcpsec log query --since'|'mcpsec log query --status'|'mcpsec log query --text'|'mcpsec log query --trace-id'|'mcpsec log query --until'|'mcpsec log stats --decision'|'mcpsec log stats --request-id'|'mcpsec log stats --resource'|'mcpsec log stats --rule'|'mcpsec log stats --since'|'mcpsec log stats --status'|'mcpsec log stats --text'|'mcpsec log stats --top'|'mcpsec log stats --trace-id'|'mcpsec log stats --until'|'mcpsec log export --decision'|'mcpsec log export --request-id'|'mcpsec log export --resource'|'mcpsec log export --rule'|'mcpsec log export --since'|'mcpsec log export --status'|'mcpsec log export --text'|'mcpsec log export --trace-id'|'mcpsec log export --until'|'mcpsec alerts test --key-id'|'mcpsec alerts test --webhook'|'mcpsec alerts replay --since') kind='none' ;;
        'mcpsec serve --config'|'mcpsec serve --ready-file'|'mcpsec serve -c'|'mcpsec sandbox check --config'|'mcpsec sandbox check -c'|'mcpsec config check --config'|'mcpsec config check -c'|'mcpsec config show --config'|'mcpsec config show -c'|'mcpsec config secrets --config'|'mcpsec config secrets -c'|'mcpsec certs --config'|'mcpsec certs --passphrase-file'|'mcpsec certs -c'|'mcpsec certs init --config'|'mcpsec certs init --passphrase-file'|'mcpsec certs init -c'|'mcpsec certs issue --batch'|'mcpsec certs issue --csr'|'mcpsec certs issue --key-passphrase-file'|'mcpsec certs issue --config'|'mcpsec certs issue --passphrase-file'|'mcpsec certs issue -c'|'mcpsec certs list --config'|'mcpsec certs list --passphrase-file'|'mcpsec certs list -c'|'mcpsec certs show --config'|'mcpsec certs show --passphrase-file'|'mcpsec certs show -c'|'mcpsec certs renew --csr'|'mcpsec certs renew --config'|'mcpsec certs renew --passphrase-file'|'mcpsec certs renew -c'|'mcpsec certs revoke --config'|'mcpsec certs revoke --passphrase-file'|'mcpsec certs revoke -c'|'mcpsec certs crl --config'|'mcpsec certs crl --passphrase-file'|'mcpsec certs crl -c'|'mcpsec certs check --output'|'mcpsec certs check --config'|'mcpsec certs check --passphrase-file'|'mcpsec certs check -c'|'mcpsec certs verify --ca'|'mcpsec certs verify --cert'|'mcpsec certs verify --crl'|'mcpsec certs verify --key'|'mcpsec certs verify --config'|'mcpsec certs verify --passphrase-file'|'mcpsec certs verify -c'|'mcpsec certs lint --config'|'mcpsec certs lint --passphrase-file'|'mcpsec certs lint -c'|'mcpsec certs inspect --config'|'mcpsec certs inspect --passphrase-file'|'mcpsec certs inspect -c'|'mcpsec certs fingerprint --config'|'mcpsec certs fingerprint --passphrase-file'|'mcpsec certs fingerprint -c'|'mcpsec certs rotate-ca --root-key'|'mcpsec certs rotate-ca --config'|'mcpsec certs rotate-ca --passphrase-file'|'mcpsec certs rotate-ca -c'|'mcpsec certs schedule --config'|'mcpsec certs schedule --passphrase-file'|'mcpsec certs schedule -c'|'mcpsec certs request --key-passphrase-file'|'mcpsec certs request --config'|'mcpsec certs request --passphrase-file'|'mcpsec certs request -c'|'mcpsec certs export --bundle-passphrase-file'|'mcpsec certs export --out'|'mcpsec certs export --config'|'mcpsec certs export --passphrase-file'|'mcpsec certs export -c'|'mcpsec certs ledger --config'|'mcpsec certs ledger --passphrase-file'|'mcpsec certs ledger -c'|'mcpsec sign --body-file'|'mcpsec sign --ca'|'mcpsec sign --cert'|'mcpsec sign --config'|'mcpsec sign --key'|'mcpsec sign --key-file'|'mcpsec sign --secret-file'|'mcpsec sign -c'|'mcpsec sign verify --body-file'|'mcpsec sign verify --headers-file'|'mcpsec sign verify --key-file'|'mcpsec sign verify --secret-file'|'mcpsec connect --ca'|'mcpsec connect --cert'|'mcpsec connect --config'|'mcpsec connect --key'|'mcpsec connect --key-file'|'mcpsec connect --oauth-ca'|'mcpsec connect --oauth-client-key-file'|'mcpsec connect --oauth-client-secret-file'|'mcpsec connect --secret-file'|'mcpsec connect -c'|'mcpsec scan-secrets --baseline'|'mcpsec scan-secrets --config'|'mcpsec scan-secrets --output'|'mcpsec scan-secrets -c'|'mcpsec scan-secrets -o'|'mcpsec audit --baseline'|'mcpsec audit --ca'|'mcpsec audit --cert'|'mcpsec audit --client-ca'|'mcpsec audit --client-ca-key'|'mcpsec audit --config'|'mcpsec audit --key'|'mcpsec audit --key-file'|'mcpsec audit --log'|'mcpsec audit --other-cert'|'mcpsec audit --other-key'|'mcpsec audit --output'|'mcpsec audit --secret-file'|'mcpsec audit --state'|'mcpsec audit --token-file'|'mcpsec audit --waivers'|'mcpsec audit --write-baseline'|'mcpsec audit -c'|'mcpsec audit -o'|'mcpsec drill --config'|'mcpsec drill -c'|'mcpsec policy check --config'|'mcpsec policy check -c'|'mcpsec policy explain --arguments'|'mcpsec policy explain --config'|'mcpsec policy explain -c'|'mcpsec policy test --config'|'mcpsec policy test -c'|'mcpsec policy document --config'|'mcpsec policy document -c'|'mcpsec policy suggest --config'|'mcpsec policy suggest -c'|'mcpsec pin --config'|'mcpsec pin -c'|'mcpsec approve --arguments'|'mcpsec approve --config'|'mcpsec approve -c'|'mcpsec log verify --checkpoint'|'mcpsec log verify --config'|'mcpsec log verify --key'|'mcpsec log verify -c'|'mcpsec log head --config'|'mcpsec log head --export'|'mcpsec log head -c'|'mcpsec log tail --config'|'mcpsec log tail -c'|'mcpsec log query --config'|'mcpsec log query -c'|'mcpsec log stats --config'|'mcpsec log stats -c'|'mcpsec log export --ca'|'mcpsec log export --config'|'mcpsec log export --to'|'mcpsec log export -c'|'mcpsec alerts test --ca'|'mcpsec alerts test --command'|'mcpsec alerts test --config'|'mcpsec alerts test --secret-file'|'mcpsec alerts test --slack-file'|'mcpsec alerts test --syslog'|'mcpsec alerts test -c'|'mcpsec alerts replay --config'|'mcpsec alerts replay -c'|'mcpsec monitor --config'|'mcpsec monitor -c') kind='file' ;;
        'mcpsec serve --grant'|'mcpsec sign --client'|'mcpsec connect --client'|'mcpsec audit --client'|'mcpsec audit --other-client'|'mcpsec policy explain --client'|'mcpsec pin --client'|'mcpsec approve --client'|'mcpsec log tail --client'|'mcpsec log query --client'|'mcpsec log stats --client'|'mcpsec log export --client') kind='client' ;;
        'mcpsec sandbox check --format'|'mcpsec config check --format'|'mcpsec config show --format'|'mcpsec config secrets --format'|'mcpsec scan-secrets rules list --format'|'mcpsec scan-secrets rules list -f'|'mcpsec audit list --format'|'mcpsec audit list -f'|'mcpsec policy check --format'|'mcpsec policy explain --format'|'mcpsec policy suggest --format'|'mcpsec pin --format'|'mcpsec approve --format') kind='words:console json' ;;
        'mcpsec certs --dir'|'mcpsec certs -d'|'mcpsec certs init --dir'|'mcpsec certs init -d'|'mcpsec certs issue --dir'|'mcpsec certs issue -d'|'mcpsec certs list --dir'|'mcpsec certs list -d'|'mcpsec certs show --dir'|'mcpsec certs show -d'|'mcpsec certs renew --dir'|'mcpsec certs renew -d'|'mcpsec certs revoke --dir'|'mcpsec certs revoke -d'|'mcpsec certs crl --dir'|'mcpsec certs crl -d'|'mcpsec certs check --dir'|'mcpsec certs check -d'|'mcpsec certs verify --dir'|'mcpsec certs verify -d'|'mcpsec certs lint --dir'|'mcpsec certs lint -d'|'mcpsec certs inspect --dir'|'mcpsec certs inspect -d'|'mcpsec certs fingerprint --dir'|'mcpsec certs fingerprint -d'|'mcpsec certs rotate-ca --dir'|'mcpsec certs rotate-ca -d'|'mcpsec certs schedule --dir'|'mcpsec certs schedule -d'|'mcpsec certs request --out'|'mcpsec certs request --dir'|'mcpsec certs request -d'|'mcpsec certs export --dir'|'mcpsec certs export -d'|'mcpsec certs ledger --dir'|'mcpsec certs ledger -d'|'mcpsec audit --evidence'|'mcpsec drill --out') kind='dir' ;;
        'mcpsec certs init --format'|'mcpsec certs issue --format'|'mcpsec certs list --format'|'mcpsec certs show --format'|'mcpsec certs renew --format'|'mcpsec certs revoke --format'|'mcpsec certs crl --format'|'mcpsec certs verify --format'|'mcpsec certs lint --format'|'mcpsec certs inspect --format'|'mcpsec certs fingerprint --format'|'mcpsec certs rotate-ca --format'|'mcpsec certs schedule --format'|'mcpsec certs request --format'|'mcpsec certs export --format'|'mcpsec sign verify --format'|'mcpsec log verify --format'|'mcpsec log head --format'|'mcpsec log stats --format'|'mcpsec alerts rules --format'|'mcpsec alerts replay --format') kind='words:text json' ;;
        'mcpsec certs init --key'|'mcpsec certs rotate-ca --key') kind='words:p256 p384 rsa3072' ;;
        'mcpsec certs issue --key'|'mcpsec certs renew --key'|'mcpsec certs request --key') kind='words:p256 p384 rsa3072 ed25519' ;;
        'mcpsec certs list --state') kind='words:valid expired revoked superseded abandoned' ;;
        'mcpsec certs revoke --reason') kind='words:unspecified keyCompromise affiliationChanged superseded cessationOfOperation privilegeWithdrawn' ;;
        'mcpsec certs check --exit-on') kind='words:due late' ;;
        'mcpsec certs check --format') kind='words:text json prometheus nagios' ;;
        'mcpsec certs lint --fail-on') kind='words:error warning notice' ;;
        'mcpsec sign --era') kind='words:modern legacy' ;;
        'mcpsec sign --format') kind='words:headers curl json http' ;;
        'mcpsec sign --scheme'|'mcpsec sign verify --scheme'|'mcpsec connect --scheme') kind='words:hmac-sha256 rfc9421 article' ;;
        'mcpsec sign --tamper') kind='words:body timestamp nonce path key' ;;
        'mcpsec sign keygen --kind') kind='words:hmac ed25519 ecdsa-p256' ;;
        'mcpsec connect --install'|'mcpsec connect --uninstall') kind='words:amazon-q amp claude-code claude-desktop cline codex continue copilot-cli crush cursor gemini-cli goose junie kilo-code kiro lm-studio opencode qwen-code roo-code vscode vscode-insiders windsurf zed' ;;
        'mcpsec connect --oauth-binding') kind='words:auto certificate dpop none' ;;
        'mcpsec connect --oauth-grant') kind='words:auto authorization-code client-credentials' ;;
        'mcpsec connect --oauth-store') kind='words:auto keyring file' ;;
        'mcpsec scan-secrets --confidence') kind='words:high medium low' ;;
        'mcpsec scan-secrets --format'|'mcpsec scan-secrets -f') kind='words:console json sarif junit csv gitlab' ;;
        'mcpsec scan-secrets --redact') kind='words:partial full' ;;
        'mcpsec scan-secrets --rule') kind='rule' ;;
        'mcpsec audit --fail-on') kind='words:critical high medium low info never' ;;
        'mcpsec audit --format'|'mcpsec audit -f') kind='words:console json sarif junit markdown html' ;;
        'mcpsec audit --ignore'|'mcpsec audit --select') kind='check' ;;
        'mcpsec audit --kind') kind='words:caddy certificate client compose deployment dockerfile endpoint environment envoy evidence grafana haproxy key kubernetes log nginx pins prometheus systemd traefik waivers workflow' ;;
        'mcpsec audit --persona') kind='words:regular pedantic auditor' ;;
        'mcpsec audit --profile') kind='words:static passive refuse load drill' ;;
        'mcpsec drill --format'|'mcpsec drill -f') kind='words:text json junit' ;;
        'mcpsec drill --only'|'mcpsec drill --skip') kind='words:certificate-expired certificate-revoked client-partition clock-jump crash disk-full error garbage partition reset restart slow store-lost timeout' ;;
        'mcpsec drill --upstream'|'mcpsec log tail --upstream'|'mcpsec log query --upstream'|'mcpsec log stats --upstream'|'mcpsec log export --upstream') kind='upstream' ;;
        'mcpsec policy test --format') kind='words:console json junit' ;;
        'mcpsec log tail --format'|'mcpsec log query --format') kind='words:text json jsonl' ;;
        'mcpsec log tail --kind'|'mcpsec log query --kind'|'mcpsec log stats --kind'|'mcpsec log export --kind') kind='words:alert authentication-failed authorization breaker certificate configuration guard handshake handshake-refused pin rate-limited request server-start server-stop session timeout upstream' ;;
        'mcpsec log export --format'|'mcpsec log export --to-format') kind='words:jsonl ocsf syslog otlp' ;;
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
AUD001
AUD002
AUD003
AUT001
AUT002
AUT003
AUT004
AUT005
AUT006
CRT001
CRT002
CRT003
CRT004
CRT005
CRT006
CRT007
CRT008
CRT009
DEP001
DEP002
DEP003
DEP004
DEP005
DEP006
DEP007
ERR001
ERR002
FIL001
HDR001
HDR002
INP001
INP002
INP003
INP004
LOG001
LOG002
LOG003
LOG004
LOG005
LOG006
MON001
MON002
MON003
ORG001
ORG002
ORG003
ORG004
PRM001
PRM002
PRM003
PRM004
PRM005
PRM006
PRM007
PRM008
PRM009
PRM010
RES001
RES002
RES003
RTE001
RTE002
RTE003
RTE004
SEC001
SEC002
SEC003
SEC004
SEC005
SEC006
SES001
SES002
SES003
SHD001
SIG001
SIG002
SIG003
SIG004
SIG005
SUP001
SUP002
SUP003
SUP004
SUP005
SUP006
TLS001
TLS002
TLS003
TLS004
TLS005
TLS006
TLS007
TLS008
TLS009
TLS010
TLS011
TLS012
TLS013
TLS014
TMO001
TMO002
TMO003
TMO004
TOL001
TOL002
TOL003
TOL004
TOL005
TOL006
TOL007
CHECKS
            ;;
        rule) _mcpsec_offer <<'RULES'
ably-api-key
abstractapi
abuseipdb-api-key
accuweather
activecampaign-api-key
adafruit-io-key
adafruit-io-prefixed-key
adobe-client-secret
adobe-io
adyen-api-key
adyen-hmac
age-post-quantum-secret-key
age-secret-key
agora-app-certificate
agora-certificate-by-name
aikido-ci-token
airbrake
airbrake-api-key
airtable-api-key
airtable-oauth-token
airtable-personal-access-token
airvisual
aiven-auth-token
akamai-client-secret
akamai-edgegrid-token
akeyless-access-key
alchemy-api-key
alchemy-auth-token
algolia-admin-key
algolia-client-key
alibaba-access-key-id
alibaba-access-key-secret
alienvault
alpaca-key-id
alpaca-secret-key
alpha-vantage-key
amadeus-client-secret
amazon-oauth-client-secret
amazon-ses-smtp-password
amp-access-token
amplitude-secret-key
amqp-connection-string
anaconda-token
anthropic-admin-api-key
anthropic-api-key
anthropic-oauth-token
anthropic-session-key
anypoint
anyscale-api-key
api2cart
apiflash
apifonica
apify-api-token
apify-legacy
apify-proxy-password
apilayer-key
apimetrics
apitemplate
apollo-api-key
apollo-graph-key
app-center-token
appdynamics-access-key
appfollow
applitools-api-key
appointedd
appoptics
appsynergy
appveyor-api-token
arcade-api-key
artifactory-api-key
artifactory-password
artifactory-reference-token
asaas-api-key
asana-client-secret
asana-oauth
asana-personal-access-token
ashby-api-key
aspnet-machine-key
assemblyai-api-key
astronomer-api-token
atera
atlassian-api-token
atlassian-data-center-token
atlassian-legacy-api-token
attio-access-token
audd
auth0-client-secret
auth0-long-secret
auth0-management-token
authorization-header
authress-service-key
autoklose
autopilot
avaza
aviationstack
aviationstack-access-key
aws-access-key-id
aws-bedrock-api-key
aws-bedrock-short-term-key
aws-mws-token
aws-secret-access-key
aws-session-token
axiom-token
axonaut
aylien
ayrshare-api-key
ayrshare-profile
azure-ad-client-secret
azure-ad-legacy-client-secret
azure-app-configuration-secret
azure-batch-key
azure-common-annotated-key
azure-container-registry-key
azure-cosmos-key
azure-devops-personal-access-token
azure-event-hub-key
azure-functions-key
azure-functions-key-in-url
azure-iot-key
azure-logic-app-url
azure-openai-api-key
azure-redis-key
azure-relay-key
azure-sas-token
azure-sas-token-signature-first
azure-search
azure-search-key
azure-service-bus-key
azure-shared-access-key
azure-storage-account-key
azure-storage-annotated-key
azure-subscription-key
baidu-qianfan-api-key
bamboohr-api-key
bamboohr-hex
bannerbear-api-key
baremetrics-api-key
baremetrics-live
beamer-api-key
beebole
beehiiv-api-key
besnappy
besttime
better-stack-token
bigcommerce-access-token
billomat
binance-api-key
bip32-extended-private-key
bitbar
bitbucket-access-token
bitbucket-app-password
bitbucket-consumer
bitbucket-oauth-secret
bitcoin-wif-key
bitfinex-api-secret
bitly
bitmex-api-secret
bitrise-access-token
bitrix24-webhook
bitstamp-api-secret
bittrex-api-secret
bitwarden-access-token
blitapp
blocknative
blogger
bluesky-app-password
blynk-token
bombbomb
boostnote
borgbase
box-client-secret
braintree
braintree-private-key
braintrust-service-token
brandfetch
brave-search-api-key
brevo-api-key
brex-user-token
bright-data-token
browser-use-api-key
browserbase-api-key
browserless-token
browserstack-access-key
browshot
bscscan
buddyns
budibase
bugherd
bugsnag-api-key
buildkite-agent-session-token
buildkite-agent-token
buildkite-api-token
buildkite-cluster-token
bulbul
bundler-source-credentials
buttercms
bybit-api-secret
caflou
cal-com-api-key
calendarific
calendly-token
calorieninjas-key
campaign-monitor-api-key
campayn
canny-api-key
canva-client-secret
capsule-crm-token
capsulecrm
captaindata
carbon-interface-key
cartesia-api-key
censys-api-secret
centralstationcrm
cerebras-api-key
chargebee-api-key
chartmogul-api-key
chatbot
chatfuel
checio
checkly-api-key
checkout-com-secret-key
chromatic-project-token
cicero
circleci-legacy-token
circleci-personal-token
circleci-project-token
cisco-password-hash
cisco-type-7-password
civo-api-key
clarifai-pat
clearbit-api-key
clerk-secret-key
clerk-webhook-or-api-key
clickhouse-cloud-secret
clicksend-api-key
clickup-api-token
cliengo
clinchpad
clockify-api-key
clojars-token
close-api-key
close-crm-api-key
closecrm
cloudant
cloudant-url-password
cloudconvert-api-key
cloudflare-api-token
cloudflare-global-api-key
cloudflare-origin-ca-key
cloudflare-prefixed-token
cloudflare-tunnel-token
cloudflare-turnstile-secret
cloudinary-api-secret
cloudinary-url
cloudmersive-key
cloudplan
cloudsight
cloudsmith-api-key
cloudsmith-legacy-api-key
cloverly
cloze
clustdoc
cockroachdb-api-key
coda-api-token
codacy-api-token
codeclimate-token
codecov-token
codefresh-api-key
codemagic-api-token
codequiry
cohere-api-key
coinapi-key
coinbase-api-secret
coinbase-cdp-key-file
coingecko-api-key
coingecko-prefixed-key
coinlayer
coinlib
coinmarketcap-api-key
collect2
column-api-key
command-line-credentials
commercejs
companieshouse
composio-api-key
composio-mcp-server-url
conda-channel-token
configcat-sdk-key
confluent-api-key
confluent-api-secret
confluent-cloud
confluent-prefixed-api-secret
consul-token
contentful-api-token
contentful-management-token
context7-api-key
convertapi-secret
convertkit-api-secret
convex-deploy-key
copper-api-key
coralogix-key
couchbase-capella-key
countrylayer
courier
coveralls-token
coze-access-token
crates-io-token
crisp-token
crowdin-80
crowdin-token
crowdstrike-client-secret
crypto-com-secret
cryptocompare-api-key
currencyapi-key
currencyfreaks
currencylayer
currencylayer-access-key
currencyscoop
currents-api-key
currentsnews
cursor-api-key
customerio-api-key
cypress-record-key
d7networks
dagster-cloud-token
daily-co-api-key
dandelion
databento-api-key
databox
databricks-token
datadog-api-key
datadog-application-key
datastax-astra-token
daytona-api-key
dbt-cloud-token
debounce-api-key
deepai
deepgram-alnum
deepgram-api-key
deepl-api-key
deepl-pro-api-key
deepseek-api-key
defined-networking-api-token
delighted-api-key
deno-access-token
dependency-track-key
depot-token
deputy
descope-management-key
detectify-api-key
detectlanguage
devcycle-server-key
device-password
devin-api-key
diffbot-token
dify-app-key
diggernaut
digitalocean-access-token
digitalocean-gradient-key
digitalocean-spaces-secret
dingtalk-webhook
discord-bot-token
discord-client-secret
discord-named-token
discord-webhook-url
disqus-api-secret
ditto
django-secret-key
docker-config-auth
docker-swarm-join-token
docker-swarm-unlock-key
dockerhub-access-token
docparser-api-key
docusign-secret-key
doppler-token
dronahq
drone-ci-token
dropbox-access-token
dropbox-app-secret
dropbox-sign-api-key
drupal-hash-salt
duffel-api-token
duo-integration-key
duo-secret-key
dvc-studio-token
dwolla-secret
dynalist
dynatrace-token
dyspatch
e2b-access-token
e2b-api-key
eagleeye
easypost-api-key
ebay-client-secret
ecostruxure
edamam
edenai-key
elastic-cloud-api-key
elastic-cloud-prefixed-key
elastic-email-api-key
elevenlabs-api-key
elevenlabs-legacy-api-key
endor-labs-api-key
envoy
eraser
ethereum-private-key
ethereum-signing-key
etherscan-api-key
ethplorer
etsy-keystring
eventbrite-token
eventbrite-token-form
everhour-key
evernote-token
exa-api-key
exa-mcp-url-key
exchangerate-api-key
exchangeratesapi
exoscale-api-key
exoscale-api-secret
expo-access-token
extractorapi
facebook-access-token
facebook-app-access-token
facebook-app-secret
faceplusplus
fal-api-key
fastly-api-token
fauna-secret
feedier
fetchrss
figma-access-token
figma-legacy-token
fileio
financial-modeling-prep-key
finicity-app-key
finnhub-api-key
firebase-cloud-messaging-key
firecrawl-api-key
fireflies-api-key
fireworks-api-key
fixer
flatio
fleetbase-key
flickr-alnum
flickr-api-secret
flightapi
flutterwave-secret-key
fly-api-token
formbucket
formcraft
formio
fortios-encrypted-password
foursquare-api-key
frameio-token
freshbooks-client-secret
freshdesk-api-key
freshdesk-key
front-api-token
frontegg-api-key
fulcrum
fullstory-88
fullstory-api-key
fullstory-data-key
fullstory-named-api-key
fxmarket
geckoboard-44
geckoboard-api-key
gemini-exchange-secret
generic-api-key
generic-credential
generic-key
generic-password
generic-salt-or-cookie
generic-secret
generic-token
genius
geoapify-api-key
geocode-xyz
geocodify
geocodio
getemail
getgeoapi
getgist
getresponse-api-key
ghost-admin-key
giphy-api-key
gitbook-api-token
gitea-access-token
github-app-installation-token
github-app-token
github-fine-grained-token
github-oauth-client-secret
github-oauth-token
github-personal-access-token
github-refresh-token
github-runner-registration-token
gitlab-deploy-token
gitlab-feature-flags-token
gitlab-feed-token
gitlab-incoming-mail-token
gitlab-job-token
gitlab-kubernetes-agent-token
gitlab-oauth-application-secret
gitlab-personal-access-token
gitlab-pipeline-trigger-token
gitlab-runner-authentication-token
gitlab-runner-registration-token
gitlab-scim-token
gitlab-session-cookie
gitlab-workspace-token
gitter-access-token
glama-api-key
glassnode
go-mysql-dsn-password
gocardless-access-token
goodday
google-api-key
google-application-default-credentials
google-chat-webhook
google-gemini-auth-key
google-oauth-access-token
google-oauth-client-secret
google-oauth-refresh-token
google-recaptcha-secret
google-service-account-key
gorgias-api-key
grafana-api-key
grafana-cloud-token
grafana-service-account-token
graphhopper-api-key
graphhopper-key
greenhouse-api-key
greptile-api-key
greynoise
groove
groq-api-key
gtmetrix
guardian-api-key
guardian-open
gumroad-43
gumroad-access-token
gyazo-access-token
happyscribe
harness-api-key
harvest-token
hasura-admin-secret
hcaptcha-secret
hcp-client-secret
healthchecks-ping-key
helicone-api-key
hellosign
helpcrunch
helpscout-secret
here-api-key
heroku-api-key
heroku-legacy-api-key
hetzner-api-token
hetzner-dns-token
hex-pm-key
hex-tech-token
heygen-api-key
hibob
highnote-api-key
hiveage
holidayapi
holistic
home-assistant-token
honeybadger-api-key
honeycomb-classic-key
honeycomb-ingest-key
html2pdf
huawei-cipher-password
hubspot-api-key
hubspot-private-app-token
huggingface-access-token
huggingface-organization-token
humanity
hunter-api-key
hybiscus
hybridanalysis
hyperbrowser-api-key
ibm-cloud-api-key
ibm-cloudant-password
ibm-cos-hmac-secret
ibm-softlayer-key
iconfinder
iex-cloud-token
iexcloud-key
ifttt-webhook-key
igdb
imagekit-key
imagekit-private-key
imagga
imgur-client-secret
impala
infisical-token
influxdb-token
infobip-api-key
infracost-api-key
infura-api-key
inngest-signing-key
insightly-api-key
instabot
instagram-access-token
instamojo
intercom-access-token
intercom-api-key
interseller
intra42-client-secret
intrinio
ionic-token
ip2location-key
ipapi
ipgeolocation-api-key
ipgeolocation-key
ipify
ipinfo-token
ipinfodb
ipquality-key
ipqualityscore-key
ipstack
ipstack-access-key
jdbc-password
jenkins-api-token
jetbrains-hub-token
jina-api-key
jotform-api-key
json-web-encryption
json-web-token
json-web-token-base64
jumio-api-secret
jumpcloud-api-key
jumpcloud-named-api-key
juniper-password-hash
juniper-secret
jupiterone
juro
kagi-api-key
karmacrm
keenio
kerberos-ticket-hash
kickbox-api-key
kit-api-secret
klarna-hex
klavis-api-key
klaviyo-legacy
klaviyo-private-key
klipfolio
knapsack-pro-token
kong-konnect-token
kontent-api-key
kontent-key
kraken-private-key
kubeconfig-client-key
kubernetes-bootstrap-token
kubernetes-secret-manifest
kubernetes-service-account-token
kucoin-api-secret
kylas
lacework
lambdatest-access-key
langfuse-secret-key
langsmith-api-key
langsmith-legacy-api-key
languagelayer
laravel-app-key
lark-app-secret
lark-webhook
lastfm-api-secret
launchdarkly-access-token
launchdarkly-sdk-key
leadfeeder
lemlist-api-key
lemonsqueezy-api-key
lessannoying
letta-api-key
lever-api-key
lexigram
libraries-io-api-key
lichess-token
lightdash-access-token
lighton-paradigm-key
line-channel-token
line-notify
linear-api-key
linear-client-secret
linear-oauth-token
linkedin-access-token
linkedin-client-secret
linkedin-client-secret-prefixed
linkpreview
linkup-api-key
linode-api-token
liveblocks-secret-key
livechat-access-token
livekit-api-key
livekit-api-secret
llamacloud-api-key
loadmill
lob-api-key
locationiq-token
logdna-ingestion-key
logfire-token
loggly
loggly-token
loginradius-secret
logzio-token
logzio-uuid
lokalise-api-token
looker
looker-client-secret
loops-api-key
loyverse
lunch-money-token
madkudu
magnetic
mailboxlayer
mailboxlayer-access-key
mailchimp-api-key
mailerlite-api-key
mailerlite-classic
mailersend-api-token
mailgun-api-key
mailgun-new-api-key
mailjet-secret-key
mailmodo
mailsac-api-key
mailsac-key
make-api-token
make-mcp-server-url
make-webhook
mandrill
mandrill-api-key
mandrill-legacy-api-key
mapbox-secret-token
mapillary-token
mapquest-api-key
marketstack
mastodon-access-token
materialize-app-password
matomo
matrix-access-token
mattermost-access-token
mattermost-webhook
maven-settings-password
mavenlink
maxmind-licence-key
mcp-client-secret
mcp-gateway-token
mcp-inspector-proxy-token
mcp-oauth-token-file
mcp-session-id
meaningcloud
mediastack
mediastack-access-key
meetup
meilisearch-key
meistertask-token
mem0-api-key
meraki-api-key
mercadopago-access-token
mercury-api-token
mergify-application-key
mesibo
messagebird-api-key
meta-quest-app-credential
metabase
metrilo
microsoft-teams-legacy-webhook
microsoft-teams-webhook
midtrans-server-key
minimax-api-key
miro-27
miro-access-token
mistral-api-key
mixmax
mixpanel-secret
modal-token
mollie-api-key
monday-api-token
mongodb-atlas-private-key
mongodb-atlas-service-account-secret
mongodb-connection-string
monkeylearn
moonshot-api-key
moosend-api-key
moralis-api-key
musixmatch
mux-token-secret
mysql-connection-string
n8n-api-key
n8n-mcp-trigger-url
nasa
nasa-api-key
nasdaq-data-link-key
neon-api-key
neon-database-password
netbird-access-token
netbox-token
netlify-access-token
netlify-legacy
netlify-legacy-access-token
netsparker
neutrino
neverbounce-api-key
newrelic-browser-key
newrelic-insights-key
newrelic-license-key
newrelic-user-key
newsapi-key
newscatcher
nftport
ngrok-auth-token
nightfall-api-key
nightfall-key
nimble
noaa
node-rpc-url-key
nostr-secret-key
notion-integration-token
npm-access-token
npm-basic-auth
npm-legacy-auth-token
ntfy-access-token
nuget-api-key
nuget-config-password
nuget-lower
numverify
numverify-access-key
nutritionix
nvidia-api-key
nylas-api-key
nylas-prefixed-key
nytimes-api-key
oanda-24
oanda-token
obsidian-local-rest-api-key
octopus-deploy-api-key
okta-api-token
okta-client-secret
okta-ssws-header
okx-api-secret
ollama-api-key
omnisend-api-key
onelogin-client-secret
onepagecrm
onepassword-connect-token
onepassword-secret-key
onepassword-service-account-token
onesignal-api-key
onesignal-prefixed-key
onesignal-uuid
onfido-api-token
onfleet
oopspam
openai-api-key
openai-legacy-api-key
openai-realtime-client-secret
openai-session-token
openaq
opencage-api-key
opencorporates
openrouter-api-key
openrouteservice-key
openshift-token
openuv
openweather-api-key
openweather-appid
opsgenie
opsgenie-api-key
optimizely-token
optimizely-token-form
oracle-auth-token
overloop
ovh-application-secret
owlbot
packagecloud-token
paddle-api-key
paddle-webhook-secret
pagarme-api-key
pagerduty-api-key
pagerduty-event-url
pagerduty-integration-key
pandadoc-api-key
pandadoc-key
pandascore
papertrail
paralleldots
parsehub
particle-access-token
partnerstack
password-file-hash
pastebin
paydirt
paymo
paymongo-secret-key
paypal-braintree-access-token
paypal-client-secret
paystack-secret-key
pdflayer
pdfshift-api-key
people-data-labs-api-key
percy-token
perplexity-api-key
persona-api-key
pexels-api-key
pgpass-password
pinata
pinecone-api-key
pinecone-legacy-api-key
pingdom
pingdom-api-token
pinterest-token
pipedream-client-secret
pipedream-mcp-server-url
pipedrive-api-token
pivotaltracker
pixabay-api-key
pixabay-key
plaid-access-token
plaid-secret
planetscale-credential
planyo
plivo-auth-id
plivo-auth-token
podio
polar-access-token
pollsapi
polygon-io-api-key
polygonscan
polymarket-private-key
portainer-access-token
portkey-api-key
positionstack
positionstack-access-key
postageapp
postgres-connection-string
posthog-personal-key
postman-api-key
postman-collection-key
postmark-server-token
powrbot
prefect-api-key
privacy-com
privacy-com-api-key
private-key
private-key-encrypted
private-key-pgp
private-key-putty
private-packagist-token
prodpad-api-key
promptlayer-api-key
prospectcrm
protocolsio
proxmox-api-token
proxmox-token-secret
proxycrawl
pubnub-secret-key
pulumi-access-token
puppet-access-token
pushbullet-34
pushbullet-access-token
pusher-app-secret
pushover-token
pypi-token
qase-40
qase-api-token
qdrant-api-key
qualaroo
qualtrics-api-token
qualys
qubole
quickbooks-client-secret
rabbitmq-erlang-cookie
rails-master-key
rails-secret-key-base
railway-token
raindrop-token
rainforest-api-key
ramp-client-secret
rancher-token
rapid7
rapidapi-key
rapidapi-legacy-key
raven
rawg-api-key
rawg-key
raygun-api-key
razorpay-key-id
razorpay-key-secret
reachmail
readme-api-key
readwise-token
rebrandly
recurly-private-key
reddit-client-secret
redis-connection-string
render-api-key
render-deploy-hook
replicate-api-token
replyio
requestfinance
resend-api-key
restpack
retell-api-key
retool-api-token
riot-api-key
ritekit
roblox-security-cookie
rocketchat-token
rocketreach-39
rocketreach-api-key
rockset-api-key
rollbar-access-token
rootly-api-key
route4me
rsdigital
rubygems-api-key
runpod-api-key
s3-compatible-key-id
s3-compatible-secret
salesblink
salescookie
salesflare
salesforce-access-token
salesforce-client-secret
salesforce-refresh-token
salesloft-api-key
salesmate
samsara-api-token
samsara-prefixed-token
sanity-token
sauce-labs-access-key
scaleway-access-key
scaleway-alnum
scaleway-secret-key
scalingo-api-token
scalr-api-token
scout-apm-key
scrapeowl
scraperapi-key
scraperbox
scrapestack
scrapfly-key
scrapingant-key
scrapingant-key-form
scrapingbee-key
screenshotapi
screenshotlayer
scrutinizer-token
securitytrails-api-key
segment-public-api-token
segment-write-key
selectpdf
semaphore-api-token
semaphore-messaging
sendbird-24
sendbird-api-token
sendgrid-api-key
sentry-legacy-token
sentry-org-token
sentry-secret-dsn
sentry-user-token
serpapi-api-key
serper-api-key
serphouse
serpstack
session-cookie
settlemint-access-token
sherpadesk
shipday
shippo-api-token
shodan-api-key
shopify-access-token
shopify-storefront-private-token
shortcut-api-token
shortcut-token
shotstack
sidekiq-enterprise-key
signaturit
signupgenius
sigopt
simfin
simplesat
simplynoted
simvoly
sinch-api-token
slack-app-token
slack-bot-token
slack-configuration-token
slack-legacy-token
slack-session-token
slack-signing-secret
slack-user-token
slack-webhook-url
slack-workflow-token
smartsheet-access-token
smartystreets
smithery-api-key
snipcart-secret-key
snowflake-password
snowflake-programmatic-token
snyk-api-token
snyk-service-account-token
socket-api-token
softlayer
softlayer-url-key
solana-private-key
sonar-legacy-token
sonarqube-token
soundcloud-client-secret
sourcegraph-access-token
sourcegraph-gateway-key
sparkpost-40
sparkpost-api-key
speechtext
splunk-authorization-header
splunk-hec-token
splunk-observability
splunk-observability-token
spoonacular-key
sportmonks
sportradar
spotify-client-secret
spotify-token
sqlserver-connection-string
square-access-token
square-oauth-secret
squarespace-api-key
sslmate
stability-ai-api-key
stackhawk-api-key
starknet-private-key
statsig-secret-key
statuscake
statuspage
statuspage-api-key
statuspal
steam-api-key
steel-api-key
stitchdata
stockdata
storecove
stormboard
stormglass-73
stormglass-api-key
storyblok-token
strava
streak-api-key
stream-chat-secret
stripe-secret-key
stripe-webhook-secret
stytch-project-secret
stytch-secret
sumologic-access-id
sumologic-access-key
sumologic-http-source
supabase-access-token
supabase-secret-key
supabase-service-role-key
supernotes
surveymonkey-token
surveysparrow
survicate
swiftype
symfony-app-secret
tableau-access-token
tableau-uuid
tailscale-key
tatum
tavily-api-key
taxjar-api-token
taxjar-key
teamcity-access-token
teamgate
teamwork-named-api-key
teamwork-token
technicalanalysis
tefter
telegram-api-hash
telegram-bot-token
telegram-named-bot-token
teletype
telnyx-api-key
telnyx-key-any
temporal-cloud-api-key
tenable-secret-key
tencent-secret-id
tencent-secret-key
terraform-cloud-token
terraform-random-password
testrail-api-key
the-odds-api-key
thingsboard-device-token
thousandeyes
threads-access-token
ticketmaster-api-key
tickettailor
tigris-secret-access-key
tiingo-api-token
tiktok-client-secret
timecamp
tines-webhook
tinify
tinybird-token
tly
tmdb-api-key
tmetric
todoist-api-token
together-api-key
together-legacy-api-key
toggl-api-token
toggl-track
tomorrow-io-key
tomtom-api-key
tradier-token
trakt
travelpayouts-token
travis-ci-token
trello-key
trello-prefixed-token
trello-token
trigger-dev-key
truenas-api-key
truenas-websocket-key
tumblr-secret
turso-token
tvdb
twelve-data-api-key
twilio-api-key
twilio-api-secret
twilio-auth-token
twitch-chat-token
twitch-client-secret
twitter-access-token
twitter-access-token-secret
twitter-api-key
twitter-api-secret
twitter-bearer-token
tyntec
typeform-token
ubidots-token
uclassify
unkey-root-key
unleash-token
unplugg
unsplash-access-key
upcdatabase
upcloud-api-token
uplead
uploadcare
upstage-api-key
upstage-named-api-key
upstash-token
uptimerobot-api-key
uptimerobot-monitor
upwave
url-credentials
urlhaus
urlscan-api-key
userflow
userstack
val-town-api-token
vapi-private-key
vatlayer
vault-approle-secret-id
vault-legacy-token
vault-service-token
vbout
vercel-blob-token
vercel-legacy-token
vercel-token
verimail
veriphone
versioneye
viasocket-mcp-server-url
victorops
vimeo-token
virustotal-api-key
visual-crossing-key
visualcrossing-25
voiceflow-key
voicegain
volcengine-access-key-id
vonage-api-secret
voodoosms
voyage-api-key
vpnapi
vtiger
vultr-api-key
vyte
wakatime-api-key
wakatime-prefixed-key
walkscore-api-key
wallet-seed-phrase
wandb-api-key
wandb-api-key-v1
warp-api-key
weatherapi-key
weatherstack
weatherstack-access-key
weaviate-api-key
webex-bot-token
webflow-token
webscraper
wecom-webhook
whoxy
windows-ntlm-hash
wireguard-private-key
wise-api-token
wistia
wit-ai
wix-api-key
wolfram-app-id
wordpress-application-password
wordpress-auth-key
workable
workos-api-key
worksnaps
workstack
worldcoinindex
worldweather
wrike-token
xai-api-key
xai-management-key
xata-api-key
xendit-secret-key
xero-client-secret
yandex-api-key
yandex-dictionary
yandex-iam-token
yandex-oauth-token
yandex-static-access-key
yelp-api-key
ynab-token
you-com-api-key
yousign
zapier-mcp-key
zapier-mcp-server-url
zapier-webhook
zendesk-api-token
zenkit
zenrows-key
zenscrape-key
zenserp
zep-api-key
zeplin-token
zeplin-token-form
zerobounce-api-key
zerobounce-key
zerotier-api-token
zhipu-api-key
zipcodeapi
zipcodebase
zoho-client-secret
zoho-token
zonka
zoom-client-secret
zulip-api-key
zulip-chat-key-file
zuora
zuplo-consumer-key
RULES
            ;;
        client) _mcpsec_offer < <(awk '/^[ \t]*\[/ { inside = ($0 ~ /^[ \t]*\[\[[ \t]*clients[ \t]*\]\]/) } inside && /^[ \t]*id[ \t]*=/ { split($0, part, /["\047]/); if (part[2] ~ /^[A-Za-z0-9][A-Za-z0-9._:@\/-]*$/) print part[2] }' "$config" 2>/dev/null) ;;
        upstream) _mcpsec_offer < <(awk '/^[ \t]*\[[ \t]*upstreams[ \t]*\./ { name = $0; sub(/^[^.]*\.[ \t]*/, "", name); sub(/[] \t.].*/, "", name); if (name ~ /^[a-z0-9][a-z0-9-]*$/ && !seen[name]++) print name }' "$config" 2>/dev/null) ;;
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
            'mcpsec init'|'mcpsec serve'|'mcpsec sandbox'|'mcpsec sandbox check'|'mcpsec config'|'mcpsec config check'|'mcpsec config show'|'mcpsec config secrets'|'mcpsec config schema'|'mcpsec config reference'|'mcpsec certs'|'mcpsec certs init'|'mcpsec certs issue'|'mcpsec certs list'|'mcpsec certs show'|'mcpsec certs renew'|'mcpsec certs revoke'|'mcpsec certs crl'|'mcpsec certs check'|'mcpsec certs verify'|'mcpsec certs lint'|'mcpsec certs inspect'|'mcpsec certs fingerprint'|'mcpsec certs rotate-ca'|'mcpsec certs schedule'|'mcpsec certs request'|'mcpsec certs export'|'mcpsec certs ledger'|'mcpsec sign'|'mcpsec sign verify'|'mcpsec sign keygen'|'mcpsec connect'|'mcpsec scan-secrets'|'mcpsec scan-secrets install-hook'|'mcpsec scan-secrets rules'|'mcpsec scan-secrets rules list'|'mcpsec scan-secrets rules show'|'mcpsec scan-secrets rules test'|'mcpsec audit'|'mcpsec audit list'|'mcpsec audit explain'|'mcpsec drill'|'mcpsec policy'|'mcpsec policy check'|'mcpsec policy explain'|'mcpsec policy test'|'mcpsec policy document'|'mcpsec policy suggest'|'mcpsec pin'|'mcpsec approve'|'mcpsec log'|'mcpsec log verify'|'mcpsec log head'|'mcpsec log schema'|'mcpsec log tail'|'mcpsec log query'|'mcpsec log stats'|'mcpsec log export'|'mcpsec alerts'|'mcpsec alerts rules'|'mcpsec alerts test'|'mcpsec alerts replay'|'mcpsec monitor'|'mcpsec monitoring'|'mcpsec monitoring export'|'mcpsec completions') path="$path $word" ;;
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
