"""Twilio's stand-in on this machine, and what a call through containers must be."""

import ssl

from calls.gateways_at_work import PUBLIC, TOKEN, Heard, place
from doctor.addresses import Address
from doctor.caller.call import CallOptions
from doctor.caller.speech import sentence

CALL_S = 120.0


async def call_through(
    address: str, port: int, tls: ssl.SSLContext, public_url: str = PUBLIC
) -> Heard:
    """A conversation of one turn with the embedded voice and ears; it must be without an error."""
    options = CallOptions(
        webhook_url=f"{public_url}/voice/webhook",
        says=(sentence("move").audio,),
        auth_token=TOKEN,
        connect_to=Address(address, port),
        tls=tls,
        limit_s=CALL_S,
    )
    heard = await place(options)
    report = heard.report
    assert report.twilio_error is None, report
    assert report.warnings == []
    assert [turn["answer_ms"] is not None for turn in report.turns] == [True], report.turns
    return heard
