"""The Markdown page: it says what the file says, and nothing in the file can break out of its cell."""

from __future__ import annotations

from mcpsec.gateway.policy.document import markdown
from tests.gateway.policy.build import deployment


def test_the_page_names_grants_filters_rules_and_their_origin() -> None:
    page = markdown(
        deployment(
            {"t": {"get_*": "read"}},
            {
                "c": {
                    "roles": ["reader"],
                    "allow_resources": ["t/run"],
                    "allow_methods": ["execute"],
                    "allow_server_requests": ["roots"],
                    "resource_filters": {
                        "t/run": {"a": ["x", "y*"], "n": {"min": 0, "max": 5}, "r": {"regex": "a|b"}, "z": []}
                    },
                }
            },
            {"reader": {"allow_resources": ["t/get_*"], "allow_methods": ["read"]}},
            [{"resources": ["t/*"], "networks": ["10.0.0.0/8"], "window": "Sun 02:00-04:00 UTC"}],
        )
    )
    assert "| `t/get_*` | read | role reader |" in page
    assert "| `t/run` | execute | the client itself |" in page
    assert "- Upstreams may ask it for: roots" in page
    assert "| `t/run` | `a` | one of `x`, `y*` | the client itself |" in page
    assert "a number, at least 0 and at most 5" in page
    assert "text like `a\\|b`" in page
    assert "nothing: every call is refused" in page
    assert "| t | `get_*` | read |" in page
    assert "| `t/*` | from `10.0.0.0/8`, and within `Sun 02:00-04:00 UTC` |" in page


def test_the_page_of_an_empty_policy() -> None:
    page = markdown(deployment())
    assert "nobody may do anything" in page
    assert "all are execute" in page


def test_names_stay_in_their_cells() -> None:
    page = markdown(
        deployment({"t": {"a`b|c``d\n": "read"}}, {"x*y": {"allow_resources": ["t/a|b"], "allow_methods": ["read"]}})
    )
    assert "| t | ``` a`b\\|c``d\ufffd ``` | read |" in page
    assert "## Client x\\*y" in page
    assert "`t/a\\|b`" in page


def test_a_client_without_grants_may_use_nothing() -> None:
    assert "**May use**\n\nNothing.\n" in markdown(deployment({"t": {}}, {"c": {"allow_resources": ["t/x"]}}))
