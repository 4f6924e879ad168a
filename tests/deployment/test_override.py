"""What a command line may change for one run, under the rules of the file."""

from pathlib import Path

import pytest

from mcpsec.deployment import Deployment, override
from mcpsec.deployment.loading import read
from mcpsec.deployment.model import Address, Rate
from mcpsec.errors import UsageError
from tests.deployment.documents import FULL, MINIMAL


def deployment(text: str = FULL) -> Deployment:
    loaded, problems = read(text, Path("/base/mcpsec.toml"))
    assert loaded is not None, problems
    return loaded


def test_nothing_changes_nothing() -> None:
    assert override(deployment()) == deployment()


def test_each_change() -> None:
    changed = override(
        deployment(),
        listen="127.0.0.1:0",
        admin_listen="127.0.0.1:1",
        auth="signature",
        rate_limit="5/second",
        log_file=Path("/tmp/x"),
    )
    assert changed.server.listen == Address("127.0.0.1", 0)
    assert changed.server.admin is not None
    assert changed.server.admin.listen == Address("127.0.0.1", 1)
    assert changed.auth.require == ("signature",)
    assert changed.default_rate_limit == Rate(5, 1.0, 5)
    assert [client.rate_limit for client in changed.clients] == [None, None]
    assert changed.log.file == Path("/tmp/x")
    assert changed.upstreams == deployment().upstreams


def test_rate_limits_off() -> None:
    changed = override(deployment(FULL.replace('rate_limit = "off"', "")), rate_limit="off")
    assert changed.default_rate_limit is None
    assert [client.rate_limit for client in changed.clients] == [None, None]


@pytest.mark.parametrize(
    ("auth", "require"),
    [("mtls,signature", ("mtls", "signature")), ("signature, mtls", ("signature", "mtls")), ("mtls,mtls", ("mtls",))],
)
def test_factors(auth: str, require: tuple[str, ...]) -> None:
    assert override(deployment(), auth=auth).auth.require == require
    assert override(deployment(), auth=auth.replace(" ", "").split(",")).auth.require == require


def test_no_factor_on_loopback_only() -> None:
    assert override(deployment(MINIMAL), auth="none").auth.require == ()
    with pytest.raises(UsageError, match=r"require is empty, but 0\.0\.0\.0:8443 can be reached"):
        override(deployment(), auth="none")


NO_KEYS = MINIMAL + '[auth]\nrequire = ["mtls"]\n[[clients]]\nid = "a"\ncertificate = { san = "a" }\n'


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        (MINIMAL, {"listen": "8443"}, "--listen is not an address"),
        (MINIMAL, {"admin_listen": ":1"}, "--admin-listen lacks its host"),
        (MINIMAL, {"auth": "mtls,signatures"}, "--auth does not know 'signatures'"),
        (MINIMAL, {"auth": "bearer"}, "access tokens are required, but nothing says who issues them"),
        (MINIMAL, {"rate_limit": "100"}, "--rate-limit is not a rate"),
        (MINIMAL, {"admin_listen": "127.0.0.1:8443"}, "which is the public listener's address"),
        (MINIMAL, {"auth": "signature", "listen": "0.0.0.0:1"}, "0.0.0.0:1 can be reached from other machines"),
        (NO_KEYS, {"auth": "mtls,signature"}, "client a has no signing key"),
    ],
)
def test_what_the_file_could_not_say_either(text: str, change: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        override(deployment(text), **change)
    assert message in caught.value.message
    assert caught.value.hint
