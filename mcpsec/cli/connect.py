"""``mcpsec connect``: the bridge that lets any stdio MCP client reach a hardened server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcpsec.cli.output import examples, out
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from mcpsec.connect import Credentials

app = typer.Typer(
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(
    epilog=examples(
        "mcpsec connect -c demo/mcpsec.toml --client agent",
        "mcpsec connect https://mcp.example.com:8443/mcp --cert chain.pem --key key.pem --ca server-ca.pem "
        "--key-id agent --secret-file agent.hmac",
    )
)
def connect(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="The server's endpoint. [default: the deployment's]")
    ] = None,
    *,
    cert: Annotated[
        Path | None, typer.Option("--cert", metavar="FILE", help="Client certificate with its intermediates (PEM).")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Its private key (PEM).")] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="CA of the server's certificate. [default: system]")
    ] = None,
    key_id: Annotated[str | None, typer.Option("--key-id", metavar="ID", help="Name of the signing key.")] = None,
    secret_file: Annotated[
        Path | None, typer.Option("--secret-file", metavar="FILE", help="Shared secret that signs every request.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option("--scheme", metavar="NAME", help="hmac-sha256, rfc9421 or article.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", envvar="MCPSEC_CONFIG", help="Take what is not given from here."
        ),
    ] = None,
    client: Annotated[
        str | None, typer.Option("--client", metavar="NAME", help="The file's client to be. [default: its first]")
    ] = None,
) -> None:
    """Serve MCP on standard input and output, and pass it on to a hardened server.

    This is the [bold]command[/bold] of an MCP client's configuration: the client speaks plain stdio, the server sees
    mutual TLS and signed requests. A renewed certificate is picked up while it runs. It ends when its input ends.
    """
    from mcpsec.connect import Credentials

    if config is not None:
        from mcpsec.connect.credentials import url_of
        from mcpsec.deployment import load

        deployment = load(config)
        credentials = Credentials.from_deployment(deployment, client)
        url = url or url_of(deployment)
    elif client is not None:
        raise UsageError("--client names a client of a deployment file", hint="give it with -c FILE")
    else:
        credentials = Credentials.load(
            certificate=cert, key=key, ca=ca, key_id=key_id, secret_file=secret_file, scheme=scheme
        )
    if url is None:
        raise UsageError("there is no URL", hint="mcpsec connect https://HOST:PORT/mcp, or -c FILE of a deployment")
    _run(url, credentials)


def _run(url: str, credentials: Credentials) -> None:
    import asyncio
    import signal
    import sys

    from mcpsec.connect.bridge import Bridge
    from mcpsec.connect.http1 import HttpClient
    from mcpsec.connect.stdio import StdioPipe

    client = HttpClient(url, credentials)
    if url.startswith("https:"):
        credentials.ssl_context()  # a missing file is said now, not at the first request

    async def main() -> None:
        pipe = StdioPipe(sys.stdin.fileno(), sys.stdout.fileno())
        task = asyncio.ensure_future(Bridge(pipe, client, note=lambda text: out.note(f"mcpsec connect: {text}")).run())
        if sys.platform != "win32":
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        await pipe.close()
        if not task.cancelled():
            task.result()

    asyncio.run(main())
