"""HS: the way back. What became of a 101 that left the sidecar, and 101s that nobody asked for."""

from doctor.evidence import Answer, Exchange, Probe, Sight
from doctor.rules import rule
from doctor.rules.handshake import KEY
from doctor.rules.ways import (
    exchange_behind,
    has_arrived,
    has_failed,
    is_in_front,
    is_repeated,
    switched_behind,
    upgrade_answer,
)

ACCEPT = "Sec-WebSocket-Accept"
LATE_MS = 4000.0  # Twilio waits 5 s


@rule("HS06")
def accept_mismatch(sight: Sight, upgrade: Exchange, answer: Answer) -> str | None:
    """The 101 answers another key than the one that was sent.

    Why:
        Sec-WebSocket-Accept is computed from the client's key (RFC 6455 section 4.2.2), and a
        client must fail the connection where it is wrong. Proxies do not check it: they say
        101, and only the client knows why it hung up.
    Evidence:
        The value that came is not base64(SHA-1(key + GUID)), or it is missing.
    Fix gateway:
        Answer the key of this very request; no cached or fixed 101.
    Fix nginx:
        Remove `proxy_hide_header Sec-WebSocket-Accept;` and `add_header Sec-WebSocket-Accept`.
    Fix haproxy:
        Remove `http-response del-header` or `set-header` for Sec-WebSocket-Accept.
    Fix:
        Pass Sec-WebSocket-Key and Sec-WebSocket-Accept on as they came.
    """
    if upgrade.fault != "bad_accept" or is_repeated(sight):
        return None
    arrival = upgrade.arrival
    if arrival is not None and is_in_front(sight) and arrival.value(KEY) != upgrade.sent(KEY):
        return None  # HS11
    name, came = sight.probe.hop.name, answer.value(ACCEPT)
    left = (
        next((v for n, v in arrival.answer_fields if n.lower() == ACCEPT.lower()), None)
        if (arrival)
        else None
    )
    if is_in_front(sight) and left is not None and left != came:
        return (
            f"{name} changed Sec-WebSocket-Accept: the 101 left the sidecar with {left} and came "
            f"back with {came or 'none'}"
        )
    said = f"with Sec-WebSocket-Accept: {came}" if came else "without Sec-WebSocket-Accept"
    return f"{name} answered 101 {said}, which does not answer the key that was sent"


@rule("HS07")
def switch_lost(sight: Sight, upgrade: Exchange) -> str | None:
    """The 101 left the sidecar and did not come back through the hop.

    Why:
        The hop asked correctly and then could not live with the answer: a response filter, a
        strict check, a buffer that waits for a body, or HTTP/2 on the client's side. It
        answers 200, 500 or 502 in place of it, or nothing.
    Evidence:
        The sidecar's record of the probe says 101; the doctor got something else.
    Fix nginx:
        No proxy_intercept_errors, sub_filter, gzip or proxy_cache on this location;
        proxy_buffering off changes nothing here, proxy_http_version 1.1 does.
    Fix haproxy:
        No `http-response deny|set-status|del-header Connection|Upgrade` for status 101.
    Fix caddy:
        No `header_down -Connection` or `-Upgrade`, no `handle_response` for this path.
    Fix traefik:
        No customResponseHeaders for Connection or Upgrade, no buffering middleware.
    Fix apache:
        Header unset Upgrade   # remove this, and no mod_deflate or mod_cache for /voice/
    Fix cloudflared:
        No Worker, no cache rule and no Content-Encoding on the 101 for this path.
    Fix:
        Take filters, caches and rewriting of responses off the stream's path.
    """
    if not is_in_front(sight) or switched_behind(sight) is None or not has_failed(sight):
        return None
    answer = upgrade.answer
    if (answer is not None and answer.status == 101) or is_repeated(sight):
        return None
    name = sight.probe.hop.name
    if answer is not None:
        came = f"{answer.status} {answer.reason}".strip()
        return f"{name} lost the 101: it left the sidecar, and {came} came back"
    how = upgrade.fault.replace("_", " ")
    return f"{name} lost the 101: it left the sidecar, and nothing came back ({how})"


@rule("HS16")
def switched_without_asking(sight: Sight, answer: Answer) -> str | None:
    """The hop answered 101 before it asked anybody, and then hung up.

    Why:
        A proxy that accepts its client first and dials afterwards has no way to pass on a
        refusal: the client gets a 101, then the end. What is really wrong is behind it.
    Evidence:
        A 101 without the sidecar's stamp came, nothing arrived at the sidecar, and the stream
        ended at once.
    Fix:
        Dial the upstream first and answer with what it answers; or use a proxy that passes
        bytes on (nginx, HAProxy, Caddy, Traefik, Envoy).
    """
    if answer.status != 101 or not is_in_front(sight) or answer.stamp is not None:
        return None
    upgrade, echo = sight.probe.upgrade, sight.probe.phase("echo")
    if upgrade is None or has_arrived(sight) is not False or echo is None or not echo.fault:
        return None
    return (
        f"{sight.probe.hop.name} answered 101 without asking the sidecar, and then the stream "
        f"ended: {echo.detail or echo.fault}"
    )


@rule("HS17")
def switch_held(sight: Sight, probe: Probe) -> str | None:
    """The hop holds the 101 back.

    Why:
        A proxy that buffers responses waits for a body that never comes. The client gives up
        (Twilio after 5 s), or gets the 101 together with the first message.
    Evidence:
        The 101 left the sidecar at once and came much later.
    Fix nginx:
        No sub_filter, gzip or proxy_cache on this location.
    Fix:
        Take response buffering and body filters off the stream's path.
    """
    upgrade, behind = probe.upgrade, exchange_behind(sight)
    if upgrade is None or switched_behind(sight) is None or is_repeated(sight):
        return None
    soon = behind is not None and behind.ms < LATE_MS / 4
    late = upgrade.answer is not None and upgrade.ms > LATE_MS and soon
    if upgrade.fault != "held" and not late:
        return None
    return (
        f"{probe.hop.name} held the 101 back: it left the sidecar at once and came after "
        f"{upgrade.ms / 1000:.1f} s"
    )


@rule("HS20")
def answer_replaced(sight: Sight, upgrade: Exchange) -> str | None:
    """The hop answers with another status than the one it was given.

    Why:
        Pages for errors (proxy_intercept_errors, error documents, an edge that draws its own
        502) hide which program refused and why; a proxy that maps statuses turns a 404 into
        a 403 or a 502.
    Evidence:
        The sidecar's record of the probe has one status, and the doctor got another, without
        the sidecar's stamp.
    Fix nginx:
        proxy_intercept_errors off;
    Fix apache:
        ProxyErrorOverride Off
    Fix haproxy:
        Remove `errorfile` rules with `http-error` for statuses of the backend.
    Fix:
        Pass errors on as they come.
    """
    answer, arrival = upgrade.answer, upgrade.arrival
    if answer is None or arrival is None or not is_in_front(sight) or answer.stamp is not None:
        return None
    if answer.status in (101, arrival.status) or arrival.status in (None, 101):
        return None
    if upgrade_answer(sight.behind) is not None and is_repeated(sight):
        return None
    return (
        f"{sight.probe.hop.name} replaced the answer: {arrival.status} left the sidecar, and "
        f"{answer.status} came back"
    )
