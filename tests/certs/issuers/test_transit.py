from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose, load_crl, rotation
from mcpsec.errors import ConfigurationError, Error, SecretError, UsageError
from tests.certs.helpers import openssl_verify, pkilint
from tests.certs.issuers.conftest import TOKEN, Bao


def _mount(bao: Bao, name: str, kind: str) -> str:
    if "transit/" not in bao.call("GET", "sys/mounts"):
        bao.call("POST", "sys/mounts/transit", type="transit")
    bao.call("POST", f"transit/keys/{name}", type=kind)
    return f"transit:{name}"


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-3072"])
def test_a_ca_whose_key_never_leaves_openbao(kind: str, bao: Bao, tmp_path: Path) -> None:
    reference = _mount(bao, f"ca-{kind}", kind)
    with Pki.create(tmp_path / "pki", external_keys={"client": reference}) as pki:
        assert not list((tmp_path / "pki" / "private" / "client").glob("*.pem"))
        issued = pki.issue("agent", Purpose.CLIENT)
        accepted, said = openssl_verify(issued.certificate, pki.directory / "client-ca.pem", "client")
        assert accepted, said
        assert pkilint(issued.chain, tmp_path) == []
        pki.revoke("agent")
        assert len(load_crl(pki.directory / "client-ca.crl").revoked) == 1
        bao.call("POST", f"transit/keys/ca-{kind}/rotate")  # a newer version must not sign in the CA's name
        after = pki.issue("other", Purpose.CLIENT)
        assert openssl_verify(after.certificate, pki.directory / "client-ca.pem", "client")[0]
    with Pki.open(tmp_path / "pki") as pki:
        assert openssl_verify(pki.renew("other").certificate, pki.directory / "client-ca.pem", "client")[0]


def test_rotation_moves_a_ca_into_openbao_and_the_root_can_be_there_too(bao: Bao, tmp_path: Path) -> None:
    root = _mount(bao, "root", "ecdsa-p384")
    with Pki.create(tmp_path / "pki", external_keys={"root": root}) as pki:
        pki.issue("agent", Purpose.CLIENT)
        rotation.rotate(pki, Purpose.CLIENT, external_key=_mount(bao, "moved", "ecdsa-p256"))
        assert [renewal.error for renewal in pki.renew_due()] == [None]
        renewed = pki.files_of(pki.current("agent"))
        assert renewed is not None
        accepted, said = openssl_verify(renewed.certificate, pki.root_file, "client", "-untrusted", renewed.chain)
        assert accepted, said


def test_refusals_are_one_clear_error_without_the_token(
    bao: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = _mount(bao, "refused", "ecdsa-p256")
    with Pki.create(tmp_path / "pki", external_keys={"client": reference}) as pki:
        pki.issue("agent", Purpose.CLIENT)

    def fails(match: str, kind: type[Error] = Error) -> None:
        with Pki.open(tmp_path / "pki") as opened:
            with pytest.raises(kind, match=match) as caught:
                opened.issue("other", Purpose.CLIENT)
            with pytest.raises(kind):
                opened.revoke("agent")
            assert opened.current("agent").revoked is None
            assert [entry.name for entry in opened.entries(everything=True)] == ["agent"]
        shown = f"{caught.value} {caught.value.hint}"
        assert TOKEN not in shown and "wrong-token" not in shown

    monkeypatch.setenv("BAO_TOKEN", "wrong-token")
    fails("refuses")
    monkeypatch.delenv("BAO_TOKEN")
    fails("no OpenBao token", SecretError)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o644)
    monkeypatch.setenv("BAO_TOKEN_FILE", str(token))
    fails("other accounts", SecretError)
    token.chmod(0o600)
    with Pki.open(tmp_path / "pki") as pki:
        pki.issue("other", Purpose.CLIENT)
        pki.revoke("other")
    monkeypatch.setenv("BAO_ADDR", "http://bao.example.com:8200")
    with Pki.open(tmp_path / "pki") as pki, pytest.raises(ConfigurationError, match="in the clear"):
        pki.issue("third", Purpose.CLIENT)
    monkeypatch.setenv("BAO_ADDR", "http://127.0.0.1:9")
    with Pki.open(tmp_path / "pki") as pki, pytest.raises(Error, match="can't be reached"):
        pki.issue("third", Purpose.CLIENT)
    monkeypatch.delenv("BAO_ADDR")
    with Pki.open(tmp_path / "pki") as pki, pytest.raises(ConfigurationError, match="no OpenBao server"):
        pki.issue("third", Purpose.CLIENT)


def test_keys_that_no_ca_should_have(bao: Bao, tmp_path: Path) -> None:
    for name, kind in (("weak", "rsa-2048"), ("secret", "aes256-gcm96"), ("edwards", "ed25519")):
        with pytest.raises(Error):
            Pki.create(tmp_path / "pki", external_keys={"client": _mount(bao, name, kind)})
    with pytest.raises(UsageError):
        Pki.create(tmp_path / "pki", external_keys={"client": "transit:../sys"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BAO_ADDR", "https://[x", "address is no URL"),
        ("BAO_ADDR", "https://bao:port", "address is no URL"),
        ("BAO_NAMESPACE", "töam", "namespace holds a character"),
    ],
)
def test_an_environment_that_names_no_server(
    name: str, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, good in (("BAO_ADDR", "http://127.0.0.1:1"), ("BAO_TOKEN", TOKEN), (name, value)):
        monkeypatch.setenv(variable, good)
    with pytest.raises(ConfigurationError, match=said):
        Pki.create(tmp_path / "pki", external_keys={"client": "transit:ca"})
