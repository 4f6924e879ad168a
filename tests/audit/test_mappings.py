"""What checks are mapped to exists, by id and name, and nothing is named that no check is about."""

from __future__ import annotations

from mcpsec.audit.catalogue import checks, table

KNOWN = {
    "20": "Improper Input Validation",
    "250": "Execution with Unnecessary Privileges",
    "295": "Improper Certificate Validation",
    "306": "Missing Authentication for Critical Function",
    "319": "Cleartext Transmission of Sensitive Information",
    "532": "Insertion of Sensitive Information into Log File",
    "798": "Use of Hard-coded Credentials",
    "862": "Missing Authorization",
}
"""Some names as the CWE list has them; the whole table was compared with CWE 4.9 by hand."""


def test_every_mapping_has_a_name():
    cwe, owasp, cosai = table("cwe.toml"), table("owasp.toml"), table("cosai.toml")
    used_cwe, used_owasp, used_cosai = set(), set(), set()
    for check in checks().values():
        used_cwe |= {str(number) for number in check.cwe}
        used_owasp |= set(check.owasp)
        used_cosai |= {check.cosai} - {""}
    assert used_cwe == set(cwe)
    assert used_owasp <= set(owasp) == {f"MCP{number:02}" for number in range(1, 11)}
    assert used_cosai <= set(cosai) == {f"MCP-T{number}" for number in range(1, 13)}
    assert {number: cwe[number] for number in KNOWN} == KNOWN
    assert all(name[:1].isupper() and len(name) > 8 for name in cwe.values())
