from binascii import crc32

import pytest

from mcpsec.leaks import checks

from .samples import HEX, OPAQUE

BODY = "k3Jd92Lm" + "Qx7Zp0RtVb5NwYc8HfGs1A"


def with_tail(prefix):
    return f"{prefix}_{BODY}{checks._base62(crc32(BODY.encode()), 6)}"


@pytest.mark.parametrize("name", ["github-checksum", "npm-checksum", "crc32-base62-tail"])
def test_crc32_tail(name):
    good = with_tail("ghp")
    assert checks.run(name, good) is True
    assert checks.run(name, good[:-1] + ("a" if good[-1] != "a" else "b")) is None
    assert checks.run(name, "ghp_" + "x" * 36) is False


def test_jwt():
    import base64
    import json

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    unsigned = f"{part({'alg': 'HS256'})}.{part({'sub': '1'})}."
    token = unsigned + OPAQUE + OPAQUE[1:]
    assert checks.run("jwt", token) is True
    assert checks.run("jwt", unsigned + OPAQUE) is None, "half a signature"
    assert checks.run("jwt", f"{part({'a': 1})}.{part({'sub': '1'})}.x") is False
    assert checks.run("jwt", "eyJnonsense.x.y") is False
    assert checks.run("jwt", f"{part({'alg': 'none'})}.{part({'sub': '1'})}.") is False, "anybody can make one"


def test_cisco_type_7():
    plain, offset = "zkVm!q12", 8
    mixed = bytes(ord(c) ^ checks._TYPE_7[offset + n] for n, c in enumerate(plain))
    assert checks.run("cisco-type-7", f"{offset:02d}{mixed.hex()}") is True
    assert checks.run("cisco-type-7", f"{offset:02d}{mixed[:-1].hex()}FE") is False, "no text comes out"


def test_others():
    assert checks.run("luhn", "4539578763621486") is True
    assert checks.run("luhn", "4539578763621487") is False
    assert checks.run("uuid", "00000000-0000-0000-0000-000000000000") is False
    assert checks.run("hex", HEX) is True
    assert checks.run("hex", "g" * 32) is False
    assert checks.run("aws-access-key-id", "AKIA" + "IOSFODNN7EXAMPLE") is False
    assert checks.run("bech32", "a12uel5l") is True
    assert checks.run("basic", "dXNlcjpYazI5c2RrcQ==") is True
    assert checks.run("basic", "dXNlcg==") is False


@pytest.mark.parametrize("name", sorted(checks.NAMES))
def test_none_of_them_raises(name):
    for value in ("", "x", "\u00e9\u4e00", "." * 50, "=" * 9, "-_-_-", "1" * 99, "eyJ" * 30, "a:b"):
        assert checks.run(name, value) in (True, False, None)
