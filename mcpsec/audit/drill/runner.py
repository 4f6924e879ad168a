"""One drill from the copy of the deployment to the report."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mcpsec.audit.drill import life, trust, upstreams
from mcpsec.audit.drill.faults import Fault
from mcpsec.audit.drill.gateway import Gateway
from mcpsec.audit.drill.ground import Bounds, Ground
from mcpsec.audit.drill.row import Row
from mcpsec.audit.drill.site import Site, build
from mcpsec.audit.drill.store import Store, program
from mcpsec.deployment.loading import load
from mcpsec.errors import NotAssessedError, UsageError

__all__ = ["SCHEMA", "Report", "drill"]

SCHEMA = "mcpsec.drill/1"

_OF_THE_GATEWAY: dict[str, Callable[[Ground], Row]] = {
    "client-partition": life.client_partition,
    "store-lost": life.store_lost,
    "disk-full": life.disk_full,
    "clock-jump": trust.clock_jump,
    "certificate-expired": trust.certificate_expired,
    "certificate-revoked": trust.certificate_revoked,
    "restart": life.restart,
}


@dataclass
class Report:
    """What came of all faults; ``seconds`` is what the whole drill took."""

    config: Path
    digest: str
    bounds: Bounds
    left_out: list[str]
    created: datetime
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, state: str) -> int:
        """How many faults came to this end."""
        return sum(row.state == state for row in self.rows)

    def document(self) -> dict[str, Any]:
        """The report as JSON (``mcpsec.drill/1``)."""
        from mcpsec import __version__

        states = ("pass", "fail", "not-assessed", "not-applicable")
        return {
            "schema": SCHEMA,
            "created": self.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "version": __version__,
            "deployment": {"path": self.config.name, "sha256": self.digest, "left_out": self.left_out},
            "bounds": {
                "longest_seconds": self.bounds.longest,
                "slack_seconds": self.bounds.slack,
                "recovery_seconds": self.bounds.within,
            },
            "seconds": round(self.seconds, 1),
            "summary": {state: self.count(state) for state in states},
            "drills": [row.document() for row in self.rows],
        }

    def junit(self) -> str:
        """The report as JUnit XML: failed expectations are failures, what was not assessed is an error."""
        from mcpsec.report.junit import Case, render_cases

        return render_cases([_case(row, Case) for row in self.rows], suite="mcpsec drill", seconds=self.seconds)


def _case(row: Row, case: Any) -> Any:
    kind = f"drill.{row.fault}"
    document = row.document()
    if row.state == "fail":
        unmet = [each for each in row.expectations if not each.met]
        text = "\n".join([row.injected, *(f"expected: {e.expected}\nseen: {e.seen}" for e in unmet)])
        return case(kind, row.target, "failure", f"{unmet[0].expected}: {unmet[0].seen}", "drill", text)
    if row.state == "not-assessed":
        return case(kind, row.target, "error", document["reason"], "not-assessed", document["reason"])
    if row.state == "not-applicable":
        return case(kind, row.target, "skipped", document["reason"])
    return case(kind, row.target)


def drill(
    config: Path,
    faults: Sequence[Fault],
    *,
    bounds: Bounds | None = None,
    only_upstreams: Sequence[str] = (),
    begun: Callable[[str], None] = lambda _: None,
    ended: Callable[[Row], None] = lambda _: None,
) -> Report:
    """Drill a deployment; ``begun`` and ``ended`` hear of each fault.

    Raises:
        ConfigurationError: the file is wrong.
        UsageError: an upstream is named that the file has not.
        NotAssessedError: the copy does not start.
    """
    config = config / "mcpsec.toml" if config.is_dir() else config
    original = load(config)
    for name in only_upstreams:
        if name not in original.upstreams:
            raise UsageError(f"the file has no upstream {name}", hint=f"it has {', '.join(original.upstreams)}")
    began = time.monotonic()
    report = Report(config, hashlib.sha256(config.read_bytes()).hexdigest(), bounds or Bounds(), [], datetime.now(UTC))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcpsec-drill-"))).resolve()
        store = None
        if original.state.shared and program() is not None:
            store = Store(directory)
            stack.callback(store.kill)
            store.start()
        site = build(config, directory, store_url=None if store is None else store.url)
        stack.callback(site.close)
        report.left_out = site.left_out
        ground = Ground(site, Gateway(site.config, directory), report.bounds, store)
        stack.push(partial(_leave, ground))
        ground.gateway.start()
        for fault, name, run in _planned(faults, site, only_upstreams):
            begun(f"{fault.name} {name}")
            row = _one(fault, name, run, ground)
            report.rows.append(row)
            ended(row)
    report.seconds = time.monotonic() - began
    return report


def _leave(ground: Ground, kind: type[BaseException] | None, *_: object) -> None:
    """The gateway's end. Who interrupts a drill waits for no call that hangs on purpose: nothing in it is real."""
    if kind is None:
        ground.stop()
    else:
        ground.gateway.kill()


def _planned(
    faults: Sequence[Fault], site: Site, only: Sequence[str]
) -> list[tuple[Fault, str, Callable[[Ground], Row]]]:
    """Each fault at each place where it strikes."""
    found: list[tuple[Fault, str, Callable[[Ground], Row]]] = []
    for fault in faults:
        if fault.name in _OF_THE_GATEWAY:
            found.append((fault, life.GATEWAY, _OF_THE_GATEWAY[fault.name]))
        else:
            struck = [target for target in site.targets if not only or target.name in only]
            found += [(fault, target.name, partial(upstreams.drill, fault, target)) for target in struck]
    return found


def _one(fault: Fault, name: str, run: Callable[[Ground], Row], ground: Ground) -> Row:
    """One fault; a gateway that does not outlive it has failed, and is started again for the next."""
    try:
        row = run(ground)
    except NotAssessedError as error:
        row = Row(fault.name, name).leave(error.message)
    except OSError as error:
        row = Row(fault.name, name).leave(f"the drill itself failed: {error.strerror or error}")
    if not ground.gateway.alive:
        row.expect("the gateway goes on running", False, ground.gateway.last_words())
        ground.gateway.start()
    return row
