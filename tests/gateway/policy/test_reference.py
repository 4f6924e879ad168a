"""A random policy and a random call: the gateway decides exactly as the evaluator written from docs/policy.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.gateway.policy import Call, Context, Policy
from mcpsec.gateway.policy.engine import Access
from mcpsec.gateway.policy.globs import has_dot_segment
from mcpsec.gateway.policy.windows import Window
from tests.gateway.policy import reference
from tests.gateway.policy.build import call, deployment
from tests.gateway.policy.test_engine import ACCESS_ROWS, FILTER_ROWS, GRANT_ROWS, RULE_CASES

CLASSES = ["read", "write", "execute"]
ROLES = ["r1", "r2", "r3"]
UPSTREAMS = ["t", "tt", "files"]
TOOLS = ["get_a", "get_b", "get_", "del_a", "Get_a", "é", "e\u0301", "", "a/b", "resource:x", "prompt:x", "a.b", ".."]
URIS = ["file:///d/a", "file:///d/b", "file:///D/a", "file:///d/../a", "file:///d/%2e%2E/a", "file:///{p}", "x", ""]
URIS += [
    "FILE:///d/a",
    "file:///%64/a",
    "file:////d//a/",
    "file:///d/a?q",
    "file:///d\\a",
    "X",
    "file:///d/\uff0e\uff0e/a",
]
PROMPTS = ["p", "get_a", "", "p?", "P", "%70 "]
METHODS = ["ping", "tools/list", "tasks/get", "tasks/list", "notifications/x", "tools/call"]

PIECES = st.sampled_from(
    ["*", "get_", "a", "b", "del_", "é", "_", "file:///", "d/", "..", "/", "x", "p", "resource:", "prompt:", "."]
)
GLOBS = st.one_of(
    st.sampled_from(
        [*TOOLS[:5], "*", "get_*", "*_a", "resource:*", "prompt:*", "resource:file:///d/*", "prompt:p", "resource:x"]
    ),
    st.lists(PIECES, min_size=1, max_size=4).map("".join),
)
UPSTREAM_GLOBS = st.sampled_from(["t", "t*", "*", "files", "*s", "**"])
RESOURCE_GLOBS = st.builds(lambda upstream, what: f"{upstream}/{what}", UPSTREAM_GLOBS, GLOBS)
BROAD_GLOBS = st.sampled_from(["*/*", "t*/*", "*/get_*", "t/get_a", "*/resource:*", "*/*p*"])
PATHS = st.sampled_from(["a", "a", "b", "a.b", "a.a", "A", "ä"])
WANTED = st.one_of(
    st.lists(
        st.sampled_from(["1", "x", "*", "x*", "*y", "true", "/d/*", "1.5", "X", "é", "*1*"]), min_size=1, max_size=3
    ),
    st.fixed_dictionaries({"min": st.sampled_from([0, 1, 1.5])}, optional={"max": st.sampled_from([1, 2, 1.5])}),
    st.sampled_from([{"regex": "x+"}, {"regex": "[0-9]"}, {"regex": ".*"}, {"regex": "x|xy"}, {"max": 2}]),
)
FILTERS = st.dictionaries(
    BROAD_GLOBS | RESOURCE_GLOBS, st.dictionaries(PATHS, WANTED, min_size=1, max_size=2), max_size=2
)


ENDS = st.sampled_from(
    ["2026-03-29T00:00:00+00:00", "2026-11-22T12:00:00+01:00", "2026-12-31T23:59:59+00:00", "2030-01-01T00:00:00-05:00"]
)


def holders(**extra: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "allow_resources": st.lists(BROAD_GLOBS | RESOURCE_GLOBS, max_size=3),
            "allow_methods": st.just(CLASSES) | st.lists(st.sampled_from(CLASSES), max_size=2, unique=True),
        },
        optional={"resource_filters": FILTERS, "until": ENDS} | extra,
    )


WINDOWS = st.builds(
    lambda day, start, end, zone: f"{day} {start}-{end if end != start else '12:34'} {zone}",
    st.sampled_from(["daily", "Mon", "Sun", "Sat"]),
    st.sampled_from(["00:00", "02:00", "02:30", "22:00", "09:00"]),
    st.sampled_from(["03:00", "02:30", "23:59", "06:00", "00:00"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland"]),
)
PRINTS = ["ab" * 32, ":".join(["CD"] * 32)]
RULES = st.fixed_dictionaries(
    {"resources": st.lists(BROAD_GLOBS | RESOURCE_GLOBS, min_size=1, max_size=2)},
    optional={
        "window": WINDOWS,
        "networks": st.lists(st.sampled_from(["10.0.0.0/8", "2001:db8::/32", "10.1.0.0/16"]), min_size=1, max_size=2),
        "certificate_sha256": st.lists(st.sampled_from(PRINTS), min_size=1, max_size=2),
        "confirmation_header": st.sampled_from(["x-confirm", "x-second"]),
    },
)
POLICIES = st.fixed_dictionaries(
    {
        "upstreams": st.fixed_dictionaries(
            {name: st.dictionaries(GLOBS, st.sampled_from(CLASSES), max_size=4) for name in UPSTREAMS}
        ),
        "roles": st.fixed_dictionaries({name: holders() for name in ROLES}),
        "clients": st.fixed_dictionaries(
            {"c": holders(roles=st.lists(st.sampled_from(ROLES), max_size=3, unique=True)), "d": holders()}
        ),
        "rules": st.lists(RULES, max_size=2),
    }
)
SCALARS = st.sampled_from(
    [0, 1, 2, 1.5, True, False, None, "1", "x", "xy", "X", "true", "/d/a", "/d/../a", "é", "e\u0301", ""]
)
NAMES = st.sampled_from(["a", "b", "A", "B", "ä", "a\u0308", "a.b", "\uff41"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
ARGUMENTS = st.one_of(
    st.none(),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.fixed_dictionaries({"a": VALUES}, optional={"b": VALUES, "A": SCALARS}),
    st.fixed_dictionaries({"a": SCALARS, "b": SCALARS}),
)
CALLS = st.one_of(
    st.builds(Call, st.sampled_from(UPSTREAMS), st.just("tool"), st.sampled_from(TOOLS[:4]), ARGUMENTS),
    st.builds(Call, st.sampled_from(UPSTREAMS), st.just("tool"), st.sampled_from(TOOLS), ARGUMENTS),
    st.builds(Call, st.sampled_from(UPSTREAMS), st.just("task"), st.sampled_from(TOOLS), st.none()),
    st.builds(Call, st.sampled_from(UPSTREAMS), st.just("resource"), st.sampled_from(URIS), st.none()),
    st.builds(Call, st.sampled_from(UPSTREAMS), st.just("prompt"), st.sampled_from(PROMPTS), ARGUMENTS),
    st.builds(Call, st.sampled_from([*UPSTREAMS, "gone"]), st.just("method"), st.sampled_from(METHODS), st.none()),
    st.builds(
        Call,
        st.sampled_from([*UPSTREAMS, "gone"]),
        st.just("completion"),
        st.sampled_from(["prompt:p", "resource:file:///{p}", "get_a", "prompt:", "resource:x"]),
        ARGUMENTS,
    ),
)
MOMENTS = st.builds(
    lambda day, minutes: datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(minutes=minutes),
    st.sampled_from(["2026-03-28", "2026-10-24", "2026-11-22", "2026-12-31", "2026-03-07"]),
    st.integers(0, 3 * 24 * 60),
)
CONTEXTS = st.builds(
    Context,
    st.sampled_from([None, "ab" * 32, "cd" * 32, "ef" * 32]),
    st.sampled_from(["10.0.0.1", "10.1.2.3", "::ffff:10.1.0.1", "2001:db8::5", "192.0.2.1", "nowhere"]),
    MOMENTS,
    st.frozensets(st.sampled_from(["x-confirm", "x-second", "x-other"])),
)


@settings(max_examples=250, deadline=None)
@given(POLICIES, st.lists(st.tuples(st.sampled_from(["c"] * 9 + ["d", "x"]), CALLS, CONTEXTS), min_size=1, max_size=12))
def test_the_gateway_decides_like_the_page(policy: dict[str, Any], calls: list[tuple[str, Call, Context]]) -> None:
    compiled = Policy(deployment(**policy))
    for client, wanted, around in calls:
        expected = reference.decide(policy, client, wanted, around)
        assert compiled.decide(client, wanted, around).rule == expected
        assert compiled.decide(client, wanted, around, explain=True).rule == expected
        assert compiled.decide(client, wanted, around).allowed is (expected in ("granted", "lifecycle"))
        if wanted.kind in ("tool", "resource", "prompt"):
            seen = compiled.visible(client, wanted.upstream, wanted.kind, wanted.name, around.now)
            assert seen is reference.visible(policy, client, wanted, around.now)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(PATHS, WANTED), min_size=1, max_size=2), st.lists(ARGUMENTS, min_size=1, max_size=8))
def test_filters_decide_like_the_page(tests: list[tuple[str, Any]], arguments: list[Any]) -> None:
    client = {"allow_resources": ["t/x"], "allow_methods": ["execute"], "resource_filters": {"t/*": dict(tests)}}
    policy: dict[str, Any] = {"upstreams": {"t": {}}, "roles": {}, "clients": {"c": client}, "rules": []}
    compiled = Policy(deployment(**policy))
    around = Context(None, "", datetime.now(UTC))
    for given_ in arguments:
        wanted = Call("t", "tool", "x", given_)
        assert compiled.decide("c", wanted, around).rule == reference.decide(policy, "c", wanted, around)


@settings(max_examples=250, deadline=None)
@given(WINDOWS, st.lists(MOMENTS, min_size=1, max_size=20))
def test_windows_are_open_like_the_page(window: str, moments: list[datetime]) -> None:
    compiled = Window.parse(window)
    for moment in moments:
        assert compiled.contains(moment) is reference.in_window(window, moment)


PARTS = st.sampled_from([*"./\\%; ?#a", "%2e", "%2F", "%25", "2e", "25", "..", "/../", "%00", "%2", "\n", "%ff", "%C0"])


@settings(max_examples=500, deadline=None)
@given(st.lists(PARTS, max_size=14).map("".join), st.integers(0, 9))
def test_dot_segments_are_those_of_the_page(text: str, rounds: int) -> None:
    for _ in range(rounds):
        text = text.replace("%", "%25")
    assert has_dot_segment(text) is reference.has_dot_segment(text)


@settings(max_examples=250, deadline=None)
@given(
    st.dictionaries(st.text("ab*", min_size=1, max_size=4), st.sampled_from(CLASSES), max_size=6),
    st.lists(st.text("ab", max_size=4) | st.sampled_from(["resource:a", "prompt:a"]), min_size=1, max_size=6),
)
def test_classes_are_those_of_the_page(access: dict[str, str], names: list[str]) -> None:
    compiled = Access(deployment({"t": access}).upstreams["t"])
    for name in names:
        assert compiled.classify(name)[0] == reference.method_class(access, name)


def test_the_reference_gives_the_answers_of_the_tables() -> None:
    """The tables are a third opinion: they were written by hand."""
    from tests.gateway.policy import test_engine as tables
    from tests.gateway.policy.build import CONTEXT, context, written

    for table, lines in ((tables.GRANTS, GRANT_ROWS), (tables.ACCESS, ACCESS_ROWS), (tables.FILTERS, FILTER_ROWS)):
        policy = written(table)
        for client, what, arguments, rule in lines:
            assert reference.decide(policy, client, call(what, arguments), CONTEXT) == rule, (client, what, arguments)
    for what, changes, rule in RULE_CASES:
        if "%" not in changes.get("address", ""):
            found = reference.decide(written(tables.RULES), "c", call(what, {}), context(**changes))
            assert found == rule, (what, changes)
