"""What a command line starts: which package by which runner, which image with which options, which shell script."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

__all__ = [
    "Container",
    "Package",
    "Shell",
    "container_of",
    "downloads_into_shell",
    "packages_of",
    "program",
    "shell_of",
]

_SHELLS = {"sh", "bash", "zsh", "dash", "ksh", "fish", "powershell", "pwsh", "cmd"}
_NPM = {"npx": 0, "bunx": 0, "pnpx": 0}
_NPM_SUB = {("npm", "exec"), ("npm", "x"), ("pnpm", "dlx"), ("pnpm", "exec"), ("yarn", "dlx"), ("bun", "x")}
_NPM_VALUES = {
    "-p",
    "--package",
    "--registry",
    "--cache",
    "--prefix",
    "-w",
    "--workspace",
    "-c",
    "--call",
    "--userconfig",
}
_UV_VALUES = {
    "--from", "--with", "--python", "-p", "--index-url", "-i", "--extra-index-url", "--index", "--default-index",
    "--with-editable", "--with-requirements", "--constraint", "-c", "--refresh-package", "--directory", "--project",
    "--cache-dir", "--env-file", "--config-file", "--isolated-with", "--spec", "--pip-args", "--find-links", "-f",
    "--exclude-newer", "--resolution", "--prerelease",
}  # fmt: skip
_DOCKER_VALUES = frozenset(
    """
    -v --volume --mount -e --env --env-file -p --publish --name --network --net -u --user -w --workdir --entrypoint
    --cap-add --cap-drop --security-opt --pid --ipc --uts --userns -m --memory --cpus --label -l --add-host
    --platform --restart --tmpfs --device --gpus -h --hostname --log-driver --log-opt --pull --runtime --shm-size
    --ulimit --dns --volumes-from --pids-limit --secret --group-add --cidfile --stop-timeout --network-alias -a
    --attach --memory-swap --annotation --cgroupns --health-cmd --init-path --ip --mac-address
    """.split()  # noqa: SIM905
)
_WRAPPERS = {
    "sudo": "ugpCDRTUrth", "exec": "a", "nice": "n", "nohup": "", "time": "fo", "command": "", "env": "uC",
    "timeout": "sk", "setsid": "", "stdbuf": "ioe", "ionice": "cnp",
}  # fmt: skip
"""Programs that start the one behind them, and their options (letters) that take a value."""
_WRAPPERS_LONG = frozenset(
    """
    --user --group --prompt --close-from --chdir --chroot --command-timeout --other-user --role --type --host
    --adjustment --format --output --unset --signal --kill-after --input --error --class --classdata --pid
    """.split()  # noqa: SIM905
)
"""Their long options that take a value, which may be the next word."""
_LENDERS = frozenset(("dotenvx", "doppler", "op", "infisical", "aws-vault", "teller", "chamber"))
"""Programs that start what stands behind ``--`` with secrets in its environment."""
_FETCH_PIPE = re.compile(
    r"(?:curl|wget|iwr|invoke-webrequest|invoke-restmethod|irm)\b[^|;&\n]*\|\s*(?:sudo\s+)?(?:env\s+\S+\s+)*"
    r"(?:\S*/)?(?:ba|z|da|k)?sh\b|(?:curl|wget)\b[^|;&\n]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:python[0-9.]*|node|perl|ruby)\b"
    r"|(?:ba|z|da|k)?sh\s+(?:-c\s+)?[\"']?(?:<\(|\$\()\s*(?:curl|wget)\b|\beval\s+[\"']?\$\(\s*(?:curl|wget)\b"
    r"|\b(?:iwr|irm|invoke-webrequest|invoke-restmethod)\b[^|\n]*\|\s*iex\b",
    re.I,
)


@dataclass(frozen=True)
class Package:
    """A package that a runner fetches: ``version`` empty when none is named; ``index`` of the word that names it."""

    ecosystem: str
    name: str
    version: str
    index: int
    text: str

    @property
    def pinned(self) -> bool:
        """True when exactly one version, or one commit, can be meant."""
        if self.version.startswith("git+") or self.ecosystem == "git":
            return bool(re.search(r"[0-9a-f]{40}\b", self.version))
        if self.ecosystem == "url":
            return "#sha256=" in self.version
        exact = (
            r"v?\d+\.\d+\.\d+(?:[-+.][0-9A-Za-z.+-]+)?"
            if self.ecosystem == "npm"
            else r"v?\d+(?:\.\d+)*[0-9A-Za-z.+-]*"
        )
        if self.ecosystem == "npm":
            return bool(re.fullmatch(exact, self.version))
        return bool(re.fullmatch(exact, self.version)) and "*" not in self.version


@dataclass(frozen=True)
class Shell:
    """A shell as the program: the script that it is given, empty for none."""

    name: str
    script: str
    index: int
    file: bool = False
    """It runs a script's file."""


@dataclass(frozen=True)
class Container:
    """``docker run``: its options (name, value, index of the word) and image."""

    options: list[tuple[str, str, int]]
    image: str
    index: int
    arguments: list[str] = field(default_factory=list)

    def values(self, *names: str) -> Iterator[tuple[str, int]]:
        """The values of some options."""
        yield from ((value, index) for name, value, index in self.options if name in names)


def program(word: str) -> str:
    """The bare name of a program: no directory, no extension."""
    name = PureWindowsPath(word).name if "\\" in word else PurePosixPath(word).name
    return re.sub(r"(?i)\.(?:exe|cmd|bat|ps1)$", "", name).lower()


def _begin(words: Sequence[str]) -> int:
    """Where the program stands behind ``env A=b``, ``sudo -u app``, ``doppler run --``, ``cmd /c`` and their like."""
    at = 0
    while at < len(words):
        name = program(words[at])
        if name in _WRAPPERS and at + 1 < len(words):
            at = _behind_options(words, at + 1, _WRAPPERS[name])
            while name in ("env", "sudo") and at < len(words) and "=" in words[at]:
                at += 1
            at += name == "timeout"  # its duration
        elif name in _LENDERS and "--" in words[at:]:
            at = words.index("--", at) + 1
        elif name == "cmd" and at + 1 < len(words) and words[at + 1].lower() in ("/c", "/k"):
            at += 2
        else:
            break
    return at


def _behind_options(words: Sequence[str], at: int, valued: str) -> int:
    """Past a program's options; ``valued`` are the letters of those whose value is the next word."""
    while at < len(words) and words[at].startswith("-"):
        if words[at] == "--":
            return at + 1
        at += 1 + _takes_next(words[at], valued)
    return at


def _takes_next(option: str, valued: str) -> bool:
    """Whether an option's value is the next word: ``-u``, ``-nu``, ``--user``, but not ``-uroot``, ``--user=root``."""
    if option.startswith("--"):
        return option in _WRAPPERS_LONG
    first = next((at for at, letter in enumerate(option) if letter in valued), 0)
    return first == len(option) - 1 > 0


def packages_of(words: Sequence[str]) -> list[Package]:
    """The packages that a command line would fetch and run."""
    at = _begin(words)
    if at >= len(words):
        return []
    name, rest = program(words[at]), list(words[at + 1 :])
    if name in ("npx", "bunx", "pnpx"):
        return _npm(rest, at + 1)
    if rest and (name, rest[0]) in _NPM_SUB:
        return _npm(rest[1:], at + 2)
    if name == "uvx" or (name == "uv" and rest[:2] == ["tool", "run"]):
        skip = 0 if name == "uvx" else 2
        return _uv(rest[skip:], at + 1 + skip, ("--from", "--with"))
    if name == "uv" and rest[:1] == ["run"]:
        return _uv(rest[1:], at + 2, ("--with",), positional=False)
    if name == "pipx" and rest[:1] == ["run"]:
        return _uv(rest[1:], at + 2, ("--spec",))
    if name == "deno":
        return [_npm_package(word[4:], at + 1 + i) for i, word in enumerate(rest) if word.startswith("npm:")][:1]
    return []


def _options(rest: list[str], valued: frozenset[str] | set[str]) -> Iterator[tuple[str, str, int]]:
    """Options with their values, then the first positional word under the name ``""``."""
    at = 0
    while at < len(rest):
        word = rest[at]
        if word == "--":
            if at + 1 < len(rest):
                yield "", rest[at + 1], at + 1
            return
        if not word.startswith("-"):
            yield "", word, at
            return
        name, equals, value = word.partition("=")
        if equals:
            yield name, value, at
        elif name in valued and at + 1 < len(rest):
            at += 1
            yield name, rest[at], at
        else:
            yield name, "", at
        at += 1


def _npm(rest: list[str], offset: int) -> list[Package]:
    found, positional = [], None
    for name, value, index in _options(rest, _NPM_VALUES):
        if name in ("-p", "--package") and value:
            found.append(_npm_package(value, offset + index))
        elif name == "":
            positional = _npm_package(value, offset + index)
    if not found and positional is not None:
        found = [positional]
    return [package for package in found if package.name]


def _npm_package(text: str, index: int) -> Package:
    if re.match(r"(?:\.{0,2}/|~|file:|[A-Za-z]:\\)", text) or refers_to_variable(text):
        return Package("npm", "", "", index, text)
    if text.startswith(("git+", "github:", "git://", "gitlab:", "bitbucket:")) or re.fullmatch(
        r"[\w.-]+/[\w.-]+(?:#\S+)?", text
    ):
        base, _, reference = text.partition("#")
        return Package("git", base, reference, index, text)
    if text.startswith(("http://", "https://")):
        return Package("url", text, text, index, text)
    scope = 1 if text.startswith("@") else 0
    name, _, version = text[scope:].partition("@")
    return Package("npm", text[:scope] + name, version, index, text)


def _uv(rest: list[str], offset: int, sources: tuple[str, ...], *, positional: bool = True) -> list[Package]:
    found, source, command = [], False, None
    for name, value, index in _options(rest, _UV_VALUES):
        if name in sources and value:
            source = source or name != "--with"
            found += [_python_package(part, offset + index) for part in value.split(",")]
        elif name == "":
            command = _python_package(value, offset + index)
    if positional and not source and command is not None:
        found.append(command)
    return [package for package in found if package.name]


def _python_package(text: str, index: int) -> Package:
    text = text.strip()
    if re.match(r"(?:\.{0,2}/|~|\.$|file:|[A-Za-z]:\\)", text) or refers_to_variable(text):
        return Package("pypi", "", "", index, text)
    bare = re.sub(r"^[\w.-]+\s*@\s*(?=git\+|https?:)", "", text)
    if bare.startswith("git+"):
        base, _, reference = bare[4:].rpartition("@")
        fixed = reference if base and "/" not in reference else ""
        return Package("git", base or bare[4:], fixed.partition("#")[0], index, text)
    if bare.startswith(("http://", "https://")):
        return Package("url", bare, bare, index, text)
    match = re.fullmatch(
        r"([A-Za-z0-9][\w.-]*)(\[[^\]]*\])?\s*(?:(===?|@)\s*([^\s,;]+)|([<>~!][^;]*))?\s*(?:;.*)?", text
    )
    if match is None:
        return Package("pypi", "", "", index, text)
    return Package("pypi", match[1], match[4] or "", index, text)


def refers_to_variable(text: str) -> bool:
    """True for a word whose value only the shell or the client knows."""
    return "${" in text or text.startswith("$") or "{{" in text


def shell_of(words: Sequence[str]) -> Shell | None:
    """The shell that a command line starts, None when it starts another program. ``cmd /c PROGRAM`` is none."""
    at = _begin(words)
    if at >= len(words) or program(words[at]) not in _SHELLS:
        return None
    name = program(words[at])
    for index in range(at + 1, len(words)):
        word = words[index]
        low = word.lower()
        if re.fullmatch(r"-[a-z]*c", word) or low in ("-command", "-encodedcommand", "/c", "/k"):
            return Shell(name, " ".join(words[index + 1 :]), min(index + 1, len(words) - 1))
        if low in ("-file", "-f") and index + 1 < len(words) and name in ("powershell", "pwsh"):
            return Shell(name, "", index + 1, file=True)
        if not word.startswith(("-", "/")) or (word.startswith("/") and name != "cmd"):
            return Shell(name, "", index, file=True)
    return Shell(name, "", at)


def downloads_into_shell(script: str) -> bool:
    """True when a script runs what it downloads."""
    return bool(_FETCH_PIPE.search(script))


def container_of(words: Sequence[str]) -> Container | None:
    """The container that a command line runs, None when it runs none."""
    at = _begin(words)
    if at >= len(words) or program(words[at]) not in ("docker", "podman", "nerdctl"):
        return None
    rest = list(words[at + 1 :])
    while rest and rest[0].startswith("-"):
        skip = 2 if rest[0] in ("-H", "--host", "--context", "-c", "--config") else 1
        rest, at = rest[skip:], at + skip
    if rest[:1] == ["container"]:
        rest, at = rest[1:], at + 1
    if not rest or rest[0] not in ("run", "create"):
        return None
    offset = at + 2
    options: list[tuple[str, str, int]] = []
    for name, value, index in _options(_split_short(rest[1:]), _DOCKER_VALUES):
        if name == "":
            return Container(options, value, offset + index, rest[index + 2 :])
        options.append((name, value, offset + index))
    return Container(options, "", offset - 1)


def _split_short(rest: list[str]) -> list[str]:
    """``-eNAME=value`` and ``-v/a:/b`` as ``-e=NAME=value``: one word each, so that indexes stay."""
    return [
        re.sub(r"^(-[evpuwm])(?!=)(\S+)$", r"\1=\2", word) if re.match(r"-[evpuwm][^=-]", word) else word
        for word in rest
    ]
