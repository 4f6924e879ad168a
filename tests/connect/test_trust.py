"""What a closed connection means to the one who has to do something about it."""

from datetime import UTC, datetime
from pathlib import Path

from mcpsec.connect.trust import closed_after_handshake
from tests.fixtures.pki import Authority


def test_a_connection_closed_after_the_handshake_is_explained_by_the_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.client("agent", "spiffe://x/agent", trusts=authority.certificate).certificate
    early, late = (closed_after_handshake(certificate, datetime(year, 1, 1, tzinfo=UTC)) for year in (2020, 2090))
    assert "begins only on" in early.message and "clock" in early.hint
    assert "ended on" in late.message and "renew" in late.hint
    assert "does not accept this client certificate" in closed_after_handshake(certificate).message
    assert "demands a client certificate" in closed_after_handshake(None).message
    (tmp_path / "gone.pem").write_text("no certificate")
    assert "does not accept" in closed_after_handshake(tmp_path / "gone.pem").message
