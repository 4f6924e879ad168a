from pathlib import Path

from mcpsec.cli.monitor import _unseen


def test_an_event_of_the_past_is_not_counted_again_when_it_comes() -> None:
    """The log is followed from before its past is read: what was written in between is in both."""
    log = Path("events.jsonl")
    first, second, third = ((log, {"seq": seq, "prev": f"{seq:064}", "time": "t"}) for seq in (1, 2, 3))
    other = (Path("another's"), second[1])
    assert list(_unseen([first, second], iter([second, None, third, other]))) == [None, third, other]
