"""Bringing another deployment into use in a running gateway, without a request noticing.

This is the gateway's own business in a module of its own: it changes what ``server.Gateway`` keeps to itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.errors import Error
from mcpsec.gateway import systemd
from mcpsec.gateway.answers import AnswerGuard
from mcpsec.gateway.assembly import make_cleaners, make_confirmations, make_verifier, seal_key
from mcpsec.gateway.identification import certificates_wanted
from mcpsec.gateway.oauth.issuing import resource_server
from mcpsec.gateway.policy import Policy
from mcpsec.gateway.refreshing import renew_shared
from mcpsec.gateway.reload import keep_fixed, same_server
from mcpsec.gateway.secrets import SecretKeeper
from mcpsec.gateway.startup import retire, start_upstreams
from mcpsec.gateway.steps.identity import ClientDirectory
from mcpsec.gateway.trust import TrustFiles
from mcpsec.gateway.upstreams.base import UpstreamStartError
from mcpsec.gateway.upstreams.credentials import credentials_named
from mcpsec.gateway.upstreams.factory import renew_secrets
from mcpsec.gateway.way import way_of_requests
from mcpsec.telemetry.alerting import channels_of

if TYPE_CHECKING:
    from mcpsec.deployment.model import Deployment, Limits
    from mcpsec.gateway.server import Gateway
    from mcpsec.gateway.upstreams.base import Upstream
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["reload"]


async def reload(gateway: Gateway) -> bool:
    """Read the deployment again and use it; one that can't be used changes nothing. True when it is in use."""
    if gateway._read is None:
        return False
    async with gateway._changing:
        systemd.notify_reloading()
        try:
            wanted, kept = keep_fixed(gateway._deployment, gateway._read())
            await _apply(gateway, wanted)
        except Error as error:
            gateway._say(f"the changed deployment can't be used, the old one stays: {error}")
            gateway._reloads.note(successful=False)
            gateway._recorder.event(
                "configuration", name="deployment", state="refused", severity="high",
                detail="the changed deployment can't be used, the old one stays",
            )  # fmt: skip
            return False
        finally:
            systemd.notify("READY=1")
        gateway._files.follow(gateway._deployment)
        gateway._reloads.note(successful=True)
        gateway._recorder.configured("reloaded", gateway._deployment.path)
        gateway._say("the deployment was read again: in use now")
        if kept:
            gateway._say(f"changed, but only a restart brings it into use: {', '.join(kept)}")
        return True


async def _apply(gateway: Gateway, wanted: Deployment) -> None:
    """Read the secrets of the wanted deployment, and use both; after a failure everything is as before."""
    before = gateway._secrets
    try:
        secrets = SecretKeeper(wanted, say=gateway._say, record=gateway._record)
        await asyncio.to_thread(secrets.fetch, before)
        secrets.subscribe(gateway._secrets_changed)
        gateway._secrets = secrets
        await _use(gateway, wanted)
    except BaseException:
        gateway._secrets = before
        before.configure()
        raise


async def _use(gateway: Gateway, wanted: Deployment) -> None:
    """Everything that can fail or wait comes first; then one step takes all of it into use, between two requests."""
    running = gateway._deployment
    secrets = gateway._secrets
    policy, cleaners = Policy(wanted), make_cleaners(wanted)
    verifier = make_verifier(wanted, secrets, gateway._verifier)
    confirmations = make_confirmations(
        wanted, gateway._state, gateway._began, secrets.reveal, (running, gateway._confirmations)
    )
    channels = channels_of(wanted.alerts, secrets.reveal)
    seal_key(wanted, secrets.reveal)
    tokens = resource_server(wanted, say=gateway._say, record=gateway._recorder.event, reveal=secrets.reveal)
    certificates, trust = certificates_wanted(wanted), gateway._trust
    if wanted.server.tls != running.server.tls or certificates != certificates_wanted(running):
        trust = TrustFiles(wanted.server.tls, certificates=certificates, newest=trust.newest)
    kept = {
        name
        for name, each in wanted.upstreams.items()
        if same_server(each, running.upstreams.get(name))
        and credentials_named(wanted, each) == credentials_named(running, each)
    }
    guard = AnswerGuard(lambda: gateway._policy, gateway._seal, gateway._cleaners, gateway._given_tasks)
    fresh = {
        name: gateway._make_upstream(each, guard, wanted) for name, each in wanted.upstreams.items() if name not in kept
    }
    if fresh:
        try:
            gateway._tasks += await start_upstreams(fresh, failed=gateway._upstream_failed)
        except UpstreamStartError as fault:  # as at the start of the gateway, where the others serve without it
            gateway._upstream_failed(fault.upstream, fault)
    old, old_tokens = gateway._protected, gateway._tokens
    gone = {name: upstream for name, upstream in gateway._upstreams.items() if name not in kept}
    before = dict(vars(gateway))
    try:
        gateway._deployment, gateway._policy, gateway._verifier, gateway._trust = wanted, policy, verifier, trust
        gateway._confirmations = confirmations
        gateway._tokens, gateway._directory = tokens, ClientDirectory(wanted.clients)
        gateway._upstreams = {name: fresh.get(name) or gateway._upstreams[name] for name in wanted.upstreams}
        gateway._protected = {
            name: old[name] if each == running.upstreams.get(name) else gateway._protect(name)
            for name, each in wanted.upstreams.items()
        }
        for name in kept:
            renew_secrets(gateway._upstreams[name], wanted, wanted.upstreams[name], secrets.reveal)
        gateway._aggregate = gateway._make_aggregate()
        gateway._start_tokens()
        steps = way_of_requests(gateway)
    except BaseException:
        vars(gateway).update(before)
        await asyncio.gather(*(upstream.close() for upstream in fresh.values()), return_exceptions=True)
        raise
    gateway._chain.use(steps)
    for registry in gateway._registries:
        registry.heads.forget_ways()
    gateway._cleaners.clear()
    gateway._cleaners.update(cleaners)
    renew_shared(gateway)
    gateway._observers.use_channels(channels)
    _use_limits(gateway, wanted.server.limits)
    _look_again(gateway, before["_trust"], require_client=certificates == "required")
    gateway._watch_lifetimes()
    trust.used()
    _let_go(gateway, gone, old, wanted.server.limits.drain_timeout)
    if old_tokens is not None:
        await old_tokens.close()


def _look_again(gateway: Gateway, former: TrustFiles, *, require_client: bool) -> None:
    """At every peer that is connected: by the clients and the TLS files that are in use now."""
    registry = gateway._registries[0]
    registry.identify_again(gateway._directory.identify, require_client=require_client)
    if gateway._trust is not former:
        registry.abort_where(gateway._trust.replacing(former))
    gateway._chain.streams.know(gateway._directory)


def _use_limits(gateway: Gateway, limits: Limits) -> None:
    gateway._sessions.limits = limits
    gateway._seal.lifetime = limits.session_idle_timeout
    gateway._in_flight.bound = limits.in_flight_per_client
    gateway._chain.stream_bytes = limits.stream_bytes
    for registry in gateway._registries:
        registry.use(limits)


def _let_go(gateway: Gateway, gone: dict[str, Upstream], old: dict[str, ProtectedUpstream], patience: float) -> None:
    """Their sessions are over; what they are answering at the moment, they answer."""
    gateway._tasks = [task for task in gateway._tasks if not task.done()]
    for name, protected in old.items():
        if gateway._protected.get(name) is not protected:
            protected.breakers.retire()
    for name, upstream in gone.items():
        sessions = [session for session in gateway._sessions if session.upstream == name]
        for session in sessions:
            gateway._sessions.forget(session)
        work = retire(old[name], upstream, sessions, patience)
        gateway._tasks.append(asyncio.get_running_loop().create_task(work))
