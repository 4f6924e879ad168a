# PowerShell completion for mcpsec; printed by `mcpsec completions powershell`
Register-ArgumentCompleter -Native -CommandName mcpsec -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $nodes = @{
        'mcpsec' = @{ Commands = @('init', 'serve', 'sandbox', 'config', 'certs', 'sign', 'connect', 'scan-secrets', 'audit', 'drill', 'policy', 'pin', 'approve', 'log', 'alerts', 'monitor', 'monitoring', 'completions'); Options = @('--help', '--no-color', '--quiet', '--version') }
        'mcpsec init' = @{ Commands = @(); Options = @('--client', '--help') }
        'mcpsec serve' = @{ Commands = @(); Options = @('--admin-listen', '--app', '--auth', '--config', '--grant', '--help', '--listen', '--quickstart', '--rate-limit', '--ready-file', '--upstream', '--workers') }
        'mcpsec sandbox' = @{ Commands = @('check'); Options = @('--help') }
        'mcpsec sandbox check' = @{ Commands = @(); Options = @('--config', '--format', '--help') }
        'mcpsec config' = @{ Commands = @('check', 'show', 'secrets', 'schema', 'reference'); Options = @('--help') }
        'mcpsec config check' = @{ Commands = @(); Options = @('--config', '--format', '--help') }
        'mcpsec config show' = @{ Commands = @(); Options = @('--config', '--format', '--help') }
        'mcpsec config secrets' = @{ Commands = @(); Options = @('--config', '--format', '--help') }
        'mcpsec config schema' = @{ Commands = @(); Options = @('--help') }
        'mcpsec config reference' = @{ Commands = @(); Options = @('--help') }
        'mcpsec certs' = @{ Commands = @('init', 'issue', 'list', 'show', 'renew', 'revoke', 'crl', 'check', 'verify', 'lint', 'inspect', 'fingerprint', 'rotate-ca', 'schedule', 'request', 'export', 'ledger'); Options = @('--dir', '--help', '--passphrase-env', '--passphrase-file', '--passphrase-prompt', '--passphrase-ref') }
        'mcpsec certs init' = @{ Commands = @(); Options = @('--ca-days', '--client-crl-url', '--crl-days', '--encrypt', '--external-key', '--format', '--help', '--key', '--organization', '--permit-client', '--permit-server', '--root-days', '--server-crl-url', '--trust-domain') }
        'mcpsec certs issue' = @{ Commands = @(); Options = @('--batch', '--client', '--csr', '--days', '--format', '--help', '--key', '--key-passphrase-file', '--profile', '--replace', '--san', '--server', '--skip-existing') }
        'mcpsec certs list' = @{ Commands = @(); Options = @('--all', '--client', '--format', '--help', '--server', '--state') }
        'mcpsec certs show' = @{ Commands = @(); Options = @('--client', '--format', '--help', '--pem', '--server') }
        'mcpsec certs renew' = @{ Commands = @(); Options = @('--all-due', '--client', '--csr', '--days', '--format', '--help', '--hook', '--interval', '--key', '--reuse-key', '--server', '--watch', '--within') }
        'mcpsec certs revoke' = @{ Commands = @(); Options = @('--client', '--format', '--help', '--reason', '--server') }
        'mcpsec certs crl' = @{ Commands = @(); Options = @('--client', '--format', '--help', '--if-due', '--server') }
        'mcpsec certs check' = @{ Commands = @(); Options = @('--client', '--exit-on', '--fail', '--format', '--help', '--output', '--server', '--warn') }
        'mcpsec certs verify' = @{ Commands = @(); Options = @('--at', '--ca', '--cert', '--client', '--crl', '--format', '--help', '--host', '--key', '--server') }
        'mcpsec certs lint' = @{ Commands = @(); Options = @('--fail-on', '--format', '--help') }
        'mcpsec certs inspect' = @{ Commands = @(); Options = @('--format', '--help') }
        'mcpsec certs fingerprint' = @{ Commands = @(); Options = @('--format', '--help', '--spki') }
        'mcpsec certs rotate-ca' = @{ Commands = @(); Options = @('--days', '--encrypt', '--external-key', '--format', '--help', '--key', '--retire', '--root-key') }
        'mcpsec certs schedule' = @{ Commands = @(); Options = @('--format', '--help', '--hook', '--image', '--user') }
        'mcpsec certs request' = @{ Commands = @(); Options = @('--format', '--help', '--key', '--key-passphrase-file', '--out', '--san') }
        'mcpsec certs export' = @{ Commands = @(); Options = @('--bundle-passphrase-file', '--client', '--format', '--help', '--out', '--server') }
        'mcpsec certs ledger' = @{ Commands = @(); Options = @('--help') }
        'mcpsec sign' = @{ Commands = @('verify', 'keygen'); Options = @('--arg', '--body-file', '--ca', '--cert', '--client', '--config', '--era', '--format', '--header', '--help', '--key', '--key-file', '--key-id', '--method', '--nonce', '--scheme', '--secret-file', '--send', '--tamper', '--timeout', '--timestamp', '--tool', '--url') }
        'mcpsec sign verify' = @{ Commands = @(); Options = @('--at', '--body-file', '--format', '--headers-file', '--help', '--key-file', '--key-id', '--max-age', '--method', '--scheme', '--secret-file', '--url') }
        'mcpsec sign keygen' = @{ Commands = @(); Options = @('--help', '--kind') }
        'mcpsec connect' = @{ Commands = @(); Options = @('--ca', '--cert', '--client', '--config', '--help', '--install', '--key', '--key-file', '--key-id', '--login', '--logout', '--name', '--no-browser', '--oauth-binding', '--oauth-ca', '--oauth-client-id', '--oauth-client-key-file', '--oauth-client-secret-file', '--oauth-grant', '--oauth-issuer', '--oauth-port', '--oauth-scope', '--oauth-store', '--print', '--scheme', '--secret-file', '--uninstall', '--yes') }
        'mcpsec scan-secrets' = @{ Commands = @('install-hook', 'rules'); Options = @('--help') }
        'mcpsec scan-secrets install-hook' = @{ Commands = @(); Options = @('--force', '--help', '--pre-push') }
        'mcpsec scan-secrets rules' = @{ Commands = @('list', 'show', 'test'); Options = @('--help') }
        'mcpsec scan-secrets rules list' = @{ Commands = @(); Options = @('--format', '--help') }
        'mcpsec scan-secrets rules show' = @{ Commands = @(); Options = @('--help') }
        'mcpsec scan-secrets rules test' = @{ Commands = @(); Options = @('--help') }
        'mcpsec audit' = @{ Commands = @('list', 'explain'); Options = @('--help') }
        'mcpsec audit list' = @{ Commands = @(); Options = @('--format', '--help') }
        'mcpsec audit explain' = @{ Commands = @(); Options = @('--help') }
        'mcpsec drill' = @{ Commands = @(); Options = @('--config', '--format', '--help', '--list', '--longest', '--only', '--out', '--recover-within', '--skip', '--slack', '--upstream') }
        'mcpsec policy' = @{ Commands = @('check', 'explain', 'test', 'document', 'suggest'); Options = @('--help') }
        'mcpsec policy check' = @{ Commands = @(); Options = @('--config', '--format', '--help', '--strict') }
        'mcpsec policy explain' = @{ Commands = @(); Options = @('--address', '--arg', '--arguments', '--at', '--certificate-sha256', '--client', '--complete', '--config', '--confirmed', '--format', '--help', '--method', '--prompt', '--resource', '--tool') }
        'mcpsec policy test' = @{ Commands = @(); Options = @('--config', '--format', '--help') }
        'mcpsec policy document' = @{ Commands = @(); Options = @('--config', '--help') }
        'mcpsec policy suggest' = @{ Commands = @(); Options = @('--config', '--format', '--help', '--since') }
        'mcpsec pin' = @{ Commands = @(); Options = @('--accept-flagged', '--check', '--client', '--config', '--format', '--help', '--update') }
        'mcpsec approve' = @{ Commands = @(); Options = @('--arg', '--arguments', '--client', '--config', '--format', '--help', '--prompt', '--resource', '--tool', '--valid') }
        'mcpsec log' = @{ Commands = @('verify', 'head', 'schema', 'tail', 'query', 'stats', 'export'); Options = @('--help') }
        'mcpsec log verify' = @{ Commands = @(); Options = @('--checkpoint', '--config', '--expect', '--format', '--help', '--key', '--part') }
        'mcpsec log head' = @{ Commands = @(); Options = @('--config', '--export', '--format', '--help') }
        'mcpsec log schema' = @{ Commands = @(); Options = @('--help') }
        'mcpsec log tail' = @{ Commands = @(); Options = @('--all', '--client', '--config', '--decision', '--follow', '--format', '--help', '--kind', '--lines', '--request-id', '--resource', '--rule', '--status', '--text', '--trace-id', '--upstream') }
        'mcpsec log query' = @{ Commands = @(); Options = @('--all', '--client', '--config', '--decision', '--format', '--help', '--kind', '--limit', '--request-id', '--resource', '--rule', '--since', '--status', '--text', '--trace-id', '--until', '--upstream') }
        'mcpsec log stats' = @{ Commands = @(); Options = @('--all', '--client', '--config', '--decision', '--format', '--help', '--kind', '--request-id', '--resource', '--rule', '--since', '--status', '--text', '--top', '--trace-id', '--until', '--upstream') }
        'mcpsec log export' = @{ Commands = @(); Options = @('--all', '--ca', '--client', '--config', '--decision', '--format', '--help', '--kind', '--request-id', '--resource', '--rule', '--since', '--status', '--text', '--to', '--to-format', '--trace-id', '--until', '--upstream') }
        'mcpsec alerts' = @{ Commands = @('rules', 'test', 'replay'); Options = @('--help') }
        'mcpsec alerts rules' = @{ Commands = @(); Options = @('--format', '--help') }
        'mcpsec alerts test' = @{ Commands = @(); Options = @('--ca', '--command', '--config', '--help', '--key-id', '--secret-file', '--slack-file', '--syslog', '--webhook') }
        'mcpsec alerts replay' = @{ Commands = @(); Options = @('--config', '--format', '--help', '--since') }
        'mcpsec monitor' = @{ Commands = @(); Options = @('--config', '--help', '--once') }
        'mcpsec monitoring' = @{ Commands = @('export'); Options = @('--help') }
        'mcpsec monitoring export' = @{ Commands = @(); Options = @('--force', '--help') }
        'mcpsec completions' = @{ Commands = @(); Options = @('--help') }
    }
    $path = 'mcpsec'
    foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {
        $next = "$path $element"
        if ($nodes.ContainsKey($next)) { $path = $next }
    }
    $words = if ($wordToComplete.StartsWith('-')) { $nodes[$path].Options } else { $nodes[$path].Commands }
    $words | Where-Object { $_.StartsWith($wordToComplete) } | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }
}
