"""Passwords in places that have no name of their own: options of programs, SQL statements, calls, form fields.

``mysql -psecret``, ``IDENTIFIED BY 'secret'``, ``login("user", "secret")``: what tells them is the program or the call,
so each idiom is one expression with the value as its group. The judgement of the value is that of every other password.
"""

from __future__ import annotations

from mcpsec.leaks import calls, devices, logins
from mcpsec.leaks.calls import CHARACTERS, QUOTED, USER
from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import Match
from mcpsec.leaks.programs import is_code, is_fixed
from mcpsec.leaks.secrecy import (
    LOW,
    MEDIUM,
    ends_lines,
    is_chosen_word,
    is_joined_phrase,
    password_strength,
)
from mcpsec.leaks.values import is_placeholder, is_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["GATES", "REACH", "detect"]

REACH = 640
"""The longest that an idiom may be from its first word to its value's end."""
_VALUE = rf"(?:{QUOTED}|(?P<bare>[^\s\"'`<>|;&$(){{}},]{{4,128}}))"
_BARE = r"(?P<bare>[^\s\"'`<>|;&$(){},]{4,128})"
_LITERAL = r"(?P<bare>[^\s\"'`<>]{4,128})"
"""In a file of settings, where no shell takes a sign for its own."""
_LOGON = r"[\"']?\w{1,40}/(?P<bare>[^\s\"'`<>|;&(){},@/]{4,64})@(?://)?\w"
"""Oracle's user/password@database."""
_ACCOUNTS = (
    r"chpasswd:[ \t]*\r?\n(?:[ \t]+expire:[^\n]{1,12}\n)?[ \t]+list:[ \t]*(?:\|-?)?[ \t]*\r?\n[ \t]+(?:-[ \t]+)?"
)
"""cloud-init's list of accounts."""
_FLAGS = r"(?:-[a-z0-9]{1,6}[ \t]+){0,3}"
_BATCH = rf"{_FLAGS}-[a-z]{{0,6}}b[a-z]{{0,6}}[ \t]+{_FLAGS}"
"""Options of htpasswd, among them the one to take the password from the command line."""
_WORD = r"(?P<bare>[A-Za-z][\w$#]{3,127})"
_CERTAIN = r"[\"']?[^\s\"'-][^\s\"']{0,80}[\"']?[ \t]+"
_NAME = r"\w{0,40}(?:pass|secret|token|key|auth|cred)\w{0,24}"
_SNMP = r"snmp(?:walk|get|set|bulkwalk|bulkget|getnext|table|status|trap|inform|df)\b[^\n|;]{0,160}?[ \t]"
_LOGIN = r"[ \t]+(?:@\w{1,40}[ \t]*=[ \t]*)?N?'[^'\n]{1,64}'[ \t]*,[ \t]*(?:@\w{1,40}[ \t]*=[ \t]*)?N?"
_LINKED = r"(?:(?:N?'[^'\n]{1,64}'|null)[ \t]*,[ \t]*){4}(?:@rmtpassword[ \t]*=[ \t]*)?N?"
"""Server, whether logins are passed on, local and remote login, as in Microsoft's reference of the procedure."""
_EXPECT = r"ssword[^\n]{0,12}[\"'}][;\s{]{1,8}send[ \t]+(?:--[ \t]+)?\\?[\"'](?P<quoted>[^\"'\r\n\\$]{4,64})\\+r"
_READER = r"(?:sudo[ \t]+-s|(?:ch)?passwd\b|cryptsetup|[^\n|;]{1,120}[ \t]--password-stdin)"
_OPAQUE = r"(?P<bare>[\w-]{20,128})"
_ACCOUNT = r"[\"']ac[0-9a-f]{32}[\"'][ \t]*,[ \t]*[\"'](?P<quoted>[0-9a-f]{32})[\"']"
"""A Twilio account's SID and its auth token (https://www.twilio.com/docs/libraries)."""
_CIPHER = r"[\"'][\w-]{4,20}[\"'][ \t]*,[ \t]*"
_NAMED = ("password", "secret", "api_key", "apikey", "access_key", "accesskey", "secret_key", "_token")
_OBJECT = (
    r"\s{0,8}\{(?:\s{0,80}\"(?:type|sensitive)\"\s{0,2}:\s{0,2}\"?\w{1,20}\"?[ \t]?,){0,2}"
    r"\s{0,80}\"value\"\s{0,2}:\s{0,2}\"(?P<quoted>[^\"\r\n]{4,128})\""
)
"""A value with its type beside it: parameters of Azure's templates, outputs and state of Terraform."""
_EQUALS = r"[\w`\"]{1,30}[ \t]*=[ \t]*N?"
_WHERE = rf"[ \t]+where[ \t]+{_EQUALS}'{_NAME}'"
"""The row of a table of settings by its name."""
_OPTION, _SQL, _SECRET = "command-line-credentials", "generic-password", "generic-secret"

IDIOMS = (
    ("mysql", rf"mysql(?:dump|admin|import|sh)?\b[^\n|;]{{0,160}}?[ \t]-p{_VALUE}", _OPTION),
    ("sshpass", rf"sshpass[ \t]+-p[ \t]?{_VALUE}", _OPTION),
    ("login", rf"login\b[^\n|;(]{{0,120}}?[ \t](?:-p|--password)[ \t=]{{1,2}}{_VALUE}", _OPTION),
    ("psexec", rf"psexec(?:64)?(?:\.exe)?\b[^\n]{{0,160}}?[ \t][-/]p[ \t]+{_VALUE}", _OPTION),
    (" -u ", rf" -u[ \t]+{_CERTAIN}-p[ \t]?{_VALUE}", _OPTION),
    ("sqlcmd", rf"sqlcmd\b[^\n|;]{{0,160}}?[ \t](?-i:-P)[ \t]?{_VALUE}", _OPTION),
    (" -u ", rf" (?-i:-U)[ \t]+{_CERTAIN}(?-i:-P)[ \t]?{_VALUE}", _OPTION),
    (" -u ", rf" (?-i:-U)[ \t]+[\"']?[^\s\"'%]{{1,80}}%{_BARE}", _OPTION),
    (" -pw", rf" -pw[ \t]+{_VALUE}", _OPTION),
    ("ldap", rf"ldap(?:search|add|modify|delete|passwd|whoami)\b[^\n|;]{{0,200}}?[ \t](?-i:-w)[ \t]?{_VALUE}", _OPTION),
    ("lftp", rf"lftp\b[^\n|;]{{0,80}}?[ \t]-u[ \t]+[^\s,]{{1,64}},{_VALUE}", _OPTION),
    ("nmcli", rf"nmcli\b[^\n|;]{{0,160}}?[ \t]password[ \t]+{_VALUE}", _OPTION),
    ("rabbitmqctl", rf"rabbitmqctl[^\n|;]{{0,60}}?[ \t](?:add_user|change_password)[ \t]+{_CERTAIN}{_VALUE}", _OPTION),
    ("mosquitto_", rf"mosquitto_[a-z]{{2,6}}\b[^\n|;]{{0,200}}?[ \t](?-i:-P)[ \t]+{_VALUE}", _OPTION),
    ("/u:", rf"/u:\S{{1,64}}[ \t]+(?:/d:\S{{1,64}}[ \t]+)?/p:{_VALUE}", _OPTION),
    ("/ru ", rf"/ru[ \t]+{_CERTAIN}/rp[ \t]+{_VALUE}", _OPTION),
    ("exec.py", rf"exec\.py[^\n]{{0,80}}?[ \t][\"']?[\w.-]{{1,40}}/[^\s:@\"']{{1,64}}:{_BARE}@[\w.-]{{2}}", _OPTION),
    ("htpasswd", rf"htpasswd[ \t]+{_BATCH}(?:[^\s-]\S{{0,80}}[ \t]+){{1,2}}{_VALUE}", _OPTION),
    ("redis-cli", rf"redis-cli\b[^\n|;]{{0,120}}?[ \t](?:-a|--pass)[ \t]+{_VALUE}", _OPTION),
    ("openssl", rf"openssl[ \t]+(?:enc|aes)[^\n|;]{{0,160}}?[ \t]-k[ \t]+{_VALUE}", _OPTION),
    ("openssl", rf"openssl[ \t]+passwd(?:[ \t]+-(?:[156]|apr1|crypt))?[ \t]+{_VALUE}", _OPTION),
    ("pass", rf"pass(?:in|out)?[ \t]+pass:{_VALUE}", _OPTION),
    ("echo", rf"echo[ \t]+(?:-[en]+[ \t]+)?{_VALUE}[ \t]*\|[ \t]*{_READER}", _OPTION),
    ("curl", rf"curl\b[^\n|;]{{0,160}}?[ \t](?:-u|--user)[ \t]+[\"']?{_OPAQUE}:[\s\"']", _OPTION),
    ("net use", rf"net use[^\n]{{0,120}}?\\\\\S{{1,80}}[ \t]+{_VALUE}[ \t]+/user", _OPTION),
    (" /user:", rf" /user:\S{{1,64}}[ \t]+{_VALUE}", _OPTION),
    ("net user ", rf"net user[ \t]+[\w.-]{{1,64}}[ \t]+{_VALUE}", _OPTION),
    ("snmp", rf"{_SNMP}(?-i:-A)[ \t]+{_VALUE}", _OPTION),
    ("snmp", rf"{_SNMP}(?-i:-X)[ \t]+{_VALUE}", _OPTION),
    ("zip ", rf"zip[ \t]+(?:-[a-z0-9]{{1,4}}[ \t]+){{0,3}}(?-i:-P)[ \t]*{_VALUE}", _OPTION),
    ("7z", rf"7z[ar]?(?:\.exe)?[\"']?[ \t]+[^\n|;]{{1,120}}?[ \t]-p{_VALUE}", _OPTION),
    ("ssword", _EXPECT, _OPTION),
    ("identified", rf"identified[ \t]+(?:by|with[ \t]+\S{{1,40}}[ \t]+by)[ \t]+(?:password[ \t]+)?{QUOTED}", _SQL),
    ("identified", rf"identified[ \t]+by[ \t]+{_WORD}(?:;|[ \t]+(?:using[ \t]+'|default[ \t]+tablespace))", _SQL),
    ("plainauth(", rf"plainauth\([ \t]*[\"'][^\"'\n]{{0,64}}[\"'][ \t]*,[ \t]*{USER}{QUOTED}", _SQL),
    ("pdo(", rf"pdo\([ \t]*[\"'][^\"'\n]{{1,160}}[\"'][ \t]*,[ \t]*{USER}{QUOTED}", _SQL),
    ("basic_auth", rf"basic_auth[ \t(]{{1,3}}{USER}(?:Some\([ \t]*)?{QUOTED}", _SQL),
    ("wifi.begin(", rf"wifi\.begin\([ \t]*[\"'][^\"'\n]{{1,64}}[\"'][ \t]*,[ \t]*{QUOTED}", _SQL),
    ("psk", rf"psk[ \t]*=[ \t]*{QUOTED}", _SQL),
    ("input password", rf"input password[ \t]{{2,8}}\S{{1,80}}[ \t]{{2,8}}{_LITERAL}", _SQL),
    ("authenticate(", rf"authenticate\([ \t]*{USER}{QUOTED}", _SQL),
    ("passwordauthentication(", rf"passwordauthentication\([ \t]*{USER}{QUOTED}", _SQL),
    ("ftp_login(", rf"ftp_login\([^,\n]{{1,40}},[ \t]*{USER}{QUOTED}", _SQL),
    ("sequelize(", rf"sequelize\([ \t]*[\"'][^\"'\n]{{1,64}}[\"'][ \t]*,[ \t]*{USER}{QUOTED}", _SQL),
    ("convertto-securestring", rf"convertto-securestring[ \t]+(?:-[a-z]{{5,11}}[ \t]+){{0,3}}{_VALUE}", _SQL),
    ("sp_addlogin", rf"sp_addlogin{_LOGIN}{QUOTED}", _SQL),
    ("sp_addlinkedsrvlogin", rf"sp_addlinkedsrvlogin[ \t]+{_LINKED}{QUOTED}", _SQL),
    ("security_credentials", rf"security_credentials[ \t]*,[ \t]*{QUOTED}", _SQL),
    (".load(", rf"\.load\([^()\n]{{1,60}},[ \t]*{CHARACTERS}", _SQL),
    ("pbekeyspec(", rf"pbekeyspec\([ \t]*{CHARACTERS}", _SQL),
    ("passwordprotection(", rf"passwordprotection\([ \t]*{CHARACTERS}", _SQL),
    ("openssl_", rf"openssl_(?:en|de)crypt\([^\n]{{1,60}}?,[ \t]*{_CIPHER}{QUOTED}", _SECRET),
    ("login", rf"login[ \t]*[:=][ \t]*[\w.@-]{{2,64}}[ \t]+/[ \t]+{_BARE}", _SQL),
    ("credentials", rf"credentials[ \t]*[:=][ \t]*[\w.@-]{{2,64}}[ \t]*/[ \t]*{_BARE}", _SQL),
    (" pw ", rf" pw[ \t]+{_BARE}", _SQL),
    ("secretkeyspec(", rf"secretkeyspec\([ \t]*{QUOTED}\.getbytes", _SECRET),
    ("login(", rf"login\([ \t]*{USER}{QUOTED}", _SQL),
    ("login(", rf"login\([ \t]*[a-z_][\w.]{{1,40}}[ \t]*,[ \t]*{QUOTED}[ \t]*\)", _SQL),
    ("username_pw_set(", rf"username_pw_set\([ \t]*(?:{USER}|[a-z_][\w.]{{1,40}}[ \t]*,[ \t]*){QUOTED}", _SQL),
    ("auth", rf"auth(?:entication)?[ \t]{{0,2}}[=:(,][ \t]{{0,2}}\(?[ \t]{{0,2}}{USER}{QUOTED}[ \t]{{0,2}}\)", _SQL),
    ("credential", rf"credentials?\([ \t]*{USER}{QUOTED}", _SQL),
    ("connect", rf"connect(?:ion)?\((?:[^()\n]|\(\)){{1,120}}?,\s{{0,40}}{USER}\s{{0,40}}{QUOTED}", _SQL),
    ("client", rf"client(?:\.new)?[ (]{{1,2}}{_ACCOUNT}", _SECRET),
    ("twilio", rf"twilio[\"')]{{0,2}}(?:\.init)?\({_ACCOUNT}", _SECRET),
    ("mysql_real_connect(", rf"mysql_real_connect\([^,\n]{{1,60}},[^,\n]{{1,80}},[ \t]*{USER}{QUOTED}", _SQL),
    ("mysqli(", rf"mysqli\([ \t]*[^()\n,]{{1,80}},[ \t]*{USER}{QUOTED}", _SQL),
    ("authenticationtoken(", rf"authenticationtoken\([ \t]*{USER}{QUOTED}", _SQL),
    ("jdbc:oracle:", rf"jdbc:oracle:\w{{1,8}}:[^\s/@\"']{{1,64}}/{_VALUE}@", _SQL),
    ("secret set", rf"secret set[ \t]+[^\n|;<]{{1,120}}?(?:-b|--body)[ \t=]{{1,2}}{_VALUE}", _OPTION),
    ("set -", rf"set[ \t]+-(?:[gU]?x|xg|xU|-export)[ \t]+{_NAME}[ \t]+{_VALUE}", _OPTION),
    ("mc alias set", rf"mc alias set[ \t]+(?:[^\s\"']{{1,120}}[ \t]+){{3}}{_VALUE}", _OPTION),
    ("cache_peer", rf"cache_peer[ \t][^\n]{{1,160}}?[ \t]login=[^\s:]{{1,64}}:{_BARE}", _SQL),
    ("algorithm.hmac", rf"algorithm\.hmac\d{{3}}\([ \t]*{QUOTED}", _SECRET),
    ("requirepass", rf"requirepass[ \t]+{_VALUE}", _SQL),
    ("masterauth", rf"masterauth[ \t]+{_VALUE}", _SQL),
    ("insecure-password", rf"insecure-password[ \t]+{_VALUE}", _SQL),
    ("-setcookie", rf"-setcookie[ \t]+{_VALUE}", _SECRET),
    ("rootpw", rf"rootpw[ \t]+(?:--plaintext[ \t]+)?{_VALUE}", _SQL),
    ("bindpw", rf"bindpw[ \t]+{_VALUE}", _SQL),
    ("machine", rf"machine\s{{1,4}}\S{{1,120}}\s{{1,4}}login\s{{1,4}}\S{{1,80}}\s{{1,4}}password\s{_VALUE}", _SQL),
    ("default login", rf"default[ \t]+login[ \t]+\S{{1,80}}[ \t]+password[ \t]+{_VALUE}", _SQL),
    ("stats auth", rf"stats[ \t]+auth[ \t]+[^\s:]{{1,64}}:{_LITERAL}", _SQL),
    ("setenv", rf"setenv[ \t]+{_NAME}[ \t]+{_VALUE}", _SQL),
    ("setx", rf"setx[ \t]+(?:/m[ \t]+)?{_NAME}[ \t]+{_VALUE}", _SQL),
    ("_param", rf"_param[ \t]+{_NAME}[ \t]+{_VALUE}", _SQL),
    ("$user", rf"\$user\d{{1,3}}\$[ \t]*=[ \t]*{_LITERAL}", _SQL),
    ("nickserv", rf"nickserv[^\n]{{0,24}}?identify[ \t]+(?:[\w-]{{1,30}}[ \t]+)??{_VALUE}", _SQL),
    ("chpasswd:", rf"{_ACCOUNTS}[\w.-]{{1,32}}:{_LITERAL}", _SQL),
    ("passwd/", rf"passwd/[\w-]{{0,24}}password(?:-again)?[ \t]+password[ \t]+{_LITERAL}", _SQL),
    ("update ", rf"update[ \t]+[\w.`\"]{{1,64}}[ \t]+set[ \t]+{_EQUALS}{QUOTED}{_WHERE}", _SECRET),
    ("<auth-user-pass>", rf"<auth-user-pass>\s{{1,4}}\S{{1,64}}\s{{1,4}}{_LITERAL}", _SQL),
    ("sqlplus", rf"sqlplus[ \t]+(?:-\w{{1,8}}[ \t]+){{0,3}}{_LOGON}", _OPTION),
    *((word, rf"{word}[ \t]+{_LOGON}", _OPTION) for word in ("expdp", "impdp", "sqlldr")),
    ("conn", rf"conn(?:ect)?[ \t]+{_LOGON}", _OPTION),
    ("connect to ", rf"connect to \w{{1,30}}[ \t]+user[ \t]+\w{{1,40}}[ \t]+using[ \t]+{_VALUE}", _OPTION),
    ("ssh-keygen", rf"ssh-keygen\b[^\n|;]{{0,120}}?[ \t](?-i:-N)[ \t]+{_VALUE}", _OPTION),
    ("signtool", rf"signtool(?:\.exe)?[ \t]+sign\b[^\n]{{0,160}}?[ \t]/p[ \t]+{_VALUE}", _OPTION),
    ("wpa_passphrase", rf"wpa_passphrase[ \t]+{_CERTAIN}{_VALUE}", _OPTION),
    ("http", rf"https?[ \t]+[^\n|;]{{0,120}}?(?:-a|--auth)[ \t=]+[\"']?[\w.@-]{{1,64}}:{_VALUE}", _OPTION),
    ("snmp", rf"{_SNMP}(?-i:-c)[ \t]+{_VALUE}", _OPTION),
    *calls.IDIOMS,
    *devices.IDIOMS,
    *((f'{name}":', rf"{name}\"\s{{0,4}}:{_OBJECT}", _SECRET if name == "secret" else _SQL) for name in _NAMED),
    ("password", rf"password[\"'][^<>]{{0,200}}?\svalue=[ \t]?{QUOTED}", _SQL),
)  # fmt: skip
"""The word that begins the idiom, the idiom (in any case), and the rule that reports it."""

GATES = tuple(f"(?i){source}" for _, source, _ in IDIOMS)
_TABLE = [(word.encode(), expression(f"(?i){source}".encode()), rule) for word, source, rule in IDIOMS]
_BY_WORD = [
    (word, [(idiom, rule) for begins, idiom, rule in _TABLE if begins == word])
    for word in dict.fromkeys(begins for begins, _, _ in _TABLE)
]
"""Each word is looked for once, whatever it begins."""
SHORTEST_SIGNING = 8
"""Characters of what signs or enciphers: shorter ones are words of a test."""
_PORTS = expression(r"^(?:\d{1,5}(?:[:/-]\w{1,5})*|https?|ssh|tcp|udp)$")
"""What `-p` also takes: ``-p 8080:80``, ``-p 53/udp``, ``gh auth login -p ssh``."""
_FORM = expression(rb"(?i)<input\b[^<>]{0,200}type=[\"']$")


def detect(
    book: Rulebook, data: bytes, lower: bytes, where: str, spans: Sequence[tuple[int, int]], floor: int = 0
) -> Iterator[Match]:
    """Every password in one of the idioms whose first word starts in one of the spans."""
    for word, idioms in _BY_WORD:
        for start, end in spans:
            at = lower.find(word, start, end)
            while at >= 0:
                for idiom, name in idioms:
                    yield from _at(book, data, word, idiom.match(data, at), name)
                at = lower.find(word, at + 1, end)


def _at(book: Rulebook, data: bytes, word: bytes, found: re.Match[bytes] | None, name: str) -> Iterator[Match]:
    """What an idiom found, if that is a password and the configuration left its rule on."""
    if found is None or (word == b"password" and not _FORM.search(data, max(0, found.start() - 240), found.start())):
        return
    group = "quoted" if "bare" not in found.re.groupindex or found["bare"] is None else "bare"
    value = found[group].decode("utf-8", "replace")
    if name == _SQL and logins.is_name(found, group, value):
        return
    confidence = _judge(name, value, bare=group == "bare")
    if confidence in (None, LOW) and logins.is_weak_but_somebodys(found, group, value, signs=name == _SECRET):
        confidence = MEDIUM
    rule = book.named(name) if confidence is not None else None
    if rule is not None and confidence is not None:
        yield Match(rule, *found.span(group), value, confidence)


def _judge(rule: str, value: str, *, bare: bool) -> int | None:
    if is_reference(value) or is_placeholder(value) or is_code(value, quoted=True) or is_fixed(value):
        return None
    if rule == _SECRET and len(value) < SHORTEST_SIGNING:
        return None
    if any(map(str.isspace, value)) or (bare and value.startswith(("-", "/", "\\", "*"))):
        return None
    if (bare and _PORTS.match(value)) or (not bare and ends_lines(value)):
        return None
    strength = password_strength(value)
    if strength == LOW and rule == _OPTION and (is_chosen_word(value) or is_joined_phrase(value)):
        return MEDIUM  # where a program takes its password there is no other word
    return None if strength is None else min(strength, MEDIUM)
