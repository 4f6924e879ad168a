"""What stands beside the package: the action, the packaging, the recipes for CI, and the pages for people."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from mcpsec.certs.schedule import schedule
from mcpsec.deployment import load, override
from mcpsec.deployment.checks import unreachable_name
from mcpsec.deployment.scaffold import create
from tests.audit.helpers import failing, judged
from tests.fixtures.walks import blocks
from tests.system.test_commands_in_docs import parse
from tests.test_house import FLOORS

ROOT = Path(__file__).parents[2]
PEOPLE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
TOP = {
    ".ci", ".gitignore", ".pre-commit-hooks.yaml", "LICENSE", "action.yml", "benchmarks", "completions", "docs",
    "hatch_build.py", "mcpsec", "packaging", "pyproject.toml", "tests", "zensical.toml", *PEOPLE,
}  # fmt: skip


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not in a git checkout: git clone the repository")
def test_the_top_level_holds_what_belongs_there() -> None:
    """A file that somebody left behind there would go to everybody who clones."""
    listed = subprocess.run(["git", "ls-tree", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    assert set(os.fsdecode(listed.stdout).split()) == TOP


def test_the_source_distribution_holds_what_its_tests_look_at() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert {*targets["sdist"]["include"]} == TOP - {".gitignore", "pyproject.toml"}  # which hatchling adds itself


def follows(schema: str, file: Path) -> None:
    program = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
    checked = subprocess.run(program, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("page", PEOPLE)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ROOT / (path or page)
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", each).lower().replace(" ", "-") for each in titles}, target


def test_the_audit_has_nothing_to_say_about_the_packaging() -> None:
    found = judged(ROOT / "packaging")
    kinds = sorted({each.kind for each in found.subjects})
    assert kinds == ["compose", "dockerfile", "kubernetes", "systemd"]
    assert {each.check for each in failing(found)} <= {"SUP005"}  # nobody can know the digest of an image not yet built
    strict = judged(ROOT / "packaging", persona="regular")
    assert failing(strict) == [] and strict.incomplete == []


def test_a_privileged_container_would_be_told(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "packaging", tmp_path / "packaging")
    file = tmp_path / "packaging/docker/compose.yaml"
    file.write_text(file.read_text().replace("cap_drop: [ALL]", "privileged: true"))
    assert {each.check for each in failing(judged(tmp_path))} >= {"DEP002", "DEP003"}


def test_the_compose_file_is_one() -> None:
    follows("compose-spec", ROOT / "packaging/docker/compose.yaml")


def test_the_image_is_made_of_what_its_build_can_see(tmp_path: Path) -> None:
    """Dockerfile.dockerignore leaves out all that it does not name."""
    ignored = (ROOT / "packaging/docker/Dockerfile.dockerignore").read_text().split()
    assert ignored[0] == "*"
    dockerfile = (ROOT / "packaging/docker/Dockerfile").read_text()
    copied = [name for line in re.findall(r"(?m)^COPY (?!--)(.*) \S+$", dockerfile) for name in line.split()]
    assert copied and {f"!{name}" for name in copied} <= {*ignored}
    for name in copied:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]  # as `pip install .` does in the image
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len([*tmp_path.glob("dist/*.whl")]) == 1


def test_a_deployment_behind_compose_answers_by_the_published_name(tmp_path: Path) -> None:
    """Steps of its comment, in their order; inside the container the gateway listens on an address that is no name."""
    text = (ROOT / "packaging/docker/compose.yaml").read_text()
    create(tmp_path / "deployment")
    named = re.findall(r"(?m)^#   (sed .*)$", text)
    assert len(named) == 1
    subprocess.run(["sh", "-euc", named[0]], cwd=tmp_path, check=True)
    gateway = yaml.safe_load(text)["services"]["gateway"]
    *_, listen = gateway["command"]
    told = override(load(tmp_path / "deployment/mcpsec.toml"), listen=listen).server
    assert unreachable_name(told) is None
    address, published, inside = gateway["ports"][0].rsplit(":", 2)
    assert f"{address}:{published}" in told.allowed_hosts and listen.endswith(f":{inside}")
    assert told.admin is not None and f"http://{told.admin.listen}/readyz" in gateway["healthcheck"]["test"][-1]
    for volume in gateway["volumes"]:
        assert (tmp_path / volume.split(":")[0]).is_dir(), volume


def test_what_the_manifests_ask_for_is_what_init_writes(tmp_path: Path) -> None:
    text = (ROOT / "packaging/kubernetes/mcpsec.yaml").read_text()
    create(tmp_path / "d")
    files = [tmp_path / "d" / name for name in re.findall(r"--from-file=(\S+)", text)]
    assert len(files) == 6 and all(file.is_file() for file in files)
    deployment = next(each for each in yaml.safe_load_all(text) if each["kind"] == "Deployment")
    gateway = deployment["spec"]["template"]["spec"]["containers"][0]
    mounted = {each["mountPath"] for each in gateway["volumeMounts"]}
    for path in map(Path, re.findall(r'= "(/\S+)"', text)):
        assert str(path.parent) in mounted, path
        assert path.name in {file.name for file in files} or path.suffix == ".jsonl", path
    assert set(re.findall(r'crl = "(\S+?)"', text)) == {"/run/secrets/pki/client-ca.crl"}  # where a new one is seen


def test_the_job_that_renews_runs_the_image_that_is_built_here(tmp_path: Path) -> None:
    tag = re.findall(r"docker build .* -t (\S+)", (ROOT / "packaging/docker/Dockerfile").read_text())
    job = tmp_path / "job.yaml"
    job.write_text(schedule("kubernetes", Path("/pki")))
    pod = yaml.safe_load(job.read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert [pod["containers"][0]["image"]] == tag
    assert failing(judged(job, persona="regular")) == []


@pytest.mark.parametrize("unit", ["mcpsec.service", "mcpsec-audit.service"])
def test_the_units_run_commands_that_exist(unit: str) -> None:
    program, *words = re.findall(r"(?m)^ExecStart=(.*)$", (ROOT / "packaging/systemd" / unit).read_text())[0].split()
    assert Path(program).name == "mcpsec"
    parse(words)


def test_the_manifests_refer_to_what_is_there() -> None:
    documents = {
        each["kind"]: each for each in yaml.safe_load_all((ROOT / "packaging/kubernetes/mcpsec.yaml").read_text())
    }
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    volumes = {each["name"] for each in pod["volumes"]}
    for container in [*pod["initContainers"], *pod["containers"]]:
        assert {each["name"] for each in container["volumeMounts"]} <= volumes
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert documents["Service"]["spec"]["selector"] == labels
    assert documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_the_units_are_understood(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    for unit in (ROOT / "packaging/systemd").iterdir():
        text = unit.read_text().replace("/opt/mcpsec/bin/mcpsec", "/bin/true")
        (tmp_path / unit.name).write_text(text.replace("notify-reload", "notify"))  # since systemd 253
    for unit in tmp_path.iterdir():
        checked = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
        ours = [line for line in checked.stderr.splitlines() if unit.name in line or str(tmp_path) in line]
        assert ours == []


def test_the_action_is_one() -> None:
    follows("github-actions", ROOT / "action.yml")
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    for step in action["runs"]["steps"]:
        # What a caller writes must never become text of a script.
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize(("flaw", "code"), [("", "0"), ("privileged: true", "1")])
def test_the_action_judges(flaw: str, code: str, tmp_path: Path) -> None:
    """Its own script, run as a runner runs it."""
    steps = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    script = next(each["run"] for each in steps if each.get("id") == "judge")
    home, runner = tmp_path / "repository", tmp_path / "runner"
    (runner / "mcpsec/bin").mkdir(parents=True)
    (runner / "mcpsec/bin/mcpsec").symlink_to(Path(sys.executable).with_name("mcpsec"))
    shutil.copytree(ROOT / "packaging/docker", home / "docker")
    if flaw:
        compose = home / "docker/compose.yaml"
        compose.write_text(compose.read_text().replace("read_only: true", flaw))
    output, summary = tmp_path / "output", tmp_path / "summary"
    environment = {
        **os.environ,
        "RUNNER_TEMP": str(runner),
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
        "TARGETS": "docker",
        "FAIL_ON": "high",
        "SECRETS": "true",
        "ARGUMENTS": "--persona\nregular",
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert told["code"] == code
    assert {path.name for path in Path(told["sarif"]).iterdir()} == {"audit.sarif", "secrets.sarif"}
    assert "Mutual TLS" in summary.read_text()
    hostile = {**environment, "TARGETS": "$(touch pwned)", "ARGUMENTS": "`touch pwned`"}
    subprocess.run(["bash", "-e", "-c", script], cwd=home, env=hostile, capture_output=True)
    assert not (home / "pwned").exists()


def test_the_recipes_for_ci_follow_their_schemas(tmp_path: Path) -> None:
    texts = {block.what: block.text for block in blocks(ROOT / "docs/guides/ci.md")}
    workflow, gitlab = tmp_path / "workflow.yml", tmp_path / "gitlab.yml"
    workflow.write_text(texts["github"])
    gitlab.write_text(texts["gitlab"])
    follows("github-workflows", workflow)
    follows("gitlab-ci", gitlab)
    inputs = set(yaml.safe_load((ROOT / "action.yml").read_text())["inputs"])
    used = yaml.safe_load(texts["github"])["jobs"]["audit"]["steps"][-1]["with"]
    assert set(used) <= inputs
    listed = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/guides/ci.md").read_text(), re.MULTILINE)
    assert set(listed) == inputs


def test_the_page_of_the_house_shows_its_floors() -> None:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    shown = [{room for level, room in rows if int(level) == number} for number in range(len(FLOORS), 0, -1)]
    assert shown == FLOORS
