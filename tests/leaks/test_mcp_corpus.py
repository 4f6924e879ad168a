"""Generated MCP client configurations: planted credentials are found in every slot, placeholders are left alone.

The values are made by a seeded generator, so that no scanner finds one in this repository; the shapes of the files are
those of the clients (docs/scan-secrets.md names them), the placeholders those that people write in documentation.
"""

import json
import random
import string
from functools import partial
from urllib.parse import quote

from mcpsec.leaks import scan_bytes

dumps = partial(json.dumps, ensure_ascii=False)

LETTERS, DIGITS, HEX = string.ascii_letters, string.digits, "0123456789abcdef"
NAMES = (
    "VENDOR_API_KEY",
    "ACME_TOKEN",
    "DB_PASSWORD",
    "SERVICE_SECRET",
    "X_ACCESS_TOKEN",
    "NOTES_AUTH_TOKEN",
    "PRIVATE_KEY_VALUE",
)
HEADERS = ("X-Api-Key", "X-Vendor-Token", "Api-Key", "X-Auth-Token", "X-Access-Token")
OPTIONS = ("--access-token", "--api-key", "--token", "--secret", "--password", "--client-secret")
QUERIES = ("api_key", "token", "access_token", "apikey", "secret")

PLACEHOLDER_LINES = """
    YOUR-API-KEY your_actual_api_key REPLACE_WITH_YOUR_KEY PUT_YOUR_KEY_HERE paste-your-token-here
    ADD_YOUR_KEY yourApiKey my-api-key MyToken123 ваш-токен token_hier DEIN_TOKEN ihr-api-schlüssel
    votre-cle-api tu_clave_aquí SEU_TOKEN_AQUI la-tua-chiave jouw-token-hier twój-klucz DIN_API_NYCKEL 例
    あなたのAPIキー 你的API密钥 여기에_API_키 당신의_토큰 sk-1234 sk-abc123 sk-ant-... sk-ant-xxxxx ghp_... xoxb-your-bot-token
    AKIAIOSFODNN7EXAMPLE AIzaSy... glpat-xxxxxxxxxxxx hf_xxx EAAxxxx
    123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11 password123 P@ssw0rd123 s3cr3t
    00000000-0000-0000-0000-000000000000 xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx a1b2c3d4e5f6
    ${{secrets.API_KEY}} %API_KEY% @API_KEY@ __API_KEY__ $env:TOKEN vault:secret/data/x#key keychain://x
    1password://x ~/.secrets/token n/a [REDACTED] super-secret-key job-run-token-123 oauth-token
    generate-with-openssl your-32-char-key client_secret_here
"""
PLACEHOLDERS = tuple(PLACEHOLDER_LINES.split())
"""What people write in the world's documentation, in many languages and with many providers' prefixes."""


def opaque(rng):
    """A value as services hand them out: hexadecimal, base62 or base64url, 20 to 48 characters."""
    alphabet = rng.choice(
        (HEX, LETTERS + DIGITS, LETTERS + DIGITS, string.ascii_lowercase + DIGITS, LETTERS + DIGITS + "-_")
    )
    size = rng.choice((32, 40, 64) if alphabet is HEX else (20, 24, 32, 36, 40, 48))
    value = "".join(rng.choice(alphabet) for _ in range(size))
    return value if any(map(str.isdigit, value)) and value[0] not in "-_" and value[-1] not in "-_" else opaque(rng)


def planted(rng):
    """A server with one credential, and the credential."""
    value = opaque(rng)
    kind = rng.randrange(9)
    server = {"command": "npx", "args": ["-y", f"@vendor/mcp-{rng.randrange(99)}"]}
    if kind <= 2:
        server["env"] = {"LOG_LEVEL": "info", rng.choice(NAMES): value}
    elif kind == 3:
        server = {"url": "https://mcp.acme.io/mcp", "headers": {rng.choice(HEADERS): value}}
    elif kind == 4:
        server = {"url": "https://mcp.acme.io/mcp", "headers": {"Authorization": f"Bearer {value}"}}
    elif kind == 5:
        server["args"] += [rng.choice(OPTIONS), value]
    elif kind == 6:
        server["args"].append(f"{rng.choice(OPTIONS)}={value}")
    elif kind == 7:
        server["args"] = ["run", "-i", "--rm", "-e", f"{rng.choice(NAMES)}={value}", "vendor/mcp"]
        server["command"] = "docker"
    else:
        server = rng.choice(
            (
                {"url": f"https://mcp.acme.io/mcp?{rng.choice(QUERIES)}={value}"},
                {
                    "command": "npx",
                    "args": ["mcp-remote", "https://mcp.acme.io/sse", "--header", f"Authorization: Bearer {value}"],
                },
                {"command": "uvx", "args": ["mcp-pg", f"postgresql://app:{value}@db.acme.io:5432/app"]},
            )
        )
    return server, value


def placeholder(rng):
    """What stands where a secret will: the shapes that people write."""
    name = rng.choice(NAMES)
    word = rng.choice(("key", "token", "secret", "password", "api-key"))
    return rng.choice(
        (
            f"your-{word}",
            f"YOUR_{name}",
            f"<your-{word}>",
            f"<{name}>",
            f"${{{name}}}",
            f"${name}",
            f"${{input:{word}}}",
            f"${{env:{name}}}",
            f"{{{{{name}}}}}",
            "...",
            "xxxxxxxxxxxxxxxxxxxx",
            f"sk-{'x' * 24}",
            "sk-your-key-here",
            "ghp_xxxxxxxxxxxxxxxxxxxx",
            "ghp_your_token_here",
            f"my-secret-{word}",
            "REPLACE_ME",
            "changeme",
            "INSERT_TOKEN_HERE",
            "abc123xyz456",
            "VOTRE_CLE_ICI",
            "tu-clave-aqui",
            "PLACEHOLDER",
            "dummy",
            "test-token",
            "sk-1234567890abcdef",
            "user:pass",
            "",
            "true",
            f"op://vault/{word}/field",
            f"/run/secrets/{word}",
            "FAKE-server-key-abc123def456",
            "**********",
            "[your key]",
            "example-token-12345",
            *PLACEHOLDERS,
        )
    )


def harmless(rng):
    value = placeholder(rng)
    return rng.choice(
        (
            {"command": "npx", "args": ["-y", "x"], "env": {rng.choice(NAMES): value, "PORT": "8080"}},
            {"url": "https://mcp.acme.io/mcp", "headers": {rng.choice(HEADERS): value}},
            {"url": "https://mcp.acme.io/mcp", "headers": {"Authorization": f"Bearer {value}"}},
            {"command": "npx", "args": ["-y", "x", rng.choice(OPTIONS), value]},
            {"command": "npx", "args": ["-y", "x", f"{rng.choice(OPTIONS)}={value}"]},
            {"command": "docker", "args": ["run", "-e", f"{rng.choice(NAMES)}={value}", "vendor/mcp"]},
            {"command": "uvx", "args": ["mcp-pg", "postgresql://user:password@localhost:5432/db"]},
            {"command": "uvx", "args": ["mcp-pg", f"postgresql://app:{quote(value, safe='')}@db.acme.io:5432/app"]},
            {
                "command": "npx",
                "args": ["mcp-remote", "https://x.acme.io", "--header", f"Authorization: Bearer {value}"],
            },
        )
    )


def written(rng, server):
    """The server in the file of one of the clients, with the file's name."""
    client = rng.randrange(8)
    if client == 7 and "command" in server:  # the whole command in one list
        whole = {**server, "type": "local", "command": [server["command"], *server["args"]]}
        return "opencode.json", dumps(
            {"mcp": {"a": {k: v for k, v in whole.items() if k != "args"}}, "env": {}}, indent=2
        )
    if client == 0:
        return ".vscode/mcp.json", dumps({"servers": {"a": server}, "inputs": []}, indent=2)
    if client == 1:
        return "zed/settings.json", dumps({"theme": "dark", "context_servers": {"a": server}}, indent=2)
    if client == 2:
        return "config.toml", toml(server)
    if client == 3:
        return "config.yaml", yaml(server)
    if client == 4:
        return "README.md", "Put this there:\n\n```json\n" + dumps({"mcpServers": {"a": server}}, indent=2) + "\n```\n"
    if client == 5:
        text = dumps({"mcpServers": {"a": server}}, indent=2)
        return "mcp.jsonc", text.replace("{\n", "{ // mine\n", 1)
    return "claude_desktop_config.json", dumps({"mcpServers": {"a": server}}, indent=rng.choice((None, 2, 4)))


def toml(server):
    lines = ["[mcp_servers.a]"]
    tables = []
    for key, value in server.items():
        if isinstance(value, dict):
            name = "http_headers" if key == "headers" else key
            tables += [f"[mcp_servers.a.{name}]", *(f"{dumps(k)} = {dumps(v)}" for k, v in value.items())]
        else:
            lines.append(f"{key} = {dumps(value)}")
    return "\n".join((*lines, *tables, ""))


def yaml(server):
    lines = ["mcpServers:", "  - name: a"]
    for key, value in server.items():
        if isinstance(value, dict):
            lines += [f"    {key}:", *(f"      {k}: {dumps(v)}" for k, v in value.items())]
        elif isinstance(value, list):
            lines += [f"    {key}:", *(f"      - {dumps(v)}" for v in value)]
        else:
            lines.append(f"    {key}: {value}")
    return "\n".join((*lines, ""))


def test_planted_credentials_are_found():
    rng, missed = random.Random("planted"), []
    for _ in range(400):
        server, value = planted(rng)
        name, text = written(rng, server)
        found = scan_bytes(text.encode(), path=name)
        if not any(value in text.encode()[f.start : f.end].decode() for f in found):
            missed.append((name, server))
    assert len(missed) <= 400 * 3 // 100, missed


def test_placeholders_are_left_alone():
    rng, alarms = random.Random("placeholders"), []
    for _ in range(900):
        name, text = written(rng, harmless(rng))
        if scan_bytes(text.encode(), path=name):
            alarms.append((name, text))
    assert len(alarms) <= 1, alarms
