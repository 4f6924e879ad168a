"""PRM008: upstream accounts that are administrators, and keys that are good for everything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from mcpsec.audit.model import Finding
from mcpsec.audit.readers.clients import Server
from mcpsec.audit.readers.compose import Compose
from mcpsec.audit.readers.deployment import DeploymentFile
from mcpsec.audit.readers.kubernetes import Object
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.toml import KeyPath

__all__ = ["administrator", "unscoped"]

_ADMINISTRATORS = {
    "postgres", "root", "admin", "administrator", "sa", "sys", "system", "superuser", "dba", "sysdba", "supabase_admin",
    "rdsadmin", "masteruser", "dbadmin", "neo4j", "elastic", "cluster_admin", "clusteradmin",
}  # fmt: skip
_DATABASES = re.compile(
    r"(?i)(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|mssql|sqlserver|redis|rediss|oracle|clickhouse|neo4j|bolt|"
    r"cockroachdb|amqps?|snowflake|redshift)(?:\+\w+)?://"
)
_USER = re.compile(
    r"(?i)(?:^|_)(?:PG|DB|DATABASE|POSTGRES|POSTGRESQL|MYSQL|MARIADB|MONGO|MONGODB|MSSQL|SQL|ORACLE|CLICKHOUSE|NEO4J|REDSHIFT|SNOWFLAKE)_?(?:USER|USERNAME|ROLE)$"
)
_UNSCOPED = re.compile(
    r"(?i)(?:SERVICE_ROLE_(?:KEY|TOKEN)|(?:^|_)(?:ADMIN|ROOT|MASTER|SUPERUSER)_(?:API_)?(?:KEY|TOKEN|SECRET|ACCESS_KEY)|ROOT_TOKEN_ID)$"
)
_DATABASE_IMAGE = re.compile(
    r"(?i)(?:^|/)(?:postgres|postgis|mysql|mariadb|mongo|redis|valkey|neo4j|clickhouse|timescaledb|pgvector|cockroach|mssql|elasticsearch|keycloak|minio)(?:[-_/:@]|$)"
)


def administrator(name: str, value: str) -> str:
    """The administrator's account that a setting names; empty when it names none."""
    match = _DATABASES.search(value)
    if match:
        try:
            user = urlsplit(value[match.start() :]).username or ""
        except ValueError:
            user = ""
        if user.lower() in _ADMINISTRATORS:
            return user
    found = re.search(r"(?i)(?:^|[;\s])(?:user(?: id|name)?|uid)\s*=\s*([\w-]+)", value)
    if found and re.search(r"(?i)(?:server|host|data source|dbname|database)\s*=", value):
        return found[1] if found[1].lower() in _ADMINISTRATORS else ""
    return value if _USER.search(name) and value.strip().lower() in _ADMINISTRATORS else ""


def unscoped(name: str, value: str) -> bool:
    """True for a setting whose name says that the key in it may do everything."""
    return bool(value) and bool(_UNSCOPED.search(name))


def _judge(subject: Subject, pairs: list[tuple[str, str, KeyPath]], name: str, **more: object) -> Iterator[Finding]:
    wrong = False
    for key, value, path in pairs:
        account = administrator(key, value)
        if account:
            wrong = True
            text = f"{key or 'argument'} uses the administrator's account {account}"
            yield subject.fail("PRM008", path, text, name=name, key=f"account {key}", **more)
        elif unscoped(key, value):
            wrong = True
            text = f"{key} is a key for everything"
            yield subject.fail(
                "PRM008", path, text, name=name, key=f"key {key}", severity="medium", confidence="medium", **more
            )
    if pairs and not wrong and any(_DATABASES.search(value) or _USER.search(key) for key, value, _ in pairs):
        yield subject.ok("PRM008", pairs[0][2], "no administrator's account", name=name, **more)


@examines("client")
def client(subject: Subject, context: Context) -> Iterator[Finding]:
    """Environment and arguments of a client's servers."""
    servers: list[Server] = subject.model
    for server in servers:
        pairs = [(key, value, path) for key, (value, path) in server.environment.items()]
        for index, word in enumerate(server.command):
            flag = server.command[index - 1].lstrip("-").replace("-", "_") if index else ""
            pairs.append((flag if flag != word else "", word, server.places[index]))
        yield from _judge(subject, pairs, server.name, document=server.document)


@examines("deployment")
def deployment(subject: Subject, context: Context) -> Iterator[Finding]:
    """Environment and commands of upstreams."""
    model: DeploymentFile = subject.model
    for name, table in model.table("upstreams").items():
        if not isinstance(table, dict):
            continue
        base: KeyPath = ("upstreams", name)
        environment = table.get("environment")
        pairs: list[tuple[str, str, KeyPath]] = []
        for key, value in environment.items() if isinstance(environment, dict) else ():
            text = value if isinstance(value, str) else "reference"
            pairs.append((str(key), text, (*base, "environment", key)))
        command = table.get("command")
        for index, word in enumerate(command if isinstance(command, list) else ()):
            pairs.append(("", str(word), (*base, "command", index)))
        yield from _judge(subject, pairs, f"upstream {name}")


@examines("compose")
def compose(subject: Subject, context: Context) -> Iterator[Finding]:
    """Environment of services, other than the databases themselves."""
    model: Compose = subject.model
    for service in model.services:
        if not _DATABASE_IMAGE.search(service.image):
            pairs = [(key, value, path) for key, (value, path) in service.environment.items()]
            yield from _judge(subject, pairs, service.name)


@examines("kubernetes")
def kubernetes(subject: Subject, context: Context) -> Iterator[Finding]:
    """Environment of containers, other than the databases themselves."""
    objects: list[Object] = subject.model
    for each in objects:
        for container in each.pod.containers if each.pod else ():
            if _DATABASE_IMAGE.search(str(container.table.get("image", ""))):
                continue
            rows = container.table.get("env")
            pairs: list[tuple[str, str, KeyPath]] = []
            for index, row in enumerate(rows if isinstance(rows, list) else ()):
                if isinstance(row, dict):
                    value = row.get("value")
                    text = value if isinstance(value, str) else "reference" if row.get("valueFrom") else ""
                    pairs.append((str(row.get("name", "")), text, (*container.path, "env", index)))
            yield from _judge(subject, pairs, each.label, document=each.document)
