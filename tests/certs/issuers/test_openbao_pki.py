from pathlib import Path

import pytest

from mcpsec.certs import Pki, Purpose, keys, load_crl
from mcpsec.certs.csr import make_request, read_request
from mcpsec.errors import Error, RefusedError, UsageError
from tests.certs.helpers import load, openssl_verify
from tests.certs.issuers.conftest import Bao

ROLE = {
    "allow_any_name": True,
    "enforce_hostnames": False,
    "allowed_uri_sans": "*",
    "client_flag": True,
    "server_flag": False,
    "key_type": "any",
    "key_usage": ["DigitalSignature"],
    "max_ttl": "2160h",
    "basic_constraints_valid_for_non_ca": True,
}


@pytest.fixture
def mount(bao: Bao) -> str:
    mounts = bao.call("GET", "sys/mounts")
    if "mcp/" not in mounts:
        bao.call("POST", "sys/mounts/mcp", type="pki", config={"max_lease_ttl": "87600h"})
        bao.call("POST", "mcp/root/generate/internal", common_name="Fleet CA", key_type="ec", key_bits=256, ttl="8760h")
    bao.call("POST", "mcp/roles/client", **ROLE)
    return "mcp"


def test_a_fleet_shares_one_ca_behind_the_same_commands(mount: str, bao: Bao, tmp_path: Path) -> None:
    issuer = {"client": f"openbao-pki:{mount}/client"}
    with (
        Pki.create(tmp_path / "one", external_keys=issuer) as one,
        Pki.create(tmp_path / "two", external_keys=issuer) as two,
    ):
        first = one.issue("first", Purpose.CLIENT, ["spiffe://example.com/first", "first.example.com"], days=30)
        second = two.issue("second", Purpose.CLIENT)
        for pki in (one, two):
            for leaf in (first, second):
                assert openssl_verify(leaf.certificate, pki.directory / "client-ca.pem", "client")[0]
        assert set(first.sans) == {"spiffe://example.com/first", "first.example.com"}
        assert (first.not_after - load(first.certificate)[0].not_valid_before_utc).days == 30
        renewed = one.renew("first")
        assert renewed.serial != first.serial and renewed.sans == first.sans
        two.revoke("second", "keyCompromise")
        one.refresh_crls(Purpose.CLIENT, force=True)  # the other machine hears of it
        assert load_crl(one.directory / "client-ca.crl").covers(load(second.certificate)[0])
        assert not load_crl(one.directory / "client-ca.crl").covers(load(renewed.certificate)[0])


def test_a_key_that_stays_with_its_owner(mount: str, bao: Bao, tmp_path: Path) -> None:
    with Pki.create(tmp_path / "pki", external_keys={"client": f"openbao-pki:{mount}/client"}) as pki:
        request = tmp_path / "request.pem"
        request.write_bytes(make_request("own", ["spiffe://example.com/own"], keys.generate("p256")))
        asked = read_request(request)
        issued = pki.issue("own", Purpose.CLIENT, asked.sans, public_key=asked.public_key, request=asked.pem)
        assert issued.key is None
        with pytest.raises(UsageError, match="signing request"):
            pki.renew("own")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"server_flag": True}, "usages"),
        ({"allowed_uri_sans": "spiffe://other/*"}, "refuses"),
    ],
)
def test_a_role_that_gives_something_else_is_refused(
    change: dict[str, object], match: str, mount: str, bao: Bao, tmp_path: Path
) -> None:
    bao.call("POST", f"{mount}/roles/wrong", **{**ROLE, **change})
    with Pki.create(tmp_path / "pki", external_keys={"client": f"openbao-pki:{mount}/wrong"}) as pki:
        with pytest.raises((RefusedError, Error), match=match):
            pki.issue("agent", Purpose.CLIENT)
        assert not list((pki.directory / "client").iterdir())


def test_a_role_that_shortens_the_life_says_so(mount: str, bao: Bao, tmp_path: Path) -> None:
    bao.call("POST", f"{mount}/roles/short", **{**ROLE, "max_ttl": "1h"})
    with Pki.create(tmp_path / "pki", external_keys={"client": f"openbao-pki:{mount}/short"}) as pki:
        assert pki.issue("agent", Purpose.CLIENT).shortened
