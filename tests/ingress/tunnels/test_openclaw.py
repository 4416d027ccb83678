"""The founding failure with the program that had it: OpenClaw's voice-call plugin behind Funnel.

    Twilio -> Funnel -> tailscaled -> hopscope -> OpenClaw

OpenClaw is the real one, of a version whose set-up mounted its webhook alone (openclaw#125468).
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calls.gateways_at_work import TOKEN
from ingress.tunnels.openclaw.program import GREETING, START_S, OpenClaw
from ingress.tunnels.tailscale.asking import doctor, phone, printed_fix
from ingress.tunnels.tailscale.tailnet import Tailnet
from programs import HopscopeProcess
from stand_ins import OpenAIStandIn

pytestmark = pytest.mark.timeout(START_S + 180)
StartHopscope = Callable[..., HopscopeProcess]
Shell = Callable[[str], str]
BYTES_OF_20_MS = 24_000 // 50 * 2  # as its voice comes; as mu-law it is a frame
# What OpenClaw itself ran for `tailscale: {mode: "funnel", path: "/voice/webhook"}`.
ITS_OWN = (
    "tailscale funnel --bg --yes --set-path /voice/webhook http://127.0.0.1:{port}/voice/webhook"
)


def test_what_openclaw_sets_up_breaks_conversations_and_the_printed_fix_mends_them(
    tailnet: Tailnet, start_hopscope: StartHopscope, shell: Shell, tmp_path: Path
) -> None:
    with OpenAIStandIn() as openai, OpenClaw(tmp_path, tailnet.url, TOKEN, openai.url) as claw:
        hopscope = start_hopscope(claw.port)
        shell(ITS_OWN.format(port=hopscope.port))

        called = json.loads(shell(phone(tailnet)))
        assert called["webhook"]["status"] == 200, called  # notify would work
        assert called["stream"]["url"] == f"wss://{tailnet.host}/voice/stream"
        assert (called["stream"]["status"], called["twilio_error"]) == (404, 31920)

        report = shell(doctor(tailnet, hopscope))
        no_route = f"tailscale has no route for /voice/stream under {tailnet.host}"
        assert report.splitlines()[0].startswith(no_route)
        shell(printed_fix(report))

        # It takes a call whose stream failed for one that goes on, and has the next one wait.
        waiting = json.loads(shell(phone(tailnet, "--seconds", "1")))
        assert "<Enqueue" in waiting["twiml"], waiting
        assert waiting["stream"] is None
        claw.restart()
        called = json.loads(shell(phone(tailnet, "--seconds", "10")))
        assert called["webhook"]["status"] == 200, called
        assert called["stream"] is not None, called
        assert (called["stream"]["status"], called["twilio_error"]) == (101, None), called
        assert [speech["input"] for speech in openai.spoken] == [GREETING]
        greeting_frames = math.ceil(len(openai.speech(GREETING)) / BYTES_OF_20_MS)
        assert called["media"]["received"] == greeting_frames
        assert called["media"]["sent"] > 200
        told = json.loads(shell(f"{doctor(tailnet, hopscope)} --json"))
        assert (told["verdict"], told["hop"]) == ("healthy", None), told["sentence"]

        # A mount whose target does not repeat its path: what arrives is "/", and no answer comes.
        shell(f"tailscale funnel --bg --set-path /voice/stream http://127.0.0.1:{hopscope.port}")
        called = json.loads(shell(phone(tailnet)))
        assert (called["stream"]["status"], called["twilio_error"]) == (503, 31920), called
        said = shell(doctor(tailnet, hopscope)).splitlines()[0]
        assert said.startswith("tailscale changed the path: /voice/stream was asked for, and /")


def test_openclaw_without_a_key_for_its_ears_answers_404_itself_and_is_named(
    tailnet: Tailnet, start_hopscope: StartHopscope, shell: Shell, tmp_path: Path
) -> None:
    """Its TwiML advertises a stream that it does not serve; the linter of its file knows why."""
    with OpenClaw(tmp_path, tailnet.url, TOKEN, is_hearing=False) as claw:
        hopscope = start_hopscope(claw.port)
        shell(f"tailscale funnel --bg {hopscope.port}")

        called = json.loads(shell(phone(tailnet)))
        assert (called["stream"]["status"], called["twilio_error"]) == (404, 31920)

        told: dict[str, Any] = json.loads(shell(f"{doctor(tailnet, hopscope)} --json"))
        assert (told["verdict"], told["hop"]) == ("broken", "gateway"), told["sentence"]
        assert told["sentence"].startswith("gateway has no WebSocket at /voice/stream")

        linted = json.loads(shell(f"{sys.executable} -m hopscope lint --json {claw.config}"))
        [remark] = linted["remarks"]
        assert remark["text"].startswith("streaming is enabled, and the file has no key for its")
