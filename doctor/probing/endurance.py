"""A stream left silent, and a stream under the beat of media."""

import asyncio
import base64
import json
from itertools import pairwise
from statistics import median
from time import perf_counter

from doctor.evidence import Silence, Soak
from doctor.probing.battery import BEAT_S, LATE_S
from doctor.probing.dial import Flaw
from doctor.probing.stream import Ended, Frame, ProbeStream
from proxy.frames import CLOSE, PING, PONG, TEXT

PATIENCE = 2  # times as long as any other message: a cut shows at once, a busy machine later
LAST_WORDS = b"are you still there?"
MEDIA_BYTES = 160  # 20 ms of mu-law
_SILENCE = base64.b64encode(b"\xff" * MEDIA_BYTES).decode()


async def stay_silent(stream: ProbeStream, seconds: float, echo_s: float) -> Silence:
    """Say nothing for so long, then one message that must come back. Ends the stream."""
    began = perf_counter()
    try:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await _next(stream)
        except TimeoutError:
            pass
        try:
            async with asyncio.timeout(echo_s * PATIENCE):
                await stream.send(TEXT, LAST_WORDS)
                while (await _next(stream)).payload != LAST_WORDS:
                    pass
        except TimeoutError:
            return Silence(seconds, seconds, f"nothing came back in {echo_s * PATIENCE:g} s")
        return Silence(seconds)
    except Ended as end:
        return Silence(seconds, round(perf_counter() - began, 3), end.detail)
    finally:
        stream.abort()


async def soak(stream: ProbeStream, seconds: float, echo_s: float) -> Soak:
    """Send media messages at their beat, and time each one's way there and back."""
    wanted = max(1, round(seconds / BEAT_S))
    sent: dict[bytes, float] = {}
    trips: list[float] = []
    back: list[float] = []
    fault: Flaw = ""

    async def send() -> None:
        began = perf_counter()
        for number in range(wanted):
            await asyncio.sleep(began + number * BEAT_S - perf_counter())
            message = media_message(number)
            sent[message] = perf_counter()
            await stream.send(TEXT, message)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(wanted * BEAT_S + echo_s):
            while len(back) < wanted:
                frame = await _next(stream)
                if frame.opcode == TEXT:
                    back.append(perf_counter())
                    if frame.payload in sent:
                        trips.append(back[-1] - sent[frame.payload])
                    else:
                        fault = "altered"
    except TimeoutError:
        fault = "missing"
    except Ended as end:
        fault = "altered" if end.fault == "altered" else "cut"
    finally:
        sending.cancel()
        stream.abort()
    await asyncio.gather(sending, return_exceptions=True)
    trip = median(trips) if trips else 0.0
    gap = max((after - before for before, after in pairwise(back)), default=0.0)
    if not fault and gap - BEAT_S > LATE_S:
        fault = "held"
    # What changes from one frame to the next, as in RFC 3550 section 6.4.1, and the sender's own
    # unsteadiness is not in it.
    changes = [abs(after - before) for before, after in pairwise(trips)]
    jitter = median(changes) if changes else 0.0
    return Soak(seconds, len(sent), len(back), trip * 1000, gap * 1000, fault, jitter * 1000)


def media_message(number: int) -> bytes:
    """Twilio's `media`, of silence."""
    media = {
        "track": "inbound",
        "chunk": str(number + 1),
        "timestamp": str(number * 20),
        "payload": _SILENCE,
    }
    message = {"event": "media", "sequenceNumber": str(number + 2), "media": media}
    return json.dumps(message | {"streamSid": "MZ" + "0" * 32}).encode()


async def _next(stream: ProbeStream) -> Frame:
    """The next frame. A ping of a hop's is answered, a Close ends it: raises Ended."""
    frame = await stream.receive()
    if frame.opcode == CLOSE:
        raise Ended("cut", f"Close {frame.close.code} {frame.close.reason}".strip())
    if frame.opcode == PING:
        await stream.send(PONG, frame.payload)
    return frame
