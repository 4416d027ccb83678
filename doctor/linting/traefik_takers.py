"""Rules of the routers that take our paths. What is said of Traefik was seen with 3.7."""

from collections.abc import Iterator
from dataclasses import dataclass

from doctor.linting.family import Family, Saw
from doctor.linting.nodes import Node
from doctor.linting.traefik_config import Config, Router, World
from doctor.linting.traefik_middlewares import Middleware
from doctor.linting.urls import Url, read_url, scheme_doubt, seconds
from doctor.linting.ways import Request

# A call is some six requests, and Twilio sends those of all calls from a few addresses.
_REQUESTS_A_SECOND = 10
_IN_FLIGHT = 100


@dataclass(frozen=True, slots=True)
class Taker:
    """The router that takes a request; `others` have the same priority and would take it, too."""

    config: Config
    world: World
    request: Request
    router: Router
    others: tuple[Router, ...]

    def middlewares(self, *kinds: str) -> Iterator[Middleware]:
        yield from (each for each in self.router.middlewares if each.kind in kinds)

    def servers(self) -> Iterator[tuple[Node, Node, Url]]:
        """Load balancer, url as written, url as read."""
        for balancer, node in self.config.servers(self.router.node["service"].text):
            if url := read_url(node.text):
                yield balancer, node, url


TAKERS = Family[Taker]()


@TAKERS.rule("TR13")
def upgrade_removed(taker: Taker) -> Iterator[Saw]:
    """A headers middleware removes or replaces a header of the upgrade.

    Why:
        The gateway gets a plain GET and answers 400, 404 or 426, or a 101 that fits no key.
    Fix:
        Remove Upgrade, Connection and Sec-WebSocket-* from customRequestHeaders.
    """
    if taker.request.role != "stream":
        return
    for middleware in taker.middlewares("headers"):
        for name, value in middleware.options["customRequestHeaders"].items():
            key = name.lower()
            is_kept = (key, value.text.lower()) in (
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
            )
            if key in ("upgrade", "connection") and not is_kept:
                yield taker.config.saw(value, f"customRequestHeaders: {name}: {value.text!r}")
            elif key in ("sec-websocket-key", "sec-websocket-version"):
                yield taker.config.saw(value, f"customRequestHeaders: {name}")


@TAKERS.rule("TR14")
def http2_upstream(taker: Taker) -> Iterator[Saw]:
    """The service is spoken to in HTTP/2 without TLS.

    Why:
        Traefik upgrades over HTTP/1.1 all the same, but a gateway that speaks HTTP/1.1 answers
        the webhook's HTTP/2 preface with an error, and Traefik with 500.
    Fix:
        Write http:// for h2c://
    """
    for _, node, url in taker.servers():
        if url.scheme == "h2c":
            yield taker.config.saw(node, f"url: {url.text}")


@TAKERS.rule("TR15", level="warning")
def host_rewritten(taker: Taker) -> Iterator[Saw]:
    """The gateway does not get the public name.

    Why:
        Twilio signs the public URL. A gateway that rebuilds it from Host computes another
        signature and refuses; only X-Forwarded-Host still has the name.
    Fix:
        Remove passHostHeader: false and any Host of customRequestHeaders, or tell the gateway its
        public URL.
    """
    for balancer, _, _ in taker.servers():
        if balancer["passHostHeader"].is_false:
            yield taker.config.saw(balancer["passHostHeader"], "passHostHeader: false")
    for middleware in taker.middlewares("headers"):
        for name, value in middleware.options["customRequestHeaders"].items():
            if name.lower() == "host" and value.text:
                yield taker.config.saw(value, f"customRequestHeaders: {name}: {value.text}")


@TAKERS.rule("TR16")
def login_required(taker: Taker) -> Iterator[Saw]:
    """A login stands before a path that Twilio asks for.

    Why:
        Twilio opens streams without credentials; it signs its requests instead. It is answered
        401, or with a redirect to a login page.
    Fix:
        Give the voice paths a router of their own, without the middleware.
    """
    for middleware in taker.middlewares("basicAuth", "digestAuth", "forwardAuth"):
        text = f"{middleware.kind} stands before {taker.request.path}"
        yield taker.config.saw(middleware.options, text)


@TAKERS.rule("TR17", level="warning")
def limited(taker: Taker) -> Iterator[Saw]:
    """A limit counts all of Twilio's calls as one client's, or knows no address of Twilio.

    Why:
        Twilio calls from a few addresses that it does not promise to keep. An allow-list answers
        403 once they change, a rate limit 429 in a busy minute; and a stream is one request in
        flight for as long as its call lasts.
    Fix:
        Leave the voice paths out, or allow a multiple of the calls that you expect.
    """
    for middleware in taker.middlewares("ipAllowList", "ipWhiteList"):
        ranges = [each.text for each in middleware.options["sourceRange"]]
        if "0.0.0.0/0" not in ranges:
            yield taker.config.saw(middleware.options, f"{middleware.kind}: {', '.join(ranges)}")
    for middleware in taker.middlewares("rateLimit"):
        average = middleware.options["average"].number or 0
        period = middleware.options["period"]
        period_s = seconds(period.text) or period.number or 1
        if 0 < average / period_s < _REQUESTS_A_SECOND:
            yield taker.config.saw(middleware.options, f"rateLimit: average {average:g}")
    for middleware in taker.middlewares("inFlightReq"):
        amount = middleware.options["amount"].number or 0
        if amount < _IN_FLIGHT:
            yield taker.config.saw(middleware.options, f"inFlightReq: amount {amount:g}")


@TAKERS.rule("TR18", level="warning")
def webhook_retried(taker: Taker) -> Iterator[Saw]:
    """A retry posts the webhook again.

    Why:
        A gateway has begun the call when the first one arrived. To the second it answers what is
        for a call in progress, and Twilio plays that. Without retryNonIdempotentMethod, Traefik
        repeats no POST.
    Fix:
        Remove retryNonIdempotentMethod; Twilio has a retry of its own (#rc=2 in the webhook's URL).
    """
    for middleware in taker.middlewares("retry"):
        again = middleware.options["retryNonIdempotentMethod"]
        if taker.request.method == "POST" and again.is_true and middleware.options["status"]:
            yield taker.config.saw(again, "retryNonIdempotentMethod: true, with status")


@TAKERS.rule("TR19", level="warning")
def certificate_unverifiable(taker: Taker) -> Iterator[Saw]:
    """TLS to an address whose certificate cannot be verified.

    Why:
        No public certificate names localhost or an IP address. Unless the static configuration has
        serversTransport.insecureSkipVerify, Traefik answers 500.
    Fix:
        Beside Traefik plain HTTP is enough: url: http://127.0.0.1:8080. Else name a
        serversTransport with serverName and rootCAs.
    """
    is_skipped = taker.config.root.at("serversTransport", "insecureSkipVerify").is_true
    for balancer, node, url in taker.servers():
        is_named = balancer["serversTransport"].text or is_skipped
        if url.scheme == "https" and (url.is_loopback or url.is_address) and not is_named:
            yield taker.config.saw(node, f"url: {url.text} without serversTransport")


@TAKERS.rule("TR20", level="warning")
def scheme_and_port(taker: Taker) -> Iterator[Saw]:
    """The scheme of a server and its port hardly belong together.

    Why:
        TLS to a plain port, or HTTP to a TLS port, fails for every request.
    Fix:
        Write the scheme that the gateway speaks; voice gateways mostly speak plain HTTP.
    """
    for _, node, url in taker.servers():
        if url.scheme in ("http", "https", "h2c") and (
            doubt := scheme_doubt(url.scheme == "https", url.host, url.port)
        ):
            yield taker.config.saw(node, f"url: {url.text}: {doubt}")


@TAKERS.rule("TR21")
def priority_tied(taker: Taker) -> Iterator[Saw]:
    """Two routers with the same priority take the same path, and lead to different places.

    Why:
        Which of them wins, changes from one start of Traefik to the next: calls work until a
        restart. Without priority it is the length of the rule.
    Fix:
        Give the router of the gateway a priority.
    """
    config, request = taker.config, taker.request
    first = config.way_of(taker.router, taker.world, request)
    for other in taker.others:
        way = config.way_of(other, taker.world, request)
        if (way.upstream, way.target, way.answer) != (first.upstream, first.target, first.answer):
            text = (
                f"routers {taker.router.name} and {other.name} have priority {other.priority:g} "
                f"and take {request.path}"
            )
            yield config.saw(other.node, text)
