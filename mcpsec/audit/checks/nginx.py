"""nginx: client certificates, versions, limits, timeouts, logs (https://nginx.org/en/docs/)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mcpsec.audit.model import Finding
from mcpsec.audit.proxies import LONGEST, leaks_in_log, listens_locally, plain_remote, seconds
from mcpsec.audit.readers.blocks import Directive
from mcpsec.audit.readers.nginx import listens_tls, servers
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import At, Context, Subject

__all__: list[str] = []

_PASSES = ("proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass")
_TIMEOUTS = ("client_header_timeout", "client_body_timeout", "proxy_connect_timeout")
_DENIES = re.compile(r"(?:4\d\d|5\d\d|444)")


def _at(directive: Directive) -> At:
    return At(directive.line, directive.column, directive.start, directive.end)


def _name(server: Directive, subject: Subject) -> str:
    names = [name for each in server.find("server_name") for name in each.args if name not in ("_", "")]
    return names[0] if names else subject.label


def _passing(server: Directive) -> list[Directive]:
    """The blocks of a server that hand requests on."""
    found: dict[int, Directive] = {}
    for each in server.walk():
        if each.name in _PASSES and each.parent is not None:
            scope = each.parent
            while scope.name in ("if", "limit_except") and scope.parent is not None:
                scope = scope.parent
            found[id(scope)] = scope
    return list(found.values())


def _relevant(root: Directive) -> list[Directive]:
    """Servers that hand requests on; when some speak of MCP, only those."""
    handing = [server for server in servers(root) if _passing(server)]
    speaking = [
        server for server in handing if any("mcp" in " ".join([d.name, *d.args]).lower() for d in server.walk())
    ]
    return speaking or handing


_TLS = ("listen", "ssl_certificate", "ssl_verify_client", "ssl_client_certificate", "server_name")
_ASIDE = re.compile(
    r"(?i)^[\^~=*]*/?(?:[\w/-]*/)?(?:health\w*|livez?|readyz?|live|ready|status|ping|favicon\.ico|robots\.txt|static|assets|"
    r"\.well-known(?:/[\w-]+)*)/?\$?$|^~\*?(?:\.\*)?\\\.\(?(?:\??:?\w{2,5}\|?)*(?:css|js|png|ico|svg|woff2?)\b"
)
"""Places beside the server itself, which answer without it or with what costs nothing."""


def _is_part(server: Directive) -> bool:
    """True for a file of locations alone: the server around them stands in the file that includes it."""
    return server.parent is None and not server.find(*_TLS)


def _limited(server: Directive) -> list[Directive]:
    """The blocks that hand on and have no limit; those beside the server do not count when another one has one."""
    passing = _passing(server)
    open_scopes = [scope for scope in passing if not scope.inherited("limit_req")]
    main = [scope for scope in open_scopes if not (scope.args and _ASIDE.match("".join(scope.args)))]
    return main if len(open_scopes) < len(passing) else open_scopes


def _local(server: Directive) -> bool:
    listens = server.find("listen")
    return bool(listens) and all(listens_locally(each.value) for each in listens)


@examines("nginx")
def client_certificates(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS011 and TLS006."""
    for server in _relevant(subject.model):
        name = _name(server, subject)
        if _local(server):
            yield subject.skip("TLS011", "listens on this machine only", name=name)
            continue
        if _is_part(server):
            yield subject.skip("TLS011", "a part of a server: judge the file that includes it", name=name)
            continue
        if not listens_tls(server) and server.find("listen"):
            listen = server.find("listen")[0]
            yield subject.fail("TLS011", _at(listen), "hands requests on from plain HTTP", name=name, key="plain")
            continue
        yield _verified(subject, server, name)
        for each in server.inherited("ssl_protocols"):
            old = [word for word in each.args if word in ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1")]
            if old:
                yield subject.fail("TLS006", _at(each), f"{', '.join(old)} accepted", name=name, key="old")
            else:
                yield subject.ok("TLS006", _at(each), " ".join(each.args), name=name)


def _verified(subject: Subject, server: Directive, name: str) -> Finding:
    settings = server.inherited("ssl_verify_client")
    if not settings:
        return subject.fail("TLS011", _at(server), "no ssl_verify_client", name=name, key="none")
    setting = settings[-1]
    mode = setting.value
    if mode == "on":
        return subject.ok("TLS011", _at(setting), "ssl_verify_client on", name=name)
    if mode == "off":
        return subject.fail("TLS011", _at(setting), "ssl_verify_client off", name=name, key="off")
    open_scopes = [scope for scope in _passing(server) if not _tested(scope, server, mode)]
    if not open_scopes:
        return subject.ok(
            "TLS011", _at(setting), f"ssl_verify_client {mode}, and $ssl_client_verify is tested", name=name
        )
    text = f"ssl_verify_client {mode}, and nothing refuses a request without a certificate"
    if any("ssl_client_verify" in word for each in _root(server).walk() for word in each.args):
        mapped = any(each.name in ("map", "auth_request") for each in _root(server).walk())
        handed = any(
            each.name.endswith(("_set_header", "_param")) and "$ssl_client_verify" in each.args
            for each in server.walk()
        )
        if mapped or handed:
            return subject.manual(
                "TLS011", _at(setting), f"ssl_verify_client {mode}: see what is done with $ssl_client_verify", name=name
            )
    return subject.fail("TLS011", _at(setting), text, name=name, key=mode)


def _root(directive: Directive) -> Directive:
    while directive.parent is not None:
        directive = directive.parent
    return directive


def _tested(scope: Directive, server: Directive, mode: str) -> bool:
    """True when a block, or one around it, refuses what has no verified certificate."""
    current: Directive | None = scope
    while current is not None:
        if any(_refuses(each, mode) for each in current.find("if")):
            return True
        if current is server:
            return False
        current = current.parent
    return False


def _refuses(condition: Directive, mode: str) -> bool:
    words = " ".join(condition.args).strip("()").strip()
    match = re.fullmatch(r"\$ssl_client_verify\s*(!=|=|!~\*?|~\*?)\s*[\"']?\^?(\w+)\$?[\"']?", words)
    if match is None:
        return False
    operator, value = match[1], match[2]
    complete = (operator in ("!=", "!~", "!~*") and value == "SUCCESS") or (
        operator == "=" and value == "NONE" and mode == "optional"  # what is not trusted gets 400 by itself
    )
    return complete and any(each.value and _DENIES.fullmatch(each.value) for each in condition.find("return"))


@examines("nginx")
def limits(subject: Subject, context: Context) -> Iterator[Finding]:
    """RTE002 and TMO002."""
    for server in _relevant(subject.model):
        if _local(server):
            continue
        name = _name(server, subject)
        open_scopes = _limited(server)
        if _is_part(server) and open_scopes:
            yield subject.skip("RTE002", "a part of a server: judge the file that includes it", name=name)
            continue
        if open_scopes:
            yield subject.fail("RTE002", _at(open_scopes[0]), "no limit_req on the way", name=name, key="none")
        else:
            limit = next(found for scope in _passing(server) for found in scope.inherited("limit_req"))
            yield subject.ok("RTE002", _at(limit), " ".join([limit.name, *limit.args]), name=name)
        yield from _timeouts(subject, server, name)


def _timeouts(subject: Subject, server: Directive, name: str) -> Iterator[Finding]:
    wrong = False
    for key in _TIMEOUTS:
        everywhere = [scope.inherited(key) for scope in _passing(server)]
        found = max((each for each in everywhere if each), key=lambda each: seconds(each[-1].value) or 1e9, default=[])
        if not all(everywhere):
            wrong = True
            yield subject.fail("TMO002", _at(server), f"{key} is not set (60 s)", name=name, severity="low", key=key)
            continue
        value = seconds(found[-1].value)
        if value is None or value > LONGEST:
            wrong = True
            yield subject.fail("TMO002", _at(found[-1]), f"{key} {found[-1].value}", name=name, key=key)
    if not wrong:
        yield subject.ok("TMO002", _at(server), "connecting, headers and bodies are bounded", name=name)


@examines("nginx")
def logging(subject: Subject, context: Context) -> Iterator[Finding]:
    """LOG003, ORG003, TLS013."""
    root: Directive = subject.model
    wrong = False
    for each in root.walk():
        if each.name == "log_format" and (what := leaks_in_log(" ".join(each.args[1:]))):
            wrong = True
            yield subject.fail(
                "LOG003", _at(each), f"log_format {each.value} writes {what}", key=f"format {each.value}"
            )
        elif each.name == "error_log" and each.args[-1:] == ["debug"]:
            wrong = True
            yield subject.fail("LOG003", _at(each), "error_log at level debug", severity="medium", key="debug")
        elif each.name == "add_header" and each.value.lower() == "access-control-allow-origin" and len(each.args) > 1:
            if each.args[1] in ("*", "$http_origin"):
                yield subject.fail("ORG003", _at(each), f"any origin may read ({each.args[1]})", key="cors")
            else:
                yield subject.ok("ORG003", _at(each), each.args[1])
    if not wrong:
        yield subject.ok("LOG003", None, "no credential in a log format")
    yield from _hops(subject, root)


def _hops(subject: Subject, root: Directive) -> Iterator[Finding]:
    groups = {each.value: each for each in root.walk() if each.name == "upstream" and each.block}
    for server in _relevant(root):
        for each in server.walk():
            if each.name != "proxy_pass" or not each.value.lower().startswith("http:"):
                continue
            host = re.sub(r"^http://", "", each.value, flags=re.I).partition("/")[0]
            group = groups.get(host)
            targets = [one.value for one in group.find("server")] if group else [host]
            remote = next((found for target in targets if (found := plain_remote(target))), "")
            name = _name(server, subject)
            if remote:
                yield subject.fail("TLS013", _at(each), f"plain HTTP to {remote}", name=name, key=f"http {remote}")
            else:
                yield subject.ok("TLS013", _at(each), f"{host}: this machine, or a private network", name=name)
