import base64

import pytest

from mcpsec.leaks import scan_bytes

from .samples import ENV, OPAQUE

BASE64 = base64.b64encode(ENV.encode() * 2)


@pytest.mark.parametrize(
    ("data", "origin"),
    [
        (BASE64, "base64"),
        (base64.b64encode(BASE64), "base64 in base64"),
        (ENV.encode().hex().encode(), "hex"),
        (b"x=1&q=" + f"api_key%3D%22{OPAQUE}%22".encode(), "percent"),
        ("".join(f"\\u{ord(c):04x}" for c in ENV).encode(), "unicode escapes"),
    ],
)
def test_encoded(data, origin):
    findings = scan_bytes(data)
    assert [f.origin for f in findings] == [origin]
    assert findings[0].line == 1


def test_digests_and_pictures_hide_nothing():
    import hashlib

    data = b"".join(base64.b64encode(hashlib.sha512(bytes([n])).digest()) + b"\n" for n in range(50))
    assert scan_bytes(data) == []
