"""The secrets of a running gateway: fetched at start, kept in memory only, fetched again without a restart.

``SecretKeeper`` reads every reference of a deployment, all at once and in threads. When one can't be read at start the
gateway does not start. When one can't be read later, what was read last stays in use and the operator hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mcpsec.deployment.keys import DEPLOYMENT
from mcpsec.errors import Error, SecretError
from mcpsec.secretrefs import SecretRef, configure
from mcpsec.secretrefs.vault import VaultSource, keep_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcpsec.deployment.model import Deployment

__all__ = ["SecretKeeper", "references_of"]

_AT_ONCE = 8


def references_of(deployment: Deployment) -> Iterator[tuple[tuple[str | int, ...], SecretRef]]:
    """Every reference of a file and where it stands."""
    for at, _kind, value in DEPLOYMENT.leaves(deployment, ()):
        if isinstance(value, SecretRef):
            yield at, value


class SecretKeeper:
    """Holds the current value of every reference of one deployment.

    ``say`` and ``record`` tell of changes and of managers that fail. Constructing it reads nothing; ``reveal`` reads
    what has not been read before. Uses the deployment's ``[secrets]`` for the whole process.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        say: Callable[[str], None],
        record: Callable[..., Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = deployment.secrets
        self.configure()
        self._references = tuple(dict.fromkeys(reference for _at, reference in references_of(deployment)))
        self._vault = any(isinstance(reference.source, VaultSource) for reference in self._references)
        self._refresh = deployment.secrets.refresh
        self._say = say
        self._record = record
        self._clock = clock
        self._values: dict[SecretRef, bytes] = {}
        self._listeners: list[Callable[[], None]] = []
        self._trouble: dict[SecretRef, str] = {}
        self._next = clock() + self._refresh

    def configure(self) -> None:
        """Let the managers of this deployment be those of the process."""
        configure(vault=self._settings.vault, aws=self._settings.aws)

    def fetch(self, before: SecretKeeper | None = None) -> None:
        """Read everything. Raises the SecretError of the first reference, in the file's order, that can't be read.

        ``before`` is the keeper that this one replaces: its values stay in use where a place can't be read any more.
        """
        known = {} if before is None else before._values
        for reference, value in self._read_all().items():
            if not isinstance(value, SecretError):
                self._values[reference] = value
            elif reference in known:
                self._values[reference] = known[reference]
                self._tell(reference, str(value))
            else:
                raise value

    def reveal(self, reference: SecretRef) -> bytes:
        """The current value. Raises SecretError for one that is read only now and can't be."""
        value = self._values.get(reference)
        if value is None:
            value = self._values[reference] = reference.resolve()
        return value

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` after a refresh that brought a new value.

        When it raises an Error, the new values are put back: all of its subscribers see one set of values.
        """
        self._listeners.append(changed)

    def hurry(self) -> None:
        """Let the next ``maintain`` read everything again."""
        self._next = self._clock()

    async def maintain(self) -> None:
        """Keep the login alive, and refresh when it is time; called about once a second."""
        if self._vault:
            with contextlib.suppress(SecretError):  # the next refresh says so, if it matters by then
                await asyncio.to_thread(keep_login)
        if not self._refresh or self._clock() < self._next:
            return
        self._next = self._clock() + self._refresh
        self._take(await asyncio.to_thread(self._read_all))

    def _read_all(self) -> dict[SecretRef, bytes | SecretError]:
        def read(reference: SecretRef) -> bytes | SecretError:
            try:
                return reference.resolve()
            except SecretError as error:
                return error
            except Exception as error:  # of a manager's library; the others' secrets are read all the same
                return SecretError(f"{reference.describe()} can't be read ({type(error).__name__})")

        if not self._references:
            return {}
        with ThreadPoolExecutor(min(_AT_ONCE, len(self._references)), thread_name_prefix="secrets") as threads:
            return dict(zip(self._references, threads.map(read, self._references), strict=True))

    def _take(self, read: dict[SecretRef, bytes | SecretError]) -> None:
        before = dict(self._values)
        changed = []
        for reference, value in read.items():
            if isinstance(value, SecretError):
                self._tell(reference, str(value))
                continue
            self._tell(reference, None)
            if self._values.get(reference) != value:
                self._values[reference] = value
                changed.append(reference)
        if not changed:
            return
        names = ", ".join(reference.describe() for reference in changed)
        try:
            for listener in self._listeners:
                listener()
        except Error as error:
            self._values = before
            for listener in self._listeners:
                listener()
            self._say(f"new secrets can't be used, the old ones stay ({names}): {error}")
            self._record("configuration", name="secrets", state="refused", detail="new secrets can't be used")
            return
        self._say(f"secrets changed, in use now: {names}")
        self._record("configuration", name="secrets", state="changed", count=len(changed), detail="secrets changed")

    def _tell(self, reference: SecretRef, trouble: str | None) -> None:
        """Tell of a failure once, and of its end."""
        if trouble == self._trouble.get(reference):
            return
        if trouble is None:
            del self._trouble[reference]
            self._say(f"{reference.describe()} can be read again")
            self._record("configuration", name="secrets", state="up", detail="a secret can be read again")
            return
        self._trouble[reference] = trouble
        self._say(f"a secret can't be read again, its last value stays in use: {trouble}")
        self._record("configuration", name="secrets", state="down", detail="a secret can't be read again")
