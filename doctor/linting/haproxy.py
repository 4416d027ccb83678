"""haproxy.cfg: which backend the voice paths go to, and what the rules make of them on the way.

As HAProxy 2.6 reads it. Not modelled: Lua, SPOE and filters, stick tables (a refusal that depends
on them is not taken), which server of a backend is up, and the conditions of .if.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

# The modules with the rules: importing them fills HAPROXY.
from doctor.linting import haproxy_headers, haproxy_limits, haproxy_routing
from doctor.linting.findings import Becomes, LintReport, Paths
from doctor.linting.haproxy_case import HAPROXY, Case
from doctor.linting.haproxy_parser import Config, parse
from doctor.linting.haproxy_passage import Passage, follow
from doctor.linting.nodes import Unreadable
from doctor.linting.ways import requests_of

__all__ = ["RULES", "haproxy_headers", "haproxy_limits", "haproxy_routing", "lint"]
RULES = tuple(sorted(HAPROXY.rules, key=lambda rule: rule.id))
# A name that no rule of a file has; it is asked for beside those that rules name.
_ANY_OTHER = "any-other-name.invalid"
_HOSTS_MAX = 50
_HOST = re.compile(r"\.?[\w-]+(\.[\w-]+)+")


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        config = parse(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    cases = tuple(_cases(config, paths))
    # Of what several paths have in common, the stream's finding is the one that is told.
    findings = HAPROXY.judge(sorted(cases, key=lambda case: case.role != "stream"))
    remarks = () if cases else ("there is no frontend in it, and no listen",)
    return LintReport(tuple(findings), _becomes(cases), remarks=remarks)


def _cases(config: Config, paths: Paths) -> Iterator[Case]:
    """What is to be judged: of the frontends and the names, those that the calls are meant for."""
    rows = [
        tuple(
            follow(frontend, request, config)
            for request in requests_of(paths, host)
            if request.path
        )
        for frontend in config.proxies
        if frontend.is_frontend
        for host in ([paths.host] if paths.host else _hosts(config))
    ]
    chosen = _chosen(rows)
    for row in chosen:
        for passage in row:
            yield Case(passage, row, paths)


def _chosen(rows: Sequence[tuple[Passage, ...]]) -> list[tuple[Passage, ...]]:
    """The way of asking that is judged: one that serves the stream, rather than a redirect."""

    def rank(row: tuple[Passage, ...]) -> tuple[int, ...]:
        served = sum(each.is_proxied for each in row)
        stream = next((each for each in row if each.request.role == "stream"), row[0])
        return (
            sum(each.is_proxied and each.is_specific for each in row),
            served,
            stream.state.has_tls,
            stream.ending != "redirected",
        )

    if not rows or not rows[0]:
        return []
    best = max(map(rank, rows))
    equal = [row for row in rows if rank(row) == best]
    flawless = [row for row in equal if not _has_error(row)]
    return [(flawless or equal)[0]]


def _has_error(row: tuple[Passage, ...]) -> bool:
    cases = [Case(passage, row, Paths()) for passage in row]
    return any(finding.level == "error" for finding in HAPROXY.judge(cases))


def _hosts(config: Config) -> list[str]:
    """The names that rules ask for, and one that none does."""
    found: dict[str, None] = {}
    for proxy in config.proxies:
        for line in proxy.lines:
            if re.search(r"\(host\)|sni", " ".join(line.words)):
                names = [word for word in line.words if _HOST.fullmatch(word)]
                found |= dict.fromkeys(f"voice{n}" if n.startswith(".") else n for n in names)
    return [*list(found)[:_HOSTS_MAX], _ANY_OTHER]


def _becomes(cases: Sequence[Case]) -> tuple[Becomes, ...]:
    rows = []
    for case in cases:
        place = "" if case.passage.ending == "unrouted" else case.passage.place
        target = case.target if case.passage.is_proxied else ""
        rows.append(Becomes(case.path, place, case.passage.upstream, target))
    return tuple(dict.fromkeys(rows))
