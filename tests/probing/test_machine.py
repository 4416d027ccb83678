"""This machine, asked: processes, ports, commands, files. And real nginx, found and probed."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor.evidence import Probe
from doctor.probing import Discovery, ProbeOptions, discover, probe_chain
from doctor.probing.machine import Machine, Process
from peers import RunningSidecar
from probing.broken_hops import Peer, admin_of, serving, tls_server
from programs import NGINX_PROPER, end, free_port, require, wait_for_port

LISTEN = (
    "import socket, sys; server = socket.create_server(('127.0.0.1', 0)); "
    "print(server.getsockname()[1], flush=True); sys.stdin.read(); server.close()"
)


@pytest.fixture
def listener() -> Iterator[tuple["subprocess.Popen[str]", int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, "--config", "/srv/f"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    yield process, int(process.stdout.readline())
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def _mine(found: list[Process], pid: int) -> Process:
    return next(each for each in found if each.pid == pid)


def test_a_process_is_found_with_its_arguments_and_the_ports_it_listens_on(
    listener: tuple["subprocess.Popen[str]", int],
) -> None:
    process, port = listener
    program = Path(sys.executable).name
    found = _mine(asyncio.run(Machine().processes([program])), process.pid)
    assert found.option("--config") == "/srv/f"
    assert found.ports == (port,)
    assert asyncio.run(Machine().processes(["no-such-program"])) == []


def test_without_proc_there_is_ps(
    listener: tuple["subprocess.Popen[str]", int], tmp_path: Path
) -> None:
    require("ps")
    process, _ = listener
    machine = Machine(proc=tmp_path / "none")
    found = _mine(asyncio.run(machine.processes([Path(sys.executable).name])), process.pid)
    assert found.option("--config") == "/srv/f"


def test_a_command_gives_its_output_or_nothing_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    assert asyncio.run(machine.run(sys.executable, "-c", "print(1)")) == "1\n"
    assert asyncio.run(machine.run(sys.executable, "-c", "raise SystemExit(1)")) is None
    assert asyncio.run(machine.run("no-such-program")) is None
    monkeypatch.setattr("doctor.probing.machine.COMMAND_S", 0.2)
    assert asyncio.run(machine.run(sys.executable, "-c", "input()")) is None
    assert asyncio.run(machine.run("sleep", "60")) is None


def test_files_that_are_not_there_or_too_long_are_none(tmp_path: Path) -> None:
    machine = Machine()
    (tmp_path / "a").write_text("text")
    (tmp_path / "b").write_bytes(b"x" * ((1 << 20) + 1))
    assert machine.read(tmp_path / "a") == "text"
    assert machine.read(tmp_path / "b") is None
    assert machine.read(tmp_path) is None
    assert machine.expand(f"{tmp_path}/*") == [tmp_path / "a", tmp_path / "b"]


def test_a_port_is_asked_whether_it_speaks_tls(tmp_path: Path) -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(65536)
        await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def page(peer: Peer) -> None:
        await peer.head()
        await peer.answer("503 Service Unavailable", body='{"readyConnections":0}')

    async def nothing(peer: Peer) -> None:
        await peer.linger()

    async def run() -> None:
        machine = Machine()
        async with serving(plain) as one, serving(nothing, tls_server(tmp_path)) as other:
            assert not await machine.speaks_tls(one)
            assert await machine.speaks_tls(other)
        async with serving(page) as port:
            url = f"http://127.0.0.1:{port}/ready"
            assert await machine.fetch(url) == '{"readyConnections":0}'
        assert await machine.fetch(f"http://127.0.0.1:{free_port()}/") is None

    asyncio.run(run())


class OnlyOf(Machine):
    """This machine, but for the other programs that run on it."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid

    async def processes(self, programs: object) -> list[Process]:
        found = await super().processes(["nginx"])
        return [each for each in found if each.pid == self._pid]


@pytest.fixture
def nginx(tmp_path: Path, sidecar: RunningSidecar) -> Iterator[tuple[int, int, Path]]:
    """Real nginx in front of the sidecar: its pid, its port, its file."""
    program, port, file = require("nginx"), free_port(), tmp_path / "nginx.conf"
    places = "\n".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file.write_text(
        f"""
        daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;
        events {{ worker_connections 64; }}
        http {{
            access_log off; {places}
            map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
            include voice.conf;
        }}
        """
    )
    (tmp_path / "voice.conf").write_text(
        f"""
        server {{
            listen 127.0.0.1:{port};
            location / {{ proxy_pass http://127.0.0.1:{sidecar.port}; {NGINX_PROPER} }}
        }}
        """
    )
    process = subprocess.Popen([program, "-c", str(file), "-e", str(tmp_path / "error.log")])
    wait_for_port(port)
    yield process.pid, port, file
    end(process)


def test_real_nginx_is_found_in_front_of_the_sidecar_and_healthy(
    nginx: tuple[int, int, Path], sidecar: RunningSidecar
) -> None:
    pid, port, file = nginx

    async def run() -> tuple[Discovery, tuple[Probe, ...]]:
        admin = admin_of(sidecar)
        found = await discover(None, admin=admin, machine=OnlyOf(pid))
        return found, await probe_chain(found.hops, ProbeOptions(admin=admin), lambda _: None)

    found, probes = asyncio.run(run())
    assert [hop.name for hop in found.hops] == ["gateway", "sidecar", "nginx"]
    assert (found.hops[2].url, found.hops[2].config) == (f"http://127.0.0.1:{port}", file)
    [(_, document)] = found.documents
    assert "location /" in document.text, "what is included stands in it"
    assert [probe.broken for probe in probes] == [None, None, None]
    third = probes[2]
    assert third.upgrade is not None
    assert third.upgrade.arrival is not None
    assert third.upgrade.arrival.ingress == "nginx"
    assert third.upgrade.arrival.was_echoed
    assert [echo.fault for echo in third.echoes] == [""] * len(third.echoes)
    assert len(third.echoes) == 10
