"""Rules of the reverse_proxy that takes one of our paths. What is said was seen with Caddy 2.11."""

from collections.abc import Iterator
from dataclasses import dataclass

from doctor.linting.caddy_routes import Config, Passage, upstream_of
from doctor.linting.family import Family, Saw
from doctor.linting.nodes import Node
from doctor.linting.urls import Url, read_url, scheme_doubt, seconds

# Twilio's forms have some two kilobytes.
_FORM_BYTES = 16384
EDITED = ("upgrade", "connection", "sec-websocket-key", "sec-websocket-version")


@dataclass(frozen=True, slots=True)
class Taker:
    config: Config
    passage: Passage

    @property
    def is_proxied(self) -> bool:
        return self.passage.kind == "reverse_proxy"

    @property
    def is_stream(self) -> bool:
        return self.passage.request.role == "stream"

    @property
    def proxy(self) -> Node:
        return self.passage.handler

    @property
    def url(self) -> Url | None:
        return read_url(upstream_of(self.proxy))

    def saw(self, node: Node, words: list[str], text: str) -> Saw:
        return self.config.saw(node, words, self.passage, text)

    def edits(self) -> Iterator[tuple[str, Node]]:
        """Changes of request headers, and the directive that makes them."""
        for node in self.passage.headers:
            yield "request_header", node["request"]
        yield "header_up", self.proxy.at("headers", "request")


TAKERS = Family[Taker]()


@TAKERS.rule("CA11")
def upgrade_forced(taker: Taker) -> Iterator[Saw]:
    """Every request is made an upgrade, the webhook, too.

    Why:
        The gateway sees a POST that asks for a WebSocket and refuses it, or switches protocols
        under a form. Caddy passes upgrades on by itself.
    Fix:
        Remove header_up Connection and header_up Upgrade.
    """
    if taker.passage.request.role != "webhook":
        return
    for directive, edits in taker.edits():
        for name, values in edits["set"].items():
            value = ", ".join(each.text for each in values)
            if name.lower() == "upgrade" and value.lower() == "websocket":
                yield taker.saw(values, [directive, name], f"{directive} {name} {value}")


@TAKERS.rule("CA12")
def http2_upstream(taker: Taker) -> Iterator[Saw]:
    """The gateway is spoken to in HTTP/2 without TLS.

    Why:
        An upgrade is HTTP/1.1's. Caddy answers 502 (invalid Upgrade request header), and so it
        does for the webhook where the gateway speaks HTTP/1.1 only.
    Fix:
        Remove h2c from the upstream and from transport http { versions }
    """
    versions = taker.proxy.at("transport", "versions")
    if "h2c" in [each.text for each in versions]:
        text = f"versions {' '.join(each.text for each in versions)}"
        yield taker.saw(versions, ["versions", "h2c"], text)


@TAKERS.rule("CA17", level="warning")
def host_rewritten(taker: Taker) -> Iterator[Saw]:
    """The gateway does not get the public name.

    Why:
        Twilio signs the public URL. A gateway that rebuilds it from Host computes another
        signature and refuses; only X-Forwarded-Host still has the name.
    Fix:
        Remove header_up Host, or tell the gateway its public URL.
    """
    for directive, edits in taker.edits():
        for name, values in edits["set"].items():
            value = ", ".join(each.text for each in values)
            is_kept = value in ("{http.request.host}", "{http.request.hostport}", "{host}")
            if name.lower() == "host" and not is_kept and value != taker.passage.request.host:
                yield taker.saw(values, [directive, name], f"{directive} {name} {value}")


@TAKERS.rule("CA18")
def login_required(taker: Taker) -> Iterator[Saw]:
    """A login stands before a path that Twilio asks for.

    Why:
        Twilio opens streams without credentials; it signs its requests instead. It is answered
        401, or with a redirect to a login page.
    Fix:
        Put basic_auth and forward_auth into a handle of their own, beside that of the voice paths.
    """
    for node in taker.passage.logins:
        is_asked = node["handler"].text == "reverse_proxy"
        directive = "forward_auth" if is_asked else "basic_auth"
        text = f"{directive} stands before {taker.passage.request.path}"
        yield taker.saw(node, [directive], text)


@TAKERS.rule("CA19")
def certificate_unverifiable(taker: Taker) -> Iterator[Saw]:
    """TLS to an address whose certificate cannot be verified.

    Why:
        No public certificate names localhost or an IP address. Caddy answers 502 (x509).
    Fix:
        Beside Caddy plain HTTP is enough: reverse_proxy 127.0.0.1:8080. Else transport http {
        tls_server_name and tls_trust_pool }, or tls_insecure_skip_verify
    """
    tls, url = taker.proxy.at("transport", "tls"), taker.url
    is_told = any(
        tls[name] for name in ("server_name", "insecure_skip_verify", "ca", "root_ca_pool")
    )
    if tls and url and (url.is_loopback or url.is_address) and not is_told:
        text = f"reverse_proxy {url.text} without tls_server_name or tls_trust_pool"
        yield taker.saw(tls, [], text)


@TAKERS.rule("CA20", level="warning")
def scheme_and_port(taker: Taker) -> Iterator[Saw]:
    """The scheme of an upstream and its port hardly belong together.

    Why:
        TLS to a plain port, or HTTP to a TLS port, is a 502 for every request.
    Fix:
        Write the scheme that the gateway speaks; voice gateways mostly speak plain HTTP.
    """
    url = taker.url
    if url and (doubt := scheme_doubt(url.scheme == "https", url.host, url.port)):
        yield taker.saw(taker.proxy, [], f"reverse_proxy {url.text}: {doubt}")


@TAKERS.rule("CA21", level="warning")
def webhook_retried(taker: Taker) -> Iterator[Saw]:
    """A retry posts the webhook again.

    Why:
        A gateway has begun the call when the first one arrived. To the second it answers what is
        for a call in progress, and Twilio plays that. Without lb_retry_match Caddy repeats only
        what could not be sent.
    Fix:
        lb_retry_match { method GET }
    """
    balancing = taker.proxy["load_balancing"]
    if taker.passage.request.role != "webhook" or not balancing["retry_match"].entries:
        return
    for each in balancing["retry_match"]:
        methods = [method.text for method in each["method"]]
        if not methods or "POST" in methods:
            text = f"lb_retry_match {'method ' + ' '.join(methods) if methods else 'has no method'}"
            yield taker.saw(balancing, ["lb_retry_match"], text)


@TAKERS.rule("CA22", level="warning")
def form_refused(taker: Taker) -> Iterator[Saw]:
    """Webhooks are refused for their size.

    Why:
        Twilio's forms have some two kilobytes, more with speech results. Caddy answers 413.
    Fix:
        request_body { max_size 64KB }
    """
    for node in taker.passage.limits:
        size = node["max_size"].number or 0
        if taker.passage.request.role == "webhook" and 0 < size < _FORM_BYTES:
            yield taker.saw(node, ["max_size"], f"request_body max_size {size:g} bytes")


def duration_s(node: Node) -> float:
    """Seconds; nanoseconds and Go's form are both Caddy's."""
    number = node.number
    return number / 1e9 if number is not None else seconds(node.text) or 0
