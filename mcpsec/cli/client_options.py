"""The options of every command that acts as a client: who it is, what it signs with, what it trusts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "CaOption",
    "CertificateOption",
    "ClientOption",
    "ConfigOption",
    "KeyIdOption",
    "KeyOption",
    "Scheme",
    "SchemeOption",
    "SecretOption",
    "SigningKeyOption",
]


class Scheme(StrEnum):
    """How a request is signed."""

    hmac_sha256 = "hmac-sha256"
    rfc9421 = "rfc9421"
    article = "article"


SchemeOption = Annotated[Scheme | None, typer.Option("--scheme", help="hmac-sha256, rfc9421, or article (compatible).")]
SecretOption = Annotated[
    Path | None, typer.Option("--secret-file", metavar="FILE", help="Shared secret, as `sign keygen` writes it.")
]
SigningKeyOption = Annotated[
    Path | None, typer.Option("--key-file", metavar="FILE", help="Private key (PEM) that signs by rfc9421.")
]
KeyIdOption = Annotated[str | None, typer.Option("--key-id", metavar="ID", help="Name of the signing key.")]
CertificateOption = Annotated[
    Path | None, typer.Option("--cert", metavar="FILE", help="Client certificate with its intermediates (PEM).")
]
KeyOption = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Its private key (PEM).")]
CaOption = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", help="CA of the server's certificate (default: system).")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", envvar="MCPSEC_CONFIG", help="Take what is not given from here."),
]
ClientOption = Annotated[
    str | None, typer.Option("--client", metavar="NAME", help="The file's client to be (default: its first).")
]
