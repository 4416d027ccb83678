"""A Caddyfile, or Caddy's JSON: which route takes what, and whether that can work.

A Caddyfile is read by `caddy adapt` where caddy is installed, else it is not read at all.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from doctor.linting.caddy_adapt import adapt
from doctor.linting.caddy_routes import Config
from doctor.linting.caddy_source import Source
from doctor.linting.caddy_streams import STREAMS, remark_of
from doctor.linting.caddy_takers import TAKERS, Taker
from doctor.linting.findings import LintFinding, LintReport, LintRule, Paths
from doctor.linting.json_lines import read_json
from doctor.linting.nodes import Unreadable
from doctor.linting.way_rules import WayRules
from doctor.linting.ways import Ways, judge_hosts

WAYS = WayRules(
    "CA",
    "Caddy",
    serve="One handle for all of the gateway: handle /voice/* { reverse_proxy 127.0.0.1:8080 }. "
    "What no directive takes, Caddy answers with 200 and an empty body.",
    keep="Write handle for handle_path (which strips), and remove rewrite and uri from it.",
)
RULES: tuple[LintRule, ...] = tuple(
    sorted((*WAYS.rules, *STREAMS.rules, *TAKERS.rules), key=lambda rule: rule.id)
)


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        config = _read(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    takers: dict[str, tuple[Taker, ...]] = {}
    hosts: list[Ways] = []
    remarks: dict[str, None] = {}
    servers = dict(config.servers())
    for name, server in servers.items():
        for host in config.hosts(server, paths):
            label = f"{host}, {name}" if host and len(servers) > 1 else host or name
            passages = config.passages(server, host, paths)
            hosts.append(config.ways(label, passages))
            takers[label] = tuple(Taker(config, each) for each in passages)
            unknown = dict.fromkeys(name for each in passages for name in each.unknown)
            remarks |= {f"Not modelled, and taken for no match: {each}.": None for each in unknown}

    def check(ways: Ways) -> Iterator[LintFinding]:
        yield from WAYS.judge(ways, file)
        served = [taker for taker in takers[ways.host] if taker.is_proxied]
        yield from STREAMS.judge(each for each in served if each.is_stream)
        yield from TAKERS.judge(served)

    streams = (each for each in chain.from_iterable(takers.values()) if each.is_stream)
    told = (remark_of(each) for each in streams if each.is_proxied)
    remarks |= {each: None for each in told if each is not None}
    verdict = judge_hosts(hosts, check)
    return LintReport(verdict.findings, verdict.paths, remarks=(*remarks, *verdict.remarks))


def _read(text: str, file: Path) -> Config:
    """Raises Unreadable."""
    source = None
    try:
        root = read_json(text)
    except Unreadable:
        if file.suffix.lower() == ".json":
            raise
        source = Source(text)
        root = read_json(adapt(text, file))
    if not root.at("apps", "http", "servers").fields:
        raise Unreadable("it configures no HTTP server")
    return Config(root, file, source)
