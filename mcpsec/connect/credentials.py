"""What a client needs to reach a hardened server: certificate, trusted authority, signing key; renewal is seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mcpsec.connect.trust import client_context, load_certificate
from mcpsec.errors import ConfigurationError, UsageError, advice
from mcpsec.reading import read_file
from mcpsec.signing import Signer, SigningKey, load_private_key, load_public_key, load_secret, thumbprint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import httpx
    import httpx2

    from mcpsec.deployment.model import Client, Deployment

__all__ = ["Credentials", "url_of"]

_Stamp = tuple[int, int, int]


@dataclass
class Credentials:
    """The credentials of one client, as files that may be renewed while it runs.

    ``certificate`` holds the leaf and its intermediates, ``ca`` the authority of the server's certificate (None: the
    system's). With ``signer`` every request is signed. Build one with ``load`` or ``from_deployment``.
    """

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    signer: Signer | None = None
    _context: ssl.SSLContext | None = field(default=None, repr=False)
    _stamp: tuple[_Stamp, ...] | None = field(default=None, repr=False)
    _key_id: str | None = field(default=None, repr=False)
    _resign: Callable[[], Signer] | None = field(default=None, repr=False)
    """Makes the signer again after a renewal, when it signs with the certificate's key; None when it does not."""

    @classmethod
    def load(
        cls,
        *,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        ca: str | Path | None = None,
        key_id: str | None = None,
        secret_file: str | Path | None = None,
        scheme: str | None = None,
    ) -> Self:
        """Read credentials from files.

        With ``secret_file`` requests are signed by ``hmac-sha256``; with ``scheme="rfc9421"`` and no secret, by the
        certificate's own key, whose identifier is the certificate's thumbprint unless ``key_id`` names another.

        Raises:
            Error: a file is missing or wrong, or the parts do not fit together.
        """
        certificate, key, ca = (None if path is None else Path(path) for path in (certificate, key, ca))
        made = cls(certificate, key or certificate, ca)
        if secret_file is not None:
            secret = load_secret(Path(secret_file))
            made.signer = Signer(SigningKey(key_id, secret=secret), scheme or "hmac-sha256")
        elif scheme is not None:
            made._key_id = key_id
            made.sign_with_certificate(scheme)
        return made

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        name: str | None = None,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        ca: Path | None = None,
    ) -> Self:
        """The credentials that ``mcpsec init`` made for the client ``name`` (the first one when it is None).

        ``certificate``, ``key`` and ``ca`` are used instead of the files that ``init`` puts beside the deployment file.

        Raises:
            Error: the deployment has no such client, or its files are not where ``init`` puts them.
        """
        if deployment.path is None:
            raise UsageError("this deployment has no file, so it has no client files beside it")
        client = _client(deployment, name)
        base = deployment.path.parent / "pki"
        home = base / "client" / client.id
        own = (certificate, key or certificate) if certificate is not None else (home / "chain.pem", home / "key.pem")
        made = cls(*own, ca or base / "server-ca.pem")
        for path in (made.certificate, made.key, made.ca):
            if path is not None and not path.is_file():
                raise ConfigurationError(
                    f"client {client.id} has no such file in this deployment",
                    path=path,
                    hint="its certificate was issued elsewhere: give --cert, --key and --ca",
                )
        if "signature" in deployment.auth.require or any(key.secret is not None for key in client.signing_keys):
            made.signer = made._signer_of(deployment, client)
            if made.signer.key.private_key is not None:
                made._resign = lambda: made._signer_of(deployment, client)
        return made

    def sign_with_certificate(self, scheme: str = "rfc9421") -> None:
        """Sign with the certificate's own key, and after each renewal with the new one.

        Raises:
            Error: there is no certificate, or its key signs no requests.
        """
        self.signer = self.certificate_signer(scheme)
        self._resign = lambda: self.certificate_signer(scheme)

    def sign_with(self, signer: Signer | None) -> None:
        """Sign with a key of its own, which no renewal of the certificate changes; None signs nothing."""
        self.signer, self._resign = signer, None

    def _signer_of(self, deployment: Deployment, client: Client) -> Signer:
        schemes = deployment.auth.signature.schemes
        for key in client.signing_keys:
            if key.secret is not None:
                scheme = "hmac-sha256" if "hmac-sha256" in schemes else schemes[0]
                return Signer(SigningKey(key.id, secret=key.secret.resolve()), scheme)
            if key.public_key is not None and self.key is not None:
                private = load_private_key(self.key)
                if private.public_key() == load_public_key(key.public_key):
                    return Signer(SigningKey(key.id, private_key=private), "rfc9421")
        return self.certificate_signer()

    def certificate_signer(self, scheme: str = "rfc9421") -> Signer:
        """A signer with the certificate's own key.

        Raises:
            Error: there is no certificate, or its key signs no requests.
        """
        if self.certificate is None or self.key is None:
            raise UsageError(f"the scheme {scheme} needs a secret or a certificate with its key")
        return Signer(SigningKey(self._key_id or self.thumbprint(), private_key=load_private_key(self.key)), scheme)

    def thumbprint(self) -> str | None:
        """The identifier of the certificate's own key (``x5t#S256``); None without a certificate."""
        return None if self.certificate is None else _thumbprint(self.certificate)

    def ssl_context(self) -> ssl.SSLContext:
        """The one TLS context of these credentials; pass it as ``verify=`` to an HTTP client.

        Raises:
            ConfigurationError: a file is missing or wrong.
        """
        if self._context is None:
            self._context = client_context(ca=self.ca, certificate=self.certificate, key=self.key)
            self._stamp = self._stamps()
        return self._context

    def refresh(self) -> bool:
        """Load the certificate and the CA again when their files have changed; True when they had.

        New connections present the new one, and trust what the CA file holds now beside what it held before: an issuer
        that must not be trusted any more needs a restart. Files that do not fit together yet, because they are being
        replaced, are left for the next call.
        """
        stamp = self._stamps()
        if self._context is None or stamp is None or stamp == self._stamp:
            return False
        try:
            client_context(ca=self.ca, certificate=self.certificate, key=self.key)  # whole, before anything changes
            signer = self.signer if self._resign is None else self._resign()
            if self.ca is not None:
                self._context.load_verify_locations(self.ca)
            if self.certificate is not None:
                load_certificate(self._context, self.certificate, self.key or self.certificate)
        except (ConfigurationError, OSError):
            return False
        self.signer = signer
        self._stamp = stamp
        return True

    def _stamps(self) -> tuple[_Stamp, ...] | None:
        paths = (self.certificate, self.key or self.certificate, self.ca)
        try:
            return tuple(_stamp(path) for path in paths if path is not None)
        except OSError:
            return None

    def httpx_auth(self) -> httpx.Auth | None:
        """Signs the requests of an ``httpx`` client; None when these credentials sign nothing."""
        from mcpsec.connect.auth import HttpxAuth

        return None if self.signer is None else HttpxAuth(self)

    def httpx2_auth(self) -> httpx2.Auth | None:
        """Signs the requests of an ``httpx2`` client (the MCP SDK's); None when these credentials sign nothing."""
        from mcpsec.connect.auth2 import Httpx2Auth

        return None if self.signer is None else Httpx2Auth(self)


def url_of(deployment: Deployment) -> str:
    """The URL under which clients reach a deployment: its public one, else the address that it listens on."""
    if deployment.server.public_url is not None:
        return deployment.server.public_url
    listen = deployment.server.listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 # where to, not where at
    return f"https://[{host}]:{listen.port}/mcp" if ":" in host else f"https://{host}:{listen.port}/mcp"


def _client(deployment: Deployment, name: str | None) -> Client:
    if not deployment.clients:
        raise UsageError("the deployment has no clients", hint="add one to the file, or give the options one by one")
    if name is None:
        return deployment.clients[0]
    for client in deployment.clients:
        if client.id == name:
            return client
    known = ", ".join(client.id for client in deployment.clients)
    raise UsageError(f"the deployment has no client {name}", hint=f"it has {known}")


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _thumbprint(certificate: Path) -> str:
    import ssl

    try:
        pem = read_file(certificate).decode("ascii")
        start = pem.index("-----BEGIN CERTIFICATE-----")
        end = pem.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        return thumbprint(ssl.PEM_cert_to_DER_cert(pem[start:end]))
    except OSError as error:
        raise ConfigurationError(f"can't be read: {error.strerror}", path=certificate, hint=advice(error)) from None
    except ValueError:
        raise ConfigurationError("not a certificate in PEM form", path=certificate) from None
