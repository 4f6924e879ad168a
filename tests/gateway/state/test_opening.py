"""Which store a deployment file names, and what is said to it at first."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mcpsec.deployment.model import Rate
from mcpsec.deployment.model import State as StateConfig
from mcpsec.errors import ConfigurationError
from mcpsec.gateway.state import MemoryState, open_state
from mcpsec.gateway.state.opening import open_store
from mcpsec.secretrefs import EnvSource, SecretRef


@pytest.mark.anyio
async def test_without_a_store_each_process_has_its_own() -> None:
    state = open_state(StateConfig(url="memory://"), session_idle=60.0, changed=lambda _: pytest.fail("no store"))
    assert isinstance(state, MemoryState)
    await state.start()
    claimed = [state.claim("key", "nonce", time.time() + 60), state.claim("key", "nonce", time.time() + 60)]
    assert claimed == [True, False]
    rate = Rate(count=1, seconds=3600.0, burst=1)
    taken = [state.take("client-rate", name, rate) for name in ("alice", "alice", "bob")]
    assert [each.wait > 0 for each in taken] == [False, True, False]  # type: ignore[union-attr]
    await state.close()


@pytest.mark.parametrize(
    ("url", "target", "tls"),
    [
        ("redis://store.example", ("store.example", 6379), False),
        ("redis://store.example:7000/3", ("store.example", 7000), False),
        ("rediss://store.example", ("store.example", 6379), True),
        ("unix:///run/red%20is.sock", "/run/red is.sock", False),
    ],
)
def test_where_the_store_is(url: str, target: object, tls: bool) -> None:
    store = open_store(StateConfig(url=url))
    assert store._target == target
    assert (store._tls is not None) is tls


@pytest.mark.parametrize(
    ("url", "user", "subscribe", "first"),
    [
        ("redis://h", None, None, [(b"AUTH", b"secret")]),
        ("redis://h/3", "mcp", None, [(b"AUTH", b"mcp", b"secret"), (b"SELECT", b"3")]),
        ("redis://h/3", None, b"channel", [(b"AUTH", b"secret"), (b"SUBSCRIBE", b"channel")]),
    ],
)
def test_what_is_said_first(
    url: str, user: str | None, subscribe: bytes | None, first: list[tuple[bytes, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", "secret")
    config = StateConfig(url=url, username=user, password=SecretRef(EnvSource("STORE")))
    said = open_store(config, subscribe=subscribe)._greeting()
    assert said[: len(first)] == first
    assert (len(said) == len(first)) is (subscribe is not None)  # a connection that listens says nothing else


def test_a_ca_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for ca in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(ConfigurationError, match="no CA can be read"):
            open_store(StateConfig(url="rediss://h", ca=ca))
