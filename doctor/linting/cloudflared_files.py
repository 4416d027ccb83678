"""Rules of a whole config.yml: what cloudflared refuses, ignores, or can never reach."""

import re
from collections.abc import Iterator

from doctor.linting.cloudflared_config import Config
from doctor.linting.family import Family, Saw
from doctor.linting.nodes import Node
from doctor.linting.urls import read_url, seconds, shown_url

FILE = Family[Config]()
_NAMED_SERVICES = ("hello_world", "hello-world", "bastion", "socks-proxy")
# As config/configuration.go spells them.
_RULE_KEYS = frozenset(("hostname", "path", "service", "originRequest"))
_ACCESS_KEYS = frozenset(("required", "teamName", "audTag", "environment"))
_DURATIONS = ("connectTimeout", "tlsTimeout", "tcpKeepAlive", "keepAliveTimeout")
_ORIGIN_KEYS = frozenset(
    """
    access bastionMode caPool connectTimeout disableChunkedEncoding http2Origin httpHostHeader
    ipRules keepAliveConnections keepAliveTimeout matchSNItoHost noHappyEyeballs noTLSVerify
    originServerName proxyAddress proxyPort proxyType tcpKeepAlive tlsTimeout
    """.split()
)


@FILE.rule("CF10")
def catch_all_missing(config: Config) -> Iterator[Saw]:
    """The last ingress rule has a hostname or a path.

    Why:
        cloudflared refuses the whole file: the last rule must match every request.
    Fix:
        End the list with `- service: http_status:421`. No gateway answers 421 itself, as it does
        404, so whoever sees it knows who said it.
    """
    last = config.rules[-1] if config.rules else None
    if last and not last.takes_all:
        what = f"path: {last.path}" if last.path else f"hostname: {last.host}"
        yield config.saw(last.node, f"the last rule has {what}")


@FILE.rule("CF11")
def catch_all_early(config: Config) -> Iterator[Saw]:
    """A rule without hostname and path stands before others.

    Why:
        It takes every request, so cloudflared refuses the whole file.
    Fix:
        Move it to the end of the list.
    """
    for rule in config.rules[:-1]:
        if rule.takes_all:
            text = f"rule {rule.number} of {len(config.rules)} takes every request"
            yield config.saw(rule.node, text)


@FILE.rule("CF12")
def hostname_refused(config: Config) -> Iterator[Saw]:
    """A hostname that cloudflared refuses.

    Why:
        A hostname has no port, and a wildcard only as its first character.
    Fix:
        Write voice.example.com or *.example.com; the public port is always 443.
    """
    for rule in config.rules:
        if re.search(r":\d*$", rule.host) or rule.host.rfind("*") > 0:
            yield config.saw(rule.node["hostname"], f"hostname: {rule.host}")


@FILE.rule("CF13")
def service_refused(config: Config) -> Iterator[Saw]:
    """A service that cloudflared refuses.

    Why:
        A service is SCHEME://HOST[:PORT] without a path, not even a slash: cloudflared passes
        paths on as they came. Or it is unix:/path, or http_status: with a number.
    Fix:
        Write service: http://127.0.0.1:8080
    """
    for rule in config.rules:
        if why := _refusal(rule.service):
            node = rule.node["service"]
            yield config.saw(node, f"service: {shown_url(rule.service) or '(none)'} {why}")


@FILE.rule("CF14")
def path_refused(config: Config) -> Iterator[Saw]:
    """A path that is no regular expression of Go's.

    Why:
        cloudflared refuses the whole file. A path is a regular expression, not a glob: * repeats
        what stands before it, and lookaround does not exist.
    Fix:
        Write path: ^/voice/
    """
    for rule in config.rules:
        if rule.refused:
            yield config.saw(rule.node["path"], f"path: {rule.path} ({rule.refused})")


@FILE.rule("CF17", level="warning")
def rule_shadowed(config: Config) -> Iterator[Saw]:
    """A rule that no request can reach.

    Why:
        The first rule that matches is taken, and an earlier one takes all that this would.
    Fix:
        Move the narrower rule up, or remove it.
    """
    for rule in config.rules:
        for earlier in config.rules[: rule.number - 1]:
            covers = earlier.takes_host(rule.host) or earlier.host == rule.host
            is_read = not (earlier.refused or earlier.unknown or earlier.takes_all)
            if is_read and covers and earlier.path in ("", rule.path):
                text = f"rule {rule.number} ({rule.host}) stands behind rule {earlier.number}"
                yield config.saw(rule.node, text)
                break


@FILE.rule("CF18", level="warning")
def hostname_never_matches(config: Config) -> Iterator[Saw]:
    """A hostname that begins with * and no dot behind it.

    Why:
        Only a leading *. is a wildcard. Any other star is compared as a letter, so the rule never
        matches, and cloudflared says nothing.
    Fix:
        Write *.example.com, or each name in full.
    """
    for rule in config.rules:
        if re.match(r"\*[^.]", rule.host) and rule.host.rfind("*") == 0:
            yield config.saw(rule.node["hostname"], f"hostname: {rule.host}")


@FILE.rule("CF24", level="warning")
def key_unknown(config: Config) -> Iterator[Saw]:
    """A key that cloudflared does not know, and ignores.

    Why:
        Keys are case-sensitive. cloudflared's own validation prints a warning and succeeds.
    Fix:
        Spell it as the documentation does.
    """
    if config.is_pushed:
        return
    origins = [config.root["originRequest"]]
    for rule in config.rules:
        yield from _unknown(config, rule.node, _RULE_KEYS, "an ingress rule")
        origins.append(rule.node["originRequest"])
    for origin in origins:
        yield from _unknown(config, origin, _ORIGIN_KEYS, "originRequest")
        yield from _unknown(config, origin["access"], _ACCESS_KEYS, "access")


@FILE.rule("CF25")
def duration_without_unit(config: Config) -> Iterator[Saw]:
    """A duration without its unit.

    Why:
        cloudflared cannot read the whole file then.
    Fix:
        Write connectTimeout: 30s
    """
    if config.is_pushed:
        return
    for origin in (config.root["originRequest"], *(r.node["originRequest"] for r in config.rules)):
        for name in _DURATIONS:
            duration = origin[name]
            is_one = isinstance(duration.scalar, str) and seconds(duration.text) is not None
            if not duration.is_empty and not is_one:
                yield config.saw(duration, f"{name}: {duration.text}")


@FILE.rule("CF27", level="warning")
def transport_pinned(config: Config) -> Iterator[Saw]:
    """protocol: quic leaves no way out where UDP is blocked.

    Why:
        Pinned, cloudflared never falls back to http2. Each transport has lost upgrades in some
        version, so neither is right for ever.
    Fix:
        Leave protocol out. If upgrades arrive without Upgrade, probe with the other one.
    """
    if config.root["protocol"].text == "quic":
        yield config.saw(config.root["protocol"], "protocol: quic")


@FILE.rule("CF28", level="warning")
def ingress_missing(config: Config) -> Iterator[Saw]:
    """The file has no ingress rules.

    Why:
        Unless rules come from the command line (--url) or from Cloudflare's dashboard, cloudflared
        answers 503 to everything.
    Fix:
        Write ingress: with - service: http://127.0.0.1:8080 as its only rule.
    """
    others = ("url", "unix-socket", "hello-world", "bastion")
    if not config.rules and not any(config.root[name] for name in others):
        yield config.saw(config.root, "there is no key ingress")


@FILE.rule("CF29")
def url_beside_ingress(config: Config) -> Iterator[Saw]:
    """url and ingress are both there.

    Why:
        cloudflared refuses one beside the other.
    Fix:
        Make url the service of a rule.
    """
    url = config.root["url"]
    if config.rules and not url.is_empty:
        yield config.saw(url, f"url is there, and ingress has {len(config.rules)} rules")


def _refusal(service: str) -> str:
    """Why cloudflared refuses a service; "" if it does not."""
    if service.startswith("http_status:"):
        status = service.removeprefix("http_status:")
        is_status = re.fullmatch(r"[+-]?[0-9]{1,9}", status) and 100 <= int(status) <= 999
        return "" if is_status else "is no HTTP status"
    if service.startswith(("unix:", "unix+tls:")) or service in _NAMED_SERVICES:
        return ""
    url = read_url(service)
    if url is None:
        return "has no scheme and host"
    return "has a path" if url.path else ""


def _unknown(config: Config, node: Node, known: frozenset[str], where: str) -> Iterator[Saw]:
    by_letters = {name.lower(): name for name in known}
    for name, value in node.items():
        if name not in known:
            meant = by_letters.get(name.lower().replace("_", "").replace("-", ""))
            hint = f"; did you mean {meant}?" if meant else ""
            yield config.saw(value, f"{name} is no key of {where}{hint}")
