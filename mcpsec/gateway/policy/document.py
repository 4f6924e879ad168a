"""``policy document``: the policy as a Markdown page for those who review it: who may do what, and what says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mcpsec.deployment.model import ArgumentFilter, Client, Deployment, Role, Rule, Values

__all__ = ["markdown"]


def markdown(deployment: Deployment) -> str:
    """The whole page. The same deployment gives the same text, so that it can be kept under version control."""
    source = f"`{deployment.path.name}`" if deployment.path else "a deployment"
    lines = [
        "# Who may do what",
        "",
        f"Written by `mcpsec policy document` from {source}. What is not granted here is refused.",
        "",
    ]
    for client in deployment.clients:
        lines += _client(deployment, client)
    if not deployment.clients:
        lines += ["No client is defined: nobody may do anything.", ""]
    lines += _upstreams(deployment)
    lines += _rules(deployment.rules)
    return "\n".join(lines).rstrip() + "\n"


def _client(deployment: Deployment, client: Client) -> Iterator[str]:
    holders: list[tuple[str, Role | Client]] = [(f"role {name}", deployment.roles[name]) for name in client.roles]
    holders.append(("the client itself", client))
    yield f"## Client {_plain(client.id)}"
    yield ""
    yield f"- Identity: {_identity(client)}"
    if client.signing_keys:
        yield f"- Signing keys: {', '.join(_code(key.id) for key in client.signing_keys)}"
    yield f"- Rate: {client.rate_limit or deployment.default_rate_limit or 'no limit'}"
    asked = sorted({name for _, holder in holders for name in holder.allow_server_requests})
    yield f"- Upstreams may ask it for: {', '.join(asked) or 'nothing'}"
    for upstream, names in sorted(_credentials(holders).items()):
        yield f"- Credentials of its own at {_plain(upstream)}: {_codes(sorted(names))}"
    yield ""
    timed = any(holder.until for _, holder in holders)
    grants = [
        (_codes(holder.allow_resources), ", ".join(holder.allow_methods), label, *([_end(holder)] if timed else []))
        for label, holder in holders
        if holder.allow_resources and holder.allow_methods
    ]
    head = ("what", "for", "granted by", *(["until"] if timed else []))
    yield from _table("May use", head, grants, "Nothing.")
    filters = [
        (_code(pattern), _code(argument), _wanted(values), label)
        for label, holder in holders
        for pattern, wanted in holder.resource_filters.items()
        for argument, values in wanted.items()
    ]
    if filters:
        yield from _table("Only with these arguments", ("of", "argument", "must be", "says"), filters, "")


def _end(holder: Role | Client) -> str:
    return holder.until.isoformat(sep=" ") if holder.until else "no end"


def _credentials(holders: Sequence[tuple[str, Role | Client]]) -> dict[str, set[str]]:
    """Upstream → the names of the headers and variables that are set for this client's calls; never a value."""
    found: dict[str, set[str]] = {}
    for _, holder in holders:
        for member in (holder.upstream_headers, holder.upstream_environment):
            for upstream, values in member.items():
                found.setdefault(upstream, set()).update(values)
    return found


def _identity(client: Client) -> str:
    certificate = client.certificate
    if certificate is None:
        return "no certificate"
    if certificate.san is not None:
        return f"certificate with the subject alternative name {_code(certificate.san)}"
    return f"certificate with the SHA-256 fingerprint {_code(certificate.sha256 or '')}"


def _upstreams(deployment: Deployment) -> Iterator[str]:
    yield "## What the tools do"
    yield ""
    yield "What no line names is execute if it is a tool, and read if it is a resource or prompt."
    yield ""
    rows = [
        (_plain(name), _code(pattern), given)
        for name, upstream in deployment.upstreams.items()
        for pattern, given in upstream.access.items()
    ]
    yield from _table(None, ("upstream", "what", "is"), rows, "No tool is classified: all are execute.")


def _rules(rules: Sequence[Rule]) -> Iterator[str]:
    if not rules:
        return
    yield "## For everybody"
    yield ""
    rows = []
    for rule in rules:
        require = rule.require
        conditions = []
        if require.certificate_sha256:
            conditions.append(f"with one of the certificates {_codes(require.certificate_sha256)}")
        if require.networks:
            conditions.append(f"from {_codes(require.networks)}")
        if require.window:
            conditions.append(f"within {_code(require.window)}")
        if require.confirmation_header:
            conditions.append(
                f"with an operator's confirmation in {_code(require.confirmation_header)}, once for each call"
            )
        rows.append((_codes(rule.resources), ", and ".join(conditions) or "always"))
    yield from _table(None, ("what", "only"), rows, "")


def _wanted(values: Values | ArgumentFilter) -> str:
    if isinstance(values, tuple):
        return f"one of {_codes(values)}" if values else "nothing: every call is refused"
    if values.regex is not None:
        return f"text like {_code(values.regex)}"
    bounds = [(word, bound) for word, bound in (("at least", values.min), ("at most", values.max)) if bound is not None]
    return "a number, " + " and ".join(f"{word} {bound}" for word, bound in bounds)


def _table(title: str | None, head: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> Iterator[str]:
    if title:
        yield f"**{title}**"
        yield ""
    if rows:
        yield _row(head)
        yield _row(["---"] * len(head))
        yield from map(_row, rows)
    else:
        yield empty
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _codes(texts: Iterable[str]) -> str:
    return ", ".join(map(_code, texts))


def _code(text: str) -> str:
    """A code span; a bar would end the table's cell, and the fence must be longer than any inside."""
    text = "".join(char if char.isprintable() else "\ufffd" for char in text).replace("|", "\\|")
    longest = max((len(run) for run in "".join(char if char == "`" else " " for char in text).split()), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"{fence}{text}{fence}"


def _plain(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_{}[]()#+!|<>" else char for char in text if char.isprintable())
