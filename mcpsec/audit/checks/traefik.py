"""Traefik: client certificates, versions, limits, logs (https://doc.traefik.io/traefik/)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mcpsec.audit.model import Finding
from mcpsec.audit.proxies import LONGEST, plain_remote, seconds
from mcpsec.audit.readers.kubernetes import at
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.positions import Malformed
from mcpsec.clientfiles.toml import KeyPath

__all__: list[str] = []

_DASHBOARD = "api@internal"


def _all(subject: Subject, context: Context) -> list[Any]:
    """The configurations of one Traefik: the files of one directory."""
    found = []
    for each in context.of_kind("traefik"):
        if each.path.parent != subject.path.parent:
            continue
        try:
            found.append(each.document.data)
        except Malformed:
            continue
    return found


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@examines("traefik")
def client_certificates(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS011 and TLS006: by router, with the options that it names, wherever they stand."""
    data = subject.document.data
    everything = _all(subject, context)
    options: dict[str, Any] = {}
    for each in everything:
        options |= _table(at(each, "tls", "options"))
    own = _table(at(data, "tls", "options"))
    for name, option in own.items():
        yield from _version(subject, name, option)
    routers = _table(at(data, "http", "routers"))
    tls_points = {
        name
        for each in everything
        for name, point in _table(at(each, "entryPoints")).items()
        if at(point, "http", "tls") is not None
    }
    for name, router in routers.items():
        if not isinstance(router, dict) or router.get("service") == _DASHBOARD:
            continue
        path: KeyPath = ("http", "routers", name)
        tls = router.get("tls")
        points = router.get("entryPoints")
        inherited = isinstance(points, list) and points and set(map(str, points)) <= tls_points
        if tls in (None, False) and not inherited:
            if _only_redirects(router, data):
                yield subject.skip("TLS011", "only redirects to https", name=name)
            elif not tls_points and _sounds_secure(points) and not any(at(e, "entryPoints") for e in everything):
                yield subject.manual("TLS011", path, "its entry point stands elsewhere, and may end the TLS", name=name)
            else:
                yield subject.fail("TLS011", path, "hands requests on from plain HTTP", name=name, key="plain")
            continue
        chosen = str(_table(tls).get("options", "default")).partition("@")[0]
        place = (*path, "tls", "options") if _table(tls).get("options") else path
        yield _verified(subject, name, chosen, options.get(chosen), place)
    if not routers:
        for name, option in own.items():
            yield _verified(subject, f"tls option {name}", name, option, ("tls", "options", name))


def _sounds_secure(points: Any) -> bool:
    return (
        isinstance(points, list)
        and bool(points)
        and all(any(word in str(point).lower() for word in ("secure", "https", "tls", "443")) for point in points)
    )


def _only_redirects(router: dict[str, Any], data: Any) -> bool:
    middlewares = router.get("middlewares")
    names = [str(name).partition("@")[0] for name in middlewares] if isinstance(middlewares, list) else []
    return any(at(data, "http", "middlewares", name, "redirectScheme") is not None for name in names)


def _verified(subject: Subject, name: str, chosen: str, option: Any, place: KeyPath) -> Finding:
    client = _table(_table(option).get("clientAuth"))
    mode, files = client.get("clientAuthType"), client.get("caFiles") or client.get("secretNames")
    if option is None and chosen != "default":
        return subject.manual("TLS011", place, f"the TLS options {chosen} stand elsewhere", name=name)
    if mode == "RequireAndVerifyClientCert" and files:
        return subject.ok("TLS011", place, f"{chosen}: RequireAndVerifyClientCert", name=name)
    text = f"{chosen}: {mode or 'no client certificate is asked for'}" + (
        "" if files or not mode else " without caFiles"
    )
    return subject.fail("TLS011", place, text, name=name, key=f"{chosen} {mode}")


def _version(subject: Subject, name: str, option: Any) -> Iterator[Finding]:
    lowest = _table(option).get("minVersion")
    path: KeyPath = ("tls", "options", name, "minVersion")
    if lowest in ("VersionTLS10", "VersionTLS11", "VersionSSL30"):
        yield subject.fail("TLS006", path, f"{lowest} accepted", name=f"tls option {name}", key="old")
    elif lowest:
        yield subject.ok("TLS006", path, f"{lowest} or newer", name=f"tls option {name}")


@examines("traefik")
def limits(subject: Subject, context: Context) -> Iterator[Finding]:
    """RTE002 by router."""
    data = subject.document.data
    middlewares: dict[str, Any] = {}
    for each in _all(subject, context):
        middlewares |= _table(at(each, "http", "middlewares"))
    for name, router in _table(at(data, "http", "routers")).items():
        if not isinstance(router, dict) or router.get("service") == _DASHBOARD or _only_redirects(router, data):
            continue
        used = router.get("middlewares")
        names = [str(each).partition("@")[0] for each in used] if isinstance(used, list) else []
        chained = [inner for each in names for inner in _chain(middlewares, each, 0)]
        path: KeyPath = ("http", "routers", name)
        limiting = next((each for each in chained if at(middlewares, each, "rateLimit") is not None), None)
        average = at(middlewares, limiting, "rateLimit", "average") if limiting else None
        if limiting and average not in (0, "0"):
            yield subject.ok("RTE002", path, f"middleware {limiting}", name=name)
        else:
            yield subject.fail("RTE002", path, "no rateLimit among its middlewares", name=name, key="none")


def _chain(middlewares: dict[str, Any], name: str, depth: int) -> list[str]:
    inner = at(middlewares, name, "chain", "middlewares")
    if not isinstance(inner, list) or depth > 5:
        return [name]
    return [each for one in inner for each in _chain(middlewares, str(one).partition("@")[0], depth + 1)]


@examines("traefik")
def settings(subject: Subject, context: Context) -> Iterator[Finding]:
    """TMO002, LOG003, ORG003, TLS013, DEP001 of the static and dynamic configuration."""
    data = subject.document.data
    for name, point in _table(at(data, "entryPoints")).items():
        value = at(point, "transport", "respondingTimeouts", "readTimeout")
        path: KeyPath = ("entryPoints", name, "transport", "respondingTimeouts", "readTimeout")
        length = seconds(str(value)) if value is not None else None
        if value is not None and (length is None or length == 0 or length > LONGEST):
            yield subject.fail("TMO002", path, f"readTimeout {value}", name=name, key="read")
        elif value is not None:
            yield subject.ok("TMO002", path, f"readTimeout {value}", name=name)
    if at(data, "api", "insecure") is True:
        yield subject.fail(
            "DEP001", ("api", "insecure"), "the dashboard is open to everybody", severity="high", key="api"
        )
    if str(at(data, "log", "level") or "").upper() in ("DEBUG", "TRACE"):
        yield subject.fail(
            "LOG003", ("log", "level"), f"level {at(data, 'log', 'level')}", severity="medium", key="level"
        )
    headers = at(data, "accessLog", "fields", "headers")
    kept = str(at(headers, "defaultMode") or "").lower() == "keep"
    named = {str(name).lower(): str(mode).lower() for name, mode in _table(at(headers, "names")).items()}
    for header in ("authorization", "cookie"):
        if named.get(header) == "keep" or (kept and header not in named):
            place: KeyPath = ("accessLog", "fields", "headers")
            yield subject.fail("LOG003", place, f"the access log keeps {header}", key=header)
    for name, middleware in _table(at(data, "http", "middlewares")).items():
        origins = at(middleware, "headers", "accessControlAllowOriginList")
        if isinstance(origins, list):
            path = ("http", "middlewares", name, "headers", "accessControlAllowOriginList")
            state = subject.fail if "*" in origins else subject.ok
            yield state("ORG003", path, f"origins {', '.join(map(str, origins))}", name=name, key="cors")
    yield from _hops(subject, data)


def _hops(subject: Subject, data: Any) -> Iterator[Finding]:
    for name, service in _table(at(data, "http", "services")).items():
        rows = at(service, "loadBalancer", "servers")
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            url = at(row, "url")
            path: KeyPath = ("http", "services", name, "loadBalancer", "servers", index, "url")
            remote = plain_remote(url) if isinstance(url, str) else ""
            if remote:
                yield subject.fail("TLS013", path, f"plain HTTP to {remote}", name=name, key=f"http {remote}")
            elif isinstance(url, str):
                yield subject.ok("TLS013", path, "this machine, a private network, or TLS", name=name)
    for name, transport in _table(at(data, "http", "serversTransports")).items():
        if at(transport, "insecureSkipVerify") is True:
            path = ("http", "serversTransports", name, "insecureSkipVerify")
            yield subject.fail("TLS013", path, "TLS to the server without verification", name=name, key="verify")
