"""Traefik's configuration: which router takes what, and whether that can work (pure)."""

from collections.abc import Iterator
from pathlib import Path

from doctor.linting.findings import LintFinding, LintReport, LintRule, Paths
from doctor.linting.nodes import Unreadable
from doctor.linting.traefik_config import Config, World, read_config
from doctor.linting.traefik_files import FILE
from doctor.linting.traefik_takers import TAKERS, Taker
from doctor.linting.way_rules import WayRules
from doctor.linting.ways import Ways, judge_hosts, requests_of

WAYS = WayRules(
    "TR",
    "Traefik",
    serve="One router for all of the gateway: rule: Host(`voice.example.com`) && "
    "PathPrefix(`/voice/`). Of several routers that match, the longest rule wins.",
    keep="Remove stripPrefix, addPrefix and replacePath from the router, or tell the gateway its "
    "public URL with the prefix.",
)
RULES: tuple[LintRule, ...] = tuple(
    sorted((*WAYS.rules, *FILE.rules, *TAKERS.rules), key=lambda rule: rule.id)
)


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        config = read_config(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    worlds = {world.label: world for world in config.worlds(paths)}

    def check(ways: Ways) -> Iterator[LintFinding]:
        yield from WAYS.judge(ways, file)
        yield from TAKERS.judge(_takers(config, worlds[ways.host], paths))

    verdict = judge_hosts([config.ways(world, paths) for world in worlds.values()], check)
    return LintReport(
        (*FILE.judge([config]), *verdict.findings),
        verdict.paths,
        remarks=(*_remarks(config), *verdict.remarks),
    )


def _takers(config: Config, world: World, paths: Paths) -> Iterator[Taker]:
    """The router of each path, and what would take it at another start."""
    for request in requests_of(paths, world.host):
        if config.way(world, request).is_served:
            routers = config.taking(world, request)
            yield Taker(config, world, request, routers[0], tuple(routers[1:]))


def _remarks(config: Config) -> Iterator[str]:
    if not config.routers:
        yield "The file has no http.routers: what takes the paths is in another file, or provider."
    for name, entry in config.root["entryPoints"].items():
        is_plain = not entry.at("http", "tls") and not entry.at("http", "redirections")
        if (
            is_plain
            and not entry["forwardedHeaders"]
            and not entry["address"].text.endswith(":443")
        ):
            yield (
                f"entryPoints.{name} has no forwardedHeaders: X-Forwarded-Proto of a tunnel in "
                "front is replaced by http or ws, and signatures that are made over it fail."
            )
