"""Which ingress a request came through, told from its head: names, spelling, order and version.

Evidence, not guesses: a mark counts where a vendor documents it or where it was measured, and
where two programs leave the same one the answer is "unknown". The heads behind every line here,
and the look-alikes that must stay unknown, are in tests/heads.

Several hops leave several marks. The first line of `_EVIDENCE` that fits wins: names that belong
to one vendor, which survive the hops behind it, before order and case, which show only the last.
The answer is a label for logs and metrics, never a reason to trust a field: clients can write all
of them. Not told for want of a mark of their own: a Go ReverseProxy, Caddy before its `Via`,
Tailscale Serve for a tagged node, HAProxy and Envoy where they add no field of theirs.
"""

from collections.abc import Callable, Sequence
from itertools import takewhile

Fields = Sequence[tuple[str, str]]

# Base domains of ngrok (ngrok.com/docs/universal-gateway/domains, "ngrok managed domains").
_NGROK = tuple(
    f".ngrok{rest}" for rest in ".app .dev .pizza .io -free.app -free.dev -free.pizza".split()
)
_TWILIO = ("Twilio.TmeWs/", "TwilioProxy/")  # Media Streams and webhooks, from published captures
# How names begin that only something between client and server writes.
_FORWARDING = tuple(
    "x-forwarded- x-real-ip x-original- x-request-id x-host x-amzn- via forwarded cdn-loop".split()
)
# nginx writes these from its configuration or its defaults and drops the client's own
# (ngx_http_proxy_module.c, ngx_http_proxy_headers).
_NGINX_OWN = ("Host", "Connection", "Upgrade", "Content-Length", "Transfer-Encoding")
_NGINX_DROPS = {*map(str.lower, _NGINX_OWN), "te", "keep-alive", "expect"}
# What its configurations add, spelt as in nginx.org's examples and in ingress-nginx's template.
_NGINX_ADDS = ("X-Real-IP", "X-Forwarded-")
_NGINX_RUN = (*_NGINX_ADDS, "X-Request-ID", "X-Scheme", "X-Original-")


class _Head:
    """A request head in the spellings that the evidence below asks for."""

    def __init__(self, version: str, fields: Fields) -> None:
        self.version = version
        self.fields = fields
        self.names = [name for name, _ in fields]
        self.lower = [name.lower() for name in self.names]

    def value(self, name: str) -> str:
        """A field's lines joined (RFC 9110 section 5.3); empty when there are none."""
        return ", ".join(value for key, value in self.fields if key.lower() == name)

    def lost_its_upgrade(self) -> bool:
        """Whether a Sec-WebSocket-Key is left of a handshake (RFC 9110 section 7.8)."""
        whole = "upgrade" in self.lower and "upgrade" in self.value("connection").lower()
        return "sec-websocket-key" in self.lower and not whole

    def nginx_run(self) -> list[str]:
        """The leading fields that nginx could have written itself."""
        return list(takewhile(lambda n: n in _NGINX_OWN or n.startswith(_NGINX_RUN), self.names))


def _has(*prefixes: str) -> Callable[[_Head], bool]:
    return lambda head: any(name.startswith(prefixes) for name in head.lower)


def _is_ngrok(head: _Head) -> bool:
    """A name under ngrok's domains and an X-Forwarded-For: two published captures of Twilio.

    The name alone shows nothing, since a probe on this machine sends the public name, too. Behind
    a domain of one's own ngrok stays unknown.
    """
    hosts = (head.value("host"), head.value("x-forwarded-host").split(",")[0])
    under_ngrok = any(host.partition(":")[0].lower().endswith(_NGROK) for host in hosts)
    return under_ngrok and "x-forwarded-for" in head.lower


def _is_caddy(head: _Head) -> bool:
    """`Via: 1.1 Caddy` (RFC 9110 section 7.6.3); measured 2.11.7. Caddy 2.6.2 adds no Via."""
    return any(hop.split()[1:2] == ["Caddy"] for hop in head.value("via").split(","))


def _is_traefik(head: _Head) -> bool:
    """A set of five that none of the others sends, with Go's `X-Real-Ip`; measured 3.7.15."""
    five = {"X-Real-Ip", *(f"X-Forwarded-{x}" for x in ("Host", "Port", "Proto", "Server"))}
    return five <= {*head.names}


def _is_apache(head: _Head) -> bool:
    """X-Forwarded-Server, then only Content-Length, Connection and Upgrade; measured 2.4.71.

    mod_proxy appends its fields and writes Connection last (none at all where it is told to speak
    HTTP/1.0). `ProxyVia Full` adds "(Apache/...)", `ProxyAddHeaders Off` takes all marks away.
    """
    _, server, behind = "\n".join(head.names).partition("X-Forwarded-Server")
    ends = {*behind.split()} <= {"Content-Length", "Transfer-Encoding", "Connection", "Upgrade"}
    named = bool(server) and ends and ("Connection" in behind or head.version == "1.0")
    return named or "(Apache/" in head.value("via")


def _is_nginx(head: _Head) -> bool:
    """nginx's own fields first, then the client's in their order; measured 1.22.1, 1.30.4, 1.31.4.

    To 1.31.3 configured fields precede the default Host and Connection; since 1.31.4 Host is the
    first. To 1.29.6 HTTP/1.0 and `Connection: close` are the defaults, since then HTTP/1.1 and no
    Connection. All others measured append, sort, lower-case, or put User-Agent second.
    """
    run = head.nginx_run()
    rest = head.lower[len(run) :]
    if "Host" not in run or not rest or not _NGINX_DROPS.isdisjoint(rest):
        return False
    connection = head.value("connection")
    if any(name.startswith(_NGINX_ADDS) for name in run):
        return "Connection" in run or "X-Real-IP" in run
    if run[0] in ("Upgrade", "Connection"):
        # Old WebKit (WebSocketHandshake.cpp) opens like this and says "Upgrade", with an Origin;
        # ApacheBench says "Keep-Alive". nginx's own word is "close", its examples' "upgrade".
        capital = connection == "Upgrade" and "origin" not in rest
        return capital or connection in ("", "close", "upgrade")
    if head.lost_its_upgrade():
        return len(run) > 1  # whoever took Upgrade or Connection wrote the other one up here
    # Weak: PHP's http:// stream opens like this, too, but sends no User-Agent unless told to.
    old = head.version == "1.0" and connection in ("close", "upgrade", "Upgrade")
    return "user-agent" in rest and (old or (connection == "close" and "Content-Length" in run))


def _is_haproxy(head: _Head) -> bool:
    """Every name in lower case and x-forwarded-for the last; measured 2.6.12.

    `option forwardfor` adds its line after all rules, behind the client's own x-forwarded-for.
    Envoy and Node's http-proxy write x-forwarded-proto behind theirs. Weak: a home-made proxy on
    Rust's hyper appends to a lower-case head, too. Without that option there is no mark.
    """
    names = [name for name in head.names if name != "connection"]
    return names[-1:] == ["x-forwarded-for"] and head.names == head.lower


def _is_twilio_direct(head: _Head) -> bool:
    """Twilio's User-Agent, and nothing that a hop in between would have left.

    Weak: it says that no HTTP hop shows itself. Twilio's own order is not published, so a head
    that HAProxy (lower case), nginx (its run) or Apache (Connection last) could have written
    without leaving another mark is unknown.
    """
    run = head.nginx_run()
    rewritten = head.names == head.lower or ("Host" in run and len(run) > 1)
    rewritten = rewritten or head.names[-1:] in (["Connection"], ["Upgrade"])
    marked = head.version == "1.0" or head.lost_its_upgrade() or _has(*_FORWARDING)(head)
    return head.value("user-agent").startswith(_TWILIO) and not (rewritten or marked)


_EVIDENCE: tuple[tuple[Callable[[_Head], bool], str], ...] = (
    # Cloudflare's edge, and cloudflared (2026.8.2), which adds its connector's id.
    (_has("cf-ray", "cf-connecting-ip", "cf-warp-tag-id"), "cloudflare"),
    # tailscaled 1.96 to 1.103 (ipn/ipnlocal/serve.go); it deletes those that a client sends.
    (_has("tailscale-funnel-request"), "tailscale-funnel"),
    (_has("tailscale-user-", "tailscale-headers-info"), "tailscale-serve"),
    (_is_ngrok, "ngrok"),
    # Envoy 1.40.0: x-envoy-expected-rq-timeout-ms, but not where the route's timeout is 0s.
    (_has("x-envoy-"), "envoy"),
    (_is_caddy, "caddy"),
    (_is_traefik, "traefik"),
    (_is_apache, "apache"),
    (_is_nginx, "nginx"),
    (_is_haproxy, "haproxy"),
    (_is_twilio_direct, "twilio-direct"),
)


def tell_ingress(version: str, fields: Fields) -> str:
    """A name from `_EVIDENCE`, or "unknown" where the head does not show one.

    `version` is "1.0" or "1.1"; `fields` are names as received, with their case, and values.
    """
    head = _Head(version, fields)
    return next((ingress for fits, ingress in _EVIDENCE if fits(head)), "unknown")
