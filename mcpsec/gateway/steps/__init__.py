"""The steps of a request's way, one a module. Each looks at the exchange and either lets it pass or says why not.

A step is a callable: ``step(exchange)`` returns None to let the request pass, a ``Refusal`` to end it, an ``Answer``
when nothing more is to be done, or an awaitable of one of these when it has to wait for something.
"""

from collections.abc import Awaitable, Callable

from mcpsec.gateway.message import Answer, Exchange, Refusal

Outcome = Refusal | Answer | None
Step = Callable[[Exchange], Outcome | Awaitable[Outcome]]

__all__ = ["Outcome", "Step"]
