"""What a sandbox holds on this machine, found out by sending a program into one that tries to get out.

The program is started by the launcher that starts every stdio child, so what is judged is what will be in force.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mcpsec.deployment.model import Sandbox
from mcpsec.gateway.sandbox.kernel import KernelFacts
from mcpsec.gateway.sandbox.launch import child_environment, launch_command

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ALWAYS", "Measure", "Trial", "try_out"]

State = Literal["enforced", "weaker", "absent"]

ALWAYS = ("privileges", "account", "memory", "processes", "end")
"""What is taken from every stdio child, whether its upstream has a sandbox or not."""

_PROBE = Path(__file__).with_name("probe.py")
_PATIENCE = 30.0
_BOUND_MEMORY, _BOUND_PROCESSES = 256 << 20, 24
_FILE_CAPABILITIES = 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: a child of root reaches what it was given


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is kept from a child. ``tried`` says what was done and how it went."""

    name: str
    state: State
    by: str
    tried: str


@dataclass(frozen=True, slots=True)
class Trial:
    """All that was found out. ``fault`` is why a child with a sandbox could not even be started."""

    facts: KernelFacts
    measures: tuple[Measure, ...]
    fault: str = ""

    def state(self, name: str) -> State:
        """How far one measure is in force."""
        return next((each.state for each in self.measures if each.name == name), "absent")


def try_out() -> Trial:
    """Try everything on this machine, with the rights of this process. Takes about a second."""
    if sys.platform != "linux":
        nothing = f"{platform.system()} has no Landlock, seccomp or namespaces"
        names = ("files", "network", "calls", "view", "sockets", *ALWAYS)
        return Trial(KernelFacts(), tuple(Measure(name, "absent", "", nothing) for name in names), nothing)
    facts = _facts()
    with tempfile.TemporaryDirectory(prefix="mcpsec-trial-") as directory:
        place = Path(directory)
        fenced, fault = _escape(place)
        measures = (
            *(_judge_escape(fenced, facts) if fenced is not None else _unstarted(fault)),
            *_judge_account(_run("account", {}, None)[0]),
            _judge_memory(facts),
            _judge_processes(facts),
            _judge_end(place, facts, fenced=fenced is not None),
        )
    return Trial(facts, measures, fault)


def _facts() -> KernelFacts:
    run = subprocess.run(
        [sys.executable, "-m", "mcpsec.gateway.sandbox.kernel"],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    return KernelFacts(**json.loads(run.stdout)) if run.returncode == 0 else KernelFacts()


def _run(trial: str, told: dict[str, Any], sandbox: Sandbox | None) -> tuple[dict[str, Any] | None, str]:
    """What the probe found, or None and why there is nothing: a child that was killed, or never started."""
    command = [sys.executable, "-I", "-S", str(_PROBE), trial, json.dumps(told)]
    try:
        run = subprocess.run(
            launch_command(command, sandbox),
            env=child_environment({}),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return None, "it did not end in time"
    if run.returncode != 0:
        last = run.stderr.strip().splitlines()[-1:]
        return None, last[0].partition(": ")[2] or last[0] if last else f"it ended with {run.returncode}"
    found: dict[str, Any] = json.loads(run.stdout)
    return found, ""


@contextmanager
def _neighbours(name: str) -> Iterator[int]:
    """A TCP and a UDP socket of one port, and an abstract one, that a child might reach: the port."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0" + name)
        local.listen()
        yield int(tcp.getsockname()[1])


def _escape(place: Path) -> tuple[dict[str, Any] | None, str]:
    named, outside, given = place / "named", place / "outside", place / "given"
    for directory in (named, outside, given):
        directory.mkdir()
        (directory / "file").write_text("x")
    abstract = f"mcpsec-trial-{os.getpid()}"
    with _neighbours(abstract) as port:
        told = {
            "outside": str(outside / "file"),
            "readable": str(named / "file"),
            "writable": str(given / "file"),
            "port": port,
            "abstract": abstract,
            "pid": os.getpid(),
            "run": [each.name for each in Path("/run").iterdir()] if Path("/run").is_dir() else [],
        }
        sandbox = Sandbox(read=(named, _PROBE), write=(given,), network=False)
        return _run("escape", told, sandbox)


def _judge_escape(done: dict[str, Any], facts: KernelFacts) -> Iterator[Measure]:
    """Each measure: enforced when nothing of it could be done."""

    def measure(name: str, by: str, *attempts: str) -> Measure:
        got = [each for each in attempts if done[each]]
        words = f"{', '.join(attempts)}: " + (f"could {', '.join(got)}" if got else "refused")
        return Measure(name, "absent" if got else "enforced", by, words)

    landlock = f"Landlock ABI {facts.landlock}"
    yield measure("files", landlock, "read outside", "write outside", "write what is readable")
    tcp = f" and {landlock}" if facts.landlock >= 4 else ""
    yield measure("network", f"seccomp{tcp}", "connect by TCP", "send a datagram", "listen")
    passed = done["calls"]
    words = f"could {', '.join(passed)}" if passed else "refused"
    tried = f"ptrace, mount, unshare, keyctl, bpf, io_uring, reading another's memory: {words}"
    yield Measure("calls", "absent" if passed else "enforced", "seccomp", tried)
    yield _judge_view(done, facts)
    yield measure("sockets", f"mount namespace and {landlock}", "see /run", "reach an abstract socket")
    allowed = ("read what is named", "write what is named", "start a program")
    kept = [each for each in allowed if not done[each]]
    words = f"{', '.join(allowed)}: " + (f"could not {', '.join(kept)}" if kept else "works")
    yield Measure("named paths", "absent" if kept else "enforced", landlock, words)


def _judge_view(done: dict[str, Any], facts: KernelFacts) -> Measure:
    """Other processes: out of sight is best; out of reach will do."""
    reached = [each for each in ("signal the gateway", "read its environment") if done[each]]
    by = "PID namespace" if facts.pid_namespaces else f"Landlock ABI {facts.landlock}"
    seen = done["processes"]
    words = f"sees {seen} processes; signal the gateway, read its environment: "
    words += f"could {', '.join(reached)}" if reached else "refused"
    if reached:
        return Measure("view", "absent", by, words)
    return Measure("view", "enforced" if facts.pid_namespaces and seen <= 3 else "weaker", by, words)


def _unstarted(fault: str) -> Iterator[Measure]:
    for name in ("files", "network", "calls", "view", "sockets"):
        yield Measure(name, "absent", "", f"a program with a sandbox is not started: {fault}")


def _judge_account(found: dict[str, Any] | None) -> Iterator[Measure]:
    if found is None:
        yield Measure("privileges", "absent", "", "a program could not be started")
        yield Measure("account", "absent", "", "a program could not be started")
        return
    more = found["capabilities"] & ~_FILE_CAPABILITIES
    held = found["no_new_privileges"] and not more
    yield Measure(
        "privileges",
        "enforced" if held else "absent",
        "no_new_privs",
        f"no new privileges: {'yes' if found['no_new_privileges'] else 'no'}; capabilities: {found['capabilities']:#x}",
    )
    if found["uid"] == 0:
        yield Measure("account", "absent", "", "a child stays root")
    elif os.geteuid() == 0:
        yield Measure("account", "enforced", "setresuid", f"a child runs as uid {found['uid']}")
    else:
        yield Measure(
            "account",
            "weaker",
            "",
            f"a child runs as the gateway's own account (uid {found['uid']}): only root can change",
        )


def _untried(name: str, by: str) -> Measure:
    """Programs without a sandbox are still bounded, but bounds small enough to be tried belong to a sandbox."""
    return Measure(name, "weaker", by, "set, but not tried: a program with a sandbox is not started")


def _judge_memory(facts: KernelFacts) -> Measure:
    found, _ = _run("memory", {"bound": _BOUND_MEMORY}, Sandbox(memory=_BOUND_MEMORY, read=(_PROBE,)))
    if found is None and facts.landlock == 0:
        return _untried("memory", facts.memory_group or "RLIMIT_DATA")
    if found is not None and not found["refused"]:
        return Measure("memory", "absent", "", "took twice what it was allowed")
    by = facts.memory_group or "RLIMIT_DATA"
    words = "more than its bound: refused" + ("" if facts.memory_group else "; each process by itself, not their sum")
    return Measure("memory", "enforced" if facts.memory_group else "weaker", by, words)


def _judge_processes(facts: KernelFacts) -> Measure:
    found, _ = _run("processes", {"bound": _BOUND_PROCESSES}, Sandbox(processes=_BOUND_PROCESSES, read=(_PROBE,)))
    limit = "RLIMIT_NPROC"
    if found is None and facts.landlock == 0:
        return _untried("processes", facts.process_group or limit)
    if found is None or found["refused"]:
        words = "more than its bound: refused"
        if facts.process_group:
            return Measure("processes", "enforced", facts.process_group, words)
        return Measure("processes", "weaker", limit, f"{words}; all children of one account share it")
    if os.geteuid() == 0:
        return Measure("processes", "absent", "", "twice what it was allowed could be started")
    return Measure("processes", "weaker", limit, "no control group: a bound of 4096 on all that the account runs")


def _judge_end(place: Path, facts: KernelFacts, *, fenced: bool) -> Measure:
    """A daemon that the child leaves behind must be gone, which is seen by the lock that it held."""
    lock = place / "given" / "lock"
    lock.parent.mkdir(exist_ok=True)
    _run("daemon", {"lock": str(lock)}, Sandbox(write=(lock.parent,), read=(_PROBE,)) if fenced else None)
    by = "PID namespace" if fenced and facts.pid_namespaces else "subreaper"
    gone = lock.exists() and _can_lock(lock)
    words = "a process that it left behind in another session: " + ("gone with it" if gone else "still runs")
    return Measure("end", "enforced" if gone else "absent", by, words)


def _can_lock(path: Path) -> bool:
    """Whether nobody holds it, or no longer; the kernel needs a moment to bury a process."""
    import fcntl

    end = time.monotonic() + 5
    with path.open() as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > end:
                    return False
                time.sleep(0.02)
            else:
                return True
