"""What must hold between the keys of a deployment: who is told apart from whom, what each client must bring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import cast

from mcpsec.certs.names import comparable, kind_of_san, san_hint
from mcpsec.clientfiles.toml import KeyPath
from mcpsec.deployment.model import (
    Address,
    Admin,
    Auth,
    CertificateMatch,
    Client,
    Deployment,
    Factor,
    Role,
    Rule,
    Server,
    Upstream,
)
from mcpsec.deployment.problems import Report
from mcpsec.frozen import dataclass

__all__ = ["Parts", "check_authentication", "check_names", "is_any", "is_loopback", "unreachable_name"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What could be read of a file: whole tables, though other tables of the same file may be wrong."""

    server: Server | None
    auth: Auth
    upstreams: tuple[Upstream, ...]
    roles: tuple[Role, ...]
    clients: tuple[Client, ...]
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls, report: Report) -> Parts:
        """Collect the tables that a report has seen built."""

        def all_of(name: str) -> tuple[object, ...]:
            return tuple(table for at, table in report.tables.items() if len(at) == 2 and at[0] == name)

        return cls(
            cast("Server | None", report.tables.get(("server",))),
            cast("Auth | None", report.tables.get(("auth",))) or Auth(),
            cast("tuple[Upstream, ...]", all_of("upstreams")),
            cast("tuple[Role, ...]", all_of("roles")),
            cast("tuple[Client, ...]", all_of("clients")),
            cast("tuple[Rule, ...]", all_of("rules")),
        )

    @classmethod
    def of(cls, deployment: Deployment) -> Parts:
        """Take a whole deployment."""
        return cls(
            deployment.server,
            deployment.auth,
            tuple(deployment.upstreams.values()),
            tuple(deployment.roles.values()),
            deployment.clients,
            deployment.rules,
        )


def is_loopback(address: Address) -> bool:
    """True when only this machine can reach an address."""
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return address.host.lower() == "localhost"


def is_any(host: str) -> bool:
    """True for what stands for all addresses of a machine and is none of them."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return not host


def unreachable_name(server: Server) -> tuple[str, str] | None:
    """What to say, and to do, when it listens on all addresses and nothing says by which name clients call it.

    The Host header is compared exactly, and none that they send is the address of every interface.
    """
    if not is_any(server.listen.host) or server.allowed_hosts or server.public_url is not None:
        return None
    message = f"clients are refused with 421: their Host header is not {server.listen}, and no other is allowed"
    hint = f'[server] allowed_hosts = ["HOST:{server.listen.port}"]: the name that they use, also in the certificate'
    return message, hint


def check_authentication(parts: Parts, report: Report) -> None:
    """Report listeners without authentication, and clients that can't bring what every request must show."""
    if not report.touched(("auth", "require")):
        if parts.server and not report.touched(("server", "listen")):
            _check_listener(parts.server, parts, report)
        for client in parts.clients:
            if not report.touched((*report.origin(client), "require")):
                _check_factors(client, parts.auth, report)
        _check_issuer(parts, report)
    if parts.server and parts.server.admin:
        _check_admin(parts.server.admin, parts.server.listen, report)


def _check_admin(admin: Admin, public: Address, report: Report) -> None:
    at = ("server", "admin", "listen")
    if admin.listen == public and public.port:
        message = f"[server.admin] listens on {public}, which is the public listener's address"
        report.add(at, message, "give it another port")
    if not admin.administrators and not is_loopback(admin.listen):
        report.add(
            at,
            f"[server.admin] listens on {admin.listen}, which can be reached from other machines",
            'name who may look: administrators = [{ san = "…" }], or listen on 127.0.0.1',
        )


def _check_listener(server: Server, parts: Parts, report: Report) -> None:
    if is_loopback(server.listen):
        return
    if not parts.auth.require:
        report.add(
            ("auth", "require"),
            f"require is empty, but {server.listen} can be reached from other machines",
            'write require = ["mtls", "signature"], or listen on 127.0.0.1',
        )
        return
    _check_reach(server, parts.auth.require, ("server", "listen"), "[auth] require", report)
    for client in parts.clients:
        if client.require is not None:
            at = (*report.origin(client), "require")
            _check_reach(server, client.require, at, f"require of client {client.id}", report)


def _check_reach(server: Server, require: tuple[Factor, ...], at: KeyPath, where: str, report: Report) -> None:
    if not {"mtls", "bearer"} & set(require):
        report.add(
            at,
            f"{server.listen} can be reached from other machines, which needs mutual TLS or access tokens",
            f'add "mtls" or "bearer" to {where}, or listen on 127.0.0.1',
        )


def _check_issuer(parts: Parts, report: Report) -> None:
    """Report tokens that nobody issues."""
    if parts.auth.oauth is not None or report.touched(("auth", "oauth")):
        return
    for at, require in [
        (("auth", "require"), parts.auth.require),
        *(((*report.origin(client), "require"), client.require or ()) for client in parts.clients),
    ]:
        if "bearer" in require:
            report.add(
                at,
                "access tokens are required, but nothing says who issues them",
                '[auth.oauth] issuer = "https://login.example.com/"',
            )
            return


def _check_factors(client: Client, auth: Auth, report: Report) -> None:
    at, require = report.origin(client), auth.require if client.require is None else client.require
    if "mtls" in require and not client.certificate and not report.touched((*at, "certificate")):
        report.add(
            at,
            f"client {client.id} has no certificate, but every request needs one",
            'certificate = { san = "…" }, or { sha256 = "…" }: `mcpsec certs issue` makes one',
        )
    if "bearer" in require and not client.oauth and not report.touched((*at, "oauth")):
        report.add(
            at,
            f"client {client.id} has no access tokens, but every request needs one",
            'oauth = { client_id = "…" }, or { subject = "…" }',
        )
    if "signature" not in require or report.touched((*at, "signing_keys")):
        return
    if not client.signing_keys:
        report.add(
            at,
            f"client {client.id} has no signing key, but every request must be signed",
            'signing_keys = [{ id = "…", secret = { file = "secrets/…" } }]',
        )
    elif "rfc9421" not in auth.signature.schemes and all(key.public_key for key in client.signing_keys):
        report.add(
            (*at, "signing_keys"),
            f"client {client.id} has public keys only, which no accepted scheme uses",
            'add "rfc9421" to [auth.signature] schemes, or give the client a shared secret',
        )


def check_names(parts: Parts, report: Report) -> None:
    """Report names that mean two things (clients with one identity) or nothing (unknown roles and upstreams)."""
    for client in parts.clients:
        _check_san(client.certificate, (*report.origin(client), "certificate"), "is this client's", report)
    admin = parts.server.admin if parts.server else None
    for index, match in enumerate(admin.administrators if admin else ()):
        _check_san(match, ("server", "admin", "administrators", index), "is this administrator's", report)
    _unique(parts, report, "id", lambda client: [(("id",), client.id)])
    _unique(parts, report, "certificate", _certificates)
    _unique(parts, report, "access tokens", _token_match)
    _unique(
        parts,
        report,
        "signing key id",
        lambda client: [(("signing_keys", index, "id"), key.id) for index, key in enumerate(client.signing_keys)],
    )
    for client in parts.clients:
        for index, role in enumerate(client.roles):
            _known((*report.origin(client), "roles", index), "role", role, [role.name for role in parts.roles], report)
    if parts.upstreams:
        names = [upstream.name for upstream in parts.upstreams]
        for at, resource in _resources(parts, report):
            name = resource.split("/", 1)[0]
            if "*" not in name:
                _known(at, "upstream", name, names, report)
    for upstream in parts.upstreams:
        if upstream.ca and upstream.url and not upstream.url.lower().startswith("https:"):
            at = (*report.origin(upstream), "ca")
            report.add(at, f"upstream {upstream.name} has a ca, but its url is not https", "write an https URL")


def _check_san(match: CertificateMatch | None, at: KeyPath, whose: str, report: Report) -> None:
    san = match.san if match else None
    if san and kind_of_san(san) is None:
        message = f"{san!r} is no subject alternative name, so no certificate {whose}"
        report.add((*at, "san"), message, san_hint(san))


def _certificates(client: Client) -> list[tuple[KeyPath, str]]:
    match = client.certificate
    if match and match.san:
        # Names are compared as X.509 does it: URIs to the letter, the others without regard to case.
        san = comparable(match.san)
        return [(("certificate", "san"), san if kind_of_san(san) == "uri" else san.lower())]
    return [(("certificate", "sha256"), match.sha256)] if match and match.sha256 else []


def _token_match(client: Client) -> list[tuple[KeyPath, str]]:
    match = client.oauth
    if not match:
        return []
    if match.subject and match.client_id:
        return [(("oauth",), f"{match.subject}\n{match.client_id}")]
    return [(("oauth",), f"subject {match.subject}" if match.subject else f"client {match.client_id}")]


def _unique(parts: Parts, report: Report, what: str, values: Callable[[Client], list[tuple[KeyPath, str]]]) -> None:
    """Report each value that an earlier client, or the same one, has already."""
    seen: dict[str, Client] = {}
    for client in parts.clients:
        for at, value in values(client):
            if value in seen:
                other = "another client" if what == "id" else f"client {seen[value].id}"
                other = "the same client" if seen[value] is client else other
                message = f"client {client.id} has the {what} of {other}: they could not be told apart"
                report.add((*report.origin(client), *at), message)
            seen.setdefault(value, client)


def _resources(parts: Parts, report: Report) -> Iterator[tuple[KeyPath, str]]:
    holders: tuple[Role | Client, ...] = (*parts.roles, *parts.clients)
    for holder in holders:
        at = report.origin(holder)
        for index, resource in enumerate(holder.allow_resources):
            yield (*at, "allow_resources", index), resource
        for resource in holder.resource_filters:
            yield (*at, "resource_filters", resource), resource
    for rule in parts.rules:
        for index, resource in enumerate(rule.resources):
            yield (*report.origin(rule), "resources", index), resource


def _known(at: KeyPath, what: str, name: str, names: list[str], report: Report) -> None:
    if name in names:
        return
    from difflib import get_close_matches

    close = get_close_matches(name, names, 1)
    defined = f"defined here: {', '.join(names)}" if names else f"no {what} is defined in this file"
    report.add(at, f"there is no {what} {name}", f"did you mean {close[0]}?" if close else defined)
