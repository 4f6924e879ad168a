"""Becomes ``mcpsec serve`` without TLS: ``plain_gateway.py ATTACKER_SAN BYSTANDER_SAN python -m mcpsec serve …``.

A million handshakes take an hour and test OpenSSL. Everything behind the handshake is the gateway's own code here:
who comes from 127.0.0.2 is the bystander, as if by certificate, everybody else the attacker.
"""

from __future__ import annotations

import sys
from typing import Any

from mcpsec.cli.entry import main
from mcpsec.gateway import connection, listener
from mcpsec.gateway.message import Peer


def plain(attacker: str, bystander: str) -> None:
    def peer_of(address: str, _connection: object) -> Peer:
        san = bystander if address == "127.0.0.2" else attacker
        return Peer(address, sans=(san,), fingerprint="00" * 32, not_after=2**40, der=san.encode())

    replaced: Any = listener.Listener
    replaced._tls_options = lambda _self: {}
    connection.__dict__["peer_of"] = peer_of


if __name__ == "__main__":
    plain(*sys.argv[1:3])
    sys.argv = ["mcpsec", *sys.argv[6:]]
    raise SystemExit(main())
