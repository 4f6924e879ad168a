import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.leaks import RedactingFilter, bulk, clean, prepare, redact, redact_bytes

from .samples import ENV, OPAQUE, PASSWORD


def test_secrets_go_and_the_rest_stays():
    line = f'{{"url": "https://acme.io", "headers": {{"Authorization": "Bearer {OPAQUE}"}}, "ok": true}}'
    clean = redact(line)
    assert OPAQUE not in clean
    assert '"ok": true' in clean
    assert "[REDACTED:" in clean


def test_clean_text_is_given_back_as_it_is():
    line = "GET /index.html 200 12ms"
    assert redact(line) is line
    data = line.encode()
    assert redact_bytes(data) is data


@given(st.text())
@settings(max_examples=150, deadline=None)
def test_nothing_makes_it_raise(text):
    assert isinstance(redact(text), str)


@given(st.binary())
@settings(max_examples=150, deadline=None)
def test_nothing_makes_the_byte_form_raise(data):
    assert isinstance(redact_bytes(data), bytes)


def test_surrogates_and_nonsense():
    assert redact("\ud800 " + ENV).count(PASSWORD) == 0


def test_a_failure_hides_everything(monkeypatch):
    from mcpsec.leaks import redaction

    monkeypatch.setattr(redaction._engine, "find", lambda data: 1 / 0)
    monkeypatch.setattr(redaction._engine, "quiet", lambda data: 1 / 0)
    assert PASSWORD not in redact(ENV)
    assert clean(ENV.encode()) == (redaction.FAILED, ["unexamined"])
    assert redaction.holds_secret(b"plain")


@pytest.mark.parametrize("text", [ENV, f"Authorization: Bearer {OPAQUE}", "GET /index.html 200 12ms", '{"a": 1}', ""])
def test_whether_there_is_a_secret_is_what_taking_it_out_finds(text):
    from mcpsec.leaks.redaction import holds_secret

    assert holds_secret(text.encode()) == bool(clean(text.encode())[1])
    prepare()
    assert holds_secret(text.encode()) == bool(clean(text.encode())[1])


def test_the_prepared_engine_gives_the_same_answers(monkeypatch):
    from mcpsec.leaks import redaction

    texts = [ENV, f"Authorization: Bearer {OPAQUE}", "GET /index.html 200 12ms", "x" * 200, ""]
    simple = [redact(text) for text in texts]
    engine = redaction._Engine()
    monkeypatch.setattr(redaction, "_engine", engine)
    prepare()
    if not bulk.available():
        pytest.skip("needs the package hyperscan: pip install hyperscan")
    assert engine.find is not redaction._simple
    assert [redact(text) for text in texts] == simple


def test_threads_share_the_prepared_engine():
    prepare()
    expected = clean(ENV.encode() * 50)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: clean(ENV.encode() * 50), range(64)))
    assert answers == [expected] * 64


def test_clean_tells_what_it_took_out():
    cleaned, rules = clean(f"a https://app:{PASSWORD}@db.acme.io/x b".encode())
    assert rules == ["url-credentials"]
    assert cleaned == b"a https://app:[REDACTED:url-credentials]@db.acme.io/x b"


def test_logging_filter(caplog):
    logger = logging.getLogger("tests.redaction")
    handler = caplog.handler
    keeper = RedactingFilter()
    handler.addFilter(keeper)
    try:
        logger.warning("connecting with %s", f"postgres://app:{PASSWORD}@db.acme.io/x")
        try:
            raise ValueError(f"bad api_key={OPAQUE}")
        except ValueError:
            logger.exception("failed")
        logger.warning("%d", "not a number " + ENV)
    finally:
        handler.removeFilter(keeper)
    assert PASSWORD not in caplog.text
    assert OPAQUE not in caplog.text
    assert "connecting with postgres://app:" in caplog.text
