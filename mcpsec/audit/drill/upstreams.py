"""Faults of the servers behind the gateway, and of the network to them."""

from __future__ import annotations

import time
from typing import Any

from mcpsec.audit.drill.client import Answer
from mcpsec.audit.drill.faults import Fault
from mcpsec.audit.drill.ground import Ground
from mcpsec.audit.drill.record import written
from mcpsec.audit.drill.row import Row
from mcpsec.audit.drill.server import INSIDE, TOOL
from mcpsec.audit.drill.site import Target

__all__ = ["drill", "withheld"]

_TAKES_THE_DEADLINE = ("timeout", "slow", "partition")


def drill(fault: Fault, target: Target, ground: Ground) -> Row:
    """Put one fault into one server (or its network) during a call, and judge."""
    row = Row(fault.name, target.name)
    if target.kind not in fault.place:
        return row.leave("a program on the same machine is reached without a network", applicable=False)
    bounds = ground.bounds
    before = ground.ready(lambda: _plain(ground, target))
    if not before.fine:
        return row.leave(f"already without a fault a call fails: {before.describe()}")
    offset, began = ground.log_size(), time.time()
    patience = min(target.deadline, bounds.longest) + bounds.slack
    (call, answer), watch = ground.meanwhile(
        lambda: ground.call(target, fault.name, patience=patience), apart_from=target
    )
    row.seconds, row.seen = answer.seconds, answer.describe()
    row.proof = _proof(target, call, began)
    row.injected = f"{fault.title} ({', '.join(each['event'] for each in row.proof[1:])})"
    if len(row.proof) < 2:
        row.proof = []
    _judge_answer(row, fault, target, answer, ground)
    taken = sum(each["event"] == "call taken" for each in row.proof)
    row.expect("the call is sent once", taken <= 1, f"{taken} times")
    row.expect("everything else is served meanwhile", not watch.failures, watch.describe())
    if fault.name == "crash" and target.kind == "http":
        down = _plain(ground, target)
        row.expect("while it is down its callers are told so (502, 503)", down.status in (502, 503), down.describe())
    since = time.monotonic()
    _mend(target)
    ground.recover(row, lambda: _plain(ground, target), since)
    ground.expect_event(row, "the failed call", offset, lambda event: _is_failure(event, target, answer))
    _unmend(target)
    return row


def _plain(ground: Ground, target: Target) -> Answer:
    return ground.call(target, patience=min(target.deadline, ground.bounds.longest) + ground.bounds.slack)[1]


def _judge_answer(row: Row, fault: Fault, target: Target, answer: Answer, ground: Ground) -> None:
    longest, slack = ground.bounds.longest, ground.bounds.slack
    deadline = target.deadline
    limit = min(deadline, longest)
    text = f"an answer within the deadline of the file ({deadline:g} s, and no more than {longest:g} s)"
    in_time = not answer.failure and answer.seconds <= limit + slack
    if fault.name in _TAKES_THE_DEADLINE:
        in_time = in_time and deadline <= longest
    row.expect(text, in_time, row.seen)
    allowed = ", ".join(map(str, fault.statuses))
    error = isinstance(answer.message.get("error"), dict)
    row.expect(f"an error, with status {allowed}", answer.status in fault.statuses and error, row.seen)
    row.expect("nothing of the server's inside in it", INSIDE.encode() not in answer.body, f"{len(answer.body)} bytes")


def _proof(target: Target, call: str, began: float) -> list[dict[str, Any]]:
    if target.server is not None:
        record = target.server.record
        held = record.since(began, "bytes held", "connection held", "closed while cut")
        return [*record.of(call), *held]
    return [] if target.record is None else written(target.record, call)


def _is_failure(event: dict[str, Any], target: Target, answer: Answer) -> bool:
    if event.get("resource") != f"{target.name}/{TOOL}" or event.get("status") != answer.status:
        return False
    return answer.status == 200 or event.get("decision") in ("failed", "refused")


def _mend(target: Target) -> None:
    if target.server is not None:
        target.server.mend()
    elif target.record is not None:
        target.record.with_suffix(".mended").touch()


def _unmend(target: Target) -> None:
    """Let the next slow answer be slow again."""
    if target.record is not None:
        target.record.with_suffix(".mended").unlink(missing_ok=True)


def withheld(target: Target) -> int:
    """How many answers a faulty server has withheld so far."""
    if target.server is not None:
        return len(target.server.record.since(0, "answer withheld"))
    return 0 if target.record is None else target.record.read_text(encoding="utf-8").count('"answer withheld"')
