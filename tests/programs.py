"""Real programs for the ingress tests: how they are found, started, watched and ended."""

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 20.0
ROOT = Path(__file__).parent.parent
# Console scripts of this environment, then nginx where Debian installs it.
SEARCH_PATH = os.pathsep.join(
    (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin")
)


def require(program: str) -> str:
    """The path of a program; without it the test is skipped, and in CI it fails."""
    path = shutil.which(program, path=SEARCH_PATH)
    if path is None:
        message = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{message}; .ci/run installs it")
        pytest.skip(message)
    return path


def end(process: "subprocess.Popen[Any]", number: int = signal.SIGTERM) -> int:
    """Stop a process that a fixture started."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            dial(port).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.02)
        else:
            return


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


class HopscopeProcess:
    """`hopscope proxy` as a user starts it. Its log lines are read as they come."""

    def __init__(self, upstream_port: int | None, *options: str) -> None:
        upstream = ["--upstream", f"http://127.0.0.1:{upstream_port}"] if upstream_port else []
        command = [
            *(sys.executable, "-m", "hopscope", "proxy", *upstream),
            *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *options),
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HOPSCOPE_")}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        self.lines: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            self.admin_port = int(self.line("admin")["listen"].rpartition(":")[2])
            self.port = int(self.line("listening")["listen"].rpartition(":")[2])
        except BaseException:
            self.close()
            raise

    def line(self, event: str, **wanted: Any) -> dict[str, Any]:
        """The first log line of an event with these fields that was not given out yet."""
        for index, line in enumerate(self.lines):
            if line["event"] == event and wanted.items() <= line.items():
                return self.lines.pop(index)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                line = self._queue.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                raise AssertionError(f"no line {event} {wanted}; saw {self.lines}") from None
            if line["event"] == event and wanted.items() <= line.items():
                return line
            self.lines.append(line)

    def rest(self) -> list[dict[str, Any]]:
        """The lines that were not given out, once the process has ended."""
        while not self._queue.empty():
            self.lines.append(self._queue.get_nowait())
        return self.lines

    def wait_until(self, is_so: Callable[[], Any], what: str) -> None:
        """Wait, bounded, for what no log line announces."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, f"waited in vain for {what}"

    def close(self) -> int:
        code = end(self.process)
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(json.loads(line))


# What every nginx in front of a WebSocket needs, and what tells the next hop about its client.
NGINX_PROPER = """
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
"""
