"""Running the gateway in the foreground, as a command line says. Imports no Typer: a start has 400 ms."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.cli.output import out
from mcpsec.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from mcpsec.deployment import Deployment
    from mcpsec.deployment.model import Upstream
    from mcpsec.gateway.server import Gateway
    from mcpsec.gateway.workers import Supervisor, WorkerPlace

__all__ = ["MOST_WORKERS", "ServeOptions", "serve"]

MOST_WORKERS = 256
_QUICKSTART_DIRECTORY = Path("mcpsec-quickstart")
_RUN_NAME = "upstream"


@dataclass(frozen=True)
class ServeOptions:
    """One command line of ``serve``; None is what the file or a default says."""

    command: tuple[str, ...] = ()
    config: Path | None = None
    quickstart: bool = False
    upstream: str | None = None
    python_app: str | None = None
    grant: str | None = None
    listen: str | None = None
    admin_listen: str | None = None
    ready_file: Path | None = None
    auth: str | None = None
    rate_limit: str | None = None
    workers: int = 1


def serve(options: ServeOptions) -> None:
    """Serve until told to stop. Raises Error for what is wrong with the command line or the deployment."""
    with _hang_ups_noted():
        _serve_as_told(options)


def _serve_as_told(options: ServeOptions) -> None:
    _see_what_runs(options)  # before --quickstart writes anything
    from mcpsec.deployment import load

    place = _place()

    def as_told(read: Deployment, warn: Callable[[str], None]) -> Deployment:
        told = _as_told(read, options, warn)
        return told if place is None else place.own(told)

    deployment = as_told(
        _deployment(options.config, quickstart=options.quickstart), out.warn if place is None else _unheard
    )
    if options.workers > 1 and place is None:
        _check_state(deployment, options.workers)
        _run(_supervise(deployment, options.workers, options.ready_file))
        return

    def read_again() -> Deployment:
        return as_told(load(deployment.path or Path("mcpsec.toml")), _unheard)

    if place is not None:
        _run(_work(deployment, read_again, place))
    else:
        _run(_serve(deployment, read_again, options.ready_file, quickstart=options.quickstart))


_early_hang_ups: list[int] = []


@contextlib.contextmanager
def _hang_ups_noted() -> Iterator[None]:
    """A SIGHUP that comes before the gateway minds them would end it: it has the gateway read everything again then.

    Workers are told by nobody: they begin after their supervisor minds signals, and read everything then.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
        yield
        return
    _early_hang_ups.clear()
    before = signal.signal(signal.SIGHUP, lambda number, _frame: _early_hang_ups.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL if before is None else before)


def _mind_signals(gateway: Gateway) -> None:
    gateway.watch_signals()
    if _early_hang_ups:
        gateway.hang_up()


def _see_what_runs(options: ServeOptions) -> None:
    """The mistakes in what stands in for the file's upstreams.

    What is empty is none of the options that were left out: those mean the file's upstreams, and its first client.
    """
    for option, value in (("--upstream", options.upstream), ("--app", options.python_app), ("--grant", options.grant)):
        if value is not None and not value.strip():
            raise UsageError(f"{option} is empty", hint="a variable that is not set, perhaps")
    if sum(each is not None for each in (options.command or None, options.upstream, options.python_app)) > 1:
        raise UsageError("COMMAND, --upstream and --app exclude each other", hint="put several upstreams into the file")
    _run_upstream(options.command, options.upstream, options.python_app)


def _as_told(read: Deployment, options: ServeOptions, warn: Callable[[str], None]) -> Deployment:
    """What the file says, changed by this command line."""
    from mcpsec.deployment import override
    from mcpsec.deployment.checks import unreachable_name

    admin = options.admin_listen
    if options.listen is not None and admin is None and options.listen.endswith(":0") and read.server.admin is not None:
        admin = f"{read.server.admin.listen.host}:0"
    told = override(read, listen=options.listen, admin_listen=admin, auth=options.auth, rate_limit=options.rate_limit)
    told = _with_upstream(
        told, _run_upstream(options.command, options.upstream, options.python_app), options.grant, warn
    )
    _check_files(told)
    if nameless := unreachable_name(told.server):
        warn(f"{nameless[0]} ({nameless[1]})")
    return told


def _unheard(_text: str) -> None:
    """What has been said once is not said again."""


def _place() -> WorkerPlace | None:
    if "MCPSEC_WORKER" not in os.environ:
        return None
    from mcpsec.gateway.workers import this_worker

    return this_worker()


def _check_state(deployment: Deployment, workers: int) -> None:
    if not deployment.state.shared:
        raise ConfigurationError(
            f"--workers {workers} needs a shared state: with memory:// each worker would serve a replayed request that "
            "another has served, and grant every client its whole rate again",
            path=deployment.path,
            hint='write [state] url = "redis://HOST:PORT/0", or run one worker',
        )
    if os.name == "nt":
        raise UsageError("--workers needs a system with fork and exec", hint="run one worker")


def _deployment(config: Path | None, *, quickstart: bool) -> Deployment:
    from mcpsec.deployment import load

    path = config or Path("mcpsec.toml")
    if os.path.isdir(path):  # noqa: PTH112 # what this account may not look at is for load to say
        path = path / "mcpsec.toml"
    if not quickstart or os.path.exists(path):  # noqa: PTH110
        return load(path)
    if config is None:
        path = _QUICKSTART_DIRECTORY / "mcpsec.toml"
    if not path.exists():
        if path.name != "mcpsec.toml":
            raise UsageError(f"--quickstart writes a file named mcpsec.toml, not {path.name}")
        from mcpsec.deployment.scaffold import create

        created = create(path.parent)
        for file in created.files:
            out.note(f"wrote {file}")
    return load(path)


def _run_upstream(command: tuple[str, ...], url: str | None, python_app: str | None) -> Upstream | None:
    """What stands in for the file's upstreams, if anything does."""
    from mcpsec.deployment.model import Upstream

    if command:
        if shutil.which(command[0]) is None:
            raise _no_program(command[0])
        return Upstream(name=_RUN_NAME, command=command)
    if url:
        return Upstream(name=_RUN_NAME, url=_checked_url(url))
    if python_app:
        module, colon, name = python_app.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))) or not colon:
            raise UsageError(f"--app {python_app}: not MODULE:NAME", hint="such as tickets.server:mcp")
        return Upstream(name=_RUN_NAME, app=python_app, app_dir=Path.cwd())
    return None


def _no_program(name: str) -> UsageError:
    if os.path.isdir(name):  # noqa: PTH112
        return UsageError(f"{name} is a directory", hint="name the program that is the server, and its arguments")
    if os.path.exists(name) and os.sep in name:  # noqa: PTH110
        return UsageError(f"{name} can't be run", hint="make it executable (chmod +x), or name its interpreter before")
    return UsageError(f"there is no program {name or repr(name)}", hint="install it, or name it by its whole path")


def _with_upstream(
    deployment: Deployment, added: Upstream | None, grant: str | None, warn: Callable[[str], None]
) -> Deployment:
    if added is None:
        if grant:
            raise UsageError("--grant goes with COMMAND, --upstream or --app", hint="the file says whom it grants what")
        return deployment
    if not deployment.clients:
        raise ConfigurationError("the file has no client that could use this upstream", path=deployment.path)
    ids = [client.id for client in deployment.clients]
    client_id = grant or ids[0]
    if client_id not in ids:
        raise UsageError(f"--grant {client_id}: the file has no such client", hint=f"it has {', '.join(ids)}")
    from mcpsec.gateway.assembly import with_run_upstream

    what = shlex.join(added.command) if added.command else added.url or added.app
    warn(f"for this run, client {client_id!r} may use everything of: {what}")
    return with_run_upstream(deployment, added, client_id)


def _checked_url(url: str) -> str:
    from mcpsec.urls import split_url

    parts = split_url(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError("--upstream needs an http(s) URL", hint="such as http://127.0.0.1:9000/mcp")
    if "@" in parts.netloc:
        raise UsageError(
            "--upstream: a URL must not hold a user or password", hint="use headers in the deployment file"
        )
    return url


def _check_files(deployment: Deployment) -> None:
    from mcpsec.deployment.files import check

    problems = check(deployment)
    if problems:
        raise problems[0].error(others=len(problems) - 1)


def _run(work: Coroutine[Any, Any, None]) -> None:
    from mcpsec.cli.leaving import run_to_its_end

    try:
        import uvloop
    except ImportError:
        runner = asyncio.Runner()
    else:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    run_to_its_end(_lean(work), runner)


async def _lean(work: Coroutine[Any, Any, None]) -> None:
    from mcpsec.gateway.memory import give_back

    giving = asyncio.ensure_future(give_back())
    try:
        await work
    finally:
        giving.cancel()


async def _supervise(deployment: Deployment, workers: int, ready_file: Path | None) -> None:
    from mcpsec.gateway.workers import Supervisor

    supervisor = Supervisor(deployment, workers, say=out.event)
    supervisor.watch_signals()
    await supervisor.start()
    if supervisor.served:
        if ready_file is not None:
            _write_ready(ready_file, supervisor)
        out.note(f"ready {supervisor.url}")
        out.note(
            f"{workers} workers share the state store; each keeps for itself: its audit log (log/worker-N), alerts and "
            "their baselines, circuit breakers, numbers of connections"
        )
    await supervisor.run()


async def _work(deployment: Deployment, read: Callable[[], Deployment], place: WorkerPlace) -> None:
    """One worker of several; its supervisor speaks to the world."""
    from mcpsec.gateway.server import Gateway

    def say(text: str) -> None:
        out.event(f"worker {place.number}: {text}")

    lists = place.lists(deployment)
    gateway = Gateway(
        deployment, say=say, read=read, listening=place.listening(), admin_name=place.admin_name, newest=lists
    )
    await gateway.start()
    _mind_signals(gateway)
    place.watch_supervisor(gone=gateway.request_stop, hurried=gateway.hurry)
    _write_ready(Path(place.ready), gateway)
    await gateway.run()


async def _serve(
    deployment: Deployment, read: Callable[[], Deployment], ready_file: Path | None, *, quickstart: bool
) -> None:
    from mcpsec.gateway.server import Gateway

    gateway = Gateway(deployment, say=out.event, read=read)
    await gateway.start()
    _mind_signals(gateway)  # before anybody learns that it is there: a supervisor may stop it at once
    try:
        if ready_file is not None:
            _write_ready(ready_file, gateway)
        out.note(f"ready {gateway.url}")
        if quickstart:
            _show_first_call(deployment, gateway)
    except BaseException:
        await gateway.close()
        raise
    await gateway.run()


def _write_ready(path: Path, gateway: Gateway | Supervisor) -> None:
    from mcpsec.writing import write_output

    document = {"url": gateway.url, "admin_url": gateway.admin_url, "pid": os.getpid()}
    write_output(path, (json.dumps(document) + "\n").encode())


def _show_first_call(deployment: Deployment, gateway: Gateway) -> None:
    """One line for another terminal, whatever its directory and PATH."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "mcpsec" else f"{sys.executable} -m mcpsec"
    if Path(sys.argv[0]).name == "mcpsec":
        found = shutil.which("mcpsec")
        same = found is not None and Path(found).samefile(sys.argv[0])
        program = "mcpsec" if same else shlex.quote(str(Path(sys.argv[0]).absolute()))
    words = ["sign", "--send", "-c", str(deployment.path), "--client", deployment.clients[0].id]
    words += ["--url", gateway.url, "--tool", "time_now"]
    out.note("\nA signed call over mutual TLS; paste it into another terminal:\n")
    out.note(f"  {program} {shlex.join(words)}\n")
    out.note("Stop with Ctrl-C.")
