"""What `tailscale serve status --json` prints, and which mount takes what (pure).

As ipn/ipnlocal/serve.go reads it: an exact mount, else that of the nearest parent; its prefix is
taken away, and the path of its target put in front.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.linting.family import Saw
from doctor.linting.findings import Paths
from doctor.linting.json_lines import read_json
from doctor.linting.nodes import Node, Unreadable
from doctor.linting.urls import read_url, shown_url
from doctor.linting.ways import Way, Ways

_KEYS = frozenset(("TCP", "Web", "AllowFunnel", "Services", "Foreground"))
_ADVICE = "save it with --json: tailscale serve status --json > serve.json"


@dataclass(frozen=True, slots=True)
class Server:
    """What listens under one name and port: mounts, or a TCP forward."""

    key: str  # "node.tailnet.ts.net:443"
    node: Node
    is_funnel: bool
    file: Path

    @property
    def name(self) -> str:
        return self.key.rpartition(":")[0].lower()

    @property
    def port(self) -> str:
        return self.key.rpartition(":")[2]

    @property
    def mounts(self) -> Node:
        return self.node["Handlers"]

    def saw(self, node: Node, text: str) -> Saw:
        return Saw(text, self.file, node.line)

    def ways(self, paths: Paths) -> Ways:
        webhook, stream, status = (
            self._way(path) for path in (paths.webhook, paths.stream, paths.status)
        )
        return Ways(self.key, webhook, stream, status)

    def _way(self, path: str) -> Way:
        line = self.node.line
        forward = self.node["TCPForward"].text
        if forward:
            place = f"TCP port {self.port} ({self.file.name}:{line})"
            return Way(path, place, line, f"tcp://{forward}", path)
        mount = mount_of(self.mounts, path)
        if mount is None:
            return Way(path, line=line, answer="404 by tailscaled")
        handler = self.mounts[mount]
        place = f"mount {mount} of {self.key} ({self.file.name}:{handler.line})"
        answer = "500"  # an empty handler
        if handler["Text"].text:
            answer = "with a text"
        elif redirect := handler["Redirect"].text:
            status = re.match(r"3\d\d(?=:)", redirect)
            answer = f"with a redirect ({status[0] if status else 302})"
        elif handler["Path"].text:
            answer = "with files"
        elif proxy := handler["Proxy"].text:
            upstream, base = target_of(proxy)
            target = rewritten(path, mount, base)
            is_named = mount != "/"
            return Way(path, place, handler.line, upstream, target, is_named=is_named)
        return Way(path, place, handler.line, answer=answer)


@dataclass(frozen=True, slots=True)
class Part:
    """The configuration in the background, or that of one session in the foreground."""

    node: Node
    file: Path
    is_foreground: bool

    def saw(self, node: Node, text: str) -> Saw:
        return Saw(text, self.file, node.line)

    def servers(self) -> Iterator[Server]:
        """Services are for the tailnet alone, whatever AllowFunnel says."""
        yield from _servers(self.node, self.node["AllowFunnel"], self.file)
        for service in self.node["Services"].fields.values():
            yield from _servers(service, Node(), self.file)


def read_parts(text: str, file: Path) -> tuple[Part, ...]:
    """The background first. Raises Unreadable."""
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        raise Unreadable(f"it is no JSON; {_ADVICE}")
    root = read_json(text)
    if "BackendState" in root.fields:
        raise Unreadable(f"it is what `tailscale status` prints, and not serve's; {_ADVICE}")
    if root.fields and not _KEYS & root.fields.keys():
        raise Unreadable(f"it has none of {', '.join(sorted(_KEYS))}; {_ADVICE}")
    sessions = root["Foreground"].fields.values()
    return Part(root, file, False), *(Part(session, file, True) for session in sessions)


def _servers(part: Node, funnel: Node, file: Path) -> Iterator[Server]:
    for key, web in part["Web"].items():
        yield Server(key, web, funnel[key].is_true, file)
    for port, tcp in part["TCP"].items():
        if tcp["TCPForward"].text:
            # A forward has no name of its own: any name of AllowFunnel with its port is its.
            allowed = (key for key, node in funnel.items() if node.is_true)
            is_funnel = any(key.rpartition(":")[2] == port for key in allowed)
            yield Server(f"{tcp['TerminateTLS'].text}:{port}", tcp, is_funnel, file)


def clean(path: str) -> str:
    """Go's path.Clean, of what begins with a slash."""
    return "/" + posixpath.normpath(path).lstrip("/")


def mount_of(mounts: Node, path: str) -> str | None:
    """getServeHandler: the path as it came, else the nearest parent of the clean one."""
    if path in mounts.fields:
        return path
    parent = clean(path)
    while True:
        for mount in (f"{parent}/", parent):
            if mount in mounts.fields:
                # http.StripPrefix answers 404 where the path as it came has no such prefix.
                return mount if path.startswith(mount.rstrip("/")) else None
        if parent == "/":
            return None
        parent = posixpath.dirname(parent)


def target_of(proxy: str) -> tuple[str, str]:
    """Where a Proxy leads, and the path that it puts in front. A bare port is one of loopback."""
    if proxy.startswith("unix:"):
        return proxy, ""
    text = f"127.0.0.1:{proxy}" if proxy.isdigit() else proxy
    url = read_url(text if "://" in text else f"http://{text}")
    if url is None:
        return shown_url(proxy), ""
    return url.text.removesuffix(url.path), url.path


def rewritten(path: str, mount: str, base: str) -> str:
    """The path at the target: the mount is taken away, the target's own path put in front."""
    rest = path[len(mount.rstrip("/")) :]
    if not rest:
        return base or "/"
    return base.removesuffix("/") + rest
