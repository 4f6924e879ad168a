"""At run time: what an upstream says is held against its pins, and what differs does not pass unnoticed.

``quarantine`` hides and refuses the definition that changed or is new; the rest goes on. ``block`` refuses everything
of the upstream from the first difference on. ``report`` lets it pass. In each case the change is told once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpsec.gateway.pins.definitions import KINDS, Change, digest
from mcpsec.gateway.pins.schema import ArgumentSchema, UnusableSchemaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Pins
    from mcpsec.gateway.pins.lock import UpstreamPins

__all__ = ["PinWatch"]

_MOST_REMEMBERED = 10_000
"""Changes remembered, so that each is told once: as many of what is pinned as of what is not. No more are told."""
_LONGEST_NAME = 512
"""Characters of a name that tell two changes apart, beside what they are."""


class PinWatch:
    """Watches one upstream. ``changed`` hears of each difference, once for each content."""

    def __init__(self, pins: UpstreamPins, settings: Pins, changed: Callable[[Change], None]) -> None:
        self._settings = settings
        self._changed = changed
        self._told_of_pinned: set[tuple[str, str, str]] = set()
        self._told_of_others: set[tuple[str, str, str]] = set()
        self.renew(pins)

    def renew(self, pins: UpstreamPins) -> None:
        """Take other pins from now on (the lock file was written anew); what was blocked is judged afresh."""
        self._pins = pins
        self._digests = {
            kind: {name: digest(each) for name, each in entries.items()} for kind, entries in pins.definitions.items()
        }
        self._schemas: dict[str, ArgumentSchema | None] = {}
        self._deviating: set[tuple[str, str]] = set()
        self._told_of_pinned.clear()
        self._told_of_others.clear()
        self.blocked = False

    # --- what it hears ----------------------------------------------------------------------------------------------

    def admit(self, kind: str, items: list[Any]) -> list[Any]:
        """The entries of a list that may pass, in their order."""
        key = KINDS.get(kind)
        if key is None:
            return items
        pinned, changed = list[Any](), set[str]()
        for item in items:
            name = item.get(key) if isinstance(item, dict) else None
            if not isinstance(name, str):
                continue
            if self._is_pinned(kind, name, item):
                pinned.append(item)
            else:
                changed.add(name)
        passed = [
            item for item in pinned if item[key] not in changed
        ]  # of a name that comes twice neither can be meant
        self._deviating.difference_update((kind, item[key]) for item in passed)
        if self._settings.on_change == "report":
            return items
        return [] if self.blocked else passed

    def _is_pinned(self, kind: str, name: str, item: Any) -> bool:
        """Whether a definition is the pinned one; tells of one that is not."""
        pinned = self._digests.get(kind, {}).get(name)
        try:
            now = digest(item)
        except ValueError:
            now = "(too deep)"
        if now == pinned:
            return True
        state: Any = "added" if pinned is None else "changed"
        self._deviates(Change(kind, name, state, self._pins.definitions.get(kind, {}).get(name), item), now)
        return False

    def complete(self, kind: str, names: set[str]) -> None:
        """Hear that a list was read to its end: what is pinned and was not in it has been removed."""
        for name in sorted(self._digests.get(kind, {}).keys() - names):
            self._tell(Change(kind, name, "removed", self._pins.definitions[kind][name]), "removed")

    def instructions(self, text: str | None) -> str | None:
        """The instructions to pass on for those that the upstream gave."""
        pinned = self._pins.instructions
        if text == pinned:
            return text
        state: Any = "added" if pinned is None else "removed" if text is None else "changed"
        self._deviates(Change("instructions", "", state, pinned, text), digest(text))
        return text if self._settings.on_change == "report" else pinned

    def _deviates(self, change: Change, content: str) -> None:
        if change.state != "added":  # what is not pinned is refused as such
            self._deviating.add((change.kind, change.name))
        if self._settings.on_change == "block":
            self.blocked = True
        self._tell(change, content)

    def _tell(self, change: Change, content: str) -> None:
        seen = (change.kind, change.name[:_LONGEST_NAME], content)
        told = self._told_of_others if change.state == "added" else self._told_of_pinned
        if seen not in told and len(told) < _MOST_REMEMBERED:
            told.add(seen)
            self._changed(change)

    # --- what it decides --------------------------------------------------------------------------------------------

    def refusal(self, kind: str, name: str) -> str:
        """The rule by which a use of something is refused; empty when it may go on."""
        if self._settings.on_change == "report":
            return ""
        if self.blocked:
            return "pin-blocked"
        if kind not in KINDS:
            return ""
        if name not in self._digests.get(kind, {}):
            return "pin-missing"
        return "pin-changed" if (kind, name) in self._deviating else ""

    def is_stale(self, listed_at: float, now: float) -> bool:
        """True when the upstream has to be asked again before its word is taken (both in the loop's seconds)."""
        return listed_at == 0.0 or now - listed_at >= self._settings.recheck

    def argument_faults(self, tool: str, arguments: Any) -> list[str]:
        """Where the arguments of a call break the pinned schema of its tool."""
        if not self._settings.validate_arguments:
            return []
        if tool not in self._schemas:
            definition = self._pins.definitions["tools"].get(tool)
            if definition is None:  # not pinned, and only reported
                return []
            try:
                self._schemas[tool] = ArgumentSchema(definition.get("inputSchema"))
            except UnusableSchemaError:
                self._schemas[tool] = None
        schema = self._schemas[tool]
        return ["/: the pinned schema can't be enforced"] if schema is None else schema.faults(arguments)
