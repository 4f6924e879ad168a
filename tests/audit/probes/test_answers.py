"""What probes of a live endpoint make of answers: those that a good server, and the bad ones of test_live, don't give."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from mcpsec.audit.probes import (
    lists,
    messages,
    permissions,
    sessions,
    signatures,
)
from mcpsec.audit.probes.entry import ask, modern, welcome
from mcpsec.audit.probes.session import Credentials
from mcpsec.protocol.headers import decode_value
from mcpsec.signing import Signer, SigningKey
from tests.audit.probes.scripted import (
    ALICE,
    BOB,
    GONE,
    LATE,
    error,
    greets,
    opened,
    page,
    result,
    said,
    told,
)


def legacy(asked, **methods):
    """A server of the older era, with one session for each identity."""
    if asked.rpc == "initialize":
        return result({"protocolVersion": "2025-11-25", "capabilities": {}}, mcp_session_id=f"of-{asked.who}")
    return methods.get(asked.rpc.replace("/", "_"), error(404))


@pytest.mark.parametrize("name", ["echo", "größe", "a\ud800", "\udfff\r\nx-evil: 1"])
def test_a_tool_may_be_called_anything(monkeypatch, name):
    session = opened(monkeypatch, lambda _asked: error(404))
    body, headers = modern("tools/call", {"name": name})
    session.request(body=body, headers=headers)
    (asked,) = session.facts["asked"]
    assert json.loads(asked.body)["params"]["name"] == name and "x-evil" not in asked.headers
    if name.isprintable():
        assert decode_value(asked.headers["mcp-name"]) == name


@pytest.mark.parametrize(
    "version", ["2025-11-25", "2025-11-25\r\nx-evil: 1", "2025-11-25\r\n\r\nPOST /mcp/other HTTP/1.1"]
)
def test_an_endpoint_writes_nothing_into_our_requests(monkeypatch, version):
    """Behind a gateway it could speak to its neighbours with the auditor's certificate."""

    def server(asked):
        if asked.rpc == "initialize":
            return result({"protocolVersion": version, "capabilities": {}}, mcp_session_id="s")
        return result({"tools": []}) if asked.rpc == "tools/list" else error(404)

    session = opened(monkeypatch, server)
    entry = welcome(session)
    ask(session, entry, "tools/list")
    session.request(body={}, headers={"Mcp-Session-Id": "s\r\nx-evil: 1"})
    asked = session.facts["asked"]
    assert [each for each in asked if "x-evil" in each.headers or each.path != "/mcp" or b"HTTP/1.1" in each.body] == []
    kept = asked[-2].headers["mcp-protocol-version"]
    assert (asked[-2].rpc, kept) == ("tools/list", "2025-11-25")


def test_names_are_said_as_headers_can_hold_them():
    for name in ("plain", "a\r\nx-evil: 1", "grüße"):
        _, headers = modern("tools/call", {"name": name})
        assert decode_value(headers["Mcp-Name"]) == name
        assert headers["Mcp-Name"].isascii() and headers["Mcp-Name"].isprintable()


STRANGERS = {
    "an open stream": (
        lambda asked: page("", content_type="text/event-stream") if asked.method == "GET" else error(404),
        "fail",
        "event stream is opened",
    ),
    "no such path": (lambda asked: error(404), "not-assessed", "is this the path of an MCP server?"),
    "refused in HTTP": (lambda asked: error(401), "pass", "a stranger gets: HTTP 401"),
    "refused by TLS": (lambda asked: GONE, "pass", "the connection was closed"),
    "silence": (lambda asked: LATE, "not-assessed", "neither refused nor answered"),
    "only us": (lambda asked: greets(asked) if asked.who else error(404), "pass", "a stranger gets: HTTP 404"),
    "answered": (
        lambda asked: greets(asked, tools_list={"tools": [{"name": "a"}]}),
        "fail",
        "tools/list names 1 tools",
    ),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger(name, monkeypatch):
    server, state, text = STRANGERS[name]
    said(messages.without_credentials(opened(monkeypatch, server, credentials=ALICE)), "AUT001", state, text)


def origin(asked, *, to, host=None, cors=None):
    if asked.method == "OPTIONS":
        return cors or error(405)
    if asked.headers["host"].startswith("attacker"):
        return host or error(421)
    return (
        to
        if "origin" in asked.headers
        else error(415)
        if asked.headers["content-type"] == "text/plain"
        else greets(asked)
    )


PAGES = {
    "refused": ({"to": error(403)}, "ORG001", "pass", "are refused"),
    "served": ({"to": result({})}, "ORG001", "fail", "Origin https://attacker.invalid: HTTP 200"),
    "broken": ({"to": error(500)}, "ORG001", "not-assessed", "refused for another reason: HTTP 500"),
    "the host is served": ({"to": error(403), "host": result({})}, "ORG002", "fail", "a foreign Host: HTTP 200"),
    "the host is not known": ({"to": error(403), "host": error(404)}, "ORG002", "pass", "HTTP 404"),
    "the host breaks it": ({"to": error(403), "host": GONE}, "ORG002", "not-assessed", "closed"),
    "any page may read": (
        {"to": error(403), "cors": page("", access_control_allow_origin="*")}, "ORG003", "fail", "Allow-Origin: *"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_another_origin(name, monkeypatch):
    answers, check, state, text = PAGES[name]
    session = opened(monkeypatch, lambda asked: origin(asked, **answers))
    said(messages.foreign_pages(session), check, state, text)


def test_pages_of_who_is_not_answered_at_all(monkeypatch):
    found = list(messages.foreign_pages(opened(monkeypatch, lambda asked: GONE, credentials=ALICE)))
    assert {(each.check, str(each.state)) for each in found} == {(f"ORG00{n}", "not-assessed") for n in range(1, 5)}
    found = list(messages.foreign_pages(opened(monkeypatch, lambda asked: GONE)))
    assert {str(each.state) for each in found} == {"not-applicable"}
    found = list(messages.foreign_pages(opened(monkeypatch, lambda asked: error(400))))
    said(found, "ORG004", "not-assessed", "refused for another reason: HTTP 400")


@pytest.mark.parametrize(
    ("path", "text", "public"),
    [
        ("/docs", "<html>Swagger UI</html>", True), ("/docs", "<html>Welcome</html>", False),
        ("/.git/HEAD", "ref: refs/heads/main", True), ("/.git/HEAD", "<html>", False),
        ("/.env", "KEY=value", True), ("/.env", "<a href=x>", False),
        ("/metrics", "up 1", True), ("/metrics", "", False), ("/config", "<html>", False),
    ],
)  # fmt: skip
def test_what_is_served_beside_the_endpoint(path, text, public, monkeypatch):
    session = opened(monkeypatch, lambda asked: page(text) if asked.path == path else error(404))
    found = list(messages.pages(session))
    assert [each.key for each in found if each.check == "ERR002" and each.state == "fail"] == ([path] if public else [])
    assert (("MON001", "fail", "metrics") in told(found)) is (public and path == "/metrics")


def test_the_transport_of_2024_is_seen_at_its_own_path(monkeypatch):
    stream = page("event: endpoint\ndata: /m\n\n", content_type="text/event-stream")
    session = opened(monkeypatch, lambda asked: stream if asked.path == "/sse" else error(404))
    said(messages.pages(session), "SES003", "fail", "/sse offers the HTTP+SSE transport")
    found = list(messages.pages(opened(monkeypatch, lambda asked: GONE)))
    assert {(each.check, each.observed) for each in found} == {
        (c, "nothing answers a stranger") for c in ("ERR002", "SES003")
    }


# --- lists and grants ---


def test_lists_are_read_page_by_page_and_not_for_ever(monkeypatch):
    def server(asked):
        if asked.rpc != "tools/list":
            return greets(asked)
        cursor = json.loads(asked.body)["params"].get("cursor", "0")
        return result({"tools": [{"name": cursor}, 7], "nextCursor": str(int(cursor) + 1)})

    session = opened(monkeypatch, server)
    assert [tool["name"] for tool in lists.listed(session, welcome(session))] == ["0", "1", "2", "3", "4"]
    asked = len(session.facts["asked"])
    lists.listed(session, welcome(session))
    assert len(session.facts["asked"]) == asked
    session = opened(monkeypatch, lambda asked: greets(asked, tools_list={"tools": "none"}))
    assert lists.listed(session, welcome(session)) is None


@pytest.mark.parametrize(
    ("path", "upstreams", "tool", "found"),
    [
        ("/mcp", ["a", "a_b"], "a_b_get", ("a_b", "get")), ("/mcp", ["a", "b"], "get", ("", "get")),
        ("/mcp", ["only"], "get", ("only", "get")), ("/mcp/x", ["a", "b"], "a_get", ("x", "a_get")),
    ],
)  # fmt: skip
def test_whose_a_listed_tool_is(path, upstreams, tool, found, monkeypatch):
    deployment = SimpleNamespace(upstreams=dict.fromkeys(upstreams))
    session = opened(monkeypatch, greets, f"http://127.0.0.1:1{path}", deployment=deployment)
    assert lists.named(session, tool) == found


def test_what_a_policy_hides_and_a_list_shows(monkeypatch, tmp_path):
    from mcpsec.deployment import load
    from mcpsec.deployment.scaffold import create

    deployment = load(create(tmp_path / "d", ["alice"]).directory / "mcpsec.toml")
    names = [{"name": "time_now"}]
    shown = lambda asked: greets(asked, tools_list={"tools": names})  # noqa: E731
    said(lists.filtered(opened(monkeypatch, shown)), "PRM004", "not-applicable", "a client that has a name")
    said(lists.filtered(opened(monkeypatch, shown, credentials=ALICE)), "PRM004", "not-assessed", "is not known")
    known = {"credentials": ALICE, "deployment": deployment}
    said(lists.filtered(opened(monkeypatch, shown, **known)), "PRM004", "pass", "1 tools, all granted to alice")
    said(lists.filtered(opened(monkeypatch, greets, **known)), "PRM004", "not-assessed", "tools/list is refused")
    stranger = {**known, "credentials": Credentials(token="alice", client="mallory")}
    said(lists.filtered(opened(monkeypatch, shown, **stranger)), "PRM004", "fail", "not granted, and listed: time_now")


READS = {"name": "wipe", "annotations": {"readOnlyHint": True}, "inputSchema": {"required": ["id"]}}
CALLS = {
    "forbidden": (error(403), "pass", "wipe, which was not granted: HTTP 403"),
    "unknown": (result({"isError": True, "content": "unknown tool"}), "pass", "wipe"),
    "done": (result({"content": []}), "fail", "wipe"),
    "its arguments": (error(200, -32602, "id is required"), "fail", "is required"),
    "unclear": (error(200, -32603, "hm"), "not-assessed", "denied, or only its arguments?"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_outside_the_grant(name, monkeypatch):
    answer, state, text = CALLS[name]

    def server(asked):
        if asked.rpc == "tools/call":
            return answer if json.loads(asked.body)["params"]["name"] == "wipe" else error(404)
        return greets(asked, tools_list={"tools": [READS] if asked.who == "bob" else []})

    for options in ({"other": BOB}, {"denied": ["wipe"]}):
        found = permissions.outside_the_grant(opened(monkeypatch, server, credentials=ALICE, **options))
        said(found, "PRM003", state, text)


@pytest.mark.parametrize(
    ("server", "options", "state", "text"),
    [
        (greets, {}, "not-assessed", "shows with a client's credentials"),
        (lambda asked: error(401), {"credentials": ALICE}, "not-assessed", "we are not answered: HTTP 401"),
        (
            lambda asked: greets(asked, tools_call={}),
            {"credentials": ALICE},
            "fail",
            "a name that nobody has is answered",
        ),
        (greets, {"credentials": ALICE}, "not-assessed", "--denied-tool NAME"),
        (
            lambda asked: error(403) if asked.rpc == "tools/call" else greets(asked),
            {"credentials": ALICE},
            "pass",
            "HTTP 403",
        ),
    ],
)
def test_grants_without_a_tool_to_try(server, options, state, text, monkeypatch):
    said(permissions.outside_the_grant(opened(monkeypatch, server, **options)), "PRM003", state, text)


# --- signatures ---

SIGNER = Signer(SigningKey("alice", secret=b"s" * 32))
SIGNS = Credentials(signer=SIGNER, client="alice")


UNSIGNED = error(401)


def signed(asked, *, bad=UNSIGNED, again=None, seen=None):
    """Answers what is signed by alice for this moment and, when there is a set for it, not seen before."""
    text = " ".join(f"{name} {value}" for name, value in asked.headers.items() if "sign" in name)
    if not text:
        return bad
    if seen is not None and asked.headers.get("signature", text) in seen:
        return again or bad
    (seen if seen is not None else set()).add(asked.headers.get("signature", text))
    return greets(asked)


@pytest.mark.parametrize(
    ("options", "server", "check", "state", "text"),
    [
        ({}, greets, "SIG001", "not-applicable", "nothing says that requests are signed here"),
        ({"credentials": SIGNS}, lambda asked: error(401), "SIG002", "not-assessed", "our own signed request is not"),
        ({"credentials": SIGNS}, greets, "SIG001", "fail", "an unsigned request"),
        ({"credentials": SIGNS}, greets, "SIG004", "not-applicable", "see SIG001"),
        ({"credentials": SIGNS}, signed, "SIG003", "fail", "accepted: 3660 s old, 3660 s of the future"),
        ({"credentials": SIGNS}, signed, "SIG004", "fail", "accepted: the same request again"),
        (
            {"credentials": SIGNS, "replica": "http://127.0.0.1:2/mcp"},
            signed,
            "SIG004",
            "fail",
            "at http://127.0.0.1:2/mcp",
        ),
    ],
)
def test_signed_requests(options, server, check, state, text, monkeypatch):
    said(signatures.signed_requests(opened(monkeypatch, server, **options)), check, state, text)


def test_where_signing_is_required_and_no_key_was_given(monkeypatch):
    deployment = SimpleNamespace(auth=SimpleNamespace(require=("mtls", "signature")))
    found = signatures.signed_requests(opened(monkeypatch, greets, deployment=deployment))
    said(found, "SIG004", "not-assessed", "no key was given")


def test_a_replay_is_judged_by_the_servers_own_word(monkeypatch):
    seen = set()
    session = opened(monkeypatch, lambda asked: signed(asked, seen=seen, again=LATE), credentials=SIGNS)
    entry = welcome(session)
    said([signatures._repeated(session, entry)], "SIG004", "not-assessed", "no answer in time")
    session.other = None
    monkeypatch.setattr(session, "send", lambda content, **_: error(503))
    said([signatures._repeated(session, entry)], "SIG004", "not-assessed", "a good request is not answered: HTTP 503")


# --- sessions ---


@pytest.mark.parametrize(
    ("server", "state", "text"),
    [
        (lambda asked: error(401), "not-assessed", "no session is opened for us"),
        (greets, "not-applicable", "speaks the current protocol only"),
        (lambda asked: result({}) if asked.rpc == "initialize" else error(400), "not-applicable", "keeps no sessions"),
        (lambda asked: legacy(asked, tools_list=result({"tools": []})), "fail", "an unknown id is answered"),
        (legacy, "fail", "about 0 bits vary in 6 ids"),
    ],
)
def test_session_ids(server, state, text, monkeypatch):
    said(sessions.session_ids(opened(monkeypatch, server, credentials=ALICE)), "SES001", state, text)


@pytest.mark.parametrize(("kind", "theirs"), [("x", True), ("x", False)])
def test_our_session_in_the_hand_of_another_client(kind, theirs, monkeypatch):
    numbers = iter(range(10**6, 10**9, 7_654_321))

    def server(asked):
        if asked.rpc == "initialize" and (asked.who == "alice" or theirs):
            return result({}, mcp_session_id=f"{next(numbers):032x}")
        known = asked.headers.get("mcp-session-id", "").startswith("0" * 20)
        return result({"tools": []}) if asked.rpc == "tools/list" and asked.who == "bob" and known else error(404)

    found = list(sessions.session_ids(opened(monkeypatch, server, credentials=ALICE, other=BOB)))
    assert (("SES001", "fail", "shared") in told(found)) is theirs


def test_an_id_of_the_same_look():
    uuid = "3f2b8c1e-5d4a-4f6b-9c8d-7e6f5a4b3c2d"
    assert sessions._like(uuid) != uuid and sessions._like(uuid).count("-") == 4 and sessions._like(uuid)[14] == "4"
    assert len(sessions._like("ab")) == 16 and len(sessions._like("a" * 40)) == 40
    assert sessions.bits(["12", "12"]) == 0
    assert sessions.bits(["100", "201", "302"]) == 6 and sessions.bits([f"{n:x}" for n in (0xA0, 0xB1, 0xC2)]) == 8


def test_the_current_era_and_what_is_left_of_sessions_in_it(monkeypatch):
    def server(asked):
        if asked.rpc == "server/discover":
            return result(
                {"supportedVersions": ["2026-07-28"]}, mcp_session_id=asked.headers.get("mcp-session-id", "new")
            )
        return error(404)

    text = "server/discover makes a session; a session id is echoed; GET: HTTP 404; DELETE: HTTP 404"
    said(sessions.no_sessions(opened(monkeypatch, server)), "SES002", "fail", text)
    said(sessions.no_sessions(opened(monkeypatch, legacy)), "SES002", "not-applicable", "does not speak 2026-07-28")
    for probe, check in (
        (sessions.no_sessions, "SES002"),
        (sessions.contradictions, "HDR001"),
        (sessions.ambiguities, "HDR002"),
    ):
        said(probe(opened(monkeypatch, lambda asked: error(401))), check, "not-assessed", "nothing is answered")


def test_names_that_are_looked_up_by_body_or_header(monkeypatch):
    """-32602 (and no 400) for a name says that the name was looked for."""

    def server(asked):
        if asked.rpc == "prompts/get":
            return error(200, -32602, "no such prompt")
        good = (
            asked.headers.get("mcp-method") == asked.rpc == "server/discover"
            and asked.headers["mcp-protocol-version"] > "2026"
        )
        return greets(asked) if good else error(400)

    session = opened(monkeypatch, server)
    said(sessions.contradictions(session), "HDR001", "fail", "processed with another Mcp-Name")
    said(sessions.ambiguities(session), "HDR002", "fail", "a bad Base64 value")
