"""Faults of the gateway's own surroundings: its clients' network, its store, its disk, its process."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from mcpsec.audit.drill.client import Answer
from mcpsec.audit.drill.gateway import living
from mcpsec.audit.drill.ground import Ground, wait
from mcpsec.audit.drill.network import Network
from mcpsec.audit.drill.record import Record
from mcpsec.audit.drill.row import Row
from mcpsec.audit.drill.site import STEADY
from mcpsec.audit.drill.upstreams import withheld
from mcpsec.errors import NotAssessedError

__all__ = ["client_partition", "disk_full", "restart", "store_lost"]

GATEWAY = "gateway"


def client_partition(ground: Ground) -> Row:
    """A client's network is cut when half of its request has arrived."""
    row = Row("client-partition", GATEWAY)
    record = Record()
    network = Network(ground.gateway.address, record)
    limits = ground.site.original.server.limits
    deadline = min(limits.body_timeout, ground.bounds.longest)
    patience = deadline + ground.bounds.slack
    try:
        client, offset = ground.client, ground.log_size()
        with ground.open_connection(client, network.port) as connection:
            # A whole call first: then nothing of the handshake is still on its way, and counted as half of a request.
            if not (whole := connection.ask(STEADY, "echo", {"text": "whole"})).fine:
                return row.leave(f"already without a fault a call fails: {whole.describe()}")
            path, headers, body = client.request(STEADY, "echo", {"text": "x" * 4096})
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            raw = f"POST {path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
            before = network.carried
            # Cut first: on a busy machine body_timeout would be over, and its answer through, before a later cut.
            network.cut(after=len(raw) // 2)
            connection.stream.sendall(raw[: len(raw) // 2])
            if not wait(lambda: network.carried - before >= len(raw) // 2, ground.bounds.slack + 5):
                return row.leave("the first half of the request did not arrive")
            began = time.monotonic()
            connection.stream.sendall(raw[len(raw) // 2 :])
            let_go, watch = ground.meanwhile(lambda: _let_go(record, patience))
        row.seconds = time.monotonic() - began
        row.proof = record.since(0, "network cut", "bytes held", "closed while cut")
        row.injected = "the network between a client and the gateway swallows everything, after half of a request"
        row.seen = f"the gateway closed its end after {row.seconds:.2f} s" if let_go else "the gateway held on"
        text = f"the gateway lets go within body_timeout ({limits.body_timeout:g} s, no more than "
        in_time = let_go and limits.body_timeout <= ground.bounds.longest
        row.expect(f"{text}{ground.bounds.longest:g} s)", in_time, row.seen)
        row.expect("everybody else is served meanwhile", not watch.failures, watch.describe())
        since = time.monotonic()
        network.mend()
        ground.recover(row, lambda: client.ask(STEADY, "echo", {"text": "back"}, port=network.port), since)
        ground.expect_event(row, "the broken request", offset, lambda event: event.get("status") == 408)
    finally:
        network.close()
    return row


def _let_go(record: Record, patience: float) -> bool:
    return bool(wait(lambda: [e for e in record.since(0, "closed while cut") if e["side"] == "server"], patience))


def store_lost(ground: Ground) -> Row:
    """The shared store is killed, and started again."""
    row = Row("store-lost", GATEWAY)
    store = ground.store
    if not ground.site.original.state.shared:
        return row.leave("the file keeps its state in memory: there is no store to lose", applicable=False)
    if store is None:
        return row.leave("needs redis-server or valkey-server on this machine")
    if not (before := ground.ready(ground.steady)).fine:
        return row.leave(f"already without a fault a call fails: {before.describe()}")
    offset = ground.log_size()
    code = store.kill()
    row.proof = [{"event": "store killed", "exit": code}, {"event": "nobody answers", "pings": int(store.answers())}]
    row.injected = "the drill's own Redis is killed; nobody answers a PING"
    answers = [ground.steady() for _ in range(5)]
    row.seconds = max(each.seconds for each in answers)
    row.seen = answers[-1].describe()
    if ground.site.signed:
        refused = all(each.status == 503 for each in answers)
        row.expect("signed requests are refused with 503: a replay could not be told", refused, row.seen)
    else:
        kept = all(each.status in (200, 503) for each in answers)
        row.expect("requests are served by the gateway's own counts, or refused with 503", kept, row.seen)
    timeout, slack = ground.site.original.state.timeout, ground.bounds.slack
    row.expect(f"at once (state.timeout {timeout:g} s)", row.seconds <= timeout + slack, f"{row.seconds:.2f} s")
    since = time.monotonic()
    try:
        store.start()
    except NotAssessedError as error:
        return row.leave(error.message)
    ground.recover(row, ground.steady, since)
    for state in ("down", "up"):
        ground.expect_event(row, f"that the store is {state}", offset, _store_event(state))
    return row


def _store_event(state: str) -> Callable[[dict[str, object]], bool]:
    return lambda event: event.get("name") == "state" and event.get("state") == state


def disk_full(ground: Ground) -> Row:
    """The gateway's files may not grow any more (RLIMIT_FSIZE of the running process), and then may again."""
    row = Row("disk-full", GATEWAY)
    if sys.platform != "linux":
        return row.leave("needs Linux: the limit of a running process is changed (prlimit)")
    import resource

    pid = ground.gateway.pid
    refuses = ground.site.original.log.on_full == "refuse"
    if not (before := ground.ready(ground.steady)).fine:
        return row.leave(f"already without a fault a call fails: {before.describe()}")
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    size = ground.log_size()
    offset = size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        row.proof = [{"event": "largest file of the gateway's process", "bytes": _file_limit(pid), "log": size}]
        row.injected = f"the gateway's files can't grow beyond {size} bytes (RLIMIT_FSIZE of the running process)"
        seen: list[Answer] = []

        def refused() -> bool:
            seen.append(ground.steady())
            return seen[-1].status == 503

        stopped = wait(refused, ground.bounds.within if refuses else 2.0)
        row.seen, row.seconds = seen[-1].describe(), seen[-1].seconds
        if refuses:
            row.expect(
                "once events can't be written nothing is served (503, on_full = refuse)", bool(stopped), row.seen
            )
            more = [ground.steady() for _ in range(3)]
            row.expect("and it stays so", all(each.status == 503 for each in more), more[-1].describe())
        else:
            served = all(each.fine for each in seen)
            row.expect("requests are served (on_full = drop)", served, f"{len(seen)} calls, the last: {row.seen}")
        row.proof.append({"event": "the log has grown by", "bytes": ground.log_size() - size})
    finally:
        since = time.monotonic()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    ground.recover(row, ground.steady, since)
    ground.expect_event(row, "events from after the fault", offset, lambda event: event.get("kind") == "request")
    ground.expect_whole_log(row)
    return row


def _file_limit(pid: int) -> int:
    """The kernel's own word for the largest file that a process may write."""
    from pathlib import Path

    for line in Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines():
        if line.startswith("Max file size"):
            return int(line.split()[3])
    return -1


def restart(ground: Ground) -> Row:
    """The gateway is killed while a call is under way, and started again at the same address."""
    row = Row("restart", GATEWAY)
    target = ground.site.targets[0]
    host, port = ground.gateway.address
    plain = partial(ground.call, target, patience=ground.bounds.longest)
    if not (before := ground.ready(lambda: plain()[1])).fine:
        return row.leave(f"already without a fault a call fails: {before.describe()}")
    offset = ground.log_size()
    since = 0.0
    family: set[tuple[int, str]] = set()

    def kill() -> int | None:
        nonlocal since
        wait(lambda: withheld(target) > before_it, 30)
        family.update(ground.gateway.family())
        code = ground.gateway.kill()
        since = time.monotonic()
        return code

    before_it = withheld(target)
    codes: list[int | None] = []
    killer = threading.Thread(target=lambda: codes.append(kill()))
    killer.start()
    call, answer = ground.call(target, "timeout", patience=ground.bounds.longest + ground.bounds.slack)
    killer.join()
    row.seconds, row.seen = answer.seconds, answer.describe()
    row.injected = "the gateway is killed (SIGKILL) while a call is under way, and restarted at the same address"
    row.proof = [{"event": "gateway killed", "exit": codes[0], "call": call}]
    row.expect("the caller learns of it by the end of its connection", bool(answer.failure), row.seen)
    if family:
        gone = bool(wait(lambda: not living(family), ground.bounds.slack + 5))
        seen = f"all {len(family)} are gone" if gone else f"{len(living(family))} of {len(family)} live on"
        row.expect("no program of the gateway outlives it", gone, seen)
    try:
        ground.gateway.start(f"{host}:{port}")
    except NotAssessedError as error:
        row.expect("it starts again", False, error.message)
        ground.gateway.start()
    ground.recover(row, lambda: plain()[1], since)
    ground.expect_event(row, "events of the new run", offset, lambda event: event.get("kind") == "request")
    ground.expect_whole_log(row)
    return row
