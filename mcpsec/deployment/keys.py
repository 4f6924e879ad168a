"""Every key of the deployment file, once: what it holds, what it is for, what it needs.

Loading, the JSON Schema, ``config show`` and docs/deployment-file.md all read this table; a key's default is the one
of the model's field. A test holds the table and the model to the same names.
"""

from __future__ import annotations

from typing import Any, get_args

from mcpsec.deployment import model
from mcpsec.deployment.breaker_kinds import Ratio
from mcpsec.deployment.kinds import (
    AddressKind,
    Choice,
    Constant,
    Duration,
    FilePath,
    Flag,
    Origin,
    RateKind,
    Secret,
    Size,
    Text,
    Url,
    Whole,
)
from mcpsec.deployment.literals import environment_is_secret, header_is_secret
from mcpsec.deployment.oauth_keys import OAUTH, TOKEN_MATCH
from mcpsec.deployment.policy_kinds import (
    ArgumentTest,
    Command,
    ConfirmationHeader,
    Fingerprint,
    Glob,
    HeaderName,
    Moment,
    Network,
    Window,
)
from mcpsec.deployment.secret_keys import SECRETS
from mcpsec.deployment.shapes import Key, ListOf, MapOf, Table
from mcpsec.deployment.store_kinds import StoreUrl
from mcpsec.deployment.telemetry_keys import ALERTS, LOG, OPENTELEMETRY
from mcpsec.secretrefs import reference_schema

__all__ = ["DEPLOYMENT", "json_schema"]

_METHODS = Choice(get_args(model.MethodClass))
_IDENTIFIER = r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}"
_ROLE_NAME = Text("role name", r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "letters, digits, dots, hyphens, underscores")
_UPSTREAM_NAME = Text(
    "upstream name",
    r"[a-z0-9][a-z0-9-]{0,31}",
    "lower-case letters, digits and hyphens, at most 32; an underscore parts it from the tool's name, as in files_read",
)
_VARIABLE = Text("variable name", r"[A-Za-z_][A-Za-z0-9_]*")
_HOST = Text(
    "host",
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?",
    'write the exact name and port, as "mcp.example.com:8443"; there are no wildcards',
)
_FILTERS = MapOf(
    Glob(resource=True),
    MapOf(Text("argument name"), ArgumentTest(), of="ARGUMENT"),
    of='"UPSTREAM/TOOL"',
)

_TLS = Table(
    model.Tls,
    (
        Key("certificate", FilePath("file"), "The gateway's certificate, PEM: leaf first, then intermediates."),
        Key("key", FilePath("private file"), "Its private key, PEM; nobody but the owner may read it."),
        Key("client_ca", FilePath("file"), "The CA certificates, PEM, whose clients are let in. Nobody else's are."),
        Key("crl", FilePath("file"), "The client CA's revocation list, PEM: what it names is turned away."),
        Key("minimum_version", Choice(("1.2", "1.3")), "The oldest TLS version that is spoken."),
    ),
    "The gateway's own certificate, and whose clients it lets in.",
)

_CERTIFICATE = Table(
    model.CertificateMatch,
    (
        Key(
            "san",
            Text("subject alternative name", r"[!-~]{1,512}"),
            "One exact subject alternative name.",
        ),
        Key("sha256", Fingerprint(), "SHA-256 of the certificate in DER form."),
    ),
    "How a client's certificate is told.",
    one_of=("san", "sha256"),
)

_ADMIN = Table(
    model.Admin,
    (
        Key(
            "listen",
            AddressKind(),
            "Where health, metrics and the dashboard are served. An address other than loopback needs administrators.",
        ),
        Key(
            "administrators",
            ListOf(_CERTIFICATE),
            "With them the listener speaks TLS with the gateway's own certificate, and only these certificates get in.",
        ),
        Key(
            "client_ca",
            FilePath("file"),
            "The CA certificates, PEM, of the administrators, when it is not the clients' CA.",
            needs="administrators",
        ),
    ),
    "A second listener for operators. There is none unless this table is in the file.",
)

_LIMITS = Table(
    model.Limits,
    (
        Key(
            "rate_limit",
            RateKind(may_be_off=True),
            "Requests of each client that names no rate of its own; refused and malformed ones count.",
        ),
        Key(
            "address_rate_limit",
            RateKind(may_be_off=True),
            "Requests of each network address (IPv6: each /64), spent before anybody is authenticated.",
        ),
        Key("header_bytes", Size(1024, 1 << 20), "Request line and headers of one request."),
        Key("body_bytes", Size(1024, 256 << 20), "Body of one request."),
        Key("response_bytes", Size(1024, 1 << 30), "One answer, or one event of a stream, of an upstream."),
        Key("stream_bytes", Size(1024, 1 << 40), "All events of one stream together; then the stream is ended."),
        Key("json_depth", Whole(4, 250), "Levels of arrays and objects inside each other in one message."),
        Key("connections", Whole(1, 1_000_000), "Open connections."),
        Key("connections_per_address", Whole(1, 1_000_000), "Open connections of one network address."),
        Key("sessions", Whole(1, 1_000_000), "Open MCP sessions."),
        Key("sessions_per_client", Whole(1, 1_000_000), "Open MCP sessions of one client."),
        Key("in_flight_per_client", Whole(1, 100_000), "Requests of one client that wait for their answer."),
        Key("handshake_timeout", Duration(0.1, 300), "For the TLS handshake."),
        Key("header_timeout", Duration(0.1, 300), "From a request's first byte to the end of its headers."),
        Key("body_timeout", Duration(0.1, 3600), "From the end of the headers to the end of the body."),
        Key("idle_timeout", Duration(0.1, 3600), "A connection without a request is closed after this."),
        Key("write_timeout", Duration(0.1, 3600), "A peer that reads nothing of its answer is dropped after this."),
        Key(
            "session_idle_timeout",
            Duration(1, 7 * 86400),
            "A session without a request or an open stream ends after this.",
        ),
        Key("stream_lifetime", Duration(1, 7 * 86400), "The longest that one event stream stays open."),
        Key("drain_timeout", Duration(0, 3600), "How long a stopping gateway waits for what is under way."),
    ),
    "What one peer may cost. Sizes are bytes; every key has a default that suits most deployments.",
)

_SERVER = Table(
    model.Server,
    (
        Key(
            "listen",
            AddressKind(),
            "Host and port; port 0 takes a free one. An address other than loopback needs mutual TLS.",
            '"127.0.0.1:8443"',
        ),
        Key("tls", _TLS, "Certificate, key and client CA."),
        Key(
            "public_url",
            Url(("https",)),
            "The URL that clients use, when it is not the bound address.",
        ),
        Key("allowed_hosts", ListOf(_HOST), "Values of the Host header that are answered, besides the bound address."),
        Key("allowed_origins", ListOf(Origin()), "Web pages that may call; any other Origin is refused."),
        Key("admin", _ADMIN, "The operators' listener."),
        Key("limits", _LIMITS, "Bounds on size, time and number."),
    ),
    "Where the gateway listens and under which names.",
)

_AUTH = Table(
    model.Auth,
    (
        Key(
            "require",
            ListOf(Choice(get_args(model.Factor))),
            "What every request must show, all of it. An empty list is accepted on a loopback address only.",
        ),
        Key("oauth", OAUTH, "Access tokens."),
        Key(
            "signature",
            Table(
                model.SignatureAuth,
                (
                    Key(
                        "schemes",
                        ListOf(Choice(get_args(model.Scheme)), at_least=1),
                        'Accepted schemes. "article" is for clients of an older, weaker scheme.',
                    ),
                    Key("max_age", Duration(1, 3600), "How old a signature may be; 30 s in the future pass."),
                ),
                "How requests are signed.",
            ),
            "Details of signed requests.",
        ),
    ),
    "How a client proves who it is.",
)

_PINS = Table(
    model.Pins,
    (
        Key("file", FilePath("file"), "The lock file that `mcpsec pin` writes.", '"mcpsec.pins.toml"'),
        Key(
            "on_change",
            Choice(get_args(model.OnChange)),
            "What becomes of a definition that differs from its pin: quarantine hides and refuses it, block refuses "
            "everything of its upstream, report lets it pass. Each is told in the log and on standard error.",
        ),
        Key("recheck", Duration(1, 86400), "How old an upstream's list of tools may be when a call relies on it."),
        Key("validate_arguments", Flag(), "Whether the arguments of a call must fit the pinned input schema."),
    ),
    "Tools, prompts and instructions of the upstreams as they were reviewed.",
)

_AUDIT = Table(
    model.AuditSettings,
    (
        Key(
            "targets",
            ListOf(
                Table(
                    model.AuditTarget,
                    (
                        Key("url", Url(), "The endpoint.", '"https://staging.example.com:8443/mcp"'),
                        Key("allow_load", Flag(), "Whether it may be put under load, though it is another machine."),
                    ),
                    "An endpoint that is yours.",
                )
            ),
            "Endpoints whose owner lets them be sent requests that must be refused (`--profile refuse`, `load`).",
        ),
    ),
    "Consent to live probes.",
)

_SANDBOX = Table(
    model.Sandbox,
    (
        Key("read", ListOf(FilePath()), "Files and directories that the program may read, besides its own."),
        Key("write", ListOf(FilePath()), "Files and directories that it may change."),
        Key("network", Flag(), "Whether it may use the network."),
        Key("memory", Size(16 << 20, 1 << 40), "The most memory that it and what it starts may use."),
        Key("processes", Whole(1, 100_000), "The most processes and threads that it may be."),
        Key("user", Text("account", r"[a-z_][a-z0-9_-]{0,31}"), "The account it runs under when the gateway is root."),
    ),
    "What an upstream's program may touch (Linux).",
)

_BREAKER = Table(
    model.Breaker,
    (
        Key("enabled", Flag(), "Whether there is one."),
        Key("failure_ratio", Ratio(), "Opens when this share of the calls failed."),
        Key("slow_call", Duration(0.01, 86400), "A call that takes as long is slow; without it none is."),
        Key("slow_ratio", Ratio(), "Opens when this share of the calls was slow."),
        Key("minimum_calls", Whole(1, 100_000), "Calls within the window before it judges."),
        Key("window", Duration(1, 3600), "The time that is looked at."),
        Key("open_for", Duration(0.1, 3600), "How long the upstream is then left alone."),
        Key("probes", Whole(1, 1000), "Calls that must go well, one after the other or at once, before it closes."),
    ),
    "When an upstream that fails too often is left alone: calls get a 503 with Retry-After at once. Each client has a "
    "breaker of its own; the one for all opens on what several clients meet.",
)

_UPSTREAM = Table(
    model.Upstream,
    (
        Key("command", Command(), "A stdio server: program and arguments, no shell.", '["mcp-server-time"]'),
        Key("url", Url(), "A Streamable HTTP server."),
        Key(
            "app",
            Text(
                "module:name",
                r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*",
                'such as "tickets.server:mcp"',
            ),
            "A Python server that runs inside the gateway, with its rights: of the MCP SDK, of fastmcp, or any ASGI "
            "application that answers at /mcp.",
        ),
        Key(
            "builtin",
            Choice(get_args(model.Builtin)),
            "A server inside mcpsec: a few harmless tools to try.",
        ),
        Key("app_dir", FilePath("directory"), "Where its module is, when it is not installed.", needs="app"),
        Key("cwd", FilePath("directory"), "The program's working directory.", needs="command"),
        Key(
            "environment",
            MapOf(_VARIABLE, Secret(text_allowed=True, is_secret=environment_is_secret), of="VARIABLE"),
            "Variables for the program. Of the gateway's own environment it sees only a few harmless ones.",
            needs="command",
        ),
        Key("sandbox", _SANDBOX, "Fences around the program.", needs="command"),
        Key(
            "headers",
            MapOf(HeaderName(), Secret(text_allowed=True, is_secret=header_is_secret), of="HEADER"),
            "Headers sent with every request, as the upstream's own credential; a client's is never forwarded.",
            needs="url",
        ),
        Key("ca", FilePath("file"), "CA certificates, PEM, that its certificate must come from.", needs="url"),
        Key(
            "timeout",
            Duration(0.01, 86400),
            "The longest that one call may take, or that may pass between two messages of its answer.",
        ),
        Key(
            "timeouts", MapOf(Glob(), Duration(0.01, 86400), of='"TOOL"'), "The same by tool; the closest glob counts."
        ),
        Key("connect_timeout", Duration(0.01, 300), "The longest that connecting (or starting the program) may take."),
        Key("in_flight", Whole(1, 100_000), "Calls of all clients under way at once; the next gets a 429."),
        Key("breaker", _BREAKER, "Its circuit breaker."),
        Key(
            "access",
            MapOf(Glob(), _METHODS, of='"TOOL"'),
            "What each tool does, by glob over tool names; what no glob names is execute.",
        ),
        Key(
            "rate_limits",
            MapOf(Glob(), RateKind(), of='"TOOL"'),
            "How often each client may call a tool, by glob over tool names; the closest glob counts.",
        ),
        Key(
            "secrets",
            Choice(get_args(model.OnSecret)),
            "What becomes of an answer that holds credentials, keys or certificates: redact takes them out, block "
            "refuses the answer, pass lets them through.",
        ),
        Key(
            "error_details",
            Choice(get_args(model.ErrorDetails)),
            "Whether stack traces and paths of the server's machine in its errors are hidden behind an id that the "
            "log resolves.",
        ),
    ),
    "One MCP server behind the gateway, served at /mcp/NAME.",
    one_of=("command", "url", "app", "builtin"),
    named="name",
)

_GRANTS = (
    Key(
        "allow_resources",
        ListOf(Glob(resource=True)),
        "What may be used, as `upstream/tool`, `upstream/resource:URI` or `upstream/prompt:NAME`.",
    ),
    Key("allow_methods", ListOf(_METHODS), "Which kinds of it: see `access` of the upstream."),
    Key(
        "allow_server_requests",
        ListOf(Choice(get_args(model.ServerRequest))),
        "What an upstream may ask of the client in turn.",
    ),
    Key("resource_filters", _FILTERS, "By glob over tools: what an argument may be. Dots lead into objects."),
    Key("until", Moment(), "When these grants end; without it they don't. The filters stay."),
    Key(
        "upstream_headers",
        MapOf(
            _UPSTREAM_NAME,
            MapOf(HeaderName(), Secret(text_allowed=True, is_secret=header_is_secret), of="HEADER"),
            of="UPSTREAM",
        ),
        "By upstream: headers that these calls carry, instead of the upstream's own of the same names.",
    ),
    Key(
        "upstream_environment",
        MapOf(
            _UPSTREAM_NAME,
            MapOf(_VARIABLE, Secret(text_allowed=True, is_secret=environment_is_secret), of="VARIABLE"),
            of="UPSTREAM",
        ),
        "By upstream: variables of the program that serves these calls, instead of the upstream's own.",
    ),
)

_ROLE = Table(
    model.Role,
    _GRANTS,
    "What several clients may do. Nothing is allowed unless a role or a client says so.",
    named="name",
)

_SIGNING_KEY = Table(
    model.SigningKey,
    (
        Key("id", Text("key id", _IDENTIFIER), "Names the key in a signature; no two clients share one."),
        Key("secret", Secret(), "A shared secret, by reference."),
        Key("public_key", FilePath("file"), "A public key, PEM, for scheme rfc9421."),
    ),
    "One of a client's keys; several may be valid at once, so that one can replace another.",
    one_of=("secret", "public_key"),
)

_CLIENT = Table(
    model.Client,
    (
        Key("id", Text("client id", _IDENTIFIER), "Names the client in the log and in rules.", '"reporting-agent"'),
        Key(
            "require",
            ListOf(Choice(get_args(model.Factor)), at_least=1),
            "What this client must show instead of what [auth] require says.",
        ),
        Key("certificate", _CERTIFICATE, "Its certificate.", '{ san = "spiffe://example.com/agent" }'),
        Key("signing_keys", ListOf(_SIGNING_KEY), "Keys that its requests are signed with."),
        Key("oauth", TOKEN_MATCH, "Its access tokens.", '{ client_id = "reporting-agent" }'),
        Key("roles", ListOf(_ROLE_NAME), "Roles whose grants it has."),
        *_GRANTS,
        Key("rate_limit", RateKind(), "Its own rate instead of the one in [server.limits]."),
    ),
    "One identity. Its own grants add to those of its roles; its filters narrow all of them.",
)

_RULE = Table(
    model.Rule,
    (
        Key("resources", ListOf(Glob(resource=True), at_least=1), "What the rule is about.", '["tickets/delete_*"]'),
        Key(
            "require",
            Table(
                model.RuleConditions,
                (
                    Key("certificate_sha256", ListOf(Fingerprint()), "The client's certificate is one of these."),
                    Key("window", Window(), "The time is within this window."),
                    Key("networks", ListOf(Network()), "The peer's address is in one of these blocks."),
                    Key(
                        "confirmation_header",
                        ConfirmationHeader(),
                        "This header carries an operator's confirmation of the very call (`mcpsec approve`).",
                    ),
                ),
                "Conditions, at least one; every one that is named must hold.",
                at_least=1,
            ),
            "What must hold for a use of it.",
            '{ networks = ["10.0.0.0/8"] }',
        ),
    ),
    "A condition on some resources, for every client, on top of what it is granted.",
)

_APPROVAL = Table(
    model.Approval,
    (
        Key("secret", Secret(), "The key that confirmations are made with, by reference. No client may hold it."),
        Key("max_age", Duration(10, 7 * 86400), "The longest that a confirmation may be valid."),
    ),
    "Confirmations of single calls by an operator, for rules with `confirmation_header`.",
)

DEPLOYMENT = Table(
    model.Deployment,
    (
        Key("version", Constant(1), "Version of this file's form.", "1"),
        Key("server", _SERVER, "The gateway itself."),
        Key("auth", _AUTH, "Authentication."),
        Key("secrets", SECRETS, "Where secrets are kept, and how they change."),
        Key("log", LOG, "The audit log."),
        Key("alerts", ALERTS, "What somebody should be told."),
        Key("opentelemetry", OPENTELEMETRY, "Traces and metrics to a collector."),
        Key(
            "state",
            Table(
                model.State,
                (
                    Key(
                        "url",
                        StoreUrl(),
                        "Where replay protection, limits and sessions are kept.",
                        '"redis://state.example.com:6379/0"',
                    ),
                    Key(
                        "username",
                        Text("user name", r"[!-~]{1,128}"),
                        "The store's user (ACL), if it has users.",
                        needs="password",
                    ),
                    Key("password", Secret(), "The store's password, by reference."),
                    Key(
                        "ca",
                        FilePath("file"),
                        "CA certificates, PEM, that a rediss:// store's certificate must come from.",
                    ),
                    Key(
                        "prefix",
                        Text("prefix", r"[A-Za-z0-9._-]{1,64}"),
                        "Begins every key: one for each deployment that shares a store.",
                    ),
                    Key("timeout", Duration(0.01, 30), "The longest that the store may take to answer."),
                    Key(
                        "on_failure",
                        Choice(("local", "refuse")),
                        "Rate limits without the store: each gateway counts for itself, or nothing is served.",
                    ),
                    Key(
                        "handle_key",
                        Secret(),
                        "Seals handles and makes DPoP nonces: one for all gateways, or each start has its own.",
                    ),
                ),
                "What gateways remember between requests, and share.",
            ),
            "Shared state.",
        ),
        Key("pins", _PINS, "What upstreams were reviewed to be."),
        Key("upstreams", MapOf(_UPSTREAM_NAME, _UPSTREAM), "MCP servers behind the gateway."),
        Key("roles", MapOf(_ROLE_NAME, _ROLE), "Grants with a name."),
        Key("clients", ListOf(_CLIENT), "Who may call."),
        Key("rules", ListOf(_RULE), "Conditions across clients."),
        Key("approval", _APPROVAL, "Confirmations by an operator."),
        Key("audit", _AUDIT, "What `mcpsec audit` may do to live endpoints."),
    ),
)
"""The whole file."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the deployment file, for editors and CI."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:mcpsec:schema:deployment:1",
        "title": "mcpsec deployment file (mcpsec.toml)",
        **DEPLOYMENT.schema(),
        "$defs": {"secret": reference_schema()},
    }
