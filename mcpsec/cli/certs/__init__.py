"""`mcpsec certs`: the private PKI on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcpsec.cli.certs import authority, checking, leaves, looking, upkeep
from mcpsec.cli.certs.context import DEFAULT, CertsContext, CertsGroup
from mcpsec.cli.output import examples
from mcpsec.errors import UsageError

__all__ = ["app"]

app = typer.Typer(
    cls=CertsGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "mcpsec certs init",
        "mcpsec certs issue reporting --client --san spiffe://example.com/agent/reporting",
        "mcpsec certs issue gateway --server --san mcp.example.com --san 192.0.2.10",
        "mcpsec certs check --warn 30d",
        "mcpsec certs check -c /etc/mcpsec/mcpsec.toml",
    ),
)


@app.callback()
def certs(
    ctx: typer.Context,
    *,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", "-d", envvar="MCPSEC_CERTS_DIR", metavar="DIR", help="The PKI's directory (default: pki)."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar="MCPSEC_CONFIG",
            metavar="FILE",
            help="A deployment file instead, whose certificates are in the PKI.",
        ),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the passphrase of encrypted keys (mode 0600).")
    ] = None,
    passphrase_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable with the passphrase.")
    ] = None,
    passphrase_ref: Annotated[
        str | None, typer.Option(metavar="REF", help='Secret reference, e.g. { command = ["op", "read", "…"] }.')
    ] = None,
    passphrase_prompt: Annotated[bool, typer.Option("--passphrase-prompt", help="Ask for the passphrase.")] = False,
) -> None:
    """Run a private certificate authority for mutual TLS: issue, renew, revoke, check.

    The options below may also stand after the subcommand.
    """
    if _typed(ctx, "config"):
        if _typed(ctx, "directory"):
            raise UsageError("--dir and --config exclude each other", hint="the deployment file says where its PKI is")
        if ctx.invoked_subcommand == "init":
            raise UsageError("init makes a PKI where --dir says", hint="mcpsec init makes one with a deployment file")
        directory = None  # what is typed comes before what the environment says
    elif ctx.invoked_subcommand == "init":
        directory = directory or DEFAULT
    ctx.obj = CertsContext(directory, config, passphrase_file, passphrase_env, passphrase_ref, passphrase_prompt)


def _typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


app.command(
    "init",
    epilog=examples(
        "mcpsec certs init --trust-domain example.com",
        "mcpsec certs --dir /etc/mcpsec/pki init --passphrase-prompt --encrypt root",
        "mcpsec certs init --permit-server dns:example.com --permit-client uri:example.com",
    ),
)(authority.init)
app.command(
    "issue",
    epilog=examples(
        "mcpsec certs issue reporting --client",
        "mcpsec certs issue reporting --client --san spiffe://example.com/agent/reporting --days 30",
        "mcpsec certs issue gateway --server --san mcp.example.com --san 192.0.2.10 --key ed25519",
    ),
)(leaves.issue)
app.command("list", epilog=examples("mcpsec certs list", "mcpsec certs list --all --format json"))(leaves.list_)
app.command("show", epilog=examples("mcpsec certs show reporting", "mcpsec certs show 3DAF1BFB… --pem"))(leaves.show)
app.command(
    "renew",
    epilog=examples(
        "mcpsec certs renew reporting",
        "mcpsec certs renew --all-due --hook 'systemctl reload nginx'",
        "mcpsec certs renew --watch",
    ),
)(upkeep.renew)
app.command(
    "revoke",
    epilog=examples("mcpsec certs revoke reporting --reason keyCompromise", "mcpsec certs revoke 3DAF1BFB…"),
)(leaves.revoke)
app.command("crl", epilog=examples("mcpsec certs crl", "mcpsec certs crl --if-due --client"))(authority.crl)
app.command(
    "check",
    epilog=examples(
        "mcpsec certs check",
        "mcpsec certs check --warn 30d --fail 7d mcp.example.com:8443 /etc/ssl/mine.pem",
        "mcpsec certs check --format prometheus --output /var/lib/node_exporter/textfile/mcpsec_certs.prom",
        "mcpsec certs check --format nagios",
    ),
)(checking.check)
app.command(
    "verify",
    epilog=examples(
        "mcpsec certs verify reporting",
        "mcpsec certs verify their-client.pem --client --ca client-ca.pem --crl client-ca.crl",
        "mcpsec certs verify mcp.example.com:8443 --cert chain.pem --key key.pem",
    ),
)(looking.verify)
app.command("lint", epilog=examples("mcpsec certs lint reporting", "mcpsec certs lint their-ca.pem --fail-on error"))(
    looking.lint
)
app.command(
    "inspect",
    epilog=examples("mcpsec certs inspect their.pem", "mcpsec certs inspect mcp.example.com:8443 --format json"),
)(looking.inspect)
app.command(
    "fingerprint", epilog=examples("mcpsec certs fingerprint reporting", "mcpsec certs fingerprint --spki their.pem")
)(looking.fingerprint)
app.command(
    "rotate-ca",
    epilog=examples(
        "mcpsec certs rotate-ca client --root-key /media/usb/key.pem",
        "mcpsec certs renew --all-due",
        "mcpsec certs rotate-ca client --retire",
    ),
)(upkeep.rotate_ca)
app.command(
    "schedule",
    epilog=examples("mcpsec certs --dir /etc/mcpsec/pki schedule systemd", "mcpsec certs schedule cron --user root"),
)(upkeep.schedule)
app.command(
    "request", epilog=examples("mcpsec certs request reporting --san spiffe://example.com/agent/reporting --out mine")
)(leaves.request)
app.command(
    "export", epilog=examples("mcpsec certs export reporting --out reporting.p12 --bundle-passphrase-file secret.txt")
)(leaves.export)
app.command("ledger", epilog=examples("mcpsec certs ledger > ledger.jsonl"))(leaves.ledger)
