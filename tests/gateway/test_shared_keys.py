"""The keys that gateways share with operators and each other change at OpenBao, while what they made is in flight."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.gateway.policy.confirmation import ConfirmationKey
from tests.fixtures.gateway import Gateway
from tests.fixtures.openbao import Bao, running_bao
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient, Response, call
from tests.fixtures.stores import Store
from tests.fixtures.upstreams import HttpServer

CHANGED = r".*secrets changed, in use now: .*"
UNUSABLE = r".*new secrets can't be used, the old ones stay.*"
DEMO = {"demo": {"builtin": "demo", "access": {"*": "read"}}}


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[Bao]:
    (tmp_path / "bao").mkdir()
    with running_bao(tmp_path / "bao") as bao:
        bao.policy("gateway", "keys")
        yield bao


def kept(bao: Bao, made: Any, overlap: str, refresh: str = "1s") -> None:
    """Let secrets of this deployment come from OpenBao."""
    token = made.directory / "bao-token"
    token.touch(mode=0o600)
    token.write_text(bao.token("gateway", "1h"))
    made.document["secrets"] = {
        "refresh": refresh, "overlap": overlap,
        "vault": {"address": bao.address, "token": {"file": "bao-token"}, "timeout": "60s"},
    }  # fmt: skip


def states(running: Gateway) -> list[str]:
    return [str(event.get("state")) for event in running.deployment.events() if event.get("name") == "secrets"]


def turn(bao: Bao, *gateways: Gateway, **values: str) -> None:
    """Write new values, and wait until each gateway has them in use."""
    before = [states(each).count("changed") for each in gateways]
    bao.put("keys", **values)
    for each, count in zip(gateways, before, strict=True):
        wait_until(lambda each=each, count=count: states(each).count("changed") > count, "the change")


# --- confirmations ----------------------------------------------------------------------------------------------------


class Desk:
    """A gateway that lets ``echo`` through only when an operator confirmed it, and that operator."""

    def __init__(self, bao: Bao, made: Any, gateway: Any, overlap: str) -> None:
        self.bao, self.made, self.values = bao, made, [secrets.token_urlsafe(32)]
        bao.put("keys", approval=self.values[0])
        made.document["approval"] = {"secret": {"vault": "secret/keys#approval"}}
        made.document["rules"] = [{"resources": ["demo/echo"], "require": {"confirmation_header": "x-confirm"}}]
        kept(bao, made, overlap)
        made.write()
        self.running = gateway(made, expected=(CHANGED, UNUSABLE))

    def turn(self, value: str | None = None) -> None:
        self.values.append(value or secrets.token_urlsafe(32))
        turn(self.bao, self.running, approval=self.values[-1])

    def ask(self, text: str, confirmation: str | None = None) -> Response:
        with RawClient(self.running) as client:
            return client.post(call("echo", {"text": text}), {"x-confirm": confirmation})

    def digest(self, text: str) -> str:
        """What the gateway asks an operator to approve."""
        answer = self.ask(text)
        assert (answer.status, answer.code) == (403, 40302)
        return str(answer.json["error"]["data"]["approve"])

    def approve(self, digest: str, value: str | None = None) -> str:
        """The operator's command; with ``value``, the confirmation of an operator who has that key."""
        if value is not None:
            return ConfirmationKey(value.encode(), 3600).make(digest, 600)
        words = [sys.executable, "-m", "mcpsec", "approve", digest, "-c", str(self.made.config)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not any(value in done.stdout + done.stderr for value in self.values)
        return done.stdout.strip().partition(": ")[2]


def test_approvals_in_flight_survive_a_new_key(bao: Bao, deployment: Any, gateway: Any) -> None:
    desk = Desk(bao, deployment(DEMO), gateway, "1h")
    confirmed = desk.approve(desk.digest("confirmed before"))
    waiting = desk.digest("refused before, confirmed after")
    used = desk.approve(desk.digest("used before"))
    assert desk.ask("used before", used).status == 200
    desk.turn()
    assert desk.digest("confirmed before") != waiting
    assert desk.ask("another call", confirmed).code == 40302
    assert desk.ask("confirmed before", confirmed).status == 200
    for text, value in (("confirmed before", confirmed), ("used before", used)):
        answer = desk.ask(text, value)
        assert (answer.status, answer.code) == (403, 40301), "a new key makes nothing good a second time"
    assert desk.ask("refused before, confirmed after", desk.approve(waiting)).status == 200
    late = desk.digest("by an operator who has the old key still")
    assert desk.ask("by an operator who has the old key still", desk.approve(late, desk.values[0])).status == 200
    assert desk.ask("new", desk.approve(desk.digest("new"))).status == 200
    assert desk.ask("x", desk.approve(desk.digest("x"), secrets.token_urlsafe(32))).code == 40302
    texts = [desk.running.stderr(), desk.made.log.read_text(), " ".join(desk.running.process.args)]
    assert not [value for value in desk.values for text in texts if value in text]


def test_without_an_overlap_the_old_approval_key_is_over(bao: Bao, deployment: Any, gateway: Any) -> None:
    desk = Desk(bao, deployment(DEMO), gateway, "0s")
    confirmed, waiting = desk.approve(desk.digest("a")), desk.digest("b")
    desk.turn()
    assert desk.ask("a", confirmed).code == 40302
    assert desk.ask("b", desk.approve(waiting)).code == 40302
    assert desk.ask("a", desk.approve(desk.digest("a"), desk.values[0])).code == 40302
    assert desk.ask("a", desk.approve(desk.digest("a"))).status == 200


def test_an_approval_key_that_is_too_short_changes_nothing(bao: Bao, deployment: Any, gateway: Any) -> None:
    desk = Desk(bao, deployment(DEMO), gateway, "1h")
    confirmed = desk.approve(desk.digest("a"))
    bao.put("keys", approval="too short")
    wait_until(lambda: "refused" in states(desk.running), "the refusal")
    assert desk.ask("a", confirmed).status == 200
    assert desk.ask("b", desk.approve(desk.digest("b"), desk.values[0])).status == 200


def test_another_reference_ends_the_old_approval_key_at_once(bao: Bao, deployment: Any, gateway: Any) -> None:
    """What an operator does whose key is in somebody else's hands, with an overlap of an hour for all other days."""
    desk = Desk(bao, deployment(DEMO), gateway, "1h")
    desk.running.expected.append(r".*read again.*")
    confirmed = desk.approve(desk.digest("a"))
    bao.put("keys", approval=desk.values[0], next=secrets.token_urlsafe(32))
    desk.made.document["approval"] = {"secret": {"vault": "secret/keys#next"}}
    new = desk.made.config.with_name("new.toml")
    config, desk.made.file = desk.made.config, new.name
    desk.made.write()
    new.replace(config)
    desk.made.file = config.name
    wait_until(lambda: "read again" in desk.running.stderr(), "the reload")
    assert desk.ask("a", confirmed).code == 40302
    assert desk.ask("a", desk.approve(desk.digest("a"))).status == 200


# --- handles ----------------------------------------------------------------------------------------------------------

TOOL = "test_input_required_result_request_state"
META = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
ANSWERS = {"confirm": {"action": "accept", "content": {"ok": True}}}


def state_call(running: Gateway, **more: Any) -> Response:
    params = {"name": TOOL, "arguments": {}, "_meta": META, **more}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    with RawClient(running) as client:
        return client.post(body, {"Host": NAME, "Mcp-Name": TOOL})


def begun(running: Gateway) -> str:
    """The state of a call that wants an answer first."""
    answer = state_call(running)
    assert answer.status == 200, answer
    return str(answer.json["result"]["requestState"])


def ends(running: Gateway, state: str) -> bool:
    """Whether the call can be gone on with; a refusal names the state."""
    answer = state_call(running, inputResponses=ANSWERS, requestState=state)
    if answer.status == 200:
        assert answer.json["result"]["content"][0]["text"] == "state-ok"
        return True
    assert (answer.status, answer.code) == (400, -32602), answer
    return False


NAME = "mcp.example.test"


def pair(bao: Bao, made: Any, gateway: Any, overlap: str, refresh: str) -> tuple[Gateway, Gateway]:
    bao.put("keys", handles=secrets.token_urlsafe(32))
    made.document["state"]["handle_key"] = {"vault": "secret/keys#handles"}
    made.document["server"]["allowed_hosts"] = [NAME]
    kept(bao, made, overlap, refresh)
    made.write()
    said = (CHANGED, r".*state store.*", r".*in use now.*")
    return gateway(made, expected=said), gateway(made.sibling("other"), expected=said)


def test_calls_go_on_at_any_gateway_while_the_handle_key_changes(
    bao: Bao, deployment: Any, gateway: Any, http_server: HttpServer, store: Store
) -> None:
    made = deployment({"fixture": {"url": http_server.url}}, state={"url": store.url, "timeout": "20s"})
    one, other = pair(bao, made, gateway, "1h", "5s")
    early, outcomes, over = begun(one), [], threading.Event()

    def flow() -> None:
        while not over.is_set():
            outcomes.extend([ends(other, begun(one)), ends(one, begun(other))])

    client = threading.Thread(target=flow)
    client.start()
    try:
        wait_until(lambda: outcomes, "the first states")
        bao.put("keys", handles=secrets.token_urlsafe(32))
        one.process.send_signal(signal.SIGHUP)  # this one learns the new key long before the other
        wait_until(lambda: "read again" in one.stderr(), "the reload")
        wait_until(lambda: "changed" in states(other), "the change")
        late = made.sibling("late")  # knows the new key alone
        third = gateway(late, expected=(CHANGED, r".*state store.*"))
        wait_until(lambda: ends(third, begun(one)) and ends(third, begun(other)), "states under the new key")
    finally:
        over.set()
        client.join()
    assert outcomes and all(outcomes)
    assert ends(one, early) and ends(other, early), "what the old key sealed opens for the overlap"
    assert not ends(third, early)


def test_the_old_handle_key_ends_with_the_overlap(
    bao: Bao, deployment: Any, gateway: Any, http_server: HttpServer, store: Store
) -> None:
    made = deployment({"fixture": {"url": http_server.url}}, state={"url": store.url, "timeout": "20s"})
    one, other = pair(bao, made, gateway, "0s", "1s")
    early = begun(one)
    assert ends(other, early)
    turn(bao, one, other, handles=secrets.token_urlsafe(32))
    for each in (one, other):
        wait_until(lambda each=each: not ends(each, early), "the end of the old key")
    wait_until(lambda: ends(other, begun(one)), "a state under the new key")
