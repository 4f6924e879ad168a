"""Who may be asked how much: requests that must be refused, and load, need the owner's consent.

``refuse`` needs ``--i-own-this HOST``, an entry of ``[[audit.targets]]`` in the deployment file, or that the endpoint
is that deployment's own. ``load`` needs the same, and beyond this machine an entry that says ``allow_load = true``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.audit.checks.tls import is_local
from mcpsec.audit.evidence import deployed
from mcpsec.audit.probes.wire import Target, target_of
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Context
    from mcpsec.deployment.model import AuditTarget, Deployment

__all__ = ["deployment_of", "require"]


def require(context: Context) -> None:
    """Raise UsageError for the first endpoint that its owner has not opened to this profile."""
    if context.profile not in ("refuse", "load"):
        return
    for subject in context.of_kind("endpoint"):
        _require(target_of(subject.label), context)


def _require(target: Target, context: Context) -> None:
    owned = {host.lower() for host in context.options.get("owned") or ()}
    entry = _entry(target, context)
    if not (target.host.lower() in owned or entry is not None or _is_own(target, context)):
        raise UsageError(
            f"{target}: the profile {context.profile} sends requests that must be refused: its owner has to agree",
            hint=f"if that is you: --i-own-this {target.host}, or a [[audit.targets]] entry in the deployment file",
        )
    if context.profile == "load" and not is_local(target.host) and not (entry is not None and entry.allow_load):
        raise UsageError(
            f"{target}: the profile load is for endpoints of this machine, and for those that allow it",
            hint="[[audit.targets]] with this url and allow_load = true in the deployment file (-c FILE)",
        )


def _deployments(context: Context) -> list[Deployment]:
    given = context.options.get("deployment")
    found = [] if given is None else [given]
    found += [each.model.deployment for each in deployed(context.subjects) if each.model.deployment is not None]
    return found


def _entry(target: Target, context: Context) -> AuditTarget | None:
    for deployment in _deployments(context):
        for entry in deployment.audit.targets:
            named = target_of(entry.url)
            if (named.host, named.port, named.tls) == (target.host, target.port, target.tls):
                return entry
    return None


def deployment_of(target: Target, context: Context) -> Deployment | None:
    """The deployment behind an endpoint: the one that was given for it (``-c``), else the one whose address it is."""
    given: Deployment | None = context.options.get("deployment")
    return given if given is not None else _matching(target, context)


def _matching(target: Target, context: Context) -> Deployment | None:
    """The deployment of which this is the public URL, or the address of this machine that it listens on."""
    from mcpsec.connect.credentials import url_of

    for deployment in _deployments(context):
        own = target_of(url_of(deployment))
        if (own.host, own.port) == (target.host, target.port):
            return deployment
        if is_local(target.host) and deployment.server.listen.port in (target.port, 0) and target.tls:
            return deployment
    return None


def _is_own(target: Target, context: Context) -> bool:
    """Whether the endpoint is a deployment's own: by its address, or on this machine when somebody said so (``-c``)."""
    given = context.options.get("deployment")
    return _matching(target, context) is not None or (given is not None and is_local(target.host))
