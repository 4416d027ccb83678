"""What a Twilio Media Stream's messages tell, however they are spelled."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_messages import (
    ACCOUNT_SID,
    CALL_SID,
    SPELLINGS,
    STREAM_SID,
    Message,
    audio,
    begun,
    client,
    connected,
    dump,
    mark,
    media,
    server,
    start,
)
from proxy.media import NAME_LIMIT, MediaReader, Sampling

quickly = settings(derandomize=True, deadline=None, max_examples=20)


@pytest.fixture(params=SPELLINGS.values(), ids=list(SPELLINGS))
def spell(request: pytest.FixtureRequest) -> Callable[[Message], bytes]:
    return lambda message: str(request.param(message)).encode()


def test_a_whole_call_is_read_in_every_spelling(spell: Callable[[Message], bytes]) -> None:
    reader = begun(spell(connected()))
    from_twilio = [
        connected(),
        start(),
        media(2, 57),
        media(3, 77),
        client("dtmf", 4, track="inbound_track", digit="7"),
        client("mark", 5, name="greeting"),
        media(6, 97),
        client("stop", 7, accountSid=ACCOUNT_SID, callSid=CALL_SID),
    ]
    for message in (audio(), audio(), mark("greeting"), mark("goodbye")):
        reader.receive_from_server(spell(message), 1.0)
    for number, message in enumerate(from_twilio):
        reader.receive_from_client(spell(message), 1.0 + number / 64)
    assert reader.is_twilio
    assert (reader.call_sid, reader.stream_sid) == (CALL_SID, STREAM_SID)
    assert reader.media_frames == {"client": 3, "server": 2}
    assert reader.sequence_gaps == 0
    # 20 ms of audio came 1/64 s and then 3/64 s after those before it.
    first = (0.02 - 1 / 64) / 16
    assert reader.jitter_s == pytest.approx(first + ((4 / 64 - 1 / 64 - 0.02) - first) / 16)
    assert reader.buffered_s(1.0) == pytest.approx(0.04)
    assert (reader.underruns, reader.marks_unanswered) == (0, 1)
    assert reader.marks == {"sent": 2, "echoed": 1}
    assert reader.others == {"client": 5, "server": 2}


@pytest.mark.parametrize(
    ("first", "is_twilio"),
    [
        pytest.param(dump(connected()), True, id="connected"),
        pytest.param(dump(start()), True, id="start"),
        pytest.param(b'{"event":"start"}', False, id="another protocol's start"),
        pytest.param(dump(media(1, 0)), False, id="media"),
        pytest.param(b'{"type":"session.update"}', False, id="another protocol"),
        pytest.param(b'["connected"]', False, id="list"),
        pytest.param(b'"connected"', False, id="string"),
        pytest.param(b'{"event":["connected"]}', False, id="event is a list"),
        pytest.param(b"hello", False, id="text"),
        pytest.param(b"", False, id="empty"),
        pytest.param(b'{"event":"connected"', False, id="cut short"),
        pytest.param(b'{"event":"connected","x":"\xff"}', False, id="bad utf-8"),
        pytest.param(b'{"a":' * 30_000, False, id="deep"),
        pytest.param(b"[" * 60_000, False, id="deep list"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", False, id="a number too long to read"),
    ],
)
def test_the_first_message_tells_whether_it_is_a_twilio_stream(
    first: bytes, is_twilio: bool
) -> None:
    reader = MediaReader()
    assert reader.decide(first) is is_twilio
    assert reader.is_twilio is is_twilio


@pytest.mark.parametrize(
    ("numbers", "gaps"),
    [
        pytest.param([1, 2, 3, 4], 0, id="in order"),
        pytest.param([5, 6, 7], 0, id="from anywhere"),
        pytest.param([1, 2, 4, 5], 1, id="one missing"),
        pytest.param([1, 2, 9, 10], 1, id="some missing"),
        pytest.param([1, 2, 2, 3], 1, id="one twice"),
        pytest.param([1, 3, 2, 4], 3, id="two swapped: 3, 2 and 4 were not the next"),
        pytest.param([1, 2, 1, 2], 1, id="from the start again"),
        pytest.param([1, 999_999_999_999_999], 1, id="far away"),
    ],
)
def test_a_message_that_is_not_the_next_is_a_gap(
    numbers: list[int], gaps: int, spell: Callable[[Message], bytes]
) -> None:
    reader = begun()
    for number in numbers:
        reader.receive_from_client(spell(media(number, 20 * number)), number / 50)
    assert reader.sequence_gaps == gaps


def test_all_messages_of_twilios_share_one_numbering() -> None:
    reader = begun()
    reader.receive_from_client(dump(connected()), 0.0)
    for message in (start(1), media(2, 0), client("mark", 4, name="a"), media(5, 20)):
        reader.receive_from_client(dump(message), 0.0)
    assert reader.sequence_gaps == 1


def test_a_number_that_the_gateway_sends_is_not_counted() -> None:
    reader = begun()
    reader.receive_from_client(dump(media(2, 0)), 0.0)
    reader.receive_from_server(dump(audio() | {"sequenceNumber": "9"}), 0.0)
    reader.receive_from_client(dump(media(3, 20)), 0.0)
    assert reader.sequence_gaps == 0


def test_jitter_is_that_of_rfc_3550_section_6_4_1() -> None:
    reader = begun()
    arrivals = [(0, 10.0), (20, 10.02), (40, 10.07), (60, 10.08), (80, 10.1)]
    # D of the arrivals: 0, 30 ms late, 10 ms early, 0; J += (|D| - J) / 16 each time.
    jitter = 0.0
    expected = [0.0]
    for d in (0.0, 0.03, 0.01, 0.0):
        jitter += (d - jitter) / 16
        expected.append(jitter)
    measured = []
    for number, (timestamp, now) in enumerate(arrivals, start=2):
        reader.receive_from_client(dump(media(number, timestamp)), now)
        measured.append(reader.jitter_s)
    assert measured == pytest.approx(expected, abs=1e-12)
    assert measured[-1] == pytest.approx(0.0022338867, abs=1e-9)


def test_a_steady_stream_has_no_jitter_wherever_its_timestamps_begin() -> None:
    reader = begun()
    for number in range(50):
        reader.receive_from_client(dump(media(number + 2, 57 + 20 * number)), number / 50)
    assert reader.jitter_s == pytest.approx(0.0, abs=1e-9)


def test_media_without_a_timestamp_is_counted_and_not_measured() -> None:
    reader = begun()
    for timestamp in ("20", "soon", "40"):
        message = media(2, 0)
        message["media"]["timestamp"] = timestamp
        reader.receive_from_client(dump(message), 1.0)
    assert reader.media_frames["client"] == 3
    assert reader.jitter_s == pytest.approx(0.02 / 16)


def started(**content: Any) -> MediaReader:
    reader = begun()
    reader.receive_from_client(dump(start() | content), 0.0)
    return reader


def test_names_of_the_call_are_kept_short() -> None:
    reader = started(streamSid="M" * 999, start={"callSid": "C" * 999})
    assert (reader.stream_sid, reader.call_sid) == ("M" * NAME_LIMIT, "C" * NAME_LIMIT)


@pytest.mark.parametrize("stream_sid", [None, 7, ["MZ"]])
def test_a_stream_sid_that_is_none_is_not_told(stream_sid: object) -> None:
    reader = started(streamSid=stream_sid)
    assert (reader.stream_sid, reader.call_sid) == (None, CALL_SID)


@pytest.mark.parametrize("content", [{}, {"callSid": 7}, [], "CA"])
def test_a_start_without_a_call_sid_names_no_call(content: object) -> None:
    assert started(start=content).call_sid is None


def test_a_name_can_always_be_written_down() -> None:
    reader = begun()
    reader.receive_from_client(rb'{"event":"start","start":{"callSid":"CA\ud800"}}', 0.0)
    assert reader.call_sid == "CA?"


def test_a_start_of_the_gateways_names_no_call() -> None:
    reader = server(begun(), (0.0, start()))
    assert (reader.stream_sid, reader.call_sid) == (None, None)


GARBAGE = {
    "empty": b"",
    "not json": b"hello",
    "cut short": dump(media(3, 20))[:-20],
    "media cut short": b'{"event":"media","streamSid":"MZ","media":{"payload":"',
    "event is a number": b'{"event":1}',
    "mark is a list": b'{"event":"mark","mark":[]}',
    "bad utf-8": b'{"event":"mark","mark":{"name":"\xff"}}',
    "deep": b'{"event":"mark","mark":' + b"[" * 60_000,
    "payload is no text": b'{"event":"media","media":{"payload":7}}',
    "no payload": b'{"event":"media"}',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_passed_over_and_what_follows_is_read(garbage: bytes) -> None:
    reader = begun()
    for receive in (reader.receive_from_client, reader.receive_from_server):
        receive(garbage, 1.0)
    assert reader.marks_unanswered == 0
    assert reader.buffered_s(1.0) == 0.0
    reader.receive_from_client(dump(start()), 1.0)
    server(reader, (1.0, audio()), (1.0, mark("a")))
    assert (reader.call_sid, reader.marks_unanswered) == (CALL_SID, 1)
    assert reader.buffered_s(1.0) == pytest.approx(0.02)


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=3,
)
fields = st.sampled_from(["event", "media", "mark", "start", "name", "payload", "sequenceNumber"])
words = st.one_of(json_like, st.sampled_from(["media", "mark", "start", "clear", "stop"]))
message_like = st.dictionaries(fields, st.one_of(words, st.dictionaries(fields, words)))


messages_like = message_like.map(lambda message: json.dumps(message).encode())


@given(st.lists(st.one_of(st.binary(), messages_like), max_size=4))
@quickly
def test_nothing_that_a_peer_says_is_an_error(messages: list[bytes]) -> None:
    reader = begun()
    for message in messages:
        reader.decide(message)
        reader.receive_from_client(message, 1.0)
        reader.receive_from_server(message, 1.0)
    assert reader.media_frames["client"] == reader.media_frames["server"] <= len(messages)
    assert reader.jitter_s >= 0


@pytest.mark.parametrize(
    ("sampling", "taken"),
    [
        (Sampling(), ["every"] * 5),
        (Sampling("off", 2), ["off"] * 5),
        (Sampling("sampled", 1), ["sampled"] * 5),
        (Sampling("sampled", 2), ["sampled", "skipped", "sampled", "skipped", "sampled"]),
        (Sampling("sampled", 4), ["sampled", "skipped", "skipped", "skipped", "sampled"]),
    ],
)
def test_of_sampled_streams_the_first_is_read_and_then_one_in_so_many(
    sampling: Sampling, taken: list[str]
) -> None:
    assert [sampling.take() for _ in range(5)] == taken


def test_the_names_of_a_stream_are_all_that_is_read_of_one_that_is_passed_over(
    spell: Callable[[Message], bytes],
) -> None:
    reader = begun(spell(connected()))
    assert reader.receive_names(spell(connected())) is False
    assert reader.receive_names(spell(start())) is True
    assert (reader.call_sid, reader.stream_sid) == (CALL_SID, STREAM_SID)
    assert MediaReader().receive_names(b"hello") is True
