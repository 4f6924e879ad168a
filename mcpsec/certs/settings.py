"""``pki.toml``: what a PKI was made with and what its operator may change later. It holds no secret."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mcpsec.certs.files import read
from mcpsec.certs.names import is_dns_name
from mcpsec.certs.profiles import Profile, profiles
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.writing import PUBLIC, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILE", "ROOT_KEY", "Settings"]

FILE = "pki.toml"
ROOT_KEY = "private/root/key.pem"

_HEADER = """\
# A private PKI of mcpsec. You may change crl.days and add profiles, for example:
#   [profiles.ci-runner]
#   extends = "client"
#   days = 1
"""
_KNOWN = {"version", "trust_domain", "organization", "root_key", "crl", "profiles"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``pki.toml`` says. ``root_key`` is where the root's key is; ``crl_days`` the life of a CRL."""

    trust_domain: str = "mcp.internal"
    organization: str | None = None
    root_key: str = ROOT_KEY
    crl_days: float = 30.0
    crl_urls: dict[str, str] = field(default_factory=dict)
    own_profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        if not is_dns_name(self.trust_domain, wildcard=False) or self.trust_domain != self.trust_domain.lower():
            raise UsageError(f"{self.trust_domain!r} is no trust domain", hint="a lower-case name like example.com")
        if self.organization is not None and not (0 < len(self.organization) <= 64 and self.organization.isprintable()):
            raise UsageError("the organization has to be 1 to 64 printable characters")
        if not 0 < self.crl_days <= 3650:
            raise UsageError("a CRL has to live between 0 and 3650 days")
        for url in self.crl_urls.values():
            if not url.startswith(("http://", "https://")) or not url.isascii() or not url.isprintable() or " " in url:
                raise UsageError(f"{url!r} is no http URL for a CRL")

    @property
    def profiles(self) -> dict[str, Profile]:
        """The packaged profiles and the PKI's own."""
        return profiles(self.own_profiles, self.path)

    @classmethod
    def load(cls, directory: Path) -> Settings:
        """Read ``pki.toml`` in a PKI's directory.

        Raises:
            ConfigurationError: there is none (then this is no PKI), or it is wrong.
        """
        path = directory / FILE
        if not path.is_file():
            hint = "make one with: mcpsec certs --dir DIR init"
            raise ConfigurationError("there is no PKI here", path=directory, hint=hint)
        try:
            table = tomllib.loads(read(path).decode())
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"this is no TOML: {error}", path=path) from error
        crl, own = table.get("crl", {}), table.get("profiles", {})
        if not isinstance(crl, dict) or not isinstance(own, dict) or not all(isinstance(x, dict) for x in own.values()):
            raise ConfigurationError("crl, profiles and each profile are tables", path=path)
        if table.get("version") != 1 or set(table) - _KNOWN or set(crl) - {"days", "client_url", "server_url"}:
            raise ConfigurationError("a key is unknown, or the version is not 1", path=path)
        try:
            return cls(
                trust_domain=table["trust_domain"],
                organization=table.get("organization"),
                root_key=table["root_key"],
                crl_days=float(crl["days"]),
                crl_urls={key.removesuffix("_url"): value for key, value in crl.items() if key != "days"},
                own_profiles=own,
                path=path,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"a value is missing or wrong: {error}", path=path) from error
        except UsageError as error:
            raise ConfigurationError(error.message, path=path, hint=error.hint) from error

    def with_root_key(self, reference: str) -> Settings:
        """The same settings with the root's key elsewhere."""
        return replace(self, root_key=reference)

    def save_root_key(self, directory: Path) -> None:
        """Change the one line of ``pki.toml`` that says where the root's key is; the rest is its operator's."""
        text = read(directory / FILE).decode()
        line = f"root_key = {json.dumps(self.root_key)}"
        changed, count = re.subn(r"^root_key\s*=.*$", lambda _: line, text, count=1, flags=re.MULTILINE)
        if count:
            write_atomic(directory / FILE, changed.encode(), PUBLIC, inherit=True)
        else:  # written in some other way that TOML allows
            self.save(directory)

    def save(self, directory: Path) -> None:
        """Write ``pki.toml`` anew."""
        import tomli_w

        crl: dict[str, Any] = {"days": self.crl_days}
        crl |= {f"{purpose}_url": url for purpose, url in self.crl_urls.items()}
        table: dict[str, Any] = {"version": 1, "trust_domain": self.trust_domain, "root_key": self.root_key, "crl": crl}
        if self.organization is not None:
            table["organization"] = self.organization
        if self.own_profiles:
            table["profiles"] = self.own_profiles
        write_atomic(directory / FILE, (_HEADER + tomli_w.dumps(table)).encode(), PUBLIC, inherit=True)
