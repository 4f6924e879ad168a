"""Words that are somebody's password for the call they stand in, where elsewhere a word is an example.

Behind a mailbox, letters of no language behind a user, and what Express signs its sessions with: each is weak, and
counts nevertheless. What tests and tutorials write in the same places does not.
"""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.secrecy import WORDY, is_app_password, is_chosen_word, is_joined_phrase
from mcpsec.leaks.values import is_filler, is_placeholder, wordiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

__all__ = ["is_name", "is_weak_but_somebodys"]

_MAILBOX = expression(
    rb"(?i)[\"'](?P<who>[\w.+-]{1,64})@(?:mail\.ru|(?:gmail|googlemail|outlook|hotmail|live|msn|yahoo|ymail|aol|icloud"
    rb"|proton(?:mail)?|zoho|gmx|yandex|rambler|naver|daum|163|126|qq|sina|foxmail|orange|libero)"
    rb"\.[a-z]{2,3}(?:\.[a-z]{2})?)[\"']"
)
"""Somebody's mailbox at a service that gives them to everybody; what stands behind it in a call is its password."""
_NOBODY = expression(
    r"(?i)(?:the|my|your|test|some|demo|new|old|real|fake|valid|invalid|wrong)?[._+-]?"
    r"(?:user(?:name)?|sender|receiver|recipient|someone|somebody|nobody|anyone|e?mail|admin(?:istrator)?|info|root|guest"
    r"|support|contact|sales|help|hello|office|service|team|staff|owner|member|customer|client|manager|student|teacher"
    r"|no[._-]?reply|test(?:er|ing)?|abc|xyz|foo|bar|foobar|me|from|to|account|login|person|name|address|bot|dev"
    r"|alice|bob|eve|mallory|j(?:ohn|ane)[._-]?(?:doe|smith)?|max[._-]?mustermann)[._+-]?(?:test|user|mail)?\d{0,6}$"
)
"""Names of roles, and of those who live in examples."""
_WRONG = expression(
    r"incorrect|invalid|wrong|valid|mistake|(?:not|non|un)(?:[a-z]{1,4}exist|regist|know|auth|verif|valid|match)|exist"
)
"""What a test says of a password that is to be refused."""
_NAME_PARTS = expression(r"[a-z]{3,}")
FEWEST_LETTERS = 7
_SAYS_WHAT = expression(r"pass|pwd|pw|sql|db|admin|user")
_PRODUCTS = frozenset(
    """
    airflow ansible bugzilla clickhouse cloudflare debezium dspace freepbx gitlab graylog hashicorp influx jenkins
    jfrog jhipster keycloak kubernetes liferay logstash mattermost memcached metabase nextcloud nginxproxy openldap
    openmrs phpldap phpbb prometheus quarkus rocketchat rundeck sonarqube springboot strapi supabase teamcity timescale
    traefik vaultwarden wordpress zabbix zookeeper
    """.split()  # noqa: SIM905
)
"""Names of programs whose letters make no word of a language, and which tutorials take for their passwords."""
_HANDLER = expression(r"[a-z]{2,16}(?:[A-Z][a-z]{1,16}){1,6}$")
_SESSION_CALLS = (b"session({", b"express-session")
_TUTORIALS = frozenset(
    """
    keyboardcat keyboard sessionid sessionkey sessionsecret cookiename mycookie helloworld development production
    insecure fallback passportjs expressjs nodejs randomstring supersecure whatever signature application somestring
    """.split()  # noqa: SIM905
)
"""What tutorials of Express sign their sessions with."""


def is_name(found: re.Match[bytes], group: str, value: str) -> bool:
    """True for letters that are the user's name again, or name what a signal is connected to: ``slotBtnClk``."""
    if not value.isalpha():
        return False
    before = found.string[found.start() : found.start(group)]
    plain = value.encode()
    if b"'" + plain + b"'" in before or b'"' + plain + b'"' in before:
        return True
    return b"()," in before and _HANDLER.match(value) is not None


def is_weak_but_somebodys(found: re.Match[bytes], group: str, value: str, *, signs: bool) -> bool:
    """True for a weak value of a call that is nobody's example: ``value`` is the call's ``group``.

    ``signs`` tells a secret that signs from a password.
    """
    if is_placeholder(value):
        return False
    if signs:
        return _signs_sessions(found, value)
    before = found.string[found.start() : found.start(group)]
    return (group == "quoted" and _is_of_no_language(value)) or _opens_mailbox(before, value)


def _signs_sessions(found: re.Match[bytes], value: str) -> bool:
    """True for a word with which Express signs what the program believes; ``createSession({…})`` is another's call."""
    start = found.start()
    call = found.group().lower()
    if not call.startswith(_SESSION_CALLS) and not call.startswith(b"cookiesession("):
        return False
    before = found.string[max(0, start - 7) : start]
    if before[-1:].isalpha() and before.lower() != b"express":
        return False
    return is_chosen_word(value) and value not in _TUTORIALS


def _is_of_no_language(value: str) -> bool:
    """True for letters that make no word, pronounceable as some generators draw them: ``jaeqoiex``."""
    return (
        value.isalpha()
        and value.islower()
        and len(value) >= FEWEST_LETTERS
        and wordiness(value) < WORDY
        and not _SAYS_WHAT.search(value)
        and value not in _PRODUCTS
    )


def _opens_mailbox(before: bytes, value: str) -> bool:
    """True for a word, or a password for one application, that stands behind somebody's mailbox in a call."""
    mailbox = _MAILBOX.search(before)
    if mailbox is None:
        return False
    who = mailbox["who"].decode("latin-1").lower()
    if is_filler(who):
        return False
    if is_app_password(value):
        return True
    lowered = value.lower()
    if _NOBODY.match(who) or _WRONG.search(lowered) or any(part in lowered for part in _NAME_PARTS.findall(who)):
        return False
    return is_chosen_word(value) or is_joined_phrase(value)
