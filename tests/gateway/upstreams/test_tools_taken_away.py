"""A tool that its server takes off its list can't be called any more; no other list than a whole one takes it away."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import MODERN_META, RawClient, Response
from tests.gateway.upstreams.test_sessions_http import open_session, rpc

SERVER = Path(__file__).with_name("listing_server.py")
WHOLE = [["echo", "gone", "announce", "grow"]]
WITHOUT = [["echo", "announce", "grow"]]
BEHIND = [["echo", "announce"], ["gone", "grow"]]
Headers = dict[str, str | None]


@dataclass
class Site:
    """A gateway before a server whose words change with ``say``."""

    file: Path
    running: Gateway

    def say(self, **what: Any) -> None:
        self.file.write_text(json.dumps(what))

    def asked(self) -> int:
        """How many lists the server was asked for."""
        return len(self.file.with_suffix(".asked").read_text().splitlines())

    def post(self, method: str, params: dict[str, Any], client: RawClient | None = None) -> Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": MODERN_META}}
        with RawClient(self.running) if client is None else client as open_one:
            return open_one.post(json.dumps(message).encode())

    def listed(self, cursor: str | None = None, client: RawClient | None = None) -> list[str]:
        params = {} if cursor is None else {"cursor": cursor}
        return [each["name"] for each in self.post("tools/list", params, client).json["result"]["tools"]]

    def other(self) -> RawClient:
        return RawClient(self.running, self.running.deployment.other)

    def called(self, name: str, client: RawClient | None = None) -> int:
        """The status of a call, which an ordinary client of this era would make."""
        answer = self.post("tools/call", {"name": name, "arguments": {}}, client)
        assert answer.status != 200 or answer.json["result"]["content"][0]["text"] == name
        return answer.status

    def refused_by(self) -> set[str]:
        """The rules that refused. Ends the gateway."""
        self.running.stop()
        return {event["rule"] for event in self.running.deployment.events() if event.get("decision") == "refused"}


Start = Callable[..., Site]


@pytest.fixture
def start(deployment: Any, gateway: Any, tmp_path: Path) -> Start:
    def started(**said: Any) -> Site:
        file = tmp_path / "said.json"
        file.write_text(json.dumps(said))
        made = deployment({"server": {"command": [sys.executable, "-I", "-S", str(SERVER), str(file)]}})
        made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
        made.write()
        return Site(file, gateway(made))

    return started


def test_what_is_off_the_list_is_no_tool_any_more(start: Start) -> None:
    here = start(pages=WHOLE)
    assert here.listed() == WHOLE[0]
    assert [here.called("gone") for _ in range(3)] == [200] * 3
    here.say(pages=WITHOUT)
    assert here.called("gone") == 200, "the server itself answers it still, and nobody knows yet"
    assert here.listed() == WITHOUT[0]
    assert (here.called("gone"), here.called("nothing"), here.called("echo")) == (403, 403, 200)
    here.say(pages=WHOLE)
    assert here.listed() == WHOLE[0]
    assert here.called("gone") == 200
    assert here.refused_by() == {"tool-unlisted"}


def test_what_another_clients_list_lacks_is_looked_for_before_the_next_call(start: Start) -> None:
    here = start(pages=WHOLE)
    assert [here.called("gone") for _ in range(3)] == [200] * 3, "of a client that never lists"
    assert here.listed(client=here.other()) == WHOLE[0]
    here.say(pages=WITHOUT)
    assert here.listed(client=here.other()) == WITHOUT[0]
    assert (here.called("gone"), here.called("echo")) == (403, 200)


def test_a_change_that_the_server_announces_is_looked_at_before_the_next_call(start: Start) -> None:
    """Also where no stream of the client's would hear of it."""
    here = start(pages=WHOLE)
    assert here.listed() == WHOLE[0]
    assert [here.called("gone") for _ in range(3)] == [200] * 3
    here.say(pages=WITHOUT)
    assert here.called("announce") == 200
    before = here.asked()
    assert (here.called("gone"), here.called("echo")) == (403, 200)
    assert here.asked() == before + 1


@pytest.mark.parametrize("by_client", [True, False])
def test_a_change_announced_in_one_breath_with_a_list_is_looked_at(start: Start, by_client: bool) -> None:
    """The list that came before the news is not the one after it, however late it is read."""
    here = start(pages=WHOLE)
    assert (here.called("gone"), here.called("announce")) == (200, 200)
    before = here.asked()
    here.say(pages=WHOLE, announced=1, then={"pages": WITHOUT})
    if by_client:
        assert here.listed() == WHOLE[0]
    assert [here.called("gone"), here.called("echo"), here.called("echo")] == [403, 200, 200]
    assert here.asked() == before + 2


def test_what_changes_unannounced_behind_a_list_is_not_looked_for(start: Start) -> None:
    here = start(pages=WHOLE)
    assert (here.called("gone"), here.called("announce")) == (200, 200)
    before = here.asked()
    here.say(pages=WHOLE, then={"pages": WITHOUT})
    assert [here.called("gone"), here.called("echo"), here.called("gone")] == [200] * 3
    assert here.asked() == before + 1


def test_a_server_that_announces_a_change_with_each_list_can_be_called(start: Start) -> None:
    here = start(pages=WHOLE, announced=1)
    assert here.listed() == WHOLE[0]
    before = here.asked()
    assert [here.called(name) for name in ("echo", "gone", "echo", "gone")] == [200] * 4
    assert here.asked() - before <= 4, "not for each call"


def test_what_was_only_added_is_found(start: Start) -> None:
    here = start(pages=WITHOUT)
    assert here.listed() == WITHOUT[0]
    here.say(pages=WHOLE)
    assert here.called("announce") == 200
    assert here.called("gone") == 200


def test_a_page_takes_nothing_away(start: Start) -> None:
    here = start(pages=WHOLE)
    assert here.listed() == WHOLE[0]
    here.say(pages=BEHIND)
    assert here.listed() == BEHIND[0]
    assert (here.called("gone"), here.called("echo")) == (200, 200), "on a page that the client did not ask for"
    assert here.listed("1") == BEHIND[1]
    assert (here.called("gone"), here.called("echo")) == (200, 200)
    here.say(pages=[BEHIND[0], ["grow"]])
    assert here.listed() == BEHIND[0]
    assert (here.called("gone"), here.called("echo"), here.called("grow")) == (403, 200, 200)


FAULTS: dict[str, dict[str, Any]] = {
    "a circle of pages": {"pages": [["echo", "announce"], ["grow"]], "loops": True},
    "a page that names itself": {"pages": [["echo", "announce"]], "loops": True},
    "no list": {"pages": WITHOUT, "says": {"tools": None}},
    "nothing": {"pages": WITHOUT, "says": {}},
    "an error": {"pages": WITHOUT, "says": "error"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_whole_list_takes_nothing_away(start: Start, fault: str) -> None:
    here = start(pages=WHOLE)
    assert here.listed() == WHOLE[0]
    here.say(**FAULTS[fault])
    here.post("tools/list", {})
    assert here.called("announce") == 200
    before = here.asked()
    assert [here.called(name) for name in ("gone", "echo", "gone", "echo")] == [200] * 4
    assert here.asked() - before <= 4, "asked once, and no more pages than there are"


def in_session(client: RawClient, method: str, params: dict[str, Any], session: Headers) -> Response:
    return client.post(rpc(method, params), session)


def test_sessions_have_lists_of_their_own(start: Start) -> None:
    """One of them has a tool more: what the other lists takes it from nobody, and gives it to nobody."""
    here = start(pages=WITHOUT)

    def called(session: Headers, name: str) -> int:
        return in_session(client, "tools/call", {"name": name, "arguments": {}}, session).status

    with RawClient(here.running) as client:
        grown, plain = open_session(client), open_session(client)
        for session in (grown, plain):
            assert in_session(client, "tools/list", {}, session).status == 200
        assert called(grown, "grow") == 200
        names = in_session(client, "tools/list", {}, grown).json["result"]["tools"]
        assert [each["name"] for each in names][-1] == "grown"
        for _ in range(3):
            assert called(grown, "grown") == 200
            assert in_session(client, "tools/list", {}, plain).status == 200
            assert called(plain, "grown") == 403
        again = open_session(client)
        assert in_session(client, "tools/list", {}, again).status == 200
        assert (called(grown, "grown"), called(again, "grown"), called(again, "echo")) == (200, 403, 200)


def test_names_are_told_apart_to_the_letter(start: Start) -> None:
    """What differs in case or in Unicode form is another tool, and goes alone."""
    names = ["caf\u00e9", "cafe\u0301", "Echo", "echo", "announce"]
    here = start(pages=[names])
    assert here.listed() == names
    assert [here.called(name) for name in names] == [200] * 5
    here.say(pages=[["caf\u00e9", "echo", "announce"]])
    assert here.listed() == ["caf\u00e9", "echo", "announce"]
    assert [here.called(name) for name in names] == [200, 403, 403, 200, 200]


def resident(running: Gateway) -> int:
    return int(psutil.Process(running.process.pid).memory_info().rss)


def test_what_was_listed_once_is_not_kept(start: Start) -> None:
    """A server that makes up a large tool at each list: 400 MB in all."""
    here = start(pages=WHOLE, fresh=10_000_000)
    here.listed()
    before = resident(here.running)
    with RawClient(here.running) as client:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN_META}}
        for _ in range(40):
            assert b"echo" in client.post(json.dumps(message).encode()).body
    assert resident(here.running) - before < 150_000_000
    assert here.called("echo") == 200


def test_pages_without_end_are_not_read_without_end(start: Start) -> None:
    """Of 10 MB each; fifty would be half a gigabyte."""
    here = start(pages=WHOLE)
    assert here.called("echo") == 200
    before, asked = resident(here.running), here.asked()
    here.say(pages=WHOLE, fresh=10_000_000, endless=True)
    assert here.called("announce") == 200
    assert here.called("echo") == 200
    assert here.asked() - asked <= 5
    assert resident(here.running) - before < 200_000_000


def test_of_a_list_of_very_many_tools_the_first_are_known(start: Start) -> None:
    """12,000 of a kilobyte each, 13 MB in all; each may be called that stands in the first 10,000, and those alone."""
    names = [f"{'n' * 40}-{number}" for number in range(12_000)]
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": "x" * 900}}}
    here = start(pages=[[{"name": name, "inputSchema": schema} for name in names]])
    assert here.listed() == names
    assert [here.called(names[at]) for at in (0, 9_999, 10_000, 11_999, 0)] == [200, 200, 403, 403, 200]
    here.say(pages=[names[1:5_000]])
    assert len(here.listed()) == 4_999
    assert [here.called(names[at]) for at in (0, 1, 9_999)] == [403, 200, 403]
