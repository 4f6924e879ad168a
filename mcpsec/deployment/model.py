"""What a deployment file says, as frozen values. Every path is absolute here and every duration is in seconds.

The field names are the file's own keys (DESIGN: names are the contract). ``loading`` builds these from ``mcpsec.toml``;
nothing else does, so a value of one of these types has passed every check.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from mcpsec.deployment.telemetry_model import Alerts, Log, OpenTelemetry
from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from mcpsec.secretrefs import AwsSettings, SecretRef, VaultSettings

__all__ = [
    "Address",
    "Admin",
    "Alerts",
    "Approval",
    "ArgumentFilter",
    "AuditSettings",
    "AuditTarget",
    "Auth",
    "Breaker",
    "Builtin",
    "CertificateMatch",
    "Client",
    "Credentials",
    "Deployment",
    "ErrorDetails",
    "Factor",
    "Filters",
    "Introspection",
    "Limits",
    "Log",
    "MethodClass",
    "OAuth",
    "OnChange",
    "OnSecret",
    "OpenTelemetry",
    "Pins",
    "Rate",
    "Role",
    "Rule",
    "RuleConditions",
    "Sandbox",
    "Scheme",
    "Secrets",
    "Server",
    "ServerRequest",
    "SignatureAuth",
    "SigningKey",
    "State",
    "Tls",
    "TokenAlgorithm",
    "TokenMatch",
    "Upstream",
]

MethodClass = Literal["read", "write", "execute"]
Factor = Literal["mtls", "signature", "bearer"]
TokenAlgorithm = Literal[
    "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519"
]
Scheme = Literal["hmac-sha256", "rfc9421", "article"]
Builtin = Literal["demo"]
ServerRequest = Literal["sampling", "elicitation", "roots"]
OnChange = Literal["quarantine", "block", "report"]
OnSecret = Literal["redact", "block", "pass"]
ErrorDetails = Literal["hide", "pass"]
Values = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """A listening address; port 0 takes a free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Rate:
    """``100/minute``: so many requests in so many seconds; ``burst`` is the size of the bucket."""

    count: int = 100
    seconds: float = 60.0
    burst: int = 100

    def __str__(self) -> str:
        units = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}
        return f"{self.count}/{units.get(self.seconds, f'{self.seconds:g}s')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """``[server.tls]``: the gateway's own certificate and the CA whose clients it lets in."""

    certificate: Path
    key: Path
    client_ca: Path
    crl: Path | None = None
    minimum_version: Literal["1.2", "1.3"] = "1.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """``[server.admin]``: health, metrics and dashboard, never on the public listener.

    With ``administrators`` it speaks TLS with the gateway's certificate, and only their certificates get in;
    ``client_ca`` is who signed them (the gateway's own client CA when None).
    """

    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 9464))
    administrators: tuple[CertificateMatch, ...] = ()
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``[server.limits]``: bounds on what a peer may cost. Sizes in bytes, times in seconds.

    ``rate_limit`` is for each client that has none of its own; None (written "off") means no limit for these.
    """

    rate_limit: Rate | None = field(default_factory=Rate)
    address_rate_limit: Rate | None = None
    header_bytes: int = 32 * 1024
    body_bytes: int = 4 * 1024 * 1024
    response_bytes: int = 16 * 1024 * 1024
    stream_bytes: int = 256 * 1024 * 1024
    json_depth: int = 64
    connections: int = 2000
    connections_per_address: int = 200
    sessions: int = 1000
    sessions_per_client: int = 32
    in_flight_per_client: int = 64
    handshake_timeout: float = 10.0
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    write_timeout: float = 30.0
    session_idle_timeout: float = 1800.0
    stream_lifetime: float = 3600.0
    drain_timeout: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """``[server]``: where the gateway listens and under which names it may be addressed."""

    listen: Address
    tls: Tls
    public_url: str | None = None
    allowed_hosts: Values = ()
    allowed_origins: Values = ()
    admin: Admin | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureAuth:
    """``[auth.signature]``: accepted request-signing schemes; ``article`` is the compatibility mode, off by default."""

    schemes: tuple[Scheme, ...] = ("hmac-sha256", "rfc9421")
    max_age: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspection:
    """``[auth.oauth.introspection]``: how to ask the issuer about a token (RFC 7662); ``cache`` is in seconds."""

    client_id: str
    client_secret: SecretRef
    url: str | None = None
    cache: float = 30.0
    all_tokens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """``[auth.oauth]``: whose access tokens are accepted, and what they must say. Times are in seconds.

    ``audience`` None means the URL that clients use (``public_url``, or the bound address).
    """

    issuer: str
    audience: str | None = None
    sender_constrained: bool = True
    scopes: Values = ()
    method_scopes: dict[MethodClass, str] = field(default_factory=dict)
    algorithms: tuple[TokenAlgorithm, ...] = (
        "ES256",
        "ES384",
        "ES512",
        "PS256",
        "PS384",
        "PS512",
        "RS256",
        "EdDSA",
        "Ed25519",
    )
    token_types: Values = ("at+jwt",)
    jwks_url: str | None = None
    introspection: Introspection | None = None
    networks: Values = ()
    ca: Path | None = None
    timeout: float = 5.0
    clock_skew: float = 30.0
    dpop_max_age: float = 60.0
    dpop_nonce: bool = False

    @property
    def introspection_of_all(self) -> bool:
        """Whether the issuer is asked about every token, also about those that are signed."""
        return self.introspection is not None and self.introspection.all_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """``[auth]``: the factors that every request needs, all of them, unless its client names its own."""

    require: tuple[Factor, ...] = ("mtls", "signature")
    signature: SignatureAuth = field(default_factory=SignatureAuth)
    oauth: OAuth | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """``[secrets]``: managers that keep them, and how they change while the gateway runs. Times are in seconds."""

    refresh: float = 300.0
    overlap: float = 600.0
    vault: VaultSettings | None = None
    aws: AwsSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``[state]``: where replay protection, limits and sessions are kept; a store is shared by many gateways.

    ``timeout`` in seconds bounds every answer of the store. ``on_failure`` is what becomes of rate limits without it:
    each gateway counts for itself (``local``) or nothing is served (``refuse``). Nonces are refused in any case.
    ``handle_key`` seals the handles that clients bring back, at whichever gateway; None is a new one at each start.
    """

    url: str = "memory://"
    username: str | None = None
    password: SecretRef | None = None
    ca: Path | None = None
    prefix: str = "mcpsec"
    timeout: float = 0.25
    on_failure: Literal["local", "refuse"] = "local"
    handle_key: SecretRef | None = None

    @property
    def shared(self) -> bool:
        """True when other processes see it."""
        return self.url != "memory://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """``[pins]``: the lock file of what upstreams were reviewed to be, and what a difference from it means.

    ``recheck`` is in seconds: how old an upstream's list of tools may be when a call relies on it.
    """

    file: Path
    on_change: OnChange = "quarantine"
    recheck: float = 300.0
    validate_arguments: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """``[upstreams.NAME.sandbox]``: files a stdio child may read and write, whether it may use the network, its bounds.

    ``memory`` is in bytes; ``user`` is the account that it runs under when the gateway is root (None: ``nobody``).
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    network: bool = True
    memory: int = 4 << 30
    processes: int = 512
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """``[upstreams.NAME.breaker]``: when an upstream that fails, or is slow, is left alone. Times in seconds."""

    enabled: bool = True
    failure_ratio: float = 0.5
    slow_call: float | None = None
    slow_ratio: float = 0.8
    minimum_calls: int = 20
    window: float = 30.0
    open_for: float = 5.0
    probes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """``[upstreams.NAME]``: exactly one of ``command`` (stdio), ``url`` (Streamable HTTP), ``app`` or ``builtin``.

    ``access`` maps globs over tool names (or resource URIs, prompts) to a method class; what no glob names is
    ``execute``. ``environment`` and ``headers`` hold text or secret references.
    """

    name: str
    command: Values | None = None
    url: str | None = None
    app: str | None = None
    builtin: Builtin | None = None
    app_dir: Path | None = None
    cwd: Path | None = None
    environment: dict[str, str | SecretRef] = field(default_factory=dict)
    headers: dict[str, str | SecretRef] = field(default_factory=dict)
    ca: Path | None = None
    timeout: float = 30.0
    timeouts: dict[str, float] = field(default_factory=dict)
    connect_timeout: float = 5.0
    in_flight: int = 256
    access: dict[str, MethodClass] = field(default_factory=dict)
    rate_limits: dict[str, Rate] = field(default_factory=dict)
    breaker: Breaker = field(default_factory=Breaker)
    sandbox: Sandbox | None = None
    secrets: OnSecret = "redact"
    error_details: ErrorDetails = "hide"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentFilter:
    """``{ min = 1, max = 500 }`` or ``{ regex = "[A-Z]+-[0-9]+" }``: what an argument may be besides a list of globs.

    A range (either bound may be missing) holds for numbers only; ``regex`` is RE2 and must match the whole value.
    """

    min: float | None = None
    max: float | None = None
    regex: str | None = None


Filters = dict[str, dict[str, Values | ArgumentFilter]]
Credentials = dict[str, "dict[str, str | SecretRef]"]
"""Upstream → header (or variable) → its value: text, or a reference to a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """``[roles.NAME]``: what several clients share.

    ``allow_resources`` are globs over ``upstream/tool``, ``upstream/resource:URI`` and ``upstream/prompt:NAME``.
    ``resource_filters`` maps such a glob to ``argument -> allowed values (globs)``, or a range or expression.
    ``until`` ends what the role grants (not its filters). ``upstream_headers`` and ``upstream_environment`` are the
    credentials that the calls of its clients carry, in place of the upstream's own of the same name.
    """

    name: str
    allow_resources: Values = ()
    allow_methods: tuple[MethodClass, ...] = ()
    allow_server_requests: tuple[ServerRequest, ...] = ()
    resource_filters: Filters = field(default_factory=dict)
    until: datetime | None = None
    upstream_headers: Credentials = field(default_factory=dict)
    upstream_environment: Credentials = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateMatch:
    """How a certificate maps to its client: one exact subject alternative name, or the SHA-256 of its DER form."""

    san: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One of a client's active signing keys: a shared secret (by reference) or a public key file (PEM)."""

    id: str
    secret: SecretRef | None = None
    public_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMatch:
    """How an access token maps to its client: by its subject, by the OAuth client it was issued to, or by both."""

    subject: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """``[[clients]]``: one identity. Its own grants are added to those of its roles; its filters narrow all of them.

    ``require`` replaces the deployment's factors for this client.
    """

    id: str
    require: tuple[Factor, ...] | None = None
    certificate: CertificateMatch | None = None
    signing_keys: tuple[SigningKey, ...] = ()
    oauth: TokenMatch | None = None
    roles: Values = ()
    allow_resources: Values = ()
    allow_methods: tuple[MethodClass, ...] = ()
    allow_server_requests: tuple[ServerRequest, ...] = ()
    resource_filters: Filters = field(default_factory=dict)
    until: datetime | None = None
    upstream_headers: Credentials = field(default_factory=dict)
    upstream_environment: Credentials = field(default_factory=dict)
    rate_limit: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleConditions:
    """What a ``[[rules]]`` entry demands; every named condition must hold.

    ``window`` is ``Sun 02:00-04:00 Europe/Berlin``: day (or ``daily``), local times, IANA time zone.
    ``networks`` are CIDR blocks of the peer's address. ``confirmation_header`` (lower case) carries an operator's
    confirmation of this very call.
    """

    certificate_sha256: Values = ()
    window: str | None = None
    networks: Values = ()
    confirmation_header: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``[[rules]]``: a context rule over the resources that its globs name, for every client."""

    resources: Values
    require: RuleConditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """``[approval]``: the key that operators and the gateway hold, and how long a confirmation may be valid at most."""

    secret: SecretRef
    max_age: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTarget:
    """``[[audit.targets]]``: an endpoint whose owner lets ``mcpsec audit`` send it requests that must be refused."""

    url: str
    allow_load: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """``[audit]``: what live probes beyond the passive ones may be made of."""

    targets: tuple[AuditTarget, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The whole file. ``path`` is where it was read from, None for one made in memory."""

    version: Literal[1]
    server: Server
    log: Log
    path: Path | None = None
    auth: Auth = field(default_factory=Auth)
    secrets: Secrets = field(default_factory=Secrets)
    alerts: Alerts = field(default_factory=Alerts)
    opentelemetry: OpenTelemetry | None = None
    state: State = field(default_factory=State)
    pins: Pins | None = None
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    clients: tuple[Client, ...] = ()
    rules: tuple[Rule, ...] = ()
    approval: Approval | None = None
    audit: AuditSettings = field(default_factory=AuditSettings)

    def factors_of(self, client: Client) -> frozenset[Factor]:
        """What a client must show with every request: its own list, or else the deployment's."""
        return frozenset(self.auth.require if client.require is None else client.require)

    @property
    def possible_factors(self) -> frozenset[Factor]:
        """Every factor that some client, or the deployment as a whole, asks for."""
        return frozenset(self.auth.require).union(*(self.factors_of(client) for client in self.clients))

    @property
    def default_rate_limit(self) -> Rate | None:
        """The rate of each client that names none (``[server.limits] rate_limit``); None is no limit."""
        return self.server.limits.rate_limit
