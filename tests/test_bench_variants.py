"""Hopscope that keeps every frame, or exports: which rows there are, and what is told of them."""

import http.client
import threading
from contextlib import nullcontext
from dataclasses import replace
from http.server import ThreadingHTTPServer

import pytest

from bench.collector import Swallowing
from bench.load import Load, Shape
from bench.measure import Frames, frames
from bench.process import Tree
from bench.relays import CAPTURE, DIRECT, OTLP, OURS, REFERENCE, UNREAD, Relay, Site, all_relays
from bench.report import aims, as_json, remarks
from bench.rounds import Plan, Row, _steps, rows_of
from bench.sessions import RefusedError

SHAPE = Shape(sessions=2, rate=50, size=270, seconds=0.1, saturated=False)
PLAN = Plan(
    shape=SHAPE,
    payloads=("media", "opaque"),
    pairs=3,
    parts=("frames", "idle", "handshakes"),
    side_rounds=1,
    idle_sessions=1,
    handshakes=8,
)
FRAMES = replace(PLAN, parts=("frames",))
RELAYS = [Relay(name) for name in (OURS, UNREAD, CAPTURE, OTLP, REFERENCE, DIRECT)]


def sample(us: float, *, kept_pace: bool = True) -> Frames:
    return Frames(us, 0.1, 0.0, 100, kept_pace, None, None)


def measured(**us: tuple[float, ...]) -> list[Row]:
    """Rows of media frames with these samples, by the relay's name with _ for -."""
    rows = rows_of(RELAYS, PLAN)
    for row in rows:
        if row.payload == "media":
            row.frames += map(sample, us.get(row.relay.name.replace("-", "_"), ()))
    return rows


def test_of_a_variant_only_the_frames_of_media_are_measured() -> None:
    rows = rows_of(RELAYS, PLAN)
    assert [(row.relay.name, row.payload) for row in rows if row.relay.name in (CAPTURE, OTLP)] == [
        (CAPTURE, "media"),
        (OTLP, "media"),
    ]
    parts = {(row.relay.name, part) for row, part in _steps(rows, PLAN)}
    assert (CAPTURE, "frames") in parts
    assert (OTLP, "frames") in parts
    assert {part for name, part in parts if name in (CAPTURE, OTLP, UNREAD)} == {"frames"}


def test_a_variant_is_told_as_a_multiple_of_hopscope_in_the_same_round() -> None:
    rows = measured(
        hopscope=(10, 20, 40),
        hopscope_unread=(8, 16, 32),
        hopscope_capture=(14, 26, 64),
        hopscope_otlp=(12, 21, 44),
        nginx=(10, 20, 40),
    )
    lines = remarks(rows)
    assert f"{CAPTURE}/{OURS} CPU per frame in the same round: 1.40 (1.30 to 1.60)." in lines
    assert f"{OTLP}/{OURS} CPU per frame in the same round: 1.10 (1.05 to 1.20)." in lines
    found = {aim.name.removesuffix(" CPU per frame"): aim for aim in aims(rows, FRAMES)}
    assert {name: round(aim.value or 0, 2) for name, aim in found.items()} == {
        f"{OURS}/{REFERENCE}": 1.0,
        f"{OURS}/{UNREAD}": 1.25,
        f"{CAPTURE}/{OURS}": 1.4,
        f"{OTLP}/{OURS}": 1.1,
    }
    told = {each["name"]: each for each in as_json(rows, FRAMES, {})["relays"]}
    assert told[CAPTURE]["ratios_to_ours"] == [1.4, 1.3, 1.6]


def test_a_relay_whose_worker_was_not_counted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    carried = Load(100, 1.0, 0.0, 0.0, kept_pace=True, latencies_s=[])
    monkeypatch.setattr("bench.measure._started", lambda *_: nullcontext((Tree(()), 1, None)))
    monkeypatch.setattr("bench.measure.sessions", lambda *_: nullcontext([]))
    monkeypatch.setattr("bench.load.run", lambda *_: carried)
    with pytest.raises(RefusedError, match="no CPU time"):
        frames(Relay(REFERENCE, command=lambda _: ["nginx"]), SHAPE)
    assert frames(Relay(DIRECT), SHAPE).us_per_frame == 0


def test_what_was_left_out_or_not_measured_has_no_figure() -> None:
    rows = [row for row in measured(hopscope=(10,), nginx=(10,)) if row.relay.name != CAPTURE]
    found = {aim.name: aim for aim in aims(rows, FRAMES)}
    assert f"{CAPTURE}/{OURS} CPU per frame" not in found
    missing = found[f"{OTLP}/{OURS} CPU per frame"]
    assert (missing.is_met, missing.remark) == (None, f"{OTLP} was not measured")


def test_a_run_of_another_command_has_no_variants() -> None:
    names = {relay.name for relay in all_relays("sketch {listen} {upstream}")}
    assert names.isdisjoint((UNREAD, CAPTURE, OTLP))


def test_the_collector_takes_what_is_posted_and_a_sample_without_any_is_refused(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.relays.EXPORTED_WITHIN_S", 0.2)
    monkeypatch.setattr(Swallowing, "taken", 0)
    exporting = next(relay for relay in all_relays(None) if relay.name == OTLP)
    with ThreadingHTTPServer(("127.0.0.1", 0), Swallowing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            site = Site(tmp_path, 1, 2, 3, 4, server.server_port)  # type: ignore[arg-type]
            with pytest.raises(RefusedError, match="nothing was exported"):
                exporting.check(site)
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            for size in (0, 200_000):
                connection.request("POST", "/v1/metrics", b"x" * size)
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (200, b"")
            connection.close()
            exporting.check(site)
        finally:
            server.shutdown()
            thread.join(10)
