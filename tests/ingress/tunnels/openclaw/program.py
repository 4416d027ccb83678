"""OpenClaw with its voice-call plugin, on loopback alone: a gateway that is not ours.

Its voice is asked of OPENAI_TTS_BASE_URL. Everything else that it would dial, its ears at
api.openai.com and the call's end at api.twilio.com, is dialled at a port where nobody listens.
"""

import json
import os
import signal
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from ingress.tunnels.tools import tool
from programs import PATIENCE_S, free_port
from stand_ins import OpenAIStandIn

NOWHERE = "http://127.0.0.1:9"
START_S = 120.0  # 12 s on an idle machine
GREETING = "Hello, this is the crab."
_READY = "[voice-call] Runtime initialized"
# Every TLS connection goes to the discard port (RFC 863) of loopback, and is refused there.
_STAY_HERE = """
const net = require("net");
require("tls").connect = () => net.connect(9, "127.0.0.1");
"""


class OpenClaw:
    """A context manager. `port` is the one that takes webhooks and streams.

    `is_hearing` False leaves out the key of the recogniser: the plugin then serves no stream, and
    advertises it all the same.
    """

    def __init__(
        self,
        folder: Path,
        public_url: str,
        auth_token: str,
        openai: str = NOWHERE,
        *,
        is_hearing: bool = True,
    ) -> None:
        self._executable = tool("openclaw")
        self.port, control = free_port(), free_port()
        self.config = folder / "openclaw.json"
        self._log = folder / "openclaw.log"
        stay_here = folder / "stay-here.cjs"
        stay_here.write_text(_STAY_HERE)
        self.config.write_text(
            json.dumps(_config(self.port, public_url, auth_token, is_hearing), indent=2)
        )
        self._command = [
            *(str(self._executable), "gateway", "run"),
            *("--port", str(control), "--bind", "loopback"),
        ]
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "OPENCLAW_STATE_DIR": str(folder),
            "OPENCLAW_SKIP_CHANNELS": "1",
            "OPENAI_TTS_BASE_URL": f"{openai}/v1",
            "NODE_OPTIONS": f"--require {stay_here}",
        }

    def __enter__(self) -> "OpenClaw":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Its launcher has children, which end with it."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def restart(self) -> None:
        self.__exit__()
        self.__enter__()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while _READY not in self.log():
            is_late = time.monotonic() >= deadline
            if is_late or self._process.poll() is not None:
                raise AssertionError(f"OpenClaw did not start: {self.log()[-2000:]}")
            time.sleep(0.1)
        # Its first answer may take long, since it compiles what it needs as it needs it.
        connection = HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        connection.request("GET", "/voice/webhook")
        assert connection.getresponse().status == 405
        connection.close()


def _config(port: int, public_url: str, auth_token: str, is_hearing: bool) -> dict[str, Any]:
    """openclaw.json as its documentation of that time has it, for a conversation on Twilio."""
    streaming = {"enabled": True, "streamPath": "/voice/stream"}
    voice_call = {
        "enabled": True,
        "provider": "twilio",
        "fromNumber": "+12025550199",
        "twilio": {"accountSid": "AC" + "1" * 32, "authToken": auth_token},
        "inboundPolicy": "open",
        "inboundGreeting": GREETING,
        "serve": {"port": port, "bind": "127.0.0.1", "path": "/voice/webhook"},
        "publicUrl": f"{public_url}/voice/webhook",
        "outbound": {"defaultMode": "conversation"},
        "streaming": streaming | ({"openaiApiKey": "sk-none"} if is_hearing else {}),
    }
    speech = {"provider": "openai", "openai": {"apiKey": OpenAIStandIn.api_key}}
    return {
        "gateway": {"mode": "local", "auth": {"mode": "token", "token": "made-up-token"}},
        "messages": {"tts": speech},
        "plugins": {
            "allow": ["voice-call"],
            "entries": {"voice-call": {"enabled": True, "config": voice_call}},
        },
    }
