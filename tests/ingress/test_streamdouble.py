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
    frames = [json.loads(line) for line in trace_file.read_text().splitlines()]
    session = hopscope.line("session")
    handshake = hopscope.line("handshake")
    print(frames[:3], session)
    assert (handshake["outcome"], handshake["ingress"]) == ("upgraded", "nginx")
    assert Counter(frame["dir"] for frame in frames)
