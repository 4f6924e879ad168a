"""Runs something over and over, killed before another step on the file system each time."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

__all__ = ["kill_at_every_step"]

_SCRIPT = '''
import json, os, signal, sys
from pathlib import Path

EVENTS = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree"}
place, inside, step, whole = Path(sys.argv[1]), sys.argv[2] == "inside", int(sys.argv[3]), set(json.loads(sys.argv[4]))
signal.alarm(150)


def run(directory, last):
    """Make it in a child that is killed before its step number ``last``; return how the child ended."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event, arguments):
            nonlocal seen
            if event in EVENTS:
                seen += 1
                if seen == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            make(directory)
        except Exception as error:
            os._exit(1 if "already exists" in str(error) else 2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def names(directory):
    return {name for name in os.listdir(directory) if not name.startswith(".mcpsec-init-")}


last, outcomes = 1, set()
while True:
    top = place / str(last)
    top.mkdir()
    directory = top if inside else top / "new"
    ended = run(directory, last)
    assert ended in (0, -signal.SIGKILL), (last, ended)
    left = names(top)
    if inside:
        assert "mcpsec.toml" not in left or left == whole, left
    else:
        assert left in (set(), {"new"}) and (not left or names(directory) == whole), left
    committed = bool({"mcpsec.toml", "new"} & left)
    outcomes.add(committed)
    before = (directory / "mcpsec.toml").read_bytes() if committed else None
    again = run(directory, None)
    assert again == (1 if committed else 0), (last, committed, again)
    assert names(directory) == whole, names(directory)
    assert set(os.listdir(top)) == (whole if inside else {"new"}), os.listdir(top)
    assert set(os.listdir(directory)) == whole, os.listdir(directory)
    assert before in (None, (directory / "mcpsec.toml").read_bytes())
    if ended == 0:
        break
    last += step
assert outcomes == {True, False}, outcomes
'''


def kill_at_every_step(place: Path, setup: str, whole: Sequence[str], *, inside: bool, step: int = 1) -> None:
    """Hold ``make(directory)``, which ``setup`` defines, to its promise.

    Killed before its step 1, 1 + ``step``, … it leaves the files ``whole`` or no ``mcpsec.toml``; the run after it
    makes all of them, or finds them there, and leaves nothing else. ``inside``: the directory exists already.
    """
    script = textwrap.dedent(setup) + _SCRIPT
    arguments = [str(place), "inside" if inside else "new", str(step), json.dumps(list(whole))]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
