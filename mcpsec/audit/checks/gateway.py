"""mcpsec's own deployment file: permissions, limits, timeouts, signing, log, monitoring, confinement."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.model import Finding
from mcpsec.audit.readers.deployment import DeploymentFile
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.toml import KeyPath

if TYPE_CHECKING:
    from mcpsec.deployment.model import Client, Deployment, Rate, Role

__all__: list[str] = []

HIGHEST_RATE = 1000 / 60
"""Requests a second that still count as a limit."""
LONGEST = 30.0
"""Seconds that one operation may take."""
LONGEST_SIGNATURE = 300.0


@examines("deployment")
def loads(subject: Subject, context: Context) -> Iterator[Finding]:
    """DEP005."""
    model: DeploymentFile = subject.model
    if model.deployment is not None:
        yield subject.ok("DEP005", None, "the file loads")
        return
    for problem in model.problems:
        where = f"{problem.key}: " if problem.key else ""
        yield subject.fail("DEP005", problem.line or 1, f"{where}{problem.message}", key=f"problem {problem.key}")
    exposed = next((problem for problem in model.problems if problem.key.startswith("server.admin")), None)
    if exposed is not None:
        yield subject.fail("MON001", exposed.line or 1, exposed.message, severity="high", key="public")
    for check in ("PRM001", "RTE001", "TMO001", "SIG001", *(() if exposed else ("MON001",))):
        yield subject.unknown(check, "the file does not load: see DEP005", required=True)


@examines("deployment")
def permissions(subject: Subject, context: Context) -> Iterator[Finding]:
    """PRM001, PRM002, PRM009."""
    model: DeploymentFile = subject.model
    loaded = model.deployment
    if loaded is None:
        return
    for index, client in enumerate(loaded.clients):
        wrong = list(_broad(subject, loaded, client, ("clients", index)))
        yield from wrong
        if not wrong:
            yield subject.ok("PRM001", ("clients", index), "granted by name", name=f"client {client.id}")
    if not loaded.clients:
        yield subject.ok("PRM001", None, "nobody is granted anything")
    from mcpsec.gateway.policy.lint import check

    errors = [finding for finding in check(loaded) if finding.severity == "error"]
    for found in errors:
        yield subject.fail("PRM002", found.key, found.message, key=f"{found.check} {found.key}", fix=found.hint)
    if not errors:
        yield subject.ok("PRM002", None, "the policy contradicts itself nowhere")
    if len(loaded.clients) > 1:
        everything = [c for c in loaded.clients if {"read", "write", "execute"} <= _methods(loaded, c)]
        if len(everything) == len(loaded.clients):
            yield subject.fail("PRM009", ("clients",), "every client may read, write and execute", key="all")
        else:
            yield subject.ok("PRM009", ("clients",), "clients differ in what they may do")


def _holders(loaded: Deployment, client: Client, at: KeyPath) -> Iterator[tuple[Role | Client, KeyPath]]:
    for name in client.roles:
        if name in loaded.roles:
            yield loaded.roles[name], ("roles", name)
    yield client, at


def _methods(loaded: Deployment, client: Client) -> set[str]:
    return {method for holder, _ in _holders(loaded, client, ()) for method in holder.allow_methods}


def _broad(subject: Subject, loaded: Deployment, client: Client, at: KeyPath) -> Iterator[Finding]:
    for holder, path in _holders(loaded, client, at):
        for index, pattern in enumerate(holder.allow_resources):
            upstream, _, rest = pattern.partition("/")
            more: dict[str, Any] = {"name": f"client {client.id}", "key": f"{path[:2]} {pattern}"}
            place = (*path, "allow_resources", index)
            writes = {"write", "execute"} & set(holder.allow_methods)
            if not holder.allow_methods:
                continue
            if set(upstream) <= {"*"} and (not rest or set(rest) <= {"*"}):
                yield subject.fail("PRM001", place, f"{pattern} grants everything there is", **more)
            elif set(upstream) <= {"*"} and writes:
                yield subject.fail("PRM001", place, f"{pattern} holds for every upstream", severity="medium", **more)
            elif rest and set(rest) <= {"*"} and writes:
                text = f"{pattern} with {', '.join(sorted(writes))} grants all that {upstream} can do"
                yield subject.fail("PRM001", place, text, severity="medium", **more)


@examines("deployment")
def rates(subject: Subject, context: Context) -> Iterator[Finding]:
    """RTE001."""
    model: DeploymentFile = subject.model
    loaded = model.deployment
    if loaded is None:
        return
    default = loaded.default_rate_limit
    place: KeyPath = ("server", "limits", "rate_limit")
    for index, client in enumerate(loaded.clients):
        rate = client.rate_limit or default
        at = ("clients", index, "rate_limit") if client.rate_limit else place
        at = at if model.document.has(at) else ("clients", index)
        yield _rate(subject, rate, at, f"client {client.id}")
    if not loaded.clients:
        yield _rate(subject, default, place, subject.label)


def _rate(subject: Subject, rate: Rate | None, at: KeyPath, name: str) -> Finding:
    if rate is None:
        return subject.fail("RTE001", at, "no limit", name=name, key="none")
    if rate.count / rate.seconds > HIGHEST_RATE:
        return subject.fail(
            "RTE001", at, f"{rate} is more than 1,000 a minute", name=name, severity="medium", key="high"
        )
    return subject.ok("RTE001", at, f"{rate}, by identity", name=name)


@examines("deployment")
def timeouts(subject: Subject, context: Context) -> Iterator[Finding]:
    """TMO001."""
    model: DeploymentFile = subject.model
    loaded = model.deployment
    if loaded is None:
        return
    for upstream in loaded.upstreams.values():
        wrong = False
        for key in ("timeout", "connect_timeout"):
            value = getattr(upstream, key)
            path: KeyPath = ("upstreams", upstream.name, key)
            if value > LONGEST:
                wrong = True
                name = f"upstream {upstream.name}"
                yield subject.fail("TMO001", path, f"{key} is {value:g} s", name=name, key=f"{upstream.name} {key}")
        if not wrong:
            yield subject.ok(
                "TMO001", ("upstreams", upstream.name), f"calls end after {upstream.timeout:g} s",
                name=f"upstream {upstream.name}",
            )  # fmt: skip
    limits = loaded.server.limits
    wrong = False
    for key, longest in (
        ("handshake_timeout", 30),
        ("header_timeout", 30),
        ("body_timeout", 60),
        ("write_timeout", 60),
    ):
        value = getattr(limits, key)
        if value > longest:
            wrong = True
            yield subject.fail("TMO001", ("server", "limits", key), f"{key} is {value:g} s", key=key)
    if not wrong:
        yield subject.ok("TMO001", ("server",), "handshake, headers, bodies and writes have deadlines")


@examines("deployment")
def signing(subject: Subject, context: Context) -> Iterator[Finding]:
    """SIG001, SIG005, ORG001, AUT001."""
    model: DeploymentFile = subject.model
    loaded = model.deployment
    if loaded is None:
        return
    require = set(loaded.auth.require)
    place: KeyPath = ("auth", "require")
    second = require - {"mtls"}
    if not require:
        yield subject.fail("AUT001", place, "nothing is required of a request", severity="critical", key="none")
    else:
        yield subject.ok("AUT001", place, f"every request needs {' and '.join(sorted(require))}")
    for index, client in enumerate(loaded.clients):
        if client.require is not None and len(set(client.require)) < 2:
            at: KeyPath = ("clients", index, "require")
            text = f"this client needs {client.require[0]} only"
            yield subject.fail("SIG001", at, text, severity="medium", name=f"client {client.id}", key=client.id)
    if loaded.auth.oauth is not None:
        bound = loaded.auth.oauth.sender_constrained
        state = subject.ok if bound else subject.fail
        text = "tokens are bound to the client's key" if bound else "a stolen token is good in anybody's hands"
        yield state("AUT006", ("auth", "oauth", "sender_constrained"), text, key="bound")
    if "signature" in require:
        yield subject.ok("SIG001", place, "every request is signed")
        yield from _signatures(subject, loaded)
    elif second:
        yield subject.skip("SIG001", f"the second factor is {', '.join(sorted(second))}")
    else:
        severity = "medium" if "mtls" in require else "high"
        yield subject.fail("SIG001", place, "requests need no signature", severity=severity, key="signature")
    origins = loaded.server.allowed_origins
    yield subject.ok(
        "ORG001", ("server", "allowed_origins"), f"{len(origins)} origins may call, each by its whole name"
    )


def _signatures(subject: Subject, loaded: Deployment) -> Iterator[Finding]:
    signature = loaded.auth.signature
    place: KeyPath = ("auth", "signature", "max_age")
    wrong = False
    if signature.max_age > LONGEST_SIGNATURE:
        wrong = True
        yield subject.fail("SIG005", place, f"a signature is good for {signature.max_age:g} s", key="max_age")
    if "article" in signature.schemes:
        wrong = True
        yield subject.fail(
            "SIG005", ("auth", "signature", "schemes"), "the weak scheme article is accepted", key="scheme"
        )
    if not wrong:
        yield subject.ok("SIG005", place, f"{', '.join(signature.schemes)} for {signature.max_age:g} s")


@examines("deployment")
def observation(subject: Subject, context: Context) -> Iterator[Finding]:
    """LOG003, LOG004, MON001, DEP001."""
    model: DeploymentFile = subject.model
    log = model.table("log")
    loose = [key for key in ("redact", "redaction") if log.get(key) in (False, "off", "none")]
    if loose or log.get("arguments") in (True, "full"):
        key = loose[0] if loose else "arguments"
        yield subject.fail("LOG003", ("log", key), f"[log] {key} writes what should not be written", key=key)
    else:
        yield subject.ok("LOG003", ("log",), "arguments are digests, and what is written is redacted")
    yield subject.ok("LOG004", ("log",), "every decision is an event with client, tool, outcome, id and time")
    loaded = model.deployment
    if loaded is None:
        return
    admin = loaded.server.admin
    if admin is None:
        yield subject.fail("MON001", ("server",), "there is no listener for metrics and the dashboard", key="none")
    elif is_local(admin.listen.host) or _is_private(admin.listen.host):
        yield subject.ok("MON001", ("server", "admin", "listen"), f"metrics and dashboard on {admin.listen}")
    else:
        yield subject.fail(
            "MON001", ("server", "admin", "listen"), f"{admin.listen} can be reached from other machines, without TLS",
            severity="high", key="public",
        )  # fmt: skip
    if is_local(loaded.server.listen.host) or "mtls" in loaded.auth.require:
        yield subject.ok("DEP001", ("server", "listen"), f"{loaded.server.listen}, behind mutual TLS or on loopback")


@examines("deployment")
def upstreams(subject: Subject, context: Context) -> Iterator[Finding]:
    """TOL004, SEC006, ERR001, DEP006: what answers are allowed to be, and what programs may touch."""
    model: DeploymentFile = subject.model
    loaded = model.deployment
    if loaded is None:
        return
    if loaded.pins is not None:
        yield subject.ok("TOL004", ("pins",), f"definitions are pinned; a change means {loaded.pins.on_change}")
    path: KeyPath
    for upstream in loaded.upstreams.values():
        at: KeyPath = ("upstreams", upstream.name, "secrets")
        if upstream.secrets == "pass":
            text = "secrets in answers are passed on"
            yield subject.fail("SEC006", at, text, name=f"upstream {upstream.name}", key=upstream.name)
        else:
            yield subject.ok("SEC006", at, "secrets in answers are taken out", name=f"upstream {upstream.name}")
        if upstream.error_details != "hide":
            path = ("upstreams", upstream.name, "error_details")
            text = "errors of the upstream reach clients as they are"
            yield subject.fail(
                "ERR001", path, text, name=f"upstream {upstream.name}", severity="low", key=upstream.name
            )
        if upstream.command and upstream.sandbox is None:
            path = ("upstreams", upstream.name)
            yield subject.fail("DEP006", path, "no sandbox", name=f"upstream {upstream.name}", key=upstream.name)


def _is_private(host: str) -> bool:
    """True for one address of a private network (not for all addresses)."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_private and not address.is_unspecified
