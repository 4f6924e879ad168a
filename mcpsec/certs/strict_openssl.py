"""Path validation by OpenSSL with its strict flag, on certificates alone (``ssl`` can do it only within a handshake).

It calls the OpenSSL that ``cryptography`` brings along, through the same bindings that pyOpenSSL uses, because neither
library's public interface can state the purpose that a chain has to fit. Every object is freed on every way out.
"""

from __future__ import annotations

import ipaddress
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs.ledger import Purpose
from mcpsec.errors import NotAssessedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509

__all__ = ["StrictOutcome", "verify_strict"]


@dataclass(frozen=True, slots=True)
class StrictOutcome:
    """``reason`` is None when OpenSSL accepts; ``chain`` is the path that it built, leaf first, in DER form."""

    reason: str | None
    chain: tuple[bytes, ...] = ()


class _Objects:
    """OpenSSL's objects for one validation; each is freed when the stack closes."""

    def __init__(self, stack: ExitStack) -> None:
        try:
            from cryptography.hazmat.bindings.openssl.binding import Binding

            self.lib: Any = Binding.lib
            self.ffi: Any = Binding.ffi
            self.strict_flag: int = self.lib.X509_V_FLAG_X509_STRICT | self.lib.X509_V_FLAG_PARTIAL_CHAIN
        except (ImportError, AttributeError) as error:
            raise NotAssessedError(
                "this build of cryptography has no OpenSSL bindings, so nothing can be verified",
                hint="install cryptography from its own wheels",
            ) from error
        self._stack = stack

    def owned(self, pointer: Any, free: Any) -> Any:
        if pointer == self.ffi.NULL:
            self.lib.ERR_clear_error()
            raise NotAssessedError("OpenSSL can't parse one of the certificates or lists")
        self._stack.callback(free, pointer)
        return pointer

    def _bio(self, der: bytes) -> Any:
        buffer = self.ffi.from_buffer(der)
        self._stack.callback(lambda: buffer)  # the BIO reads from it until it is freed
        return self.owned(self.lib.BIO_new_mem_buf(buffer, len(der)), self.lib.BIO_free)

    def certificate(self, certificate: x509.Certificate) -> Any:
        bio = self._bio(certificate.public_bytes(Encoding.DER))
        return self.owned(self.lib.d2i_X509_bio(bio, self.ffi.NULL), self.lib.X509_free)

    def crl(self, crl: x509.CertificateRevocationList) -> Any:
        bio = self._bio(crl.public_bytes(Encoding.DER))
        return self.owned(self.lib.d2i_X509_CRL_bio(bio, self.ffi.NULL), self.lib.X509_CRL_free)

    def der(self, certificate: Any) -> bytes:
        bio = self.owned(self.lib.BIO_new(self.lib.BIO_s_mem()), self.lib.BIO_free)
        self.lib.i2d_X509_bio(bio, certificate)
        data = self.ffi.new("char**")
        length = self.lib.BIO_get_mem_data(bio, data)
        return bytes(self.ffi.buffer(data[0], length))


def verify_strict(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    *,
    purpose: Purpose,
    crls: Sequence[x509.CertificateRevocationList] = (),
    host: str | None = None,
    at: datetime,
) -> StrictOutcome:
    """Ask OpenSSL: strict, any certificate in ``anchors`` ends the path, with CRLs the leaf has to be on none of them.

    Raises:
        NotAssessedError: there is no OpenSSL to ask, or it can't parse its input.
    """
    with ExitStack() as stack:
        openssl = _Objects(stack)
        lib, ffi = openssl.lib, openssl.ffi
        store = openssl.owned(lib.X509_STORE_new(), lib.X509_STORE_free)
        for anchor in anchors:
            lib.X509_STORE_add_cert(store, openssl.certificate(anchor))
        for crl in crls:
            lib.X509_STORE_add_crl(store, openssl.crl(crl))
        flags = openssl.strict_flag | (lib.X509_V_FLAG_CRL_CHECK if crls else 0)
        parameters = openssl.owned(lib.X509_VERIFY_PARAM_new(), lib.X509_VERIFY_PARAM_free)
        lib.X509_VERIFY_PARAM_set_flags(parameters, flags)
        lib.X509_VERIFY_PARAM_set_time(parameters, int(at.timestamp()))
        if host is not None:
            _expect_host(openssl, parameters, host)
        lib.X509_STORE_set1_param(store, parameters)
        wanted = lib.X509_PURPOSE_SSL_CLIENT if purpose is Purpose.CLIENT else lib.X509_PURPOSE_SSL_SERVER
        lib.X509_STORE_set_purpose(store, wanted)
        untrusted = openssl.owned(lib.sk_X509_new_null(), lib.sk_X509_free)
        for intermediate in intermediates:
            lib.sk_X509_push(untrusted, openssl.certificate(intermediate))
        context = openssl.owned(lib.X509_STORE_CTX_new(), lib.X509_STORE_CTX_free)
        lib.X509_STORE_CTX_init(context, store, openssl.certificate(leaf), untrusted)
        accepted = lib.X509_verify_cert(context) == 1
        code, depth = lib.X509_STORE_CTX_get_error(context), lib.X509_STORE_CTX_get_error_depth(context)
        lib.ERR_clear_error()
        if not accepted:
            text = ffi.string(lib.X509_verify_cert_error_string(code)).decode()
            return StrictOutcome(text if depth == 0 else f"{text} (at the CA {depth} above the leaf)")
        path = lib.X509_STORE_CTX_get1_chain(context)
        members = [openssl.owned(lib.sk_X509_value(path, at), lib.X509_free) for at in range(lib.sk_X509_num(path))]
        openssl.owned(path, lib.sk_X509_free)
        return StrictOutcome(None, tuple(openssl.der(member) for member in members))


def _expect_host(openssl: _Objects, parameters: Any, host: str) -> None:
    try:
        packed = ipaddress.ip_address(host).packed
    except ValueError:
        name = host.encode("idna") if not host.isascii() else host.encode()
        openssl.lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
    else:
        openssl.lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
