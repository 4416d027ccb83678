"""Tailscale Serve and Funnel: which mount takes what, and whether that can work (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.linting.family import Family, Saw
from doctor.linting.findings import LintFinding, LintReport, LintRule, Paths
from doctor.linting.nodes import Node, Unreadable
from doctor.linting.tailscale_config import Server, mount_of, read_parts, target_of
from doctor.linting.tailscale_parts import PARTS
from doctor.linting.urls import Url, read_url, scheme_doubt
from doctor.linting.way_rules import WayRules
from doctor.linting.ways import Way, Ways, judge_hosts

_SCHEMES = ("http", "https", "https+insecure")


@dataclass(frozen=True, slots=True)
class Target:
    """A Proxy that takes some of our paths."""

    server: Server
    node: Node
    proxy: str

    @property
    def shown(self) -> str:
        return target_of(self.proxy)[0]

    @property
    def url(self) -> Url | None:
        return None if self.proxy.startswith("unix:") else read_url(self.shown)


WAYS = WayRules(
    "TS",
    "tailscaled",
    serve="Mount everything, and let the gateway tell its paths apart: tailscale funnel --bg 8080. "
    "Or mount each path, and repeat it in the target: tailscale funnel --bg "
    "--set-path /voice/stream http://127.0.0.1:8080/voice/stream",
    keep="tailscaled takes the mount away from the path. Repeat it in the target: tailscale funnel "
    "--bg --set-path /voice/stream http://127.0.0.1:8080/voice/stream, or mount only /: "
    "tailscale funnel --bg 8080",
)
SERVERS = Family[Server]()
TARGETS = Family[Target]()


@SERVERS.rule("TS10")
def funnel_off(server: Server) -> Iterator[Saw]:
    """What serves the webhook is open to the tailnet alone.

    Why:
        Without AllowFunnel nobody outside the tailnet reaches it, Twilio neither. From a machine of
        the tailnet it works, so a test there shows nothing. `tailscale serve` on a port that had
        Funnel turns Funnel off.
    Fix:
        tailscale funnel --bg 8080, unless a public ingress stands in front, inside the tailnet.
    """
    if not server.is_funnel:
        yield server.saw(server.node, f"AllowFunnel lacks {server.key}")


@TARGETS.rule("TS15")
def target_refused(target: Target) -> Iterator[Saw]:
    """A target with a scheme that tailscaled does not dial.

    Why:
        Targets are http, https, https+insecure and unix. An upgrade travels over http.
    Fix:
        Write http:// for ws:// and https:// for wss://
    """
    url = target.url
    if not target.proxy.startswith("unix:") and (url is None or url.scheme not in _SCHEMES):
        yield target.server.saw(target.node, f"Proxy: {target.shown}")


@TARGETS.rule("TS16")
def certificate_unverifiable(target: Target) -> Iterator[Saw]:
    """TLS to an address whose certificate cannot be verified.

    Why:
        No public certificate names localhost or an IP address: tailscaled answers 502 with an empty
        body (x509 in its log).
    Fix:
        Write http:// where the gateway speaks plain HTTP, else https+insecure://
    """
    url = target.url
    if url and url.scheme == "https" and (url.is_loopback or url.is_address):
        yield target.server.saw(target.node, f"Proxy: {url.text}")


@TARGETS.rule("TS17", level="warning")
def scheme_and_port(target: Target) -> Iterator[Saw]:
    """The scheme of a target and its port hardly belong together.

    Why:
        TLS to a plain port, or HTTP to a TLS port, is a 502 for every request.
    Fix:
        Write the scheme that the gateway speaks; voice gateways mostly speak plain HTTP.
    """
    url = target.url
    if url is None or url.scheme not in ("http", "https+insecure"):
        return
    if doubt := scheme_doubt(url.scheme != "http", url.host, url.port):
        yield target.server.saw(target.node, f"Proxy: {url.text}: {doubt}")


@SERVERS.rule("TS18", level="warning")
def tls_unterminated(server: Server) -> Iterator[Saw]:
    """TLS is passed on to a port that hardly speaks it.

    Why:
        With --tcp tailscaled copies bytes, TLS included. A plain gateway answers the ClientHello
        with 400, and Twilio reports 31910.
    Fix:
        tailscale funnel --bg --tls-terminated-tcp=443 tcp://127.0.0.1:8080
    """
    forward = server.node["TCPForward"]
    is_tls = forward.text.rpartition(":")[2] in ("443", "8443")
    if forward.text and not is_tls and not server.node["TerminateTLS"].text:
        yield server.saw(forward, f"TCPForward: {forward.text} without TerminateTLS")


@SERVERS.rule("TS19", level="warning")
def proxy_protocol(server: Server) -> Iterator[Saw]:
    """The gateway gets a PROXY header in front of the first request.

    Why:
        A gateway that does not expect it answers 400 to everything.
    Fix:
        Remove --proxy-protocol, or turn it on in the gateway, too (hopscope.toml: proxy_protocol =
        true)
    """
    version = server.node["ProxyProtocol"]
    if version.number:
        yield server.saw(version, f"ProxyProtocol: {version.text}")


@TARGETS.rule("TS22", level="warning")
def host_rewritten(target: Target) -> Iterator[Saw]:
    """To a unix socket tailscaled sends Host: localhost.

    Why:
        Twilio signs the public URL. A gateway that rebuilds it from Host computes another signature
        and refuses; only X-Forwarded-Host still has the name.
    Fix:
        Listen on a loopback port, or tell the gateway its public URL.
    """
    if target.proxy.startswith("unix:"):
        yield target.server.saw(target.node, f"Proxy: {target.proxy}")


RULES: tuple[LintRule, ...] = tuple(
    sorted((*WAYS.rules, *PARTS.rules, *SERVERS.rules, *TARGETS.rules), key=lambda rule: rule.id)
)


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        parts = read_parts(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    servers = {server.key: server for part in parts for server in part.servers()}
    if paths.host:
        servers = {
            key: server
            for key, server in servers.items()
            if server.name in ("", paths.host.lower())
        }
    hosts = [server.ways(paths) for server in servers.values()]
    # A tailnet-only twin of a server with Funnel is for somebody else.
    public = [ways for ways in hosts if ways.webhook.is_served and servers[ways.host].is_funnel]
    if not hosts:
        nothing = (
            Way(path, line=1, answer="nothing is served")
            for path in (paths.webhook, paths.stream, paths.status)
        )
        hosts = [Ways("", *nothing)]

    def check(ways: Ways) -> Iterator[LintFinding]:
        yield from WAYS.judge(ways, file)
        server = servers.get(ways.host)
        if server and ways.webhook.is_served:
            yield from SERVERS.judge([server])
        if server:
            yield from TARGETS.judge(_targets(server, ways))

    verdict = judge_hosts(public or hosts, check)
    findings = (*PARTS.judge(parts), *verdict.findings)
    return LintReport(findings, verdict.paths, remarks=verdict.remarks)


def _targets(server: Server, ways: Ways) -> Iterator[Target]:
    taking = {mount_of(server.mounts, way.path) for way in ways if way.is_served}
    for mount, handler in server.mounts.items():
        proxy = handler["Proxy"]
        if mount in taking and proxy.text:
            yield Target(server, proxy, proxy.text)
