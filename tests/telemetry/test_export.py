from __future__ import annotations

import base64
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mcpsec.errors import UsageError
from mcpsec.telemetry import Event
from mcpsec.telemetry.clean import Cleaner
from mcpsec.telemetry.events import KINDS
from mcpsec.telemetry.export import ocsf, otlp, severity, syslog
from mcpsec.telemetry.shipping import ShippingError, ship_otlp, ship_syslog
from tests.telemetry.conftest import plain, request

_cleaner = Cleaner(plain)


def record(event: Event) -> dict[str, Any]:
    return _cleaner.record(event, 7, "0" * 64)


def test_every_kind_has_an_ocsf_class_with_what_it_requires() -> None:
    for kind in KINDS:
        document = ocsf(record(request(kind=kind)))
        for name in ("category_uid", "class_uid", "activity_id", "type_uid", "severity_id", "time", "metadata"):
            assert document[name], (kind, name)
        assert document["type_uid"] == document["class_uid"] * 100 + document["activity_id"]
        assert document["class_uid"] // 1000 == document["category_uid"]
        json.dumps(document)
    assert ocsf(record(Event("authentication-failed", claimed="x")))["class_uid"] == 3002
    assert ocsf(record(request()))["status_id"] == 1
    assert ocsf(record(request(decision="refused")))["status_id"] == 2


def test_every_kind_is_valid_against_the_schema_of_ocsf_itself() -> None:
    from ocsf_json_schema.embedded import OcsfJsonSchemaEmbedded
    from ocsf_json_schema.loader import get_ocsf_schema

    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.6.0"))
    validators: dict[int, jsonschema.Draft202012Validator] = {}
    for kind in KINDS:
        for event in (Event(kind), request(kind=kind), Event(kind, severity="high", detail="x", reason="y")):  # type: ignore[arg-type]
            document = json.loads(json.dumps(ocsf(record(event))))
            validator = validators.get(document["class_uid"])
            if validator is None:
                name = schema.lookup_class_name_from_uid(document["class_uid"])
                validator = validators[document["class_uid"]] = jsonschema.Draft202012Validator(
                    schema.get_class_schema(name)
                )
            assert [error.message for error in validator.iter_errors(document)] == [], kind
    assert len(validators) == 4


def test_severity() -> None:
    assert severity(record(request())) == "info"
    assert severity(record(request(decision="refused"))) == "medium"
    assert severity(record(Event("alert", severity="critical"))) == "critical"


def test_a_syslog_message_keeps_its_shape_whatever_a_peer_says() -> None:
    message = syslog(record(request(client='a"]b\\\n<13>1 forged', resource="x\r\ny")), host="gate way")
    header, _, rest = message.partition(b"[mcpsec@32473")
    assert header.startswith(b"<110>1 20")
    assert len(header.split(b" ")) == 7
    assert b"\n" not in message
    assert b"\r" not in message
    assert b'client="a\\"\\]b\\\\?<13>1 forged"' in rest


def test_otlp_is_what_opentelemetry_reads() -> None:
    logs = pytest.importorskip(
        "opentelemetry.proto.collector.logs.v1.logs_service_pb2", reason="install with: pip install opentelemetry-proto"
    )
    from google.protobuf.json_format import ParseDict

    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    document = otlp([record(request(trace_id=trace, span_id=span, time=1_795_435_200.25))])
    for entry in document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        for name in ("traceId", "spanId"):  # OTLP writes these in hexadecimal where protobuf's JSON has Base64
            entry[name] = base64.b64encode(bytes.fromhex(entry[name])).decode()
    parsed = ParseDict(document, logs.ExportLogsServiceRequest())
    entry = parsed.resource_logs[0].scope_logs[0].log_records[0]
    assert entry.time_unix_nano == 1_795_435_200_250_000_000
    assert entry.trace_id.hex() == trace
    attributes = {each.key: each.value for each in entry.attributes}
    assert attributes["mcpsec.client"].string_value == "reporting-agent"
    assert attributes["mcpsec.status"].int_value == 200


@pytest.mark.parametrize("scheme", ["tcp", "udp", "unix"])
def test_a_real_rsyslog_receives_events(tmp_path: Path, scheme: str) -> None:
    rsyslogd = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
    if rsyslogd is None:
        pytest.skip("needs a syslog daemon; install with: apt-get install rsyslog")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    received, local = tmp_path / "received.log", tmp_path / "s"
    inputs = {
        "tcp": f'module(load="imtcp") input(type="imtcp" port="{port}" address="127.0.0.1")',
        "udp": f'module(load="imudp") input(type="imudp" port="{port}" address="127.0.0.1")',
        "unix": 'module(load="imuxsock" SysSock.Use="off") '
        f'input(type="imuxsock" Socket="{local}" UseSpecialParser="off")',
    }
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{tmp_path}")\n{inputs[scheme]}\n'
        'template(name="t" type="string" string="%app-name%|%msgid%|%structured-data%|%msg%\\n")\n'
        f'*.* action(type="omfile" file="{received}" template="t")\n'
    )
    daemon = subprocess.Popen(
        [rsyslogd, "-n", "-f", str(config), "-i", str(tmp_path / "pid")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        target = f"unix:{local}" if scheme == "unix" else f"{scheme}://127.0.0.1:{port}"
        events = [record(request(number)) for number in range(20)]
        for _ in range(50):
            time.sleep(0.1)
            try:
                ship_syslog(events, target)
            except ShippingError:
                continue
            time.sleep(0.2)
            if received.exists() and len(received.read_text().splitlines()) >= 20:
                break
        lines = [line for line in received.read_text().splitlines() if line.startswith("mcpsec|")]
        assert len(lines) >= 20
        app, kind, data, text = lines[0].split("|", 3)
        assert (app, kind) == ("mcpsec", "request")
        assert 'client="reporting-agent"' in data
        assert json.loads(text)["schema"] == "mcpsec.event/1"
    finally:
        daemon.terminate()
        daemon.wait(10)


def test_otlp_over_http() -> None:
    bodies: list[tuple[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(200 if len(bodies) < 3 else 400)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert ship_otlp([record(request(number)) for number in range(700)], url) == 700
        assert [path for path, _ in bodies] == ["/v1/logs", "/v1/logs"]
        with pytest.raises(ShippingError, match="400"):
            ship_otlp([record(request())], url + "/v1/logs?token=abc")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_unreachable_collector_is_said_without_its_credentials() -> None:
    with pytest.raises(ShippingError) as caught:
        ship_otlp([record(request())], "http://user:" + "pw@127.0.0.1:1/x?token=abc")
    assert "pw" not in str(caught.value)
    assert "abc" not in str(caught.value)
    with pytest.raises(ShippingError):
        ship_syslog([], "tcp://127.0.0.1:1")
    with pytest.raises(UsageError, match="no syslog target"):
        ship_syslog([], "gopher://127.0.0.1")


def test_an_event_without_a_time_and_with_odd_values_is_exported_all_the_same() -> None:
    event = {"kind": "request", "secret": True, "count": 3, "duration_ms": 1.5, "client": "agent", "time": "never"}
    (record,) = otlp([event])["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert record["timeUnixNano"] == "0"
    assert {each["key"]: each["value"] for each in record["attributes"]} == {
        "mcpsec.kind": {"stringValue": "request"},
        "mcpsec.secret": {"boolValue": True},
        "mcpsec.count": {"intValue": "3"},
        "mcpsec.duration_ms": {"doubleValue": 1.5},
        "mcpsec.client": {"stringValue": "agent"},
    }


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_cannot_be_read_is_one_clear_error(content: str | None, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_text(content)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        for ship, target in ((ship_syslog, f"tls://{place}"), (ship_otlp, f"https://{place}")):
            with pytest.raises(ShippingError, match="no authority can be read") as failed:
                ship([record(request())], target, ca=str(ca))
            assert failed.value.path == str(ca) and failed.value.exit_code == 2
