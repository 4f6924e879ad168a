"""HAProxy: client certificates, versions, limits, timeouts, logs (https://docs.haproxy.org)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mcpsec.audit.model import Finding
from mcpsec.audit.proxies import LONGEST, leaks_in_log, listens_locally, plain_remote, seconds
from mcpsec.audit.readers.haproxy import Line, Section
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import At, Context, Subject

__all__: list[str] = []

_OLD = ("SSLv3", "TLSv1.0", "TLSv1.1")


def _at(line: Line) -> At:
    return At(line.number, line.column)


def _fronts(sections: list[Section]) -> list[Section]:
    """Sections that clients reach and that hand requests on."""
    return [each for each in sections if each.kind in ("frontend", "listen") and each.find("bind") and _hands_on(each)]


def _hands_on(section: Section) -> bool:
    names = {line.words[0] for line in section.lines}
    return bool(names & {"default_backend", "use_backend", "server"} or section.effective("default_backend"))


@examines("haproxy")
def client_certificates(subject: Subject, context: Context) -> Iterator[Finding]:
    """TLS011 and TLS006."""
    sections: list[Section] = subject.model
    defaults = [line for each in sections if each.kind == "global" for line in each.find("ssl-default-bind-options")]
    oldest = next((line.after("ssl-min-ver") for line in defaults if line.after("ssl-min-ver")), None)
    for section in _fronts(sections):
        for bind in section.find("bind"):
            address = bind.words[1] if len(bind.words) > 1 else ""
            if listens_locally(address):
                yield subject.skip("TLS011", f"{address}: this machine only", name=section.name)
                continue
            yield _bind(subject, section, bind)
            if "ssl" in bind.words:
                lowest = bind.after("ssl-min-ver") or oldest
                forced = [word for word in bind.words if word in ("force-tlsv10", "force-tlsv11", "force-sslv3")]
                if lowest in _OLD or forced:
                    text = f"{lowest or forced[0]} accepted"
                    yield subject.fail("TLS006", _at(bind), text, name=section.name, key="old")
                elif lowest:
                    yield subject.ok("TLS006", _at(bind), f"{lowest} or newer", name=section.name)


def _bind(subject: Subject, section: Section, bind: Line) -> Finding:
    name = section.name
    if "ssl" not in bind.words:
        if _passes_tcp(section):
            return subject.manual("TLS011", _at(bind), "passes TCP on: judge what ends the TLS", name=name)
        if _redirects(section):
            return subject.skip("TLS011", "only redirects to https", name=name)
        return subject.fail("TLS011", _at(bind), "hands requests on from plain HTTP", name=name, key="plain")
    mode = bind.after("verify") or "none"
    ignoring = [option for option in ("ca-ignore-err", "crt-ignore-err") if bind.after(option) not in (None, "none")]
    rules = _rules(section)
    if mode == "required" and not ignoring and (bind.after("ca-file") or bind.after("ca-verify-file")):
        return subject.ok("TLS011", _at(bind), "verify required", name=name)
    if mode == "required" and not ignoring:
        return subject.fail("TLS011", _at(bind), "verify required without a ca-file", name=name, key="ca")
    verified = any(_refuses_unverified(rule) for rule in rules)
    present = any(_refuses_absent(rule) for rule in rules)
    if (mode == "required" and verified) or (mode == "optional" and present and (verified or not ignoring)):
        return subject.ok("TLS011", _at(bind), f"verify {mode}, and a rule refuses what is not verified", name=name)
    text = (
        f"verify {mode}"
        + (f" with {ignoring[0]}" if ignoring else "")
        + (", and no rule refuses a request without a certificate" if mode == "optional" else "")
    )
    return subject.fail("TLS011", _at(bind), text, name=name, key=mode)


def _passes_tcp(section: Section) -> bool:
    return bool(section.effective("mode", "tcp")) and not section.find("mode", "http")


def _redirects(section: Section) -> bool:
    """True when every request is sent to https before anything else."""
    for line in section.lines:
        text = " ".join(line.words)
        if re.match(r"(?:http-request )?redirect scheme https", text):
            condition = re.search(r"\b(?:if|unless)\b(.*)", text)
            return condition is None or "ssl_fc" in condition[1]
    return False


def _rules(section: Section) -> list[str]:
    acls = {line.words[1]: " ".join(line.words[2:]) for line in section.find("acl") if len(line.words) > 2}
    found = []
    for line in section.lines:
        text = " ".join(line.words)
        if re.match(r"(?:http-request|tcp-request (?:content|session)) (?:deny|reject|silent-drop)\b", text):
            text = re.sub(
                r"(!?)\b([\w-]+)\b", lambda m: m[1] + "{ " + acls[m[2]] + " }" if m[2] in acls else m[0], text
            )
            found += _alternatives(text)
    return found


def _alternatives(rule: str) -> list[str]:
    """``deny if A or B`` refuses what ``deny if A`` does, and what ``deny if B`` does."""
    conditional = re.match(r"(.*?) (if|unless) (.*)$", rule)
    if conditional is None or conditional[2] != "if":
        return [rule]
    action, terms = conditional[1], conditional[3]
    return [f"{action} if {each.strip()}" for each in re.split(r"\s(?:or|\|\|)\s", terms)]


def _refuses_absent(rule: str) -> bool:
    return bool(
        re.search(r"\bunless (?:\{ )?ssl_(?:c_used|fc_has_crt)\b[^{}]*\}?\s*$", rule)
        or re.search(r"\bif !\s*\{ ssl_(?:c_used|fc_has_crt)\b[^{}]*\}\s*$", rule)
        or re.search(r"\bif \{ ssl_(?:c_used|fc_has_crt) 0 \}\s*$", rule)
    )


def _refuses_unverified(rule: str) -> bool:
    return bool(
        re.search(r"\bunless \{ ssl_c_verify 0 \}\s*$", rule) or re.search(r"\bif !\s*\{ ssl_c_verify 0 \}\s*$", rule)
    )


@examines("haproxy")
def limits(subject: Subject, context: Context) -> Iterator[Finding]:
    """RTE002, TMO002, LOG003, TLS013."""
    sections: list[Section] = subject.model
    for section in _fronts(sections):
        local = all(listens_locally(bind.words[1]) for bind in section.find("bind") if len(bind.words) > 1)
        if local or _redirects(section):
            continue
        yield _rate(subject, section)
        yield from _timeouts(subject, section)
    yield from _logs(subject, sections)
    for section in sections:
        for line in section.find("server") if section.kind in ("backend", "listen") else ():
            target = re.sub(r"^\w+@", "", line.words[2]) if len(line.words) > 2 else ""
            if _passes_tcp(section) and "ssl" not in line.words:
                continue  # TLS of the client's, or something else than HTTP
            remote = "" if "ssl" in line.words else plain_remote(target)
            if remote:
                yield subject.fail(
                    "TLS013", _at(line), f"plain HTTP to {remote}", name=section.name, key=f"http {remote}"
                )
            elif "ssl" in line.words and line.after("verify") == "none" and plain_remote(target):
                yield subject.fail(
                    "TLS013", _at(line), "TLS to the server without verification", name=section.name, key="verify"
                )
            else:
                yield subject.ok("TLS013", _at(line), "this machine, a private network, or TLS", name=section.name)


def _rate(subject: Subject, section: Section) -> Finding:
    texts = [" ".join(line.words) for line in section.lines]
    denied = [
        text
        for text in texts
        if re.match(r"(?:http-request|tcp-request \w+) (?:deny|reject|tarpit|silent-drop|set-bandwidth-limit)", text)
    ]
    limiting = re.compile(r"(?:sc\d?_|src_|table_)?(?:http_req_rate|gpc\d?_rate|conn_rate|http_req_cnt)|_rate\(")
    acls = {line.words[1] for line in section.find("acl") if limiting.search(" ".join(line.words[2:]))}
    for text in denied:
        if limiting.search(text) or acls & set(re.findall(r"[\w-]+", text)):
            return subject.ok("RTE002", section.line, text[:120], name=section.name)
    return subject.fail(
        "RTE002", section.line, "no rule refuses a client that asks too often", name=section.name, key="none"
    )


def _timeouts(subject: Subject, section: Section) -> Iterator[Finding]:
    wrong = False
    for key, bounded, missing in (
        ("connect", True, "medium"),
        ("http-request", True, "low"),
        ("client", False, "medium"),
    ):
        lines = section.effective("timeout", key)
        if key == "connect" and section.kind == "frontend" and not lines:
            continue  # the backend's, which has its own defaults
        if not lines:
            wrong = True
            yield subject.fail(
                "TMO002", section.line, f"timeout {key} is not set", name=section.name, severity=missing, key=key
            )
            continue
        value = seconds(lines[-1].words[2] if len(lines[-1].words) > 2 else "", "ms")
        if bounded and (value is None or value > LONGEST):
            wrong = True
            yield subject.fail(
                "TMO002", _at(lines[-1]), f"timeout {key} {lines[-1].words[-1]}", name=section.name, key=key
            )
    if not wrong:
        yield subject.ok("TMO002", section.line, "connecting and headers are bounded", name=section.name)


def _logs(subject: Subject, sections: list[Section]) -> Iterator[Finding]:
    wrong = False
    for section in sections:
        for line in section.lines:
            text = " ".join(line.words)
            leak = leaks_in_log(text) if line.words[0].startswith("log-format") else ""
            captured = re.match(
                r"(?:capture request header|http-request capture req\.hdr\()\s*(authorization|cookie|x-api-key)",
                text,
                re.I,
            )
            if leak or captured or text.startswith("capture cookie"):
                wrong = True
                what = leak or (captured[1] if captured else "a cookie")
                yield subject.fail(
                    "LOG003", _at(line), f"{line.words[0]} writes {what}", name=section.name or subject.label, key=what
                )
    if not wrong:
        yield subject.ok("LOG003", None, "no credential in a log format")
