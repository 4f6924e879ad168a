"""`certs issue`, `list`, `show`, `renew`, `revoke`: the certificates of clients and servers."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mcpsec.cli.certs.context import Format, context, purpose_of
from mcpsec.cli.certs.rendering import SCHEMA, authority_json, entry_json, show_entries, show_issued
from mcpsec.cli.output import out
from mcpsec.errors import UsageError

__all__ = ["issue", "list_", "renew", "revoke", "show"]

Client = Annotated[bool, typer.Option("--client", help="A client's certificate.")]
Server = Annotated[bool, typer.Option("--server", help="A server's certificate.")]
KeyOption = Literal["p256", "p384", "rsa3072", "ed25519"]
Reason = Literal[
    "unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"
]


def issue(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the certificate and of its directory.")],
    client: Client = False,
    server: Server = False,
    san: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE", help="A URI, DNS name, address or e-mail address as it is (repeat)."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Lifetime [default: 90, or the profile's].")
    ] = None,
    key: Annotated[KeyOption | None, typer.Option(help="Kind of key [default: p256, or the profile's].")] = None,
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="A profile of pki.toml.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also when the name bears a good certificate.")] = False,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Issue a certificate with a new key: PEM files in DIR/client/NAME or DIR/server/NAME."""
    with context(ctx).open() as pki:
        purpose = purpose_of(client, server)
        if purpose is None and profile is not None and profile in pki.settings.profiles:
            purpose = pki.settings.profiles[profile].purpose
        if purpose is None:
            raise UsageError("say what the certificate is for", hint="--client or --server")
        issued = pki.issue(name, purpose, san or (), days=days, profile=profile, key_kind=key, replace=replace)
        show_issued(pki, [issued], as_json=format == "json", verb="issued")


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
    from mcpsec.certs.authority import now_utc

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
    client: Client = False,
    server: Server = False,
    days: Annotated[float | None, typer.Option(metavar="DAYS", help="Another lifetime than before.")] = None,
    key: Annotated[KeyOption | None, typer.Option(help="Another kind of key than before.")] = None,
    reuse_key: Annotated[bool, typer.Option("--reuse-key", help="Keep the key instead of making a new one.")] = False,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Renew certificates: same names and lifetime, new key."""
    if bool(names) == all_due:
        raise UsageError("give names, or --all-due")
    with context(ctx).open() as pki:
        purpose = purpose_of(client, server)
        renewed = [pki.renew(name, purpose, days=days, key_kind=key, reuse_key=reuse_key) for name in names or ()]
        show_issued(pki, renewed, as_json=format == "json", verb="renewed")


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
    from mcpsec.certs.authority import now_utc

    with context(ctx).open() as pki:
        revoked = pki.revoke(which, reason, purpose_of(client, server))
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
    from mcpsec.certs.authority import now_utc
    from mcpsec.certs.authority import pem as pem_of

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
