"""What Cloudflare's edge adds to requests, changes in answers, and says itself (pure).

From Cloudflare's documentation and from what clients of it have reported; its code is not public.
Not known, and so not played: what it makes of capitals in a Host, its HTML pages in full.
"""

import json
from http import HTTPStatus
from secrets import token_hex

from ingress.tunnels.cloudflare.links import Fields, Kind, Reply

CALLER = "203.0.113.7"  # RFC 5737: where the world seems to call from
# (retry after, category) of RFC 9457 answers; developers.cloudflare.com, "Error responses".
_ABOUT = {1033: (120, "cloudflare"), 502: (60, "origin"), 504: (60, "origin"), 524: (60, "origin")}
# Fields that concern one connection: the edge's own are written anew.
_HOP_BY_HOP = frozenset(
    "connection upgrade host keep-alive transfer-encoding proxy-connection te trailer".split()
)


def new_ray() -> str:
    return f"{token_hex(8)}-LAB"


def onward(fields: Fields, ray: str, kind: Kind) -> Fields:
    """The fields of a request as cloudflared gets them."""
    dropped = _HOP_BY_HOP | ({"sec-websocket-version"} if kind == "websocket" else frozenset())
    kept = tuple((name, value) for name, value in fields if name.lower() not in dropped)
    come_by = ", ".join(v for n, v in kept if n.lower() == "x-forwarded-for")
    kept = tuple((n, v) for n, v in kept if n.lower() not in ("x-forwarded-for", "cf-ray"))
    return (
        *kept,
        ("cf-ray", ray),
        ("cf-connecting-ip", CALLER),
        ("x-forwarded-for", f"{come_by}, {CALLER}" if come_by else CALLER),
        ("x-forwarded-proto", "https"),
        ("cf-visitor", '{"scheme":"https"}'),
        ("cf-ipcountry", "XX"),
        ("cdn-loop", "cloudflare; loops=1"),
    )


def is_switch(reply: Reply) -> bool:
    """Whether an upgrade succeeded: HTTP/2 has no 101, so cloudflared says 200 (RFC 9113, 8.6).

    An origin's own 200 is told from it by the fields that only a 101 has.
    """
    names = {name.lower() for name, _ in reply.fields}
    has_switched = bool({"upgrade", "sec-websocket-accept"} & names)
    return reply.status == 101 or (reply.status == 200 and has_switched)


def replaced(reply: Reply) -> int | None:
    """The edge's own error in place of a reply: cloudflared failed, or the origin is a gateway's
    gateway (support/troubleshooting: 502 and 504 lose their body)."""
    if reply.by == "cloudflared":
        return 502
    return reply.status if reply.status in (502, 504) else None


def relayed(reply: Reply, status: int, ray: str) -> bytes:
    """The head of an answer that passes through."""
    dropped = {"server", "cf-ray"} | (set() if status == 101 else _HOP_BY_HOP)
    lines = [f"{name}: {value}" for name, value in reply.fields if name.lower() not in dropped]
    if status != 101:
        lines += ["Connection: close", "cf-cache-status: DYNAMIC"]
    return _head(status, [*lines, "Server: cloudflare", f"CF-RAY: {ray}"])


def own(code: int, ray: str, accept: str = "") -> bytes:
    """An error of the edge's own: 1033 is said with 530, others by their number."""
    status = 530 if code >= 1000 else code
    retry_s, category = _ABOUT.get(code, (0, "cloudflare"))
    kind, body = "text/plain; charset=UTF-8", f"error code: {code}"
    if "application/json" in accept:
        about = {"cloudflare_error": True, "error_code": code, "error_category": category}
        kind = "application/problem+json"
        body = json.dumps(about | {"ray_id": ray.partition("-")[0], "retryable": bool(retry_s)})
    lines = [f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"Retry-After: {retry_s}"] if retry_s else []
    return _head(status, [*lines, "Server: cloudflare", f"CF-RAY: {ray}"]) + body.encode()


def _head(status: int, lines: list[str]) -> bytes:
    known = {each.value: each.phrase for each in HTTPStatus}
    first = f"HTTP/1.1 {status} {known.get(status, '<none>')}"
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")
