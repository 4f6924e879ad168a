"""Takes privileges away from this process, then becomes the program it was given.

Run by path, in isolated mode: ``launcher.py SPEC COMMAND…``. It imports the standard library only and nothing of
mcpsec, because it runs once for every child. A step that fails ends the process before the program starts.

Sources: landlock(7) and linux/landlock.h; seccomp(2) and linux/bpf_common.h; prctl(2).
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import stat
import struct
import sys
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
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
    # kernel modules and keys, BPF, io_uring (which would go round the socket rule); last, the number of socket(2).
    "x86_64": (0xC000003E, (101, 155, 161, 163, 165, 166, 167, 168, 169, 175, 176, 246, 248, 249, 250, 272, 298, 304,
                            308, 310, 311, 313, 320, 321, 323, 425, 426, 427, 428, 429, 430, 431, 432, 442), 41),
    "aarch64": (0xC00000B7, (39, 40, 41, 51, 89, 97, 104, 105, 106, 117, 142, 217, 218, 219, 224, 225, 241, 265, 268,
                             270, 271, 273, 280, 282, 294, 425, 426, 427, 428, 429, 430, 431, 432, 442), 198),
}  # fmt: skip
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


def _limit_resources() -> None:
    import resource

    wanted = (("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 1024), ("RLIMIT_FSIZE", 4 << 30), ("RLIMIT_NPROC", 4096))
    for name, value in wanted:
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, limit))


def _restrict_files(read: list[str], write: list[str], *, network: bool) -> None:
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
    for path, wanted in [*((p, _READ) for p in read), *((p, rights) for p in write)]:
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
    architecture, denied, socket_call = machine
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    kill, allow, refuse = 0x80000000, 0x7FFF0000, 0x00050000 | _EPERM
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    if machine is _MACHINES["x86_64"]:
        program += [(at_least, 0, 1, 0x40000000), (give, 0, 0, refuse)]  # the x32 numbers of the same calls
    for number in denied:
        program += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    if not network:
        program += [(equal, 0, 3, socket_call), (load, 0, 0, 16), (equal, 1, 0, _AF_UNIX), (give, 0, 0, refuse)]
    program.append((give, 0, 0, allow))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    _prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(header))


def _enter_sandbox(spec: dict[str, Any]) -> None:
    _restrict_files([*_SYSTEM, *_PROC, *spec["read"]], [*spec["write"], *_DEVICES], network=spec["network"])
    _filter_calls(network=spec["network"])


def main() -> None:
    """Confine, then exec."""
    spec, command = json.loads(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != spec["parent"]:
            sys.exit(1)  # the gateway died before the kernel was told to take us along
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    try:
        _limit_resources()
        if "sandbox" in spec:
            if sys.platform != "linux":
                raise OSError(0, "a sandbox can only be kept on Linux")
            _enter_sandbox(spec["sandbox"])
        os.execvp(command[0], command)  # noqa: S606 # becoming the operator's program is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(127)


main()
