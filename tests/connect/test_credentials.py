"""Credentials whose files are renewed while they are in use: what changes with them, and what must not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcpsec.connect import Credentials
from mcpsec.connect.selection import Selection
from mcpsec.signing.keys import generate_private_key
from tests.fixtures.pki import Authority, Identity

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def copied(identity: Identity, directory: Path) -> tuple[Path, Path]:
    """The client's own files, which a renewal replaces."""
    certificate, key = directory / "own.pem", directory / "own.key"
    certificate.write_bytes(identity.certificate.read_bytes())
    key.write_bytes(identity.key.read_bytes())
    return certificate, key


def renew(authority: Authority, certificate: Path, key: Path) -> None:
    new = authority.client("new", "spiffe://x/agent", trusts=authority.certificate)
    new.key.rename(key)
    new.certificate.rename(certificate)


def test_a_signing_key_of_its_own_outlives_the_certificate(authority: Authority, tmp_path: Path) -> None:
    certificate, key = copied(authority.client("old", "spiffe://x/agent", trusts=authority.certificate), tmp_path)
    signing = tmp_path / "signing.pem"
    signing.write_bytes(generate_private_key("ed25519")[0])
    selection = Selection(
        url="https://x.example/mcp", certificate=certificate, key=key, key_file=signing, key_id="agent-ed"
    )
    credentials, _ = selection.load()
    credentials.ssl_context()
    renew(authority, certificate, key)
    assert credentials.refresh()
    assert credentials.signer is not None
    assert credentials.signer.key.id == "agent-ed"
    assert isinstance(credentials.signer.key.private_key, Ed25519PrivateKey)


def test_the_certificates_own_key_signs_anew_after_a_renewal(authority: Authority, tmp_path: Path) -> None:
    certificate, key = copied(authority.client("old", "spiffe://x/agent", trusts=authority.certificate), tmp_path)
    credentials = Credentials.load(certificate=certificate, key=key, scheme="rfc9421")
    credentials.ssl_context()
    before = credentials.signer
    assert before is not None
    assert before.key.id == credentials.thumbprint()
    assert not credentials.refresh()
    renew(authority, certificate, key)
    assert credentials.refresh()
    assert credentials.signer is not None
    assert credentials.signer.key.id == credentials.thumbprint() != before.key.id


def test_half_a_renewal_changes_nothing(authority: Authority, tmp_path: Path) -> None:
    certificate, key = copied(authority.client("old", "spiffe://x/agent", trusts=authority.certificate), tmp_path)
    credentials = Credentials.load(certificate=certificate, key=key, scheme="rfc9421")
    credentials.ssl_context()
    before = credentials.signer
    new = authority.client("new", "spiffe://x/agent", trusts=authority.certificate)
    new.key.rename(key)
    assert not credentials.refresh()
    assert credentials.signer is before
    new.certificate.rename(certificate)
    assert credentials.refresh()


async def test_an_authority_that_joins_the_file_is_trusted_without_a_restart(tmp_path: Path) -> None:
    """The overlap of a CA rotation: the file holds the old and the new one, then the server changes over."""
    old, new = Authority(tmp_path / "old", "Old"), Authority(tmp_path / "new", "New")
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(old.certificate.read_bytes())
    credentials = Credentials.load(ca=bundle)
    context = credentials.ssl_context()
    server = new.server("server", trusts=new.certificate)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(server.certificate, server.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=own)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.1")
    bundle.write_bytes(old.certificate.read_bytes() + new.certificate.read_bytes())
    assert credentials.refresh()
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.1")
    writer.transport.abort()
    listener.close()
