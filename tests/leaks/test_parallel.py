import os

import pytest

from mcpsec.leaks import parallel

pytestmark = pytest.mark.skipif(not parallel.can_fork(), reason="the processes are forked")


def test_every_name_is_handed_out_once_whatever_it_holds():
    names = [f"dir/{number}" for number in range(3000)]
    names += ["line\nbreak", os.fsdecode(b"\xff\xfe no text"), "x" * 4000, "y" * 4000]
    answers = list(parallel.hand_out(iter(names), list, 3))
    assert len(answers) == 3
    assert sorted(name for answer in answers for name in answer) == sorted(names)


def test_names_of_a_process_that_died_are_not_passed_over_in_silence():
    def work(taken):
        next(taken)
        os._exit(3)

    with pytest.raises(RuntimeError, match="ended before its work was done"):
        list(parallel.hand_out((f"{number}" * 200 for number in range(20_000)), work, 2))


def test_a_walk_that_fails_leaves_no_process_behind(monkeypatch):
    born = []
    fork = os.fork

    def counted():
        born.append(fork())
        return born[-1]

    monkeypatch.setattr(os, "fork", counted)

    def names():
        yield "a"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(parallel.hand_out(names(), list, 2))
    assert len(born) == 2
    for pid in born:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
