"""``mcpsec connect``: the bridge that lets any stdio MCP client reach a hardened server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcpsec.cli.client_options import (
    CaOption,
    CertificateOption,
    ClientOption,
    ConfigOption,
    KeyIdOption,
    KeyOption,
    SchemeOption,
    SecretOption,
    SigningKeyOption,
)
from mcpsec.cli.options import application
from mcpsec.cli.output import examples, out
from mcpsec.connect.oauth.settings import Binding, Grant, Keep, Settings
from mcpsec.errors import UsageError, advice
from mcpsec.signing.message import SignedMessage
from mcpsec.urls import is_confidential, is_loopback_name, split_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from mcpsec.connect import Credentials
    from mcpsec.connect.oauth.authorizer import Authorizer
    from mcpsec.connect.selection import Selection

app = application(group=False)


@app.command(
    epilog=examples(
        "mcpsec connect -c demo/mcpsec.toml --client agent",
        "mcpsec connect https://mcp.example.com:8443/mcp --cert chain.pem --key key.pem --ca server-ca.pem "
        "--key-id agent --secret-file agent.hmac",
        "mcpsec connect -c demo/mcpsec.toml --client agent --install claude-desktop",
        "mcpsec connect -c demo/mcpsec.toml --client agent --install codex --print",
        "mcpsec connect https://mcp.example.com:8443/mcp --login",
    )
)
def connect(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="The server's endpoint (default: the deployment's).")
    ] = None,
    *,
    cert: CertificateOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    scheme: SchemeOption = None,
    secret_file: SecretOption = None,
    key_file: SigningKeyOption = None,
    key_id: KeyIdOption = None,
    config: ConfigOption = None,
    client: ClientOption = None,
    oauth_client_id: Annotated[
        str | None,
        typer.Option("--oauth-client-id", metavar="ID", help="The client that is registered (default: register one)."),
    ] = None,
    oauth_client_secret_file: Annotated[
        Path | None, typer.Option("--oauth-client-secret-file", metavar="FILE", help="Its secret; no browser then.")
    ] = None,
    oauth_client_key_file: Annotated[
        Path | None,
        typer.Option("--oauth-client-key-file", metavar="FILE", help="Its private key (PEM); no browser then."),
    ] = None,
    oauth_grant: Annotated[Grant, typer.Option("--oauth-grant", help="How to get a token.")] = Grant.auto,
    oauth_binding: Annotated[Binding, typer.Option("--oauth-binding", help="What a token is bound to.")] = Binding.auto,
    oauth_scope: Annotated[
        str | None, typer.Option("--oauth-scope", metavar="WORDS", help="Scopes (default: what the server names).")
    ] = None,
    oauth_issuer: Annotated[
        str | None, typer.Option("--oauth-issuer", metavar="URL", help="Accept no other authorization server.")
    ] = None,
    oauth_ca: Annotated[
        Path | None, typer.Option("--oauth-ca", metavar="FILE", help="CA of its certificate (default: system).")
    ] = None,
    oauth_port: Annotated[
        int | None,
        typer.Option("--oauth-port", metavar="PORT", min=1, max=65535, help="Of the redirect (default: a free one)."),
    ] = None,
    oauth_store: Annotated[Keep, typer.Option("--oauth-store", help="Where tokens are kept.")] = Keep.auto,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Say the address to log in at; open nothing.")
    ] = False,
    login: Annotated[bool, typer.Option("--login", help="Get and keep a token now, then end.")] = False,
    logout: Annotated[bool, typer.Option("--logout", help="Revoke and forget the token, then end.")] = False,
    install: Annotated[
        str | None,
        typer.Option("--install", metavar="CLIENT", help="Write this command into an MCP client's configuration."),
    ] = None,
    uninstall: Annotated[
        str | None,
        typer.Option("--uninstall", metavar="CLIENT", help="Take the entry out of that client's configuration."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the server is called there.")] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the entry, write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before writing.")] = False,
) -> None:
    """Serve MCP on standard input and output, and pass it on to a hardened server.

    This is the [bold]command[/bold] of an MCP client's configuration: the client speaks plain stdio, the server sees
    mutual TLS and signed requests. A renewed certificate is picked up while it runs. It ends when its input ends.

    [bold]--install[/bold] writes that entry, [bold]--uninstall[/bold] takes it out: it shows the change, asks, and
    keeps a copy of the file.
    """
    from mcpsec.connect.selection import Selection

    _one_thing({"--login": login, "--logout": logout, "--install": install, "--uninstall": uninstall})
    _one_thing({"--login": login, "--logout": logout, "--uninstall": uninstall, "--print": show})
    _see_oauth(oauth_issuer, oauth_client_secret_file, oauth_client_key_file, oauth_ca)
    selection = Selection(
        url=url,
        certificate=cert,
        key=key,
        ca=ca,
        scheme=None if scheme is None else scheme.value,
        key_id=key_id,
        secret_file=secret_file,
        key_file=key_file,
        config=config,
        client=client,
    )
    settings = Settings(
        client_id=oauth_client_id,
        client_secret=oauth_client_secret_file,
        client_key=oauth_client_key_file,
        issuer=oauth_issuer,
        scope=oauth_scope,
        grant=oauth_grant,
        binding=oauth_binding,
        ca=oauth_ca,
        redirect_port=oauth_port,
        keep=oauth_store,
        browser=not no_browser,
    )
    if uninstall is not None:
        from mcpsec.cli import connect_install

        connect_install.uninstall(uninstall, name, "mcpsec" if url is None else _server_name(url), yes=yes)
        return
    credentials, place = selection.load()
    if place is None:
        raise UsageError("there is no URL", hint="mcpsec connect https://HOST:PORT/mcp, or -c FILE of a deployment")
    SignedMessage.from_url("POST", place)  # what is no URL is said now, not by the client that gets the entry
    parts = _parts(place)
    if not is_confidential(parts):
        raise UsageError(f"plain HTTP to another machine: {place}", hint="a hardened server speaks https://")
    if parts.scheme == "https":
        credentials.ssl_context()  # a missing file is said now, not at the first request
    if install is not None or show:
        from mcpsec.cli import connect_install

        arguments = connect_install.command_line(
            url,
            {
                "--cert": cert,
                "--key": key,
                "--ca": ca,
                "--secret-file": secret_file,
                "--key-file": key_file,
                "-c": selection.file,
                "--key-id": key_id,
                "--scheme": scheme,
                "--client": client,
                "--oauth-client-id": oauth_client_id,
                "--oauth-client-secret-file": oauth_client_secret_file,
                "--oauth-client-key-file": oauth_client_key_file,
                "--oauth-grant": oauth_grant,
                "--oauth-binding": oauth_binding,
                "--oauth-scope": oauth_scope,
                "--oauth-issuer": oauth_issuer,
                "--oauth-ca": oauth_ca,
                "--oauth-port": oauth_port,
                "--oauth-store": oauth_store,
                "--no-browser": no_browser,
            },
        )
        if install is None or show:
            connect_install.show(install, name, _server_name(place), arguments)
        else:
            connect_install.install(install, name, _server_name(place), arguments, yes=yes)
        return
    if login or logout:
        _tokens(_authorizer(place, credentials, settings, selection), forget=logout)
        return
    _run(place, credentials, lambda: _authorizer(place, credentials, settings, selection))


def _one_thing(wanted: dict[str, object]) -> None:
    """Each of these is done instead of serving; none may be dropped without a word."""
    given = [option for option, value in wanted.items() if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", hint="one after the other")


def _see_oauth(issuer: str | None, *files: Path | None) -> None:
    """Mistakes in what is needed only when a server asks for a token: said now, not in the midst of a session."""
    if issuer is not None:
        parts = split_url(issuer)
        if parts is None or not parts.hostname or not is_confidential(parts):
            raise UsageError(f"--oauth-issuer: {issuer!r} is no https URL", hint="write it as the issuer does")
    for file in files:
        if file is not None:
            try:
                file.open("rb").close()
            except OSError as error:
                raise UsageError(f"can't be read: {error.strerror}", path=file, hint=advice(error)) from None


def _parts(url: str) -> SplitResult:
    parts = split_url(url)
    if parts is None:
        raise UsageError(f"{url!r} is no URL", hint="write it like https://HOST:PORT/mcp")
    return parts


def _server_name(url: str) -> str:
    """A name for the server in a client's list: the host, or mcpsec for one on this machine."""
    host = _parts(url).hostname
    return "mcpsec" if host is None or is_loopback_name(host) else host


def _note(text: str) -> None:
    out.note(f"mcpsec connect: {text}")


def _authorizer(url: str, credentials: Credentials, settings: Settings, selection: Selection) -> Authorizer:
    """What gets tokens; who issues them is the file's to say where the options leave it open."""
    from mcpsec.connect.oauth.authorizer import Authorizer

    issuer, ca = selection.issuer()
    settings = replace(settings, issuer=settings.issuer or issuer, ca=settings.ca or ca)
    return Authorizer(url, credentials, settings, note=_note)


def _tokens(authorizer: Authorizer, *, forget: bool) -> None:
    """``--login`` and ``--logout``."""
    import asyncio

    async def main() -> str:
        if forget:
            return "logged out" if await authorizer.logout() else "there was no token"
        return f"logged in; the token is kept in {await authorizer.login()}"

    out.note(asyncio.run(main()))


def _run(url: str, credentials: Credentials, authorizer: Callable[[], Authorizer]) -> None:
    import asyncio
    import signal
    import sys

    from mcpsec.connect.bridge import Bridge
    from mcpsec.connect.http1 import HttpClient
    from mcpsec.connect.stdio import StdioPipe

    client = HttpClient(url, credentials, authorizer=authorizer)

    async def main() -> None:
        pipe = StdioPipe(sys.stdin.fileno(), sys.stdout.fileno())
        task = asyncio.ensure_future(Bridge(pipe, client, note=_note).run())

        def stop() -> None:
            task.cancel()
            pipe.hurry()

        if sys.platform != "win32":
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop)
        await asyncio.wait([task])
        await pipe.close()
        if pipe.failure is not None and not isinstance(pipe.failure, BrokenPipeError):
            raise UsageError(f"standard output can't be written: {pipe.failure.strerror}")
        if not task.cancelled():
            task.result()

    asyncio.run(main())
