"""What is installed is what was locked, what is shipped says what is in it, and a wheel is its source and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci"
LOCK = CI / "requirements.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def entries(text: str) -> dict[str, list[str]]:
    """Each entry of a lock file with its lines."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            name = line.rstrip("\\ ").strip()
            found[name] = []
        elif line.startswith(" "):
            found[name].append(line.strip().rstrip("\\ ").strip())
    return found


def wanted() -> list[Requirement]:
    more = [line.split("#")[0].strip() for line in (CI / "requirements.in").read_text().splitlines()]
    texts = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"], *filter(None, more)]
    return [Requirement(text) for text in texts]


def unlocked(text: str) -> list[str]:
    """The requirements that a lock file does not hold, in words."""
    locked = {canonicalize_name(Requirement(entry).name): Requirement(entry) for entry in entries(text)}
    missing = []
    for requirement in wanted():
        entry = locked.get(canonicalize_name(requirement.name))
        version = str(next(iter(entry.specifier)).version) if entry else ""
        if entry is None or not requirement.specifier.contains(version, prereleases=True):
            missing.append(str(requirement))
    return missing


def test_the_lock_holds_every_dependency_with_hashes() -> None:
    text = LOCK.read_text()
    assert not unlocked(text), "stale: run .ci/lock"
    for entry, lines in entries(text).items():
        assert re.fullmatch(r"[\w.-]+==[\w.+!-]+(?: ; .+)?", entry), entry
        assert lines, f"{entry} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in lines), entry
    assert "://" not in text
    assert "index-url" not in text
    # and what it leaves out is found
    without = "\n".join(line for line in text.splitlines() if not line.startswith("orjson=="))
    assert unlocked(without) == ["orjson>=3.10"]
    assert unlocked(re.sub(r"(?m)^orjson==\S+", "orjson==3.9.0", text)) == ["orjson>=3.10"]


def test_the_lock_is_for_every_python_that_the_project_is_for() -> None:
    """No marker of an entry leaves a supported version of Python without it."""
    assert PROJECT["requires-python"] == ">=3.11"
    for requirement in map(Requirement, entries(LOCK.read_text())):
        text = str(requirement.marker or "")
        for version in re.findall(r"python_(?:full_)?version >= '([\d.]+)'", text):
            assert SpecifierSet(">=3.11").contains(version), requirement


def test_the_gate_installs_from_the_lock() -> None:
    text = (CI / "run").read_text()
    assert "--require-hashes -r .ci/requirements.txt" in text
    assert "--no-deps --no-build-isolation -e ." in text


def test_a_file_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    """pip itself refuses a package whose bytes are not those of the lock; the right bytes are installed."""
    package = tmp_path / "dist" / "tiny_thing-1.0-py3-none-any.whl"
    package.parent.mkdir()
    with zipfile.ZipFile(package, "w") as wheel:
        wheel.writestr("tiny_thing.py", "")
        wheel.writestr("tiny_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_thing-1.0.dist-info/RECORD", "")
    import hashlib

    right = hashlib.sha256(package.read_bytes()).hexdigest()
    codes = []
    for digest in (right, "0" * 64):
        lock = tmp_path / "lock.txt"
        lock.write_text(f"tiny-thing==1.0 --hash=sha256:{digest}\n")
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", str(package.parent)]
        if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
            command = [
                "uv",
                "pip",
                "install",
                "-q",
                "--no-index",
                "--no-cache",
                "--python",
                sys.executable,
                "--find-links",
                str(package.parent),
            ]
            if shutil.which("uv") is None:
                pytest.skip("neither pip nor uv is here; install with: python -m ensurepip")
        command += ["--target", str(tmp_path / digest[:6]), "--require-hashes", "-r", str(lock)]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        codes.append(run.returncode)
        if digest != right:
            assert "hash" in run.stderr.lower()
    assert codes[0] == 0
    assert codes[1] != 0


# --- what is shipped --------------------------------------------------------------------------------------------------


def sbom(*arguments: str, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, str(CI / "sbom.py"), *arguments],
        capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_bill_of_materials_is_valid_complete_and_the_same_every_time() -> None:
    schema = pytest.importorskip("cyclonedx.schema", reason="install with: pip install -e '.[dev]'")
    validation = pytest.importorskip("cyclonedx.validation.json")
    text = sbom(SOURCE_DATE_EPOCH="1700000000")
    assert validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text) is None
    assert sbom(SOURCE_DATE_EPOCH="1700000000") == text
    found = json.loads(text)
    assert found["metadata"]["component"]["name"] == "mcpsec-toolkit"
    components = {each["name"]: each for each in found["components"]}
    for requirement in map(Requirement, PROJECT["dependencies"]):
        if requirement.marker is None or requirement.marker.evaluate():
            assert canonicalize_name(requirement.name) in components
    assert {"cffi", "certifi", "click"} & components.keys(), "what dependencies need themselves"
    assert not {"pytest", "mypy", "boto3"} & components.keys(), "what is not shipped is not in it"
    assert all("licenses" in each for each in components.values()), [
        name for name, each in components.items() if "licenses" not in each
    ]
    refs = {each["bom-ref"] for each in found["components"]} | {found["metadata"]["component"]["bom-ref"]}
    assert {each["ref"] for each in found["dependencies"]} == refs
    assert {other for each in found["dependencies"] for other in each["dependsOn"]} <= refs
    assert "boto3" in {each["name"] for each in json.loads(sbom("--extra", "aws"))["components"]}


def built(source: Path, umask: str, when: int) -> bytes:
    """A wheel of the project from its own copy of the source, with other dates and rights on the files."""
    source.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "mcpsec", source / "mcpsec", ignore=shutil.ignore_patterns("__pycache__"))
    for path in sorted(source.rglob("*"), reverse=bool(when % 2)):
        os.utime(path, (when, when))
    run = subprocess.run(
        ["sh", "-c", f"umask {umask} && exec {sys.executable} -m hatchling build -t wheel -d out"],
        cwd=source, capture_output=True, text=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    (wheel,) = (source / "out").glob("*.whl")
    return wheel.read_bytes()


def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="install with: pip install -e '.[dev]'")
    first = built(tmp_path / "one", "022", 1_600_000_000)
    assert built(tmp_path / "another place", "077", 1_700_000_001) == first
    with zipfile.ZipFile(next((tmp_path / "one" / "out").glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if not name.split("/")[0].endswith(".dist-info")}
    source = {
        str(path.relative_to(ROOT)) for path in (ROOT / "mcpsec").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    assert names == source | {"mcpsec/leaks/rules.packed"}, (
        "beside the source only what hatch_build.py makes of the rules"
    )


# --- known vulnerabilities, offline -----------------------------------------------------------------------------------


def record(name: str, **affected: Any) -> dict[str, Any]:
    return {
        "id": f"TEST-{name}",
        "aliases": ["CVE-2026-1"],
        "summary": "Something bad",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name}, **affected}],
    }


def span(*events: dict[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}


DANGEROUS = {
    "listed": record("Some_Thing", versions=["1.1", "1.2"]),
    "since": record("some-thing", **span({"introduced": "0"})),
    "until": record("some-thing", **span({"introduced": "1.0"}, {"fixed": "1.2.1"})),
    "again": record("some-thing", **span({"fixed": "0.9"}, {"introduced": "0"}, {"introduced": "1.1"})),
    "last": record("some-thing", **span({"introduced": "0"}, {"last_affected": "1.2"})),
}
HARMLESS = {
    "fixed": record("some-thing", **span({"introduced": "0"}, {"fixed": "1.2"})),
    "later": record("some-thing", **span({"introduced": "1.3"})),
    "past": record("some-thing", **span({"introduced": "0"}, {"last_affected": "1.1"})),
    "other": record("another-thing", **span({"introduced": "0"})),
    "npm": {"id": "X", "affected": [{"package": {"ecosystem": "npm", "name": "some-thing"}, "versions": ["1.2"]}]},
    "withdrawn": {**record("some-thing", versions=["1.2"]), "withdrawn": "2026-01-01T00:00:00Z"},
    "git": record("some-thing", ranges=[{"type": "GIT", "events": [{"introduced": "0"}]}]),
}


def compared(database: Path, lock: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CI / "vulnerabilities.py"), str(database), str(lock)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("name", [*DANGEROUS, *HARMLESS])
def test_a_vulnerable_version_is_found_and_a_mended_one_is_not(name: str, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("some.thing==1.2 \\\n    --hash=sha256:00\n")
    (tmp_path / "osv").mkdir()
    (tmp_path / "osv" / "one.json").write_text(json.dumps({**DANGEROUS, **HARMLESS}[name]))
    run = compared(tmp_path / "osv", lock)
    assert run.returncode == (1 if name in DANGEROUS else 0), run.stderr
    assert ("some-thing 1.2: TEST-" in run.stdout) is (name in DANGEROUS)


def test_an_export_as_a_zip_file_and_our_own_lock(tmp_path: Path) -> None:
    export = tmp_path / "all.zip"
    with zipfile.ZipFile(export, "w") as archive:
        archive.writestr("a.json", json.dumps(record("orjson", **span({"introduced": "0"}, {"fixed": "3.0"}))))
    assert compared(export, LOCK).returncode == 0
    with zipfile.ZipFile(export, "a") as archive:
        archive.writestr("b.json", json.dumps(record("orjson", **span({"introduced": "0"}))))
    assert compared(export, LOCK).returncode == 1


@pytest.mark.parametrize("broken", ["missing", "empty", "no json", "no zip", "empty lock"])
def test_what_can_not_be_compared_is_not_called_clean(broken: str, tmp_path: Path) -> None:
    database, lock = tmp_path / "osv", tmp_path / "lock.txt"
    lock.write_text("" if broken == "empty lock" else "some-thing==1.2\n")
    if broken in ("empty", "no json", "empty lock"):
        database.mkdir()
    if broken == "no json":
        (database / "a.json").write_text("{")
    if broken == "no zip":
        database.write_text("nothing")
    run = compared(database, lock)
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert "Traceback" not in run.stderr
