"""The files that a deployment names: whether they are there, and whether those with secrets are kept safely.

``load`` judges the deployment file alone, so that it can be read on any machine. ``check`` looks at the machine:
``mcpsec config check`` shows what it finds, and ``serve`` refuses to start because of it.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from mcpsec.clientfiles.toml import KeyPath, locate
from mcpsec.deployment.keys import DEPLOYMENT
from mcpsec.deployment.kinds import FilePath
from mcpsec.deployment.loading import MAXIMUM_BYTES
from mcpsec.deployment.model import Deployment, Upstream
from mcpsec.deployment.problems import Problem, Report, dotted
from mcpsec.errors import ConfigurationError, SecretError
from mcpsec.reading import read_file
from mcpsec.secretrefs import FileSource, SecretRef

__all__ = ["check", "report_on"]


def check(deployment: Deployment) -> list[Problem]:
    """Return what is missing or unsafe on this machine, in the order of the file.

    Certificates, keys, CA and CRL files, the log's directory, programs, and secrets in files. Nothing is decrypted, no
    command run, no environment variable looked at: those are the running gateway's.
    """
    report = report_on(deployment)
    if deployment.path:
        _check_writable(deployment.path, report)
    for at, kind, value in DEPLOYMENT.leaves(deployment, ()):
        if isinstance(value, SecretRef):
            _check_secret(value, at, report)
        elif isinstance(kind, FilePath):
            _check_path(value, kind.role, at, report)
    for upstream in deployment.upstreams.values():
        _check_program(upstream, report)
        _check_account(upstream, report)
    return report.sorted()


def report_on(deployment: Deployment) -> Report:
    """A report on a deployment that was loaded, with the places of its keys."""
    path = deployment.path
    report = Report(path, path.parent if path else Path.cwd())
    if path:
        try:
            report.locations = locate(read_file(path, MAXIMUM_BYTES).decode("utf-8-sig"))
        except (OSError, ValueError, RecursionError, ConfigurationError):
            report.locations = {}  # changed since it was loaded: the findings hold, only their lines are lost
    return report


def _check_writable(path: Path, report: Report) -> None:
    if os.name != "nt" and path.exists() and path.stat().st_mode & stat.S_IWOTH:
        report.add(
            (), "everybody on this machine can change this file, and with it who may do what", f"chmod o-w {path}"
        )


def _check_secret(reference: SecretRef, at: KeyPath, report: Report) -> None:
    try:
        reference.check()
    except SecretError as error:
        report.add(at, f"{dotted(at)}: {error}", error.hint)


def _check_path(path: Path, role: str, at: KeyPath, report: Report) -> None:
    name = dotted(at)
    if role == "new file":
        existing = next(parent for parent in path.parents if parent.exists())  # what is missing below is made
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            report.add(at, f"{name}: the directory {existing} can't be written to")
    elif role == "directory":
        if not path.is_dir():
            report.add(at, f"{name}: there is no directory {path}")
    elif role == "private file":
        try:
            FileSource(path).check()
        except SecretError as error:
            report.add(at, f"{name}: {error.message.replace('secret file', 'file')}: {path}", error.hint)
    elif role == "file":
        if not path.is_file():
            hint = "mcpsec pin writes it" if at == ("pins", "file") else None
            report.add(at, f"{name}: there is no file {path}", hint)
        elif not os.access(path, os.R_OK):
            report.add(at, f"{name}: the file {path} can't be read")


def _check_program(upstream: Upstream, report: Report) -> None:
    if not upstream.command:
        return
    path = upstream.environment.get("PATH")
    if shutil.which(upstream.command[0], path=path if isinstance(path, str) else None) is None:
        at = ("upstreams", upstream.name, "command")
        report.add(
            at, f"{dotted(at)}: there is no program {upstream.command[0]}", "install it, or name it by its whole path"
        )


def _check_account(upstream: Upstream, report: Report) -> None:
    if upstream.sandbox is None or upstream.sandbox.user is None or os.name == "nt":
        return
    import pwd

    at = ("upstreams", upstream.name, "sandbox", "user")
    try:
        uid = pwd.getpwnam(upstream.sandbox.user).pw_uid
    except KeyError:
        report.add(at, f"{dotted(at)}: this machine has no account {upstream.sandbox.user}")
    else:
        if uid == 0:
            report.add(
                at, f"{dotted(at)}: {upstream.sandbox.user} is root, which a program never stays: name another account"
            )
