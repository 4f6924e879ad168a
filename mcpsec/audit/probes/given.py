"""What a person gives for live probes, checked and read: identities, files to look at, and consent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.audit.probes.session import Credentials
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.reading import read_file

if TYPE_CHECKING:
    from mcpsec.connect.credentials import Credentials as ClientCredentials
    from mcpsec.deployment.model import Deployment, Rate

__all__ = ["Given", "live_options"]


@dataclass(frozen=True, kw_only=True)
class Given:
    """The options of ``mcpsec audit`` that are about live endpoints."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    key_id: str | None = None
    secret_file: Path | None = None
    key_file: Path | None = None
    scheme: str | None = None
    token_file: Path | None = None
    config: Path | None = None
    client: str | None = None
    other_client: str | None = None
    other_certificate: Path | None = None
    other_key: Path | None = None
    client_ca: Path | None = None
    client_ca_key: Path | None = None
    owned: Sequence[str] = ()
    denied: Sequence[str] = ()
    log: Path | None = None
    metrics: str | None = None
    rate: str | None = None
    replica: str | None = None
    state: Path | None = None


def live_options(given: Given) -> dict[str, Any]:
    """The options of an audit's ``Request`` that probes read.

    Raises:
        Error: a file is missing or wrong, or options do not fit together.
    """
    for what in fields(given):
        value = getattr(given, what.name)
        if isinstance(value, Path) and what.name != "state" and not value.is_file():
            raise UsageError("there is no such file", path=value)
    for one, two, text in (
        (given.certificate, given.key, "--cert and --key"),
        (given.other_certificate, given.other_key, "--other-cert and --other-key"),
        (given.client_ca, given.client_ca_key, "--client-ca and --client-ca-key"),
    ):
        if (one is None) != (two is None):
            raise UsageError(f"{text} belong together")
    if given.config is None and (given.client or given.other_client):
        raise UsageError("--client and --other-client name clients of a deployment file", hint="give it with -c FILE")
    deployment = _deployment(given.config)
    authority = None if given.client_ca is None else (given.client_ca, given.client_ca_key)
    return {
        "credentials": _credentials(given, deployment),
        "other": _other(given, deployment),
        "authority": authority,
        "deployment": deployment,
        "owned": frozenset(given.owned),
        "denied": tuple(given.denied),
        "log": given.log,
        "metrics": given.metrics,
        "rate": _rate(given.rate),
        "replica": given.replica,
        "state": given.state,
    }


def _deployment(path: Path | None) -> Deployment | None:
    if path is None:
        return None
    from mcpsec.deployment import load

    return load(path)


def _credentials(given: Given, deployment: Deployment | None) -> Credentials:
    token = "" if given.token_file is None else _token(given.token_file)
    signs = given.secret_file or given.key_file or given.scheme or given.key_id
    if deployment is None and not signs:
        return Credentials(given.certificate, given.key, given.ca, token=token)
    from mcpsec.connect.selection import Selection

    url = "https://127.0.0.1/mcp"  # where to is the audit's target; the selection then reads no file of its own
    selection = Selection(
        url=url, certificate=given.certificate, key=given.key, ca=given.ca, scheme=given.scheme, key_id=given.key_id,
        secret_file=given.secret_file, key_file=given.key_file, config=given.config, client=given.client,
    )  # fmt: skip
    if deployment is not None and not deployment.clients:
        return Credentials(given.certificate, given.key, given.ca, token=token)
    found, _ = selection.load()
    client = "" if deployment is None else given.client or deployment.clients[0].id
    return _converted(found, client, token)


def _converted(found: ClientCredentials, client: str, token: str = "") -> Credentials:
    return Credentials(found.certificate, found.key, found.ca, found.signer, token, client)


def _other(given: Given, deployment: Deployment | None) -> Credentials | None:
    if given.other_certificate is not None:
        return Credentials(given.other_certificate, given.other_key, given.ca)
    if given.other_client is None or deployment is None:
        return None
    if given.other_client == (given.client or deployment.clients[0].id):
        raise UsageError("--other-client is another one than --client")
    from mcpsec.connect.credentials import Credentials as ClientCredentials

    return _converted(ClientCredentials.from_deployment(deployment, given.other_client), given.other_client)


def _token(path: Path) -> str:
    try:
        text = read_file(path).decode("ascii").strip()
    except (OSError, ValueError, ConfigurationError):
        raise UsageError("the token can't be read", path=path) from None
    if not text or not text.isprintable() or " " in text:
        raise UsageError("this is no access token", path=path)
    return text


def _rate(text: str | None) -> Rate | None:
    """A declared limit, as the deployment file writes it. Raises UsageError."""
    if text is None:
        return None
    from mcpsec.deployment.kinds import RateKind
    from mcpsec.deployment.shapes import Wrong

    try:
        return RateKind().parse(text, None)
    except Wrong as error:
        raise UsageError(f"--rate-limit {error}", hint="100/minute") from None
