"""What is the same in every proxy: addresses, durations, what a log format must not hold."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from mcpsec.audit.checks.tls import is_local

__all__ = ["LONGEST", "leaks_in_log", "listens_locally", "plain_remote", "seconds"]

LONGEST = 30.0
"""Seconds that connecting, headers and bodies may take."""
_SENSITIVE = re.compile(
    r"""(?ix) \$(?:http_authorization|http_proxy_authorization|http_cookie|http_x_api_key|request_body|cookie_\w+
          |arg_(?:\w*token|\w*key|secret|password|code)|ssl_client_raw_cert|ssl_client_cert|ssl_client_escaped_cert)\b
      | %\[(?:req\.(?:f?hdr|cook)|capture\.req\.hdr)\((?:authorization|cookie|x-api-key)|%\[req\.body
      | %REQ\((?:AUTHORIZATION|COOKIE|X-API-KEY)\b"""
)
_BRIDGE = ip_network("172.17.0.0/16")
"""Docker's own bridge: it never leaves the machine."""
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "": 1}


def leaks_in_log(text: str) -> str:
    """The first credential that a log format would write; empty for none."""
    match = _SENSITIVE.search(text)
    return match[0] if match else ""


def seconds(text: str, unit: str = "s") -> float | None:
    """A duration in seconds; ``unit`` is what a bare number counts. None for what is no duration."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text) * _UNITS[unit]
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(us|ms|min|[smhd])", text)
    if not parts or re.sub(r"\s", "", text) != "".join(number + each for number, each in parts):
        return None
    return sum(float(number) * _UNITS[each] for number, each in parts)


def listens_locally(address: str) -> bool:
    """True for an address that only this machine reaches."""
    address = address.strip()
    if address.startswith(("unix", "/", "abns@")):
        return True
    host = address.rpartition(":")[0] if ":" in address and not address.endswith("]") else address
    return is_local(host) if host else False


def plain_remote(target: str) -> str:
    """The other machine that plain HTTP is spoken to; empty for this machine, a container's name, or TLS.

    A name without a dot is one of a container network or of a service in the same namespace.
    """
    if target.lower().startswith(("https:", "wss:", "unix:", "h2:", "grpcs:", "fd:")):
        return ""
    try:
        host = urlsplit(target if "://" in target else f"http://{target}").hostname or ""
    except ValueError:
        return ""
    if not host or re.search(r"[${}]", host) or is_local(host):
        return ""
    try:
        address = ip_address(host)
    except ValueError:
        inner = host.endswith((".svc", ".svc.cluster.local", ".internal", ".local"))
        return "" if "." not in host or inner else host
    return "" if address.is_unspecified or address in _BRIDGE else host
