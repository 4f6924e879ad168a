"""What every `certs` command shares: where the PKI is, and where the passphrase of its keys comes from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from typer.core import TyperGroup

from mcpsec.cli.options import CONFIG
from mcpsec.errors import ConfigurationError, SecretError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer

    from mcpsec.certs import Pki, Purpose

__all__ = ["DEFAULT", "CertsContext", "CertsGroup", "Format", "context", "purpose_of"]

Format = Literal["text", "json"]
DEFAULT = Path("pki")
"""The PKI when nothing names one."""

_SHARED = {
    "--dir": 1,
    "-d": 1,
    "--config": 1,
    "-c": 1,
    "--passphrase-file": 1,
    "--passphrase-env": 1,
    "--passphrase-ref": 1,
    "--passphrase-prompt": 0,
}


class CertsGroup(TyperGroup):
    """Lets the group's own options stand after the subcommand too, where people type them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move shared options in front of the subcommand."""
        end = args.index("--") if "--" in args else len(args)
        front: list[str] = []
        rest: list[str] = []
        at = 0
        while at < end:
            word = args[at]
            values = _SHARED.get(word.partition("=")[0])
            if values is None:
                rest.append(word)
                at += 1
                continue
            width = 1 if values == 0 or "=" in word else 2
            front += args[at : at + width]
            at += width
        parsed: list[str] = super().parse_args(ctx, [*front, *rest, *args[end:]])
        return parsed


@dataclass(frozen=True, slots=True)
class CertsContext:
    """The group's options: where the PKI is, by ``named`` or by the deployment file ``config``; None for neither."""

    named: Path | None
    config: Path | None = None
    passphrase_file: Path | None = None
    passphrase_env: str | None = None
    passphrase_ref: str | None = None
    passphrase_prompt: bool = False

    @property
    def directory(self) -> Path:
        """The PKI's directory: the one named, that of the deployment file, ``./pki``, that of ``./mcpsec.toml``.

        Raises:
            ConfigurationError: the deployment file can't be read, or names no certificate of a PKI.
        """
        if self.named is not None:
            return self.named
        if self.config is not None:
            return _pki_of_deployment(self.config)
        if (DEFAULT / "pki.toml").exists() or not CONFIG.is_file():
            return DEFAULT
        return _pki_of_deployment(CONFIG)

    @property
    def has_passphrase(self) -> bool:
        """True when an option says where a passphrase comes from."""
        return bool(self.passphrase_file or self.passphrase_env or self.passphrase_ref or self.passphrase_prompt)

    def passphrase(self, *, new: bool = False) -> Callable[[str], bytes | None]:
        """Answer the library's question for a key's passphrase; a ``new`` one is typed twice at a prompt."""
        known: dict[str, bytes] = {}

        def answer(what: str) -> bytes | None:
            if not self.has_passphrase:
                return None
            asked = what if self.passphrase_prompt and not new else ""
            if asked not in known:
                if asked:
                    known[asked] = self._typed(f"Passphrase of {what}: ")
                else:
                    known[asked] = self._new() if self.passphrase_prompt else self._referenced()
            return known[asked]

        return answer

    def _referenced(self) -> bytes:
        import tomllib

        from mcpsec.secretrefs import SecretRef

        if sum(bool(given) for given in (self.passphrase_file, self.passphrase_env, self.passphrase_ref)) > 1:
            raise UsageError("give one of --passphrase-file, --passphrase-env and --passphrase-ref")
        table: object
        if self.passphrase_file:
            table = {"file": str(self.passphrase_file)}
        elif self.passphrase_env:
            table = {"env": self.passphrase_env}
        else:
            try:
                table = tomllib.loads(f"secret = {self.passphrase_ref}")["secret"]
            except (ValueError, RecursionError) as error:
                hint = """--passphrase-ref '{ command = ["op", "read", "op://vault/ca/passphrase"] }'"""
                raise UsageError("--passphrase-ref takes a secret reference", hint=hint) from error
        return SecretRef.parse(table, Path.cwd()).resolve()

    @staticmethod
    def _typed(question: str) -> bytes:
        import warnings
        from getpass import GetPassWarning, getpass

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", GetPassWarning)  # it would read standard input, with an echo
                return getpass(question).encode()
        except (GetPassWarning, EOFError) as error:
            hint = "--passphrase-file, --passphrase-env or --passphrase-ref"
            raise UsageError("there is no terminal to ask for a passphrase at", hint=hint) from error

    def _new(self) -> bytes:
        first = self._typed("New passphrase: ")
        if not first:
            raise SecretError("the passphrase is empty")
        if first != self._typed("The same again: "):
            raise SecretError("the two passphrases differ")
        return first

    def open(self, passphrase: Callable[[str], bytes | None] | None = None) -> Pki:
        """Open the PKI; ``passphrase`` is one that remembers what was typed before."""
        from mcpsec.certs import Pki

        return Pki.open(self.directory, passphrase=passphrase or (self.passphrase() if self.has_passphrase else None))


@cache
def _pki_of_deployment(config: Path) -> Path:
    from mcpsec.audit.readers.deployment import pki_of
    from mcpsec.deployment import load

    tls = load(config).server.tls
    found = next((pki for file in (tls.certificate, tls.client_ca) if (pki := pki_of(file)) is not None), None)
    if found is None:
        raise ConfigurationError(
            "its certificates are not kept by mcpsec certs", path=config, hint="--dir DIR names a PKI that is elsewhere"
        )
    return found


def context(ctx: typer.Context) -> CertsContext:
    """The group's options, from the context of one of its commands."""
    found = ctx.obj
    assert isinstance(found, CertsContext)
    return found


def purpose_of(client: bool, server: bool) -> Purpose | None:
    """The purpose that --client or --server chose, None for neither."""
    from mcpsec.certs import Purpose

    if client and server:
        raise UsageError("--client and --server exclude each other", hint="issue two certificates")
    if not client and not server:
        return None
    return Purpose.CLIENT if client else Purpose.SERVER
