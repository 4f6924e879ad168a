"""Damaged on purpose: each damage is refused, and the same request undamaged is not."""

from __future__ import annotations

import pytest

from mcpsec.errors import UsageError
from mcpsec.signing import Refusal, Signer, Verified
from mcpsec.signing.tamper import TAMPERINGS, signed_badly
from tests.signing.requests import MESSAGE, NOW, STAMP, WAYS, key_pair, signed, verifier, with_headers


@pytest.mark.parametrize("what", TAMPERINGS)
@pytest.mark.parametrize(("scheme", "kind"), WAYS)
def test_damage_is_refused(scheme: str, kind: str, what: str) -> None:
    signer = Signer(key_pair(kind)[0], scheme)
    if scheme == "article" and what in {"path", "nonce"}:
        with pytest.raises(UsageError):
            signed_badly(signer, MESSAGE, what)
        return
    headers = signed_badly(signer, MESSAGE, what, timestamp=STAMP)
    outcome = verifier().verify(with_headers(MESSAGE, headers), now=NOW)
    assert isinstance(outcome, Refusal)
    assert outcome.rule in {"signature-invalid", "digest-mismatch"}
    assert isinstance(verifier().verify(signed(scheme, kind), now=NOW), Verified)
