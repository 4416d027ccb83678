"""What passes between Twilio and a webhook: streams that TwiML advertises, news in Twilio's forms.

"Notify works, conversation does not" has one early sign: the webhook answered with a <Stream>,
and no upgrade for it ever came (`promises` waits for it). Both are read from copies, after they
were passed on; what is longer than Twilio accepts, or spelled as nothing it accepts, tells nothing.
"""

import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qs
from xml.parsers import expat

DOCUMENT_LIMIT = 64 * 1024  # Twilio refuses more (error 11750)
# How long Twilio may be busy before it comes to the stream. Nobody speaks slower than this, and
# no greeting from a file is longer; how long it really is, the document does not say.
SPEECH_CHARACTERS_PER_S = 10.0
PLAY_S = 120.0
BUSY_LIMIT_S = 600.0
# The call goes on behind these without a stop; any other verb may lead it elsewhere for good.
_FLOWING = {"Start", "Stop", "Say", "Play", "Pause"}
# www.twilio.com/docs/voice/api/call-resource#call-status-values: those that are final.
_FINAL = {"completed", "busy", "failed", "no-answer", "canceled"}
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # as zlib numbers its containers


class AdvertisedStream(NamedTuple):
    """The url of one <Stream>, and for how long at most Twilio speaks before it comes to it."""

    url: str
    after_s: float


class Posted(NamedTuple):
    """What one form of Twilio's tells. `error` is the first code in a StreamError."""

    call_sid: str
    is_final: bool  # the call is over
    stream_event: str | None = None
    error: int | None = None


def advertised_streams(document: bytes) -> list[AdvertisedStream]:
    """The streams that a call comes to by itself; none in what is not TwiML.

    A <Stream> counts under <Connect> or <Start>. One behind a verb that may lead elsewhere
    (Gather, Dial, Redirect, another Connect) is no promise: the call may never come to it.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError):  # LookupError: an encoding nobody knows
        return []
    return reader.streams


def decoded(content: bytes, codings: Sequence[str]) -> bytes | None:
    """A body without its Content-Encoding; None where that is unknown, or makes it too long."""
    if not codings:
        return content
    if len(codings) > 1 or codings[0].lower() not in _WBITS:
        return None
    inflater = zlib.decompressobj(_WBITS[codings[0].lower()])
    try:
        data = inflater.decompress(content, DOCUMENT_LIMIT + 1)
    except zlib.error:
        return None
    return data if inflater.eof and len(data) <= DOCUMENT_LIMIT else None


def read_form(form: bytes) -> Posted | None:
    """News of a call (application/x-www-form-urlencoded), or None where no call is named.

    Webhooks, status callbacks of calls and of streams share their names for these fields.
    """
    try:
        fields = parse_qs(form.decode("ascii"), max_num_fields=200)
    except ValueError:
        return None
    told = {name: values[0] for name, values in fields.items()}
    if "CallSid" not in told:
        return None
    code = re.search(r"\b[1-6][0-9]{4}\b", told.get("StreamError", ""))
    return Posted(
        told["CallSid"][:64],
        told.get("CallStatus") in _FINAL,
        told.get("StreamEvent"),
        int(code[0]) if code else None,
    )


class _Reader:
    """Follows one document: which streams it advertises, and what Twilio does before."""

    def __init__(self) -> None:
        self.streams: list[AdvertisedStream] = []
        self._parents: list[str] = []
        self._busy_s = 0.0
        self._said = 0  # characters of the current <Say>
        self._times = 1.0  # that the current verb is repeated
        self._goes_on = True

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Stream" and self._parents[-1:] in (["Connect"], ["Start"]):
            if "url" in attributes and self._goes_on:
                busy_s = min(self._busy_s, BUSY_LIMIT_S)
                self.streams.append(AdvertisedStream(attributes["url"].strip(), busy_s))
        elif len(self._parents) == 1:
            self._said = 0
            self._times = _number(attributes.get("loop"), 1.0)
            if name == "Pause":
                self._busy_s += _number(attributes.get("length"), 1.0)
        self._parents.append(name)

    def text(self, text: str) -> None:
        self._said += len(text)

    def end(self, name: str) -> None:
        self._parents.pop()
        if len(self._parents) != 1:
            return
        if name == "Say":
            self._busy_s += self._times * self._said / SPEECH_CHARACTERS_PER_S
        elif name == "Play":
            self._busy_s += self._times * PLAY_S
        # loop="0" repeats for as long as the call lasts.
        self._goes_on = self._goes_on and name in _FLOWING and self._times > 0


def _number(text: str | None, otherwise: float) -> float:
    return float(text) if text and re.fullmatch("[0-9]{1,5}", text) else otherwise


def _refuse(*_: object) -> None:
    raise ValueError  # TwiML has no document type; entities are how XML parsers are attacked
