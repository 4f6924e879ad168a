"""Takes privileges away from a process, makes it the program it was given, and keeps watch over what that starts.

Run by path, in isolated mode: ``launcher.py SPEC COMMAND…``. It imports the standard library only and nothing of
mcpsec, because it runs once for every child. A step that fails ends the process before the program starts.

On Linux the keeper is what the gateway started and waits for; when the gateway dies or says so (SIGUSR2), it takes
everything along. It adopts what the program leaves behind, and kills it. With a sandbox there is a third process
between the two: the init is process 1 of a PID namespace, and when it ends, the kernel kills whatever is left in there,
however it hid.

Sources: landlock(7) and linux/landlock.h; seccomp(2) and linux/bpf_common.h; prctl(2); pid_namespaces(7);
capabilities(7); cgroups(7).
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import select
import signal
import stat
import struct
import sys
import warnings  # noqa: F401 # os.execvp imports it by itself, when the library may be out of reach already
from contextlib import suppress
from typing import Any, NoReturn

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_SECCOMP, _PR_SET_SECUREBITS = 1, 8, 22, 28
_NO_SETUID_FIXUP = 1 << 2
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 36, 38, 47
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
_MS_REC_PRIVATE, _MS_NOSUID_NODEV_NOEXEC, _MS_RDONLY = 0x44000, 0xE, 0x1
_GONE = signal.SIGUSR2 if hasattr(signal, "SIGUSR2") else signal.SIGTERM
"""What the kernel sends the keeper when the gateway is gone."""
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446

# Landlock access rights to files (linux/landlock.h) and the ABI that brought each group.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_ABI_1 = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ssl", "/etc/ld.so.cache", "/etc/localtime",
           "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/alternatives",
           "/etc/pki", "/etc/ca-certificates", "/etc/mime.types", "/sys/devices/system/cpu",
           "/sys/fs/cgroup")  # fmt: skip
# Of /proc only this process and what is the same for all: /proc/PID/environ of the gateway would hold its secrets.
_PROC = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/version",
         "/proc/filesystems", "/proc/sys")  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/tty")

_MACHINES = {
    # AUDIT_ARCH, then the numbers of the calls that no MCP server needs: other processes' memory, namespaces, mounts,
    # kernel modules and keys, BPF, io_uring (which would go round the socket rule); then the numbers of socket(2), of
    # clone(2), and of capset(2), which only the launcher itself needs.
    "x86_64": (0xC000003E, (101, 155, 161, 163, 165, 166, 167, 168, 169, 175, 176, 246, 248, 249, 250, 272, 298, 304,
                            308, 310, 311, 313, 320, 321, 323, 425, 426, 427, 428, 429, 430, 431, 432, 442),
               41, 56, 126),
    "aarch64": (0xC00000B7, (39, 40, 41, 51, 89, 97, 104, 105, 106, 117, 142, 217, 218, 219, 224, 225, 241, 265, 268,
                             270, 271, 273, 280, 282, 294, 425, 426, 427, 428, 429, 430, 431, 432, 442),
                198, 220, 91),
}  # fmt: skip
_CLONE3, _ENOSYS = 435, 38
_NAMESPACES = 0x7E020080
"""The flags of clone(2) that make a namespace of any kind."""
_ON_LINUX = platform.system() == "Linux"
_AF_UNIX = 1
_EPERM = 1


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _prctl(option: int, *values: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [*values, *([0] * (4 - len(values)))]
    words = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    _check(libc.prctl(ctypes.c_int(option), *words), "prctl")


def _limit_resources(limits: dict[str, int]) -> None:
    import resource

    wanted = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": 1024, "RLIMIT_FSIZE": 4 << 30, **limits}
    for name, value in wanted.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(ValueError):  # macOS refuses limits on data below what is in use
            resource.setrlimit(kind, (limit, limit))


def _restrict_files(read: list[str], names: list[str], write: list[str], *, network: bool) -> None:
    """Landlock: what no rule names is refused; without Landlock the program is not started."""
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if abi < 1:
        raise OSError(0, "this kernel has no Landlock, so the sandbox of the deployment file can't be kept")
    rights = _ABI_1 | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL_DEV if abi >= 5 else 0)
    tcp = 3 if abi >= 4 and not network else 0
    scoped = 3 if abi >= 6 else 0
    attributes = struct.pack("=QQQ", rights, tcp, scoped)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = _check(
        libc.syscall(_SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0)), "landlock"
    )
    wants = ((read, _READ), (names, _READ_DIR), (write, rights))
    for path, wanted in ((path, wanted) for paths, wanted in wants for path in paths):
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # a path that is not there can't be opened later either: what appears there is refused
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        rule = struct.pack("=Qi", wanted & rights & (-1 if is_directory else _FILE_RIGHTS), descriptor)
        _check(libc.syscall(_SYS_LANDLOCK_ADD, ruleset, 1, rule, ctypes.c_uint32(0)), "landlock rule")
        os.close(descriptor)
    _check(libc.syscall(_SYS_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint32(0)), "landlock")
    os.close(ruleset)


def _filter_calls(*, network: bool) -> None:
    """Seccomp: dangerous calls fail with EPERM; without network, so does every socket that is not a local one."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(0, f"the sandbox has no call filter for {platform.machine()}")
    architecture, denied, socket_call, clone_call, _ = machine
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    kill, allow, refuse = 0x80000000, 0x7FFF0000, 0x00050000 | _EPERM
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    if machine is _MACHINES["x86_64"]:
        program += [(at_least, 0, 1, 0x40000000), (give, 0, 0, refuse)]  # the x32 numbers of the same calls
    for number in denied:
        program += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    # clone3 hides its flags behind a pointer: without it, libraries take clone, whose flags can be looked at.
    program += [(equal, 0, 1, _CLONE3), (give, 0, 0, 0x00050000 | _ENOSYS)]
    program += [(equal, 0, 4, clone_call), (load, 0, 0, 16), (0x45, 0, 1, _NAMESPACES), (give, 0, 0, refuse)]
    program += [(give, 0, 0, allow)]
    if not network:
        program += [(equal, 0, 3, socket_call), (load, 0, 0, 16), (equal, 1, 0, _AF_UNIX), (give, 0, 0, refuse)]
    program.append((give, 0, 0, allow))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(header))


def _enter_sandbox(spec: dict[str, Any], *, own_proc: bool) -> None:
    proc = ("/proc",) if own_proc else _PROC
    read, write = [*_SYSTEM, *proc, *spec["read"]], [*spec["write"], *_DEVICES]
    _restrict_files(read, spec["list"], write, network=spec["network"])
    _filter_calls(network=spec["network"])
    _spare_git_what_is_closed()


def _spare_git_what_is_closed() -> None:
    """Git asks access(2), which knows no sandbox, and dies at a configuration that it then can't open."""
    home = os.path.expanduser("~")
    files = {
        "GIT_CONFIG_NOSYSTEM": ("1", ["/etc/gitconfig"]),
        "GIT_CONFIG_GLOBAL": (os.devnull, [f"{home}/.gitconfig", f"{home}/.config/git/config"]),
    }
    for variable, (value, paths) in files.items():
        for path in paths:
            try:
                os.close(os.open(path, os.O_RDONLY))
            except PermissionError:
                os.environ.setdefault(variable, value)
            except OSError:
                continue


# --- another user ----------------------------------------------------------------------------------------------------


def _become_user(uid: int, gid: int, capabilities: list[int]) -> None:
    """Leave root: limits on processes bind everybody but root, and root may signal and trace whom it likes.

    ``capabilities`` stay, so that the program reaches the files that the operator gave it, whoever owns them.
    """
    if not _ON_LINUX:  # no capabilities, and no setresuid either
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        return
    _prctl(_PR_SET_KEEPCAPS, 1)
    with suppress(OSError):  # a container may forbid it
        _prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP)  # else access(2), which many programs ask first, forgets them
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(0, f"privileges can't be taken away on {platform.machine()}")
    with open("/proc/self/status") as file:
        permitted = int(file.read().split("CapPrm:")[1].split()[0], 16)
    kept = [each for each in capabilities if permitted >> each & 1]  # a container may not have them
    mask = sum(1 << each for each in kept)
    header, data = struct.pack("=Ii", 0x20080522, 0), struct.pack("=IIIIII", mask, mask, mask, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.syscall(machine[4], header, data), "capset")
    for each in kept:
        _prctl(_PR_CAP_AMBIENT, 2, each)
    # git refuses repositories of another user, and the operator's repository belongs to root.
    if "GIT_CONFIG_COUNT" not in os.environ:
        os.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


# --- control groups --------------------------------------------------------------------------------------------------


def _make_groups(name: str, memory: int, processes: int) -> list[str]:
    """Control groups for one child, where they may be made: their directories. Empty ones of earlier runs go."""
    made = []
    for base, settings in _group_bases(memory, processes):
        with suppress(OSError):
            for old in os.listdir(base):
                if old.startswith("mcpsec-"):
                    with suppress(OSError):
                        os.rmdir(f"{base}/{old}")  # refused while something runs in it
            directory = f"{base}/mcpsec-{name}"
            os.mkdir(directory)
            made.append(directory)
            for file, value in settings:
                with suppress(OSError), open(f"{directory}/{file}", "w") as target:
                    target.write(str(value))
    return made


def _group_bases(memory: int, processes: int) -> list[tuple[str, list[tuple[str, int]]]]:
    bases: list[tuple[str, list[tuple[str, int]]]] = []
    root = "/sys/fs/cgroup"
    try:
        with open("/proc/self/cgroup") as file:
            lines = [line.strip().split(":", 2) for line in file]
    except OSError:
        return []
    for _, controllers, path in lines:
        here = path.rstrip("/")
        if controllers == "":
            for base in (f"{root}{here}", f"{root}{os.path.dirname(here)}"):
                with suppress(OSError), open(f"{base}/cgroup.subtree_control") as file:
                    if {"memory", "pids"} <= set(file.read().split()):
                        bases.append((base, [("pids.max", processes), ("memory.max", memory), ("memory.swap.max", 0)]))
                        break
        elif controllers == "memory":
            bases.append((f"{root}/memory{here}", [("memory.limit_in_bytes", memory)]))
        elif controllers == "pids":
            bases.append((f"{root}/pids{here}", [("pids.max", processes)]))
    return bases


def _join_groups(groups: list[str]) -> None:
    for directory in groups:
        with suppress(OSError), open(f"{directory}/cgroup.procs", "w") as file:
            file.write("0")


# --- the three processes ---------------------------------------------------------------------------------------------


def _isolate(spec: dict[str, Any]) -> bool:
    """Have a sandbox's next child be process 1 of a PID namespace; False without a sandbox, and where there is none."""
    if "sandbox" not in spec:
        return False
    flags = _CLONE_NEWPID | _CLONE_NEWNS
    if os.geteuid() != 0:
        flags |= _CLONE_NEWUSER
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        return False
    if flags & _CLONE_NEWUSER:
        for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{file}", "w") as target:
                target.write(text)
    return True


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.mount(source, target, kind, ctypes.c_ulong(flags), data)
    return result == 0


def _furnish(spec: dict[str, Any]) -> bool:
    """The namespace's own /proc, and an empty /run, since Landlock keeps nobody from the sockets there.

    True when /proc shows only processes of the namespace.
    """
    _mount(b"none", b"/", None, _MS_REC_PRIVATE)
    named = [*spec["sandbox"]["read"], *spec["sandbox"]["write"]]
    if not any(path == "/run" or path.startswith(("/run/", "/var/run/")) for path in named):
        _mount(b"tmpfs", b"/run", b"tmpfs", _MS_NOSUID_NODEV_NOEXEC | _MS_RDONLY, b"size=4k")
    return _mount(b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC)


def _stay_with(alive: int) -> None:
    """End when the keeper ends; ``alive`` is the reading end of a pipe that only the keeper holds open."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    waiting = select.poll()
    waiting.register(alive, 0)
    if waiting.poll(0):
        os._exit(1)  # it died before the kernel was told
    os.close(alive)


def _run(spec: dict[str, Any], command: list[str], *, own_proc: bool) -> NoReturn:
    """Confine this process and become the program."""
    name = command[0]
    try:
        if "user" in spec:
            uid, gid = spec["user"]
            _become_user(uid, gid, spec["capabilities"])
        if _ON_LINUX:
            _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))  # a change of user has undone it
            _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _limit_resources(spec["limits"])
        for number in (signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE)):
            signal.signal(number, signal.SIG_DFL)  # Python ignores them, and a program would inherit that
        if "sandbox" in spec:
            _enter_sandbox(spec["sandbox"], own_proc=own_proc)
        os.execvp(name, command)  # noqa: S606 # becoming the operator's program is the point
    except OSError as error:
        sys.stderr.write(f"{name}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(127)


def _init(spec: dict[str, Any], command: list[str], groups: list[str], alive: int, told: int) -> NoReturn:
    """Process 1: start the program, bury the dead, tell the keeper how it ended. With it ends everything in here."""
    _stay_with(alive)
    _join_groups(groups)
    own_proc = _furnish(spec)
    program = os.fork()
    if program == 0:
        os.close(told)
        _run(spec, command, own_proc=own_proc)
    _let_go_of_pipes()
    while True:
        pid, status = os.wait()
        if pid == program:
            os.write(told, struct.pack("=i", status))
            os._exit(0)


def _let_go_of_pipes() -> None:
    """The pipes are the program's: whoever else held them open would keep their ends from being seen."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _kill_orphans() -> None:
    """Kill every descendant: the parentless come to this process, which adopts them, until none is left."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with suppress(OSError, IndexError, ValueError):
                    with open(f"/proc/{entry}/stat") as file:
                        parent = int(file.read().rsplit(")", 1)[1].split()[1])
                    if parent == os.getpid():
                        os.kill(int(entry), signal.SIGKILL)
        select.select([], [], [], 0.005)


def _keep(child: int, told: int, groups: list[str], *, isolated: bool) -> NoReturn:
    """Wait for the program's end, end what it left, and end the way it did."""
    _let_go_of_pipes()

    def gone(*_: object) -> None:
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
        if not isolated:
            _kill_orphans()
        os._exit(1)

    signal.signal(_GONE, gone)
    _, status = os.waitpid(child, 0)
    if isolated:
        report = os.read(told, 4)
        status = struct.unpack("=i", report)[0] if len(report) == 4 else status
    else:
        _kill_orphans()
    for directory in groups:
        with suppress(OSError):
            os.rmdir(directory)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError):  # SIGKILL has no other
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
        select.select([], [], [], 1)
    os._exit(code if code >= 0 else 128 - code)


def _launch(spec: dict[str, Any], command: list[str]) -> NoReturn:
    """Linux: keeper, init, program."""
    _prctl(_PR_SET_PDEATHSIG, int(_GONE))
    if os.getppid() != spec["parent"]:
        os._exit(1)  # the gateway died before the kernel was told to tell us
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    groups = _make_groups(f"{spec['parent']}-{os.getpid()}", spec["memory"], spec["processes"])
    isolated = _isolate(spec)
    alive, held = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        os.close(told)
        if isolated:
            _init(spec, command, groups, alive, tell)
        os.close(tell)
        _stay_with(alive)
        _join_groups(groups)
        _run(spec, command, own_proc=False)
    os.close(alive)
    os.close(tell)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # said to the whole group: it is the program's to answer
    _keep(child, told, groups, isolated=isolated)


def main() -> None:
    """Confine, then exec."""
    spec, command = json.loads(sys.argv[1]), sys.argv[2:]
    if _ON_LINUX:
        _launch(spec, command)
    if "sandbox" in spec:
        sys.stderr.write(f"{command[0]}: a sandbox can only be kept on Linux\n")
        sys.exit(127)
    _run(spec, command, own_proc=False)


if __name__ == "__main__":
    main()
