"""One table: the model, the schema, the documents and the page must all say the same."""

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.deployment.keys import DEPLOYMENT, json_schema
from mcpsec.deployment.loading import read
from mcpsec.deployment.reference import reference_page
from mcpsec.deployment.scaffold import template
from mcpsec.deployment.shapes import Kind, ListOf, MapOf, Table
from tests.deployment.documents import FULL, MINIMAL

ROOT = Path(__file__).parents[2]
HERE = Path("/base/mcpsec.toml")


VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def valid(document: dict[str, Any]) -> bool:
    return VALIDATOR.is_valid(document)


def tables(kind: Kind) -> Iterator[Table]:
    if isinstance(kind, Table):
        yield kind
        for key in kind.keys:
            yield from tables(key.kind)
    elif isinstance(kind, ListOf):
        yield from tables(kind.item)
    elif isinstance(kind, MapOf):
        yield from tables(kind.value)


@pytest.mark.parametrize("table", list(tables(DEPLOYMENT)), ids=lambda table: table.model.__name__)
def test_the_table_has_the_fields_of_the_model(table: Table) -> None:
    fields = {entry.name for entry in dataclasses.fields(table.model)} - {table.named, "path"}
    assert {key.name for key in table.keys} == fields
    assert all(key.doc.endswith(".") for key in table.keys)


# ---- the schema


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    json.dumps(json_schema())


def documented(schema: dict[str, Any], path: str = "") -> set[str]:
    """Every key that the schema knows; ``*`` for names that the user chooses."""
    if "$ref" in schema:
        return documented(json_schema()["$defs"]["secret"], path)
    found = set()
    for name, inner in schema.get("properties", {}).items():
        found |= {f"{path}.{name}", *documented(inner, f"{path}.{name}")}
    if isinstance(schema.get("additionalProperties"), dict):
        found |= documented(schema["additionalProperties"], f"{path}.*")
    if isinstance(schema.get("items"), dict):
        found |= documented(schema["items"], path)
    for inner in schema.get("oneOf", []):
        found |= documented(inner, path)
    return found


FREE = re.compile(
    r"^\.(upstreams|roles)$|\.(environment|headers|access|arguments|method_scopes|resource_filters(\.\*)?"
    r"|upstream_(headers|environment)(\.\*)?)$"
)


def written(value: Any, path: str = "") -> set[str]:
    """Every key that a document has, in the same form."""
    if isinstance(value, list):
        return {key for item in value for key in written(item, path)}
    if not isinstance(value, dict):
        return set()
    found = set()
    for name, inner in value.items():
        key = f"{path}.*" if FREE.search(path) else f"{path}.{name}"
        found |= ({key} if not key.endswith("*") else set()) | written(inner, key)
    return found


def test_the_schema_has_exactly_the_keys_that_are_read() -> None:
    deployment, problems = read(FULL, HERE)
    assert problems == []
    assert deployment is not None
    # What only a secret or a filter can have may stand in several places, and FULL shows each form once.
    forms = re.compile(r"\.(env|file|command|vault|aws|keyring|sops|prefix|encoding|min|max|regex|rate|burst)$")
    shown = {key for key in written(tomllib.loads(FULL)) if not forms.search(key)}
    known = {key for key in documented(json_schema()) if not forms.search(key)}
    assert {key for key in known if key.count(".") and not forms.search(key)} == shown
    assert shown >= {".upstreams.*.builtin", ".clients.signing_keys.public_key", ".rules.require.window"}


@pytest.mark.parametrize("key", sorted(written(tomllib.loads(FULL))))
def test_a_misspelt_key_is_refused_by_both(key: str) -> None:
    document = tomllib.loads(FULL)
    assert misspell(document, key.split(".")[1:])
    assert not valid(document)
    assert read(tomli_w.dumps(document), HERE)[1]


def misspell(value: Any, parts: list[str]) -> bool:
    """Rename the first key of this path in a document; False when the branch does not have it."""
    if isinstance(value, list):
        return any(misspell(item, parts) for item in value)
    if not isinstance(value, dict):
        return False
    name, *rest = parts
    if not rest and name in value:
        value[f"{name}x"] = value.pop(name)
        return True
    inner = list(value.values()) if name == "*" else [value[name]] if name in value else []
    return bool(rest) and any(misspell(item, rest) for item in inner)


_ODD = st.sampled_from(
    [
        "",
        "x",
        "a b",
        0,
        -1,
        7,
        1.5,
        True,
        [],
        ["x"],
        [1],
        {},
        {"x": 1},
        {"env": "A"},
        "5m",
        "4MiB",
        "1/day",
        "off",
        "::",
    ]
)


@settings(max_examples=200, deadline=None, database=None)
@given(st.data())
def test_what_is_read_is_valid_by_the_schema(data: st.DataObject) -> None:
    document = tomllib.loads(FULL)
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place))) if isinstance(place, dict) else len(place) - 1
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.integers(0, 3)) == 0:
            break
        place = place[key]
    place[key] = data.draw(_ODD)
    if not read(tomli_w.dumps(document), HERE)[1]:
        assert valid(document)


# ---- documents


@pytest.mark.parametrize("document", [MINIMAL, FULL, template(["agent"]), template(["a", "b.c"])])
def test_documents_that_are_right(document: str) -> None:
    assert read(document, HERE)[1] == []
    assert valid(tomllib.loads(document))


def test_the_commented_settings_of_the_template_are_right() -> None:
    text = re.sub(r"(?m)^#(?=\S)", "", template(["agent"]))
    assert "[upstreams.tickets]" in text
    assert read(text, HERE)[1] == []
    assert valid(tomllib.loads(text))


def test_the_template_grants_the_built_in_tools_only() -> None:
    deployment, _ = read(template(["one", "two"]), HERE)
    assert deployment is not None
    assert deployment.auth.require == ("mtls", "signature")
    assert [upstream.builtin for upstream in deployment.upstreams.values()] == ["demo"]
    for holder in (*deployment.roles.values(), *deployment.clients):
        assert set(holder.allow_resources) <= {"demo/*"}
        assert set(holder.allow_methods) <= {"read"}
        assert not holder.allow_server_requests


def test_every_example_of_the_page_is_right() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", reference_page(), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        text = block if "version = 1" in block else MINIMAL + block
        assert read(text, HERE)[1] == []
        assert valid(tomllib.loads(text))


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "deployment-file.md").read_text(encoding="utf-8")
    assert page == reference_page(), "stale: mcpsec config reference > docs/deployment-file.md"


# ---- what `config show` says


@pytest.mark.parametrize("document", [MINIMAL, FULL])
def test_what_is_shown_means_the_same(document: str) -> None:
    deployment, _ = read(document, HERE)
    assert deployment is not None
    shown = DEPLOYMENT.show(deployment)
    assert valid(shown)
    again, problems = read(tomli_w.dumps(shown), HERE)
    assert problems == []
    assert again is not None
    # Arguments of a command that fetches a secret are left out; all the rest comes back.
    assert dataclasses.replace(again, clients=()) == dataclasses.replace(deployment, clients=())
    assert [client.id for client in again.clients] == [client.id for client in deployment.clients]


def test_paths_are_shown_absolute_and_secrets_as_references() -> None:
    deployment, _ = read(FULL, HERE)
    shown = DEPLOYMENT.show(deployment)
    assert shown["server"]["tls"]["key"] == "/base/pki/server/key.pem"
    assert shown["upstreams"]["files"]["sandbox"]["read"] == ["/data", "/base/shared"]
    assert shown["upstreams"]["files"]["environment"]["API_TOKEN"] == {"file": "/base/secrets/api"}
    assert shown["clients"][0]["signing_keys"][0]["secret"] == {"command": ["op", "…"], "encoding": "hex"}
    assert "op://" not in json.dumps(shown)
