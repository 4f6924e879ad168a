"""Signed requests, attacked: unsigned, changed, old, of the future, repeated. P2, with a client's own signing key.

All of them are ``server/discover`` or ``initialize``: what is refused would have done nothing, and what is accepted did
nothing. Each attack is one request that differs from a good one in one thing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import Entry, discover, initialize, welcome
from mcpsec.audit.probes.session import Session
from mcpsec.audit.probes.wire import Answer, target_of

if TYPE_CHECKING:
    from mcpsec.signing import Signer
    from mcpsec.signing.message import Headers, SignedMessage

__all__: list[str] = []

_CHECKS = ("SIG001", "SIG002", "SIG003", "SIG004")
_BEYOND = 60.0
"""Seconds past the accepted age at which a signature has to be refused."""
_USUAL_AGE = 3600.0
"""The age that is tried where the accepted one is not known."""


@probe("P2", *_CHECKS, order=20)
def signed_requests(session: Session) -> Iterator[Finding]:
    """SIG001 to SIG004."""
    subject, signer = session.subject, session.credentials.signer
    deployment = session.deployment
    required = deployment is not None and "signature" in deployment.auth.require
    if signer is None:
        for check in _CHECKS:
            if required:
                yield subject.unknown(check, "signing is required, and no key was given: -c FILE --client NAME")
            else:
                yield subject.skip(check, "no signing key was given: nothing says that requests are signed here")
        return
    entry = welcome(session)
    if not entry:
        for check in _CHECKS:
            text = f"our own signed request is not answered: {entry.first.describe()}"
            yield subject.unknown(check, text, required=True)
        return
    unsigned = _send(session, entry, None)
    if unsigned.answers:
        yield subject.fail("SIG001", None, f"an unsigned request: {unsigned.describe()}", key="unsigned")
        for check in _CHECKS[1:]:
            yield subject.skip(check, "unsigned requests are answered: see SIG001")
        return
    yield subject.ok("SIG001", None, f"an unsigned request: {unsigned.describe()}")
    yield _changed(session, entry, signer)
    yield _dated(session, entry, signer)
    yield _repeated(session, entry)


def _greeting(entry: Entry) -> tuple[dict[str, Any], dict[str, str]]:
    return discover() if entry.modern is not None else initialize()


def _send(session: Session, entry: Entry, sign: Callable[[SignedMessage], Headers] | None, **more: Any) -> Answer:
    """One greeting, signed in some way; with our certificate in any case."""
    body, headers = _greeting(entry)
    identity = session.credentials
    content = session.compose(body=body, headers=headers, signature=sign or _nothing, identity=identity, **more)
    answer = session.send(content, identity=identity)
    if answer.answers and (ident := answer.headers.get("mcp-session-id")):
        session.opened.append((ident, identity))
    return answer


def _nothing(message: SignedMessage) -> Headers:
    return {}


def _changed(session: Session, entry: Entry, signer: Signer) -> Finding:
    """SIG002: another body, another header, another path, a key that is not ours, a key id that nobody has."""
    from mcpsec.signing.keys import SigningKey
    from mcpsec.signing.signer import Signer as Other
    from mcpsec.signing.tamper import signed_badly

    attacks: list[tuple[str, Callable[[SignedMessage], Headers]]] = [
        (f"another {what}", partial(signed_badly, signer, what=what))
        for what in ("body", "key", *(("path",) if signer.scheme != "article" else ()))
    ]
    if signer.key.id is not None:
        strange = SigningKey("mcpsec-audit", secret=signer.key.secret, private_key=signer.key.private_key)
        attacks.append(("an unknown key id", Other(strange, signer.scheme).sign))
    answers = [(what, _send(session, entry, attack)) for what, attack in attacks]
    if signer.scheme != "article":
        late = {"MCP-Protocol-Version": "2025-06-18"} if entry.modern is None else {"Mcp-Param-Audit": "1"}
        answers.append(("a header added after signing", _send(session, entry, signer.sign, late=late)))
    return _verdict(session, "SIG002", answers)


def _dated(session: Session, entry: Entry, signer: Signer) -> Finding:
    """SIG003: past the accepted age, and as far in the future."""
    deployment = session.deployment
    age = _USUAL_AGE if deployment is None else deployment.auth.signature.max_age
    answers = []
    for what, sign in (("old", -1), ("of the future", 1)):
        stamp = int((time.time() + sign * (age + _BEYOND)) * 1000)
        answer = _send(session, entry, partial(signer.sign, timestamp=stamp))
        answers.append((f"{age + _BEYOND:g} s {what}", answer))
    return _verdict(session, "SIG003", answers)


def _repeated(session: Session, entry: Entry) -> Finding:
    """SIG004: the very bytes of an accepted request again, also at a replica."""
    subject = session.subject
    body, headers = _greeting(entry)
    content = session.compose(body=body, headers=headers, identity=session.credentials)
    first = session.send(content)
    if not first.answers:
        return subject.unknown("SIG004", f"a good request is not answered: {first.describe()}", required=True)
    if ident := first.headers.get("mcp-session-id"):
        session.opened.append((ident, session.credentials))
    answers = [("the same request again", session.send(content))]
    replica = session.audit.options.get("replica")
    if replica:
        answers.append((f"at {replica}", session.send(content, target=target_of(replica))))
    return _verdict(session, "SIG004", answers)


def _verdict(session: Session, check: str, answers: list[tuple[str, Answer]]) -> Finding:
    """Every one refused by the server's own word; a connection that broke says nothing."""
    subject = session.subject
    accepted = [what for what, answer in answers if answer.answers]
    unclear = [what for what, answer in answers if not answer.answers and answer.status not in (400, 401, 403, 409)]
    if accepted:
        return subject.fail(check, None, f"accepted: {', '.join(accepted)}", key="accepted")
    if unclear:
        what, answer = next(each for each in answers if each[0] == unclear[0])
        return subject.unknown(check, f"{what}: {answer.describe()}", required=True)
    told = "; ".join(f"{what}: HTTP {answer.status}" for what, answer in answers)
    return subject.ok(check, None, f"refused: {told}")
