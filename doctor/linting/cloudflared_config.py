"""cloudflared's config.yml as cloudflared reads it: its ingress rules, and what each takes (pure).

As in 2026.8: ingress/ingress.go and config/configuration.go of its source. The reply of its
metrics port to /config, and what the dashboard exports, is read as well.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.linting.family import Saw
from doctor.linting.findings import Paths
from doctor.linting.go_regex import RegexRefused, RegexUnknown, compile_go
from doctor.linting.nodes import Node, Unreadable
from doctor.linting.urls import shown_url
from doctor.linting.ways import Way, Ways
from doctor.linting.yaml_lines import read_yaml

_HOSTS_MAX = 100
_STATUS = "http_status:"


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ingress. `pattern` is None where there is no path, or none that we can run."""

    number: int
    node: Node
    pattern: re.Pattern[str] | None = None
    refused: str = ""  # why Go does not compile the path
    unknown: str = ""  # why we do not

    @property
    def host(self) -> str:
        return self.node["hostname"].text

    @property
    def path(self) -> str:
        return self.node["path"].text

    @property
    def service(self) -> str:
        return self.node["service"].text

    @property
    def takes_all(self) -> bool:
        return self.host in ("", "*") and not self.path

    def takes_host(self, host: str) -> bool:
        """Case-sensitive, but for the alias that cloudflared adds to a name with capitals."""
        if self.host in ("", "*"):
            return True
        names = (self.host, self.host.lower())
        if self.host.startswith("*."):
            return any(host.endswith(name[1:]) for name in names)
        return host in names

    def takes(self, host: str, path: str) -> bool:
        if self.refused or self.unknown or not self.takes_host(host):
            return False
        return self.pattern is None or self.pattern.search(path) is not None


@dataclass(frozen=True, slots=True)
class Config:
    root: Node
    rules: tuple[Rule, ...]
    file: Path
    is_pushed: bool  # from the dashboard: durations are seconds there

    def saw(self, node: Node, text: str) -> Saw:
        return Saw(text, self.file, node.line)

    def place(self, rule: Rule) -> str:
        return f"ingress rule {rule.number} ({self.file.name}:{rule.node.line})"

    def option(self, rule: Rule, name: str) -> Node:
        """A key of originRequest: of the rule, else of the file."""
        return rule.node["originRequest"][name] or self.root["originRequest"][name]

    def hosts(self, paths: Paths) -> list[Ways]:
        """What becomes of the paths on every host that a rule names, and on any other."""
        if paths.host:
            return [self._ways(paths.host.lower(), paths)]
        named = dict.fromkeys(rule.host.lower() for rule in self.rules)
        names = [name for name in named if name not in ("", "*")][:_HOSTS_MAX]
        if not names or not self.rules[-1].service.startswith(_STATUS):
            names.append("")
        return [self._ways(name, paths) for name in names]

    def _ways(self, host: str, paths: Paths) -> Ways:
        webhook, stream, status = (
            self._way(host, path) for path in (paths.webhook, paths.stream, paths.status)
        )
        return Ways(host, webhook, stream, status)

    def _way(self, host: str, path: str) -> Way:
        asked = f"any{host[1:]}" if host.startswith("*.") else host
        rule = next((rule for rule in self.rules if rule.takes(asked, path)), None)
        if rule is None:
            return self._single(path)
        place, line = self.place(rule), rule.node.line
        if rule.service.startswith(_STATUS):
            return Way(path, place, line, answer=rule.service.removeprefix(_STATUS))
        if rule.service in ("hello_world", "hello-world"):
            return Way(path, place, line, answer="with the greeting page")
        upstream = shown_url(rule.service) or "(no service)"
        return Way(path, place, line, upstream, path, is_named=bool(rule.path))

    def _single(self, path: str) -> Way:
        """Without ingress a url takes everything."""
        url = self.root["url"]
        if self.rules or not url.text:
            return Way(path, line=self.root["ingress"].line or 1, answer="503")
        place = f"url ({self.file.name}:{url.line})"
        return Way(path, place, url.line, shown_url(url.text), path)


def read_config(text: str, file: Path) -> Config:
    """Raises Unreadable."""
    root = read_yaml(text)
    if root.shape != "mapping":
        raise Unreadable("it is no configuration of cloudflared: it holds no keys")
    is_pushed = root.at("config", "ingress").shape == "list"
    root = root["config"] if is_pushed else root
    return Config(root, tuple(_rules(root["ingress"])), file, is_pushed)


def _rules(ingress: Node) -> Iterator[Rule]:
    for number, node in enumerate(ingress, start=1):
        path = node["path"].text
        try:
            yield Rule(number, node, compile_go(path) if path else None)
        except RegexRefused as refused:
            yield Rule(number, node, refused=str(refused))
        except RegexUnknown as unknown:
            yield Rule(number, node, unknown=str(unknown))
