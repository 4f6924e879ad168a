from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import Pki, Purpose, crl_is_due, load_crl
from mcpsec.certs.crl import check_reason, parse_crls
from mcpsec.errors import ConfigurationError, UsageError


def test_numbers_rise_and_beginnings_too(pki: Pki) -> None:
    path = pki.directory / "client-ca.crl"
    seen = [load_crl(path)]
    for _ in range(3):
        pki.refresh_crls(Purpose.CLIENT, force=True)
        seen.append(load_crl(path))
    assert [one.numbers for one in seen] == [(1,), (2,), (3,), (4,)]
    starts = [one.this_update for one in seen]
    assert starts == sorted(set(starts)) and starts[-1] <= datetime.now(UTC)


def test_no_entry_is_later_than_its_list(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT)
    pki.revoke("agent", "keyCompromise")
    (crl,) = parse_crls(pki.directory / "client-ca.crl")
    (entry,) = crl
    assert entry.revocation_date_utc <= crl.last_update_utc


def test_an_entry_stays_until_one_list_after_its_certificates_end(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.issue("agent", Purpose.CLIENT, days=1)
    pki.revoke("agent")
    path = pki.directory / "client-ca.crl"
    now = datetime.now(UTC).replace(microsecond=0)
    counts = []
    for days in (2, 3):
        monkeypatch.setattr("mcpsec.certs.authority.now_utc", lambda days=days: now + timedelta(days=days))
        pki.refresh_crls(Purpose.CLIENT, force=True)
        counts.append(len(load_crl(path).revoked))
    assert counts == [1, 0]


def test_due_at_half_of_its_life_and_only_then(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    crl = load_crl(pki.directory / "client-ca.crl")
    now = datetime.now(UTC)
    assert not crl.due() and not crl.due(now + timedelta(days=14)) and crl.due(now + timedelta(days=15, minutes=1))
    assert not crl.expired(now + timedelta(days=29)) and crl.expired(now + timedelta(days=30, minutes=1))
    assert crl_is_due(now - timedelta(days=5), now + timedelta(days=5), now)
    assert pki.refresh_crls() == []
    monkeypatch.setattr("mcpsec.certs.authority.now_utc", lambda: now.replace(microsecond=0) + timedelta(days=16))
    assert len(pki.refresh_crls()) == 2


def test_what_a_clock_that_was_ahead_has_signed_is_made_again(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verifiers refuse a list, and a certificate, that has yet to begin."""
    pki.issue("agent", Purpose.CLIENT)
    now = datetime.now(UTC).replace(microsecond=0)
    with monkeypatch.context() as ahead:
        for module in ("authority", "leaf", "pki"):
            ahead.setattr(f"mcpsec.certs.{module}.now_utc", lambda: now + timedelta(days=400))
        assert [each.name for each in pki.renew_due()] == ["agent"]
    crl = pki.directory / "client-ca.crl"
    assert load_crl(crl).this_update > now + timedelta(days=300)
    assert [entry.not_before > now for entry in pki.due()] == [True]
    assert [each.error for each in pki.renew_due()] == [None]
    assert load_crl(crl).this_update <= datetime.now(UTC) < load_crl(crl).next_update
    assert pki.due() == [] and pki.refresh_crls() == []


def test_reasons_and_files(tmp_path: Path) -> None:
    assert check_reason("Key-Compromise") == "keyCompromise"
    for wrong in ("", "because", "certificateHold", "removeFromCRL"):
        with pytest.raises(UsageError):
            check_reason(wrong)
    path = tmp_path / "x.crl"
    for data in (b"", b"nonsense", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"):
        path.write_bytes(data)
        with pytest.raises(ConfigurationError):
            load_crl(path)


def test_issuing_signs_a_due_list_on_the_way(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_crl(pki.directory / "client-ca.crl")
    pki.issue("agent", Purpose.CLIENT)
    assert load_crl(pki.directory / "client-ca.crl") == before
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=16)
    monkeypatch.setattr("mcpsec.certs.authority.now_utc", lambda: later)
    pki.issue("other", Purpose.CLIENT)
    assert load_crl(pki.directory / "client-ca.crl").next_update == later + timedelta(days=30)


def test_a_list_of_another_tool_may_have_no_number(pki: Pki, tmp_path: Path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC).replace(microsecond=0)
    builder = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(now)
    made = builder.next_update(now + timedelta(days=1)).sign(key, hashes.SHA256())
    path = tmp_path / "other.crl"
    path.write_bytes(made.public_bytes(Encoding.PEM) + (pki.directory / "client-ca.crl").read_bytes())
    assert load_crl(path).numbers == (1,)
