"""How many calls to an upstream run at once, and what those that end say about it.

Every call comes here twice. So it stands apart from ``ProtectedUpstream``, which looks like the upstream behind it:
what the interpreter looks up in an object that stands for another costs it several times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.gateway.upstreams.breaker import Breakers, Pass, Term

__all__ = ["Bulkhead"]


class Bulkhead:
    """``running`` calls of all clients, ``bound`` at most: whoever adds to them looks at that before.

    Beside them there are as many ``asides``, notifications and clients' answers: those of few clients leave the room
    of everybody's calls alone.

    ``answers`` hears whether the upstream of this ``name`` does, each time that it changes.
    """

    __slots__ = ("_answers", "_name", "_up", "asides", "bound", "breakers", "running")

    def __init__(self, name: str, breakers: Breakers, bound: int, answers: Callable[[str, bool], None]) -> None:
        self._name = name
        self.breakers = breakers
        self.bound = bound
        self.running = self.asides = 0
        self._answers = answers
        self._up: bool | None = None

    def leave(self, permit: Pass, *, failed: bool | None, answered_at: float | None = None) -> None:
        """Give a place back, and say what became of the call (None: nothing that speaks of the upstream)."""
        if permit.aside:
            self.asides -= 1
        else:
            self.running -= 1
        permit.settle(failed=failed, answered_at=answered_at)
        if failed is not None and self._up is not (not failed):
            self._up = not failed
            self._answers(self._name, self._up)

    def ended_well(self, term: Term) -> None:
        """``leave`` for a call of that term which got an answer.

        The place is given back at the very end: whoever meets an exception here still has it, and ``leave``s.
        """
        own = term.own
        clock = self.breakers.clock
        if term is own.term and clock() < own.fresh_until:
            own.slot[1] += 1
            own.common_slot[1] += 1
        else:
            self.breakers.well(term)
        if not self._up:
            self._up = True
            self._answers(self._name, True)
        self.running -= 1
