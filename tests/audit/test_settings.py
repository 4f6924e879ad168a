"""One setting in one file, and what the audit says of it: what the longer tables and corpora do not hold."""

from __future__ import annotations

import json

import pytest

from mcpsec.deployment.scaffold import create
from tests.audit.helpers import judged, of_text

WORD = "7f3c9a1e" + "5b2d8f4a6c0e"
"""A value that is secret under the name of one."""
UNSAFE = "NODE_TLS_REJECT_UNAUTHORIZED"


def entry(**table):
    return json.dumps({"mcpServers": {"a": table}})


def service(text):
    return f"services:\n  a:\n    image: acme/mcp:1.0\n    {text}\n"


def pod(container, spec=""):
    return (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: mcp-server}\n"
        f"spec: {{{spec}containers: [{{name: mcp, image: 'acme/mcp:1.0', {container}}}]}}\n"
    )


def unit(text):
    return f"[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/mcp-server\n{text}\n"


def traefik(text):
    return f"http:\n  routers:\n    a:\n      rule: x\n      service: s\n{text}"


def haproxy(bind, more=""):
    return f"defaults\n mode http\nfrontend mcp\n bind {bind}\n {more}\n default_backend b\nbackend b\n server s 127.0.0.1:1\n"


def nginx(text):
    return f"events {{}}\nhttp {{ server {{ listen 443 ssl; location /mcp {{ proxy_pass http://127.0.0.1:1; }} {text} }} }}\n"


SECRETS = [
    (".mcp.json", entry(command="x", args=["--api-key", WORD]), "SEC001", "fail", "--api-key is written out"),
    (".mcp.json", entry(command="x", args=["--api-key", "${KEY}"]), "SEC001", "pass", "no secret"),
    (".mcp.json", entry(command="x", args=["--header", f"X-Api-Key: {WORD}"]), "SEC001", "fail", "X-Api-Key"),
    (".mcp.json", entry(command="x", args=[f"http://me:{WORD}@h.example/"]), "SEC001", "fail", "a URL with a password"),
    (".mcp.json", entry(url=f"https://me:{WORD}@h.example/"), "SEC001", "fail", "the URL holds a password"),
    (".mcp.json", entry(url="https://[bad/"), "SEC001", "pass", "no secret"),
    (".mcp.json", entry(url=f"https://h.example/?api_key={WORD}"), "SEC004", "fail", "api_key carries a credential"),
    (".mcp.json", entry(url="https://h.example/", apiKey=WORD), "SEC001", "fail", "apiKey is written out"),
    (".mcp.json", entry(command="docker", args=["run", "-e", f"API_KEY={WORD}", "i"]), "SEC001", "fail", "API_KEY"),
    (".mcp.json", entry(command="x", env={"DB_URL": f"pg://me:{WORD}@h/db"}), "SEC001", "fail", "a URL with a password"),
    ("compose.yaml", service(f"build: {{context: ., args: {{API_TOKEN: {WORD}}}}}"), "SEC001", "fail", "API_TOKEN"),
    ("compose.yaml", service("environment: {API_TOKEN: '${T}'}"), "SEC002", "fail", "comes by environment"),
    ("x.yaml", pod(f"env: [{{name: API_KEY, value: {WORD}}}]"), "SEC001", "fail", "API_KEY is written out"),
    ("x.yaml", f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{api_key: {WORD}}}\n", "SEC001", "fail", "api_key"),
    ("x.yaml", f"apiVersion: v1\nkind: Secret\nmetadata: {{name: c}}\nstringData: {{x: {WORD}}}\n", "SEC001", "fail", "x of a Secret"),
    ("x.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\ndata: {username: bWU=}\n", "SEC001", "pass", "no secret"),
    ("x.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\ndata: {x: 'no base64'}\n", "SEC001", "fail", "x of a Secret"),
    ("Dockerfile", f"FROM a:1\nENV API_TOKEN={WORD}\n", "SEC003", "fail", "ENV API_TOKEN"),
    ("Dockerfile", "FROM a:1\nARG API_TOKEN\n", "SEC003", "fail", "ARG API_TOKEN"),
    ("Dockerfile", "FROM a:1\nCOPY .env id_rsa /app/\n", "SEC003", "fail", "id_rsa is copied"),
    ("Dockerfile", "FROM a:1\nCOPY .env.example /app/\n", "SEC003", "pass", "no secret goes"),
    ("x.service", unit(f"Environment=API_KEY={WORD}"), "SEC001", "fail", "API_KEY is written out"),
    (".env", f"export API_KEY={WORD}\n", "SEC001", "fail", "API_KEY is written out ("),
    (".env.example", f"API_KEY={WORD}\n", "SEC001", "not-applicable", "an example file"),
    (".mcp.json", f'{{"mcpServers": {{}}, "note": "ghp_16C7e42F292c6912E7710c838347{"Ae178B4a"}"}}', "SEC001", "fail", "GitHub personal"),
]  # fmt: skip
TLS = [
    (".mcp.json", entry(url="http://mcp.example.com/mcp"), "TLS012", "fail", "plain HTTP to mcp.example.com"),
    (".mcp.json", entry(url="http://127.0.0.1/mcp"), "TLS012", "pass", "or this machine"),
    (".mcp.json", entry(url="http://api.localhost/mcp"), "TLS012", "pass", "or this machine"),
    (".mcp.json", entry(command="x", args=["https://h.example/", "--allow-http"]), "TLS012", "fail", "--allow-http"),
    (".mcp.json", entry(url="https://h.example/", verifySsl=False), "TLS012", "fail", "verifySsl: false"),
    (".mcp.json", entry(url="https://h.example/", skipTlsVerify=True), "TLS012", "fail", "skipTlsVerify: true"),
    (".mcp.json", entry(command="x", env={UNSAFE: "0"}), "TLS012", "fail", f"{UNSAFE}=0"),
    (".mcp.json", entry(command="x", env={f"ACME_{UNSAFE}": "0"}), "TLS012", "fail", "switches verification off"),
    ("compose.yaml", service(f"environment: {{{UNSAFE}: '0'}}"), "TLS012", "fail", f"{UNSAFE}=0"),
    ("compose.yaml", service("command: [curl, --insecure]"), "TLS012", "fail", "--insecure"),
    ("x.yaml", pod(f"env: [{{name: {UNSAFE}, value: '0'}}]"), "TLS012", "fail", UNSAFE),
    ("Dockerfile", f"FROM a:1\nENV {UNSAFE}=0\n", "TLS012", "fail", UNSAFE),
    ("x.service", unit(f"Environment={UNSAFE}=0"), "TLS012", "fail", UNSAFE),
    ("haproxy.cfg", haproxy("127.0.0.1:1"), "TLS011", "not-applicable", "this machine only"),
    ("haproxy.cfg", haproxy(":443 ssl crt a.pem verify required"), "TLS011", "fail", "without a ca-file"),
    ("haproxy.cfg", haproxy(":443 ssl crt a.pem ssl-min-ver TLSv1.0"), "TLS006", "fail", "TLSv1.0 accepted"),
    ("haproxy.cfg", haproxy(":443 ssl crt a.pem force-tlsv10"), "TLS006", "fail", "force-tlsv10 accepted"),
    ("haproxy.cfg", haproxy(":80", "redirect scheme https"), "TLS011", "not-applicable", "only redirects"),
    ("traefik.yaml", traefik("tls: {options: {default: {minVersion: VersionTLS11}}}\n"), "TLS006", "fail", "VersionTLS11"),
    ("traefik.yaml", traefik("      entryPoints: [websecure]\n"), "TLS011", "manual", "may end the TLS"),
    ("traefik.yaml", traefik("      entryPoints: [web]\n"), "TLS011", "fail", "from plain HTTP"),
    ("traefik.yaml", traefik("      tls: {options: strict@file}\n"), "TLS011", "manual", "options strict stand elsewhere"),
    ("traefik.yaml", traefik("      middlewares: [r]\n  middlewares: {r: {redirectScheme: {scheme: https}}}\n"), "TLS011",
     "not-applicable", "only redirects"),
    ("traefik.toml", '[tls.options.strict.clientAuth]\nclientAuthType = "RequireAnyClientCert"\n', "TLS011", "fail",
     "without caFiles"),
]  # fmt: skip
BOUNDS = [
    ("compose.yaml", service("network_mode: host"), "DEP001", "fail", "host"),
    ("compose.yaml", service("security_opt: [seccomp:unconfined]"), "DEP002", "fail", "seccomp:unconfined"),
    ("compose.yaml", service("cap_add: [SYS_ADMIN]"), "DEP002", "fail", "capability SYS_ADMIN"),
    ("compose.yaml", service("cap_add: [NET_BIND_SERVICE]"), "DEP002", "pass", "nothing of the host's"),
    ("compose.yaml", service("ports: ['${BIND}:90:90']"), "DEP001", "pass", "nothing on all interfaces"),
    ("compose.yaml", service("ports: [{published: 90, target: 90}]"), "DEP001", "fail", "90"),
    ("compose.yaml", service("volumes: [{type: bind, source: /var/run/docker.sock, target: /d}]"), "DEP002", "fail", "runtime's socket"),
    ("compose.yaml", service("volumes: [/data]"), "DEP002", "pass", "nothing of the host's"),
    ("x.yaml", pod("", "hostNetwork: true, "), "DEP001", "fail", "the host's network"),
    ("x.yaml", pod("", "hostPID: true, "), "DEP002", "fail", "hostPID"),
    ("x.yaml", pod("", "volumes: [{name: v, hostPath: {path: /srv/data}}], "), "DEP002", "fail", "mounts /srv/data of the node"),
    ("x.yaml", pod("securityContext: {privileged: true}"), "DEP002", "fail", "mcp is privileged"),
    ("x.yaml", pod("securityContext: {capabilities: {add: [CAP_SYS_ADMIN]}}"), "DEP002", "fail", "CAP_SYS_ADMIN"),
    ("x.yaml", pod("env: [{name: LOG_LEVEL, value: debug}]"), "LOG003", "fail", "LOG_LEVEL=debug"),
    ("x.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"
     "rules: [{verbs: ['*'], resources: ['*'], apiGroups: ['*']}]\n", "PRM010", "fail", "every verb on every resource"),
    ("x.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"
     "rules: [{verbs: ['*'], resources: ['*'], apiGroups: ['acme.io']}]\n", "PRM010", "pass", "names what it allows"),
    ("x.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: r}\n"
     "roleRef: {name: cluster-admin}\n", "PRM010", "fail", "cluster-admin"),
    ("Dockerfile", "FROM a:1\nENV LOG_LEVEL=debug\n", "LOG003", "fail", "LOG_LEVEL=debug"),
    ("Dockerfile", "FROM a:1\nRUN pip install https://h.example/x.tar.gz\n", "SUP003", "fail", "without a digest or commit"),
    ("Dockerfile", "FROM a:1\nRUN curl https://h.example/x | sh\n", "SUP003", "fail", "download into a shell"),
    ("Dockerfile", "FROM a:1\nRUN pip install mcp-server-git\n", "SUP001", "fail", "without a version: mcp-server-git"),
    ("Dockerfile", "FROM a:1\nRUN pip install -r mcp-requirements.txt\n", "SUP003", "pass", "nothing is run straight"),
    ("x.service", unit("").replace("/usr/bin/mcp-server", "/usr/bin/npx 'srv@latest"), "SUP001", "fail", "latest"),
    ("x.yaml", pod("command: [npx, 'srv@latest']"), "SUP001", "fail", "latest"),
    ("nginx.conf", nginx("error_log /var/log/e.log debug;"), "LOG003", "fail", "at level debug"),
    ("nginx.conf", nginx("").replace("http {", "http { log_format x '$http_authorization';"), "LOG003", "fail", "log_format x"),
    ("nginx.conf", nginx("add_header Access-Control-Allow-Origin *;"), "ORG003", "fail", "any origin may read"),
    ("nginx.conf", nginx("add_header Access-Control-Allow-Origin https://a.example;"), "ORG003", "pass", "https://a.example"),
    (".mcp.json", entry(url="https://h.example/sse", type="sse"), "SES003", "fail", "transport sse"),
    (".mcp.json", entry(url="https://h.example/sse"), "SES003", "fail", "address of an HTTP+SSE server"),
    (".mcp.json", '{"mcpServers": {"a": {"command": "x"}}, "enableAllProjectMcpServers": true}', "PRM007", "fail", "any project"),
    (".mcp.json", '{"mcpServers": {"a": {"command": "x"}}, "permissions": {"allow": ["Read", "Bash(*)"]}}', "PRM007", "fail",
     "Bash(*) is allowed unasked"),
    ("compose.yaml", service("environment: {DATABASE_URL: 'postgres://postgres:x@db/t'}"), "PRM008", "fail", "postgres"),
    ("compose.yaml", service("environment: {DB: 'Server=db;Database=t;User Id=sa;Password=x'}"), "PRM008", "fail", "sa"),
]  # fmt: skip


ALL = [*SECRETS, *TLS, *BOUNDS]


@pytest.mark.parametrize(
    ("name", "text", "check", "state", "words"), ALL, ids=[f"{n} {row[0]} {row[2]}" for n, row in enumerate(ALL)]
)
def test_one_setting(name, text, check, state, words, tmp_path):
    found = of_text(tmp_path, name, text, select=[check])
    told = [(str(each.state), each.observed) for each in found.results]
    assert any(each == state and words in said for each, said in told), told
    if state == "fail":
        assert all(each.location.line for each in found.results if each.state == "fail")
    assert WORD not in str(told)


SHAPES = [
    ({"servers": [{"name": "a", "command": "x"}]}, ["a"]),
    ({"mcpServers": {"a": {"transport": {"type": "http", "url": "https://h.example/"}}}}, ["a"]),
    ({"mcpServers": {"mcpServers": {"a": {"command": "x"}}}}, ["a"]),
    ({"projects": [{"mcpServers": {"a": {"command": {"path": "x", "args": ["y"]}}}}]}, ["a"]),
    ({"mcpServers": {"a": {"cmd": "x y", "args": "z --w"}}}, ["a"]),
    ({"mcpServers": {"a": {"command": ["x", "y"], "env": ["K=v", "bare"]}}}, ["a"]),
    ({"mcpServers": {"a": {"url": "https://h.example/", "requestInit": {"headers": {"X": "1"}}}}}, ["a"]),
    ({"mcpServers": {"a": {"description": "no server"}}}, []),
    ({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"mcpServers": {"a": {"command": "x"}}}}}}}}}}}, []),
]


@pytest.mark.parametrize(("document", "names"), SHAPES)
def test_where_clients_keep_their_servers(document, names):
    from mcpsec.audit.readers.clients import servers
    from mcpsec.clientfiles.positions import json_document

    found = servers(json_document(json.dumps(document)))
    assert [each.name for each in found] == names
    for each in found:
        assert all(isinstance(word, str) for word in each.command) and len(each.command) == len(each.places)
        assert each.command[:2] in ([], ["x"], ["x", "y"])
        assert set(each.environment) <= {"K"} and set(each.headers) <= {"X"}


GRANT = 'allow_resources = ["demo/*"]\nallow_methods = ["read"]'
ROLES = 'roles = ["demo"]'
DEPLOYED = [
    ('require = ["mtls", "signature"]', 'require = ["signature"]', "TLS010", "fail", "mtls is not required"),
    ('require = ["mtls", "signature"]', "require = []", "AUT001", "fail", "nothing is required of a request"),
    ('require = ["mtls", "signature"]', 'require = ["mtls"]', "SIG001", "fail", "need no signature"),
    ('require = ["mtls", "signature"]', 'require = ["mtls", "bearer"]', "SIG001", "not-", ""),
    ('max_age = "5m"', 'max_age = "1h"', "SIG005", "fail", "is good for 3600 s"),
    ('["hmac-sha256", "rfc9421"]', '["article", "hmac-sha256"]', "SIG005", "fail", "the weak scheme article"),
    ("[log]", '[server.limits]\nbody_timeout = "5m"\n[log]', "TMO001", "fail", "body_timeout is 300 s"),
    ("[log]", '[server.limits]\nrate_limit = "100000/minute"\n[log]', "RTE001", "fail", "more than 1,000 a minute"),
    ("[log]", '[upstreams.o]\nurl = "http://mcp.example.com/mcp"\n[log]', "TLS013", "fail", "plain HTTP to mcp.example.com"),
    ("[log]", '[upstreams.o]\nurl = "http://127.0.0.1:1/mcp"\ntimeout = "10m"\n[log]', "TMO001", "fail", "timeout is 600 s"),
    ("[log]", '[upstreams.o]\nurl = "http://127.0.0.1:1/mcp"\nsecrets = "pass"\n[log]', "SEC006", "fail", "are passed on"),
    ("[log]", '[upstreams.o]\nurl = "http://127.0.0.1:1/mcp"\nerror_details = "pass"\n[log]', "ERR001", "fail", "as they are"),
    (GRANT, 'allow_resources = ["*/*"]\nallow_methods = ["read"]', "PRM001", "fail", "*/* grants everything there is"),
    (GRANT, 'allow_resources = ["*/echo"]\nallow_methods = ["write"]', "PRM001", "fail", "holds for every upstream"),
    (GRANT, 'allow_resources = ["demo/*"]\nallow_methods = ["write"]', "PRM001", "fail", "grants all that demo can do"),
    (GRANT, 'allow_resources = ["*/*"]', "PRM001", "pass", "granted by name"),
    (ROLES, f"{ROLES}\nrequire = []", "DEP005", "fail", "must not be empty"),
    (ROLES, f'{ROLES}\nrequire = ["mtls"]', "SIG001", "fail", "this client needs mtls only"),
    (ROLES, f'{ROLES}\nrequire = ["signature"]', "TLS010", "fail", "mtls is not required of this client"),
    ('client_ca = "pki/client-ca.pem"', 'client_ca = "pki/server/gateway/chain.pem"', "TLS010", "fail", "that is no CA"),
    ('client_ca = "pki/client-ca.pem"', 'client_ca = "pki/client-ca.crl"', "TLS010", "fail", ""),
    ("allowed_origins = []", 'allowed_origins = ["null"]', "DEP005", "fail", "is not an origin"),
    ("allowed_origins = []", 'allowed_origins = ["https://*.example.com"]', "DEP005", "fail", "is not an origin"),
    ('listen = "127.0.0.1:9464"', 'listen = "0.0.0.0:9464"', "MON001", "fail", ""),
    ('listen = "127.0.0.1:9464"', 'listen = "10.1.2.3:9464"', "MON001", "", "10.1.2.3:9464"),
    ('[server.admin]\nlisten = "127.0.0.1:9464"', "", "MON001", "fail", "no listener for metrics"),
    ('crl = "pki/client-ca.crl"', "", "TLS014", "fail", "a stolen certificate stays good"),
    ('crl = "pki/client-ca.crl"', 'crl = "pki/client-ca.pem"', "TLS014", "fail", "the revocation list"),
    ("certificate = \"pki/server/gateway/chain.pem\"", "certificate = \"pki/client-ca.pem\"", "CRT005", "", ""),
    ("[upstreams.demo]\nbuiltin", "[pins]\nfile = 'mcpsec.pins.toml'\n[upstreams.demo]\nbuiltin", "TOL004", "pass", "definitions are pinned"),
    ("[log]", '[upstreams.o]\nurl = "http://127.0.0.1:1/mcp?api_key=7f3c9a1e5b2d"\n[log]', "SEC004", "fail", "api_key carries a credential"),
]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A deployment as ``init`` writes it."""
    return create(tmp_path_factory.mktemp("deployed") / "d", ["agent"]).directory


@pytest.mark.parametrize(
    ("old", "new", "check", "state", "words"), DEPLOYED, ids=[f"{n} {row[2]}" for n, row in enumerate(DEPLOYED)]
)
def test_one_key_of_a_deployment(old, new, check, state, words, written):
    whole = (written / "mcpsec.toml").read_text()
    assert old in whole, whole
    changed = written / "changed.toml"
    changed.write_text(whole.replace(old, new, 1))
    try:
        found = judged(written, str(changed), select=[check])
    finally:
        changed.unlink()
    told = [(each.check, str(each.state), each.observed) for each in found.results]
    assert any(one == check and each.startswith(state) and words in said for one, each, said in told), told
