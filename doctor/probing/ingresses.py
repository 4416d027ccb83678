"""The ingresses that run on this machine: what they were started with, and where they listen.

Each finder asks the machine what its program can tell. Whatever could not be found out becomes a
note. None of them decides whether calls pass there: see discovery.py.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor.evidence import HopKind
from doctor.probing.machine import Machine, Process

# Programs that listen here themselves, and the options that name their configuration.
SERVERS: dict[HopKind, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "nginx": ("nginx", ("-c",), ("/etc/nginx/nginx.conf", "/opt/homebrew/etc/nginx/nginx.conf")),
    "caddy": ("caddy", ("--config", "-config", "-c"), ("/etc/caddy/Caddyfile",)),
    "haproxy": ("haproxy", ("-f",), ("/etc/haproxy/haproxy.cfg",)),
    "traefik": (
        "traefik",
        ("--configFile", "--configfile"),
        ("/etc/traefik/traefik.yml", "/etc/traefik/traefik.yaml"),
    ),
    "envoy": ("envoy", ("-c", "--config-path"), ("/etc/envoy/envoy.yaml",)),
    "apache": ("apache2", ("-f",), ("/etc/apache2/apache2.conf",)),
}
# Ports of theirs that are for operators, and no way for a call.
_ADMIN_PORTS = frozenset({2019, 8404, 9000, 9101, 9901, *range(20241, 20246)})
METRICS_PORTS = range(20241, 20246)  # cloudflared takes the first that is free
_INCLUDE = re.compile(
    r"(?:^|[;{}])\s*(?:include|Include|IncludeOptional|import)\s+[\"']?([^;\"'\n]+)", re.MULTILINE
)
INCLUDES_LIMIT = 100
_IMPLIED = {80: "http", 443: "https"}


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration that is no file of its own: the output of a command."""

    kind: HopKind
    source: str  # the command
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ingress:
    """One that runs here. `text` is its configuration as far as it may be read.

    `ports` are those a call may come in by, none where it is a tunnel that dials out.
    `public_urls` are the names that it says it serves.
    """

    kind: HopKind
    text: str
    ports: tuple[int, ...] = ()
    config: Path | None = None
    public_urls: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    document: Document | None = None


async def find_servers(machine: Machine) -> list[Ingress]:
    """The servers that run here."""
    programs = [program for program, _, _ in SERVERS.values()]
    processes = await machine.processes(programs)
    found = []
    for kind, (program, options, usual) in SERVERS.items():
        mine = [each for each in processes if each.program == program]
        masters = [each for each in mine if "worker process" not in " ".join(each.words)] or mine
        for config, group in _by_config(masters, options, usual, machine).items():
            found.append(await _server(kind, config, group, machine))
    return found


def _by_config(
    processes: list[Process], options: tuple[str, ...], usual: tuple[str, ...], machine: Machine
) -> dict[Path | None, list[Process]]:
    """A master and its workers have one configuration."""
    groups: dict[Path | None, list[Process]] = {}
    for process in processes:
        named = process.option(*options)
        prefix = process.option("-p") or "/"
        paths = [Path(prefix) / named] if named else [Path(each) for each in usual]
        config = next((path for path in paths if machine.read(path) is not None), None)
        groups.setdefault(config or (paths[0] if named else None), []).append(process)
    return groups


async def _server(
    kind: HopKind, config: Path | None, group: list[Process], machine: Machine
) -> Ingress:
    document = None
    text = whole_text(config, machine) if config is not None else ""
    if kind == "nginx":
        command = ("nginx", "-T", *(("-c", str(config)) if config is not None else ()))
        dumped = await machine.run(*command)
        if dumped:
            text, document = dumped, Document(kind, " ".join(command), dumped)
    ports = {port for process in group for port in process.ports} - _ADMIN_PORTS
    notes = []
    if not text:
        pids = ", ".join(str(process.pid) for process in group)
        notes.append(f"{kind} runs here (pid {pids}), and its configuration cannot be read")
    return Ingress(
        kind,
        text,
        tuple(sorted(ports)) or listened(text),
        config if text else None,
        notes=tuple(notes),
        document=document,
    )


def whole_text(config: Path, machine: Machine) -> str:
    """A configuration with what it includes, one level after the other."""
    texts, todo, seen = [], [config], set[Path]()
    while todo and len(seen) < INCLUDES_LIMIT:
        file = todo.pop(0)
        if file in seen or (text := machine.read(file)) is None:
            continue
        seen.add(file)
        texts.append(text)
        for pattern in _INCLUDE.findall(text):
            todo += machine.expand(str(config.parent / pattern.strip()))
    return "\n".join(texts)


def listened(text: str) -> tuple[int, ...]:
    """Ports that a configuration says are listened on, where the system does not tell."""
    found = re.findall(
        r"(?:^|[;{}])\s*(?:listen|bind|Listen)\s+(?:[^\s;]*:)?(\d{2,5})\b", text, re.MULTILINE
    )
    return tuple(sorted({int(port) for port in found} - _ADMIN_PORTS))


def mentions(text: str, port: int) -> bool:
    """Whether a configuration names a port as an address to send to."""
    written = rf"(?::|\bport(?:_value)?[\"']?:?\s*){port}(?!\d)"
    if port in _IMPLIED:
        written += rf"|{_IMPLIED[port]}://(?:localhost|127\.0\.0\.1|\[::1\])(?![\w.:])"
    return re.search(written, text) is not None


async def find_cloudflared(machine: Machine, home: Path) -> list[Ingress]:
    """The tunnel that runs here: its file, and what its metrics port tells."""
    processes = await machine.processes(["cloudflared"])
    if not processes:
        return []
    process = processes[0]
    named = process.option("--config", "-config")
    folders = (home / ".cloudflared", Path("/etc/cloudflared"), Path("/usr/local/etc/cloudflared"))
    usual = [folder / name for folder in folders for name in ("config.yml", "config.yaml")]
    paths = [Path(named)] if named else usual
    config = next((path for path in paths if machine.read(path) is not None), None)
    text = (machine.read(config) or "") if config is not None else ""
    if url := process.option("--url", "-url"):
        text += f"\nurl: {url}"
    notes, public_urls = [], []
    metrics = await _metrics(machine, process)
    if metrics is None:
        notes.append("cloudflared runs here, and no metrics port of it answers")
    else:
        ready, quick, config_text = metrics
        notes += _told_ready(ready)
        text += f"\n{config_text}"
        if hostname := _json(quick).get("hostname"):
            public_urls.append(f"https://{hostname}")
    public_urls += [f"https://{name}" for name in re.findall(r"\bhostname:\s*([\w.-]+)", text)]
    if not text.strip():
        notes.append("cloudflared runs here without a file: its rules come from Cloudflare")
    return [Ingress("cloudflared", text, (), config, tuple(public_urls), tuple(notes))]


async def _metrics(machine: Machine, process: Process) -> tuple[str, str, str] | None:
    """/ready, /quicktunnel and /config of the tunnel."""
    named = (process.option("--metrics", "-metrics") or "").rpartition(":")[2]
    for port in [int(named)] if named.isdigit() else METRICS_PORTS:
        url = f"http://127.0.0.1:{port}"
        ready = await machine.fetch(f"{url}/ready")
        if ready is not None and "readyConnections" in ready:
            quick = await machine.fetch(f"{url}/quicktunnel") or ""
            return ready, quick, await machine.fetch(f"{url}/config") or ""
    return None


def _told_ready(ready: str) -> list[str]:
    count = _json(ready).get("readyConnections")
    if count:
        return [f"cloudflared says it is connected to the edge, {count} times"]
    return ["cloudflared says it is not connected to the edge (readyConnections 0)"]


async def find_tailscale(machine: Machine) -> list[Ingress]:
    """What `tailscale serve` and `funnel` do, as one configuration."""
    command = ("tailscale", "serve", "status", "--json")
    text = await machine.run(*command)
    if text is None:
        if await machine.processes(["tailscaled"]):
            note = "tailscaled runs here, and `tailscale serve status --json` tells nothing"
            return [Ingress("tailscale", "", notes=(note,))]
        return []
    content = _json(text)
    webs = dict(content.get("Web") or {})
    for session in (content.get("Foreground") or {}).values():
        webs |= session.get("Web") or {}
    if not webs and not content.get("TCP"):
        return []
    names = [*(content.get("AllowFunnel") or {}), *webs]
    urls = dict.fromkeys(f"https://{name.removesuffix(':443')}" for name in names)
    document = Document("tailscale", " ".join(command), text)
    return [Ingress("tailscale", text, public_urls=tuple(urls), document=document)]


def _json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
