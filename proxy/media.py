"""What the messages of a Twilio Media Stream tell about the call (facts only, no decoding).

Messages are JSON text (www.twilio.com/docs/voice/media-streams/websocket-messages). The client,
Twilio, sends connected, start, media, dtmf, mark, stop; the server sends media, mark, clear.
Twenty milliseconds of speech are one message of 160 mu-law bytes, so `media` is the hot path and
is not parsed as JSON where it is spelled as usual: its numbers are taken from their places, its
audio is measured by its length.

Reading can be sampled or switched off. The numbers of a stream are told only where all of it was
read: a gap in the numbering, a hole in the audio and a mark's echo show only to whoever saw what
came before. So what is sampled is streams, not messages.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

MESSAGE_LIMIT = 65536  # what Twilio's peers accept as one message
# Twilio itself takes audio in any amount, and some gateways send a whole answer as one message.
SERVER_MESSAGE_LIMIT = 1 << 19
BYTES_PER_SECOND = 8000  # audio/x-mulaw, 8 kHz, one channel
FRAME_S = 0.02
# Playout that ran dry for longer than this is a pause between utterances, not a hole in one.
PAUSE_S = 1.0
MARKS_LIMIT = 1000
NAME_LIMIT = 128
# RFC 3550 section 6.4.1 smooths interarrival jitter by a sixteenth.
_JITTER_GAIN = 1 / 16

# How Twilio's media messages begin, and those of most gateways (some libraries add a space).
_TWILIO_MEDIA = b'{"event":"media","sequenceNumber":"'
_GATEWAY_MEDIA = (b'{"event":"media","streamSid":"', b'{"event": "media", "streamSid": "')

Read = Literal["every", "sampled", "off"]
# How one stream is read. Of sampled streams one is "sampled", and the others are "skipped".
MediaRead = Literal["every", "sampled", "skipped", "off"]
MEDIA_READS: tuple[str, ...] = get_args(MediaRead)


class Sampling:
    """Which Twilio streams are read: the first one and, of "sampled", one of `every` after it."""

    def __init__(self, read: Read = "every", every: int = 1) -> None:
        self._read, self._every = read, every
        self._streams = 0

    def take(self) -> MediaRead:
        """How the next stream is read."""
        if self._read != "sampled":
            return self._read
        is_chosen = self._streams % self._every == 0
        self._streams += 1
        return "sampled" if is_chosen else "skipped"


class MediaReader:
    """One Twilio stream, both directions. `is_twilio` is None until the first message decides."""

    __slots__ = (
        "_marks",
        "_next_sequence",
        "_playout_end",
        "_transit",
        "_utterance_open",
        "call_sid",
        "is_twilio",
        "jitter_s",
        "marks",
        "media_frames",
        "others",
        "read",
        "sequence_gaps",
        "stream_sid",
        "underruns",
    )

    def __init__(self) -> None:
        self.is_twilio: bool | None = None
        self.read: MediaRead = "every"
        self.stream_sid: str | None = None
        self.call_sid: str | None = None
        self.media_frames = {"client": 0, "server": 0}
        self.others = {"client": 0, "server": 0}  # messages that were not media
        self.sequence_gaps = 0  # messages of Twilio's numbering that did not arrive in order
        self.jitter_s = 0.0  # of the client's media against its own timestamps
        self.underruns = 0  # times that the server's audio ran dry within an utterance
        self.marks = {"sent": 0, "echoed": 0}
        self._next_sequence: int | None = None
        self._transit: float | None = None
        self._playout_end = 0.0  # when what Twilio has buffered will have been played
        self._utterance_open = False
        self._marks: dict[str, int] = {}  # sent and not yet echoed, by name

    @property
    def marks_unanswered(self) -> int:
        return sum(self._marks.values())

    def buffered_s(self, now: float) -> float:
        """Estimated seconds of audio that Twilio still has to play."""
        return max(self._playout_end - now, 0.0)

    def decide(self, payload: bytes) -> bool:
        """Take the client's first message, which tells whether this is a Twilio stream at all."""
        message = _parse(payload)
        event = message.get("event")
        self.is_twilio = event == "connected" or (event == "start" and "start" in message)
        return self.is_twilio

    @property
    def is_read(self) -> bool:
        """Whether all messages of this stream are read, and its numbers mean something."""
        return self.read in ("every", "sampled")

    def receive_names(self, payload: bytes) -> bool:
        """Take the call's names from `start`, all that is read of a stream that is passed over.

        True once nothing more is to be learned: only `connected` may stand before it.
        """
        message = _parse(payload)
        self._receive_start(message)
        return message.get("event") != "connected"

    def line(self, texts: Mapping[str, int | None]) -> dict[str, Any]:
        """The fields of a session's log line; None for what was not read.

        `texts` are the text messages that each sender has sent, None where nobody knows. One that
        was too long, in fragments or compressed was passed over, and no number is right without.
        """
        unread = {
            sender: count and max(count - self.media_frames[sender] - self.others[sender], 0)
            for sender, count in texts.items()
        }
        numbers: dict[str, Any] = {
            "media_frames": dict(self.media_frames),
            "sequence_gaps": self.sequence_gaps,
            "jitter_ms": round(self.jitter_s * 1000, 3),
            "underruns": self.underruns,
            "marks": dict(self.marks),
            "marks_unanswered": self.marks_unanswered,
        }
        if not self.is_read or any(count != 0 for count in unread.values()):
            numbers = dict.fromkeys(numbers)
        return {
            "stream_sid": self.stream_sid,
            "call_sid": self.call_sid,
            "media_read": self.read,
            "messages_unread": unread if self.is_read else None,
            **numbers,
        }

    def receive_from_client(self, payload: bytes, now: float) -> None:
        """Read one message of Twilio's."""
        if payload.startswith(_TWILIO_MEDIA):
            try:
                start = len(_TWILIO_MEDIA)
                end = payload.index(b'"', start)
                sequence = int(payload[start:end])
                start = payload.index(b'"timestamp":"', end) + 13
                timestamp = int(payload[start : payload.index(b'"', start)])
            except ValueError:
                pass  # not quite Twilio's spelling
            else:
                if sequence != self._next_sequence and self._next_sequence is not None:
                    self.sequence_gaps += 1
                self._next_sequence = sequence + 1
                self._receive_client_media(timestamp, now)
                return
        message = _parse(payload)
        sequence_number = _number(message.get("sequenceNumber"))
        if sequence_number is not None:
            self._receive_sequence(sequence_number)
        match message:
            case {"event": "media", **content}:
                media = content.get("media")
                timestamp_ms = _number(media.get("timestamp")) if isinstance(media, dict) else None
                self._receive_client_media(timestamp_ms, now)
                return
            case {"event": "start"}:
                self._receive_start(message)
            case {"event": "mark", "mark": {"name": str(name)}}:
                self._receive_echoed_mark(_shown_name(name))
        self.others["client"] += 1

    def receive_from_server(self, payload: bytes, now: float) -> None:
        """Read one message of the gateway's."""
        if payload.startswith(_GATEWAY_MEDIA):
            start = payload.find(b'"payload"') + 9
            start = payload.find(b'"', start) + 1
            end = payload.find(b'"', start)
            if 9 < start < end and payload.find(b"\\", start, end) < 0:
                self._receive_server_media(len(payload[start:end].rstrip(b"=")), now)
                return
        match _parse(payload):
            case {"event": "media", "media": {"payload": str(encoded)}}:
                self._receive_server_media(len(encoded.rstrip("=")), now)
                return
            case {"event": "media"}:
                self.media_frames["server"] += 1
                return
            case {"event": "mark", "mark": {"name": str(name)}}:
                self._receive_sent_mark(_shown_name(name))
            case {"event": "clear"}:
                self._playout_end = now
                self._utterance_open = False
        self.others["server"] += 1

    def _receive_start(self, message: dict[str, Any]) -> None:
        match message:
            case {"event": "start", "start": {"callSid": str(call_sid)}, **rest}:
                self.call_sid = _shown_name(call_sid)
                stream_sid = rest.get("streamSid")
                self.stream_sid = _shown_name(stream_sid) if isinstance(stream_sid, str) else None

    def _receive_sequence(self, number: int) -> None:
        if number != self._next_sequence and self._next_sequence is not None:
            self.sequence_gaps += 1
        self._next_sequence = number + 1

    def _receive_client_media(self, timestamp_ms: int | None, now: float) -> None:
        self.media_frames["client"] += 1
        if timestamp_ms is None:
            return
        transit = now - timestamp_ms / 1000
        if self._transit is not None:
            self.jitter_s += (abs(transit - self._transit) - self.jitter_s) * _JITTER_GAIN
        self._transit = transit

    def _receive_server_media(self, digits: int, now: float) -> None:
        """Take audio of so many base64 digits: three bytes in four of them."""
        self.media_frames["server"] += 1
        ahead = self._playout_end - now
        if self._utterance_open and -PAUSE_S < ahead < -FRAME_S:
            self.underruns += 1
        audio = digits * 3 // 4
        self._playout_end = (self._playout_end if ahead > 0 else now) + audio / BYTES_PER_SECOND
        self._utterance_open = True

    def _receive_sent_mark(self, name: str) -> None:
        self._utterance_open = False  # a mark stands behind the last word
        self.marks["sent"] += 1
        if len(self._marks) < MARKS_LIMIT:
            self._marks[name] = self._marks.get(name, 0) + 1

    def _receive_echoed_mark(self, name: str) -> None:
        if name in self._marks:
            self.marks["echoed"] += 1
            self._marks[name] -= 1
            if not self._marks[name]:
                del self._marks[name]


def _shown_name(name: str) -> str:
    """A name as it is kept. JSON can hold half a surrogate pair; files and terminals can't."""
    return name[:NAME_LIMIT].encode(errors="replace").decode()


def _number(value: object) -> int | None:
    """A number as Twilio writes it, in a string, or as others do."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
