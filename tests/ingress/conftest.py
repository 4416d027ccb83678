"""Fixtures of the ingress tests: gateways, `hopscope proxy` as a process, nginx in front of it."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from programs import HopscopeProcess, end, free_port, require, wait_for_port

HERE = Path(__file__).parent


@contextmanager
def running_gateway(name: str) -> Iterator[int]:
    """One of `gateways` in a process; its port."""
    command = [sys.executable, str(HERE / "gateways.py"), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        end(process)
        process.stdout.close()


@pytest.fixture
def start_gateway() -> Iterator[Callable[[str], int]]:
    """Start one of `gateways` in a process; its port."""
    with ExitStack() as started:
        yield lambda name: started.enter_context(running_gateway(name))


@pytest.fixture
def start_hopscope() -> Iterator[Callable[..., HopscopeProcess]]:
    started: list[HopscopeProcess] = []

    def start(upstream_port: int, *options: str) -> HopscopeProcess:
        started.append(HopscopeProcess(upstream_port, *(options or ("--no-history",))))
        return started[-1]

    yield start
    for hopscope in started:
        assert hopscope.close() == 0


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[Callable[[int, str], int]]:
    """Start nginx with some directives inside its only location; its port."""
    started = []

    def start(upstream_port: int, directives: str) -> int:
        program = require("nginx")
        port = free_port()
        folder = tmp_path / f"nginx-{port}"
        folder.mkdir()
        file = folder / "nginx.conf"
        file.write_text(
            f"""
            daemon off;
            worker_processes 1;
            pid {folder}/nginx.pid;
            error_log {folder}/error.log info;
            events {{ worker_connections 128; }}
            http {{
                access_log {folder}/access.log;
                client_body_temp_path {folder}/body;
                proxy_temp_path {folder}/proxy;
                fastcgi_temp_path {folder}/fastcgi;
                uwsgi_temp_path {folder}/uwsgi;
                scgi_temp_path {folder}/scgi;
                map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
                upstream hopscope {{ server 127.0.0.1:{upstream_port}; keepalive 8; }}
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass http://hopscope;
                        {directives}
                    }}
                }}
            }}
            """
        )
        process = subprocess.Popen(
            [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(file)]
        )
        started.append(process)
        wait_for_port(port)
        return port

    yield start
    for process in started:
        end(process, signal.SIGQUIT)
