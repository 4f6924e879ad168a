"""Real parts that the tests judge with: the openssl program, pkilint, and TLS handshakes over loopback."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pkilint.bin import lint_crl, lint_pkix_cert

STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


def load(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def openssl(*arguments: object) -> subprocess.CompletedProcess[str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is needed; install with: apt install openssl")
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def openssl_verify(leaf: Path, ca: Path, purpose: str, *more: object) -> tuple[bool, str]:
    done = openssl("verify", "-x509_strict", "-purpose", f"ssl{purpose}", "-CAfile", ca, *more, leaf)
    return done.returncode == 0, done.stdout + done.stderr


def pkilint(path: Path, tmp_path: Path) -> list[str]:
    """pkilint's findings of NOTICE and above on every certificate of a file, the false one on SPIFFE URIs aside."""
    findings: list[str] = []
    for number, certificate in enumerate(load(path)):
        one = tmp_path / f"lint-{number}.pem"
        one.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        output = _output_of(lint_pkix_cert.main, "lint", "-s", "NOTICE", str(one))
        lines = [line.strip() for line in output.splitlines() if line.startswith("    ")]
        findings += [line for line in lines if not ("invalid_uri_syntax" in line and "spiffe://" in line)]
    return findings


def pkilint_crl(path: Path) -> str:
    return _output_of(lint_crl.main, "lint", "-t", "CRL", "-p", "PKIX", "-s", "NOTICE", str(path)).strip()


def _output_of(main: Callable[[list[str]], int], *arguments: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it never closes the file that it reads
        main(list(arguments))
    return output.getvalue()


def server_context(chain: Path, key: Path, client_ca: Path | None = None, crl: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.verify_flags |= STRICT
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if crl is not None:
        context.load_verify_locations(crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


@contextlib.contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """Serve handshakes; each accepted peer gets to talk until it hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    stop = threading.Event()

    def talk(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            plain.settimeout(5)
            with context.wrap_socket(plain, server_side=True) as secured:
                while secured.recv(1024):
                    secured.sendall(b"ok")

    def serve() -> None:
        workers = []
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                workers.append(threading.Thread(target=talk, args=(listener.accept()[0],)))
                workers[-1].start()
        for worker in workers:
            worker.join()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        thread.join()
        listener.close()


def let_in(port: int, ca: Path, chain: Path, key: Path) -> bool:
    """Tell whether a strict client and the server at ``port`` accept each other, an answer included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= STRICT
    context.load_verify_locations(ca)
    context.load_cert_chain(chain, key)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(b"hello")
            return secured.recv(2) == b"ok"
    except OSError:
        return False
