"""Apache httpd 2.4: which ProxyPass takes the voice paths, and what else applies to them.

Not modelled: rewriting in <Directory>, <Location> and .htaccess, mod_security, mod_macro, WSGI and
other handlers, SSLRequire, and conditions on what only a running Apache knows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

# The modules with the rules: importing them fills APACHE.
from doctor.linting import apache_routing, apache_upgrade
from doctor.linting.apache_case import APACHE, Case
from doctor.linting.apache_hosts import Host, hosts, names_host, taking
from doctor.linting.apache_parser import Config, parse
from doctor.linting.apache_passage import Passage, follow
from doctor.linting.findings import Becomes, LintReport, Paths
from doctor.linting.nodes import Unreadable
from doctor.linting.ways import requests_of

__all__ = ["RULES", "apache_routing", "apache_upgrade", "lint"]
RULES = tuple(sorted(APACHE.rules, key=lambda rule: rule.id))


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        config = parse(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    cases = tuple(_cases(config, paths))
    # Of what several paths have in common, the stream's finding is the one that is told.
    findings = APACHE.judge(sorted(cases, key=lambda case: case.role != "stream"))
    return LintReport(tuple(findings), _becomes(cases), remarks=tuple(_remarks(config, cases)))


def _cases(config: Config, paths: Paths) -> Iterator[Case]:
    """What is to be judged: the paths in the host that is meant to take them."""
    found = hosts(config)
    rows = [
        tuple(follow(host, request) for request in requests_of(paths, paths.host) if request.path)
        for host in found
    ]
    rows = [row for row in rows if row]
    if not rows:
        return
    asked = taking(found, paths.host) if paths.host else found
    row = _chosen([row for row in rows if row[0].host in asked], config, paths)
    for place, passage in enumerate(row):
        elsewhere = _elsewhere(passage, [other[place] for other in rows])
        yield Case(passage, row, paths, config, elsewhere)


def _chosen(
    rows: Sequence[tuple[Passage, ...]], config: Config, paths: Paths
) -> tuple[Passage, ...]:
    """The host that is judged: one that passes the paths on, rather than a redirect to https."""

    def rank(row: tuple[Passage, ...]) -> tuple[int, ...]:
        return (
            sum(each.is_specific for each in row),
            sum(each.is_proxied for each in row),
            row[0].host.has_tls,
            sum(each.ending != "redirected" for each in row),
        )

    best = max(map(rank, rows))
    equal = [row for row in rows if rank(row) == best]
    flawless = [row for row in equal if not _has_error(row, config, paths)]
    return (flawless or equal)[0]


def _has_error(row: tuple[Passage, ...], config: Config, paths: Paths) -> bool:
    cases = [Case(passage, row, paths, config) for passage in row]
    return any(finding.level == "error" for finding in APACHE.judge(cases))


def _elsewhere(passage: Passage, of_path: Sequence[Passage]) -> Host | None:
    """Where the path would be passed on, had the name not fallen to the first host."""
    name = passage.request.host
    if passage.is_proxied or not name or names_host(passage.host, name):
        return None
    for other in of_path:
        if other.is_proxied and set(other.host.addresses) & set(passage.host.addresses):
            return other.host
    return None


def _becomes(cases: Sequence[Case]) -> tuple[Becomes, ...]:
    rows = []
    for case in cases:
        place = case.passage.by.place if case.passage.by is not None else ""
        target = case.target if case.passage.is_proxied else ""
        rows.append(Becomes(case.path, place, case.passage.upstream, target))
    return tuple(dict.fromkeys(rows))


def _remarks(config: Config, cases: Sequence[Case]) -> Iterator[str]:
    for include in config.missing:
        yield f"{include.place}: no such file here, so what it sets is not known"
    if not cases:
        yield "there is nothing in it that takes a request"
    for case in cases:
        if case.passage.ending == "unknown":
            by = case.passage.by.place if case.passage.by is not None else "a section"
            yield f"{by}: what it does with {case.path} is not known"
