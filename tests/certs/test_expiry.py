from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose, rotation
from mcpsec.certs.expiry import Item, Level, check_found, check_pki, parse_margin
from mcpsec.certs.monitoring import nagios, prometheus
from mcpsec.certs.pki import renewal_moment
from mcpsec.certs.reading import read_target
from mcpsec.errors import UsageError


def _levels(pki: Pki, days: float, **margins: str) -> dict[str, Level]:
    now = datetime.now(UTC) + timedelta(days=days)
    items = check_pki(pki, now=now, **{key: parse_margin(text) for key, text in margins.items()})  # type: ignore[arg-type]
    return {f"{item.kind}:{item.purpose}:{item.name}": item.level for item in items}


def test_nothing_new_is_due_and_everything_is_late_in_the_end(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT)
    pki.issue("gone", Purpose.CLIENT)
    pki.revoke("gone")
    leaf = "leaf:client:agent"
    levels = _levels(pki, 0)
    assert set(levels.values()) == {Level.OK} and not [name for name in levels if "gone" in name]
    assert len(levels) == 6  # a leaf, three CAs, two CRLs
    assert _levels(pki, 50)[leaf] is Level.OK and _levels(pki, 61)[leaf] is Level.DUE
    assert _levels(pki, 82)[leaf] is Level.LATE and _levels(pki, 91)[leaf] is Level.LATE
    assert _levels(pki, 61, warn="10d", fail="1d")[leaf] is Level.OK
    assert _levels(pki, 0, warn="100d")[leaf] is Level.DUE
    assert _levels(pki, 0, fail="100%")[leaf] is Level.LATE
    crl = next(name for name in levels if name.startswith("crl:client"))
    assert [_levels(pki, days)[crl] for days in (15, 22, 28, 31)] == [Level.OK, Level.DUE, Level.LATE, Level.LATE]
    ca = next(name for name in levels if name.startswith("ca:client"))
    assert [_levels(pki, days)[ca] for days in (1600, 1700, 1800)] == [Level.OK, Level.DUE, Level.LATE]


def test_a_file_that_is_gone_is_late(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT).certificate.unlink()
    assert _levels(pki, 0)["leaf:client:agent"] is Level.LATE


def test_foreign_files_are_judged_by_their_own_life(pki: Pki) -> None:
    issued = pki.issue("agent", Purpose.CLIENT, days=30)
    leaf, ca = read_target(str(issued.chain))
    assert (check_found(leaf).level, check_found(ca).level) == (Level.OK, Level.OK)
    assert check_found(leaf, now=datetime.now(UTC) + timedelta(days=21)).level is Level.DUE
    assert check_found(leaf, now=datetime.now(UTC) + timedelta(days=28)).level is Level.LATE
    assert check_found(leaf, now=datetime.now(UTC) - timedelta(days=1)).reason.startswith("not valid before")


@pytest.mark.parametrize("text", ["30d", "30", "1.5h", "2w", "90m", "10s", "25%"])
def test_lengths_of_time(text: str) -> None:
    assert parse_margin(text)


@pytest.mark.parametrize("text", ["", "d", "-3d", "3y", "101%", "1e3d", "9" * 20 + "d", "30 d"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(UsageError):
        parse_margin(text)


def _item(name: str, level: Level) -> Item:
    now = datetime.now(UTC)
    return Item(
        name=name,
        kind="leaf",
        place="/x",
        serial="01",
        purpose="client",
        not_before=now,
        not_after=now + timedelta(days=3),
        level=level,
        reason="3 days left",
    )


@pytest.mark.parametrize(
    ("levels", "unread", "word", "code"),
    [
        ([Level.OK], [], "OK", 0),
        ([Level.OK, Level.DUE], [], "WARNING", 1),
        ([Level.DUE, Level.LATE], ["x"], "CRITICAL", 2),
        ([Level.DUE], ["x"], "UNKNOWN", 3),
        ([], [], "OK", 0),
    ],
)
def test_a_monitoring_plugins_line_and_code(levels: list[Level], unread: list[str], word: str, code: int) -> None:
    text, status = nagios([_item("a", level) for level in levels], unread, datetime.now(UTC))
    first = text.splitlines()[0]
    assert status == code and first.startswith(f"CERTS {word} - ") and first.count("|") == 1
    hostile, _ = nagios([_item("x|late=0\nCERTS OK", Level.LATE)], [], datetime.now(UTC))
    assert len(hostile.splitlines()) == 2 and hostile.count("|") == 1


def test_prometheus_text_is_well_formed_whatever_the_names(tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    text = prometheus([_item('a"} 1\nx{"', Level.LATE), _item("b", Level.OK)], 2, datetime.now(UTC)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["mcpsec_certificate_level"].samples
    assert {(sample.labels["name"], sample.value) for sample in samples} == {('a"} 1\nx{"', 2.0), ("b", 0.0)}
    assert families["mcpsec_certificates_unread"].samples[0].value == 2


def test_each_trouble_with_the_files_is_late_and_says_what(pki: Pki) -> None:
    issued = pki.issue("agent", Purpose.CLIENT)
    other = pki.issue("other", Purpose.CLIENT)
    assert issued.key is not None

    def said() -> dict[str, str]:
        return {item.name: item.reason for item in check_pki(pki) if item.level is Level.LATE}

    assert said() == {}
    issued.certificate.write_bytes(other.certificate.read_bytes())
    issued.chain.write_bytes(other.chain.read_bytes())
    assert said() == {"agent": "its file is not the certificate that the ledger knows"}
    pki.issue("agent", Purpose.CLIENT, replace=True)
    issued.key.unlink()
    assert said() == {"agent": "its key is gone"}


def test_a_list_that_is_not_in_its_file_is_late_whatever_its_age(pki: Pki) -> None:
    path = pki.directory / "client-ca.crl"
    for spoil in (lambda: path.write_bytes((pki.directory / "server-ca.crl").read_bytes()), path.unlink):
        spoil()
        late = [item for item in check_pki(pki) if item.level is Level.LATE]
        assert [(item.kind, item.purpose) for item in late] == [("crl", "client")]
        assert "mcpsec certs crl" in late[0].reason


def test_a_retired_ca_and_its_list_are_nobodys_concern(pki: Pki) -> None:
    rotation.rotate(pki, Purpose.CLIENT)
    assert len([item for item in check_pki(pki) if item.purpose == "client"]) == 4
    rotation.retire_unused(pki.authority(Purpose.CLIENT))
    assert len([item for item in check_pki(pki) if item.purpose == "client"]) == 2


def test_a_renewal_that_is_overdue_is_told_even_before_the_margin(pki: Pki) -> None:
    for number in range(8):  # each has a moment of its own, up to a twentieth of its life before the margin
        pki.issue(f"a{number}", Purpose.CLIENT, days=90)
    earliest = min(renewal_moment(entry) for entry in pki.entries()) + timedelta(seconds=1)
    due = [item for item in check_pki(pki, now=earliest) if item.level is Level.DUE]
    assert len(due) == 1 and due[0].reason.startswith("its renewal has been due since")


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(days=3), "3 days left"),
        (timedelta(hours=30), "30 hours left"),
        (timedelta(minutes=90), "90 minutes left"),
        (timedelta(seconds=100), "100 seconds left"),
    ],
)
def test_what_is_left_is_said_in_the_unit_that_fits(left: timedelta, text: str, pki: Pki) -> None:
    (leaf,) = read_target(str(pki.issue("agent", Purpose.CLIENT).certificate))
    assert check_found(leaf, now=leaf.certificate.not_valid_after_utc - left).reason == text
