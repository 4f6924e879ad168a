"""A stdio MCP server (2026-07-28) whose tools are attempts to get out of its sandbox: each says "done" or "refused"."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = {
    "x86_64": {"ptrace": 101, "mount": 165, "keyctl": 250, "unshare": 272, "process_vm_readv": 310, "bpf": 321,
               "io_uring_setup": 425},
    "aarch64": {"ptrace": 117, "mount": 40, "keyctl": 219, "unshare": 97, "process_vm_readv": 270, "bpf": 280,
                "io_uring_setup": 425},
}.get(platform.machine(), {})  # fmt: skip
SEIZE = 0x4206  # attaches without stopping


def syscall(name: str, *arguments: int) -> None:
    words = [ctypes.c_long(each) for each in (*arguments, *(0,) * (6 - len(arguments)))]
    if LIBC.syscall(NUMBERS[name], *words) < 0:
        raise OSError(ctypes.get_errno(), name)


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def write(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def through_link(link: str, to: str) -> None:
    os.symlink(to, link)
    read(f"{link}/file")


def tcp(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 10).close()


def udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", port))


def listen() -> None:
    socket.create_server(("127.0.0.1", 0)).close()


def abstract(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect("\0" + name)


def with_child(act: Callable[[int], None]) -> None:
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        act(child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def trace(pid: int) -> None:
    syscall("ptrace", SEIZE, pid)


def trace_own() -> None:
    with_child(trace)


def read_memory(pid: int) -> None:
    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    source = ctypes.create_string_buffer(8)
    target = ctypes.create_string_buffer(8)
    here, there = (Piece(ctypes.addressof(each), 8) for each in (target, source))
    syscall("process_vm_readv", pid or os.getpid(), ctypes.addressof(here), 1, ctypes.addressof(there), 1)


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def end_own() -> None:
    with_child(lambda child: os.kill(child, 0))


def mount(path: str) -> None:
    if LIBC.mount(b"tmpfs", path.encode(), b"tmpfs", ctypes.c_ulong(0), None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def become_root() -> None:
    os.setuid(0)


def call(name: str, first: int) -> None:
    syscall(name, first)


def run(path: str) -> str:
    return subprocess.run([path, "-u"], capture_output=True, text=True, check=True).stdout.strip()


def processes(_: int = 0) -> str:
    return str(sum(each.isdigit() for each in os.listdir("/proc")))


def bomb(most: int) -> str:
    children = []
    try:
        while len(children) < most:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
    return str(len(children))


def hog(mebibytes: int) -> None:
    held = []
    try:
        for _ in range(mebibytes):
            held.append(b"x" * (1 << 20))
    except MemoryError:
        raise OSError(12, "no memory") from None


def hog_together(mebibytes: int) -> None:
    """Each below what one process may have, together more than all may."""
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            held = b"x" * (mebibytes << 20)
            time.sleep(2 + len(held) * 0)
            os._exit(0)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]  # all of them are buried
    if any(ends):
        raise OSError(12, "some were ended")


def files(most: int) -> None:
    held: list[int] = []
    try:
        while len(held) < most:
            held.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for each in held:
            os.close(each)


TOOLS: dict[str, Callable[..., str | None]] = {
    tool.__name__: tool
    for tool in (
        read, write, through_link, tcp, udp, listen, abstract, trace, trace_own, read_memory, end, end_own, mount,
        become_root, call, run, processes, bomb, hog, hog_together, files,
    )
}  # fmt: skip


def attempt(name: str, arguments: list[Any]) -> str:
    try:
        return TOOLS[name](*arguments) or "done"
    except OSError as error:
        return f"refused: {error.strerror or error}"
    except subprocess.CalledProcessError as error:
        return f"refused: {error.returncode}"


def answer(message: dict[str, Any]) -> dict[str, Any]:
    method = message["method"]
    result: dict[str, Any] = {"resultType": "complete"}
    if method == "server/discover":
        result |= {
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
            "ttlMs": 0,
            "cacheScope": "private",
        }
    elif method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
        result |= {"tools": tools, "ttlMs": 0, "cacheScope": "private"}
    elif method == "tools/call":
        said = attempt(message["params"]["name"], message["params"]["arguments"]["words"])
        result |= {"content": [{"type": "text", "text": said}], "isError": False}
    else:
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


if __name__ == "__main__":
    for line in sys.stdin:
        received = json.loads(line)
        if "id" in received:
            sys.stdout.write(json.dumps(answer(received)) + "\n")
            sys.stdout.flush()
