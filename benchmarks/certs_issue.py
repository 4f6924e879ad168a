"""Issuing client certificates: one `mcpsec certs issue --batch` beside loops over openssl, cfssl and easy-rsa.

Every tool makes a new P-256 key and a certificate with one SPIFFE URI (or the nearest thing that it can). mcpsec
flushes every file, its directory and its ledger to the disk; the others flush nothing. The tools take turns, so that a
busy moment of the machine hits all of them alike, and a ratio is taken within each turn. mcpsec runs with compiled
bytecode, as an installed program does. Nothing is deleted before the end: ext4 is slow to reuse what was just deleted.
Run with::

    python benchmarks/certs_issue.py [--count 2000] [--big 10000] [--repeat 3] [--directory DIR]

openssl has to be there; cfssl and easy-rsa are left out when they are not (apt install easy-rsa golang-cfssl).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def _run(
    *command: object,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    data: bytes | None = None,
    expect: int = 0,
) -> bytes:
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, input=data, capture_output=True)
    if done.returncode != expect:
        raise SystemExit(f"{command[0]} failed: {done.stderr.decode()[-500:]}")
    return done.stdout


def _mcpsec(where: Path, count: int) -> tuple[float, float]:
    """Seconds for the whole command, its start included, and the peak of its memory in MiB."""
    pki = where / f"pki-{count}"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(where.parent / "bytecode")
    _run(sys.executable, "-m", "mcpsec", "certs", "--dir", pki, "init", env=env)
    _run(sys.executable, "-m", "mcpsec", "certs", "--dir", pki, "issue", "--batch", os.devnull, env=env, expect=2)
    rows = "".join(f"agent-{number},spiffe://mcp.internal/fleet/{number}\n" for number in range(count))
    (where / "fleet.csv").write_text("name,sans\n" + rows)
    started = time.perf_counter()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mcpsec",
            "certs",
            "--dir",
            str(pki),
            "issue",
            "--client",
            "--batch",
            str(where / "fleet.csv"),
        ],
        stdout=subprocess.DEVNULL,
        env=env,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    assert process.returncode == 0 and len(list((pki / "client").iterdir())) == count
    return seconds, usage.ru_maxrss / 1024


def _openssl(where: Path, count: int) -> float:
    ca = where / "openssl"
    ca.mkdir()
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _run(
        "openssl",
        "req",
        "-x509",
        *key,
        "-subj",
        "/CN=ca",
        "-days",
        365,
        "-keyout",
        ca / "ca.key",
        "-out",
        ca / "ca.pem",
    )
    started = time.perf_counter()
    for number in range(count):
        extensions = (
            "-addext",
            f"subjectAltName=URI:spiffe://mcp.internal/fleet/{number}",
            "-addext",
            "extendedKeyUsage=clientAuth",
        )
        names = ("-subj", f"/CN=agent-{number}", "-days", 90, *extensions)
        files = ("-keyout", ca / f"{number}.key", "-out", ca / f"{number}.pem")
        _run("openssl", "req", "-x509", "-CA", ca / "ca.pem", "-CAkey", ca / "ca.key", *key, *names, *files)
    return time.perf_counter() - started


def _cfssl(where: Path, count: int) -> float | None:
    if not shutil.which("cfssl") or not shutil.which("cfssljson"):
        return None
    ca = where / "cfssl"
    ca.mkdir()
    request = {"CN": "ca", "key": {"algo": "ecdsa", "size": 256}}
    (ca / "ca.json").write_text(json.dumps(request))
    _run("cfssljson", "-bare", ca / "ca", data=_run("cfssl", "gencert", "-initca", ca / "ca.json"))
    profile = {"expiry": "2160h", "usages": ["digital signature", "client auth"]}
    (ca / "config.json").write_text(json.dumps({"signing": {"default": profile}}))
    authority = ("-ca", ca / "ca.pem", "-ca-key", ca / "ca-key.pem", "-config", ca / "config.json")
    started = time.perf_counter()
    for number in range(count):
        (ca / "r.json").write_text(
            json.dumps({**request, "CN": f"agent-{number}", "hosts": [f"agent-{number}.example.com"]})
        )
        made = _run("cfssl", "gencert", *authority, ca / "r.json")
        _run("cfssljson", "-bare", ca / f"agent-{number}", data=made)
    return time.perf_counter() - started


def _easyrsa(where: Path, count: int) -> float | None:
    program = shutil.which("easyrsa") or "/usr/share/easy-rsa/easyrsa"
    if not Path(program).exists():
        return None
    home = where / "easyrsa"
    home.mkdir()
    for name in ("x509-types", "openssl-easyrsa.cnf"):
        if (Path(program).parent / name).exists():
            (home / name).symlink_to(Path(program).parent / name)
    settings = {
        "EASYRSA_BATCH": "1",
        "EASYRSA_ALGO": "ec",
        "EASYRSA_CURVE": "prime256v1",
        "EASYRSA_PKI": str(home / "pki"),
    }
    env = {**os.environ, **settings}
    _run(program, "init-pki", cwd=home, env=env)
    _run(program, "build-ca", "nopass", cwd=home, env=env)
    started = time.perf_counter()
    for number in range(count):
        _run(
            program,
            f"--subject-alt-name=DNS:agent-{number}",
            "build-client-full",
            f"agent-{number}",
            "nopass",
            cwd=home,
            env=env,
        )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--big", type=int, default=10_000, help="0 leaves the big batch out")
    parser.add_argument("--repeat", type=int, default=3, help="so many turns")
    parser.add_argument("--directory", type=Path, default=None, help="a directory on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        where = Path(name)
        each: list[float] = []
        peers: dict[str, list[float]] = {label: [] for label, _, _ in _PEERS}
        memory = 0.0
        for turn in range(options.repeat):
            place = where / f"turn-{turn}"
            place.mkdir()
            seconds, memory = _mcpsec(place, options.count)
            each.append(seconds / options.count)
            for label, measure, count in _PEERS:
                taken = measure(place, count)
                if taken is not None:
                    peers[label].append(taken / count)
        _show("mcpsec issue --batch", options.count, each, f"peak {memory:.0f} MiB, everything flushed")
        for label, _, count in _PEERS:
            if not peers[label]:
                print(f"{label:22} not installed")
                continue
            ratios = sorted(peer / own for peer, own in zip(peers[label], each, strict=True))
            middle = statistics.median(ratios)
            _show(label, count, peers[label], f"{middle:.1f} times as long ({ratios[0]:.1f} to {ratios[-1]:.1f})")
        if options.big:
            place = where / "big"
            place.mkdir()
            seconds, more = _mcpsec(place, options.big)
            growth = f"{more - memory:+.0f} MiB for {options.big - options.count} more certificates"
            _show("mcpsec issue --batch", options.big, [seconds / options.big], f"peak {more:.0f} MiB: {growth}")


def _show(label: str, count: int, each: list[float], remark: str) -> None:
    middle = statistics.median(each) * 1e3
    print(f"{label:22} {count:6} certificates {middle:8.2f} ms each  {remark}", flush=True)


_PEERS = (("openssl req -CA", _openssl, 100), ("cfssl + cfssljson", _cfssl, 100), ("easy-rsa", _easyrsa, 50))


if __name__ == "__main__":
    main()
