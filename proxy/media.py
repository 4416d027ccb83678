"""What the messages of a Twilio Media Stream tell about the call (facts only, no decoding).

Messages are JSON text (www.twilio.com/docs/voice/media-streams/websocket-messages). The client,
Twilio, sends connected, start, media, dtmf, mark, stop; the server sends media, mark, clear.
Twenty milliseconds of speech are one message of 160 mu-law bytes, so `media` is the hot path and
is not parsed as JSON: its numbers are found by pattern, its audio is measured by its length.
"""

import json
import re
from typing import Any

MESSAGE_LIMIT = 65536  # what Twilio and its peers accept as one message
BYTES_PER_SECOND = 8000  # audio/x-mulaw, 8 kHz, one channel
FRAME_S = 0.02
# Playout that ran dry for longer than this is a pause between utterances, not a hole in one.
PAUSE_S = 1.0
MARKS_LIMIT = 1000
NAME_LIMIT = 128
# RFC 3550 section 6.4.1 smooths interarrival jitter by a sixteenth.
_JITTER_GAIN = 1 / 16

_SEQUENCE = re.compile(rb'"sequenceNumber"\s*:\s*"?([0-9]{1,15})')
_TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*"?([0-9]{1,15})')
_PAYLOAD = re.compile(rb'"payload"\s*:\s*"([A-Za-z0-9+/]*)(={0,2})"')
_MEDIA = re.compile(rb'"event"\s*:\s*"media"')


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
        "media_frames",
        "sequence_gaps",
        "stream_sid",
        "underruns",
    )

    def __init__(self) -> None:
        self.is_twilio: bool | None = None
        self.stream_sid: str | None = None
        self.call_sid: str | None = None
        self.media_frames = {"client": 0, "server": 0}
        self.sequence_gaps = 0  # messages of Twilio's numbering that did not arrive in order
        self.jitter_s = 0.0  # of the client's media against its own timestamps
        self.underruns = 0  # times that the server's audio ran dry within an utterance
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

    def receive_text(self, sender: str, payload: bytes, now: float) -> None:
        """Read one whole text message."""
        if self.is_twilio is None:
            self._decide(sender, payload)
        if not self.is_twilio:
            return
        if sender == "client":
            self._receive_sequence(payload)
            if _MEDIA.search(payload):
                self._receive_client_media(payload, now)
                return
        elif _MEDIA.search(payload):
            self._receive_server_media(payload, now)
            return
        self._receive_other(sender, payload, now)

    def _decide(self, sender: str, payload: bytes) -> None:
        message = _parse(payload)
        event = message.get("event")
        # Gateways may speak first; only the client's first message tells what it is.
        if sender == "client":
            self.is_twilio = event == "connected" or (event == "start" and "start" in message)

    def _receive_sequence(self, payload: bytes) -> None:
        found = _SEQUENCE.search(payload)
        if found is None:
            return
        sequence = int(found[1])
        if self._next_sequence is not None and sequence != self._next_sequence:
            self.sequence_gaps += 1
        self._next_sequence = sequence + 1

    def _receive_client_media(self, payload: bytes, now: float) -> None:
        self.media_frames["client"] += 1
        found = _TIMESTAMP.search(payload)
        if found is None:
            return
        transit = now - int(found[1]) / 1000
        if self._transit is not None:
            self.jitter_s += (abs(transit - self._transit) - self.jitter_s) * _JITTER_GAIN
        self._transit = transit

    def _receive_server_media(self, payload: bytes, now: float) -> None:
        self.media_frames["server"] += 1
        found = _PAYLOAD.search(payload)
        if found is None:
            return
        dry_s = now - self._playout_end
        if self._utterance_open and FRAME_S < dry_s < PAUSE_S:
            self.underruns += 1
        audio = (found.end(1) - found.start(1)) * 3 // 4
        self._playout_end = max(self._playout_end, now) + audio / BYTES_PER_SECOND
        self._utterance_open = True

    def _receive_other(self, sender: str, payload: bytes, now: float) -> None:
        message = _parse(payload)
        match message.get("event"), message:
            case "start", {"start": {"callSid": str(call_sid)}} if sender == "client":
                self.call_sid = call_sid[:NAME_LIMIT]
                self.stream_sid = str(message.get("streamSid"))[:NAME_LIMIT]
            case "mark", {"mark": {"name": str(name)}}:
                self._receive_mark(sender, name[:NAME_LIMIT])
            case "clear", _ if sender == "server":
                self._playout_end = now
                self._utterance_open = False

    def _receive_mark(self, sender: str, name: str) -> None:
        if sender == "server":
            self._utterance_open = False  # a mark stands behind the last word
            if len(self._marks) < MARKS_LIMIT:
                self._marks[name] = self._marks.get(name, 0) + 1
        elif name in self._marks:
            self._marks[name] -= 1
            if not self._marks[name]:
                del self._marks[name]


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
