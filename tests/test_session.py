"""The life of one session: who ended it, how, and what its log line says."""

import json
from typing import Any, Literal

import pytest
from websockets.frames import Frame, Opcode

from feeds import every_split
from proxy.frames import WentBlind
from proxy.media import MESSAGE_LIMIT, SERVER_MESSAGE_LIMIT, Sampling
from proxy.session import SENDERS, Close, Ending, Sender, Session

# What dashboards, `hopscope show` and the history find in a `session` line.
FIELDS = set(
    """
    id route ingress duration_s frames bytes wire_bytes close_code close_reason close_sender closes
    ended_by ending eof_from longest_silence_s mask_misfits blind
    """.split()
)
TWILIO_FIELDS = set(
    """
    stream_sid call_sid media_read messages_unread media_frames sequence_gaps jitter_ms underruns
    marks marks_unanswered
    """.split()
)
NUMBERS = TWILIO_FIELDS - {"stream_sid", "call_sid", "media_read", "messages_unread"}
OTHER: dict[Sender, Sender] = {"client": "server", "server": "client"}


def new_session(*, is_websocket: bool = True) -> Session:
    return Session("an id", "voice", "nginx", 100.0, is_websocket=is_websocket)


def frame(sender: Sender, payload: bytes = b"", opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, payload).serialize(mask=sender == "client", extensions=[])


def close(sender: Sender, payload: bytes = b"\x03\xe8") -> bytes:
    return frame(sender, payload, Opcode.CLOSE)


def message(event: str, **content: Any) -> bytes:
    return json.dumps({"event": event} | content).encode()


def how(session: Session) -> tuple[Ending | None, str | None]:
    return session.ending, session.ended_by


@pytest.mark.parametrize("sender", SENDERS)
def test_a_close_that_is_answered_ends_the_session_by_who_began(sender: Sender) -> None:
    session = new_session()
    session.receive_data(sender, close(sender, b"\x03\xe9bye"), 101.0)
    assert how(session) == (None, None)
    session.receive_data(OTHER[sender], close(OTHER[sender], b"\x03\xe9"), 101.5)
    session.receive_eof(OTHER[sender])
    session.receive_eof(sender)
    session.end_quietly(102.0)
    assert how(session) == ("close_handshake", sender)
    assert session.closes == [Close(sender, 1001, "bye"), Close(OTHER[sender], 1001, "")]
    line = session.line(200.0)
    assert (line["close_sender"], line["close_code"], line["close_reason"]) == (sender, 1001, "bye")
    assert [told["sender"] for told in line["closes"]] == [sender, OTHER[sender]]
    assert line["eof_from"] == [OTHER[sender], sender]


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("end", ["eof of the same", "eof of the other", "reset"])
def test_a_close_that_is_not_answered_is_still_how_the_session_ended(
    sender: Sender, end: str
) -> None:
    session = new_session()
    session.receive_data(sender, close(sender), 101.0)
    if end == "reset":
        session.end_reset(OTHER[sender], 102.0)
    else:
        session.receive_eof(sender if end == "eof of the same" else OTHER[sender])
        session.end_quietly(102.0)
    assert how(session) == ("close_handshake", sender)


@pytest.mark.parametrize("first", SENDERS)
def test_an_eof_without_a_close_is_told_by_who_stopped_first(first: Sender) -> None:
    session = new_session()
    session.receive_eof(first)
    session.receive_data(OTHER[first], frame(OTHER[first], b"still talking"), 101.0)
    session.receive_eof(OTHER[first])
    session.receive_eof(first)
    session.end_quietly(102.0)
    assert how(session) == ("eof_without_close", first)
    assert session.line(0.0)["eof_from"] == [first, OTHER[first]]


@pytest.mark.parametrize("sender", SENDERS)
def test_a_reset_without_a_close_is_told_by_whose_it_was(sender: Sender) -> None:
    session = new_session()
    session.receive_eof(OTHER[sender])
    session.end_reset(sender, 102.0)
    assert how(session) == ("reset", sender)


@pytest.mark.parametrize(
    ("ending", "by"),
    [("timeout", "client"), ("timeout", "server"), ("timeout", "sidecar"), ("drain", "sidecar")],
)
def test_the_first_ending_stands(
    ending: Literal["timeout", "drain"], by: Literal["client", "server", "sidecar"]
) -> None:
    session = new_session()
    session.end(ending, by, 101.0)
    session.receive_data("client", close("client"), 101.1)
    session.receive_eof("client")
    session.end_quietly(102.0)
    session.end_reset("server", 103.0)
    assert how(session) == (ending, by)
    line = session.line(200.0)
    assert (line["ending"], line["ended_by"], line["duration_s"]) == (ending, by, 1.0)
    assert line["close_sender"] == "client"


def test_of_each_senders_closes_the_first_is_kept() -> None:
    session = new_session()
    session.receive_data("server", close("server", b"\x03\xf3crash") + close("server"), 101.0)
    session.receive_data("client", close("client", b""), 101.0)
    session.receive_data("server", close("server"), 101.0)
    assert session.closes == [Close("server", 1011, "crash"), Close("client", None, "")]


def test_frames_and_bytes_are_told_by_sender_and_opcode() -> None:
    session = new_session()
    for opcode, payload in (
        (Opcode.TEXT, b"abc"),
        (Opcode.TEXT, b"de"),
        (Opcode.BINARY, b"f"),
        (Opcode.PING, b""),
    ):
        session.receive_data("client", frame("client", payload, opcode), 101.0)
    session.receive_data("server", b"\x8b\x02xy" + b"\x81\x80\0\0\0\0", 101.0)
    line = session.line(101.0)
    assert line["frames"] == {
        "client": {"text": 2, "binary": 1, "ping": 1},
        "server": {"text": 1, "reserved_b": 1},
    }
    assert line["bytes"] == {
        "client": {"text": 5, "binary": 1, "ping": 0},
        "server": {"text": 0, "reserved_b": 2},
    }
    assert line["wire_bytes"] == {"client": 4 * 6 + 6, "server": 10}
    assert line["mask_misfits"] == {"client": 0, "server": 1}


def test_a_session_without_a_frame_says_so() -> None:
    line = new_session().line(103.25)
    assert line["frames"] == line["bytes"] == {"client": {"text": 0}, "server": {"text": 0}}
    assert line["longest_silence_s"] == {"client": 3.25, "server": 3.25}
    assert (line["close_code"], line["close_reason"], line["close_sender"]) == (None, None, None)


def test_the_longest_silence_may_be_the_first_a_middle_or_the_last() -> None:
    session = new_session()
    for now in (105.0, 106.0, 107.0):
        session.receive_data("client", frame("client"), now)
    for now in (101.0, 104.5):
        session.receive_data("server", frame("server"), now)
    assert session.last_at == 107.0
    assert session.line(107.0)["longest_silence_s"] == {"client": 5.0, "server": 3.5}
    assert session.line(110.0)["longest_silence_s"] == {"client": 5.0, "server": 5.5}
    session.end("drain", "sidecar", 108.0)
    assert session.line(110.0)["longest_silence_s"] == {"client": 5.0, "server": 3.5}
    assert session.line(110.0)["duration_s"] == 8.0


def test_a_running_session_has_a_line_without_an_ending() -> None:
    line = new_session().line(101.5)
    assert (line["ending"], line["ended_by"], line["duration_s"]) == (None, None, 1.5)


def test_a_stream_that_cannot_be_followed_is_told_by_sender_and_place() -> None:
    session = new_session()
    session.receive_data("server", frame("server", b"ok"), 101.0)
    session.receive_data("server", b"\x82\x7f" + b"\xff" * 8 + b"more", 102.0)
    session.receive_data("client", frame("client", b"ok"), 103.0)
    reason = "a frame announces 2**63 bytes or more"
    assert session.blind == [("server", WentBlind(reason, 4))]
    line = session.line(104.0)
    assert line["blind"] == {"client": None, "server": reason}
    assert line["wire_bytes"]["server"] == 4 + 14
    assert line["frames"]["client"] == {"text": 1}


def test_a_switch_to_something_else_is_counted_and_not_read() -> None:
    session = new_session(is_websocket=False)
    for sender in SENDERS:
        session.receive_data(sender, close(sender) + message("connected"), 101.0)
    session.receive_eof("server")
    session.end_quietly(102.0)
    line = session.line(0.0)
    assert line["frames"] == {"client": {"text": 0}, "server": {"text": 0}}
    assert line["wire_bytes"]["server"] == 4 + len(message("connected"))
    assert set(line["blind"].values()) == {"the 101 did not switch to websocket"}
    assert how(session) == ("eof_without_close", "server")
    assert session.blind == []


def test_the_line_has_every_promised_field_and_is_json() -> None:
    session = new_session()
    session.receive_data("client", frame("client", b"hello"), 101.0)
    assert set(session.line(101.0)) == FIELDS
    call = twilio_call()
    assert set(call.line(101.0)) == FIELDS | TWILIO_FIELDS
    assert json.loads(json.dumps(call.line(101.0))) == call.line(101.0)


def twilio_call(sampling: Sampling | None = None) -> Session:
    session = Session("an id", "voice", "nginx", 100.0, sampling=sampling)
    messages: list[tuple[Sender, bytes]] = [
        ("client", message("connected", protocol="Call", version="1.0.0")),
        ("client", message("start", sequenceNumber="1", streamSid="MZ1", start={"callSid": "CA1"})),
        ("client", message("media", sequenceNumber="2", media={"timestamp": "20"})),
        ("server", message("media", streamSid="MZ1", media={"payload": "////"})),
        ("server", message("mark", streamSid="MZ1", mark={"name": "a"})),
        ("client", message("media", sequenceNumber="4", media={"timestamp": "60"})),
    ]
    for sender, text in messages:
        session.receive_data(sender, frame(sender, text), 101.0)
    return session


def test_a_twilio_stream_is_recognised_and_told() -> None:
    line = twilio_call().line(101.0)
    assert {name: line[name] for name in TWILIO_FIELDS} == {
        "stream_sid": "MZ1",
        "call_sid": "CA1",
        "media_read": "every",
        "messages_unread": {"client": 0, "server": 0},
        "media_frames": {"client": 2, "server": 1},
        "sequence_gaps": 1,
        "jitter_ms": 2.5,  # 40 ms that took none, smoothed by a sixteenth
        "underruns": 0,
        "marks": {"sent": 1, "echoed": 0},
        "marks_unanswered": 1,
    }


def test_a_stream_is_told_alike_however_its_bytes_are_cut() -> None:
    texts = (
        message("connected"),
        message("start", sequenceNumber="1", streamSid="MZ1", start={"callSid": "CA1"}),
        message("media", sequenceNumber="3", media={"timestamp": "20"}),
    )
    data = b"".join(frame("client", text) for text in texts) + close("client", b"\x03\xe8bye")
    lines = []
    for pieces in every_split(data):
        session = new_session()
        for piece in pieces:
            session.receive_data("client", piece, 101.0)
        lines.append(session.line(102.0))
    assert lines[0]["sequence_gaps"] == 1
    assert lines[0]["call_sid"] == "CA1"
    assert lines[0]["close_reason"] == "bye"
    assert all(line == lines[0] for line in lines)


def test_only_the_clients_first_message_decides_what_a_stream_is() -> None:
    session = new_session()
    session.receive_data("server", frame("server", message("connected")), 101.0)
    session.receive_data("client", frame("client", b"hello"), 101.0)
    session.receive_data("client", frame("client", message("connected")), 101.0)
    start = message("start", streamSid="MZ1", start={"callSid": "CA1"})
    session.receive_data("client", frame("client", start), 101.0)
    assert set(session.line(102.0)) == FIELDS


def test_messages_of_another_protocol_are_not_handed_out_any_more() -> None:
    session = new_session()
    session.receive_data("client", frame("client", b"hello"), 101.0)
    assert {reader.text_limit for reader in session.readers.values()} == {0}


def test_a_message_of_the_gateways_before_the_first_of_twilios_is_passed_over() -> None:
    session = new_session()
    audio = message("media", media={"payload": "////"})
    session.receive_data("server", frame("server", audio), 101.0)
    session.receive_data("client", frame("client", message("connected")), 101.0)
    session.receive_data("server", frame("server", audio), 101.0)
    assert session.line(101.0)["media_frames"] == {"client": 0, "server": 1}


@pytest.mark.parametrize(
    ("sampling", "read"),
    [(Sampling("off"), "off"), (Sampling("sampled", 2), "skipped")],
    ids=["off", "skipped"],
)
def test_of_a_stream_that_is_not_read_only_its_names_and_its_frames_are_told(
    sampling: Sampling, read: str
) -> None:
    if read == "skipped":
        assert twilio_call(sampling).line(101.0)["media_read"] == "sampled"
    session = twilio_call(sampling)
    line = session.line(101.0)
    assert {name: line[name] for name in TWILIO_FIELDS} == {
        "stream_sid": "MZ1",
        "call_sid": "CA1",
        "media_read": read,
        "messages_unread": None,
    } | dict.fromkeys(NUMBERS)
    assert line["frames"] == {"client": {"text": 4}, "server": {"text": 2}}
    # Nothing is unmasked or handed out any more, which is what reading costs.
    assert {reader.text_limit for reader in session.readers.values()} == {0}


def test_a_stream_without_a_start_is_passed_over_all_the_same() -> None:
    session = Session("an id", "voice", "nginx", 100.0, sampling=Sampling("off"))
    media = message("media", sequenceNumber="2", media={"timestamp": "20"})
    for text in (message("connected"), media):
        assert session.readers["client"].text_limit > 0
        session.receive_data("client", frame("client", text), 101.0)
    assert session.readers["client"].text_limit == 0
    assert session.line(101.0)["call_sid"] is None


def test_other_streams_take_no_place_in_the_sample() -> None:
    sampling = Sampling("sampled", 2)
    for _ in range(3):
        other = Session("an id", "voice", "nginx", 100.0, sampling=sampling)
        other.receive_data("client", frame("client", b"hello"), 101.0)
    assert twilio_call(sampling).media.read == "sampled"


def heavy(size: int) -> bytes:
    """One media message of so many bytes."""
    text = message("media", streamSid="MZ1", media={"payload": ""})
    return text.replace(b'""', b'"' + b"/" * (size - len(text)) + b'"')


def test_a_gateway_may_send_a_whole_answer_as_one_message() -> None:
    session = twilio_call()
    session.receive_data("server", frame("server", heavy(SERVER_MESSAGE_LIMIT)), 101.0)
    line = session.line(101.0)
    assert line["media_frames"]["server"] == 2
    assert session.media.buffered_s(101.0) > 45


@pytest.mark.parametrize(
    ("sender", "data"),
    [
        pytest.param("client", frame("client", heavy(MESSAGE_LIMIT + 1)), id="client, too long"),
        pytest.param(
            "server", frame("server", heavy(SERVER_MESSAGE_LIMIT + 1)), id="server, too long"
        ),
        pytest.param(
            "client",
            b"\x01\x82\0\0\0\0{}\x80\x81\0\0\0\0 ",
            id="in fragments",
        ),
        pytest.param("server", b"\xc1\x02{}", id="compressed"),
    ],
)
def test_no_number_is_told_of_a_stream_with_a_message_that_could_not_be_read(
    sender: Sender, data: bytes
) -> None:
    session = twilio_call()
    session.receive_data(sender, data, 101.0)
    line = session.line(101.0)
    assert line["messages_unread"] == {sender: 1, OTHER[sender]: 0}
    assert {name: line[name] for name in NUMBERS} == dict.fromkeys(NUMBERS)
    assert line["call_sid"] == "CA1"


def test_a_message_that_has_only_begun_is_not_unread() -> None:
    session = twilio_call()
    session.receive_data("server", frame("server", heavy(300))[:-1], 101.0)
    assert session.line(101.0)["messages_unread"] == {"client": 0, "server": 0}
    assert session.line(101.0)["media_frames"]["server"] == 1


def test_no_number_is_told_once_a_reader_is_blind() -> None:
    session = twilio_call()
    session.receive_data("server", b"\x81\x7f" + b"\xff" * 8, 101.0)
    line = session.line(101.0)
    assert line["messages_unread"] == {"client": 0, "server": None}
    assert {name: line[name] for name in NUMBERS} == dict.fromkeys(NUMBERS)
