"""cloudflared's config.yml: which ingress rule takes what, and whether that can work (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.linting.cloudflared_config import Config, Rule, read_config
from doctor.linting.cloudflared_files import FILE
from doctor.linting.family import Family, Saw
from doctor.linting.findings import LintFinding, LintReport, LintRule, Paths
from doctor.linting.nodes import Unreadable
from doctor.linting.urls import Url, read_url, scheme_doubt
from doctor.linting.way_rules import WayRules
from doctor.linting.ways import Ways, judge_hosts

_HTTP = ("http", "https", "ws", "wss")
_TLS = ("https", "wss")
_TRUST = ("originServerName", "caPool", "noTLSVerify", "matchSNItoHost")


@dataclass(frozen=True, slots=True)
class Taker:
    """A rule that takes some of our paths on the host that is ours."""

    config: Config
    rule: Rule
    paths: tuple[str, ...]

    @property
    def url(self) -> Url | None:
        return read_url(self.rule.service)

    def saw(self, name: str, text: str) -> Saw:
        """At a key of the rule."""
        return self.config.saw(self.rule.node[name], text)


WAYS = WayRules(
    "CF",
    "cloudflared",
    serve="One rule without a path is enough, and it stands before the catch-all: "
    "- hostname: voice.example.com, service: http://127.0.0.1:8080. "
    "With a path, write a regular expression that takes all of them: ^/voice/",
)
TAKERS = Family[Taker]()


@TAKERS.rule("CF15")
def service_not_http(taker: Taker) -> Iterator[Saw]:
    """A service that cloudflared treats as raw TCP, wrapped in a WebSocket of its own.

    Why:
        For every scheme but http, https, ws and wss (a typing error, too) cloudflared answers 101
        itself and sends the payload of the frames to the gateway, without HTTP. The call connects
        and stays silent.
    Fix:
        Write service: http://127.0.0.1:8080
    """
    if taker.url and taker.url.scheme not in _HTTP:
        yield taker.saw("service", f"service: {taker.url.text}")


@TAKERS.rule("CF16", level="warning")
def path_is_a_regex(taker: Taker) -> Iterator[Saw]:
    """A path is written like a glob, or takes paths that it does not begin.

    Why:
        A path is an unanchored regular expression: /ws/* matches /ws and /foo/wsx as well.
    Fix:
        Anchor it: path: ^/voice/ for all below, path: ^/voice/stream$ for one.
    """
    rule = taker.rule
    if rule.pattern is None:
        return
    middle = next((path for path in taker.paths if not rule.pattern.match(path)), None)
    if "/*" in rule.path:
        yield taker.saw("path", f"path: {rule.path}")
    elif middle:
        yield taker.saw("path", f"path: {rule.path} takes {middle} by its middle")


@TAKERS.rule("CF19")
def certificate_unverifiable(taker: Taker) -> Iterator[Saw]:
    """TLS to an address whose certificate cannot be verified.

    Why:
        No public certificate names localhost or an IP address. cloudflared answers 502 (x509).
    Fix:
        Beside cloudflared plain HTTP is enough: service: http://127.0.0.1:8080. Else set
        originRequest.originServerName and caPool, or noTLSVerify: true
    """
    url = taker.url
    if url is None or url.scheme not in _TLS or not (url.is_loopback or url.is_address):
        return
    options = [taker.config.option(taker.rule, name).text for name in _TRUST]
    if all(option in ("", "false") for option in options):
        yield taker.saw("service", f"service: {url.text} without any of {', '.join(_TRUST)}")


@TAKERS.rule("CF20", level="warning")
def scheme_and_port(taker: Taker) -> Iterator[Saw]:
    """The scheme of a service and its port hardly belong together.

    Why:
        TLS to a plain port, or HTTP to a TLS port, is a 502 for every request.
    Fix:
        Write the scheme that the gateway speaks; voice gateways mostly speak plain HTTP.
    """
    url = taker.url
    if url is None or url.scheme not in _HTTP:
        return
    if doubt := scheme_doubt(url.scheme in _TLS, url.host, url.port):
        yield taker.saw("service", f"service: {url.text}: {doubt}")


@TAKERS.rule("CF21")
def access_required(taker: Taker) -> Iterator[Saw]:
    """Cloudflare Access guards a path that Twilio asks for.

    Why:
        Without Cf-Access-Jwt-Assertion cloudflared answers 403 with an empty body. Twilio has no
        such token; it signs its requests instead.
    Fix:
        Give the voice paths a rule of their own, above, without originRequest.access
    """
    # Of the file's originRequest cloudflared checks nobody's access, only of a rule's own.
    required = taker.rule.node.at("originRequest", "access", "required")
    if required.is_true:
        text = f"access.required: true, and the rule takes {taker.paths[0]}"
        yield taker.config.saw(required, text)


@TAKERS.rule("CF22")
def bastion_mode(taker: Taker) -> Iterator[Saw]:
    """bastionMode makes the rule a jump host.

    Why:
        It overrides the service: cloudflared dials what a header of the request names.
    Fix:
        Remove bastionMode.
    """
    bastion = taker.config.option(taker.rule, "bastionMode")
    if bastion.is_true:
        yield taker.config.saw(bastion, "bastionMode: true")


@TAKERS.rule("CF23", level="warning")
def host_rewritten(taker: Taker) -> Iterator[Saw]:
    """httpHostHeader replaces the public name.

    Why:
        Twilio signs the public URL. A gateway that rebuilds it from Host computes another
        signature and refuses; only X-Forwarded-Host still has the name.
    Fix:
        Remove httpHostHeader, or tell the gateway its public URL.
    """
    header = taker.config.option(taker.rule, "httpHostHeader")
    if header.text:
        yield taker.config.saw(header, f"httpHostHeader: {header.text}")


@TAKERS.rule("CF26", level="warning")
def unix_socket_loses_upgrades(taker: Taker) -> Iterator[Saw]:
    """The stream goes to a unix socket.

    Why:
        Over the transport http2, also after a fallback from quic, cloudflared answers every
        WebSocket 502 (no Host in request URL), while plain requests pass (cloudflared #1208).
    Fix:
        Listen on a loopback port: service: http://127.0.0.1:8080
    """
    if not taker.rule.service.startswith(("unix:", "unix+tls:")):
        return
    is_pinned = taker.config.root["protocol"].text == "http2"
    text = f"service: {taker.rule.service}{' and protocol: http2' if is_pinned else ''}"
    node = taker.rule.node["service"]
    yield Saw(text, taker.config.file, node.line, level="error" if is_pinned else None)


RULES: tuple[LintRule, ...] = tuple(
    sorted((*WAYS.rules, *FILE.rules, *TAKERS.rules), key=lambda rule: rule.id)
)


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    try:
        config = read_config(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    findings = list(FILE.judge([config]))
    remarks = [
        f"path: {rule.path} is not modelled ({rule.unknown})"
        for rule in config.rules
        if rule.unknown
    ]
    if config.root["tunnel"].is_empty and not config.is_pushed:
        remarks.append("The file names no tunnel: `cloudflared tunnel run` needs its name then.")
    if not config.rules and not config.root["url"].text:
        return LintReport(tuple(findings), remarks=tuple(remarks))

    def check(ways: Ways) -> Iterator[LintFinding]:
        yield from WAYS.judge(ways, file)
        yield from TAKERS.judge(_takers(config, ways))

    verdict = judge_hosts(config.hosts(paths), check)
    return LintReport(
        (*findings, *verdict.findings), verdict.paths, remarks=(*remarks, *verdict.remarks)
    )


def _takers(config: Config, ways: Ways) -> Iterator[Taker]:
    for rule in config.rules:
        ours = tuple(way.path for way in ways if way.place == config.place(rule))
        if ours:
            yield Taker(config, rule, ours)
