"""A whole call by Twilio's stand-in: nginx -> hopscope -> the gateway, under a public https URL."""

import asyncio
from collections.abc import Callable

from calls.gateways_at_work import at_work, run, simple_cast
from doctor.addresses import Address
from programs import NGINX_PROPER, HopscopeProcess

StartNginx = Callable[[int, str], int]
StartHopscope = Callable[..., HopscopeProcess]
# nginx ends TLS for voice.example.com, says so to the next, and leaves the host as it came.
FORWARDED = NGINX_PROPER.replace("$scheme", "https") + "proxy_set_header X-Forwarded-Host $host;"


def test_a_call_goes_through_nginx_and_the_sidecar_with_its_signatures_whole(
    start_hopscope: StartHopscope, start_nginx: StartNginx
) -> None:
    """Validators that believe what reaches them see http, a port and another host (openclaw 6334,
    11555): ours checks what Twilio was given."""

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast("one", "two")) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            port = await asyncio.to_thread(start_nginx, hopscope.port, FORWARDED)
            through = Address("127.0.0.1", port)
            heard = await at.call("words", "words", connect_to=through)
            assert heard.text == "Hi.1 one.2 two."
            assert heard.report.twilio_error is None
            assert heard.report.warnings == []
            assert at.of("signature_refused") == []
            handshake = await asyncio.to_thread(hopscope.line, "handshake")
            assert (handshake["ingress"], handshake["outcome"]) == ("nginx", "upgraded")
            assert handshake["violations"] == []
            session = await asyncio.to_thread(hopscope.line, "session")
            assert session["call_sid"] == heard.report.call_sid
            assert (session["underruns"], session["marks_unanswered"]) == (0, 0)
            assert session["sequence_gaps"] == 0

    run(work)


def test_another_host_behind_the_ingress_is_no_matter(
    start_hopscope: StartHopscope, start_nginx: StartNginx
) -> None:
    directives = FORWARDED.replace("$host", "gateway.internal")

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast()) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            port = await asyncio.to_thread(start_nginx, hopscope.port, directives)
            heard = await at.call(connect_to=Address("127.0.0.1", port))
            assert heard.text == "Hi."
            assert at.of("signature_refused") == []

    run(work)


def test_a_path_that_the_ingress_rewrote_is_answered_with_the_right_one(
    start_hopscope: StartHopscope, start_nginx: StartNginx
) -> None:
    directives = FORWARDED + "rewrite ^/voice/(.*)$ /$1 break;"

    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            port = await asyncio.to_thread(start_nginx, hopscope.port, directives)
            heard = await at.call(connect_to=Address("127.0.0.1", port))
            assert heard.report.webhook is not None
            assert heard.report.webhook.status == 404
            assert "Did you mean /voice/webhook?" in heard.report.error_saw

    run(work)


def test_an_ingress_that_drops_the_upgrade_is_named_by_the_gateways_426(
    start_hopscope: StartHopscope, start_nginx: StartNginx
) -> None:
    no_upgrade = "proxy_http_version 1.1; proxy_set_header Host $host;"

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast()) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            port = await asyncio.to_thread(start_nginx, hopscope.port, no_upgrade)
            heard = await at.call(connect_to=Address("127.0.0.1", port))
            stream = heard.report.stream
            assert stream is not None
            assert (stream.status, heard.report.twilio_error) == (426, 31920)
            assert "a proxy on the way removed the Upgrade header" in stream.saw
            # The caller is told, and not left in silence.
            assert heard.report.said == ["I am sorry, our connection was lost. Please call again."]
            assert at.of("stream_refused")[0]["reason"] == "no_upgrade"
            assert at.of("call_ended")[0]["ending"] == "stream_never_came"

    run(work)
