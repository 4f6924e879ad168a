"""The gateway as a whole: built from a deployment, started, kept in order, stopped within a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec import __version__
from mcpsec.deployment.model import Address
from mcpsec.errors import ConfigurationError, Error
from mcpsec.gateway import systemd
from mcpsec.gateway.admin_listener import AdminListener
from mcpsec.gateway.answers import AnswerGuard
from mcpsec.gateway.assembly import make_cleaners, make_confirmations, make_seal, make_verifier
from mcpsec.gateway.chain import Chain
from mcpsec.gateway.explaining import explanation
from mcpsec.gateway.identification import certificates_wanted
from mcpsec.gateway.limits import InFlight
from mcpsec.gateway.listener import Listener, bind
from mcpsec.gateway.named_arguments import NamedArguments
from mcpsec.gateway.newest_lists import NewestLists, OlderListError
from mcpsec.gateway.oauth.issuing import resource_server
from mcpsec.gateway.observers import Observers
from mcpsec.gateway.pins import PinKeeper
from mcpsec.gateway.policy import Policy
from mcpsec.gateway.record import Recorder
from mcpsec.gateway.recycling import recycle
from mcpsec.gateway.refreshing import refresh
from mcpsec.gateway.registry import ConnectionRegistry
from mcpsec.gateway.reload import FileWatch, ReloadMetrics
from mcpsec.gateway.reloading import reload
from mcpsec.gateway.rotation import OwnCertificate
from mcpsec.gateway.sandbox.private import private_paths
from mcpsec.gateway.secrets import SecretKeeper
from mcpsec.gateway.sessions import SessionTable
from mcpsec.gateway.startup import start_upstreams, tell_of_sandboxes
from mcpsec.gateway.state import open_state
from mcpsec.gateway.state.presence import StorePresence, needs_store
from mcpsec.gateway.steps.identity import ClientDirectory
from mcpsec.gateway.stopping import Stopping
from mcpsec.gateway.tasks import TaskTable
from mcpsec.gateway.traces import traces_of
from mcpsec.gateway.trust import TrustFiles
from mcpsec.gateway.upstreams.aggregate import AggregateServer
from mcpsec.gateway.upstreams.base import UpstreamStartError
from mcpsec.gateway.upstreams.credentials import client_credentials
from mcpsec.gateway.upstreams.factory import make_upstream
from mcpsec.gateway.upstreams.protected import ProtectedUpstream
from mcpsec.gateway.way import way_of_requests
from mcpsec.leaks import prepare, redact
from mcpsec.telemetry import AuditLog
from mcpsec.telemetry.metrics import Metrics
from mcpsec.telemetry.options import LogOptions

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from mcpsec.deployment.model import Deployment
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.message import Peer
    from mcpsec.gateway.pins import Change
    from mcpsec.gateway.upstreams.base import Upstream
    from mcpsec.secretrefs import SecretRef

__all__ = ["Gateway"]

_SWEEP_SECONDS = 0.2
_TRUST_SECONDS = 0.2
_RECYCLE_SECONDS = 5.0
_ALERT_SECONDS = 1.0
_PINS_SECONDS = 1.0
_SECRET_SECONDS = 1.0
_ROTATION_SECONDS = 3600.0


class Gateway:
    """One running deployment.

    ``say`` takes sentences for the operator (what could not be reached, what was reloaded); the gateway itself knows no
    terminal. Constructing one reads the files that the deployment names and resolves its secrets. ``read`` reads the
    deployment again when its file has changed, and raises Error for one that can't be used. ``listening`` is a socket
    that is bound already; ``admin_name`` is the only Host to which the admin listener answers then (None: as usual).
    ``newest`` are the revocation lists that the deployment has used, where they are not kept beside this log.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        say: Callable[[str], None],
        read: Callable[[], Deployment] | None = None,
        listening: socket.socket | None = None,
        admin_name: str | None = None,
        newest: NewestLists | None = None,
    ) -> None:
        self._deployment = deployment
        self._listening = listening
        self._admin_name = admin_name
        self._read = read
        self._say = say
        limits = deployment.server.limits
        self._secrets = SecretKeeper(deployment, say=say, record=self._record)
        self._secrets.fetch()

        def reveal(reference: SecretRef) -> bytes:
            return self._secrets.reveal(reference)  # whichever keeper is in use then

        def store_changed(reason: str | None) -> None:
            self._presence.changed(reason)  # which is made later: it tells the log

        self._state = open_state(
            deployment.state,
            session_idle=limits.session_idle_timeout,
            changed=store_changed,
            reveal=reveal,
        )
        self._sessions = SessionTable(limits, self._state.sessions)
        self._policy = Policy(deployment)
        self._began = time.time()
        self._confirmations = make_confirmations(deployment, self._state, self._began, reveal)
        self._trust = TrustFiles(
            deployment.server.tls,
            certificates=certificates_wanted(deployment),
            newest=newest or NewestLists.beside(deployment.log.file),
        )
        self._pins = PinKeeper(deployment, changed=self._pin_changed, say=say)
        self._seal = make_seal(deployment, reveal)
        self._cleaners = make_cleaners(deployment)
        self._given_tasks = TaskTable(self._state.tasks)
        guard = AnswerGuard(lambda: self._policy, self._seal, self._cleaners, self._given_tasks)
        self._upstreams = {
            name: self._make_upstream(config, guard, deployment) for name, config in deployment.upstreams.items()
        }
        self._protected = {name: self._protect(name) for name in self._upstreams}
        self._aggregate = self._make_aggregate()
        self._verifier = make_verifier(deployment, self._secrets)
        self._secrets.subscribe(self._secrets_changed)
        self._log = AuditLog.open(deployment.log.file, redact=redact, options=LogOptions.of(deployment.log))
        self._metrics = Metrics(version=__version__, redact=redact)
        self._metrics.watch_log(self._log)
        self._traces = traces_of(deployment, self._metrics)
        self._recorder = Recorder(
            self._log, self._metrics, arguments=NamedArguments(deployment.log.arguments), traces=self._traces
        )
        self._presence = StorePresence(
            needed=lambda: needs_store(self._deployment),
            say=say,
            record=self._recorder.event,
            show=self._metrics.state_up.set,
        )
        self._tokens = resource_server(deployment, say=say, record=self._recorder.event, reveal=reveal)
        self._observers = Observers(
            self._log,
            self._metrics,
            deployment,
            record=self._recorder.write,
            upstreams=self._upstreams,
            reveal=reveal,
            shared=self._state.patterns,
            explain=lambda client, resource, address: explanation(self._policy, client, resource, address),
        )
        self._watch_lifetimes()
        self._own_certificate = OwnCertificate(deployment.server.tls, say=self._say_due)
        self._listener: Listener | None = None
        self._admin: AdminListener | None = None
        self._registries: list[ConnectionRegistry] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._files = FileWatch(deployment)
        self._reloads = ReloadMetrics(self._metrics)
        self._directory = ClientDirectory(deployment.clients)
        self._changing = asyncio.Lock()
        self._started = False
        self._stopping = Stopping()

    # --- building --------------------------------------------------------------------------------------------------

    def _make_upstream(self, config: UpstreamConfig, guard: AnswerGuard, deployment: Deployment) -> Upstream:
        upstream = make_upstream(
            config,
            deployment.server.limits,
            self._sessions,
            guard,
            lambda: self._policy,
            self._cleaners,
            client_credentials(deployment, config, self._secrets.reveal),
            self._secrets.reveal,
            private_paths(deployment) if config.sandbox is not None else (),
        )
        if config.builtin is None:
            upstream.catalogue.pins = self._pins.watch(config.name)
        return upstream

    def _make_aggregate(self) -> AggregateServer | None:
        if len(self._protected) < 2:
            return None
        return AggregateServer(self._protected, lambda: self._policy, self._cleaners)

    def _protect(self, name: str) -> ProtectedUpstream:
        """The upstream as the chain sees it: behind its breakers and bulkhead."""
        config = self._deployment.upstreams[name]
        return ProtectedUpstream(
            self._upstreams[name],
            config,
            changed=self._breaker_changed,
            answers=lambda upstream, up: self._metrics.set_upstream(upstream, up=up),
            share=self._given_tasks.share,
        )

    def _breaker_changed(self, upstream: str, state: str, previous: str, why: str, client: str | None) -> None:
        facts = {"upstream": upstream, "client": client, "state": state, "previous_state": previous, "detail": why}
        self._recorder.event("breaker", severity="high" if state == "open" else None, **facts)

    # --- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind, start every upstream, accept. Raises Error with what is wrong; nothing is left running then."""
        try:
            inherited = systemd.inherited_sockets()
            listening = self._listening or inherited.get("public") or bind(self._deployment.server.listen)
            try:
                await self._start_state()
                await self._start_upstreams()
                self._trust.used()
                await self._keep_lists()
                self._open(listening)
            except BaseException:
                listening.close()
                raise
            self._open_admin(inherited.get("admin"))
        except BaseException:
            await self.close()
            raise
        prepare(background=True)  # what redacts
        self._started = True
        loop = asyncio.get_running_loop()
        for seconds, work in (
            (_SWEEP_SECONDS, self._sweep),
            (_SWEEP_SECONDS, self._recorder.maintain),  # apart: deadlines wait for no disk
            (_TRUST_SECONDS, self._watch_trust),
            (_TRUST_SECONDS, self._keep_lists),  # apart: a revocation waits for no disk
            (_TRUST_SECONDS, self._watch_files),  # apart: a revocation waits for no upstream that is slow to start
            (_ALERT_SECONDS, self._observers.maintain),
            (_SECRET_SECONDS, self._maintain_secrets),
            (_ROTATION_SECONDS, self._own_certificate.maintain),
            (_RECYCLE_SECONDS, self._recycle),
            (_PINS_SECONDS, self._pins.maintain),
        ):
            self._tasks.append(loop.create_task(self._regularly(seconds, work)))
        self._tasks.append(loop.create_task(tell_of_sandboxes(self._deployment, self._say, self._recorder.event)))
        watchdog = systemd.watchdog_seconds()
        if watchdog is not None:
            self._tasks.append(loop.create_task(self._regularly(watchdog, self._feed_watchdog)))
        self._recorder.configured("loaded", self._deployment.path)
        self._recorder.event("server-start", pid=os.getpid(), version=__version__, detail=f"serving {self.url}")

    async def _start_state(self) -> None:
        await self._state.start()
        warning = getattr(self._state, "warning", "")
        if warning:
            self._say(warning)

    async def _start_upstreams(self) -> None:
        try:
            self._tasks += await start_upstreams(self._upstreams, failed=self._upstream_failed)
        except UpstreamStartError as fault:
            raise ConfigurationError(
                f"the upstream {fault.upstream!r} can't be started: {fault}",
                path=self._deployment.path,
                hint=fault.hint,
            ) from None
        for name, upstream in self._upstreams.items():
            # It may be in the server's own words.
            if silence := "".join(filter(str.isprintable, redact(getattr(upstream, "silence", "")[:400]))):
                self._say(f"the upstream {name!r} does not answer, it is tried again with each request: {silence}")
                self._recorder.event("upstream", upstream=name, state="down", detail=silence)

    def _upstream_failed(self, name: str, fault: UpstreamStartError) -> None:
        self._say(f"the upstream {name!r} can't be started, the others serve without it: {fault}")
        self._recorder.event("upstream", upstream=name, state="down", detail="it could not be started")

    def _open(self, listening: Any) -> None:
        server = self._deployment.server
        self._bound = Address(*listening.getsockname()[:2])
        self.url = f"https://{self._bound}/mcp"
        self._start_tokens()
        in_flight = self._in_flight = InFlight(server.limits.in_flight_per_client)
        chain = self._chain = Chain(way_of_requests(self), in_flight, self._recorder, self._report)
        chain.stream_bytes = server.limits.stream_bytes
        registry = ConnectionRegistry(chain.handle, server.limits, turn=chain.turn)
        registry.refused = self._recorder.refused_bytes
        self._registries.append(registry)
        self._listener = Listener(
            listening,
            registry,
            context=lambda: self._trust.context,
            identify=lambda peer: self._connected(self._directory.identify(peer)),
            refused=self._refused,
        )
        self._metrics.connections.set(lambda: len(registry.connections))
        self._metrics.in_flight.set(lambda: len(in_flight))
        self._metrics.sessions.set(lambda: len(self._sessions))
        self._tasks.append(asyncio.get_running_loop().create_task(self._listener.serve()))

    def _start_tokens(self) -> None:
        if self._tokens is not None:
            self._tokens.at(self._deployment.server.public_url or self.url)
            self._tokens.start()

    def _open_admin(self, inherited: socket.socket | None) -> None:
        self.admin_url: str | None = None
        server = self._deployment.server
        if server.admin is None:
            return
        self._admin = AdminListener(
            server.admin,
            server.tls,
            server.limits,
            self._metrics,
            self._observers.dashboard,
            ready=self._readiness,
            refused=self._refused,
            listening=inherited,
            name=self._admin_name,
            newest=self._trust.newest,
        )
        self._registries.append(self._admin.registry)
        self._tasks.append(asyncio.get_running_loop().create_task(self._admin.serve()))
        self.admin_url = self._admin.url

    def _readiness(self) -> dict[str, bool]:
        serving = self._started and not self._stopping.is_set()
        facts = {"serving": serving, "log": self._recorder.healthy, "trust": self._trust.usable()}
        return facts if self._deployment.state.url == "memory://" else {**facts, "state": self._presence.ready}

    def watch_signals(self) -> None:
        """Let SIGTERM and SIGINT end ``run``, and SIGHUP read the deployment file and the TLS files again.

        A SIGINT while ``run`` ends already (``stopping.ONE_PRESS_SECONDS`` and more) lets it wait for no request any
        more.
        """
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # asyncio's word on Windows: no signal handlers there
            loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
            loop.add_signal_handler(signal.SIGINT, self._stopping.interrupt)
        with contextlib.suppress(NotImplementedError, AttributeError):  # nor has Windows a SIGHUP
            loop.add_signal_handler(signal.SIGHUP, self.hang_up)

    def request_stop(self) -> None:
        """End ``run`` as SIGTERM does."""
        self._stopping.set()

    def hurry(self) -> None:
        """End ``run`` and wait for no request, as a second SIGINT does."""
        self._stopping.hurry()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        self.watch_signals()
        systemd.notify("READY=1", f"STATUS=serving {self.url}")
        await self._stopping.wait()
        systemd.notify("STOPPING=1")
        await self.stop()

    async def stop(self) -> None:
        """Take no new work, let running requests finish within ``drain_timeout`` seconds, then stop everything.

        Who presses Ctrl-C again waits for no request.
        """
        self._stopping.set()
        if self._listener is not None:
            await self._listener.close()
        for registry in self._registries:
            registry.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._deployment.server.limits.drain_timeout
        while self._registries and self._registries[0].connections and loop.time() < end:
            if self._stopping.hurried:
                break
            await asyncio.sleep(0.02)
        self._recorder.event("server-stop", pid=os.getpid())
        await self.close()

    async def close(self) -> None:
        """Stop at once whatever is there."""
        for listener in (self._listener, self._admin):
            if listener is not None:
                await listener.close()
        for registry in self._registries:
            registry.abort_where(lambda _peer: True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._keep_lists()
        await asyncio.gather(*(upstream.close() for upstream in self._upstreams.values()), return_exceptions=True)
        if self._tokens is not None:
            await self._tokens.close()
        await self._observers.close()
        await self._state.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        self._recorder.close()

    # --- keeping order ---------------------------------------------------------------------------------------------

    async def _regularly(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` again and again. What it raises is told once in a row, and ends neither it nor anything else."""
        told = ""
        while True:
            try:
                await work()
            except Exception as error:
                if told != repr(error):
                    told = repr(error)
                    self._report(error, f"housekeeping ({work.__name__.strip('_')})")
            await asyncio.sleep(seconds)

    async def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for registry in self._registries:
            registry.sweep(now)
        self._chain.streams.sweep(time.time())

    async def _watch_trust(self) -> None:
        if self._trust.changed():
            self._reload_trust()
        if self._admin is not None:
            self._admin.refresh(self._say)

    async def _watch_files(self) -> None:
        if self._files.changed():
            await self.reload()

    async def _feed_watchdog(self) -> None:
        systemd.notify("WATCHDOG=1")

    def hang_up(self) -> None:
        """Read everything again, as for a SIGHUP."""
        self._secrets.hurry()
        self._reload_trust()
        task = asyncio.get_running_loop().create_task(self.reload())
        self._tasks.append(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[bool]) -> None:
        with contextlib.suppress(ValueError):
            self._tasks.remove(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._report(error, "reading the deployment again")

    async def reload(self) -> bool:
        """Read the deployment again and use it; one that can't be used changes nothing. True when it is in use."""
        return await reload(self)

    async def _recycle(self) -> None:
        await recycle(self._sessions, self._upstreams, self._protected)

    def _pin_changed(self, upstream: str, change: Change) -> None:
        """An upstream is no longer what it was pinned to be."""
        resource = f"{upstream}/{change.name}" if change.kind == "tools" else f"{upstream}/{change.kind}:{change.name}"
        self._recorder.event(
            "pin", upstream=upstream, resource=resource, state=change.state, severity="high", detail=str(change)
        )
        self._say(f"the upstream {upstream!r} differs from its pins: {change}")

    def _record(self, kind: Any, **facts: Any) -> None:
        self._recorder.event(kind, **facts)

    async def _maintain_secrets(self) -> None:
        async with self._changing:  # a deployment that is being read again reads them itself
            await self._secrets.maintain()

    def _secrets_changed(self) -> None:
        """Some secret has a new value. Raises SecretError when one of them can't be used."""
        refresh(self)

    def _reload_trust(self) -> None:
        try:
            unwelcome = self._trust.reload()
        except Error as error:
            self._say(f"changed TLS files can't be used, the old ones stay: {error}")
            self._recorder.event("certificate", state="refused", detail="changed TLS files can't be used")
            if isinstance(error, OlderListError):  # the gateway's own certificate may be a new one all the same
                self._watch_lifetimes()
            return
        cut = sum(registry.abort_where(unwelcome) for registry in self._registries[:1])
        self._watch_lifetimes()
        # A SIGHUP has them read also when nothing is new.
        what = "certificate, CA or CRL changed" if self._trust.news else "certificate, CA and CRL unchanged"
        self._recorder.event("certificate", state="reloaded", count=cut, detail=what)
        self._say(f"{what}: in use now, {cut} open connections cut")

    async def _keep_lists(self) -> None:
        """Whoever comes after this process should know how new the revocation lists were."""
        await self._trust.newest.maintain(self._say)

    def _watch_lifetimes(self) -> None:
        """Show, export and alert on the ends of everything that the next handshakes depend on."""
        tls = self._deployment.server.tls
        self._observers.watch_certificate("gateway", tls.certificate)
        if "mtls" in self._deployment.auth.require:
            self._observers.watch_authority("client", tls.client_ca, self._trust.revocation_list)

    def _say_due(self, text: str) -> None:
        self._say(text)
        self._recorder.event("certificate", state="due", detail=text)

    def _connected(self, peer: Peer) -> Peer:
        if peer.der is not None:
            self._recorder.connected(peer)
        return peer

    def _refused(self, address: str, reason: str) -> None:
        self._recorder.event("handshake-refused", decision="refused", address=address or None, reason=reason)

    def _report(self, error: Exception, what: str) -> None:
        """An exception that nobody foresaw: its type and place for the operator, never its text."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        self._say(f"internal error {type(error).__name__} at {where} in {what}; please report it")
