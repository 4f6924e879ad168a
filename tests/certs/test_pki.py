import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from mcpsec.certs import Pki, Purpose, authority, keys, load_crl, rotation, sans_of, sha256_of
from mcpsec.certs.authority import Authority
from mcpsec.certs.leaf import now_utc
from mcpsec.certs.pki import renewal_moment
from mcpsec.errors import ConfigurationError, RefusedError, SecretError, UsageError
from tests.certs.helpers import load, openssl_verify


def test_a_new_pki_is_whole_and_private(pki: Pki) -> None:
    found = {str(path.relative_to(pki.directory)) for path in pki.directory.rglob("*") if path.is_file()}
    assert found >= {
        *("root-ca.pem", "client-ca.pem", "client-ca.crl", "server-ca.pem", "server-ca.crl", "pki.toml"),
        *("private/root/key.pem", "private/client/key-1.pem", "private/server/key-1.pem"),
        *("private/client/ledger.sqlite3", "private/server/ledger.sqlite3"),
    }
    for path in pki.directory.rglob("*"):
        mode = path.stat().st_mode & 0o777
        if path.is_dir():
            assert mode == 0o700, path
        elif "private" in path.parts:
            assert mode == 0o600, path
    bundle = load(pki.directory / "client-ca.pem")
    assert [ca.subject == ca.issuer for ca in bundle] == [False, True]  # issuing CA first, then the root
    assert bundle[1] == load(pki.root_file)[0]


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty directory"):
        Pki.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    empty = tmp_path / "empty"
    empty.mkdir()
    Pki.create(empty).close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"trust_domain": "UPPER"},
        {"trust_domain": "a b"},
        {"organization": "x" * 65},
        {"organization": "a\nb"},
        {"key_kind": "ed25519"},
        {"root_days": 10, "ca_days": 20},
        {"crl_days": 0},
        {"crl_urls": {"client": "ftp://x"}},
        {"permitted": {Purpose.CLIENT: [("ip", "x")]}},
    ],
)
def test_wrong_values_make_nothing(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Pki.create(tmp_path / "pki", **wrong)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_issued_certificate_is_in_files_and_ledger(pki: Pki) -> None:
    issued = pki.issue("agent", Purpose.CLIENT, ["spiffe://example.com/agent", "agent.example.com"], days=30)
    assert issued.key is not None and issued.certificate.is_absolute()
    assert [path.stat().st_mode & 0o777 for path in (issued.key, issued.key.parent)] == [0o600, 0o700]
    leaf, ca = load(issued.chain)
    assert load(issued.certificate) == [leaf] and ca == load(pki.directory / "client-ca.pem")[0]
    key = keys.load(issued.key, "the key")
    assert keys.same_public_key(key.public_key(), leaf.public_key())  # type: ignore[arg-type]
    (entry,) = pki.entries()
    assert (entry.serial, entry.name, entry.sans) == (issued.serial, "agent", issued.sans)
    assert int(entry.serial, 16) == leaf.serial_number
    assert [(san.kind, str(san)) for san in sans_of(entry.der)] == [
        ("uri", "spiffe://example.com/agent"),
        ("dns", "agent.example.com"),
    ]
    assert len(sha256_of(entry.der)) == 64


def test_names_by_default(pki: Pki) -> None:
    assert pki.issue("agent", Purpose.CLIENT).sans == ("spiffe://example.com/client/agent",)
    assert pki.issue("mcp.example.com", Purpose.SERVER).sans == ("mcp.example.com",)
    with pytest.raises(UsageError, match="names that clients connect to"):
        pki.issue("gateway", Purpose.SERVER)
    with pytest.raises(UsageError, match="wildcard"):
        pki.issue("wild", Purpose.CLIENT, ["*.example.com"])


def test_a_name_bears_one_good_certificate(pki: Pki) -> None:
    first = pki.issue("agent", Purpose.CLIENT)
    with pytest.raises(UsageError, match="already bears"):
        pki.issue("agent", Purpose.CLIENT)
    with pytest.raises(UsageError, match="differs only in case"):
        pki.issue("Agent", Purpose.CLIENT)
    pki.issue("agent", Purpose.SERVER, ["agent.example.com"])  # another authority, another name space
    second = pki.issue("agent", Purpose.CLIENT, replace=True)
    assert [entry.recorded for entry in pki.find("agent", Purpose.CLIENT)] == ["superseded", "issued"]
    assert pki.current("agent", Purpose.CLIENT).serial == second.serial != first.serial
    with pytest.raises(UsageError, match="a client and a server"):
        pki.revoke("agent")
    pki.revoke("agent", purpose=Purpose.CLIENT)
    pki.issue("agent", Purpose.CLIENT)  # a revoked name may be given a new one, on the operator's word


def test_no_leaf_outlives_its_ca(tmp_path: Path) -> None:
    with Pki.create(tmp_path / "pki", ca_days=10, root_days=20) as pki:
        issued = pki.issue("agent", Purpose.CLIENT, days=90)
        assert issued.shortened and issued.not_after == load(issued.chain)[1].not_valid_after_utc
        assert not pki.issue("other", Purpose.CLIENT, days=5).shortened
        for days in (0, -1, 1e9):
            with pytest.raises(UsageError):
                pki.issue("third", Purpose.CLIENT, days=days)


def _at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(authority, "now_utc", lambda: moment)
    monkeypatch.setattr("mcpsec.certs.pki.now_utc", lambda: moment)


@pytest.mark.parametrize(("days", "said"), [(2000, "expired"), (-2, "clock")])
def test_an_expired_ca_and_a_clock_that_is_behind(
    days: int, said: str, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    _at(monkeypatch, datetime.now(UTC).replace(microsecond=0) + timedelta(days=days))
    with pytest.raises(RefusedError, match=said):
        pki.issue("agent", Purpose.CLIENT)
    assert not list(pki.entries(everything=True)) and not list((pki.directory / "client").iterdir())


def _refuses(directory: Path, match: str, passphrase: bytes | None = None) -> None:
    """Issue and expect one clear error, nothing on the disk and nothing in the ledger."""
    with Pki.open(directory, passphrase=passphrase) as pki:
        with pytest.raises((SecretError, ConfigurationError), match=match):
            pki.issue("agent", Purpose.CLIENT)
        assert not list(pki.entries(everything=True)) and not list((directory / "client").iterdir())


def test_ca_keys_that_can_not_be_used(pki: Pki) -> None:
    key = pki.directory / "private" / "client" / "key-1.pem"
    key.chmod(0o644)
    _refuses(pki.directory, "other accounts")
    key.chmod(0o600)
    good = key.read_bytes()
    key.write_bytes(keys.encode(keys.generate("p256")))
    _refuses(pki.directory, "not the key of its certificate")
    key.write_bytes(keys.encode(keys.load(_restored(key, good), "it"), b"right"))
    _refuses(pki.directory, "no passphrase was given")
    _refuses(pki.directory, "passphrase is wrong", b"wrong")
    with Pki.open(pki.directory, passphrase=b"right") as opened:
        opened.issue("agent", Purpose.CLIENT)
    key.unlink()
    with Pki.open(pki.directory) as opened, pytest.raises(ConfigurationError, match="is not here"):
        opened.issue("other", Purpose.CLIENT)


def _restored(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_an_unreadable_key(pki: Pki) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(shutil.copytree(pki.directory, Path(place) / "pki"))
        key = directory / "private" / "client" / "key-1.pem"
        key.chmod(0)
        pki.issue("earlier", Purpose.CLIENT)  # everything is imported by now: a plain user may not read root's Python
        with _as_plain_user(Path(place), all_but=key):
            _refuses(directory, "permission denied")


def test_an_account_that_may_change_nothing_is_told_so(pki: Pki) -> None:
    """A timer under the wrong account must not say that nothing is due, day after day, until everything has expired."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another account for a while")
    pki.issue("agent", Purpose.CLIENT)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(shutil.copytree(pki.directory, Path(place) / "pki"))
        pki.renew_due()  # everything is imported by now
        ledgers = {directory / "private" / purpose / "ledger.sqlite3" for purpose in Purpose}
        for path in (Path(place), *Path(place).rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        with _as_plain_user(Path(place) / "nothing", all_but=directory), Pki.open(directory) as reader:
            assert [entry.name for entry in reader.entries()] == ["agent"]
            for attempt in (reader.renew_due, reader.refresh_crls, lambda: reader.issue("other", Purpose.CLIENT)):
                with pytest.raises(ConfigurationError, match=r"may (not )?change|permission denied"):
                    attempt()
        assert all(path.stat().st_uid == 0 for path in ledgers)


@contextlib.contextmanager
def _as_plain_user(place: Path, *, all_but: Path) -> Iterator[None]:
    """Root reads everything: give the place to another account and be that one for a while."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    for path in (place, *place.rglob("*")):
        if path != all_but and path.exists():
            os.chown(path, nobody, nobody)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_is_no_pki_or_a_damaged_one(tmp_path: Path, pki: Pki) -> None:
    with pytest.raises(ConfigurationError, match="no PKI here"):
        Pki.open(tmp_path / "nothing")
    settings = pki.directory / "pki.toml"
    for text in ("version = 2", "version = ", 'version = 1\ntrust_domain = "x"\nroot_key = "y"\n[crl]\ndays = "soon"'):
        settings.write_text(text)
        with pytest.raises(ConfigurationError):
            Pki.open(pki.directory)


def test_a_damaged_ledger_is_one_clear_error(pki: Pki) -> None:
    (pki.directory / "private" / "client" / "ledger.sqlite3").write_bytes(b"nonsense" * 1000)
    with Pki.open(pki.directory) as opened, pytest.raises(ConfigurationError, match="ledger"):
        opened.issue("agent", Purpose.CLIENT)


def test_the_serving_account_works_without_the_client_authority(pki: Pki) -> None:
    pki.issue("gw", Purpose.SERVER, ["127.0.0.1"])
    pki.issue("agent", Purpose.CLIENT)
    (pki.directory / "private" / "client" / "ledger.sqlite3").rename(pki.directory / "elsewhere")
    (pki.directory / "private" / "client").rename(pki.directory / "private" / "away")
    with Pki.open(pki.directory) as serving:
        assert [entry.name for entry in serving.entries()] == ["gw"]
        assert serving.unreadable_purposes() == [Purpose.CLIENT]
        renewals = serving.renew_due(within=timedelta(days=365))
        assert [(renewal.name, renewal.error) for renewal in renewals] == [("gw", None)]
        with pytest.raises(ConfigurationError):
            serving.issue("other", Purpose.CLIENT)


def test_a_published_file_that_lags_behind_is_named(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.issue("gw", Purpose.SERVER, ["127.0.0.1"])
    crl = pki.directory / "server-ca.crl"
    before = crl.read_bytes()
    monkeypatch.setattr("mcpsec.certs.authority.may_write", lambda path: path != pki.directory)
    pki.revoke("gw")
    assert crl.read_bytes() == before and pki.unpublished() == [crl] and pki.refresh_crls(force=True)[1:] == []
    monkeypatch.undo()
    with Pki.open(pki.directory) as another:
        another.refresh_crls()
        assert another.unpublished() == [] and len(load_crl(crl).revoked) == 1


# renewing


def test_renewal_keeps_names_and_life_and_makes_a_new_key(pki: Pki) -> None:
    first = pki.issue("agent", Purpose.CLIENT, ["spiffe://example.com/x"], days=12, key_kind="p384")
    assert first.key is not None
    old_key = first.key.read_bytes()
    second = pki.renew("agent")
    assert second.sans == first.sans and second.serial != first.serial
    assert second.not_after - second.not_before == first.not_after - first.not_before
    assert second.key is not None and second.key.read_bytes() != old_key
    assert keys.kind_of(keys.load(second.key, "it")) == "p384"
    accepted, said = openssl_verify(second.certificate, pki.directory / "client-ca.pem", "client")
    assert accepted, said
    third = pki.renew("agent", reuse_key=True, days=3)
    assert third.key is not None
    assert keys.same_public_key(*(load(path)[0].public_key() for path in (third.certificate, second.certificate)))  # type: ignore[arg-type]
    assert third.not_after < second.not_after


def test_an_encrypted_key_stays_encrypted(pki: Pki) -> None:
    issued = pki.issue("agent", Purpose.CLIENT, key_passphrase=b"mine")
    assert issued.key is not None and b"ENCRYPTED" in issued.key.read_bytes()
    with pytest.raises(SecretError, match="no passphrase"):
        pki.renew("agent")
    with Pki.open(pki.directory, passphrase=lambda what: b"mine" if "agent" in what else None) as opened:
        opened.renew("agent")
    assert keys.load(issued.key, "it", lambda _what: b"mine")


def test_revoked_and_unknown_names_are_not_renewed(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT)
    pki.revoke("agent")
    with pytest.raises(UsageError, match="was revoked"):
        pki.renew("agent")
    with pytest.raises(UsageError, match="no certificate has the name"):
        pki.renew("nobody")
    assert pki.renew_due(within=timedelta(days=365)) == []


def test_due_with_a_third_of_life_left_and_spread(pki: Pki) -> None:
    for number in range(20):
        pki.issue(f"a{number}", Purpose.CLIENT, days=90)
    entries = list(pki.entries())
    moments = {renewal_moment(entry) for entry in entries}
    assert len(moments) > 15  # not all in one night
    for entry in entries:
        life = entry.not_after - entry.issued
        assert entry.not_after - life * (1 / 3 + 1 / 20) <= renewal_moment(entry) <= entry.not_after - life / 3
    start = entries[0].issued
    assert pki.due(start + timedelta(days=50)) == []
    assert len(pki.due(start + timedelta(days=61))) == 20
    assert 0 < len(pki.due(start + timedelta(days=58))) < 20
    assert len(pki.due(start, within=timedelta(days=91))) == 20


def test_one_failing_renewal_does_not_stop_the_others(pki: Pki) -> None:
    pki.issue("a-locked", Purpose.CLIENT, key_passphrase=b"unknown")
    pki.issue("b-free", Purpose.CLIENT)
    outcomes = {renewal.name: renewal for renewal in pki.renew_due(within=timedelta(days=365))}
    assert isinstance(outcomes["a-locked"].error, SecretError) and outcomes["a-locked"].issued is None
    assert outcomes["b-free"].error is None and outcomes["b-free"].issued is not None


# revoking


def test_revocation_reaches_the_crl_at_once_and_all_certificates_of_a_name(pki: Pki) -> None:
    first = pki.issue("agent", Purpose.CLIENT)
    old = load(first.certificate)[0]
    second = pki.renew("agent")
    other = pki.issue("other", Purpose.CLIENT)
    crl = pki.directory / "client-ca.crl"
    assert not load_crl(crl).covers(old)
    assert {entry.serial for entry in pki.revoke("agent", "key-compromise")} == {first.serial, second.serial}
    after = load_crl(crl)
    assert (
        after.covers(old) and after.covers(load(second.certificate)[0]) and not after.covers(load(other.certificate)[0])
    )
    arguments = ("-crl_check", "-CRLfile", crl)
    assert "revoked" in openssl_verify(second.certificate, pki.directory / "client-ca.pem", "client", *arguments)[1]
    assert openssl_verify(other.certificate, pki.directory / "client-ca.pem", "client", *arguments)[0]
    assert pki.revoke("agent") == []
    assert {entry.reason for entry in pki.find("agent")} == {"keyCompromise"}


def test_one_serial_number_alone(pki: Pki) -> None:
    first = pki.issue("agent", Purpose.CLIENT)
    second = pki.renew("agent")
    with_colons = ":".join(first.serial[at : at + 2] for at in range(0, len(first.serial), 2)).lower()
    assert [entry.serial for entry in pki.revoke(with_colons)] == [first.serial]
    assert pki.current("agent").serial == second.serial and pki.current("agent").revoked is None


def test_nothing_is_revoked_when_the_list_can_not_be_signed(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT)
    with pytest.raises(UsageError, match="no reason"):
        pki.revoke("agent", "because")
    with Pki.open(pki.directory) as opened:
        (pki.directory / "private" / "client" / "key-1.pem").unlink()
        with pytest.raises(ConfigurationError):
            opened.revoke("agent")
        assert opened.current("agent").revoked is None


def test_what_is_published_is_restored_without_a_key(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT)
    pki.revoke("agent")
    crl, bundle = pki.directory / "client-ca.crl", pki.directory / "client-ca.pem"
    texts = crl.read_bytes(), bundle.read_bytes()
    crl.write_bytes(b"")
    bundle.unlink()
    (pki.directory / "private" / "client" / "key-1.pem").unlink()
    with Pki.open(pki.directory) as opened, opened.authority(Purpose.CLIENT).held():
        pass
    assert (crl.read_bytes(), bundle.read_bytes()) == texts


def test_memory_of_a_row_that_nobody_saw(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that died after its ledger entry and before its files leaves an abandoned row and no name taken."""

    class Dies(Exception):
        pass

    def die(*_: object) -> None:
        raise Dies

    with monkeypatch.context() as patched:
        patched.setattr("mcpsec.certs.delivery.deliver", die)
        with pytest.raises(Dies):
            pki.issue("agent", Purpose.CLIENT)
    assert [entry.recorded for entry in pki.entries(everything=True)] == ["abandoned"]
    assert list(pki.entries()) == []
    pki.issue("agent", Purpose.CLIENT)
    serials = {x509.load_der_x509_certificate(entry.der).serial_number for entry in pki.entries(everything=True)}
    assert len(serials) == 2


def between_look_and_lock(
    monkeypatch: pytest.MonkeyPatch, method: str, happens: Callable[[Pki], object], directory: Path
) -> None:
    """Let another process do something after a command has looked at the ledger and before it holds the lock."""
    original = getattr(Authority, method)

    def late(self: Authority, *arguments: object) -> object:
        monkeypatch.setattr(Authority, method, original)
        with Pki.open(directory) as other:
            happens(other)
        return original(self, *arguments)

    monkeypatch.setattr(Authority, method, late)


def test_a_renewal_does_not_outrun_a_revocation(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.issue("agent", Purpose.CLIENT)
    between_look_and_lock(monkeypatch, "issue", lambda other: other.revoke("agent"), pki.directory)
    with pytest.raises(UsageError, match="revoked"):
        pki.renew("agent")
    assert [entry.revoked is not None for entry in pki.entries(everything=True)] == [True]


def test_a_revocation_takes_what_was_renewed_at_the_same_moment(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.issue("agent", Purpose.CLIENT)
    between_look_and_lock(monkeypatch, "revoke", lambda other: other.renew("agent"), pki.directory)
    assert len(pki.revoke("agent")) == 2
    assert [entry.revoked is not None for entry in pki.entries(everything=True)] == [True, True]


def test_two_renewals_at_once_make_one_certificate(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    pki.issue("agent", Purpose.CLIENT, days=1)
    soon = now_utc() + timedelta(hours=23)
    between_look_and_lock(monkeypatch, "issue", lambda other: other.renew("agent"), pki.directory)
    assert pki.renew_due(soon) == []  # nothing failed: it was done by the other one
    assert len(list(pki.entries(everything=True))) == 2


def test_a_slow_reader_of_the_ledger_keeps_nobody_out(pki: Pki) -> None:
    list(pki.issue_many(pki.request(f"agent-{number}", Purpose.CLIENT) for number in range(3)))
    reader = pki.entries(everything=True)
    seen = [next(reader).name]
    with Pki.open(pki.directory) as other:
        other.revoke("agent-2")
    seen += [entry.name for entry in reader]
    assert seen == ["agent-0", "agent-1", "agent-2"]


def test_the_ledger_is_read_in_pages(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.certs.ledger._PAGE", 2)
    for _ in range(2):
        list(pki.issue_many(pki.request(f"agent-{n}", Purpose.CLIENT, replace=True) for n in range(5)))
    assert [entry.name for entry in pki.entries()] == [f"agent-{n}" for n in range(5)]
    assert [entry.name for entry in pki.entries(everything=True)] == [f"agent-{n // 2}" for n in range(10)]


def test_what_root_does_in_somebodys_pki_is_that_accounts(pki: Pki) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    someone = 12345
    for path in (pki.directory, *pki.directory.rglob("*")):
        os.chown(path, someone, someone)
    with Pki.open(pki.directory) as opened:
        opened.issue("agent", Purpose.CLIENT)
        opened.renew("agent")
        opened.revoke("agent")
        rotation.rotate_root(opened)
        rotation.rotate(opened, Purpose.CLIENT)
    others = [path for path in pki.directory.rglob("*") if path.lstat().st_uid != someone]
    assert not others


def test_a_profile_of_the_other_purpose_and_a_name_asked_for_twice(pki: Pki) -> None:
    with pytest.raises(UsageError, match="profile 'client' is for client certificates"):
        pki.issue("gw", Purpose.SERVER, ["gw.example.com"], profile="client")
    with pytest.raises(UsageError, match="'Agent' is asked for twice"):
        list(pki.issue_many(pki.request(name, Purpose.CLIENT) for name in ("agent", "Agent")))
    assert not list(pki.entries(everything=True))


def test_a_directory_that_the_ledger_does_not_know_is_not_overwritten(pki: Pki) -> None:
    stranger = pki.directory / "client" / "agent"
    stranger.mkdir()
    (stranger / "key.pem").write_text("somebody's")
    with pytest.raises(UsageError, match="the ledger knows no such certificate"):
        pki.issue("agent", Purpose.CLIENT)
    assert (stranger / "key.pem").read_text() == "somebody's"


def test_a_certificate_that_nobody_ever_had_is_not_renewed(pki: Pki) -> None:
    issued = pki.issue("agent", Purpose.CLIENT)
    ledger = pki.authority(Purpose.CLIENT).ledger
    with ledger.transaction():
        ledger._db.execute("UPDATE certificates SET state = 'pending'")
        ledger.abandon([issued.serial])
    (entry,) = pki.find("agent")
    assert entry.state(now_utc()) == "abandoned" and not entry.accepted(now_utc())
    with pytest.raises(UsageError, match="bears no certificate that could be renewed"):
        pki.renew("agent")


def test_a_ledger_of_a_newer_version_is_not_touched(pki: Pki) -> None:
    ledger = pki.authority(Purpose.CLIENT).ledger
    ledger._db.execute("PRAGMA user_version = 7")
    with Pki.open(pki.directory) as again, pytest.raises(ConfigurationError, match="has version 7"):
        again.issue("agent", Purpose.CLIENT)
    ledger._db.execute("PRAGMA user_version = 1")
    pki.issue("agent", Purpose.CLIENT)


def test_without_any_ledger_nothing_is_readable(pki: Pki) -> None:
    shutil.rmtree(pki.directory / "private" / "client")
    with Pki.open(pki.directory) as half:
        assert [authority.purpose for authority in half.readable_authorities()] == [Purpose.SERVER]
    shutil.rmtree(pki.directory / "private" / "server")
    with Pki.open(pki.directory) as none, pytest.raises(ConfigurationError):
        none.readable_authorities()


def test_renewing_one_purpose_leaves_the_other_alone(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT)
    pki.issue("gw", Purpose.SERVER, ["gw.example.com"])
    outcomes = pki.renew_due(within=timedelta(days=365), purpose=Purpose.SERVER)
    assert [(renewal.name, renewal.purpose) for renewal in outcomes] == [("gw", Purpose.SERVER)]


def test_a_list_that_can_not_be_signed_is_told_beside_what_was_renewed(pki: Pki) -> None:
    pki.issue("gw", Purpose.SERVER, ["gw.example.com"])
    pki.authority(Purpose.CLIENT).ledger._db.execute("DELETE FROM crls")
    (pki.directory / "private" / "client" / "key-1.pem").unlink()
    outcomes = {renewal.name: renewal for renewal in pki.renew_due(within=timedelta(days=365))}
    assert outcomes["gw"].error is None
    assert outcomes["client-ca.crl"].kind == "crl"
    assert "is not here" in str(outcomes["client-ca.crl"].error)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('trust_domain = "example.com"', 'trust_domain = "NO DOMAIN"', "trust domain"),
        ("days = 30", "days = 0", "between 0 and 3650 days"),
        ("version = 1", "version = 2", "the version is not 1"),
    ],
)
def test_settings_that_are_wrong_name_their_file(before: str, after: str, said: str, pki: Pki) -> None:
    path = pki.directory / "pki.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(ConfigurationError, match=said) as caught:
        Pki.open(pki.directory)
    assert caught.value.path == str(path)


def test_a_new_root_is_found_however_the_settings_were_written(pki: Pki) -> None:
    path = pki.directory / "pki.toml"
    text = path.read_text() + '\n[profiles.runner]\nextends = "client"\ndays = 1\n'
    path.write_text(text.replace("root_key =", '"root_key" ='))
    rotation.rotate_root(pki)
    with Pki.open(pki.directory) as again:
        assert again.settings.root_key.startswith("private/root/key-2")
        assert again.profiles["runner"].days == 1
        rotation.rotate(again, Purpose.CLIENT)


def test_an_encrypted_ca_key_is_not_rotated_without_its_passphrase(pki: Pki) -> None:
    key = pki.directory / "private" / "client" / "key-1.pem"
    key.write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    with Pki.open(pki.directory) as opened, pytest.raises(SecretError, match="no passphrase was given"):
        rotation.rotate(opened, Purpose.CLIENT)
    assert sorted(path.name for path in key.parent.glob("key-*")) == ["key-1.pem"]


def test_nothing_is_signed_below_a_root_that_has_ended(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "now_utc", lambda: datetime.now(UTC) + timedelta(days=4000))
    with pytest.raises(RefusedError, match="the root has expired"):
        rotation.rotate(pki, Purpose.CLIENT)
    assert len(pki.authority(Purpose.CLIENT).ledger.signers()) == 1


def test_no_root_goes_while_an_authority_is_out_of_sight(pki: Pki) -> None:
    rotation.rotate_root(pki)
    shutil.rmtree(pki.directory / "private" / "client")
    with Pki.open(pki.directory) as half, pytest.raises(RefusedError, match="can't see all authorities"):
        rotation.retire_root(half)
    assert len(load(pki.root_file)) == 2
