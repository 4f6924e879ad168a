"""Messages that repeat one: the same strict reading of a call whose form is known from one that came before.

Of a client's calls of one tool nearly all differ in id and arguments alone. What ``parse``, ``route`` and
``Agreement.holds`` found out about the first holds for the next when that is the same method of the same target in the
same revision, with members of the same names: each body is still read by its own bytes, and whatever is not of the
form is left to those three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.protocol.eras import Era
from mcpsec.protocol.headers import META_VERSION
from mcpsec.protocol.jsonrpc import Kind, Message, ProtocolError, checked_id, strict_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.protocol.headers import Agreement

__all__ = ["reader_of"]

_MOST_NAMES, _LONGEST_NAMES = 32, 2048


def reader_of(first: Message, agreement: Agreement, *, max_depth: int) -> Callable[[bytes], Message | None] | None:
    """Reads bodies of the form of ``first``, a message for which ``agreement`` holds.

    None where it names no target, or has more names of members than any call.

    The reader gives None for a body that is of any other form, or no message at all.
    """
    member, named = agreement.member, agreement.named
    if member is None or not agreement.holds(first) or type(named) is not str:
        return None
    meta = first.params.get("_meta")
    if ("_meta" in first.params and type(meta) is not dict) or _is_wordy(first.params) or _is_wordy(meta or {}):
        return None
    method, request, names = first.method, Kind.REQUEST, frozenset(first.params)  # no view: it would keep the call
    meta_names = None if meta is None else frozenset(meta)
    # A legacy body need not name its revision, and one that does is of no form: the agreement does not hold for it.
    version = agreement.version if agreement.era is Era.MODERN else None
    new = tuple.__new__  # as Message(…) does it, without the call in between

    def read(body: bytes) -> Message | None:
        try:
            value = strict_value(body, max_depth)
            params, ident = value["params"], value["id"]
            if (
                len(value) != 4
                or value["jsonrpc"] != "2.0"
                or value["method"] != method
                or params.keys() != names
                or params[member] != named
            ):
                return None
            if meta_names is not None:
                meta = params["_meta"]
                if meta.keys() != meta_names or (version is not None and meta[META_VERSION] != version):
                    return None
            if type(ident) is not int:
                checked_id(ident)
        except (ProtocolError, KeyError, TypeError, AttributeError, IndexError):
            return None
        return new(Message, (request, ident, method, params, body, None, None))

    return read


def _is_wordy(members: dict[str, object]) -> bool:
    """Whether an object has more names of members than any call, and than is worth keeping for each form."""
    return len(members) > _MOST_NAMES or sum(map(len, members)) > _LONGEST_NAMES
