"""The failure that began it all: notify works, conversation does not, and nobody says why.

    Twilio -> Funnel -> tailscaled -> hopscope -> gateway
                        only the webhook's path is mounted

The doctor is asked as a user asks it, its fix is run as it is printed, and the call goes through.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from calls.gateways_at_work import AtWork, Heard, at_work, run, simple_cast
from doctor.addresses import Address
from ingress.tunnels.tailscale.asking import doctor, printed_fix
from ingress.tunnels.tailscale.callers import trusting
from ingress.tunnels.tailscale.tailnet import Tailnet
from programs import HopscopeProcess

# Two calls and three examinations, each a process of its own, on a machine that may be busy.
LIMIT_S = 120.0
pytestmark = pytest.mark.timeout(LIMIT_S + 30)
StartHopscope = Callable[..., HopscopeProcess]
WEBHOOK = "tailscale funnel --bg --set-path /voice/webhook http://127.0.0.1:{port}/voice/webhook"
# What set-up guides and plugins leave behind, and what the doctor must say of it.
FAILURES = {
    "the stream is not mounted": (
        (WEBHOOK,),
        404,
        ("RO01", "tailscale has no route for /voice/stream under gw.tail-scale.ts.net"),
    ),
    "the stream's mount is stripped": (
        (WEBHOOK, "tailscale funnel --bg --set-path /voice/stream http://127.0.0.1:{port}"),
        404,
        ("HS08", "tailscale changed the path: /voice/stream was asked for, and / arrived"),
    ),
}


async def call(at: AtWork, tailnet: Tailnet) -> Heard:
    through = Address("127.0.0.1", tailnet.relay.port)
    return await at.call("words", connect_to=through, plain=False, tls=trusting(tailnet))


@pytest.mark.parametrize("failure", FAILURES)
def test_the_doctor_names_the_hop_and_its_printed_fix_lets_the_call_through(
    tailnet: Tailnet,
    start_hopscope: StartHopscope,
    shell: Callable[[str], str],
    failure: str,
) -> None:
    mounts, status, (rule, sentence) = FAILURES[failure]

    async def work() -> None:
        async with at_work(greeting="Hi.", public_url=tailnet.url, **simple_cast("one")) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            for mount in mounts:
                await asyncio.to_thread(shell, mount.format(port=hopscope.port))

            broken = await call(at, tailnet)
            assert broken.report.webhook is not None
            assert broken.report.webhook.status == 200  # notify would work
            assert broken.report.stream is not None
            assert broken.report.stream.status == status
            assert broken.report.twilio_error == 31920

            asked = doctor(tailnet, hopscope)
            told: dict[str, Any] = json.loads(await asyncio.to_thread(shell, f"{asked} --json"))
            assert (told["verdict"], told["hop"], told["rule"]) == ("broken", "tailscale", rule)
            report = await asyncio.to_thread(shell, asked)
            assert report.splitlines()[0].startswith(sentence)

            fix = printed_fix(report)
            assert f"--set-path /voice/stream http://127.0.0.1:{hopscope.port}/voice/stream" in fix
            await asyncio.to_thread(shell, fix)

            mended = await call(at, tailnet)
            assert mended.text == "Hi.1 one."
            assert mended.report.twilio_error is None
            told = json.loads(await asyncio.to_thread(shell, f"{asked} --json"))
            assert (told["verdict"], told["hop"]) == ("healthy", None)

    run(work, LIMIT_S)


def test_funnel_that_a_later_serve_turned_off_is_on_again_by_the_printed_fix(
    tailnet: Tailnet, start_hopscope: StartHopscope, shell: Callable[[str], str]
) -> None:
    """In the tailnet everything works: only the public sees that it is off."""

    async def work() -> None:
        async with at_work(greeting="Hi.", public_url=tailnet.url, **simple_cast("one")) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            await asyncio.to_thread(shell, f"tailscale funnel --bg {hopscope.port}")
            await asyncio.to_thread(shell, f"tailscale serve --bg --set-path /more {hopscope.port}")

            asked = doctor(tailnet, hopscope)
            told: dict[str, Any] = json.loads(await asyncio.to_thread(shell, f"{asked} --json"))
            assert (told["verdict"], told["hop"], told["rule"]) == ("broken", "tailscale", "NE11")
            assert "TS10" in {each["rule"] for each in told["configuration"]}
            report = await asyncio.to_thread(shell, asked)
            await asyncio.to_thread(shell, printed_fix(report))

            mended = await call(at, tailnet)
            assert mended.text == "Hi.1 one."
            assert mended.report.twilio_error is None

    run(work, LIMIT_S)
