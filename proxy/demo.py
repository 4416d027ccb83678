"""One short Twilio-shaped stream through a sidecar of its own, and what the sidecar saw of it.

The caller is real (the websockets library), the sidecar is real, and what answers is the echo
endpoint: it shows what Hopscope tells, on a machine where nothing else is installed.
"""

import asyncio
import base64
import itertools
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from proxy.history import Query
from proxy.media import FRAME_S, MESSAGE_LIMIT
from proxy.process import running_sidecar
from proxy.routes import Route
from proxy.settings import HistorySettings, HostPort, Settings

# 20 ms of mu-law silence at 8 kHz.
SILENCE = base64.b64encode(b"\xff" * 160).decode()
STREAM_PATH = "/voice/stream"
ENDS_S = 5.0  # how long the closing handshake may take


async def place_demo_call(seconds: float, progress: Callable[[float], None]) -> dict[str, Any]:
    """Run the demo; the row that `hopscope show` would print of it.

    `progress` is told the share that is done, from 0 to 1.
    """
    settings = Settings.model_construct(
        listen=HostPort("127.0.0.1", 0),
        drain_seconds=ENDS_S,
        history=HistorySettings(enabled=False),
    )
    async with running_sidecar(settings) as (sidecar, _admin):
        address = await sidecar.start()
        assert sidecar.echo is not None  # noqa: S101 - started above
        sidecar.routes = (Route("demo", sidecar.echo),)
        await _call(address, seconds, progress)
        await sidecar.drain()
        [row] = await sidecar.history.find(Query())
        detail = await sidecar.history.get(row["id"])
        assert detail is not None  # noqa: S101 - just found
        return detail


async def _call(address: HostPort, seconds: float, progress: Callable[[float], None]) -> None:
    """Send what Twilio sends for a call of some seconds, and hang up."""
    frames = max(int(seconds / FRAME_S), 1)
    async with connect(
        f"ws://{address}{STREAM_PATH}",
        compression=None,
        user_agent_header="Twilio.TmeWs/1.0",
        additional_headers={"X-Twilio-Signature": base64.b64encode(bytes(20)).decode()},
        max_size=MESSAGE_LIMIT,
    ) as stream:
        listening = asyncio.create_task(_count(stream))
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            for number, message in enumerate(_messages(frames)):
                await asyncio.sleep(began + number * FRAME_S - loop.time())
                await stream.send(message)
                progress(number / frames)
        except asyncio.CancelledError:
            listening.cancel()
            raise
        progress(1.0)
    await listening


async def _count(stream: ClientConnection) -> int:
    return len([message async for message in stream])


def _messages(frames: int) -> Iterator[str]:
    """connected, start, media, stop: Twilio's order and spelling, numbers as strings."""
    stream_sid, call_sid, account_sid = (
        prefix + secrets.token_hex(16) for prefix in ("MZ", "CA", "AC")
    )
    yield json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    start = {
        "accountSid": account_sid,
        "streamSid": stream_sid,
        "callSid": call_sid,
        "tracks": ["inbound"],
        "customParameters": {},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    sequence = itertools.count(1)

    def message(event: str, content: dict[str, Any]) -> str:
        number = str(next(sequence))
        envelope = {"event": event, "sequenceNumber": number, "streamSid": stream_sid}
        return json.dumps(envelope | {event: content})

    yield message("start", start)
    for chunk in range(1, frames + 1):
        media = {
            "track": "inbound",
            "chunk": str(chunk),
            "timestamp": str(chunk * 20),
            "payload": SILENCE,
        }
        yield message("media", media)
    yield message("stop", {"accountSid": account_sid, "callSid": call_sid})
