"""What secrets managers have in common: how a reference names a secret, and the settings that the file may give."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcpsec.errors import SecretError
from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.secretrefs.reference import SecretRef

__all__ = ["AppRole", "AwsSettings", "KubernetesLogin", "VaultSettings", "configure", "missing_part", "split_reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRole:
    """``approle``: a machine's login at OpenBao or Vault."""

    role_id: str
    secret_id: SecretRef
    mount: str = "approle"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesLogin:
    """``kubernetes``: the login of a pod, by its service account's token (None: where Kubernetes puts it)."""

    role: str
    mount: str = "kubernetes"
    token_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """``[secrets.vault]``: where OpenBao or Vault is, and how to log in; what is missing comes from the environment."""

    address: str | None = None
    namespace: str | None = None
    ca: Path | None = None
    token: SecretRef | None = None
    approle: AppRole | None = None
    kubernetes: KubernetesLogin | None = None
    timeout: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """``[secrets.aws]``: the region and endpoint of Secrets Manager; credentials are the SDK's own business."""

    region: str | None = None
    endpoint: str | None = None


class _Settings:
    """The settings of this process. A deployment's are set once, before its references are read."""

    vault = VaultSettings()
    aws = AwsSettings()


def configure(*, vault: VaultSettings | None, aws: AwsSettings | None) -> None:
    """Use these settings for every reference that is read from now on; None: the environment's."""
    from mcpsec.secretrefs import vault as vault_source

    wanted = vault or VaultSettings()
    _Settings.aws = aws or AwsSettings()
    if wanted != _Settings.vault:
        _Settings.vault = wanted
        vault_source.forget_login()


def vault_settings() -> VaultSettings:
    """The settings in use."""
    return _Settings.vault


def aws_settings() -> AwsSettings:
    """The settings in use."""
    return _Settings.aws


_PLACE = re.compile(r"[A-Za-z0-9_.:@/+=-]{1,512}")
_FIELD = re.compile(r"[A-Za-z0-9_.@/+=-]{1,128}")


def split_reference(kind: str, value: object, example: str) -> tuple[str, str | None]:
    """Part ``place#field``. Raises SecretError, which never repeats the value: people put the secret itself here."""
    place, mark, field = value.partition("#") if isinstance(value, str) else ("", "", "")
    if not _PLACE.fullmatch(place) or (mark and not _FIELD.fullmatch(field)):
        raise SecretError(f"{kind} must name where the secret is", hint=f"for example {{ {kind} = {example} }}")
    return place, field or None


def missing_part(what: str, extra: str) -> SecretError:
    """The error of a manager whose library is not installed."""
    return SecretError(f"{what} needs a part that is not installed", hint=f"pip install 'mcpsec-toolkit[{extra}]'")
