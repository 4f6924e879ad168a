"""``mcpsec serve``: run the gateway. ``mcpsec.cli.light`` reads the same options without Typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcpsec.cli import serving
from mcpsec.cli.options import application
from mcpsec.cli.output import examples

app = application(group=False)


@app.command(
    epilog=examples(
        "mcpsec serve --quickstart",
        "mcpsec serve -- npx -y @modelcontextprotocol/server-filesystem@2026.8.31 /data",
        "mcpsec serve --upstream http://127.0.0.1:9000/mcp --grant reporting-agent",
        "mcpsec serve --app tickets.server:mcp",
        "mcpsec serve -c /etc/mcpsec/mcpsec.toml --listen 0.0.0.0:8443 --workers 4",
    )
)
def serve(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="A stdio MCP server to put behind the gateway."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", envvar="MCPSEC_CONFIG", help="Deployment file [./mcpsec.toml].")
    ] = None,
    quickstart: Annotated[
        bool, typer.Option("--quickstart", help="Make a deployment if none is there, and print a call to try.")
    ] = False,
    upstream: Annotated[
        str | None, typer.Option("--upstream", metavar="URL", help="A Streamable HTTP MCP server to put behind it.")
    ] = None,
    python_app: Annotated[
        str | None,
        typer.Option("--app", metavar="MODULE:NAME", help="An MCP server or ASGI app to run inside the gateway."),
    ] = None,
    grant: Annotated[
        str | None,
        typer.Option("--grant", metavar="CLIENT", help="Who may use it (default: the file's first client)."),
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Listen here; port 0 takes a free one.")
    ] = None,
    admin_listen: Annotated[
        str | None, typer.Option("--admin-listen", metavar="HOST:PORT", help="Health and metrics listen here.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option("--ready-file", help="Write url, admin_url and pid to this file when requests are accepted."),
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option("--auth", metavar="FACTORS", help="What every request needs: mtls, signature, bearer, or none."),
    ] = None,
    rate_limit: Annotated[
        str | None, typer.Option("--rate-limit", metavar="RATE", help="For every client: 100/minute, or off.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=1, max=serving.MOST_WORKERS, help="Processes that serve; several need a shared state."
        ),
    ] = 1,
) -> None:
    """Put a hardened gateway in front of MCP servers.

    Mutual TLS, signed requests, least-privilege policy, rate limits and an audit log, as the deployment file says.
    COMMAND, --upstream or --app replaces the file's upstreams for this run; their tools keep their names.
    """
    serving.serve(
        serving.ServeOptions(
            command=tuple(command or ()),
            config=config,
            quickstart=quickstart,
            upstream=upstream,
            python_app=python_app,
            grant=grant,
            listen=listen,
            admin_listen=admin_listen,
            ready_file=ready_file,
            auth=auth,
            rate_limit=rate_limit,
            workers=workers,
        )
    )
