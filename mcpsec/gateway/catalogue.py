"""The tools that an upstream lists, and what each of those who call them was told.

Lists may differ by client and by session. So each session, and each client outside of sessions, has a ``Listing``: the
names of the last *whole* list that it got, by the gateway's own asking or by its own. Such a list takes away what it
lacks: for its own listing at once, for others in so far as they have to look themselves before they use it again. A
part of a list adds and never takes away. So only a whole list that came over a caller's own channel refuses it a tool.
"""

from __future__ import annotations

import asyncio
import math
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from mcpsec.protocol.param_headers import param_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.pins import PinWatch
    from mcpsec.gateway.sessions import Session
    from mcpsec.protocol.param_headers import ParamHeader

__all__ = ["MOST_TOOLS", "Catalogue", "Listing"]

MOST_TOOLS = 10_000
"""Of one list, and of one upstream at once; those that stand first in a longer list."""
_LONGEST_NAME = 512
"""Characters. The specification wants at most 128; a longer name can't be called."""
_MOST_NAMES = 100_000
"""In all the different lists of an upstream that are remembered; of one beyond that nothing is taken away."""
_REFRESH_SECONDS = 2.0
"""An upstream is not asked again for a tool that it did not list as lately as this."""


class Listing:
    """What one session, or one client outside of sessions, knows of an upstream's tools.

    ``names`` are those of the last whole list, None before there was one. ``version`` changes with whatever is known.
    ``changed_at`` is when a change was last heard of (``perf_counter``): a list that was asked for before that may be
    the one before the change. ``looking`` is held by whoever asks the upstream. ``fault`` is why it could not be asked
    at ``failed_at``: for those who waited meanwhile, each of whom would wait as long again; who comes later asks anew.
    """

    __slots__ = ("_doubted_from", "asked_at", "changed_at", "failed_at", "fault", "looking", "names", "version")

    def __init__(self) -> None:
        self.names: frozenset[str] | None = None
        self.version = 0
        self.asked_at = -math.inf
        self.changed_at = -math.inf
        self.failed_at = -math.inf
        self.fault = ""
        self.looking = asyncio.Lock()
        self._doubted_from = math.inf

    @property
    def is_settled(self) -> bool:
        """Whether it stays good until something is heard."""
        return self._doubted_from == math.inf

    def is_doubted(self, now: float) -> bool:
        """Whether the upstream has to be asked before this is relied on again (the loop's time in ``now``)."""
        return now >= self._doubted_from

    def doubt(self) -> None:
        """The upstream's list has changed, nobody knows how."""
        self._doubted_from, self.changed_at = -math.inf, perf_counter()
        self.version += 1

    def keep(self, now: float) -> None:
        """The upstream was asked and did not say: what was known stays good for a while."""
        self.asked_at = now
        self._trust_for_a_while(now)

    def fail(self, fault: str, now: float) -> None:
        """The upstream could not be asked: as ``keep``, but that says nothing of a tool that is not known."""
        self.failed_at, self.fault = now, fault
        self._trust_for_a_while(now)

    def _trust_for_a_while(self, now: float) -> None:
        if self.is_doubted(now):
            self._doubted_from = now + _REFRESH_SECONDS

    def replace(self, names: frozenset[str] | None, now: float, asked_for_at: float) -> None:
        """The upstream was asked at ``asked_for_at``, and this was its whole list; None when it has no end."""
        if names != self.names or not self.is_settled:
            self.version += 1
        self.asked_at, self.names = now, names
        if self.changed_at < asked_for_at:
            self._doubted_from = math.inf


class Catalogue:
    """The tools of one upstream that may be called now, name → headers that its schema declares (``Mcp-Param-*``).

    ``pins`` watches what the upstream says, if it is pinned; ``listed_at`` is when its list was last read and held
    against them. ``refused`` is true while it has only refused to list any. ``greeting`` is its answer to the gateway's
    own ``initialize`` or ``server/discover``.
    """

    def __init__(self) -> None:
        self.tools: dict[str, tuple[ParamHeader, ...]] = {}
        self.listed_at = 0.0
        self.refused = False
        self.pins: PinWatch | None = None
        self.greeting: dict[str, Any] = {}
        self._changed_at = -math.inf
        self._of_clients: dict[str, Listing] = {}
        self._lists: WeakValueDictionary[int, frozenset[str]] = WeakValueDictionary()

    # --- what is known ----------------------------------------------------------------------------------------------

    def listing(self, client_id: str, session: Session | None) -> Listing:
        """What is known in a session, or to a client of the deployment outside of one."""
        if session is not None:
            return session.listing
        known = self._of_clients.get(client_id)
        if known is None:
            known = self._of_clients[client_id] = Listing()
        return known

    def has(self, listing: Listing, name: str, now: float) -> bool:
        """Whether a tool may be called without asking the upstream first."""
        if name not in self.tools or listing.is_doubted(now):
            return False
        return listing.names is None or name in listing.names

    def must_ask(self, listing: Listing, name: str, now: float) -> bool:
        """Whether the upstream is to be asked before a tool is called."""
        if self.is_stale(now) or listing.is_doubted(now):
            return True
        if self.has(listing, name, now):
            return False
        if listing.names is not None and name in listing.names:
            return True  # it was listed here, and since then another's list lacked it
        return now - listing.asked_at >= _REFRESH_SECONDS

    def is_stale(self, now: float) -> bool:
        """True when a pinned upstream's list is too old to be relied on."""
        return self.pins is not None and self.pins.is_stale(self.listed_at, now)

    # --- what is heard ----------------------------------------------------------------------------------------------

    def admit(self, kind: str, items: list[Any]) -> list[Any]:
        """What may pass of a list that the upstream gave."""
        return items if self.pins is None else self.pins.admit(kind, items)

    def learn(self, tools: Sequence[Any]) -> frozenset[str]:
        """Add what a list, or a part of one, names; the names of it."""
        names: set[str] = set()
        self.refused, known = False, self.tools
        for tool in tools[:MOST_TOOLS]:
            name = tool.get("name") if isinstance(tool, dict) else None
            if not isinstance(name, str) or len(name) > _LONGEST_NAME:
                continue
            names.add(name)
            declared, before = param_headers(tool.get("inputSchema")), known.pop(name, None)
            known[name] = before if declared == before else declared  # the same one, for those who repeat a call
        while len(known) > MOST_TOOLS:
            del known[next(iter(known))]
        return frozenset(names)

    def heard(self, exchange: Exchange, tools: list[Any], more: Any, *, asked: bool, now: float) -> None:
        """A list has come to a client, ``more`` is its ``nextCursor``; ``asked`` when it answers its ``tools/list``."""
        message, client = exchange.message, exchange.client
        if not asked or message is None or client is None or message.params.get("cursor") is not None:
            self.learn(tools)
            return
        listing = self.listing(client.id, exchange.session)
        if isinstance(more, str):
            self.learn(tools)
            listing.doubt()  # what stands on the other pages nobody knows until the gateway has read them
        else:
            self.replace(listing, tools, now, exchange.request.started)

    def replace(self, listing: Listing, tools: list[Any], now: float, asked_for_at: float) -> None:
        """A whole list has come, asked for at ``asked_for_at`` (``perf_counter``): what it lacks is taken away."""
        self._read(now, asked_for_at)
        names = self.learn(tools)
        for name in (self.tools.keys() if listing.names is None else listing.names) - names:
            self.tools.pop(name, None)
        listing.replace(self._kept(names), now, asked_for_at)

    def extend(self, listing: Listing, tools: list[Any], now: float, asked_for_at: float) -> None:
        """A list has come that has no end within reason: it takes nothing away."""
        self._read(now, asked_for_at)
        self.learn(tools)
        listing.replace(None, now, asked_for_at)

    def _read(self, now: float, asked_for_at: float) -> None:
        if self._changed_at < asked_for_at:
            self.listed_at = now

    def doubt(self, listing: Listing) -> None:
        """``notifications/tools/list_changed`` has come there."""
        self.listed_at, self._changed_at = 0.0, perf_counter()
        listing.doubt()

    def _kept(self, names: frozenset[str]) -> frozenset[str] | None:
        """Names as they are remembered: once for all whose lists are the same; None where there is no more room."""
        key = hash(names)
        known = self._lists.get(key)
        if known is not None and known == names:
            return known
        if sum(map(len, self._lists.values())) + len(names) > _MOST_NAMES:
            return None
        self._lists[key] = names
        return names
