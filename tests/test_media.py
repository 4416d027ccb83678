"""What a Twilio Media Stream's messages tell, however they are spelled."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.media import MARKS_LIMIT, NAME_LIMIT, MediaReader

quickly = settings(derandomize=True, deadline=None, max_examples=20)
STREAM_SID, CALL_SID, ACCOUNT_SID = (prefix + "0" * 32 for prefix in ("MZ", "CA", "AC"))
FRAME = base64.b64encode(b"\xff" * 160).decode()  # 20 ms, and 213 slashes
Message = dict[str, Any]


def backwards(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: backwards(item) for name, item in reversed(value.items())}


def with_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_numbers(item) for name, item in value.items()}
    return int(value) if isinstance(value, str) and value.isdigit() else value


SPELLINGS: dict[str, Callable[[Message], str]] = {
    "compact": lambda message: json.dumps(message, separators=(",", ":")),
    "spaced": json.dumps,
    "indented": lambda message: json.dumps(message, indent=2),
    "backwards": lambda message: json.dumps(backwards(message), separators=(",", ":")),
    "spaced backwards": lambda message: json.dumps(backwards(message)),
    "numbers as numbers": lambda message: json.dumps(with_numbers(message)),
    "slashes escaped": lambda message: json.dumps(message).replace("/", r"\/"),
}


@pytest.fixture(params=SPELLINGS.values(), ids=list(SPELLINGS))
def spell(request: pytest.FixtureRequest) -> Callable[[Message], bytes]:
    return lambda message: str(request.param(message)).encode()


def connected() -> Message:
    return {"event": "connected", "protocol": "Call", "version": "1.0.0"}


def start(sequence: int = 1) -> Message:
    return {
        "event": "start",
        "sequenceNumber": str(sequence),
        "streamSid": STREAM_SID,
        "start": {
            "accountSid": ACCOUNT_SID,
            "streamSid": STREAM_SID,
            "callSid": CALL_SID,
            "tracks": ["inbound"],
            "customParameters": {"token": "made-up"},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }


def media(sequence: int, timestamp: int, track: str = "inbound") -> Message:
    return {
        "event": "media",
        "sequenceNumber": str(sequence),
        "streamSid": STREAM_SID,
        "media": {
            "track": track,
            "chunk": str(sequence - 1),
            "timestamp": str(timestamp),
            "payload": FRAME,
        },
    }


def client(event: str, sequence: int, **content: Any) -> Message:
    """dtmf, mark and stop: an envelope and one object."""
    return {
        "event": event,
        "sequenceNumber": str(sequence),
        "streamSid": STREAM_SID,
        event: content,
    }


def audio(payload: str = FRAME) -> Message:
    return {"event": "media", "streamSid": STREAM_SID, "media": {"payload": payload}}


def mark(name: str) -> Message:
    return {"event": "mark", "streamSid": STREAM_SID, "mark": {"name": name}}


CLEAR: Message = {"event": "clear", "streamSid": STREAM_SID}


def dump(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def begun(first: bytes = b'{"event":"connected"}') -> MediaReader:
    reader = MediaReader()
    assert reader.is_twilio is None
    assert reader.decide(first) is True
    return reader


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


@pytest.mark.parametrize("size", [0, 1, 2, 3, 159, 160, 161, 162, 4000])
def test_audio_is_measured_by_its_length(size: int, spell: Callable[[Message], bytes]) -> None:
    reader = begun()
    message = audio(base64.b64encode(b"\xff" * size).decode())
    reader.receive_from_server(spell(message), 5.0)
    assert reader.buffered_s(5.0) == pytest.approx(size / 8000, abs=1e-9)
    assert reader.media_frames["server"] == 1


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        pytest.param("/", r"\/", id="PHP's slash"),
        pytest.param("+", r"\u002B", id=".NET's plus"),
        pytest.param("=", r"\u003d", id="Gson's padding"),
    ],
)
def test_escapes_of_other_json_writers_are_not_audio(plain: str, escaped: str) -> None:
    reader = begun()
    payload = base64.b64encode(bytes(range(256)) + b"\xfb\xff" * 80)
    message = dump(audio(payload.decode())).replace(plain.encode(), escaped.encode())
    assert json.loads(message) == audio(payload.decode())
    reader.receive_from_server(message, 5.0)
    assert reader.buffered_s(5.0) == pytest.approx((256 + 160) / 8000, abs=1e-9)


def test_audio_sent_faster_than_it_plays_is_buffered() -> None:
    reader = begun()
    for _ in range(100):
        reader.receive_from_server(dump(audio()), 1.0)
    assert reader.buffered_s(1.0) == pytest.approx(2.0)
    assert reader.buffered_s(2.5) == pytest.approx(0.5)
    assert reader.buffered_s(9.0) == 0.0


def server(reader: MediaReader, *script: tuple[float, Message]) -> MediaReader:
    for now, message in script:
        reader.receive_from_server(dump(message), now)
    return reader


@pytest.mark.parametrize(
    ("second_at", "underruns"),
    [
        pytest.param(10.01, 0, id="in time"),
        pytest.param(10.02, 0, id="just in time"),
        pytest.param(10.035, 0, id="within a frame"),
        pytest.param(10.06, 1, id="40 ms dry"),
        pytest.param(10.9, 1, id="almost a pause"),
        pytest.param(11.1, 0, id="a pause"),
        pytest.param(60.0, 0, id="a long pause"),
    ],
)
def test_audio_that_runs_dry_within_an_utterance_is_an_underrun(
    second_at: float, underruns: int
) -> None:
    assert server(begun(), (10.0, audio()), (second_at, audio())).underruns == underruns


def test_the_first_word_is_never_late() -> None:
    assert server(begun(), (0.5, audio())).underruns == 0


def test_every_hole_is_counted() -> None:
    reader = server(begun(), *((10.0 + step * 0.1, audio()) for step in range(11)))
    assert reader.underruns == 10


def test_a_buffer_that_lasts_over_a_late_message_does_not_run_dry() -> None:
    ahead = [(10.0, audio())] * 20
    assert server(begun(), *ahead, (10.39, audio()), (10.4, audio())).underruns == 0


@pytest.mark.parametrize("end", [mark("end of sentence"), CLEAR], ids=["mark", "clear"])
def test_what_follows_a_mark_or_a_clear_is_another_utterance(end: Message) -> None:
    script = [(10.0, audio()), (10.0, end), (10.3, audio())]
    assert server(begun(), *script).underruns == 0
    assert server(begun(), *script, (10.4, audio())).underruns == 1


def test_a_clear_empties_the_buffer_at_once() -> None:
    reader = server(begun(), *[(10.0, audio())] * 100, (10.5, CLEAR))
    assert reader.buffered_s(10.5) == 0.0
    server(reader, (10.6, audio()))
    assert reader.buffered_s(10.6) == pytest.approx(0.02)


def test_only_the_gateway_clears() -> None:
    reader = server(begun(), *[(10.0, audio())] * 100)
    reader.receive_from_client(dump(CLEAR), 10.5)
    assert reader.buffered_s(10.5) == pytest.approx(1.5)


def test_marks_are_unanswered_until_twilio_echoes_them_by_name() -> None:
    reader = server(begun(), (1.0, mark("a")), (1.0, mark("a")), (1.0, mark("b")))
    assert reader.marks_unanswered == 3
    for name, left in (("a", 2), ("never sent", 2), ("a", 1), ("a", 1), ("b", 0)):
        reader.receive_from_client(dump(client("mark", 2, name=name)), 2.0)
        assert reader.marks_unanswered == left


def test_marks_that_wait_are_bounded_in_number_and_length() -> None:
    names = [f"{number} " + "x" * NAME_LIMIT for number in range(MARKS_LIMIT + 10)]
    reader = server(begun(), *((1.0, mark(name)) for name in names))
    assert reader.marks_unanswered == MARKS_LIMIT
    for name in names:
        reader.receive_from_client(dump(client("mark", 2, name=name)), 2.0)
    assert reader.marks_unanswered == 0


@pytest.mark.parametrize("name", [None, 7, ["a"], {}])
def test_a_mark_without_a_name_is_no_mark(name: object) -> None:
    message = mark("a") | {"mark": {"name": name}}
    assert server(begun(), (1.0, message)).marks_unanswered == 0


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
