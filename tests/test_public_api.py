"""What docs/python.md calls public is there, documented and typed; what is not on the page is not public by accident."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
PUBLIC = {
    row[1]: re.findall(r"`(\w+)`", row[2])
    for row in re.finditer(r"^\| `(mcpsec[\w.]*)` \| (.*?) \|", PAGE, re.MULTILINE)
}
# Whoever takes a name away, or gives it other parameters, breaks programs of others: the changelog says so, and this.
SIGNATURES = {
    "mcpsec.leaks.scan_bytes": "(data: 'bytes', *, path: 'str | None' = None, confidence: 'str' = 'medium')",
    "mcpsec.leaks.redact": "(text: 'str')",
    "mcpsec.leaks.redact_bytes": "(data: 'bytes')",
    "mcpsec.leaks.clean": "(data: 'bytes')",
    "mcpsec.leaks.RedactingFilter": "()",
    "mcpsec.signing.Signer": "(key: 'SigningKey', scheme: 'str' = 'hmac-sha256')",
    "mcpsec.signing.Signer.sign": "(self, message: 'SignedMessage', *, timestamp: 'int | None' = None, nonce: 'str | None' = None)",
    "mcpsec.signing.SigningKey": "(id: 'str | None', secret: 'bytes | None' = None, private_key: 'EllipticCurvePrivateKey | Ed25519PrivateKey | None' = None)",
    "mcpsec.signing.SignedMessage": "(method: 'str', authority: 'str', path: 'str', query: 'str', headers: 'Sequence[tuple[bytes, bytes]]', body: 'bytes')",
    "mcpsec.signing.Verifier.verify": "(self, message: 'SignedMessage', *, now: 'float | None' = None, owner: 'str | None' = None, certificate_keys: 'Mapping[str, VerificationKey]' = mappingproxy({}))",
    "mcpsec.signing.MemoryReplayStore": "(capacity: 'int' = 2000000, *, clock: 'Callable[[], float]' = <built-in function time>)",
}


def signature(name: str) -> str:
    module, _, rest = name.partition(".")
    parts = [module, *rest.split(".")]
    at = 2
    value = importlib.import_module(".".join(parts[:at]))
    for part in parts[at:]:
        value = getattr(value, part)
    return str(inspect.signature(value)).partition(" -> ")[0]


def test_the_page_lists_what_the_modules_offer() -> None:
    assert set(PUBLIC) == {
        "mcpsec",
        "mcpsec.errors",
        "mcpsec.leaks",
        "mcpsec.signing",
        "mcpsec.connect",
        "mcpsec.deployment",
    }
    for module, names in PUBLIC.items():
        found = importlib.import_module(module)
        assert sorted(names) == sorted(getattr(found, "__all__", ["__version__"])), module


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_what_is_public_is_explained(module: str) -> None:
    found = importlib.import_module(module)
    for name in PUBLIC[module]:
        value = getattr(found, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module}.{name}"
            members = value.__dict__.items() if inspect.isclass(value) and value.__module__.startswith("mcpsec") else ()
            for member, each in members:
                if inspect.isfunction(each) and not member.startswith("_"):
                    assert inspect.getdoc(each), f"{module}.{name}.{member}"


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_parameters_stay_as_they_are(name: str) -> None:
    assert signature(name) == SIGNATURES[name], "a public signature changed: say so in CHANGELOG.md"


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    program = tmp_path / "example.py"
    program.write_text(code)
    run = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr


def test_types_are_shipped() -> None:
    import mcpsec

    assert (Path(mcpsec.__file__).parent / "py.typed").is_file()
