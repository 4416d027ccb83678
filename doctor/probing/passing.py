"""What passes a hop beside messages: targets, early bytes, pings, ends, and calls in turn.

It is for laying ingresses side by side. Nothing here makes a hop good or bad: a hop that loses
early bytes, say, breaks no client that waits for the 101, as RFC 6455 section 4.1 wants it to.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from doctor.evidence import Exchange
from doctor.probing.asking import Asked, ask
from doctor.probing.dial import Line
from doctor.probing.endurance import soak
from doctor.probing.hop import HopProbe
from doctor.probing.passed import CallSeen, Manners, Passed, TargetSeen
from doctor.probing.plan import with_probe
from doctor.probing.stream import Ended, Frame, ProbeStream
from doctor.probing.targets import judge_target, variants
from doctor.probing.tls_ending import EndingLine
from proxy.frames import CLOSE, PING, PONG, TEXT

EARLY = b"early"
LATER = b"later"
# Wishes that the sidecar's echo grants (proxy/echo.py).
PING_WISH, PINGS, LAST_WORDS = b"hopscope:ping", b"hopscope:pings", b"hopscope:last-words"
PONGED = b"hopscope:pong"
Way = Callable[[ProbeStream], Awaitable[Passed]]  # something tried on a stream of its own


class PassingProbe(HopProbe):
    """A hop's probe that can also be asked what passes. Each step may be called at any time."""

    async def targets(self) -> tuple[TargetSeen, ...]:
        """Upgrades for unusual targets, one after the other."""
        seen = []
        for variant in variants(self._plan.stream_path(self.hop)):
            exchange = await self.exchange(variant.target)
            if exchange is None:
                return ()
            status = exchange.answer.status if exchange.answer else None
            seen.append(judge_target(variant, status, exchange.arrivals))
        return tuple(seen)

    async def exchange(self, target: str = "") -> Exchange | None:
        """One more upgrade and what arrived of it. None where no probe can be armed."""
        knock = await self._knock(target)
        if knock is None:
            return None
        asked, self._ids["target"] = knock
        if asked.switched is not None:
            asked.switched.abort()
        return replace(asked.exchange, arrivals=await self._arrivals("target"))

    async def manners(self) -> Manners | None:
        """What the ends of a stream see of each other. None where no stream echoes."""
        if not self.can_echo:
            return None
        return Manners(
            early=await self._early(),
            ping_by_client=await self._with_stream(_ping_by_client),
            ping_by_server=await self._with_stream(_ping_by_server),
            half_close=await self._half_close(),
        )

    async def call(self, round_: int, seconds: float) -> CallSeen | None:
        """Twilio's handshake, then so many seconds of media. None where no stream echoes."""
        knock = await self._knock()
        if knock is None:
            return None
        asked, _ = knock
        opened_ms, switched_ms = asked.opened_ms, asked.exchange.ms - asked.opened_ms
        if asked.switched is None:
            return CallSeen(round_, opened_ms, switched_ms, fault=asked.exchange.fault)
        seen = await soak(ProbeStream(asked.switched), seconds, self._options.echo_s)
        return CallSeen(
            round_,
            opened_ms,
            switched_ms,
            seen.round_trip_ms,
            seen.jitter_ms,
            seen.worst_gap_ms,
            seen.sent,
            seen.received,
            seen.fault,
        )

    async def _knock(
        self, path: str = "", behind: bytes = b"", line: Line | None = None
    ) -> tuple[Asked, str] | None:
        """An upgrade that asks for the echo, and its id."""
        probe_id = await self._arm()
        line = line or self._line
        if line is None or probe_id is None:
            return None
        fields = with_probe(self._upgrade(), probe_id, echo=True)
        path = path or self._plan.stream_path(self.hop)
        options = self._options
        asked = await ask(line, "upgrade", "GET", path, fields, options.answer_s, behind)
        self._leave_armed(probe_id, asked.exchange)
        return asked, probe_id

    async def _with_stream(self, way: Way) -> Passed:
        return await self._try(way, await self.open_stream())

    async def _half_close(self) -> Passed:
        """Over TLS it is the alert that says so, and TCP stays open."""
        line = self._line
        if line is None:
            return "refused"
        ending = EndingLine(line.place, line.tls, line.server_name, line.connect_s, line.preface)
        knock = await self._knock(line=ending)
        switched = None if knock is None else knock[0].switched
        return await self._try(_half_close, None if switched is None else ProbeStream(switched))

    async def _try(self, way: Way, stream: ProbeStream | None) -> Passed:
        if stream is None:
            return "refused"
        try:
            async with asyncio.timeout(self._options.echo_s):
                return await way(stream)
        except TimeoutError:
            return "lost"
        except Ended:
            return "cut"
        finally:
            stream.abort()

    async def _early(self) -> Passed:
        """A message in the same segment as the head. A client should wait for the 101."""
        frame = WireFrame(Opcode.TEXT, EARLY).serialize(mask=True)
        knock = await self._knock(behind=frame)
        if knock is None or knock[0].switched is None:
            return "refused"
        stream = ProbeStream(knock[0].switched)
        try:
            async with asyncio.timeout(self._options.echo_s):
                # What was held is let go by what follows, and what was lost never comes.
                await stream.send(TEXT, LATER)
                first = await _next_text(stream)
            return "passed" if first.payload == EARLY else "lost"
        except (TimeoutError, Ended):
            return "cut"
        finally:
            stream.abort()


async def _ping_by_client(stream: ProbeStream) -> Passed:
    """The echo counts the pings that came to it: a pong alone may be any hop's."""
    payload = secrets.token_bytes(8)
    await stream.send(PING, payload)
    while (frame := await stream.receive()).opcode != PONG or frame.payload != payload:
        if frame.opcode == CLOSE:
            return "cut"
    await stream.send(TEXT, PINGS)
    told = (await _next_text(stream)).payload.removeprefix(PINGS).strip()
    if not told.isdigit():  # an echo that does not know the wish says it back
        return "unknown"
    return "passed" if int(told) else "answered"


async def _ping_by_server(stream: ProbeStream) -> Passed:
    """The echo sends a ping and tells when its pong came: from us, or from a hop in between."""
    word = secrets.token_hex(4).encode()
    await stream.send(TEXT, PING_WISH + b" " + word)
    came = False
    while True:
        frame = await stream.receive()
        if frame.opcode == PING:
            came = came or frame.payload == word
            await stream.send(PONG, frame.payload)
        elif frame.opcode == CLOSE:
            return "cut"
        elif frame.opcode == TEXT:
            if frame.payload != PONGED + b" " + word:
                return "unknown"
            return "passed" if came else "answered"


async def _half_close(stream: ProbeStream) -> Passed:
    """Our end, then the echo's last words behind it, which it says only when our end has come."""
    await stream.send(TEXT, LAST_WORDS)
    if (await _next_text(stream)).payload != LAST_WORDS:
        return "unknown"
    stream.end()
    try:
        while (await stream.receive()).payload != LAST_WORDS:
            pass
    except Ended:
        return "cut"
    return "passed"


async def _next_text(stream: ProbeStream) -> Frame:
    """The next text. Raises Ended, for a Close as well."""
    while (frame := await stream.receive()).opcode != TEXT:
        if frame.opcode == CLOSE:
            raise Ended("cut", "Close")
        if frame.opcode == PING:
            await stream.send(PONG, frame.payload)
    return frame
