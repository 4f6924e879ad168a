"""`certs issue`, `list`, `show`, `renew`, `revoke`: the certificates of clients and servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mcpsec.cli.certs.context import Format, context, purpose_of
from mcpsec.cli.certs.rendering import (
    SCHEMA,
    authority_json,
    entry_json,
    progress,
    show_entries,
    show_issued,
    warn_unpublished,
)
from mcpsec.cli.output import out
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpsec.certs import LeafRequest, Pki, Purpose

__all__ = ["export", "issue", "ledger", "list_", "request", "revoke", "show"]

Client = Annotated[bool, typer.Option("--client", help="A client's certificate.")]
Server = Annotated[bool, typer.Option("--server", help="A server's certificate.")]
KeyOption = Literal["p256", "p384", "rsa3072", "ed25519"]
Reason = Literal[
    "unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"
]


def issue(
    ctx: typer.Context,
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name of the certificate and of its directory.")
    ] = None,
    client: Client = False,
    server: Server = False,
    san: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE", help="A URI, DNS name, address or e-mail address as it is (repeat)."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Lifetime (default: 90, or the profile's).")
    ] = None,
    key: Annotated[KeyOption | None, typer.Option(help="Kind of key (default: p256, or the profile's).")] = None,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="A profile of pki.toml.")] = None,
    csr: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sign this request; its key never comes here.")
    ] = None,
    batch: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Issue a whole list: CSV, JSON or JSON Lines.")
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="With --batch: leave out names that bear a good certificate.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Also when the name bears a good certificate.")] = False,
    key_passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Encrypt the new key with the passphrase in this file.")
    ] = None,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Issue a certificate with a new key: PEM files in DIR/client/NAME or DIR/server/NAME."""
    with context(ctx).open() as pki:
        purpose = purpose_of(client, server)
        if batch is not None:
            if name or san or csr or days or key or profile or replace or key_passphrase_file:
                raise UsageError(
                    "with --batch everything stands in the list", hint="only --client or --server go with it"
                )
            _issue_batch(pki, batch, purpose, skip_existing=skip_existing, as_json=format == "json")
            return
        if name is None:
            raise UsageError("give a name", hint="mcpsec certs issue reporting --client")
        if purpose is None and profile is not None and profile in pki.profiles:
            purpose = pki.profiles[profile].purpose
        if purpose is None:
            raise UsageError("say what the certificate is for", hint="--client or --server")
        public_key, text, sans = None, None, tuple(san or ())
        if csr is not None:
            from mcpsec.certs.csr import read_request

            asked = read_request(csr)
            public_key, text, sans = asked.public_key, asked.pem, sans or asked.sans
        issued = pki.issue(
            name,
            purpose,
            sans,
            days=days,
            profile=profile,
            key_kind=key,
            public_key=public_key,
            request=text,
            key_passphrase=_secret_in(key_passphrase_file),
            replace=replace,
        )
        show_issued(pki, [issued], as_json=format == "json", verb="issued")


def _secret_in(path: Path | None) -> bytes | None:
    if path is None:
        return None
    from mcpsec.secretrefs import SecretRef

    return SecretRef.parse({"file": str(path)}, Path.cwd()).resolve()


def _issue_batch(pki: Pki, path: Path, purpose: Purpose | None, *, skip_existing: bool, as_json: bool) -> None:
    from mcpsec.certs.batch import count_requests, read_requests
    from mcpsec.certs.leaf import now_utc

    now = now_utc()
    total = count_requests(path, pki, purpose, skip_existing=skip_existing)

    def wanted() -> Iterator[LeafRequest]:
        for request in read_requests(path, pki, purpose):
            if skip_existing:
                current = pki.authority(request.profile.purpose).ledger.borne([request.name]).get(request.name)
                if current is not None and current.state(now) == "valid":
                    continue
            yield request

    documents = []
    count = 0
    with progress(total, "certificates") as advance:
        for issued in pki.issue_many(wanted(), advance):
            count += 1
            if as_json:
                entry = pki.authority(issued.purpose).ledger.by_serial(issued.serial)
                assert entry is not None
                documents.append(entry_json(pki, entry, now))
    if as_json:
        out.json({"schema": SCHEMA, "certificates": documents})
    else:
        out.result(f"issued {count} certificates below {pki.directory}")


def list_(
    ctx: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every certificate ever signed, not only the one each name bears now.")
    ] = False,
    client: Annotated[bool, typer.Option("--client", help="Only clients.")] = False,
    server: Annotated[bool, typer.Option("--server", help="Only servers.")] = False,
    state: Annotated[
        Literal["valid", "expired", "revoked", "superseded", "abandoned"] | None,
        typer.Option(help="Only those in this state."),
    ] = None,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """List certificates, from the ledger."""
    from mcpsec.certs.leaf import now_utc

    now = now_utc()
    with context(ctx).open() as pki:
        purpose = purpose_of(client, server)
        everything = everything or state in ("superseded", "abandoned")
        found = (
            entry
            for entry in pki.entries(everything=everything)
            if (purpose is None or entry.purpose == purpose) and (state is None or entry.state(now) == state)
        )
        if format == "json":
            authorities = [authority_json(info) for info in pki.authorities()]
            certificates = [entry_json(pki, entry, now) for entry in found]
            out.json({"schema": SCHEMA, "certificates": certificates, "authorities": authorities})
            return
        show_entries(found, now)
        hidden = pki.unreadable_purposes()
        if hidden:
            out.note(f"not shown: {', '.join(hidden)} certificates, whose ledger this account may not read")


def revoke(
    ctx: typer.Context,
    *,
    which: Annotated[
        str, typer.Argument(metavar="NAME|SERIAL", help="All of a name's certificates, or one by serial.")
    ],
    reason: Annotated[Reason, typer.Option(help="Why (RFC 5280 section 5.3.1).")] = "unspecified",
    client: Client = False,
    server: Server = False,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Revoke certificates for good and publish the CRL that says so, in one step."""
    from mcpsec.certs.leaf import now_utc

    with context(ctx).open() as pki:
        revoked = pki.revoke(which, reason, purpose_of(client, server))
        warn_unpublished(pki)
        if format == "json":
            now = now_utc()
            out.json({"schema": SCHEMA, "certificates": [entry_json(pki, entry, now) for entry in revoked]})
            return
        for entry in revoked:
            out.result(f"revoked {entry.purpose} certificate {entry.name}, serial {entry.serial}")
        if not revoked:
            out.note("nothing to revoke: all of it is revoked or expired already")


def show(
    ctx: typer.Context,
    *,
    which: Annotated[str, typer.Argument(metavar="NAME|SERIAL")],
    client: Client = False,
    server: Server = False,
    pem: Annotated[bool, typer.Option("--pem", help="Print the certificate itself.")] = False,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Show what the ledger knows about a name or serial number."""
    from mcpsec.certs.leaf import now_utc
    from mcpsec.certs.leaf import pem as pem_of

    now = now_utc()
    with context(ctx).open() as pki:
        found = pki.find(which, purpose_of(client, server))
        if pem:
            out.result(pem_of(pki.current(which, purpose_of(client, server)).der).decode())
        elif format == "json":
            out.json({"schema": SCHEMA, "certificates": [entry_json(pki, entry, now) for entry in found]})
        else:
            for entry in found:
                facts = entry_json(pki, entry, now)
                lines = [f"{key.replace('_', ' '):12} {_flat(value)}" for key, value in facts.items() if value]
                out.result("\n".join(lines) + "\n")


def _flat(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def request(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who the certificate will be for.")],
    san: Annotated[list[str] | None, typer.Option(metavar="VALUE", help="A name to ask for (repeat).")] = None,
    key: Annotated[KeyOption, typer.Option(help="Kind of key.")] = "p256",
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where key.pem and request.pem go.")] = Path(),
    key_passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Encrypt the key with the passphrase in this file.")
    ] = None,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Make a key and a signing request where the key will live; no PKI is needed there."""
    from mcpsec.certs import keys
    from mcpsec.certs.csr import make_request
    from mcpsec.certs.files import make_directory
    from mcpsec.writing import PRIVATE, PUBLIC, write_atomic

    made = keys.generate(key)
    text = make_request(name, san or (), made)
    key_file, request_file = out_dir / "key.pem", out_dir / "request.pem"
    if key_file.exists():
        raise UsageError("there is a key already, and it is not overwritten", path=key_file)
    make_directory(out_dir)
    write_atomic(key_file, keys.encode(made, _secret_in(key_passphrase_file)), PRIVATE)
    write_atomic(request_file, text, PUBLIC)
    if format == "json":
        out.json({"schema": SCHEMA, "key": str(key_file.absolute()), "request": str(request_file.absolute())})
        return
    out.result(f"{key_file}\n{request_file}")
    out.note(f"Where the PKI is: mcpsec certs issue {name} --client --csr {request_file.name}")


def export(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    out_file: Annotated[Path, typer.Option("--out", metavar="FILE", help="The PKCS#12 file to write (mode 0600).")],
    bundle_passphrase_file: Annotated[
        Path, typer.Option(metavar="FILE", help="File with the passphrase of the bundle.")
    ],
    client: Client = False,
    server: Server = False,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Bundle key, certificate and chain as PKCS#12, for browsers, Java and Windows."""
    from mcpsec.certs.export import write_pkcs12

    own = context(ctx)
    secret = _secret_in(bundle_passphrase_file)
    assert secret is not None
    with own.open() as pki:
        files = pki.files_of(pki.current(name, purpose_of(client, server)))
        if files is None:
            raise UsageError(f"{name!r} bears no certificate now")
        write_pkcs12(files, out_file, secret, pki.passphrase)
    if format == "json":
        out.json({"schema": SCHEMA, "bundle": str(out_file.absolute())})
        return
    out.result(str(out_file))


def ledger(ctx: typer.Context) -> None:
    """Export the ledger: every certificate ever signed, as JSON Lines with the certificates themselves."""
    from mcpsec.certs.export import ledger_lines

    with context(ctx).open() as pki:
        for line in ledger_lines(pki):
            out.result(line)
