# PowerShell completion for mcpsec; printed by `mcpsec completions powershell`
Register-ArgumentCompleter -Native -CommandName mcpsec -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $nodes = @{
        'mcpsec' = @{ Commands = @('init', 'serve', 'sandbox', 'config', 'certs', 'sign', 'connect', 'scan-secrets', 'audit', 'drill', 'policy', 'pin', 'approve', 'log', 'alerts', 'monitor', 'monitoring', 'completions'); Options = @('--help', '--no-color', '--quiet', '--version'); Kind = 'none' }
        'mcpsec init' = @{ Commands = @(); Options = @('--client', '--help'); Kind = 'dir' }
        'mcpsec serve' = @{ Commands = @(); Options = @('--admin-listen', '--app', '--auth', '--config', '--grant', '--help', '--listen', '--quickstart', '--rate-limit', '--ready-file', '--upstream', '--workers'); Kind = 'command' }
        'mcpsec sandbox' = @{ Commands = @('check'); Options = @('--help'); Kind = 'none' }
        'mcpsec sandbox check' = @{ Commands = @(); Options = @('--config', '--format', '--help'); Kind = 'none' }
        'mcpsec config' = @{ Commands = @('check', 'show', 'secrets', 'schema', 'reference'); Options = @('--help'); Kind = 'none' }
        'mcpsec config check' = @{ Commands = @(); Options = @('--config', '--format', '--help'); Kind = 'none' }
        'mcpsec config show' = @{ Commands = @(); Options = @('--config', '--format', '--help'); Kind = 'none' }
        'mcpsec config secrets' = @{ Commands = @(); Options = @('--config', '--format', '--help'); Kind = 'none' }
        'mcpsec config schema' = @{ Commands = @(); Options = @('--help'); Kind = 'none' }
        'mcpsec config reference' = @{ Commands = @(); Options = @('--help'); Kind = 'none' }
        'mcpsec certs' = @{ Commands = @('init', 'issue', 'list', 'show', 'renew', 'revoke', 'crl', 'check', 'verify', 'lint', 'inspect', 'fingerprint', 'rotate-ca', 'schedule', 'request', 'export', 'ledger'); Options = @('--config', '--dir', '--help', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'none' }
        'mcpsec certs init' = @{ Commands = @(); Options = @('--ca-days', '--client-crl-url', '--crl-days', '--encrypt', '--external-key', '--format', '--help', '--key', '--organization', '--permit-client', '--permit-server', '--root-days', '--server-crl-url', '--trust-domain', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'none' }
        'mcpsec certs issue' = @{ Commands = @(); Options = @('--batch', '--client', '--csr', '--days', '--format', '--help', '--key', '--key-passphrase-file', '--profile', '--replace', '--san', '--server', '--skip-existing', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'certificate' }
        'mcpsec certs list' = @{ Commands = @(); Options = @('--all', '--client', '--format', '--help', '--server', '--state', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'none' }
        'mcpsec certs show' = @{ Commands = @(); Options = @('--client', '--format', '--help', '--pem', '--server', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'certificate' }
        'mcpsec certs renew' = @{ Commands = @(); Options = @('--all-due', '--client', '--csr', '--days', '--format', '--help', '--hook', '--interval', '--key', '--reuse-key', '--server', '--watch', '--within', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'certificate' }
        'mcpsec certs revoke' = @{ Commands = @(); Options = @('--client', '--format', '--help', '--reason', '--server', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'certificate' }
        'mcpsec certs crl' = @{ Commands = @(); Options = @('--client', '--format', '--help', '--if-due', '--server', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'none' }
        'mcpsec certs check' = @{ Commands = @(); Options = @('--client', '--exit-on', '--fail', '--format', '--help', '--output', '--server', '--warn', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'file' }
        'mcpsec certs verify' = @{ Commands = @(); Options = @('--at', '--ca', '--cert', '--client', '--crl', '--format', '--help', '--host', '--key', '--server', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'file' }
        'mcpsec certs lint' = @{ Commands = @(); Options = @('--fail-on', '--format', '--help', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'file' }
        'mcpsec certs inspect' = @{ Commands = @(); Options = @('--format', '--help', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'file' }
        'mcpsec certs fingerprint' = @{ Commands = @(); Options = @('--format', '--help', '--spki', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'file' }
        'mcpsec certs rotate-ca' = @{ Commands = @(); Options = @('--days', '--encrypt', '--external-key', '--format', '--help', '--key', '--retire', '--root-key', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'words:client server root' }
        'mcpsec certs schedule' = @{ Commands = @(); Options = @('--format', '--help', '--hook', '--image', '--user', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'words:systemd cron kubernetes' }
        'mcpsec certs request' = @{ Commands = @(); Options = @('--format', '--help', '--key', '--key-passphrase-file', '--out', '--san', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'none' }
        'mcpsec certs export' = @{ Commands = @(); Options = @('--bundle-passphrase-file', '--client', '--format', '--help', '--out', '--server', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'certificate' }
        'mcpsec certs ledger' = @{ Commands = @(); Options = @('--help', '--config', '--dir', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref'); Kind = 'none' }
        'mcpsec sign' = @{ Commands = @('verify', 'keygen'); Options = @('--arg', '--body-file', '--ca', '--cert', '--client', '--config', '--era', '--format', '--header', '--help', '--key', '--key-file', '--key-id', '--method', '--nonce', '--scheme', '--secret-file', '--send', '--tamper', '--timeout', '--timestamp', '--tool', '--url'); Kind = 'none' }
        'mcpsec sign verify' = @{ Commands = @(); Options = @('--at', '--body-file', '--format', '--headers-file', '--help', '--key-file', '--key-id', '--max-age', '--method', '--scheme', '--secret-file', '--url'); Kind = 'none' }
        'mcpsec sign keygen' = @{ Commands = @(); Options = @('--help', '--kind'); Kind = 'file' }
        'mcpsec connect' = @{ Commands = @(); Options = @('--ca', '--cert', '--client', '--config', '--help', '--install', '--key', '--key-file', '--key-id', '--login', '--logout', '--name', '--no-browser', '--oauth-binding', '--oauth-ca', '--oauth-client-id', '--oauth-client-key-file', '--oauth-client-secret-file', '--oauth-grant', '--oauth-issuer', '--oauth-port', '--oauth-scope', '--oauth-store', '--print', '--scheme', '--secret-file', '--uninstall', '--yes'); Kind = 'none' }
        'mcpsec scan-secrets' = @{ Commands = @('install-hook', 'rules'); Options = @('--baseline', '--confidence', '--config', '--discover', '--exit-zero', '--follow', '--format', '--help', '--history', '--jobs', '--max-size', '--no-archives', '--no-config', '--no-ignore', '--output', '--redact', '--rule', '--since', '--staged', '--stdin', '--update-baseline'); Kind = 'file' }
        'mcpsec scan-secrets install-hook' = @{ Commands = @(); Options = @('--force', '--help', '--pre-push'); Kind = 'none' }
        'mcpsec scan-secrets rules' = @{ Commands = @('list', 'show', 'test'); Options = @('--help'); Kind = 'none' }
        'mcpsec scan-secrets rules list' = @{ Commands = @(); Options = @('--format', '--help'); Kind = 'none' }
        'mcpsec scan-secrets rules show' = @{ Commands = @(); Options = @('--help'); Kind = 'rule' }
        'mcpsec scan-secrets rules test' = @{ Commands = @(); Options = @('--help'); Kind = 'rule' }
        'mcpsec audit' = @{ Commands = @('list', 'explain'); Options = @('--all', '--allow-incomplete', '--baseline', '--ca', '--cert', '--client', '--client-ca', '--client-ca-key', '--config', '--denied-tool', '--discover', '--evidence', '--exclude', '--exit-zero', '--fail-on', '--fix', '--format', '--help', '--i-own-this', '--ignore', '--key', '--key-file', '--key-id', '--kind', '--log', '--metrics', '--no-waivers', '--other-cert', '--other-client', '--other-key', '--output', '--persona', '--profile', '--rate-limit', '--replica', '--scheme', '--secret-file', '--select', '--state', '--threat-model', '--token-file', '--waivers', '--write-baseline', '--yes'); Kind = 'file' }
        'mcpsec audit list' = @{ Commands = @(); Options = @('--format', '--help'); Kind = 'none' }
        'mcpsec audit explain' = @{ Commands = @(); Options = @('--help'); Kind = 'check' }
        'mcpsec drill' = @{ Commands = @(); Options = @('--config', '--format', '--help', '--list', '--longest', '--only', '--out', '--recover-within', '--skip', '--slack', '--upstream'); Kind = 'none' }
        'mcpsec policy' = @{ Commands = @('check', 'explain', 'test', 'document', 'suggest'); Options = @('--help'); Kind = 'none' }
        'mcpsec policy check' = @{ Commands = @(); Options = @('--config', '--format', '--help', '--strict'); Kind = 'none' }
        'mcpsec policy explain' = @{ Commands = @(); Options = @('--address', '--arg', '--arguments', '--at', '--certificate-sha256', '--client', '--complete', '--config', '--confirmed', '--format', '--help', '--method', '--prompt', '--resource', '--tool'); Kind = 'none' }
        'mcpsec policy test' = @{ Commands = @(); Options = @('--config', '--format', '--help'); Kind = 'file' }
        'mcpsec policy document' = @{ Commands = @(); Options = @('--config', '--help'); Kind = 'none' }
        'mcpsec policy suggest' = @{ Commands = @(); Options = @('--config', '--format', '--help', '--since'); Kind = 'file' }
        'mcpsec pin' = @{ Commands = @(); Options = @('--accept-flagged', '--check', '--client', '--config', '--format', '--help', '--update'); Kind = 'upstream' }
        'mcpsec approve' = @{ Commands = @(); Options = @('--arg', '--arguments', '--client', '--config', '--format', '--help', '--prompt', '--resource', '--tool', '--valid'); Kind = 'none' }
        'mcpsec log' = @{ Commands = @('verify', 'head', 'schema', 'tail', 'query', 'stats', 'export'); Options = @('--help'); Kind = 'none' }
        'mcpsec log verify' = @{ Commands = @(); Options = @('--checkpoint', '--config', '--expect', '--format', '--help', '--key', '--part'); Kind = 'file' }
        'mcpsec log head' = @{ Commands = @(); Options = @('--config', '--export', '--format', '--help'); Kind = 'file' }
        'mcpsec log schema' = @{ Commands = @(); Options = @('--help'); Kind = 'none' }
        'mcpsec log tail' = @{ Commands = @(); Options = @('--all', '--client', '--config', '--decision', '--follow', '--format', '--help', '--kind', '--lines', '--request-id', '--resource', '--rule', '--status', '--text', '--trace-id', '--upstream'); Kind = 'file' }
        'mcpsec log query' = @{ Commands = @(); Options = @('--all', '--client', '--config', '--decision', '--format', '--help', '--kind', '--limit', '--request-id', '--resource', '--rule', '--since', '--status', '--text', '--trace-id', '--until', '--upstream'); Kind = 'file' }
        'mcpsec log stats' = @{ Commands = @(); Options = @('--all', '--client', '--config', '--decision', '--format', '--help', '--kind', '--request-id', '--resource', '--rule', '--since', '--status', '--text', '--top', '--trace-id', '--until', '--upstream'); Kind = 'file' }
        'mcpsec log export' = @{ Commands = @(); Options = @('--all', '--ca', '--client', '--config', '--decision', '--format', '--help', '--kind', '--request-id', '--resource', '--rule', '--since', '--status', '--text', '--to', '--to-format', '--trace-id', '--until', '--upstream'); Kind = 'file' }
        'mcpsec alerts' = @{ Commands = @('rules', 'test', 'replay'); Options = @('--help'); Kind = 'none' }
        'mcpsec alerts rules' = @{ Commands = @(); Options = @('--format', '--help'); Kind = 'none' }
        'mcpsec alerts test' = @{ Commands = @(); Options = @('--ca', '--command', '--config', '--help', '--key-id', '--secret-file', '--slack-file', '--syslog', '--webhook'); Kind = 'none' }
        'mcpsec alerts replay' = @{ Commands = @(); Options = @('--config', '--format', '--help', '--since'); Kind = 'file' }
        'mcpsec monitor' = @{ Commands = @(); Options = @('--config', '--help', '--once'); Kind = 'file' }
        'mcpsec monitoring' = @{ Commands = @('export'); Options = @('--help'); Kind = 'none' }
        'mcpsec monitoring export' = @{ Commands = @(); Options = @('--force', '--help'); Kind = 'dir' }
        'mcpsec completions' = @{ Commands = @(); Options = @('--help'); Kind = 'words:bash zsh fish powershell' }
    }
    $kinds = @{
        'mcpsec alerts replay --since' = 'none'
        'mcpsec alerts test --key-id' = 'none'
        'mcpsec alerts test --webhook' = 'none'
        'mcpsec approve --arg' = 'none'
        'mcpsec approve --prompt' = 'none'
        'mcpsec approve --resource' = 'none'
        'mcpsec approve --tool' = 'none'
        'mcpsec approve --valid' = 'none'
        'mcpsec audit --denied-tool' = 'none'
        'mcpsec audit --exclude' = 'none'
        'mcpsec audit --i-own-this' = 'none'
        'mcpsec audit --key-id' = 'none'
        'mcpsec audit --metrics' = 'none'
        'mcpsec audit --rate-limit' = 'none'
        'mcpsec audit --replica' = 'none'
        'mcpsec audit --scheme' = 'none'
        'mcpsec certs --passphrase-env' = 'none'
        'mcpsec certs --passphrase-ref' = 'none'
        'mcpsec certs check --fail' = 'none'
        'mcpsec certs check --passphrase-env' = 'none'
        'mcpsec certs check --passphrase-ref' = 'none'
        'mcpsec certs check --warn' = 'none'
        'mcpsec certs crl --passphrase-env' = 'none'
        'mcpsec certs crl --passphrase-ref' = 'none'
        'mcpsec certs export --passphrase-env' = 'none'
        'mcpsec certs export --passphrase-ref' = 'none'
        'mcpsec certs fingerprint --passphrase-env' = 'none'
        'mcpsec certs fingerprint --passphrase-ref' = 'none'
        'mcpsec certs init --ca-days' = 'none'
        'mcpsec certs init --client-crl-url' = 'none'
        'mcpsec certs init --crl-days' = 'none'
        'mcpsec certs init --encrypt' = 'none'
        'mcpsec certs init --external-key' = 'none'
        'mcpsec certs init --organization' = 'none'
        'mcpsec certs init --passphrase-env' = 'none'
        'mcpsec certs init --passphrase-ref' = 'none'
        'mcpsec certs init --permit-client' = 'none'
        'mcpsec certs init --permit-server' = 'none'
        'mcpsec certs init --root-days' = 'none'
        'mcpsec certs init --server-crl-url' = 'none'
        'mcpsec certs init --trust-domain' = 'none'
        'mcpsec certs inspect --passphrase-env' = 'none'
        'mcpsec certs inspect --passphrase-ref' = 'none'
        'mcpsec certs issue --days' = 'none'
        'mcpsec certs issue --passphrase-env' = 'none'
        'mcpsec certs issue --passphrase-ref' = 'none'
        'mcpsec certs issue --profile' = 'none'
        'mcpsec certs issue --san' = 'none'
        'mcpsec certs ledger --passphrase-env' = 'none'
        'mcpsec certs ledger --passphrase-ref' = 'none'
        'mcpsec certs lint --passphrase-env' = 'none'
        'mcpsec certs lint --passphrase-ref' = 'none'
        'mcpsec certs list --passphrase-env' = 'none'
        'mcpsec certs list --passphrase-ref' = 'none'
        'mcpsec certs renew --days' = 'none'
        'mcpsec certs renew --hook' = 'none'
        'mcpsec certs renew --interval' = 'none'
        'mcpsec certs renew --passphrase-env' = 'none'
        'mcpsec certs renew --passphrase-ref' = 'none'
        'mcpsec certs renew --within' = 'none'
        'mcpsec certs request --passphrase-env' = 'none'
        'mcpsec certs request --passphrase-ref' = 'none'
        'mcpsec certs request --san' = 'none'
        'mcpsec certs revoke --passphrase-env' = 'none'
        'mcpsec certs revoke --passphrase-ref' = 'none'
        'mcpsec certs rotate-ca --days' = 'none'
        'mcpsec certs rotate-ca --external-key' = 'none'
        'mcpsec certs rotate-ca --passphrase-env' = 'none'
        'mcpsec certs rotate-ca --passphrase-ref' = 'none'
        'mcpsec certs schedule --hook' = 'none'
        'mcpsec certs schedule --image' = 'none'
        'mcpsec certs schedule --passphrase-env' = 'none'
        'mcpsec certs schedule --passphrase-ref' = 'none'
        'mcpsec certs schedule --user' = 'none'
        'mcpsec certs show --passphrase-env' = 'none'
        'mcpsec certs show --passphrase-ref' = 'none'
        'mcpsec certs verify --at' = 'none'
        'mcpsec certs verify --host' = 'none'
        'mcpsec certs verify --passphrase-env' = 'none'
        'mcpsec certs verify --passphrase-ref' = 'none'
        'mcpsec connect --key-id' = 'none'
        'mcpsec connect --name' = 'none'
        'mcpsec connect --oauth-client-id' = 'none'
        'mcpsec connect --oauth-issuer' = 'none'
        'mcpsec connect --oauth-port' = 'none'
        'mcpsec connect --oauth-scope' = 'none'
        'mcpsec drill --longest' = 'none'
        'mcpsec drill --recover-within' = 'none'
        'mcpsec drill --slack' = 'none'
        'mcpsec init --client' = 'none'
        'mcpsec log export --decision' = 'none'
        'mcpsec log export --request-id' = 'none'
        'mcpsec log export --resource' = 'none'
        'mcpsec log export --rule' = 'none'
        'mcpsec log export --since' = 'none'
        'mcpsec log export --status' = 'none'
        'mcpsec log export --text' = 'none'
        'mcpsec log export --trace-id' = 'none'
        'mcpsec log export --until' = 'none'
        'mcpsec log query --decision' = 'none'
        'mcpsec log query --limit' = 'none'
        'mcpsec log query --request-id' = 'none'
        'mcpsec log query --resource' = 'none'
        'mcpsec log query --rule' = 'none'
        'mcpsec log query --since' = 'none'
        'mcpsec log query --status' = 'none'
        'mcpsec log query --text' = 'none'
        'mcpsec log query --trace-id' = 'none'
        'mcpsec log query --until' = 'none'
        'mcpsec log stats --decision' = 'none'
        'mcpsec log stats --request-id' = 'none'
        'mcpsec log stats --resource' = 'none'
        'mcpsec log stats --rule' = 'none'
        'mcpsec log stats --since' = 'none'
        'mcpsec log stats --status' = 'none'
        'mcpsec log stats --text' = 'none'
        'mcpsec log stats --top' = 'none'
        'mcpsec log stats --trace-id' = 'none'
        'mcpsec log stats --until' = 'none'
        'mcpsec log tail --decision' = 'none'
        'mcpsec log tail --lines' = 'none'
        'mcpsec log tail --request-id' = 'none'
        'mcpsec log tail --resource' = 'none'
        'mcpsec log tail --rule' = 'none'
        'mcpsec log tail --status' = 'none'
        'mcpsec log tail --text' = 'none'
        'mcpsec log tail --trace-id' = 'none'
        'mcpsec log tail -n' = 'none'
        'mcpsec log verify --expect' = 'none'
        'mcpsec policy explain --address' = 'none'
        'mcpsec policy explain --arg' = 'none'
        'mcpsec policy explain --at' = 'none'
        'mcpsec policy explain --certificate-sha256' = 'none'
        'mcpsec policy explain --complete' = 'none'
        'mcpsec policy explain --confirmed' = 'none'
        'mcpsec policy explain --method' = 'none'
        'mcpsec policy explain --prompt' = 'none'
        'mcpsec policy explain --resource' = 'none'
        'mcpsec policy explain --tool' = 'none'
        'mcpsec policy suggest --since' = 'none'
        'mcpsec scan-secrets --jobs' = 'none'
        'mcpsec scan-secrets --max-size' = 'none'
        'mcpsec scan-secrets --since' = 'none'
        'mcpsec scan-secrets -j' = 'none'
        'mcpsec serve --admin-listen' = 'none'
        'mcpsec serve --app' = 'none'
        'mcpsec serve --auth' = 'none'
        'mcpsec serve --listen' = 'none'
        'mcpsec serve --rate-limit' = 'none'
        'mcpsec serve --upstream' = 'none'
        'mcpsec serve --workers' = 'none'
        'mcpsec sign --arg' = 'none'
        'mcpsec sign --header' = 'none'
        'mcpsec sign --key-id' = 'none'
        'mcpsec sign --method' = 'none'
        'mcpsec sign --nonce' = 'none'
        'mcpsec sign --timeout' = 'none'
        'mcpsec sign --timestamp' = 'none'
        'mcpsec sign --tool' = 'none'
        'mcpsec sign --url' = 'none'
        'mcpsec sign -H' = 'none'
        'mcpsec sign verify --at' = 'none'
        'mcpsec sign verify --key-id' = 'none'
        'mcpsec sign verify --max-age' = 'none'
        'mcpsec sign verify --method' = 'none'
        'mcpsec sign verify --url' = 'none'
        'mcpsec alerts replay --config' = 'file'
        'mcpsec alerts replay -c' = 'file'
        'mcpsec alerts test --ca' = 'file'
        'mcpsec alerts test --command' = 'file'
        'mcpsec alerts test --config' = 'file'
        'mcpsec alerts test --secret-file' = 'file'
        'mcpsec alerts test --slack-file' = 'file'
        'mcpsec alerts test --syslog' = 'file'
        'mcpsec alerts test -c' = 'file'
        'mcpsec approve --arguments' = 'file'
        'mcpsec approve --config' = 'file'
        'mcpsec approve -c' = 'file'
        'mcpsec audit --baseline' = 'file'
        'mcpsec audit --ca' = 'file'
        'mcpsec audit --cert' = 'file'
        'mcpsec audit --client-ca' = 'file'
        'mcpsec audit --client-ca-key' = 'file'
        'mcpsec audit --config' = 'file'
        'mcpsec audit --key' = 'file'
        'mcpsec audit --key-file' = 'file'
        'mcpsec audit --log' = 'file'
        'mcpsec audit --other-cert' = 'file'
        'mcpsec audit --other-key' = 'file'
        'mcpsec audit --output' = 'file'
        'mcpsec audit --secret-file' = 'file'
        'mcpsec audit --state' = 'file'
        'mcpsec audit --token-file' = 'file'
        'mcpsec audit --waivers' = 'file'
        'mcpsec audit --write-baseline' = 'file'
        'mcpsec audit -c' = 'file'
        'mcpsec audit -o' = 'file'
        'mcpsec certs --config' = 'file'
        'mcpsec certs --passphrase-file' = 'file'
        'mcpsec certs -c' = 'file'
        'mcpsec certs check --config' = 'file'
        'mcpsec certs check --output' = 'file'
        'mcpsec certs check --passphrase-file' = 'file'
        'mcpsec certs check -c' = 'file'
        'mcpsec certs crl --config' = 'file'
        'mcpsec certs crl --passphrase-file' = 'file'
        'mcpsec certs crl -c' = 'file'
        'mcpsec certs export --bundle-passphrase-file' = 'file'
        'mcpsec certs export --config' = 'file'
        'mcpsec certs export --out' = 'file'
        'mcpsec certs export --passphrase-file' = 'file'
        'mcpsec certs export -c' = 'file'
        'mcpsec certs fingerprint --config' = 'file'
        'mcpsec certs fingerprint --passphrase-file' = 'file'
        'mcpsec certs fingerprint -c' = 'file'
        'mcpsec certs init --config' = 'file'
        'mcpsec certs init --passphrase-file' = 'file'
        'mcpsec certs init -c' = 'file'
        'mcpsec certs inspect --config' = 'file'
        'mcpsec certs inspect --passphrase-file' = 'file'
        'mcpsec certs inspect -c' = 'file'
        'mcpsec certs issue --batch' = 'file'
        'mcpsec certs issue --config' = 'file'
        'mcpsec certs issue --csr' = 'file'
        'mcpsec certs issue --key-passphrase-file' = 'file'
        'mcpsec certs issue --passphrase-file' = 'file'
        'mcpsec certs issue -c' = 'file'
        'mcpsec certs ledger --config' = 'file'
        'mcpsec certs ledger --passphrase-file' = 'file'
        'mcpsec certs ledger -c' = 'file'
        'mcpsec certs lint --config' = 'file'
        'mcpsec certs lint --passphrase-file' = 'file'
        'mcpsec certs lint -c' = 'file'
        'mcpsec certs list --config' = 'file'
        'mcpsec certs list --passphrase-file' = 'file'
        'mcpsec certs list -c' = 'file'
        'mcpsec certs renew --config' = 'file'
        'mcpsec certs renew --csr' = 'file'
        'mcpsec certs renew --passphrase-file' = 'file'
        'mcpsec certs renew -c' = 'file'
        'mcpsec certs request --config' = 'file'
        'mcpsec certs request --key-passphrase-file' = 'file'
        'mcpsec certs request --passphrase-file' = 'file'
        'mcpsec certs request -c' = 'file'
        'mcpsec certs revoke --config' = 'file'
        'mcpsec certs revoke --passphrase-file' = 'file'
        'mcpsec certs revoke -c' = 'file'
        'mcpsec certs rotate-ca --config' = 'file'
        'mcpsec certs rotate-ca --passphrase-file' = 'file'
        'mcpsec certs rotate-ca --root-key' = 'file'
        'mcpsec certs rotate-ca -c' = 'file'
        'mcpsec certs schedule --config' = 'file'
        'mcpsec certs schedule --passphrase-file' = 'file'
        'mcpsec certs schedule -c' = 'file'
        'mcpsec certs show --config' = 'file'
        'mcpsec certs show --passphrase-file' = 'file'
        'mcpsec certs show -c' = 'file'
        'mcpsec certs verify --ca' = 'file'
        'mcpsec certs verify --cert' = 'file'
        'mcpsec certs verify --config' = 'file'
        'mcpsec certs verify --crl' = 'file'
        'mcpsec certs verify --key' = 'file'
        'mcpsec certs verify --passphrase-file' = 'file'
        'mcpsec certs verify -c' = 'file'
        'mcpsec config check --config' = 'file'
        'mcpsec config check -c' = 'file'
        'mcpsec config secrets --config' = 'file'
        'mcpsec config secrets -c' = 'file'
        'mcpsec config show --config' = 'file'
        'mcpsec config show -c' = 'file'
        'mcpsec connect --ca' = 'file'
        'mcpsec connect --cert' = 'file'
        'mcpsec connect --config' = 'file'
        'mcpsec connect --key' = 'file'
        'mcpsec connect --key-file' = 'file'
        'mcpsec connect --oauth-ca' = 'file'
        'mcpsec connect --oauth-client-key-file' = 'file'
        'mcpsec connect --oauth-client-secret-file' = 'file'
        'mcpsec connect --secret-file' = 'file'
        'mcpsec connect -c' = 'file'
        'mcpsec drill --config' = 'file'
        'mcpsec drill -c' = 'file'
        'mcpsec log export --ca' = 'file'
        'mcpsec log export --config' = 'file'
        'mcpsec log export --to' = 'file'
        'mcpsec log export -c' = 'file'
        'mcpsec log head --config' = 'file'
        'mcpsec log head --export' = 'file'
        'mcpsec log head -c' = 'file'
        'mcpsec log query --config' = 'file'
        'mcpsec log query -c' = 'file'
        'mcpsec log stats --config' = 'file'
        'mcpsec log stats -c' = 'file'
        'mcpsec log tail --config' = 'file'
        'mcpsec log tail -c' = 'file'
        'mcpsec log verify --checkpoint' = 'file'
        'mcpsec log verify --config' = 'file'
        'mcpsec log verify --key' = 'file'
        'mcpsec log verify -c' = 'file'
        'mcpsec monitor --config' = 'file'
        'mcpsec monitor -c' = 'file'
        'mcpsec pin --config' = 'file'
        'mcpsec pin -c' = 'file'
        'mcpsec policy check --config' = 'file'
        'mcpsec policy check -c' = 'file'
        'mcpsec policy document --config' = 'file'
        'mcpsec policy document -c' = 'file'
        'mcpsec policy explain --arguments' = 'file'
        'mcpsec policy explain --config' = 'file'
        'mcpsec policy explain -c' = 'file'
        'mcpsec policy suggest --config' = 'file'
        'mcpsec policy suggest -c' = 'file'
        'mcpsec policy test --config' = 'file'
        'mcpsec policy test -c' = 'file'
        'mcpsec sandbox check --config' = 'file'
        'mcpsec sandbox check -c' = 'file'
        'mcpsec scan-secrets --baseline' = 'file'
        'mcpsec scan-secrets --config' = 'file'
        'mcpsec scan-secrets --output' = 'file'
        'mcpsec scan-secrets -c' = 'file'
        'mcpsec scan-secrets -o' = 'file'
        'mcpsec serve --config' = 'file'
        'mcpsec serve --ready-file' = 'file'
        'mcpsec serve -c' = 'file'
        'mcpsec sign --body-file' = 'file'
        'mcpsec sign --ca' = 'file'
        'mcpsec sign --cert' = 'file'
        'mcpsec sign --config' = 'file'
        'mcpsec sign --key' = 'file'
        'mcpsec sign --key-file' = 'file'
        'mcpsec sign --secret-file' = 'file'
        'mcpsec sign -c' = 'file'
        'mcpsec sign verify --body-file' = 'file'
        'mcpsec sign verify --headers-file' = 'file'
        'mcpsec sign verify --key-file' = 'file'
        'mcpsec sign verify --secret-file' = 'file'
        'mcpsec approve --client' = 'client'
        'mcpsec audit --client' = 'client'
        'mcpsec audit --other-client' = 'client'
        'mcpsec connect --client' = 'client'
        'mcpsec log export --client' = 'client'
        'mcpsec log query --client' = 'client'
        'mcpsec log stats --client' = 'client'
        'mcpsec log tail --client' = 'client'
        'mcpsec pin --client' = 'client'
        'mcpsec policy explain --client' = 'client'
        'mcpsec serve --grant' = 'client'
        'mcpsec sign --client' = 'client'
        'mcpsec approve --format' = 'words:console json'
        'mcpsec audit list --format' = 'words:console json'
        'mcpsec audit list -f' = 'words:console json'
        'mcpsec config check --format' = 'words:console json'
        'mcpsec config secrets --format' = 'words:console json'
        'mcpsec config show --format' = 'words:console json'
        'mcpsec pin --format' = 'words:console json'
        'mcpsec policy check --format' = 'words:console json'
        'mcpsec policy explain --format' = 'words:console json'
        'mcpsec policy suggest --format' = 'words:console json'
        'mcpsec sandbox check --format' = 'words:console json'
        'mcpsec scan-secrets rules list --format' = 'words:console json'
        'mcpsec scan-secrets rules list -f' = 'words:console json'
        'mcpsec audit --evidence' = 'dir'
        'mcpsec certs --dir' = 'dir'
        'mcpsec certs -d' = 'dir'
        'mcpsec certs check --dir' = 'dir'
        'mcpsec certs check -d' = 'dir'
        'mcpsec certs crl --dir' = 'dir'
        'mcpsec certs crl -d' = 'dir'
        'mcpsec certs export --dir' = 'dir'
        'mcpsec certs export -d' = 'dir'
        'mcpsec certs fingerprint --dir' = 'dir'
        'mcpsec certs fingerprint -d' = 'dir'
        'mcpsec certs init --dir' = 'dir'
        'mcpsec certs init -d' = 'dir'
        'mcpsec certs inspect --dir' = 'dir'
        'mcpsec certs inspect -d' = 'dir'
        'mcpsec certs issue --dir' = 'dir'
        'mcpsec certs issue -d' = 'dir'
        'mcpsec certs ledger --dir' = 'dir'
        'mcpsec certs ledger -d' = 'dir'
        'mcpsec certs lint --dir' = 'dir'
        'mcpsec certs lint -d' = 'dir'
        'mcpsec certs list --dir' = 'dir'
        'mcpsec certs list -d' = 'dir'
        'mcpsec certs renew --dir' = 'dir'
        'mcpsec certs renew -d' = 'dir'
        'mcpsec certs request --dir' = 'dir'
        'mcpsec certs request --out' = 'dir'
        'mcpsec certs request -d' = 'dir'
        'mcpsec certs revoke --dir' = 'dir'
        'mcpsec certs revoke -d' = 'dir'
        'mcpsec certs rotate-ca --dir' = 'dir'
        'mcpsec certs rotate-ca -d' = 'dir'
        'mcpsec certs schedule --dir' = 'dir'
        'mcpsec certs schedule -d' = 'dir'
        'mcpsec certs show --dir' = 'dir'
        'mcpsec certs show -d' = 'dir'
        'mcpsec certs verify --dir' = 'dir'
        'mcpsec certs verify -d' = 'dir'
        'mcpsec drill --out' = 'dir'
        'mcpsec alerts replay --format' = 'words:text json'
        'mcpsec alerts rules --format' = 'words:text json'
        'mcpsec certs crl --format' = 'words:text json'
        'mcpsec certs export --format' = 'words:text json'
        'mcpsec certs fingerprint --format' = 'words:text json'
        'mcpsec certs init --format' = 'words:text json'
        'mcpsec certs inspect --format' = 'words:text json'
        'mcpsec certs issue --format' = 'words:text json'
        'mcpsec certs lint --format' = 'words:text json'
        'mcpsec certs list --format' = 'words:text json'
        'mcpsec certs renew --format' = 'words:text json'
        'mcpsec certs request --format' = 'words:text json'
        'mcpsec certs revoke --format' = 'words:text json'
        'mcpsec certs rotate-ca --format' = 'words:text json'
        'mcpsec certs schedule --format' = 'words:text json'
        'mcpsec certs show --format' = 'words:text json'
        'mcpsec certs verify --format' = 'words:text json'
        'mcpsec log head --format' = 'words:text json'
        'mcpsec log stats --format' = 'words:text json'
        'mcpsec log verify --format' = 'words:text json'
        'mcpsec sign verify --format' = 'words:text json'
        'mcpsec certs init --key' = 'words:p256 p384 rsa3072'
        'mcpsec certs rotate-ca --key' = 'words:p256 p384 rsa3072'
        'mcpsec certs issue --key' = 'words:p256 p384 rsa3072 ed25519'
        'mcpsec certs renew --key' = 'words:p256 p384 rsa3072 ed25519'
        'mcpsec certs request --key' = 'words:p256 p384 rsa3072 ed25519'
        'mcpsec certs list --state' = 'words:valid expired revoked superseded abandoned'
        'mcpsec certs revoke --reason' = 'words:unspecified keyCompromise affiliationChanged superseded cessationOfOperation privilegeWithdrawn'
        'mcpsec certs check --exit-on' = 'words:due late'
        'mcpsec certs check --format' = 'words:text json prometheus nagios'
        'mcpsec certs lint --fail-on' = 'words:error warning notice'
        'mcpsec sign --era' = 'words:modern legacy'
        'mcpsec sign --format' = 'words:headers curl json http'
        'mcpsec connect --scheme' = 'words:hmac-sha256 rfc9421 article'
        'mcpsec sign --scheme' = 'words:hmac-sha256 rfc9421 article'
        'mcpsec sign verify --scheme' = 'words:hmac-sha256 rfc9421 article'
        'mcpsec sign --tamper' = 'words:body timestamp nonce path key'
        'mcpsec sign keygen --kind' = 'words:hmac ed25519 ecdsa-p256'
        'mcpsec connect --install' = 'words:amazon-q amp claude-code claude-desktop cline codex continue copilot-cli crush cursor gemini-cli goose junie kilo-code kiro lm-studio opencode qwen-code roo-code vscode vscode-insiders windsurf zed'
        'mcpsec connect --uninstall' = 'words:amazon-q amp claude-code claude-desktop cline codex continue copilot-cli crush cursor gemini-cli goose junie kilo-code kiro lm-studio opencode qwen-code roo-code vscode vscode-insiders windsurf zed'
        'mcpsec connect --oauth-binding' = 'words:auto certificate dpop none'
        'mcpsec connect --oauth-grant' = 'words:auto authorization-code client-credentials'
        'mcpsec connect --oauth-store' = 'words:auto keyring file'
        'mcpsec scan-secrets --confidence' = 'words:high medium low'
        'mcpsec scan-secrets --format' = 'words:console json sarif junit csv gitlab'
        'mcpsec scan-secrets -f' = 'words:console json sarif junit csv gitlab'
        'mcpsec scan-secrets --redact' = 'words:partial full'
        'mcpsec scan-secrets --rule' = 'rule'
        'mcpsec audit --fail-on' = 'words:critical high medium low info never'
        'mcpsec audit --format' = 'words:console json sarif junit markdown html'
        'mcpsec audit -f' = 'words:console json sarif junit markdown html'
        'mcpsec audit --ignore' = 'check'
        'mcpsec audit --select' = 'check'
        'mcpsec audit --kind' = 'words:caddy certificate client compose deployment dockerfile endpoint environment envoy evidence grafana haproxy key kubernetes log nginx pins prometheus systemd traefik waivers workflow'
        'mcpsec audit --persona' = 'words:regular pedantic auditor'
        'mcpsec audit --profile' = 'words:static passive refuse load drill'
        'mcpsec drill --format' = 'words:text json junit'
        'mcpsec drill -f' = 'words:text json junit'
        'mcpsec drill --only' = 'words:certificate-expired certificate-revoked client-partition clock-jump crash disk-full error garbage partition reset restart slow store-lost timeout'
        'mcpsec drill --skip' = 'words:certificate-expired certificate-revoked client-partition clock-jump crash disk-full error garbage partition reset restart slow store-lost timeout'
        'mcpsec drill --upstream' = 'upstream'
        'mcpsec log export --upstream' = 'upstream'
        'mcpsec log query --upstream' = 'upstream'
        'mcpsec log stats --upstream' = 'upstream'
        'mcpsec log tail --upstream' = 'upstream'
        'mcpsec policy test --format' = 'words:console json junit'
        'mcpsec log query --format' = 'words:text json jsonl'
        'mcpsec log tail --format' = 'words:text json jsonl'
        'mcpsec log export --kind' = 'words:alert authentication-failed authorization breaker certificate configuration guard handshake handshake-refused pin rate-limited request server-start server-stop session timeout upstream'
        'mcpsec log query --kind' = 'words:alert authentication-failed authorization breaker certificate configuration guard handshake handshake-refused pin rate-limited request server-start server-stop session timeout upstream'
        'mcpsec log stats --kind' = 'words:alert authentication-failed authorization breaker certificate configuration guard handshake handshake-refused pin rate-limited request server-start server-stop session timeout upstream'
        'mcpsec log tail --kind' = 'words:alert authentication-failed authorization breaker certificate configuration guard handshake handshake-refused pin rate-limited request server-start server-stop session timeout upstream'
        'mcpsec log export --format' = 'words:jsonl ocsf syslog otlp'
        'mcpsec log export --to-format' = 'words:jsonl ocsf syslog otlp'
    }
    $lists = @{
        'check' = @('AUD001', 'AUD002', 'AUD003', 'AUT001', 'AUT002', 'AUT003', 'AUT004', 'AUT005', 'AUT006', 'CRT001', 'CRT002', 'CRT003', 'CRT004', 'CRT005', 'CRT006', 'CRT007', 'CRT008', 'CRT009', 'DEP001', 'DEP002', 'DEP003', 'DEP004', 'DEP005', 'DEP006', 'DEP007', 'ERR001', 'ERR002', 'FIL001', 'HDR001', 'HDR002', 'INP001', 'INP002', 'INP003', 'INP004', 'LOG001', 'LOG002', 'LOG003', 'LOG004', 'LOG005', 'LOG006', 'MON001', 'MON002', 'MON003', 'ORG001', 'ORG002', 'ORG003', 'ORG004', 'PRM001', 'PRM002', 'PRM003', 'PRM004', 'PRM005', 'PRM006', 'PRM007', 'PRM008', 'PRM009', 'PRM010', 'RES001', 'RES002', 'RES003', 'RTE001', 'RTE002', 'RTE003', 'RTE004', 'SEC001', 'SEC002', 'SEC003', 'SEC004', 'SEC005', 'SEC006', 'SES001', 'SES002', 'SES003', 'SHD001', 'SIG001', 'SIG002', 'SIG003', 'SIG004', 'SIG005', 'SUP001', 'SUP002', 'SUP003', 'SUP004', 'SUP005', 'SUP006', 'TLS001', 'TLS002', 'TLS003', 'TLS004', 'TLS005', 'TLS006', 'TLS007', 'TLS008', 'TLS009', 'TLS010', 'TLS011', 'TLS012', 'TLS013', 'TLS014', 'TMO001', 'TMO002', 'TMO003', 'TMO004', 'TOL001', 'TOL002', 'TOL003', 'TOL004', 'TOL005', 'TOL006', 'TOL007')
        'rule' = @('ably-api-key', 'abstractapi', 'abuseipdb-api-key', 'accuweather', 'activecampaign-api-key', 'adafruit-io-key', 'adafruit-io-prefixed-key', 'adobe-client-secret', 'adobe-io', 'adyen-api-key', 'adyen-hmac', 'age-post-quantum-secret-key', 'age-secret-key', 'agora-app-certificate', 'agora-certificate-by-name', 'aikido-ci-token', 'airbrake', 'airbrake-api-key', 'airtable-api-key', 'airtable-oauth-token', 'airtable-personal-access-token', 'airvisual', 'aiven-auth-token', 'akamai-client-secret', 'akamai-edgegrid-token', 'akeyless-access-key', 'alchemy-api-key', 'alchemy-auth-token', 'algolia-admin-key', 'algolia-client-key', 'alibaba-access-key-id', 'alibaba-access-key-secret', 'alienvault', 'alpaca-key-id', 'alpaca-secret-key', 'alpha-vantage-key', 'amadeus-client-secret', 'amazon-oauth-client-secret', 'amazon-ses-smtp-password', 'amp-access-token', 'amplitude-secret-key', 'amqp-connection-string', 'anaconda-token', 'anthropic-admin-api-key', 'anthropic-api-key', 'anthropic-oauth-token', 'anthropic-session-key', 'anypoint', 'anyscale-api-key', 'api2cart', 'apiflash', 'apifonica', 'apify-api-token', 'apify-legacy', 'apify-proxy-password', 'apilayer-key', 'apimetrics', 'apitemplate', 'apollo-api-key', 'apollo-graph-key', 'app-center-token', 'appdynamics-access-key', 'appfollow', 'applitools-api-key', 'appointedd', 'appoptics', 'appsynergy', 'appveyor-api-token', 'arcade-api-key', 'artifactory-api-key', 'artifactory-password', 'artifactory-reference-token', 'asaas-api-key', 'asana-client-secret', 'asana-oauth', 'asana-personal-access-token', 'ashby-api-key', 'aspnet-machine-key', 'assemblyai-api-key', 'astronomer-api-token', 'atera', 'atlassian-api-token', 'atlassian-data-center-token', 'atlassian-legacy-api-token', 'attio-access-token', 'audd', 'auth0-client-secret', 'auth0-long-secret', 'auth0-management-token', 'authorization-header', 'authress-service-key', 'autoklose', 'autopilot', 'avaza', 'aviationstack', 'aviationstack-access-key', 'aws-access-key-id', 'aws-bedrock-api-key', 'aws-bedrock-short-term-key', 'aws-mws-token', 'aws-secret-access-key', 'aws-session-token', 'axiom-token', 'axonaut', 'aylien', 'ayrshare-api-key', 'ayrshare-profile', 'azure-ad-client-secret', 'azure-ad-legacy-client-secret', 'azure-app-configuration-secret', 'azure-batch-key', 'azure-common-annotated-key', 'azure-container-registry-key', 'azure-cosmos-key', 'azure-devops-personal-access-token', 'azure-event-hub-key', 'azure-functions-key', 'azure-functions-key-in-url', 'azure-iot-key', 'azure-logic-app-url', 'azure-openai-api-key', 'azure-redis-key', 'azure-relay-key', 'azure-sas-token', 'azure-sas-token-signature-first', 'azure-search', 'azure-search-key', 'azure-service-bus-key', 'azure-shared-access-key', 'azure-storage-account-key', 'azure-storage-annotated-key', 'azure-subscription-key', 'baidu-qianfan-api-key', 'bamboohr-api-key', 'bamboohr-hex', 'bannerbear-api-key', 'baremetrics-api-key', 'baremetrics-live', 'beamer-api-key', 'beebole', 'beehiiv-api-key', 'besnappy', 'besttime', 'better-stack-token', 'bigcommerce-access-token', 'billomat', 'binance-api-key', 'bip32-extended-private-key', 'bitbar', 'bitbucket-access-token', 'bitbucket-app-password', 'bitbucket-consumer', 'bitbucket-oauth-secret', 'bitcoin-wif-key', 'bitfinex-api-secret', 'bitly', 'bitmex-api-secret', 'bitrise-access-token', 'bitrix24-webhook', 'bitstamp-api-secret', 'bittrex-api-secret', 'bitwarden-access-token', 'blitapp', 'blocknative', 'blogger', 'bluesky-app-password', 'blynk-token', 'bombbomb', 'boostnote', 'borgbase', 'box-client-secret', 'braintree', 'braintree-private-key', 'braintrust-service-token', 'brandfetch', 'brave-search-api-key', 'brevo-api-key', 'brex-user-token', 'bright-data-token', 'browser-use-api-key', 'browserbase-api-key', 'browserless-token', 'browserstack-access-key', 'browshot', 'bscscan', 'buddyns', 'budibase', 'bugherd', 'bugsnag-api-key', 'buildkite-agent-session-token', 'buildkite-agent-token', 'buildkite-api-token', 'buildkite-cluster-token', 'bulbul', 'bundler-source-credentials', 'buttercms', 'bybit-api-secret', 'caflou', 'cal-com-api-key', 'calendarific', 'calendly-token', 'calorieninjas-key', 'campaign-monitor-api-key', 'campayn', 'canny-api-key', 'canva-client-secret', 'capsule-crm-token', 'capsulecrm', 'captaindata', 'carbon-interface-key', 'cartesia-api-key', 'censys-api-secret', 'centralstationcrm', 'cerebras-api-key', 'chargebee-api-key', 'chartmogul-api-key', 'chatbot', 'chatfuel', 'checio', 'checkly-api-key', 'checkout-com-secret-key', 'chromatic-project-token', 'cicero', 'circleci-legacy-token', 'circleci-personal-token', 'circleci-project-token', 'cisco-password-hash', 'cisco-type-7-password', 'civo-api-key', 'clarifai-pat', 'clearbit-api-key', 'clerk-secret-key', 'clerk-webhook-or-api-key', 'clickhouse-cloud-secret', 'clicksend-api-key', 'clickup-api-token', 'cliengo', 'clinchpad', 'clockify-api-key', 'clojars-token', 'close-api-key', 'close-crm-api-key', 'closecrm', 'cloudant', 'cloudant-url-password', 'cloudconvert-api-key', 'cloudflare-api-token', 'cloudflare-global-api-key', 'cloudflare-origin-ca-key', 'cloudflare-prefixed-token', 'cloudflare-tunnel-token', 'cloudflare-turnstile-secret', 'cloudinary-api-secret', 'cloudinary-url', 'cloudmersive-key', 'cloudplan', 'cloudsight', 'cloudsmith-api-key', 'cloudsmith-legacy-api-key', 'cloverly', 'cloze', 'clustdoc', 'cockroachdb-api-key', 'coda-api-token', 'codacy-api-token', 'codeclimate-token', 'codecov-token', 'codefresh-api-key', 'codemagic-api-token', 'codequiry', 'cohere-api-key', 'coinapi-key', 'coinbase-api-secret', 'coinbase-cdp-key-file', 'coingecko-api-key', 'coingecko-prefixed-key', 'coinlayer', 'coinlib', 'coinmarketcap-api-key', 'collect2', 'column-api-key', 'command-line-credentials', 'commercejs', 'companieshouse', 'composio-api-key', 'composio-mcp-server-url', 'conda-channel-token', 'configcat-sdk-key', 'confluent-api-key', 'confluent-api-secret', 'confluent-cloud', 'confluent-prefixed-api-secret', 'consul-token', 'contentful-api-token', 'contentful-management-token', 'context7-api-key', 'convertapi-secret', 'convertkit-api-secret', 'convex-deploy-key', 'copper-api-key', 'coralogix-key', 'couchbase-capella-key', 'countrylayer', 'courier', 'coveralls-token', 'coze-access-token', 'crates-io-token', 'crisp-token', 'crowdin-80', 'crowdin-token', 'crowdstrike-client-secret', 'crypto-com-secret', 'cryptocompare-api-key', 'currencyapi-key', 'currencyfreaks', 'currencylayer', 'currencylayer-access-key', 'currencyscoop', 'currents-api-key', 'currentsnews', 'cursor-api-key', 'customerio-api-key', 'cypress-record-key', 'd7networks', 'dagster-cloud-token', 'daily-co-api-key', 'dandelion', 'databento-api-key', 'databox', 'databricks-token', 'datadog-api-key', 'datadog-application-key', 'datastax-astra-token', 'daytona-api-key', 'dbt-cloud-token', 'debounce-api-key', 'deepai', 'deepgram-alnum', 'deepgram-api-key', 'deepl-api-key', 'deepl-pro-api-key', 'deepseek-api-key', 'defined-networking-api-token', 'delighted-api-key', 'deno-access-token', 'dependency-track-key', 'depot-token', 'deputy', 'descope-management-key', 'detectify-api-key', 'detectlanguage', 'devcycle-server-key', 'device-password', 'devin-api-key', 'diffbot-token', 'dify-app-key', 'diggernaut', 'digitalocean-access-token', 'digitalocean-gradient-key', 'digitalocean-spaces-secret', 'dingtalk-webhook', 'discord-bot-token', 'discord-client-secret', 'discord-named-token', 'discord-webhook-url', 'disqus-api-secret', 'ditto', 'django-secret-key', 'docker-config-auth', 'docker-swarm-join-token', 'docker-swarm-unlock-key', 'dockerhub-access-token', 'docparser-api-key', 'docusign-secret-key', 'doppler-token', 'dronahq', 'drone-ci-token', 'dropbox-access-token', 'dropbox-app-secret', 'dropbox-sign-api-key', 'drupal-hash-salt', 'duffel-api-token', 'duo-integration-key', 'duo-secret-key', 'dvc-studio-token', 'dwolla-secret', 'dynalist', 'dynatrace-token', 'dyspatch', 'e2b-access-token', 'e2b-api-key', 'eagleeye', 'easypost-api-key', 'ebay-client-secret', 'ecostruxure', 'edamam', 'edenai-key', 'elastic-cloud-api-key', 'elastic-cloud-prefixed-key', 'elastic-email-api-key', 'elevenlabs-api-key', 'elevenlabs-legacy-api-key', 'endor-labs-api-key', 'envoy', 'eraser', 'ethereum-private-key', 'ethereum-signing-key', 'etherscan-api-key', 'ethplorer', 'etsy-keystring', 'eventbrite-token', 'eventbrite-token-form', 'everhour-key', 'evernote-token', 'exa-api-key', 'exa-mcp-url-key', 'exchangerate-api-key', 'exchangeratesapi', 'exoscale-api-key', 'exoscale-api-secret', 'expo-access-token', 'extractorapi', 'facebook-access-token', 'facebook-app-access-token', 'facebook-app-secret', 'faceplusplus', 'fal-api-key', 'fastly-api-token', 'fauna-secret', 'feedier', 'fetchrss', 'figma-access-token', 'figma-legacy-token', 'fileio', 'financial-modeling-prep-key', 'finicity-app-key', 'finnhub-api-key', 'firebase-cloud-messaging-key', 'firecrawl-api-key', 'fireflies-api-key', 'fireworks-api-key', 'fixer', 'flatio', 'fleetbase-key', 'flickr-alnum', 'flickr-api-secret', 'flightapi', 'flutterwave-secret-key', 'fly-api-token', 'formbucket', 'formcraft', 'formio', 'fortios-encrypted-password', 'foursquare-api-key', 'frameio-token', 'freshbooks-client-secret', 'freshdesk-api-key', 'freshdesk-key', 'front-api-token', 'frontegg-api-key', 'fulcrum', 'fullstory-88', 'fullstory-api-key', 'fullstory-data-key', 'fullstory-named-api-key', 'fxmarket', 'geckoboard-44', 'geckoboard-api-key', 'gemini-exchange-secret', 'generic-api-key', 'generic-credential', 'generic-key', 'generic-password', 'generic-salt-or-cookie', 'generic-secret', 'generic-token', 'genius', 'geoapify-api-key', 'geocode-xyz', 'geocodify', 'geocodio', 'getemail', 'getgeoapi', 'getgist', 'getresponse-api-key', 'ghost-admin-key', 'giphy-api-key', 'gitbook-api-token', 'gitea-access-token', 'github-app-installation-token', 'github-app-token', 'github-fine-grained-token', 'github-oauth-client-secret', 'github-oauth-token', 'github-personal-access-token', 'github-refresh-token', 'github-runner-registration-token', 'gitlab-deploy-token', 'gitlab-feature-flags-token', 'gitlab-feed-token', 'gitlab-incoming-mail-token', 'gitlab-job-token', 'gitlab-kubernetes-agent-token', 'gitlab-oauth-application-secret', 'gitlab-personal-access-token', 'gitlab-pipeline-trigger-token', 'gitlab-runner-authentication-token', 'gitlab-runner-registration-token', 'gitlab-scim-token', 'gitlab-session-cookie', 'gitlab-workspace-token', 'gitter-access-token', 'glama-api-key', 'glassnode', 'go-mysql-dsn-password', 'gocardless-access-token', 'goodday', 'google-api-key', 'google-application-default-credentials', 'google-chat-webhook', 'google-gemini-auth-key', 'google-oauth-access-token', 'google-oauth-client-secret', 'google-oauth-refresh-token', 'google-recaptcha-secret', 'google-service-account-key', 'gorgias-api-key', 'grafana-api-key', 'grafana-cloud-token', 'grafana-service-account-token', 'graphhopper-api-key', 'graphhopper-key', 'greenhouse-api-key', 'greptile-api-key', 'greynoise', 'groove', 'groq-api-key', 'gtmetrix', 'guardian-api-key', 'guardian-open', 'gumroad-43', 'gumroad-access-token', 'gyazo-access-token', 'happyscribe', 'harness-api-key', 'harvest-token', 'hasura-admin-secret', 'hcaptcha-secret', 'hcp-client-secret', 'healthchecks-ping-key', 'helicone-api-key', 'hellosign', 'helpcrunch', 'helpscout-secret', 'here-api-key', 'heroku-api-key', 'heroku-legacy-api-key', 'hetzner-api-token', 'hetzner-dns-token', 'hex-pm-key', 'hex-tech-token', 'heygen-api-key', 'hibob', 'highnote-api-key', 'hiveage', 'holidayapi', 'holistic', 'home-assistant-token', 'honeybadger-api-key', 'honeycomb-classic-key', 'honeycomb-ingest-key', 'html2pdf', 'huawei-cipher-password', 'hubspot-api-key', 'hubspot-private-app-token', 'huggingface-access-token', 'huggingface-organization-token', 'humanity', 'hunter-api-key', 'hybiscus', 'hybridanalysis', 'hyperbrowser-api-key', 'ibm-cloud-api-key', 'ibm-cloudant-password', 'ibm-cos-hmac-secret', 'ibm-softlayer-key', 'iconfinder', 'iex-cloud-token', 'iexcloud-key', 'ifttt-webhook-key', 'igdb', 'imagekit-key', 'imagekit-private-key', 'imagga', 'imgur-client-secret', 'impala', 'infisical-token', 'influxdb-token', 'infobip-api-key', 'infracost-api-key', 'infura-api-key', 'inngest-signing-key', 'insightly-api-key', 'instabot', 'instagram-access-token', 'instamojo', 'intercom-access-token', 'intercom-api-key', 'interseller', 'intra42-client-secret', 'intrinio', 'ionic-token', 'ip2location-key', 'ipapi', 'ipgeolocation-api-key', 'ipgeolocation-key', 'ipify', 'ipinfo-token', 'ipinfodb', 'ipquality-key', 'ipqualityscore-key', 'ipstack', 'ipstack-access-key', 'jdbc-password', 'jenkins-api-token', 'jetbrains-hub-token', 'jina-api-key', 'jotform-api-key', 'json-web-encryption', 'json-web-token', 'json-web-token-base64', 'jumio-api-secret', 'jumpcloud-api-key', 'jumpcloud-named-api-key', 'juniper-password-hash', 'juniper-secret', 'jupiterone', 'juro', 'kagi-api-key', 'karmacrm', 'keenio', 'kerberos-ticket-hash', 'kickbox-api-key', 'kit-api-secret', 'klarna-hex', 'klavis-api-key', 'klaviyo-legacy', 'klaviyo-private-key', 'klipfolio', 'knapsack-pro-token', 'kong-konnect-token', 'kontent-api-key', 'kontent-key', 'kraken-private-key', 'kubeconfig-client-key', 'kubernetes-bootstrap-token', 'kubernetes-secret-manifest', 'kubernetes-service-account-token', 'kucoin-api-secret', 'kylas', 'lacework', 'lambdatest-access-key', 'langfuse-secret-key', 'langsmith-api-key', 'langsmith-legacy-api-key', 'languagelayer', 'laravel-app-key', 'lark-app-secret', 'lark-webhook', 'lastfm-api-secret', 'launchdarkly-access-token', 'launchdarkly-sdk-key', 'leadfeeder', 'lemlist-api-key', 'lemonsqueezy-api-key', 'lessannoying', 'letta-api-key', 'lever-api-key', 'lexigram', 'libraries-io-api-key', 'lichess-token', 'lightdash-access-token', 'lighton-paradigm-key', 'line-channel-token', 'line-notify', 'linear-api-key', 'linear-client-secret', 'linear-oauth-token', 'linkedin-access-token', 'linkedin-client-secret', 'linkedin-client-secret-prefixed', 'linkpreview', 'linkup-api-key', 'linode-api-token', 'liveblocks-secret-key', 'livechat-access-token', 'livekit-api-key', 'livekit-api-secret', 'llamacloud-api-key', 'loadmill', 'lob-api-key', 'locationiq-token', 'logdna-ingestion-key', 'logfire-token', 'loggly', 'loggly-token', 'loginradius-secret', 'logzio-token', 'logzio-uuid', 'lokalise-api-token', 'looker', 'looker-client-secret', 'loops-api-key', 'loyverse', 'lunch-money-token', 'madkudu', 'magnetic', 'mailboxlayer', 'mailboxlayer-access-key', 'mailchimp-api-key', 'mailerlite-api-key', 'mailerlite-classic', 'mailersend-api-token', 'mailgun-api-key', 'mailgun-new-api-key', 'mailjet-secret-key', 'mailmodo', 'mailsac-api-key', 'mailsac-key', 'make-api-token', 'make-mcp-server-url', 'make-webhook', 'mandrill', 'mandrill-api-key', 'mandrill-legacy-api-key', 'mapbox-secret-token', 'mapillary-token', 'mapquest-api-key', 'marketstack', 'mastodon-access-token', 'materialize-app-password', 'matomo', 'matrix-access-token', 'mattermost-access-token', 'mattermost-webhook', 'maven-settings-password', 'mavenlink', 'maxmind-licence-key', 'mcp-client-secret', 'mcp-gateway-token', 'mcp-inspector-proxy-token', 'mcp-oauth-token-file', 'mcp-session-id', 'meaningcloud', 'mediastack', 'mediastack-access-key', 'meetup', 'meilisearch-key', 'meistertask-token', 'mem0-api-key', 'meraki-api-key', 'mercadopago-access-token', 'mercury-api-token', 'mergify-application-key', 'mesibo', 'messagebird-api-key', 'meta-quest-app-credential', 'metabase', 'metrilo', 'microsoft-teams-legacy-webhook', 'microsoft-teams-webhook', 'midtrans-server-key', 'minimax-api-key', 'miro-27', 'miro-access-token', 'mistral-api-key', 'mixmax', 'mixpanel-secret', 'modal-token', 'mollie-api-key', 'monday-api-token', 'mongodb-atlas-private-key', 'mongodb-atlas-service-account-secret', 'mongodb-connection-string', 'monkeylearn', 'moonshot-api-key', 'moosend-api-key', 'moralis-api-key', 'musixmatch', 'mux-token-secret', 'mysql-connection-string', 'n8n-api-key', 'n8n-mcp-trigger-url', 'nasa', 'nasa-api-key', 'nasdaq-data-link-key', 'neon-api-key', 'neon-database-password', 'netbird-access-token', 'netbox-token', 'netlify-access-token', 'netlify-legacy', 'netlify-legacy-access-token', 'netsparker', 'neutrino', 'neverbounce-api-key', 'newrelic-browser-key', 'newrelic-insights-key', 'newrelic-license-key', 'newrelic-user-key', 'newsapi-key', 'newscatcher', 'nftport', 'ngrok-auth-token', 'nightfall-api-key', 'nightfall-key', 'nimble', 'noaa', 'node-rpc-url-key', 'nostr-secret-key', 'notion-integration-token', 'npm-access-token', 'npm-basic-auth', 'npm-legacy-auth-token', 'ntfy-access-token', 'nuget-api-key', 'nuget-config-password', 'nuget-lower', 'numverify', 'numverify-access-key', 'nutritionix', 'nvidia-api-key', 'nylas-api-key', 'nylas-prefixed-key', 'nytimes-api-key', 'oanda-24', 'oanda-token', 'obsidian-local-rest-api-key', 'octopus-deploy-api-key', 'okta-api-token', 'okta-client-secret', 'okta-ssws-header', 'okx-api-secret', 'ollama-api-key', 'omnisend-api-key', 'onelogin-client-secret', 'onepagecrm', 'onepassword-connect-token', 'onepassword-secret-key', 'onepassword-service-account-token', 'onesignal-api-key', 'onesignal-prefixed-key', 'onesignal-uuid', 'onfido-api-token', 'onfleet', 'oopspam', 'openai-api-key', 'openai-legacy-api-key', 'openai-realtime-client-secret', 'openai-session-token', 'openaq', 'opencage-api-key', 'opencorporates', 'openrouter-api-key', 'openrouteservice-key', 'openshift-token', 'openuv', 'openweather-api-key', 'openweather-appid', 'opsgenie', 'opsgenie-api-key', 'optimizely-token', 'optimizely-token-form', 'oracle-auth-token', 'overloop', 'ovh-application-secret', 'owlbot', 'packagecloud-token', 'paddle-api-key', 'paddle-webhook-secret', 'pagarme-api-key', 'pagerduty-api-key', 'pagerduty-event-url', 'pagerduty-integration-key', 'pandadoc-api-key', 'pandadoc-key', 'pandascore', 'papertrail', 'paralleldots', 'parsehub', 'particle-access-token', 'partnerstack', 'password-file-hash', 'pastebin', 'paydirt', 'paymo', 'paymongo-secret-key', 'paypal-braintree-access-token', 'paypal-client-secret', 'paystack-secret-key', 'pdflayer', 'pdfshift-api-key', 'people-data-labs-api-key', 'percy-token', 'perplexity-api-key', 'persona-api-key', 'pexels-api-key', 'pgpass-password', 'pinata', 'pinecone-api-key', 'pinecone-legacy-api-key', 'pingdom', 'pingdom-api-token', 'pinterest-token', 'pipedream-client-secret', 'pipedream-mcp-server-url', 'pipedrive-api-token', 'pivotaltracker', 'pixabay-api-key', 'pixabay-key', 'plaid-access-token', 'plaid-secret', 'planetscale-credential', 'planyo', 'plivo-auth-id', 'plivo-auth-token', 'podio', 'polar-access-token', 'pollsapi', 'polygon-io-api-key', 'polygonscan', 'polymarket-private-key', 'portainer-access-token', 'portkey-api-key', 'positionstack', 'positionstack-access-key', 'postageapp', 'postgres-connection-string', 'posthog-personal-key', 'postman-api-key', 'postman-collection-key', 'postmark-server-token', 'powrbot', 'prefect-api-key', 'privacy-com', 'privacy-com-api-key', 'private-key', 'private-key-encrypted', 'private-key-pgp', 'private-key-putty', 'private-packagist-token', 'prodpad-api-key', 'promptlayer-api-key', 'prospectcrm', 'protocolsio', 'proxmox-api-token', 'proxmox-token-secret', 'proxycrawl', 'pubnub-secret-key', 'pulumi-access-token', 'puppet-access-token', 'pushbullet-34', 'pushbullet-access-token', 'pusher-app-secret', 'pushover-token', 'pypi-token', 'qase-40', 'qase-api-token', 'qdrant-api-key', 'qualaroo', 'qualtrics-api-token', 'qualys', 'qubole', 'quickbooks-client-secret', 'rabbitmq-erlang-cookie', 'rails-master-key', 'rails-secret-key-base', 'railway-token', 'raindrop-token', 'rainforest-api-key', 'ramp-client-secret', 'rancher-token', 'rapid7', 'rapidapi-key', 'rapidapi-legacy-key', 'raven', 'rawg-api-key', 'rawg-key', 'raygun-api-key', 'razorpay-key-id', 'razorpay-key-secret', 'reachmail', 'readme-api-key', 'readwise-token', 'rebrandly', 'recurly-private-key', 'reddit-client-secret', 'redis-connection-string', 'render-api-key', 'render-deploy-hook', 'replicate-api-token', 'replyio', 'requestfinance', 'resend-api-key', 'restpack', 'retell-api-key', 'retool-api-token', 'riot-api-key', 'ritekit', 'roblox-security-cookie', 'rocketchat-token', 'rocketreach-39', 'rocketreach-api-key', 'rockset-api-key', 'rollbar-access-token', 'rootly-api-key', 'route4me', 'rsdigital', 'rubygems-api-key', 'runpod-api-key', 's3-compatible-key-id', 's3-compatible-secret', 'salesblink', 'salescookie', 'salesflare', 'salesforce-access-token', 'salesforce-client-secret', 'salesforce-refresh-token', 'salesloft-api-key', 'salesmate', 'samsara-api-token', 'samsara-prefixed-token', 'sanity-token', 'sauce-labs-access-key', 'scaleway-access-key', 'scaleway-alnum', 'scaleway-secret-key', 'scalingo-api-token', 'scalr-api-token', 'scout-apm-key', 'scrapeowl', 'scraperapi-key', 'scraperbox', 'scrapestack', 'scrapfly-key', 'scrapingant-key', 'scrapingant-key-form', 'scrapingbee-key', 'screenshotapi', 'screenshotlayer', 'scrutinizer-token', 'securitytrails-api-key', 'segment-public-api-token', 'segment-write-key', 'selectpdf', 'semaphore-api-token', 'semaphore-messaging', 'sendbird-24', 'sendbird-api-token', 'sendgrid-api-key', 'sentry-legacy-token', 'sentry-org-token', 'sentry-secret-dsn', 'sentry-user-token', 'serpapi-api-key', 'serper-api-key', 'serphouse', 'serpstack', 'session-cookie', 'settlemint-access-token', 'sherpadesk', 'shipday', 'shippo-api-token', 'shodan-api-key', 'shopify-access-token', 'shopify-storefront-private-token', 'shortcut-api-token', 'shortcut-token', 'shotstack', 'sidekiq-enterprise-key', 'signaturit', 'signupgenius', 'sigopt', 'simfin', 'simplesat', 'simplynoted', 'simvoly', 'sinch-api-token', 'slack-app-token', 'slack-bot-token', 'slack-configuration-token', 'slack-legacy-token', 'slack-session-token', 'slack-signing-secret', 'slack-user-token', 'slack-webhook-url', 'slack-workflow-token', 'smartsheet-access-token', 'smartystreets', 'smithery-api-key', 'snipcart-secret-key', 'snowflake-password', 'snowflake-programmatic-token', 'snyk-api-token', 'snyk-service-account-token', 'socket-api-token', 'softlayer', 'softlayer-url-key', 'solana-private-key', 'sonar-legacy-token', 'sonarqube-token', 'soundcloud-client-secret', 'sourcegraph-access-token', 'sourcegraph-gateway-key', 'sparkpost-40', 'sparkpost-api-key', 'speechtext', 'splunk-authorization-header', 'splunk-hec-token', 'splunk-observability', 'splunk-observability-token', 'spoonacular-key', 'sportmonks', 'sportradar', 'spotify-client-secret', 'spotify-token', 'sqlserver-connection-string', 'square-access-token', 'square-oauth-secret', 'squarespace-api-key', 'sslmate', 'stability-ai-api-key', 'stackhawk-api-key', 'starknet-private-key', 'statsig-secret-key', 'statuscake', 'statuspage', 'statuspage-api-key', 'statuspal', 'steam-api-key', 'steel-api-key', 'stitchdata', 'stockdata', 'storecove', 'stormboard', 'stormglass-73', 'stormglass-api-key', 'storyblok-token', 'strava', 'streak-api-key', 'stream-chat-secret', 'stripe-secret-key', 'stripe-webhook-secret', 'stytch-project-secret', 'stytch-secret', 'sumologic-access-id', 'sumologic-access-key', 'sumologic-http-source', 'supabase-access-token', 'supabase-secret-key', 'supabase-service-role-key', 'supernotes', 'surveymonkey-token', 'surveysparrow', 'survicate', 'swiftype', 'symfony-app-secret', 'tableau-access-token', 'tableau-uuid', 'tailscale-key', 'tatum', 'tavily-api-key', 'taxjar-api-token', 'taxjar-key', 'teamcity-access-token', 'teamgate', 'teamwork-named-api-key', 'teamwork-token', 'technicalanalysis', 'tefter', 'telegram-api-hash', 'telegram-bot-token', 'telegram-named-bot-token', 'teletype', 'telnyx-api-key', 'telnyx-key-any', 'temporal-cloud-api-key', 'tenable-secret-key', 'tencent-secret-id', 'tencent-secret-key', 'terraform-cloud-token', 'terraform-random-password', 'testrail-api-key', 'the-odds-api-key', 'thingsboard-device-token', 'thousandeyes', 'threads-access-token', 'ticketmaster-api-key', 'tickettailor', 'tigris-secret-access-key', 'tiingo-api-token', 'tiktok-client-secret', 'timecamp', 'tines-webhook', 'tinify', 'tinybird-token', 'tly', 'tmdb-api-key', 'tmetric', 'todoist-api-token', 'together-api-key', 'together-legacy-api-key', 'toggl-api-token', 'toggl-track', 'tomorrow-io-key', 'tomtom-api-key', 'tradier-token', 'trakt', 'travelpayouts-token', 'travis-ci-token', 'trello-key', 'trello-prefixed-token', 'trello-token', 'trigger-dev-key', 'truenas-api-key', 'truenas-websocket-key', 'tumblr-secret', 'turso-token', 'tvdb', 'twelve-data-api-key', 'twilio-api-key', 'twilio-api-secret', 'twilio-auth-token', 'twitch-chat-token', 'twitch-client-secret', 'twitter-access-token', 'twitter-access-token-secret', 'twitter-api-key', 'twitter-api-secret', 'twitter-bearer-token', 'tyntec', 'typeform-token', 'ubidots-token', 'uclassify', 'unkey-root-key', 'unleash-token', 'unplugg', 'unsplash-access-key', 'upcdatabase', 'upcloud-api-token', 'uplead', 'uploadcare', 'upstage-api-key', 'upstage-named-api-key', 'upstash-token', 'uptimerobot-api-key', 'uptimerobot-monitor', 'upwave', 'url-credentials', 'urlhaus', 'urlscan-api-key', 'userflow', 'userstack', 'val-town-api-token', 'vapi-private-key', 'vatlayer', 'vault-approle-secret-id', 'vault-legacy-token', 'vault-service-token', 'vbout', 'vercel-blob-token', 'vercel-legacy-token', 'vercel-token', 'verimail', 'veriphone', 'versioneye', 'viasocket-mcp-server-url', 'victorops', 'vimeo-token', 'virustotal-api-key', 'visual-crossing-key', 'visualcrossing-25', 'voiceflow-key', 'voicegain', 'volcengine-access-key-id', 'vonage-api-secret', 'voodoosms', 'voyage-api-key', 'vpnapi', 'vtiger', 'vultr-api-key', 'vyte', 'wakatime-api-key', 'wakatime-prefixed-key', 'walkscore-api-key', 'wallet-seed-phrase', 'wandb-api-key', 'wandb-api-key-v1', 'warp-api-key', 'weatherapi-key', 'weatherstack', 'weatherstack-access-key', 'weaviate-api-key', 'webex-bot-token', 'webflow-token', 'webscraper', 'wecom-webhook', 'whoxy', 'windows-ntlm-hash', 'wireguard-private-key', 'wise-api-token', 'wistia', 'wit-ai', 'wix-api-key', 'wolfram-app-id', 'wordpress-application-password', 'wordpress-auth-key', 'workable', 'workos-api-key', 'worksnaps', 'workstack', 'worldcoinindex', 'worldweather', 'wrike-token', 'xai-api-key', 'xai-management-key', 'xata-api-key', 'xendit-secret-key', 'xero-client-secret', 'yandex-api-key', 'yandex-dictionary', 'yandex-iam-token', 'yandex-oauth-token', 'yandex-static-access-key', 'yelp-api-key', 'ynab-token', 'you-com-api-key', 'yousign', 'zapier-mcp-key', 'zapier-mcp-server-url', 'zapier-webhook', 'zendesk-api-token', 'zenkit', 'zenrows-key', 'zenscrape-key', 'zenserp', 'zep-api-key', 'zeplin-token', 'zeplin-token-form', 'zerobounce-api-key', 'zerobounce-key', 'zerotier-api-token', 'zhipu-api-key', 'zipcodeapi', 'zipcodebase', 'zoho-client-secret', 'zoho-token', 'zonka', 'zoom-client-secret', 'zulip-api-key', 'zulip-chat-key-file', 'zuora', 'zuplo-consumer-key')
    }
    $path = 'mcpsec'
    $option = ''
    $config = if ($env:MCPSEC_CONFIG) { $env:MCPSEC_CONFIG } else { 'mcpsec.toml' }
    $store = if ($env:MCPSEC_CERTS_DIR) { $env:MCPSEC_CERTS_DIR } else { 'pki' }
    $elements = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.Extent.Text })
    if ($wordToComplete -and $elements.Count -gt 0) {
        $elements = @($elements | Select-Object -SkipLast 1)
    }
    foreach ($element in $elements) {
        if ($option) {
            if ('-c', '--config' -contains $option) { $config = $element }
            if ('-d', '--dir' -contains $option) { $store = $element }
            $option = ''
            continue
        }
        $next = "$path $element"
        if ($kinds.ContainsKey($next)) { $option = $element }
        if ($nodes.ContainsKey($next)) { $path = $next }
    }
    $kind = if ($option) { $kinds["$path $option"] } else { $nodes[$path].Kind }
    $words = @()
    if (-not $option -and $wordToComplete.StartsWith('-')) {
        $words = $nodes[$path].Options
    } else {
        if (-not $option) { $words = $nodes[$path].Commands }
        if ($kind.StartsWith('words:')) {
            $words += $kind.Substring(6).Split(' ')
        } elseif ($lists.ContainsKey($kind)) {
            $words += $lists[$kind]
        } elseif ($kind -eq 'client' -and (Test-Path -LiteralPath $config)) {
            $inside = $false
            foreach ($line in Get-Content -LiteralPath $config) {
                if ($line -match '^\s*\[') { $inside = $line -match '^\s*\[\[\s*clients\s*\]\]' }
                if ($inside -and $line -match '^\s*id\s*=\s*["'']([A-Za-z0-9][A-Za-z0-9._:@/-]*)["'']') {
                    $words += $Matches[1]
                }
            }
        } elseif ($kind -eq 'upstream' -and (Test-Path -LiteralPath $config)) {
            foreach ($line in Get-Content -LiteralPath $config) {
                if ($line -match '^\s*\[\s*upstreams\s*\.\s*([a-z0-9][a-z0-9-]*)') { $words += $Matches[1] }
            }
        } elseif ($kind -eq 'certificate') {
            foreach ($purpose in 'client', 'server') {
                $words += Get-ChildItem -Directory -ErrorAction SilentlyContinue (Join-Path $store $purpose) |
                    Where-Object { $_.Name -match '^[A-Za-z0-9][A-Za-z0-9._@+-]*$' } | ForEach-Object { $_.Name }
            }
        }
    }
    $words | Select-Object -Unique | Where-Object { $_ -and $_.StartsWith($wordToComplete) } | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }
}
