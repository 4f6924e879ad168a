"""Containers: what they get of the host, who reaches them, how little they may do, whether they are watched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mcpsec.audit.launch import DANGEROUS_CAPABILITIES, socket_or_root
from mcpsec.audit.model import Finding
from mcpsec.audit.readers.compose import Compose, Port, Service
from mcpsec.audit.readers.dockerfile import Stage
from mcpsec.audit.readers.kubernetes import Container, Object, at
from mcpsec.audit.registry import across, examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.positions import Malformed
from mcpsec.clientfiles.toml import KeyPath

__all__: list[str] = []

_FRONT = re.compile(r"(?i)(?:^|/|-)(?:nginx|caddy|traefik|envoy|haproxy|mcpsec|openresty|kong|ingress)(?:[-_/:@.]|$)")
_LEVELS = re.compile(r"(?i)(?:^|_)(?:LOG_?LEVEL|LOGLEVEL|LOGGING_LEVEL|RUST_LOG|LOG_VERBOSITY)$")
_DEBUG = re.compile(r"(?i)(?:\w+=)?(?:debug|trace|silly)")


@examines("compose")
def ports(subject: Subject, context: Context) -> Iterator[Finding]:
    """DEP001."""
    model: Compose = subject.model
    for service in model.services:
        wrong = False
        for port in service.ports:
            if _is_public(port) and not _is_front(service):
                wrong = True
                repair = f'"127.0.0.1:{port.text}"' if re.fullmatch(r"\d+:\d+(?:/tcp)?", port.text) else ""
                edit = subject.replace(port.path, repair) if repair and _is_plain(subject, port) else None
                text = f"port {port.text} on all interfaces"
                yield subject.fail("DEP001", port.path, text, name=service.name, key=f"port {port.text}", edit=edit)
        if service.table.get("network_mode") == "host":
            wrong = True
            yield subject.fail(
                "DEP001", (*service.path, "network_mode"), "the host's network", name=service.name, key="host"
            )
        if not wrong:
            yield subject.ok("DEP001", service.path, "nothing on all interfaces, or the front", name=service.name)


def _is_public(port: Port) -> bool:
    host = re.sub(r"\$\{[^}:]*:?-([^}]*)\}", r"\1", port.host)
    if "$" in host:
        return False
    return host.strip("[]") in ("", "0.0.0.0", "::", "*")  # noqa: S104


def _is_plain(subject: Subject, port: Port) -> bool:
    """True when the port is one scalar of its own in the text, so that it can be rewritten."""
    place = subject.document.place(port.path)
    return place.end > place.start and subject.text[place.start : place.end].strip("\"'") == port.text


def _is_front(service: Service) -> bool:
    """True for what is meant to be reached: a proxy, or the gateway itself."""
    words = " ".join([service.image, service.name])
    serving = any("mcpsec" in word for word in service.words("command") + service.words("entrypoint"))
    return bool(_FRONT.search(service.image) or serving or (not service.image and _FRONT.search(words.strip())))


@examines("compose")
def host(subject: Subject, context: Context) -> Iterator[Finding]:
    """DEP002."""
    model: Compose = subject.model
    for service in model.services:
        wrong = list(_host_faults(subject, service))
        yield from wrong
        if not wrong:
            yield subject.ok("DEP002", service.path, "gets nothing of the host's", name=service.name)


def _host_faults(subject: Subject, service: Service) -> Iterator[Finding]:
    table, path = service.table, service.path
    if table.get("privileged") is True:
        yield subject.fail(
            "DEP002", (*path, "privileged"), "privileged", name=service.name, severity="critical", key="privileged"
        )
    for key in ("pid", "ipc", "userns_mode", "uts", "cgroup"):
        if table.get(key) == "host":
            yield subject.fail("DEP002", (*path, key), f"{key}: host", name=service.name, key=key)
    for volume in service.volumes:
        severity, what = socket_or_root(volume.source, read_only=volume.read_only)
        if severity:
            yield subject.fail(
                "DEP002",
                volume.path,
                f"mounts {what}",
                name=service.name,
                severity=severity,
                key=f"mount {volume.source}",
            )
    for index, capability in enumerate(_list(table.get("cap_add"))):
        if str(capability).upper().removeprefix("CAP_") in DANGEROUS_CAPABILITIES:
            yield subject.fail(
                "DEP002",
                (*path, "cap_add", index),
                f"capability {capability}",
                name=service.name,
                key=f"capability {capability}",
            )
    for index, option in enumerate(_list(table.get("security_opt"))):
        if re.search(r"unconfined|label[:=]disable", str(option)):
            yield subject.fail(
                "DEP002", (*path, "security_opt", index), str(option), name=service.name, key=f"option {option}"
            )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@examines("compose")
def least(subject: Subject, context: Context) -> Iterator[Finding]:
    """DEP003, RES003, LOG003."""
    model: Compose = subject.model
    for service in model.services:
        table = service.table
        missing = [] if _plain_user(table.get("user")) else ["an ordinary user"]
        missing += [] if table.get("read_only") is True else ["a read-only file system"]
        missing += [] if "ALL" in [str(each).upper() for each in _list(table.get("cap_drop"))] else ["cap_drop: ALL"]
        privileges = any(
            "no-new-privileges" in str(each) and "false" not in str(each) for each in _list(table.get("security_opt"))
        )
        missing += [] if privileges else ["no-new-privileges"]
        yield _lacks(subject, "DEP003", service.path, missing, service.name)
        missing = [] if _watched(table) else ["a health check"]
        missing += (
            []
            if table.get("restart") not in (None, "no", False) or at(table, "deploy", "restart_policy")
            else ["a restart policy"]
        )
        limits = at(table, "deploy", "resources", "limits") or table.get("mem_limit")
        missing += [] if limits else ["resource limits"]
        yield _lacks(subject, "RES003", service.path, missing, service.name)
        for name, (value, path) in service.environment.items():
            if _is_debug(name, value):
                yield subject.fail("LOG003", path, f"{name}={value}", name=service.name, severity="medium", key=name)


def _lacks(subject: Subject, check: str, path: KeyPath, missing: list[str], name: str, **more: Any) -> Finding:
    if missing:
        return subject.fail(check, path, f"lacks {', '.join(missing)}", name=name, key="lacks", **more)
    return subject.ok(check, path, "all of it", name=name, **more)


def _plain_user(user: Any) -> bool:
    return user is not None and str(user).partition(":")[0] not in ("", "0", "root")


def _watched(table: dict[str, Any]) -> bool:
    check = table.get("healthcheck")
    return isinstance(check, dict) and check.get("disable") is not True


def _is_debug(name: str, value: str) -> bool:
    """True for a variable that sets a log level at which contents are written."""
    return bool(_LEVELS.search(name)) and bool(_DEBUG.fullmatch(value.strip()))


# --- Dockerfile ---


@examines("dockerfile")
def image(subject: Subject, context: Context) -> Iterator[Finding]:
    """DEP003, RES003, LOG003."""
    stages: list[Stage] = subject.model
    last = stages[-1]
    user = last.last("USER")
    name = user.text.partition(":")[0].strip() if user else ""
    if user is None and re.search(r"(?i)nonroot|distroless.*nonroot", last.image):
        yield subject.ok("DEP003", last.line, f"{last.image} runs as an ordinary user")
    elif name in ("", "0", "root"):
        yield subject.fail("DEP003", user.line if user else last.line, "runs as root", key="root")
    else:
        yield subject.ok("DEP003", user.line if user else last.line, f"runs as {name}")
    check = last.last("HEALTHCHECK")
    if check is None or check.text.upper() == "NONE":
        yield subject.fail("RES003", last.line, "lacks a health check", key="health")
    else:
        yield subject.ok("RES003", check.line, "a health check")
    for each in last.instructions:
        for variable, value in each.pairs if each.name == "ENV" else ():
            if _is_debug(variable, value):
                yield subject.fail("LOG003", each.line, f"{variable}={value}", severity="medium", key=variable)


# --- Kubernetes ---


@examines("kubernetes")
def pods(subject: Subject, context: Context) -> Iterator[Finding]:
    """DEP001, DEP002, DEP003, RES003, LOG003."""
    objects: list[Object] = subject.model
    for each in objects:
        pod = each.pod
        if pod is None:
            continue
        more: dict[str, Any] = {"name": each.label, "document": each.document}
        if pod.spec.get("hostNetwork") is True:
            yield subject.fail("DEP001", (*pod.path, "hostNetwork"), "the host's network", key="host", **more)
        wrong = list(_pod_faults(subject, each, more))
        yield from wrong
        if not wrong:
            yield subject.ok("DEP002", pod.path, "gets nothing of the host's", **more)
        for container in pod.containers:
            if not container.init:
                yield _container_least(subject, pod.spec, container, more)
                yield _container_watched(subject, each, container, more)
            for index, row in enumerate(_list(container.table.get("env"))):
                if _is_debug(str(at(row, "name") or ""), str(at(row, "value") or "")):
                    path = (*container.path, "env", index, "value")
                    yield subject.fail(
                        "LOG003", path, f"{row['name']}={row['value']}", severity="medium", key=str(row["name"]), **more
                    )


def _pod_faults(subject: Subject, each: Object, more: dict[str, Any]) -> Iterator[Finding]:
    pod = each.pod
    assert pod is not None
    for key in ("hostPID", "hostIPC"):
        if pod.spec.get(key) is True:
            yield subject.fail("DEP002", (*pod.path, key), key, key=key, **more)
    for index, volume in enumerate(_list(pod.spec.get("volumes"))):
        source = at(volume, "hostPath", "path")
        if isinstance(source, str):
            severity, what = socket_or_root(source)
            path: KeyPath = (*pod.path, "volumes", index, "hostPath", "path")
            text = f"mounts {what}" if severity else f"mounts {source} of the node"
            yield subject.fail("DEP002", path, text, severity=severity or "medium", key=f"mount {source}", **more)
    for container in pod.containers:
        context = container.table.get("securityContext")
        place = (*container.path, "securityContext")
        if at(context, "privileged") is True:
            yield subject.fail(
                "DEP002",
                (*place, "privileged"),
                f"{container.name} is privileged",
                severity="critical",
                key=f"privileged {container.name}",
                **more,
            )
        for index, capability in enumerate(_list(at(context, "capabilities", "add"))):
            if str(capability).upper().removeprefix("CAP_") in DANGEROUS_CAPABILITIES:
                path = (*place, "capabilities", "add", index)
                yield subject.fail("DEP002", path, f"capability {capability}", key=f"capability {capability}", **more)


def _container_least(subject: Subject, spec: dict[str, Any], container: Container, more: dict[str, Any]) -> Finding:
    own, pod = container.table.get("securityContext"), spec.get("securityContext")

    def either(key: str) -> Any:
        value = at(own, key)
        return at(pod, key) if value is None else value

    user = either("runAsUser")
    missing = [] if either("runAsNonRoot") is True or (isinstance(user, int) and user > 0) else ["runAsNonRoot"]
    missing += [] if at(own, "readOnlyRootFilesystem") is True else ["readOnlyRootFilesystem"]
    missing += [] if at(own, "allowPrivilegeEscalation") is False else ["allowPrivilegeEscalation: false"]
    missing += [] if "ALL" in [str(each).upper() for each in _list(at(own, "capabilities", "drop"))] else ["drop ALL"]
    return _lacks(subject, "DEP003", container.path, missing, **more)


def _container_watched(subject: Subject, each: Object, container: Container, more: dict[str, Any]) -> Finding:
    missing = []
    if each.kind in ("Deployment", "StatefulSet", "DaemonSet"):
        probes = {"livenessProbe", "readinessProbe", "startupProbe"} & set(container.table)
        missing += [] if probes else ["a probe"]
    missing += [] if at(container.table, "resources", "limits") else ["resource limits"]
    return _lacks(subject, "RES003", container.path, missing, **more)


@examines("kubernetes")
def services(subject: Subject, context: Context) -> Iterator[Finding]:
    """DEP004 and PRM010."""
    objects: list[Object] = subject.model
    for each in objects:
        more: dict[str, Any] = {"name": each.label, "document": each.document}
        if each.kind == "Service":
            kind = at(each.table, "spec", "type")
            path = (*each.path, "spec", "type")
            if (
                kind in ("NodePort", "LoadBalancer")
                and not _FRONT.search(each.name)
                and not _selects_front(each, context)
            ):
                yield subject.fail("DEP004", path, f"type {kind}", key="type", **more)
            else:
                yield subject.ok("DEP004", path, f"type {kind or 'ClusterIP'}", **more)
        elif each.kind in ("Role", "ClusterRole"):
            wide = [
                i
                for i, rule in enumerate(_list(each.table.get("rules")))
                if "*" in _list(at(rule, "verbs")) and "*" in _list(at(rule, "resources")) and _is_wide(rule)
            ]
            for index in wide:
                yield subject.fail(
                    "PRM010", (*each.path, "rules", index), "every verb on every resource", key="wide", **more
                )
            if not wide:
                yield subject.ok("PRM010", each.path, "names what it allows", **more)
        elif (
            each.kind in ("RoleBinding", "ClusterRoleBinding") and at(each.table, "roleRef", "name") == "cluster-admin"
        ):
            yield subject.fail("PRM010", (*each.path, "roleRef"), "bound to cluster-admin", key="admin", **more)


def _is_wide(rule: Any) -> bool:
    """True for the groups that Secrets, pods and rights are in; an operator may own a group of its own."""
    groups = at(rule, "apiGroups")
    return not isinstance(groups, list) or bool(
        {"*", "", "apps", "batch", "extensions", "rbac.authorization.k8s.io"} & {str(each) for each in groups}
    )


def _selects_front(service: Object, context: Context) -> bool:
    """True when the pods that a Service selects are a proxy or the gateway."""
    wanted = at(service.table, "spec", "selector")
    if not isinstance(wanted, dict) or not wanted:
        return False
    for each in _objects(context):
        labels = at(each.table, "spec", "template", "metadata", "labels") or at(each.table, "metadata", "labels")
        if each.pod and isinstance(labels, dict) and all(labels.get(key) == value for key, value in wanted.items()):
            return any(
                _FRONT.search(str(one.table.get("image", ""))) or "mcpsec" in map(str, _list(one.table.get("command")))
                for one in each.pod.containers
            )
    return False


def _objects(context: Context) -> Iterator[Object]:
    for subject in context.of_kind("kubernetes"):
        try:
            yield from subject.model
        except Malformed:
            continue


@across
def network_policies(context: Context) -> Iterator[Finding]:
    """DEP007."""
    objects = list(_objects(context))
    if not any(each.pod for each in objects):
        return
    policies = {each.namespace for each in objects if each.kind in ("NetworkPolicy", "CiliumNetworkPolicy")}
    subject = context.of_kind("kubernetes")[0]
    for each in objects:
        if each.pod and each.namespace not in policies and not policies & {""}:
            yield subject.fail("DEP007", None, "no NetworkPolicy in its namespace", name=each.label, key="policy")
    if policies:
        yield subject.ok("DEP007", None, "a NetworkPolicy is there", name="namespace")


# --- systemd ---


@examines("systemd")
def unit(subject: Subject, context: Context) -> Iterator[Finding]:
    """DEP003 and LOG003."""
    model = subject.model
    if not model.values.get(("Service", "ExecStart")):
        return

    def on(key: str) -> bool:
        return model.last("Service", key).lower() in ("yes", "true", "1", "on", "strict", "full")

    missing = [] if model.last("Service", "User") not in ("", "root", "0") or on("DynamicUser") else ["User"]
    missing += [] if on("NoNewPrivileges") or on("DynamicUser") else ["NoNewPrivileges"]
    missing += [] if on("ProtectSystem") or on("DynamicUser") else ["ProtectSystem"]
    line = model.line("Service", "ExecStart")
    if missing:
        yield subject.fail("DEP003", line, f"lacks {', '.join(missing)}", key="lacks")
    else:
        yield subject.ok("DEP003", line, "an ordinary user without new privileges")
    for value, at_line in model.all("Service", "Environment"):
        for name, text in re.findall(r"[\"']?([A-Za-z_]\w*)=([^\"'\s]*)", value):
            if _is_debug(name, text):
                yield subject.fail("LOG003", at_line, f"{name}={text}", severity="medium", key=name)
