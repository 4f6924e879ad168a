"""mcpsec audit beside its peers, on the same labelled files and the same front ends.

    python benchmarks/audit_peers.py [--peers DIR]

Peers are installed from the package index into virtual environments under DIR (a temporary directory by default) and run
offline: no key, no account. A flawed file counts as caught when a tool reports something in it that it does not report in
the hardened file that it was made from; anything that it reports in a hardened file is a false alarm. The files are ours
(tests/audit/labelled.py), so our own column shows no more than that the suite holds; what the peers look at at all is the
interesting part.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.audit.labelled import CASES, HARDENED
from tests.fixtures.pki import Authority

PEERS = {"agent-audit": "agent-audit", "cisco-ai-mcp-scanner": "mcp-scanner", "snyk-agent-scan": "snyk-agent-scan"}
PEERS["sslyze"] = "sslyze"
FLAWED = [case for case in CASES if case.fails]
"""The rest of the labelled files only look as if something were wrong."""
Counts = dict[str, Counter[str]]


def install(place: Path) -> dict[str, Path | str]:
    """Each peer's program, or why there is none."""
    found: dict[str, Path | str] = {}
    for package, program in PEERS.items():
        python = place / package / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(place / package)], check=True)
            done = subprocess.run(
                [str(python), "-m", "pip", "install", "-q", package], capture_output=True, text=True, check=False
            )
            if done.returncode:
                found[package] = "can't be installed here: " + done.stderr.strip().splitlines()[-1]
                continue
        found[package] = python.with_name(program)
    return found


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if "TOKEN" not in name and "API_KEY" not in name}
    return subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False, timeout=900)


def write(top: Path) -> None:
    for number, case in enumerate(FLAWED):
        put(top / f"flaw-{number:03}" / case.path, case.text)
    for path, text in HARDENED.items():
        put(top / "fine" / path, text)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def mcpsec(top: Path) -> Counts:
    done = run([sys.executable, "-m", "mcpsec", "audit", ".", "--persona", "auditor", "--format", "json"], top)
    found: Counts = {}
    for result in json.loads(done.stdout)["results"]:
        if result["state"] == "fail" and result["location"]:
            found.setdefault(result["location"]["path"], Counter())[result["check"]] += 1
    return found


def agent_audit(program: Path, top: Path) -> Counts:
    report = top.parent / "agent-audit.sarif"
    run([str(program), "scan", ".", "--format", "sarif", "--output", str(report), "--min-tier", "info"], top)
    found: Counts = {}
    for result in json.loads(report.read_text())["runs"][0]["results"]:
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        found.setdefault(uri, Counter())[result["ruleId"]] += 1
    return found


def cisco(program: Path, top: Path) -> Counts:
    """Its static mode reads the answer of tools/list; of its analyzers YARA is the one that works offline."""
    found: Counts = {}
    for file in sorted(top.rglob("tools.json")):
        command = [str(program), "--analyzers", "yara", "--format", "raw", "static", "--tools", str(file)]
        text = run(command, top).stdout
        try:
            document = json.loads(text[text.index("{") :])
        except ValueError:
            continue
        for tool in document.get("scan_results", document.get("results", [])):
            for name, analyzer in tool.get("findings", {}).items():
                if analyzer.get("total_findings"):
                    found.setdefault(file.relative_to(top).as_posix(), Counter())[name] += analyzer["total_findings"]
    return found


def judged(found: Counts) -> tuple[Counter[str], Counter[str]]:
    """Caught flaws and false alarms, by kind of file."""
    caught: Counter[str] = Counter()
    for number, case in enumerate(FLAWED):
        twin = found.get(f"fine/{case.path}", Counter())
        if found.get(f"flaw-{number:03}/{case.path}", Counter()) - twin:
            caught[Path(case.path).name] += 1
    alarms = Counter({Path(path).name: sum(found.get(f"fine/{path}", Counter()).values()) for path in HARDENED})
    return caught, alarms


def files(top: Path, peers: dict[str, Path | str]) -> None:
    write(top)
    columns: dict[str, tuple[Counter[str], Counter[str]]] = {"mcpsec": judged(mcpsec(top))}
    for name, work in (("agent-audit", agent_audit), ("cisco-ai-mcp-scanner", cisco)):
        program = peers[name]
        if isinstance(program, Path):
            columns[name] = judged(work(program, top))
    total = Counter(Path(case.path).name for case in FLAWED)
    print("| flawed files of a kind | number | " + " | ".join(columns) + " |")
    print("|---|---|" + "---|" * len(columns))
    for kind, number in sorted(total.items()):
        cells = [
            f"{caught[kind]}" + (f" ({alarms[kind]} false)" if alarms[kind] else "")
            for caught, alarms in columns.values()
        ]
        print(f"| {kind} | {number} | " + " | ".join(cells) + " |")
    cells = [
        f"{sum(c.values())}" + (f" ({sum(a.values())} false)" if sum(a.values()) else "") for c, a in columns.values()
    ]
    print(f"| all | {sum(total.values())} | " + " | ".join(cells) + " |")


def snyk(program: Path | str, top: Path) -> str:
    if isinstance(program, str):
        return program
    configuration = top / "fine" / ".mcp.json"
    done = run([str(program), "scan", "--ci", "--dangerously-run-mcp-servers", str(configuration)], top)
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    told = next(
        (line for line in said if "token" in line.lower() or "api" in line.lower()), said[-1] if said else "nothing"
    )
    return f"exit {done.returncode}, said: {told[:160]}"


def front_ends(top: Path, sslyze: Path | str) -> None:
    """What each says of nginx with and without a required client certificate, by asking it."""
    nginx = shutil.which("nginx")
    if nginx is None or isinstance(sslyze, str):
        print(f"front ends: not run ({'no nginx here' if nginx is None else sslyze})")
        return
    clients = Authority(top / "clients", "clients")
    server = Authority(top / "servers", "servers").server("server", trusts=clients.certificate)
    print("\n| nginx | mcpsec (TLS002) | sslyze |\n|---|---|---|")
    for mode in ("on", "optional", "off"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = top / mode
        place.mkdir()
        put(
            place / "nginx.conf",
            f"daemon off; master_process off; pid {place}/pid; error_log {place}/error;\nevents {{}}\n"
            f"http {{ access_log off; client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;"
            f" uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;\nserver {{ listen 127.0.0.1:{port} ssl;"
            f" ssl_certificate {server.certificate}; ssl_certificate_key {server.key};"
            f" ssl_client_certificate {clients.certificate}; ssl_verify_client {mode};\n"
            ' location / { default_type application/json; return 200 \'{"jsonrpc":"2.0","id":1,"result":{}}\'; } } }\n',
        )
        process = subprocess.Popen([nginx, "-c", str(place / "nginx.conf")], stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            ours = run(
                [sys.executable, "-m", "mcpsec", "audit", f"https://127.0.0.1:{port}/mcp", "--format", "json"], top
            )
            states = {r["state"] for r in json.loads(ours.stdout)["results"] if r["check"] == "TLS002"}
            run([str(sslyze), f"127.0.0.1:{port}", "--json_out", str(place / "sslyze.json")], top)
            document = json.loads((place / "sslyze.json").read_text())
            scan = document["server_scan_results"][0]
            theirs = (scan.get("connectivity_result") or {}).get("client_auth_requirement", scan["scan_status"])
            print(f"| ssl_verify_client {mode} | {', '.join(sorted(states)) or '-'} | {theirs} |")
        finally:
            process.kill()
            process.wait()


def wait_for(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        peers = install(options.peers or top / "peers")
        (top / "files").mkdir()
        files(top / "files", peers)
        print(f"\nsnyk-agent-scan: {snyk(peers['snyk-agent-scan'], top / 'files')}")
        front_ends(top, peers["sslyze"])


if __name__ == "__main__":
    main()
