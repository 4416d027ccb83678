"""Which program made an answer, told from its status, its fields and the beginning of its body.

Measured: nginx 1.22.1, HAProxy 2.6.12, Apache 2.4, Caddy 2.11.7, Traefik 3.7.15, Envoy 1.40.0.
Read in their sources or documentation: tailscaled, cloudflared, Cloudflare's edge, ngrok.

A Server field alone shows nothing: nginx, Envoy and Cloudflare write theirs over the one they
relay. What counts is the body that only the program itself writes, or its own error field.
"""

import re
from collections.abc import Callable
from typing import Literal

from doctor.evidence import Answer, HopKind

Maker = Literal[
    "nginx",
    "haproxy",
    "apache",
    "caddy",
    "traefik",
    "envoy",
    "cloudflare",
    "cloudflared",
    "ngrok",
    "tailscale",
    "go",
]
# What a hop of a kind may have made. A plain Go handler's bytes are Traefik's and tailscaled's.
MAKES: dict[HopKind, frozenset[Maker]] = {
    "nginx": frozenset({"nginx"}),
    "haproxy": frozenset({"haproxy"}),
    "apache": frozenset({"apache"}),
    "caddy": frozenset({"caddy"}),
    "traefik": frozenset({"traefik", "go"}),
    "envoy": frozenset({"envoy"}),
    "tailscale": frozenset({"tailscale", "go"}),
    "cloudflared": frozenset({"cloudflare", "cloudflared"}),
    "other": frozenset({"ngrok", "cloudflare"}),
    "gateway": frozenset(),
    "sidecar": frozenset(),
}
_NGINX = re.compile(r"<center>(?:nginx|openresty|tengine|angie|freenginx)\b[^<]*</center>", re.I)
_HAPROXY = re.compile(r"\s*<html><body><h1>\d{3} [A-Za-z ]+</h1>\n")
_APACHE = re.compile(
    r'\s*<!DOCTYPE HTML PUBLIC "-//(?:IETF//DTD HTML 2\.0|W3C//DTD HTML 4\.01)//EN"[^>]*>\s*'
    r"<html><head>\s*<title>\d{3} "
)
_ENVOY = re.compile(
    r"upstream connect error or disconnect/reset|upstream request timeout|no healthy upstream"
    r"|RBAC: access denied|local_rate_limited|upstream max stream duration"
)
# Traefik writes the bare phrase (github.com/traefik/traefik, pkg/proxy/httputil).
_TRAEFIK = re.compile(
    r"(?:Bad Gateway|Gateway Timeout|Internal Server Error|Service Unavailable|Forbidden"
    r"|Too Many Requests|no available server|Client Closed Request)\n?|401 Unauthorized\n?"
)
_CLOUDFLARE = re.compile(r"error code: \d{3,4}|cloudflare_error|cf-error-details|cf-wrapper")
_NGROK = re.compile(r"ERR_NGROK_\d+")
# What rules say in practice; without any rule cloudflared says 503.
_BY_RULE = (403, 404, 410, 418, 421, 503)
NOT_FOUND_BY_GO = "404 page not found"


def maker_of(answer: Answer) -> Maker | None:
    """The program that made an answer, or None where it does not show."""
    if answer.stamp is not None:
        return None  # the sidecar, or what is behind it
    return next((maker for maker, fits in _SIGNATURES if fits(answer)), None)


def is_in_words_of_haproxy(answer: Answer) -> bool:
    """Whether the page is HAProxy's, also where a hop in front wrote its Server on it."""
    return answer.stamp is None and bool(_HAPROXY.match(answer.body))


def may_be_of(answer: Answer, kind: HopKind) -> bool:
    """Whether the answer shows that it was made by a program of this kind."""
    maker = maker_of(answer)
    return maker is not None and maker in MAKES[kind]


def _server(answer: Answer) -> str:
    return (answer.value("Server") or "").partition("/")[0].strip().lower()


def _is_envoy(answer: Answer) -> bool:
    """Its own text, or an empty error that did not pass its upstream timer."""
    if _server(answer) != "envoy":
        return False
    passed = answer.value("x-envoy-upstream-service-time") is not None
    return bool(_ENVOY.match(answer.body)) or (not answer.body and not passed)


def _is_caddy(answer: Answer) -> bool:
    """Empty, and without the Via that it adds to what it relays."""
    via = answer.value("Via") or ""
    return _server(answer) == "caddy" and not answer.body and "Caddy" not in via


def _names(answer: Answer) -> set[str]:
    return {name.lower() for name, _ in answer.fields}


def _is_tailscale(answer: Answer) -> bool:
    """Go's ReverseProxy with its default error handler: a 502 of two fields and no body."""
    return (
        answer.status == 502
        and not answer.body
        and _names(answer) <= {"date", "content-length", "connection"}
    )


def _is_cloudflared(answer: Answer) -> bool:
    """A rule `http_status:N`, or a refusal by access: no body, no type, through the edge."""
    empty = not answer.body and answer.value("Content-Type") is None
    return empty and answer.value("cf-ray") is not None and answer.status in _BY_RULE


_SIGNATURES: tuple[tuple[Maker, Callable[[Answer], bool]], ...] = (
    ("ngrok", lambda answer: answer.value("ngrok-error-code") is not None),
    ("ngrok", lambda answer: bool(_NGROK.search(answer.body))),
    ("cloudflare", lambda answer: answer.value("cf-mitigated") is not None),
    ("cloudflare", lambda answer: answer.status == 530 or bool(_CLOUDFLARE.search(answer.body))),
    ("cloudflared", _is_cloudflared),
    ("nginx", lambda answer: bool(_NGINX.search(answer.body))),
    ("haproxy", lambda answer: bool(_HAPROXY.match(answer.body)) and not _server(answer)),
    ("apache", lambda answer: bool(_APACHE.match(answer.body))),
    ("envoy", _is_envoy),
    ("caddy", _is_caddy),
    ("traefik", lambda answer: bool(_TRAEFIK.fullmatch(answer.body)) and not _server(answer)),
    ("tailscale", _is_tailscale),
    ("go", lambda answer: answer.body.strip() == NOT_FOUND_BY_GO),
)
