"""The copy of a deployment that is drilled: in a temporary directory, with addresses, keys and clients of its own.

What the user's file says about deadlines, limits, breakers, the log and the state stays as it is. Its addresses are
replaced (servers by faulty ones, the store by one of the drill's own, the log by one in the temporary directory), and
so is everything that leads to the user's keys, people and credentials: TLS files, clients and what they may do, alert
channels, telemetry, secrets. ``Site.left_out`` names what is not in the copy.
"""

from __future__ import annotations

import secrets
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcpsec.audit.drill.server import TOOL, FaultyServer
from mcpsec.certs import Pki, Purpose
from mcpsec.deployment.loading import load
from mcpsec.deployment.model import Upstream
from mcpsec.errors import ConfigurationError

if TYPE_CHECKING:
    from mcpsec.certs.leaf import Issued
    from mcpsec.deployment import Deployment

__all__ = ["STEADY", "Site", "Target", "build"]

STEADY = "mcpsec-drill-steady"
"""The built-in server that stands beside the faulty ones: it must not feel their faults."""
ADDED = "mcpsec-drill-server"
"""The faulty server of a deployment that has no server to replace."""
SURVIVOR, EXPIRING, REVOKED = "mcpsec-drill", "mcpsec-drill-expiring", "mcpsec-drill-revoked"
_KEPT_OF_UPSTREAM = (
    "timeout",
    "timeouts",
    "connect_timeout",
    "in_flight",
    "breaker",
    "secrets",
    "error_details",
)
_LEFT_OUT = ("pins", "roles", "clients", "rules", "approval", "alerts", "opentelemetry", "secrets")


@dataclass
class Target:
    """One server of the file, which is replaced by a faulty one. ``deadline`` is for one call, in seconds."""

    name: str
    kind: Literal["http", "stdio"]
    deadline: float
    connect: float
    server: FaultyServer | None = None
    record: Path | None = None


@dataclass
class Site:
    """The copy: its file, its log, its keys, and its faulty servers."""

    directory: Path
    config: Path
    original: Deployment
    document: dict[str, Any]
    pki: Pki
    targets: list[Target]
    builtin: list[str]
    signed: bool
    scheme: str
    left_out: list[str]
    identities: dict[str, Issued] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """The gateway's audit log."""
        return self.directory / "log" / "events.jsonl"

    @property
    def server_ca(self) -> Path:
        """Who signed the gateway's certificate."""
        return self.pki.authority(Purpose.SERVER).bundle

    @property
    def crl(self) -> Path:
        """The revocation list that the gateway follows."""
        return self.pki.authority(Purpose.CLIENT).crl_file

    def secret_of(self, client: str) -> Path:
        """The file of a drill client's signing secret."""
        return self.directory / f"{client}.hmac"

    def issue(self, client: str, *, seconds: float = 86_400) -> Issued:
        """A certificate for a drill client, in place of the one that it had."""
        self.identities[client] = self.pki.issue(client, Purpose.CLIENT, days=seconds / 86_400, replace=True)
        return self.identities[client]

    def close(self) -> None:
        """Stop the faulty servers and let go of the PKI."""
        for target in self.targets:
            if target.server is not None:
                target.server.close()
        self.pki.close()


def build(config: Path, directory: Path, *, store_url: str | None) -> Site:
    """Write the copy of ``config`` into ``directory`` and start its faulty servers.

    ``store_url`` is the drill's own store, None when the file keeps its state in memory or none is to be had.

    Raises:
        ConfigurationError: the file is wrong.
    """
    original = load(config)
    path = original.path or config
    document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    directory.chmod(0o711)  # a stdio server may run under an account of its own, and reaches its record through here
    (directory / "log").mkdir(mode=0o700)
    (directory / "records").mkdir(mode=0o711)
    pki = Pki.create(directory / "pki")
    targets = [_target(each, directory) for each in original.upstreams.values() if each.builtin is None]
    builtin = [each.name for each in original.upstreams.values() if each.builtin is not None]
    upstreams: dict[str, Any] = {name: {"builtin": document["upstreams"][name]["builtin"]} for name in builtin}
    if not targets:
        targets = [_target(Upstream(name=ADDED, url="http://127.0.0.1/mcp"), directory)]
    for target in targets:
        table = document.get("upstreams", {}).get(target.name, {})
        upstreams[target.name] = _replaced(table, target, path.parent, directory)
    upstreams[STEADY] = {"builtin": "demo"}
    factors = [factor for factor in original.auth.require if factor != "bearer"] or ["mtls"]
    schemes = original.auth.signature.schemes
    site = Site(
        directory=directory,
        config=directory / "mcpsec.toml",
        original=original,
        document={},
        pki=pki,
        targets=targets,
        builtin=builtin,
        signed="signature" in factors,
        scheme="hmac-sha256" if "hmac-sha256" in schemes else schemes[0],
        left_out=[name for name in _LEFT_OUT if name in document],
    )
    if "bearer" in original.auth.require:
        site.left_out.append("auth.oauth")
    site.document = {
        "version": 1,
        "server": _server(document, site),
        "auth": {
            "require": factors,
            **({"signature": document["auth"]["signature"]} if _has_signature(document) else {}),
        },
        "log": {**{k: v for k, v in document["log"].items() if k != "arguments"}, "file": str(site.log)},
        "upstreams": upstreams,
        "clients": [_client(site, name) for name in (SURVIVOR, EXPIRING, REVOKED)],
    }
    if store_url is not None:
        kept = {k: v for k, v in document["state"].items() if k in ("prefix", "timeout", "on_failure")}
        site.document["state"] = {"url": store_url, **kept}
    _write(site)
    return site


def _has_signature(document: Mapping[str, Any]) -> bool:
    return "signature" in document.get("auth", {})


def _target(upstream: Upstream, directory: Path) -> Target:
    from mcpsec.gateway.upstreams.timeouts import Timeouts

    deadline = Timeouts(upstream).of_call("tools/call", {"name": TOOL})
    target = Target(upstream.name, "stdio" if upstream.command else "http", deadline, upstream.connect_timeout)
    if target.kind == "http":
        target.server = FaultyServer()
    else:
        target.record = directory / "records" / f"{upstream.name}.jsonl"
        target.record.touch()
        target.record.chmod(0o666)  # it holds nothing but the drill's own notes
    return target


def _replaced(table: Mapping[str, Any], target: Target, base: Path, directory: Path) -> dict[str, Any]:
    kept = {key: table[key] for key in _KEPT_OF_UPSTREAM if key in table}
    if target.server is not None:
        return {"url": target.server.url, **kept}
    child = Path(__file__).with_name("child.py")
    found = {"command": [sys.executable, "-I", str(child), str(target.record)], **kept}
    if "sandbox" in table:
        sandbox = dict(table["sandbox"])
        for key in ("read", "write"):
            if key in sandbox:
                sandbox[key] = [str(base / each) for each in sandbox[key]]
        sandbox["write"] = [*sandbox.get("write", []), str(directory / "records")]
        found["sandbox"] = sandbox
    return found


def _server(document: Mapping[str, Any], site: Site) -> dict[str, Any]:
    given = document["server"]
    served = site.pki.issue("gateway", Purpose.SERVER, ["127.0.0.1", "localhost"])
    if served.key is None:  # a private key that stays elsewhere is not what was asked for
        raise ConfigurationError("the drill's own certificate has no key", path=site.directory)
    tls = {
        "certificate": str(served.chain),
        "key": str(served.key),
        "client_ca": str(site.pki.authority(Purpose.CLIENT).bundle),
    }
    if "crl" in given["tls"]:  # a deployment that follows none is to show what that means
        tls["crl"] = str(site.crl)
    if "minimum_version" in given["tls"]:
        tls["minimum_version"] = given["tls"]["minimum_version"]
    # The drill asks more often than a client does; limits of rate are judged elsewhere (audit: RTE001 to RTE004).
    limits = {**given.get("limits", {}), "rate_limit": "off", "address_rate_limit": "off"}
    return {"listen": "127.0.0.1:0", "tls": tls, "limits": limits}


def _client(site: Site, name: str) -> dict[str, Any]:
    secret = site.secret_of(name)
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_urlsafe(32), encoding="ascii")
    issued = site.issue(name)
    return {
        "id": name,
        "certificate": {"san": issued.sans[0].removeprefix("uri:")},
        "signing_keys": [{"id": name, "secret": {"file": str(secret)}}],
        "allow_resources": ["*/*"],
        "allow_methods": ["read", "write", "execute"],
    }


def _write(site: Site) -> None:
    import tomli_w

    site.config.touch(mode=0o600)
    site.config.write_text(tomli_w.dumps(site.document), encoding="utf-8")
