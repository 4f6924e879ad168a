"""How soon a revocation acts on a live gateway: an open connection is cut, and the client does not come back.

Makes a deployment with ``mcpsec init``, connects every client over mutual TLS, then revokes one after the other with
``mcpsec certs`` as a library and takes the time from the moment that the new list is published. Run with::

    python benchmarks/certs_live.py [--clients 20]
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from mcpsec.certs import Pki, Purpose

MCPSEC = (sys.executable, "-m", "mcpsec")


def _connect(address: tuple[str, int], pki: Path, name: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(pki / "root-ca.pem"))
    context.load_cert_chain(pki / "client" / name / "chain.pem", pki / "client" / name / "key.pem")
    plain = socket.create_connection(address, timeout=30)
    return context.wrap_socket(plain, server_hostname=address[0])


def _is_let_in(address: tuple[str, int], pki: Path, name: str) -> bool:
    """With TLS 1.3 a client learns of its refusal with the first read."""
    try:
        with _connect(address, pki, name) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return connection.recv(1) != b""
    except OSError:
        return False


def _wait_for_close(connection: ssl.SSLSocket) -> None:
    try:
        while connection.recv(1024):
            pass
    except OSError:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    names = [f"agent-{number}" for number in range(parser.parse_args().clients)]
    with tempfile.TemporaryDirectory() as home:
        where, ready = Path(home) / "deployment", Path(home) / "ready.json"
        options = [word for name in names for word in ("--client", name)]
        subprocess.run([*MCPSEC, "init", str(where), *options], check=True, capture_output=True)
        serve = ("serve", "-c", str(where / "mcpsec.toml"), "--listen", "127.0.0.1:0", "--ready-file", str(ready))
        with subprocess.Popen([*MCPSEC, *serve], stderr=subprocess.DEVNULL) as process:
            try:
                while not ready.exists():
                    time.sleep(0.05)
                parts = urlsplit(json.loads(ready.read_text())["url"])
                _measure((parts.hostname or "", parts.port or 0), where / "pki", names)
            finally:
                process.terminate()


def _measure(address: tuple[str, int], directory: Path, names: list[str]) -> None:
    cut, gone = [], []
    with Pki.open(directory) as pki:
        for name in names:
            assert _is_let_in(address, directory, name), "a good client is refused"
            with _connect(address, directory, name) as connection:
                pki.revoke(name, "keyCompromise", Purpose.CLIENT)
                published = time.perf_counter()
                _wait_for_close(connection)
                cut.append(time.perf_counter() - published)
                while _is_let_in(address, directory, name):
                    pass
                gone.append(time.perf_counter() - published)
    for what, times in (("open connection cut", cut), ("reconnect refused", gone)):
        median, most = statistics.median(times) * 1e3, max(times) * 1e3
        print(f"{what:22} median {median:6.0f} ms, longest {most:6.0f} ms, of {len(times)}")


if __name__ == "__main__":
    main()
