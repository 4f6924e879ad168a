"""Faults of time and trust: a clock that jumps, certificates that end or are revoked under an open connection."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcpsec.audit.drill.client import Answer, Client, Connection
from mcpsec.audit.drill.ground import Ground, wait
from mcpsec.audit.drill.life import GATEWAY
from mcpsec.audit.drill.row import Row
from mcpsec.audit.drill.site import EXPIRING, REVOKED, STEADY
from mcpsec.audit.drill.upstreams import withheld
from mcpsec.errors import NotAssessedError

__all__ = ["certificate_expired", "certificate_revoked", "clock_jump"]

_LIVES = (6.0, 20.0, 60.0)
"""Seconds that a certificate lives which is to end under an open connection; on a busy machine it may end too soon."""
_JUMP = 3600
_FAKE_CLOCKS = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def certificate_expired(ground: Ground) -> Row:
    """A certificate ends while its connection is open and in use."""
    row = Row("certificate-expired", GATEWAY)
    for life in _LIVES:
        try:
            row = _outlived(ground, life)
        except OSError:
            row.leave("the certificate ended before a connection was made")
        if not row.reason:
            break
    return row


def _outlived(ground: Ground, life: float) -> Row:
    row = Row("certificate-expired", GATEWAY)
    issued = ground.site.issue(EXPIRING, seconds=life)
    client, offset = Client(ground.site, EXPIRING, ground.gateway.url), ground.log_size()
    with ground.open_connection(client) as connection:
        first = _echo(connection)
        if not first.fine:
            return row.leave(f"already without a fault a call fails: {first.describe()}")
        end = _ends(issued.certificate)
        _, watch = ground.meanwhile(lambda: wait(lambda: time.time() > end + 1.0, life + 30))
        row.injected = (
            f"the client's certificate ended at {datetime.fromtimestamp(end, UTC):%H:%M:%SZ}, connection open"
        )
        row.proof = [{"event": "served with it", "status": first.status}, {"event": "notAfter", "time": end}]
        _refused(row, ground, client, connection)
    row.expect("everybody else is served meanwhile", not watch.failures, watch.describe())
    _renew(row, ground, EXPIRING)
    _refusal_event(row, ground, offset)
    return row


def certificate_revoked(ground: Ground) -> Row:
    """A certificate is revoked while its connection is open."""
    from cryptography import x509

    row = Row("certificate-revoked", GATEWAY)
    issued = ground.site.issue(REVOKED)
    client, offset = Client(ground.site, REVOKED, ground.gateway.url), ground.log_size()
    with ground.open_connection(ground.client) as other, ground.open_connection(client) as connection:
        first = _echo(connection)
        if not first.fine or not _echo(other).fine:
            return row.leave(f"already without a fault a call fails: {first.describe()}")
        ground.site.pki.revoke(REVOKED, "keyCompromise")
        serial = x509.load_pem_x509_certificate(issued.certificate.read_bytes()).serial_number
        listed = x509.load_pem_x509_crl(ground.site.crl.read_bytes())
        entry = listed.get_revoked_certificate_by_serial_number(serial)
        if entry is not None:
            row.proof = [
                {"event": "served with it", "status": first.status},
                {"event": "on the revocation list", "serial": f"{serial:x}"},
            ]
        row.injected = "the client's certificate is put on the revocation list that the gateway follows"
        began = time.monotonic()
        cut = wait(lambda: not _echo(connection).fine, ground.bounds.within)
        row.seconds = time.monotonic() - began
        row.seen = f"served no more after {row.seconds:.2f} s" if cut else "still served"
        text = f"the open connection is served no more within {ground.bounds.within:g} s"
        row.expect(text, bool(cut), row.seen)
        again = client.ask(STEADY, "echo", {"text": "again"})
        row.expect("a new connection is refused", not again.fine, again.describe())
        survivor = _echo(other)
        row.expect("another client's open connection is served on", survivor.fine, survivor.describe())
    _renew(row, ground, REVOKED)
    _refusal_event(row, ground, offset)
    return row


def _echo(connection: Connection) -> Answer:
    return connection.ask(STEADY, "echo", {"text": "here"})


def _ends(certificate: Path) -> float:
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()


def _refused(row: Row, ground: Ground, client: Client, connection: Connection) -> None:
    answer = _echo(connection)
    row.seconds, row.seen = answer.seconds, answer.describe()
    row.expect("nothing more is served on the open connection", not answer.fine, row.seen)
    again = client.ask(STEADY, "echo", {"text": "again"})
    row.expect("a new connection is refused", not again.fine, again.describe())


def _renew(row: Row, ground: Ground, name: str) -> None:
    """The client gets a new certificate: it must be let in again."""
    since = time.monotonic()
    ground.site.issue(name)
    client = Client(ground.site, name, ground.gateway.url)
    ground.recover(
        row, lambda: client.ask(STEADY, "echo", {"text": "new"}), since, "with a new certificate it is served"
    )


def _refusal_event(row: Row, ground: Ground, offset: int) -> None:
    ground.expect_event(row, "the refusal", offset, lambda event: event.get("decision") in ("refused", "failed"))


# --- the clock --------------------------------------------------------------------------------------------------------


_FAKED_START = 40.0
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 # libfaketime's names there have the process id


def fake_clock() -> Path | None:
    """libfaketime, None when this machine has none."""
    for pattern in _FAKE_CLOCKS:
        found = sorted(Path("/").glob(pattern.removeprefix("/")))
        if found:
            return found[0]
    return None


def clock_jump(ground: Ground) -> Row:
    """The gateway's clock goes an hour ahead while a call is under way, and back."""
    row = Row("clock-jump", GATEWAY)
    library = fake_clock()
    if library is None:
        return row.leave("needs libfaketime on this machine (Debian: apt-get install faketime)")
    with _faked(ground, library) as clock:
        return _jump(row, ground, clock)


@contextmanager
def _faked(ground: Ground, library: Path) -> Iterator[Path]:
    """A gateway whose wall clock follows a file; its monotonic clock stays true."""
    clock = ground.site.directory / "clock"
    _set(clock, 0)
    environment = {
        "LD_PRELOAD": os.pathsep.join(filter(None, [str(library), os.environ.get("LD_PRELOAD", "")])),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
    try:
        ground.restarted(environment, patience=_FAKED_START)
    except NotAssessedError:  # the library hangs now and then in a lock of its own; another process has another lock
        ground.restarted(environment)
    faked = ground.gateway.pid
    try:
        yield clock
    finally:
        ground.restarted()
        for left in (f"faketime_shm_{faked}", f"sem.faketime_sem_{faked}"):  # it does not tidy up when it is killed
            (_SHARED_MEMORY / left).unlink(missing_ok=True)


def _set(clock: Path, seconds: int) -> None:
    scratch = clock.with_suffix(".new")
    scratch.write_text(f"{seconds:+d}\n", encoding="ascii")
    scratch.replace(clock)


def _jump(row: Row, ground: Ground, clock: Path) -> Row:
    target = ground.site.targets[0]
    if not (before := ground.ready(ground.steady)).fine:
        return row.leave(f"already without a fault a call fails: {before.describe()}")
    offset, bounds = ground.log_size(), ground.bounds
    patience = min(target.deadline, bounds.longest) + bounds.slack

    def hang() -> Answer:
        return ground.call(target, "timeout", patience=patience)[1]

    before_it = withheld(target)
    hanging: list[Answer] = []
    thread = threading.Thread(target=lambda: hanging.append(hang()), daemon=True)
    thread.start()
    if not wait(lambda: withheld(target) > before_it, bounds.slack + 5):
        return row.leave("the call that was to be under way did not arrive")
    _set(clock, _JUMP)
    answer = ground.steady()
    row.seconds, row.seen = answer.seconds, answer.describe()
    row.injected = "the gateway's wall clock jumps an hour ahead (libfaketime), and later back"
    if ground.site.signed:
        row.expect("signatures are refused (401) while the clocks differ", answer.status == 401, row.seen)
    else:
        row.expect("without signatures the clock is nobody's proof: served", answer.fine, row.seen)
    row.proof = wait(lambda: _times_ahead(ground, offset), bounds.slack + 5) or []
    thread.join(patience + 5)
    late = hanging[0] if hanging else Answer(failure="no answer in time", seconds=patience)
    in_time = late.status in (503, 504) and target.deadline <= bounds.longest
    row.expect(f"a call under way ends within its deadline ({target.deadline:g} s)", in_time, late.describe())
    since = time.monotonic()
    _set(clock, 0)
    if target.server is not None:
        target.server.mend()
    ground.recover(row, ground.steady, since)
    if ground.site.signed:
        ground.expect_event(row, "the refusal", offset, lambda event: event.get("status") == 401)
    ground.expect_whole_log(row)
    return row


def _times_ahead(ground: Ground, offset: int) -> list[dict[str, Any]]:
    """The gateway's own events whose times show that its clock was ahead."""
    found = []
    for event in ground.events(offset):
        ahead = datetime.fromisoformat(str(event["time"])).timestamp() - time.time()
        if ahead > _JUMP / 2:
            found.append({"event": "the gateway's own log", "time": event["time"], "ahead": round(ahead)})
    return found[:1]
