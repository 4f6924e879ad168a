"""One endpoint under probe: who we are to it, what we may send, how fast and how much."""

from __future__ import annotations

import json
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec import __version__
from mcpsec.audit.probes.wire import PATIENCE, Answer, Target, exchange, reason, target_of

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Context, Subject
    from mcpsec.deployment.model import Deployment
    from mcpsec.signing import Signer
    from mcpsec.signing.message import Headers, SignedMessage

__all__ = ["Answer", "Credentials", "Session", "Stopped", "Target", "Unreachable", "exchange", "target_of"]

PACE = 0.2
"""Seconds between two requests: five a second at most."""
BUDGETS = {"passive": 45, "refuse": 130, "load": 130}
"""Requests that a profile may make of one endpoint, bursts of the load probes apart: those have caps of their own."""
LONGEST_WAIT = 10.0
"""Seconds that a 429 may ask us to wait before we leave it."""
_LINE_END = re.compile(r"[\r\n]+")


class Unreachable(Exception):
    """Nothing answers at the address."""


class Stopped(Exception):
    """No more requests may be sent: the endpoint asked for it, or the budget is spent."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What we may show: a client certificate and key, what signs requests, an access token; and what we trust."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    signer: Signer | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    client: str = ""
    """The client's name in the deployment file, empty without one."""

    @property
    def any(self) -> bool:
        """True when there is anything to show."""
        return self.certificate is not None or self.signer is not None or bool(self.token)


class Session:
    """One endpoint, the credentials that we have for it, and the pace of our requests.

    ``facts`` is where probes leave what later ones go on from.
    """

    def __init__(self, subject: Subject, context: Context) -> None:
        self.subject = subject
        self.audit = context
        self.target = target_of(subject.label)
        self.credentials: Credentials = context.options.get("credentials") or Credentials()
        self.other: Credentials | None = context.options.get("other")
        self.requests = 0
        self.budget = BUDGETS.get(context.profile, 0)
        self.run_id = secrets.token_hex(4)
        self._last = 0.0
        self.refusing = False
        """Set while P2 and later probes run: the first 429 ends them."""
        self.reached = False
        self.spoken: set[str] = set()
        """TLS versions that our requests have used."""
        self.stranger: tuple[str, Answer, dict[str, str]] | None = None
        """What a stranger was told first, for the probes that go on from there."""
        self.facts: dict[str, Any] = {}
        self.opened: list[tuple[str, Credentials]] = []
        """Sessions of the older era that our requests opened: id and whose they are."""

    @property
    def deployment(self) -> Deployment | None:
        """The deployment behind this endpoint, when its file is among what is judged or was given."""
        if "deployment" not in self.facts:
            from mcpsec.audit.probes.consent import deployment_of

            self.facts["deployment"] = deployment_of(self.target, self.audit)
        found: Deployment | None = self.facts["deployment"]
        return found

    @property
    def agent(self) -> str:
        """Our user agent, with the number of this run, so that a log shows what was us."""
        return f"mcpsec-audit/{__version__} ({self.run_id})"

    def reach(self) -> None:
        """Raise Unreachable when nothing answers."""
        try:
            socket.create_connection((self.target.host, self.target.port), timeout=PATIENCE).close()
        except OSError as error:
            raise Unreachable(f"{self.target} can't be reached: {reason(error)}") from None

    def pace(self) -> None:
        """Wait until the next request may go out, and count it. Raises Stopped when the budget is spent."""
        if self.requests >= self.budget:
            raise Stopped(f"the {self.audit.profile} profile makes {self.budget} requests at most")
        wait = self._last + PACE - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._last = time.monotonic()
        self.requests += 1

    def tls(
        self,
        *,
        certificate: bool = False,
        lowest: ssl.TLSVersion | None = None,
        highest: ssl.TLSVersion | None = None,
        identity: Credentials | None = None,
    ) -> ssl.SSLContext:
        """A context that verifies nothing: verification is a check of its own (TLS008)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if lowest is not None and lowest < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        if lowest is not None:
            context.minimum_version = lowest
        if highest is not None:
            context.maximum_version = highest
        who = identity or self.credentials
        if certificate and who.certificate is not None:
            context.load_cert_chain(who.certificate, who.key)
        return context

    @property
    def name(self) -> str:
        """The name that TLS asks for (SNI has no addresses)."""
        return self.target.host

    def compose(
        self,
        method: str = "POST",
        path: str | None = None,
        *,
        body: Any = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeated: Sequence[tuple[str, str]] = (),
        identity: Credentials | None = None,
        signature: Callable[[SignedMessage], Headers] | None = None,
        late: Mapping[str, str] | None = None,
    ) -> bytes:
        """The bytes of one request; signed, and with a token, when the identity has them.

        ``repeated`` are header lines added as they are; ``late`` replaces headers after signing.
        """
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        fields = {
            "Host": self.target.authority,
            "User-Agent": self.agent,
            "Accept": "application/json, text/event-stream",
            "Connection": "close",
        }
        if content or method == "POST":
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        fields |= headers or {}
        where = path or self.target.path
        if identity is not None and identity.token:
            fields.setdefault("Authorization", f"Bearer {identity.token}")
        if signature is None and identity is not None and identity.signer is not None:
            signature = identity.signer.sign
        if signature is not None:
            fields |= signature(_message(method, where, fields, repeated, content))
        fields |= late or {}
        # Some of it is what the endpoint said, and a line end in it would begin a header, or a request, of its own.
        lines = [_LINE_END.sub(" ", f"{name}: {value}") for name, value in (*fields.items(), *repeated)]
        head = "\r\n".join([f"{method} {where} HTTP/1.1", *lines, "", ""])
        return head.encode("latin-1", "replace") + content

    def request(
        self,
        method: str = "POST",
        path: str | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        certificate: bool = True,
        context: ssl.SSLContext | None = None,
        server_name: str | None = "",
        address: str | None = None,
        raw: bytes | None = None,
        plain: bool = False,
        patience: float = PATIENCE,
        identity: Credentials | None = None,
        **more: Any,
    ) -> Answer:
        """Send one request on a connection of its own, with our credentials, or without any (``certificate=False``).

        Raises Stopped when the endpoint wants no more of them.
        """
        who = (identity or self.credentials) if certificate else None
        for last in (False, True):
            content = self.compose(method, path, body=body, raw=raw, headers=headers, identity=who, **more)
            answer = self.send(
                content, context=context, server_name=server_name, address=address, plain=plain, patience=patience,
                certificate=certificate, identity=identity,
            )  # fmt: skip
            if answer.status != 429:
                break
            if last:
                raise Stopped("the endpoint goes on answering 429: too many requests")
            self._obey(answer)
        return answer

    def send(
        self,
        content: bytes,
        *,
        context: ssl.SSLContext | None = None,
        server_name: str | None = "",
        address: str | None = None,
        plain: bool = False,
        patience: float = PATIENCE,
        certificate: bool = True,
        identity: Credentials | None = None,
        target: Target | None = None,
    ) -> Answer:
        """Send the bytes of one request on a connection of its own. Raises Stopped."""
        self.pace()
        tls = None
        if self.target.tls and not plain:
            tls = context or self.tls(certificate=certificate, identity=identity)
        name = self.name if server_name == "" else server_name
        answer = exchange(
            target or self.target, content, context=tls, server_name=name, patience=patience, address=address
        )
        if answer.status == 429 and self.refusing:
            raise Stopped("the endpoint answers 429: it limits or locks out this client")
        if self.reached and not answer.connected and address is None and target is None:
            raise Stopped("the endpoint does not take connections any more")
        self.reached = self.reached or answer.connected
        self.spoken.add(answer.version)
        return answer

    def _obey(self, answer: Answer) -> None:
        """Wait as long as a 429 says."""
        wait = answer.headers.get("retry-after", "1")
        seconds = float(wait) if wait.isdigit() else 1.0
        if seconds > LONGEST_WAIT:
            raise Stopped(f"the endpoint answers 429 and asks to wait {seconds:g} s")
        time.sleep(seconds)

    def close(self) -> None:
        """End the sessions that probes opened."""
        for ident, who in self.opened:
            if self.requests >= self.budget:
                return
            try:
                self.request("DELETE", headers={"Mcp-Session-Id": ident}, certificate=who.any, identity=who)
            except Stopped:
                return
        self.opened = []


def _message(
    method: str, where: str, fields: Mapping[str, str], repeated: Sequence[tuple[str, str]], content: bytes
) -> SignedMessage:
    from mcpsec.signing.message import SignedMessage

    path, _, query = where.partition("?")
    pairs = [
        (name.lower().encode("latin-1"), value.strip().encode("latin-1"))
        for name, value in (*fields.items(), *repeated)
    ]
    return SignedMessage(method, fields["Host"].lower(), path, query, pairs, content)
