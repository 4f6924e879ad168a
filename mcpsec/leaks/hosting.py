"""Addresses that hosting services give out: a drawn part in one says that the server is somebody's, and no example."""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.values import is_counted, is_placeholder, wordiness

__all__ = ["host_behind", "is_hosted"]

_HOSTED = expression(
    r"(?i)(?:"
    r"[\w-]{1,60}\.(?P<atlas>[a-z0-9]{5,8})\.mongodb\.net"  # https://www.mongodb.com/docs/atlas/driver-connection/
    r"|ep-[a-z]{3,12}-[a-z]{3,12}-(?P<neon>[a-z0-9]{6,10})(?:-pooler)?\.[\w.-]{2,40}\.neon\.tech"
    r"|(?:db\.)?(?P<supabase>[a-z]{20})\.supabase\.co"
    r"|[\w-]{1,63}\.(?:cluster-|cluster-ro-)?(?P<rds>c[a-z0-9]{11})\.[a-z]{2}-[a-z]+-\d\.rds\.amazonaws\.com"
    r"|ec2-(?P<heroku>\d{1,3}(?:-\d{1,3}){3})(?:\.[a-z]{2}-[a-z]+-\d)?\.compute(?:-1)?\.amazonaws\.com"
    r"|dpg-(?P<render>[a-z0-9]{20})-a(?:\.[\w-]{3,30}-postgres\.render\.com)?"
    r"|redis-\d{4,5}\.c(?P<redis>\d{1,4})(?:\.[\w-]{2,30}){2,4}\.(?:redislabs|redis-cloud|redns\.redis-cloud)\.com"
    r"|[a-z0-9]{2,12}-[a-z]{2,12}-(?P<upstash>\d{4,6})\.upstash\.io"
    r"|ds(?P<mlab>\d{5,6})(?:-a\d)?\.(?:mlab|mongolab)\.com"
    r"|[\w-]{1,40}-(?P<aiven>[a-z0-9]{6,12})(?:\.[a-z])?\.aivencloud\.com"
    r")$"
)
_EXAMPLES = expression(r"(?i)^(?:abc|xyz|foo|bar|mongo|example|cluster|12345|00000|xxxx)|^(?:0-0-0-0|1-2-3-4)$")


def is_hosted(host: str) -> bool:
    """True for ``cluster0.k3v9x2p.mongodb.net``, not for ``cluster0.abcde.mongodb.net`` of the documentation."""
    found = _HOSTED.match(host)
    if found is None:
        return _is_routed(host)
    drawn = next(part for part in found.groups() if part)
    if drawn.isalpha():
        return not _EXAMPLES.match(drawn) and not is_placeholder(drawn) and wordiness(drawn) < 0.5
    return not _EXAMPLES.match(drawn) and (len(drawn) < 6 or not is_placeholder(drawn))


_ADDRESS = expression(
    r"(?!(?:0|10|127|22[4-9]|2[3-5]\d|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01])|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])"
    r"|192\.0\.2|198\.51\.100|203\.0\.113|198\.1[89])\.)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$"
)
"""An address of the Internet: not private, not local, not for documentation (RFC 6890, RFC 5737)."""
FEWEST_DIGITS = 9


def _is_routed(host: str) -> bool:
    """True for an address that somebody was given; those that people make up are short, counted or repeat something."""
    found = _ADDRESS.match(host)
    if found is None:
        return False
    if is_counted("".join(found.groups())) or sum(_is_repeated(number) for number in found.groups()) > MOST_REPEATED:
        return False
    numbers = [int(number) for number in found.groups()]
    steps = {numbers[place + 1] - numbers[place] for place in range(3)}
    digits = sum(map(len, found.groups()))
    return max(numbers) <= LAST and len(set(numbers)) == len(numbers) and len(steps) > 1 and digits >= FEWEST_DIGITS


def _is_repeated(number: str) -> bool:
    return len(number) > 1 and len(set(number)) == 1


LAST = 255
MOST_REPEATED = 2
"""Numbers of one digit again and again: 88.99 is where a hoster has its servers, three are made up."""
_HOST = expression(rb"@([A-Za-z0-9.-]{1,253})")


def host_behind(data: bytes, end: int) -> str:
    """The host of an address whose credentials end at an offset, or "" when none stands there."""
    found = _HOST.match(data, end)
    return found.group(1).decode() if found else ""
