"""What `hopscope ingress` writes, in the real programs: they take it, and calls pass through.

    gateway  <-  hopscope proxy  <-  the program with its written file  <-  the doctor

The public name is localhost, whose certificate is of an authority that the doctor is told of as any
program is, by SSL_CERT_FILE. What a program listens on is narrowed to loopback, and that alone.
"""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from calls.gateways_at_work import at_work, run, simple_cast
from doctor.addresses import Address
from ingress.faults.fault_edge_programs import EDGE_PROGRAMS
from ingress.faults.fault_programs import PROGRAMS, Started
from ingress.tunnels.authority import issue, make_authority
from ingress.tunnels.tools import tool
from programs import PATIENCE_S, ROOT, HopscopeProcess, free_port, require

DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*/*.service"))
# Of a hundred; systemd calls up to 20 OK, and a unit without any bar has 96.
EXPOSURE_MAX = 20
# How each file says where it listens, and how it says so of loopback.
LISTENS = {
    "nginx": ("listen {} ssl;", "listen 127.0.0.1:{} ssl;"),
    "apache": ("<VirtualHost *:{}>", "<VirtualHost 127.0.0.1:{}>"),
    "haproxy": ("bind :{} ", "bind 127.0.0.1:{} "),
    "caddy": ("localhost:{} {{\n", "localhost:{} {{\n\tbind 127.0.0.1\n"),
    "traefik": ('address: ":{}"', 'address: "127.0.0.1:{}"'),
    "envoy": ("address: 0.0.0.0, port_value: {} ", "address: 127.0.0.1, port_value: {} "),
}
Start = Callable[[list[str], Path], None]
WRITERS = PROGRAMS | EDGE_PROGRAMS


def hopscope(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    bare = {name: value for name, value in os.environ.items() if not name.startswith("HOPSCOPE_")}
    return subprocess.run(
        [sys.executable, "-m", "hopscope", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=bare | environment,
    )


@dataclass(frozen=True, slots=True)
class Site:
    """A sidecar before a gateway, and a folder with certificates for localhost."""

    folder: Path
    sidecar: HopscopeProcess
    settings: Path

    def write(self, name: str, *options: str) -> Path:
        """The folder of an ingress, as the command writes it."""
        upstream = ("--upstream", f"127.0.0.1:{self.sidecar.port}")
        settings = ("--config", str(self.settings), "--out", str(self.folder))
        done = hopscope("ingress", name, *settings, *upstream, *options)
        assert done.returncode == 0, done.stderr
        return self.folder / name

    def examine(self, hops: Path) -> dict[str, Any]:
        """What the doctor says of these hops."""
        admin = f"http://127.0.0.1:{self.sidecar.admin_port}"
        ca = str(self.folder / "ca.pem")
        done = hopscope(
            *("doctor", "--hops", str(hops), "--admin", admin, "--json"), SSL_CERT_FILE=ca
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return told


Begin = Callable[[int], Site]


@pytest.fixture
def begin(start_hopscope: Callable[..., HopscopeProcess], tmp_path: Path) -> Begin:
    """Start a sidecar before the gateway at a port."""

    def begin(gateway: int) -> Site:
        make_authority(tmp_path)
        issue(tmp_path, "localhost", tmp_path)
        settings = tmp_path / "hopscope.toml"
        settings.write_text(f'upstream = "http://127.0.0.1:{gateway}"\n')
        return Site(tmp_path, start_hopscope(gateway), settings)

    return begin


@pytest.fixture
def site(begin: Begin, start_gateway: Callable[[str], int]) -> Site:
    return begin(start_gateway("echo"))


@pytest.fixture
def start() -> Iterator[Start]:
    started = []

    def start(command: list[str], folder: Path) -> None:
        with (folder / "output.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )

    yield start
    for process in started:
        if process.poll() is None:  # it has nothing to save, and may have children
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)


def narrowed(name: str, text: str, port: int) -> str:
    """The file, listening on loopback alone."""
    wide, narrow = (form.format(port) for form in LISTENS[name])
    assert text.count(wide) == 1, f"{wide!r} in {text}"
    return text.replace(wide, narrow)


def started(name: str, folder: Path, port: int) -> Started:
    """The program with what is in the folder; what is around that is the laboratory's."""
    program, beside = WRITERS[name], folder / "run"
    path, listen = require(program.executable), f"127.0.0.1:{port}"
    beside.mkdir()
    if name == "traefik":
        dynamic = folder / "voice.yaml"
        static = narrowed(name, (folder / "traefik.yaml").read_text(), port)
        assert "/etc/traefik/voice.yaml" in static
        own = beside / "traefik.yaml"
        own.write_text(static.replace("/etc/traefik/voice.yaml", str(dynamic)))
        return Started([path, f"--configFile={own}"], own)
    [config] = [each for each in folder.iterdir() if each.name in FILES]
    text = narrowed(name, config.read_text(), port)
    if os.geteuid() != 0:  # who is not root need not, and may not, become another
        text = re.sub(r"^    (user|group) haproxy\n", "", text, flags=re.MULTILINE)
    return program.write(path, beside, text, listen)


FILES = ("voice.conf", "haproxy.cfg", "Caddyfile", "envoy.yaml")


def wait_until_calls_pass(port: int, ca: Path, log: Path) -> None:
    """Until an answer of the sidecar comes back: programs listen before they know their routes."""
    context = ssl.create_default_context(cafile=ca)
    deadline = time.monotonic() + PATIENCE_S
    said = b""
    while b"hopscope" not in said:
        assert time.monotonic() < deadline, f"{said!r}: {log.read_text(errors='replace')[-2000:]}"
        try:
            with (
                socket.create_connection(("127.0.0.1", port), 1) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as sock,
            ):
                sock.sendall(b"GET /voice/anything HTTP/1.1\r\nHost: localhost\r\n\r\n")
                said = sock.recv(4096)
        except OSError as error:
            said = type(error).__name__.encode()
        time.sleep(0.02)


def run_program(name: str, site: Site, port: int, start: Start) -> Path:
    """Start a program with what is written for it, until calls pass. Its folder."""
    certificate, key = site.folder / "localhost.crt", site.folder / "localhost.key"
    if name == "haproxy":  # which wants both in one file
        bundle = site.folder / "localhost.pem"
        bundle.write_bytes(certificate.read_bytes() + key.read_bytes())
        certificate = bundle
    options = ("--certificate", str(certificate), "--key", str(key))
    folder = site.write(name, "--public-url", f"https://localhost:{port}", *options)
    start(started(name, folder, port).command, folder)
    wait_until_calls_pass(port, site.folder / "ca.pem", folder / "output.log")
    return folder


@pytest.mark.parametrize("name", LISTENS)
def test_the_doctor_finds_nothing_behind_what_was_written(
    name: str, site: Site, start: Start
) -> None:
    folder = run_program(name, site, free_port(), start)
    told = site.examine(folder / "hops.toml")
    assert (told["verdict"], told["findings"], told["notes"]) == ("healthy", [], [])
    assert [probe["hop"]["name"] for probe in told["probes"]] == ["gateway", "sidecar", name]
    echoes = {echo["name"]: echo["fault"] for echo in told["probes"][-1]["echoes"]}
    assert len(echoes) > 5
    assert set(echoes.values()) == {""}


@pytest.mark.parametrize("name", LISTENS)
def test_a_call_goes_through_with_its_signatures_whole(
    name: str, begin: Begin, start: Start
) -> None:
    async def work() -> None:
        port = free_port()
        public = f"https://localhost:{port}"
        async with at_work(greeting="Hi.", public_url=public, **simple_cast("one")) as at:
            site = await asyncio.to_thread(begin, at.address.port)
            await asyncio.to_thread(run_program, name, site, port, start)
            tls = ssl.create_default_context(cafile=site.folder / "ca.pem")
            here = Address("127.0.0.1", port)
            heard = await at.call("words", connect_to=here, plain=False, tls=tls)
            assert heard.text == "Hi.1 one."
            assert (heard.report.twilio_error, heard.report.warnings) == (None, [])
            assert at.of("signature_refused") == []
            upgraded = await asyncio.to_thread(site.sidecar.line, "handshake")
            assert (upgraded["outcome"], upgraded["violations"]) == ("upgraded", [])
            session = await asyncio.to_thread(site.sidecar.line, "session")
            assert session["ending"] == "close_handshake"
            assert (session["sequence_gaps"], session["marks_unanswered"]) == (0, 0)

    run(work)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_a_unit_and_finds_it_hardly_exposed(unit: Path, tmp_path: Path) -> None:
    analyze = require("systemd-analyze")
    here = tmp_path / unit.name
    # Its program is not installed here; everything else is as it is written.
    here.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.M))
    verified = subprocess.run(
        [analyze, "verify", "--man=no", str(here)], capture_output=True, text=True, timeout=60
    )
    # It reads the machine's own units, too, and complains of those.
    assert unit.name not in verified.stderr
    options = ("--offline=yes", f"--threshold={EXPOSURE_MAX}")
    rated = subprocess.run(
        [analyze, "security", *options, str(here)], capture_output=True, text=True, timeout=60
    )
    assert rated.returncode == 0, rated.stdout[-400:] + rated.stderr
    assert "overall exposure level" in rated.stdout.lower()


def test_the_commands_of_funnel_are_a_script(site: Site) -> None:
    folder = site.write("tailscale", "--public-url", "https://gw.tail-scale.ts.net")
    subprocess.run([require("sh"), "-n", folder / "funnel.sh"], check=True, timeout=60)


def test_cloudflared_takes_what_was_written(site: Site) -> None:
    folder = site.write("cloudflared", "--public-url", "https://voice.example.com")
    done = subprocess.run(
        [tool("cloudflared"), "tunnel", "--config", folder / "config.yml", "ingress", "validate"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "OK")
    assert "unknown" not in (done.stdout + done.stderr).lower()
