"""Caddy: client certificates, timeouts, logs (https://caddyserver.com/docs/caddyfile)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.model import Finding
from mcpsec.audit.proxies import LONGEST, plain_remote, seconds
from mcpsec.audit.readers.blocks import Directive
from mcpsec.audit.readers.caddy import Caddyfile
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import At, Context, Subject

__all__: list[str] = []

_POOLS = (
    "trust_pool",
    "trusted_ca_cert",
    "trusted_ca_cert_file",
    "trusted_leaf_cert",
    "trusted_leaf_cert_file",
    "verifier",
)


def _at(directive: Directive) -> At:
    return At(directive.line, directive.column, directive.start, directive.end)


def _addresses(site: Directive) -> list[str]:
    return [word.strip(",") for word in [site.name, *site.args] if word.strip(",")]


def _hands_on(site: Directive) -> bool:
    return any(each.name in ("reverse_proxy", "php_fastcgi", "forward_auth") for each in site.walk())


@examines("caddy")
def client_certificates(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS011, TLS006."""
    model: Caddyfile = subject.model
    strict = [each for each in _servers(model) if each.name == "strict_sni_host" and each.value == "insecure_off"]
    for site in model.sites:
        if not _hands_on(site):
            continue
        name = _addresses(site)[0] if _addresses(site) else subject.label
        if all(_is_plain(address) for address in _addresses(site)):
            yield _plain(subject, site, name)
            continue
        found = _verified(subject, site, name, bool(model.unresolved))
        if strict and found.state == "pass":
            found = subject.fail(
                "TLS011", _at(strict[0]), "without SNI no certificate is asked for", name=name, key="sni"
            )
        yield found
        for each in [d for tls in site.find("tls") for d in tls.find("protocols")]:
            yield subject.ok("TLS006", _at(each), " ".join(each.args), name=name)


def _servers(model: Caddyfile) -> list[Directive]:
    return [each for option in model.options if option.name == "servers" for each in option.walk()]


def _is_plain(address: str) -> bool:
    return address.startswith("http://") or bool(re.fullmatch(r"[^/]*:80", address))


def _answers_here(site: Directive) -> str:
    """Why a site is for this machine only; empty when it is not."""
    hosts = [re.sub(r"^http://", "", each).partition("/")[0] for each in _addresses(site)]
    hosts = [re.sub(r":\d+$", "", host) for host in hosts]
    bound = [word for each in site.find("bind") for word in each.args]
    if bound and all(is_local(word) or word.startswith("unix") for word in bound):
        return "listens on this machine only"
    return "answers to this machine's name only" if not bound and all(map(is_local, hosts)) and hosts else ""


def _plain(subject: Subject, site: Directive, name: str) -> Finding:
    if local := _answers_here(site):
        return subject.skip("TLS011", local, name=name)
    return subject.fail("TLS011", _at(site), "hands requests on from plain HTTP", name=name, key="plain")


def _verified(subject: Subject, site: Directive, name: str, imports: bool) -> Finding:
    blocks = [each for tls in site.find("tls") for each in tls.find("client_auth")]
    if not blocks:
        if imports:
            return subject.manual(
                "TLS011", _at(site), "imports another file, which may ask for certificates", name=name
            )
        return subject.fail("TLS011", _at(site), "no client_auth", name=name, key="none")
    block = blocks[-1]
    modes = block.find("mode")
    pool = any(block.find(*_POOLS))
    mode = modes[-1].value if modes else ("require_and_verify" if pool else "require")
    if mode == "require_and_verify" and pool:
        return subject.ok("TLS011", _at(modes[-1] if modes else block), "client_auth require_and_verify", name=name)
    if any("tls_client" in word for each in site.walk() for word in [each.name, *each.args]) and mode != "require":
        return subject.manual(
            "TLS011", _at(block), f"client_auth {mode}: see what is done with the certificate", name=name
        )
    text = f"client_auth {mode}" + ("" if pool else " without a trust pool")
    return subject.fail("TLS011", _at(modes[-1] if modes else block), text, name=name, key=mode)


@examines("caddy")
def limits(subject: Subject, context: Context) -> Iterator[Finding]:
    """TMO002, LOG003, TLS013, ORG003, CRT005."""
    model: Caddyfile = subject.model
    timeouts = {each.name: each for each in _servers(model) if each.name in ("read_header", "read_body")}
    handing = [site for site in model.sites if _hands_on(site)]
    wrong = False
    for key in ("read_header", "read_body") if handing else ():
        each = timeouts.get(key)
        value = seconds(each.value) if each else None
        if each is None:
            wrong = True
            yield subject.fail("TMO002", _at(handing[0]), f"timeout {key} is not set", severity="low", key=key)
        elif value is None or value > LONGEST:
            wrong = True
            yield subject.fail("TMO002", _at(each), f"{key} {each.value}", key=key)
    if handing and not wrong:
        yield subject.ok("TMO002", None, "headers and bodies are bounded")
    credentials = [each for each in _servers(model) if each.name == "log_credentials"]
    for each in credentials:
        yield subject.fail("LOG003", _at(each), "log_credentials writes Authorization and cookies", key="credentials")
    if not credentials:
        yield subject.ok("LOG003", None, "Caddy leaves credentials out of its logs")
    for site in handing:
        yield from _hops(subject, site)


def _allowed_origin(directive: Directive) -> str | None:
    """The origin that a ``header`` line, or a line of a ``header`` block, lets read."""
    inside = directive.parent is not None and directive.parent.name == "header"
    words = [directive.name, *directive.args] if inside else directive.args if directive.name == "header" else []
    index = next((i for i, word in enumerate(words) if word.lower().lstrip("+?>") == "access-control-allow-origin"), -1)
    return words[index + 1] if 0 <= index < len(words) - 1 else None


def _hops(subject: Subject, site: Directive) -> Iterator[Finding]:
    name = _addresses(site)[0] if _addresses(site) else subject.label
    for each in site.walk():
        if each.name == "reverse_proxy":
            targets = [word for word in each.args if not word.startswith(("/", "@", "*"))]
            remote = next((found for target in targets if (found := plain_remote(target))), "")
            if any(one.name == "tls_insecure_skip_verify" for one in each.walk()):
                yield subject.fail(
                    "TLS013", _at(each), "TLS to the server without verification", name=name, key="verify"
                )
            elif remote and not any(one.name == "tls" for one in each.walk()):
                yield subject.fail("TLS013", _at(each), f"plain HTTP to {remote}", name=name, key=f"http {remote}")
            else:
                yield subject.ok("TLS013", _at(each), "this machine, a private network, or TLS", name=name)
        elif (value := _allowed_origin(each)) is not None:
            state = (
                subject.fail
                if value == "*" or "{header.origin}" in value.lower() or "{http.request.header.origin}" in value.lower()
                else subject.ok
            )
            yield state("ORG003", _at(each), f"origin {value} may read", name=name, key="cors")
