"""Fixtures of the browser tests: `hopscope proxy` as a process, a gateway without a path."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from peers import RunningSidecar
from programs import HopscopeProcess


class _NoSuchPath(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def start_hopscope() -> Iterator[Callable[..., HopscopeProcess]]:
    started: list[HopscopeProcess] = []

    def start(upstream_port: int) -> HopscopeProcess:
        started.append(HopscopeProcess(upstream_port, "--no-history"))
        return started[-1]

    yield start
    for hopscope in started:
        assert hopscope.close() == 0


@pytest.fixture
def hopscope(start_hopscope: Callable[..., HopscopeProcess]) -> Iterator[HopscopeProcess]:
    """A sidecar whose gateway answers 404 to everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _NoSuchPath) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield start_hopscope(server.server_address[1])
        server.shutdown()
        serving.join()


@pytest.fixture
def sidecar() -> Iterator[RunningSidecar]:
    """A sidecar within this process, whose gateway is not there."""
    running = RunningSidecar("asyncio", upstream="http://127.0.0.1:9")
    yield running
    running.close()
