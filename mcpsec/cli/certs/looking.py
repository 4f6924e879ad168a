"""`certs inspect`, `verify`, `lint`, `fingerprint`: any certificate, wherever it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mcpsec.cli.certs.context import CertsContext, Format, context, purpose_of
from mcpsec.cli.certs.rendering import SCHEMA
from mcpsec.cli.output import out
from mcpsec.errors import ConfigurationError, Error, ExitCode, NotAssessedError, UsageError
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from mcpsec.certs.ledger import Purpose
    from mcpsec.certs.reading import Found

__all__ = ["fingerprint", "inspect", "lint", "verify"]

_FILE_ENDINGS = {".pem", ".crt", ".cer", ".cert", ".der", ".csr", ".crl", ".key", ".p12", ".pfx"}
Targets = Annotated[
    list[str],
    typer.Argument(metavar="TARGET...", help="A file, a directory, HOST:PORT, or a name or serial number in the PKI."),
]


def found_in(own: CertsContext, target: str) -> Iterator[Found]:
    """The certificates that a word on the command line means: a path, an endpoint, or a name of the PKI."""
    from mcpsec.certs.reading import Found, endpoint_of, load_certificates, read_target

    if endpoint_of(target) is not None or Path(target).exists():
        yield from read_target(target)
        return
    if "/" not in target and (own.directory / "pki.toml").is_file():
        from cryptography import x509

        with own.open() as pki:
            try:
                entry = pki.current(target)
            except UsageError:
                if _is_file_name(target):
                    raise ConfigurationError("no such file", path=target, hint="check the path") from None
                raise
            files = pki.files_of(entry)
            if files is not None and files.chain.is_file():
                for position, certificate in enumerate(load_certificates(files.chain)):
                    yield Found(certificate, str(files.certificate), position)
            else:
                yield Found(x509.load_der_x509_certificate(entry.der), "ledger")
        return
    if _is_file_name(target):
        raise ConfigurationError("no such file", path=target, hint="check the path")
    raise ConfigurationError(
        f"no such file, and no PKI in {own.directory} that could have a certificate of that name",
        path=target,
        hint="check the path, or name the PKI: --dir DIR or -c FILE",
    )


def _is_file_name(target: str) -> bool:
    """True for a word that was meant as a file: certificates are hardly given such names."""
    return "/" in target or Path(target).suffix.lower() in _FILE_ENDINGS


def inspect(
    ctx: typer.Context,
    *,
    targets: Targets,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Show what certificates, revocation lists and signing requests say. Nothing is verified."""
    from mcpsec.certs.inspection import describe, describe_list, describe_request
    from mcpsec.certs.reading import NoCertificateError, read_lists, request_in

    own = context(ctx)
    documents: list[dict[str, Any]] = []
    for target in targets:
        others: list[dict[str, Any]] = [{"place": one.place, **describe_list(one.crl)} for one in read_lists(target)]
        if (request := request_in(target)) is not None:
            others.append({"place": target, **describe_request(request)})
        try:
            documents += [
                {"place": found.place, "position": found.position, **describe(found.certificate)}
                for found in found_in(own, target)
            ]
        except NoCertificateError:
            if not others:
                raise
        documents += others
    if format == "json":
        out.json({"schema": SCHEMA, "inspected": documents})
        return
    for document in documents:
        out.result("\n".join(f"{key.replace('_', ' '):24} {_words(value)}" for key, value in document.items()) + "\n")


def _words(value: Any) -> str:
    match value:
        case None:
            return "-"
        case []:
            return "-"
        case list():
            return ", ".join(_one_word(one) for one in value)
        case bool():
            return "yes" if value else "no"
        case _:
            return plain(value)


def _one_word(value: Any) -> str:
    match value:
        case {"kind": kind, "value": text}:
            return plain(f"{kind}:{text}")
        case {"serial": serial, "date": date, "reason": reason}:
            return f"{serial} ({date}, {reason})"
        case _:
            return plain(value)


def fingerprint(
    ctx: typer.Context,
    *,
    targets: Targets,
    spki: Annotated[bool, typer.Option("--spki", help="Of the public key, in base64, instead.")] = False,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Print the SHA-256 fingerprint of each target's first certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from mcpsec.certs.identity import sha256_of
    from mcpsec.certs.inspection import spki_pin

    own = context(ctx)
    found = [one for target in targets for one in found_in(own, target) if one.position == 0]
    rows: list[dict[str, str | None]] = [
        {
            "place": one.place,
            "sha256": sha256_of(one.certificate.public_bytes(Encoding.DER)),
            "spki_sha256": spki_pin(one.certificate),
        }
        for one in found
    ]
    if format == "json":
        out.json({"schema": SCHEMA, "fingerprints": rows})
        return
    for row in rows:
        value = row["spki_sha256" if spki else "sha256"]
        if value is None:
            raise NotAssessedError("its key can't be parsed", path=row["place"])
        out.result(value if len(rows) == 1 else f"{value}  {row['place']}")


def lint(
    ctx: typer.Context,
    *,
    targets: Targets,
    fail_on: Annotated[
        Literal["error", "warning", "notice"], typer.Option(help="Exit 1 for faults of this severity and above.")
    ] = "warning",
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Find faults that verifiers let pass. Exit code 1 when there are any."""
    from mcpsec.certs.lint import SEVERITIES
    from mcpsec.certs.lint import lint as faults_of
    from mcpsec.certs.reading import title_of

    own = context(ctx)
    rows = [
        {
            "place": found.place,
            "position": found.position,
            "subject": title_of(found.certificate),
            "code": fault.code,
            "severity": fault.severity,
            "message": fault.message,
            "source": fault.source,
        }
        for target in targets
        for found in found_in(own, target)
        for fault in faults_of(found.certificate)
    ]
    if format == "json":
        out.json({"schema": SCHEMA, "faults": rows})
    else:
        for row in rows:
            out.result(
                plain(
                    f"{row['severity']}: {row['place']} #{row['position']} ({row['subject']}): {row['message']} "
                    f"[{row['code']}, {row['source']}]"
                )
            )
        if not rows:
            out.note("no fault")
    limit = SEVERITIES.index(fail_on)
    if any(SEVERITIES.index(row["severity"]) <= limit for row in rows):
        raise typer.Exit(ExitCode.NO)


def verify(
    ctx: typer.Context,
    *,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A file (leaf first), HOST:PORT, or a name or serial in the PKI.")
    ],
    client: Annotated[bool, typer.Option("--client", help="As a TLS client.")] = False,
    server: Annotated[bool, typer.Option("--server", help="As a TLS server.")] = False,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Trusted CAs (default: the PKI's own root).")] = None,
    crl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CRL (default: the PKI's, if it is the issuer).")
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="NAME", help="The name a server has to bear.")] = None,
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="For HOST:PORT: present this certificate …")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="… with this key.")] = None,
    at: Annotated[datetime | None, typer.Option(help="Judge as of this moment (UTC).")] = None,
    format: Annotated[Format, typer.Option(help="Output.")] = "text",
) -> None:
    """Verify a certificate: accepted only when strict OpenSSL and a second engine both accept. Exit code 0 or 1."""
    from mcpsec.certs.handshake import strict_client_context, try_handshake
    from mcpsec.certs.names import is_dns_name, kind_of_san
    from mcpsec.certs.reading import endpoint_of, load_certificates
    from mcpsec.certs.verification import Verdict
    from mcpsec.certs.verification import verify as judge

    own = context(ctx)
    endpoint = endpoint_of(target)
    certificates = [found.certificate for found in found_in(own, target)]
    if not certificates:
        raise NotAssessedError("there is no certificate here", path=target)
    if host is not None and not is_dns_name(host) and kind_of_san(host) != "ip":
        raise UsageError(f"--host: {host!r} is neither a DNS name nor an IP address", hint="xn-- for other letters")
    purpose = purpose_of(client, server) or _purpose_of_leaf(certificates[0], endpoint is not None)
    anchors_file = ca or own.directory / f"{purpose}-ca.pem"
    if ca is None and not anchors_file.is_file():
        raise UsageError("there is no CA to verify against", hint="--ca FILE")
    anchors = load_certificates(anchors_file)
    if ca is None:  # the whole path to the root is to be checked
        anchors = [one for one in anchors if one.subject == one.issuer] or anchors
    verdict: Verdict = judge(
        certificates[0],
        [*certificates[1:], *_own_intermediates(own, purpose)],
        anchors,
        purpose=purpose,
        crl=crl or _own_crl(own, certificates[0], purpose),
        host=host or (endpoint[0] if endpoint else None),
        at=at.replace(tzinfo=UTC) if at else None,
    )
    if endpoint is not None:
        tls = strict_client_context(anchors_file, cert, key)
        verdict.outcomes["handshake"] = try_handshake(*endpoint, tls, name=host)
    if format == "json":
        outcomes = {
            name: {"accepted": outcome.accepted, "reason": outcome.reason} for name, outcome in verdict.outcomes.items()
        }
        facts = {"target": target, "purpose": purpose.value, "accepted": verdict.accepted, "path": list(verdict.path)}
        out.json({"schema": SCHEMA, **facts, "outcomes": outcomes})
    else:
        words = {True: "accepts", False: "REFUSES", None: "does not judge"}
        out.result(f"{'accepted' if verdict.accepted else 'REFUSED'}: {target} as a TLS {purpose}")
        for name, outcome in verdict.outcomes.items():
            out.result(
                f"  {name}: {words[outcome.accepted]}" + (f" ({plain(outcome.reason)})" if outcome.reason else "")
            )
        if verdict.path:
            out.result(f"  path: {plain(' < '.join(verdict.path))}")
    if not verdict.accepted:
        raise typer.Exit(ExitCode.NO)


def _purpose_of_leaf(leaf: x509.Certificate, served: bool) -> Purpose:
    from cryptography import x509

    from mcpsec.certs.identity import UNREADABLE
    from mcpsec.certs.ledger import Purpose
    from mcpsec.certs.profiles import USAGES

    if served:
        return Purpose.SERVER
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        usages = x509.ExtendedKeyUsage([])
    meant = [purpose for purpose, usage in USAGES.items() if usage in usages]
    if len(meant) != 1:
        raise UsageError("the certificate doesn't say what it is for", hint="--client or --server")
    return meant[0]


def _own_intermediates(own: CertsContext, purpose: Purpose) -> list[x509.Certificate]:
    """The PKI's issuing CAs, so that a leaf alone verifies too."""
    from mcpsec.certs.reading import load_certificates

    bundle = own.directory / f"{purpose}-ca.pem"
    return load_certificates(bundle) if bundle.is_file() else []


def _own_crl(own: CertsContext, leaf: x509.Certificate, purpose: Purpose) -> Path | None:
    from mcpsec.certs.crl import parse_crls

    path = own.directory / f"{purpose}-ca.crl"
    try:
        issuers = [crl.issuer for crl in parse_crls(path)] if path.is_file() else []
        return path if leaf.issuer in issuers else None
    except (Error, ValueError):
        return path  # the verification itself says what is wrong with it
