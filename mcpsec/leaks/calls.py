"""Passwords that a program hands over by their place in a call, without a name of their own.

What tells them is the call: ``credentials("realm", "host", "user", …)``, ``sign(payload, …)``, ``.auth(…)``. They are
idioms as those of :mod:`mcpsec.leaks.commands`, which judges them.
"""

from __future__ import annotations

__all__ = ["CHARACTERS", "IDIOMS", "QUOTED", "USER"]

QUOTED = r"[\"'](?P<quoted>[^\"'\r\n]{4,128})[\"']"
_TEXT = r"[\"'][^\"'\r\n]{1,160}[\"'][ \t]*,[ \t]*"
USER = r"[\"'][^\"'\r\n:]{1,64}[\"'][ \t]*,[ \t]*"
_ISSUED = r"[\"'](?P<quoted>[A-Za-z0-9_+/=.~-]{16,128})[\"']"
"""What a service issues beside an identifier: longer than what people choose."""
_ENTRY = r"[\"'](?:cn|uid|ou)=[^\"'\n]{1,160}[\"'][ \t]*,[ \t]*"
"""The name of a directory's entry, as which somebody binds (RFC 4514)."""
_OWNED = r"[\"'][^\"'\r\n]{1,80}[\"'](?:\.\w{2,10}\(\))?,\s{0,12}"
_CALLBACK = r"(?:function|async|\(|[a-z]{2,12}[ \t]*(?:=>|\)))"
CHARACTERS = rf"{QUOTED}\.tochararray"
"""Java takes passwords as arrays."""
_PAYLOAD = r"\(\s{0,20}(?:[a-z_$&*][\w.$ ]{0,60}(?:\([^()\n]{0,60}\))?|\{[^{}]{0,200}\})\s{0,4},\s{0,20}"
"""The first argument of what signs or checks: a variable, what a call makes of one, or the claims themselves."""
_OPTIONS = r"\s{0,8}\{[^{}\[\]]{0,200}?(?:\{[^{}]{0,120}\}[^{}\[\]]{0,120}?)?"
"""The options of Express' sessions before the one that is meant, a store with options of its own among them."""
_LISTED = rf"['\"]?\s{{0,4}}:\s{{0,4}}\[\s{{0,24}}{QUOTED}"
_GIVEN = rf"(?:{_LISTED}|['\"]?\s{{0,4}}:\s{{0,4}}['\"](?P<bare>(?-i:[a-z]{{8,40}}))['\"])"
"""In a list, or one word: other secrets are found by their name."""
_END = r"\s{0,8}[,)]"
_PASSWORD, _SECRET = "generic-password", "generic-secret"

IDIOMS = (
    ("credentials(", rf"credentials\([ \t]*(?:{_TEXT}){{3}}{QUOTED}[ \t]*\)", _PASSWORD),
    ("credentials::new(", rf"credentials::new\(\s{{0,12}}{_OWNED}{QUOTED}", _PASSWORD),
    ("newinstance(", rf"newinstance\([^()\n]{{1,160}}?,[ \t]*{USER}{QUOTED}", _PASSWORD),
    ("basic(", rf"basic\([ \t]*{USER}{QUOTED}[ \t]*\)", _PASSWORD),
    ("basicauth", rf"basicauth\w{{1,30}}\([ \t]*{USER}{QUOTED}", _PASSWORD),
    ("oracle", rf"oracle(?:db)?\.connect\([ \t]*{USER}{QUOTED}", _PASSWORD),
    (".encrypt(", rf"\.encrypt\([^\n\"']{{1,80}},[ \t]*{QUOTED}[ \t]*[,)]", _SECRET),
    (".decrypt(", rf"\.decrypt\([^\n\"']{{1,80}},[ \t]*{QUOTED}[ \t]*[,)]", _SECRET),
    (".auth(", rf"\.auth\([ \t]*{QUOTED}[ \t]*(?:\)|,[ \t]*{_CALLBACK})", _PASSWORD),
    (":auth(", rf":auth\([ \t]*{QUOTED}[ \t]*\)", _PASSWORD),
    ("oci_", rf"oci_(?:p|new_)?connect\([ \t]*{USER}{QUOTED}", _PASSWORD),
    ("bind", rf"bind(?:_s|request)?\([^()\n\"']{{0,60}}{_ENTRY}{QUOTED}", _PASSWORD),
    ("ftp(", rf"ftp\([ \t]*{_TEXT}{USER}{QUOTED}", _PASSWORD),
    ("init(", rf"init\([^()\n]{{1,60}},[ \t]*{CHARACTERS}", _PASSWORD),
    ("getkey(", rf"getkey\([^()\n]{{1,80}},[ \t]*{CHARACTERS}", _PASSWORD),
    ("oauth", rf"oauth\w{{0,12}}\([ \t]*{_TEXT}{_ISSUED}", _SECRET),
    ("access_token(", rf"access_token\([ \t]*{_TEXT}{_ISSUED}", _SECRET),
    ("omniauth", rf"omniauth[ \t(]{{1,2}}:\w{{2,30}},[ \t]*{_TEXT}{_ISSUED}", _SECRET),
    ("provider", rf"provider[ \t(]{{1,2}}:\w{{2,30}},[ \t]*{_TEXT}{_ISSUED}", _SECRET),
    ("createhmac(", rf"createhmac\([ \t]*[\"'][\w-]{{2,16}}[\"'],[ \t]*{QUOTED}", _SECRET),
    ("hmac.new(", rf"hmac\.new\([ \t]*(?:[\w.]{{1,24}},[ \t]*\[\]byte\(|b)?{QUOTED}", _SECRET),
    ("hash_hmac(", rf"hash_hmac\([ \t]*[\"'][\w-]{{2,16}}[\"'],[^,\n]{{1,80}},[ \t]*{QUOTED}", _SECRET),
    ("hmac.", rf"hmac\.(?:hex)?digest\([^,\n]{{1,60}},[ \t]*{QUOTED}", _SECRET),
    ("hmacsha", rf"hmacsha\d{{1,3}}\([^\n\"']{{1,60}},[ \t]*{QUOTED}[ \t]*\)", _SECRET),
    ("setvapiddetails(", rf"setvapiddetails\(\s{{0,12}}(?:{_TEXT}\s{{0,12}}){{2}}{_ISSUED}", _SECRET),
    ("runas", rf"runas(?:wait)?\([^,\n]{{1,60}},[^,\n]{{1,60}},[ \t]*{QUOTED}[ \t]*,", _PASSWORD),
    ("sign(", rf"\bsign{_PAYLOAD}{QUOTED}{_END}", _SECRET),
    ("signwith(", rf"signwith\([ \t]*(?:\w{{1,40}}\.){{0,2}}hs\d{{3}},[ \t]*{QUOTED}", _SECRET),
    ("signedstring(", rf"signedstring\([ \t]*\[\]byte\([ \t]*{QUOTED}", _SECRET),
    ("newcookiestore(", rf"newcookiestore\([ \t]*\[\]byte\([ \t]*{QUOTED}", _SECRET),
    ("newstore(", rf"newstore\([ \t]*\[\]byte\([ \t]*{QUOTED}", _SECRET),
    ("cookiesession(", rf"cookiesession\({_OPTIONS}\bkeys{_LISTED}", _SECRET),
    ("session({", rf"session\({_OPTIONS}\bsecret{_GIVEN}", _SECRET),
    ("express-session", rf"express-session['\"]\)\({_OPTIONS}\bsecret{_GIVEN}", _SECRET),
    ("keygrip(", rf"keygrip\(\s{{0,8}}\[\s{{0,24}}{QUOTED}", _SECRET),
    ("app.keys", rf"\bapp\.keys[ \t]{{0,2}}=[ \t]{{0,2}}\[\s{{0,24}}{QUOTED}", _SECRET),
    ("cookieparser(", rf"cookieparser\([ \t]*\[?[ \t]*{QUOTED}", _SECRET),
    ("database(", rf"\bdatabase\([ \t]*{_TEXT}{USER}{QUOTED}[ \t]*[,)]", _PASSWORD),
    ("jwt.", rf"jwt\.(?:encode|verify|decode){_PAYLOAD}{QUOTED}{_END}", _SECRET),
)  # fmt: skip
"""The word that begins the idiom, the idiom (in any case), and the rule that reports it."""
