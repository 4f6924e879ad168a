"""Secrets written out: by the engine of ``scan-secrets``, and by what the name of a setting says of its value."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.audit.commands import container_of
from mcpsec.audit.literals import is_literal_secret, query_secret, refers, secret_name, url_password
from mcpsec.audit.model import Finding
from mcpsec.audit.readers.clients import Server
from mcpsec.audit.readers.compose import Compose
from mcpsec.audit.readers.deployment import DeploymentFile
from mcpsec.audit.readers.dockerfile import Stage
from mcpsec.audit.readers.kubernetes import Object, at
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import At, Context, Subject
from mcpsec.clientfiles.positions import Document
from mcpsec.leaks.detection import find
from mcpsec.reading import is_file

if TYPE_CHECKING:
    from mcpsec.clientfiles.toml import KeyPath

__all__ = ["Secrets", "scan_text"]

_EXAMPLE = re.compile(r"(?i)(?:^|[._-])(?:example|sample|template|dist|tpl|default)s?(?:[._-]|$)")
_TEXT_KINDS = ("nginx", "caddy", "haproxy", "traefik", "envoy", "systemd")
MANAGERS = {"vault", "aws", "keyring", "sops", "command", "openbao", "azure", "gcp", "op"}
"""Kinds of references that lead to a secrets manager."""


_CHECKSUM = re.compile(r"(?i)checksum/|.*[-_.]?(?:sha256|checksum|digest)$")
"""Keys whose values are fingerprints of something."""
_PUBLIC_NAME = re.compile(
    r"(?i)(?:.*[._-])?(?:user(?:name)?(?:_in)?|login|email|hostname|host|port|database|db_?name|region|endpoint|bucket)$"
    r"|.*account_?name$"
)


def _value_at(data: Any, path: KeyPath) -> Any:
    """What a key path leads to; a comment between two entries leads to the collection that holds them."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


class Secrets:
    """Collects the literal secrets of one file, each place once."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.places: set[tuple[int | None, int | None]] = set()
        self.findings: list[Finding] = []
        self.names: set[str] = set()

    def add(self, at: KeyPath | At | int | None, what: str, **more: Any) -> None:
        """Note one literal secret, unless the place has one."""
        finding = self.subject.fail("SEC001", at, what, **more)
        place = (finding.location.line, finding.location.column) if finding.location else (None, None)
        if place not in self.places:
            self.places.add(place)
            self.findings.append(finding)

    def value(self, setting: str, value: str, path: KeyPath, *, weak: bool = False, **more: Any) -> None:
        """Judge the value of a setting."""
        if is_literal_secret(setting, value, weak=weak):
            self.add(path, f"{setting} is written out", key=f"secret {setting}", **more)
        elif url_password(value):
            self.add(path, f"{setting} holds a URL with a password", key=f"secret {setting}", **more)

    def documents(self, owners: Iterable[tuple[Document, KeyPath, str]] = ()) -> None:
        """Scan a structured file with the engine, once; ``owners`` say whose a place is (server, service, object)."""
        subject, known = self.subject, list(owners)
        raw = subject.text.encode("utf-8", "surrogatepass")
        ascii_only = len(raw) == len(subject.text)
        for match in find(raw, path=subject.path.name, floor=1):
            if refers(match.value):
                continue
            start = match.start if ascii_only else len(raw[: match.start].decode("utf-8", "replace"))
            document = next((each for each in subject.documents if each.covers(start)), subject.document)
            path = document.path_at(start)
            if any(_CHECKSUM.match(str(part)) for part in path) or "encryptedData" in path:
                continue
            own = (name for whose, prefix, name in known if whose is document and path[: len(prefix)] == prefix)
            text = f"{match.rule.title} is written out"
            where = (
                path if not isinstance(_value_at(document.data, path), (dict, list)) else At(*document.line_of(start))
            )
            self.add(where, text, name=next(own, ""), document=document, key=f"secret {match.rule.id}")

    def text(self) -> None:
        """Scan a text file with the engine."""
        for line, column, title, rule in _found(self.subject):
            self.add(At(line, column), f"{title} is written out", key=f"secret {rule}")

    def results(self, passed: str, names: Iterable[str] = ()) -> Iterator[Finding]:
        """The findings, or that there is none; for each name that has none, too."""
        yield from self.findings
        failing = {finding.subject for finding in self.findings}
        listed = list(names)
        for name in listed:
            if name not in failing:
                yield self.subject.ok("SEC001", None, passed, name=name)
        if not listed and not self.findings:
            yield self.subject.ok("SEC001", None, passed)


def _found(subject: Subject) -> Iterator[tuple[int, int, str, str]]:
    for match in find(subject.raw, path=subject.path.name, floor=1):
        if refers(match.value):
            continue
        line = subject.raw.count(b"\n", 0, match.start) + 1
        column = match.start - subject.raw.rfind(b"\n", 0, match.start)
        yield line, column, match.rule.title, match.rule.id


def scan_text(subject: Subject) -> Iterator[Finding]:
    """What the engine finds in a file that could not be parsed."""
    for line, column, title, rule in _found(subject):
        yield subject.fail("SEC001", At(line, column), f"{title} is written out", key=f"secret {rule}")


@examines("client")
def client(subject: Subject, context: Context) -> Iterator[Finding]:
    """Environment, headers, arguments and URLs of a client's servers."""
    servers: list[Server] = subject.model
    secrets = Secrets(subject)
    for server in servers:
        more: dict[str, Any] = {"name": server.name, "document": server.document}
        for name, (value, path) in (*server.environment.items(), *server.headers.items()):
            secrets.value(name, value, path, **more)
        _arguments(secrets, server, more)
        if url_password(server.url):
            secrets.add(server.url_path, "the URL holds a password", key="secret url", **more)
        for field in ("apiKey", "api_key", "token", "password", "bearer_token", "authToken", "accessToken", "secret"):
            held = server.table.get(field)
            if isinstance(held, str) and (is_literal_secret(field, held) or is_literal_secret("token", held)):
                secrets.add((*server.path, field), f"{field} is written out", key=f"secret {field}", **more)
        yield from _urls(subject, server)
    secrets.documents((server.document, server.path, server.name) for server in servers)
    yield from secrets.results("no secret is written out", [server.name for server in servers])


def _arguments(secrets: Secrets, server: Server, more: dict[str, Any]) -> None:
    words = server.command
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        name, equals, value = word.partition("=")
        if equals and is_literal_secret(name.lstrip("-"), value):
            secrets.add(server.places[index], f"{name} is written out", key=f"secret {name}", **more)
        elif before.startswith("--") and not word.startswith("-") and is_literal_secret(before.lstrip("-"), word):
            secrets.add(server.places[index], f"{before} is written out", key=f"secret {before}", **more)
        header, colon, value = word.partition(":")
        if (
            colon
            and "://" not in word
            and " " not in header.strip()
            and is_literal_secret(header.strip(), value.strip())
        ):
            secrets.add(server.places[index], f"{header} is written out", key=f"secret {header}", **more)
        elif "://" in word and url_password(word):
            secrets.add(server.places[index], "a URL with a password", key="secret url", **more)
    container = container_of(words)
    if container is not None:
        for pair, index in container.values("-e", "--env"):
            name, _, value = pair.partition("=")
            if is_literal_secret(name, value):
                secrets.add(server.places[index], f"{name} is written out", key=f"secret {name}", **more)


def _urls(subject: Subject, server: Server) -> Iterator[Finding]:
    """SEC004: credentials in queries."""
    more: dict[str, Any] = {"name": server.name, "document": server.document}
    urls = [(server.url, server.url_path)] if server.url else []
    urls += [(word, place) for word, place in zip(server.command, server.places, strict=True) if "://" in word]
    wrong = [(query_secret(url), path) for url, path in urls if query_secret(url)]
    for name, path in wrong:
        yield subject.fail("SEC004", path, f"the parameter {name} carries a credential", key=f"query {name}", **more)
    if urls and not wrong:
        yield subject.ok("SEC004", urls[0][1], "no credential in the query", **more)


@examines("compose")
def compose(subject: Subject, context: Context) -> Iterator[Finding]:
    """Environment and command of services."""
    model: Compose = subject.model
    secrets = Secrets(subject)
    for service in model.services:
        for name, (value, path) in service.environment.items():
            secrets.value(name, value, path, weak=True, name=service.name)
            if secret_name(name) and refers(value):
                yield subject.fail("SEC002", path, f"{name} comes by environment", name=service.name, key=f"env {name}")
        build = at(service.table, "build", "args")
        for name, value in build.items() if isinstance(build, dict) else ():
            if isinstance(value, str):
                secrets.value(str(name), value, (*service.path, "build", "args", name), name=service.name)
    secrets.documents((subject.document, service.path, service.name) for service in model.services)
    yield from secrets.results("no secret is written out", [service.name for service in model.services])


@examines("kubernetes")
def kubernetes(subject: Subject, context: Context) -> Iterator[Finding]:
    """Environment of containers, ConfigMaps, and Secrets that stand in the file."""
    objects: list[Object] = subject.model
    secrets = Secrets(subject)
    for each in objects:
        more: dict[str, Any] = {"name": each.label, "document": each.document}
        for container in each.pod.containers if each.pod else ():
            rows = container.table.get("env")
            for index, row in enumerate(rows if isinstance(rows, list) else ()):
                if isinstance(row, dict) and isinstance(row.get("value"), str):
                    name = str(row.get("name", ""))
                    secrets.value(name, row["value"], (*container.path, "env", index, "value"), weak=True, **more)
        if each.kind in ("Secret", "ConfigMap"):
            for field in ("data", "stringData"):
                values = each.table.get(field)
                for name, value in values.items() if isinstance(values, dict) else ():
                    path = (*each.path, field, name)
                    if each.kind == "Secret" and isinstance(value, str) and _is_kept(str(name), value, field):
                        secrets.add(path, f"{name} of a Secret is written out", key=f"secret {name}", **more)
                    elif each.kind == "ConfigMap" and isinstance(value, str):
                        secrets.value(str(name), value, path, **more)
    secrets.documents((each.document, each.path, each.label) for each in objects)
    yield from secrets.results("no secret is written out")


def _is_kept(name: str, value: str, field: str) -> bool:
    """True for a Secret's value that is one: no place for one, no user's name, no certificate without its key."""
    if field == "data":
        with contextlib.suppress(binascii.Error, ValueError):
            value = base64.b64decode(value, validate=True).decode("utf-8", "replace")
    certificate = value.lstrip().startswith("-----BEGIN CERTIFICATE") and "PRIVATE KEY" not in value
    return not (not value.strip() or certificate or _PUBLIC_NAME.fullmatch(name) or refers(value))


@examines("dockerfile")
def dockerfile(subject: Subject, context: Context) -> Iterator[Finding]:
    """ENV, ARG and COPY of an image."""
    stages: list[Stage] = subject.model
    secrets = Secrets(subject)
    copied = False
    for stage in stages:
        for each in stage.instructions:
            if each.name in ("ENV", "ARG"):
                for name, value in each.pairs:
                    if value and is_literal_secret(name, value, weak=True):
                        secrets.add(each.line, f"{name} is written out", key=f"secret {name}")
                    if secret_name(name) and (_baked(value) if each.name == "ENV" else stage is stages[-1]):
                        copied = True
                        text = f"{each.name} {name} goes into the image"
                        yield subject.fail("SEC003", each.line, text, key=f"{each.name} {name}")
            elif each.name in ("COPY", "ADD") and "from" not in each.flags:
                for word in each.words[:-1]:
                    if re.search(
                        r"(?:^|/)(?:\.env(?:\.(?!example|sample|template|dist)\w+)?|id_rsa|id_ed25519|\.npmrc|\.netrc|\.pypirc|[\w.-]*key\.pem|[\w.-]+\.key|credentials(?:\.json)?)$",
                        word,
                    ):
                        copied = True
                        yield subject.fail("SEC003", each.line, f"{word} is copied into the image", key=f"copy {word}")
    secrets.text()
    yield from secrets.results("no secret is written out")
    if not copied:
        yield subject.ok("SEC003", None, "no secret goes into the image")


def _baked(value: str) -> bool:
    """True for the value of an ENV that puts something into the image: neither nothing nor a place for it."""
    text = value.strip().strip("\"'")
    return bool(text) and (text.startswith("$") or not refers(text))


@examines(*_TEXT_KINDS)
def texts(subject: Subject, context: Context) -> Iterator[Finding]:
    """Configuration files of servers."""
    secrets = Secrets(subject)
    secrets.text()
    if subject.kind == "systemd":
        for value, line in subject.model.all("Service", "Environment"):
            for name, text in re.findall(r"[\"']?([A-Za-z_]\w*)=([^\"'\s]*)", value):
                if is_literal_secret(name, text):
                    secrets.add(line, f"{name} is written out", key=f"secret {name}")
    yield from secrets.results("no secret is written out")


@examines("environment")
def environment(subject: Subject, context: Context) -> Iterator[Finding]:
    """An environment file: a remark when it is private and git leaves it out, a leak otherwise."""
    if _EXAMPLE.search(subject.path.name):
        yield subject.skip("SEC001", "an example file")
        return
    secrets = Secrets(subject)
    for number, line in enumerate(subject.text.splitlines()[:5000], 1):
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*[\"']?(.*?)[\"']?\s*", line)
        if match and is_literal_secret(match[1], match[2], weak=True):
            secrets.add(number, f"{match[1]} is written out", key=f"secret {match[1]}")
    secrets.text()
    kept = _kept(subject.path)
    for finding in secrets.results("no secret is written out"):
        if finding.state == "fail":
            severity, words = kept
            yield Finding(
                finding.check, finding.state, f"{finding.observed} ({words})", finding.subject, finding.location,
                severity=severity, key=finding.key,
            )  # fmt: skip
        else:
            yield finding


def _kept(path: Path) -> tuple[str, str]:
    """How safely a file with a secret is kept: severity and words."""
    ignored = git_ignores(path)
    if ignored is False:
        return "critical", "in a repository that does not ignore the file"
    private = os.name == "nt" or not stat.S_IMODE(path.stat().st_mode) & 0o077
    return ("low", "private, and not in the repository") if private else ("high", "readable by other accounts")


def git_ignores(path: Path) -> bool | None:
    """Whether git leaves a file out; None when it is in no repository (or there is no git)."""
    if not any((folder / ".git").exists() for folder in path.parents):
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(path.parent), "check-ignore", "-q", "--", str(path)],
            capture_output=True, timeout=10, check=False, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return {0: True, 1: False}.get(done.returncode)


# --- mcpsec's own deployment file ---


@examines("deployment")
def deployment(subject: Subject, context: Context) -> Iterator[Finding]:
    """Literal secrets, and where the references lead."""
    model: DeploymentFile = subject.model
    secrets = Secrets(subject)
    for problem in model.problems:
        if "secret" in problem.message.lower() and problem.line and problem.key:
            place = At(problem.line, problem.column or 1)
            secrets.add(place, f"{problem.key}: {problem.message}", key=f"secret {problem.key}")
    secrets.documents()
    yield from secrets.results("every secret is a reference")
    yield from _upstream_urls(subject, model)
    references = list(_references(model.document.data, ()))
    for path, reference in references:
        yield _reference(subject, path, reference)
    if not references:
        yield subject.ok("SEC005", None, "the file needs no secret")


def _upstream_urls(subject: Subject, model: DeploymentFile) -> Iterator[Finding]:
    for name, table in model.table("upstreams").items():
        url = table.get("url") if isinstance(table, dict) else None
        if not isinstance(url, str):
            continue
        path: KeyPath = ("upstreams", name, "url")
        parameter = query_secret(url)
        if parameter or url_password(url):
            what = f"the parameter {parameter}" if parameter else "the part before the host"
            yield subject.fail("SEC004", path, f"{what} carries a credential", key="query")
        else:
            yield subject.ok("SEC004", path, "no credential in the URL")


def _references(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Secret references, wherever they stand."""
    if isinstance(value, dict):
        keys = set(value)
        if len(path) > 1 and keys & {"env", "file", *MANAGERS} and keys <= {
            "env", "file", *MANAGERS, "prefix", "encoding", "field", "key", "region", "account", "url",
        }:  # fmt: skip
            if path[-1] not in ("log", "pins", "sandbox"):
                yield path, value
            return
        for key, inner in value.items():
            yield from _references(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _references(inner, (*path, index))


def _reference(subject: Subject, path: KeyPath, reference: dict[str, Any]) -> Finding:
    kind = next((name for name in ("file", "env", *sorted(MANAGERS)) if name in reference), "")
    label = ".".join(str(part) for part in path)
    if kind in MANAGERS:
        return subject.ok("SEC005", path, f"{label} comes from {kind}")
    if kind == "env":
        return subject.ok("SEC005", path, f"{label} comes from the environment of the service")
    file = Path(str(reference.get("file", "")))
    target = file if file.is_absolute() else subject.path.parent / file
    if target.parts[:3] == ("/", "run", "secrets") or "CREDENTIALS_DIRECTORY" in str(file):
        return subject.ok("SEC005", path, f"{label} is mounted by the platform")
    if not is_file(target):
        return subject.fail("SEC005", path, f"{label}: the file is not there", key=label)
    ignored = git_ignores(target)
    mode = stat.S_IMODE(target.stat().st_mode)
    if ignored is False:
        text = f"{label}: the file is in the repository, which does not ignore it"
        return subject.fail("SEC005", path, text, severity="high", key=label)
    if os.name != "nt" and mode & 0o077:
        return subject.fail("SEC005", path, f"{label}: the file's mode is {mode:04o}", severity="high", key=label)
    text = f"{label} is a private file ({mode:04o}) on this machine, kept by no manager"
    return subject.fail("SEC005", path, text, severity="low", key=label)
