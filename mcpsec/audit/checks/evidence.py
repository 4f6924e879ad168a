"""Items 9 and 10: the last audit and the last drill, by the evidence that was kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mcpsec.audit.evidence import SCHEMA, deployed, digests, signed_by
from mcpsec.audit.model import Finding
from mcpsec.audit.registry import across
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.positions import Malformed
from mcpsec.reading import is_file

__all__ = ["drills_of", "last_report"]

OLDEST = timedelta(days=92)
DRILL = "mcpsec.drill/1"
COVERED = ("partition", "timeout", "error", "certificate", "restart")
"""What a drill has to have injected; each word is one kind of fault."""


def _documents(context: Context, schema: str) -> list[tuple[Subject, dict[str, Any]]]:
    found = []
    for subject in context.of_kind("evidence"):
        try:
            data = subject.document.data
        except Malformed:
            continue
        if isinstance(data, dict) and data.get("schema") == schema:
            found.append((subject, data))
    return found


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@across
def last_audit(context: Context) -> Iterator[Finding]:
    """AUD001: the newest evidence, and whether what it judged is what is deployed."""
    deployments = deployed(context.subjects)
    kept = [(subject, data, _moment(data.get("created"))) for subject, data in _documents(context, SCHEMA)]
    dated = [(subject, data, when) for subject, data, when in kept if when is not None]
    if not kept:
        for each in deployments:
            yield each.manual("AUD001", None, "no evidence of an audit is here: mcpsec audit --evidence DIR keeps it")
        return
    if not dated:
        yield kept[0][0].fail("AUD001", None, "the evidence has no date", key="date")
        return
    subject, data, when = max(dated, key=lambda each: each[2])
    wrong = list(_faults(subject, data, when, context, deployments))
    yield from wrong
    if not wrong:
        yield subject.ok("AUD001", None, f"signed, of {when:%Y-%m-%d}, and of what is deployed")


def _faults(
    subject: Subject, data: dict[str, Any], when: datetime, context: Context, deployments: list[Subject]
) -> Iterator[Finding]:
    signer = signed_by(data)
    if not signer:
        yield subject.fail(
            "AUD001", None, "its signature does not hold: it was changed, or never signed", key="signature"
        )
        return
    known = [fingerprint for each in deployments if (fingerprint := _log_key(each))]
    known += [
        fingerprint for fingerprint in [_fingerprint(subject.path.with_name("audit.pub"))] if known and fingerprint
    ]
    if known and signer not in known:
        yield subject.fail("AUD001", None, "it is signed by a key that is not the deployment's", key="signer")
    age = context.now - when
    if age > OLDEST:
        yield subject.fail("AUD001", None, f"the last audit is {age.days} days old", key="age")
    if age < -timedelta(minutes=10):
        yield subject.fail("AUD001", None, "it is dated in the future", key="future")
    judged = data.get("deployments")
    rows = [row for row in judged if isinstance(row, dict)] if isinstance(judged, list) else []
    for each in deployments:
        now = digests(each)
        same = [row for row in rows if Path(str(row.get("path"))).name == each.path.name]
        if not any(all(row.get(name) == value for name, value in now.items()) for row in same):
            changed = sorted({name for row in same for name, value in now.items() if row.get(name) != value})
            what = f"{', '.join(changed)} changed since" if same else "it did not judge this deployment"
            yield subject.fail("AUD001", None, f"{each.label}: {what}", name=each.label, key=f"changed {each.label}")


def _log_key(deployment: Subject) -> str:
    from mcpsec.telemetry.keys import key_paths

    log = deployment.model.table("log").get("file")
    return _fingerprint(key_paths(deployment.path.parent / log)[1]) if isinstance(log, str) else ""


def _fingerprint(public: Path) -> str:
    """The fingerprint of a public key's file, empty when there is none."""
    if not is_file(public):
        return ""
    from mcpsec.errors import Error
    from mcpsec.telemetry.keys import PublicKey

    try:
        return PublicKey.load(public).fingerprint
    except Error:
        return ""


def last_report(context: Context) -> tuple[Subject, dict[str, Any], datetime] | None:
    """The newest drill report with a date; None without one."""
    kept = _documents(context, DRILL)
    dated = [
        (subject, data, when) for subject, data in kept if (when := _moment(data.get("created") or data.get("started")))
    ]
    return max(dated, key=lambda each: each[2]) if dated else None


def drills_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The drills of a report."""
    rows = data.get("drills") or data.get("results")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


@across
def last_drill(context: Context) -> Iterator[Finding]:
    """RES001: the newest drill report: its age, what it covers, and whether all of it went well."""
    report = last_report(context)
    if report is None:
        for each in deployed(context.subjects):
            yield each.manual("RES001", None, "no report of a failure drill is here: mcpsec drill --out makes one")
        return
    subject, data, when = report
    age = context.now - when
    wrong = False
    if age > OLDEST:
        wrong = True
        yield subject.fail("RES001", None, f"the last drill is {age.days} days old", key="age")
    drills = drills_of(data)
    states = {id(row): row.get("state", row.get("outcome")) for row in drills}
    failed = [str(row.get("name", "?")) for row in drills if states[id(row)] not in _WITHOUT_FAULT]
    if failed:
        wrong = True
        yield subject.fail("RES001", None, f"not passed: {', '.join(failed[:5])}", key="failed")
    passed = [row for row in drills if states[id(row)] in ("pass", "passed")]
    text = " ".join(f"{row.get('name')} {row.get('fault', '')} {row.get('injected', '')}".lower() for row in passed)
    missing = [word for word in COVERED if not any(each in text for each in _SYNONYMS[word])]
    if missing:
        wrong = True
        yield subject.fail("RES001", None, f"not covered: {', '.join(missing)}", key="covered")
    if not wrong:
        yield subject.ok("RES001", None, f"{len(passed)} drills passed on {when:%Y-%m-%d}")


_WITHOUT_FAULT = ("pass", "passed", "not-assessed", "not-applicable")
"""States that are no failure; what was not assessed counts as not covered."""
_SYNONYMS = {
    "partition": ("partition", "unreachable", "network lost", "blackhole"),
    "timeout": ("timeout", "slow", "hang"),
    "error": ("5xx", "error", "500", "502", "503"),
    "certificate": ("certificate", "expired", "expiry"),
    "restart": ("restart", "crash", "killed"),
}
