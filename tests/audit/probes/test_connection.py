"""When probes stop, what they leave in logs and counters, TLS, and the bytes of an answer."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from mcpsec.audit.probes import (
    certificates,
    traces,
    transport,
    wire,
)
from mcpsec.audit.probes.entry import NOBODY
from mcpsec.audit.probes.session import Answer, Credentials, Stopped
from mcpsec.errors import UsageError
from mcpsec.signing import Signer, SigningKey
from tests.audit.probes.scripted import ABSENT, GONE, LATE, TLS_URL, error, greets, opened, page, result, said

SIGNS = Credentials(signer=Signer(SigningKey("alice", secret=b"s" * 32)), client="alice")

# --- how much is sent, and when it ends ---


def test_a_429_is_obeyed_once_and_ends_the_probes_that_must_be_refused(monkeypatch):
    answers = [Answer(429, {"retry-after": "3"}), result({})]
    session = opened(monkeypatch, lambda asked: answers.pop(0))
    assert session.request(body={}).status == 200
    with pytest.raises(Stopped, match="goes on answering 429"):
        opened(monkeypatch, lambda asked: Answer(429)).request(body={})
    with pytest.raises(Stopped, match="asks to wait 60 s"):
        opened(monkeypatch, lambda asked: Answer(429, {"retry-after": "60"})).request(body={})
    session = opened(monkeypatch, lambda asked: Answer(429))
    session.refusing = True
    with pytest.raises(Stopped, match="limits or locks out"):
        session.request(body={})


def test_who_takes_no_connection_any_more_and_a_spent_budget_end_it(monkeypatch):
    answers = [result({}), ABSENT]
    session = opened(monkeypatch, lambda asked: answers.pop(0))
    session.request(body={})
    with pytest.raises(Stopped, match="does not take connections any more"):
        session.request(body={})
    session = opened(monkeypatch, lambda asked: Answer(429))
    session.opened = [("a", NOBODY), ("b", NOBODY)]
    session.close()
    assert len(session.facts["asked"]) == 2  # the first was asked for twice, and then no more
    session.budget = session.requests
    session.close()
    assert len(session.facts["asked"]) == 2
    with pytest.raises(Stopped, match="makes 2 requests at most"):
        session.request(body={})


# --- what is left behind ---


def test_the_log_that_is_looked_at(monkeypatch, tmp_path):
    log = tmp_path / "a.log"

    def server(asked):
        if asked.headers.get("cookie") and log.exists():
            with log.open("a") as file:
                file.write(line(asked))
        return greets(asked)

    line = lambda asked: f"GET cookie={asked.headers['cookie']}\n"  # noqa: E731
    said(traces.canary(opened(monkeypatch, server)), "LOG002", "not-assessed", "no log is at hand")
    said(traces.canary(opened(monkeypatch, server, log=log)), "LOG002", "not-assessed", "No such file")
    log.write_text("before\n")
    (found,) = traces.canary(opened(monkeypatch, server, log=log))
    assert (
        str(found.state) == "fail" and "mcpsecAudit" not in found.observed and "GET cookie=session=…" in found.observed
    )
    line = lambda asked: "GET cookie=[redacted]\n"  # noqa: E731
    said(traces.canary(opened(monkeypatch, server, log=log)), "LOG002", "pass", "no trace of it")
    said(traces.canary(opened(monkeypatch, greets, log=log)), "LOG002", "not-assessed", "is it the log?")
    deployment = SimpleNamespace(log=SimpleNamespace(file=log), upstreams={})
    assert traces._log(opened(monkeypatch, greets, deployment=deployment)) == log


METRICS = "auth_failures_total {}\nauth_failures_created 9\nrate_limited_total 0\n"


def counted(pages, refuse=None):
    pages = iter(pages)
    refusal = refuse or error(401)

    def server(asked):
        return next(pages) if asked.path == "/metrics" else refusal

    return server


URL = "http://127.0.0.1:2/metrics"
COUNTERS = {
    "they move": ([page(METRICS.format(1)), page(METRICS.format(2))], "pass", "went from 1 to 2"),
    "they stay": ([page(METRICS.format(1))] * 99, "fail", "stayed at 1"),
    "there are none": ([page("up 1\n")], "fail", "are not counted"),
    "the page goes away": ([page(METRICS.format(1)), error(503)], "not-assessed", "HTTP 503"),
    "no page": ([error(404)], "not-assessed", "HTTP 404"),
}


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_of_refused_requests(name, monkeypatch):
    pages, state, text = COUNTERS[name]
    said(traces.move(opened(monkeypatch, counted(pages), metrics=URL, credentials=SIGNS)), "MON003", state, text)


def test_counters_that_nothing_here_moves(monkeypatch):
    said(traces.move(opened(monkeypatch, greets)), "MON003", "not-assessed", "no metrics page is known")
    session = opened(
        monkeypatch, lambda asked: page(METRICS.format(1)) if asked.path == "/metrics" else greets(asked), metrics=URL
    )
    said(traces.move(session), "MON003", "not-applicable", "a stranger is answered")
    session = opened(monkeypatch, counted([page(METRICS.format(1))] * 99, GONE), metrics=URL)
    said(traces.move(session), "MON003", "not-assessed", "only TLS turned us away")


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        (page(METRICS.format(1)), "pass", "are counted"),
        (page("auth_failures_total 1\n"), "fail", "no counter of rate limit hits"),
        (error(404), "not-assessed", "HTTP 404"),
    ],
)
def test_counters_exist(answer, state, text, monkeypatch):
    said(traces.exist(opened(monkeypatch, lambda asked: answer, metrics=URL)), "MON001", state, text)
    assert list(traces.exist(opened(monkeypatch, greets))) == []


@pytest.mark.parametrize(
    ("port", "who", "found"), [(9, (), "http://127.0.0.1:9/metrics"), (0, (), ""), (9, ("a",), "")]
)
def test_the_metrics_page_of_a_deployment(port, who, found, monkeypatch):
    class Listen(SimpleNamespace):
        def __str__(self):
            return f"127.0.0.1:{self.port}"

    admin = SimpleNamespace(administrators=who, listen=Listen(port=port))
    deployment = SimpleNamespace(server=SimpleNamespace(admin=admin), upstreams={})
    assert traces._metrics_url(opened(monkeypatch, greets, deployment=deployment)) == found


# --- TLS ---


@pytest.mark.parametrize(("host", "severity"), [("127.0.0.1", "low"), ("mcp.example.com", "critical")])
def test_plain_http(host, severity, monkeypatch):
    session = opened(monkeypatch, greets, f"http://{host}:1/mcp")
    assert [(each.check, each.severity) for each in transport.plain_http(session)] == [
        ("TLS001", severity),
        ("TLS002", severity),
    ]
    assert list(transport.client_certificate(session)) == []
    rest = [*transport.versions(session), *transport.server_certificate(session), *certificates.changed(session)]
    assert {str(each.state) for each in rest} == {"not-applicable"}
    assert {
        str(each.state) for each in (*certificates.untrusted(session), *certificates.of_the_right_authority(session))
    } == {"not-applicable"}
    assert session.facts["asked"] == [] or host == "127.0.0.1" or len(session.facts["asked"]) <= 4


@pytest.mark.parametrize(
    ("answer", "state"),
    [(page("hello"), "fail"), (Answer(301, {"location": "https://h/"}), "pass"), (error(400), "pass"), (GONE, "pass")],
)
def test_plain_http_on_the_same_port(answer, state, monkeypatch):
    (found,) = transport.plain_http(opened(monkeypatch, lambda asked: answer, TLS_URL))
    assert str(found.state) == state


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        (error(421), "not-assessed", "probe it by the name"), (LATE, "not-assessed", "no answer by name"),
        (GONE, "pass", "refused by name"), (error(401), "fail", "answered without a certificate"),
    ],
)  # fmt: skip
def test_a_client_without_a_certificate(answer, state, text, monkeypatch):
    found = list(transport.client_certificate(opened(monkeypatch, lambda asked: answer, TLS_URL)))
    said(found, "TLS002", state, text)


def test_a_name_that_does_not_resolve_has_no_address(monkeypatch):
    def fails(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    assert transport._address(opened(monkeypatch, greets, TLS_URL)) is None


def test_a_good_certificate_that_is_refused_says_nothing_of_bad_ones(monkeypatch, tmp_path):
    from tests.fixtures.pki import Authority

    authority = Authority(tmp_path / "c", "Clients")
    pair = (authority.certificate, authority.key())
    said(
        certificates.of_the_right_authority(opened(monkeypatch, lambda asked: GONE, TLS_URL)),
        "TLS004",
        "not-assessed",
        "client-ca",
    )
    session = opened(monkeypatch, lambda asked: GONE, TLS_URL, authority=pair)
    said(
        certificates.of_the_right_authority(session),
        "TLS005",
        "not-assessed",
        "a good certificate of this CA is refused, too",
    )
    said(certificates.untrusted(opened(monkeypatch, lambda asked: GONE, TLS_URL)), "TLS003", "pass", "closed")
    session = opened(monkeypatch, lambda asked: LATE if len(session.facts["asked"]) > 1 else GONE, TLS_URL)
    said(certificates.untrusted(session), "TLS003", "not-assessed", "no answer in time")
    with pytest.raises(UsageError, match="none of its certificates has this key"):
        certificates._load(Authority(tmp_path / "o", "Others").certificate, pair[1])
    for broken in (tmp_path / "none.pem", pair[1]):
        with pytest.raises(UsageError, match=r"is no certificate in PEM form|none of its"):
            certificates._load(broken, pair[1])
    assert (
        certificates._own(opened(monkeypatch, greets, credentials=Credentials(certificate=tmp_path / "none.pem")))
        is None
    )


def test_readings_that_are_none(tmp_path):
    state = tmp_path / "s.json"
    assert certificates._readings(state) == {}
    for text in ("{", "[]", '{"endpoints": {"a": [{"serial": "1"}]}}', '{"endpoints": {"a": 7}}'):
        state.write_text(text)
        with pytest.raises(UsageError):
            certificates._readings(state)


# --- the wire ---


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://h:99999/", "is no URL"), ("https://u:p@h/", "without a password"), ("https:///x", "with a host"),
        ("https://h/a b", "a blank or a control"),
    ],
)  # fmt: skip
def test_urls_that_are_no_endpoint(url, text):
    with pytest.raises(UsageError, match=text):
        wire.target_of(url)


def read(raw, patience=5.0):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(raw)
        theirs.shutdown(socket.SHUT_WR)
        return wire.read_answer(ours, "", patience)


def test_answers_as_they_come():
    assert read(b"").failure == "the connection was closed"
    assert read(b"SSH-2.0-x\r\n\r\n").failure == "what answers is not HTTP"
    assert (
        read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n3\r\n yo\r\n0\r\n\r\n").body
        == b"hello yo"
    )
    assert read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n").body == b""
    assert read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell").body == b"hell"
    events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    primed = b'id: 1\ndata:\n\ndata: {"method": "notifications/message"}\n\ndata: {"result": {"a": 1}}\n\n'
    assert read(events + primed).result == {"a": 1}
    assert read(events + b"data: no json\n\n").json is None
    assert read(events + b"data: {").json is None
    with pytest.raises(TimeoutError):
        read(b"", patience=-1.0)


def test_an_answer_without_end(monkeypatch):
    monkeypatch.setattr(wire, "LARGEST", 100)
    assert read(b"HTTP/1.1 200 OK\r\n" + b"x" * 200).failure == "an answer without end"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "no answer in time"), (socket.gaierror(-2, "x"), "the name does not resolve"),
        (ConnectionResetError(), "the connection was closed"), (OSError(113, "No route to host"), "no route to host"),
    ],
)  # fmt: skip
def test_why_a_connection_failed(error, text):
    assert wire.reason(error) == text


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (ABSENT, None), (LATE, None), (GONE, True), (Answer(403), True), (Answer(495), True), (Answer(200), False),
        (Answer(400, {}, b"No required SSL certificate was sent"), True), (Answer(400), False),
    ],
)  # fmt: skip
def test_what_is_a_refusal_of_a_certificate(answer, refused):
    assert answer.refused_certificate is refused
