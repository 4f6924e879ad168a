"""The keys of the deployment file that are about OAuth: ``[auth.oauth]`` and a client's ``oauth``."""

from __future__ import annotations

from typing import Any, get_args
from urllib.parse import urlsplit

from mcpsec.deployment import model
from mcpsec.deployment.kinds import Choice, Duration, FilePath, Flag, Secret, Text, Url
from mcpsec.deployment.policy_kinds import Network
from mcpsec.deployment.shapes import Key, ListOf, MapOf, Table, Wrong
from mcpsec.frozen import dataclass
from mcpsec.urls import is_confidential

__all__ = ["OAUTH", "TOKEN_MATCH"]

_SCOPE = Text("scope", r"[!#-\[\]-~]{1,128}", 'one word of printable ASCII, as "mcp:read"')
_IDENTITY = Text("identity", r"[ -~]{1,256}")


@dataclass(frozen=True, slots=True)
class ServerUrl(Url):
    """A URL of an authorization server: https, or http on this machine."""

    query_allowed: bool = True

    def parse(self, value: Any, base: Any) -> str:
        """Accept a URL that may be called."""
        text = Url.parse(self, value, base)
        parts = urlsplit(text)
        if not is_confidential(parts):
            raise Wrong("must be https: http is for servers on this machine (localhost, 127.0.0.1, [::1])")
        if "?" in text and not self.query_allowed:
            raise Wrong("must not have a query (RFC 8414 section 2)")
        return text


_INTROSPECTION = Table(
    model.Introspection,
    (
        Key("client_id", _IDENTITY, "The gateway's own client identifier at the issuer.", '"mcp-gateway"'),
        Key(
            "client_secret",
            Secret(),
            "Its secret, by reference, sent with HTTP Basic authentication.",
            '{ file = "secrets/introspection" }',
        ),
        Key("url", ServerUrl(), "The introspection endpoint, when the issuer's metadata does not name it."),
        Key("cache", Duration(0, 3600), "How long an answer is remembered; a revoked token works that much longer."),
        Key("all_tokens", Flag(), "Whether signed tokens are asked about too, which notices their revocation."),
    ),
    "Ask the issuer about tokens that say nothing themselves (RFC 7662).",
)

OAUTH = Table(
    model.OAuth,
    (
        Key(
            "issuer",
            ServerUrl(query_allowed=False),
            "The one authorization server whose tokens are accepted, exactly as its tokens name it.",
            '"https://login.example.com/"',
        ),
        Key(
            "audience",
            Text("audience", r"[!-~]{1,512}"),
            "The audience that tokens must be for; without it the URL that clients use. A token for it followed by "
            "/NAME is good at /mcp/NAME only.",
        ),
        Key(
            "sender_constrained",
            Flag(),
            "Whether a token must be bound to the caller's certificate (RFC 8705) or key (DPoP, RFC 9449). A token "
            "that is bound is always held to it.",
        ),
        Key("scopes", ListOf(_SCOPE), "Scopes that every token must have."),
        Key(
            "method_scopes",
            MapOf(Choice(get_args(model.MethodClass)), _SCOPE, of="METHOD"),
            "The scope that a token must have for each kind of use, on top of what the policy grants its client.",
        ),
        Key("algorithms", ListOf(Choice(get_args(model.TokenAlgorithm)), at_least=1), "Accepted signature algorithms."),
        Key(
            "token_types",
            ListOf(Text("token type", r"[A-Za-z0-9.+-]{1,64}"), at_least=1),
            'What a signed token may call itself in its header. "at+jwt" is RFC 9068; add "JWT" only for an issuer '
            "that can't do better, because its other tokens are then told apart by their audience alone.",
        ),
        Key("jwks_url", ServerUrl(), "The issuer's keys, when its metadata is not to be asked."),
        Key("introspection", _INTROSPECTION, "Tokens that are not signed."),
        Key("networks", ListOf(Network()), "Private networks that the issuer's addresses may be in."),
        Key("ca", FilePath("file"), "CA certificates, PEM, that the issuer's certificate must come from."),
        Key("timeout", Duration(0.1, 60), "The longest that a request waits for the issuer."),
        Key("clock_skew", Duration(0, 300), "How far the issuer's clock and this one may differ."),
        Key("dpop_max_age", Duration(1, 600), "How old a DPoP proof may be; it is accepted once."),
        Key("dpop_nonce", Flag(), "Whether a DPoP proof must hold a nonce of this gateway."),
    ),
    'Access tokens, when "bearer" is required.',
)

TOKEN_MATCH = Table(
    model.TokenMatch,
    (
        Key("subject", _IDENTITY, "The token's subject (`sub`)."),
        Key("client_id", _IDENTITY, "The OAuth client that it was issued to (`client_id`, or `azp`)."),
    ),
    "How a client's access tokens are told. With both keys, both must fit.",
    at_least=1,
)
