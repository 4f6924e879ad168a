"""Circuit breakers: an upstream that fails, or is slow, too often is left alone for a while, then tried carefully.

Closed: calls pass, and what became of them in the last ``window`` seconds is counted. Open: nothing passes for
``open_for`` seconds. Half-open: ``probes`` calls pass; when all of them end well it closes, when one does not it opens
again. A call is never repeated: a probe is the next call that a client makes. It may take as long as its client likes
(a stream), so after ``open_for`` seconds another one passes, whatever has become of those before; after twice as long
the next, and so on, so that an upstream that hangs doesn't get many.

Nearly everything that a call can fail by (a deadline, a broken answer, a child that crashes) its caller can bring about
alone. So each client has a breaker of its own, and the one for all clients opens only on what would still open it with
any one client left out, and with more than half of those who called. An upstream that is down is left alone by either:
each client that calls it is stopped.
Probes of the common breaker go round: a client that has had one, and not to a good end, gets another only when none of
those who have had none has asked lately.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from mcpsec.gateway.upstreams.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Breaker as BreakerConfig

__all__ = ["Breaker", "Breakers", "ClientBreaker", "Pass", "Pause", "Term"]

_TRIED, _FAILED_AGAIN, _WELL_AGAIN = "it is tried again", "a trial call failed", "trial calls went well"
_UNUSED = "it has not called again"
_COME_AGAIN = 1.0  # seconds: most probes end at once, and then all may pass
_LATELY = 10.0  # seconds after the moment for which a client was told to come again, in which it will have


class Pause(NamedTuple):
    """No pass: the seconds to wait before asking again, and who has to."""

    seconds: float
    whose: str


class Term:
    """The time between two changes of a client's breaker or of the common one.

    What a call says counts only within the term in which it began.
    """

    __slots__ = ("own",)

    def __init__(self, own: ClientBreaker) -> None:
        self.own = own


class Breaker:
    """One breaker's state. ``changed`` hears of each new state and the one before, with a sentence why."""

    def __init__(self, config: BreakerConfig, changed: Callable[[str, str, str], None]) -> None:
        self._config = config
        self._changed = changed
        self.state = "closed"
        self.until = 0.0
        self.probing = 0
        self._probed = 0
        self._last_probe = 0.0

    def wait(self, now: float) -> float:
        """The seconds before a call may pass, 0 when it may."""
        if self.state == "closed":
            return 0.0
        if self.state == "open":
            if now < self.until:
                return self.until - now
            self.become("half-open", _TRIED)
        probes = self._config.probes
        if self.probing + self._probed < probes:
            return 0.0
        due = self._last_probe + self._config.open_for * max(1, self.probing - probes + 1)
        return _COME_AGAIN if now < due else 0.0

    def begin_probe(self, now: float) -> None:
        """A call passes that is one."""
        self.probing += 1
        self._last_probe = now

    def went_well(self) -> None:
        """A probe did."""
        self._probed += 1
        if self._probed >= self._config.probes:
            self.become("closed", _WELL_AGAIN)

    def open(self, now: float, why: str) -> None:
        """Let nothing pass for a while."""
        self.until = now + self._config.open_for
        self.become("open", why)

    def become(self, state: str, why: str) -> None:
        """Change."""
        previous, self.state = self.state, state
        self.probing = self._probed = 0
        self._changed(state, previous, why)


class ClientBreaker(Breaker):
    """The breaker of one client, and what its calls say about the upstream.

    ``passing`` while its calls simply pass; ``counted`` are those that its own breaker is judged by, ``before`` those
    of earlier terms. They count for the common one together.
    """

    def __init__(self, client_id: str, config: BreakerConfig, changed: Callable[[str, str, str], None]) -> None:
        super().__init__(config, changed)
        self.client_id = client_id
        self.counted, self.before = Tally(config.window), Tally(config.window)
        self.passing = True
        self.forgotten = False
        self.term = Term(self)
        self.fresh_until = 0.0
        """Until then a call that went well is one more in ``slot`` and in ``common_slot``, and nothing else."""
        self.slot: list[int] = []
        self.common_slot: list[int] = []

    def sums(self, now: float) -> tuple[int, int, int]:
        """What counts for the common breaker."""
        calls, failures, slow = self.counted.sums(now)
        earlier = self.before.sums(now)
        return calls + earlier[0], failures + earlier[1], slow + earlier[2]

    def begin_term(self, *, passing: bool) -> None:
        """Its own state or the common one has changed."""
        self.term, self.passing, self.fresh_until = Term(self), passing, 0.0

    def become(self, state: str, why: str) -> None:
        """Change; what was counted so far no longer counts against it."""
        self.before.take(self.counted)
        super().become(state, why)


class Pass:
    """The permission for one call; ``settle`` it exactly once."""

    __slots__ = ("_breakers", "aside", "common_trial", "own_trial", "started", "term")

    def __init__(
        self,
        breakers: Breakers,
        term: Term,
        started: float,
        *,
        own_trial: bool = False,
        common_trial: int | None = None,
    ) -> None:
        self._breakers = breakers
        self.term = term
        self.aside = False
        """Whether it is for what has room beside the calls."""
        self.started = started
        self.own_trial = own_trial
        self.common_trial = common_trial
        """Of which trial of the common breaker it is a part."""

    def settle(self, *, failed: bool | None, answered_at: float | None = None) -> None:
        """How it ended: ``failed``, or None when nobody knows (the client left, the call was refused by others).

        ``answered_at`` is when the answer began, for a stream that goes on long after; in the breaker's clock.
        """
        self._breakers.settled(self, failed=failed, answered_at=answered_at)


class Breakers:
    """The breakers of one upstream: the common one, and one for each client that called it lately.

    ``changed`` hears of each new state, the one before, a sentence why, and the client whose breaker it is ("" for the
    common one).
    """

    def __init__(
        self,
        config: BreakerConfig,
        *,
        changed: Callable[[str, str, str, str | None], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self.slow_call = config.slow_call
        self.clock = clock
        self.changed = changed
        self.of: dict[str, ClientBreaker] = {}
        self.common = Breaker(config, self._common_changed)
        self._counted = Tally(config.window)
        self._trial = 0
        self._failed_trial: set[str] = set()
        self._had_trial: set[str] = set()
        """Clients with a trial of the common breaker in this round that did not end well; its opening ends no round."""
        self._kept_until = 0.0
        """Until then the next trial is kept for those that had none."""

    def of_client(self, client_id: str) -> ClientBreaker:
        """That client's breaker."""
        own = self.of.get(client_id)
        if own is None:

            def changed(state: str, previous: str, why: str) -> None:
                made.begin_term(passing=state == self.common.state == "closed")
                self.changed(state, previous, why, client_id)

            own = made = self.of[client_id] = ClientBreaker(client_id, self._config, changed)
            own.passing = self.common.state == "closed"
        return own

    def _common_changed(self, state: str, previous: str, why: str) -> None:
        self._trial += 1
        self._failed_trial.clear()
        if state == "closed":  # else some would fail all trials, at once, each time that there is one again
            self._had_trial.clear()
        self._counted.clear()
        for own in self.of.values():
            own.counted.clear()
            own.before.clear()
            own.probing = 0
            own.begin_term(passing=state == own.state == "closed")
        self.changed(state, previous, why, None)

    # --- calls -----------------------------------------------------------------------------------------------------

    def admit(self, client_id: str) -> Pass | Pause:
        """A pass for a call of that client."""
        now, own = self.clock(), self.of_client(client_id)
        if own.passing or not self._config.enabled:
            return Pass(self, own.term, now)
        wait = own.wait(now)
        if wait:
            return Pause(wait, "for this client")
        wait = self._wait_in_turn(client_id, now)
        if wait:
            return Pause(wait, "for all clients")
        own_trial, trial = own.state != "closed", self._trial if self.common.state != "closed" else None
        if own_trial:
            own.begin_probe(now)
        if trial is not None:
            self.common.begin_probe(now)
            if client_id in self._had_trial:
                self._had_trial.clear()  # nobody else wants one: a new round
            self._had_trial.add(client_id)
        return Pass(self, own.term, now, own_trial=own_trial, common_trial=trial)

    def _wait_in_turn(self, client_id: str, now: float) -> float:
        """The seconds before the common breaker lets that client's next call pass."""
        wait = self.common.wait(now)
        if client_id in self._had_trial:
            return wait or (_COME_AGAIN if now < self._kept_until else 0.0)
        if wait:
            self._kept_until = max(self._kept_until, now + wait + _LATELY)
        return wait

    def well(self, term: Term) -> None:
        """Count a call that began in this term and ended well; for ``slow_call`` is ``settled``."""
        if self._config.enabled:
            self._count(term, self.clock(), failed=False, slow=False)

    def settled(self, permit: Pass, *, failed: bool | None, answered_at: float | None) -> None:
        """Count how a call ended."""
        if not self._config.enabled:
            return
        now = self.clock()
        slow = self.slow_call is not None and (answered_at or now) - permit.started >= self.slow_call
        if permit.own_trial or permit.common_trial is not None:
            self._judge_trial(permit, now, bad=None if failed is None else failed or slow)
        elif failed is not None:
            self._count(permit.term, now, failed=failed, slow=slow)

    def _judge_trial(self, permit: Pass, now: float, *, bad: bool | None) -> None:
        own = permit.term.own
        if permit.own_trial and permit.term is own.term:  # first: a change of the common one begins a new term for all
            own.probing -= 1
            if bad:
                own.open(now, _FAILED_AGAIN)
            elif bad is False:
                own.went_well()
        if permit.common_trial == self._trial:
            self.common.probing -= 1
            if bad:
                self._failed_common_trial(own.client_id, now)
            elif bad is False:
                self._had_trial.discard(own.client_id)
                self.common.went_well()

    def _failed_common_trial(self, client_id: str, now: float) -> None:
        """One client's trial says as little as its other calls: it stops that client, and others may try."""
        own = self.of_client(client_id)
        self._failed_trial.add(client_id)
        if own.state == "closed":
            own.open(now, _FAILED_AGAIN)
        if len(self._failed_trial) > 1:
            self.common.open(now, _FAILED_AGAIN)

    # --- judging ---------------------------------------------------------------------------------------------------

    def _count(self, term: Term, now: float, *, failed: bool, slow: bool) -> None:
        own = term.own
        if own.forgotten and self.common.state == "closed":  # there was nothing but this call
            own = self.of_client(own.client_id)
            term = own.term
        if term is not own.term or not own.passing:
            return
        if now >= own.fresh_until:
            self._counted.roll(now)
            own.counted.roll(now)
            own.slot, own.common_slot = own.counted.newest, self._counted.newest
            own.fresh_until = min(own.counted.ends, self._counted.ends)
        for slot in (own.slot, own.common_slot):
            slot[1] += 1
            slot[2] += failed
            slot[3] += slow
        if failed or slow:
            self._judge(own, now)

    def _judge(self, own: ClientBreaker, now: float) -> None:
        why = self._verdict(*own.counted.sums(now))
        if why:
            own.open(now, why)
        total = self._counted.sums(now)
        why = self._verdict(*total)
        if why and self._is_met_by_most(total, [each.sums(now) for each in self.of.values()]):
            self.common.open(now, why)

    def _is_met_by_most(self, total: tuple[int, int, int], clients: list[tuple[int, int, int]]) -> bool:
        """Whether it is not the doing of few: it holds with any one client left out, and for more than half of them."""
        calling = [sums for sums in clients if sums[0]]
        bad = sum(1 for sums in calling if self._why(*sums))
        return bad * 2 > len(calling) and all(self._verdict(*_without(total, sums)) for sums in calling)

    def _verdict(self, calls: int, failures: int, slow: int) -> str:
        """Why so many calls open a breaker, "" when they don't."""
        return self._why(calls, failures, slow) if calls >= self._config.minimum_calls else ""

    def _why(self, calls: int, failures: int, slow: int) -> str:
        """The same, however few."""
        if failures and failures / calls >= self._config.failure_ratio:
            return f"{failures} of {calls} calls failed"
        if slow and slow / calls >= self._config.slow_ratio:
            return f"{slow} of {calls} calls were slow"
        return ""

    # --- keeping order ---------------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Forget clients that no longer call, and say that a pause is over when nobody calls to find out."""
        now = self.clock()
        if self.common.state == "open" and now >= self.common.until:
            self.common.wait(now)
        for own in tuple(self.of.values()):
            if own.sums(now)[0] or own.probing or now < own.until + self._config.window:
                continue
            del self.of[own.client_id]
            own.forgotten = True
            if own.state != "closed":
                own.become("closed", _UNUSED)
            own.begin_term(passing=False)

    def retire(self) -> None:
        """Nothing is sent by these any more: none of them holds anybody back."""
        for own in self.of.values():
            if own.state != "closed":
                own.become("closed", "the upstream's entry has changed")
        if self.common.state != "closed":
            self.common.become("closed", "the upstream's entry has changed")
        self.changed = lambda *_: None


def _without(total: tuple[int, int, int], part: tuple[int, int, int]) -> tuple[int, int, int]:
    return total[0] - part[0], total[1] - part[1], total[2] - part[2]
