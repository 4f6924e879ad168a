"""Answers carry out no credential, and errors nothing of the inside of the server that failed; all else stays."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import orjson
import pytest

from mcpsec.gateway.cleaning import AnswerCleaner
from mcpsec.gateway.guarding import guard_events
from mcpsec.gateway.message import Exchange, Peer, Request
from mcpsec.protocol.jsonrpc import parse
from mcpsec.telemetry.events import event_schema
from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import MODERN_META, RawClient, Response, call

TOKEN = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO2bVxWr"
PASSWORD = "9fK2vQx7" + "LmPz4TqW"
TRACES = {
    "python": "Traceback (most recent call last):\n  File \"/srv/app/tickets.py\", line 41, in get\n    raise KeyError(secret)\nKeyError: 'hunter2'",
    "node": "TypeError: x is undefined\n    at getTicket (/srv/app/dist/tickets.js:41:13)\n    at async Server.handle (file:///srv/app/dist/server.js:7:3)",
    "java": "java.lang.IllegalStateException: no\n\tat com.example.Tickets.get(Tickets.java:41)\n\tat java.base/java.lang.Thread.run(Thread.java:840)",
    "go": "panic: nil map\n\ngoroutine 1 [running]:\nmain.get(0x0)\n\t/srv/app/tickets.go:41 +0x1d",
    "rust": "thread 'main' panicked at src/tickets.rs:41:5:\nindex out of bounds",
    "dotnet": "System.Exception: no\n   at Tickets.Get(String id) in /srv/app/Tickets.cs:line 41",
    "php": "PHP Fatal error: no\n#0 /srv/app/tickets.php(41): get()\n#1 {main}",
    "ruby": "tickets.rb:41:in `get': no (KeyError)\n\tfrom tickets.rb:50:in `<main>'",
}


def exchange(arguments: Any = None) -> Exchange:
    made = Exchange(Request(), Peer("127.0.0.1"), "abc-1")
    made.arguments = arguments
    return made


def result(text: str, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}], **more}}


def cleaned(frame: dict[str, Any], arguments: Any = None, *, secrets: Any = "redact", errors: Any = "hide") -> str:
    AnswerCleaner(secrets, errors).clean(exchange(arguments), frame, orjson.dumps(frame))
    return json.dumps(frame, ensure_ascii=False)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A private key and a certificate, as openssl writes them."""
    directory = tmp_path_factory.mktemp("pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out cert -subj /CN=x"
    subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    return (directory / "key").read_text(), (directory / "cert").read_text()


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        result(f"the token is {TOKEN}."),
        result(json.dumps({"config": {"token": TOKEN}})),
        result("fine", structuredContent={"deep": [{"token": TOKEN}]}),
        result("fine", _meta={"x": TOKEN}),
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": f"401 for {TOKEN}", "data": {"sent": [TOKEN]}}},
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": f"using {TOKEN}"}},
        {"jsonrpc": "2.0", "id": 1, "result": {"contents": [{"uri": "file:///a", "text": f"A={TOKEN}"}]}},
        {
            "jsonrpc": "2.0",
            "id": 1,
            "result": {"messages": [{"role": "user", "content": {"type": "text", "text": TOKEN}}]},
        },
        result(f"postgres://app:{PASSWORD}@db.internal:5432/prod"),
        result("fine", structuredContent={"database_password": PASSWORD}),
        result(f"Authorization: Bearer {TOKEN}"),
    ],
)
def test_a_secret_is_taken_out_wherever_it_stands(frame: dict[str, Any]) -> None:
    before = json.loads(json.dumps(frame))
    shown = cleaned(frame)
    assert TOKEN not in shown
    assert PASSWORD not in shown
    assert "[REDACTED" in shown
    assert frame.keys() == before.keys(), "only texts change"


@pytest.mark.parametrize("secrets", ["redact", "block"])
def test_an_id_that_is_not_the_clients_own_hides_nothing(secrets: str) -> None:
    """An error of HTTP itself may have any id, and a server chooses those of its own requests."""
    for frame in (
        {"jsonrpc": "2.0", "id": TOKEN, "error": {"code": -1, "message": "no"}},
        {"jsonrpc": "2.0", "id": f"for {TOKEN}", "method": "roots/list"},
    ):
        assert TOKEN not in cleaned(frame, secrets=secrets)
    own = exchange()
    own.message = parse(call("echo", id=TOKEN))
    frame = {**result("fine"), "id": TOKEN}
    AnswerCleaner(secrets, "hide").clean(own, frame, orjson.dumps(frame))
    assert frame == {**result("fine"), "id": TOKEN}, "a client that chose it knows it"
    again = exchange()
    again.resumed = TOKEN
    AnswerCleaner(secrets, "hide").clean(again, frame, orjson.dumps(frame))
    assert frame == {**result("fine"), "id": TOKEN}, "also where a stream goes on with the answer"
    responding = exchange()
    responding.message = parse(orjson.dumps({"jsonrpc": "2.0", "id": TOKEN, "result": {}}))
    error = {"jsonrpc": "2.0", "id": TOKEN, "error": {"code": -1, "message": "no"}}
    AnswerCleaner(secrets, "hide").clean(responding, error, orjson.dumps(error))
    assert TOKEN not in str(error), "a response has no answer that its id would belong to"


def test_escapes_hide_nothing() -> None:
    raw = orjson.dumps(result(TOKEN)).replace(b"ghp_", b"\\u0067hp\\u005f")
    frame = orjson.loads(raw)
    assert AnswerCleaner("redact", "hide").clean(exchange(), frame, raw)
    assert TOKEN not in json.dumps(frame)


def test_keys_and_certificates(pem: tuple[str, str]) -> None:
    key, certificate = pem
    for block in pem:
        body = block.splitlines()[2]
        for text in (block, f"before\n{block}after", block.replace("\n", "\\n"), f"cut off {block[:150]}"):
            shown = cleaned(result(text))
            assert body not in shown.replace("\\", ""), text
    der = base64.b64encode(base64.b64decode("".join(certificate.splitlines()[1:-1]))).decode()
    assert der[:60] not in cleaned(result(f"cert: {der}"))
    assert "after" in cleaned(result(f"before\n{key}after"))


@pytest.mark.parametrize(
    "frame",
    [
        result("hello world"),
        result('Set password = os.environ["DB_PASSWORD"] and never commit it.'),
        result("commit 3f786850e387550fdab836ed7e6dc881de23001b"),
        result("id 550e8400-e29b-41d4-a716-446655440000, key: value, token: <your-token>"),
        result("fine", structuredContent={"password": "${DB_PASSWORD}", "api_key": "YOUR_API_KEY", "n": 7, "x": None}),
        {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "image", "mimeType": "image/png", "data": TOKEN}]}},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "result": None},
        {"jsonrpc": "2.0", "id": 1, "error": "odd"},
        {"jsonrpc": "2.0", "method": "notifications/progress"},
    ],
)
def test_what_is_no_secret_stays_as_it_was(frame: dict[str, Any]) -> None:
    before = json.dumps(frame, ensure_ascii=False)
    if "image" in before:  # a picture's bytes are not text: a token found in them is chance
        assert cleaned(frame) == before
        return
    assert not AnswerCleaner("redact", "hide").clean(exchange(), frame, orjson.dumps(frame))
    assert json.dumps(frame, ensure_ascii=False) == before


def test_pass_and_block() -> None:
    assert TOKEN in cleaned(result(TOKEN), secrets="pass")
    blocked = exchange()
    frame = result(TOKEN)
    assert AnswerCleaner("block", "hide").clean(blocked, frame, None)
    assert frame == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {"code": 50304, "message": "the answer can't be passed on", "data": {"request": "abc-1"}},
    }
    assert (blocked.decision, blocked.rule) == ("refused", "answer-secret")
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": TOKEN}}
    assert TOKEN not in cleaned(note, secrets="block")
    assert cleaned(result("fine"), secrets="block") == json.dumps(result("fine"))


def test_names_keep_their_places_and_stay_apart() -> None:
    frame = result("fine", structuredContent={"a": 1, f"{TOKEN}": 2, f"{TOKEN[:-1]}x": 3, "b": {f"{TOKEN}": 4}})
    assert TOKEN[4:-1] not in cleaned(frame)
    shown = frame["result"]["structuredContent"]
    first, second = list(shown)[1:3]
    assert first.startswith("[REDACTED:") and second == f"{first} 2"
    assert list(shown.values()) == [1, 2, 3, {first: 4}]
    assert list(shown)[::3] == ["a", "b"]


def test_the_inside_of_a_server_is_hidden_far_down_too() -> None:
    deep: Any = TRACES["go"]
    for _ in range(230):
        deep = [deep]
    for frame in (
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "x", "data": deep}},
        {**result("x", structuredContent={"a": deep}), "id": 2},
    ):
        frame.get("result", {})["isError"] = True
        assert "goroutine" not in cleaned(frame)
    shallow = {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "x", "data": [[["no such ticket"]]]}}
    assert "no such ticket" in cleaned(shallow)


def test_hostile_depth_and_keys_raise_nothing() -> None:
    deep: Any = TOKEN
    for _ in range(250):
        deep = [deep]
    for value in (deep, {TOKEN: TOKEN}, {"": ""}, ["\ud800"], {"password": ["x" * 100] * 1000}):
        AnswerCleaner("redact", "hide").clean(exchange(), {"result": value, "error": value}, None)


# --- the inside of a server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(TRACES))
@pytest.mark.parametrize("form", ["error", "data", "tool"])
def test_a_stack_trace_is_replaced_by_an_id(kind: str, form: str) -> None:
    trace = TRACES[kind]
    frame = {
        "error": {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": trace}},
        "data": {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "no", "data": {"stack": trace}}},
        "tool": result(trace, isError=True),
    }[form]
    failed = exchange()
    assert AnswerCleaner("redact", "hide").clean(failed, frame, None)
    shown = json.dumps(frame)
    assert "abc-1" in shown
    assert "41" not in shown
    assert "tickets" not in shown.lower()
    assert "hunter2" not in failed.detail, "what a call was about stays out of the log"
    if kind in {"python", "node", "java", "rust", "dotnet"}:
        assert "41" in failed.detail, "the log says where it happened"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ENOENT: no such file, open '/home/app/.cache/x.db'", "ENOENT: no such file, open '[path]'"),
        ("can't open /opt/server/config.toml:3", "can't open [path]:3"),
        (r"can't open C:\Users\app\data.txt", "can't open [path]"),
        ("see file:///usr/lib/server/main.js", "see [path]"),
        ("sqlite: /data/prod.sqlite3 is locked", "sqlite: [path] is locked"),
    ],
)
def test_paths_of_the_server_are_hidden_in_errors(text: str, shown: str) -> None:
    frame = result(text, isError=True)
    cleaned(frame)
    assert frame["result"]["content"][0]["text"] == shown


@pytest.mark.parametrize(
    "text",
    [
        "404 for https://api.example.com/usr/items/7",
        "GET /api/v1/users failed",
        "no ticket WEB-7",
        "either/or",
        "1/2 done",
    ],
)
def test_other_errors_stay(text: str) -> None:
    assert cleaned(result(text, isError=True)) == json.dumps(result(text, isError=True))


def test_a_path_that_the_client_named_is_not_hidden_from_it() -> None:
    frame = result("no such file: /data/notes/a.txt (root /data/private)", isError=True)
    cleaned(frame, {"path": "/data/notes/a.txt"})
    assert frame["result"]["content"][0]["text"] == "no such file: /data/notes/a.txt (root [path])"


def test_an_answer_that_is_no_error_may_speak_of_traces_and_paths() -> None:
    for trace in TRACES.values():
        assert cleaned(result(trace)) == json.dumps(result(trace))
    assert "/srv/app" in cleaned(result(TRACES["python"], isError=True), errors="pass")


# --- live -------------------------------------------------------------------------------------------------------------

SERVER = Path(__file__).with_name("pins") / "mutable_server.py"
SCHEMA = {"type": "object"}
SAID = {
    "tools": [{"name": name, "inputSchema": SCHEMA} for name in ("leaks", "fails", "breaks", "fine")],
    "answers": {"leaks": f"token {TOKEN}", "fails": TRACES["python"], "fine": "all well"},
    "failing": ["fails"],
    "errors": {"breaks": {"code": -32603, "message": f"can't read /srv/app/secret.key with {TOKEN}"}},
}


def upstream(directory: Path, **settings: Any) -> dict[str, Any]:
    said = directory / "said.json"
    said.write_text(json.dumps(SAID))
    return {"command": [sys.executable, "-I", "-S", str(SERVER), str(said)], **settings}


def post(running: Gateway, name: str, path: str) -> Response:
    with RawClient(running) as client:
        return client.post(call(name), path=path)


def legacy(running: Gateway, name: str, path: str) -> str:
    """The same call in the 2025 era, in a session of its own."""
    with RawClient(running) as client:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        begun = client.post(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode(), path=path
        )
        session: dict[str, str | None] = {
            "Mcp-Session-Id": begun.headers["mcp-session-id"],
            "MCP-Protocol-Version": "2025-11-25",
        }
        body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": name, "arguments": {}}}
        return client.post(json.dumps(body).encode(), session, path=path).body.decode()


def test_live_by_every_way(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    running = gateway(deployment({"one": upstream(tmp_path), "two": upstream(tmp_path, secrets="block", error_details="pass"),
                                  "demo": {"builtin": "demo"}}))  # fmt: skip
    for path, prefix in (("/mcp/one", ""), ("/mcp", "one_")):
        assert "token [REDACTED:" in post(running, f"{prefix}leaks", path).body.decode()
        failed = post(running, f"{prefix}fails", path).json["result"]
        assert failed["isError"] is True
        assert "error id" in failed["content"][0]["text"]
        broken = post(running, f"{prefix}breaks", path).json["error"]
        assert "[path]" in broken["message"] and "[REDACTED:" in broken["message"]
        assert post(running, f"{prefix}fine", path).json["result"]["content"][0]["text"] == "all well"
    assert TOKEN not in legacy(running, "leaks", "/mcp/one")
    assert "all well" in legacy(running, "fine", "/mcp/one")
    assert post(running, "leaks", "/mcp/two").code == 50304
    assert post(running, "two_leaks", "/mcp").code == 50304
    assert "Traceback" in post(running, "fails", "/mcp/two").body.decode()
    echo = {"name": "echo", "arguments": {"text": f"my {TOKEN}"}, "_meta": MODERN_META}
    with RawClient(running) as client:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": echo}
        assert "my [REDACTED:" in client.post(json.dumps(body).encode(), path="/mcp/demo").body.decode()
    running.stop()
    found = [event for event in running.deployment.events() if event.get("resource") == "one/fails"]
    assert "stack trace hidden: /srv/app/tickets.py:41" in found[0]["detail"]
    requests = [event for event in running.deployment.events() if event["kind"] != "guard"]
    leaked = [event for event in requests if event.get("resource") == "one/leaks"]
    assert [event["redactions"] for event in leaked] == [1, 1, 1]
    blocked = [event["decision"] for event in requests if event.get("rule") == "answer-secret"]
    assert blocked == ["refused", "refused"]
    assert TOKEN not in running.deployment.log.read_text()


def test_what_was_taken_out_is_an_event_and_a_metric(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    """With the rule and how often, never with what it was; an answer that was left alone has no such event."""
    upstreams = {"one": upstream(tmp_path), "two": upstream(tmp_path, secrets="block")}
    made = deployment(upstreams, server={"admin": {"listen": "127.0.0.1:0"}})
    running = gateway(made)
    for name in ("fine", "leaks", "leaks", "fails", "breaks"):
        post(running, name, "/mcp/one")
    post(running, "leaks", "/mcp/two")
    post(running, "one_leaks", "/mcp")
    assert running.admin_url is not None
    metrics = httpx.get(running.admin_url.rstrip("/") + "/metrics").text
    running.stop()
    events = made.events()
    guarded = [event for event in events if event["kind"] == "guard"]
    told = [(e["resource"], e["reason"], e["rule"], e["count"], e.get("decision")) for e in guarded]
    token = told[0][2]
    assert told == [
        ("one/leaks", "secret-redacted", token, 1, None),
        ("one/leaks", "secret-redacted", token, 1, None),
        ("one/fails", "error-hidden", "stack-trace", 1, None),
        ("one/breaks", "error-hidden", "server-path", 1, None),
        ("one/breaks", "secret-redacted", token, 1, None),
        ("two/leaks", "secret-blocked", token, 1, "refused"),
        ("one/leaks", "secret-redacted", token, 1, None),
    ]
    assert "github" in token
    by_id = {event["request_id"]: event for event in events if event["kind"] == "request"}
    for event in guarded:
        assert "status" not in event, "the request has its own event, and is counted once"
        assert (event["client"], event["method"]) == ("tester", "tools/call")
        assert by_id[event["request_id"]]["resource"] == event["resource"]
    for reason, count in (("secret-redacted", 4), ("secret-blocked", 1), ("error-hidden", 2)):
        assert f'mcpsec_answers_guarded_total{{reason="{reason}"}} {count}.0' in metrics
    assert TOKEN not in made.log.read_text() + metrics
    validator = jsonschema.Draft202012Validator(event_schema(), format_checker=jsonschema.FormatChecker())
    for event in guarded:
        validator.validate(event)


def test_an_answer_of_many_rules_stays_one_small_event() -> None:
    made = exchange()
    for number in range(100):
        made.guard("secret-redacted", f"rule-{number}")
    made.guard("secret-redacted", "rule-3")
    (event,) = guard_events(made)
    assert (event.count, event.rule) == (101, "other")
    assert len(event.detail or "") < 400
