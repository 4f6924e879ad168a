"""Envoy: client certificates, versions, limits, logs (https://www.envoyproxy.io/docs)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.model import Finding
from mcpsec.audit.proxies import LONGEST, leaks_in_log, plain_remote, seconds
from mcpsec.audit.readers.kubernetes import at
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.toml import KeyPath

__all__: list[str] = []


def _rows(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _walk(value: Any, path: KeyPath, depth: int = 0) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Every mapping below a value."""
    if depth > 40:
        return
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from _walk(inner, (*path, key), depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, (*path, index), depth + 1)


def _typed(value: dict[str, Any], name: str) -> bool:
    return str(value.get("@type", "")).endswith("." + name)


@examines("envoy")
def listeners(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS011, TLS006, RTE002, TMO002 of each listener."""
    data = subject.document.data
    for index, listener in enumerate(_rows(at(data, "static_resources", "listeners"))):
        if not isinstance(listener, dict):
            continue
        path: KeyPath = ("static_resources", "listeners", index)
        name = str(listener.get("name", index))
        host = str(at(listener, "address", "socket_address", "address") or "")
        local = is_local(host) or at(listener, "address", "pipe") is not None
        managers = [(p, m) for p, m in _walk(listener, path) if _typed(m, "HttpConnectionManager")]
        if local:
            yield subject.skip("TLS011", "listens on this machine only", name=name)
        else:
            for number, chain in enumerate(_rows(listener.get("filter_chains"))):
                yield from _chain(subject, name, chain, (*path, "filter_chains", number))
            for place, manager in managers:
                yield _rate(subject, name, manager, place)
                yield _timeout(subject, name, manager, place)
        yield from _cors_and_logs(subject, name, listener, path)
    yield from _admin(subject, data)
    yield from _clusters(subject, data)


def _chain(subject: Subject, name: str, chain: Any, path: KeyPath) -> Iterator[Finding]:
    tls = at(chain, "transport_socket", "typed_config")
    place = (*path, "transport_socket")
    if not isinstance(tls, dict):
        if any("redirect" in inner for _, inner in _walk(chain, path)) and not any(
            "cluster" in i for _, i in _walk(chain, path)
        ):
            yield subject.skip("TLS011", "only redirects", name=name)
        else:
            yield subject.fail("TLS011", path, "hands requests on from plain HTTP", name=name, key="plain")
        return
    common = tls.get("common_tls_context")
    contexts = [
        at(common, "validation_context"),
        at(common, "combined_validation_context", "default_validation_context"),
    ]
    sds = at(common, "validation_context_sds_secret_config") or at(common, "combined_validation_context")
    trusted = any(at(each, "trusted_ca") is not None for each in contexts) or sds is not None
    loose = any(at(each, "trust_chain_verification") == "ACCEPT_UNTRUSTED" for each in contexts)
    if tls.get("require_client_certificate") is True and trusted and not loose:
        yield subject.ok("TLS011", place, "require_client_certificate, from a trusted CA", name=name)
    else:
        why = "no client certificate is required"
        if tls.get("require_client_certificate") is True:
            why = "untrusted certificates are accepted" if loose else "certificates are required, of any CA"
        yield subject.fail("TLS011", place, why, name=name, key=why)
    lowest = at(common, "tls_params", "tls_minimum_protocol_version")
    if lowest in ("TLSv1_0", "TLSv1_1"):
        yield subject.fail("TLS006", (*place, "typed_config"), f"{lowest} accepted", name=name, key="old")
    else:
        yield subject.ok("TLS006", (*place, "typed_config"), f"{lowest or 'TLSv1_2'} or newer", name=name)


def _rate(subject: Subject, name: str, manager: dict[str, Any], path: KeyPath) -> Finding:
    filters = [
        str(at(each, "name") or "") + str(at(each, "typed_config", "@type") or "")
        for each in _rows(manager.get("http_filters"))
    ]
    if any("ratelimit" in each.lower().replace("_", "") for each in filters):
        return subject.ok("RTE002", (*path, "http_filters"), "a rate limit filter", name=name)
    return subject.fail("RTE002", path, "no rate limit among its filters", name=name, key="none")


def _timeout(subject: Subject, name: str, manager: dict[str, Any], path: KeyPath) -> Finding:
    value = manager.get("request_headers_timeout")
    length = seconds(str(value)) if value is not None else None
    if value is None:
        return subject.fail(
            "TMO002", path, "request_headers_timeout is not set", name=name, severity="low", key="headers"
        )
    if length is None or length == 0 or length > LONGEST:
        return subject.fail(
            "TMO002", (*path, "request_headers_timeout"), f"request_headers_timeout {value}", name=name, key="headers"
        )
    return subject.ok("TMO002", (*path, "request_headers_timeout"), f"request_headers_timeout {value}", name=name)


def _cors_and_logs(subject: Subject, name: str, listener: Any, path: KeyPath) -> Iterator[Finding]:
    wrong = False
    for place, inner in _walk(listener, path):
        for key in ("text_format", "inline_string"):
            text = inner.get(key)
            if isinstance(text, str) and (what := leaks_in_log(text)):
                wrong = True
                yield subject.fail("LOG003", (*place, key), f"the access log writes {what}", name=name, key=what)
        for index, match in enumerate(_rows(inner.get("allow_origin_string_match"))):
            anything = (
                at(match, "exact") == "*"
                or at(match, "prefix") in ("", "*")
                or at(match, "safe_regex", "regex") in (".*", "^.*$")
            )
            state = subject.fail if anything else subject.ok
            yield state(
                "ORG003",
                (*place, "allow_origin_string_match", index),
                "any origin" if anything else "named origins",
                name=name,
                key="cors",
            )
    if not wrong:
        yield subject.ok("LOG003", path, "no credential in a log format", name=name)


def _admin(subject: Subject, data: Any) -> Iterator[Finding]:
    host = at(data, "admin", "address", "socket_address", "address")
    if isinstance(host, str):
        path: KeyPath = ("admin", "address", "socket_address", "address")
        if is_local(host):
            yield subject.ok("DEP001", path, "the admin interface is on this machine", name="admin")
        else:
            yield subject.fail(
                "DEP001", path, f"the admin interface listens on {host}", severity="high", name="admin", key="admin"
            )


def _clusters(subject: Subject, data: Any) -> Iterator[Finding]:
    for index, cluster in enumerate(_rows(at(data, "static_resources", "clusters"))):
        path: KeyPath = ("static_resources", "clusters", index)
        name = str(at(cluster, "name") or index)
        hosts = [str(inner.get("address")) for _, inner in _walk(cluster, path) if "port_value" in inner]
        remote = next((found for host in hosts if (found := plain_remote(host))), "")
        if remote and at(cluster, "transport_socket") is None:
            yield subject.fail("TLS013", path, f"plain HTTP to {remote}", name=name, key=f"http {remote}")
        elif hosts:
            yield subject.ok("TLS013", path, "this machine, a private network, or TLS", name=name)
