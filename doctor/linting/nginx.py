"""nginx: a file, its includes, or the output of `nginx -T`; what takes the voice paths, and how.

Not modelled: what Lua, njs and perl decide, the order of satisfy, stream{} (it passes bytes on),
and conditions on what only a running nginx knows (addresses, geo, files): those are not taken.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

# The modules with the rules: importing them fills NGINX, in the order of the ids.
from doctor.linting import nginx_handshake, nginx_policy, nginx_routing
from doctor.linting.findings import Becomes, LintReport, Paths
from doctor.linting.nginx_case import NGINX, Case
from doctor.linting.nginx_parser import Config, parse
from doctor.linting.nginx_passage import Passage, follow
from doctor.linting.nginx_servers import Server, names_host, servers, share_address, taking
from doctor.linting.nodes import Unreadable
from doctor.linting.ways import requests_of

__all__ = ["RULES", "lint", "nginx_handshake", "nginx_policy", "nginx_routing"]
RULES = tuple(sorted(NGINX.rules, key=lambda rule: rule.id))


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        config = parse(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    cases = tuple(_cases(config, paths))
    # Of what several paths have in common, the stream's finding is the one that is told.
    findings = tuple(NGINX.judge(sorted(cases, key=lambda case: case.role != "stream")))
    return LintReport(findings, _becomes(cases), remarks=tuple(_remarks(config, cases)))


def _cases(config: Config, paths: Paths) -> Iterator[Case]:
    """What is to be judged: for each path the servers that are meant to take it."""
    found = servers(config)
    if not found:
        return
    requests = [each for each in requests_of(paths, paths.host) if each.path]
    passages = [tuple(follow(server, request) for request in requests) for server in found]
    asked = taking(found, paths.host) if paths.host else found
    voice = _voice_servers(passages)
    rows: list[list[Case]] = []
    for of_path in zip(*passages, strict=True):
        reachable = [each for each in of_path if each.server in asked]
        cases = [
            Case(each, passages[found.index(each.server)], paths, _elsewhere(each, of_path))
            for each in _chosen(reachable, voice)
        ]
        rows.append(cases)
    stream = next((row for row in rows if row and row[0].role == "stream"), [])
    meant_servers = [case.passage.server for case in _without_other_sites(stream)]
    for row in rows:
        yield from [case for case in row if case.passage.server in meant_servers] or row


def _elsewhere(passage: Passage, of_path: Sequence[Passage]) -> Server | None:
    """Where the path would be passed on, had the host not fallen to a default server."""
    host = passage.request.host
    if passage.is_proxied or not host or names_host(passage.server, host):
        return None
    for other in of_path:
        if other.is_proxied and share_address(other.server, passage.server):
            return other.server
    return None


def _without_other_sites(cases: Sequence[Case]) -> Sequence[Case]:
    """Where nothing but location / takes a path, in several servers, the flawless one is meant."""
    if len(cases) < 2 or any(case.passage.is_specific for case in cases):
        return cases
    flawless = [
        case for case in cases if not any(found.level == "error" for found in NGINX.judge([case]))
    ]
    return flawless or cases


def _voice_servers(passages: Sequence[Sequence[Passage]]) -> list[Server]:
    """Servers with a location that names one of the paths; all, where none does."""
    named = [
        row[0].server
        for row in passages
        if any(each.is_specific and each.is_proxied for each in row)
    ]
    return named or [row[0].server for row in passages]


def _chosen(passages: Sequence[Passage], voice: Sequence[Server]) -> list[Passage]:
    """Which passages of one path are judged: a file often serves other names, too."""
    meant = [each for each in passages if each.server in voice] or list(passages)
    proxied = [each for each in meant if each.is_proxied]
    if not proxied:
        handled = [each for each in meant if each.ending in ("handled", "unknown")]
        return (handled or _default(meant))[:1]
    specific = [each for each in proxied if each.is_specific] or proxied
    with_tls = [each for each in specific if each.server.has_tls]
    if with_tls:
        names = {name for each in with_tls for name in each.server.names}
        specific = [each for each in specific if each in with_tls or not _shares(each, names)]
    return specific


def _default(passages: Sequence[Passage]) -> list[Passage]:
    """Of those that pass nothing on: one that is not a mere redirect to https, else the first."""
    return [each for each in passages if each.ending != "redirected"] or list(passages)


def _shares(passage: Passage, names: set[str]) -> bool:
    return bool(names & set(passage.server.names)) or not passage.server.names


def _becomes(cases: Sequence[Case]) -> tuple[Becomes, ...]:
    rows = []
    for case in cases:
        passage = case.passage
        is_taken = passage.chain or passage.by is not None
        place = passage.place if is_taken else ""
        rows.append(Becomes(case.path, place, passage.upstream, case.target))
    return tuple(dict.fromkeys(rows))


def _remarks(config: Config, cases: Sequence[Case]) -> Iterator[str]:
    for include in config.missing:
        yield (
            f"{include.place}: no such file here, so what it sets is not known; "
            "lint the output of `nginx -T` on the machine itself"
        )
    if not cases:
        yield "there is no server{} of HTTP in it, and no location"
    unread = {each.directive for case in cases for each in case.passage.unread}
    for directive in unread:
        yield f"{directive.place}: the expression cannot be read here, and was taken not to match"
    scripts = {case.passage.at for case in cases if case.passage.ending == "unknown"}
    for directive in scripts:
        yield f"{directive.place}: what it does with a request is not known"
