"""What certificates and keys will do, told before the gateway runs: ``mcpsec config check``.

What ``serve`` refuses to start with is found by what ``serve`` itself does, and said in its words. It starts with
certificates that have ended, since it may be the one to renew them; to whoever asks beforehand they are errors as well,
because nobody gets in with them.
"""

from __future__ import annotations

import contextlib
import ipaddress
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509

from mcpsec.certs.crl import load_crl
from mcpsec.certs.expiry import Level, check_found
from mcpsec.certs.identity import UNREADABLE, sans_of_certificate
from mcpsec.certs.leaf import now_utc
from mcpsec.certs.ledger import Purpose
from mcpsec.certs.profiles import USAGES
from mcpsec.certs.reading import Found
from mcpsec.deployment.checks import is_any, is_loopback, unreachable_name
from mcpsec.deployment.files import report_on
from mcpsec.deployment.model import Address
from mcpsec.deployment.problems import dotted
from mcpsec.errors import Error, SecretError
from mcpsec.gateway.admin_listener import administrators_tls
from mcpsec.gateway.handles import SealKey
from mcpsec.gateway.identification import certificates_wanted
from mcpsec.gateway.newest_lists import NewestLists
from mcpsec.gateway.policy.confirmation import ConfirmationKey
from mcpsec.gateway.trust import TrustFiles
from mcpsec.signing.keys import VerificationKey
from mcpsec.urls import split_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from mcpsec.clientfiles.toml import KeyPath
    from mcpsec.deployment import Deployment, Problem
    from mcpsec.deployment.model import Tls
    from mcpsec.deployment.problems import Report
    from mcpsec.gateway.tls import ClientCertificates
    from mcpsec.secretrefs import SecretRef

__all__ = ["judge_certificates", "judge_keys"]

_TLS = ("server", "tls")
_ADMIN = ("server", "admin")
_TIME = "%Y-%m-%d %H:%M UTC"


def judge_certificates(deployment: Deployment, now: datetime | None = None) -> list[Problem]:
    """What is wrong, or soon will be, with the certificates, CAs and lists that the listeners work with."""
    report, moment = report_on(deployment), now or now_utc()
    if nameless := unreachable_name(deployment.server):
        report.warn(("server", "listen"), *nameless)
    tls, admin, wanted = deployment.server.tls, deployment.server.admin, certificates_wanted(deployment)
    if _usable(tls, wanted, _TLS, report, log=deployment.log.file):
        _judge_own(tls.certificate, _names_used(deployment), moment, report)
        if wanted != "none":
            keeps_out = "no client can connect" if wanted == "required" else "no client can show a certificate"
            _judge_authorities(tls.client_ca, (*_TLS, "client_ca"), keeps_out, moment, report)
            _judge_list(tls.crl, keeps_out, moment, report)
        if admin is not None and admin.administrators and admin.client_ca not in {None, tls.client_ca}:
            own = administrators_tls(admin, tls)
            if _usable(own, "required", _ADMIN, report):
                at = (*_ADMIN, "client_ca")
                _judge_authorities(own.client_ca, at, "no administrator can connect", moment, report)
    return report.sorted()


def judge_keys(deployment: Deployment) -> list[Problem]:
    """Which secrets of files are no keys for what they are used for: too short, empty, not in their encoding.

    Secrets that are fetched are left to the gateway, and so are files that can't be read: ``deployment.files`` has
    said that.
    """
    report = report_on(deployment)
    for at, reference, use in _key_uses(deployment):
        if reference.kind != "file":
            continue
        with contextlib.suppress(SecretError):
            reference.check()
            try:
                use(reference.resolve())
            except SecretError as error:
                report.add(at, f"{dotted(at)}: {error}", error.hint)
    return report.sorted()


def _key_uses(deployment: Deployment) -> Iterator[tuple[KeyPath, SecretRef, Callable[[bytes], object]]]:
    """Each secret that keys are made of, with what makes one, as the gateway does."""
    for number, client in enumerate(deployment.clients):
        for index, key in enumerate(client.signing_keys):
            if key.secret is not None:
                at = ("clients", number, "signing_keys", index, "secret")
                yield at, key.secret, partial(_signature_key, key.id, client.id)
    if deployment.approval is not None:
        max_age = deployment.approval.max_age
        yield ("approval", "secret"), deployment.approval.secret, lambda secret: ConfirmationKey(secret, max_age)
    if deployment.state.handle_key is not None:
        yield ("state", "handle_key"), deployment.state.handle_key, SealKey.of


def _signature_key(key: str, owner: str, secret: bytes) -> VerificationKey:
    return VerificationKey(key, owner=owner, secret=secret)


def _usable(tls: Tls, wanted: ClientCertificates, at: KeyPath, report: Report, *, log: Path | None = None) -> bool:
    """Whether ``serve``, which keeps beside ``log`` what lists it has used, could start with these files."""
    try:
        TrustFiles(tls, certificates=wanted, newest=None if log is None else NewestLists.beside(log))
    except Error as error:
        keys = {tls.crl: "crl", tls.client_ca: "client_ca", tls.key: "key", tls.certificate: "certificate"}
        key = next((name for path, name in keys.items() if path is not None and str(path) == error.path), "")
        report.add((*at, key) if key else at, str(error), error.hint)
        return False
    return True


# --- the gateway's own certificate -----------------------------------------------------------------------------------


def _judge_own(file: Path, hosts: list[str], now: datetime, report: Report) -> None:
    at, what = (*_TLS, "certificate"), "the gateway's certificate"
    leaf, *others = x509.load_pem_x509_certificates(file.read_bytes())
    _judge_life(leaf, at, what, "no client can connect", "renew it: mcpsec certs renew", now, report)
    for other in others:
        text = "clients that know its root only can't connect"
        _judge_life(other, at, f"a CA in {file.name}", text, "", now, report)
    _judge_usage(leaf, at, report)
    names = sans_of_certificate(leaf)
    for host in hosts:
        if not any(_stands_for(name.kind, str(name), host) for name in names):
            bears = ", ".join(names) if names else "none at all"
            report.warn(
                at,
                f"clients that are told {host} refuse {what}: that is none of its names ({bears})",
                f"issue it with the name: mcpsec certs issue NAME --server --san {host} --replace",
            )


def _judge_usage(leaf: x509.Certificate, at: KeyPath, report: Report) -> None:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return  # RFC 5280 section 4.2.1.12: any purpose, which clients accept
    except UNREADABLE as error:
        report.add(at, f"the gateway's certificate has extensions that can't be read: {error}")
        return
    if USAGES[Purpose.SERVER] not in usages:
        message = "no client can connect: the gateway's certificate is not for a TLS server (no serverAuth in it)"
        report.add(at, message, "issue one: mcpsec certs issue NAME --server")


def _names_used(deployment: Deployment) -> list[str]:
    """The hosts that clients are told: those that the file names, else the one that the gateway listens on.

    Names of this machine itself count only where there is no other: they stand in many files beside the real one.
    """
    server = deployment.server
    public = None if server.public_url is None else split_url(server.public_url)
    hosts = [] if public is None or public.hostname is None else [public.hostname]
    hosts += [parts.hostname for text in server.allowed_hosts if (parts := split_url(f"//{text}")) and parts.hostname]
    hosts = list(dict.fromkeys(host for host in hosts or [server.listen.host] if not is_any(host)))
    return [host for host in hosts if not is_loopback(Address(host, 0))] or hosts


def _stands_for(kind: str, name: str, host: str) -> bool:
    """Whether a certificate's name is the host, as clients compare them (RFC 9525 section 6)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        wanted, name = host.lower().rstrip("."), name.lower()
        return kind == "dns" and name in {wanted, "*." + wanted.partition(".")[2]}
    return kind == "ip" and ipaddress.ip_address(name) == address


# --- whom it lets in -------------------------------------------------------------------------------------------------


def _judge_authorities(file: Path, at: KeyPath, keeps_out: str, now: datetime, report: Report) -> None:
    """One CA that can let clients in is enough; those that can't, or soon can't, are worth a word."""
    found = x509.load_pem_x509_certificates(file.read_bytes())
    alive = any(one.not_valid_before_utc <= now < one.not_valid_after_utc for one in found)
    for one in found:
        means = "its clients can't connect" if alive else keeps_out
        _judge_life(one, at, "a client CA", means, "mcpsec certs rotate-ca client", now, report, fatal=not alive)


def _judge_list(file: Path | None, keeps_out: str, now: datetime, report: Report) -> None:
    if file is None:
        return
    at, crl, hint = (*_TLS, "crl"), load_crl(file), "sign it again: mcpsec certs crl"
    if crl.expired(now):
        report.add(at, f"{keeps_out}: the revocation list ended on {crl.next_update:{_TIME}}", hint)
    elif crl.due(now):
        report.warn(at, f"the revocation list ends on {crl.next_update:{_TIME}} and then refuses every client", hint)


def _judge_life(
    certificate: x509.Certificate,
    at: KeyPath,
    what: str,
    keeps_out: str,
    hint: str,
    now: datetime,
    report: Report,
    *,
    fatal: bool = True,
) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    tell = report.add if fatal else report.warn
    if now >= ends:
        tell(at, f"{keeps_out}: {what} ended on {ends:{_TIME}}", hint)
    elif now < begins:
        tell(at, f"{keeps_out}: {what} begins only on {begins:{_TIME}}; is the clock right?")
    elif check_found(Found(certificate, ""), now=now).level is not Level.OK:
        report.warn(at, f"{what} ends on {ends:{_TIME}}, and its renewal is due", hint)
