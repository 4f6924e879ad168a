"""The completion script of PowerShell."""

from __future__ import annotations

from mcpsec.cli.shells.tree import Node, by_kind, lists

__all__ = ["write"]

_SCRIPT = r"""# PowerShell completion for mcpsec; printed by `mcpsec completions powershell`
Register-ArgumentCompleter -Native -CommandName mcpsec -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $nodes = @{
@NODES@
    }
    $kinds = @{
@KINDS@
    }
    $lists = @{
@LISTS@
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
"""


def write(nodes: list[Node]) -> str:
    """The script for these commands."""

    def words(entries: list[str]) -> str:
        return "@(" + ", ".join(f"'{name}'" for name in entries) + ")"

    rows = "\n".join(
        f"        '{node.path}' = @{{ Commands = {words([*node.commands])}; "
        f"Options = {words([*node.long_options()])}; Kind = '{node.arguments}' }}"
        for node in nodes
    )
    kinds = "\n".join(
        f"        '{place}' = '{kind}'" for kind, places in by_kind(nodes).items() for place in sorted(places)
    )
    data = "\n".join(f"        '{kind}' = {words(names)}" for kind, names in lists().items())
    return _SCRIPT.replace("@NODES@", rows).replace("@KINDS@", kinds).replace("@LISTS@", data)
