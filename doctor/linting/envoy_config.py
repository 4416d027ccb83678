"""Envoy's static configuration: listeners, their HTTP connection managers, clusters (pure)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.linting.envoy_match import first, rewritten, virtual_host_of
from doctor.linting.family import Saw
from doctor.linting.findings import Paths
from doctor.linting.json_lines import read_json
from doctor.linting.nodes import Node, Unreadable
from doctor.linting.urls import seconds
from doctor.linting.ways import Request, Way, Ways, requests_of
from doctor.linting.yaml_lines import read_yaml

_HOSTS_MAX = 50
_FILTER = re.compile(r"filters\.http\.(\w+)")


@dataclass(frozen=True, slots=True)
class Chain:
    """One filter chain that speaks HTTP."""

    listener: str
    node: Node
    manager: Node

    @property
    def is_tls(self) -> bool:
        return bool(self.node["transport_socket"])

    def is_for(self, host: str) -> bool:
        """Whether its SNIs, where it has any, name a host."""
        names = [each.text.lower() for each in self.node.at("filter_chain_match", "server_names")]
        return not names or any(
            host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in names
        )


@dataclass(frozen=True, slots=True)
class Passage:
    """What takes a request in a chain. `route` is absent where nothing does."""

    request: Request
    chain: Chain
    virtual_host: Node
    route: Node
    unknown: tuple[Node, ...]

    @property
    def action(self) -> Node:
        return self.route["route"]

    def levels(self) -> Iterator[Node]:
        """Where header edits may stand, from the narrowest to the widest."""
        yield self.route
        yield from self.action.at("weighted_clusters", "clusters")
        yield self.virtual_host
        yield self.chain.manager["route_config"]

    def upgrade(self) -> Node:
        """The entry for websocket: of the route, else of the connection manager."""
        for level in (self.action, self.chain.manager):
            for each in level["upgrade_configs"]:
                if each["upgrade_type"].text.lower() == "websocket":
                    return each
        return Node(self.chain.manager.line)

    def filters(self) -> Iterator[tuple[str, Node]]:
        """The HTTP filters on the way, by the short names of their types: "buffer"."""
        own = self.upgrade()["filters"] if self.request.role == "stream" else Node()
        for each in own if own.entries else self.chain.manager["http_filters"]:
            name = each["name"].text
            found = _FILTER.search(each.at("typed_config", "@type").text) or _FILTER.search(name)
            is_off = any(
                level["typed_per_filter_config"][name]["disabled"].is_true
                for level in (self.route, self.virtual_host)
            )
            if found and not is_off and not each["disabled"].is_true:
                yield found[1], each


@dataclass(frozen=True, slots=True)
class Config:
    root: Node
    file: Path

    def saw(self, node: Node, text: str) -> Saw:
        return Saw(text, self.file, node.line)

    @property
    def resources(self) -> Node:
        return self.root["static_resources"]

    def chains(self) -> Iterator[Chain]:
        for listener in self.resources["listeners"]:
            name = listener["name"].text
            for node in (*listener["filter_chains"], *listener["default_filter_chain"]):
                for each in node["filters"]:
                    kind = each.at("typed_config", "@type").text or each["name"].text
                    if "HttpConnectionManager" in kind or "http_connection_manager" in kind:
                        yield Chain(name, node, each["typed_config"])

    def hosts(self, chain: Chain, paths: Paths) -> list[str]:
        if paths.host:
            return [paths.host.lower()]
        domains = [
            each.text.lower()
            for virtual_host in chain.manager.at("route_config", "virtual_hosts")
            for each in virtual_host["domains"]
        ]
        named = [each for each in dict.fromkeys(domains) if each != "*"]
        return [*named[:_HOSTS_MAX], *([""] if "*" in domains or not named else [])]

    def passages(self, chain: Chain, host: str, paths: Paths) -> tuple[Passage, ...]:
        """Webhook, stream, status."""
        asked = re.sub(r"^\*", "any", host) if host.startswith("*") else host.rstrip("*")
        virtual_host = virtual_host_of(chain.manager["route_config"], asked)
        passages = []
        for request in requests_of(paths, asked):
            route, unknown = first(virtual_host["routes"], request)
            passages.append(Passage(request, chain, virtual_host, route, tuple(unknown)))
        return tuple(passages)

    def ways(self, label: str, passages: tuple[Passage, ...]) -> Ways:
        return Ways(label, *(self._way(passage) for passage in passages))

    def _way(self, passage: Passage) -> Way:
        path, route = passage.request.path, passage.route
        line = route.line
        if not route:
            at = passage.virtual_host.line or passage.chain.manager["route_config"].line
            return Way(path, line=at, answer="404")
        kind, text = _match_of(route)
        name = passage.virtual_host["name"].text
        place = f"route {kind} {text} of virtual host {name} ({self.file.name}:{line})"
        if route["redirect"]:
            return Way(path, place, line, answer="with a redirect (301)")
        if route["direct_response"]:
            return Way(path, place, line, answer=route.at("direct_response", "status").text)
        if not passage.action:
            return Way(path, place, line, answer="by itself")
        is_named = text not in ("", "/")
        upstream = next((self.upstream(each) for each in cluster_names(passage.action)), "")
        target = rewritten(route, path)
        return Way(
            path,
            place,
            line,
            upstream or "(a cluster that is found at run time)",
            target,
            is_named=is_named,
        )

    def cluster(self, name: str) -> Node:
        return next((c for c in self.resources["clusters"] if c["name"].text == name), Node())

    def endpoints(self, cluster: Node) -> Iterator[Node]:
        for locality in cluster.at("load_assignment", "endpoints"):
            for each in locality["lb_endpoints"]:
                yield each.at("endpoint", "address")

    def upstream(self, name: str) -> str:
        cluster = self.cluster(name)
        scheme = "https" if cluster["transport_socket"] else "http"
        for address in self.endpoints(cluster):
            socket = address["socket_address"]
            if host := socket["address"].text:
                host = f"[{host}]" if ":" in host else host
                return f"{scheme}://{host}:{socket['port_value'].text}"
            if path := address.at("pipe", "path").text:
                return f"unix:{path}"
        return f"cluster {name}"


def read_config(text: str, file: Path) -> Config:
    """YAML or JSON. Raises Unreadable."""
    root = read_json(text) if text.lstrip().startswith("{") else read_yaml(text)
    if not root["static_resources"] and not root["dynamic_resources"]:
        raise Unreadable("it is no configuration of Envoy: it has no static_resources")
    return Config(root, file)


def cluster_names(action: Node) -> Iterator[str]:
    if name := action["cluster"].text:
        yield name
    for each in action.at("weighted_clusters", "clusters"):
        yield each["name"].text


def duration_s(node: Node) -> float | None:
    """protobuf's: "15s", or seconds and nanos; None where there is none."""
    if node.shape == "mapping":
        return (node["seconds"].number or 0) + (node["nanos"].number or 0) / 1e9
    return seconds(node.text)


def _match_of(route: Node) -> tuple[str, str]:
    for name in ("path", "prefix", "path_separated_prefix"):
        if route["match"][name]:
            return name, route["match"][name].text
    if regex := route.at("match", "safe_regex", "regex").text:
        return "safe_regex", regex
    return "match", ""
