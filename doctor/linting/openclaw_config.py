"""openclaw.json as the voice-call plugin reads it: its section, and what makes it public (pure).

As in the plugin's config.ts, runtime.ts and webhook/tailscale.ts, February to September 2026.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from doctor.linting.family import Saw
from doctor.linting.json_lines import read_json
from doctor.linting.nodes import Node, Unreadable, mapping, scalar
from doctor.linting.tailscale_config import mount_of, rewritten
from doctor.linting.urls import Url, read_url
from doctor.linting.ways import Way, Ways

PLUGIN = "voice-call"
WEBHOOK, STREAM = "/voice/webhook", "/voice/stream"
Version = tuple[int, int, int]
# Since then its Funnel mounts the paths of streams beside the webhook (openclaw #125468), and
# signatures are checked over the path of publicUrl, not over the one that arrived (#112800).
MENDED: Version = (2026, 8, 1)


@dataclass(frozen=True, slots=True)
class Config:
    root: Node
    file: Path

    @property
    def entry(self) -> Node:
        return self.root.at("plugins", "entries", PLUGIN)

    @property
    def plugin(self) -> Node:
        return self.entry["config"]

    @property
    def version(self) -> Version | None:
        """Of the OpenClaw that wrote the file last, which each does when it starts.

        A beta counts as what came before: 2026.8.1-beta.1 has no #125468 yet.
        """
        text = self.root.at("meta", "lastTouchedVersion").text
        found = re.match(r"(20\d\d)\.(\d{1,2})\.(\d{1,2})(-beta)?(?!\d)", text)
        if found is None:
            return None
        return int(found[1]), int(found[2]), int(found[3]) - (found[4] is not None)

    @property
    def is_mended(self) -> bool:
        return self.version is not None and self.version >= MENDED

    @property
    def provider(self) -> str:
        return self.plugin["provider"].text

    @property
    def webhook_path(self) -> str:
        return self.plugin.at("serve", "path").text or WEBHOOK

    @property
    def port(self) -> str:
        return self.plugin.at("serve", "port").text or "3334"

    @property
    def is_streaming(self) -> bool:
        return self.plugin["streaming"]["enabled"].is_true

    @property
    def is_realtime(self) -> bool:
        return self.plugin["realtime"]["enabled"].is_true

    @property
    def stream_path(self) -> str:
        """Where Twilio opens the stream; in realtime mode a token follows it."""
        if self.is_realtime:
            derived = re.sub("/webhook$", "", self.webhook_path) + "/stream/realtime"
            return self.plugin["realtime"]["streamPath"].text or derived
        return self.plugin["streaming"]["streamPath"].text or STREAM

    @property
    def public_url(self) -> Url | None:
        return read_url(self.plugin["publicUrl"].text)

    @property
    def exposure(self) -> Node:
        """What makes the webhook public: publicUrl wins over tunnel, and that over tailscale."""
        tunnel, tailscale = self.plugin["tunnel"]["provider"], self.plugin["tailscale"]["mode"]
        if self.plugin["publicUrl"].text:
            return self.plugin["publicUrl"]
        return next((each for each in (tunnel, tailscale) if is_on(each)), Node())

    def saw(self, node: Node, text: str) -> Saw:
        return Saw(text, self.file, node.line or self.plugin.line or 1)

    def ways(self) -> Ways | None:
        """By the plugin's own Serve or Funnel; None where something else makes it public."""
        by = self.exposure.text
        if by in ("serve", "funnel"):
            node = self.plugin["tailscale"]["path"] or self.exposure
            mount = self.plugin["tailscale"]["path"].text or WEBHOOK
        elif by in ("tailscale-serve", "tailscale-funnel"):
            node, mount = self.exposure, self.webhook_path
        else:
            return None
        mounts = {mount: self.webhook_path}
        has_stream = self.is_streaming or self.is_realtime
        if has_stream and self.is_mended:
            mounts[self.stream_path] = self.stream_path
        webhook = self._way(mount, mounts, node)
        # What is said of the webhook holds for them, and is said once.
        same = replace(webhook, target="")
        stream = self._way(self.stream_path, mounts, node) if has_stream else same
        return Ways("", webhook, stream, same)

    def _way(self, path: str, mounts: dict[str, str], node: Node) -> Way:
        handlers = mapping({name: scalar(base, node.line) for name, base in mounts.items()}, 0)
        mount = mount_of(handlers, path)
        if mount is None:
            return Way(path, line=node.line, answer="404 by tailscaled")
        place = f"mount {mount} of {self.exposure.text} ({self.file.name}:{node.line})"
        target = rewritten(path, mount, mounts[mount])
        return Way(path, place, node.line, f"http://127.0.0.1:{self.port}", target)


def is_on(node: Node) -> bool:
    return node.text not in ("", "none", "off") and is_literal(node)


def is_literal(node: Node) -> bool:
    """Whether a value stands in the file; ${NAME} is filled in from the environment."""
    return bool(node.text) and "${" not in node.text


def read_config(text: str, file: Path) -> Config:
    """Raises Unreadable."""
    root = read_json(text)
    if root.shape != "mapping":
        raise Unreadable("it is no configuration of OpenClaw: it holds no keys")
    return Config(root, file)


def paths_written(config: Config) -> Iterator[tuple[str, Node]]:
    plugin = config.plugin
    for table, name in (
        ("serve", "path"),
        ("tailscale", "path"),
        ("streaming", "streamPath"),
        ("realtime", "streamPath"),
    ):
        if is_literal(plugin[table][name]):
            yield f"{table}.{name}", plugin[table][name]
