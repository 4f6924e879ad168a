"""Metrics of several processes as those of one."""

from __future__ import annotations

from mcpsec.gateway.summing import sum_expositions

ONE = """# HELP mcpsec_requests_total Finished requests.
# TYPE mcpsec_requests_total counter
mcpsec_requests_total{status="200"} 3.0
mcpsec_breaker_state{upstream="a"} 0.0
mcpsec_upstream_up{upstream="a"} 1.0
"""
OTHER = """# HELP mcpsec_requests_total Finished requests.
# TYPE mcpsec_requests_total counter
mcpsec_requests_total{status="200"} 4.0
mcpsec_requests_total{status="429"} 1.0
mcpsec_breaker_state{upstream="a"} 2.0
mcpsec_upstream_up{upstream="a"} 0.0
"""


def test_counters_add_up_and_states_show_the_worst() -> None:
    lines = sum_expositions([ONE, "", OTHER]).splitlines()
    assert lines.count("# TYPE mcpsec_requests_total counter") == 1
    assert 'mcpsec_requests_total{status="200"} 7.0' in lines
    assert 'mcpsec_requests_total{status="429"} 1.0' in lines
    assert 'mcpsec_breaker_state{upstream="a"} 2.0' in lines
    assert 'mcpsec_upstream_up{upstream="a"} 0.0' in lines


def test_one_process_is_itself() -> None:
    assert sum_expositions([ONE]) == ONE
