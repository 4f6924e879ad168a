"""Access tokens: what the 401 says (AUT002), whose server issues them (AUT005), and bad ones (AUT003, AUT004)."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import NOBODY, discover, initialize, welcome
from mcpsec.audit.probes.session import Credentials, Session
from mcpsec.audit.probes.wire import Answer, Target, exchange, target_of
from mcpsec.errors import UsageError

__all__: list[str] = []

_ALL = ("AUT002", "AUT005")


def _challenge(session: Session) -> Answer | None:
    """The answer that asks for a bearer token: to nobody, else to our certificate without a token; None for none."""
    if "challenge" not in session.facts:
        session.facts["challenge"] = None
        first = welcome(session, NOBODY).first
        who = session.credentials
        if first.status != 401 and who.certificate is not None and not welcome(session, NOBODY):
            if who.token:
                body, headers = discover()
                bare = Credentials(who.certificate, who.key, who.ca, who.signer)
                first = session.request(body=body, headers=headers, identity=bare)
            else:
                first = welcome(session).first
        if first.status == 401 and first.headers.get("www-authenticate", "").lower().startswith("bearer"):
            session.facts["challenge"] = first
    found: Answer | None = session.facts["challenge"]
    return found


@probe("P1", *_ALL, order=21)
def metadata(session: Session) -> Iterator[Finding]:
    """AUT002: the resource's own metadata (RFC 9728). AUT005: the authorization server's (RFC 8414, 9207)."""
    subject, answer = session.subject, _challenge(session)
    if answer is None:
        for check in _ALL:
            yield subject.skip(check, "no bearer token is asked for")
        return
    challenge = answer.headers["www-authenticate"]
    if "resource_metadata=" not in challenge:
        yield subject.fail("AUT002", None, "WWW-Authenticate names no resource_metadata", key="challenge")
    document = _resource(session)
    servers = document.get("authorization_servers")
    wrong = []
    if not document:
        wrong.append("there is none")
    elif document.get("resource") not in _spellings(session.target):
        wrong.append("resource is not this endpoint")
    named = [str(each) for each in servers] if isinstance(servers, list) else []
    if document and (not named or not all(_safe(each) for each in named)):
        wrong.append("no https authorization server")
    if "query" in (document.get("bearer_methods_supported") or []):
        wrong.append("tokens in the query are accepted")
    for text in wrong:
        yield subject.fail("AUT002", None, f"resource metadata: {text}", key=text)
    if not wrong and "resource_metadata=" in challenge:
        yield subject.ok("AUT002", None, "resource metadata is complete")
    if not named:
        yield subject.unknown("AUT005", "no authorization server is named: see AUT002")
    for issuer in named[:2]:
        yield from _issuer(session, issuer)


def _safe(url: str) -> bool:
    """True for https, and for http on this machine, as AUT002 and OAuth 2.1 let it pass."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_local(parts.hostname or ""))


def _spellings(target: Target) -> set[str]:
    host = f"[{target.host}]" if ":" in target.host else target.host
    scheme = "https" if target.tls else "http"
    bases = {f"{scheme}://{host}:{target.port}"}
    if target.port == (443 if target.tls else 80):
        bases.add(f"{scheme}://{host}")
    path = target.path.rstrip("/")
    return {base + tail for base in bases for tail in (target.path, path, "", "/")}


def _resource(session: Session) -> dict[str, Any]:
    where = "/.well-known/oauth-protected-resource"
    bare = Credentials(session.credentials.certificate, session.credentials.key)
    for path in (f"{where}{session.target.path}", where):
        answer = session.request("GET", path, headers={"Accept": "application/json"}, identity=bare)
        if answer.status == 200 and isinstance(answer.json, dict):
            return dict(answer.json)
    return {}


def _issuer(session: Session, issuer: str) -> Iterator[Finding]:
    """AUT005 of one authorization server; only its well-known documents are read, over a verified connection."""
    subject = session.subject
    found = _metadata_of(session, issuer)
    if isinstance(found, str):
        yield subject.unknown("AUT005", f"{issuer}: {found}")
        return
    wrong = []
    if not _safe(issuer):
        wrong.append("it is not https")
    if str(found.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        wrong.append("its metadata names another issuer")
    methods = found.get("code_challenge_methods_supported")
    if not isinstance(methods, list) or "S256" not in methods:
        wrong.append("no PKCE with S256")
    if found.get("authorization_response_iss_parameter_supported") is not True:
        wrong.append("it does not say who answered (RFC 9207)")
    open_ends = [
        key for key in ("authorization_endpoint", "token_endpoint", "jwks_uri") if not _safe_or_none(found, key)
    ]
    wrong += [f"{key} is not https" for key in open_ends]
    for text in wrong:
        severity = "low" if "9207" in text else "medium"
        yield subject.fail("AUT005", None, f"{issuer}: {text}", severity=severity, key=text)
    if not wrong:
        yield subject.ok("AUT005", None, f"{issuer}: PKCE with S256, and it names itself")


def _safe_or_none(document: dict[str, Any], key: str) -> bool:
    value = document.get(key)
    return value is None or _safe(str(value))


def _metadata_of(session: Session, issuer: str) -> dict[str, Any] | str:
    try:
        target = target_of(issuer)
    except UsageError as error:
        return error.message
    path = urlsplit(issuer).path.rstrip("/")
    why = "no metadata"
    for where in (
        f"/.well-known/oauth-authorization-server{path}",
        f"/.well-known/openid-configuration{path}",
        f"{path}/.well-known/openid-configuration",
    ):
        context = None
        if target.tls:
            context = ssl.create_default_context()
            if session.credentials.ca is not None:
                context.load_verify_locations(session.credentials.ca)
        session.pace()
        head = f"GET {where} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: {session.agent}\r\n"
        answer = exchange(
            target, f"{head}Accept: application/json\r\nConnection: close\r\n\r\n".encode(), context=context,
            server_name=target.host,
        )  # fmt: skip
        if answer.status == 200 and isinstance(answer.json, dict):
            return dict(answer.json)
        if answer.failure:
            return answer.failure
        why = answer.describe()
    return why


@probe("P2", "AUT003", "AUT004", order=25)
def bad_tokens(session: Session) -> Iterator[Finding]:
    """AUT003: garbage, unsigned, expired, of a key that nobody knows. AUT004: a token in the query is not looked at."""
    subject, challenge = session.subject, _challenge(session)
    if challenge is None:
        for check in ("AUT003", "AUT004"):
            yield subject.skip(check, "no bearer token is asked for")
        return
    accepted, told = [], []
    for what, token in _tokens(session):
        answer = _with(session, token)
        told.append(f"{what}: HTTP {answer.status}")
        if answer.answers:
            accepted.append(what)
        elif answer.status >= 500:
            yield subject.fail("AUT003", None, f"{what}: {answer.describe()}", severity="medium", key=f"broken {what}")
    if accepted:
        yield subject.fail("AUT003", None, f"accepted: {', '.join(accepted)}", key="accepted")
    else:
        yield subject.ok("AUT003", None, "; ".join(told))
    yield _in_query(session, challenge)


def _with(session: Session, token: str, path: str | None = None) -> Answer:
    who = session.credentials
    bearer = Credentials(who.certificate, who.key, who.ca, who.signer, token)
    answer = Answer()
    for body, headers in (discover(), initialize()):
        answer = session.request(path=path, body=body, headers=headers, identity=bearer)
        if answer.answers or answer.status in (401, 403):
            break
    return answer


def _tokens(session: Session) -> list[tuple[str, str]]:
    now = int(time.time())
    issuer = _resource_issuer(session)
    claims = {"iss": issuer, "sub": "mcpsec-audit", "aud": str(session.target), "iat": now, "exp": now + 300}
    return [
        ("garbage", "mcpsec-audit-garbage"),
        ("an unsigned token (alg none)", f"{_part({'alg': 'none', 'typ': 'at+jwt'})}.{_part(claims)}."),
        ("an expired token of an unknown key", _signed({**claims, "exp": now - 600, "iat": now - 1200})),
        ("a token for another audience of an unknown key", _signed({**claims, "aud": "https://other.invalid/"})),
    ]


def _resource_issuer(session: Session) -> str:
    servers = _resource(session).get("authorization_servers")
    return str(servers[0]) if isinstance(servers, list) and servers else "https://issuer.invalid/"


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _signed(claims: dict[str, Any]) -> str:
    """A token with a good signature by a key that was made for it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    text = f"{_part({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'mcpsec-audit'})}.{_part(claims)}"
    r, s = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{text}.{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


def _in_query(session: Session, challenge: Answer) -> Finding:
    """AUT004, without ever putting a real token into a URL: whether a bad one there is taken for a token."""
    subject = session.subject
    token = "mcpsec-audit-query"  # noqa: S105 # no credential
    bare = Credentials(session.credentials.certificate, session.credentials.key, signer=session.credentials.signer)
    body, headers = discover()
    none = session.request(body=body, headers=headers, identity=bare)
    query = session.request(
        path=f"{session.target.path}?access_token={token}", body=body, headers=headers, identity=bare
    )
    if query.answers:
        return subject.fail(
            "AUT004", None, f"a made-up token in the query is accepted: {query.describe()}", key="query"
        )
    header = _with(session, token)
    if _told(header) == _told(none):
        return subject.unknown("AUT004", "a bad token and none at all get the same answer: it can't be told")
    if _told(query) == _told(header):
        return subject.fail("AUT004", None, "the token in the query is read: it is refused as a bad one", key="query")
    return subject.ok("AUT004", None, f"a token in the query is not looked at: {query.describe()}")


def _told(answer: Answer) -> tuple[int, str, bytes]:
    """What tells a missing token from a bad one: RFC 6750 section 3.1 names an error for the latter only."""
    challenge = answer.headers.get("www-authenticate", "")
    return answer.status, challenge, b"" if answer.json is None else json.dumps(answer.json, sort_keys=True).encode()
