"""Envoy's static configuration: which route takes what, and whether that can work (pure)."""

from collections.abc import Iterator
from pathlib import Path

from doctor.linting.envoy_config import Chain, Config, cluster_names, read_config
from doctor.linting.envoy_streams import STREAMS
from doctor.linting.envoy_takers import TAKERS, Taker
from doctor.linting.family import Family, Saw
from doctor.linting.findings import LintFinding, LintReport, LintRule, Paths
from doctor.linting.nodes import Unreadable
from doctor.linting.way_rules import WayRules
from doctor.linting.ways import Ways, judge_hosts

WAYS = WayRules(
    "EN",
    "Envoy",
    serve="One route for all of the gateway, before those of others: "
    "- match: {prefix: /voice/}, route: {cluster: gateway}",
    keep="Remove prefix_rewrite and regex_rewrite from the route. prefix_rewrite replaces what was "
    "matched letter for letter: for prefix /voice/ write prefix_rewrite /, with both slashes.",
)
FILE = Family[Config]()
CHAINS = Family[tuple[Config, Chain]]()


@FILE.rule("EN22")
def cluster_missing(config: Config) -> Iterator[Saw]:
    """A route names a cluster that does not exist.

    Why:
        Envoy refuses the whole file.
    Fix:
        Define it under static_resources.clusters.
    """
    known = {cluster["name"].text for cluster in config.resources["clusters"]}
    if config.root.at("dynamic_resources", "cds_config"):
        return
    for chain in config.chains():
        for virtual_host in chain.manager.at("route_config", "virtual_hosts"):
            for route in virtual_host["routes"]:
                for name in cluster_names(route["route"]):
                    if name not in known:
                        yield config.saw(route["route"], f"cluster: {name}")


@CHAINS.rule("EN23")
def http11_refused(given: tuple[Config, Chain]) -> Iterator[Saw]:
    """The listener speaks HTTP/2 alone.

    Why:
        Twilio opens its streams in HTTP/1.1.
    Fix:
        codec_type: AUTO, and alpn_protocols: [h2, http/1.1]
    """
    config, chain = given
    codec = chain.manager["codec_type"]
    if codec.text in ("HTTP2", "HTTP3"):
        yield config.saw(codec, f"codec_type: {codec.text}")
    alpn = chain.node.at("transport_socket", "typed_config", "common_tls_context", "alpn_protocols")
    protocols = [each.text for each in alpn]
    if protocols and "http/1.1" not in protocols:
        yield config.saw(alpn, f"alpn_protocols: {', '.join(protocols)}")


RULES: tuple[LintRule, ...] = tuple(
    sorted(
        (*WAYS.rules, *FILE.rules, *CHAINS.rules, *STREAMS.rules, *TAKERS.rules),
        key=lambda rule: rule.id,
    )
)


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        config = read_config(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    takers: dict[str, tuple[Taker, ...]] = {}
    hosts: list[Ways] = []
    chains = list(config.chains())
    for number, chain in enumerate(chains, start=1):
        for host in config.hosts(chain, paths):
            if paths.host and not chain.is_for(host):
                continue
            where = f"listener {chain.listener or number}" if len(chains) > 1 else ""
            label = _unused(", ".join(part for part in (host, where) if part), takers)
            passages = config.passages(chain, host, paths)
            hosts.append(config.ways(label, passages))
            takers[label] = tuple(Taker(config, each) for each in passages)

    def check(ways: Ways) -> Iterator[LintFinding]:
        yield from WAYS.judge(ways, file)
        served = [taker for taker in takers[ways.host] if taker.passage.action]
        yield from STREAMS.judge(each for each in served if each.is_stream)
        yield from TAKERS.judge(served)
        yield from CHAINS.judge((config, each.passage.chain) for each in served[:1])

    verdict = judge_hosts(hosts, check)
    return LintReport(
        (*FILE.judge([config]), *verdict.findings),
        verdict.paths,
        remarks=(*_remarks(config, takers), *verdict.remarks),
    )


def _unused(label: str, taken: dict[str, tuple[Taker, ...]]) -> str:
    """Two filter chains of one listener may serve one host."""
    return label if label not in taken else f"{label} ({len(taken)})"


def _remarks(config: Config, takers: dict[str, tuple[Taker, ...]]) -> Iterator[str]:
    managers = [chain.manager for chain in config.chains()]
    if not managers:
        yield "The file has no HttpConnectionManager: listeners come from elsewhere, or are TCP."
    if any(manager["rds"] or manager["scoped_routes"] for manager in managers):
        yield "Routes come from a control plane (rds): they are not in this file."
    unknown = {
        node.line for each in takers.values() for taker in each for node in taker.passage.unknown
    }
    for line in sorted(unknown):
        yield f"The match of the route in line {line} is not modelled, and taken for none."
