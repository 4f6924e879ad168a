"""HTTP as an attacker writes it, over real TLS: each attack beside the request that differs in that flaw alone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.fixtures.raw import RawClient, call, request_bytes

DEMO = {"demo": {"builtin": "demo"}}
ECHO = call("echo", {"text": "hello"})
LIMITS = {"limits": {"header_timeout": "1s", "body_timeout": "1s", "idle_timeout": "2s", "body_bytes": 20_000}}


@pytest.fixture
def demo(deployment: Any, gateway: Any) -> Any:
    return gateway(deployment(DEMO))


def fast_gateway(deployment: Any, gateway: Any) -> Any:
    made = deployment(DEMO)
    made.document["server"] |= LIMITS
    made.write()
    return gateway(made)


def works(running: Any) -> None:
    """The twin: the same call without the flaw is answered, so the gateway is fine and the flaw was the reason."""
    with RawClient(running) as client:
        response = client.post(ECHO)
    assert (response.status, response.json["result"]["content"][0]["text"]) == (200, "hello")


def attacks(host: str) -> dict[str, bytes]:
    good = request_bytes(host, ECHO)
    head, _, body = good.partition(b"\r\n\r\n")
    length = f"Content-Length: {len(body)}".encode()
    smuggled = b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n"
    chunked = head.replace(length, b"Transfer-Encoding: chunked")
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return {
        "CL and TE": head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
        "TE and CL of the smuggled": chunked + b"\r\n" + length + b"\r\n\r\n0\r\n\r\n" + smuggled,
        "two CL that differ": head + b"\r\nContent-Length: 5\r\n\r\n" + body,
        "two CL that agree": head + b"\r\n" + length + b"\r\n\r\n" + body,
        "CL list": good.replace(length, length + b", 5"),
        "CL with a plus": good.replace(length, length.replace(b": ", b": +")),
        "CL negative": good.replace(length, b"Content-Length: -1"),
        "CL not a number": good.replace(length, b"Content-Length: abc"),
        "CL overflow": good.replace(length, b"Content-Length: 99999999999999999999999"),
        "TE unknown": head.replace(length, b"Transfer-Encoding: xchunked") + b"\r\n\r\n" + chunk,
        "TE chunked not last": head.replace(length, b"Transfer-Encoding: chunked, identity") + b"\r\n\r\n" + chunk,
        "TE gzip, chunked": head.replace(length, b"Transfer-Encoding: gzip, chunked") + b"\r\n\r\n" + chunk,
        "TE vertical tab": head.replace(length, b"Transfer-Encoding: \x0bchunked") + b"\r\n\r\n" + chunk,
        "space before the colon": good.replace(length, length.replace(b":", b" :")),
        "obsolete folding": good.replace(b"Accept: ", b"Accept:\r\n "),
        "bare line feeds": good.replace(b"\r\n", b"\n"),
        "NUL in a header": good.replace(b"Accept: ", b"Accept: \x00"),
        "CR in a header": good.replace(b"Accept: ", b"Accept: a\rb"),
        "bad chunk size": chunked + b"\r\n\r\nxyz\r\n",
        "negative chunk size": chunked + b"\r\n\r\n-1\r\n",
        "chunk without its end": chunked + b"\r\n\r\n" + b"%x\r\n%bXX0\r\n\r\n" % (len(body), body),
        "no version": good.replace(b" HTTP/1.1", b"", 1),
        "HTTP/0.9": b"GET /mcp\r\n\r\n",
        "HTTP/1.0": good.replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "upgrade": good.replace(b"Accept:", b"Connection: upgrade\r\nUpgrade: h2c\r\nAccept:"),
        "absolute target": good.replace(b"POST /mcp", b"POST http://evil.example/mcp", 1),
        "asterisk target": good.replace(b"POST /mcp", b"OPTIONS *", 1),
        "authority target": good.replace(b"POST /mcp", b"CONNECT evil.example:443", 1),
        "fragment": good.replace(b"/mcp", b"/mcp#x", 1),
        "no Host": good.replace(f"Host: {host}\r\n".encode(), b""),
        "two Hosts": good.replace(b"Accept:", b"Host: evil.example\r\nAccept:"),
        "unknown expectation": good.replace(b"Accept:", b"Expect: magic\r\nAccept:"),
        "not HTTP": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" * 5,
    }


def test_ambiguous_and_malformed_requests_are_refused(demo: Any) -> None:
    host = demo.authority
    for name, raw in attacks(host).items():
        with RawClient(demo) as client:
            client.send(raw)
            response = client.read()
            assert 400 <= response.status <= 505 or response.status == 0, f"{name}: {response}"
            assert b"result" not in response.body, name
            if name != "two Hosts" and response.status not in {405, 421}:
                assert client.is_closed(), f"{name}: the connection goes on"
    works(demo)


def test_nothing_after_a_refused_request_is_served(demo: Any) -> None:
    """What follows an unclear boundary could be the body of one request or another's head."""
    with RawClient(demo) as client:
        client.send(
            b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
            + request_bytes(client.host, ECHO)
        )
        first = client.read()
        assert first.status == 400
        assert client.read().status == 0


def test_pipelined_requests_are_answered_in_order_and_bounded(demo: Any) -> None:
    with RawClient(demo) as client:
        client.send(b"".join(request_bytes(client.host, call("echo", {"text": str(n)}, id=n)) for n in range(10)))
        assert [client.read().json["id"] for _ in range(10)] == list(range(10))
        client.send(request_bytes(client.host, ECHO) * 200)
        statuses = []
        while (response := client.read()).status:
            statuses.append(response.status)
        assert statuses[-1] == 429
        assert len(statuses) < 200
    works(demo)


def test_chunked_body_and_expectation(demo: Any) -> None:
    with RawClient(demo) as client:
        raw = request_bytes(client.host, ECHO, {"Content-Length": None, "Transfer-Encoding": "chunked"})
        head = raw[: -len(ECHO)]
        halves = ECHO[:20], ECHO[20:]
        client.send(
            head + b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves) + b"0\r\nX-Trailer: y\r\n\r\n"
        )
        assert client.read().status == 200
        raw = request_bytes(client.host, ECHO, {"Expect": "100-continue"})
        client.send(raw[: -len(ECHO)])
        assert client.read().status == 100
        client.send(ECHO)
        assert client.read().status == 200


def test_sizes_are_capped(deployment: Any, gateway: Any) -> None:
    running = fast_gateway(deployment, gateway)
    big = call("echo", {"text": "x" * 30_000})
    with RawClient(running) as client:
        assert client.post(big).status == 413
    with RawClient(running) as client:
        raw = request_bytes(client.host, b"", {"Content-Length": None, "Transfer-Encoding": "chunked"})
        client.send(raw + b"".join(b"1000\r\n" + b"x" * 4096 + b"\r\n" for _ in range(10)))
        assert client.read().status == 413
    with RawClient(running) as client:
        assert client.post(ECHO, {"X-Large": "x" * 40_000}).status == 431
    with RawClient(running) as client:
        client.send(b"POST /mcp HTTP/1.1\r\n" + b"X-Endless: " + b"x" * 100_000)
        assert client.read().status == 431
    with RawClient(running) as client:
        assert client.post(ECHO, {f"X-{n}": "v" for n in range(5000)}).status == 431
    works(running)


@pytest.mark.parametrize("stop_at", ["head", "body"])
def test_a_request_that_never_ends_gets_408(deployment: Any, gateway: Any, stop_at: str) -> None:
    running = fast_gateway(deployment, gateway)
    with RawClient(running) as client:
        raw = request_bytes(client.host, ECHO)
        client.send(raw[:50] if stop_at == "head" else raw[:-10])
        assert client.read().status == 408
        assert client.is_closed()
    works(running)


def test_a_dripped_request_does_not_extend_its_deadline(deployment: Any, gateway: Any) -> None:
    running = fast_gateway(deployment, gateway)
    with RawClient(running) as client:
        for byte in request_bytes(client.host, ECHO)[:40]:
            client.send(bytes([byte]))
            time.sleep(0.05)
        assert client.read().status == 408


def test_idle_connections_are_closed(deployment: Any, gateway: Any) -> None:
    running = fast_gateway(deployment, gateway)
    with RawClient(running) as client:
        assert client.post(ECHO).status == 200
        assert client.is_closed()


def test_connections_per_address_are_bounded(deployment: Any, gateway: Any) -> None:
    made = deployment(DEMO)
    made.document["server"]["limits"] = {"connections_per_address": 5}
    made.write()
    running = gateway(made)
    clients = [RawClient(running) for _ in range(5)]
    with pytest.raises(OSError):
        RawClient(running)
    assert all(client.post(ECHO).status == 200 for client in clients)
    for client in clients:
        client.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            return works(running)
        except (OSError, AssertionError):
            time.sleep(0.05)
    raise AssertionError("the place of a closed connection was not given back")
