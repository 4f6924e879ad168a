from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mcpsec.telemetry import Event
from mcpsec.telemetry.alerts import RULES, Alert, AlertEngine, Thresholds
from mcpsec.telemetry.baseline import Baselines
from mcpsec.telemetry.clean import Cleaner
from tests.telemetry.conftest import plain, request

_cleaner = Cleaner(plain)


class Watch:
    """An engine at a clock of its own."""

    def __init__(self, **options: Any) -> None:
        self.now = 1_795_400_000.0
        self.engine = AlertEngine(clock=lambda: self.now, **options)

    def __call__(self, event: Event, seconds: float = 1.0) -> list[str]:
        """Feed one event; the rules that fired."""
        self.now += seconds
        event.time = self.now
        self.engine.feed(_cleaner.record(event, 1, ""))
        return [alert.rule for alert in self.engine.take()]


def refused(method_class: str = "write", **fields: Any) -> Event:
    return request(kind="authorization", decision="refused", status=403, method_class=method_class, **fields)


def test_repeated_authentication_failures_alert_once_per_cooldown() -> None:
    watch = Watch()
    fired = [watch(Event("authentication-failed", claimed="ops", status=401, reason="replayed")) for _ in range(20)]
    assert fired == [[]] * 4 + [["authentication-failures"]] + [[]] * 15
    watch.now += 901
    for _ in range(4):
        watch(Event("authentication-failed", claimed="ops", status=401))
    watch.now += 1
    watch.engine.feed(_cleaner.record(Event("authentication-failed", claimed="ops", status=401), 1, ""))
    (alert,) = watch.engine.take()
    assert alert.suppressed == 15
    assert "ops" in alert.summary


def test_a_clock_that_was_ahead_silences_nothing() -> None:
    """Neither what was told then, nor an end that had not come."""
    watch = Watch()
    watch.engine.watch_certificate("server", watch.now + 40 * 86400)
    watch.engine.watch_revocation_list(watch.now, watch.now + 40 * 86400)
    watch.now += 366 * 86400
    asyncio.run(_quiet(watch.engine))
    for _ in range(5):
        watch(Event("authentication-failed", claimed="ops", status=401))
    assert {alert.rule for alert in watch.engine.recent} >= {"certificate-due", "revocation-list-due"}
    watch.now -= 366 * 86400
    told = [watch(Event("authentication-failed", claimed="ops", status=401)) for _ in range(10)]
    assert told.count(["authentication-failures"]) == 1
    asyncio.run(_quiet(watch.engine))
    before = len(watch.engine.recent)
    for _ in range(41):
        watch.now += 86400
        asyncio.run(_quiet(watch.engine))
    fired = [(alert.rule, alert.severity) for alert in list(watch.engine.recent)[before:]]
    assert fired.count(("certificate-due", "critical")) == 1
    assert fired.count(("revocation-list-due", "critical")) == 2


def test_failures_far_apart_or_of_different_clients_are_no_attack() -> None:
    watch = Watch()
    for _ in range(20):
        assert watch(Event("authentication-failed", claimed="ops"), seconds=200) == []
    for number in range(20):
        assert watch(Event("handshake-refused", address=f"192.0.2.{number}")) == []


def test_a_reader_that_tries_to_write() -> None:
    watch = Watch(readers={"configured"})
    watch(request(client="writer", method_class="write"))
    assert watch(refused(client="writer")) == []
    assert watch(refused("read", client="reader")) == []
    assert watch(refused(client="reader")) == ["write-by-reader"]
    assert watch(refused(client="reader")) == []
    assert watch(refused("execute", client="configured")) == ["write-by-reader"]


def test_other_rules() -> None:
    watch = Watch()
    assert [watch(Event("rate-limited", client="busy", status=429)) for _ in range(20)][-1] == ["rate-limit-hits"]
    assert watch(Event("breaker", upstream="files", state="half-open")) == []
    assert watch(Event("breaker", upstream="files", state="open")) == ["breaker-open"]
    assert watch(Event("breaker", upstream="files", state="open", client="agent")) == ["breaker-open"], "another matter"
    assert watch(Event("upstream", upstream="files", state="up")) == []
    assert watch(Event("upstream", upstream="files", state="down")) == ["upstream-down"]
    assert watch(Event("pin", upstream="files", resource="files/x")) == ["pin-changed"]
    watch.engine.feed({"kind": "log-gap", "time": "2026-11-23T08:00:00.000000Z", "detail": "events lost"})
    assert [alert.severity for alert in watch.engine.take()] == ["critical"]


def test_a_disabled_rule_is_silent() -> None:
    assert Watch(disabled={"breaker-open"})(Event("breaker", upstream="files", state="open")) == []


def test_certificates_alert_once_at_each_threshold() -> None:
    watch = Watch()
    watch.engine.watch_certificate("server", watch.now + 40 * 86400)
    fired = []
    for _ in range(41 * 4):
        asyncio.run(_quiet(watch.engine))
        fired += [alert.severity for alert in watch.engine.recent][len(fired) :]
        watch.now += 86400 / 4
    assert fired == ["medium", "high", "critical"]


def test_a_renewed_certificate_alerts_again_when_its_own_end_comes() -> None:
    watch = Watch()
    for fired in (1, 2):
        watch.engine.watch_certificate("server", watch.now + 31 * 86400)
        watch.now += 2 * 86400
        asyncio.run(_quiet(watch.engine))
        assert len(watch.engine.recent) == fired


def test_a_revocation_list_alerts_with_a_third_a_tenth_and_nothing_left_of_its_life() -> None:
    watch = Watch()
    fired = []
    for _ in range(2):  # the second list is signed after the first has ended
        watch.engine.watch_revocation_list(watch.now, watch.now + 30 * 86400)
        for _ in range(31):
            asyncio.run(_quiet(watch.engine))
            watch.now += 86400
        fired += [(alert.rule, alert.severity, alert.summary) for alert in watch.engine.recent][len(fired) :]
    assert [severity for _, severity, _ in fired] == ["high", "critical", "critical"] * 2
    assert {rule for rule, _, _ in fired} == {"revocation-list-due"}
    assert "ends in 10.0 days" in fired[0][2] and "no client is let in" in fired[2][2]


def test_a_revocation_list_that_is_signed_in_time_is_no_alert() -> None:
    watch = Watch()
    for _ in range(40):
        watch.engine.watch_revocation_list(watch.now, watch.now + 30 * 86400)
        asyncio.run(_quiet(watch.engine))
        watch.now += 15 * 86400
    assert not watch.engine.recent


async def _quiet(engine: AlertEngine) -> None:
    await engine.maintain()


def learned(**options: Any) -> Watch:
    watch = Watch(baselines=Baselines(days=2, requests=100, **options))
    for number in range(300):
        assert watch(request(number), seconds=900) == []
    return watch


def test_what_is_outside_the_learned_pattern() -> None:
    watch = learned()
    assert watch(request(resource="files/never-before")) == ["new-resource"]
    assert watch(request(resource="files/never-before")) == []
    fired = [rule for number in range(200) for rule in watch(request(number), seconds=0.01)]
    assert fired == ["rate-above-baseline"]


def test_a_new_hour() -> None:
    watch = Watch(baselines=Baselines(days=2, requests=100))
    watch.now = 1_795_392_000.0
    for day in range(4):
        watch.now = 1_795_392_000.0 + day * 86400
        for number in range(50):
            assert watch(request(number), seconds=60) == []
    watch.now += 6 * 3600
    assert watch(request()) == ["new-hour"]
    assert watch(request()) == []


def test_a_baseline_is_explainable_bounded_and_outlives_the_process(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "b.json", clients=50, resources=10)
    for number in range(1000):
        record = _cleaner.record(
            request(number, client=f"c{number % 40 if number > 100 else number}", resource=f"r/{number}"), 1, ""
        )
        list(baselines.observe(record))
    assert len(baselines._patterns) == 50
    facts = baselines.explain("c39")
    assert facts is not None
    assert len(facts["resources"]) == 10
    baselines.save()
    assert (tmp_path / "b.json").stat().st_mode & 0o777 == 0o600
    assert Baselines(tmp_path / "b.json").explain("c39") == facts
    (tmp_path / "b.json").write_bytes(b"{")
    assert Baselines(tmp_path / "b.json").explain("c39") is None


class Collecting:
    name = "collecting"

    def __init__(self) -> None:
        self.got: list[Alert] = []

    async def send(self, alert: Alert) -> None:
        self.got.append(alert)


class Broken:
    name = "broken"

    async def send(self, alert: Alert) -> None:
        raise OSError("no route")


def test_delivery_reaches_every_channel_and_the_log() -> None:
    recorded: list[Event] = []
    good = Collecting()
    watch = Watch(channels=[Broken(), good], record=recorded.append)

    async def run() -> None:
        watch.engine.watch_log(lambda: "disk full")
        watch.engine.raise_alert("breaker-open", "high", "files", "it opened")
        await watch.engine.maintain()
        await watch.engine.drain()

    asyncio.run(run())
    assert [alert.rule for alert in good.got] == ["breaker-open", "log-trouble"]
    assert watch.engine.failed_deliveries == 2
    assert [event.name for event in recorded if event.reason is None] == ["breaker-open", "log-trouble"]
    assert all("no route" in (event.detail or "") for event in recorded if event.reason == "undelivered")


def test_tables_are_bounded() -> None:
    watch = Watch(thresholds=Thresholds(authentication_failures=1))
    for number in range(12_000):
        watch.engine.feed(_cleaner.record(Event("authentication-failed", claimed=f"c{number}"), 1, ""))
    assert len(watch.engine._times) <= 10_000
    assert len(watch.engine._fired) <= 10_000
    assert len(watch.engine.take()) <= 1000
    assert watch.engine.lost > 0


def test_every_alert_is_a_documented_rule_and_json() -> None:
    alert = Alert("breaker-open", "high", "files", "it opened", 1.0, 2, {"seq": 1})
    assert json.loads(json.dumps(alert.document()))["meaning"] == RULES["breaker-open"]


@pytest.mark.parametrize("rule", RULES)
def test_rules_have_a_meaning(rule: str) -> None:
    assert RULES[rule].endswith(".")


def test_what_names_nobody_is_no_alert_and_a_persons_own_doing_neither() -> None:
    watch = Watch(thresholds=Thresholds(authentication_failures=1, rate_limit_hits=1))
    quiet = [
        Event("authentication-failed", status=401),
        Event("rate-limited", status=429),
        request(client=None),
        refused(client=None),
        Event("pin", state="approved", resource="files/tool"),
        Event("pin", state="pinned", resource="files/tool"),
        Event("breaker", upstream="files", state="closed"),
        Event("upstream", upstream="files", state="up"),
        Event("certificate", state="reloaded"),
    ]
    assert [watch(event) for event in quiet] == [[]] * len(quiet)
    loud = [
        Event("authentication-failed", status=401, address="192.0.2.1"),
        Event("rate-limited", status=429, address="192.0.2.1"),
        Event("pin", state="changed", resource="files/tool"),
        Event("breaker", upstream="files", state="open"),
        Event("upstream", upstream="files", state="down"),
        Event("handshake", client="ops", certificate_days_left=0.5),
    ]
    assert [watch(event) for event in loud] == [
        ["authentication-failures"],
        ["rate-limit-hits"],
        ["pin-changed"],
        ["breaker-open"],
        ["upstream-down"],
        ["certificate-due"],
    ]


def test_the_end_of_a_clients_certificate_is_told_once_for_each_threshold_and_certificate() -> None:
    watch = Watch()

    def connects(days: float | None, certificate: str = "aa", client: str | None = "ops") -> list[str]:
        told = Event("handshake", client=client, certificate=certificate * 32, certificate_days_left=days)
        return watch(told, seconds=1000)

    assert connects(None) == connects(31.0) == []  # nothing is due, or not soon
    assert connects(29.0) == ["certificate-due"] and connects(28.0) == []
    assert connects(6.0) == ["certificate-due"] and connects(5.9) == []
    assert connects(None, "bb") == [] and connects(6.0, "bb") == ["certificate-due"]  # the next one, much later
    watch.now += 1000
    watch.engine.feed(_cleaner.record(Event("handshake", certificate="cc", certificate_days_left=0.5), 1, ""))
    (alert,) = watch.engine.take()
    assert (alert.severity, alert.summary) == ("critical", "the certificate of client cc ends in 0.5 days")


class Hanging:
    name = "hanging"

    def __init__(self) -> None:
        self.cancelled = 0

    async def send(self, alert: Alert) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def test_receivers_that_hang_hold_up_so_many_and_are_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.telemetry.alerts._SENDING", 3)
    channel = Hanging()
    watch = Watch(channels=[channel])

    async def run() -> None:
        for number in range(5):
            watch.engine.raise_alert("breaker-open", "high", f"upstream-{number}", "it opened")
        await watch.engine.maintain()
        assert watch.engine.lost == 2
        await asyncio.sleep(0)
        await watch.engine.drain(timeout=0.001)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert channel.cancelled == 3
    assert watch.engine.failed_deliveries == 0  # given up is not refused


def test_a_failed_delivery_is_counted_without_a_log_too() -> None:
    watch = Watch(channels=[Broken()])

    async def run() -> None:
        watch.engine.raise_alert("breaker-open", "high", "files", "it opened")
        await watch.engine.maintain()
        await watch.engine.drain()
        await watch.engine.drain()

    asyncio.run(run())
    assert watch.engine.failed_deliveries == 1


def test_gateways_learn_together_and_what_could_not_be_told_is_told_later() -> None:
    one, other = Baselines(days=2, requests=100), Baselines(days=2, requests=100, resources=3)
    for number in range(4):
        list(one.observe(_cleaner.record(request(number), number, "")))
    list(other.observe(_cleaner.record(request(9, resource="files/mine"), 1, "")))
    ((client, news),) = one.untold()
    assert (news.requests, news.resources) == (4, tuple(f"files/tool_{number}" for number in range(4)))
    assert one.untold() == []
    one.retell(client, news)
    one.retell("nobody", news)
    assert one.untold() == [(client, news)]
    other.absorb("nobody", news)
    other.absorb(client, news)
    facts = other.explain(client)
    assert facts is not None and other.explain("nobody") is None
    assert facts["requests"] == 5
    assert facts["resources"] == ["files/mine", "files/tool_0", "files/tool_1"]  # as many as it keeps
    ((_, told),) = other.untold()
    assert told.requests == 1 and told.resources == ("files/mine",)


def test_patterns_are_saved_every_five_minutes_and_a_full_disk_costs_no_request(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    baselines = Baselines(path)
    list(baselines.observe(_cleaner.record(request(), 1, "")))
    baselines.save_if_due(1_000_000.0)
    path.unlink()
    baselines.save_if_due(1_000_100.0)
    assert not path.exists()
    baselines.save_if_due(1_000_301.0)
    assert Baselines(path).explain("reporting-agent") == baselines.explain("reporting-agent")
    path.unlink()
    path.mkdir()
    (path / "taken").touch()
    baselines.save()
    assert [each.name for each in path.iterdir()] == ["taken"]
