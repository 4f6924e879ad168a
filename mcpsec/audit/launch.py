"""What is judged of every command line alike, whoever starts it: a client, the gateway, a container, a unit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from mcpsec.audit import catalogue
from mcpsec.audit.commands import Container, Package, container_of, downloads_into_shell, packages_of, shell_of
from mcpsec.audit.model import Finding
from mcpsec.audit.versions import in_range

if TYPE_CHECKING:
    from mcpsec.audit.subjects import At, Subject
    from mcpsec.clientfiles.positions import Document
    from mcpsec.clientfiles.toml import KeyPath

__all__ = ["Launch", "broad_path", "image_findings", "judge", "socket_or_root"]

_SOCKETS = ("docker.sock", "podman.sock", "containerd.sock", "crio.sock")
_HOME = re.compile(
    r"(?:~|\$HOME|\$\{HOME\}|\$\{env:HOME\}|/home/[^/]+|/Users/[^/]+|/root|[A-Za-z]:\\Users\\[^\\]+|%USERPROFILE%)[/\\]?"
)
_ROOT = re.compile(r"/|[A-Za-z]:[\\/]?|/(?:etc|var|usr|home|Users|root/?|boot|proc|sys|dev)/?")
_FILE_SERVER = re.compile(r"(?i)(?:^|[/_-])(?:server-)?file-?system(?:$|[/@_=-])")


class Launch:
    """One command line with the means to say where each of its words stands."""

    def __init__(
        self,
        subject: Subject,
        words: Sequence[str],
        places: Sequence[KeyPath | At | int],
        *,
        name: str,
        document: Document | None = None,
    ) -> None:
        self.subject = subject
        self.words = list(words)
        self.places = places
        self.name = name
        self.document = document

    def fail(self, check: str, index: int, observed: str, **more: Any) -> Finding:
        """A failing finding at one word."""
        return self.subject.fail(check, self.places[index], observed, name=self.name, document=self.document, **more)

    def ok(self, check: str, index: int, observed: str, **more: Any) -> Finding:
        """A passing finding at one word."""
        return self.subject.ok(check, self.places[index], observed, name=self.name, document=self.document, **more)


def judge(launch: Launch) -> Iterator[Finding]:
    """Judge what a command line fetches, runs, mounts and reaches."""
    if not launch.words:
        return
    packages = packages_of(launch.words)
    for package in packages:
        yield from _package(launch, package)
    yield from _shell(launch)
    container = container_of(launch.words)
    if container is not None:
        yield from _container(launch, container)
    yield from _paths(launch, packages, container)


def _package(launch: Launch, package: Package) -> Iterator[Finding]:
    shown = package.text if len(package.text) < 120 and "://" not in package.text else package.name[:80]
    if package.pinned:
        yield launch.ok("SUP001", package.index, f"{shown} is one exact version")
    else:
        why = f"{package.version} is no exact version" if package.version else "no version is named"
        if package.ecosystem == "git":
            why = "a git reference that is no commit can move"
        if package.ecosystem == "url":
            why = "a download whose digest nobody checks"
        yield launch.fail("SUP001", package.index, f"{shown}: {why}", key=f"package {package.name}")
    known = _vulnerable(package)
    if known is not None:
        text = f"{package.name} {package.version}: {known['id']}, {known['title']}; fixed in {known['fixed']}"
        yield launch.fail(
            "SUP002", package.index, text, severity=known["severity"], key=f"{package.name} {known['id']}"
        )
    elif package.pinned and package.ecosystem in ("npm", "pypi"):
        yield launch.ok("SUP002", package.index, f"{shown} is in no range known to be vulnerable")
    twin = look_alike(package)
    if twin:
        yield launch.fail("SUP004", package.index, f"{package.name} looks like {twin}", key=f"like {twin}")


@cache
def _advisories() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = catalogue.table("advisories.toml")["advisories"]
    return rows


def _vulnerable(package: Package) -> dict[str, Any] | None:
    for row in _advisories():
        same = row["ecosystem"] == package.ecosystem and row["package"].lower() == package.name.lower()
        if same and package.pinned and in_range(package.version, row.get("introduced", "0"), row["fixed"]):
            return row
    return None


@cache
def _well_known() -> dict[str, list[str]]:
    table: dict[str, list[str]] = catalogue.table("packages.toml")
    return table


def look_alike(package: Package) -> str:
    """The well-known package that a name is one keystroke from; empty for itself and for everything else."""
    known = _well_known().get(package.ecosystem, [])
    name = package.name.lower()
    if name in known or len(name) < 6:
        return ""
    return next((other for other in known if _one_edit(name, other)), "")


def _one_edit(one: str, other: str) -> bool:
    """True for names that differ by one character more, less, other, or by two that are swapped."""
    if abs(len(one) - len(other)) > 1 or one == other:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:] and len(a[:2]) == 2)


def _shell(launch: Launch) -> Iterator[Finding]:
    shell = shell_of(launch.words)
    script = " ".join(launch.words)
    if downloads_into_shell(script):
        index = next(
            (i for i, word in enumerate(launch.words) if downloads_into_shell(word)), shell.index if shell else 0
        )
        yield launch.fail("SUP003", index, "runs a script that it downloads", key="download")
    elif shell is not None and shell.script:
        text = f"{shell.name} with a command line is the server"
        yield launch.fail("SUP003", shell.index, text, severity="medium", key="shell")
    elif shell is not None and not shell.file:
        yield launch.fail("PRM006", shell.index, f"the shell {shell.name} itself is the server", key="shell")


def broad_path(text: str) -> str:
    """What is wrong with a path that a server is given: the root, a system directory or a whole home; else empty."""
    if _ROOT.fullmatch(text):
        return (
            "the whole file system"
            if text in ("/", "\\") or re.fullmatch(r"[A-Za-z]:[\\/]?", text)
            else f"all of {text}"
        )
    return "a whole home directory" if _HOME.fullmatch(text) else ""


def _paths(launch: Launch, packages: list[Package], container: Container | None) -> Iterator[Finding]:
    """Directories that a file server is given."""
    at = packages[0].index if packages else (container.index if container else 0)
    names = [package.name for package in packages] + ([container.image] if container else []) + launch.words[:1]
    if not any(_FILE_SERVER.search(name) for name in names):
        return
    given = [(i, word) for i, word in enumerate(launch.words) if i > at and not word.startswith("-")]
    wrong = [(i, broad_path(word)) for i, word in given if broad_path(word)]
    if container is None:
        for index, what in wrong:
            yield launch.fail("PRM006", index, f"the file server is given {what}", key=f"path {launch.words[index]}")
    if given and not wrong:
        yield launch.ok("PRM006", given[0][0], "the file server is given single directories")


def socket_or_root(source: str, *, read_only: bool = False) -> tuple[str, str]:
    """What a mount hands over and how bad it is: severity and words; both empty for a harmless one."""
    if source.endswith(_SOCKETS):
        return "critical", "the container runtime's socket, which is root on the host"
    what = broad_path(source)
    if not what:
        return "", ""
    severe = source in ("/", "/etc", "/root", "/proc", "/sys", "/dev", "/boot") or "file system" in what
    return ("high" if severe and not read_only else "medium" if read_only else "high"), what


def _container(launch: Launch, container: Container) -> Iterator[Finding]:
    wrong = list(_container_faults(launch, container))
    yield from wrong
    if not any(finding.check == "DEP002" for finding in wrong):
        yield launch.ok("DEP002", container.index, "the container gets nothing of the host's")
    if container.image:
        yield from image_findings(launch, container.image, container.index)


def _container_faults(launch: Launch, container: Container) -> Iterator[Finding]:
    for name, value, index in container.options:
        if name == "--privileged" and value.lower() != "false":
            yield launch.fail("DEP002", index, "--privileged", severity="critical", key="privileged")
        elif name in ("--network", "--net") and value == "host":
            yield launch.fail("DEP001", index, "the host's network", severity="medium", key="network host")
        elif name in ("--pid", "--ipc", "--userns", "--uts") and value == "host":
            yield launch.fail("DEP002", index, f"{name} host", key=name)
        elif name == "--cap-add" and value.upper().removeprefix("CAP_") in DANGEROUS_CAPABILITIES:
            yield launch.fail("DEP002", index, f"capability {value}", key=f"capability {value}")
        elif name in ("-v", "--volume"):
            source, _, rest = value.partition(":")
            if re.match(r"^[A-Za-z]$", source):  # C:\…
                source, _, rest = value[2:].partition(":")
                source = value[:2] + source
            yield from _mount(launch, source, index, "ro" in rest.split(":")[-1].split(","))
        elif name == "--mount":
            parts = dict(part.partition("=")[::2] for part in value.split(","))
            source = parts.get("source") or parts.get("src") or ""
            yield from _mount(launch, source, index, "readonly" in parts or "ro" in parts)
        elif name in ("-p", "--publish") and value:
            host = value.rpartition(":")[0].rpartition(":")[0]
            if not host or host in ("0.0.0.0", "[::]"):  # noqa: S104
                yield launch.fail("DEP001", index, f"port {value} on all interfaces", key=f"port {value}")
        elif name == "--security-opt" and ("unconfined" in value or value == "label=disable"):
            yield launch.fail("DEP002", index, f"--security-opt {value}", key=f"security {value}")


DANGEROUS_CAPABILITIES = {
    "ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "DAC_OVERRIDE", "NET_ADMIN", "BPF",
    "SYS_BOOT", "SYS_TIME", "MAC_ADMIN", "SETUID",
}  # fmt: skip
"""Capabilities that lead out of a container, or over its neighbours (capabilities(7))."""


def _mount(launch: Launch, source: str, index: int, read_only: bool) -> Iterator[Finding]:
    severity, what = socket_or_root(source, read_only=read_only)
    if severity:
        yield launch.fail("DEP002", index, f"mounts {what}", severity=severity, key=f"mount {source}")


def image_findings(launch: Launch, image: str, index: int) -> Iterator[Finding]:
    """Judge how an image is named."""
    if "$" in image or "{{" in image:
        return
    digest = "@sha256:" in image
    name = image.partition("@")[0]
    tag = name.rpartition("/")[2].partition(":")[2]
    if digest:
        yield launch.ok("SUP005", index, f"{name} by digest")
        yield launch.ok("SUP006", index, f"{name} by digest")
        return
    yield launch.fail("SUP005", index, f"{image} is named by tag", key=f"image {name.partition(':')[0]}")
    if tag in ("", "latest"):
        yield launch.fail("SUP006", index, f"{image}: " + ("tag latest" if tag else "no tag"), key=f"image {image}")
    else:
        yield launch.ok("SUP006", index, image)
