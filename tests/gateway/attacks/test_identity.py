"""Certificates that claim to be somebody: by a common name, by several names at once, by a name in other letters."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mcpsec.cli.root import main
from tests.fixtures.deployments import OTHER, TESTER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.pki import Authority, Identity
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, call

MAIL, HOST, THIRD = "agent@example.com", "agent.example.com", "spiffe://mcpsec.test/agent/third"
ADDRESS = "2001:DB8:0:0::7"
GRANTS: dict[str, Any] = {"allow_resources": ["demo/*"], "allow_methods": ["execute"]}


class Site:
    """A gateway whose client CA issues whatever is asked for."""

    def __init__(self, running: Gateway, clients: Authority) -> None:
        self.running = running
        self._clients = clients
        self._count = 0

    def certificate(self, name: str, *sans: x509.GeneralName) -> Identity:
        """A client certificate with this common name and these subject alternative names."""
        trusts = self.running.deployment.client.ca
        return self._clients._issue(name, list(sans), ExtendedKeyUsageOID.CLIENT_AUTH, trusts)

    def who(self, identity: Identity) -> str | None:
        """The client that the gateway takes it for; None when it is refused as nobody's."""
        before = len(self.events())
        with RawClient(self.running, identity) as client:
            status = client.post(call("echo", {"text": "x"})).status
        wait_until(lambda: len(self.events()) > before, "the event")
        event = self.events()[before]
        if status == 401:
            assert (event["decision"], event["rule"]) == ("refused", "certificate-unknown")
            return None
        assert status == 200
        return str(event["client"])

    def events(self) -> list[dict[str, Any]]:
        return [event for event in self.running.deployment.events() if "status" in event]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("identity")
    made = make_deployment(directory, {"demo": {"builtin": "demo"}}, grants=GRANTS)
    clients = Authority(directory / "pki" / "second-ca", "Another client CA")
    made.document["server"]["tls"]["client_ca"] = str(clients.certificate)
    for id, san in (("other", OTHER), ("mail", MAIL), ("host", HOST), ("address", ADDRESS)):
        made.document["clients"].append({"id": id, "certificate": {"san": san}, **GRANTS})
    made.write()
    running = start_gateway(made)
    yield Site(running, clients)
    running.stop()


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


@pytest.mark.parametrize("name", ["tester", "host", HOST, MAIL, "other"])
def test_a_common_name_is_nobodys(site: Site, name: str) -> None:
    assert site.who(site.certificate(name, uri(THIRD))) is None
    assert site.who(site.certificate(name, uri(TESTER))) == "tester", "and takes nothing away either"


def test_every_kind_of_name_leads_to_its_client(site: Site) -> None:
    for san, client in ((uri(TESTER), "tester"), (x509.RFC822Name(MAIL), "mail"), (x509.DNSName(HOST), "host")):
        assert site.who(site.certificate("x", san)) == client
        assert site.who(site.certificate("x", uri(THIRD), san)) == client, "a name of nobody's does no harm"


@pytest.mark.parametrize(
    "sans",
    [
        (uri(TESTER), uri(OTHER)),
        (uri(TESTER), x509.DNSName(HOST)),
        (x509.RFC822Name(MAIL), x509.DNSName(HOST), uri(TESTER)),
    ],
)
def test_who_is_two_clients_is_none(site: Site, sans: tuple[x509.GeneralName, ...]) -> None:
    assert site.who(site.certificate("tester", *sans)) is None


@pytest.mark.parametrize(
    "san",
    [
        uri(TESTER.upper()),
        uri(TESTER + "/"),
        uri(TESTER + "%2e"),
        uri(TESTER.replace("tester", "%74ester")),
        uri(HOST),
        x509.DNSName("agent.example.com.evil.example"),
        x509.DNSName("*.example.com"),
        x509.DNSName("xn--" + HOST),
        x509.RFC822Name("Agent@example.com"),
        x509.RFC822Name("agent@example.com.evil.example"),
        x509.DNSName(TESTER),
    ],
    ids=repr,
)
def test_a_name_that_is_only_like_it(site: Site, san: x509.GeneralName) -> None:
    assert site.who(site.certificate("tester", san)) is None


def test_an_address_may_be_written_in_any_form(site: Site) -> None:
    for text, client in (("2001:db8::7", "address"), ("2001:db8::8", None)):
        assert site.who(site.certificate("x", x509.IPAddress(ipaddress.ip_address(text)))) == client
    assert site.who(site.certificate("x", x509.DNSName("2001:db8::7"))) is None


def test_a_host_has_no_case(site: Site) -> None:
    assert site.who(site.certificate("x", x509.DNSName(HOST.upper()))) == "host"
    assert site.who(site.certificate("x", x509.RFC822Name("agent@EXAMPLE.com"))) == "mail"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"san": TESTER}, {"san": TESTER}),
        ({"san": HOST}, {"san": HOST.upper()}),
        ({"san": MAIL}, {"san": "agent@EXAMPLE.com"}),
        ({"san": "2001:db8::7"}, {"san": ADDRESS}),
        ({"sha256": "ab" * 32}, {"sha256": ":".join(["AB"] * 32)}),
    ],
)
def test_the_file_gives_a_certificate_to_one_client(
    tmp_path: Any, one: dict[str, str], other: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_deployment(tmp_path, {"demo": {"builtin": "demo"}}, grants=GRANTS)
    made.document["clients"] = [{"id": f"c{n}", "certificate": each, **GRANTS} for n, each in enumerate((one, other))]
    made.write()
    assert main(["config", "check", "-c", str(made.config)]) == 2
    shown = capsys.readouterr()
    assert "certificate" in shown.err + shown.out and "Traceback" not in shown.err
    made.document["clients"].pop()
    made.write()
    assert main(["config", "check", "-c", str(made.config), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "san", ["dns:agent.example.com", "agent.example.com.", "spiffe:agent", "10.0.0.0/8", "CN=agent"]
)
def test_the_file_names_no_client_by_what_is_no_name(
    tmp_path: Any, san: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No certificate would ever be this client's, which is better said at once."""
    made = make_deployment(tmp_path, {"demo": {"builtin": "demo"}}, grants=GRANTS)
    made.document["clients"][0]["certificate"] = {"san": san}
    made.write()
    assert main(["config", "check", "-c", str(made.config)]) == 2
    shown = capsys.readouterr()
    assert f"{san!r} is no subject alternative name" in shown.err + shown.out


def test_nor_an_administrator(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_deployment(tmp_path, {"demo": {"builtin": "demo"}}, grants=GRANTS)
    made.document["server"]["admin"] = {
        "administrators": [{"san": "anna.example.com"}, {"san": "dns:anna.example.com"}]
    }
    made.write()
    assert main(["config", "check", "-c", str(made.config)]) == 2
    shown = capsys.readouterr()
    text = shown.err + shown.out
    assert "'dns:anna.example.com' is no subject alternative name, so no certificate is this administrator's" in text
