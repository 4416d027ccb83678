"""What an answer to an upgrade means, and what a stream says that is not ours to echo on."""

import asyncio

from doctor.evidence import Exchange, Hop, Probe
from doctor.probing.dial import Flaw
from doctor.probing.stream import Ended, ProbeStream

# How long a gateway's stream is watched for a word of it.
WATCH_S = 0.3
# Who is not Twilio may be refused: by these answers, or by these closes.
REFUSALS = (401, 403)
_REFUSING_CLOSES = (None, 1000, 1008)
_APPLICATION_CLOSES = 3000


def has_switched(exchange: Exchange) -> bool:
    """Whether a 101 was given behind the hop, by what the sidecar recorded or stamped."""
    if exchange.arrivals is not None:
        return any(arrival.status == 101 for arrival in exchange.arrivals)
    answer = exchange.answer
    if answer is not None and answer.stamp is not None:
        return answer.stamp.received_status == 101
    return answer is not None and answer.status == 101


def is_refusal(hop: Hop, exchange: Exchange) -> bool:
    """Whether a gateway, and no hop in front of it, refused who is not Twilio."""
    answer = exchange.answer
    if answer is None or answer.status not in REFUSALS:
        return False
    if hop.kind == "gateway":
        return True
    return answer.stamp is not None and answer.stamp.received_status == answer.status


def is_gateways_own(probe: Probe, gateway: Probe) -> bool:
    """Whether an unstamped refusal is word for word what the gateway itself answers."""
    theirs = gateway.upgrade.answer if gateway.upgrade else None
    ours = probe.upgrade.answer if probe.upgrade else None
    if theirs is None or ours is None or ours.status not in REFUSALS:
        return False
    return (ours.status, ours.body) == (theirs.status, theirs.body)


async def watch(stream: ProbeStream) -> tuple[Flaw, str]:
    """See whether a stream stays open for a moment, and end it. The fault, and what was seen."""
    try:
        async with asyncio.timeout(WATCH_S):
            end = await stream.receive_end()
    except TimeoutError:
        await _say_goodbye(stream)
        return "", ""
    except Ended as lost:
        return "cut", f"right behind the 101: {lost.detail}"
    finally:
        stream.abort()
    if end is None:
        return "cut", "EOF right behind the 101, without a Close"
    said = f"Close {end.code or 'without a code'} {end.reason}".strip()
    if end.code in _REFUSING_CLOSES or end.code >= _APPLICATION_CLOSES:
        return "", f"the gateway ended the stream: {said}"
    return "cut", f"right behind the 101: {said}"


async def _say_goodbye(stream: ProbeStream) -> None:
    try:
        await stream.send_close(1000, "")
    except Ended:
        return
