from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose
from mcpsec.certs.expiry import Item, Level, check_found, check_pki, parse_margin
from mcpsec.certs.monitoring import nagios, prometheus
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
