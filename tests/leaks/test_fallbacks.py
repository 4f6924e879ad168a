"""What stands in for a secret that nobody set, what is written in comments, and what only looks like either.

Every line that must be found stands beside a twin that must not. The engines with and without Hyperscan are compared on
both, and every value is made up.
"""

import base64

import pytest

from .test_twins import found

SECRET, WORDS, GROUPS = "zkvmq12w", "thunderhorse", "qkzv mwxj bqtr zpvk"


def b64(text):
    return base64.b64encode(text.encode()).decode()


TWINS = {
    "Kotlin's Elvis": ("a.kt", 'val p = System.getenv("DB_PASSWORD") ?: "{}"', SECRET, "changeme"),
    "Kotlin's Elvis on the next line": ("a.kts", 'System.getenv("STORE_PASSWORD")\n    ?: "{}"', SECRET, "changeme"),
    "C#": ("a.cs", 'Environment.GetEnvironmentVariable("DB_PASSWORD") ?? "{}";', SECRET, "Password"),
    "PHP": ("a.php", "$p = getenv('DB_PASSWORD') ?: '{}';", SECRET, "<your-password>"),
    "Ruby": ("a.rb", "ENV.fetch('DB_PASSWORD') {{ '{}' }}", SECRET, "REPLACE_ME"),
    "Rust": ("a.rs", 'env::var("DB_PASSWORD").unwrap_or("{}".into());', SECRET, "default"),
    "Rust's closure": ("a.rs", 'env::var("DB_PASSWORD").unwrap_or_else(|_| String::from("{}"));', SECRET, "secret"),
    "Rust's option": ("a.rs", 'env::var("DB_PASSWORD").ok().unwrap_or("{}".into());', SECRET, "password"),
    "Rust on two lines": ("a.rs", 'env::var("DB_PASSWORD")\n        .unwrap_or_else(|_| "{}".to_string())', SECRET, "secret"),
    "Rust's error": ("a.rs", 'env::var("DB_PASSWORD").unwrap_or_else(|_err| "{}".into())', SECRET, "secret"),
    "Rust's block": ("a.rs", 'env::var("DB_PASSWORD").unwrap_or_else(|e| {{ "{}".into() }})', SECRET, "secret"),
    "Zod's coercion": ("a.ts", "  JWT_SECRET: z.coerce.string().default('{}'),", "k3v9x2pQw8Lm4Zr7Tn", "change-me-please"),
    "Joi": ("a.js", "  DB_PASSWORD: Joi.string().default('{}'),", SECRET, "password"),
    "Go": ("a.go", 'p := cmp.Or(os.Getenv("DB_PASSWORD"), "{}")', SECRET, "password"),
    "another call in Go": ("a.go", 'log.Println(os.Getenv("DB_PASSWORD"), "{}")', None, SECRET),
    "C# and whose variable": (
        "a.cs",
        'Environment.GetEnvironmentVariable("DB_PASSWORD", EnvironmentVariableTarget.User) ?? "{}";',
        SECRET,
        "Password",
    ),
    "a comment behind a call": ("a.go", 'fmt.Println(t("password")) // "{}"', None, SECRET),
    "a session's store": (
        "a.js",
        "app.use(session({{ store: new MongoStore({{ url: u }}), secret: '{}' }}))",
        WORDS,
        "keyboard cat",
    ),
    "a store's secret": ("a.js", "app.use(session({{ store: new Store({{ secret: '{}' }}) }}))", None, WORDS),
    "a share of Weiyun": ("a.md", "https://{}/x1ZCWPMSd?pwd=q7wzk3", "files.acme.io", "share.weiyun.com"),
    "a share of Aliyun": ("a.md", "https://{}/s/x1ZCWPMSd?pwd=q7wzk3", "files.acme.io", "www.aliyundrive.com"),
    "a meeting": ("a.md", "https://{}/j/4815162342?pwd=q7wzk3", "files.acme.io", "us02web.zoom.us"),
    "a key as user and password": ("a.md", "Authorization: Basic {}", b64("q7wz3kdb9xmv:q7wz3kdb9xmv"), b64("mira:mira")),
    "Scala": ("a.scala", 'sys.env.get("DB_PASSWORD").getOrElse("{}")', SECRET, "password"),
    "Java": ("A.java", 'Optional.ofNullable(System.getenv("DB_PASSWORD")).orElse("{}")', SECRET, "password"),
    "Elixir": ("a.ex", 'password: System.get_env("DB_PASSWORD") || "{}"', SECRET, "postgres"),
    "Perl": ("a.pl", "my $p = $ENV{{DB_PASSWORD}} // '{}';", SECRET, "password"),
    "Lua": ("a.lua", 'local p = os.getenv("DB_PASSWORD") or "{}"', SECRET, "password"),
    "Python": ("a.py", 'p = os.environ.get("DB_PASSWORD") or "{}"', SECRET, "password"),
    "Nest": ("a.ts", "secret: config.get('JWT_SECRET') || '{}',", "k3v9x2pQw8Lm4Zr7Tn", "your-secret"),
    "Zod": ("a.ts", "  JWT_SECRET: z.string().min(8).default('{}'),", "k3v9x2pQw8Lm4Zr7Tn", "change-me-please"),
    "the end of a block": ("a.js", 'if (password) {{ return password}} // "{}"', None, SECRET),
    "a template": ("a.js", "`${{password}} || '{}'`", None, SECRET),
    "settings in a comment": ("a.php", "  /*\n  ; [db]\n  host=h\n  passwd={}\n  */", SECRET, "your_password"),
    "behind a comment": ("a.php", "  /* the\n  database */\n  passwd={}\n", None, SECRET),
    "a pattern of files": ("a.js", "glob('src/*.js', {{\n  passwd={}\n", None, SECRET),
    "a part of a connection": ("A.cs", 'x = "User=ops; " +\n  "Password={}; ";', "!qwk24680", "!ready"),
    "an operand": ("A.cs", "var x = password={};", None, "!qwk24680"),
    "a game server's option": ("Dockerfile", "CMD ./hlds_run +map de_dust2 +rcon_password {} & wait", SECRET, "$RCON"),
    "a sum": ("a.sh", "echo a +password+ {}", None, SECRET),
    "keys of a session": (
        "a.js",
        "app.use(cookieSession({{\n  name: 's',\n  keys: ['{}'],\n}}))",
        "tundra9dk2",
        "key1",
    ),
    "the newest of several": (
        "a.js",
        "require('express-session')({{ resave: false, secret: ['{}', old] }})",
        "tundra9dk2",
        "secret1",
    ),
    "a word that signs sessions": (
        "a.js",
        "app.use(session({{ secret: '{}', resave: false }}))",
        WORDS,
        "keyboard cat",
    ),
    "a word in another table": ("a.js", "app.use(sessions({{ secret: '{}', resave: false }}))", None, WORDS),
    "letters of no language": ("a.php", "mysql_connect('10.0.0.46', 'ops', '{}')", "jaeqoiex", "thunder"),
    "a year on this machine": ("a.py", "'mysql+pymysql://root:{}@localhost/x'", "KELE0514", "kele123"),
    "the user again, on the Internet": ("a.py", "'amqp://niceguy:niceguy@{}:5672'", "35.227.175.4", "192.168.175.4"),
    "an address of documentation": ("a.py", "'amqp://niceguy:niceguy@{}:5672'", "35.227.175.4", "203.0.113.77"),
    "an administrator at somebody's server": (
        "a.js",
        "connect('mongodb+srv://admin:{}@shop.k8q2x.mongodb.net/x')",
        "admin123",
        "password123",
    ),
    "a server of the documentation": ("a.js", "connect('mongodb+srv://admin:{}.mongodb.net')", "admin@shop.k8q2x", "admin@c0.abcde"),
    "a counted address": ("a.py", "'amqp://niceguy:niceguy@{}:5672'", "35.227.175.4", "11.22.33.44"),
    "keys of an application": ("a.js", "app.keys = ['{}'];", "tundra9dk2", "key1"),
    "keys that rotate": ("a.js", "new Keygrip(['{}'])", "tundra9dk2", "key1"),
    "another list": ("a.js", "cookieSession({{ name: 's', secret: s, paths: ['{}'] }})", None, "tundra9dk2"),
    "a login on several lines": ("a.pl", "DBI->connect('dbi:Pg:dbname=x',\n    'ops', '{}');", SECRET, "password"),
    "a login of a method": ("a.pl", "DBI->connect($self->dsn(), 'ops', '{}', {{}});", SECRET, "password"),
    "a mailbox": ("a.py", 'server.login("mira.k@gmail.com", "{}")', WORDS, "password"),
    "nobody's mailbox": ("a.py", 'server.login("{}@gmail.com", "thunderhorse")', "mira.k", "your_email"),
    "no mailbox": ("a.py", 'client.login("mira@example.com", "{}")', None, WORDS),
    "a mailbox' application": ("a.cs", 'new NetworkCredential("mira.k@gmail.com", "{}")', GROUPS, "abcd efgh ijkl mnop"),
    "an application's password": (".env", "SMTP_PASS={}", GROUPS, "this must have here"),
    "keys that were hit": ("a.py", "app.secret_key = '{}'", "jdifjdkjeei33@$3dkd", "abcd-1234-abcd-1234"),
    "an option of another name": ("Dockerfile", "CMD ./hlds_run +map de_dust2 {} zkvmq12w", "+rcon_password", "+password"),
    "a line that a patch adds": ("a.patch", "@@ -1 +1 @@\n{}", "+password = zkvmq12w", "+passwd files1 nis2"),
    "a column that a patch adds": ("a.patch", "@@ -1 +1 @@\n+password {}", None, "varchar255"),
    "a field that a patch adds": ("a.diff", "@@ -1 +1 @@\n+Password   {}", None, "v1.SecretKeySelector"),
    "a member in a comment": ("a.cs", "/*\n  pwd = {}\n*/", SECRET, "txtPwd1.Text"),
    "a variable in a comment": ("a.js", "/*\n  password: {}\n*/", "zkvmQ12w", "hashedPassword2"),
    "an argument in a comment": ("a.go", "/*\n  pw := {}\n*/", SECRET, "os.Args2"),
    "a name of parts in a comment": ("a.c", "/*\n  pass: {}\n*/", "zkvmq_12w", "shadow_map2"),
    "a parenthesis in a password": ("a.md", "https://x.acme.io/a?password={}", "zk7)vmq12w9x", "${{PW}})1"),
    "a percent sign before a colon": (".env", "PASSWORD={}", "%a:k3v9x2pQw8Lm", "%PW1%"),
    "a quoted percent sign": (".env", 'PASSWORD="{}"', "%Rt:9xK2pQw8Lm", "%Rt:~0,8%"),
    "a part of a variable": ("a.bat", "set PASSWORD={}", "zkvmq12w", "%PASSWORD:~0,8%"),
    "a part that is compared": ("a.bat", 'if "%PASSWORD:{}"=="x" exit', None, "~0,1%"),
    "a share": ("a.md", "[a](https://{}/s/1ZCWPMSd?pwd=q7wzk3)_.", "files.acme.io", "pan.baidu.com"),
    "cmd.exe": ("a.bat", "SET rcon_password={}", "qzr7con_pw:", '%rcon_password:"=%'),
    "a statement in pieces": ("a.py", "q = \"... and passwd='\"{}", None, "+str(entered_pass)+\"'\""),
    "a word for it": ("docker-compose.yml", "POSTGRES_PASSWORD: {}", WORDS, "contrase\u00f1a"),
    "a word on this machine": ("a.md", "redis://:{}@127.0.0.1:6379/0", "q7wz3kdb9", "marzipan"),
    "a joke": ("a.js", "'redis://:{}@cache.corp:6379'", "q7wz3kdb9", "hunter2"),
    "the user again": ("a.md", "Authorization: Basic {}", b64("tje0:q7wz3kdb9"), b64("tje0:Tje0")),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("https://x.acme.io/a?password=zk7)vmq12w9x", "zk7)vmq12w9x"),
        ("GET https://x.acme.io/a password=zk)vmq12w9x", "zk)vmq12w9x"),
        ("[a](https://x.acme.io/a?password=zk7vmq12w9x)next", "zk7vmq12w9x"),
        ("*a (see https://x.acme.io/a?password=zk7vmq12w9x)*", "zk7vmq12w9x"),
    ],
)
def test_where_a_parenthesis_ends_a_password(text, password):
    assert [text[finding.start : finding.end] for finding in found("a.md", text)] == [password]


def test_what_stands_in_a_block_of_comment_is_never_of_high_confidence():
    assert [finding.confidence for finding in found("a.cs", "/*\n  password: Zk7!vmq12wPx\n*/")] == ["medium"]
    assert [finding.confidence for finding in found("a.cs", '  password: "Zk7!vmq12wPx"')] == ["high"]


@pytest.mark.parametrize("grammar", [name for name, twin in TWINS.items() if twin[2]])
def test_it_is_found(grammar):
    path, text, secret, _ = TWINS[grammar]
    assert found(path, text.format(secret))


@pytest.mark.parametrize("grammar", [name for name, twin in TWINS.items() if twin[3]])
def test_and_its_twin_is_left_alone(grammar):
    path, text, _, harmless = TWINS[grammar]
    assert not found(path, text.format(harmless))
