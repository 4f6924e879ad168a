"""`certs init`, `crl`: the authorities themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mcpsec.cli.certs.context import Format, context, purpose_of
from mcpsec.cli.certs.rendering import SCHEMA, authority_json, moment, warn_unpublished
from mcpsec.cli.output import out
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from mcpsec.certs import Purpose
    from mcpsec.certs.names import SanKind

__all__ = ["crl", "init"]

_KEYS = ("root", "client", "server")


def init(
    ctx: typer.Context,
    *,
    trust_domain: Annotated[
        str, typer.Option(metavar="DOMAIN", help="Trust domain of the SPIFFE IDs that clients get by default.")
    ] = "mcp.internal",
    organization: Annotated[str | None, typer.Option(metavar="TEXT", help="Organization in every subject.")] = None,
    key: Annotated[Literal["p256", "p384", "rsa3072"], typer.Option(help="Kind of the CAs' keys.")] = "p256",
    root_days: Annotated[float, typer.Option(metavar="DAYS", help="Life of the root.")] = 3650,
    ca_days: Annotated[float, typer.Option(metavar="DAYS", help="Life of the client and the server CA.")] = 1825,
    crl_days: Annotated[float, typer.Option(metavar="DAYS", help="Life of a CRL; signed again at half of it.")] = 30,
    permit_client: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:VALUE", help="Only these names in client certificates, e.g. uri:example.com."),
    ] = None,
    permit_server: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:VALUE", help="Only these names in server certificates, e.g. dns:example.com."),
    ] = None,
    client_crl_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where you publish client-ca.crl; written into certificates.")
    ] = None,
    server_crl_url: Annotated[str | None, typer.Option(metavar="URL", help="Where you publish server-ca.crl.")] = None,
    encrypt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CA",
            help="Encrypt only this CA's key (repeat). With a passphrase option and without this: all three.",
        ),
    ] = None,
    external_key: Annotated[
        list[str] | None,
        typer.Option(metavar="CA=REFERENCE", help="A CA key held elsewhere, e.g. client=transit:mcp-client-ca."),
    ] = None,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Make a private PKI: a root, and under it a client CA and a server CA."""
    from mcpsec.certs import Pki

    own = context(ctx)
    if encrypt and not own.has_passphrase:
        raise UsageError(
            "--encrypt needs a passphrase", hint="add --passphrase-file, --passphrase-env or --passphrase-prompt"
        )
    encrypted = encrypt or (list(_KEYS) if own.has_passphrase else [])
    if set(encrypted) - set(_KEYS):
        raise UsageError("--encrypt takes root, client or server")
    external = _external(external_key or [])
    secret = own.passphrase(new=True)
    passphrases = {
        name: found for name in encrypted if name not in external and (found := secret(f"the {name} CA's key"))
    }
    urls = {"client": client_crl_url, "server": server_crl_url}
    with Pki.create(
        own.directory,
        trust_domain=trust_domain,
        organization=organization,
        key_kind=key,
        root_days=root_days,
        ca_days=ca_days,
        crl_days=crl_days,
        crl_urls={name: url for name, url in urls.items() if url},
        permitted=_permitted(permit_client or [], permit_server or []),
        passphrases=passphrases,
        external_keys=external,
    ) as pki:
        made = pki.authorities()
        if format == "json":
            authorities = [authority_json(info) for info in made]
            out.json({"schema": SCHEMA, "directory": str(pki.directory), "authorities": authorities})
            return
        out.result(f"made a PKI in {pki.directory}")
        for info in made:
            out.result(f"  {info.name}, until {info.not_after:%Y-%m-%d}")
        if "root" not in external:
            out.note(f"Take the root's key offline: {pki.directory / 'private' / 'root'} (needed again for rotate-ca)")


def _external(pairs: list[str]) -> dict[str, str]:
    from mcpsec.certs.issuers import is_external, is_issuer

    found = dict(pair.partition("=")[::2] for pair in pairs)
    for name, reference in found.items():
        if name not in _KEYS or not (is_external(reference) or (is_issuer(reference) and name != "root")):
            raise UsageError(
                f"--external-key {name}={reference} names no key",
                hint="client=transit:KEY, or client=openbao-pki:MOUNT/ROLE",
            )
    return found


def _permitted(client: list[str], server: list[str]) -> dict[Purpose, list[tuple[SanKind, str]]]:
    from mcpsec.certs import Purpose

    found = {}
    for purpose, texts in ((Purpose.CLIENT, client), (Purpose.SERVER, server)):
        if texts:
            found[purpose] = [_constraint(text) for text in texts]
    return found


def _constraint(text: str) -> tuple[SanKind, str]:
    written, _, value = text.partition(":")
    kinds: tuple[SanKind, ...] = ("dns", "uri", "ip", "email")
    for kind in kinds:
        if kind == written and value:
            return kind, value
    raise UsageError(f"{written}:{value} is no name constraint", hint="dns:, uri:, ip: or email:, then a value")


def crl(
    ctx: typer.Context,
    *,
    client: Annotated[bool, typer.Option("--client", help="Only the client CA's.")] = False,
    server: Annotated[bool, typer.Option("--server", help="Only the server CA's.")] = False,
    if_due: Annotated[bool, typer.Option("--if-due", help="Only when half of a list's life is over.")] = False,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Sign the certificate revocation lists again."""
    from mcpsec.certs import load_crl

    with context(ctx).open() as pki:
        written = pki.refresh_crls(purpose_of(client, server), force=not if_due)
        warn_unpublished(pki)
        if format == "json":
            lists = []
            for path in written:
                found = load_crl(path)
                ends = {"this_update": moment(found.this_update), "next_update": moment(found.next_update)}
                lists.append({"path": str(path), "numbers": list(found.numbers), **ends, "revoked": len(found.revoked)})
            out.json({"schema": SCHEMA, "crls": lists})
            return
        for path in written:
            out.result(f"{path}, until {load_crl(path).next_update:%Y-%m-%d %H:%M} UTC")
        if not written and not pki.unpublished():
            out.note("no list is due")
