"""A store that is away: who is told, once, and when a gateway is no longer ready."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from mcpsec.gateway.state.presence import StorePresence
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.stores import Store
from tests.fixtures.upstreams import HttpServer

SAID = (r".*state store.*",)


class Watched:
    def __init__(self, *, needed: bool) -> None:
        self.now, self.needed = 100.0, needed
        self.said: list[str] = []
        self.events: list[str] = []
        self.shown: list[float] = []
        self.presence = StorePresence(
            needed=lambda: self.needed,
            say=self.said.append,
            record=lambda *_, state, **__: self.events.append(state),
            show=self.shown.append,
            clock=lambda: self.now,
        )


def test_a_moment_without_the_store_takes_no_gateway_out() -> None:
    watched = Watched(needed=True)
    watched.presence.changed(None)
    assert watched.presence.ready and not watched.said
    watched.presence.changed("it did not answer in time")
    watched.now += 4
    assert watched.presence.ready
    watched.presence.changed(None)
    watched.now += 60
    assert watched.presence.ready
    assert (watched.events, watched.shown) == (["down", "up"], [1, 0, 1])


def test_a_store_that_stays_away_does_also_when_the_reason_changes() -> None:
    watched = Watched(needed=True)
    watched.presence.changed("the connection was lost")
    watched.now += 4
    watched.presence.changed("Connection refused")
    watched.now += 2
    assert not watched.presence.ready
    watched.presence.changed(None)
    assert watched.presence.ready


def test_a_gateway_whose_clients_need_no_store_stays_ready() -> None:
    watched = Watched(needed=False)
    watched.presence.changed("the connection was lost")
    watched.now += 60
    assert watched.presence.ready and watched.shown == [0]
    watched.needed = True  # the file has changed
    assert not watched.presence.ready


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
@pytest.mark.parametrize(
    ("require", "on_failure", "needed"),
    [(["mtls", "signature"], "local", True), (["mtls"], "refuse", True), (["mtls"], "local", False)],
)
def test_readiness_follows_a_store_that_is_needed(
    deployment: Any,
    gateway: Any,
    http_server: HttpServer,
    store: Store,
    workers: tuple[str, ...],
    require: list[str],
    on_failure: str,
    needed: bool,
) -> None:
    made = deployment(
        {"fixture": {"url": http_server.url}},
        require=require,
        state={"url": store.url, "timeout": "500ms", "on_failure": on_failure},
        server={"admin": {"listen": "127.0.0.1:0"}},
    )
    running: Gateway = gateway(made, *workers, expected=SAID)

    def got(path: str) -> httpx2.Response:
        return httpx2.get(f"{running.admin_url}{path}", timeout=PATIENCE)

    wait_until(lambda: got("/readyz").json().get("state") is True, "the store")
    store.kill()
    wait_until(lambda: "\nmcpsec_state_up 0.0" in got("/metrics").text, "the metric", PATIENCE)
    if needed:
        wait_until(lambda: got("/readyz").json()["state"] is False, "no readiness", PATIENCE)
        assert got("/readyz").status_code == 503
    else:
        assert got("/readyz").status_code == 200
    assert got("/healthz").status_code == 200
    store.start()
    wait_until(lambda: got("/readyz").status_code == 200, "readiness again", PATIENCE)
    wait_until(lambda: "\nmcpsec_state_up 1.0" in got("/metrics").text, "the metric again", PATIENCE)
