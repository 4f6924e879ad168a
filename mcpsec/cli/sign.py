"""``mcpsec sign``: sign a request, print or send it; verify one; make keys."""

from __future__ import annotations

import json
import re
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

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
from mcpsec.errors import ConfigurationError, ExitCode, UsageError, advice
from mcpsec.reading import LARGE, read_file

if TYPE_CHECKING:
    from mcpsec.signing import Headers, SignedMessage, VerificationKey

app = application(
    group=False,
    epilog=examples(
        "mcpsec sign --send -c demo/mcpsec.toml --client agent --tool echo --arg text=hello",
        "mcpsec sign --key-id agent-1 --secret-file agent.hmac --url https://127.0.0.1:8443/mcp --body-file call.json",
        "mcpsec sign … --format curl",
        "mcpsec sign … --tamper body --send",
    ),
)


class Format(StrEnum):
    """How a signed request is printed."""

    headers = "headers"
    curl = "curl"
    json = "json"
    http = "http"


class Revision(StrEnum):
    """Which MCP a message built by ``--tool`` speaks."""

    modern = "modern"
    legacy = "legacy"


class Tampering(StrEnum):
    """Which part of a signed request is damaged."""

    body = "body"
    timestamp = "timestamp"
    nonce = "nonce"
    path = "path"
    key = "key"


MethodOption = Annotated[str, typer.Option("--method", metavar="METHOD", help="HTTP method.")]
BodyOption = Annotated[
    Path | None, typer.Option("--body-file", metavar="FILE", help="The body, byte for byte; - is standard input.")
]


@app.callback(invoke_without_command=True)
def sign(
    ctx: typer.Context,
    *,
    scheme: SchemeOption = None,
    secret_file: SecretOption = None,
    key_file: SigningKeyOption = None,
    key_id: KeyIdOption = None,
    timestamp: Annotated[
        int | None, typer.Option("--timestamp", metavar="MS", help="Unix time in milliseconds (default: now).")
    ] = None,
    nonce: Annotated[str | None, typer.Option("--nonce", metavar="N", help="Used once (default: random).")] = None,
    method: MethodOption = "POST",
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Where the request goes.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME:VALUE", help="A header of the request; repeatable."),
    ] = None,
    body_file: BodyOption = None,
    tool: Annotated[str | None, typer.Option("--tool", metavar="NAME", help="Build a call of this MCP tool.")] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="K=V", help="An argument of --tool; V is JSON where it can be; repeatable."),
    ] = None,
    era: Annotated[Revision, typer.Option("--era", help="MCP revision of --tool.")] = Revision.modern,
    format_: Annotated[Format, typer.Option("--format", help="How to print the request.")] = Format.headers,
    tamper: Annotated[
        Tampering | None, typer.Option("--tamper", help="Damage this part, so that a server must refuse.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Send it and show the answer.")] = False,
    cert: CertificateOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="For --send.")] = 30.0,
    config: ConfigOption = None,
    client: ClientOption = None,
) -> None:
    """Sign a request, then print it or send it.

    What is signed: a body from a file, or a call of a tool. The result is the header fields to add. With
    [bold]--send[/bold]: exit code 0 for an answer without an error, 1 when the server refuses, 3 when out of reach.

    With [bold]-c[/bold] the URL, certificate and key come from a deployment that [bold]mcpsec init[/bold] made.
    """
    if ctx.invoked_subcommand is not None:
        return
    from mcpsec.cli.sign_output import show_answer, show_request
    from mcpsec.connect.draft import Draft
    from mcpsec.connect.selection import Selection

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
    credentials, url = selection.load()
    if url is None:
        raise UsageError("there is no URL", hint="give --url, or -c FILE of a deployment")
    if credentials.signer is None:
        raise UsageError("there is no key to sign with", hint="give --key-id and --secret-file, or -c FILE")
    signer = credentials.signer
    body = _body(body_file, tool, arg or [], era)
    own = [_header(line) for line in header or []]

    def signature_of(message: SignedMessage) -> Headers:
        if tamper is None:
            return signer.sign(message, timestamp=timestamp, nonce=nonce)
        from mcpsec.signing.tamper import signed_badly

        return signed_badly(signer, message, tamper.value, timestamp=timestamp, nonce=nonce)

    if not send:
        draft = Draft.make(method, url, body, own)
        file = None if body_file == Path("-") else body_file
        show_request(draft, signature_of(draft.message), format_.value, credentials, file)
        return
    from mcpsec.connect.draft import LegacySession
    from mcpsec.connect.exchange import Exchange

    _see_url(method, url)
    context = credentials.ssl_context() if urlsplit(url).scheme == "https" else None
    with Exchange(url, context, timeout=timeout, certificate=credentials.certificate) as exchange:
        session = LegacySession(exchange, signer, url)
        if tool is not None and era is Revision.legacy:
            session.open()
        draft = Draft.make(method, url, body, [*session.headers, *own])
        signature = signature_of(draft.message)
        answer = draft.send(exchange, signature)
        session.close()
    show_answer(answer, draft, signature, as_json=format_ is Format.json)
    if config is not None and answer.request:  # the answer does not tell a caller why; the operator's log does
        out.note(f"why: mcpsec log query -c {shlex.quote(str(config))} --request-id {answer.request}")
    raise typer.Exit(ExitCode.OK if answer.good else ExitCode.NO)


def _see_url(method: str, url: str) -> None:
    """What can't be sent, or not without everybody on the way reading it, is said before anything is."""
    from mcpsec.signing import SignedMessage
    from mcpsec.urls import is_confidential

    SignedMessage.from_url(method, url)
    if not is_confidential(urlsplit(url)):
        raise UsageError(f"plain HTTP to another machine: {url}", hint="a hardened server speaks https://")


def _body(body_file: Path | None, tool: str | None, arguments: list[str], era: Revision) -> bytes:
    if tool is None:
        if arguments:
            raise UsageError("--arg needs --tool")
        return _read_body(body_file)
    if body_file is not None:
        raise UsageError("--tool builds the body, so --body-file can't give another")
    from mcpsec.connect.messages import tool_call
    from mcpsec.protocol import Era

    return tool_call(tool, dict(_argument(text) for text in arguments), era=Era(era.value))


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name, value = name.strip().lower(), value.strip()
    if not colon or not name or not all(letter.isalnum() or letter in "!#$%&'*+-.^_`|~" for letter in name):
        raise UsageError(f"not a header: {line!r}", hint="write --header 'Mcp-Session-Id: 0123'")
    if any(ord(letter) < 0x20 for letter in value):
        raise UsageError(f"the value of the header {name} holds a control character")
    return name, value


def _read_body(body_file: Path | None) -> bytes:
    if body_file is None:
        return b""
    if body_file == Path("-"):
        return sys.stdin.buffer.read()
    try:
        return read_file(body_file, LARGE, "body of a request")
    except OSError as error:
        raise ConfigurationError(
            f"the body can't be read: {error.strerror}", path=body_file, hint=advice(error)
        ) from None


def _argument(text: str) -> tuple[str, Any]:
    """``k=v``: JSON where v is JSON, text otherwise, so that numbers and lists need no ceremony."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"not an argument: {text!r}", hint="write --arg name=value")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value


@app.command(
    epilog=examples(
        "mcpsec sign verify --secret-file agent.hmac --key-id agent-1 --url https://127.0.0.1:8443/mcp "
        "--headers-file headers.json --body-file call.json"
    )
)
def verify(
    *,
    headers_file: Annotated[
        Path, typer.Option("--headers-file", metavar="JSON", help="The headers: an object, pairs, or a sign document.")
    ],
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where the request went.")],
    scheme: SchemeOption = None,
    secret_file: SecretOption = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", metavar="FILE", help="Public key, certificate or private key (PEM).")
    ] = None,
    key_id: KeyIdOption = None,
    method: MethodOption = "POST",
    body_file: BodyOption = None,
    max_age: Annotated[float, typer.Option("--max-age", metavar="SECONDS", min=0, help="Oldest signature.")] = 300.0,
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="MS", help="Judge as at this Unix time in milliseconds (default: now)."),
    ] = None,
    format_: Annotated[str, typer.Option("--format", metavar="text|json", help="How to print.")] = "text",
) -> None:
    """Check a captured request, and say which rule it broke.

    The checks are those of the gateway, without its memory of nonces. Exit code 0: the signature holds; 1: it does not.
    """
    from mcpsec.signing import MemoryReplayStore, Refusal, SignedMessage, Verifier

    if format_ not in {"text", "json"}:
        raise UsageError("--format is text or json")
    name = scheme.value if scheme is not None else "hmac-sha256" if secret_file is not None else "rfc9421"
    headers = _read_headers(headers_file)
    key = _verification_key(key_id or _named(headers), secret_file, key_file)
    message = SignedMessage.from_url(method, url, headers=headers, body=_read_body(body_file))
    verifier = Verifier({key.id: key}, schemes=[name], max_age=max_age, replay=MemoryReplayStore(1))
    outcome = verifier.check(message, now=None if at is None else at / 1000)
    if isinstance(outcome, Refusal):
        result = {"valid": False, "rule": outcome.rule, "detail": outcome.detail}
        text = f"refused: {outcome.rule}: {outcome.detail}"
    else:
        seen = outcome.verified
        result = {
            "valid": True,
            "key_id": seen.key_id,
            "scheme": seen.scheme,
            "nonce": seen.nonce,
            "created": seen.created,
        }
        text = f"valid: {seen.scheme} signature of key {seen.key_id}"
    if format_ == "json":
        out.json({"schema": "mcpsec.sign-verify/1", **result})
    else:
        out.result(text)
    raise typer.Exit(ExitCode.OK if result["valid"] else ExitCode.NO)


def _verification_key(key_id: str | None, secret_file: Path | None, key_file: Path | None) -> VerificationKey:
    from mcpsec.signing import VerificationKey, load_public_key, load_secret

    if (secret_file is None) == (key_file is None):
        raise UsageError("give exactly one of --secret-file and --key-file")
    if secret_file is not None:
        return VerificationKey(key_id or "key", "client", secret=load_secret(secret_file))
    if key_id is None:
        raise UsageError("--key-file needs --key-id")
    return VerificationKey(key_id, "client", public_key=load_public_key(key_file or Path()))


def _named(headers: list[tuple[str, str]]) -> str | None:
    """The key that a request itself names, for who checks it with the only key they have."""
    for name, value in headers:
        if name.lower() == "x-key-id":
            return value.strip()
        if name.lower() == "signature-input" and (found := re.search(r';keyid="([^"]*)"', value)):
            return found[1]
    return None


def _read_headers(path: Path) -> list[tuple[str, str]]:
    try:
        value = json.loads(read_file(path).decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"the headers can't be read: {error.strerror}", path=path, hint=advice(error)
        ) from None
    except (ValueError, RecursionError):
        raise ConfigurationError("the headers are not JSON", path=path) from None
    if isinstance(value, dict) and isinstance(value.get("headers"), dict | list):
        value = value["headers"]
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        for pair in pairs
    ):
        raise ConfigurationError("the headers are neither an object of texts nor a list of pairs", path=path)
    return [(name, value) for name, value in pairs]


class KeyKind(StrEnum):
    """What ``keygen`` makes."""

    hmac = "hmac"
    ed25519 = "ed25519"
    ecdsa_p256 = "ecdsa-p256"


@app.command(epilog=examples("mcpsec sign keygen secrets/agent.hmac", "mcpsec sign keygen --kind ed25519 agent.pem"))
def keygen(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write; standard output without.")
    ] = None,
    kind: Annotated[KeyKind, typer.Option("--kind", help="A shared secret, or a key pair for rfc9421.")] = KeyKind.hmac,
) -> None:
    """Make a signing key: 32 random bytes as one line of base64url, or a private key in PEM form.

    A file is new, and only its owner may read it. A key pair's public half goes to FILE.pub.
    """
    from mcpsec.signing.keys import generate_private_key, generate_secret, write_private

    if kind is KeyKind.hmac:
        secret = generate_secret()
        if file is None:
            out.result(secret)
            return
        write_private(file, f"{secret}\n".encode())
        out.note(f"wrote {file}; the deployment file refers to it as  secret = {{ file = {_as_named(file)} }}")
        return
    private, public = generate_private_key(kind.value)
    if file is None:
        out.result(private.decode())
        return
    target = file.with_name(file.name + ".pub")
    if target.exists():
        raise UsageError("the file exists already", path=target, hint="a key is never overwritten: choose another name")
    write_private(file, private)
    try:
        target.write_bytes(public)
    except OSError as error:
        file.unlink()
        raise ConfigurationError(f"can't be written: {error.strerror}", path=target, hint=advice(error)) from None
    out.note(f"wrote {file} and {target}; the deployment file refers to it as  public_key = {_as_named(target)}")


def _as_named(file: Path) -> str:
    """The file as a deployment file names it: relative to itself, if there is one in a directory above."""
    for directory in file.absolute().parents:
        if (directory / "mcpsec.toml").is_file():
            return json.dumps(file.absolute().relative_to(directory).as_posix())
    return json.dumps(str(file))
