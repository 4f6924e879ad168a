"""Secrets in OpenBao or HashiCorp Vault: the KV engine version 2, with logins that are kept alive.

One login serves every reference of the process. A token that may be renewed is renewed when half its time is over;
when that fails, or it was revoked, there is a new login where the settings know how (AppRole, Kubernetes). No error
repeats what the server said beyond its status: that text may quote what was sent.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote

from mcpsec.errors import SecretError
from mcpsec.frozen import dataclass
from mcpsec.secretrefs.managers import split_reference, vault_settings
from mcpsec.urls import can_be_asked, is_confidential, split_url

if TYPE_CHECKING:
    import httpx

    from mcpsec.secretrefs.managers import VaultSettings

__all__ = ["VaultSource", "forget_login", "keep_login"]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_DENIED = 403
_MISSING = 404


def _environment(name: str) -> str | None:
    return os.environ.get(f"BAO_{name}") or os.environ.get(f"VAULT_{name}") or None


@dataclass(frozen=True, slots=True)
class VaultSource:
    """One field of a secret of the KV engine, version 2."""

    kind: ClassVar[str] = "vault"
    doc: ClassVar[str] = (
        "OpenBao or Vault, KV version 2: the engine's mount, the path and, after #, the field, as `kv/mcp/agent#hmac`"
    )
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^[^/#]+/[^#]+#[^#]+$"}

    mount: str
    path: str
    field: str

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Accept ``mount/path#field``."""
        del base
        place, field = split_reference("vault", value, '"kv/mcp/agent#hmac"')
        mount, _, path = place.partition("/")
        if not mount or not path or field is None or ".." in path.split("/"):
            raise SecretError(
                "vault must name mount, path and field", hint='for example { vault = "kv/mcp/agent#hmac" }'
            )
        return cls(mount, path.strip("/"), field)

    def describe(self) -> str:
        """Name the secret's place."""
        return f"vault {self.mount}/{self.path}#{self.field}"

    def written(self) -> object:
        """Return the place."""
        return f"{self.mount}/{self.path}#{self.field}"

    def check(self) -> None:
        """Find nothing: the server is asked when the gateway runs."""

    def read(self) -> bytes:
        """Fetch the field's current version."""
        answer = _login().read(f"{quote(self.mount)}/data/{quote(self.path)}", self.describe())
        data = answer.get("data", {}).get("data")
        value = data.get(self.field) if isinstance(data, dict) else None
        if not isinstance(value, str):
            raise SecretError(f"{self.describe()}: the secret has no such field, or it is no text")
        return value.encode()


class _Login:
    """A connection to the server with a token that is kept alive. Threads share it."""

    def __init__(self, settings: VaultSettings) -> None:
        import httpx

        self._settings = settings
        address = settings.address or _environment("ADDR")
        if address is None:
            raise SecretError(
                "no OpenBao or Vault server is named", hint="[secrets.vault] address, or BAO_ADDR or VAULT_ADDR"
            )
        parts = split_url(address)
        if parts is None or not parts.hostname or not can_be_asked(address):
            raise SecretError("the Vault server's address is no URL", hint="such as https://vault.example.com:8200")
        if not is_confidential(parts):
            raise SecretError("the Vault server's address is not https, so secrets would travel in the clear")
        verify: ssl.SSLContext | bool = False
        if parts.scheme == "https":
            ca = settings.ca or _environment("CACERT")
            try:
                verify = ssl.create_default_context(cafile=ca)
            except (OSError, ValueError):
                raise SecretError("no CA certificates can be read from this file", path=ca) from None
        headers = {"X-Vault-Request": "true"}
        if namespace := settings.namespace or _environment("NAMESPACE"):
            if not namespace.isascii() or not namespace.isprintable():
                raise SecretError("the Vault namespace holds a character that no header can carry")
            headers["X-Vault-Namespace"] = namespace
        self._httpx = httpx
        self._client = httpx.Client(
            base_url=f"{address.rstrip('/')}/v1/", headers=headers, verify=verify, timeout=settings.timeout,
            trust_env=False,
        )  # fmt: skip
        self._where = parts.netloc
        self._lock = threading.Lock()
        self._token = ""
        self._renewable = False
        self._half = self._end = float("inf")

    @property
    def _can_log_in(self) -> bool:
        return self._settings.approle is not None or self._settings.kubernetes is not None

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def read(self, path: str, what: str) -> dict[str, Any]:
        """Read a path. Raises SecretError; a token that is no good any more is replaced once, or given anew."""
        used = self.fresh_token()
        answer = self._send("GET", path, used)
        if answer.status_code == _DENIED:
            self._discard(used)
            if (fresh := self.fresh_token()) != used:
                answer = self._send("GET", path, fresh)
        if answer.status_code == _MISSING:
            raise SecretError(f"{what}: there is no such secret at {self._where}")
        if answer.status_code == _DENIED:
            raise SecretError(
                f"{what}: {self._where} denies access",
                hint="its policy has to grant read on that path, and the token be valid",
            )
        return self._document(answer, what)

    def fresh_token(self) -> str:
        """The token, renewed or replaced when it is time."""
        with self._lock:
            now = time.monotonic()
            if self._token and now >= self._half:
                self._renew(now)
            if not self._token or now >= self._end:
                self._log_in()
            return self._token

    def _discard(self, used: str) -> None:
        with self._lock:
            if self._token == used:
                self._token = ""

    def _log_in(self) -> None:
        settings = self._settings
        if settings.approle is not None:
            role = settings.approle
            body = {"role_id": role.role_id, "secret_id": role.secret_id.resolve_text()}
            self._take(self._send("POST", f"auth/{role.mount}/login", "", body), "the AppRole login")
        elif settings.kubernetes is not None:
            pod = settings.kubernetes
            try:
                jwt = (pod.token_file or _SERVICE_ACCOUNT).read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                raise SecretError(
                    "the service account's token can't be read", path=pod.token_file or _SERVICE_ACCOUNT
                ) from None
            self._take(
                self._send("POST", f"auth/{pod.mount}/login", "", {"role": pod.role, "jwt": jwt}),
                "the Kubernetes login",
            )
        else:
            self._token = _given_token(settings)
            self._half = self._end = float("inf")
            self._look_up()

    def _look_up(self) -> None:
        """Learn when a token that was given ends; one that may not even ask that is used as it is."""
        answer = self._send("GET", "auth/token/lookup-self", self._token)
        if answer.status_code == 200:
            data = self._document(answer, "the token").get("data", {})
            self._set_times(data.get("ttl"), renewable=data.get("renewable") is True)

    def _renew(self, now: float) -> None:
        """Prolong the token; when that fails it is used until its end, and then replaced."""
        if self._renewable:
            answer = self._send("POST", "auth/token/renew-self", self._token, {})
            if answer.status_code == 200:
                self._take(answer, "the token's renewal")
                return
        if self._can_log_in:
            self._token = ""
        else:
            self._half = min(self._end, now + max(1.0, (self._end - now) / 2))

    def _take(self, answer: httpx.Response, what: str) -> None:
        if answer.status_code != 200:
            raise SecretError(f"{what} is refused by {self._where} (status {answer.status_code})")
        auth = self._document(answer, what).get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if not isinstance(auth, dict) or not isinstance(token, str):
            raise SecretError(f"{what}: the answer of {self._where} can't be understood")
        self._token = token
        self._set_times(auth.get("lease_duration"), renewable=auth.get("renewable") is True)

    def _set_times(self, seconds: object, *, renewable: bool) -> None:
        self._renewable = renewable
        now = time.monotonic()
        if isinstance(seconds, int) and seconds > 0:
            self._half, self._end = now + seconds / 2, now + seconds
        else:
            self._half = self._end = float("inf")

    def _send(self, method: str, path: str, token: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, path, headers={"X-Vault-Token": token} if token else None, json=body)
        except self._httpx.HTTPError as error:
            raise SecretError(f"OpenBao or Vault at {self._where} can't be reached ({type(error).__name__})") from None

    def _document(self, answer: httpx.Response, what: str) -> dict[str, Any]:
        if answer.status_code != 200:
            raise SecretError(f"{what}: {self._where} answers with status {answer.status_code}")
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise SecretError(f"{what}: the answer of {self._where} can't be understood")
        return document


def _given_token(settings: VaultSettings) -> str:
    if settings.token is not None:
        return settings.token.resolve_text()
    token = _environment("TOKEN")
    file = _environment("TOKEN_FILE")
    if token is None and file is not None:
        from mcpsec.secretrefs.reference import SecretRef

        token = SecretRef.parse({"file": file}, Path.cwd()).resolve_text()
    if not token or not token.isascii() or not token.isprintable():
        raise SecretError(
            "there is no login for OpenBao or Vault",
            hint="[secrets.vault] token, approle or kubernetes; or BAO_TOKEN or VAULT_TOKEN",
        )
    return token


class _Process:
    """The one login of this process."""

    lock = threading.Lock()
    login: _Login | None = None


def _login() -> _Login:
    with _Process.lock:
        if _Process.login is None:
            _Process.login = _Login(vault_settings())
        return _Process.login


def forget_login() -> None:
    """Log in anew at the next read."""
    with _Process.lock:
        if _Process.login is not None:
            _Process.login.close()
        _Process.login = None


def keep_login() -> None:
    """Renew the token if it is time. Does nothing while nobody is logged in. Raises SecretError."""
    with _Process.lock:
        login = _Process.login
    if login is not None:
        login.fresh_token()
