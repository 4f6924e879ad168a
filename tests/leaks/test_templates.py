"""The idiom of provider-anchored credentials: every notation of docs/secret-rules-authoring.md, and its limits."""

from __future__ import annotations

import re

import pytest

from mcpsec.leaks import scan_bytes
from mcpsec.leaks.templates import MAX_AFTER_GATE, expand, gate

NAMES = ["data[_-]?dog", "dd"]
VALUE = "[a-f0-9]{32}"
SECRET = "7b1e0c94" + "d25f6a83" + "e94c17b0" + "58d3fa26"

NOTATIONS = r"""
DATADOG_API_KEY=%
export DD_API_KEY="%"
${DD_API_KEY:-%}
ENV DD_API_KEY %
"datadogApiKey": "%"
{\"datadog_api_key\": \"%\"}
{"name": "DD_API_KEY", "value": "%"}
datadog_api_key: %
datadog:\n  api_key: %
- name: DD_API_KEY\n  value: %
datadog_api_key: |\n  %
<datadogKey>%</datadogKey>
<datadogKey>\n    %\n</datadogKey>
<add key="DatadogApiKey" value="%" />
datadog.secret: %
variable "datadog_api_key" {\n  default = "%"\n}
variable "datadog_api_key" {\n  type = string\n  default = "%"\n}
datadogKey := "%"
datadog_api_key := `%`
var datadogKey string = "%"
val datadogKey: String = "%"
let datadogKey: &'static str = "%";
const char *datadogKey = "%";
:datadog_key => "%"
$datadogKey .= "%"
datadog_key ||= "%"
os.getenv("DD_API_KEY", "%")
process.env.DD_API_KEY || "%"
datadog_api_key = SecretStr("%")
setDatadogKey("%")
set datadog_key "%"
DD-API-KEY: %
-H "DD-API-KEY: %"
Header.Set("DD-API-KEY", "%")
datadog_authorization: Bearer %
https://api.datadoghq.com/api/v1/series?api_key=%
--datadog-api-key %
--datadog-api-key=%
["--datadog-api-key", "%"]
api_key_datadog=%
the datadog key is %
"""
TEXTS = [line.replace("\\n", "\n") for line in NOTATIONS.strip().splitlines()]


@pytest.mark.parametrize("text", TEXTS)
def test_notation_is_found_and_its_gate_comes_first(text: str) -> None:
    text = text.replace("%", SECRET)
    found = re.search(expand(NAMES, VALUE), text)
    assert found is not None
    assert found["secret"] == SECRET
    begin = re.search(gate(NAMES), text)
    assert begin is not None
    assert begin.start() == found.start()
    assert found.start("secret") - begin.end() <= MAX_AFTER_GATE


@pytest.mark.parametrize(
    "text",
    [
        "DATADOG_API_KEY=" + SECRET[:-1],
        "DATADOG_API_KEY=" + SECRET + "0",
        "DATADOG_API_KEY=" + SECRET + "-us5",
        "DATADOG_API_KEY=" + SECRET.upper(),
        "datadog agent image sha " + SECRET,
        "add_key=" + SECRET,
        "commit: " + SECRET,
        "datadog\n\n\napi_key: " + SECRET,
    ],
)
def test_other_values_and_names_are_left_alone(text: str) -> None:
    assert re.search(expand(NAMES, VALUE), text) is None


def test_slots_replace_the_default_words() -> None:
    pattern = expand(NAMES, VALUE, ["api[_-]?hash"])
    assert re.search(pattern, f"datadog_api_hash = '{SECRET}'")
    assert re.search(pattern, f"datadog_api_key = '{SECRET}'") is None


def test_values_keep_their_case_and_names_do_not() -> None:
    assert re.search(expand(["acme"], "[A-Z0-9]{8}"), "ACME_KEY=A1B2C3D4")
    assert re.search(expand(["acme"], "[A-Z0-9]{8}"), "acme_key=a1b2c3d4") is None


@pytest.mark.parametrize(("names", "value"), [([], VALUE), (NAMES, "")])
def test_template_without_name_or_value_is_refused(names: list[str], value: str) -> None:
    with pytest.raises(ValueError):
        expand(names, value)


@pytest.mark.parametrize(
    "text",
    [
        'VONAGE_API_SECRET="%"',
        '{"vonageApiSecret": "%"}',
        'os.getenv("VONAGE_API_SECRET", "%")',
        "vonage:\n  api_secret: %",
        'token = "%"',
    ],
)
def test_letters_alone_are_found_where_they_make_no_word(text: str) -> None:
    """One value of sixteen letters and digits in seventeen has no digit."""
    drawn = "gmcVRUnf" + "iJHRMDYk"
    assert scan_bytes(text.replace("%", drawn).encode())
    assert not scan_bytes(text.replace("%", "readTokenFromVault").encode())
