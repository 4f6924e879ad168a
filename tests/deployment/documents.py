"""Deployment files that tests start from."""

from __future__ import annotations

MINIMAL = """\
version = 1
[server]
listen = "127.0.0.1:8443"
[server.tls]
certificate = "pki/chain.pem"
key = "pki/key.pem"
client_ca = "pki/ca.pem"
[log]
file = "log/events.jsonl"
"""
"""The keys without which there is no deployment."""

FULL = """\
version = 1

[server]
listen = "0.0.0.0:8443"
public_url = "https://mcp.example.com:8443/mcp"
allowed_hosts = ["mcp.example.com:8443", "[2001:db8::1]:8443"]
allowed_origins = ["https://App.example.com"]

[server.tls]
certificate = "pki/server/chain.pem"
key = "pki/server/key.pem"
client_ca = "pki/client-ca.pem"
crl = "pki/client-ca.crl"
minimum_version = "1.2"

[server.admin]
listen = "[::1]:9464"
administrators = [
  { san = "spiffe://example.com/operator" },
  { sha256 = "abababababababababababababababababababababababababababababababab" },
]
client_ca = "pki/operators.pem"

[server.limits]
rate_limit = "off"
address_rate_limit = "600/minute"
header_bytes = "16KiB"
body_bytes = "8MiB"
response_bytes = 1048576
stream_bytes = 2097152
json_depth = 32
connections = 100
connections_per_address = 10
sessions = 50
sessions_per_client = 5
in_flight_per_client = 6
handshake_timeout = "5s"
header_timeout = "2.5s"
body_timeout = "1m"
idle_timeout = "90s"
write_timeout = "500ms"
session_idle_timeout = "1h"
stream_lifetime = "1d"
drain_timeout = "0s"

[auth]
require = ["mtls", "signature"]

[auth.signature]
schemes = ["hmac-sha256", "rfc9421", "article"]
max_age = "2m"

[auth.oauth]
issuer = "https://login.example.com/"
audience = "https://mcp.example.com:8443/mcp"
sender_constrained = false
scopes = ["mcp"]
method_scopes = { read = "mcp:read", write = "mcp:write" }
algorithms = ["ES256", "EdDSA"]
token_types = ["at+jwt", "JWT"]
jwks_url = "https://login.example.com/keys"
networks = ["10.1.0.0/16"]
ca = "pki/login-ca.pem"
timeout = "3s"
clock_skew = "10s"
dpop_max_age = "30s"
dpop_nonce = true

[auth.oauth.introspection]
client_id = "mcp-gateway"
client_secret = { file = "secrets/introspection" }
url = "https://login.example.com/introspect"
cache = "10s"
all_tokens = true

[secrets]
refresh = "1m"
overlap = "15m"

[secrets.vault]
address = "https://vault.example.com:8200"
namespace = "team/agents"
ca = "pki/vault-ca.pem"
token = { file = "secrets/vault-token" }
timeout = "3s"

[secrets.vault.approle]
role_id = "6b1f6a2e"
secret_id = { file = "secrets/secret-id" }
mount = "approle"

[secrets.vault.kubernetes]
role = "mcpsec"
mount = "kubernetes"
token_file = "token"

[secrets.aws]
region = "eu-central-1"
endpoint = "https://secrets.example.com"

[log]
file = "/var/log/mcpsec/events.jsonl"
fsync = "event"
on_full = "drop"
buffer = "2MiB"
checkpoint_events = 500
checkpoint_age = "2s"
rotate_size = "10MiB"
rotate_age = "1d"
keep_parts = 30
keep_age = "90d"
compress = false
arguments = { "tickets/get_*" = ["project", "query.limit"] }

[alerts]
disable = ["new-hour"]
cooldown = "30m"

[[alerts.channels]]
webhook = "https://hooks.example.com/mcpsec"
secret = { env = "HOOK_SECRET" }
key_id = "gateway"
ca = "pki/hooks.pem"
severity = "high"
rules = ["breaker-open", "log-trouble"]

[[alerts.channels]]
slack = { file = "secrets/slack-url" }

[[alerts.channels]]
syslog = "tls://siem.example.com:6514"

[[alerts.channels]]
command = ["/usr/local/bin/page", "--now"]

[alerts.thresholds]
authentication_failures = 10
authentication_window = "10m"
rate_limit_hits = 50
rate_limit_window = "2m"
certificate_days = [60, 14, 2]

[alerts.learning]
period = "14d"
requests = 1000
rate_factor = 2.5
clients = 100
resources = 64

[opentelemetry]
endpoint = "https://collector.example.com:4318"
headers = { x-tenant = "mcp", authorization = { env = "OTLP_TOKEN", prefix = "Bearer " } }
ca = "pki/collector.pem"
service_name = "mcp-gateway"
traces = true
metrics = false
sample = 0.25
interval = "1m"

[state]
url = "rediss://state.example.com:6380/2"
username = "gateway"
password = { env = "STATE_PASSWORD" }
ca = "pki/state-ca.pem"
prefix = "edge"
timeout = "100ms"
on_failure = "refuse"
handle_key = { file = "secrets/handles.key" }

[pins]
file = "mcpsec.pins.toml"
on_change = "block"
recheck = "1m"
validate_arguments = false

[upstreams.files]
secrets = "block"
error_details = "pass"
command = ["./bin/files", "--root", "/data"]
cwd = "work"
environment = { LOG_LEVEL = "info", API_TOKEN = { file = "secrets/api" } }
timeout = "1m"
connect_timeout = "20s"
in_flight = 8

[upstreams.files.timeouts]
"index_*" = "10m"

[upstreams.files.breaker]
enabled = true
failure_ratio = 0.25
slow_call = "5s"
slow_ratio = 1
minimum_calls = 10
window = "1m"
open_for = "20s"
probes = 3

[upstreams.files.sandbox]
read = ["/data", "shared"]
write = ["scratch"]
network = false
memory = "1GiB"
processes = 64
user = "nobody"

[upstreams.tickets]
url = "https://tickets.example.com/mcp"
headers = { Authorization = { env = "TICKETS_TOKEN", prefix = "Bearer " }, x-team = "web" }
ca = "pki/tickets-ca.pem"

[upstreams.tickets.access]
"get_*" = "read"
"delete_*" = "write"

[upstreams.tickets.rate_limits]
"delete_*" = { rate = "5/minute", burst = 1 }

[upstreams.try]
builtin = "demo"

[upstreams.own]
app = "tickets.server:mcp"
app_dir = "src"

[roles.reader]
allow_resources = ["tickets/get_*", "files/resource:file:///data/*", "*/prompt:*"]
allow_methods = ["read"]
allow_server_requests = ["sampling"]
until = "2030-12-31T18:00:00+01:00"
upstream_headers = { tickets = { X-Team = "readers" } }
upstream_environment = { files = { LOG_LEVEL = "debug" } }

[roles.reader.resource_filters]
"tickets/get_ticket".project = ["WEB", "API-*", 7, true]
"tickets/get_ticket"."page.size" = { min = 1, max = 50.5 }
"tickets/get_ticket".key = { regex = "[A-Z]+-[0-9]+" }

[[clients]]
id = "reporting"
certificate = { san = "spiffe://example.com/agent/reporting" }
signing_keys = [
  { id = "reporting-1", secret = { command = ["op", "read", "op://x/y/z"], encoding = "hex" } },
  { id = "reporting-2", public_key = "keys/reporting.pem" },
]
roles = ["reader"]
allow_resources = ["files/read_*"]
allow_methods = ["write"]
allow_server_requests = ["roots"]
until = "2030-06-30T00:00:00Z"
upstream_headers = { tickets = { authorization = { env = "REPORTING_TOKEN", prefix = "Bearer " } } }
upstream_environment = { files = { API_TOKEN = { file = "secrets/reporting-api" } } }
rate_limit = { rate = "10/second", burst = 30 }

[clients.resource_filters]
"files/read_file".path = ["/data/public/*"]

[[clients]]
id = "ci"
require = ["mtls", "bearer"]
oauth = { subject = "ci", client_id = "ci-app" }
signing_keys = [{ id = "ci-1", secret = { env = "CI_KEY", encoding = "base64url" } }]
[clients.certificate]
sha256 = "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99"

[[rules]]
resources = ["tickets/delete_*"]

[rules.require]
certificate_sha256 = ["aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899"]
window = "Sun 02:00-04:00 Europe/Berlin"
networks = ["10.0.0.0/8", "2001:db8::/32"]
confirmation_header = "X-Confirm-Delete"

[approval]
secret = { file = "secrets/approval.key" }
max_age = "30m"

[[audit.targets]]
url = "https://staging.example.com:8443/mcp"
allow_load = true
"""
"""Every key there is, once at least."""
