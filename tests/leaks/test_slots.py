import json
import random

import pytest

from mcpsec.leaks import scan_bytes, slots

from .samples import HEX, OPAQUE, PASSWORD


def values(server, name="mcp.json"):
    text = json.dumps({"mcpServers": {"a": {"command": "npx", **server}}}, indent=1)
    return [text.encode()[f.start : f.end].decode() for f in scan_bytes(text.encode(), path=name)]


@pytest.mark.parametrize(
    ("server", "value"),
    [
        ({"env": {"VENDOR_API_KEY": HEX}}, HEX),
        ({"args": ["-y", "x", "--access-token", OPAQUE]}, OPAQUE),
        ({"args": [f"--api-key={HEX}"]}, HEX),
        ({"args": ["run", "-e", f"DB_PASSWORD={PASSWORD}", "image"]}, PASSWORD),
        ({"args": ["mcp-remote", "https://acme.io", "--header", f"Authorization: Bearer {OPAQUE}"]}, OPAQUE),
        ({"headers": {"Authorization": f"Bearer {OPAQUE}"}}, OPAQUE),
        ({"headers": {"X-Vendor-Key": OPAQUE}}, OPAQUE),
        ({"url": f"https://mcp.acme.io/mcp?api_key={OPAQUE}"}, OPAQUE),
        ({"args": [f"postgresql://app:{PASSWORD}@db.acme.io/x"]}, PASSWORD),
        ({"url": f"http://localhost:9000/mcp?token={HEX}"}, HEX),
        ({"url": f"https://mcp.example.com/mcp?api_key={OPAQUE}"}, OPAQUE),
        (
            {"env": {"REDIS_URL": "redis://default:" + "kR7xT2mQ" + "9vLpZ4cw@localhost:6379/0"}},
            "kR7xT2mQ" + "9vLpZ4cw",
        ),
        ({"env": {"VENDOR_NLA": "Jk1FkTytV3OB0gNW" + "S7b_ij6MF9pxu43Jz"}}, "Jk1FkTytV3OB0gNW" + "S7b_ij6MF9pxu43Jz"),
    ],
)
def test_each_slot(server, value):
    assert value in values(server)


@pytest.mark.parametrize(
    "server",
    [
        {"env": {"API_KEY": "${API_KEY}", "TOKEN": "$TOKEN", "SECRET": "${input:secret}", "KEY": "${env:KEY}"}},
        {"env": {"API_KEY": "your-api-key", "GITHUB_TOKEN": "<token>", "X_TOKEN": "abc123xyz456", "A_KEY": "..."}},
        {"env": {"OPENAI_API_KEY": "sk-" + "proj1234567890abcdefghijklmnopqrstuvwxyz"}},
        {"env": {"API_KEY": "FAKE-db-server-key-abc123def456", "STRIPE_KEY": "VOTRE_CLE_STRIPE_ICI"}},
        {"env": {"KEY_FILE": "/home/me/key.json", "SECRET_NAME": "prod/db/9f8e7d6c5b4a"}},
        {"headers": {"X-Odoo-Password": "secret", "Authorization": "Bearer YOUR_TOKEN"}},
        {"url": "https://mcp.example.com/api?token=abc123secret&api_key=sk-1234567890"},
        {"url": "http://localhost:8000/sse?token=my-secret-token-1&apiKey=abcdef123456"},
        {"env": {"DATABASE_URL": "postgresql://postgres:Summer1992!@localhost:5432/app"}},
        {"env": {"VENDOR_MODE": "Read_Only_Without_Tool_Calls_2024"}},
        {"args": ["-e", "TAG_KEY=optional-tag-key-to-filter-kbs", "postgresql://user:pass@host/db"]},
    ],
)
def test_references_and_placeholders_are_quiet(server):
    assert values(server) == []


def test_what_somebody_chose_for_a_slot_is_found():
    assert values({"env": {"VAULT_API_KEY": "PurpleSwain" + "57"}}) == ["PurpleSwain" + "57"]
    assert values({"env": {"DB_PASSWORD": "lantern" + "willow"}}) == ["lantern" + "willow"]
    assert values({"headers": {"X-Api-Key": "Lantern#" + "2031"}}) == ["Lantern#" + "2031"]


@pytest.mark.parametrize(
    "env",
    [
        {"NOTION_API_KEY": "notion20245"},
        {"NOTION_TOKEN": "staging2024"},
        {"API_KEY": "workspace999"},
        {"DB_PASSWORD": "mydatabase"},
        {"DB_PASSWORD": "clickhouse"},
        {"DB_PASSWORD": "sifreniz"},
    ],
)
def test_what_documentation_chooses_for_a_slot_is_not(env):
    assert values({"env": env}) == []


def of_input(**members):
    text = json.dumps({"mcpServers": {"a": {"command": "npx", "env": {"A": "b"}}}, "inputs": [members]})
    return [text.encode()[f.start : f.end].decode() for f in scan_bytes(text.encode(), path="mcp.json")]


LETTERS = "ZY6G3g6znqNrknCgCyhbETAAK1u3aqGM"


@pytest.mark.parametrize("name", ["ops", "api_key", "workspaceId", "sheet", "google_sheet_id"])
def test_the_default_of_an_input_is_judged_by_its_id(name):
    assert bool(of_input(id=name, type="promptString", default=LETTERS)) == (name in ("ops", "api_key"))


def test_what_an_input_hides_is_a_password():
    assert of_input(default="Zk7!vmq12wPx", id="pin1", password=True) == ["Zk7!vmq12wPx"]
    assert of_input(default="Zk7!vmq12wPx", id="pin1", password=False) == []


@pytest.mark.parametrize(
    ("server", "value"),
    [
        ({"args": ["--user=1000830001:1000840000"]}, ""),
        ({"args": ["--user=ops:q7wz3kdb9x"]}, "q7wz3kdb9x"),
        ({"args": ["--auth", "oauth:google2"]}, ""),
        ({"args": ["--auth", "ops:q7wz3kdb9x"]}, "q7wz3kdb9x"),
        ({"env": {"USER": "acme:mira_k2"}}, ""),
        ({"env": {"CREDENTIALS": "acme:mira_k2"}}, "mira_k2"),
    ],
)
def test_what_a_user_is_beside_a_colon(server, value):
    assert values(server) == ([value] if value else [])


def test_jsonc_fragment_toml_yaml_and_readme():
    texts = {
        "settings.jsonc": f'// mine\n"mcpServers": {{ "a": {{ /* x */ "args": ["--token", "{OPAQUE}",], }}, }}',
        "config.toml": f'[mcp_servers.a]\nargs = [\n  "--token",\n  "{OPAQUE}",\n]\n',
        "config.yaml": f"mcpServers:\n  - name: a\n    args:\n      - --token\n      - {OPAQUE}\n",
        "README.md": f'Put this there:\n\n```json\n{{"mcpServers": {{"a": {{"args": ["--token", "{OPAQUE}"]}}}}}}\n```\n',
    }
    for name, text in texts.items():
        found = scan_bytes(text.encode(), path=name)
        assert [text.encode()[f.start : f.end].decode() for f in found] == [OPAQUE], name


def test_the_name_of_a_key_counts_with_its_secret():
    """A Twilio key's SID opens nothing while its secret is kept elsewhere."""
    sid, secret = "SK" + "c59c69b6e8c9dab7" + "23423c7b1a4eafd5", "q7Vb2kXw9TnR4mZc" + "L8sDfJ3hPyG6aUeQ"
    text = '{"mcpServers": {"sms": {"command": "npx", "env": {"TWILIO_API_KEY": "%s", "TWILIO_API_SECRET": "%s"}}}}'
    for kept in ("${TWILIO_API_SECRET}", "<your-api-secret>"):
        assert scan_bytes((text % (sid, kept)).encode(), path="mcp.json") == []
    assert len(scan_bytes((text % (sid, secret)).encode(), path="mcp.json")) == 2


class Counted:
    """A match that counts how often it is looked at."""

    def __init__(self, start: int, end: int, note: str) -> None:
        self._at, self.note, self.looks = (start, end), note, 0

    @property
    def start(self) -> int:
        self.looks += 1
        return self._at[0]

    @property
    def end(self) -> int:
        self.looks += 1
        return self._at[1]


def concerned(match: Counted, stretches: list[tuple[int, int]]) -> bool:
    """As it is meant, one by one."""
    start, end = match._at
    inside = any(begin <= start and end <= stop for begin, stop in stretches)
    return inside or (bool(match.note) and any(start <= begin and stop <= end for begin, stop in stretches))


def test_which_matches_lie_in_stretches_that_hold_no_secret():
    chance = random.Random(11)
    for _ in range(2000):
        stretches = [tuple(sorted(chance.choices(range(20), k=2))) for _ in range(chance.randint(1, 6))]
        match = Counted(*sorted(chance.choices(range(20), k=2)), chance.choice(["", "decoded from base64"]))
        assert slots._Stretches(stretches).concern(match) == concerned(match, stretches), (match._at, stretches)


def test_many_slots_and_many_matches_are_not_compared_each_with_each():
    """A configuration of 880 kB, eleven thousand references and as many tokens, took 25 seconds."""
    stretches = slots._Stretches([(at, at + 5) for at in range(0, 100_000, 10)])
    matches = [Counted(at + 6, at + 9, "decoded") for at in range(0, 100_000, 10)]
    assert not any(stretches.concern(match) for match in matches)
    assert max(match.looks for match in matches) < 10
