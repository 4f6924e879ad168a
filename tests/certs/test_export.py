import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from mcpsec.certs import Pki, Purpose, keys
from mcpsec.certs.csr import make_request, read_request
from mcpsec.certs.export import ledger_lines, write_pkcs12
from mcpsec.errors import SecretError, UsageError
from tests.certs.helpers import load, openssl


def test_a_bundle_holds_key_certificate_and_chain(pki: Pki, tmp_path: Path) -> None:
    issued = pki.issue("agent", Purpose.CLIENT)
    path = tmp_path / "agent.p12"
    write_pkcs12(issued, path, b"long enough secret")
    assert path.stat().st_mode & 0o777 == 0o600
    bundle = pkcs12.load_pkcs12(path.read_bytes(), b"long enough secret")
    assert bundle.cert is not None and bundle.cert.certificate == load(issued.chain)[0]
    assert [one.certificate for one in bundle.additional_certs] == load(issued.chain)[1:]
    shown = openssl("pkcs12", "-in", path, "-info", "-noout", "-passin", "pass:long enough secret")
    assert "AES-256-CBC, Iteration 600000, PRF hmacWithSHA256" in shown.stderr
    with pytest.raises(ValueError):
        pkcs12.load_pkcs12(path.read_bytes(), b"another")
    with pytest.raises(SecretError):
        write_pkcs12(issued, path, b"")


def test_encrypted_foreign_and_absent_keys(pki: Pki, tmp_path: Path) -> None:
    locked = pki.issue("locked", Purpose.CLIENT, key_passphrase=b"mine")
    with pytest.raises(SecretError):
        write_pkcs12(locked, tmp_path / "x", b"secret")
    write_pkcs12(locked, tmp_path / "x", b"secret", lambda _what: b"mine")
    swapped = pki.issue("swapped", Purpose.CLIENT)
    assert swapped.key is not None
    swapped.key.write_bytes(keys.encode(keys.generate("p256")))
    with pytest.raises(SecretError, match="not the certificate's"):
        write_pkcs12(swapped, tmp_path / "y", b"secret")
    request = tmp_path / "r"
    request.write_bytes(make_request("own", [], keys.generate("p256")))
    own = pki.issue("own", Purpose.CLIENT, public_key=read_request(request).public_key)
    with pytest.raises(UsageError, match="not here"):
        write_pkcs12(own, tmp_path / "z", b"secret")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pki", "r", "x"]


def test_the_ledger_is_exported_whole(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT)
    pki.renew("agent")
    pki.revoke("agent", "superseded")
    pki.issue("gw", Purpose.SERVER, ["gw.example.com"])
    rows = [json.loads(line) for line in ledger_lines(pki)]
    assert [(row["name"], row["recorded"], row["reason"]) for row in rows] == [
        ("agent", "superseded", "superseded"),
        ("agent", "issued", "superseded"),
        ("gw", "issued", None),
    ]
    assert all(row["pem"].startswith("-----BEGIN CERTIFICATE-----") for row in rows)
