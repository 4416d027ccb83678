"""text/event-stream, however the network cuts it (HTML standard, section 9.2)."""

import pytest

from feeds import every_split
from gateway.providers import event_stream
from gateway.providers.event_stream import EventStream


def _read(pieces: list[bytes]) -> list[str]:
    reader = EventStream()
    events = [event for piece in pieces for event in reader.receive_data(piece)]
    return events + reader.receive_eof()


@pytest.mark.parametrize(
    ("data", "events"),
    [
        pytest.param(b"data: one\n\ndata: two\n\n", ["one", "two"], id="LF"),
        pytest.param(b"data: one\r\n\r\ndata: two\r\n\r\n", ["one", "two"], id="CR LF"),
        pytest.param(b"data: one\r\rdata: two\r\r", ["one", "two"], id="CR"),
        pytest.param(b"data: a\ndata: b\n\n", ["a\nb"], id="several lines"),
        pytest.param(b"data: a\r\ndata: b\r\n\r\n", ["a\nb"], id="several lines, CR LF"),
        pytest.param(b"data:a\ndata:  b\n\n", ["a\n b"], id="one space is the separator's"),
        pytest.param(b"data\n\n", [""], id="no colon"),
        pytest.param(b": hello\n:\n\ndata: a\n\n", ["a"], id="comments"),
        pytest.param(b"event: x\nid: 7\nretry: 9\ndata: a\n\n", ["a"], id="other fields"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", ["a"], id="byte order mark"),
        pytest.param(
            "data: gr\u00fc\u00df \U0001f600\n\n".encode(),
            ["gr\u00fc\u00df \U0001f600"],
            id="UTF-8",
        ),
        pytest.param(b"data: \xff\n\n", ["\ufffd"], id="no UTF-8"),
        pytest.param(b"event: x\n\n\n\n", [], id="no data"),
        pytest.param(b"data: a\n\ndata: b", ["a", "b"], id="no last line end"),
        pytest.param(b"data: a\n\ndata: b\r\n", ["a", "b"], id="no last empty line"),
        pytest.param(b"<html>\n\n", [], id="something else"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_events_are_the_same_however_they_are_cut(data: bytes, events: list[str]) -> None:
    for pieces in every_split(data):
        assert _read(pieces) == events


def test_an_event_is_told_with_its_last_byte() -> None:
    reader = EventStream()
    assert reader.receive_data(b"data: a\n") == []
    assert reader.receive_data(b"\n") == ["a"]


def test_an_endless_event_blinds_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "EVENT_LIMIT", 100)
    for line in (b"x" * 101, b"data: xxxxx\n" * 25):
        reader = EventStream()
        assert reader.receive_data(b"data: a\n\n" + line) == ["a"]
        assert reader.is_blind
        assert reader.receive_data(b"\n\ndata: b\n\n") == []
