"""Where a gateway keeps what it must remember: in its own memory, or in a store that many gateways share.

``open_state`` makes the one that ``[state] url`` names.
"""

from mcpsec.gateway.state.base import SessionRecord, SharedPatterns, SharedSessions, SharedTasks, State
from mcpsec.gateway.state.memory import MemoryState
from mcpsec.gateway.state.opening import open_state
from mcpsec.gateway.state.resp import StoreUnavailableError

__all__ = [
    "MemoryState",
    "SessionRecord",
    "SharedPatterns",
    "SharedSessions",
    "SharedTasks",
    "State",
    "StoreUnavailableError",
    "open_state",
]
