"""Passwords in the configuration of routers, switches, firewalls and of the daemons that speak with them.

A line of such a configuration is a command whose last word is the secret: ``snmp-server community x RO``,
``neighbor 10.0.0.1 password x``. The idioms are judged as those of :mod:`mcpsec.leaks.commands`; what a device has
enciphered or hashed (types 5, 7, 8 and 9, ``ENC``) is found by rules of its own.
Sources: the command references of Cisco IOS, Junos, FortiOS, VRP and VyOS; snmpd.conf(5), postconf(5).
"""

from __future__ import annotations

__all__ = ["IDIOMS"]

_VALUE = r"(?:[\"'](?P<quoted>[^\"'\r\n]{4,128})[\"']|(?P<bare>[^\s\"'`<>|;&$(){},]{4,128}))"
_PLAIN = rf"(?:0[ \t]+)?{_VALUE}"
"""Type 0 says that what follows is not enciphered."""
_LEVEL = r"(?:(?:privilege|role|level)[ \t]+\S{1,20}[ \t]+)?"
_DIGEST = r"(?:md5|sha(?:-?\d{1,3})?)"
_CIPHER = r"(?:des|3des|aes(?:[ \t-]?\d{1,3})?)"

_LINES = (
    ("snmp-server community", rf"snmp-server[ \t]+community[ \t]+{_PLAIN}"),
    ("snmp-agent community", rf"snmp-agent[ \t]+community[ \t]+(?:read|write)[ \t]+(?:simple[ \t]+)?{_VALUE}"),
    ("rocommunity", rf"rocommunity6?[ \t]+{_VALUE}"),
    ("rwcommunity", rf"rwcommunity6?[ \t]+{_VALUE}"),
    ("com2sec", rf"com2sec6?[ \t]+(?:-Cn[ \t]+\S{{1,40}}[ \t]+)?\S{{1,40}}[ \t]+\S{{1,60}}[ \t]+{_VALUE}"),
    ("createuser", rf"createuser[ \t]+(?:-e[ \t]+\S{{1,64}}[ \t]+)?[\w.-]{{1,40}}[ \t]+{_DIGEST}[ \t]+{_VALUE}"),
    ("createuser", rf"createuser[ \t]+[^\r\n]{{1,120}}?[ \t]{_CIPHER}[ \t]+{_VALUE}"),
    ("snmp-server user", rf"snmp-server[ \t]+user[ \t]+[^\r\n]{{1,80}}?[ \t]auth[ \t]+{_DIGEST}[ \t]+{_VALUE}"),
    ("snmp-server user", rf"snmp-server[ \t]+user[ \t]+[^\r\n]{{1,160}}?[ \t]priv[ \t]+{_CIPHER}[ \t]+{_VALUE}"),
    ("tacacs-server", rf"tacacs-server[ \t][^\r\n]{{0,80}}?(?:key|secret)[ \t]+{_PLAIN}"),
    ("radius-server", rf"radius-server[ \t][^\r\n]{{0,80}}?(?:key|secret)[ \t]+{_PLAIN}"),
    (
        "pre-shared-",
        r"pre-shared-(?:key|secret)[ \t]+(?:(?:local|remote|ascii-text|simple|address[ \t]+\S{1,60}[ \t]+key)[ \t]+)?"
        rf"{_PLAIN}",
    ),
    ("isakmp key", rf"isakmp[ \t]+key[ \t]+{_PLAIN}[ \t]+(?:address|hostname)"),
    ("enable secret", rf"enable[ \t]+secret[ \t]+{_LEVEL}{_PLAIN}[ \t]*\r?(?:\n|\Z)"),
    ("enable password", rf"enable[ \t]+password[ \t]+{_LEVEL}{_PLAIN}[ \t]*\r?(?:\n|\Z)"),
    ("username", rf"username[ \t]+[\w.@-]{{1,40}}[ \t]+{_LEVEL}(?:password|secret)[ \t]+{_PLAIN}"),
    ("neighbor", rf"neighbor[ \t]+\S{{1,60}}[ \t]+password[ \t]+{_PLAIN}"),
    ("key-string", rf"key-string[ \t]+{_PLAIN}"),
    ("message-digest-key", rf"message-digest-key[ \t]+\d{{1,3}}[ \t]+md5[ \t]+{_PLAIN}"),
    ("authentication-key", rf"authentication-key[ \t]+\d{{1,5}}[ \t]+md5[ \t]+{_PLAIN}"),
    ("ppp chap", rf"ppp[ \t]+chap[ \t]+password[ \t]+{_PLAIN}"),
    ("ppp pap", rf"ppp[ \t]+pap[ \t]+sent-username[ \t]+\S{{1,60}}[ \t]+password[ \t]+{_PLAIN}"),
    ("wpa-psk", rf"wpa-psk[ \t]+ascii[ \t]+{_PLAIN}"),
    ("ip ftp password", rf"ip[ \t]+ftp[ \t]+password[ \t]+{_PLAIN}"),
    ("set passw", rf"set[ \t]+passw(?:or)?d[ \t]+{_VALUE}[ \t]*\r?(?:\n|\Z)"),
    ("set psksecret", rf"set[ \t]+psksecret[ \t]+{_VALUE}"),
    ("password simple", rf"password[ \t]+simple[ \t]+{_VALUE}"),
    ("plaintext-password", rf"plaintext-password[ \t]+{_VALUE}"),
    *((f"]:{port}", rf"\]:{port}[ \t]+[^\s:]{{1,80}}:{_VALUE}") for port in (25, 465, 587)),  # Postfix' sasl_passwd
)
IDIOMS = tuple((word, idiom, "device-password") for word, idiom in _LINES)
"""The word that begins a line's idiom, the idiom (in any case), and the rule that reports it."""
