"""Who a command is: what a deployment file says of a client, and what single options say instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.connect.credentials import Credentials, url_of
from mcpsec.errors import UsageError
from mcpsec.signing import Signer, SigningKey, load_private_key, load_secret

if TYPE_CHECKING:
    from mcpsec.deployment.model import Deployment

__all__ = ["Selection"]

DEFAULT_FILE = Path("mcpsec.toml")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The options of a command that acts as a client; ``load`` reads what they name."""

    url: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    scheme: str | None = None
    key_id: str | None = None
    secret_file: Path | None = None
    key_file: Path | None = None
    config: Path | None = None
    client: str | None = None

    def load(self) -> tuple[Credentials, str | None]:
        """The credentials and the URL; None when nothing says where to. Single options win over the file.

        ``./mcpsec.toml`` is read when it is there and the options leave something open that it may say.

        Raises:
            Error: a file is missing or wrong, or the parts do not fit together.
        """
        deployment = self._deployment()
        if deployment is None:
            if self.key is not None and self.certificate is None:
                raise UsageError("--key is the key of a client certificate", hint="give that with --cert")
            credentials, url = Credentials(self.certificate, self.key or self.certificate, self.ca), self.url
        else:
            credentials = Credentials.from_deployment(
                deployment, self.client, certificate=self.certificate, key=self.key, ca=self.ca
            )
            url = self.url or url_of(deployment)
        self._sign(credentials)
        return credentials, url

    @property
    def file(self) -> Path | None:
        """The deployment file that is read; None when the options need none."""
        complete = self.url is not None and (self.secret_file or self.key_file or self.certificate)
        if self.config is None and DEFAULT_FILE.is_file() and (self.client is not None or not complete):
            return DEFAULT_FILE
        return self.config

    def issuer(self) -> tuple[str | None, Path | None]:
        """Who issues the tokens that the deployment takes, and the authority of its certificate, as the file says.

        Raises:
            Error: the file can't be read.
        """
        deployment = self._deployment()
        oauth = None if deployment is None else deployment.auth.oauth
        return (None, None) if oauth is None else (oauth.issuer, oauth.ca)

    def _deployment(self) -> Deployment | None:
        if self.file is None:
            if self.client is not None:
                raise UsageError("--client names a client of a deployment file", hint="give it with -c FILE")
            return None
        from mcpsec.deployment import load

        return load(self.file)

    def _sign(self, credentials: Credentials) -> None:
        """Let the credentials sign as the options say; what they leave open stays as the file has it."""
        if self.secret_file is not None and self.key_file is not None:
            raise UsageError("give --secret-file or --key-file, not both")
        if self.secret_file is not None:
            key = SigningKey(self.key_id, secret=load_secret(self.secret_file))
            credentials.sign_with(Signer(key, self.scheme or "hmac-sha256"))
            return
        if self.key_file is not None:
            key = SigningKey(self.key_id or credentials.thumbprint(), private_key=load_private_key(self.key_file))
            credentials.sign_with(Signer(key, self.scheme or "rfc9421"))
            return
        deployed = credentials.signer
        if self.scheme == "rfc9421" and self.key_id is None and credentials.certificate is not None:
            credentials.sign_with_certificate()
        elif deployed is None:
            if self.scheme is not None or self.key_id is not None:
                raise UsageError("there is no key to sign with", hint="give --secret-file or --key-file")
        elif self.scheme is not None or self.key_id is not None:
            own = SigningKey(
                self.key_id or deployed.key.id, secret=deployed.key.secret, private_key=deployed.key.private_key
            )
            credentials.sign_with(Signer(own, self.scheme or deployed.scheme))
