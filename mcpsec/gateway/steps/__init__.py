"""The steps of a request's way, one a module. Each looks at the exchange and either lets it pass or says why not.

A step is a callable: ``step(exchange)`` returns None to let the request pass, a ``Refusal`` to end it, an ``Answer``
when nothing more is to be done, or an awaitable of one of these when it has to wait for something.

Most requests repeat one: the same known head, from a connection of the same client, with a body that differs in the
call's id and arguments alone. ``Step.again(exchange)``, where a step has it, is asked once a request has passed all
steps, and says what the step has left to do for those that repeat it: a callable, or None when all of it depends on
what is the same in them; or ``CHANGED`` when nothing tells which ones would. A callable that finds changed what it
relies on (another policy, another list of tools, a body of another form) answers ``CHANGED``, having done nothing: then
this step and all behind it are done in full. A step without ``again`` is always done in full. So each rule is in one
place, its step, and ``again`` can only leave out.
"""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from mcpsec.gateway.message import Answer, Exchange, Refusal

Outcome = Refusal | Answer | None
Step = Callable[[Exchange], Outcome | Awaitable[Outcome]]


class Changed(Enum):
    """What a repeated step relied on is no longer so; it has done nothing."""

    CHANGED = "changed"


CHANGED: Final = Changed.CHANGED
Repeated = Callable[[Exchange], Outcome | Awaitable[Outcome] | Changed]

__all__ = ["CHANGED", "Changed", "Outcome", "Repeated", "Step"]
