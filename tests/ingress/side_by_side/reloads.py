"""What becomes of an open stream when an ingress is told to take up another configuration.

Each way changes something that shows in what arrives, so that it is known when it is in force.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor.comparing.running import probe_of
from doctor.evidence import Exchange
from doctor.probing.passing import PassingProbe
from doctor.probing.stream import Ended, ProbeStream
from ingress.faults.fault_cases import render
from ingress.faults.fault_chains import _end, _own_port, _wait
from ingress.faults.fault_edge_programs import EDGE_PROGRAMS
from ingress.faults.fault_programs import PROGRAMS, Started
from ingress.side_by_side.ingresses import NAME, Ingresses
from programs import require
from proxy.frames import TEXT

IN_FORCE_S = 20.0
WATCH_S = 3.0
ECHO_S = 10.0
FIELD = "X-Reloaded"
STAYS = "stays open"


@dataclass(frozen=True, slots=True)
class Reload:
    """How an ingress is told, and what shows that it has heard."""

    how: str
    tell: Callable[[], object]
    is_new: Callable[[Exchange], bool]
    target: str = ""


def outcome(ingresses: Ingresses, name: str, reload: Reload) -> str:
    """`stays open`, or how the stream ended within WATCH_S of the change being in force."""
    return asyncio.run(_outcome(ingresses, name, reload))


async def _outcome(ingresses: Ingresses, name: str, reload: Reload) -> str:
    [entry] = ingresses.entries([name])
    probe = await probe_of(entry, ingresses.options())
    await probe.reach()
    stream = await probe.open_stream()
    assert stream is not None, f"{name} gives no stream"
    try:
        assert await _comes_back(stream, b"before")
        await asyncio.to_thread(reload.tell)
        await asyncio.wait_for(_until_new(probe, reload), IN_FORCE_S)
        try:
            async with asyncio.timeout(WATCH_S):
                return _ending(await stream.receive_end())
        except TimeoutError:
            return STAYS if await _comes_back(stream, b"after") else "is silent"
    except Ended as end:
        return end.detail
    finally:
        stream.abort()
        await probe.disarm()


async def _until_new(probe: PassingProbe, reload: Reload) -> None:
    while True:
        exchange = await probe.exchange(reload.target)
        if exchange is not None and reload.is_new(exchange):
            return
        await asyncio.sleep(0.05)


async def _comes_back(stream: ProbeStream, payload: bytes) -> bool:
    async with asyncio.timeout(ECHO_S):
        await stream.send(TEXT, payload)
        return (await stream.receive()).payload == payload


def _ending(seen: object) -> str:
    code = getattr(seen, "code", None)
    return "ends without a Close" if seen is None else f"is ended by Close {code}"


def _has_field(exchange: Exchange) -> bool:
    return exchange.arrival is not None and exchange.arrival.has(FIELD)


# -- servers: their configuration is edited, then they are told ------------------------------------

_TRAEFIK_TOLD = f"""\
      service: sidecar
      middlewares: [told]
  middlewares:
    told:
      headers: {{ customRequestHeaders: {{ {FIELD}: yes }} }}
"""
# What is put in place of what, and how the program is told.
_EDITS: dict[str, tuple[str, str, str, str]] = {
    "nginx": (
        "site.conf",
        "proxy_http_version 1.1;",
        f"proxy_http_version 1.1; proxy_set_header {FIELD} yes;",
        "SIGHUP",
    ),
    "haproxy": (
        "haproxy.cfg",
        "default_backend sidecar",
        f"http-request set-header {FIELD} yes\n    default_backend sidecar",
        "SIGUSR2 to its master",
    ),
    "caddy": (
        "Caddyfile",
        "reverse_proxy ",
        f"request_header {FIELD} yes\n\treverse_proxy ",
        "SIGUSR1",
    ),
    "traefik": (
        "provided/voice.yaml",
        "      service: sidecar\n",
        _TRAEFIK_TOLD,
        "its file changed",
    ),
    "apache": (
        "site.conf",
        "ProxyPreserveHost On",
        f"ProxyPreserveHost On\n    RequestHeader set {FIELD} yes",
        "SIGUSR1, graceful",
    ),
}
RELOADED = tuple(_EDITS)
# The tests' edge pushes rules over HTTP/2 alone.
TOLD = (*RELOADED, "cloudflared-http2", "funnel-https")
_SIGNALS = {
    "nginx": ("nginx.pid", signal.SIGHUP),
    "caddy": ("caddy.pid", signal.SIGUSR1),
    "apache": ("apache2.pid", signal.SIGUSR1),
}


@contextmanager
def server(ingresses: Ingresses, name: str, folder: Path) -> Iterator[Reload]:
    """A server of its own that can be told, in front of the same sidecar; it is in `ingresses`."""
    program = (PROGRAMS | EDGE_PROGRAMS)[name]
    port = _own_port()
    places = {"listen": f"127.0.0.1:{port}", "port": str(port), "upstream": ingresses.sidecar}
    folder.mkdir()
    text = render(program.proper, places)
    started = program.write(require(program.executable), folder, text, places["listen"])
    with ExitStack() as stack:
        log = stack.enter_context((folder / "output.log").open("wb"))
        process = subprocess.Popen(
            _reloadable(name, folder, started),
            cwd=folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.callback(_end, process)
        _wait(port, process, folder, program.ready, started.ping)
        ingresses.add(name, f"http://{NAME}", places["listen"])
        file, old, new, how = _EDITS[name]

        def tell() -> None:
            config = folder / file
            before = config.read_text()
            assert old in before
            changed = config.with_suffix(".new")
            changed.write_text(before.replace(old, new, 1))
            changed.replace(config)
            if name == "haproxy":
                _tell_master(process, folder / "output.log")
            elif name in _SIGNALS:
                pid, number = _SIGNALS[name]
                os.kill(int((folder / pid).read_text()), number)

        yield Reload(how, tell, _has_field)


def _tell_master(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """HAProxy's master does not hear a signal that comes while it is still starting."""
    deadline = time.monotonic() + IN_FORCE_S
    while "Reloading" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.3)


def _reloadable(name: str, folder: Path, started: Started) -> list[str]:
    """The laboratory starts programs that are never told anything; these are."""
    if name == "haproxy":
        return [started.command[0], "-W", *started.command[1:]]
    if name == "traefik":
        static = folder / "traefik.yaml"
        static.write_text(static.read_text().replace("watch: false", "watch: true"))
    return started.command


# -- tunnels -------------------------------------------------------------------------------------

_OTHER_HOST = "reloaded.example.com"


def cloudflared(ingresses: Ingresses, name: str) -> Reload:
    """Other rules, pushed as the dashboard does."""
    tunnel = ingresses.tunnels[name]
    rules: list[dict[str, Any]] = [
        {
            "hostname": NAME,
            "service": f"http://{ingresses.sidecar}",
            "originRequest": {"httpHostHeader": _OTHER_HOST},
        },
        {"service": "http_status:421"},
    ]

    def is_new(exchange: Exchange) -> bool:
        return exchange.arrival is not None and exchange.arrival.value("Host") == _OTHER_HOST

    return Reload("other rules pushed", lambda: tunnel.push(1, rules), is_new)


def funnel(ingresses: Ingresses) -> Reload:
    """One mount more, by the command."""
    assert ingresses.tailnet is not None
    tailnet, sidecar = ingresses.tailnet, f"http://{ingresses.sidecar}"

    def tell() -> None:
        tailnet.cli("funnel", "--bg", "--yes", "--set-path=/more", sidecar)

    def is_new(exchange: Exchange) -> bool:
        return exchange.arrival is not None and exchange.arrival.target == "/stream"

    return Reload("another mount by `tailscale funnel`", tell, is_new, target="/more/stream")
