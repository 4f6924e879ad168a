import threading
from datetime import timedelta
from pathlib import Path

from mcpsec.certs import Pki, Purpose, Renewal
from mcpsec.certs.watch import next_look, watch


def test_it_sleeps_until_the_next_thing_is_due(pki: Pki) -> None:
    pki.issue("agent", Purpose.CLIENT, days=90)
    assert next_look(pki, timedelta(hours=1)) == timedelta(hours=1)
    assert timedelta(days=14) < next_look(pki, timedelta(days=365)) <= timedelta(days=15)  # the CRL comes first
    pki.issue("short", Purpose.CLIENT, days=6 / 86400)
    assert next_look(pki, timedelta(hours=1)) <= timedelta(seconds=4)


def test_short_lived_certificates_are_renewed_while_it_runs(pki: Pki) -> None:
    issued = pki.issue("short", Purpose.CLIENT, days=3 / 86400)
    stop, renewed = threading.Event(), []

    def report(renewals: list[Renewal]) -> None:
        renewed.extend(renewals)
        if renewed:
            stop.set()

    thread = threading.Thread(
        target=watch, args=(lambda: Pki.open(pki.directory), timedelta(hours=1), stop, report, lambda error: None)
    )
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert renewed[0].name == "short" and renewed[0].issued is not None and renewed[0].issued.serial != issued.serial


def test_a_failing_round_is_told_and_not_the_end(pki: Pki, tmp_path: Path) -> None:
    stop, failures, rounds = threading.Event(), [], []

    def open_pki() -> Pki:
        rounds.append(1)
        if len(rounds) > 1:
            stop.set()
            return Pki.open(pki.directory)
        return Pki.open(tmp_path / "away")

    watch(open_pki, timedelta(milliseconds=10), stop, lambda renewals: None, failures.append)
    assert len(rounds) == 2 and "no PKI" in str(failures[0])
