"""What all tests share: the real parts as fixtures, and the rules of a run in CI."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell starts what it puts into the background like this, and the programs under test would not hear a Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no failed property, and a run leaves nothing behind that the next one would depend on.
settings.register_profile("mcpsec", database=None, deadline=None)
settings.load_profile("mcpsec")

pytest.register_assert_rewrite("tests.fixtures", "tests.conformance")

# Programs that came with this Python's packages (servers, OpenBao) are found also where nobody activated it.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

CI = os.environ.get("MCPSEC_CI") == "1"
"""In CI every part is there, so a skipped test is a failed one."""


def pytest_configure(config: pytest.Config) -> None:
    """What the programs under test keep for a user (compiled rules, tokens) is this run's, and goes with it."""
    if hasattr(config, "workerinput"):
        return  # a worker has the directories of the process that started it
    if path := os.environ.get("MCPSEC_FAILED_TESTS"):
        config.pluginmanager.register(NotPassed(path))
    kept = tempfile.mkdtemp(prefix="mcpsec-tests-")
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        os.environ[name] = kept
    config.add_cleanup(lambda: shutil.rmtree(kept, ignore_errors=True))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def node_parts() -> Any:
    """Node and the npm packages that tests run; skips when they are missing."""
    from tests.fixtures.node import find_node_parts

    return find_node_parts()


@pytest.fixture
def deployment(tmp_path: Path) -> Any:
    """Makes deployments: ``deployment({"files": {"command": […]}})``."""
    from tests.fixtures.deployments import make_deployment

    made = 0

    def make(*arguments: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        directory = tmp_path / f"deployment-{made}"
        directory.mkdir()
        return make_deployment(directory, *arguments, **options)

    return make


@pytest.fixture
def gateway() -> Iterator[Any]:
    """Starts gateways: ``gateway(deployment, "--", "mcp-server-time")``. Afterwards each must stop cleanly."""
    from tests.fixtures.gateway import start_gateway

    running: list[Any] = []

    def start(*arguments: Any, **options: Any) -> Any:
        running.append(start_gateway(*arguments, **options))
        return running[-1]

    yield start
    _stop_all(running)


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[Any]:
    """Our own MCP server over Streamable HTTP."""
    from tests.fixtures.upstreams import start_http_server

    server = start_http_server(tmp_path / "upstream")
    yield server
    server.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """A shared state store: Redis or Valkey."""
    from tests.fixtures.stores import Store

    server = Store(tmp_path / "store")
    server.start()
    yield server
    server.kill()


def _stop_all(running: list[Any]) -> None:
    """Stop every gateway, and only then report what was wrong with the first."""
    problems: list[BaseException] = []
    for gateway in reversed(running):
        try:
            gateway.stop()
        except BaseException as problem:
            problems.append(problem)
    if problems:
        raise problems[0]


# --- the rules of CI --------------------------------------------------------------------------------------------------


def _make_sendable(report: Any) -> None:
    """Put a failure in words that a worker can send: at half a character xdist ends the whole run."""
    if report.failed and not (text := report.longreprtext).isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            report.longrepr = text.encode("utf-8", "backslashreplace").decode()


def _refuse_skip(report: Any) -> None:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"In CI nothing may be skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Any:
    report = yield
    _refuse_skip(report)
    _make_sendable(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: Any) -> Any:
    report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests measured, and in CI which suite takes which share of the time."""
    listed = [report for reports in terminalreporter.stats.values() for report in reports]
    reports = [report for report in listed if isinstance(report, pytest.TestReport)]
    for name in MEASURED:
        _print_measured(terminalreporter, reports, name)
    if CI:
        _print_times(terminalreporter, reports)
    if path := os.environ.get("MCPSEC_FAILED_TESTS"):
        failed: dict[str, str] = {}
        for report in listed:
            if getattr(report, "failed", False):  # at its call mostly, and then perhaps at its end too
                failed.setdefault(report.nodeid, _reason(report))
        _write(f"{path}.reasons", [f"{nodeid}: {reason}" for nodeid, reason in failed.items()])


class NotPassed:
    """Keeps the names of the tests that have not passed, in a file: also when the run breaks off."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._left: dict[str, None] | None = None
        self._failed: dict[str, None] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers: what will be run."""
        self.pytest_xdist_node_collection_finished([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """With workers: the same, of each of them, and of those that take the place of one that died."""
        if self._left is None and ids:
            self._left = dict.fromkeys(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Part of a test has run."""
        if report.failed:
            self._failed[report.nodeid] = None
        elif report.when == "teardown" and self._left is not None:
            self._left.pop(report.nodeid, None)

    def pytest_sessionfinish(self) -> None:
        """The end, of whatever kind."""
        _write(self._path, {**self._failed, **(self._left or {})})


def _write(path: str, lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """When it failed and why, in one line of at most 300 characters."""
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash else report.longreprtext[-250:]
    return f"{report.when}: {said}".replace("\n", " | ")[:300]


MEASURED = ("conformance", "newcomer", "precision and recall of the audit")
"""Properties that tests record for the summary (``record_property``); they come through xdist."""


def _print_measured(terminalreporter: Any, reports: list[pytest.TestReport], wanted: str) -> None:
    lines = [
        f"{report.nodeid.partition('::')[2]} {value}"
        for report in sorted(reports, key=lambda report: report.nodeid)
        for name, value in report.user_properties
        if name == wanted and report.when == "call"
    ]
    if lines:
        terminalreporter.section(wanted)
        for line in lines:
            terminalreporter.write_line(line)


def _print_times(terminalreporter: Any, reports: list[pytest.TestReport]) -> None:
    """Seconds by the directory under tests/, summed over setup, call and teardown and over all workers."""
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for report in reports:
        parts = Path(report.nodeid.partition("::")[0]).parts
        suite = "/".join(parts[:2]) if len(parts) > 2 else parts[0]
        seconds[suite] += report.duration
        counts[suite] += report.when == "call"
    total = sum(seconds.values()) or 1.0
    terminalreporter.section("time by suite")
    for suite, used in sorted(seconds.items(), key=lambda entry: -entry[1]):
        terminalreporter.write_line(f"{used:8.1f} s {100 * used / total:5.1f} %  {counts[suite]:5d} tests  {suite}")
    terminalreporter.write_line(f"{total:8.1f} s         {sum(counts.values()):5d} tests  in all workers together")
