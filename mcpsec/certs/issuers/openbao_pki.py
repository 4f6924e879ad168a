"""OpenBao's (or Vault's) PKI engine as the issuer behind the same commands, for fleets beyond one machine.

The CA, its serial numbers and its CRL live there, shared by every machine; the ledger here records what this machine
asked for, and its files are published as ever. A reference is ``openbao-pki:MOUNT/ROLE``. What the engine returns is
checked against what was asked: a role that quietly drops a name or adds a usage is an error, not a surprise later.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs.identity import sans_of_certificate
from mcpsec.certs.issuers.openbao import OpenBao
from mcpsec.certs.keys import same_public_key
from mcpsec.certs.profiles import USAGES
from mcpsec.errors import Error, RefusedError, UsageError

if TYPE_CHECKING:
    from mcpsec.certs.profiles import LeafSpec

__all__ = ["OpenBaoPki"]

_REFERENCE = re.compile(r"openbao-pki:(?P<mount>[A-Za-z0-9_-]+)/(?P<role>[A-Za-z0-9_.-]+)")
_SLACK = timedelta(minutes=2)
_TRAVEL = timedelta(seconds=5)
"""Taken off a lifetime, so that it still fits below the CA's end when the request arrives."""


class OpenBaoPki:
    """One role of one PKI mount."""

    def __init__(self, reference: str) -> None:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise UsageError(f"{reference!r} names no issuer", hint="openbao-pki:MOUNT/ROLE")
        self._mount, self._role = match["mount"], match["role"]
        self._bao = OpenBao()

    def chain(self) -> list[x509.Certificate]:
        """The issuing CA, then those above it.

        Raises:
            Error: the engine can't be reached, or has no CA.
        """
        data = self._bao.raw(f"{self._mount}/ca_chain") or self._bao.raw(f"{self._mount}/ca/pem")
        try:
            return x509.load_pem_x509_certificates(data)
        except ValueError as error:
            raise Error(f"the PKI engine {self._mount} has no CA") from error

    def sign(self, spec: LeafSpec, request: bytes) -> x509.Certificate:
        """Have a request (PEM) signed as ``spec`` says.

        Raises:
            Error: the engine can't be reached or refuses.
            RefusedError: it returned something else than was asked for.
        """
        kinds: dict[str, list[str]] = {"dns": [], "uri": [], "ip": [], "email": []}
        for kind, text in spec.sans:
            kinds[kind].append(text)
        life = spec.not_after - datetime.now(UTC) - _TRAVEL
        body = {
            "csr": request.decode(),
            "common_name": spec.common_name,
            "alt_names": ",".join(kinds["dns"] + kinds["email"]),
            "ip_sans": ",".join(kinds["ip"]),
            "uri_sans": ",".join(kinds["uri"]),
            "ttl": f"{max(1, int(life.total_seconds()))}s",  # not_after would bypass the role's max_ttl
            "exclude_cn_from_sans": True,
        }
        answer = self._bao.post(f"{self._mount}/sign/{self._role}", body)
        try:
            certificate = x509.load_pem_x509_certificate(str(answer["certificate"]).encode())
        except (KeyError, ValueError) as error:
            raise Error("OpenBao's certificate can't be understood") from error
        self._check(certificate, spec, x509.load_pem_x509_csr(request))
        return certificate

    def _check(self, leaf: x509.Certificate, spec: LeafSpec, request: x509.CertificateSigningRequest) -> None:
        try:
            usages = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        except x509.ExtensionNotFound:
            usages = set()
        found = {(san.kind, str(san)) for san in sans_of_certificate(leaf)}
        if not same_public_key(leaf.public_key(), request.public_key()):
            what = "another key"
        elif found != set(spec.sans):
            what = "other names than were asked for"
        elif usages != {USAGES[spec.purpose]}:
            what = f"more or other usages than TLS {spec.purpose}"
        elif leaf.not_valid_after_utc > spec.not_after + _SLACK:
            what = "a longer life than was asked for"
        else:
            return
        serial = ":".join(f"{byte:02x}" for byte in leaf.serial_number.to_bytes(20, "big").lstrip(b"\0"))
        self._bao.post(f"{self._mount}/revoke", {"serial_number": serial})
        raise RefusedError(
            f"role {self._role} issued a certificate with {what}; it was revoked at once",
            hint="see docs/certificates.md for the role that fits",
        )

    def revoke(self, certificate: x509.Certificate) -> None:
        """Revoke a certificate there."""
        self._bao.post(f"{self._mount}/revoke", {"certificate": certificate.public_bytes(Encoding.PEM).decode()})

    def crl(self) -> x509.CertificateRevocationList:
        """The engine's CRL, signed again now.

        Raises:
            Error: the engine can't be reached, or its CRL has no end.
        """
        self._bao.get(f"{self._mount}/crl/rotate")
        try:
            crl = x509.load_pem_x509_crl(self._bao.raw(f"{self._mount}/crl/pem"))
        except ValueError as error:
            raise Error(f"the PKI engine {self._mount} has no CRL") from error
        if crl.next_update_utc is None:
            raise Error(f"the CRL of {self._mount} has no end")
        return crl
