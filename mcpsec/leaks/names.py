"""Judging a name: does ``dbPassword``, ``X-Api-Key`` or ``csrf_token_name`` announce a secret, and of what kind."""

from __future__ import annotations

from mcpsec.leaks.expressions import expression

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

__all__ = ["KEYWORDS", "kind_of"]

KEYWORDS = (
    b"pass",
    b"pw",
    b"psw",
    b"psk",
    b"secret",
    b"token",
    b"key",
    b"auth",
    b"cred",
    b"bearer",
    b"jwt",
    b"senha",
    b"contrase",
    b"kennwort",
    b"parola",
    b"haslo",
    b"wachtwoord",
    b"losenord",
    b"mdp",
    b"sifre",
    b"heslo",
    b"salt",
    b"pepper",
    b"clave",
    b"nonce",
    b"cookie",
    b"_pat",
    "\u043f\u0430\u0440\u043e\u043b".encode(),
    "\u041f\u0430\u0440\u043e\u043b".encode(),
    "\u5bc6\u7801".encode(),
    "\u5bc6\u78bc".encode(),
    "\ube44\ubc00\ubc88\ud638".encode(),
    "\u30d1\u30b9\u30ef\u30fc\u30c9".encode(),
)
"""Every name of a secret holds one of these, in lower case."""

_STEM = expression(
    r"(?P<password>pass(?:[-_]?(?:w(?:or[dt]|d|rd)?|phrase|code|key)|e(?![a-z])|ord(?![a-z]))?|pwd|p?sswd|pswd?|psw|senha|contrase(?:n|\u00f1)a"
    r"|kennwort|parola|haslo|wachtwoord|losenord|sifre(?:si)?(?![a-z])|heslo(?![a-z])|mdp(?![a-z])|pw(?![a-z])"
    r"|(?<![a-z])psk(?=_?\d?$)|pre[-_]?shared[-_]?key|authtok(?![a-z])"
    r"|\u043f\u0430\u0440\u043e\u043b\u044c?|\u5bc6\u7801|\u5bc6\u78bc|\ube44\ubc00\ubc88\ud638|\u30d1\u30b9\u30ef\u30fc\u30c9)"
    r"|(?P<secret>secret(?:[-_. ]?(?:access)?[-_. ]?key)?|(?<![a-z])pepper$"
    r"|(?<![a-z])(?<!palabra[-_])clave(?:[-_](?:secreta|privada|api))?$)"
    r"|(?P<token>token|jwt|bearer|(?<![a-z])pat(?![a-z]))"
    r"|(?P<apikey>(?:api|access|secret|private|auth|app|application|account|encryption|encrypt|enc|crypt|crypto|cipher|aes|des|rsa"
    r"|hmac|master|service|signing|sign|signature|license|licence|storage|shared|client|consumer|admin|write|read|rest|security"
    r"|session|user(?=[-_. ])|server|root|deploy|integration|ingest|subscription|function|host|webhook|jwt|data|kms"
    r"|vault|sas|maps?)"
    r"[-_. ]?key)"
    r"|(?P<key>key)"
    r"|(?P<auth>auth(?:orization|entication)?|cred(?:ential)?s?)"
    r"|(?P<weak>salt|nonce|cookie)"
)
_JOINED_BEFORE_PASS = expression(
    r"(?:^|[^a-z])(?:by|com|sur|en|tres|under|over|tree|ecom|low|high|band|all|multi|single|first|second|two|one|render|re|im"
    r"|mini|cond)$"
)
_JOINED_BEFORE_KEY = expression(r"[a-z]$")
_JOINED_AFTER = expression(
    r"^(?:s|es|word|words|phrase|code|str|string|val|value|text|txt|plain|data|enc|b64|base64|hash)?(?![a-z])"
)
_NOT_AFTER = frozenset(
    """
    id ids name names file files filename path paths dir url uri urls endpoint type types length len size count
    field fields label hint header headers prefix suffix expiry expires expire expiration ttl timeout policy
    policies regex pattern format error errors message msg title placeholder ref refs arn manager provider
    providers store class column param parameter params enabled required min max age env var variable rule rules
    strategy mode method description desc info help status state valid invalid validator validation validate
    check strength reset forgot forgotten confirm confirmation changed change link page form input box view
    screen widget button icon image usage limit limits rate index indices position start end offset version
    algorithm alg algo bits kind scope scopes audience issuer source location service server host port user
    username email account owner group domain list map set array table dict schema model entity dto request
    response handler factory builder interface impl helper util utils callback listener event generator encoder
    decoder parser reader writer symbol separator delimiter selector spec template holder exists missing
    incorrect mismatch failed failure success required requirements hasher hashing salt rotation interval
    duration date time timestamp created updated accessor getter setter property properties constant display
    tooltip prompt question character chars char digest fingerprint thumbprint grant flow code uses used last since
    encryption encrypted hashed cipher plugin node tag extension sock socket existing
    startswith endswith replace split strip trim join equals compare encode decode
    match find contains includes exec push call apply then catch filter append number element role
    print println printf gif png jpg jpeg svg ico webp css html js mjs jsx tsx woff ttf
    """.split()  # noqa: SIM905
)
_NOT_BEFORE_KEY = frozenset(
    """
    public pub publishable primary foreign cache sort partition index unique row object map lookup group hot
    shortcut keyboard translation i18n item entry field column dict hash site locale label react parent child
    arrow function escape enter tab shift ctrl control alt meta up down left right any press next prev last
    first current new old this some composite natural surrogate range bucket s3 blob file message error title
    text string menu option config setting settings property preference preferences registry sub super trans
    event routing metric dimension tag query param header attribute attr style theme color icon state sorting
    order filter min max search anon idempotency dedup gpg pgp websocket socket recv encrypted wrapped sealed
    stored contains has compare by test verify hashed salted derived modulus curve
    user node issue project task customer product page component entity document record storage
    """.split()  # noqa: SIM905
)
_NOT_BEFORE_TOKEN = frozenset(
    """
    csrf xsrf page next previous continuation cancel cancellation pad eos bos unk mask sep cls start end max min
    num total count parser syntax lexer stop special input output prompt completion design concurrency sync ct
    current peek skip pagination resume lookahead request change lifecycle action upload idempotency badge
    first last antiforgery antiforgerytoken requestverification authenticity csrfmiddleware
    """.split()  # noqa: SIM905
)
_NOT_BEFORE_APIKEY = frozenset(("public", "publishable", "pub", "encrypted", "wrapped", "sealed"))
"""Keys that everybody may know, and keys that another key has locked."""
_PASSED_ON = frozenset(("proxy", "fastcgi", "uwsgi", "scgi", "grpc", "memcached"))
"""Before ``pass`` these make a directive of nginx."""
_ASKED = frozenset("no is has use show hide forgot reset lost toggle need stored".split())  # noqa: SIM905
_DIGESTED = frozenset(("hashed", "salted"))
"""Before the name of a secret: what stands there is its digest, as in the baselines of other scanners."""
_PASSES = frozenset("pre post first second one two single multi by".split())  # noqa: SIM905
"""Before ``pass`` alone, joined in any way: a pass over something, or a way around it."""
_WORDS = expression(r"[A-Z]?[a-z\u00df-\uffff]+|[A-Z]+(?![a-z])|\d+")


def kind_of(name: str) -> str:
    """``password``, ``secret``, ``token``, ``apikey``, ``key``, ``auth``, ``weak``, or "" when it names no secret."""
    low = name.lower()
    stems = list(_STEM.finditer(low))
    while stems:
        stem = stems.pop()
        kind = str(stem.lastgroup)
        after, before = name[stem.end() :], name[: stem.start()]
        if not _suits(kind, low, stem, after, before, hump=name[stem.start()].isupper()):
            continue
        return kind
    return ""


def _suits(kind: str, low: str, stem: re.Match[str], after: str, before: str, *, hump: bool) -> bool:
    if _goes_on(low, stem, after, before):
        return False
    words_after = [w.lower() for w in _WORDS.findall(after)]
    if kind == "auth" and words_after == ["code"]:
        return True
    words_before = [w.lower() for w in _WORDS.findall(before)]
    nearest = words_before[-1] if words_before else ""
    if nearest in _DIGESTED or any(w in _NOT_AFTER or w.rstrip("s") in _NOT_AFTER for w in words_after):
        return False
    if kind == "password":
        return _is_password(low[: stem.start()], stem.group(), before, nearest)
    if "existing" in words_before or (kind in ("key", "apikey", "token") and "public" in words_before):
        return False
    if kind in ("key", "apikey") and "hash" in words_after:
        return False
    if kind == "key":
        if nearest in _NOT_BEFORE_KEY or low[stem.end() :].startswith(("word", "code", "str")):
            return False
        return (hump and before[-1:].islower()) or not (
            _JOINED_BEFORE_KEY.search(before)
            and low[stem.start() - 1 : stem.start()].isalpha()
            and not before[-1:].isupper()
            and name_continues(before)
        )
    if kind == "token":
        return nearest not in _NOT_BEFORE_TOKEN and "".join(words_before[-2:]) not in _NOT_BEFORE_TOKEN
    if kind == "apikey":
        return nearest not in _NOT_BEFORE_APIKEY and "publishable" not in low
    if kind == "auth":
        return not (
            before
            and before[-1:].isalpha()
            and low[stem.start() - 1] not in "_-. "
            and nearest not in ("o", "basic", "http", "registry", "proxy", "docker", "x")
        )
    return True


def _is_password(joined: str, stem: str, before: str, nearest: str) -> bool:
    """Whether a name with a stem for passwords names one, and not a pass over something or a question about one."""
    if stem == "pass":
        if nearest in _PASSES or nearest in _PASSED_ON:
            return False
        if joined[-1:].isalpha() and name_continues(before) and _JOINED_BEFORE_PASS.search(joined):
            return False
    return nearest not in _ASKED


def _goes_on(low: str, stem: re.Match[str], after: str, before: str) -> bool:
    """True for a stem that only begins a longer word: ``passenger``, ``keyboard``, ``PASSTHROUGH`` among capitals."""
    if (stem.group() == "pass" and after[:2].lower() == "es") or low[: stem.end()].endswith("libsecret"):
        return True  # several passes; the library
    foreign = "" if after.isascii() else filter(str.isalpha, after)
    if sum((letter >= "\u0370") + (letter >= "\u3000") for letter in foreign) > LONGEST_ENDING:
        return True  # a sentence in a script that needs no blanks
    if not after[:1].isalpha() or _JOINED_AFTER.match(low[stem.end() :]):
        return False
    return not after[0].isupper() or ((before + after).isupper() and stem.group() in ("pass", "key", "auth", "cred"))


LONGEST_ENDING = 2
"""Letters of another script that may stand behind the word for a password: a case's ending; one ideograph, "is"."""


def name_continues(before: str) -> bool:
    """True when ``before`` runs into the stem without a separator or a change of case."""
    return before[-1:].isalpha()
