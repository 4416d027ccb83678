"""What the caller sends is what Twilio sends, and what it objects to is what Twilio does."""

import base64
import json
from typing import Any

import pytest

from doctor.caller.messages import Audio, Clear, Command, Mark, ServerMessages, TwilioMessages
from doctor.errors import Objection
from gateway import messages as gateway_messages
from proxy.media import MediaReader

ACCOUNT_SID, CALL_SID, STREAM_SID = (prefix + "0" * 32 for prefix in ("AC", "CA", "MZ"))
FRAME = b"\xff" * 160
PAYLOAD = base64.b64encode(FRAME).decode()


def twilio() -> TwilioMessages:
    return TwilioMessages(ACCOUNT_SID, CALL_SID, STREAM_SID)


def test_messages_are_spelled_as_they_were_captured() -> None:
    """Order of the fields included: logs of Twilio's own messages are the source."""
    messages = twilio()
    sid = f'"streamSid":"{STREAM_SID}"'
    assert messages.connected() == '{"event":"connected","protocol":"Call","version":"1.0.0"}'
    assert messages.start(["inbound"], {"hello": "HelloValue"}) == (
        f'{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"{ACCOUNT_SID}",{sid},'
        f'"callSid":"{CALL_SID}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw",'
        '"sampleRate":8000,"channels":1},"customParameters":{"hello":"HelloValue"}},' + sid + "}"
    )
    assert messages.media("inbound", 20, FRAME) == (
        '{"event":"media","sequenceNumber":"2","media":{"track":"inbound","chunk":"1",'
        f'"timestamp":"20","payload":"{PAYLOAD}"}},{sid}}}'
    )
    assert messages.dtmf("7") == (
        f'{{"event":"dtmf",{sid},"sequenceNumber":"3",'
        '"dtmf":{"track":"inbound_track","digit":"7"}}'
    )
    assert messages.mark("greeting") == (
        f'{{"event":"mark","sequenceNumber":"4",{sid},"mark":{{"name":"greeting"}}}}'
    )
    assert messages.stop() == (
        f'{{"event":"stop","sequenceNumber":"5",{sid},'
        f'"stop":{{"accountSid":"{ACCOUNT_SID}","callSid":"{CALL_SID}"}}}}'
    )


def test_chunks_count_by_track_and_sequence_numbers_count_all() -> None:
    messages = twilio()
    sent = [messages.media(track, 0, FRAME) for track in ("inbound", "outbound", "inbound")]
    told = [json.loads(message) for message in sent]
    assert [message["sequenceNumber"] for message in told] == ["1", "2", "3"]
    assert [message["media"]["chunk"] for message in told] == ["1", "1", "2"]


def test_the_gateway_reads_every_message_of_the_caller() -> None:
    messages = twilio()
    read = [
        gateway_messages.parse_message(text)
        for text in (
            messages.connected(),
            messages.start(["inbound", "outbound"], {"token": "t"}),
            messages.media("inbound", 40, FRAME),
            messages.dtmf("#"),
            messages.mark("m"),
            messages.stop(),
        )
    ]
    names = [type(message).__name__ for message in read]
    assert names == ["Connected", "Started", "Media", "Digit", "MarkPlayed", "Stopped"]


def test_the_sidecar_reads_them_without_a_gap() -> None:
    messages, reader = twilio(), MediaReader()
    assert reader.decide(messages.connected().encode())
    sent = [messages.start(["inbound"], {})]
    sent += [messages.media("inbound", 20 * n, FRAME) for n in range(1, 6)]
    sent += [messages.mark("m"), messages.stop()]
    for number, message in enumerate(sent):
        reader.receive_from_client(message.encode(), number * 0.02)
    assert (reader.call_sid, reader.stream_sid) == (CALL_SID, STREAM_SID)
    assert (reader.media_frames["client"], reader.sequence_gaps) == (5, 0)


def server(event: str, **fields: Any) -> str:
    return json.dumps({"event": event, "streamSid": STREAM_SID} | fields)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (server("media", media={"payload": PAYLOAD}), Audio(FRAME)),
        (server("media", media={"payload": ""}), Audio(b"")),
        (server("mark", mark={"name": "é"}), Mark("é")),
        (server("clear"), Clear()),
        (gateway_messages.media(STREAM_SID, FRAME), Audio(FRAME)),
        (gateway_messages.mark(STREAM_SID, "m"), Mark("m")),
        (gateway_messages.clear(STREAM_SID), Clear()),
    ],
)
def test_documented_messages_are_obeyed_without_objection(text: str, command: Command) -> None:
    reader = ServerMessages(STREAM_SID)
    assert reader.receive_text(text) == command
    assert (reader.objections, reader.ignored) == ([], 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('["media"]', "no JSON object"),
        ("null", "no JSON object"),
        (server("hangup"), "'hangup'"),
        (json.dumps({"streamSid": STREAM_SID}), "null"),
        (json.dumps({"event": ["media"], "streamSid": STREAM_SID}), '["media"]'),
        (server("clear").replace(STREAM_SID, "MZother"), "'MZother'"),
        (json.dumps({"event": "clear"}), "null"),
        (json.dumps({"event": "clear", "stream_sid": STREAM_SID}), "null"),
        (server("media"), "'media'"),
        (server("media", media=PAYLOAD), "'media'"),
        (server("media", media={}), "media.payload"),
        (server("media", media={"payload": 1}), "media.payload"),
        (server("media", media={"payload": "%%%"}), "no base64"),
        (server("media", media={"payload": "AAA"}), "no base64"),
        (server("media", media={"payload": "é"}), "no base64"),
        (server("mark"), "'mark'"),
        (server("mark", mark={"name": 1}), "mark.name"),
    ],
)
def test_anything_else_is_ignored_with_31951(text: str, told: str) -> None:
    reader = ServerMessages(STREAM_SID)
    assert reader.receive_text(text) is None
    [objection] = reader.objections
    assert objection.code == 31951
    assert told in objection.saw
    assert len(objection.saw) < 400
    assert reader.ignored == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (server("media", media={"payload": PAYLOAD, "track": "outbound"}), "media.track"),
        (server("media", media={"payload": PAYLOAD}, sequenceNumber="1"), "sequenceNumber"),
        (server("clear", clear={}), "clear"),
        (server("mark", mark={"name": "m"}, media={}), "media"),
    ],
)
def test_a_message_with_more_than_belongs_there_is_obeyed_with_31951(text: str, told: str) -> None:
    reader = ServerMessages(STREAM_SID)
    assert reader.receive_text(text) is not None
    [objection] = reader.objections
    assert objection.code == 31951
    assert told in objection.saw
    assert reader.ignored == 0


def test_binary_and_undecodable_messages_are_31950() -> None:
    reader = ServerMessages(STREAM_SID)
    reader.receive_binary(FRAME)
    reader.receive_undecodable()
    assert [objection.code for objection in reader.objections] == [31950, 31950]
    assert "160 bytes" in reader.objections[0].saw
    assert reader.ignored == 2


def test_an_objection_is_kept_once_for_each_kind() -> None:
    reader = ServerMessages(STREAM_SID)
    for number in range(1000):
        reader.receive_text(server(f"event{number}"))
        reader.receive_binary(bytes(number))
    assert [objection.code for objection in reader.objections] == [31951, 31950]
    assert reader.ignored == 2000


@pytest.mark.parametrize("start", [b"RIFF", b"ID3", b"OggS"])
def test_a_file_in_the_place_of_samples_is_played_and_remarked(start: bytes) -> None:
    reader = ServerMessages(STREAM_SID)
    payload = base64.b64encode(start + FRAME).decode()
    assert reader.receive_text(server("media", media={"payload": payload})) == Audio(start + FRAME)
    [objection] = reader.objections
    assert isinstance(objection, Objection)
    assert objection.code is None
    assert "header" in objection.saw
