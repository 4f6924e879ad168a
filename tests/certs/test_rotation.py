from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose, authority, load_crl, rotation
from mcpsec.certs.crl import parse_crls
from mcpsec.errors import ConfigurationError, RefusedError, SecretError, UsageError
from tests.certs.helpers import let_in, load, openssl_verify, pkilint, server_context, tls_server


def test_two_client_cas_overlap_and_the_old_one_goes_last(pki: Pki, tmp_path: Path) -> None:
    server = pki.issue("gw", Purpose.SERVER, ["127.0.0.1"])
    old = pki.issue("agent", Purpose.CLIENT)
    assert server.key is not None and old.key is not None
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in (old.chain, old.key):
        (kept / path.name).write_bytes(path.read_bytes())
    rotation.rotate(pki, Purpose.CLIENT)
    bundle, crl = pki.directory / "client-ca.pem", pki.directory / "client-ca.crl"
    assert len(load(bundle)) == 3 and len(parse_crls(crl)) == 2
    assert pkilint(bundle, tmp_path) == []
    with pytest.raises(RefusedError, match="agent"):
        rotation.retire(pki, Purpose.CLIENT)
    (renewal,) = pki.renew_due()
    assert renewal.issued is not None and renewal.issued.key is not None

    def both() -> list[bool]:
        with tls_server(server_context(server.chain, server.key, bundle, crl)) as port:  # type: ignore[arg-type]
            return [
                let_in(port, pki.root_file, kept / "chain.pem", kept / "key.pem"),
                let_in(port, pki.root_file, renewal.issued.chain, renewal.issued.key),  # type: ignore[union-attr, arg-type]
            ]

    assert both() == [True, True]
    (gone,) = rotation.retire(pki, Purpose.CLIENT)
    assert gone.cut_off == 1 and both() == [False, True]
    assert not (pki.directory / "private" / "client" / "key-1.pem").exists()
    assert len(load(bundle)) == 2 and len(parse_crls(crl)) == 1
    with pytest.raises(UsageError, match="overlaps"):
        rotation.retire(pki, Purpose.CLIENT)


def test_the_old_ca_goes_by_itself_when_its_last_certificate_ended(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.issue("agent", Purpose.CLIENT, days=10)
    rotation.rotate(pki, Purpose.CLIENT)
    pki.renew_due()
    assert [signer.state for signer in pki.authority(Purpose.CLIENT).ledger.signers()] == ["active", "overlapping"]
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=11)
    for module in ("mcpsec.certs.rotation", "mcpsec.certs.pki", "mcpsec.certs.authority"):
        monkeypatch.setattr(f"{module}.now_utc", lambda: later)
    assert authority.now_utc() == later
    pki.renew_due()
    assert [signer.state for signer in pki.authority(Purpose.CLIENT).ledger.signers()] == ["active", "retired"]


def test_revocations_of_the_old_ca_stay_in_force(pki: Pki) -> None:
    issued = pki.issue("agent", Purpose.CLIENT)
    rotation.rotate(pki, Purpose.CLIENT)
    pki.revoke("agent")
    assert load_crl(pki.directory / "client-ca.crl").covers(load(issued.certificate)[0])


def test_a_root_that_is_kept_elsewhere(pki: Pki, tmp_path: Path) -> None:
    away = tmp_path / "usb.pem"
    (pki.directory / "private" / "root" / "key.pem").rename(away)
    pki.issue("agent", Purpose.CLIENT)  # daily work needs no root
    with pytest.raises(ConfigurationError, match="is not here"):
        rotation.rotate(pki, Purpose.SERVER)
    rotation.rotate(pki, Purpose.SERVER, root_key=away)
    wrong = pki.directory / "private" / "client" / "key-1.pem"
    with pytest.raises(SecretError, match="not the key of any root"):
        rotation.rotate(pki, Purpose.SERVER, root_key=wrong)
    assert [signer.state for signer in pki.authority(Purpose.SERVER).ledger.signers()] == ["active", "overlapping"]


def test_a_new_root_in_two_steps(pki: Pki) -> None:
    first = pki.issue("gw", Purpose.SERVER, ["127.0.0.1"])
    rotation.rotate_root(pki)
    old_root, roots = load(pki.directory / "server-ca.pem")[1], load(pki.root_file)
    assert len(roots) == 2 and roots[1] == old_root
    assert openssl_verify(first.certificate, pki.root_file, "server", "-untrusted", first.chain)[0]
    with pytest.raises(RefusedError, match="no root is without"):
        rotation.retire_root(pki)
    for purpose in Purpose:
        rotation.rotate(pki, purpose)
    (renewal,) = pki.renew_due()
    assert renewal.issued is not None
    rotation.retire(pki, Purpose.SERVER)  # the client CA had issued nothing, so its renewal retired it
    rotation.retire_root(pki)
    assert load(pki.root_file) == roots[:1]
    after = renewal.issued
    accepted, said = openssl_verify(after.certificate, pki.root_file, "server", "-untrusted", after.chain)
    assert accepted, said
    assert len(list((pki.directory / "private" / "root").iterdir())) == 1
    with Pki.open(pki.directory) as again:
        rotation.rotate(again, Purpose.CLIENT)  # the new root's key is the one that is found


def test_constraints_and_encryption_stay(tmp_path: Path) -> None:
    secrets = dict.fromkeys(("root", "client", "server"), b"secret")
    with Pki.create(tmp_path / "pki", permitted={Purpose.SERVER: [("dns", "example.com")]}, passphrases=secrets) as pki:
        rotation.rotate(pki, Purpose.SERVER)
        assert b"ENCRYPTED" in (pki.directory / "private" / "server" / "key-2.pem").read_bytes()
        with pytest.raises(RefusedError, match="name constraints"):
            pki.issue("gw", Purpose.SERVER, ["mcp.evil.com"])
        pki.issue("gw", Purpose.SERVER, ["mcp.example.com"])
    with Pki.open(tmp_path / "pki") as closed, pytest.raises(SecretError, match="no passphrase"):
        rotation.rotate(closed, Purpose.SERVER)


def test_a_new_root_leaves_the_settings_as_their_operator_wrote_them(pki: Pki) -> None:
    settings = pki.directory / "pki.toml"
    mine = settings.read_text() + '\n# ours\n[profiles.runner]\nextends = "client"\ndays = 1\n'
    settings.write_text(mine)
    rotation.rotate_root(pki)
    changed = [line for line in settings.read_text().splitlines() if line not in mine.splitlines()]
    assert len(changed) == 1 and changed[0].startswith('root_key = "private/root/key-')
    with Pki.open(pki.directory) as again:
        rotation.rotate(again, Purpose.CLIENT)
        assert again.profiles["runner"].days == 1
