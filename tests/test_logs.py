"""Log lines go out in order, and a reader that stops is the log's trouble and nobody else's."""

import io
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import pytest
import structlog

from proxy import logs
from proxy.logs import LogWriter, configure

PATIENCE_S = 20.0
LINE = "x" * 1000


class Pipe:
    """A pipe that nobody reads until the test does."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        self.stream: TextIO = os.fdopen(writing, "w")
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read)

    def read_from_now(self) -> None:
        self._thread.start()

    def lines(self) -> list[str]:
        """Everything that came through, once the writing end is closed."""
        self.stream.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self._lines

    def break_off(self) -> None:
        os.close(self._reading)

    def _read(self) -> None:
        with os.fdopen(self._reading) as reading:
            self._lines = reading.read().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    with suppress(BrokenPipeError):
        pipe.stream.close()


@pytest.fixture
def _small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "QUEUE_LIMIT", 50)


@pytest.fixture
def _structlog_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def write_until_dropped(writer: LogWriter) -> int:
    """Write lines until there is no room for one; how many were given."""
    for count in range(1, 1_000_000):
        writer.msg(LINE)
        if writer.dropped:
            return count
    pytest.fail("the queue has no bound")


def test_lines_are_written_in_order(pipe: Pipe) -> None:
    writer = LogWriter(pipe.stream)
    pipe.read_from_now()
    for number in range(500):
        writer.info(str(number))
    writer.close()
    assert pipe.lines() == [str(number) for number in range(500)]
    assert writer.dropped == 0


@pytest.mark.usefixtures("_small_queue")
def test_a_blocked_reader_costs_lines_and_never_blocks_the_caller(pipe: Pipe) -> None:
    writer = LogWriter(pipe.stream)
    given = write_until_dropped(writer)
    pipe.read_from_now()
    writer.close()
    assert pipe.lines() == [LINE] * (given - writer.dropped)


@pytest.mark.usefixtures("_small_queue")
def test_a_reader_that_left_is_counted_and_does_not_end_the_writer(pipe: Pipe) -> None:
    writer = LogWriter(pipe.stream)
    pipe.break_off()
    for _ in range(40):
        writer.msg(LINE)
    writer.close()
    assert writer.dropped == 40


@pytest.mark.usefixtures("_small_queue")
def test_closing_gives_up_on_a_reader_that_stopped(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(pipe.stream)
    write_until_dropped(writer)
    monkeypatch.setattr(logs, "FLUSH_S", 0.01)
    writer.close()  # returns, or the time limit of the test strikes
    monkeypatch.setattr(logs, "FLUSH_S", PATIENCE_S)
    pipe.break_off()
    writer.close()


def test_a_stream_that_was_closed_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    writer = LogWriter(stream)
    writer.msg("lost")
    writer.close()
    assert writer.dropped == 1


@pytest.mark.usefixtures("_structlog_as_before")
def test_an_event_is_one_json_line_with_its_time_and_level() -> None:
    stream = io.StringIO()
    writer = configure(stream)
    structlog.get_logger().info("handshake", at="2026-01-02T03:04:05.678Z", target="/é\n\x1b[31m")
    structlog.get_logger().warning("records_dropped", in_all=3)
    writer.close()
    first, second = stream.getvalue().splitlines()
    assert first.isascii()
    assert json.loads(first) == {
        "event": "handshake",
        "at": "2026-01-02T03:04:05.678Z",
        "target": "/é\n\x1b[31m",
        "level": "info",
    }
    told = json.loads(second)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("at"))
    assert told == {"event": "records_dropped", "in_all": 3, "level": "warning"}


@pytest.mark.usefixtures("_structlog_as_before")
def test_lines_for_people_are_not_json() -> None:
    stream = io.StringIO()
    writer = configure(stream, as_json=False)
    structlog.get_logger().info("listening", listen="127.0.0.1:8080")
    writer.close()
    [line] = stream.getvalue().splitlines()
    assert not line.startswith("{")
    assert "listening" in line
    assert "127.0.0.1:8080" in line


@pytest.mark.usefixtures("_structlog_as_before")
def test_lines_go_to_stdout_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    writer = configure()
    structlog.get_logger().info("listening")
    writer.close()
    assert json.loads(capsys.readouterr().out)["event"] == "listening"
