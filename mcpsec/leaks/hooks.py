"""Git hooks that run the scan: pre-commit over what is staged, pre-push over what would be published."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from mcpsec.errors import UsageError
from mcpsec.leaks.gitrun import GitFailed, output

__all__ = ["install"]

MARK = "# installed by mcpsec scan-secrets install-hook"
_PRE_COMMIT = """#!/bin/sh
{mark}
exec {command} --staged
"""
_PRE_PUSH = """#!/bin/sh
{mark}
status=0
while read -r _ local _ remote; do
  case $local in *[!0]*) ;; *) continue ;; esac
  git cat-file -e "$remote" 2>/dev/null || remote=0000000000000000000000000000000000000000
  {command} --since "$remote..$local" || status=$?
done
exit $status
"""
_BY_HAND = {"pre-commit": "--staged", "pre-push": "--since @{upstream}"}


def install(*, pre_push: bool = False, force: bool = False, directory: str | None = None) -> list[Path]:
    """Write the hooks of a repository and return their paths. Raises UsageError when another hook is in the way."""
    hooks = _folder(directory)
    hooks.mkdir(parents=True, exist_ok=True)
    command = _command()
    wanted = {"pre-commit": _PRE_COMMIT}
    if pre_push:
        wanted["pre-push"] = _PRE_PUSH
    for name in wanted:
        path = hooks / name
        if path.exists() and not force and MARK not in path.read_text(encoding="utf-8", errors="replace"):
            raise UsageError(
                f"{path} exists already",
                hint=f"add a line `{command} {_BY_HAND[name]} || exit` to it, or use --force to replace it",
            )
    written = []
    for name, template in wanted.items():
        path = hooks / name
        path.write_text(template.format(mark=MARK, command=command), encoding="utf-8")
        path.chmod(0o755)
        written.append(path)
    return written


def _folder(directory: str | None) -> Path:
    """Where the repository's hooks stand; husky's own folder (``.husky/_``) calls those of the one above it."""
    try:
        folder = output("rev-parse", "--git-path", "hooks", cwd=directory).decode().strip()
    except GitFailed as error:
        missing = "not installed" in error.message
        raise UsageError(
            f"no hook can be installed: {error.message}",
            hint="install git" if missing else "run it inside a git repository",
        ) from error
    hooks = Path(directory or ".", folder)
    return hooks.parent if hooks.parts[-2:] == (".husky", "_") else hooks


def _command() -> str:
    """The console script beside this interpreter by its full path, since hooks run with anybody's PATH."""
    script = Path(sys.executable).with_name("mcpsec-scan-secrets" + (".exe" if os.name == "nt" else ""))
    return shlex.quote(script.as_posix()) if script.exists() else "mcpsec-scan-secrets"
