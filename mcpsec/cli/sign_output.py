"""How ``mcpsec sign`` shows a signed request and the answer to it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from mcpsec.cli.output import out
from mcpsec.errors import UsageError
from mcpsec.signing.wire import curl_line, raw_http

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.connect import Credentials
    from mcpsec.connect.draft import Draft
    from mcpsec.connect.exchange import Answer
    from mcpsec.signing import Headers

__all__ = ["show_answer", "show_request"]


def show_request(
    draft: Draft, signature: Headers, form: str, credentials: Credentials, body_file: Path | None = None
) -> None:
    """Print a signed request as ``headers``, ``json``, ``http`` or ``curl``."""
    if form == "headers":
        out.result("\n".join(f"{name}: {value}" for name, value in {**draft.headers, **signature}.items()))
    elif form == "json":
        out.json(_document(draft, signature, with_body=body_file is None))
    elif form == "http":
        sys.stdout.buffer.write(raw_http(draft.message, draft.complete(signature)))
        sys.stdout.buffer.flush()
    else:
        out.result(_curl(draft, signature, credentials, body_file))


def _curl(draft: Draft, signature: Headers, credentials: Credentials, body_file: Path | None) -> str:
    try:
        return curl_line(
            draft.message,
            draft.url,
            draft.complete(signature),
            body_file=body_file,
            certificate=credentials.certificate,
            key=credentials.key,
            ca=credentials.ca,
        )
    except UnicodeDecodeError:
        raise UsageError("a body that is not text needs --body-file for a curl line") from None


def _document(draft: Draft, signature: Headers, *, with_body: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": "mcpsec.sign/1",
        "method": draft.message.method,
        "url": draft.url,
        "headers": {**draft.headers, **signature},
    }
    if with_body and draft.message.body:
        document["body"] = draft.message.body.decode("utf-8", "replace")
    return document


def show_answer(answer: Answer, draft: Draft, signature: Headers, *, as_json: bool) -> None:
    """Print status, time and answer; the events of a stream one after the other."""
    if as_json:
        document = _document(draft, signature, with_body=False)
        document["answer"] = {
            "status": answer.status,
            "seconds": round(answer.seconds, 6),
            "first_byte_seconds": round(answer.first_byte, 6),
            "streamed": answer.streamed,
            "headers": answer.headers,
            "messages": [_readable(raw) for raw in answer.messages],
            "body": answer.body.decode("utf-8", "replace"),
        }
        out.json(document)
        return
    kind = f", {len(answer.messages)} events" if answer.streamed else ""
    out.result(f"HTTP {answer.status} {answer.reason} in {answer.seconds * 1000:.1f} ms{kind}")
    for raw in answer.messages:
        value = _readable(raw)
        out.result(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))
    if answer.body:
        out.result(answer.body.decode("utf-8", "backslashreplace"))


def _readable(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "backslashreplace")
