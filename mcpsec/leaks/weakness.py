"""Passwords that everybody knows: what products come with, what documentation writes, what jokes are made of."""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.values import digits_share

__all__ = ["LEET", "is_foreign", "is_proverbial", "is_weak_password"]

_COMMON = expression(
    r"(?i)^(?:(?:my|the|your|new|old|super|some|top|wrong|invalid|incorrect|bad|db|database|user|admin|root|test|default|pg|postgres|mysql|secure)?[-_. ]?"  # noqa: E501
    r"(?:pass(?:wor[dt]|wd|phrase)?|pa(?:\$\$|ss)w(?:0|o)rd|pwd|secret|admin(?:istrator)?|root|user(?:name)?|test(?:ing|er)?|guest"
    r"|default|changeit|welcome|letmein|login|hello|demo|token|key|credential|postgres|mysql|mongo(?:db)?|redis|rabbitmq|oracle"
    r"|sa|toor|abc|value|string|none|example|temp|sample|private|public|server|client|auth|minio(?:admin)?|elastic|grafana))"
    r"(?:[-_. ]?(?:pass(?:word)?|pwd|secret|key|token|value|user|admin|test))?[-_.]?(?:\d{0,4}|123456)[!@#$.]{0,3}$"
)


def is_weak_password(value: str) -> bool:
    """A default or dictionary password, such as documentation uses."""
    return bool(_COMMON.match(value) or _COMMON.match(value.translate(LEET)) or _PROVERBIAL.match(value))


LEET = str.maketrans("013457@", "oleasta")
"""Digits and symbols that stand for letters in ``s3cr3t`` and ``p@ssw0rd``."""


_PROVERBIAL = expression(
    r"(?i)^(?:hunter\d{1,4}|tr0ub4dor&\d|correct[-_ ]?horse[-_ ]?battery[-_ ]?staple|xyzzy|open[-_ ]?sesame)$"
)
"""Passwords that are known from jokes and comics, and stand in tests and documentation for that."""


def is_proverbial(value: str) -> bool:
    """A password that is known from a joke."""
    return _PROVERBIAL.match(value) is not None


def is_foreign(value: str) -> bool:
    """True for text in a script that keyboards for passwords don't have: a translation."""
    foreign = sum(character >= "\u0370" for character in value)
    return foreign * 2 > len(value) and (digits_share(value) == 0 or foreign >= LONGEST_FOREIGN)


LONGEST_FOREIGN = 10
"""Letters of another script from which on the value is a sentence, be there a number in it."""
