import logging

from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.leaks import RedactingFilter, redact, redact_bytes

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

    monkeypatch.setattr(redaction, "find", lambda data: 1 / 0)
    assert PASSWORD not in redact(ENV)


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
