"""nginx: the servers of a configuration with what they inherit. Included files are judged as files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.audit.readers.blocks import Directive, parse
from mcpsec.clientfiles.positions import Malformed

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject

__all__ = ["listens_tls", "read", "servers"]


def read(subject: Subject) -> Directive:
    """The tree of directives. Raises Malformed."""
    root = parse(subject.text, lines=False)
    if not root.children:
        raise Malformed("the file holds no directive")
    return root


def servers(root: Directive) -> list[Directive]:
    """Every HTTP ``server`` block; the whole file when it is a part that another one includes."""
    found = [each for each in root.walk() if each.name == "server" and each.block and not _in_stream(each)]
    bare = [each for each in root.children if each.name in ("listen", "ssl_certificate", "location", "server_name")]
    return found or ([root] if bare else [])


def _in_stream(directive: Directive) -> bool:
    scope = directive.parent
    while scope is not None:
        if scope.name in ("stream", "upstream", "mail"):
            return True
        scope = scope.parent
    return False


def listens_tls(server: Directive) -> bool:
    """True when a server answers TLS."""
    if any({"ssl", "quic", "http3"} & set(listen.args[1:]) for listen in server.find("listen")):
        return True
    return any(each.value == "on" for each in server.find("ssl"))
