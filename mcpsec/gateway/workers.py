"""Several worker processes behind one listening socket, and the supervisor that keeps them alive.

Each worker is a whole ``mcpsec serve`` with the same words on its command line; they share the socket, so a connection
goes to whichever is free, and one that dies takes no waiting connection with it. Each writes a log of its own (a chain
has one writer): ``log/events.jsonl`` becomes ``log/worker-1/events.jsonl`` and so on. The supervisor serves nobody but
the operators: one admin listener whose metrics are the sums over the workers, and whose dashboard reads their logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcpsec.deployment.model import Address, Admin
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.frozen import dataclass
from mcpsec.gateway import systemd
from mcpsec.gateway.admin_listener import AdminListener
from mcpsec.gateway.listener import bind
from mcpsec.gateway.newest_lists import NewestLists
from mcpsec.gateway.stopping import Stopping
from mcpsec.gateway.summing import sum_expositions
from mcpsec.gateway.watching import WorkersPicture

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Deployment

__all__ = ["Supervisor", "WorkerPlace", "this_worker"]

_VARIABLE = "MCPSEC_WORKER"
_BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)
_POLL_SECONDS = 1.0
_FETCH_SECONDS = 2.0
_SILENT_SECONDS = 10.0
"""A worker that has not answered for so long is not ready; nor is any ended sooner for its silence."""
_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """What a worker is told by its supervisor: its number, descriptors of socket and lifeline, where to say ready.

    ``admin_name`` is the worker's own: the one Host to which its admin listener answers. Everybody on the machine can
    connect to that, and only the supervisor is told the name.
    """

    number: int
    shared: int
    lifeline: int
    ready: str
    admin_name: str = ""

    def listening(self) -> socket.socket:
        """The socket that all workers accept on."""
        listening = socket.socket(fileno=self.shared)
        listening.setblocking(False)
        listening.set_inheritable(False)
        return listening

    def watch_supervisor(self, *, gone: Callable[[], None], hurried: Callable[[], None]) -> None:
        """Call ``gone`` when the supervisor's end of the lifeline closes: it has died, however it died.

        Call ``hurried`` when it wants an end at once, which a byte on the lifeline says: a SIGINT may as well be the
        terminal's, and any other signal an in-process application's own.
        """
        os.set_inheritable(self.lifeline, False)
        loop, lifeline = asyncio.get_running_loop(), socket.socket(fileno=self.lifeline)
        lifeline.setblocking(False)

        def told() -> None:
            try:
                word = lifeline.recv(1, socket.MSG_PEEK)  # it stays there for all workers
            except BlockingIOError:
                return
            except OSError:  # reset: something here has written to it, and it was never read
                word = b""
            loop.remove_reader(lifeline)  # else it would be told without end
            lifeline.close()
            (hurried if word else gone)()

        loop.add_reader(lifeline, told)

    def own(self, deployment: Deployment) -> Deployment:
        """The deployment as this worker runs it: a log and an admin port of its own."""
        file = _log_of(deployment.log.file, self.number)
        server = replace(deployment.server, admin=Admin(listen=Address("127.0.0.1", 0)))
        return replace(deployment, log=replace(deployment.log, file=file), server=server)

    @staticmethod
    def lists(own: Deployment) -> NewestLists:
        """The revocation lists that were in use: one memory for all workers, however many there were or will be."""
        log = own.log.file
        return NewestLists.beside(log.parent.parent / log.name)


def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mcpsec-workers-")


def _log_of(file: Path, number: int) -> Path:
    return file.parent / f"worker-{number}" / file.name


def this_worker() -> WorkerPlace | None:
    """What this process was told if it is a worker; it is told once, and its children are not."""
    text = os.environ.pop(_VARIABLE, None)
    if text is None:
        return None
    try:
        return WorkerPlace(**json.loads(text), admin_name=f"{secrets.token_hex(16)}.localhost")
    except (ValueError, TypeError):
        hint = "it is for a supervisor to tell its workers: unset it"
        raise UsageError(f"{_VARIABLE} is set to what no supervisor wrote", hint=hint) from None


class _Worker:
    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.admin = ""
        self.exposition = ""
        self.facts: dict[str, bool] = {}
        """What its /readyz said last."""
        self.heard = 0.0
        """When it answered last, as the loop's clock says."""
        self.reload = False
        """It is to read everything again as soon as it can be told."""


async def _got(port: int | None, host: str, path: str) -> bytes:
    """The body of what a worker's admin listener answers, 200 or 503. Raises OSError for anything else."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")):
        raise OSError("no answer")
    return body


class _Sums:
    """The workers' metrics as the admin listener asks for them."""

    def __init__(self, workers: list[_Worker]) -> None:
        self._workers = workers

    def exposition(self, accept: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a scrape."""
        del accept
        headers = {"content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store"}
        return 200, headers, self.text().encode()

    def text(self) -> str:
        """Of all workers, summed."""
        return sum_expositions([worker.exposition for worker in self._workers])


class Supervisor:
    """Starts ``count`` workers of one deployment, and again whichever ends. ``say`` takes words for the operator."""

    def __init__(self, deployment: Deployment, count: int, *, say: Callable[[str], None]) -> None:
        self._deployment = deployment
        self._say = say
        self._stopping = Stopping()
        self.served = False
        """Whether all workers have served at once: the deployment was good, and good enough for those that still do."""
        self._unfit = 0
        """The number of a worker that says so itself."""
        self._newest = NewestLists.beside(deployment.log.file)
        self._home = _home()
        self._workers = [_Worker(number + 1) for number in range(count)]
        self._tasks: list[asyncio.Task[None]] = []
        self._admin: AdminListener | None = None
        self._picture: WorkersPicture | None = None
        self.admin_url: str | None = None

    async def start(self) -> None:
        """Bind and start; returns when every worker accepts requests, or it was stopped before (``served`` is false).

        Raises Error; nothing is left running then.
        """
        server = self._deployment.server
        self._socket = systemd.inherited_sockets().get("public") or bind(server.listen)
        self.url = f"https://{Address(*self._socket.getsockname()[:2])}/mcp"
        self._lifeline, self._kept = socket.socketpair()
        loop = asyncio.get_running_loop()
        try:
            if server.admin is not None:
                sums = _Sums(self._workers)
                logs = [_log_of(self._deployment.log.file, worker.number) for worker in self._workers]
                self._picture = WorkersPicture(self._deployment, logs, sums.text)
                self._admin = AdminListener(
                    server.admin, server.tls, server.limits,
                    sums,
                    self._picture.dashboard,
                    ready=self._readiness, refused=lambda _address, _reason: None, newest=self._newest,
                )  # fmt: skip
                self.admin_url = self._admin.url
                self._tasks.append(loop.create_task(self._admin.serve()))
            self._tasks += [loop.create_task(self._keep(worker)) for worker in self._workers]
            self._tasks.append(loop.create_task(self._poll()))
            while not all(worker.admin for worker in self._workers):
                if self._stopping.is_set():
                    break
                await asyncio.sleep(0.02)
            if self._unfit:
                raise ConfigurationError(
                    f"worker {self._unfit} can't serve this deployment",
                    path=self._deployment.path,
                    hint="its own words, above, say why",
                )
            self.served = not self._stopping.is_set()
        except BaseException:
            await self.close()
            raise

    def watch_signals(self) -> None:
        """SIGTERM and SIGINT end ``run``, a SIGINT while it ends lets no worker drain; SIGHUP is passed on."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    async def run(self) -> None:
        """Keep the workers until SIGTERM or SIGINT, then let them drain."""
        if self.served:
            systemd.notify("READY=1", f"STATUS=serving {self.url} with {len(self._workers)} workers")
        watchdog = systemd.watchdog_seconds()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), watchdog)
            systemd.notify("WATCHDOG=1")
        systemd.notify("STOPPING=1")
        await self.close()

    async def close(self) -> None:
        """Let the workers drain, end those that don't, and let go of everything."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        ends = [worker.process.wait() for worker in self._workers if worker.process is not None]
        patience = self._deployment.server.limits.drain_timeout + _GRACE_SECONDS
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*ends), patience)
        self._signal(signal.SIGKILL)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._admin is not None:
            await self._admin.close()
            self._admin.registry.abort_where(lambda _peer: True)
        self._socket.close()
        self._kept.close()
        self._lifeline.close()
        self._home.cleanup()

    def _readiness(self) -> dict[str, bool]:
        since = asyncio.get_running_loop().time() - _SILENT_SECONDS
        ready = {f"worker-{each.number}": bool(each.admin) and each.heard > since for each in self._workers}
        told = [(name, fact) for each in self._workers for name, fact in each.facts.items() if name != "serving"]
        facts = {name: all(fact for other, fact in told if other == name) for name, _ in told}
        return {"serving": not self._stopping.is_set(), **ready, **facts}

    def _signal(self, signum: signal.Signals) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    worker.process.send_signal(signum)

    def _interrupt(self) -> None:
        self._stopping.interrupt()
        if self._stopping.hurried:
            with contextlib.suppress(OSError):  # it is over, or has been said often enough
                self._kept.send(b"!", socket.MSG_DONTWAIT)

    def _reload(self) -> None:
        """Pass SIGHUP on. A worker that begins would die of it, and may have read already: it hears when it serves."""
        for worker in self._workers:
            worker.reload = True
            self._tell_to_reload(worker)

    @staticmethod
    def _tell_to_reload(worker: _Worker) -> None:
        if worker.reload and worker.admin and worker.process is not None and worker.process.returncode is None:
            worker.reload = False
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGHUP)

    async def _keep(self, worker: _Worker) -> None:
        """Start a worker, and again when it ends; a little later each time that it did not come to serve."""
        failures = 0
        while not self._stopping.is_set():
            worker.reload = False
            try:
                ready = self._ready_file(worker)
                worker.process = await self._spawn(worker, ready)
            except OSError as error:  # no descriptor, no memory, a program that is being replaced: none of it lasts
                failures += 1
                self._say(f"worker {worker.number} can't be started: {error.strerror or error}; it is tried again")
                await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
                continue
            ended = asyncio.ensure_future(worker.process.wait())
            while not ended.done() and not worker.admin:
                await asyncio.wait({ended}, timeout=0.02)
                if ready.exists():
                    worker.admin = str(json.loads(ready.read_text())["admin_url"])
                    worker.heard = asyncio.get_running_loop().time()
                    self._tell_to_reload(worker)
            served = bool(worker.admin)
            code = await ended
            worker.admin = worker.exposition = ""
            worker.facts = {}
            if self._stopping.is_set():
                return
            if code == 2 and not self.served:  # a configuration that can't work gets no better by trying
                self._unfit = worker.number
                self._stopping.set()
                return
            failures = 0 if served else failures + 1
            self._say(f"worker {worker.number} ended with {code}; it is started again")
            await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])

    def _ready_file(self, worker: _Worker) -> Path:
        """Where a worker says so; who tidies temporary files up may have taken what was there for days."""
        if not Path(self._home.name).is_dir():
            self._home.cleanup()
            self._home = _home()
        file = Path(self._home.name) / f"{worker.number}.json"
        file.unlink(missing_ok=True)
        return file

    async def _spawn(self, worker: _Worker, ready: Path) -> asyncio.subprocess.Process:
        shared, lifeline = self._socket.fileno(), self._lifeline.fileno()
        place = {"number": worker.number, "shared": shared, "lifeline": lifeline, "ready": str(ready)}
        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mcpsec", *sys.argv[1:],
            env={**environment, _VARIABLE: json.dumps(place)}, pass_fds=(shared, lifeline),
        )  # fmt: skip

    async def _poll(self) -> None:
        """Fetch every worker's figures, and read what it has logged, about once a second."""
        loop = asyncio.get_running_loop()
        while True:
            if self._admin is not None:
                self._admin.registry.sweep(loop.time())
                self._admin.refresh(self._say)
            if self._picture is not None:
                self._picture.look()
            if self.served:  # the workers have made the log's directory
                await self._newest.maintain(self._say)
            await asyncio.gather(*(self._fetch(worker) for worker in self._workers))
            self._end_hung(loop.time())
            await asyncio.sleep(_POLL_SECONDS)

    def _end_hung(self, now: float) -> None:
        """The service manager's watchdog sees this process only: what it would do to a gateway is done to a worker."""
        half = systemd.watchdog_seconds()
        if half is None:
            return
        for worker in self._workers:
            silent = now - worker.heard
            if worker.admin and worker.process is not None and silent > max(2 * half, _SILENT_SECONDS):
                self._say(f"worker {worker.number} has answered nothing for {silent:.0f} s")
                worker.admin = ""
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()

    @staticmethod
    async def _fetch(worker: _Worker) -> None:
        if not worker.admin:
            return
        parts = urlsplit(worker.admin)
        netloc, port = parts.netloc, parts.port
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(_FETCH_SECONDS):
                body = await _got(port, netloc, "/metrics")
                worker.facts = json.loads(await _got(port, netloc, "/readyz"))
                worker.exposition = body.decode()
                worker.heard = asyncio.get_running_loop().time()


_OURS: frozenset[Any] = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
)
"""What the service manager says to the supervisor and not to its workers."""
