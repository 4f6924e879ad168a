"""One request to OpenBao or Vault: address, token and CA from the environment, errors without secrets.

Read from the environment, OpenBao's names first: ``BAO_ADDR``, ``BAO_TOKEN`` (or the file ``BAO_TOKEN_FILE``),
``BAO_CACERT``, ``BAO_NAMESPACE``; the same with ``VAULT_``.
"""

from __future__ import annotations

import os
import ssl
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.certs.files import read_private
from mcpsec.errors import ConfigurationError, Error, SecretError
from mcpsec.urls import can_be_asked, is_confidential, split_url

if TYPE_CHECKING:
    import httpx

__all__ = ["OpenBao"]

_TIMEOUT = 10.0


def _setting(name: str) -> str | None:
    return os.environ.get(f"BAO_{name}") or os.environ.get(f"VAULT_{name}")


class OpenBao:
    """A connection to the server that the environment names.

    Raises:
        ConfigurationError: no address is set, or it is plain HTTP to another machine.
        SecretError: no token is set, or its file is open to other accounts.
    """

    def __init__(self) -> None:
        import httpx

        address = _setting("ADDR")
        if address is None:
            raise ConfigurationError("no OpenBao server is named", hint="set BAO_ADDR and BAO_TOKEN (or VAULT_…)")
        parts = split_url(address)
        if parts is None or not parts.hostname or not can_be_asked(address):
            raise ConfigurationError(
                "the OpenBao server's address is no URL",
                hint="BAO_ADDR (or VAULT_ADDR), such as https://bao.example.com:8200",
            )
        if not is_confidential(parts):
            raise ConfigurationError(f"{address} is not https, so the token would travel in the clear")
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        if namespace := _setting("NAMESPACE"):
            if not namespace.isascii() or not namespace.isprintable():
                raise ConfigurationError("the OpenBao namespace holds a character that no header can carry")
            headers["X-Vault-Namespace"] = namespace
        verify: ssl.SSLContext | bool = False
        if parts.scheme == "https":
            try:
                verify = ssl.create_default_context(cafile=_setting("CACERT"))
            except OSError as error:
                raise ConfigurationError("this is no file of CA certificates", path=_setting("CACERT")) from error
        self._client = httpx.Client(
            base_url=address.rstrip("/") + "/v1/", headers=headers, verify=verify, timeout=_TIMEOUT, trust_env=False
        )
        weakref.finalize(self, self._client.close)
        self._where = parts.netloc

    @staticmethod
    def _token() -> str:
        token = _setting("TOKEN")
        file = _setting("TOKEN_FILE")
        if token is None and file is not None:
            token = read_private(Path(file), "the OpenBao token").decode("ascii", "replace").strip()
        if not token or not token.isascii() or not token.isprintable():
            raise SecretError("there is no OpenBao token", hint="set BAO_TOKEN, or BAO_TOKEN_FILE")
        return token

    def get(self, path: str) -> dict[str, Any]:
        """Read ``path`` and return its ``data``."""
        return self._data(self._send("GET", path))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Write ``body`` to ``path`` and return its ``data``."""
        return self._data(self._send("POST", path, body))

    def raw(self, path: str) -> bytes:
        """Read ``path`` as it is (certificates and lists)."""
        return self._send("GET", path).content

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        import httpx

        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Error(f"OpenBao at {self._where} can't be reached ({type(error).__name__})") from None
        if answer.status_code >= 400:
            raise Error(
                f"OpenBao at {self._where} refuses {path}: {_complaint(answer)}", hint=_hint(answer.status_code)
            )
        return answer

    @staticmethod
    def _data(answer: httpx.Response) -> dict[str, Any]:
        try:
            data = answer.json()["data"] if answer.content else {}
        except (ValueError, KeyError, TypeError) as error:
            raise Error("OpenBao's answer can't be understood") from error
        return data if isinstance(data, dict) else {}


def _complaint(answer: httpx.Response) -> str:
    try:
        said = "; ".join(str(one) for one in answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        said = ""
    plain = " ".join(said.split())[:300]
    return plain or f"HTTP status {answer.status_code}"


def _hint(status: int) -> str | None:
    return "its policy has to grant this token that path" if status == 403 else None
