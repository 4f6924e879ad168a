"""What scan-secrets reports on source trees that hold no leak: findings a megabyte, by tier and rule.

    python benchmarks/leaks_clean.py TREE… [--show]

A tree is a checkout or an unpacked source package of a well-kept open-source project. Test keys and samples of formats
are credentials by content, whoever wrote them, so findings in tests, documentation and examples are counted apart;
`--show` lists the others of high confidence, each of which is to be looked at.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

OURS = os.path.join(os.path.dirname(sys.executable), "mcpsec-scan-secrets")
SAMPLES = re.compile(
    r"(?i)(?:^|[/_.-])(?:tests?|testing|test-?(?:data|cases?|utils?|box)|(?:docker|int|integration)-?tests?|specs?|fixtures?|docs?|documentation|guides?|examples?|samples?"
    r"|smoke[-_]?tests?|reg-tests|it|e2e|mocks?|integration)(?:[/_.-]|$)|(?:Test|Tests|IT|Spec)\.\w+$|\.(?:md|rst|adoc)$"
)
TIERS = ("high", "medium", "low")


def scan(tree):
    command = [OURS, "--no-config", "--confidence", "low", "--format", "json", str(tree)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{tree}: exit {done.returncode}: {done.stderr.decode()[-300:]}")
    return json.loads(done.stdout)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("trees", nargs="+", type=Path, metavar="TREE")
    ap.add_argument(
        "--show", action="store_true", help="list findings of high confidence outside tests and documentation"
    )
    args = ap.parse_args()
    print(
        f"{'tree':32s} {'MB':>7s} {'files':>6s}   "
        + "   ".join(f"{t:>6s} /MB" for t in TIERS)
        + "   high outside tests, docs"
    )
    rules, totals, outside = Counter(), Counter(), []
    for tree in args.trees:
        document = scan(tree)
        summary, findings = document["summary"], document["findings"]
        counts = Counter(f["confidence"] for f in findings)
        rules.update((f["confidence"], f["rule"]) for f in findings)
        strange = [
            f for f in findings
            if f["confidence"] == "high" and not SAMPLES.search(os.path.relpath(f["path"], tree))
        ]  # fmt: skip
        outside += strange
        megabytes = summary["bytes"] / 1e6
        totals.update(counts, megabytes=megabytes, files=summary["files"], strange=len(strange))
        line(tree.name, megabytes, summary["files"], counts, len(strange))
    line("all", totals["megabytes"], totals["files"], totals, totals["strange"])
    print("\nby tier and rule, a megabyte")
    for (tier, rule), count in sorted(rules.items(), key=lambda item: (TIERS.index(item[0][0]), -item[1])):
        print(f"  {tier:7s} {rule:40s} {count:6d} {count / totals['megabytes']:8.4f}")
    if args.show:
        for finding in outside:
            print(f"{finding['rule']}  {finding['path']}:{finding['line']}:{finding['column']}")


def line(name, megabytes, files, counts, strange):
    rates = "   ".join(f"{counts[t]:4d} {counts[t] / max(megabytes, 0.001):6.3f}" for t in TIERS)
    print(f"{name[:32]:32s} {megabytes:7.1f} {files:6d}   {rates}   {strange:4d}")


if __name__ == "__main__":
    main()
