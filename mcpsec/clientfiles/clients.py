"""Where MCP clients keep their configuration, and under which keys their servers stand.

Each client's own documentation is the source; paths below the home directory, with ``{config}`` for the platform's
application directory.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CLIENTS", "CONTAINERS", "configurations"]

CONTAINERS = frozenset(
    ("mcpServers", "servers", "context_servers", "mcp_servers", "mcp", "mcp.servers", "mcpservers", "extensions")
)
"""Keys whose members are servers."""

CLIENTS: dict[str, tuple[str, ...]] = {
    "Claude Desktop": ("{config}/Claude/claude_desktop_config.json",),
    "Claude Code": (
        ".claude.json",
        ".claude/settings.json",
        ".claude/settings.local.json",
        ".claude/mcp.json",
        ".mcp.json",
    ),
    "Cursor": (".cursor/mcp.json",),
    "VS Code": (
        "{config}/Code/User/mcp.json",
        "{config}/Code/User/settings.json",
        "{config}/Code - Insiders/User/mcp.json",
        "{config}/VSCodium/User/mcp.json",
        ".vscode/mcp.json",
    ),
    "Windsurf": (".codeium/windsurf/mcp_config.json", ".codeium/mcp_config.json"),
    "Cline": (
        "{config}/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        "{config}/Cursor/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
    ),
    "Roo Code": ("{config}/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",),
    "Kilo Code": ("{config}/Code/User/globalStorage/kilocode.kilo-code/settings/mcp_settings.json",),
    "Zed": (".config/zed/settings.json",),
    "Continue": (".continue/config.json", ".continue/config.yaml", ".continue/mcpServers"),
    "Codex": (".codex/config.toml",),
    "Gemini CLI": (".gemini/settings.json", ".gemini/antigravity/mcp_config.json"),
    "Qwen Code": (".qwen/settings.json",),
    "Goose": (".config/goose/config.yaml",),
    "Amazon Q": (".aws/amazonq/mcp.json", ".aws/amazonq/default.json"),
    "Kiro": (".kiro/settings/mcp.json",),
    "LM Studio": (".lmstudio/mcp.json",),
    "JetBrains Junie": (".junie/mcp/mcp.json",),
    "Copilot CLI": (".copilot/mcp-config.json",),
    "opencode": (".config/opencode/opencode.json", ".config/opencode/opencode.jsonc"),
    "Crush": (".config/crush/crush.json",),
    "Amp": (".config/amp/settings.json",),
    "Warp": (".warp/mcp.json",),
    "LibreChat": ("librechat.yaml",),
    "Trae": ("{config}/Trae/User/mcp.json",),
    "Augment": (".augment/settings.json",),
    "Factory": (".factory/mcp.json",),
    "Witsy": ("{config}/Witsy/settings.json",),
    "5ire": ("{config}/5ire/mcp.json",),
}


def configurations(home: str | None = None) -> Iterator[tuple[str, str]]:
    """Client and path of every configuration that exists in a home directory."""
    base = home or os.path.expanduser("~")  # noqa: PTH111 # pathlib costs a hook 4 ms
    if sys.platform == "darwin":
        config = f"{base}/Library/Application Support"
    elif sys.platform == "win32":
        config = os.environ.get("APPDATA") or f"{base}/AppData/Roaming"
    else:
        config = (None if home else os.environ.get("XDG_CONFIG_HOME")) or f"{base}/.config"
    seen: set[str] = set()
    for client, paths in CLIENTS.items():
        for path in paths:
            full = path.replace("{config}", config) if path.startswith("{config}") else f"{base}/{path}"
            if full not in seen and os.path.exists(full):  # noqa: PTH110
                seen.add(full)
                yield client, full
