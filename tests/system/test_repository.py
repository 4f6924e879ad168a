"""What stands beside the package: the action, the packaging, the recipes for CI, and the pages for people."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
import yaml

from mcpsec.certs import Pki, Purpose
from mcpsec.certs.schedule import schedule
from mcpsec.cli import root
from mcpsec.deployment import load, override
from mcpsec.deployment.checks import unreachable_name
from mcpsec.deployment.files import check
from mcpsec.deployment.scaffold import create
from tests.audit.helpers import failing, judged
from tests.fixtures.walks import blocks
from tests.system.test_commands_in_docs import CONTINUED, parse, words_of
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


HOOK_ALONE = """
import runpy, sys, types
interface = types.ModuleType("hatchling.builders.hooks.plugin.interface")
interface.BuildHookInterface = type("Hook", (), {"__class_getitem__": classmethod(lambda cls, _: cls)})
sys.modules[interface.__name__] = interface
hook = runpy.run_path(sys.argv[1] + "/hatch_build.py")["PackedRules"]()
hook.root, hook.directory, files = sys.argv[1], sys.argv[1] + "/made", {"force_include": {}}
hook.initialize("standard", files)
assert files["force_include"]
"""
"""What the build's hook does, where nothing but Python's own library and the source can be imported."""


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
    # pip builds in an environment with hatchling alone; the one of these tests has all that a hook must not ask for
    alone = [sys.executable, "-I", "-S", "-B", "-c", HOOK_ALONE, str(tmp_path)]
    hooked = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert hooked.returncode == 0, hooked.stderr
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]  # as `pip install .` does in the image
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len([*tmp_path.glob("dist/*.whl")]) == 1


def comment(text: str) -> str:
    """The words of a file's comments, a line that goes on as one."""
    return CONTINUED.sub(" ", "\n".join(re.findall(r"(?m)^ *# ?(.*)$", text)))


def steps(text: str) -> list[str]:
    """Commands that the comments of a file show, in their order: indented, or behind a colon."""
    shown = r"(?m)^(?:  +|.*: )((?:sudo |mcpsec |docker |kubectl |cp |chmod ).*)$"
    return [line.strip() for line in re.findall(shown, comment(text))]


def test_the_commands_in_comments_are_commands() -> None:
    texts = [
        file.read_text() for folder in ("docker", "kubernetes") for file in (ROOT / "packaging" / folder).iterdir()
    ]
    ours = [step for text in texts for step in steps(text) if step.startswith("mcpsec ")]
    assert len(ours) >= 5
    for step in ours:
        parse(words_of(step))


def test_a_deployment_behind_compose_answers_by_the_published_name(tmp_path: Path) -> None:
    """Inside the container the gateway listens on an address that is no name."""
    text = (ROOT / "packaging/docker/compose.yaml").read_text()
    create(tmp_path / "deployment")
    names = re.findall(r"(?m)^#   (allowed_hosts = .*)$", text)
    assert len(names) == 1
    file = tmp_path / "deployment/mcpsec.toml"
    written, count = re.subn(r"(?m)^#allowed_hosts = .*$", names[0], file.read_text())
    assert count == 1
    file.write_text(written)
    gateway = yaml.safe_load(text)["services"]["gateway"]
    *_, listen = gateway["command"]
    told = override(load(file), listen=listen).server
    assert unreachable_name(told) is None
    address, published, inside = gateway["ports"][0].rsplit(":", 2)
    assert f"{address}:{published}" in told.allowed_hosts and listen.endswith(f":{inside}")
    assert told.admin is not None and f"http://{told.admin.listen}/readyz" in gateway["healthcheck"]["test"][-1]
    for volume in gateway["volumes"]:
        assert (tmp_path / volume.split(":")[0]).is_dir(), volume


def test_the_account_behind_compose_has_what_it_serves_with_and_no_other_key() -> None:
    """Steps of its comment, as they are typed; who may call has kept the files to call with."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be the container's account for a while")
    text = (ROOT / "packaging/docker/compose.yaml").read_text()
    account = int(yaml.safe_load(text)["services"]["gateway"]["user"].split(":")[0])
    shown = steps(text)
    before = [step.removeprefix("sudo ") for step in shown[: shown.index("docker compose up --detach")]]
    assert before[0] == "mcpsec init deployment" and len(before) == 4
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        home = place / "deployment"
        create(home)
        assert check(load(home / "mcpsec.toml")) == []
        with Pki.open(home / "pki") as pki:
            pki.renew("gateway")  # everything is imported by now: a plain user may not read root's Python
        (home / "mcpsec.toml").chmod(0o600)  # as a strict umask leaves it
        subprocess.run(["sh", "-euc", "\n".join(before[1:])], cwd=place, check=True)
        keys = {file.relative_to(home).as_posix() for file in home.rglob("*key*.pem")} | {"secrets/agent.hmac"}
        os.seteuid(account)
        try:
            assert check(load(home / "mcpsec.toml")) == []
            with Pki.open(home / "pki") as pki:
                assert pki.renew("gateway").purpose is Purpose.SERVER
            read = {key for key in keys if os.access(home / key, os.R_OK, effective_ids=True)}
        finally:
            os.seteuid(0)
        assert read == {"secrets/agent.hmac", "pki/server/gateway/key.pem", "pki/private/server/key-1.pem"}
        assert len(keys - read) == 3  # the root's, the client CA's, the client's own
        call = next(words_of(step) for step in shown if "sign --send" in step)
        for option in ("--secret-file", "--cert", "--key", "--ca"):
            file = place / call[call.index(option) + 1]
            assert file.is_file() and file.stat().st_uid == 0, file


def test_what_the_manifests_ask_for_is_what_init_writes(tmp_path: Path) -> None:
    text = (ROOT / "packaging/kubernetes/mcpsec.yaml").read_text()
    create(tmp_path / "d")
    files = [tmp_path / "d" / name for name in re.findall(r"--from-file=(\S+)", text)]
    assert len(files) == 10 and all(file.is_file() for file in files)
    made = [step for step in steps(text) if " create secret generic mcpsec-pki " in step]
    first, again = (step.partition("--dry-run=client -o yaml | kubectl replace -f -") for step in made)
    assert first[0] == again[0].rstrip() and not first[1] and again[1]
    deployment = next(each for each in yaml.safe_load_all(text) if each["kind"] == "Deployment")
    gateway = deployment["spec"]["template"]["spec"]["containers"][0]
    mounted = {each["mountPath"] for each in gateway["volumeMounts"]}
    for path in map(Path, re.findall(r'= "(/\S+)"', text)):
        assert str(path.parent) in mounted, path
        assert path.name in {file.name for file in files} or path.suffix == ".jsonl", path
    assert set(re.findall(r'crl = "(\S+?)"', text)) == {"/run/secrets/pki/client-ca.crl"}  # where a new one is seen
    volumes = {each["name"]: each for each in deployment["spec"]["template"]["spec"]["volumes"]}
    shown = {each["name"] for each in gateway["volumeMounts"]} & {name for name in volumes if "secret" in volumes[name]}
    items = [item["key"] for name in shown for item in volumes[name]["secret"]["items"]]
    assert items == ["client-ca.pem", "client-ca.crl"]  # keys only where the gateway's own copies are


def test_the_comment_of_the_manifests_leaves_nothing_out() -> None:
    text = (ROOT / "packaging/kubernetes/mcpsec.yaml").read_text()
    *documents, policy = yaml.safe_load_all(text)
    sides = [*policy["spec"]["ingress"][0]["from"], *policy["spec"]["egress"][1]["to"]]
    labels = [f"{key}={value}" for each in sides for key, value in each["namespaceSelector"]["matchLabels"].items()]
    given = [step.split()[-1] for step in steps(text) if step.startswith("kubectl label namespace ")]
    assert given == labels == ["mcpsec-clients=true", "mcpsec-servers=true"]
    build = re.findall(r"(?m)^#   (docker build .*)$", (ROOT / "packaging/docker/Dockerfile").read_text())
    assert build[0] in steps(text)
    claim = next(each for each in documents if each["kind"] == "PersistentVolumeClaim")
    assert "storageClassName" not in claim["spec"] and "default storage class" in comment(text)


def test_the_job_that_renews_runs_the_image_that_is_built_here(tmp_path: Path) -> None:
    tag = re.findall(r"docker build .* -t (\S+)", (ROOT / "packaging/docker/Dockerfile").read_text())
    job = tmp_path / "job.yaml"
    job.write_text(schedule("kubernetes", Path("/pki")))
    pod = yaml.safe_load(job.read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert [pod["containers"][0]["image"]] == tag
    # Keys belong to whom the image runs as, and to no group.
    image = re.findall(r"(?m)^USER (\d+):(\d+)$", (ROOT / "packaging/docker/Dockerfile").read_text())
    account = pod["securityContext"]
    assert [(str(account["runAsUser"]), str(account["runAsGroup"]))] == image and "fsGroup" not in account
    assert failing(judged(job, persona="regular")) == []


def test_the_page_makes_the_accounts_that_its_units_run_as() -> None:
    lines = next(block.text for block in blocks(ROOT / "docs/guides/packaging.md")).splitlines()
    made = {line.split()[-1] for line in lines if line.startswith("useradd ")}
    ask = next(words_of(line.removeprefix("/opt/mcpsec/bin/")) for line in lines if " schedule systemd" in line)
    parse(ask)
    user = ask[ask.index("--user") + 1]
    texts = [file.read_text() for file in (ROOT / "packaging/systemd").glob("*.service")]
    texts.append(schedule("systemd", Path("/etc/mcpsec/pki"), user=user))
    assert {name for text in texts for name in re.findall(r"(?m)^User=(.*)$", text)} <= made
    assert not re.search(r"(?m)^[#$] [a-z/]", "\n".join(lines))  # pasted, such a line does nothing


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
    package = yaml.safe_load(texts["gitlab"])["mcpsec"]["variables"]["MCPSEC_PACKAGE"]
    assert re.search(r"/mcpsec/-/archive/(\w+)/mcpsec-\1\.tar\.gz$", package)  # GitHub's form is another
    inputs = set(yaml.safe_load((ROOT / "action.yml").read_text())["inputs"])
    used = yaml.safe_load(texts["github"])["jobs"]["audit"]["steps"][-1]["with"]
    assert set(used) <= inputs
    listed = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/guides/ci.md").read_text(), re.MULTILINE)
    assert set(listed) == inputs


def test_completions_go_where_the_help_says(tmp_path: Path) -> None:
    """In a home that has no such directory yet."""
    shown = re.findall(r"(?m)^\$ (.*)$", root.load("completions").epilog or "")
    ours = [line for line in shown if "zsh" not in line and "powershell" not in line]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = ["sh", "-euc", "\n".join(ours)]
    subprocess.run(run, env={**os.environ, "HOME": str(tmp_path), "PATH": path}, check=True)
    written = {file.name for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size > 1000}
    assert written == {"mcpsec", "mcpsec.fish"}


def test_the_page_of_the_house_shows_its_floors() -> None:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    shown = [{room for level, room in rows if int(level) == number} for number in range(len(FLOORS), 0, -1)]
    assert shown == FLOORS
