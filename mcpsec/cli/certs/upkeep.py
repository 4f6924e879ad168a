"""`certs renew`, `rotate-ca`, `schedule`: keeping a PKI alive."""

from __future__ import annotations

import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mcpsec import __version__
from mcpsec.cli.certs.context import CertsContext, Format, context, purpose_of
from mcpsec.cli.certs.rendering import SCHEMA, authority_json, show_issued
from mcpsec.cli.output import out
from mcpsec.errors import Error, ExitCode, UsageError

if TYPE_CHECKING:
    from mcpsec.certs import Issued, Pki, Purpose, Renewal

__all__ = ["renew", "rotate_ca", "schedule"]

_MOST_DAYS = 36525
"""A century: more than any certificate lives."""


def renew(
    ctx: typer.Context,
    *,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Whose certificates.")] = None,
    all_due: Annotated[
        bool, typer.Option("--all-due", help="Every certificate with a third of its life left.")
    ] = False,
    within: Annotated[
        float | None, typer.Option(metavar="DAYS", help="With --all-due: those that end within so many days.")
    ] = None,
    client: Annotated[bool, typer.Option("--client", help="Only clients.")] = False,
    server: Annotated[bool, typer.Option("--server", help="Only servers.")] = False,
    days: Annotated[float | None, typer.Option(metavar="DAYS", help="Another lifetime than before.")] = None,
    key: Annotated[
        Literal["p256", "p384", "rsa3072", "ed25519"] | None, typer.Option(help="Another kind of key than before.")
    ] = None,
    reuse_key: Annotated[bool, typer.Option("--reuse-key", help="Keep the key instead of making a new one.")] = False,
    csr: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certify the key of this request (names stay as they are).")
    ] = None,
    hook: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Run after each renewal; sees MCPSEC_NAME, MCPSEC_CERTIFICATE, …"),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep running and renew whatever becomes due.")] = False,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", help="With --watch: look at least this often.", min=1)
    ] = 3600,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Renew certificates: same names and lifetime, new key. Also signs CRLs again that are due.

    Old certificates stay good until they end. Exit code 1 when a renewal or its hook failed.
    """
    from mcpsec.certs.hooks import parse_hook

    own = context(ctx)
    words = parse_hook(hook) if hook is not None else None
    purpose = purpose_of(client, server)
    if within is not None and not 0 <= within <= _MOST_DAYS:
        raise UsageError(f"--within takes 0 to {_MOST_DAYS} days")
    lead = None if within is None else timedelta(days=within)
    if watch and (names or format == "json"):
        raise UsageError("--watch looks after every certificate, and tells so in lines", hint="leave the others out")
    if not watch and bool(names) == all_due:
        raise UsageError("give names, or --all-due")
    if (all_due or watch) and (days is not None or key is not None or reuse_key or csr is not None):
        raise UsageError("what is due is renewed as it was", hint="name the certificates to change something")
    if within is not None and (names or watch):
        raise UsageError("--within goes with --all-due")
    if watch:
        _watch(own, interval, words, purpose)
        return
    if csr is not None and len(names or ()) != 1:
        raise UsageError("--csr goes with one name")
    with own.open() as pki:
        failures: list[Renewal] | None = None
        if all_due:
            renewals = pki.renew_due(within=lead, purpose=purpose)
            renewed = [renewal.issued for renewal in renewals if renewal.issued is not None]
            failures = [renewal for renewal in renewals if renewal.error is not None]
            _tell_failures(failures)
            _tell_hidden(pki, purpose)
        else:
            renewed = [
                pki.renew(name, purpose, days=days, key_kind=key, reuse_key=reuse_key, **_key_of(csr))
                for name in names or ()
            ]
        show_issued(pki, renewed, as_json=format == "json", verb="renewed", failed=failures)
        if all_due and not renewed and not failures:
            out.note("no certificate is due")
    if _run_hooks(words, renewed) or failures:
        raise typer.Exit(ExitCode.NO)


def _tell_hidden(pki: Pki, purpose: Purpose | None) -> None:
    mine = [authority.purpose for authority in pki.writable_authorities(purpose)]
    others = [other for other in type(mine[0]) if other not in mine and purpose in (None, other)]
    if others:
        out.note(f"left out: {others[0]} certificates and their revocation list, which this account may not change")


def _key_of(csr: Path | None) -> dict[str, Any]:
    if csr is None:
        return {}
    from mcpsec.certs.csr import read_request

    asked = read_request(csr)
    return {"public_key": asked.public_key, "request": asked.pem}


def _tell_failures(failures: list[Renewal]) -> None:
    for renewal in failures:
        what = renewal.name if renewal.kind == "crl" else f"{renewal.purpose} {renewal.name}"
        out.warn(f"{what} was not renewed: {renewal.error}")


def _run_hooks(words: list[str] | None, renewed: list[Issued]) -> bool:
    """Run the hook for each certificate; tell whether one failed."""
    from mcpsec.certs.hooks import run_hook

    failed = False
    for issued in renewed if words is not None else ():
        try:
            run_hook(words or [], issued)
        except Error as error:
            out.warn(str(error))
            failed = True
    return failed


def _watch(own: CertsContext, interval: float, words: list[str] | None, purpose: Purpose | None) -> None:
    import signal
    import threading

    from mcpsec.certs.watch import watch

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def report(renewals: list[Renewal]) -> None:
        renewed = [renewal.issued for renewal in renewals if renewal.issued is not None]
        for issued in renewed:
            out.result(
                f"renewed {issued.purpose} certificate {issued.name}, until {issued.not_after:%Y-%m-%d %H:%M} UTC"
            )
        _tell_failures([renewal for renewal in renewals if renewal.error is not None])
        _run_hooks(words, renewed)

    with own.open() as pki:  # a wrong directory or account ends the command at once, and not only in the log
        _tell_hidden(pki, purpose)
        out.note(f"watching {own.directory}")
    secret = own.passphrase()
    watch(
        lambda: own.open(secret),
        timedelta(seconds=interval),
        stop,
        report,
        lambda error: out.warn(str(error)),
        purpose=purpose,
    )


def rotate_ca(
    ctx: typer.Context,
    *,
    which: Annotated[Literal["client", "server", "root"], typer.Argument(help="The CA to replace.")],
    retire: Annotated[
        bool, typer.Option("--retire", help="End the overlap: the old CA goes, nothing new is made.")
    ] = False,
    root_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The root's key, when it is kept elsewhere.")
    ] = None,
    key: Annotated[
        Literal["p256", "p384", "rsa3072"] | None, typer.Option(help="Another kind of key than before.")
    ] = None,
    days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Life of the new CA (default: 1825, root 3650).")
    ] = None,
    external_key: Annotated[
        str | None, typer.Option(metavar="REFERENCE", help="The new CA's key is held elsewhere, e.g. transit:KEY.")
    ] = None,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Encrypt a new root's key with the passphrase.")] = False,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Replace a CA. Old and new overlap; `renew --all-due` retires the old one once nothing depends on it."""
    from mcpsec.certs import Purpose, rotation

    own = context(ctx)
    with own.open() as pki:
        if retire:
            gone = rotation.retire_root(pki) if which == "root" else rotation.retire(pki, Purpose(which))
            for one in gone:
                cut = f"; {one.cut_off} superseded certificates are refused from now on" if one.cut_off else ""
                out.note(f"retired {one.name}{cut}")
        elif which == "root":
            secret = own.passphrase(new=True)("the root CA's key") if encrypt else None
            rotation.rotate_root(pki, key_kind=key, days=3650 if days is None else days, passphrase=secret)
            out.note("Give every peer the new root-ca.pem, then: mcpsec certs rotate-ca server, and rotate-ca client")
        else:
            purpose = Purpose(which)
            life = 1825 if days is None else days
            rotation.rotate(pki, purpose, root_key=root_key, key_kind=key, days=life, external_key=external_key)
            out.note(f"Renew what the old CA issued: mcpsec certs --dir {own.directory} renew --all-due")
        infos = [info for info in pki.authorities() if info.role == which]
        if format == "json":
            out.json({"schema": SCHEMA, "authorities": [authority_json(info) for info in infos]})
            return
        for info in infos:
            out.result(f"{info.state:12} {info.name}, until {info.not_after:%Y-%m-%d}")


def schedule(
    ctx: typer.Context,
    *,
    system: Annotated[Literal["systemd", "cron", "kubernetes"], typer.Argument(help="What runs it.")],
    user: Annotated[str, typer.Option(metavar="NAME", help="The account that owns the PKI.")] = "mcpsec-ca",
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="For Kubernetes: an image with mcpsec.")
    ] = f"mcpsec:{__version__}",
    hook: Annotated[str | None, typer.Option(metavar="COMMAND", help="Run after each renewal.")] = None,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Print what makes renewal automatic: a systemd timer, a cron file or a Kubernetes CronJob."""
    from mcpsec.certs.schedule import schedule as text_for

    own = context(ctx)
    options = ["--hook", hook] if hook else []
    if own.passphrase_file:
        options += ["--passphrase-file", str(own.passphrase_file.absolute())]
    program = shutil.which("mcpsec") or str(Path(sys.argv[0]).absolute())
    text = text_for(system, own.directory.absolute(), program=program, user=user, image=image, options=options)
    if format == "json":
        out.json({"schema": SCHEMA, "system": system, "text": text})
        return
    out.result(text)
