"""The ground that every drill stands on: the running copy, its callers, its log, and the bounds that are judged by."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcpsec.audit.drill.client import Answer, Client, Connection
from mcpsec.audit.drill.gateway import START, Gateway
from mcpsec.audit.drill.server import TOOL
from mcpsec.audit.drill.site import STEADY, SURVIVOR, Site, Target

if TYPE_CHECKING:
    from mcpsec.audit.drill.row import Row
    from mcpsec.audit.drill.store import Store

__all__ = ["Bounds", "Ground", "Watch", "wait"]

_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is judged by, in seconds.

    ``longest`` is what any call may take whatever the file says, ``slack`` what a loaded machine gets on top of a
    deadline, and a gateway has to serve again ``within`` so much after a fault.
    """

    longest: float = 30.0
    slack: float = 5.0
    within: float = 30.0


@dataclass
class Watch:
    """Calls to everything that is not under the fault, for as long as it lasts."""

    calls: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, answer: Answer) -> None:
        """Count one call."""
        self.calls += 1
        self.slowest = max(self.slowest, answer.seconds)
        if not answer.fine:
            self.failures.append(f"{name}: {answer.describe()}")

    def describe(self) -> str:
        """In a few words."""
        if self.failures:
            return f"{len(self.failures)} of {self.calls} calls failed: {self.failures[0]}"
        return f"{self.calls} calls, the slowest took {self.slowest:.2f} s"


@dataclass
class Ground:
    """A running copy, and its store when it has one."""

    site: Site
    gateway: Gateway
    bounds: Bounds
    store: Store | None = None

    @property
    def client(self) -> Client:
        """The client that no fault is aimed at."""
        return Client(self.site, SURVIVOR, self.gateway.url)

    def call(self, target: Target, fault: str = "", *, patience: float) -> tuple[str, Answer]:
        """One call of a faulty server, and the name that its record knows the call by."""
        name = secrets.token_hex(8)
        return name, self.client.ask(target.name, TOOL, {"fault": fault, "call": name}, patience=patience)

    def steady(self, patience: float | None = None) -> Answer:
        """One call of the built-in server."""
        return self.client.ask(STEADY, "echo", {"text": "steady"}, patience=patience or self.bounds.slack)

    def meanwhile(self, work: Callable[[], Any], *, apart_from: Target | None = None) -> tuple[Any, Watch]:
        """Do ``work`` and call everything else until it is over."""
        found: list[Any] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                found.append(work())
            except BaseException as error:
                failed.append(error)

        watch = Watch()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        others = [each for each in self.site.targets if each is not apart_from]
        while thread.is_alive():
            watch.add(STEADY, self.steady())
            for each in others:
                watch.add(each.name, self.call(each, patience=self.bounds.slack)[1])
            thread.join(_PAUSE)
        if failed:
            raise failed[0]
        return found[0], watch

    def ready(self, ask: Callable[[], Answer]) -> Answer:
        """The first good answer before a fault; the last bad one when none comes within the time of a recovery."""
        end = time.monotonic() + self.bounds.within
        while not (answer := ask()).fine and time.monotonic() < end:
            time.sleep(_PAUSE)
        return answer

    def recover(self, row: Row, ask: Callable[[], Answer], since: float, what: str = "the next call is served") -> None:
        """Ask until it goes well, and judge how long that took since ``since`` (monotonic)."""
        within = self.bounds.within
        while not (answer := ask()).fine and time.monotonic() - since < within:
            time.sleep(_PAUSE)
        took = time.monotonic() - since
        row.recovered = took if answer.fine else None
        seen = f"after {took:.2f} s" if answer.fine else f"not within {took:.0f} s: {answer.describe()}"
        row.expect(f"{what} within {within:g} s of the fault's end", answer.fine and took <= within + 1, seen)

    # --- the log -----------------------------------------------------------------------------------------------------

    def log_size(self) -> int:
        """Where the log ends now."""
        try:
            return self.site.log.stat().st_size
        except OSError:
            return 0

    def events(self, since: int) -> list[dict[str, Any]]:
        """The whole events of the log from an offset on."""
        try:
            with self.site.log.open("rb") as file:
                file.seek(since if since <= self.log_size() else 0)
                lines = file.read().split(b"\n")[:-1]
        except OSError:
            return []
        return [json.loads(line) for line in lines]

    def expect_event(self, row: Row, what: str, since: int, fits: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for an event of the log that fits, and judge whether there is one."""
        found = wait(lambda: next((each for each in self.events(since) if fits(each)), None), self.bounds.slack + 5)
        seen = "none" if not found else f"{found['kind']} {found.get('status') or found.get('state') or ''}".strip()
        row.expect(f"the audit log has {what}", bool(found), seen)

    def expect_whole_log(self, row: Row) -> None:
        """Judge the log as `mcpsec log verify` does."""
        from mcpsec.telemetry.verify import verify

        found = verify(self.site.log)
        seen = f"{found.events} events, all chained" if found.intact else str(found.findings[0].what)
        row.expect("the audit log is whole (log verify)", found.intact, seen)

    def restarted(self, environment: dict[str, str] | None = None, *, patience: float = START) -> Gateway:
        """Stop the gateway and start it again, under another environment."""
        self.gateway.stop()
        self.gateway = Gateway(self.site.config, self.site.directory, environment)
        self.gateway.start(patience=patience)
        return self.gateway

    def open_connection(self, client: Client, port: int | None = None) -> closing[Connection]:
        """A connection that is closed at the end of a ``with``. Raises OSError."""
        return closing(client.connect(port=port))

    def stop(self) -> None:
        """Stop the gateway, whichever runs by now."""
        self.gateway.stop()


def wait(happened: Callable[[], Any], patience: float) -> Any:
    """The first true value, or the last one when ``patience`` seconds are over."""
    end = time.monotonic() + patience
    while not (value := happened()) and time.monotonic() < end:
        time.sleep(0.02)
    return value
