"""Certificates, keys and their rotation."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.audit.model import Edit, Finding
from mcpsec.audit.readers.certificates import CertificateFile, KeyFile, is_authority
from mcpsec.audit.readers.deployment import DeploymentFile, pki_of
from mcpsec.audit.registry import across, examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.positions import Malformed
from mcpsec.reading import is_file

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["lifetime", "remaining"]

LONGEST = timedelta(days=90, hours=1)
"""Ninety days, and an hour for clocks and for authorities that count the first second twice."""
LAST_CALL = timedelta(days=7)


@examines("certificate")
def certificate(subject: Subject, context: Context) -> Iterator[Finding]:
    """CRT001, CRT002, CRT004 of the leaf; CAs are only read."""
    model: CertificateFile = subject.model
    leaves = [each for each in model.certificates if not is_authority(each)]
    if not leaves:
        for check in ("CRT001", "CRT002"):
            yield subject.skip(check, "a CA: it is rotated by mcpsec certs rotate-ca")
        return
    leaf = leaves[0]
    yield lifetime(subject, leaf, 1)
    yield remaining(subject, leaf, context, 1)
    yield from _form(subject, leaf)


def lifetime(subject: Subject, leaf: x509.Certificate, line: int | None) -> Finding:
    """CRT001 of a leaf, in a file or served."""
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    state = subject.ok if life <= LONGEST else subject.fail
    return state("CRT001", line, f"lives for {_days(life)}", key="life")


def remaining(subject: Subject, leaf: x509.Certificate, context: Context, line: int | None) -> Finding:
    """CRT002 of a leaf, in a file or served."""
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    left = leaf.not_valid_after_utc - context.now
    if left <= timedelta(0):
        return subject.fail("CRT002", line, f"ended {_days(-left)} ago", severity="critical", key="ended")
    if context.now < leaf.not_valid_before_utc:
        return subject.fail("CRT002", line, "is not valid yet", key="early")
    if left < life / 4:
        severity = "high" if left <= LAST_CALL else "medium"
        return subject.fail("CRT002", line, f"ends in {_days(left)} of {_days(life)}", severity=severity, key="due")
    return subject.ok("CRT002", line, f"ends in {_days(left)}")


def _days(span: timedelta) -> str:
    return f"{span.days} days" if span >= timedelta(days=2) else f"{span.total_seconds() / 3600:.0f} hours"


def _form(subject: Subject, leaf: x509.Certificate) -> Iterator[Finding]:
    from mcpsec.certs.lint import lint

    errors = [fault for fault in lint(leaf) if fault.severity == "error"]
    for fault in errors:
        yield subject.fail("CRT004", 1, f"{fault.message} ({fault.source})", key=fault.code)
    fits = _key_fits(subject.path, leaf)
    if fits is False:
        yield subject.fail("CRT004", 1, "the key beside it is another one's", key="key")
    if not errors and fits is not False:
        yield subject.ok("CRT004", 1, "breaks no rule" + (", and its key fits" if fits else ""))


def _key_fits(path: Path, leaf: x509.Certificate) -> bool | None:
    """Whether the private key that lies beside a certificate is its own; None where that can't be said."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    beside = [path.with_suffix(".key"), path.with_name("key.pem"), path.with_name(path.stem + "-key.pem")]
    names = {"cert", "chain", "fullchain", "tls", "server", "client", "certificate"}
    for key in beside:
        if key == path or not is_file(key) or (key.name == "key.pem" and path.stem not in names):
            continue
        try:
            private = load_pem_private_key(key.read_bytes(), None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
            continue
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return private.public_key().public_bytes(*form) == leaf.public_key().public_bytes(*form)
    return None


@examines("key")
def key(subject: Subject, context: Context) -> Iterator[Finding]:
    """CRT003; CRT007 for the key of a client CA."""
    model: KeyFile = subject.model
    if os.name == "nt":
        yield subject.skip("CRT003", "this platform has no such permissions")
        return
    others, group = model.mode & 0o007, model.mode & 0o070
    if others or group & 0o030:
        who = "every account" if others else "a group, which may change it"
        edit = Edit(str(subject.path), mode=0o600)
        yield subject.fail("CRT003", 1, f"mode {model.mode:04o}: open to {who}", key="mode", edit=edit)
    else:
        yield subject.ok("CRT003", 1, f"mode {model.mode:04o}")
    if model.folder_mode & stat.S_IWOTH and not model.folder_mode & stat.S_ISVTX:
        yield subject.fail("CRT003", 1, "everybody may replace files in its directory", key="folder")
    if _is_client_authority(subject.path):
        yield from _authority_key(subject, model, context)


def _is_client_authority(path: Path) -> bool:
    return path.parent.name in ("client", "root") and path.parent.parent.name == "private"


def _authority_key(subject: Subject, model: KeyFile, context: Context) -> Iterator[Finding]:
    """The key that makes clients: whoever can read it can be any of them."""
    from mcpsec.audit.checks.sec import git_ignores

    if git_ignores(subject.path) is False:
        yield subject.fail("CRT007", 1, "the CA's key is in the repository, which does not ignore it", key="repository")
        return
    if model.mode & 0o077:
        yield subject.fail("CRT007", 1, f"the CA's key is open to other accounts (mode {model.mode:04o})", key="mode")
        return
    serving = _serving_accounts(context)
    owner = _account(model.owner)
    if owner in serving and not model.encrypted:
        yield subject.fail("CRT007", 1, f"the account {owner} that serves can read the CA's key", key="owner")
    elif serving:
        yield subject.ok("CRT007", 1, f"belongs to {owner}; the gateway runs as {', '.join(sorted(serving))}")
    elif model.encrypted:
        yield subject.ok("CRT007", 1, "the CA's key is encrypted")
    else:
        text = f"only {owner} can read the CA's key: see that the gateway runs as another account"
        yield subject.manual("CRT007", 1, text)


def _serving_accounts(context: Context) -> set[str]:
    """The accounts that units run ``mcpsec serve`` as."""
    accounts = set()
    for unit in context.of_kind("systemd"):
        try:
            model = unit.model
        except Malformed:
            continue
        if re.search(r"mcpsec\b.*\bserve\b", model.last("Service", "ExecStart")):
            dynamic = model.last("Service", "DynamicUser").lower() in ("yes", "true", "1", "on")
            accounts.add(model.last("Service", "User") or ("a dynamic user" if dynamic else "root"))
    return accounts


def _account(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return f"account {number}"


@across
def shared_keys(context: Context) -> Iterator[Finding]:
    """CRT008: two certificates with one key."""
    if not context.of_kind("certificate"):
        return
    from cryptography.hazmat.primitives.serialization import Encoding

    from mcpsec.certs.identity import sha256_of
    from mcpsec.certs.inspection import spki_pin

    seen: dict[str, tuple[str, Subject]] = {}
    judged = False
    for subject in context.of_kind("certificate"):
        try:
            leaves = [each for each in subject.model.certificates if not is_authority(each)]
        except Malformed:
            continue
        for leaf in leaves[:1]:
            try:
                pin, digest = spki_pin(leaf), sha256_of(leaf.public_bytes(Encoding.DER))
            except ValueError:
                continue
            if pin is None:
                continue
            first = seen.setdefault(pin, (digest, subject))
            if first[0] != digest:
                judged = True
                yield subject.fail("CRT008", 1, f"has the key of {first[1].label}", key="shared")
    if len(seen) > 1 and not judged:
        yield context.of_kind("certificate")[0].ok(
            "CRT008", None, f"{len(seen)} certificates, {len(seen)} keys", name="all certificates"
        )


@examines("deployment")
def renewal(subject: Subject, context: Context) -> Iterator[Finding]:
    """CRT005: who renews; TLS014: who revokes."""
    model: DeploymentFile = subject.model
    if model.deployment is None:
        return
    tls = model.deployment.server.tls
    pki = pki_of(tls.certificate)
    place = ("server", "tls", "certificate")
    timers = _timers(context)
    if timers:
        yield subject.ok("CRT005", place, f"renewed by {timers[0]}")
    elif (
        pki is not None
        and tls.certificate.parts[-3:-2] == ("server",)
        and any((pki / "private" / "server").glob("key*"))
    ):
        yield subject.ok("CRT005", place, "serve renews the gateway's certificate itself")
    elif pki is not None:
        text = "the server CA's key is not here, and no timer renews: mcpsec certs schedule writes one"
        yield subject.fail("CRT005", place, text, severity="medium", key="no key")
    else:
        yield subject.manual("CRT005", place, "the certificate comes from elsewhere: show what renews it")
    yield from _revocation(subject, model, context)


def _timers(context: Context) -> list[str]:
    """Units and jobs that renew certificates."""
    pattern = re.compile(
        rb"mcpsec\b[^\n]*\bcerts\b[^\n]*\brenew\b|certbot\s+renew|acme\.sh|step\s+ca\s+renew|lego\s+.*renew"
    )
    return [each.label for each in context.of_kind("systemd", "kubernetes", "workflow") if pattern.search(each.raw)]


def _revocation(subject: Subject, model: DeploymentFile, context: Context) -> Iterator[Finding]:
    from mcpsec.certs import load_crl
    from mcpsec.errors import Error

    assert model.deployment is not None
    crl: Any = model.deployment.server.tls.crl
    place = ("server", "tls", "crl")
    if crl is None:
        yield subject.fail(
            "TLS014", ("server", "tls"), "no revocation list: a stolen certificate stays good", key="none"
        )
        return
    try:
        loaded = load_crl(crl)
    except (Error, OSError) as error:
        yield subject.fail(
            "TLS014", place, f"the revocation list: {getattr(error, 'message', 'unreadable')}", key="broken"
        )
        return
    if loaded.expired(context.now):
        yield subject.fail(
            "TLS014", place, "the revocation list is too old: every client is refused", severity="high", key="old"
        )
    else:
        yield subject.ok("TLS014", place, f"the revocation list holds until {loaded.next_update:%Y-%m-%d}")


@examines("systemd")
def unit(subject: Subject, context: Context) -> Iterator[Finding]:
    """CRT005: a timer that renews."""
    if re.search(rb"mcpsec\b[^\n]*\bcerts\b[^\n]*\brenew\b|certbot\s+renew", subject.raw):
        yield subject.ok("CRT005", None, "renews certificates")


@examines("kubernetes")
def manifests(subject: Subject, context: Context) -> Iterator[Finding]:
    """CRT001 and CRT005 of cert-manager's Certificate objects (their default life is 90 days)."""
    for each in subject.model:
        if each.kind != "Certificate" or "cert-manager" not in str(each.table.get("apiVersion", "")):
            continue
        spec = each.table.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        more: dict[str, Any] = {"name": each.label, "document": each.document}
        if spec.get("isCA") is True:
            continue
        hours = _hours(str(spec.get("duration", "2160h")))
        path = (*each.path, "spec", "duration")
        if hours is not None and hours > 2161:
            yield subject.fail("CRT001", path, f"lives for {hours / 24:.0f} days", key="life", **more)
        elif hours is not None:
            yield subject.ok("CRT001", path, f"lives for {hours / 24:.0f} days", **more)
        yield subject.ok("CRT005", each.path, "cert-manager renews it", **more)


def _hours(text: str) -> float | None:
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * {"h": 1, "m": 1 / 60, "s": 1 / 3600}[unit] for number, unit in parts)
