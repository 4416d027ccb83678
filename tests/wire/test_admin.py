"""The admin address: what the sidecar saw, for machines."""

import http.client
import json
import socket
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from peers import KEY, UPGRADE, RawUpstream, RunningSidecar, StartSidecar
from proxy.admin import Admin
from proxy.settings import HostPort


def _ask(
    sidecar: RunningSidecar, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.admin_port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def _json(sidecar: RunningSidecar, path: str, method: str = "GET") -> Any:
    status, body, _ = _ask(sidecar, path, method)
    assert status < 300, body
    return json.loads(body)


def test_handshakes_are_listed_newest_first_and_page_by_page(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    for _ in range(3):
        client, server = sidecar.upgrade(upstream)
        client.close()
        server.close()
    page = _json(sidecar, "/api/handshakes?limit=2")
    ids = [row["id"] for row in page["handshakes"]]
    assert ids == sorted(ids, reverse=True)
    rest = _json(sidecar, f"/api/handshakes?limit=2&before={page['next']}")
    assert len(rest["handshakes"]) == 1
    assert rest["next"] is None
    assert _json(sidecar, "/api/handshakes?outcome=refused")["handshakes"] == []
    assert _ask(sidecar, "/api/handshakes?limit=many")[0] == 400


def test_one_handshake_shows_both_heads_and_its_session(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    request = UPGRADE[:-2] + b"X-Twilio-Signature: s3cret\r\nCookie: s3cret\r\n\r\n"
    client, server = sidecar.upgrade(upstream, request)
    server.send(b"\x81\x02hi")
    client.receive(4)
    event_id = sidecar.event("handshake")["id"]
    row = _json(sidecar, f"/api/handshakes/{event_id}")
    assert ["Sec-WebSocket-Key", KEY] in row["request_head"]
    assert ["Cookie", None] in row["request_head"]
    assert row["headers"]["X-Twilio-Signature"] == row["headers"]["Cookie"] == "present"
    assert row["response_head"][0] == ["Upgrade", "websocket"]
    assert row["session"]["frames"]["server"]["text"] == 1
    assert row["session"]["ending"] is None
    client.close()
    server.close()
    sidecar.event("session")
    row = _json(sidecar, f"/api/handshakes/{event_id}")
    assert row["session"]["ending"] == "eof_without_close"
    assert "s3cret" not in json.dumps([row, sidecar.events])
    assert _ask(sidecar, "/api/handshakes/unknown")[0] == 404


def test_running_sessions_are_listed(sidecar: RunningSidecar, upstream: RawUpstream) -> None:
    assert _json(sidecar, "/api/sessions")["sessions"] == []
    client, _ = sidecar.upgrade(upstream)
    [session] = _json(sidecar, "/api/sessions")["sessions"]
    assert session["id"] == sidecar.event("handshake")["id"]
    client.close()


def test_events_arrive_as_they_happen(sidecar: RunningSidecar, upstream: RawUpstream) -> None:
    with socket.create_connection(("127.0.0.1", sidecar.admin_port), 10) as listener:
        listener.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream = listener.makefile("rb")
        while stream.readline() != b"\r\n":
            pass
        sidecar.wait_until(lambda: sidecar.sidecar.telemetry._listeners, "a listener")
        client, server = sidecar.upgrade(upstream)
        client.close()
        server.close()
        names: list[str] = []
        lines: list[dict[str, Any]] = []
        while len(lines) < 2:
            line = stream.readline()
            assert line
            if line.startswith(b"event: "):
                names.append(line[7:].strip().decode())
            if line.startswith(b"data: "):
                lines.append(json.loads(line[6:]))
        stream.close()
    assert names == ["handshake", "session"]
    assert lines[0]["id"] == lines[1]["id"]


def test_a_listener_that_leaves_is_no_error(
    sidecar: RunningSidecar, upstream: RawUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", sidecar.admin_port), 10) as listener:
        listener.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert listener.recv(15) == b"HTTP/1.1 200 OK"
    listeners = sidecar.sidecar.telemetry._listeners

    def has_left() -> bool:
        sidecar.call(lambda: sidecar.sidecar.telemetry.say("anything"))
        return not listeners

    sidecar.wait_until(has_left, "the listener to be forgotten")
    assert caplog.records == []


def test_an_armed_probe_is_recorded_as_it_arrived_and_other_ids_are_nobodys(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    probe = _json(sidecar, "/api/probes", "POST")
    request = UPGRADE[:-2] + f"{probe['header']}: {probe['id']}\r\n\r\n".encode()
    client, _ = sidecar.upgrade(upstream, request)
    client.close()
    sidecar.upgrade(upstream, request.replace(probe["id"].encode(), b"0123456789abcdef"))
    [arrival] = _json(sidecar, f"/api/arrivals/{probe['id']}")["arrivals"]
    assert arrival["probe_id"] == probe["id"]
    assert ["X-Hopscope-Probe", probe["id"]] in arrival["request_head"]
    assert arrival["target"] == "/voice/stream"
    assert sidecar.events[1]["probe_id"] == probe["id"]
    assert _ask(sidecar, "/api/arrivals/0123456789abcdef")[0] == 404


def test_a_disarmed_probe_is_asked_for_in_vain(sidecar: RunningSidecar) -> None:
    probe = _json(sidecar, "/api/probes", "POST")
    assert _ask(sidecar, f"/api/probes/{probe['id']}", "DELETE")[0] == 204
    assert _ask(sidecar, f"/api/probes/{probe['id']}", "DELETE")[0] == 404
    assert _ask(sidecar, f"/api/arrivals/{probe['id']}")[0] == 404


def test_an_armed_probe_may_ask_for_the_echo_in_place_of_the_gateway(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    probe = _json(sidecar, "/api/probes", "POST")
    with sidecar.connect() as client:
        client.send(UPGRADE[:-2] + f"X-Hopscope-Probe: {probe['id']}; echo\r\n\r\n".encode())
        head = client.receive_head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Proxy-Status: hopscope; received-status=101" in head
        client.send(b"\x81\x82\0\0\0\0hi\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b")
        assert client.receive(4) == b"\x81\x02hi"
        assert client.receive(8)[:6] == b"\x01\x01a\x00\x01b"
    assert upstream.is_untouched
    assert sidecar.event("handshake")["route"] == "probe-echo"


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"hopscope:close 4001 that was it", b"\x88\x0d\x0f\xa1that was it"),
        (b"hopscope:close 1000", b"\x88\x02\x03\xe8"),
        (b"hopscope:close 1005", b"\x81\x13hopscope:close 1005"),  # no code for a wire
        (b"hopscope:close 400", b"\x81\x12hopscope:close 400"),
    ],
)
def test_the_echo_closes_with_a_code_where_it_is_asked_to(
    sidecar: RunningSidecar, message: bytes, answer: bytes
) -> None:
    probe = _json(sidecar, "/api/probes", "POST")
    with sidecar.connect() as client:
        client.send(UPGRADE[:-2] + f"X-Hopscope-Probe: {probe['id']}; echo\r\n\r\n".encode())
        client.receive_head()
        client.send(bytes((0x81, 0x80 | len(message))) + b"\0\0\0\0" + message)
        assert client.receive(len(answer)) == answer


def test_the_index_tells_where_the_sidecar_listens(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar()
    told = _json(sidecar, "/")
    assert told["listen"] == f"127.0.0.1:{sidecar.port}"
    assert told["proxy_protocol"] is False
    assert _json(start_sidecar(proxy_protocol=True), "/")["proxy_protocol"] is True


def test_a_target_is_told_its_route_and_what_it_becomes_there(
    start_sidecar: StartSidecar,
) -> None:
    routes = [
        {"name": "voice", "prefix": "/voice", "upstream": "http://127.0.0.1:1"}
        | {"strip_prefix": "/voice"},
        {"name": "other", "host": "other.example.com", "upstream": "http://127.0.0.1:2"},
    ]
    sidecar = start_sidecar(upstream=None, route=routes)
    assert _json(sidecar, "/api/route?target=%2Fvoice%2Fstream%3Fa%3D1&host=any") == {
        "route": "voice",
        "upstream": "http://127.0.0.1:1",
        "target": "/stream?a=1",
    }
    assert _json(sidecar, "/api/route?target=/x&host=other.example.com:443")["route"] == "other"
    assert _ask(sidecar, "/api/route?target=/x&host=any")[0] == 404
    assert _ask(sidecar, "/api/route")[0] == 404


def test_the_metrics_parse_and_count_what_passed(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    for _ in range(3):
        client.send(b"\x81\x82\0\0\0\0hi")
    server.receive(24)
    server.send(b"\x82\x01x")
    client.receive(3)

    def read() -> dict[tuple[str, ...], float]:
        _, body, headers = _ask(sidecar, "/metrics")
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    live = read()
    assert live["hopscope_sessions_active",] == 1
    assert live["hopscope_frames_total", "client", "default", "text"] == 3
    assert live["hopscope_frames_total", "binary", "default", "server"] == 1
    assert live["hopscope_frame_payload_bytes_total", "client", "default"] == 6
    assert live["hopscope_handshakes_total", "101", "default", "twilio-direct", "upgraded"] == 1
    client.close()
    server.close()
    sidecar.event("session")
    ended = read()
    assert ended["hopscope_sessions_active",] == 0
    assert ended["hopscope_frames_total", "client", "default", "text"] == 3
    assert ended["hopscope_closes_total", "eof_without_close", "none", "none"] == 1


def test_metrics_of_others_in_the_same_process_are_printed_too(sidecar: RunningSidecar) -> None:
    others = CollectorRegistry()
    Counter("hopscope_calls", "Phone calls.", ["mode"], registry=others).labels("notify").inc()
    admin = Admin(sidecar.sidecar, None)
    admin.collectors.append(others)
    address = sidecar.call(lambda: admin.start(HostPort("127.0.0.1", 0)))
    sidecar.admin_port, own = address.port, sidecar.admin_port
    body = _ask(sidecar, "/metrics")[1].decode()
    samples = {s.name: s.value for f in text_string_to_metric_families(body) for s in f.samples}
    assert (samples["hopscope_calls_total"], samples["hopscope_sessions_active"]) == (1, 0)
    sidecar.call(admin.close)
    sidecar.admin_port = own
    assert b"hopscope_calls" not in _ask(sidecar, "/metrics")[1]


def test_phone_calls_of_the_same_history_are_listed_and_shown_with_their_handshakes(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    call_sid = "CA" + "1" * 32
    request = UPGRADE.replace(b"/voice/stream", f"/voice/stream/{call_sid}".encode())
    client, _ = sidecar.upgrade(upstream, request)
    row = {"id": "0" * 18, "call_sid": call_sid, "mode": "converse", "turns": []}
    sidecar.call(lambda: sidecar.sidecar.history.add_event("call", 9e9, row, {}))
    listed = _json(sidecar, "/api/calls?limit=5")
    assert listed == {"calls": [row | {"kind": "call"}], "next": None}
    shown = _json(sidecar, f"/api/calls/{call_sid}")
    [handshake] = shown.pop("handshakes")
    assert shown == row | {"kind": "call"}
    assert handshake["id"] == sidecar.event("handshake")["id"]
    assert handshake["session"]["ending"] is None
    assert _ask(sidecar, f"/api/calls/{handshake['id']}")[0] == 404
    assert _ask(sidecar, "/api/calls/unknown")[0] == 404
    kinds = [row["kind"] for row in _json(sidecar, "/api/handshakes?kind=all")["handshakes"]]
    assert kinds == ["handshake", "call"]
    client.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:9101", 200), ("evil.example:80", 403)],
)
def test_a_page_that_rebinds_its_name_to_loopback_is_refused(
    host: str, status: int, sidecar: RunningSidecar
) -> None:
    assert _ask(sidecar, "/api/handshakes", Host=host)[0] == status


def test_a_token_is_asked_for_where_one_is_set(sidecar: RunningSidecar) -> None:
    admin = Admin(sidecar.sidecar, "s3cret")
    address = sidecar.call(lambda: admin.start(HostPort("127.0.0.1", 0)))
    sidecar.admin_port, own = address.port, sidecar.admin_port
    assert _ask(sidecar, "/metrics")[0] == 401
    assert _ask(sidecar, "/metrics", Authorization="Bearer wrong")[0] == 401
    assert _ask(sidecar, "/metrics", Authorization="Bearer s3cret")[0] == 200
    sidecar.call(admin.close)
    sidecar.admin_port = own


def test_the_address_is_not_bound_beyond_loopback_without_a_token(
    sidecar: RunningSidecar,
) -> None:
    admin = Admin(sidecar.sidecar, None)
    with pytest.raises(ValueError, match="HOPSCOPE_ADMIN_TOKEN"):
        sidecar.call(lambda: admin.start(HostPort("0.0.0.0", 0)))


def test_answers_forbid_scripts_and_caches(sidecar: RunningSidecar) -> None:
    for path in ("/", "/metrics", "/healthz", "/api/sessions"):
        _, _, headers = _ask(sidecar, path)
        assert headers["Content-Security-Policy"] == "default-src 'none'"
        assert headers["Cache-Control"] == "no-store"


def test_the_start_page_names_routes_and_where_to_look(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    index = _json(start_sidecar(), "/")
    assert index["routes"] == [{"name": "default", "upstream": upstream.url}]
    assert "/metrics" in index["see"]


def test_a_token_of_strange_bytes_is_wrong_and_no_error(sidecar: RunningSidecar) -> None:
    admin = Admin(sidecar.sidecar, "s3cret")
    address = sidecar.call(lambda: admin.start(HostPort("127.0.0.1", 0)))
    with socket.create_connection(address, 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.1 401 ")
    sidecar.call(admin.close)


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("none", 200)])
def test_other_pages_of_the_same_browser_are_refused(
    site: str, status: int, sidecar: RunningSidecar
) -> None:
    assert _ask(sidecar, "/api/sessions", **{"Sec-Fetch-Site": site})[0] == status


def test_a_listener_that_stops_reading_loses_its_place(
    sidecar: RunningSidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.admin.LISTENER_STALL_S", 0.2)
    telemetry = sidecar.sidecar.telemetry
    with socket.create_connection(("127.0.0.1", sidecar.admin_port), 10) as listener:
        listener.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sidecar.wait_until(lambda: telemetry._listeners, "a listener")

        def is_gone() -> bool:
            sidecar.call(lambda: telemetry.say("noise", text="x" * 1_000_000))
            return not telemetry._listeners

        sidecar.wait_until(is_gone, "the end of the listener")
