"""Traefik's file provider, and its static configuration: which router takes what (pure).

As Traefik 3.7 was seen to do it: the highest priority first, which is the length of the rule where
none is given; among equals the order is another at every start. A router that names a service or a
middleware that does not exist is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.linting.family import Saw
from doctor.linting.findings import Paths
from doctor.linting.nodes import Node, Unreadable
from doctor.linting.toml_lines import read_toml
from doctor.linting.traefik_middlewares import Middleware, arrived, redirect_of
from doctor.linting.traefik_rule import Rule, RuleRefused, parse_rule
from doctor.linting.urls import shown_url
from doctor.linting.ways import Request, Way, Ways, requests_of
from doctor.linting.yaml_lines import read_yaml

_HOSTS_MAX = 50
_DEPTH_MAX = 10
_STATIC = ("entryPoints", "providers", "certificatesResolvers")


@dataclass(frozen=True, slots=True)
class Router:
    name: str
    node: Node
    rule: Rule | None
    refused: str  # why Traefik does not take the rule
    priority: float
    is_tls: bool
    entry_points: tuple[str, ...]  # none: all of them
    middlewares: tuple[Middleware, ...]
    missing: tuple[tuple[str, Node], ...]  # what it names and the file has not: ("service gw", ...)

    @property
    def is_there(self) -> bool:
        return self.rule is not None and not self.missing


@dataclass(frozen=True, slots=True)
class World:
    """Where a request comes in: an entry point, with TLS or without."""

    entry_point: str
    is_tls: bool
    host: str

    @property
    def label(self) -> str:
        """Names the host, and the entry point where there may be several."""
        how = f"{self.entry_point}{' with TLS' if self.is_tls else ''}" if self.entry_point else ""
        return ", ".join(part for part in (self.host, how) if part)


@dataclass(frozen=True, slots=True)
class Config:
    root: Node
    file: Path
    routers: tuple[Router, ...]

    def saw(self, node: Node, text: str) -> Saw:
        return Saw(text, self.file, node.line)

    @property
    def services(self) -> Node:
        return self.root.at("http", "services")

    @property
    def _entry_points(self) -> tuple[str, ...]:
        """Where a router is that names none; none where the static part is in another file."""
        entries = self.root["entryPoints"].fields
        chosen = tuple(name for name, entry in entries.items() if entry["asDefault"].is_true)
        return chosen or tuple(entries)

    def _is_on(self, router: Router, entry_point: str) -> bool:
        here = router.entry_points or self._entry_points
        return not here or entry_point in here

    def worlds(self, paths: Paths) -> Iterator[World]:
        """Every entry point and host that a router names. Plain HTTP and TLS are told apart."""
        entries = {
            (entry, router.is_tls): None
            for router in self.routers
            if router.is_there
            for entry in router.entry_points or self._entry_points
        } or {("", router.is_tls): None for router in self.routers}
        named = dict.fromkeys(
            host for router in self.routers if router.rule for host in router.rule.hosts
        )
        hosts = [paths.host.lower()] if paths.host else list(named)[:_HOSTS_MAX] or [""]
        yield from (World(*entry, host) for host in hosts for entry in entries)

    def ways(self, world: World, paths: Paths) -> Ways:
        return Ways(
            world.label, *(self.way(world, each) for each in requests_of(paths, world.host))
        )

    def way(self, world: World, request: Request) -> Way:
        entry = self.root["entryPoints"][world.entry_point]
        redirection = entry.at("http", "redirections", "entryPoint")
        if redirection and not world.is_tls:
            place = f"entryPoints.{world.entry_point} ({self.file.name}:{redirection.line})"
            answer = f"with a redirect to entry point {redirection['to'].text}"
            return Way(request.path, place, redirection.line, answer=answer)
        router = next(iter(self.taking(world, request)), None)
        if router is None or router.rule is None:
            return Way(request.path, line=self.root.at("http", "routers").line, answer="404")
        return self.way_of(router, world, request)

    def way_of(self, router: Router, world: World, request: Request) -> Way:
        line, path = router.node.line, request.path
        place = self.place(router)
        if redirect := redirect_of(router.middlewares, world.is_tls, request):
            return Way(path, place, line, answer=f"with a redirect to {redirect}")
        upstream = self.upstream(router.node["service"].text)
        if not upstream:
            return Way(path, place, line, answer="503")
        target = arrived(router.middlewares, path)
        is_named = router.rule is not None and router.rule.names_path
        return Way(path, place, line, upstream, target, is_named=is_named)

    def place(self, router: Router) -> str:
        return f"router {router.name} ({self.file.name}:{router.node.line})"

    def taking(self, world: World, request: Request) -> list[Router]:
        """The router that takes a request, and those of the same priority that would as well."""
        matching = [
            router
            for router in self.routers
            if router.is_there
            and router.is_tls is world.is_tls
            and self._is_on(router, world.entry_point)
            and router.rule is not None
            and router.rule.matches(request)
        ]
        highest = max((router.priority for router in matching), default=0)
        return [router for router in matching if router.priority == highest]

    def servers(self, name: str, depth: int = 0) -> Iterator[tuple[Node, Node]]:
        """The load balancers behind a service, each with one server of its own."""
        service = self.services[_bare(name)]
        balancer = service["loadBalancer"]
        for server in balancer["servers"]:
            yield balancer, server["url"]
        if depth > _DEPTH_MAX:
            return
        for each in service.at("weighted", "services"):
            yield from self.servers(each["name"].text, depth + 1)
        for behind in (service.at("mirroring", "service"), service.at("failover", "service")):
            if behind.text:
                yield from self.servers(behind.text, depth + 1)

    def upstream(self, name: str) -> str:
        if _is_elsewhere(name):
            return f"service {name}"
        return next((shown_url(url.text) for _, url in self.servers(name) if url.text), "")


def read_config(text: str, file: Path) -> Config:
    """Raises Unreadable."""
    root = read_toml(text) if file.suffix.lower() == ".toml" else read_yaml(text)
    known = (*_STATIC, "http", "tcp", "udp", "tls", "log", "api", "ping", "accessLog")
    if root.shape != "mapping" or not any(root[name] for name in known):
        raise Unreadable("it is no configuration of Traefik: it has neither http nor entryPoints")
    routers = root.at("http", "routers").items()
    return Config(root, file, tuple(_router(root, name, node) for name, node in routers))


def _router(root: Node, name: str, node: Node) -> Router:
    rule, refused = None, ""
    try:
        rule = parse_rule(node["rule"].text)
    except RuleRefused as why:
        refused = str(why)
    entry_points = tuple(entry.text for entry in node["entryPoints"])
    entries = [root["entryPoints"][entry] for entry in entry_points]
    is_tls = (
        node["tls"].shape == "mapping"
        or node["tls"].is_true
        or any(entry.at("http", "tls") for entry in entries)
    )
    priority = node["priority"].number or len(node["rule"].text)
    missing = [*_missing(root, "service", node["service"])]
    middlewares: list[Middleware] = []
    above = [each for entry in entries for each in entry.at("http", "middlewares")]
    for each in (*above, *node["middlewares"]):
        missing += _missing(root, "middleware", each)
        middlewares += _middlewares(root, each.text)
    return Router(
        *(name, node, rule, refused, priority, is_tls, entry_points),
        tuple(middlewares),
        tuple(missing),
    )


def _missing(root: Node, what: str, named: Node) -> Iterator[tuple[str, Node]]:
    if not named.text or _is_elsewhere(named.text):
        return
    if not root.at("http", f"{what}s")[_bare(named.text)]:
        yield f"{what} {named.text}", named


def _middlewares(root: Node, name: str, depth: int = 0) -> Iterator[Middleware]:
    """In the order in which a request passes them; a chain stands for its parts."""
    node = root.at("http", "middlewares")[_bare(name)]
    for kind, options in node.items():
        if kind == "chain":
            if depth < _DEPTH_MAX:
                for part in options["middlewares"]:
                    yield from _middlewares(root, part.text, depth + 1)
        else:
            yield Middleware(name, kind, options)


def _bare(name: str) -> str:
    return name.removesuffix("@file")


def _is_elsewhere(name: str) -> bool:
    """Whether another provider has it, docker say."""
    return "@" in name and not name.endswith("@file")
