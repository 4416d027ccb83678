"""hopscope.toml: whether Hopscope starts with it, and what its routes make of our paths (pure)."""

from collections.abc import Iterator
from pathlib import Path

from doctor.linting.findings import LintFinding, LintReport, LintRule, Paths
from doctor.linting.hopscope_config import Config, read_config
from doctor.linting.hopscope_gateway import SETTINGS
from doctor.linting.hopscope_refusals import REFUSALS
from doctor.linting.hopscope_routes import TAKERS, Taker
from doctor.linting.hopscope_ways import WAYS, Found, find_all, hosts_of, judge_ways, paths_of
from doctor.linting.nodes import Unreadable
from doctor.linting.ways import Ways, judge_hosts

RULES: tuple[LintRule, ...] = tuple(
    sorted((*WAYS.rules, *REFUSALS.rules, *TAKERS.rules, *SETTINGS.rules), key=lambda rule: rule.id)
)


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        config = read_config(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    findings = (*REFUSALS.judge([config]), *SETTINGS.judge([config]))
    remarks = tuple(_remarks(config))
    if not config.is_routing:
        return LintReport(findings, remarks=(*_without_upstream(config), *remarks))
    asked = paths_of(config, paths)
    found = {host: find_all(config, host, asked) for host in hosts_of(config, paths)}

    def check(ways: Ways) -> Iterator[LintFinding]:
        yield from judge_ways(config, found[ways.host], ways)
        yield from TAKERS.judge(_takers(config, ways.host, found[ways.host]))

    hosts = [Ways(host, *(each.way for each in many)) for host, many in found.items()]
    verdict = judge_hosts(hosts, check)
    if not all(path.upstream for path in verdict.paths):
        remarks = (*_without_upstream(config), *remarks)
    return LintReport(
        (*findings, *verdict.findings), verdict.paths, remarks=(*remarks, *verdict.remarks)
    )


def _takers(config: Config, host: str, found: tuple[Found, ...]) -> Iterator[Taker]:
    """The stream's route first: what holds for both is told of it."""
    for each in sorted(found, key=lambda each: each is not found[1]):
        if each.placed is not None:
            yield Taker(config, each.placed, each is found[1], host)


def _without_upstream(config: Config) -> Iterator[str]:
    if not config.root["upstream"]:
        yield (
            "The file names no upstream: --upstream, HOPSCOPE_UPSTREAM or `hopscope up` says where "
            "that goes which no [[route]] takes."
        )


def _remarks(config: Config) -> Iterator[str]:
    if config.gateway is not None and config.root["route"]:
        yield "`hopscope up` passes everything to its gateway; routes are for `hopscope proxy`."
    if config.settings is not None and not config.settings.admin.is_loopback:
        yield (
            f"admin is {config.settings.admin}: the sidecar starts only with HOPSCOPE_ADMIN_TOKEN "
            "in its environment."
        )
