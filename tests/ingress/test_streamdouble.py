"""A Twilio Media Streams client that we did not write calls through nginx and the sidecar."""

import json
import math
import subprocess
import wave
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from programs import NGINX_PROPER, HopscopeProcess, require


def _write_tone(file: Path, seconds: float) -> None:
    with wave.open(str(file), "wb") as wav:
        wav.setparams((1, 2, 8000, 0, "NONE", ""))
        wav.writeframes(
            b"".join(
                int(8000 * math.sin(2 * math.pi * 440 * i / 8000)).to_bytes(
                    2, "little", signed=True
                )
                for i in range(int(8000 * seconds))
            )
        )


def test_the_session_line_counts_the_call_as_the_caller_did(
    start_gateway: Callable[[str], int],
    start_hopscope: Callable[..., HopscopeProcess],
    start_nginx: Callable[[int, str], int],
    tmp_path: Path,
) -> None:
    hopscope = start_hopscope(start_gateway("agent"))
    port = start_nginx(hopscope.port, NGINX_PROPER)
    _write_tone(tmp_path / "hello.wav", 1.0)
    url = f"ws://127.0.0.1:{port}/voice/stream"
    trace_file = tmp_path / "trace.jsonl"
    subprocess.run(
        [
            *(require("streamdouble"), "call", "--audio", str(tmp_path / "hello.wav")),
            *("--param", "token=s3cret", "--trace", str(trace_file), "--json", url),
        ],
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    trace = [json.loads(line) for line in trace_file.read_text().splitlines()]
    counts = Counter((frame["dir"], frame["event"]) for frame in trace)
    of_caller = sum(count for (way, _), count in counts.items() if way == "out")
    of_agent = sum(count for (way, _), count in counts.items() if way == "in")
    session = hopscope.line("session")
    assert session["frames"]["client"] == {"text": of_caller, "close": 1}
    assert session["frames"]["server"] == {"text": of_agent, "close": 1}
    assert session["media_frames"] == {
        "client": counts["out", "media"],
        "server": counts["in", "media"],
    }
    assert counts["out", "media"] == 50  # a second of 20 ms frames
    assert (session["sequence_gaps"], session["underruns"]) == (0, 0)
    assert (counts["in", "mark"], session["marks_unanswered"]) == (1, 0)
    assert (session["close_code"], session["close_sender"]) == (1000, "client")
    assert session["ending"] == "close_handshake"
    handshake = hopscope.line("handshake")
    assert (handshake["outcome"], handshake["ingress"]) == ("upgraded", "nginx")
    assert session["id"] == handshake["id"]
    assert "s3cret" not in json.dumps([session, handshake])
