"""README shows the ratios of one recorded run and no others, and the run can be taken again."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def loaded(program: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{program}", ROOT / "benchmarks" / f"{program}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def everything() -> ModuleType:
    return loaded("all")


def test_readme_shows_what_was_recorded(everything: ModuleType) -> None:
    assert everything.with_table(README, everything.kept()) == README, "run: python benchmarks/all.py --write"
    before, _, rest = README.partition(everything.BEGIN)
    other = before + rest.partition(everything.END)[2]
    assert not re.findall(r"\d(?:\.\d+)? ?(?:times|x|×) (?:as|faster|slower|less|more)|\bratio\b", other)


ROW = {
    "benchmark": "policy", "what": "a decision", "beside": "another", "ratio": "0.10", "better": "less",
    "date": "2026-11-28", "load": 0.2,
}  # fmt: skip


def test_the_table_says_date_machine_and_what_is_missing(everything: ModuleType) -> None:
    results = {"machine": everything.machine(), "rows": [ROW, {**ROW, "what": "a peer", "ratio": None}]}
    text = everything.table(results)
    assert f"{results['machine']['cores']} cores" in text
    assert "| a decision | another | 0.10 | less | 2026-11-28 | 0.2 |" in text
    assert "| a peer | another | not measured | less | 2026-11-28 | 0.2 |" in text
    shown = everything.with_table(README, results)
    assert everything.with_table(shown, everything.kept()) == README


def test_a_part_taken_again_replaces_its_own_rows_only(everything: ModuleType) -> None:
    where = everything.machine()
    before = {"machine": where, "rows": [{**ROW, "benchmark": "leaks"}, ROW]}
    new = {**ROW, "ratio": "0.20", "date": "2026-11-29"}
    assert everything.merged(before, where, [new])["rows"] == [{**ROW, "benchmark": "leaks"}, new]
    assert everything.merged(None, where, [new])["rows"] == [new]
    failed = {**new, "ratio": None}
    assert everything.merged(before, where, [failed])["rows"] == before["rows"]
    assert everything.merged(None, where, [failed])["rows"] == [failed]
    gateway = {**ROW, "benchmark": "gateway"}
    assert everything.merged(before, where, [gateway])["rows"] == [gateway, *before["rows"]]
    elsewhere = {**where, "processor": "another"}
    assert everything.merged(before, elsewhere, [new]) == {"machine": elsewhere, "rows": [new]}


def test_every_benchmark_is_a_program_that_says_what_it_does(everything: ModuleType) -> None:
    for benchmark in everything.BENCHMARKS.values():
        path = ROOT / "benchmarks" / benchmark.arguments[0]
        assert path.is_file()
        assert benchmark.ratios


def test_a_figure_however_wide_is_read_from_its_own_column(
    everything: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = loaded("gateway")
    wide = [{"cpu": 97662.3, "requests": 1, "rate": 10.0, "p50": 4033.103}]
    nginx, slow = (
        gateway.Target(name, "", results={1: figures, 16: figures})
        for name, figures in (
            ("nginx", [{"cpu": 66.9, "requests": 1, "rate": 13533.0, "p50": 0.004}]),
            ("fastmcp proxy", wide),
        )
    )
    gateway.table([nginx, slow], nginx, [1, 16])
    text = capsys.readouterr().out
    figures = [everything.cell("fastmcp proxy", column)(text) for column in range(11)]
    assert figures == [*(2 * ["97662.3", "1459.83", "10", "0.00", "4033103.000"]), "0.0"]
    assert everything.against("fastmcp proxy", "nginx", 5)(text) == "1459.83"


def test_what_comes_in_bursts_counts_by_its_share() -> None:
    rounds = [{"cpu": 50.0, "requests": 100}, {"cpu": 50.0, "requests": 100}, {"cpu": 80.0, "requests": 50}]
    target = loaded("gateway").Target("mcpsec", "", results={16: rounds})
    assert target.cost(16) == 56.0
    assert target.median(16, "cpu") == 50.0


GATEWAY = """
                          1 connections
haproxy                        40.1      1.1    20000      0.9    0.051     50.1      1.2    25000     0.95    0.501     45.0     1.12    26000     0.96    2.101     20.0
mcpsec                         90.1      2.5     9000      0.4    0.101     80.1     2.41    12000     0.45    1.101     75.0     2.31    13000     0.44    4.101     60.0
mcpsec, 2025                   91.1      2.6     9100      0.5    0.111     81.1     2.51    12100     0.55    1.201     76.0     2.41    13100     0.54    4.201     60.0
mcpsec, signed requests       110.1      3.5     8000      0.3    0.121    100.1     3.41    10000     0.35    1.301     95.0      3.1    11000     0.34    5.101     61.0
fastmcp proxy                9000.1    250.0       90     0.01    11.01   8010.0    241.0      120     0.01    91.01   7500.0    231.0      130     0.01    400.1     90.0

                          1 connections
mcpsec, bare server            70.1      2.7    11000      0.3    0.091     60.1     2.71    14000     0.39    1.001     55.0     2.71    15000     0.34    4.001     60.0
mcpsec, signed, bare           90.1      3.7    10000      0.2    0.111     80.1     3.71    13000     0.25    1.201     75.0      3.7    13000     0.24    5.001     61.0

                          1 connections
mcpsec, mutual TLS            190.1      1.0     5000      1.0    0.201    200.1      1.0     4800      1.0    3.101    175.0      1.0     4900      1.0    9.101     80.0
mcp-proxy                     900.1     4.73      900     0.18    1.101    800.4      4.0     1200     0.25    9.101    750.0     4.29     1300     0.27   40.101     90.0
supergateway                  700.1     3.68     1000     0.20    1.001    400.2      2.0     2400     0.50    4.101    350.0     2.00     2500     0.51   20.101     85.0
"""


OTHERS = ["2.51", "2.71", "0.39"]
"""Of the 2025 era, and of a server that costs nothing."""


def test_figures_are_read_from_where_they_stand(everything: ModuleType) -> None:
    ratios = {each.what + "/" + each.beside: each.read(GATEWAY) for each in everything.BENCHMARKS["gateway"].ratios}
    assert list(ratios.values()) == ["2.41", "1.60", "0.01", "3.41", "0.45", *OTHERS, "0.25", "4.00", "0.50", "2.00"]
    without_peers = (
        GATEWAY.replace("haproxy", "another").replace("mcp-proxy", "other").replace("supergateway", "nothing")
    )
    left = [each.read(without_peers) for each in everything.BENCHMARKS["gateway"].ratios]
    assert left == ["2.41", None, "0.01", "3.41", "0.45", *OTHERS, None, None, None, None]
    (telemetry,) = everything.BENCHMARKS["telemetry"].ratios
    assert telemetry.read("throughput on/off   0.79\nCPU off/on          0.80\n") == "0.79"


def test_a_run_prints_its_ratio() -> None:
    """The quickest of them, for real."""
    command = [sys.executable, str(ROOT / "benchmarks" / "all.py"), "--only", "signing", "--quick"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.search(
        r"^\| signatures a second, .* \| [01]\.\d\d \| more \| [\d-]+ \| [\d.]+ \|$", run.stdout, re.MULTILINE
    ), run.stdout


@pytest.mark.parametrize(("arguments", "said"), [(["--only", "nothing"], "no benchmark nothing"), (["--quick", "--write"], "--write takes full runs only")])  # fmt: skip
def test_a_wrong_command_line(arguments: list[str], said: str) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "all.py"), *arguments], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert said in run.stderr
