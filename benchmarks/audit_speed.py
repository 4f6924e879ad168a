"""Static audit of a repository with 500 configuration files: seconds of the whole command, by the clock and of CPU.

    python benchmarks/audit_speed.py [--files 500] [--runs 5]

Beside it, in the same run, reading the same files and parsing the YAML of them with PyYAML's own safe loader, which
judges nothing: what is left is the cost of positions, checks and secret scanning.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.audit.labelled import HARDENED


def repository(top: Path, count: int) -> None:
    kinds = list(HARDENED.items())
    for number in range(count):
        path, text = kinds[number % len(kinds)]
        place = top / f"service-{number // len(kinds):03}" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def used() -> float:
    """Seconds of CPU that children have used so far."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        repository(top, options.files)
        command = [
            sys.executable,
            "-m",
            "mcpsec",
            "audit",
            ".",
            "--format",
            "json",
            "-o",
            str(top.parent / f"{top.name}.json"),
        ]
        whole, processor = [], []
        # As installed: with compiled modules, whatever this shell says, and after a first run that fills caches.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(top.parent / f"{top.name}-compiled")
        subprocess.run(command, cwd=top, capture_output=True, check=False, env=environment)
        for _ in range(options.runs):
            begun, before = time.perf_counter(), used()
            done = subprocess.run(command, cwd=top, capture_output=True, text=True, check=False, env=environment)
            whole.append(time.perf_counter() - begun)
            processor.append(used() - before)
            assert done.returncode in (0, 1, 3), done.stderr
        (top.parent / f"{top.name}.json").unlink()
        shutil.rmtree(environment["PYTHONPYCACHEPREFIX"])
        import yaml

        begun = time.perf_counter()
        for path in top.rglob("*"):
            if path.is_file():
                text = path.read_text()
                if path.suffix in (".yaml", ".yml"):
                    list(yaml.load_all(text, Loader=yaml.SafeLoader))
        parsing = time.perf_counter() - begun
    print(
        f"{options.files} files: whole command {statistics.median(whole):.2f} s (median of {options.runs}, best "
        f"{min(whole):.2f} s), CPU time {statistics.median(processor):.2f} s (best {min(processor):.2f} s)"
    )
    print(f"reading them and PyYAML's safe loader over the YAML alone: {parsing:.2f} s")


if __name__ == "__main__":
    main()
