"""A diagnosis while a call runs through the same hops disturbs nothing."""

import json
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doctor.caller.speech import CONVERSATION
from programs import NGINX_PROPER, ROOT, end, free_port, require, wait_for_port

pytestmark = pytest.mark.timeout(150)

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{sidecar}; {directives} }}
    }}
}}
"""
HOPS = """
[[hop]]
name = "gateway"
kind = "gateway"
url = "http://127.0.0.1:{gateway}"
[[hop]]
name = "sidecar"
kind = "sidecar"
url = "http://127.0.0.1:{sidecar}"
[[hop]]
name = "nginx"
kind = "nginx"
url = "http://127.0.0.1:{port}"
"""


def _hopscope(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hopscope", *arguments]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[dict[str, int]]:
    """nginx, and behind it `hopscope up`; the ports of all."""
    ports = {name: free_port() for name in ("gateway", "sidecar", "admin", "port")}
    environment = {name: value for name, value in os.environ.items() if "HOPSCOPE" not in name}
    environment["HOPSCOPE_GATEWAY_LISTEN"] = f"127.0.0.1:{ports['gateway']}"
    public_url = f"http://127.0.0.1:{ports['port']}"
    addresses = [f"--{name}=127.0.0.1:{ports[of]}" for name, of in _ADDRESSES]
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(folder=tmp_path, directives=NGINX_PROPER, **ports))
    up = subprocess.Popen(
        _hopscope(
            "up", "--allow-unsigned", "--no-history", f"--public-url={public_url}", *addresses
        ),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    nginx = subprocess.Popen([require("nginx"), "-c", str(config)])
    try:
        wait_for_port(ports["sidecar"])
        wait_for_port(ports["port"])
        yield ports
    finally:
        end(nginx)
        end(up)


_ADDRESSES = (("listen", "sidecar"), ("admin", "admin"))


def test_the_recording_of_a_call_has_no_gap_while_the_doctor_looks(
    chain: dict[str, int], tmp_path: Path
) -> None:
    hops, recording = tmp_path / "hops.toml", tmp_path / "call.wav"
    hops.write_text(HOPS.format(**chain))
    webhook = f"http://127.0.0.1:{chain['port']}/voice/webhook"
    call = subprocess.Popen(
        _hopscope("call", webhook, "--record", str(recording), "--json"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    verdicts: list[str] = []
    while call.poll() is None and len(verdicts) < 4:
        examined = subprocess.run(
            _hopscope(
                *("doctor", "--hops", str(hops), "--admin", f"http://127.0.0.1:{chain['admin']}"),
                "--json",
            ),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        verdicts.append(json.loads(examined.stdout)["verdict"])
    out, _ = call.communicate(timeout=90)
    told: dict[str, Any] = json.loads(out)
    assert verdicts == ["healthy"] * len(verdicts)
    assert len(verdicts) >= 2
    assert told["twilio_error"] is None
    assert told["media"]["underruns"] == 0
    assert len(told["turns"]) == len(CONVERSATION)
    assert all(turn["answer_ms"] is not None for turn in told["turns"])
    assert _longest_hole_s(recording) < 1.5  # sentences have pauses, none of them so long


def _longest_hole_s(recording: Path) -> float:
    """The longest silence in which nobody speaks, between the first word and the last."""
    with wave.open(str(recording)) as wav:
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), np.int16).reshape(-1, 2)
    frames = np.abs(pcm[: len(pcm) // 160 * 160].astype(int)).max(axis=1).reshape(-1, 160)
    voiced = np.flatnonzero(frames.max(axis=1) > 400)
    return float(np.diff(voiced).max()) * 0.02
