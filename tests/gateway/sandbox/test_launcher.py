"""The sandbox from inside: a hostile program says what it could do, and a harmless one runs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mcpsec.deployment.model import Sandbox
from mcpsec.gateway.sandbox import child_environment, launch_command

linux_only = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="the sandbox is Linux only"
)

HOSTILE = r"""
import ctypes, json, os, socket, subprocess, sys
inside, outside, readable, port, confined = sys.argv[1:6]
done = {}
def attempt(name, act):
    try:
        act()
        done[name] = True
    except OSError:
        done[name] = False
libc = ctypes.CDLL(None, use_errno=True)
def syscall(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "refused")
attempt("read the named directory", lambda: open(os.path.join(readable, "file")).read())
attempt("write the named directory", lambda: open(os.path.join(inside, "new"), "w").write("x"))
attempt("run a program", lambda: subprocess.run(["true"], check=True))
attempt("talk to itself", lambda: socket.socketpair())
attempt("read /etc/shadow", lambda: open("/etc/shadow").read())
attempt("list the home directory", lambda: os.listdir(os.path.expanduser("~")))
attempt("read elsewhere", lambda: open(os.path.join(outside, "file")).read())
attempt("write elsewhere", lambda: open(os.path.join(outside, "new"), "w"))
attempt("write what is readable", lambda: open(os.path.join(readable, "new"), "w"))
attempt("leave by a link", lambda: (os.symlink(outside, os.path.join(inside, "link")), open(os.path.join(inside, "link", "file")).read()))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", int(port)), 2).close())
attempt("send a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)))
attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)).close())
attempt("read the parent's environment", lambda: open(f"/proc/{os.getppid()}/environ").read())
attempt("signal the parent", lambda: os.kill(os.getppid(), 0))
if confined == "True":  # where it would work, the parent would stop: that is the test itself
    attempt("trace the parent", lambda: syscall(libc.ptrace(16, os.getppid(), 0, 0)))
    attempt("leave the namespaces", lambda: syscall(libc.unshare(0x10000000)))
print(json.dumps(done))
"""

HARMLESS = {"read the named directory", "write the named directory", "run a program", "talk to itself"}
NETWORK = {"connect", "send a datagram", "listen"}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / name for name in ("inside", "outside", "readable", "program")}
    for path in made.values():
        path.mkdir()
        (path / "file").write_text("content")
    (made["program"] / "hostile.py").write_text(HOSTILE)
    return made


def attempts(places: dict[str, Path], sandbox: Sandbox | None) -> set[str]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        words = [str(places[name]) for name in ("inside", "outside", "readable")]
        command = [sys.executable, str(places["program"] / "hostile.py"), *words]
        command += [str(server.getsockname()[1]), str(sandbox is not None)]
        run = subprocess.run(
            launch_command(command, sandbox),
            env=child_environment({}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    outcome: dict[str, Any] = json.loads(run.stdout)
    return {name for name, worked in outcome.items() if worked}


@linux_only
def test_a_hostile_program_gets_what_is_named_and_nothing_else(places: dict[str, Path]) -> None:
    sandbox = Sandbox(read=(places["readable"],), write=(places["inside"],), network=False)
    assert attempts(places, sandbox) == HARMLESS


@linux_only
def test_the_network_is_open_unless_the_file_closes_it(places: dict[str, Path]) -> None:
    sandbox = Sandbox(read=(places["readable"],), write=(places["inside"],), network=True)
    assert attempts(places, sandbox) == HARMLESS | NETWORK


@linux_only
def test_without_a_sandbox_the_program_is_free_but_for_privileges(places: dict[str, Path]) -> None:
    assert attempts(places, None) >= HARMLESS | NETWORK | {"read elsewhere", "write elsewhere", "leave by a link"}


@linux_only
@pytest.mark.parametrize("sandbox", [None, Sandbox(network=False)])
def test_no_new_privileges_and_limits_always(sandbox: Sandbox | None, tmp_path: Path) -> None:
    code = (
        "import resource; status = open('/proc/self/status').read();"
        "print(status.split('NoNewPrivs:')[1].split()[0], resource.getrlimit(resource.RLIMIT_CORE)[0],"
        "resource.getrlimit(resource.RLIMIT_NOFILE)[1])"
    )
    run = subprocess.run(
        launch_command([sys.executable, "-c", code], sandbox), capture_output=True, text=True, check=True
    )
    privileges, core, files = run.stdout.split()
    assert (privileges, core) == ("1", "0")
    assert int(files) <= 1024


def test_only_named_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for children")
    monkeypatch.setenv("LD_PRELOAD", "x.so")
    monkeypatch.setenv("HOME", "/home/x")
    made = child_environment({"NAMED": "1"})
    assert made["NAMED"] == "1"
    assert made["HOME"] == "/home/x"
    assert made.keys().isdisjoint({"AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "PYTHONPATH"})


@linux_only
def test_a_child_dies_with_its_gateway(tmp_path: Path) -> None:
    """The kernel kills it, so kill -9 of the gateway leaves no orphan."""
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import subprocess, sys, time\n"
        "from mcpsec.gateway.sandbox import launch_command\n"
        "child = subprocess.Popen(launch_command([sys.executable, '-c', 'import time; time.sleep(60)'], None))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(parent)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        deadline = time.monotonic() + 20
        while "time.sleep(60)" not in Path(f"/proc/{pid}/cmdline").read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        running.send_signal(signal.SIGKILL)
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the child outlived its parent")


ESCAPING = r"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        for _ in range(600):
            time.sleep(0.1)
            open(sys.argv[2], "a").write("x")
    os._exit(0)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
if sys.argv[3] == "stays":
    print("ready", flush=True)
    time.sleep(60)
"""


def is_writing(file: Path) -> bool:
    """True when something still writes to the file."""
    before = file.stat().st_size if file.exists() else 0
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if (file.stat().st_size if file.exists() else 0) != before:
            return True
        time.sleep(0.05)
    return False


@linux_only
@pytest.mark.parametrize("fenced", [False, True])
@pytest.mark.parametrize("how", ["ends", "stays"])
def test_what_a_program_started_dies_with_it_however_it_hid(tmp_path: Path, how: str, fenced: bool) -> None:
    """A daemon in a session of its own: gone when the program ends, and when the gateway wants the child gone.

    In a sandbox also when nobody can say so any more, because the launcher itself was killed.
    """
    started, alive = tmp_path / "started", tmp_path / "alive"
    sandbox = Sandbox(write=(tmp_path,)) if fenced else None
    command = launch_command([sys.executable, "-c", ESCAPING, str(started), str(alive), how], sandbox)
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as running:
        if how == "stays":
            assert running.stdout is not None
            assert running.stdout.readline() == b"ready\n"
            running.send_signal(signal.SIGKILL if fenced else signal.SIGUSR2)
        running.wait(60)
    assert started.exists()
    assert not is_writing(alive)


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user: run the tests as root")
@pytest.mark.parametrize("sandbox", [None, Sandbox(), Sandbox(write=(Path("/tmp"),), user="daemon")])
def test_a_child_of_root_is_another_user(sandbox: Sandbox | None) -> None:
    code = "import os; print(os.getuid(), os.geteuid(), os.getgid(), os.getgroups()); print(open('/proc/self/status').read())"
    run = subprocess.run(
        launch_command([sys.executable, "-c", code], sandbox), capture_output=True, text=True, check=True
    )
    first, _, status = run.stdout.partition("\n")
    assert first == ("1 1 1 []" if sandbox and sandbox.user else "65534 65534 65534 []")
    capabilities = {line.split()[0]: line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
    allowed = 0b110 if sandbox is None or sandbox.write else 0b100  # files by whoever owns them, and nothing else
    assert all(int(capabilities[name], 16) & ~allowed == 0 for name in ("CapInh:", "CapPrm:", "CapEff:", "CapAmb:"))


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user: run the tests as root")
@pytest.mark.parametrize("sandbox", [None, Sandbox(network=False)])
def test_a_child_of_root_is_another_user_where_there_is_no_nobody(
    sandbox: Sandbox | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare container has no /etc/passwd; a child that stayed root had all that root may do."""

    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr("pwd.getpwnam", unknown)
    code = "import os; print(os.getuid(), os.getgid()); print(open('/proc/self/status').read())"
    run = subprocess.run(
        launch_command([sys.executable, "-c", code], sandbox), capture_output=True, text=True, check=True
    )
    first, _, status = run.stdout.partition("\n")
    assert first == "65534 65534"
    assert int(status.partition("CapEff:")[2].split()[0], 16) & ~0b110 == 0
    with pytest.raises(KeyError):  # one that was asked for is not replaced by another
        launch_command(["true"], Sandbox(user="missing"))


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user: run the tests as root")
def test_files_of_root_that_the_operator_gave_it_are_reached(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "private").write_text("content")
    (tmp_path / "private").chmod(0o600)
    code = f"import os; assert os.access({str(tmp_path / 'private')!r}, os.R_OK); print(open({str(tmp_path / 'private')!r}).read())"
    run = subprocess.run(
        launch_command([sys.executable, "-c", code], Sandbox(read=(tmp_path,))),
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "content\n"


@linux_only
def test_the_way_it_ended_is_told(tmp_path: Path) -> None:
    for code, expected in (
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.abort()", -6),
    ):
        run = subprocess.run(launch_command([sys.executable, "-c", code], None), capture_output=True, check=False)
        assert run.returncode == expected


BOMB = r"""
import os, sys, time
made = 0
try:
    for _ in range(300):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except OSError:
    pass
print(made, flush=True)
"""


@linux_only
@pytest.mark.skipif(
    os.geteuid() != 0, reason="for a plain user the limit counts all that it runs: run the tests as root"
)
def test_a_fork_bomb_stops_at_the_limit() -> None:
    run = subprocess.run(
        launch_command([sys.executable, "-c", BOMB], Sandbox(processes=40)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(run.stdout) < 40


@linux_only
def test_a_memory_hog_stops_at_the_limit() -> None:
    code = "x = bytearray(50 << 20); print('little', flush=True); x = bytearray(400 << 20); print('much')"
    run = subprocess.run(
        launch_command([sys.executable, "-c", code], Sandbox(memory=200 << 20)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert run.stdout == "little\n"


@linux_only
def test_namespaces_and_sockets_of_the_machine_stay_out_of_reach(tmp_path: Path) -> None:
    code = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
for flags in (0x10000000, 0x20000, 0x40000000):
    assert libc.syscall(clone, flags | 17, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1, hex(flags)
assert libc.syscall(435, None, 0) == -1 and ctypes.get_errno() == 38
import threading
threading.Thread(target=lambda: None).start()
print(sorted(os.listdir("/proc/self/task")) != [], os.path.exists("/run/lock"), [p for p in os.listdir("/proc") if p.isdigit()])
"""
    run = subprocess.run(
        launch_command([sys.executable, "-c", code], Sandbox(read=(Path("/run"),))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    hidden = subprocess.run(
        launch_command([sys.executable, "-c", code], Sandbox(read=())), capture_output=True, text=True, check=False
    )
    assert hidden.returncode == 0, hidden.stderr
    assert hidden.stdout == "True False ['1', '2']\n"


def test_a_missing_program_is_said(tmp_path: Path) -> None:
    run = subprocess.run(launch_command(["no-such-program"], None), capture_output=True, text=True, check=False)
    assert run.returncode == 127
    assert run.stderr == "no-such-program: No such file or directory\n"


@linux_only
def test_git_works_where_its_configuration_is_closed(places: dict[str, Path], tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git, from the system's packages")
    home, repository = tmp_path / "home", places["readable"]
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\nname = somebody\n")
    subprocess.run(["git", "init", "-q", str(repository)], check=True)

    def says(sandbox: Sandbox, *words: str) -> str:
        run = subprocess.run(
            launch_command(["git", "-C", str(repository), *words], sandbox),
            env={**child_environment({}), "HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    closed, opened = Sandbox(read=(repository,), network=False), Sandbox(read=(repository, home), network=False)
    assert says(closed, "status", "--porcelain") == says(opened, "status", "--porcelain") == "?? file"
    assert says(closed, "config", "--default", "nobody", "user.name") == "nobody"
    assert says(opened, "config", "--default", "nobody", "user.name") == "somebody"
