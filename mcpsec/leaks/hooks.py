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
zero=0000000000000000000000000000000000000000
status=0
while read -r _ local _ remote; do
  [ "$local" = "$zero" ] && continue
  if [ "$remote" = "$zero" ] || ! git cat-file -e "$remote" 2>/dev/null; then
    base=$(git merge-base "$local" "$(git rev-parse --verify --quiet '@{{upstream}}' || git hash-object -t tree /dev/null)" 2>/dev/null)
  else
    base=$remote
  fi
  if [ -n "$base" ]; then {command} --since "$base" || status=$?; else {command} --history || status=$?; fi
done
exit $status
"""  # noqa: E501


def install(*, pre_push: bool = False, force: bool = False, directory: str | None = None) -> list[Path]:
    """Write the hooks of a repository and return their paths. Raises UsageError when another hook is in the way."""
    try:
        folder = output("rev-parse", "--git-path", "hooks", cwd=directory).decode().strip()
    except GitFailed as error:
        raise UsageError(f"no repository here: {error.message}", hint="run it inside a git repository") from error
    hooks = Path(directory or ".", folder)
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
                hint="add a line `mcpsec-scan-secrets --staged` to it, or use --force to replace it",
            )
    written = []
    for name, template in wanted.items():
        path = hooks / name
        path.write_text(template.format(mark=MARK, command=command), encoding="utf-8")
        path.chmod(0o755)
        written.append(path)
    return written


def _command() -> str:
    """The console script beside this interpreter by its full path, since hooks run with anybody's PATH."""
    script = Path(sys.executable).with_name("mcpsec-scan-secrets" + (".exe" if os.name == "nt" else ""))
    return shlex.quote(script.as_posix()) if script.exists() else "mcpsec-scan-secrets"
