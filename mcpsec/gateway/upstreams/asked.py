"""What a server has asked its client and nobody has answered yet: sampling, elicitation, roots (2025 era)."""

from __future__ import annotations

from typing import Any

__all__ = ["Asked", "withdrawn_by"]

_MOST_WITHDRAWN = 64


class Asked:
    """Requests of one server to one client, each with the stream or call that carries it.

    An answer comes by a request of its own, so one whose stream is over may still be answered; but it keeps no place
    from others. A client may answer what was withdrawn just then, which must do no harm (2025-11-25, basic/utilities,
    cancellation): the newest withdrawn ids are remembered.
    """

    __slots__ = ("_waiting", "_withdrawn")

    def __init__(self) -> None:
        self._waiting: dict[Any, object] = {}
        self._withdrawn: dict[Any, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, id: Any, carrier: object, most: int) -> tuple[bool, Any]:
        """Note a request: whether there is room for it, and the one that has lost its place for that, if any."""
        lost = None
        if id not in self._waiting and len(self._waiting) >= most:
            lost = next((each for each, its in self._waiting.items() if its is None), None)
            if lost is None:
                return False, None
            self.withdraw(lost)
        self._withdrawn.pop(id, None)
        self._waiting[id] = carrier
        return True, lost

    def answer(self, id: Any) -> bool | None:
        """Whether an answer is to be passed on, once; None for one that comes too late."""
        if id in self._waiting:
            del self._waiting[id]
            return True
        return None if id in self._withdrawn else False

    def withdraw(self, id: Any) -> bool:
        """The server wants no answer any more; False when it had not asked."""
        if id not in self._waiting:
            return False
        del self._waiting[id]
        self._withdrawn[id] = None
        if len(self._withdrawn) > _MOST_WITHDRAWN:
            del self._withdrawn[next(iter(self._withdrawn))]
        return True

    def forget(self, id: Any) -> None:
        """It was answered for the client."""
        self._waiting.pop(id, None)

    def carrier_over(self, carrier: object, follower: object = None) -> None:
        """A stream or call is over, or goes on with another."""
        for id, its in self._waiting.items():
            if its is carrier:
                self._waiting[id] = follower

    def clear(self) -> None:
        """Nobody waits for any answer."""
        self._waiting.clear()
        self._withdrawn.clear()


def withdrawn_by(frame: dict[str, Any]) -> Any:
    """The id of the request that a notification withdraws, None if it withdraws none."""
    if frame.get("method") != "notifications/cancelled" or "id" in frame:
        return None
    params = frame.get("params")
    id = params.get("requestId") if isinstance(params, dict) else None
    return id if type(id) in (int, str) else None
