"""HAProxy: how long, how many, how often (HA07, HA08, HA17, HA19, HA20)."""

import re
from collections.abc import Iterator

from doctor.linting.family import Saw
from doctor.linting.haproxy_case import HAPROXY, Case
from doctor.linting.haproxy_parser import Line, seconds

SILENCE_S = 60.0  # what a call on hold is silent for, at least
_STREAMS_MIN = 20  # at a time, of one address: a tunnel's, mostly
_COUNTERS = re.compile(r"\b(sc\d?_|src_)\w*(rate|cnt|cur|conn)|\b(be|fe)_(conn|sess_rate)")
_RETRIED = ("all-retryable-errors", "empty-response", "response-timeout", "junk-response")


@HAPROXY.rule("HA07", level="warning")
def tunnel_timeout_missing(case: Case) -> Iterator[Saw]:
    """Without `timeout tunnel` a silent stream is cut like any slow request.

    Why:
        An upgraded connection lives by `timeout tunnel` of the backend; where that is missing, by
        the shorter one of `timeout client` and `timeout server`. A call on hold is silent for
        longer. In a frontend the directive is ignored.
    Fix:
        timeout tunnel 1h   # in defaults, or in the backend
        timeout client-fin 30s
    """
    backend = case.passage.backend
    if not case.is_stream or backend is None or backend.timeout("tunnel") is not None:
        return
    found = [case.passage.frontend.timeout("client"), backend.timeout("server")]
    limits = [
        (limit_s, line)
        for line in found
        if line is not None
        and len(line.words) > 2
        and (limit_s := seconds(line.words[2])) is not None
    ]
    if limits and min(limits, key=lambda pair: pair[0])[0] <= SILENCE_S:
        _, line = min(limits, key=lambda pair: pair[0])
        misplaced = next(case.passage.frontend.all("timeout", "tunnel"), None)
        ignored = f"; {misplaced.place} is ignored there" if misplaced else ""
        yield case.saw(
            f"{backend.told} has no timeout tunnel, so {line.place} ends {case.path}{ignored}", line
        )


@HAPROXY.rule("HA08", level="warning")
def tunnel_timeout_short(case: Case) -> Iterator[Saw]:
    """A stream that is silent for a minute is cut.

    Why:
        `timeout tunnel` ends a stream when neither side has sent anything for so long: a call on
        hold, a gateway that waits. There is no Close frame.
    Fix:
        timeout tunnel 1h
    """
    backend = case.passage.backend
    line = backend.timeout("tunnel") if backend is not None else None
    limit_s = _limit_s(line) if line is not None else None
    if case.is_stream and limit_s is not None and limit_s <= SILENCE_S:
        yield case.saw(f"{line.place if line else ''} ends {case.path}", line)


@HAPROXY.rule("HA17", level="warning")
def requests_limited(case: Case) -> Iterator[Saw]:
    """A limit on requests or connections that a few calls reach.

    Why:
        A stream is one connection for as long as the call; webhook, stream and callbacks of a
        call come within a second; behind a tunnel all of them come from one address. Beyond the
        limit HAProxy refuses, or queues until Twilio gives up.
    Fix:
        http-request allow if { path_beg /voice/ }   # before the rule; and maxconn 1000
    """
    passage = case.passage
    if not passage.is_proxied:
        return
    for doubt in passage.doubts:
        limit = re.search(r"\b(?:gt|ge)\s+(\d+)", doubt.asks)
        if _COUNTERS.search(doubt.asks) and limit and int(limit[1]) < _STREAMS_MIN:
            yield case.saw(f"{case.path} is limited: {doubt.line.place}", doubt.line)
    for server in passage.servers if case.role == "stream" else ():
        maximum = server.option("maxconn") or ""
        if maximum.isdigit() and 0 < int(maximum) < _STREAMS_MIN:
            yield case.saw(f"{case.path} is limited to {maximum} calls: {server.place}", server)


@HAPROXY.rule("HA19", level="warning")
def webhook_retried(case: Case) -> Iterator[Saw]:
    """A webhook that failed after it was sent is posted again.

    Why:
        HAProxy repeats a POST like any other request where retry-on says so; then a gateway may
        take one call for two.
    Fix:
        http-request disable-l7-retry if METH_POST
    """
    backend = case.passage.backend
    if case.role != "webhook" or not case.passage.is_proxied or backend is None:
        return
    line = backend.last("retry-on")
    is_risky = line is not None and any(word in _RETRIED for word in line.words)
    if line is not None and is_risky and next(_no_retry(case), None) is None:
        yield case.saw(f"{case.path}: {line.place}", line)


@HAPROXY.rule("HA20", level="warning")
def proxy_protocol_sent(case: Case) -> Iterator[Saw]:
    """The server gets a PROXY line before the request.

    Why:
        A gateway that does not expect it reads it as a request and answers 400; few HTTP servers
        do expect it. The sidecar refuses it, too.
    Fix:
        option forwardfor   # and no send-proxy
    """
    for server in case.passage.servers if case.is_stream else ():
        sent = next((word for word in server.words[3:] if word.startswith("send-proxy")), None)
        if sent is not None:
            yield case.saw(f"{case.path} begins with a PROXY line: {server.place}", server)


def _no_retry(case: Case) -> Iterator[Line]:
    for proxy in case.passage.proxies:
        yield from proxy.all("http-request", "disable-l7-retry")


def _limit_s(line: Line) -> float | None:
    """The time of a `timeout NAME TIME`."""
    return seconds(line.words[2]) if len(line.words) > 2 else None
