"""The gateway looks after its own certificate, and warns while its clients' revocation list can still be signed again.

A certificate that ``mcpsec certs`` keeps at ``PKI/server/NAME/`` is renewed when two thirds of its life are over, if
this account holds the server CA's key; the new files are picked up like any others. The client CA's key is never
touched: it does not belong where a server can read it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509

from mcpsec.certs.crl import load_crl
from mcpsec.certs.identity import UNREADABLE
from mcpsec.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcpsec.deployment.model import Tls

__all__ = ["OwnCertificate"]

_TIME = "%Y-%m-%d %H:%M UTC"
_NOBODY = "no client can connect: the gateway's certificate"
_SETTLE_SECONDS = 2.0
"""A gateway that has just started answers first; then it looks at what may be due for weeks."""


class OwnCertificate:
    """Upkeep of one gateway's TLS files. ``say`` takes a sentence for the operator; each is said once in a row."""

    def __init__(self, tls: Tls, *, say: Callable[[str], None]) -> None:
        self._certificate = tls.certificate
        self._pki = _pki_of(tls.certificate)
        self._crl = tls.crl
        self._say = say
        self._said = ""
        self._settled = False

    async def maintain(self, now: datetime | None = None) -> None:
        """Renew what is due; called about once an hour. Files are written in a thread of its own."""
        if not self._settled:
            self._settled = True
            await asyncio.sleep(_SETTLE_SECONDS)
        try:
            text = await asyncio.to_thread(self._look, now)
        except (
            Error,
            OSError,
            *UNREADABLE,
        ):  # a file that is being replaced, or broken: ``TrustFiles`` speaks of those
            return
        if text and text != self._said:
            self._say(text)
        self._said = text

    def _is_due(self, now: datetime) -> bool:
        begins, ends = self._life()
        return now >= ends - (ends - begins) / 3

    def _life(self) -> tuple[datetime, datetime]:
        certificate = x509.load_pem_x509_certificates(self._certificate.read_bytes())[0]
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc

    def _out_of_life(self, now: datetime) -> str:
        """What keeps every client away, as far as it is the certificate's times."""
        begins, ends = self._life()
        if now < begins:
            return f"{_NOBODY} begins only on {begins:{_TIME}}; is the clock right?"
        return f"{_NOBODY} ended on {ends:{_TIME}}" if now >= ends else ""

    def _look(self, now: datetime | None) -> str:
        """Do what is due, and say what could not be done."""
        troubles = []
        now = now or datetime.now(UTC)
        if self._pki is not None:
            from mcpsec.certs import Pki, Purpose  # tens of milliseconds and MiB that only this needs

            try:
                with Pki.open(self._pki) as pki:
                    outcomes = pki.renew_due(now, purpose=Purpose.SERVER)
                failed = [each for each in outcomes if each.error is not None and each.kind == "leaf"]
                troubles += [f"{each.name}: {each.error}" for each in failed]
            except Error as error:  # an account without access to the PKI: somebody else has to renew in time
                troubles += [str(error)] if self._is_due(now) else []
        dead = self._out_of_life(now)
        if troubles:
            due = dead or "the gateway's certificate is due"
            return f"{due} and can't be renewed: {troubles[0]}"
        if dead:
            return dead
        crl = None if self._crl is None else load_crl(self._crl)
        if crl is not None and crl.due(now):
            ends = f"{crl.next_update:{_TIME}}"
            means = f"ended on {ends} and refuses" if crl.expired(now) else f"ends on {ends} and then refuses"
            return f"the revocation list {means} every client; sign it again: mcpsec certs crl"
        return ""


def _pki_of(certificate: Path) -> Path | None:
    """The PKI that keeps this certificate, None when it comes from elsewhere."""
    if len(certificate.parents) < 3 or certificate.parents[1].name != "server":
        return None
    pki = certificate.parents[2]
    return pki if (pki / "pki.toml").is_file() else None
