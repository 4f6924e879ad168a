import json
from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose
from mcpsec.certs.batch import count_requests, read_requests
from mcpsec.errors import ConfigurationError


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "list"
    path.write_text(text, encoding="utf-8")
    return path


_CSV = """\
name,purpose,sans,days,key
a,client,spiffe://example.com/a a.example.com,30,ed25519
b,server,b.example.com;192.0.2.1,,
"""
_ROWS = [
    {
        "name": "a",
        "purpose": "client",
        "sans": ["spiffe://example.com/a", "a.example.com"],
        "days": 30,
        "key": "ed25519",
    },
    {"name": "b", "purpose": "server", "sans": ["b.example.com", "192.0.2.1"]},
]


@pytest.mark.parametrize(
    "text",
    [_CSV, "\ufeff" + _CSV, json.dumps(_ROWS), "\n".join(json.dumps(row) for row in _ROWS)],
    ids=["csv", "bom", "json", "jsonl"],
)
def test_every_format_says_the_same(text: str, pki: Pki, tmp_path: Path) -> None:
    path = _write(tmp_path, text)
    assert count_requests(path, pki, None) == 2
    a, b = pki.issue_many(read_requests(path, pki, None))
    assert (a.name, a.purpose, a.sans) == ("a", Purpose.CLIENT, ("spiffe://example.com/a", "a.example.com"))
    assert (b.name, b.purpose, b.sans) == ("b", Purpose.SERVER, ("b.example.com", "192.0.2.1"))
    assert (a.not_after - a.not_before).days == 30 and (b.not_after - b.not_before).days == 90


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name,purpose\na,client\n../b,client\n", 3),
        ("name,purpose\na,client\na,client\n", 3),
        ("name,purpose\na,client\nA,client\n", 3),
        ("name,purpose\na,\n", 2),
        ("name,purpose,colour\na,client,red\n", 2),
        ("name,purpose\na,client,too,many\n", 2),
        ("name,purpose,sans\na,client,spiffe://x/../y\n", 2),
        ("name,purpose,days\na,client,soon\n", 2),
        ("name,purpose,days\na,client,nan\n", 2),
        ("name,purpose,key\na,client,dsa\n", 2),
        ("name,purpose,profile\na,client,nothing\n", 2),
        ("name,purpose,profile\na,server,client\n", 2),
        ("name,purpose\na,peer\n", 2),
        ('{"name": "a", "purpose": "client"}\n{"name": "b", "profile": ["client"]}\n', 2),
        ('{"name": "a", "purpose": "client"}\n\n{"name" 5}\n', 3),
        ("purpose\nclient\n", 2),
        ('{"name": "a", "purpose": "client"}\n[]\n', 2),
        ('{"name": 5, "purpose": "client"}\n', 1),
        ('[{"name": "a", "purpose": "client", "sans": [5]}]', 1),
        ("[1]", 1),
        ("[{]", 1),
        ("", None),
        ("name,purpose\n", None),
        ('name,purpose\n"a,client\n', None),
    ],
)
def test_a_wrong_list_names_its_line_and_issues_nothing(text: str, line: int | None, pki: Pki, tmp_path: Path) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        count_requests(path, pki, None)
    assert caught.value.path == str(path) and (line is None or caught.value.line == line)


def test_long_lists_are_checked_in_groups_and_the_wrong_row_is_named(pki: Pki, tmp_path: Path) -> None:
    names = [f"agent-{number}" for number in range(512)]
    path = _write(tmp_path, "\n".join(["name", *names]) + "\n")
    assert count_requests(path, pki, Purpose.CLIENT) == 512
    pki.issue("agent-300", Purpose.CLIENT)
    with pytest.raises(ConfigurationError, match="already bears") as caught:
        count_requests(path, pki, Purpose.CLIENT)
    assert caught.value.line == 302  # the header is line 1


def test_progress_hears_how_many_are_done(pki: Pki) -> None:
    requests = [pki.request(name, Purpose.CLIENT) for name in ("a", "b")]
    requests.append(pki.request("c", Purpose.SERVER, ["c.example.com"]))
    heard: list[int] = []
    assert len(list(pki.issue_many(requests, heard.append))) == sum(heard) == 3


def test_what_is_no_text_and_what_is_missing(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"name\n\xff\xfe\n")
    for wrong in (path, tmp_path / "none"):
        with pytest.raises(ConfigurationError):
            count_requests(wrong, pki, Purpose.CLIENT)


def test_a_chunk_with_a_taken_name_is_issued_not_at_all(pki: Pki) -> None:
    pki.issue("b", Purpose.CLIENT)
    with pytest.raises(Exception, match="already bears"):
        list(pki.issue_many(pki.request(name, Purpose.CLIENT) for name in ("a", "b", "c")))
    assert [entry.name for entry in pki.entries(everything=True)] == ["b"]
