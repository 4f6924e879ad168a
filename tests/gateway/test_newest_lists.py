"""A gateway that begins takes no revocation list from before the one that its predecessor used."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import Pki, Purpose
from mcpsec.certs.crl import CrlFile, load_crl
from mcpsec.deployment import load
from mcpsec.errors import ConfigurationError
from mcpsec.gateway.newest_lists import NewestLists, OlderListError
from mcpsec.gateway.server import Gateway as Server
from tests.fixtures.deployments import Deployment
from tests.fixtures.gateway import Gateway
from tests.fixtures.pki import Identity
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.raw import RawClient
from tests.gateway.test_trust_upkeep import ECHO, Wallet, deployment_of, serving

OLDER = "is older than the newest one used here"


def mcpsec(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mcpsec", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def is_served(running: Gateway, identity: Identity) -> bool:
    try:
        with RawClient(running, identity) as client:
            return client.post(ECHO).status == 200
    except OSError:
        return False


def numbers(made: Deployment) -> Path:
    return made.log.with_name(made.log.name + ".crl-numbers")


def test_a_restart_goes_back_to_no_older_list(tmp_path: Path) -> None:
    with Pki.create(tmp_path / "pki") as pki:
        made = deployment_of(tmp_path, pki)
        bob, crl = Wallet(pki, tmp_path / "wallet").identity, pki.authority(Purpose.CLIENT).crl_file
        before = crl.read_bytes()
        with serving(made) as running:
            assert is_served(running, bob)
        pki.revoke("bob", purpose=Purpose.CLIENT)
        with serving(made) as running:  # a newer list is what every start takes
            assert not is_served(running, bob)
        newest, number = crl.read_bytes(), load_crl(crl).numbers[0]
        assert json.loads(numbers(made).read_text())["newest"][0]["number"] == number
        crl.write_bytes(before)
        for words in (("serve", "-c", str(made.config)), ("config", "check", "-c", str(made.config))):
            refused = mcpsec(*words)
            assert refused.returncode == 2, refused.stderr
            assert OLDER in refused.stderr + refused.stdout and str(numbers(made)) in refused.stderr + refused.stdout
        crl.write_bytes(newest)
        with serving(made) as running:
            assert not is_served(running, bob)
        numbers(made).unlink()  # the operator's own way back
        crl.write_bytes(before)
        with serving(made) as running:
            assert is_served(running, bob)


@pytest.mark.parametrize("beside", [True, False])
def test_a_forged_list_keeps_neither_clients_nor_genuine_lists_out(tmp_path: Path, *, beside: bool) -> None:
    with Pki.create(tmp_path / "pki") as pki:
        made = deployment_of(tmp_path, pki)
        authority, bob = pki.authority(Purpose.CLIENT), Wallet(pki, tmp_path / "wallet").identity
        ca, crl = x509.load_pem_x509_certificate(authority.bundle.read_bytes()), authority.crl_file
        now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
        made_up = x509.CertificateRevocationListBuilder(ca.subject, now, now + timedelta(days=1))
        forged = made_up.add_extension(x509.CRLNumber(10**9), critical=False).sign(key, SHA256())
        with serving(made) as running:
            genuine = crl.read_bytes()
            crl.write_bytes((genuine if beside else b"") + forged.public_bytes(Encoding.PEM))
            wait_until(lambda: "its CA didn't sign it" in running.stderr(), "the forged list to be refused")
            assert is_served(running, bob)
            crl.write_bytes(genuine)
            pki.issue("eve", Purpose.CLIENT)
            pki.revoke("eve", purpose=Purpose.CLIENT)
            wait_until(lambda: '"number": 2' in numbers(made).read_text(), "the next genuine list")
            assert is_served(running, bob)
        with serving(made) as running:
            assert is_served(running, bob)


def test_a_number_that_could_not_be_kept_is_kept_as_soon_as_it_can(tmp_path: Path) -> None:
    with Pki.create(tmp_path / "pki") as pki:
        made = deployment_of(tmp_path, pki)
        in_the_way = numbers(made).with_name(numbers(made).name + ".lock")
        in_the_way.mkdir()
        bob = Wallet(pki, tmp_path / "wallet").identity
        with serving(made) as running:
            running.expected += [r".*can't be kept for the next start.*"]
            assert is_served(running, bob) and not numbers(made).exists()
            in_the_way.rmdir()
            wait_until(numbers(made).exists, "the next attempt")
            assert running.stderr().count("can't be kept") == 1


def test_the_number_is_on_the_disk_before_anybody_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def opens(_self: Server, _listening: Any) -> None:
        seen.append(numbers(made).exists())
        raise ConfigurationError("far enough")

    monkeypatch.setattr(Server, "_open", opens)
    with Pki.create(tmp_path / "pki") as pki:
        made = deployment_of(tmp_path, pki)
    with pytest.raises(ConfigurationError, match="far enough"):
        asyncio.run(start(made))
    assert seen == [True]


async def start(made: Deployment) -> None:
    await Server(load(made.config), say=lambda _text: None).start()


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"schema": "x", "newest": []}', b"\xff", b"[" * 100_000])
def test_numbers_that_cannot_be_read_are_no_numbers(tmp_path: Path, damaged: bytes) -> None:
    file = tmp_path / "events.jsonl.crl-numbers"
    file.write_bytes(damaged)
    with pytest.raises(ConfigurationError) as caught:
        NewestLists.beside(tmp_path / "events.jsonl")
    assert caught.value.path == str(file) and caught.value.hint


def list_of(issuer: str, number: int, *, proven: bool = True) -> CrlFile:
    now, numbers = datetime.now(UTC), {issuer: number}
    verified, unverified = (numbers, {}) if proven else ({}, numbers)
    return CrlFile(now, now + timedelta(days=1), (number,), frozenset(), verified, unverified)


def test_only_what_a_known_ca_signed_is_kept_for_the_next_start(tmp_path: Path) -> None:
    lists = NewestLists(tmp_path / "numbers")
    lists.use(list_of("known", 5))
    lists.use(list_of("unknown", 5, proven=False))
    lists.keep()
    after = NewestLists(tmp_path / "numbers")
    for each in (lists, after):
        with pytest.raises(OlderListError):
            each.refuse_older(list_of("known", 4), tmp_path)
        each.refuse_older(list_of("known", 5), tmp_path)
    with pytest.raises(OlderListError):
        lists.refuse_older(list_of("unknown", 4, proven=False), tmp_path)
    after.refuse_older(list_of("unknown", 4, proven=False), tmp_path)


def test_made_up_issuers_displace_no_known_ca(tmp_path: Path) -> None:
    lists = NewestLists()
    lists.use(list_of("known", 5))
    for number in range(1000):
        lists.use(list_of(f"made up {number}", 9, proven=False))
    with pytest.raises(OlderListError):
        lists.refuse_older(list_of("known", 4), tmp_path)
    lists.use(list_of("known", 10**9, proven=False))
    lists.refuse_older(list_of("known", 5), tmp_path)


def test_several_workers_raise_one_file(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    first, second = NewestLists(file), NewestLists(file)
    first.use(list_of("one", 7))
    first.use(list_of("other", 1))
    first.keep()
    second.use(list_of("one", 6))  # it began before the other took the newer one
    second.use(list_of("third", 1))
    second.keep()
    kept = {each["issuer"]: each["number"] for each in json.loads(file.read_text())["newest"]}
    assert kept == {"one": 7, "other": 1, "third": 1}


def test_a_ca_whose_list_was_left_out_for_a_while_begins_where_it_was(tmp_path: Path) -> None:
    lists = NewestLists()
    lists.use(list_of("one", 7))
    lists.use(list_of("other", 1))
    with pytest.raises(OlderListError):
        lists.refuse_older(list_of("one", 6), tmp_path)
    lists.refuse_older(list_of("one", 7), tmp_path)


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    lists = NewestLists(tmp_path / "numbers")
    for number in range(1000):
        lists.use(list_of(str(number), 9))
        lists.use(list_of("busy", 10 + number))
    lists.keep()
    assert len(json.loads((tmp_path / "numbers").read_text())["newest"]) == 256
    with pytest.raises(OlderListError):
        lists.refuse_older(list_of("busy", 1000), tmp_path)


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    lists = NewestLists(tmp_path / "log" / "numbers")
    lists.use(list_of("one", 7))
    with pytest.raises(ConfigurationError):
        lists.keep()
    (tmp_path / "log").mkdir()
    lists.keep()
    with pytest.raises(OlderListError):
        NewestLists(tmp_path / "log" / "numbers").refuse_older(list_of("one", 6), tmp_path)


def test_a_trouble_is_told_once_and_tried_again(tmp_path: Path) -> None:
    lists, said = NewestLists(tmp_path / "log" / "numbers"), list[str]()

    async def maintain(times: int) -> None:
        for _ in range(times):
            await lists.maintain(said.append)

    asyncio.run(maintain(2))
    assert not said and not list(tmp_path.iterdir()), "nothing to keep"
    lists.use(list_of("one", 7))
    asyncio.run(maintain(3))
    assert len(said) == 1 and "can't be kept" in said[0]
    (tmp_path / "log").mkdir()
    asyncio.run(maintain(2))
    with pytest.raises(OlderListError):
        NewestLists(tmp_path / "log" / "numbers").refuse_older(list_of("one", 6), tmp_path)
    assert len(said) == 1


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "null", "[]", '"x"', "9" * 5000])
def test_a_number_that_is_none_is_said_to_be(tmp_path: Path, number: str) -> None:
    file = tmp_path / "numbers"
    file.write_text('{"schema": "mcpsec.crl-numbers/1", "newest": [{"issuer": "one", "number": ' + number + "}]}")
    with pytest.raises(ConfigurationError, match="can't be read from this file"):
        NewestLists(file)
