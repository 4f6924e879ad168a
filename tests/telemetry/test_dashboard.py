from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.telemetry import Event
from mcpsec.telemetry.clean import Cleaner
from mcpsec.telemetry.dashboard import Aggregate, Dashboard
from tests.telemetry.browser import CHROMIUM, Browser, Server
from tests.telemetry.conftest import plain, request


class Feed:
    """Records as the log hands them on, at a clock of its own."""

    def __init__(self) -> None:
        self.now = time.time()
        self.aggregate = Aggregate(clock=lambda: self.now)
        self._cleaner = Cleaner(plain)
        self._seq = 0

    def __call__(self, event: Event, *, log: str = "") -> None:
        self._seq += 1
        self.aggregate.feed(self._cleaner.record(event, self._seq, ""), log=log)


@pytest.fixture
def feed() -> Feed:
    return Feed()


def test_a_worker_that_begins_closes_no_breaker_of_another(feed: Feed) -> None:
    def shown() -> tuple[str, int]:
        (row,) = feed.aggregate.snapshot()["upstreams"]
        return row["breaker"], row["breaker_clients"]

    for log in ("one", "two"):
        feed(Event("breaker", upstream="slow", state="open"), log=log)
        feed(Event("breaker", upstream="slow", state="open", client="agent"), log=log)
    feed(Event("breaker", upstream="slow", state="open", client="other"), log="two")
    assert shown() == ("open", 2)
    feed(Event("server-start", pid=1), log="one")
    assert shown() == ("open", 2)
    feed(Event("breaker", upstream="slow", state="half-open"), log="two")
    feed(Event("breaker", upstream="slow", state="closed", client="other"), log="two")
    assert shown() == ("half-open", 1)
    feed(Event("breaker", upstream="slow", state="closed"), log="one")  # was closed
    assert shown() == ("half-open", 1)
    feed(Event("server-start", pid=2), log="two")
    assert shown() == ("closed", 0)


def test_what_is_counted(feed: Feed) -> None:
    for number in range(10):
        feed(request(number, duration_ms=10.0))
    feed(request(kind="authorization", decision="refused", status=403, rule="default-deny"))
    feed(request(kind="timeout", decision="failed", status=504, upstream="slow"))
    feed(Event("authentication-failed", decision="refused", status=401, reason="replayed", claimed="someone"))
    feed(Event("handshake-refused", reason="unknown-ca"))
    feed(Event("rate-limited", decision="refused", status=429, client="reporting-agent"))
    feed(Event("breaker", upstream="slow", state="open"))
    feed(Event("breaker", upstream="files", state="open", client="agent"))
    feed(Event("alert", name="breaker-open", severity="high", detail="it opened"))
    picture = feed.aggregate.snapshot()
    totals = picture["totals"]
    assert {name: totals[name] for name in ("requests", "allowed", "refused", "failed")} == {
        "requests": 14,
        "allowed": 10,
        "refused": 3,
        "failed": 1,
    }
    assert (totals["authentication_failures"], totals["handshakes_refused"], totals["limit_hits"]) == (2, 1, 1)
    assert picture["seconds"][-1] == [10, 3, 1, 2, 1]
    assert picture["minutes"][-1] == [10, 3, 1, 2, 1]
    assert [each["name"] for each in picture["alerts"]] == ["breaker-open"]
    assert len(picture["denials"]) == 4
    assert {each["name"]: each["breaker"] for each in picture["upstreams"]} == {"files": "closed", "slow": "open"}
    assert {each["name"]: each["breaker_clients"] for each in picture["upstreams"]} == {"files": 1, "slow": 0}
    assert 8 < picture["latency_ms"]["p50"] < 12


def test_time_moves_on(feed: Feed) -> None:
    feed(request())
    feed.now += 61
    feed(request())
    picture = feed.aggregate.snapshot()
    assert sum(row[0] for row in picture["seconds"]) == 2
    assert picture["seconds"][-62] == [1, 0, 0, 0, 0]
    assert picture["minutes"][-1][0] + picture["minutes"][-2][0] + picture["minutes"][-3][0] == 2
    feed.now += 3 * 86400
    picture = feed.aggregate.snapshot()
    assert not any(map(any, picture["seconds"]))
    assert not any(map(any, picture["minutes"]))
    assert picture["clients"] == []
    feed.now -= 3600
    feed(request())


def test_memory_is_bounded_under_hostile_names(feed: Feed) -> None:
    for number in range(20_000):
        feed(request(number, client=f"c{number}", resource=f"files/{number}", upstream=f"u{number}"))
        feed(Event("authentication-failed", decision="refused", status=401, reason=f"r{number}"))
    assert len(feed.aggregate.recent) == 2000
    assert len(feed.aggregate.denials) == 200
    slot = feed.aggregate._slots[-1]
    assert max(len(slot.clients), len(slot.resources), len(slot.reasons)) <= 2001
    assert len(feed.aggregate._upstreams) <= 2000
    assert len(json.dumps(feed.aggregate.snapshot()["clients"])) < 5000


def test_search_finds_every_word(feed: Feed) -> None:
    for number in range(20):
        feed(request(number, client=f"agent-{number}"))
    assert [each["client"] for each in feed.aggregate.search("AGENT-7 files/")] == ["agent-7"]
    assert feed.aggregate.search("nothing-like-this") == []


def test_replies_carry_a_strict_policy(feed: Feed) -> None:
    dashboard = Dashboard(feed.aggregate)
    for path in ("/dashboard", "/dashboard/", "/dashboard/dashboard.js", "/dashboard/dashboard.css", "/dashboard/data"):
        reply = dashboard.respond(path)
        assert reply is not None
        assert reply.status == 200
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
    page = dashboard.respond("/dashboard")
    assert page is not None
    assert isinstance(page.body, bytes)
    assert b"http" not in page.body
    assert b"{prefix}" not in page.body
    assert dashboard.respond("/metrics") is None
    assert dashboard.respond("/dashboardx") is None
    missing = dashboard.respond("/dashboard/../../etc/passwd")
    assert missing is not None
    assert missing.status == 404


def test_the_stream_gives_a_picture_then_what_is_new(feed: Feed) -> None:
    dashboard = Dashboard(feed.aggregate, interval=0.01, facts=lambda: {"version": "9"})

    async def run() -> list[tuple[str, dict[str, Any]]]:
        feed(request(kind="authorization", decision="refused", status=403))
        reply = dashboard.respond("/dashboard/events")
        assert reply is not None
        stream = reply.body
        assert not isinstance(stream, bytes)
        events = [await _event(stream)]
        feed(request(kind="authorization", decision="refused", status=403))
        events.append(await _event(stream))
        events.append(await _event(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        return events

    (first, picture), (second, tick), (_, quiet) = asyncio.run(run())
    assert (first, second) == ("snapshot", "tick")
    assert picture["version"] == "9"
    assert [len(each["denials"]) for each in (picture, tick, quiet)] == [1, 1, 0]
    assert dashboard._viewers == 0


async def _event(stream: AsyncIterator[bytes]) -> tuple[str, dict[str, Any]]:
    lines = dict(line.split(b": ", 1) for line in (await anext(stream)).strip().splitlines())
    return lines[b"event"].decode(), json.loads(lines[b"data"])


def test_viewers_are_bounded(feed: Feed) -> None:
    dashboard = Dashboard(feed.aggregate, interval=10)

    async def run() -> int:
        streams = []
        for _ in range(32):
            reply = dashboard.respond("/dashboard/events")
            assert reply is not None
            assert not isinstance(reply.body, bytes)
            await anext(reply.body)
            streams.append(reply.body)
        refused = dashboard.respond("/dashboard/events")
        assert refused is not None
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]
        return refused.status

    assert asyncio.run(run()) == 503


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("the page is tested in a real browser; install with: apt-get install chromium")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def test_the_page_in_a_browser(feed: Feed, tab: Browser, tmp_path: Path) -> None:
    feed.aggregate._clock = time.time
    hostile = "<img src=x onerror=alert(1)>"
    for number in range(1000):
        feed(request(number, client=f"client-{number}"))
    feed(request(kind="authorization", decision="refused", status=403, client=hostile, rule="default-deny"))
    server = Server(Dashboard(feed.aggregate))
    try:
        tab.size(1280, 900)
        tab.call("Page.navigate", url=server.url + "/dashboard")
        tab.wait("state.last && document.getElementById('live').textContent === 'live'")
        assert tab.evaluate("state.last.totals.requests") == 1001
        assert hostile in tab.evaluate("document.getElementById('events').textContent")
        assert tab.evaluate("document.querySelectorAll('#events img').length") == 0

        def minute() -> None:
            for number in range(10_000):
                feed(request(number, client=f"client-{number % 1000}"))
            feed(request(kind="authorization", decision="refused", status=403, client="late", rule="default-deny"))

        server.do(minute)
        tab.wait("state.last.totals.requests === 11002")
        tab.wait("document.getElementById('events').textContent.includes('late')")
        assert feed.aggregate.totals["requests"] == 11002

        tab.evaluate(
            "const box = document.getElementById('search'); box.value = 'client-42 files';"
            "box.dispatchEvent(new Event('input'))"
        )
        tab.wait("document.getElementById('denials-title').textContent === 'Recent events'")
        tab.wait("document.getElementById('events').textContent.includes('client-42')")
        before = tab.evaluate("document.documentElement.dataset.theme")
        tab.evaluate("document.getElementById('theme').click()")
        assert tab.evaluate("document.documentElement.dataset.theme") != before
        tab.size(360, 740, mobile=True)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        assert tab.evaluate(
            "[...document.querySelectorAll('.tile')].every((tile) => !tile.querySelector('.spark') ||"
            " tile.querySelector('.spark').getBoundingClientRect().bottom <="
            " tile.querySelector('.note').getBoundingClientRect().top)"
        ), "no drawing lies over the words below it"
        assert tab.errors == []
        assert all(url.startswith(server.url) for url in tab.requests)
        assert tab.evaluate("document.title") == "mcpsec", "nothing to worry about here"
    finally:
        server.close()


def test_the_page_finds_the_gateway_again(feed: Feed, tab: Browser) -> None:
    feed.aggregate._clock = time.time
    server = Server(Dashboard(feed.aggregate))
    tab.call("Page.navigate", url=server.url + "/dashboard")
    tab.wait("state.last && document.getElementById('live').textContent === 'live'")
    server.close()
    tab.wait("document.getElementById('live').textContent === 'reconnecting'")


@pytest.mark.parametrize(
    ("life", "left", "said"),
    [
        (30, 30, "All is well."),  # a revocation list that was signed just now
        (30, 9, "Worth a look."),
        (30, 2, "Something needs you."),
        (90, 31, "All is well."),
        (90, 29, "Worth a look."),
        (1825, 40, "All is well."),
        (1825, -1, "Something needs you."),
    ],
)
def test_what_ends_is_told_when_a_third_of_its_life_is_left(
    feed: Feed, tab: Browser, life: int, left: int, said: str
) -> None:
    feed.aggregate._clock = time.time
    ends = time.time() + left * 86400
    feed.aggregate.set_certificate("list", ends - life * 86400, ends)
    server = Server(Dashboard(feed.aggregate))
    try:
        tab.call("Page.navigate", url=server.url + "/dashboard")
        tab.wait("state.last && document.getElementById('live').textContent === 'live'")
        assert tab.evaluate("document.getElementById('verdict-text').textContent") == said
    finally:
        server.close()


def test_the_page_is_accessible(feed: Feed, tab: Browser) -> None:
    """axe-core finds nothing in light and wide, nor in dark and narrow."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("needs axe-core; install with: pip install axe-core-python")
    feed.aggregate._clock = time.time
    for number in range(20):
        feed(request(number))
    feed(request(kind="authorization", decision="refused", status=403, rule="default-deny", detail="no grant"))
    feed(Event("authentication-failed", decision="refused", status=401, reason="replayed", claimed="someone"))
    feed(Event("rate-limited", decision="refused", status=429, client="busy"))
    feed(Event("alert", name="breaker-open", severity="high", detail="it opened"))
    feed.aggregate.set_certificate("server", time.time() - 86400, time.time() + 86400)
    server = Server(Dashboard(feed.aggregate))
    try:
        tab.call("Page.setBypassCSP", enabled=True)
        tab.call("Page.navigate", url=server.url + "/dashboard")
        tab.wait("state.last && document.getElementById('live').textContent === 'live'")
        tab.evaluate(Path(found.origin).with_name("axe.min.js").read_text() + ";0")
        for width in (1280, 390):
            tab.size(width, 900)
            tab.evaluate("document.getElementById('theme').click()")
            tab.evaluate("new Promise((done) => setTimeout(done, 1800))")
            violations = tab.evaluate(
                "axe.run().then((result) => result.violations.map((each) =>"
                " [each.id, each.nodes.map((node) => node.html.slice(0, 120) + node.failureSummary).slice(0, 3)]))"
            )
            assert violations == []
    finally:
        server.close()


def test_upstreams_are_shown_before_their_first_request_and_states_are_kept(feed: Feed) -> None:
    feed.aggregate.set_upstreams(["files", "web"])
    feed(Event("upstream", upstream="web", state="down"))
    feed(Event("upstream", upstream="files"))
    shown = {each["name"]: each["state"] for each in feed.aggregate.snapshot()["upstreams"]}
    assert shown == {"files": "up", "web": "down"}


def test_a_search_ends_at_its_limit_with_the_newest(feed: Feed) -> None:
    for number in range(10):
        feed(request(number, request_id=f"{number:032x}"))
    found = feed.aggregate.search("reporting-agent", limit=3)
    assert [each["request_id"] for each in found] == [f"{number:032x}" for number in (9, 8, 7)]


def test_certificates_are_bounded(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.telemetry.dashboard.aggregate._NAMES", 2)
    for name in ("a", "b", "c"):
        feed.aggregate.set_certificate(name, 0.0, 300.0)
    feed.aggregate.set_certificate("a", 0.0, 600.0)
    assert {each["name"]: each["not_after"] for each in feed.aggregate.snapshot()["certificates"]} == {
        "a": 600.0,
        "b": 300.0,
    }


def test_the_explanation_is_asked_with_what_the_page_said(feed: Feed) -> None:
    asked: list[tuple[str, str, str]] = []

    def explain(client: str, resource: str, address: str) -> dict[str, Any]:
        asked.append((client, resource, address))
        return {"allowed": False}

    query = f"client=agent%2Fone&resource={'x' * 900}"
    reply = Dashboard(feed.aggregate, explain=explain).respond("/dashboard/explain", query)
    assert reply is not None and reply.status == 200 and asked == [("agent/one", "x" * 600, "")]
    without = Dashboard(feed.aggregate).respond("/dashboard/explain", query)
    assert without is not None and without.status == 404
