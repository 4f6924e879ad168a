"""A stdio MCP server of both eras that misbehaves on demand: each tool is one kind of misbehaviour.

The tool ``do`` does what its argument ``what`` names, so that calls of all kinds may repeat one.

``--fail-while FILE`` ends it at once while FILE exists, ``--stubborn FILE`` makes it ignore SIGTERM and the end of its
input, and write down in FILE when it was asked to go.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]


def write(message: Message | str) -> None:
    sys.stdout.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    sys.stdout.flush()


def answer(id: Any, text: str, **more: Any) -> None:
    result = {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": False, **more}
    write({"jsonrpc": "2.0", "id": id, "result": result})


def fail(id: Any, code: Any, message: Any) -> None:
    write({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})


def pid(id: Any) -> None:
    answer(id, str(os.getpid()))


def slow(id: Any) -> None:
    time.sleep(1.5)
    answer(id, "slow")


def flood_stderr(id: Any) -> None:
    for _ in range(64):
        os.write(2, b"x" * 65_536)  # 4 MiB: it would block for ever if nobody read
    answer(id, "flooded")


def not_json(id: Any) -> None:
    write("Listening on port 8080 ...")
    write("{half")
    write("[1, 2]")
    write('{"jsonrpc": "1.0", "id": 1, "result": {}}')
    sys.stdout.buffer.write(b"\xff\xfe\x00\n\n\r\n")
    answer(id, "after noise")


def huge_line(id: Any) -> None:
    answer(id, "x" * 400_000)


def endless_line(id: Any) -> None:
    for _ in range(40):
        sys.stdout.write("y" * 100_000)
    write("")


def twice(id: Any) -> None:
    answer(id, "first")
    answer(id, "second")


def strangers(id: Any) -> None:
    for other in (0, -1, id + 1, id + 2, str(id), None, True, 1.5, 10**30, [id], {"id": id}):
        answer(other, "poison")
    answer(id, "own")


def bad_tokens(id: Any) -> None:
    for token in ([], {}, [id], None, 1.5, "1" * 6000, True):
        write({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token}})
        meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": token}}
        write({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": meta})
    answer(id, "progressed")


def bad_members(id: Any) -> None:
    for method in ([], {}, None, 7):
        write({"jsonrpc": "2.0", "method": method})
        write({"jsonrpc": "2.0", "method": method, "id": 5})
    for other in ([], {}, None, 1.5):
        write({"jsonrpc": "2.0", "method": "roots/list", "id": other})
    for params in ([], 7, "x", None):
        write({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    answer(id, "still there")


def deep(id: Any) -> None:
    write(f'{{"jsonrpc": "2.0", "id": {id}, "result": {{"content": {"[" * 600 + "]" * 600}}}}}')


def odd_result(id: Any) -> None:
    write({"jsonrpc": "2.0", "id": id, "result": [1]})


def odd_error(id: Any) -> None:
    fail(id, "not a number", ["x"])


def neither(id: Any) -> None:
    write({"jsonrpc": "2.0", "id": id})


def die(id: Any) -> None:
    os._exit(3)


def die_speaking(id: Any) -> None:
    sys.stdout.write(f'{{"jsonrpc": "2.0", "id": {id}, "result": {{"resultType": "complete", "content": []')
    sys.stdout.flush()
    os._exit(3)


def progress(id: Any) -> None:
    for number in range(2):
        params = {"progressToken": id, "progress": number}
        write({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    answer(id, "progressed")


def progress_only(id: Any) -> None:
    write({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": id, "progress": 1}})


def asks(id: Any) -> None:
    write({"jsonrpc": "2.0", "id": "mine", "method": "sampling/createMessage", "params": {}})
    answer(id, "asked")


def refuses(id: Any) -> None:
    fail(id, -32602, "no such thing")


def late(id: Any) -> None:
    """Answer only when it is too late: before the answer to what comes next."""
    LATE.append(id)


def cancelled(id: Any) -> None:
    answer(id, json.dumps(CANCELLED))


def large(id: Any) -> None:
    answer(id, "large", structuredContent={"balance": 10**30, "least": -(2**63) - 1})


def asks_large(id: Any) -> None:
    """Ask under a number that few know how to write, and answer in the same breath."""
    question = {"jsonrpc": "2.0", "id": 2**70, "method": "roots/list", "params": {}}
    write(json.dumps(question) + "\n" + result(id, "asked"))


def refused(id: Any) -> None:
    answer(id, json.dumps(REFUSED))


SCHEMAS: dict[str, Message] = {"large": {"type": "object", "properties": {"amount": {"maximum": 2**70}}}}
REFUSED: list[Any] = []
LATE: list[Any] = []
CANCELLED: list[str] = []
HELD: list[tuple[Any, str]] = []
ASKING: list[Any] = []
WAITING: list[Any] = []


def hold(id: Any, arguments: Message) -> None:
    """Answer so many calls at once, the newest first, with noise and wrong answers in between."""
    HELD.append((id, arguments["text"]))
    if len(HELD) < arguments["many"]:
        return
    held = HELD[::-1]
    HELD.clear()
    lines = []
    for id, own in held:
        lines += [result(id, own), "{garbage", result(id, "poison"), result(str(id), "poison"), "", "[]"]
        lines += [result(id + 10_000, "poison"), result(None, "poison")]
    write("\n".join(lines))


def asks_first(id: Any) -> None:
    """Ask the client, and answer with what it says."""
    ASKING.append(id)
    write({"jsonrpc": "2.0", "id": "question", "method": "sampling/createMessage", "params": {}})


def waits(id: Any) -> None:
    """Answer when the client's roots have changed."""
    WAITING.append(id)


def result(id: Any, text: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}})


def mute(id: Any) -> None:
    return


TOOLS: dict[str, Callable[[Any], None]] = {
    tool.__name__: tool
    for tool in (
        pid, slow, flood_stderr, not_json, huge_line, endless_line, twice, strangers, bad_tokens, bad_members, deep,
        odd_result, odd_error, neither, die, mute, die_speaking, progress, progress_only, asks, refuses, late, cancelled,
        large, asks_large, refused, asks_first, waits,
    )
}  # fmt: skip


def serve(message: Message) -> None:
    method, id = message.get("method"), message.get("id")
    if method == "notifications/cancelled":
        CANCELLED.append(message["params"]["reason"])
    if "error" in message:
        REFUSED.append(id)
    if id == "question" and "result" in message:
        answer(ASKING.pop(), json.dumps(message["result"]))
    if method == "notifications/roots/list_changed":
        while WAITING:
            answer(WAITING.pop(0), "released")
    if id is None or method is None:
        return
    while LATE:
        answer(LATE.pop(), "poison")
    if method == "server/discover":
        answer(id, "", supportedVersions=["2026-07-28"], capabilities={"tools": {}}, ttlMs=0, cacheScope="private")
    elif method == "initialize":
        info = {"name": "hostile", "version": "1"}
        answer(id, "", protocolVersion="2025-11-25", capabilities={"tools": {}}, serverInfo=info)
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": SCHEMAS.get(name, {"type": "object"})} for name in ("do", *TOOLS)]
        answer(id, "", tools=tools, ttlMs=0, cacheScope="private")
    elif method == "tools/call" and message["params"]["name"] in TOOLS:
        TOOLS[message["params"]["name"]](id)
    elif method == "tools/call" and message["params"]["arguments"].get("what") == "hold":
        hold(id, message["params"]["arguments"])
    elif method == "tools/call" and message["params"]["arguments"].get("what") in TOOLS:
        TOOLS[message["params"]["arguments"]["what"]](id)
    else:
        fail(id, -32601, "Method not found")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--fail-while"] and Path(arguments[1]).exists():
        sys.exit("no licence")
    stubborn = arguments[:1] == ["--stubborn"]
    if stubborn:
        path = Path(f"{arguments[1]}.{os.getpid()}")
        signal.signal(signal.SIGTERM, lambda *_: path.write_text(repr(time.monotonic())))
    for line in sys.stdin:
        serve(json.loads(line))
    while stubborn:
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1:])
