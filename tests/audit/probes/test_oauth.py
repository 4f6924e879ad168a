"""What endpoints and authorization servers say of access tokens."""

from __future__ import annotations

import json

import pytest

from mcpsec.audit.probes import oauth
from mcpsec.audit.probes.session import Answer, Credentials
from tests.audit.probes.scripted import ALICE, error, greets, opened, said, told

URL = "http://127.0.0.1:1/mcp"
ISSUER = "http://localhost:2/tenant"
RESOURCE = {"resource": URL, "authorization_servers": [ISSUER], "bearer_methods_supported": ["header"]}
SERVER = {
    "issuer": ISSUER, "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": True,
    "authorization_endpoint": f"{ISSUER}/a", "token_endpoint": f"{ISSUER}/t", "jwks_uri": "https://acme.example/keys",
}  # fmt: skip
ASKS = error(401, www_authenticate=f'Bearer resource_metadata="{URL}/m"')
BAD = error(401, www_authenticate='Bearer error="invalid_token"')


def page(value):
    return Answer(200, {"content-type": "application/json"}, json.dumps(value).encode())


def resource(asked, *, document=RESOURCE, server=SERVER, challenge=ASKS, at="/.well-known/oauth-authorization-server"):
    """A resource that asks strangers for a token, and its authorization server."""
    if asked.path.startswith("/.well-known/oauth-protected-resource"):
        return error(404) if document is None else page(document)
    if asked.method == "GET":
        return server if isinstance(server, Answer) else page(server) if asked.path.startswith(at) else error(404)
    return greets(asked) if asked.who == "alice" else BAD if asked.who else challenge


def metadata(monkeypatch, **more):
    return list(oauth.metadata(opened(monkeypatch, lambda asked: resource(asked, **more), credentials=ALICE)))


def test_complete_metadata_passes(monkeypatch):
    assert [(each.check, str(each.state)) for each in metadata(monkeypatch)] == [("AUT002", "pass"), ("AUT005", "pass")]
    found = metadata(monkeypatch, at="/tenant/.well-known/openid-configuration")
    assert ("AUT005", "pass") in {(each.check, str(each.state)) for each in found}


@pytest.mark.parametrize(
    ("document", "texts"),
    [
        (None, {"there is none"}),
        ([1], {"there is none"}),
        ({**RESOURCE, "resource": "https://other.example/"}, {"resource is not this endpoint"}),
        ({"resource": URL}, {"no https authorization server"}),
        ({**RESOURCE, "authorization_servers": ["http://acme.example/"]}, {"no https authorization server"}),
        ({**RESOURCE, "bearer_methods_supported": ["header", "query"]}, {"tokens in the query are accepted"}),
    ],
)
def test_what_is_wrong_with_the_metadata_of_a_resource(document, texts, monkeypatch):
    found = metadata(monkeypatch, document=document)
    assert {each.key for each in found if each.check == "AUT002"} == texts
    if document is None:
        said(found, "AUT005", "not-assessed", "no authorization server is named")


def test_a_challenge_that_names_no_metadata(monkeypatch):
    found = metadata(monkeypatch, challenge=error(401, www_authenticate="Bearer"))
    assert [each.key for each in found if each.check == "AUT002"] == ["challenge"]


@pytest.mark.parametrize(
    ("change", "text", "severity"),
    [
        ({"issuer": "http://localhost:2/other"}, "its metadata names another issuer", "medium"),
        ({"code_challenge_methods_supported": ["plain"]}, "no PKCE with S256", "medium"),
        ({"code_challenge_methods_supported": "S256"}, "no PKCE with S256", "medium"),
        ({"authorization_response_iss_parameter_supported": None}, "who answered (RFC 9207)", "low"),
        ({"token_endpoint": "http://acme.example/t"}, "token_endpoint is not https", "medium"),
        ({"jwks_uri": None}, "", ""),
    ],
)
def test_what_is_wrong_with_an_authorization_server(change, text, severity, monkeypatch):
    found = [each for each in metadata(monkeypatch, server={**SERVER, **change}) if each.check == "AUT005"]
    assert [str(each.state) for each in found] == (["fail"] if text else ["pass"])
    assert text in found[0].observed and found[0].severity == severity


def test_an_issuer_without_tls_elsewhere_is_wrong_however_complete(monkeypatch):
    issuer = "http://acme.example/"
    found = metadata(
        monkeypatch,
        document={**RESOURCE, "authorization_servers": [issuer]},
        server={**SERVER, "issuer": issuer},
    )
    assert [each.key for each in found if each.check == "AUT005"] == ["it is not https"]


@pytest.mark.parametrize(
    ("issuer", "server", "text"),
    [
        (ISSUER, Answer(failure="no answer in time"), "no answer in time"),
        (ISSUER, error(404), "HTTP 404"),
        ("http://user:secret@localhost/", SERVER, "without a password"),
        ("https://localhost:2/", Answer(failure="TLS: certificate verify failed"), "certificate verify failed"),
    ],
)
def test_an_authorization_server_that_does_not_answer_is_not_judged(issuer, server, text, monkeypatch):
    found = metadata(monkeypatch, document={**RESOURCE, "authorization_servers": [issuer]}, server=server)
    said(found, "AUT005", "not-assessed", text)
    assert "secret" not in str([each.observed for each in found if each.check == "AUT002"])


def test_who_asks_for_no_token_is_not_asked_about_them(monkeypatch):
    session = opened(monkeypatch, greets)
    assert {str(each.state) for each in (*oauth.metadata(session), *oauth.bad_tokens(session))} == {"not-applicable"}


@pytest.mark.parametrize("token", ["", "alice"])
def test_where_strangers_are_refused_by_tls_our_certificate_without_a_token_is_asked(token, monkeypatch, tmp_path):
    """The challenge comes only to whom the connection lets in: to our certificate, and not to our token."""
    who = Credentials(tmp_path / "cert.pem", tmp_path / "key.pem", token=token)
    refused = Answer(failure="TLS: certificate required")
    session = opened(monkeypatch, lambda asked: resource(asked) if session.let else refused, credentials=who)
    session.let = False
    list(oauth.welcome(session, oauth.NOBODY).headers)
    session.let = True
    challenge = oauth._challenge(session)
    assert challenge is not None and challenge.status == 401
    assert session.facts["asked"][-1].who == ""


TOKENS = {
    "refused": (BAD, {("AUT003", "pass"), ("AUT004", "pass")}),
    "broken by them": (error(500), {("AUT003", "broken garbage"), ("AUT003", "pass"), ("AUT004", "pass")}),
    "the same as none": (ASKS, {("AUT003", "pass"), ("AUT004", "not-assessed")}),
}


@pytest.mark.parametrize("name", TOKENS)
def test_bad_tokens(name, monkeypatch):
    answer, expected = TOKENS[name]

    def server(asked):
        return answer if asked.who and asked.who != "alice" else resource(asked)

    found = told(oauth.bad_tokens(opened(monkeypatch, server, credentials=ALICE)))
    seen = {(check, key if state == "fail" else state) for check, state, key in found}
    assert expected <= seen
    assert {check for check, _ in seen} == {"AUT003", "AUT004"}


def test_a_token_that_is_no_token_opens_the_door(monkeypatch):
    session = opened(monkeypatch, lambda asked: greets(asked) if asked.who else resource(asked), credentials=ALICE)
    said(oauth.bad_tokens(session), "AUT003", "fail", "accepted: garbage, an unsigned token (alg none)")
    issuers = {oauth._resource_issuer(session)}
    session = opened(monkeypatch, lambda asked: resource(asked, document=None))
    assert issuers | {oauth._resource_issuer(session)} == {ISSUER, "https://issuer.invalid/"}


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        (ASKS, "pass", "is not looked at"),
        (BAD, "fail", "refused as a bad one"),
        (greets, "fail", "a made-up token in the query is accepted"),
    ],
)
def test_a_token_in_the_query(answer, state, text, monkeypatch):
    def server(asked):
        if "access_token=" in asked.path:
            return answer(asked) if callable(answer) else answer
        return resource(asked)

    said(oauth.bad_tokens(opened(monkeypatch, server, credentials=ALICE)), "AUT004", state, text)


def test_the_ways_to_write_this_endpoint():
    target = oauth.target_of("https://[::1]/mcp/")
    assert {"https://[::1]/mcp", "https://[::1]:443", "https://[::1]/"} <= oauth._spellings(target)
    assert "http://[::1]/mcp" not in oauth._spellings(target)
