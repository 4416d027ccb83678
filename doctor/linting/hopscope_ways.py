"""Which route of hopscope.toml takes a path, and what arrives at the gateway (pure).

What Twilio asks for need not be what arrives: an ingress may have cut a prefix. A path is in order
if what is left of it, by whole segments, reaches the gateway under its name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from doctor.linting.findings import Level, LintFinding, Paths
from doctor.linting.hopscope_config import Config, Placed
from doctor.linting.way_rules import WayRules
from doctor.linting.ways import Way, Ways

SEGMENTS_MAX = 20  # of a path that an ingress may have cut
ROLES = ("webhook", "stream", "status")
WAYS = WayRules(
    "HO",
    "The sidecar",
    serve='Let one upstream take all that no [[route]] does: upstream = "http://127.0.0.1:3334". '
    'Or give a route the prefix that the paths share: prefix = "/voice"',
    keep="Remove strip_prefix, add_prefix and rewrite from the route, unless they give back what "
    "an ingress took away.",
)


def paths_of(config: Config, paths: Paths) -> Paths:
    """As they were given, else as the file's gateway has them."""
    if config.gateway is None:
        return paths
    default, ours = Paths(), config.gateway.paths
    given = {
        role: getattr(ours, role)
        for role in ROLES
        if getattr(paths, role) == getattr(default, role)
    }
    return replace(paths, **given)


def hosts_of(config: Config, paths: Paths) -> list[str]:
    """The public name where a route takes it, else every name that a route has; "" is any other."""
    routes = [placed.route for placed in config.routes]
    public = config.gateway.public.host if config.gateway and config.public_url else ""
    if paths.host:
        return [paths.host.lower()]
    if public and any(
        replace(each, path=None, prefix=None).matches(public, "/") for each in routes
    ):
        return [public]
    return list(dict.fromkeys((route.host or "").lower() for route in routes))


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path goes, by which route, and whether the gateway there can know it."""

    way: Way
    placed: Placed | None = None
    is_known: bool = True


def find_all(config: Config, host: str, paths: Paths) -> tuple[Found, ...]:
    """Of webhook, stream and status."""
    return tuple(find(config, host, role, getattr(paths, role)) for role in ROLES)


def find(config: Config, host: str, role: str, path: str) -> Found:
    asked = config.prefix + path
    found = None
    for left in left_of(asked):
        placed = taker_of(config, host, left)
        if placed is None:
            continue
        target = placed.route.rewritten(left)
        if target in known_as(config, placed, role, path):
            return Found(_way(config, asked, left, placed), placed)
        # What is cut and passed on as it is, a gateway that is not ours may know so.
        is_known = target == left and not config.leads_to_gateway(placed.route)
        if found is None and left != "/":
            found = Found(_way(config, asked, left, placed), placed, is_known)
    line = config.routes[0].node.line
    return found or Found(Way(asked, line=line, answer="404 by the sidecar"))


def _way(config: Config, asked: str, left: str, placed: Placed) -> Way:
    route, line = placed.route, placed.node.line
    place = f"{placed.name} ({config.file.name}:{line})"
    if left != asked:
        place += f", if {left} is what an ingress leaves of it,"
    is_named = route.path is not None or (route.prefix or "/") != "/"
    target = route.rewritten(left)
    return Way(asked, place, line, str(route.upstream), target, is_named=is_named)


def left_of(path: str) -> Iterator[str]:
    """A path, and what is left when an ingress cuts its first segments, to the last one."""
    segments = path.split("/")[1:][-SEGMENTS_MAX:]
    yield path
    for cut in range(1, len(segments)):
        yield "/" + "/".join(segments[cut:])
    yield "/"


def taker_of(config: Config, host: str, path: str) -> Placed | None:
    asked = f"any{host[1:]}" if host.startswith("*.") else host
    return next((each for each in config.routes if each.route.matches(asked, path)), None)


def known_as(config: Config, placed: Placed, role: str, path: str) -> set[str]:
    """The names under which a gateway knows a path; one that we cannot ask, as Twilio says it."""
    if config.gateway is not None and config.leads_to_gateway(placed.route):
        path = getattr(config.gateway.paths, role)
    return {path, config.prefix + path}


def judge_ways(config: Config, found: Sequence[Found], ways: Ways) -> Iterator[LintFinding]:
    """A route is written by hand, so a path that it changes was meant to be changed. Whether the
    gateway knows the new one can be told of the gateway of the same file alone."""
    if not ways.webhook.is_served and ways.stream.is_served:
        return  # the sidecar of streams: their webhook goes another way
    plain = (replace(way, target=way.path) for way in ways)
    yield from WAYS.judge(Ways(ways.host, *plain), config.file)
    yield from _rewritten(config, found, ways)


def _rewritten(config: Config, found: Sequence[Found], ways: Ways) -> Iterator[LintFinding]:
    """One finding a route and rule, whichever of the paths it is about."""
    pages = {rule.slug: rule for rule in WAYS.rules}
    told: dict[tuple[str, Level, int], list[str]] = {}
    for role, each in zip(ROLES, found, strict=True):
        if each.is_known or each.placed is None:
            continue
        slug, saw = "paths-rewritten", each.way.told()
        level = pages[slug].level
        if config.gateway is not None and config.leads_to_gateway(each.placed.route):
            slug = "stream-rewritten" if role == "stream" else slug
            level = "error"
            saw += f", and gateway.paths.{role} is {getattr(config.gateway.paths, role)}"
        told.setdefault((slug, level, each.way.line), []).append(saw)
    for (slug, level, line), sentences in told.items():
        saw, page = f"{'; '.join(sentences)}{ways.at}", pages[slug]
        yield LintFinding(page.id, page.slug, level, config.file, line, saw, page.fix)
