"""The command that runs after a renewal: it learns by its environment what was renewed, and no shell reads it."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

from mcpsec.errors import Error, UsageError

if TYPE_CHECKING:
    from mcpsec.certs.leaf import Issued

__all__ = ["parse_hook", "run_hook"]


def parse_hook(command: str) -> list[str]:
    """Split a hook as a shell would split it, without running one.

    Raises:
        UsageError: it is empty, or a quote is not closed.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the hook can't be read: {error}") from error
    if not words:
        raise UsageError("the hook is empty")
    return words


def run_hook(words: list[str], issued: Issued, *, timeout: float = 60.0) -> None:
    """Run a hook for one renewed certificate.

    It sees MCPSEC_NAME, MCPSEC_PURPOSE, MCPSEC_SERIAL, MCPSEC_CERTIFICATE, MCPSEC_CHAIN and MCPSEC_KEY (empty when the
    key stayed with its owner).

    Raises:
        Error: it could not be started, failed, or took longer than ``timeout`` seconds.
    """
    facts = {
        "MCPSEC_NAME": issued.name,
        "MCPSEC_PURPOSE": issued.purpose.value,
        "MCPSEC_SERIAL": issued.serial,
        "MCPSEC_CERTIFICATE": str(issued.certificate),
        "MCPSEC_CHAIN": str(issued.chain),
        "MCPSEC_KEY": str(issued.key or ""),
    }
    try:
        done = subprocess.run(
            words, env={**os.environ, **facts}, stdin=subprocess.DEVNULL, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Error(f"the hook for {issued.name} took longer than {timeout:g} seconds") from error
    except OSError as error:
        raise Error(f"the hook for {issued.name} can't be started: {error.strerror}", path=words[0]) from error
    if done.returncode != 0:
        raise Error(f"the hook for {issued.name} ended with exit code {done.returncode}", path=words[0])
